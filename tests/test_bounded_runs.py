"""Whole runs within bounds: against the slow solver to rounding, and what every run promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import Bounds

from fastbfgs import Options, Result, Solver, Status, threads
from tests.oracle_box import Outcome, lbfgsb, projected_gradient
from tests.problems import BOUNDED, PROBLEMS, Problem, by_name
from tests.test_machine import (
    DTYPES,
    FINAL,
    advance,
    as_member,
    assert_same,
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
        assert same_end(ends) or ends[0].nfev > 40  # by then rounding may have grown


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
    "relative decrease": {"frtol": 1e-2},
    "absolute decrease": {"fatol": 1e-2},
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


@each_bounded
def test_a_known_minimum_is_found(problem):
    result = solve(one(problem.fun), problem.x0, bounds_of(problem), gtol=1e-6, ftol=0.0, maxfun=2000)
    if problem.name == "hs_25":  # its start passes for a minimiser
        assert (result.status, result.nfev) == (Status.CONVERGED_GRADIENT, 1)
        return
    assert min(abs(result.f - minimum) for minimum in problem.minima) <= 1e-6 * (1.0 + abs(result.f))


def wild(seed: int, n: int, size: float):
    """Return a function of x (k, n) that need not be one: a quadratic, one with holes, or nothing but chance."""
    rng = np.random.default_rng([seed, 41])
    A, b = rng.standard_normal((n, n)), rng.standard_normal(n)
    A, b = A @ A.T * 10.0 ** rng.uniform(-size, size), b * 10.0 ** rng.uniform(-size, size)

    def fun(x):
        dtype, x = x.dtype, x.astype(float)
        with np.errstate(all="ignore"):
            f, g = (x @ A * x).sum(axis=1) / 2.0 + x @ b, x @ A + b
            if seed % 4 >= 2:
                f *= 10.0 ** rng.uniform(-size, size, len(x))
                g *= 10.0 ** rng.uniform(-size, size, x.shape) * rng.choice([-1.0, 0.0, 1.0, 1.0], x.shape)
            if seed % 4 == 3:
                f[rng.uniform(size=len(x)) < 0.1] = np.nan
                g[rng.uniform(size=len(x)) < 0.1] = np.nan
            return f, g.astype(dtype)

    return fun


@DTYPES
def test_whatever_is_told_the_points_are_within_the_bounds(dtype):
    """Any box, any scale, and gradients that belong to no function: every member ends, with a status."""
    ended = set()
    for seed in range(200):
        rng = np.random.default_rng([seed, 42])
        n, history, maxls = (int(rng.integers(1, most)) for most in (12, 6, 21))
        size = rng.uniform(0.0, 12.0 if dtype is np.float32 else 90.0) if seed % 3 else 1.0
        x0 = rng.standard_normal((3, n)) * 10.0 ** rng.uniform(-size, size)
        lower, upper = (x0 + side * 10.0 ** rng.uniform(-size, size, (3, n)) for side in (-1.0, 1.0))
        kind = rng.integers(0, 8, (3, n))
        lower[kind == 0], upper[kind <= 1] = -INF, INF
        lower[kind == 2], upper[kind == 3] = x0[kind == 2], x0[kind == 3]
        lower[kind == 4] = upper[kind == 4] = x0[kind == 4]
        fun, keywords = wild(seed, n, size), {"history": history, "maxls": maxls, "gtol": 0.0, "ftol": 0.0}
        solver = Solver(x0.astype(dtype), method="L-BFGS-B", bounds=Bounds(lower, upper), maxfun=60, **keywords)
        lower, upper = box_of(solver)
        while solver.running:
            x = solver.ask()
            if np.ndim(lower) == 2:
                assert inside(x, (lower[solver.rows], upper[solver.rows])), seed
            solver.tell(*fun(x))
        result = solver.result()
        assert set(result.status) <= FINAL and (result.nfev <= 60).all()
        ended |= {Status(status).name for status in result.status}
    assert ended >= {"CONVERGED_GRADIENT", "MAXFUN", "STALLED", "ABNORMAL", "NONFINITE_START"}


# ----------------------------------------------------------------------------------------------
# Bounds that never bind


@DTYPES
@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.n <= 20], ids=lambda p: p.name)
def test_bounds_that_never_bind_change_no_bit(problem, dtype):
    """As long as not every coordinate has two: then the first step takes its size from the box."""
    x0 = some_starts(problem, 4, dtype)
    free = run(problem.fun, x0, maxfun=60)
    all_but_one = Bounds(np.full(problem.n, -1e30), np.r_[np.full(problem.n - 1, 1e30), INF])
    for bounds in (Bounds(-1e30, INF), Bounds(-INF, 1e30), all_but_one):
        assert_same(free, solve(problem.fun, x0, bounds, maxfun=60))
    # Nor does the name of the method, without bounds at all.
    assert_same(free, solve(problem.fun, x0, None, maxfun=60))
    assert_same(free, solve(problem.fun, x0, Bounds(-INF, INF), maxfun=60))


@DTYPES
@pytest.mark.parametrize("name", ["rosenbrock", "wood", "chained_rosenbrock_10", "log_domain_5"])
def test_a_member_without_bounds_takes_the_unbounded_path(name, dtype):
    problem = by_name(name)
    x0 = some_starts(problem, 7, dtype)
    lower, upper = np.full((2, *x0.shape), INF)
    lower *= -1.0
    lower[1::2], upper[1::2] = x0[1::2] - 0.1, x0[1::2] + 0.2
    result = solve(problem.fun, x0, Bounds(lower, upper), maxfun=60)
    free = run(problem.fun, x0, maxfun=60)
    assert_same(free[::2], result[::2])
    for b in (1, 3, 5):
        alone = solve(one(problem.fun), x0[b], Bounds(lower[b], upper[b]), maxfun=60)
        assert_same(as_member(alone), result[b])
        assert result.nfev[b] != free.nfev[b] or (result.x[b] != free.x[b]).any()


@DTYPES
def test_a_coordinate_without_slope_does_not_bind(dtype):
    """Also where some g_i are zero all the way, the path within far bounds is that without."""
    problem = by_name("wood")

    def fun(x):
        f, g = problem.fun(x[:, ::2])
        both = np.zeros_like(x)
        both[:, ::2] = g
        return f, both

    x0 = np.zeros((3, 8), dtype)
    x0[:, ::2] = some_starts(problem, 3, dtype)
    assert_same(run(fun, x0, maxfun=60), solve(fun, x0, Bounds(-1e30, [1e30] * 7 + [INF]), maxfun=60))


# ----------------------------------------------------------------------------------------------
# Solo = batch = permuted = any number of workers


def boxes(problem: Problem, count: int, dtype: type) -> Bounds:
    """Return bounds of each member: those of the problem, and every other member's cut to half around its start."""
    x0 = np.clip(some_starts(problem, count, dtype), problem.lower, problem.upper)
    rng = np.random.default_rng([problem.n, 21])
    lower, upper = (np.broadcast_to(z, x0.shape).copy() for z in (problem.lower, problem.upper))
    near = 10.0 ** rng.uniform(-2, 0, (2, *x0.shape)) * (1.0 + np.abs(x0))
    lower[1::2] = np.maximum(lower, x0 - near[0])[1::2]
    upper[1::2] = np.minimum(upper, x0 + near[1])[1::2]
    return Bounds(lower, upper)


