"""Print the figures that the package is held to, beside its peers, as Markdown.

    python -m benchmarks.figures            # some minutes
    python -m benchmarks.figures --quick    # smaller batches, fewer rounds
    python -m benchmarks.figures --everything   # and BFGS on problems of 1,000 variables
    python -m benchmarks.figures --also /path/to/python "TFP TF XLA"

Solvers are timed in turn within a round, ratios are formed in each round, medians taken over
rounds.  ``--also`` times one peer in another interpreter, for packages that do not go together;
its rounds come after the others.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.bench_evaluations import EVERY, RIVALS, STOPS, Rivals, geometric_mean, problem_set, tally
from benchmarks.bench_import import import_medians
from benchmarks.bench_single import CALLS, FIXED, ITERATIONS
from benchmarks.measure import (
    Overhead,
    Recorder,
    batch_overhead,
    in_turn,
    largest_gradient,
    least,
    ratio,
    seconds,
    single_overhead,
)
from benchmarks.objectives import Batch, chain_box, chain_start, make, make_bounded, rosenbrock
from benchmarks.peers import (
    BATCHES,
    BOUNDED_BATCHES,
    BOUNDED_SINGLES,
    DENSE,
    FASTBFGS,
    SINGLES,
    Single,
    Solved,
    Stop,
    fastbfgs_batch,
    fastbfgs_compiled,
    require,
    scipy_options,
)

STOP = Stop(gtol=1e-6, maxiter=500)

SCIPY_LOOP = "SciPy L-BFGS-B loop"

# What an objective does, by whether its answers are recorded.
ANSWERS = {False: "NumPy callable", True: "recorded answers"}

# Members on which a slow peer is timed; its time is then scaled to all of them.
SAMPLES = {
    SCIPY_LOOP: 300,
    "fastbfgs loop": 1_000,
    "PyLBFGS loop": 300,
    "NLopt LD_LBFGS loop": 300,
    "JAXopt LBFGS": 1_000,
    "torch LBFGS loop": 30,
    "lbfgsb (Python) loop": 30,
}

PACKAGES = (
    "fastbfgs numpy scipy PyLBFGS nlopt botorch torch jax jaxopt optimistix optax lbfgsb "
    "tensorflow-cpu tensorflow-probability"
).split()


class Row(NamedTuple):
    """One line of the first table."""

    what: str
    ours: str
    theirs: str
    ratio: str
    to_reach: str


class Run(NamedTuple):
    """One solver on the whole batch, or on the sample of it that it was given.

    Attributes
    ----------
    seconds : float
        Wall time, scaled to all members.
    converged : float
        Share of members with max|g| <= 1.01 gtol.
    largest : float
        Largest max|g| of all members.
    global_minimum : float
        Share of members with f < 1e-8, Rosenbrock's other minimum lying at about 4.
    evaluations : float
        Mean evaluations of a member; NaN where not known.
    calls : int or None
        Calls of the objective for the batch.
    """

    seconds: float
    converged: float
    largest: float
    global_minimum: float
    evaluations: float
    calls: int | None


class Contest:
    """The whole run of one peer, ready to be timed again and again."""

    def __init__(self, name: str, batch: Batch) -> None:
        self.sample = batch.first(SAMPLES.get(name, len(batch.x0)))
        self.scale = len(batch.x0) / len(self.sample.x0)
        self.peer = BATCHES[name]
        self.run = self.peer(self.sample, STOP)
        self.solved: Solved = self.run()

    def seconds(self) -> float:
        """Time one run, scaled to all members."""
        return self.scale * seconds(self.run)

    def outcome(self, taken: float) -> Run:
        """Return what was reached, with the time ``taken``."""
        solved = self.solved
        evaluations, calls = solved.evaluations, solved.calls
        if evaluations is None:
            batched, single = Recorder(self.sample.fun), Recorder(self.sample.one)
            recorded = dataclasses.replace(self.sample, fun=batched, one=single)
            self.peer(recorded, STOP)()
            evaluations = sum(batched.points) + sum(single.points)
            calls = len(batched.points) or None
        largest = largest_gradient(self.sample, solved.x)
        f, _ = self.sample.fun(solved.x, *self.sample.data)
        return Run(
            taken,
            float(np.mean(largest <= 1.01 * STOP.gtol)),
            float(largest.max()),
            float(np.mean(f < 1e-8)),
            evaluations / len(self.sample.x0),
            calls,
        )


def prepared(make_one: Callable[[str], Any], names: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield what could be made, saying on stderr what could not."""
    for name in names:
        print(f"preparing {name}", file=sys.stderr)
        try:
            yield name, make_one(name)
        except NotImplementedError as missing:
            print(f"skipped {name}: {missing}", file=sys.stderr)


