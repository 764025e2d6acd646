"""`lbfgs_minimize` and `bfgs_minimize`: TFP's documented behaviour case by case, and every deviation from it."""

from __future__ import annotations

import ctypes
import inspect
import pickle
from collections import namedtuple
from itertools import pairwise

import numpy as np
import pytest

import fastbfgs
from fastbfgs import Solver, Status, bfgs_minimize, converged_all, converged_any, lbfgs_minimize
from tests.problems import by_name, starts

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
BOTH = pytest.mark.parametrize("minimize", [lbfgs_minimize, bfgs_minimize])

TFP_FIELDS = (
    "converged",
    "failed",
    "num_iterations",
    "num_objective_evaluations",
    "position",
    "objective_value",
    "objective_gradient",
)
"""The first fields of TFP's results, in its order."""

HIMMELBLAU = np.array([[3.0, 2.0], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]])
"""His four minima."""


def himmelblau(x):
    a, b = x[..., 0] ** 2 + x[..., 1] - 11, x[..., 0] + x[..., 1] ** 2 - 7
    g = np.stack([4 * x[..., 0] * a + 2 * b, 2 * a + 4 * x[..., 1] * b], axis=-1)
    return a**2 + b**2, g.astype(x.dtype)


def rosenbrock(x):
    a, b = x[..., 1:] - x[..., :-1] ** 2, 1 - x[..., :-1]
    g = np.zeros_like(x)
    g[..., :-1] -= 400 * x[..., :-1] * a + 2 * b
    g[..., 1:] += 200 * a
    return (100 * a**2 + b**2).sum(axis=-1), g


def bowl(x):
    """Quadratic of minimum (1, 2, ...) and scales 1, 2, ..."""
    scales = np.arange(1, x.shape[-1] + 1, dtype=x.dtype)
    return (scales * (x - scales) ** 2).sum(axis=-1), 2 * scales * (x - scales)


def counted(fun):
    """Return fun with an attribute `calls`: copies of the points."""

    def wrapper(x):
        wrapper.calls.append(x.copy())
        return fun(x)

    wrapper.calls = []
    return wrapper


def assert_same(a, b, members=slice(None)):
    """Assert that two results agree in every bit, but for what has no member."""
    assert type(a) is type(b)
    for name in a._fields:
        if name in ("num_iterations", "num_objective_evaluations", "search_state"):
            continue
        left, right = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        np.testing.assert_array_equal(left, right, err_msg=name)
        assert left.dtype == right.dtype, name


# ----------------------------------------------------------------------------------------------
# The interface


def test_arguments_and_defaults_are_those_of_tfp():
    def signature(function):
        return {name: p.default for name, p in inspect.signature(function).parameters.items()}

    required, lbfgs, bfgs = inspect.Parameter.empty, signature(lbfgs_minimize), signature(bfgs_minimize)
    assert lbfgs == {
        "value_and_gradients_function": required,
        "initial_position": None,
        "previous_optimizer_results": None,
        "num_correction_pairs": 10,
        "tolerance": 1e-8,
        "x_tolerance": 0,
        "f_relative_tolerance": 0,
        "initial_inverse_hessian_estimate": None,
        "max_iterations": 50,
        "parallel_iterations": 1,
        "stopping_condition": None,
        "max_line_search_iterations": 50,
        "f_absolute_tolerance": 0,
        "name": None,
        "compact": False,
    }
    assert bfgs == {
        "value_and_gradients_function": required,
        "initial_position": required,
        "tolerance": 1e-8,
        "x_tolerance": 0,
        "f_relative_tolerance": 0,
        "initial_inverse_hessian_estimate": None,
        "scale_initial_inverse_hessian": True,
        "max_iterations": 50,
        "parallel_iterations": 1,
        "stopping_condition": None,
        "validate_args": True,
        "max_line_search_iterations": 50,
        "f_absolute_tolerance": 0,
        "name": None,
        "compact": False,
    }
    assert list(lbfgs) == [*list(lbfgs)[:-1], "compact"]
    assert inspect.signature(lbfgs_minimize).parameters["compact"].kind is inspect.Parameter.KEYWORD_ONLY


@DTYPES
@pytest.mark.parametrize("shape", [(), (1,), (5,), (3, 2), (2, 1, 3), (0,), (2, 0)])
def test_fields_have_the_shapes_of_tfp(shape, dtype):
    x0 = np.linspace(-2, 2, int(np.prod(shape)) * 4, dtype=dtype).reshape(*shape, 4)
    results = lbfgs_minimize(bowl, x0, num_correction_pairs=7)
    assert results._fields == (
        *TFP_FIELDS,
        *("position_deltas", "gradient_deltas"),
        *("member_iterations", "member_evaluations", "reason", "search_state"),
    )
    shapes = {name: np.shape(getattr(results, name)) for name in results._fields if name != "search_state"}
    assert shapes == {
        "converged": shape,
        "failed": shape,
        "num_iterations": (),
        "num_objective_evaluations": (),
        "position": (*shape, 4),
        "objective_value": shape,
        "objective_gradient": (*shape, 4),
        "position_deltas": (7, *shape, 4),
        "gradient_deltas": (7, *shape, 4),
        "member_iterations": shape,
        "member_evaluations": shape,
        "reason": shape,
    }
    for name in ("position", "objective_value", "objective_gradient", "position_deltas", "gradient_deltas"):
        assert getattr(results, name).dtype == dtype, name
    assert results.converged.dtype == results.failed.dtype == bool
    assert np.all(results.converged) and not np.any(results.failed)
    assert type(results.num_iterations) is type(results.num_objective_evaluations) is int

    results = bfgs_minimize(bowl, x0)
    assert results._fields == (
        *TFP_FIELDS,
        *("inverse_hessian_estimate", "scale_initial_inverse_hessian"),
        *("member_iterations", "member_evaluations", "reason"),
    )
    assert results.inverse_hessian_estimate.shape == (*shape, 4, 4)
    assert results.inverse_hessian_estimate.dtype == dtype
    assert results.scale_initial_inverse_hessian is True


