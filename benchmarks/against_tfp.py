"""`lbfgs_minimize` beside TensorFlow Probability's own, compiled by XLA, through TensorFlow and through JAX.

    python -m benchmarks.against_tfp             # about ten minutes; needs tensorflow, tf_keras, tensorflow-probability
    python -m benchmarks.against_tfp --quick     # B up to 1,000

Both get the same arguments.  Ours calls a NumPy function with the members that still run
(`compact=True`); TFP's objective is part of the compiled program.  Preparing, which is compiling,
stands apart from the run.  TFP evaluates all members in every call, so its member evaluations are
B times its calls.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from statistics import median

import numpy as np

from benchmarks.figures import machine_lines, machine_load, number
from benchmarks.measure import in_turn, largest_gradient, ratio, seconds
from benchmarks.objectives import Batch, make
from benchmarks.peers import BATCHES, Stop

STOP = Stop(gtol=1e-6, maxiter=500)
OURS = "fastbfgs lbfgs_minimize"
NAMES = (OURS, "TFP TF XLA", "TFP JAX")
TASKS = (("rosenbrock", 2), ("rosenbrock", 10), ("logistic", 8))
COLUMNS = (
    "problem",
    "B",
    "solver",
    "seconds",
    "fastbfgs faster by",
    "compiling",
    "member evaluations",
    "of ours",
    "failed",
    "max\\|g\\| <= gtol",
)


def rows_of(batch: Batch, count: int) -> Iterator[tuple[str, ...]]:
    """Yield one row for each solver that is there."""
    runs, prepared, solved = {}, {}, {}
    for name in NAMES:
        start = time.perf_counter()
        try:
            runs[name] = BATCHES[name](batch, STOP)
        except NotImplementedError as missing:
            print(f"skipped: {missing}", file=sys.stderr)
            continue
        prepared[name] = time.perf_counter() - start
        solved[name] = runs[name]()
    times = in_turn({name: lambda run=run: seconds(run) for name, run in runs.items()}, count)  # type: ignore[misc]
    for name, result in solved.items():
        reached = np.mean(largest_gradient(batch, result.x) <= 1.01 * STOP.gtol)
        ours = name == OURS
        yield (
            f"{batch.name}, n = {batch.x0.shape[1]}",
            f"{len(batch.x0):,}",
            name,
            number(median(times[name])),
            "" if ours else number(ratio(times, name, OURS)),
            "none" if ours else f"{prepared[name] - median(times[name]):.1f} s",
            f"{result.evaluations:,}",
            "" if ours else f"{solved[OURS].evaluations / result.evaluations:.3f}",
            f"{result.failed:,}",
            f"{100 * reached:.2f} %",
        )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against_tfp", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="B up to 1,000, two rounds")
    parser.add_argument("--members", type=int, nargs="*", help="sizes of the batches")
    arguments = parser.parse_args()
    sizes = arguments.members or [1, 10, 100, 1_000, *([] if arguments.quick else [10_000])]
    load = machine_load()
    print("# Against TensorFlow Probability\n")
    print("\n".join(machine_lines(load)))
    print("\n| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|")
    for name, n in TASKS:
        for B in sizes:
            for row in rows_of(make(name, B, n), 2 if arguments.quick else 3):
                print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