def number(value: float) -> str:
    """Format a figure with three digits."""
    return f"{value:.3g}" if np.isfinite(value) else "-"


def overhead_rows(
    what: str, overheads: dict[str, Overhead], ours: str, aims: dict[str, float | None], count: int
) -> Iterator[Row]:
    """Compare the overhead of ``ours`` with each peer's; ``aims`` are the ratios to reach, if there is one."""
    figures = in_turn({name: each.measure for name, each in overheads.items()}, count)
    for name, aim in aims.items():
        if name not in figures:
            continue
        theirs = f"{number(median(figures[name]))} us ({name})"
        mine, quotient = "-", "-"
        if ours in figures:
            mine = f"{number(median(figures[ours]))} us"
            quotient = f"1/{number(ratio(figures, name, ours))}"
        yield Row(what, mine, theirs, quotient, "" if aim is None else f"at most 1/{aim:g}")


def single_overheads(
    peers: Mapping[str, Callable[..., Single]], names: list[str], x0: np.ndarray, stop: Stop, replay: bool
) -> dict[str, Overhead]:
    """Prepare the overheads of those peers that are there."""
    return dict(prepared(lambda name: single_overhead(peers[name], rosenbrock, x0, stop, replay), names))


def single_rows(count: int) -> Iterator[Row]:
    """Overhead per evaluation of one problem, once with the objective, once with its record."""
    stop = STOP._replace(maxiter=1000)
    aims: dict[str, float | None] = {"SciPy L-BFGS-B": 30.0, "PyLBFGS": 2.0, "NLopt LD_LBFGS": 2.0}
    for n in (2, 10, 100):
        for replay in (False, True):
            overheads = single_overheads(SINGLES, ["fastbfgs", *aims], chain_start(n), stop, replay)
            what = f"overhead per evaluation, one problem, n = {n}, {ANSWERS[replay]}"
            yield from overhead_rows(what, overheads, "fastbfgs", aims, count)


def bounded_single_rows(count: int) -> Iterator[Row]:
    """Overhead per evaluation of one problem with bounds, half of which bind at the minimiser."""
    stop = STOP._replace(maxiter=1000)
    for n, aim in ((10, 15.0), (100, None)):
        box = chain_box(n)
        peers = {name: partial(peer, box=box) for name, peer in BOUNDED_SINGLES.items()}
        for replay in (False, True):
            overheads = single_overheads(peers, list(peers), box.project(chain_start(n)), stop, replay)
            what = f"overhead per evaluation, one problem with bounds, n = {n}, {ANSWERS[replay]}"
            aims = {"SciPy L-BFGS-B": aim, "NLopt LD_LBFGS": None}
            yield from overhead_rows(what, overheads, "fastbfgs", aims, count)


def dense_rows(count: int) -> Iterator[Row]:
    """Overhead of BFGS per iteration."""
    stop = Stop(gtol=0.0, maxiter=ITERATIONS)
    for n, aim in ((10, None), (100, None), (1_000, 20.0)):
        prepared_ones = single_overheads(DENSE, list(DENSE), chain_start(n), stop, replay=True)
        overheads = {name: each.per_iteration(ITERATIONS) for name, each in prepared_ones.items()}
        what = f"overhead per iteration, BFGS, n = {n:,}"
        yield from overhead_rows(what, overheads, "fastbfgs BFGS", {"SciPy BFGS": aim}, count)