@DTYPES
@each_small
def test_solo_is_batch_is_permuted(problem, dtype):
    x0 = starts_and_outside(problem, dtype)
    order = np.array([3, 0, 4, 1, 2])
    own = boxes(problem, 5, dtype)
    for bounds in (bounds_of(problem), own):
        batch = solve(problem.fun, x0, bounds, maxfun=40)
        assert_same(batch, solve(problem.fun, x0, bounds, maxfun=40, compact=False))
        moved = Bounds(own.lb[order], own.ub[order]) if bounds is own else bounds
        assert_same(batch[order], solve(problem.fun, x0[order], moved, maxfun=40))
        for b in range(5):
            its = Bounds(own.lb[b], own.ub[b]) if bounds is own else bounds
            assert_same(batch[b], as_member(solve(one(problem.fun), x0[b], its, maxfun=40)))
    # The same bounds for all, once and as a row for each.
    rows = Bounds(*(np.broadcast_to(z, x0.shape) for z in (problem.lower, problem.upper)))
    assert_same(solve(problem.fun, x0, rows, maxfun=40), solve(problem.fun, x0, bounds_of(problem), maxfun=40))


@DTYPES
@pytest.mark.parametrize("own", [False, True], ids=["shared", "each"])
@pytest.mark.parametrize(
    "name, B", [("rosenbrock_half", 4000), ("chained_rosenbrock_10_thirds", 2000), ("dqdrtic_1000_third", 70)]
)
def test_any_number_of_workers(name, B, own, dtype, monkeypatch):
    problem = by_name(name)
    x0 = some_starts(problem, B, dtype)
    bounds = boxes(problem, B, dtype) if own else bounds_of(problem)
    parts_used = set()
    split = threads.run

    def spy(task, count, parts):
        parts_used.add(parts)
        return split(task, count, parts)

    monkeypatch.setattr(threads, "run", spy)
    reference = solve(problem.fun, x0, bounds, workers=1, maxfun=30)
    assert not parts_used
    for workers, compact in ((2, True), (3, False)):
        found = solve(problem.fun, x0, bounds, workers=workers, compact=compact, maxfun=30)
        assert_same(reference, found)
        assert max(parts_used) == workers


