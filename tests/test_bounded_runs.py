"""Whole runs within bounds: against the slow solver to rounding, and what every run promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import Bounds

from fastbfgs import Options, Result, Solver, Status
from tests.oracle_box import Outcome, lbfgsb, projected_gradient
from tests.problems import BOUNDED, Problem, by_name
from tests.test_machine import (
    DTYPES,
    assert_takes_good_steps,
    one,
    run,
    some_starts,
)

INF = math.inf
SMALL = [problem for problem in BOUNDED if problem.n <= 20]
each_bounded = pytest.mark.parametrize("problem", BOUNDED, ids=lambda p: p.name)
each_small = pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)


def bounds_of(problem: Problem) -> Bounds:
    return Bounds(problem.lower, problem.upper)


def solve(fun, x0, bounds, **keywords) -> Result:
    return run(fun, x0, method="L-BFGS-B", bounds=bounds, **keywords)


def box_of(solver: Solver) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds as the solver holds them: (n,) or (B, n), rounded inwards to its dtype."""
    if solver.box is None:
        return np.full(solver.n, -INF), np.full(solver.n, INF)
    return solver.box[..., 0, :], solver.box[..., 1, :]


def inside(x: np.ndarray, bounds: tuple[np.ndarray, np.ndarray]) -> bool:
    return bool(((bounds[0] <= x) & (x <= bounds[1])).all())


def starts_and_outside(problem: Problem, dtype: type) -> np.ndarray:
    """Return x0, two starts around it within the bounds, and two that may be far outside of them."""
    x0 = some_starts(problem, 5, dtype)
    x0[3:] += 10.0 * np.random.default_rng(problem.n).standard_normal((2, problem.n))
    return x0


# ----------------------------------------------------------------------------------------------
# Against the slow solver


def assert_is_the_oracle(problem: Problem, x0: np.ndarray, options: Options, error: float) -> tuple[Result, Outcome]:
    """The first ten points asked for are those of the slow solver, relative to their size; return both ends."""
    solver = Solver(x0, options, bounds=bounds_of(problem))
    slow, fun = lbfgsb(x0, options, *box_of(solver), descent=0.2), one(problem.fun)
    point, outcome = next(slow), None
    while solver.running and outcome is None:
        x = solver.ask()
        if solver.calls < 10:
            size = max(1e-3, np.abs(x).max())
            assert np.abs(x - point).max() <= error * size, f"evaluation {solver.calls + 1}"
        solver.tell(*fun(x))
        try:
            point = slow.send(fun(point))
        except StopIteration as end:
            outcome = end.value
    return solver.result(), outcome


def same_end(ends: tuple[Result, Outcome]) -> bool:
    result, outcome = ends
    return outcome is not None and (result.nit, result.nfev, result.status) == (
        outcome.nit,
        outcome.nfev,
        outcome.status,
    )


@each_small
def test_solver_is_the_oracle(problem):
    for x0 in some_starts(problem, 2, np.float64):
        ends = assert_is_the_oracle(problem, x0, Options("L-BFGS-B", gtol=1e-6, ftol=0.0, maxfun=60), 1e-7)
        # Rounding has grown over 50 evaluations.
        assert same_end(ends) or problem.name == "qrtquad_12"


@each_small
def test_solver_is_the_oracle_in_float32(problem):
    rounding_decides = {"hs_3mod", "powell_badly_scaled_gay", "rosenbrock_half"}  # pairs that nearly cancel
    if problem.name in rounding_decides:
        return
    for x0 in some_starts(problem, 2, np.float32):
        assert_is_the_oracle(problem, x0, Options("L-BFGS-B", gtol=1e-2, ftol=0.0, maxfun=12), 1e-3)


@pytest.mark.parametrize("name", ["hatfldc", "nonscomp_25", "biggsb1_25", "pentdi_50", "edensch_36_box"])
def test_solver_is_the_oracle_for_more_coordinates(name):
    problem = by_name(name)
    for x0 in some_starts(problem, 2, np.float64):
        assert same_end(assert_is_the_oracle(problem, x0, Options("L-BFGS-B", ftol=0.0, maxfun=14), 1e-7))


OPTIONS = {
    "one pair": {"history": 1},
    "three pairs": {"history": 3},
    "tight search": {"c2": 0.05},
    "armijo": {"c1": 0.3, "c2": 0.5},
    "two evaluations a search": {"maxls": 2},
    "decrease": {"ftol": 1e-6},
    "few iterations": {"maxiter": 5},
    "few evaluations": {"maxfun": 7},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    "name", ["wood_gay", "explin_12", "eg1", "chained_rosenbrock_10_thirds", "hs_5", "penalty_2_10_upper"]
)
def test_solver_is_the_oracle_for_every_option(name, options):
    problem = by_name(name)
    for x0 in some_starts(problem, 2, np.float64):
        o = Options("L-BFGS-B", **({"gtol": 1e-4, "ftol": 0.0, "maxfun": 40} | options))
        assert same_end(assert_is_the_oracle(problem, x0, o, 1e-9))


# ----------------------------------------------------------------------------------------------
# What every run promises


@DTYPES
@each_bounded
def test_steps(problem, dtype):
    """Every point is in the box and every step is a good one; gtol is met where the status says so, and only there."""
    x0 = starts_and_outside(problem, dtype)
    keywords = {"method": "L-BFGS-B", "bounds": bounds_of(problem), "gtol": 1e-7, "ftol": 0.0, "maxfun": 120}
    result = assert_takes_good_steps(problem, x0, 0.2, **keywords)
    lower, upper = box_of(Solver(x0, **keywords))
    for b in range(len(x0)):
        size = np.abs(projected_gradient(result.x[b], result.g[b], lower, upper).astype(float)).max()
        assert (size <= 1e-7) == (result.status[b] == Status.CONVERGED_GRADIENT), (b, size)