def fixed_rows(count: int) -> Iterator[Row]:
    """What a call costs that starts at a minimiser."""
    for ours, theirs in FIXED:
        runs = {name: CALLS[name]() for name in (ours, theirs)}
        figures = in_turn({name: lambda run=run: 1e6 * least(run, 0.2) for name, run in runs.items()}, count)
        mine, other = (number(median(figures[name])) for name in (ours, theirs))
        quotient = f"1/{number(ratio(figures, theirs, ours))}"
        what = f"a call that starts at a minimiser, {ours.removeprefix('fastbfgs ')}"
        yield Row(what, f"{mine} us", f"{other} us ({theirs})", quotient, "")


def member_rows(count: int) -> Iterator[Row]:
    """Overhead per member evaluation of a batch."""
    batch = make("rosenbrock", 1_000, 10)
    names = [FASTBFGS, "BoTorch"]
    overheads = dict(prepared(lambda name: batch_overhead(BATCHES[name], batch, STOP), names))
    what = "overhead per member evaluation, B = 1,000, n = 10, 1 thread"
    yield from overhead_rows(what, overheads, FASTBFGS, {"BoTorch": 40.0}, count)


def bounded_member_rows(count: int) -> Iterator[Row]:
    """Overhead per member evaluation of a batch with bounds."""
    batch = make_bounded(1_000)
    names = [FASTBFGS, "BoTorch"]
    overheads = dict(prepared(lambda name: batch_overhead(BOUNDED_BATCHES[name], batch, STOP), names))
    what = "overhead per member evaluation, bounds, B = 1,000, n = 10, 1 thread"
    yield from overhead_rows(what, overheads, FASTBFGS, {"BoTorch": 25.0}, count)


def compiled_rows(B: int, count: int) -> Iterator[Row]:
    """Whole runs on a compiled objective against SciPy's loop, and one thread against two."""
    for n, aim in ((2, 400.0), (10, 300.0)):
        batch = make("rosenbrock", B, n)
        runs = {workers: fastbfgs_compiled(batch, STOP, workers) for workers in (1, 2)}
        scipy = Contest(SCIPY_LOOP, batch)
        evaluations = runs[1]().evaluations or 0
        timed = {str(workers): partial(seconds, run) for workers, run in runs.items()}
        figures = in_turn(timed | {SCIPY_LOOP: scipy.seconds}, count)
        one, two, theirs = (median(figures[name]) for name in ("1", "2", SCIPY_LOOP))
        what = f"{B:,} Rosenbrock problems, n = {n}, compiled"
        mine = f"{number(one)} s, {number(1e6 * one / evaluations)} us per evaluation"
        beside = f"{number(theirs)} s (SciPy loop, NumPy callable, {SAMPLES[SCIPY_LOOP]} members scaled)"
        yield Row(f"{what}, 1 thread", mine, beside, number(ratio(figures, SCIPY_LOOP, "1")), f"at least {aim:g}")
        gain = number(ratio(figures, "1", "2"))
        yield Row(f"{what}, 2 threads", f"{number(two)} s", f"{number(one)} s (1 thread)", gain, "at least 1.8")


def calls_rows(batch: Batch) -> Iterator[Row]:
    """Calls against the largest number of evaluations, and rows passed against their sum."""
    recorder = Recorder(batch.fun)
    run = fastbfgs_batch(dataclasses.replace(batch, fun=recorder), STOP)
    run()
    nfev = _nfev(batch)
    aims = {"calls": (len(recorder.points), nfev.max()), "rows": (sum(recorder.points), nfev.sum())}
    for name, (counted, bound) in aims.items():
        what = f"{name} for the batch of {len(batch.x0):,}"
        beside = "the largest nfev" if name == "calls" else "the sum of nfev"
        yield Row(what, str(counted), f"{bound} ({beside})", number(counted / bound), "exactly 1")


def _nfev(batch: Batch) -> np.ndarray:
    """Return the evaluations (B,) that the package reports for its members."""
    minimize = require("fastbfgs").minimize
    keywords = {"method": "L-BFGS-B", "options": scipy_options(STOP), "compact": True}
    result = minimize(batch.fun, batch.x0, jac=True, workers=1, **keywords)
    return np.asarray(result.nfev)


