"""Runs on a GPU that stop and go on: `Solver.resume`, and TensorFlow Probability's results; on `on_host`'s stand-in."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import fastbfgs
from fastbfgs import Options, Solver, Status, cuda
from fastbfgs.result import Result
from tests import on_host
from tests.test_device import DTYPES, away, fields

pytestmark = on_host.needs_compiler
xp: Any = on_host
"""The array library; gpu.py runs some of these tests with CuPy."""

SCALARS = ("f", "nit", "nfev", "status")


@pytest.fixture(autouse=True)
def _cupy(monkeypatch):
    on_host.pretend(monkeypatch)


def valleys(x):
    """Rosenbrock's function, chained, for NumPy and for CuPy: (..., n)."""
    d, e = x[..., 1:] - x[..., :-1] ** 2, 1.0 - x[..., :-1]
    g = 0.0 * x
    g[..., 1:] += 200.0 * d
    g[..., :-1] -= 400.0 * x[..., :-1] * d + 2.0 * e
    return (100.0 * d**2 + e**2).sum(axis=-1), g


def starts(*shape, dtype=np.float64):
    return np.random.default_rng(shape).uniform(-2.0, 2.0, shape).astype(dtype)


def told(solver, times=10**6):
    while solver.running and times:
        solver.tell(*valleys(solver.ask()))
        times -= 1
    return solver


def taken_up(solver, searches=True, h0=None, **changes):
    """Resume from all that a solver gives."""
    result = replace(solver.result(), **changes)
    searches = solver.searches() if searches else None
    return Solver.resume(result, solver.memories(), solver.options, searches=searches, h0=h0, compact=solver.compact)


def brought(given):
    return given.get() if isinstance(given, xp.ndarray) else given


def assert_same(ours, theirs):
    """Compare two solvers, or results, by their bits, wherever they are."""
    if isinstance(ours, Solver):
        assert ours.calls == theirs.calls
        for mine, other in zip(ours.memories(), theirs.memories(), strict=True):
            np.testing.assert_array_equal(brought(mine), brought(other))
        ours, theirs = ours.result(), theirs.result()
    for name in ("x", "g", *SCALARS):
        mine, other = brought(getattr(ours, name)), brought(getattr(theirs, name))
        np.testing.assert_array_equal(mine, other, name)
        assert getattr(mine, "dtype", type(mine)) == getattr(other, "dtype", type(other)), name


# ----------------------------------------------------------------------------------------------
# Solver.resume


@DTYPES
@pytest.mark.parametrize("given", [None, "shared", "own"])
@pytest.mark.parametrize("shape", [(3,), (5, 3), (2, 2, 4)])
def test_with_its_searches_it_goes_on_as_if_never_stopped(shape, given, dtype):
    """With the bits of the CPU, whose own runs do."""
    x0 = starts(*shape, dtype=dtype)
    h0 = None if given is None else np.abs(starts(*(shape if given == "own" else shape[-1:]), dtype=dtype)) / 50
    keywords = {"history": 3, "maxiter": 25, "gtol": 1e-3}
    h0s = {xp.array: None, np.asarray: None} if h0 is None else {make: make(h0) for make in (xp.array, np.asarray)}
    wholes = {make: told(Solver(make(x0), h0=h0s[make], **keywords)) for make in h0s}
    assert_same(*wholes.values())
    for times in (0, 1, 2, 3, 7, 15, 60):
        ours, theirs = (taken_up(told(Solver(make(x0), h0=h0s[make], **keywords), times), h0=h0s[make]) for make in h0s)
        assert ours.live == theirs.live and ours.shape == theirs.shape
        assert isinstance(ours.result().x, xp.ndarray)
        assert_same(ours, theirs)
        assert_same(told(ours), told(theirs))
        assert_same(ours, wholes[xp.array])


@DTYPES
@pytest.mark.parametrize("shape", [(3,), (6, 3)])
def test_without_searches_it_begins_new_ones(shape, dtype):
    x0 = starts(*shape, dtype=dtype)
    for times in (1, 2, 5, 9):
        solvers = [told(Solver(make(x0), history=4, maxiter=30), times) for make in (xp.array, np.asarray)]
        ours, theirs = (taken_up(solver, searches=False) for solver in solvers)
        assert_same(ours, theirs)
        np.testing.assert_array_equal(ours.ask().get(), theirs.ask())
        assert_same(told(ours), told(theirs))