@pytest.mark.parametrize("shape", [(), (6,), (3, 2)])
@BOTH
def test_the_function_sees_the_whole_batch(minimize, shape):
    fun = counted(rosenbrock)
    x0 = np.random.default_rng(1).uniform(-2, 2, (*shape, 3))
    results = minimize(fun, x0)
    assert {x.shape for x in fun.calls} == {x0.shape}
    assert results.num_objective_evaluations == len(fun.calls) == np.max(results.member_evaluations)
    assert results.num_iterations == np.max(results.member_iterations)
    for x in fun.calls:
        assert np.isfinite(x).all()  # TFP hands NaN points over for members at rest


@BOTH
def test_rows_at_rest_are_the_final_points(minimize):
    x0 = np.array([[1.0, 2.0], [40.0, -30.0]])
    fun = counted(bowl)
    results = minimize(fun, x0)
    assert results.member_evaluations[0] == 1
    assert all((x[0] == x0[0]).all() for x in fun.calls)


@BOTH
def test_compact_calls_hold_only_running_members(minimize):
    x0 = starts(by_name("rosenbrock"), 20, 1.0, np.random.default_rng(3)).reshape(5, 4, 2)
    x0[::2] = 1.0
    fun = counted(rosenbrock)
    results = minimize(fun, x0, compact=True)
    assert sum(map(len, fun.calls)) == results.member_evaluations.sum()
    assert all(x.ndim == 2 for x in fun.calls)
    assert_same(results, minimize(rosenbrock, x0))


@pytest.mark.parametrize("compact", [False, True])
@BOTH
def test_rows_say_which_members(minimize, compact):
    centres = np.random.default_rng(4).uniform(-5, 5, (3, 2, 4))
    seen = []

    def fun(x, rows):
        seen.append(rows.copy())
        c = centres.reshape(6, 4)[rows]
        d = x.reshape(-1, 4) - c
        f, g = (d**4).sum(-1), 4 * d**3
        return (f, g) if compact else (f.reshape(3, 2), g.reshape(3, 2, 4))

    results = minimize(fun, np.zeros((3, 2, 4)), compact=compact)
    np.testing.assert_allclose(results.position, centres, atol=2e-3)
    assert len(seen[0]) == 6 and (len(seen[-1]) < 6) == compact


@DTYPES
@BOTH
def test_members_are_as_if_alone(minimize, dtype):
    x0 = np.random.default_rng(5).uniform(-3, 3, (2, 3, 4)).astype(dtype)
    batch = minimize(rosenbrock, x0)
    for index in np.ndindex(2, 3):
        alone = minimize(rosenbrock, x0[index])
        for name in alone._fields:
            if name in ("num_iterations", "num_objective_evaluations", "search_state", "scale_initial_inverse_hessian"):
                continue
            member = getattr(batch, name)
            member = member[(slice(None), *index)] if name.endswith("_deltas") else member[index]
            np.testing.assert_array_equal(member, getattr(alone, name), err_msg=name)


def test_it_is_the_solver():
    """The words differ, the steps do not."""
    x0 = np.random.default_rng(5).uniform(-3, 3, (20, 4))
    solver = Solver(x0, gtol=1e-8, ftol=0.0, maxiter=50, maxls=50, c2=0.5, compact=False)
    while solver.running:
        solver.tell(*rosenbrock(solver.ask()))
    results = lbfgs_minimize(rosenbrock, x0)
    np.testing.assert_array_equal(results.position, solver.result().x)
    for b in range(20):
        s, y = solver.pairs(b)
        np.testing.assert_array_equal(results.position_deltas[10 - len(s) :, b], s)
        np.testing.assert_array_equal(results.gradient_deltas[10 - len(s) :, b], y)
        assert not results.position_deltas[: 10 - len(s), b].any()


def test_newest_pair_is_last():
    fun = counted(rosenbrock)
    results = lbfgs_minimize(fun, np.array([-1.2, 1.0]), max_iterations=3)
    before = lbfgs_minimize(rosenbrock, np.array([-1.2, 1.0]), max_iterations=2)
    np.testing.assert_array_equal(results.position_deltas[-1], results.position - before.position)
    np.testing.assert_array_equal(results.gradient_deltas[-2], before.gradient_deltas[-1])


def test_results_can_be_pickled():
    results = lbfgs_minimize(rosenbrock, np.zeros((3, 2)), max_iterations=4)
    again = pickle.loads(pickle.dumps(results))
    assert_same(results, again)
    assert_same(
        lbfgs_minimize(rosenbrock, previous_optimizer_results=results),
        lbfgs_minimize(rosenbrock, previous_optimizer_results=again),
    )


# ----------------------------------------------------------------------------------------------
# TFP's own cases


def test_sixty_dimensional_bowl():
    """The example of TFP's documentation."""
    scales, minimum = np.arange(60.0) + 1.0, np.ones(60)

    def quadratic(x):
        return (scales * (x - minimum) ** 2).sum(axis=-1), 2 * scales * (x - minimum)

    results = lbfgs_minimize(
        quadratic, initial_position=np.arange(60.0, 0.0, -1.0), num_correction_pairs=10, tolerance=1e-8
    )
    assert results.converged and not results.failed
    np.testing.assert_allclose(results.position, minimum)
    results = bfgs_minimize(quadratic, np.arange(60.0, 0.0, -1.0), max_iterations=100)
    np.testing.assert_allclose(results.position, minimum)


@BOTH
def test_himmelblau(minimize):
    x0 = np.array([[1.0, 1.0], [-2.0, 2.0], [-1.0, -1.0], [1.0, -2.0]])
    results = minimize(himmelblau, x0, stopping_condition=converged_all, tolerance=1e-8)
    assert results.converged.all() and not results.failed.any()
    np.testing.assert_allclose(results.position, HIMMELBLAU, atol=1e-5)
    np.testing.assert_allclose(results.objective_value, 0, atol=1e-5)
    # TFP takes 36 and 38 calls of the whole batch.
    assert results.num_objective_evaluations <= 22
    first = minimize(himmelblau, x0, stopping_condition=converged_any)
    assert first.converged.any() and not first.converged.all()
    assert first.num_objective_evaluations < results.num_objective_evaluations