# ----------------------------------------------------------------------------------------------
# Interrupted and resumed = not interrupted


@DTYPES
@pytest.mark.parametrize("own", [False, True], ids=["shared", "each"])
@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
def test_resumed_is_uninterrupted(tmp_path, dtype, own, compact, shape):
    problem = by_name("wood_gay")
    x0 = some_starts(problem, 6, dtype)
    bounds = boxes(problem, 6, dtype) if own else bounds_of(problem)
    if own:
        bounds = Bounds(*(z.reshape(*shape, 4) for z in (bounds.lb, bounds.ub)))
    keywords = {"method": "L-BFGS-B", "bounds": bounds, "compact": compact, "maxfun": 60, "history": 3}

    def fun(x):
        f, g = problem.fun(x.reshape(-1, 4))
        return (f, g) if x.ndim == 2 else (f.reshape(x.shape[:-1]), g.reshape(x.shape))

    reference = Solver(x0.reshape(*shape, 4), **keywords)
    calls = advance(reference, fun)
    for k in range(calls + 1):
        solver = Solver(x0.reshape(*shape, 4), **keywords)
        advance(solver, fun, k)
        solver.save(tmp_path / "run.npz")
        state = solver.result()
        resumed = Solver.load(tmp_path / "run.npz")
        assert resumed.box.tobytes() == solver.box.tobytes() and resumed.box.shape == solver.box.shape
        assert_same(resumed.result(), state)
        advance(resumed, fun)
        assert_same(resumed.result(), reference.result())
        assert resumed.calls == calls


def test_resume_takes_no_searches_within_bounds():
    problem = by_name("wood")
    solver = Solver(some_starts(problem, 3, float), method="L-BFGS-B", bounds=[(-5.0, 5.0)] * 4)
    advance(solver, problem.fun, 1)
    result, memories, searches = solver.result(), solver.memories(), solver.searches()
    with pytest.raises(ValueError, match="searches must be of a run without bounds"):
        Solver.resume(result, memories, searches=searches)
    resumed = Solver.resume(result, memories)
    assert resumed.box is None and resumed.ask().shape == (3, 4)