@pytest.mark.parametrize("n", [5, 13, 33, 70])
def test_more_threads_go_on_as_if_never_stopped(n):
    x0 = xp.array(starts(3, n))
    whole = told(Solver(x0, history=3, maxiter=15))
    for times in (2, 6, 11):
        assert_same(told(taken_up(told(Solver(x0, history=3, maxiter=15), times))), whole)


@DTYPES
@pytest.mark.parametrize("given", [None, "shared", "own"])
@pytest.mark.parametrize("norm", [np.inf, 2.0, 3.0])
def test_large_members_go_on_as_if_never_stopped(norm, given, dtype, monkeypatch):
    """Their tables are formed anew, of the same sums in the same order. With the norm of order 3 they are a grid's."""
    monkeypatch.setattr(cuda, "LARGE", 40)
    n = 1300 if given is None else 50  # several panels, or one
    x0 = xp.array(starts(2, n, dtype=dtype))
    h0 = None if given is None else xp.array(np.random.default_rng(5).uniform(1e-3, 2e-3, (2, n)).astype(dtype))
    h0 = h0[0] if given == "shared" else h0
    keywords = {"history": 3, "maxiter": 9, "norm": norm}
    whole = told(Solver(x0, h0=h0, **keywords))
    for times in (0, 1, 4, 8):
        part = told(Solver(x0, h0=h0, **keywords), times)
        again = taken_up(part, h0=h0)
        assert again.running and bool((again.ask() == part.ask()).all())
        assert_same(told(again), whole)


def test_large_members_begin_new_searches_as_on_the_cpu(monkeypatch):
    monkeypatch.setattr(cuda, "LARGE", 40)
    x0 = starts(2, 700)
    for given in (None, np.full(700, 1e-3)):
        part = told(Solver(x0, history=4, h0=given), 9)
        theirs = taken_up(part, searches=False, h0=given)
        result = part.result()
        there = replace(result, **{name: xp.array(getattr(result, name)) for name in ("x", "g", *SCALARS)})
        ours = Solver.resume(
            there, tuple(map(xp.array, part.memories())), part.options, h0=None if given is None else xp.array(given)
        )
        np.testing.assert_allclose(ours.ask().get(), theirs.ask(), 1e-10, 1e-12)
        np.testing.assert_array_equal(ours.memories()[0].get(), theirs.memories()[0])


@pytest.mark.parametrize("large", [False, True])
def test_a_search_that_is_cut_short_afterwards_takes_its_best_trial(large, monkeypatch):
    """The gradient there is one of what goes on."""
    monkeypatch.setattr(cuda, "LARGE", 3 if large else 100)
    x0 = xp.array(starts(4, 3))
    keywords = {"maxls": 3, "c2": 2e-3, "maxiter": 8}
    whole = told(Solver(x0, **keywords))
    for times in range(1, 16, 2):
        assert_same(told(taken_up(told(Solver(x0, **keywords), times))), whole)


def test_blocks_agree_in_whatever_order_they_take_turns(monkeypatch):
    monkeypatch.setattr(cuda, "LARGE", 40)
    made = []
    for order in (0, 1, 5):
        monkeypatch.setattr(on_host, "order", order)
        made.append(told(taken_up(told(Solver(xp.array(starts(2, 700)), history=3), 5)), 3))
    for other in made[1:]:
        assert_same(other, made[0])


def test_a_member_that_has_been_moved_begins_a_new_search():
    """It alone."""
    part = [told(Solver(make(starts(4, 3))), 8) for make in (xp.array, np.asarray)]
    changes = []
    for solver, make in zip(part, (xp.array, np.asarray), strict=True):
        x = brought(solver.result().x).copy()
        x[1] = [0.0, 0.3, 0.5]
        f, g = valleys(x)
        changes.append({"x": make(x), "f": make(f), "g": make(g)})
    ours, theirs = (taken_up(solver, **change) for solver, change in zip(part, changes, strict=True))
    assert_same(ours, theirs)
    x, before = ours.ask().get(), part[0].ask().get()
    assert (x[[0, 2, 3]] == before[[0, 2, 3]]).all() and (x[1] != before[1]).all()
    assert_same(told(ours), told(theirs))


