"""Evaluations over the whole problem set, against SciPy's L-BFGS-B on what both solve."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import Recorder
from benchmarks.objectives import Array
from benchmarks.peers import SINGLES, SinglePeer, Stop

STOPS = {
    "SciPy's defaults": Stop(gtol=1e-5, ftol=2.220446049250313e-09, maxiter=15_000),
    "gtol 1e-6": Stop(gtol=1e-6, ftol=0.0, maxiter=15_000),
}

SOLVERS = ("fastbfgs", "SciPy L-BFGS-B", "PyLBFGS", "NLopt LD_LBFGS")


class Tally(NamedTuple):
    """Evaluations (problems,), whether solved (problems,), and f (problems,) at the end."""

    evaluations: Array
    solved: Array
    f: Array


def problems() -> tuple[Any, ...]:
    """Return the problem set of the tests, or skip."""
    try:
        from tests.problems import PROBLEMS
    except ImportError as error:
        raise NotImplementedError(f"tests.problems does not import: {error}") from error
    return tuple(PROBLEMS)


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


def tally(solver: SinglePeer, stop: Stop) -> Tally:
    """Solve every problem from its standard start."""
    evaluations, solved, values = [], [], []
    for problem in problems():

        def one(x: Array, batch: Any = problem.fun) -> tuple[float, Array]:
            f, g = batch(x[None, :])
            return float(f[0]), g[0]

        recorder = Recorder(one)
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            x = solver(recorder, np.array(problem.x0), stop).run()
        f, _ = one(np.asarray(x))
        evaluations.append(len(recorder.points))
        solved.append(is_solved(f, one(np.array(problem.x0))[0], problem.minima))
        values.append(f)
    return Tally(np.array(evaluations), np.array(solved), np.array(values))


def geometric_mean(ours: Tally, theirs: Tally) -> float:
    """Return the geometric mean of the ratios of evaluations, on what both solve."""
    both = ours.solved & theirs.solved
    return float(np.exp(np.mean(np.log(ours.evaluations[both] / theirs.evaluations[both]))))


class Evaluations:
    """All problems of `tests/problems.py`, from their standard starts."""

    params = (list(SOLVERS), list(STOPS))
    param_names = ["solver", "stop"]
    timeout = 600

    def setup(self, solver: str, stop: str) -> None:
        self.ours = tally(SINGLES[solver], STOPS[stop])
        self.theirs = tally(SINGLES["SciPy L-BFGS-B"], STOPS[stop])

    def track_against_scipy(self, solver: str, stop: str) -> float:
        return geometric_mean(self.ours, self.theirs)

    track_against_scipy.unit = "geometric mean of ratios"  # type: ignore[attr-defined]

    def track_solved(self, solver: str, stop: str) -> int:
        return int(self.ours.solved.sum())

    track_solved.unit = "problems"  # type: ignore[attr-defined]

    def track_evaluations(self, solver: str, stop: str) -> int:
        return int(self.ours.evaluations.sum())

    track_evaluations.unit = "evaluations"  # type: ignore[attr-defined]
