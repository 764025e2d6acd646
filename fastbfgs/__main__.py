"""The command line: ``python -m fastbfgs demo`` and ``python -m fastbfgs doctor``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import fastbfgs


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; default those of the process.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        if options.verb == "demo":
            from fastbfgs import demo

            plot = None if options.no_plot else options.plot
            problem = plot and demo.cannot_draw(plot)
            if problem:
                parser.error(f"argument --plot: {problem}")
            status = demo.run(every=options.sample, plot=plot)
        else:
            from fastbfgs import doctor

            status = doctor.run(seconds=options.seconds)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads, as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at Python's end
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastbfgs", description="Minimise ten thousand smooth functions in one call."
    )
    parser.add_argument("--version", action="version", version=f"fastbfgs {fastbfgs.__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="{demo,doctor}", required=True)

    about = "1,000 logistic regressions on real data: as one batch, and by a loop over SciPy for comparison"
    demo = verbs.add_parser(
        "demo", help=about, description=f"{about}. Exit status: 0; 1 if a fit failed or the two "
        "ways disagree, or the picture cannot be written after all; 2 if an argument is wrong or scikit-learn is not "
        "installed.",
    )  # fmt: skip
    demo.add_argument(
        "--plot",
        metavar="PATH",
        default="demo.png",
        help="where the picture goes, in the format of its suffix (default: demo.png)",
    )
    demo.add_argument("--no-plot", action="store_true", help="draw no picture")
    demo.add_argument(
        "--sample", metavar="N", type=_positive_int, default=1, help="take only every N-th of the 100 strengths"
    )

    about = "what fastbfgs finds on this machine, and how fast it is here"
    doctor = verbs.add_parser("doctor", help=about, description=about.capitalize() + ".")
    doctor.add_argument(
        "--seconds", metavar="S", type=_positive_float, default=5.0, help="how long to measure (default: 5)"
    )
    return parser


def _positive_int(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _positive_float(text: str) -> float:
    number = float(text)
    if not 0.0 < number < float("inf"):
        raise ValueError(text)
    return number


# What argparse calls the wanted type in "invalid ... value".
_positive_int.__name__ = "positive integer"
_positive_float.__name__ = "positive number"

if __name__ == "__main__":
    sys.exit(main())