def test_ended_members_rest_until_their_status_is_cleared():
    solver = told(Solver(xp.array(starts(8, 3)), gtol=1e-1, ftol=0.0))
    again = taken_up(solver)
    assert not again.running and again.calls == solver.calls
    assert_same(again, solver)
    options = Options(gtol=1e-6, ftol=0.0)
    result = replace(solver.result(), status=int(Status.RUNNING))
    told(on := Solver.resume(result, solver.memories(), options, searches=solver.searches()))
    assert (abs(on.result().g.get()) <= 1e-6).all()
    rough = Solver.resume(replace(on.result(), status=int(Status.RUNNING)), on.memories(), Options(gtol=1e-1))
    assert not rough.running and set(rough.status.get().tolist()) == {Status.CONVERGED_GRADIENT}


def test_numbers_serve_all_members():
    x0 = starts(4, 3)
    f, g = valleys(x0)
    zeros = np.zeros((2, 4, 3))

    def resume(make):
        result = Result(make(x0), make(f), make(g), 0, np.int64(1), Status.RUNNING, 1)
        return told(Solver.resume(result, (make(zeros), make(zeros))))

    assert_same(resume(xp.array), resume(np.asarray))


def test_the_host_waits_a_few_times_whatever_there_is():
    waits = []
    for B in (2, 40):
        solver = told(Solver(xp.array(starts(B, 3))), 5)
        result, memories, searches = solver.result(), solver.memories(), solver.searches()
        before = on_host.waits
        Solver.resume(result, memories, solver.options, searches=searches)
        waits.append(on_host.waits - before)
    assert waits[0] == waits[1] <= 5


def test_searches_within_bounds_are_not_taken_up():
    solver = Solver(xp.array(starts(4, 3)), method="L-BFGS-B", bounds=[(-5.0, 5.0)] * 3)
    result, memories, searches = told(solver, 3).result(), solver.memories(), solver.searches()
    with pytest.raises(ValueError, match="searches must be of a run without bounds"):
        Solver.resume(result, memories, searches=searches)
    assert Solver.resume(result, memories).running


def test_no_members_to_take_up():
    solver = Solver(xp.array(np.zeros((0, 3))))
    assert taken_up(solver).result().x.shape == (0, 3)


def start_of(make=xp.array):
    """Return a result and memories to be taken up."""
    x = starts(4, 3)
    f, g = valleys(x)
    result = Result(make(x), make(f), make(g), make(np.zeros(4, np.int64)), make(np.ones(4, np.int64)), -1, 1)
    return result, (make(np.zeros((2, 4, 3))), make(np.zeros((2, 4, 3))))


WRONG = {
    "f on the host": (
        {"f": np.zeros(4)},
        TypeError,
        "result.f must be a CuPy array on device 0, as result.x is; got a N",
    ),
    "g on the host": ({"g": np.zeros((4, 3))}, TypeError, "result.g must be a CuPy array on device 0, as result.x is"),
    "nit elsewhere": ({"nit": away(np.zeros(4, int))}, ValueError, "result.nit must be on device 0, as result.x is"),
    "f of another shape": ({"f": away(np.zeros(3), 0)}, ValueError, r"result.f .* broadcasts to \(4,\); got \(3,\)"),
    "x elsewhere": ({"x": away(np.zeros((4, 3)))}, ValueError, "result.x is on device 1, but the current one is 0"),
}


@pytest.mark.parametrize(("changes", "error", "match"), WRONG.values(), ids=WRONG)
def test_results_that_cannot_be_taken_up(changes, error, match):
    result, memories = start_of()
    with pytest.raises(error, match=match):
        Solver.resume(replace(result, **changes), memories)