@BOTH
def test_sphere(minimize):
    def sphere(x):
        return (x**2).sum(axis=-1), 2 * x

    results = minimize(sphere, np.full(100, 0.01))  # ||g|| = 0.2: the first trial is -g, twice too long
    assert results.converged and results.num_iterations <= 2 and results.num_objective_evaluations <= 4


@DTYPES
@BOTH
@pytest.mark.parametrize("n", [2, 10])
def test_rosenbrock(minimize, dtype, n):
    x0 = np.random.default_rng(n).uniform(-2, 2, (100, n)).astype(dtype)
    results = minimize(rosenbrock, x0, max_iterations=500)
    assert results.converged.all() and not results.failed.any()
    assert results.position.dtype == dtype
    local = abs(results.position[:, 0] + 1) < 0.1  # for n > 3 there is a second minimum near (-1, 1, ..., 1)
    there = np.isclose(results.position, 1.0, atol=1e-6 if dtype is np.float64 else 0.05).all(axis=1)
    assert local.mean() < 0.3 if n > 3 else not local.any()
    # In float32 one may rest where f is 9.6 and max |g| 0.006: what is left of its slope is below the noise of f.
    assert (there | local).mean() >= (1.0 if dtype is np.float64 else 0.98)


@BOTH
def test_one_coordinate(minimize):
    results = minimize(lambda x: (((x - 3) ** 2).sum(-1), 2 * (x - 3)), np.zeros((4, 1)))
    np.testing.assert_allclose(results.position, 3.0)


@BOTH
def test_a_member_that_has_converged_already(minimize):
    x0 = np.array([[3.0, 2.0], [1.0, 1.0]])
    results = minimize(himmelblau, x0)
    assert results.converged.all()
    assert list(results.member_iterations == 0) == [True, False]
    for field in results:  # TFP's BFGS leaves NaN in the inverse Hessian of the first
        assert not isinstance(field, np.ndarray) or np.isfinite(field).all()
    if minimize is bfgs_minimize:
        np.testing.assert_array_equal(results.inverse_hessian_estimate[0], np.eye(2))


@BOTH
def test_minus_infinity_is_success(minimize):
    def fall(x):
        f = np.where(x[..., 0] < 0.5, -np.inf, x[..., 0] ** 2)
        return f, np.stack([2 * x[..., 0], 0 * x[..., 0]], axis=-1)

    results = minimize(fall, np.array([[0.1, 0.0], [3.0, 1.0]]))
    assert results.converged.tolist() == [True, True] and not results.failed.any()
    assert (results.objective_value == -np.inf).all()
    assert results.reason.tolist() == [Status.UNBOUNDED] * 2
    np.testing.assert_array_equal(results.position[0], [0.1, 0.0])

    results = minimize(lambda x: (-np.inf, np.full_like(x, np.nan)), np.zeros(2))
    assert results.converged and not results.failed


@BOTH
@pytest.mark.parametrize(("f", "g"), [(np.nan, 1.0), (np.inf, 0.0), (1.0, np.nan), (1.0, np.inf)])
def test_a_start_that_is_not_finite_fails_alone(minimize, f, g):
    def fun(x):
        value, gradient = himmelblau(x)
        bad = x[..., 0] > 50
        return np.where(bad, f, value), np.where(bad[..., None], g, gradient)

    x0 = np.array([[1.0, 1.0], [60.0, 0.0], [-2.0, 2.0]])
    results = minimize(fun, x0)
    assert results.converged.tolist() == [True, False, True]
    assert results.failed.tolist() == [False, True, False]
    np.testing.assert_array_equal(results.position[1], x0[1])
    assert results.member_evaluations[1] == 1 and results.member_iterations[1] == 0
    assert results.reason[1] == Status.NONFINITE_START


@BOTH
def test_no_iterations(minimize):
    fun = counted(himmelblau)
    results = minimize(fun, np.ones((3, 2)), max_iterations=0)
    assert len(fun.calls) == results.num_objective_evaluations == 1
    assert results.num_iterations == 0
    assert not results.converged.any() and not results.failed.any()
    np.testing.assert_array_equal(results.objective_value, himmelblau(np.ones((3, 2)))[0])


@BOTH
def test_iterations_run_out(minimize):
    results = minimize(rosenbrock, np.array([[-1.2, 1.0], [1.0, 1.0]]), max_iterations=5)
    assert results.converged.tolist() == [False, True] and not results.failed.any()
    assert results.reason[0] == Status.MAXITER and results.num_iterations == 5


@BOTH
def test_an_empty_batch(minimize):
    results = minimize(himmelblau, np.empty((0, 2)))
    assert results.num_iterations == results.num_objective_evaluations == 0
    assert results.position.shape == (0, 2)


@BOTH
def test_a_wrong_gradient_fails(minimize):
    def fun(x):
        f, g = himmelblau(x)
        return f, np.where(x[..., :1] > 0, -g, g)

    results = minimize(fun, np.array([[1.0, 1.0], [-2.0, 2.0]]))
    assert results.failed.tolist() == [True, False] and results.converged.tolist() == [False, True]
    assert results.objective_value[0] <= himmelblau(np.ones(2))[0]  # TFP's may end above its start


@BOTH
def test_rounding_noise_is_success(minimize):
    """As in TFP, where a step that leaves f as it is has converged. The reason tells the two apart."""
    x0 = np.random.default_rng(2).uniform(-2, 2, (50, 6)).astype(np.float32)
    results = minimize(rosenbrock, x0, max_iterations=1000)
    assert results.converged.all() and not results.failed.any()
    assert set(results.reason) <= {Status.STALLED, Status.CONVERGED_GRADIENT}
    assert (results.reason == Status.STALLED).any()