def test_box_is_not_to_be_changed():
    solver = Solver(np.zeros((3, 2)), method="L-BFGS-B", bounds=[(-5.0, 5.0)] * 2)
    with pytest.raises(ValueError, match="read-only"):
        solver.box[:] = 1.0


@DTYPES
def test_resumed_is_uninterrupted_for_one_problem(tmp_path, dtype):
    problem = by_name("chained_rosenbrock_10_thirds")
    reference = solve(one(problem.fun), problem.x0.astype(dtype), bounds_of(problem))
    solver = Solver(problem.x0.astype(dtype), method="L-BFGS-B", bounds=bounds_of(problem))
    while solver.running:  # saved and loaded before every evaluation
        solver.save(tmp_path / "run.npz")
        solver = Solver.load(tmp_path / "run.npz")
        solver.tell(*one(problem.fun)(solver.ask()))
    assert_same(solver.result(), reference)


# ----------------------------------------------------------------------------------------------
# Corners, edges, and boxes without room


def bowl(c):
    """sum (x_i - c_i)**2"""
    return lambda x: (float(((x - c) ** 2).sum()), (2.0 * (x - c)).astype(x.dtype))


@DTYPES
@pytest.mark.parametrize("corner", [0, 1, 2, 3])
def test_from_a_corner_to_the_other(corner, dtype):
    """Bounds that are active at the start let go, and the solution is a vertex, exactly."""
    lower, upper = np.array([-1.0, 0.25], dtype), np.array([0.1, 3.0], dtype)
    x0 = np.where([corner & 1, corner & 2], upper, lower)
    for target in range(4):
        end = np.where([target & 1, target & 2], upper, lower)
        away = end + np.where(end == upper, 2.0, -2.0)
        result = solve(bowl(away), x0, Bounds(lower, upper))
        assert result.x.tolist() == end.tolist()
        assert result.status == Status.CONVERGED_GRADIENT
        assert result.nfev == 1 if corner == target else result.nfev <= 4


@DTYPES
def test_bounds_that_are_active_at_the_start_and_released_later(dtype):
    """Rosenbrock's valley turns: x_2 rests at its bound first, and leaves it for the minimiser inside."""
    fun = one(by_name("rosenbrock").fun)
    solver = Solver(np.array([-1.2, 0.0], dtype), method="L-BFGS-B", bounds=Bounds([-2.0, 0.0], [2.0, 2.0]), ftol=0.0)
    rested = []
    while solver.running:
        solver.tell(*fun(solver.ask()))
        rested.append(solver.result().x[1] == 0.0)
    assert rested[0] and not rested[-1]
    result = solver.result()
    assert result.converged or dtype is np.float32
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4 if dtype is np.float64 else 1e-2)


@DTYPES
@pytest.mark.parametrize("x0", [[0.0, 5.0], [1.0, 2.0]])
def test_all_variables_fixed(x0, dtype):
    """One evaluation, at the only point; the gradient is what it is."""
    result = solve(bowl(np.array([3.0, -3.0])), np.array(x0, dtype), Bounds([1.0, 2.0], [1.0, 2.0]), gtol=0.0)
    assert (result.status, result.nit, result.nfev) == (Status.CONVERGED_GRADIENT, 0, 1)
    assert result.x.tolist() == [1.0, 2.0] and result.g.tolist() == [-4.0, 10.0]