def evaluation_rows(rivals: Rivals, everything: bool) -> Iterator[Row]:
    """Evaluations over a problem set, or over what does not take long of it."""
    problems = problem_set(rivals.problems, None if everything else rivals.slow)
    for name, stop in STOPS.items():
        ours = tally(EVERY[rivals.ours], stop, problems)
        theirs = tally(EVERY[rivals.theirs], stop, problems)
        both, count = int((ours.solved & theirs.solved).sum()), len(ours.solved)
        what = f"evaluations over {rivals.problems}, {name}, {both} solved by both"
        mean = f"{geometric_mean(ours, theirs):.4f}"
        yield Row(what, "", rivals.theirs, mean, "at most 1.0")
        solved = int(ours.solved.sum()), int(theirs.solved.sum())
        what = f"problems solved of {count} in {rivals.problems}, {name}"
        yield Row(what, str(solved[0]), f"{solved[1]} ({rivals.theirs})", "", "no fewer")


def import_rows(count: int) -> Iterator[Row]:
    """Time to a first result over NumPy's import."""
    times = import_medians(count)
    what = "import of fastbfgs over import of NumPy"
    yield Row(what, f"{times.fastbfgs:.0f} ms more", f"{times.numpy:.0f} ms (NumPy)", "", "at most 50 ms more")
    what = "the same, and the first minimize of the process"
    yield Row(what, f"{times.fastbfgs + times.first:.0f} ms more", "", "", "at most 100 ms more")


def contest(batch: Batch, names: list[str], count: int) -> dict[str, tuple[list[float], Run]]:
    """Time the whole runs in turn; return each peer's seconds by round and what it reached."""
    contests = dict(prepared(lambda name: Contest(name, batch), names))
    figures = in_turn({name: each.seconds for name, each in contests.items()}, count)
    return {name: (figures[name], each.outcome(median(figures[name]))) for name, each in contests.items()}


def elsewhere(python: str, name: str, B: int, count: int) -> tuple[list[float], Run] | None:
    """Time one peer in another interpreter."""
    command = [python, "-m", "benchmarks.figures", "--worker", name]
    command += ["--members", str(B), "--rounds", str(count)]
    root = Path(__file__).resolve().parents[1]
    answer = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    times, outcome = json.loads(answer.stdout.splitlines()[-1])
    return (times, Run(*outcome)) if times else None


def worker(name: str, B: int, count: int) -> None:
    """Time one peer and print the answer for `elsewhere`."""
    found = contest(make("rosenbrock", B, 10), [name], count)
    print(json.dumps(found.get(name, ([], []))))


def contest_lines(runs: dict[str, tuple[list[float], Run]], B: int) -> Iterator[str]:
    """Yield the table of whole runs, fastest first."""
    yield (
        f"{B:,} Rosenbrock problems, n = 10, starts uniform in [-2, 2], max\\|g\\| <= 1e-6, "
        f"ftol = 0, at most {STOP.maxiter} iterations, compile time apart. `of`: on how many "
        "members a solver was timed, its time then being scaled to all. `speedup`: SciPy's time "
        "over the solver's, the median over rounds. Loops call the NumPy function of one point."
    )
    yield ""
    yield (
        "| solver | of | seconds | speedup | fastbfgs faster by | converged | max\\|g\\| | "
        "f < 1e-8 | evaluations per member | calls |"
    )
    yield "|---" * 10 + "|"
    times = {name: figures for name, (figures, _) in runs.items()}
    for name, (_, run) in sorted(runs.items(), key=lambda item: item[1][1].seconds):
        speedup = number(ratio(times, SCIPY_LOOP, name)) if SCIPY_LOOP in times else "-"
        faster = number(ratio(times, name, FASTBFGS)) if FASTBFGS in times else "-"
        yield (
            f"| {name} | {min(SAMPLES.get(name, B), B):,} | {number(run.seconds)} | {speedup} | "
            f"{faster} | {100 * run.converged:.2f} % | {run.largest:.2g} | "
            f"{100 * run.global_minimum:.1f} % | {run.evaluations:.1f} | {run.calls or '-'} |"
        )