# ----------------------------------------------------------------------------------------------
# Tolerances


@BOTH
def test_tolerance_of_the_gradient(minimize):
    for tolerance in (1.0, 1e-3, 1e-6):
        results = minimize(himmelblau, np.ones(2), tolerance=tolerance)
        assert results.converged and abs(results.objective_gradient).max() <= tolerance
        shorter = minimize(himmelblau, np.ones(2), tolerance=tolerance, max_iterations=results.num_iterations - 1)
        assert abs(shorter.objective_gradient).max() > tolerance and not shorter.converged


@BOTH
@pytest.mark.parametrize("shift", [7.0, -1000.0])
@pytest.mark.parametrize("option", ["x_tolerance", "f_relative_tolerance", "f_absolute_tolerance"])
def test_tolerances_of_a_step(minimize, option, shift):
    """Each stops at the first step that it describes. That of f holds for a negative f, too, as TFP's does not."""

    def fun(x):
        f, g = rosenbrock(x)
        return f + shift, g

    def small(before, after):
        moved = abs(after.position - before.position).max()
        fell = before.objective_value - after.objective_value
        limits = {"x_tolerance": (moved, 1e-2), "f_absolute_tolerance": (fell, 1e-2)}
        how, limit = limits.get(option, (fell, 1e-3 * abs(before.objective_value)))
        return how <= limit

    value = {"x_tolerance": 1e-2, "f_relative_tolerance": 1e-3, "f_absolute_tolerance": 1e-2}[option]
    results = minimize(fun, np.array([-1.2, 1.0]), **{option: value})
    assert results.converged
    assert results.reason == (Status.CONVERGED_STEP if option == "x_tolerance" else Status.CONVERGED_DECREASE)
    iterates = [minimize(fun, np.array([-1.2, 1.0]), max_iterations=k) for k in range(results.num_iterations + 1)]
    assert [small(a, b) for a, b in pairwise(iterates)] == [False] * (len(iterates) - 2) + [True]


def test_line_search_iterations_limit_one_search():
    def cliff(x):
        return np.where(x[..., 0] > 1e-6, np.inf, -x[..., 0]), np.stack([-np.ones_like(x[..., 0])], axis=-1)

    results = lbfgs_minimize(cliff, np.zeros(1), max_line_search_iterations=3)
    assert results.failed and results.num_objective_evaluations == 4
    assert lbfgs_minimize(cliff, np.zeros(1), max_line_search_iterations=30).num_iterations > 0


# ----------------------------------------------------------------------------------------------
# When to stop


def test_conditions():
    t, f = np.array([True, True]), np.array([False, False])
    mixed = np.array([True, False])
    assert converged_all(t, f) and converged_all(mixed, ~mixed) and not converged_all(mixed, f)
    assert converged_any(mixed, f) and converged_any(f, t) and not converged_any(f, mixed) and not converged_any(f, f)


@BOTH
def test_any_callable_stops(minimize):
    x0 = np.random.default_rng(7).uniform(-4, 4, (30, 2))
    seen = []

    def half(converged, failed):
        assert converged.shape == failed.shape == (30,)
        seen.append(converged.sum())
        return np.mean(converged) >= 0.5

    results = minimize(himmelblau, x0, stopping_condition=half)
    assert 15 <= results.converged.sum() < 30
    assert (np.diff(seen) > 0).all() and seen[-1] == results.converged.sum() and seen[-2] < 15
    assert set(results.reason[~results.converged]) == {Status.STOPPED}


@BOTH
def test_a_condition_that_always_holds(minimize):
    results = minimize(himmelblau, np.ones((2, 2)), stopping_condition=lambda converged, failed: True)
    assert results.num_objective_evaluations == 1 and results.num_iterations == 0


@BOTH
def test_a_condition_that_never_holds(minimize):
    results = minimize(himmelblau, np.ones((2, 2)), stopping_condition=lambda converged, failed: False)
    assert results.converged.all()


# ----------------------------------------------------------------------------------------------
# Going on


@DTYPES
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("shape", [(40,), (5, 8)])
def test_stopped_and_resumed_is_never_stopped(dtype, compact, shape):
    x0 = np.random.default_rng(11).uniform(-4, 4, (*shape, 2)).astype(dtype)
    fun = counted(himmelblau)
    whole = lbfgs_minimize(fun, x0, compact=compact)
    calls, fun.calls = fun.calls, []
    first = lbfgs_minimize(fun, x0, stopping_condition=converged_any, compact=compact)
    assert first.converged.any() and not first.converged.all()
    rest = lbfgs_minimize(fun, previous_optimizer_results=first, stopping_condition=converged_all, compact=compact)
    assert_same(whole, rest)
    assert (whole.num_iterations, whole.num_objective_evaluations) == (
        rest.num_iterations,
        rest.num_objective_evaluations,
    )
    assert len(calls) == len(fun.calls)
    for a, b in zip(calls, fun.calls, strict=True):
        np.testing.assert_array_equal(a, b)


def test_resumed_after_every_member():
    """Stopped wherever a member finishes, over and over."""
    x0 = np.random.default_rng(13).uniform(-2, 2, (30, 3))
    whole = lbfgs_minimize(rosenbrock, x0, max_iterations=100)

    def next_one(before):
        return lambda converged, failed: converged.sum() > before

    results = lbfgs_minimize(rosenbrock, x0, max_iterations=100, stopping_condition=next_one(0))
    pieces = 1
    while not results.converged.all():
        results = lbfgs_minimize(
            rosenbrock,
            previous_optimizer_results=results,
            max_iterations=100,
            stopping_condition=next_one(results.converged.sum()),
        )
        pieces += 1
    assert pieces > 5
    assert_same(whole, results)
    assert whole.num_objective_evaluations == results.num_objective_evaluations