@DTYPES
@pytest.mark.parametrize("name", ["rosenbrock", "wood", "chained_rosenbrock_10"])
def test_fixed_variables_never_move(name, dtype):
    """And the others come to the minimum of the function of them alone."""
    problem = by_name(name)
    moves = np.arange(problem.n) % 2 == 0
    x0 = problem.x0.astype(dtype)

    def alone(z):
        x = x0.copy()
        x[moves] = z
        f, g = one(problem.fun)(x)
        return f, g[moves]

    lower, upper = np.where(moves, x0 - 3.0, x0), np.where(moves, x0 + 0.5, x0)
    solver = Solver(x0, method="L-BFGS-B", bounds=Bounds(lower, upper))
    while solver.running:
        x = solver.ask()
        assert x[~moves].tolist() == x0[~moves].tolist()
        solver.tell(*one(problem.fun)(x))
    whole, part = solver.result(), solve(alone, x0[moves], Bounds(lower[moves], upper[moves]))
    assert whole.converged and part.converged
    np.testing.assert_allclose(whole.f, part.f, rtol=1e-6 if dtype is np.float64 else 1e-4)


@DTYPES
def test_fixed_for_some_members_only(dtype):
    problem = by_name("wood")
    x0 = some_starts(problem, 6, dtype)
    lower, upper = np.full((2, 6, 4), INF)
    lower *= -1.0
    lower[1] = upper[1] = x0[1]
    lower[2, 1:3] = upper[2, 1:3] = [0.5, -0.25]
    lower[4] = 0.0
    result = solve(problem.fun, x0, Bounds(lower, upper))
    assert result.x[1].tolist() == x0[1].tolist() and result.nfev[1] == 1
    assert result.x[2, 1:3].tolist() == [0.5, -0.25]
    assert_same(result[[0, 3, 5]], run(problem.fun, x0[[0, 3, 5]]))
    assert result.converged.all()


@DTYPES
@pytest.mark.parametrize("width", [1, 2, 5])
def test_boxes_a_few_numbers_wide(width, dtype):
    """Between neighbouring floating-point numbers there is still a best one."""
    lower = np.array([1.0, -1.0, 0.3], dtype)
    upper = lower.copy()
    for _ in range(width):
        upper = np.nextafter(upper, dtype(INF))
    for target, end in ((np.full(3, 9.0), upper), (np.full(3, -9.0), lower)):
        for x0 in (lower, upper):
            result = solve(bowl(target), x0, Bounds(lower, upper), gtol=0.0, ftol=0.0)
            assert result.x.tolist() == end.tolist() and result.status == Status.CONVERGED_GRADIENT


@DTYPES
def test_no_step_leads_back_to_the_bound_it_leaves(dtype):
    """x_1 leaves a bound by less than rounding could explain, x_2 stays as near to one. (x_3 is cut.)"""
    eps = np.finfo(dtype).eps
    for side in (1.0, -1.0):
        x0 = np.array([1.0, 1.0 + eps, 0.0], dtype)
        lower, upper = np.array([1.0, 1.0, -9.0], dtype), np.array([9.0, 9.0, 0.5], dtype)
        g = np.array([-2.0 * eps, 0.0, -100.0], dtype)
        if side < 0.0:
            x0, lower, upper, g = -x0, -upper, -lower, -g
        solver = Solver(x0, method="L-BFGS-B", bounds=Bounds(lower, upper), gtol=0.0)
        solver.tell(1.0, g)
        assert (side * solver.ask()).tolist() == [1.0 + 2.0 * eps, 1.0 + eps, 0.5]


@DTYPES
def test_one_coordinate(dtype):
    """(x - c)**2 and (x - c)**4 in every place of c: left of the box, at its ends, inside, right of it."""
    for c in (-3.0, -1.0, -0.9999, 0.0, 0.3, 1.99, 2.0, 7.0):
        for x0 in (-9.0, -1.0, 0.5, 2.0, 30.0):
            for power in (2, 4):

                def fun(x, c=c, power=power):
                    return float((x[0] - c) ** power), (power * (x - c) ** (power - 1)).astype(x.dtype)

                result = solve(fun, np.array([x0], dtype), Bounds(-1.0, 2.0), gtol=1e-6, ftol=0.0)
                best = min(max(c, -1.0), 2.0)
                assert result.converged and -1.0 <= result.x[0] <= 2.0
                assert abs(result.x[0] - best) <= (1e-5 if power == 2 else 2e-2)
                assert best == c or result.x[0] == best