def test_what_comes_beside_a_result_is_where_it_is():
    (there, (s, y)), (here, (s_here, y_here)) = start_of(), start_of(np.asarray)
    searches = Solver(xp.array(starts(4, 3))).searches()
    with pytest.raises(TypeError, match=r"memories\[0\] must be a CuPy array on device 0, as result.x is; got a NumPy"):
        Solver.resume(there, (s_here, y))
    with pytest.raises(
        TypeError, match=r"memories\[1\] must be something NumPy reads; got a CuPy array, which result.x"
    ):
        Solver.resume(here, (s_here, y))
    with pytest.raises(TypeError, match=r"searches\[0\] must be a CuPy array on device 0, as result.x is; got a NumPy"):
        Solver.resume(there, (s, y), searches=tuple(each.get() for each in searches))
    with pytest.raises(
        TypeError, match=r"searches\[0\] must be something NumPy reads; got a CuPy array, which result.x"
    ):
        Solver.resume(here, (s_here, y_here), searches=searches)
    with pytest.raises(TypeError, match="h0 must be a CuPy array on device 0"):
        Solver.resume(there, (s, y), h0=np.ones(3))
    with pytest.raises(ValueError, match=r"memories\[0\] must have shape \('m', 4, 3\) .* dtype float64"):
        Solver.resume(there, (s[:, :3], y))
    with pytest.raises(ValueError, match="searches are not of this result"):
        Solver.resume(there, (s, y), searches=(searches[0][:3], searches[1][:3]))


# ----------------------------------------------------------------------------------------------
# TensorFlow Probability's names


def minimize(make, x0=None, fun=valleys, **keywords):
    start = {} if x0 is None else {"initial_position": make(x0)}
    return fastbfgs.lbfgs_minimize(fun, **start, **keywords)


def assert_same_results(ours, theirs):
    """Compare all fields by values and kinds, and where they are."""
    mine, other = fields(ours), fields(theirs)
    assert list(mine) == list(other)
    for name, value in mine.items():
        np.testing.assert_array_equal(value, other[name], name)
        assert getattr(value, "dtype", type(value)) == getattr(other[name], "dtype", type(other[name])), name
        assert isinstance(getattr(ours, name), xp.ndarray) == isinstance(other[name], np.ndarray), name


@DTYPES
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("shape", [(12, 3), (3, 4, 3), (3,)])
@pytest.mark.parametrize("late", [0, 3])
def test_tfps_results_are_gone_on_from(late, shape, compact, dtype, monkeypatch):
    """Stopped when the first has converged, and gone on from, on a GPU as on the CPU."""
    monkeypatch.setattr(on_host, "late", late)
    x0 = starts(*shape, dtype=dtype)
    keywords = {"compact": compact, "tolerance": 1e-3}
    firsts = [
        minimize(make, x0, stopping_condition=fastbfgs.converged_any, **keywords) for make in (xp.array, np.asarray)
    ]
    assert_same_results(*firsts)
    assert firsts[1].converged.any() and (len(shape) == 1 or not firsts[1].converged.all())
    rests = [
        minimize(make, previous_optimizer_results=first, stopping_condition=lambda *flags: False, **keywords)
        for make, first in zip((xp.array, np.asarray), firsts, strict=True)
    ]
    assert_same_results(*rests)
    assert rests[1].converged.all()
    whole = minimize(np.asarray, x0, **keywords)
    np.testing.assert_array_equal(brought(rests[0].position), whole.position)


@pytest.mark.parametrize("late", [0, 3])
@pytest.mark.parametrize("which", ["lbfgs_minimize", "bfgs_minimize"])
def test_a_condition_is_asked_as_on_the_cpu(which, late, monkeypatch):
    monkeypatch.setattr(on_host, "late", late)
    x0 = starts(15, 3)

    def run(make):
        seen = []

        def condition(converged, failed):
            assert type(converged) is type(failed) is type(make(x0)) and converged.dtype == failed.dtype == bool
            seen.append((brought(converged).tolist(), brought(failed).tolist()))
            return converged.sum() >= 6

        return seen, getattr(fastbfgs, which)(valleys, make(x0), stopping_condition=condition)

    (ours, there), (theirs, here) = run(xp.array), run(np.asarray)
    assert ours == theirs and len(ours) > 2
    assert_same_results(there, here)
    assert 6 <= here.converged.sum() < 15


def test_the_host_waits_once_a_call_where_there_is_a_condition():
    waits = []

    def fun(x):
        waits.append(on_host.waits)
        return valleys(x)

    minimize(xp.array, starts(4, 3), fun, stopping_condition=fastbfgs.converged_any)
    assert np.diff(waits[1:]).tolist() == [1] * (len(waits) - 2) and len(waits) > 5
    waits.clear()
    minimize(xp.array, starts(4, 3), fun, stopping_condition=fastbfgs.converged_all)
    assert waits[4] == waits[0]