@pytest.mark.parametrize("single", [False, True])
def test_resumed_after_the_limit_of_iterations(single):
    """`max_iterations` is the total."""
    x0 = np.random.default_rng(17).uniform(-2, 2, (10, 3))
    x0 = x0[0] if single else x0
    whole = lbfgs_minimize(rosenbrock, x0, max_iterations=40)
    results = lbfgs_minimize(rosenbrock, x0, max_iterations=0)
    for k in range(1, 41):
        results = lbfgs_minimize(rosenbrock, previous_optimizer_results=results, max_iterations=k)
        assert results.num_iterations <= k
    assert_same(whole, results)
    assert np.max(whole.member_evaluations) == np.max(results.member_evaluations)
    same = lbfgs_minimize(rosenbrock, previous_optimizer_results=results, max_iterations=3)
    assert_same(results, same)
    assert same.num_objective_evaluations == results.num_objective_evaluations


def test_one_result_serves_many_runs():
    first = lbfgs_minimize(rosenbrock, np.full((4, 3), -1.0), max_iterations=3)
    kept = pickle.loads(pickle.dumps(first))
    a, b = (lbfgs_minimize(rosenbrock, previous_optimizer_results=first) for _ in range(2))
    assert_same(a, b)
    assert_same(first, kept)


def test_resumed_with_a_diagonal():
    h0 = np.array([0.01, 0.02, 0.05])
    whole = lbfgs_minimize(rosenbrock, np.full((4, 3), -1.0), initial_inverse_hessian_estimate=h0)
    first = lbfgs_minimize(
        rosenbrock, np.full((4, 3), -1.0), initial_inverse_hessian_estimate=h0, stopping_condition=lambda c, f: True
    )
    assert_same(whole, lbfgs_minimize(rosenbrock, previous_optimizer_results=first))
    other = lbfgs_minimize(
        rosenbrock, previous_optimizer_results=first, initial_inverse_hessian_estimate=h0 / 10, max_iterations=2
    )
    assert (
        other.position != lbfgs_minimize(rosenbrock, previous_optimizer_results=first, max_iterations=2).position
    ).any()


def test_flags_are_sticky_until_they_are_cleared():
    x0 = np.array([[1.0, 1.0], [-2.0, 2.0]])
    rough = lbfgs_minimize(himmelblau, x0, tolerance=1.0)
    same = lbfgs_minimize(himmelblau, previous_optimizer_results=rough, tolerance=1e-8)
    assert_same(rough, same)
    cleared = rough._replace(converged=np.array([False, True]))
    results = lbfgs_minimize(himmelblau, previous_optimizer_results=cleared, tolerance=1e-8)
    assert results.converged.all()
    assert abs(results.objective_gradient[0]).max() <= 1e-8
    np.testing.assert_array_equal(results.position[1], rough.position[1])
    fine = lbfgs_minimize(himmelblau, x0, tolerance=1e-8)  # the first step was tested, and the next begun, as there
    np.testing.assert_array_equal(results.position[0], fine.position[0])


def test_flags_that_are_set_by_hand_stay():
    first = lbfgs_minimize(rosenbrock, np.full((3, 2), -1.0), max_iterations=3)
    changed = first._replace(converged=np.array([True, False, False]), failed=np.array([False, True, False]))
    results = lbfgs_minimize(rosenbrock, previous_optimizer_results=changed)
    assert results.converged.tolist() == [True, False, True] and results.failed.tolist() == [False, True, False]
    np.testing.assert_array_equal(results.position[:2], first.position[:2])
    assert results.reason[:2].tolist() == [Status.STOPPED] * 2


def test_a_changed_position_begins_a_new_search():
    """Of that member alone."""
    first = lbfgs_minimize(rosenbrock, np.array([[-1.2, 1.0], [0.5, -0.5], [2.0, 2.0]]), max_iterations=3)
    whole = lbfgs_minimize(rosenbrock, previous_optimizer_results=first)
    position = first.position.copy()
    position[1] = [0.0, 0.3]
    f, g = rosenbrock(position)
    fun = counted(rosenbrock)
    results = lbfgs_minimize(
        fun,
        previous_optimizer_results=first._replace(position=position, objective_value=f, objective_gradient=g),
    )
    assert results.converged.all()
    np.testing.assert_array_equal(results.position[[0, 2]], whole.position[[0, 2]])
    assert results.position_deltas.shape == first.position_deltas.shape
    assert not any((x[1] == position[1]).all() for x in fun.calls)  # nothing is evaluated again


def test_pairs_alone_say_where_to_go():
    """A search begun anew takes the direction -H g of the pairs that it is given."""
    first = lbfgs_minimize(rosenbrock, np.array([-1.2, 1.0, 0.5]), max_iterations=6, num_correction_pairs=4)
    fun = counted(rosenbrock)
    lbfgs_minimize(fun, previous_optimizer_results=first._replace(search_state=()), max_iterations=7)
    from tests.oracle import dense

    H = dense(first.position_deltas, first.gradient_deltas)
    np.testing.assert_allclose(fun.calls[0], (first.position - H @ first.objective_gradient).astype(float), rtol=1e-12)


def test_results_of_tfp_itself_will_do():
    """No field but TFP's own, scalars for the batch."""
    ours = lbfgs_minimize(rosenbrock, np.array([[-1.2, 1.0], [1.0, 1.0]]), max_iterations=4, num_correction_pairs=5)
    fields = ours._fields[:9]
    theirs = namedtuple("LBfgsOptimizerResults", fields)(*ours[:9])
    results = lbfgs_minimize(rosenbrock, previous_optimizer_results=theirs, num_correction_pairs=3)
    assert results.converged.all() and results.position_deltas.shape == (5, 2, 2)
    np.testing.assert_array_equal(results.position[1], [1.0, 1.0])
    assert results.num_objective_evaluations > ours.num_objective_evaluations
    assert results.num_iterations > 4


def test_the_number_of_pairs_is_that_of_the_results():
    first = lbfgs_minimize(rosenbrock, np.zeros(3), num_correction_pairs=4, max_iterations=2)
    results = lbfgs_minimize(rosenbrock, previous_optimizer_results=first, num_correction_pairs=9)
    assert results.position_deltas.shape == (4, 3)