@DTYPES
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_empty_batch(shape, dtype):
    for bounds in (Bounds(0.0, 1.0), Bounds(np.zeros(shape), np.ones(shape))):
        solver = Solver(np.empty(shape, dtype), method="L-BFGS-B", bounds=bounds)
        assert not solver.running and solver.result().x.shape == shape


# ----------------------------------------------------------------------------------------------
# Domains, scales, and numbers that are none


@DTYPES
@pytest.mark.parametrize("edge", [math.nan, INF], ids=["NaN", "inf"])
def test_an_objective_that_is_not_defined_at_its_bound(edge, dtype):
    """sum c x - log x, 0 <= x: at x = 0 it is infinite or NaN, and the first steps lead there."""
    c = np.array([0.01, 1.0, 50.0, 1e3])

    def fun(x):
        assert (x >= 0.0).all()
        if (x == 0.0).any():
            return edge, np.full(4, edge, dtype)
        x = x.astype(float)
        return float((c * x - np.log(x)).sum()), (c - 1.0 / x).astype(dtype)

    result = solve(fun, np.full(4, 2.0, dtype), Bounds(0.0, INF), gtol=1e-6 if dtype is np.float64 else 1e-2, ftol=0.0)
    assert result.status == Status.CONVERGED_GRADIENT and result.nfev < 120
    np.testing.assert_allclose(result.x * c, 1.0, rtol=1e-3 if dtype is np.float64 else 0.2)
    assert solve(fun, np.array([1.0, 0.0, 1.0, 1.0], dtype), Bounds(0.0, INF)).status == Status.NONFINITE_START


@DTYPES
def test_an_objective_that_is_not_defined_outside(dtype):
    """x log x at 0 is 0, with a slope of -inf; left of it there is nothing."""

    def fun(x):
        assert (x >= 0.0).all()
        with np.errstate(all="ignore"):
            f = np.where(x > 0.0, x * np.log(x), 0.0).sum()
            return float(f), np.log(x) + dtype(1.0)

    result = solve(fun, np.array([0.9, 0.01, 2.0], dtype), Bounds(0.0, 3.0))
    assert result.converged
    np.testing.assert_allclose(result.x, math.exp(-1.0), rtol=1e-4 if dtype is np.float64 else 1e-2)


@pytest.mark.parametrize("of_x, of_f", [(-200, 0), (100, 200), (100, 480), (-240, -480), (-10, 400), (7, 30)])
@pytest.mark.parametrize("name", ["rosenbrock", "wood", "chained_rosenbrock_10"])
def test_x_and_f_in_any_unit(name, of_x, of_f):
    """Powers of two and of four: the same path, bit for bit, if the box and not the unit sizes the first step."""
    problem = by_name(name)
    lower, upper = problem.x0 - 1.0, problem.x0 + 5.0
    unit_x, unit_f = 2.0**of_x, 2.0**of_f

    def scaled(x):
        f, g = one(problem.fun)(x / unit_x)
        return f * unit_f, g * (unit_f / unit_x)

    keywords = {"method": "L-BFGS-B", "gtol": 0.0, "ftol": 0.0, "maxiter": 12}
    plain = Solver(problem.x0, bounds=Bounds(lower, upper), **keywords)
    found = Solver(problem.x0 * unit_x, bounds=Bounds(lower * unit_x, upper * unit_x), **keywords)
    while plain.running:
        x = plain.ask()
        assert found.ask().tolist() == (x * unit_x).tolist(), plain.calls
        plain.tell(*one(problem.fun)(x))
        found.tell(*scaled(found.ask()))
        assert found.running == plain.running
    assert plain.result().nit == 12 and found.result().f == plain.result().f * unit_f


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-150, 1e150, 1e200, 1e300])
def test_scales_beyond_what_squares_hold(scale):
    problem = by_name("wood_gay")

    def fun(x):
        f, g = one(problem.fun)(x)
        with np.errstate(all="ignore"):
            return float(np.float64(scale) * f), np.float64(scale) * g

    result = solve(fun, problem.x0, bounds_of(problem), gtol=0.0, ftol=0.0, maxfun=300)
    assert result.status in FINAL and inside(result.x, (problem.lower, problem.upper))
    assert result.f <= fun(problem.x0)[0]