def test_a_condition_that_holds_at_once_is_not_followed_by_a_call():
    first = minimize(xp.array, starts(4, 3), stopping_condition=fastbfgs.converged_any)

    def never(x):
        raise AssertionError("called")

    again = minimize(xp.array, None, never, previous_optimizer_results=first, stopping_condition=fastbfgs.converged_any)
    np.testing.assert_array_equal(again.position.get(), first.position.get())
    done = minimize(xp.array, starts(4, 3))
    assert_same_results(minimize(xp.array, None, never, previous_optimizer_results=done), done)


def test_after_the_limit_of_iterations_and_with_a_diagonal():
    x0, estimate = starts(5, 3), np.full(3, 0.01)
    for given in (None, estimate):
        results = [
            minimize(
                make, x0, max_iterations=4, initial_inverse_hessian_estimate=None if given is None else make(given)
            )
            for make in (xp.array, np.asarray)
        ]
        for limit in (5, 9, 60):
            results = [
                minimize(make, previous_optimizer_results=each, max_iterations=limit)
                for make, each in zip((xp.array, np.asarray), results, strict=True)
            ]
            assert_same_results(*results)
        others = [
            minimize(
                make, previous_optimizer_results=each._replace(converged=make(np.zeros(5, bool))), tolerance=1e-12,
                initial_inverse_hessian_estimate=lambda x: 0.0 * x + 0.02,
            )
            for make, each in zip((xp.array, np.asarray), results, strict=True)
        ]  # fmt: skip
        assert_same_results(*others)


def test_flags_that_are_set_by_hand():
    firsts = [minimize(make, starts(4, 3), max_iterations=3) for make in (xp.array, np.asarray)]
    flags = {"converged": np.array([1, 0, 0, 0], bool), "failed": np.array([0, 1, 0, 0], bool)}
    ours, theirs = (
        minimize(make, previous_optimizer_results=first._replace(**{name: make(flag) for name, flag in flags.items()}))
        for make, first in zip((xp.array, np.asarray), firsts, strict=True)
    )
    assert_same_results(ours, theirs)
    assert ours.reason.get()[:2].tolist() == [Status.STOPPED] * 2


def test_what_tfp_itself_would_return():
    """No field but its own, numbers for the batch."""
    firsts = [minimize(make, starts(4, 3), max_iterations=3) for make in (xp.array, np.asarray)]
    kind = namedtuple("LBfgsOptimizerResults", firsts[0]._fields[:9])
    assert_same_results(*(minimize(None, previous_optimizer_results=kind(*each[:9])) for each in firsts))


def test_an_interrupted_run_goes_on():
    x0 = starts(5, 3)
    calls = []

    def fun(x):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return valleys(x)

    with pytest.raises(KeyboardInterrupt) as stopped:
        minimize(xp.array, x0, fun)
    again = minimize(xp.array, previous_optimizer_results=stopped.value.partial_result)
    assert_same_results(again, minimize(np.asarray, x0))


def test_results_of_two_places():
    there, here = (minimize(make, starts(4, 3), max_iterations=3) for make in (xp.array, np.asarray))
    position = "previous_optimizer_results.position"
    for name in ("objective_value", "converged", "position_deltas", "member_iterations", "reason"):
        with pytest.raises(TypeError, match=rf"results.{name} must be a CuPy array on device 0, as {position} is; got"):
            minimize(None, previous_optimizer_results=there._replace(**{name: getattr(here, name)}))
        with pytest.raises(TypeError, match=rf"results.{name} must be .* NumPy reads; got a CuPy .*, which {position}"):
            minimize(None, previous_optimizer_results=here._replace(**{name: getattr(there, name)}))
    with pytest.raises(TypeError, match=r"searches\[0\] must be a CuPy array"):
        minimize(None, previous_optimizer_results=there._replace(search_state=here.search_state))
    with pytest.raises(TypeError, match="initial_inverse_hessian_estimate must be a CuPy array"):
        minimize(None, previous_optimizer_results=there, initial_inverse_hessian_estimate=np.ones(3))
    with pytest.raises(ValueError, match=r"must return one truth value; got an array of shape \(4,\)"):
        minimize(xp.array, starts(4, 3), stopping_condition=lambda converged, failed: converged)