def test_resumed_from_partial_results():
    x0 = np.random.default_rng(19).uniform(-2, 2, (6, 3))
    whole = lbfgs_minimize(rosenbrock, x0)

    def breaks(after):
        def fun(x):
            nonlocal after
            after -= 1
            if after < 0:
                raise KeyboardInterrupt
            return rosenbrock(x)

        return fun

    for after in range(8):
        with pytest.raises(KeyboardInterrupt) as caught:
            lbfgs_minimize(breaks(after), x0)
        partial = caught.value.partial_result
        assert not partial.failed.any() and partial.num_objective_evaluations == after
        results = lbfgs_minimize(rosenbrock, previous_optimizer_results=partial)
        assert_same(whole, results)


def test_an_empty_batch_goes_on():
    first = lbfgs_minimize(rosenbrock, np.empty((0, 2)))
    assert lbfgs_minimize(rosenbrock, previous_optimizer_results=first).position.shape == (0, 2)


def test_mixed_precision_goes_on_exactly():
    """A float64 f of float32 points: its rounding to objective_value does not make it another f."""

    def fun(x):
        f, g = rosenbrock(x.astype(np.float64))
        return f, g.astype(np.float32)

    x0 = np.random.default_rng(23).uniform(-2, 2, (8, 2)).astype(np.float32)
    whole = lbfgs_minimize(fun, x0)
    first = lbfgs_minimize(fun, x0, max_iterations=5)
    assert first.objective_value.dtype == np.float32
    assert_same(whole, lbfgs_minimize(fun, previous_optimizer_results=first))


# ----------------------------------------------------------------------------------------------
# The initial inverse Hessian


@DTYPES
@pytest.mark.parametrize("shape", [(), (3,), (4, 3), (1, 3), (4, 1), (1,)])
def test_diagonal(shape, dtype):
    x0 = np.random.default_rng(29).uniform(-2, 2, (4, 3)).astype(dtype)
    h0 = np.random.default_rng(31).uniform(1e-3, 1e-2, shape).astype(dtype)
    results = lbfgs_minimize(rosenbrock, x0, initial_inverse_hessian_estimate=h0)
    assert results.converged.all()
    options = {"gtol": 1e-8, "ftol": 0.0, "maxiter": 50, "maxls": 50, "c2": 0.5}
    solver = Solver(x0, h0=np.broadcast_to(h0, x0.shape), compact=False, **options)
    while solver.running:
        solver.tell(*rosenbrock(solver.ask()))
    np.testing.assert_array_equal(results.position, solver.result().x)
    given = []

    def estimate(position):
        given.append(position)
        return h0

    assert_same(results, lbfgs_minimize(rosenbrock, x0, initial_inverse_hessian_estimate=estimate))
    assert len(given) == 1 and (given[0] == x0).all() and given[0] is not x0


def test_the_first_step_is_minus_h0_g():
    h0 = np.array([0.1, 0.3])
    fun = counted(himmelblau)
    lbfgs_minimize(fun, np.ones((2, 2)), initial_inverse_hessian_estimate=h0, max_iterations=1)
    np.testing.assert_allclose(fun.calls[1], np.ones((2, 2)) - h0 * himmelblau(np.ones((2, 2)))[1], rtol=1e-15)


@DTYPES
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("shape", [None, (3, 3), (4, 3, 3), (1, 3, 3)])
def test_matrix(shape, scale, dtype):
    """The estimate after one step is the update of H0, scaled or not."""
    rng = np.random.default_rng(37)
    x0 = rng.uniform(-2, 2, (4, 3)).astype(dtype)
    h0 = None
    if shape is not None:
        a = rng.normal(size=shape)
        h0 = (0.001 * (a @ a.swapaxes(-1, -2) + np.eye(3))).astype(dtype)
    start = bfgs_minimize(rosenbrock, x0, initial_inverse_hessian_estimate=h0, max_iterations=0)
    initial = np.eye(3) if h0 is None else (h0 + h0.swapaxes(-1, -2)) / 2
    np.testing.assert_array_equal(start.inverse_hessian_estimate, np.broadcast_to(initial.astype(dtype), (4, 3, 3)))
    one = bfgs_minimize(
        rosenbrock,
        x0,
        initial_inverse_hessian_estimate=h0,
        max_iterations=1,
        scale_initial_inverse_hessian=scale,
    )
    assert one.scale_initial_inverse_hessian is scale
    s = (one.position - start.position).astype(float)
    y = (one.objective_gradient - start.objective_gradient).astype(float)
    for b in range(4):
        sy, yy = s[b] @ y[b], y[b] @ y[b]
        assert sy > 0
        V = np.eye(3) - np.outer(y[b], s[b]) / sy
        H0 = start.inverse_hessian_estimate[b].astype(float) * (sy / yy if scale else 1.0)
        expected = V.T @ H0 @ V + np.outer(s[b], s[b]) / sy
        np.testing.assert_allclose(
            one.inverse_hessian_estimate[b], expected, rtol=0, atol=abs(expected).max() * 100 * np.finfo(dtype).eps
        )
    results = bfgs_minimize(
        rosenbrock, x0, initial_inverse_hessian_estimate=h0, scale_initial_inverse_hessian=scale, max_iterations=200
    )
    assert results.converged.all()


def test_matrix_from_the_position():
    def inverse_hessian(x):
        assert x.shape == (2, 2)
        H = np.empty((2, 2, 2))
        H[:, 0, 0] = 12 * x[:, 0] ** 2 + 4 * x[:, 1] - 42
        H[:, 1, 1] = 12 * x[:, 1] ** 2 + 4 * x[:, 0] - 26
        H[:, 0, 1] = H[:, 1, 0] = 4 * (x[:, 0] + x[:, 1])
        return np.linalg.inv(H)

    x0 = HIMMELBLAU[:2] + 0.05
    fun = counted(himmelblau)
    bfgs_minimize(fun, x0, initial_inverse_hessian_estimate=inverse_hessian, max_iterations=1)
    step = -np.einsum("bij,bj->bi", inverse_hessian(x0), himmelblau(x0)[1])
    np.testing.assert_allclose(fun.calls[1], x0 + step, rtol=1e-12)  # Newton's