def contest_rows(runs: dict[str, tuple[list[float], Run]], B: int) -> Iterator[Row]:
    """Yield the two lines of the first table that the whole runs answer."""
    if FASTBFGS not in runs:
        return
    times = {name: figures for name, (figures, _) in runs.items()}
    mine = f"{number(runs[FASTBFGS][1].seconds)} s"
    what = f"{B:,} Rosenbrock problems, n = 10, whole run, 1 thread"
    if SCIPY_LOOP in runs:
        theirs = f"{number(runs[SCIPY_LOOP][1].seconds)} s (SciPy loop, 300 members scaled)"
        quotient = number(ratio(times, SCIPY_LOOP, FASTBFGS))
        yield Row(what, mine, theirs, quotient, "at least 80")
    peers = [name for name in runs if not name.startswith("fastbfgs")]
    if peers:
        fastest = min(peers, key=lambda name: runs[name][1].seconds)
        theirs = f"{number(runs[fastest][1].seconds)} s ({fastest}, the fastest peer)"
        yield Row(what, mine, theirs, number(ratio(times, fastest, FASTBFGS)), "above 1")


def machine_load() -> str:
    """Return the machine's load averages."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg()) if os.name == "posix" else "-"


def machine_lines(load: str) -> Iterator[str]:
    """Yield what the figures depend on; ``load`` is that of the start."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            models = [line.partition(":")[2].strip() for line in info if "model name" in line]
        model = models[0] if models else model
    yield f"- {datetime.date.today().isoformat()}, {platform.system()}, {model}"
    yield f"- {os.cpu_count()} cores, load {load} at the start; Python {platform.python_version()}"
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            module = sys.modules.get(package)
            versions.append(f"{package} {getattr(module, '__version__', 'absent')}")
    yield "- " + ", ".join(versions)
    yield f"- BLAS threads: {os.environ['OPENBLAS_NUM_THREADS']}"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.figures", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1,000 members, two rounds")
    parser.add_argument("--everything", action="store_true", help="BFGS also where SciPy's takes half an hour")
    parser.add_argument("--only", nargs="*", help="names of the peers of the whole run")
    parser.add_argument(
        "--also",
        nargs=2,
        action="append",
        default=[],
        metavar=("PYTHON", "PEER"),
        help="time this peer with another interpreter",
    )
    parser.add_argument("--members", type=int, help="members of the whole run")
    parser.add_argument("--rounds", type=int, help="rounds of everything")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def sections(count: int, batch: Batch, everything: bool) -> Iterator[Callable[[], Iterator[Row]]]:
    """Yield the parts of the first table, in its order, before the whole runs."""
    yield lambda: single_rows(count)
    yield lambda: bounded_single_rows(count)
    yield lambda: fixed_rows(count)
    yield lambda: member_rows(count)
    yield lambda: bounded_member_rows(count)
    yield lambda: dense_rows(count)
    yield lambda: compiled_rows(10 * len(batch.x0), count)
    yield lambda: calls_rows(batch)
    for rivals in RIVALS:
        yield partial(evaluation_rows, rivals, everything)
    yield lambda: import_rows(2 * count + 1)


def main() -> None:
    """Measure, and print."""
    arguments = parse_arguments()
    B = arguments.members or (1_000 if arguments.quick else 10_000)
    count = arguments.rounds or (2 if arguments.quick else 5)
    if arguments.worker:
        worker(arguments.worker, B, count)
        return
    load = machine_load()
    batch = make("rosenbrock", B, 10)
    runs = contest(batch, arguments.only or list(BATCHES), count)
    for python, name in arguments.also:
        found = elsewhere(python, name, B, count)
        if found is not None:
            runs[f"{name} (own interpreter)"] = found
    rows = list(contest_rows(runs, B))
    for section in sections(count, batch, arguments.everything):
        try:
            rows.extend(section())
        except NotImplementedError as missing:
            print(f"skipped: {missing}", file=sys.stderr)

    print("# Figures\n")
    print("\n".join(machine_lines(load)))
    print(f"- medians of {count} rounds, ratios formed in each round\n")
    print("| what | fastbfgs | peer | ratio | to reach |\n|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print("\nThe demo compares itself with SciPy's loop: `python -m fastbfgs demo`.\n")
    print("\n".join(contest_lines(runs, B)))


if __name__ == "__main__":
    main()