@DTYPES
def test_bounds_that_no_float32_is(dtype):
    """Every point is within the bounds that were given, not only near them."""
    lower, upper = np.array([0.1, 1.0 / 3.0, -0.7]), np.array([0.3, 2.0 / 3.0, -0.1])
    for away in (9.0, -9.0):
        solver = Solver(np.zeros(3, dtype), method="L-BFGS-B", bounds=Bounds(lower, upper))
        while solver.running:
            x = solver.ask()
            assert inside(x.astype(float), (lower, upper))
            solver.tell(*bowl(np.full(3, away))(x))
        result = solver.result()
        assert result.status == Status.CONVERGED_GRADIENT
        end = upper if away > 0.0 else lower
        assert (np.abs(result.x - end) <= np.spacing(np.abs(end).astype(dtype))).all()


@pytest.mark.parametrize("f, g", [(math.nan, [1.0, 1.0]), (INF, [1.0, 1.0]), (1.0, [1.0, math.nan]), (1.0, [INF, 1.0])])
def test_nonfinite_start(f, g):
    """Also where the coordinate that is not a number could not move."""
    result = solve(lambda x: (f, np.array(g)), np.array([0.0, 1.0]), Bounds(0.0, [3.0, 1.0]))
    assert (result.status, result.nit, result.nfev) == (Status.NONFINITE_START, 0, 1)
    assert result.x.tolist() == [0.0, 1.0]


def test_unbounded_within_bounds():
    """f = -inf ends the run where it is met, at the start or at a bound."""

    def fun(x):
        return (-INF if x[0] >= 4.0 else -float(x[0])), np.array([-1.0, 0.0])

    result = solve(fun, np.array([0.0, 1.0]), Bounds(0.0, [4.0, 2.0]), ftol=0.0)
    assert (result.status, result.f, result.x[0]) == (Status.UNBOUNDED, -INF, 4.0)
    result = solve(lambda x: (-INF, np.array([0.0, math.nan])), np.array([0.0, 1.0]), Bounds(0.0, 9.0))
    assert (result.status, result.nfev) == (Status.UNBOUNDED, 1)


def test_a_start_that_is_not_a_number():
    for bounds in (Bounds(0.0, 1.0), Bounds(0.0, [1.0, INF])):
        result = solve(lambda x: (float(x.sum()), np.ones(2)), np.array([math.nan, 0.5]), bounds)
        assert result.status == Status.NONFINITE_START and result.nfev == 1


@DTYPES
@pytest.mark.parametrize("name", ["rosenbrock_half", "wood_gay", "hs_45"])
def test_limits(name, dtype):
    problem = by_name(name)
    x0, fun = problem.x0.astype(dtype), one(problem.fun)
    free = solve(fun, x0, bounds_of(problem), ftol=0.0, gtol=1e-2)
    assert free.status == Status.CONVERGED_GRADIENT
    for maxfun in range(free.nfev):
        result = solve(fun, x0, bounds_of(problem), ftol=0.0, gtol=1e-2, maxfun=maxfun)
        assert (result.status, result.nfev) == (Status.MAXFUN, max(maxfun, 1))
        assert result.f == fun(result.x)[0]
    for maxiter in range(free.nit):
        result = solve(fun, x0, bounds_of(problem), ftol=0.0, gtol=1e-2, maxiter=maxiter)
        assert (result.status, result.nit) == (Status.MAXITER, maxiter)
    for limit in ({"maxfun": free.nfev}, {"maxiter": free.nit}):
        assert_same(as_member(free), as_member(solve(fun, x0, bounds_of(problem), ftol=0.0, gtol=1e-2, **limit)))