def test_an_unchecked_matrix_fails_its_member_alone():
    h0 = np.array([np.eye(2), -np.eye(2)])
    results = bfgs_minimize(
        himmelblau, np.ones((2, 2)), initial_inverse_hessian_estimate=h0, validate_args=False, max_iterations=100
    )
    assert results.converged.tolist() == [True, False] and results.failed.tolist() == [False, True]
    assert results.reason[1] == Status.ABNORMAL


def test_bfgs_learns_the_inverse_hessian():
    """Its diagonal's roots are standard deviations to those who fit by it."""
    A = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]])
    results = bfgs_minimize(lambda x: (0.5 * ((x @ A) * x).sum(-1), x @ A), np.ones((5, 3)) * np.arange(1, 6)[:, None])
    for H in results.inverse_hessian_estimate:
        np.testing.assert_allclose(H, np.linalg.inv(A), atol=1e-6)


# ----------------------------------------------------------------------------------------------
# What differs from TFP


@BOTH
def test_the_first_trial_is_tested(minimize):
    """A step that satisfies the Wolfe conditions at once costs one evaluation; TFP never takes fewer than two."""

    def valley(x):
        return (np.exp(x) - x).sum(-1), np.exp(x) - 1

    results = minimize(valley, np.random.default_rng(41).uniform(-2, 2, (200, 2)))
    assert results.converged.all()
    # The search of BFGS is nearly exact. TFP takes 2.4 to 3 evaluations an iteration of either.
    most = 1.7 if minimize is lbfgs_minimize else 2.2
    assert results.member_evaluations.sum() / results.member_iterations.sum() < most


@BOTH
def test_nan_beyond_the_domain_shrinks_the_step(minimize):
    def fun(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            return (50 * x - np.log(x)).sum(axis=-1), 50 - 1 / x

    results = minimize(fun, np.full((3, 4), 2.0), max_iterations=200)
    assert results.converged.all()
    np.testing.assert_allclose(results.position, 0.02, rtol=1e-6)


@BOTH
def test_evaluations_are_a_tenth_of_tfps(minimize):
    """TFP's lbfgs_minimize evaluates 475,000 members for these 1,000 (every row, in every call)."""
    x0 = np.random.default_rng(0).uniform(-2, 2, (1000, 2))
    results = minimize(rosenbrock, x0, tolerance=1e-5, max_iterations=1000, compact=True)
    assert results.converged.all() and not results.failed.any()
    assert results.member_evaluations.sum() < 475_000 / 10


# ----------------------------------------------------------------------------------------------
# Compiled objectives


@DTYPES
@BOTH
def test_compiled(minimize, dtype):
    """The same bits, whoever calls the function; a run by both is one run."""
    kind = ctypes.c_double if dtype is np.float64 else ctypes.c_float
    vector, whole = ctypes.POINTER(kind), ctypes.c_int64

    @ctypes.CFUNCTYPE(ctypes.c_double, whole, whole, vector, vector, ctypes.c_void_p)
    def compiled(member, n, x, g, user_data):
        f, gradient = rosenbrock(np.ctypeslib.as_array(x, (n,)).copy())
        np.ctypeslib.as_array(g, (n,))[:] = gradient
        return float(f)

    x0 = np.random.default_rng(43).uniform(-2, 2, (3, 2, 4)).astype(dtype)
    expected = minimize(rosenbrock, x0, max_iterations=20)
    results = minimize(compiled, x0, max_iterations=20, stopping_condition=converged_all)
    assert_same(results, expected)
    assert results.num_objective_evaluations == results.member_evaluations.sum()
    if minimize is lbfgs_minimize:
        first = minimize(rosenbrock, x0, max_iterations=20, stopping_condition=lambda c, f: True)
        assert_same(minimize(compiled, previous_optimizer_results=first, max_iterations=20), expected)
    with pytest.raises(ValueError, match="only converged_all can be its stopping"):
        minimize(compiled, x0, stopping_condition=converged_any)


# ----------------------------------------------------------------------------------------------
# Bad input


def never(x):
    raise AssertionError("the function is called although the arguments are wrong")


PREVIOUS = lbfgs_minimize(himmelblau, np.ones((3, 2)), max_iterations=2)


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({}, ValueError, "exactly one of initial_position and previous_optimizer_results must be given; got neither"),
        ({"initial_position": np.ones((3, 2)), "previous_optimizer_results": PREVIOUS}, ValueError, "got both"),
        ({"previous_optimizer_results": 3}, TypeError, "must be what lbfgs_minimize has returned.*got int without pos"),
        (
            {"previous_optimizer_results": PREVIOUS._replace(objective_value=np.zeros(4))},
            ValueError,
            r"previous_optimizer_results.objective_value must have shape \(3,\) and dtype float64.*got \(4,\)",
        ),
        (
            {"previous_optimizer_results": PREVIOUS._replace(objective_gradient=np.zeros((3, 2), np.float32))},
            ValueError,
            r"objective_gradient must have shape \(3, 2\) and dtype float64.*got \(3, 2\) of float32",
        ),
        (
            {"previous_optimizer_results": PREVIOUS._replace(position=np.zeros((3, 3)))},
            ValueError,
            r"objective_gradient must have shape \(3, 3\)",
        ),
        (
            {"previous_optimizer_results": PREVIOUS._replace(position=PREVIOUS.position.astype(np.float32))},
            ValueError,
            "objective_value must have shape .* and dtype float32",
        ),
        (
            {"previous_optimizer_results": PREVIOUS._replace(position_deltas=np.zeros((10, 4, 2)))},
            ValueError,
            r"position_deltas must have shape \(10, 3, 2\)",
        ),
        (
            {"previous_optimizer_results": PREVIOUS._replace(gradient_deltas=np.zeros((3, 2)))},
            ValueError,
            r"gradient_deltas must have shape \('m', 3, 2\)",
        ),
        (
            {"previous_optimizer_results": PREVIOUS._replace(gradient_deltas=np.zeros((4, 3, 2)))},
            ValueError,
            r"gradient_deltas must have shape \(10, 3, 2\) and dtype float64.*got \(4, 3, 2\)",
        ),
        (
            {"previous_optimizer_results": PREVIOUS._replace(converged=np.zeros(3, int))},
            ValueError,
            r"converged must have shape \(3,\) and dtype bool",
        ),
        (
            {
                "previous_optimizer_results": PREVIOUS._replace(
                    search_state=lbfgs_minimize(himmelblau, np.ones((2, 2)), max_iterations=1).search_state
                )
            },
            ValueError,
            "searches are not of this result",
        ),
        ({"initial_position": np.ones((3, 2), complex)}, TypeError, "initial_position must hold real numbers"),
        ({"initial_position": []}, ValueError, "initial_position must have at least one coordinate"),
        ({"initial_position": np.ones(2), "num_correction_pairs": 0}, ValueError, "num_correction_pairs must be a pos"),
        (
            {"initial_position": np.ones(2), "tolerance": -1.0},
            ValueError,
            "^tolerance must be a number that is not neg",
        ),
        ({"initial_position": np.ones(2), "x_tolerance": np.nan}, ValueError, "x_tolerance must be"),
        ({"initial_position": np.ones(2), "f_relative_tolerance": "1"}, TypeError, "f_relative_tolerance must be"),
        ({"initial_position": np.ones(2), "f_absolute_tolerance": -1}, ValueError, "f_absolute_tolerance must be"),
        ({"initial_position": np.ones(2), "max_iterations": -1}, ValueError, "max_iterations must be an integer"),
        ({"initial_position": np.ones(2), "max_line_search_iterations": 0}, ValueError, "max_line_search_iterations"),
        ({"initial_position": np.ones(2), "stopping_condition": 3}, TypeError, "stopping_condition must be callable"),
        (
            {"initial_position": np.ones((3, 2)), "initial_inverse_hessian_estimate": np.ones(3)},
            ValueError,
            r"initial_inverse_hessian_estimate must have a shape that broadcasts to \(3, 2\); got \(3,\)",
        ),
        (
            {"initial_position": np.ones(2), "initial_inverse_hessian_estimate": [1.0, 0.0]},
            ValueError,
            "initial_inverse_hessian_estimate must be positive",
        ),
        (
            {"initial_position": np.ones(2), "initial_inverse_hessian_estimate": lambda x: np.ones(5)},
            ValueError,
            "initial_inverse_hessian_estimate must have a shape that broadcasts",
        ),
    ],
)
def test_bad_arguments(keywords, error, words):
    with pytest.raises(error, match=words):
        lbfgs_minimize(never, **keywords)


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"initial_inverse_hessian_estimate": np.eye(3)}, ValueError, r"broadcasts to \(2, 2\); got \(3, 3\)"),
        ({"initial_inverse_hessian_estimate": [[1.0, 2.0], [0.0, 1.0]]}, ValueError, "not symmetric"),
        ({"initial_inverse_hessian_estimate": -np.eye(2)}, ValueError, "not positive definite"),
        ({"initial_inverse_hessian_estimate": np.full((2, 2), np.nan), "validate_args": False}, ValueError, "finite"),
        ({"scale_initial_inverse_hessian": 2}, ValueError, "scale_initial_inverse_hessian must be True or False"),
        ({"max_iterations": 1.5}, ValueError, "max_iterations must be an integer"),
    ],
)
def test_bad_arguments_of_bfgs(keywords, error, words):
    with pytest.raises(error, match=words):
        bfgs_minimize(never, np.ones(2), **keywords)


