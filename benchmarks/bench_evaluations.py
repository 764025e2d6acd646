"""Evaluations over the problem sets of the tests, against SciPy on what both solve."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import Recorder, least
from benchmarks.objectives import Array, Box
from benchmarks.peers import BOUNDED_SINGLES, DENSE, ROUNDED, SINGLES, Single, Stop

STOPS = {
    "SciPy's defaults": Stop(gtol=1e-5, ftol=2.220446049250313e-09, maxiter=15_000),
    "gtol 1e-6": Stop(gtol=1e-6, ftol=0.0, maxiter=15_000),
}

EVERY: dict[str, Callable[..., Single]] = {**SINGLES, **DENSE, **ROUNDED}


class Rivals(NamedTuple):
    """This package and SciPy on one problem set.

    Attributes
    ----------
    ours, theirs : str
        Names of two solvers of `EVERY`.
    problems : str
        Name of the set in `tests.problems`.
    slow : int or None
        From this many variables on, a run of theirs takes minutes.
    """

    ours: str
    theirs: str
    problems: str
    slow: int | None = None


RIVALS = (
    Rivals("fastbfgs", "SciPy L-BFGS-B", "PROBLEMS"),
    Rivals("fastbfgs", "SciPy L-BFGS-B", "BOUNDED"),
    Rivals("fastbfgs BFGS", "SciPy BFGS", "PROBLEMS", slow=1000),
)


class Tally(NamedTuple):
    """By problem: evaluations, whether solved, f at the end, and the seconds of a run."""

    evaluations: Array
    solved: Array
    f: Array
    seconds: Array


def problem_set(name: str, below: int | None = None, step: int = 1) -> list[Any]:
    """Return every ``step``-th of the tests' problems ``name`` with fewer than ``below`` variables, or skip."""
    try:
        from tests import problems
    except ImportError as error:
        raise NotImplementedError(f"tests.problems does not import: {error}") from error
    return [problem for problem in getattr(problems, name) if below is None or problem.n < below][::step]


def is_solved(f: float, f0: float, minima: tuple[float, ...]) -> bool:
    """Say whether f is at a known minimum, or below the lowest.

    At most 1e-6 of the way from the start is left, and at most 1e-5 of max(1, |minimum|).
    """
    lowest = min(minima)
    for minimum in minima:
        size = max(1.0, abs(minimum))
        tolerance = max(1e-9 * size, min(1e-6 * (f0 - minimum), 1e-5 * size))
        miss = f - minimum
        if (miss if minimum == lowest else abs(miss)) <= tolerance:
            return True
    return False


def tally(solver: Callable[..., Single], stop: Stop, problems: Iterable[Any], again: float = 0.0) -> Tally:
    """Solve every problem from its standard start; what ends outside its bounds is not solved.

    A run is repeated for the seconds ``again``, and the least time counts.
    """
    evaluations, solved, values, times = [], [], [], []
    for problem in problems:

        def one(x: Array, batch: Any = problem.fun) -> tuple[float, Array]:
            f, g = batch(x[None, :])
            return float(f[0]), g[0]

        box = Box(problem.lower, problem.upper)
        bounded = np.isfinite(box).any()
        recorder = Recorder(one)
        prepare = partial(solver, box=box) if bounded else solver
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            run = prepare(recorder, np.array(problem.x0), stop).run
            x = np.array(run())
            count = len(recorder.points)
            times.append(least(run, again))
        f, _ = one(x)
        f0, _ = one(box.project(problem.x0))
        evaluations.append(count)
        solved.append(is_solved(f, f0, problem.minima) and np.array_equal(x, box.project(x)))
        values.append(f)
    return Tally(np.array(evaluations), np.array(solved), np.array(values), np.array(times))


def geometric_mean(ours: Tally, theirs: Tally) -> float:
    """Return the geometric mean of the ratios of evaluations, on what both solve."""
    both = ours.solved & theirs.solved
    return float(np.exp(np.mean(np.log(ours.evaluations[both] / theirs.evaluations[both]))))


class Evaluations:
    """All problems of `tests/problems.py` without bounds, from their standard starts."""

    rivals = RIVALS[0]
    params = (["fastbfgs", *ROUNDED, "SciPy L-BFGS-B", "PyLBFGS", "NLopt LD_LBFGS"], list(STOPS))
    param_names = ["solver", "stop"]
    timeout = 600

    def setup(self, solver: str, stop: str) -> None:
        problems = problem_set(self.rivals.problems, self.rivals.slow)
        self.ours = tally(EVERY[solver], STOPS[stop], problems)
        self.theirs = tally(EVERY[self.rivals.theirs], STOPS[stop], problems)

    def track_against_scipy(self, solver: str, stop: str) -> float:
        return geometric_mean(self.ours, self.theirs)

    track_against_scipy.unit = "geometric mean of ratios"  # type: ignore[attr-defined]

    def track_solved(self, solver: str, stop: str) -> int:
        return int(self.ours.solved.sum())

    track_solved.unit = "problems"  # type: ignore[attr-defined]

    def track_evaluations(self, solver: str, stop: str) -> int:
        return int(self.ours.evaluations.sum())

    track_evaluations.unit = "evaluations"  # type: ignore[attr-defined]


class BoundedEvaluations(Evaluations):
    """All problems with bounds."""

    rivals = RIVALS[1]
    params = (list(BOUNDED_SINGLES), list(STOPS))


class DenseEvaluations(Evaluations):
    """BFGS on the problems without bounds that have fewer than 1,000 variables."""

    rivals = RIVALS[2]
    params = (list(DENSE), list(STOPS))