def test_a_search_of_one_evaluation():
    """The first trial lies higher, and there is no other: x stays, within the bounds."""
    problem = by_name("wood_gay")
    result = solve(one(problem.fun), problem.x0, bounds_of(problem), maxls=1)
    assert (result.status, result.nit, result.nfev) == (Status.ABNORMAL, 0, 2)
    assert result.x.tolist() == problem.x0.tolist()


# ----------------------------------------------------------------------------------------------
# How a run within bounds stops


def test_a_step_along_the_gradient_that_lowers_nothing_is_a_stall():
    """Its pair has curvature, and yet it says as little as the step."""
    solver = Solver(np.zeros(2), method="L-BFGS-B", bounds=Bounds(-9.0, [9.0, INF]), ftol=0.0)
    solver.tell(1.0, np.array([1.0, -1.0]))
    solver.ask()
    solver.tell(1.0, np.array([1.0, 1.0]))
    assert solver.result().nit == 1
    assert solver.result().status == Status.STALLED


def test_a_step_by_the_memory_that_lowers_nothing_is_tried_along_the_gradient():
    solver = Solver(np.zeros(2), method="L-BFGS-B", bounds=Bounds(-9.0, [9.0, INF]), ftol=0.0)
    solver.tell(1.0, np.array([1.0, -1.0]))
    solver.tell(0.5, np.array([0.25, 0.5]))
    assert solver.result().nit == 1 and len(solver.pairs()[0]) == 1
    p = solver.ask() - solver.result().x
    g = np.array([-p[1], p[0]]) / np.abs(p).max()  # across the step, and no smaller than before
    solver.tell(0.5, g)
    assert solver.running and solver.result().nit == 2 and len(solver.pairs()[0]) == 0
    np.testing.assert_allclose(solver.ask() - solver.result().x, -g / np.linalg.norm(g), rtol=1e-14)


def test_no_trial_beyond_the_bounds_where_rounding_hides_the_decrease():
    """f is as before, to rounding below what was asked; the slope promises more, ten times as far. There is no room."""
    a = math.sqrt(1.5 * 2.0**-53 / 2.0)
    solver = Solver(np.zeros(2), method="L-BFGS-B", bounds=Bounds(-1.0, [a, INF]), c1=0.45, c2=0.5, gtol=0.0)
    solver.tell(1.0, np.full(2, -a))
    assert solver.ask().tolist() == [a, a]
    solver.tell(1.0, np.full(2, -0.48 * a))
    if solver.running:
        x = solver.ask()
        assert x[0] == x[1] <= a
    else:
        assert solver.result().status == Status.STALLED


def test_pairs_that_rounding_spoils_are_dropped():
    """Along (1, 0) the curvature grows by 1e20, and a bound of x_2 calls for Algorithm CP: -g it is, within the box."""
    solver = Solver(np.zeros(2), method="L-BFGS-B", bounds=Bounds([-9.0, -1e-25], 9.0), maxls=1)
    solver.tell(0.0, np.array([-1.0, 0.0]))
    assert solver.ask().tolist() == [1.0, 0.0]
    solver.tell(-1.0, np.array([-0.5, 0.0]))
    assert solver.ask().tolist() == [2.0, 0.0]
    solver.tell(-2.0, np.array([1e20, 1.0]))
    assert solver.running and solver.result().nit == 2 and len(solver.pairs()[0]) == 0
    assert solver.ask().tolist() == [-9.0, -1e-25]