@pytest.mark.parametrize("function", [None, 3, "rosen"])
@BOTH
def test_a_function_that_is_none(minimize, function):
    with pytest.raises(TypeError, match="value_and_gradients_function must be callable"):
        minimize(function, np.ones(2))


@BOTH
@pytest.mark.parametrize("shape", [(2,), (3, 2), (3, 4, 2)])
@pytest.mark.parametrize(
    ("returns", "error", "words"),
    [
        (lambda x: himmelblau(x)[0], TypeError, "must return the pair"),
        (lambda x: (*himmelblau(x), 1), TypeError, "must return the pair.*got 3 things"),
        (lambda x: (himmelblau(x)[0][..., None], np.stack([x, x])), ValueError, "must return"),
        (lambda x: (himmelblau(x)[0], himmelblau(x)[1].sum(-1)), ValueError, "must return"),
        (lambda x: (himmelblau(x)[0] + 1j, x), TypeError, "real"),
    ],
)
def test_a_function_that_returns_something_else(minimize, shape, returns, error, words):
    with pytest.raises(error, match=words):
        minimize(returns, np.ones(shape))


@BOTH
def test_a_condition_that_is_no_truth_value(minimize):
    with pytest.raises(
        ValueError, match=r"stopping_condition must return one truth value; got an array of shape \(3,\)"
    ):
        minimize(himmelblau, np.ones((3, 2)), stopping_condition=lambda converged, failed: converged)


@BOTH
def test_exceptions_pass_and_carry_the_results(minimize):
    class Oops(Exception):
        pass

    calls = 0

    def fun(x):
        nonlocal calls
        calls += 1
        if calls > 5:
            raise Oops
        return rosenbrock(x)

    with pytest.raises(Oops) as caught:
        minimize(fun, np.full((3, 2), -1.0))
    partial = caught.value.partial_result
    assert partial.num_objective_evaluations == 5 and not partial.converged.any()
    np.testing.assert_array_equal(partial.objective_value, rosenbrock(partial.position)[0])


def test_every_public_name_is_at_the_top():
    assert {"lbfgs_minimize", "bfgs_minimize", "converged_all", "converged_any"} <= set(fastbfgs.__all__)
