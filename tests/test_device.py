"""All that runs with CuPy arrays but for the GPU: faces, driver, Solver and backend, on the stand-in of `on_host`."""

from __future__ import annotations

import inspect
import math
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import OptimizeWarning

import fastbfgs
from fastbfgs import Options, Solver, Status, cuda, device
from fastbfgs.backend import field_of
from tests import on_host

pytestmark = on_host.needs_compiler
xp: Any = on_host
"""The array library; gpu.py runs these tests with CuPy."""

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@pytest.fixture(autouse=True)
def _cupy(monkeypatch):
    on_host.pretend(monkeypatch)


def bowls(x, c):
    """A quartic with a centre for each row; for NumPy and for CuPy."""
    d = x - c
    return (d**2).sum(axis=-1) + 0.25 * (d**4).sum(axis=-1), 2.0 * d + d**3


def data(B: int = 6, n: int = 3, dtype=np.float64):
    rng = np.random.default_rng([B, n])
    return rng.normal(size=(B, n)).astype(dtype), (3 * rng.normal(size=(B, n))).astype(dtype)


def both(x0, c, fun=bowls, **keywords):
    """Minimise with NumPy and with the stand-in; arrays among the keywords are given to each in its kind."""

    def given(kind):
        return {name: kind(value) if isinstance(value, np.ndarray) else value for name, value in keywords.items()}

    ours = fastbfgs.minimize(fun, xp.array(x0), jac=True, batch_args=(xp.array(c),), **given(xp.array))
    theirs = fastbfgs.minimize(fun, x0, jac=True, batch_args=(c,), **given(np.asarray))
    return ours, theirs


FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success")


def assert_same(ours, theirs):
    for name in FIELDS:
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert isinstance(mine, xp.ndarray), name
        np.testing.assert_array_equal(mine.get(), other, name)
        assert mine.dtype == other.dtype and mine.shape == other.shape, name


# ----------------------------------------------------------------------------------------------
# minimize


@DTYPES
@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
@pytest.mark.parametrize("compact", [None, False])
def test_minimize_a_batch(compact, method, dtype):
    x0, c = data(dtype=dtype)
    bounds = None
    if method == "L-BFGS-B":
        lb, ub = np.full((6, 3), -0.5), np.linspace(0.0, 2.0, 18).reshape(6, 3)
        ours_bounds = SimpleNamespace(lb=xp.array(lb), ub=xp.array(ub))
        bounds = SimpleNamespace(lb=lb, ub=ub)
    ours = fastbfgs.minimize(
        bowls, xp.array(x0), jac=True, batch_args=xp.array(c), method=method, compact=compact,
        bounds=bounds and ours_bounds,
    )  # fmt: skip
    theirs = fastbfgs.minimize(bowls, x0, jac=True, batch_args=c, method=method, compact=compact, bounds=bounds)
    assert_same(ours, theirs)
    assert ours.message.tolist() == theirs.message.tolist()
    assert repr(ours).partition("calls")[0] == repr(theirs).partition("calls")[0]
    assert ours.failed.tolist() == theirs.failed.tolist()
    if method == "BFGS":
        np.testing.assert_array_equal(ours.hess_inv.get(), theirs.hess_inv)
    one, other = ours[2], theirs[2]
    assert (one.fun, one.nit, one.success, one.message) == (other.fun, other.nit, other.success, other.message)
    np.testing.assert_array_equal(one.x.get(), other.x)
    assert_same(ours[1:4], theirs[1:4])


def test_batches_of_several_axes_and_everything_in_rows():
    x0, c = data(6, 2)

    def fun(x, *, rows):
        assert isinstance(rows, xp.ndarray)
        return bowls(x, xp.array(c)[rows])

    ours = fastbfgs.minimize(fun, xp.array(x0.reshape(2, 3, 2)), jac=True)
    theirs = fastbfgs.minimize(lambda x, rows: bowls(x, c[rows]), x0.reshape(2, 3, 2), jac=True)
    assert_same(ours, theirs)


@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
@pytest.mark.parametrize("host_value", [False, True])
def test_minimize_one_problem(host_value, method):
    x0, c = (array[0] for array in data())
    centre = xp.array(c)

    def fun(x):
        assert isinstance(x, xp.ndarray) and x.shape == (3,)
        f, g = bowls(x, centre)
        return (float(f), g) if host_value else (f, g)

    bounds = [(None, 0.4)] * 3 if method == "L-BFGS-B" else None
    ours = fastbfgs.minimize(fun, xp.array(x0), jac=True, method=method, bounds=bounds)
    theirs = fastbfgs.minimize(lambda x: bowls(x, c), x0, jac=True, method=method, bounds=bounds)
    np.testing.assert_array_equal(ours.x.get(), theirs.x)
    np.testing.assert_array_equal(ours.jac.get(), theirs.jac)
    for name in ("fun", "nit", "nfev", "status", "success", "message"):
        assert ours[name] == theirs[name] and type(ours[name]) is type(theirs[name])
    if method == "BFGS":
        np.testing.assert_array_equal(ours.hess_inv.get(), theirs.hess_inv)
    else:
        np.testing.assert_array_equal(ours.hess_inv.todense(), theirs.hess_inv.todense())


def test_gradients_apart():
    x0, c = data()
    centre = xp.array(c)
    ours = fastbfgs.minimize(
        lambda x: bowls(x, centre)[0], xp.array(x0), jac=lambda x: bowls(x, centre)[1], compact=False
    )
    assert_same(ours, fastbfgs.minimize(lambda x: bowls(x, c)[0], x0, jac=lambda x: bowls(x, c)[1], compact=False))


def test_options_reach_the_kernels():
    x0, c = data()
    for options in ({"maxiter": 2}, {"maxfun": 3}, {"gtol": 1e-2, "ftol": 0.0}, {"maxcor": 1, "xtol": 1e-2}):
        ours, theirs = both(x0, c, options=options)
        assert_same(ours, theirs)
    for h0 in (np.full(3, 0.3), np.full((6, 3), 0.3)):
        ours = fastbfgs.minimize(
            bowls, xp.array(x0), jac=True, batch_args=xp.array(c), method="L-BFGS",
            options={"hess_inv0": xp.array(h0)},
        )  # fmt: skip
        theirs = fastbfgs.minimize(bowls, x0, jac=True, batch_args=c, method="L-BFGS", options={"hess_inv0": h0})
        assert_same(ours, theirs)


def test_a_callback_sees_copies_and_stops_the_run():
    x0, c = data()

    def run(x0, c):
        seen = []

        def callback(intermediate_result):
            seen.append(intermediate_result)
            if len(seen) == 3:
                raise StopIteration

        result = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), callback=callback)
        return [*seen, result]

    for ours, theirs in zip(run(xp.array(x0), xp.array(c)), run(x0, c), strict=True):
        assert_same(ours, theirs)
    assert 99 in ours.status.get()


def test_progress_hears_of_the_end():
    x0, c = data()
    told = []
    both(x0, c, progress=lambda *numbers: told.append(numbers))
    assert told[-1][:2] == (6, 6)


def test_what_fun_raises_leaves_the_result_so_far():
    x0, c = data()
    centre = xp.array(c)
    calls = []

    def fun(x):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return bowls(x, centre)

    with pytest.raises(KeyboardInterrupt) as stopped:
        fastbfgs.minimize(fun, xp.array(x0), jac=True)
    assert stopped.value.partial_result.nfev.get().tolist() == [3] * 6


@pytest.mark.parametrize("kind", ["NumPy", "CuPy"])
@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
@pytest.mark.parametrize("chunk", [1, 4, 6, 100])
def test_in_pieces(chunk, method, kind):
    """The bits are those of the whole batch."""
    make = np.asarray if kind == "NumPy" else xp.array
    x0, c = (make(each.reshape(2, 3, 4)) for each in data(6, 4))
    keywords = {"jac": True, "batch_args": (c,), "method": method}
    if method == "L-BFGS-B":
        keywords["bounds"] = SimpleNamespace(lb=-0.5, ub=make(np.linspace(0.0, 2.0, 24).reshape(2, 3, 4)))
    else:
        h0 = np.full((2, 3, 4), 0.3) * np.arange(1, 7).reshape(2, 3, 1)
        keywords["options"] = {"hess_inv0": make(h0[..., None] * np.eye(4) if method == "BFGS" else h0)}
    whole, pieces = fastbfgs.minimize(bowls, x0, **keywords), fastbfgs.minimize(bowls, x0, chunk=chunk, **keywords)
    for name in FIELDS if method != "BFGS" else (*FIELDS, "hess_inv"):
        a, b = getattr(pieces, name), getattr(whole, name)
        assert type(a) is type(b) and a.shape == b.shape and a.dtype == b.dtype, name
        np.testing.assert_array_equal(*(each.get() if kind == "CuPy" else each for each in (a, b)), name)
    assert pieces.calls >= whole.calls and pieces.method == whole.method


def test_pieces_know_which_rows_they_are_and_share_what_all_share():
    x0, c = data(7, 3)

    def fun(x, *, rows):
        assert len(x) <= 3
        return bowls(x, c[rows])

    keywords = {"bounds": [(-1.0, 1.0)] * 3, "options": {"maxcor": 3}}
    whole = fastbfgs.minimize(lambda x, rows: bowls(x, c[rows]), x0, jac=True, **keywords)
    pieces = fastbfgs.minimize(fun, x0, jac=True, chunk=3, **keywords)
    np.testing.assert_array_equal(pieces.x, whole.x)
    apart = fastbfgs.minimize(
        lambda x, rows: bowls(x, c[rows])[0], x0, jac=lambda x, rows: bowls(x, c[rows])[1], chunk=2, **keywords
    )
    np.testing.assert_array_equal(apart.x, whole.x)
    by_differences = fastbfgs.minimize(lambda x, c: bowls(x, c)[0], x0, batch_args=c, chunk=4)
    np.testing.assert_array_equal(by_differences.x, fastbfgs.minimize(lambda x, c: bowls(x, c)[0], x0, batch_args=c).x)
    assert fastbfgs.minimize(fun, x0[:0], jac=True, chunk=3).x.shape == (0, 3)


@pytest.mark.parametrize("kind", ["NumPy", "CuPy"])
@pytest.mark.parametrize("method", ["L-BFGS", "BFGS"])
def test_an_interrupt_in_a_later_piece_leaves_all_members_in_the_exception(method, kind):
    make = np.asarray if kind == "NumPy" else xp.array
    x0, c = (make(each.reshape(2, 4, 3)) for each in data(8, 3))
    whole = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), method=method)
    begun = []

    def fun(x, c, *, rows):
        first = int(rows[0])
        begun.append(first)
        if first >= 3 and begun.count(first) == 2:
            raise KeyboardInterrupt
        return bowls(x, c)

    with pytest.raises(KeyboardInterrupt) as stopped:
        fastbfgs.minimize(fun, x0, jac=True, batch_args=(c,), method=method, chunk=3)
    found = stopped.value.partial_result
    bring = (lambda a: a.get()) if kind == "CuPy" else np.asarray
    assert found.x.shape == (2, 4, 3) and found.status.shape == (2, 4)
    x, status, nfev, f = (
        bring(each).reshape(8, *each.shape[2:]) for each in (found.x, found.status, found.nfev, found.fun)
    )
    np.testing.assert_array_equal(x[:3], bring(whole.x).reshape(8, 3)[:3])
    assert (status[:3] == 0).all() and (status[3:] == -1).all()
    assert nfev.tolist()[3:] == [1, 1, 1, 0, 0] and np.isnan(f[6:]).all() and np.isfinite(f[:6]).all()
    np.testing.assert_array_equal(x[3:], bring(x0).reshape(8, 3)[3:])
    assert found.message[1, 3] == found[1, 3].message


def test_what_is_wrong_with_a_later_piece_is_told_before_anything_is_done():
    def never(x):
        raise AssertionError("called")

    lower = np.zeros((4, 2))
    lower[3, 1] = 2.0
    with pytest.raises(ValueError, match="bounds"):
        fastbfgs.minimize(never, np.zeros((4, 2)), jac=True, chunk=2, bounds=SimpleNamespace(lb=lower, ub=1.0))
    h0 = np.ones((4, 2))
    h0[3, 1] = -1.0
    with pytest.raises(ValueError, match="hess_inv0"):
        fastbfgs.minimize(never, np.zeros((4, 2)), jac=True, chunk=2, options={"hess_inv0": h0})


IN_PIECES = {
    "zero": ({"chunk": 0}, "chunk must be a positive integer"),
    "a fraction": ({"chunk": 2.5}, "chunk must be a positive integer"),
    "one problem": ({"chunk": 2, "x0": np.zeros(3)}, "chunk is for a batch"),
    "callback": ({"chunk": 2, "callback": print}, "callback does not go with chunk"),
    "progress": ({"chunk": 2, "progress": True}, "progress does not go with chunk"),
    "record": ({"chunk": 2, "record": print}, "record does not go with chunk"),
    "return_all": (
        {"chunk": 2, "method": "BFGS", "options": {"return_all": True}},
        "return_all does not go with chunk",
    ),
    "cuda": ({"chunk": 2, "fun": fastbfgs.CudaObjective("")}, "chunk is for functions of arrays, and fun is compiled"),
    "batch_args": ({"chunk": 2, "batch_args": (np.zeros(3),)}, "must have the leading axes of the batch"),
    "bounds": ({"chunk": 2, "bounds": [(0, 1)]}, "number of bounds is not compatible"),
    "bounds of others": (
        {"chunk": 2, "bounds": SimpleNamespace(lb=np.zeros((3, 2)), ub=1.0)},
        "number of bounds is",
    ),
}


@pytest.mark.parametrize(("given", "match"), IN_PIECES.values(), ids=IN_PIECES)
def test_bad_pieces(given, match):
    with pytest.raises(ValueError, match=match):
        fastbfgs.minimize(**{"fun": bowls, "x0": np.zeros((4, 2)), "jac": True, **given})


@pytest.mark.parametrize("pairs", [zip, lambda lo, hi: list(zip(lo, hi, strict=True))])
def test_what_is_read_once_for_all_pieces(pairs, capsys):
    x0, c = data(6, 3)
    given = {"jac": True, "batch_args": (c,)}
    whole, pieces = (
        fastbfgs.minimize(bowls, x0, bounds=pairs([0.0] * 3, [0.5] * 3), chunk=chunk, **given) for chunk in (None, 2)
    )
    np.testing.assert_array_equal(whole.x, pieces.x)
    with pytest.warns(OptimizeWarning) as caught:
        fastbfgs.minimize(bowls, x0, chunk=2, method="BFGS", options={"maxitre": 3, "disp": True}, **given)
    assert len(caught) == 1 and capsys.readouterr().out.count("BatchResult of 6 members") == 1
    with pytest.raises(TypeError, match=r"^options must be a dict of options by name; got list"):
        fastbfgs.minimize(bowls, x0, chunk=2, options=[1], **given)
    for h0 in (None, np.ones(3)):
        with pytest.raises(ValueError, match=r"^method must be one of .*; got 3"):
            fastbfgs.minimize(bowls, x0, chunk=2, method=3, options={"hess_inv0": h0}, **given)


@pytest.mark.parametrize("own", [False, True])
def test_members_never_begun_are_within_bounds(own):
    def fail(x):
        raise KeyError("fun")

    x0, upper = np.full((3, 2), 9.0), np.full((3, 2), 5.0)
    upper[2] = 4.0
    bounds = SimpleNamespace(lb=0.0, ub=upper if own else upper[0])
    with pytest.raises(KeyError) as caught:
        fastbfgs.minimize(fail, x0, jac=True, bounds=bounds, chunk=1)
    partial = caught.value.partial_result
    np.testing.assert_array_equal(partial.x, upper if own else 5.0)
    assert (partial.status == -1).all() and not partial.fixed.any() and len(partial.message) == 3


# ----------------------------------------------------------------------------------------------
# Finite differences

SCHEMES = (None, False, "2-point", "3-point", "cs")


def valued(x, c):
    """`bowls` without its gradient; analytic, for complex steps."""
    d = x - c
    return (d**2).sum(axis=-1) + 0.25 * (d**4).sum(axis=-1)


def by_differences(x0, c, fun=valued, wrap=lambda given, kind: given, **keywords):
    """Minimise with the stand-in and with NumPy."""
    results = []
    for kind in (xp.array, np.asarray):
        given = {name: wrap(value, kind) for name, value in keywords.items()}
        results.append(fastbfgs.minimize(fun, kind(x0), batch_args=(kind(c),), **given))
    return results


def placed(given, kind):
    """Return arrays in bounds and options in the kind of x0."""
    if isinstance(given, SimpleNamespace):
        return SimpleNamespace(lb=placed(given.lb, kind), ub=placed(given.ub, kind))
    if isinstance(given, dict):
        return {name: placed(value, kind) for name, value in given.items()}
    return kind(given) if isinstance(given, np.ndarray) else given


def some_bounds(which, rng):
    """Return bounds of 6 members of 4 coordinates: equal for all in one coordinate, and for some in another."""
    lb, ub = -0.5 - rng.random((6, 4)), rng.random((6, 4))
    lb[0, 3], ub[1, 2] = -np.inf, np.inf
    lb[:, 1] = ub[:, 1] = 0.3
    if which == "shared":
        return SimpleNamespace(lb=lb[2], ub=ub[2])
    lb[2:4, 0] = ub[2:4, 0] = 0.1
    return SimpleNamespace(lb=lb, ub=ub)


@DTYPES
@pytest.mark.parametrize("jac", SCHEMES)
@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
@pytest.mark.parametrize("compact", [None, False])
def test_differences_of_a_batch(compact, method, jac, dtype):
    x0, c = data(6, 4, dtype)
    ours, theirs = by_differences(x0, c, jac=jac, method=method, compact=compact)
    assert theirs.success.any()
    assert_same(ours, theirs)
    assert ours[1].nfev == theirs[1].nfev


@DTYPES
@pytest.mark.parametrize("jac", SCHEMES[2:])
@pytest.mark.parametrize("which", ["shared", "own"])
def test_differences_within_bounds(which, jac, dtype):
    x0, c = data(6, 4, dtype)
    bounds = some_bounds(which, np.random.default_rng(2))

    def fun(x, c, *, rows):
        for wrong in ((x.real < low(x, rows)).any(), (x.real > high(x, rows)).any()):
            assert not wrong
        return valued(x, c)

    def of(side, up):
        def bound(x, rows):
            array = np.asarray(side, dtype)  # to float32 they are rounded inwards, or to the nearest
            array = xp.array(array) if isinstance(x, xp.ndarray) else array
            slack = 1e-6 if dtype == np.float32 else 0.0
            return (array if array.ndim == 1 else array[rows]) + (slack if up else -slack)

        return bound

    low, high = of(bounds.lb, False), of(bounds.ub, True)
    ours, theirs = by_differences(x0, c, fun, placed, jac=jac, bounds=bounds)
    assert np.isnan(theirs.jac).any()
    assert_same(ours, theirs)


def test_all_coordinates_fixed():
    x0, c = data(6, 4)
    bounds = SimpleNamespace(lb=np.full(4, 0.25), ub=np.full(4, 0.25))
    ours, theirs = by_differences(x0, c, wrap=placed, bounds=bounds)
    assert_same(ours, theirs)
    assert np.isnan(theirs.jac).all() and (theirs.x == 0.25).all()
    one = fastbfgs.minimize(lambda x: valued(x, 0.5), xp.array(x0[0]), bounds=placed(bounds, xp.array))
    assert one.message == "All independent variables were fixed by bounds."
    assert np.isnan(one.jac.get()).all() and one.njev == 0


@DTYPES
@pytest.mark.parametrize(
    ("jac", "options"),
    [
        (None, {"eps": 1e-6}),
        (None, {"eps": np.array([1e-6, -1e-7, 1e-5, 1e-6])}),
        (None, {"eps": 1e-300}),
        ("2-point", {"finite_diff_rel_step": 1e-4}),
        ("3-point", {"finite_diff_rel_step": np.array([1e-4, 1e-3, 1e-5, 1e-30])}),
        ("cs", {"finite_diff_rel_step": np.array([1e-4])}),
        ("3-point", {"maxfun": 40}),
        (None, {"maxfun": 1}),
    ],
    ids=str,
)
def test_steps_and_limits_of_differences(jac, options, dtype):
    x0, c = data(6, 4, dtype)
    bounds = some_bounds("own", np.random.default_rng(4))
    for given in ({}, {"bounds": bounds}):
        ours, theirs = by_differences(x0, c, wrap=placed, jac=jac, options=options, **given)
        assert_same(ours, theirs)
        if "maxfun" in options:
            assert (theirs.reason == Status.MAXFUN).any()


def test_difference_points_of_all_members_go_into_one_call_with_their_rows():
    x0, c = data(6, 3)
    counts = []

    def fun(x, c, *, rows):
        assert all(isinstance(each, xp.ndarray) and len(each) == len(x) for each in (x, c, rows))
        assert rows.dtype == np.int64
        counts.append(len(x))
        return valued(x, c)

    ours = fastbfgs.minimize(fun, xp.array(x0.reshape(2, 3, 3)), batch_args=xp.array(c.reshape(2, 3, 3)))
    theirs = fastbfgs.minimize(valued, x0.reshape(2, 3, 3), batch_args=c.reshape(2, 3, 3))
    assert_same(ours, theirs)
    assert counts[0] == 6 * 4 and counts[-1] < counts[0] and all(count % 4 == 0 for count in counts)


def test_a_float32_f_of_float64_points():
    x0, c = data(6, 3)
    options = {"finite_diff_rel_step": 1e-4, "gtol": 1e-2}
    ours, theirs = by_differences(x0, c, lambda x, c: valued(x, c).astype(np.float32), jac="3-point", options=options)
    assert_same(ours, theirs)


@pytest.mark.parametrize("chunk", [1, 4])
def test_differences_in_pieces(chunk):
    x0, c = data(6, 3)
    ours, theirs = by_differences(x0, c, chunk=chunk)
    assert_same(ours, theirs)


@DTYPES
@pytest.mark.parametrize("f", ["on the device", "on the host", "of float32"])
@pytest.mark.parametrize("jac", SCHEMES)
@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
def test_differences_of_one_problem(method, jac, f, dtype):
    x0, c = (array[0] for array in data(6, 4, dtype))
    bounds = some_bounds("shared", np.random.default_rng(5)) if method == "L-BFGS-B" else None
    calls = []

    def fun(x, c):
        assert x.shape == (4,) and x.dtype == (np.result_type(dtype, np.complex64) if jac == "cs" else dtype)
        calls.append(type(x))
        value = valued(x, c)
        if f == "on the host":
            return (value.get() if isinstance(value, xp.ndarray) else value).item()
        return value.astype(np.complex64 if jac == "cs" else np.float32) if f == "of float32" else value

    def run(kind):
        return fastbfgs.minimize(
            fun, kind(x0), (kind(c),), method=method, jac=jac, bounds=placed(bounds, kind), options={"gtol": 1e-3}
        )

    ours, theirs = run(xp.array), run(np.asarray)
    for name in ("x", "jac"):
        np.testing.assert_array_equal(ours[name].get(), theirs[name])
        assert ours[name].dtype == dtype
    for name in ("fun", "nit", "nfev", "njev", "status", "success", "message"):
        assert ours[name] == theirs[name] and type(ours[name]) is type(theirs[name])
    assert calls.count(xp.ndarray) == calls.count(np.ndarray) == ours.nfev
    assert ours.nit > 0 or (f == "of float32" and not jac)  # which hides a step of 1e-8


def test_what_fun_is_given_is_its_own():
    x0, c = (array[0] for array in data())
    centre = xp.array(c)

    def fun(x):
        value = valued(x, centre)
        x[...] = 0.0
        return value

    ours = fastbfgs.minimize(fun, xp.array(x0))
    np.testing.assert_array_equal(ours.x.get(), fastbfgs.minimize(lambda x: valued(x, c), x0).x)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("bounded", [False, True])
@pytest.mark.parametrize("jac", SCHEMES[2:])
def test_differences_do_not_wait_for_the_device(jac, bounded, single):
    x0, c = data(B=20)
    waits = []

    def fun(x, c):
        waits.append(on_host.waits)
        return valued(x, c)

    bounds = SimpleNamespace(lb=-0.5, ub=xp.array(np.array([0.5, np.inf, 0.7]))) if bounded else None
    keywords = {"jac": jac, "bounds": bounds, "options": {"eps": 1e-7} if jac == "2-point" else None}
    if single:
        fastbfgs.minimize(fun, xp.array(x0[0]), (xp.array(c[0]),), **keywords)
        assert waits[-1] == waits[0]
    else:
        fastbfgs.minimize(fun, xp.array(x0), batch_args=(xp.array(c),), **keywords)
        assert waits[-1] - waits[0] <= np.log2(20) + 1


BY_DIFFERENCES = {
    "f on the host": ({"fun": lambda x: np.zeros(len(x))}, TypeError, "return f as a CuPy array on device 0.*NumPy"),
    "f of integers": ({"fun": lambda x: (x[:, 0] * 0).astype(np.int64)}, TypeError, "f of float32 or float64; got int"),
    "complex f": ({"fun": lambda x: x[:, 0] * 1j}, TypeError, "f of float32 or float64; got complex128"),
    "f with a gradient": ({"fun": lambda x: (x[:, 0], x)}, TypeError, "return f as a CuPy array on device 0"),
    "one f": ({"fun": lambda x: x.sum()}, ValueError, r"f of shape \(12,\); got \(\)"),
    "f elsewhere": ({"fun": lambda x: away(np.zeros(len(x)))}, ValueError, "return f on device 0"),
    "f of one problem": (
        {"x0": on_host.ndarray(np.zeros(2), 0), "fun": lambda x: x},
        ValueError,
        r"a scalar value at one point; got f of shape \(2,\)",
    ),
    "complex f of one problem": (
        {"x0": on_host.ndarray(np.zeros(2), 0), "fun": lambda x: 1j},
        TypeError,
        "must return real numbers as f; got dtype complex128",
    ),
    "f of one problem on the host": (
        {"x0": on_host.ndarray(np.zeros(2), 0), "fun": lambda x: np.zeros(1)},
        TypeError,
        "return f as a CuPy array on device 0",
    ),
    "jac": ({"jac": "central"}, ValueError, "jac must be True, a callable, one of '2-point', '3-point', 'cs', or None"),
    "eps on the host": ({"options": {"eps": np.full(2, 1e-8)}}, TypeError, "eps must be a CuPy array on device 0"),
    "eps elsewhere": (
        {"options": {"eps": on_host.ndarray(np.full(2, 1e-8), 1)}},
        ValueError,
        "eps must be on device 0, as x0 is",
    ),
    "eps of another shape": (
        {"options": {"finite_diff_rel_step": on_host.ndarray(np.full(3, 1e-8), 0)}},
        ValueError,
        r"an array of shape \(2,\), one for each coordinate; got shape \(3,\)",
    ),
    "eps of NaN": (
        {"options": {"eps": on_host.ndarray(np.full(2, np.nan), 0)}},
        ValueError,
        "eps must be a finite number, or an array",
    ),
    "a map": (
        {"x0": on_host.ndarray(np.zeros(2), 0), "options": {"workers": map}},
        ValueError,
        r"options\['workers'\] is for points in the host's memory.*as a batch of one, x0\[None\]",
    ),
    "a map for a batch": ({"options": {"workers": map}}, ValueError, "is for finite differences of one problem"),
}


@pytest.mark.parametrize(("given", "error", "match"), BY_DIFFERENCES.values(), ids=BY_DIFFERENCES)
def test_bad_differences(given, error, match):
    def never(x):
        raise AssertionError("called")

    with pytest.raises(error, match=match):
        fastbfgs.minimize(**{"fun": never, "x0": xp.array(np.zeros((4, 2)))} | given)


# ----------------------------------------------------------------------------------------------
# Every iterate

RECORDED = ("rows", "nit", "x", "f", "g", "alpha", "s", "y")


def assert_same_arrays(ours, theirs):
    """Those that `ours` has on the device are those of `theirs`, bit for bit."""
    assert isinstance(ours, xp.ndarray) and ours.flags.c_contiguous
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    np.testing.assert_array_equal(ours.get(), theirs)


def recorded(record_of, x0, c, **keywords):
    """Run on the stand-in and with NumPy; return (record, result) of each."""
    made = []
    for kind in (xp.array, np.asarray):
        record = record_of()
        given = {"args" if x0.ndim == 1 else "batch_args": (kind(c),)} | keywords
        made.append((record, fastbfgs.minimize(bowls, kind(x0), jac=True, record=record, **given)))
    return made


class Kept(list):
    """What was recorded, as it came."""

    __call__ = list.append


@DTYPES
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("compact", [None, False])
@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
def test_every_iterate_is_recorded(method, compact, single, dtype):
    x0, c = data(6, 3, dtype)
    x0[1] = c[1]
    if single:
        x0, c = x0[0], c[0]
    bounds = [(-0.5, 0.7)] * 3 if method == "L-BFGS-B" else None
    (ours, _), (theirs, result) = recorded(Kept, x0, c, method=method, compact=compact, bounds=bounds)
    assert len(ours) == len(theirs) > 1
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.shape == other.shape == x0.shape[:-1]
        for name in RECORDED:
            assert_same_arrays(getattr(mine, name), getattr(other, name))
    assert sum(len(each.rows) for each in ours) == np.sum(result.nit + 1)


def test_what_is_recorded_is_the_receivers():
    x0, c = data()

    def receive(accepted):
        for name in RECORDED:
            getattr(accepted, name)[...] = 7

    ours = fastbfgs.minimize(bowls, xp.array(x0), jac=True, batch_args=(xp.array(c),), record=receive)
    assert_same(ours, fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,)))


def test_a_record_by_differences():
    x0, c = data()
    (ours, theirs) = (Kept(), Kept())
    by_differences(x0, c, wrap=lambda given, kind: ours if kind is xp.array else theirs, record=None)
    for mine, other in zip(ours, theirs, strict=True):
        for name in RECORDED:
            assert_same_arrays(getattr(mine, name), getattr(other, name))


@DTYPES
@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3)], ids=str)
def test_paths(shape, dtype):
    x0, c = (array[: math.prod(shape)].reshape(*shape, 3) for array in data(6, 3, dtype))
    (ours, mine), (theirs, _) = recorded(lambda: fastbfgs.Paths(500), x0, c, method="L-BFGS")
    for name in ("nit", *RECORDED[2:]):
        assert_same_arrays(getattr(ours, name), getattr(theirs, name))
    assert ours.nit.get().tolist() == (mine.nit if not shape else mine.nit.get().tolist())


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_paths_of_more_steps_than_room(steps):
    x0, c = data()
    with pytest.warns(RuntimeWarning, match=f"more than the {steps} steps"):
        (ours, _), (theirs, _) = recorded(lambda: fastbfgs.Paths(steps), x0, c)
    for name in ("nit", *RECORDED[2:]):
        assert_same_arrays(getattr(ours, name), getattr(theirs, name))


def test_paths_are_filled_anew_by_each_run_wherever_it_is():
    x0, c = data()
    paths, expected = fastbfgs.Paths(100), fastbfgs.Paths(100)
    fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), record=expected)
    for kind in (xp.array, xp.array, np.asarray, xp.array):
        fastbfgs.minimize(bowls, kind(x0), jac=True, batch_args=(kind(c),), record=paths)
        for name in ("nit", *RECORDED[2:]):
            array = getattr(paths, name)
            assert type(array) is type(kind(x0))
            np.testing.assert_array_equal(array.get() if kind is xp.array else array, getattr(expected, name))


def test_paths_start_over_with_a_run_that_is_come_into():
    x0, c = data()
    paths, anew = fastbfgs.Paths(100), fastbfgs.Paths(100)
    fastbfgs.minimize(bowls, xp.array(x0), jac=True, batch_args=(xp.array(c),), record=paths, options={"maxiter": 1})
    solver = solved(Solver(xp.array(x0)), xp.array(c), 3)
    records = fastbfgs.Recorder(solver, paths), fastbfgs.Recorder(solver, anew)
    assert solver.result().nit.get()[0] > 1
    while solver.running:
        for name in ("nit", *RECORDED[2:]):
            np.testing.assert_array_equal(getattr(paths, name).get(), getattr(anew, name).get())
        solved(solver, xp.array(c), 1)
        for record in records:
            record.take()


def test_paths_take_no_more_of_the_device_than_twice_what_is_reached(monkeypatch):
    x0, c = data()
    taken = []
    empty = on_host.empty

    def counted(shape, dtype=float):
        taken.append(shape)
        return empty(shape, dtype)

    paths = fastbfgs.Paths(10**9)
    monkeypatch.setattr(on_host, "empty", counted)
    fastbfgs.minimize(bowls, xp.array(x0), jac=True, batch_args=(xp.array(c),), record=paths)
    most = max(shape[0] for shape in taken if np.size(shape) == 3)
    assert len(paths.x) <= most <= 2 * len(paths.x)


def test_a_recorder_that_comes_in_late_and_one_that_misses_a_step():
    x0, c = data()
    kept = []
    for kind in (xp.array, np.asarray):
        solver = Solver(kind(x0), history=4)
        solved(solver, kind(c), 3)
        kept.append(Kept())
        recorder = fastbfgs.Recorder(solver, kept[-1])
        while solver.running:
            solved(solver, kind(c), 1)
            recorder.take()
        assert isinstance(kept[-1][0].x, xp.ndarray if kind is xp.array else np.ndarray)
    assert kept[0][0].nit.get().max() == 2
    for mine, other in zip(*kept, strict=True):
        for name in RECORDED:
            assert_same_arrays(getattr(mine, name), getattr(other, name))
    solver = Solver(xp.array(x0))
    recorder = fastbfgs.Recorder(solver, print)
    solved(solver, xp.array(c), 2)
    with pytest.raises(RuntimeError, match=r"take\(\) must be called after every tell"):
        recorder.take()


@DTYPES
def test_a_record_of_large_members(dtype, monkeypatch):
    """Their vectors stand elsewhere, but for x and g."""
    monkeypatch.setattr(cuda, "LARGE", 40)
    x0, c = data(3, 50, dtype)
    paths, kept = fastbfgs.Paths(100), Kept()
    solver = Solver(xp.array(x0), gtol=1e-3)
    recorders = [fastbfgs.Recorder(solver, each) for each in (paths, kept)]
    first = solver.ask().get()
    while solver.running:
        solved(solver, xp.array(c), 1)
        for each in recorders:
            each.take()
    assert solver._unseen()[2].shape == (3, 100)
    result = solver.result()
    np.testing.assert_array_equal(paths.nit.get(), result.nit.get())
    np.testing.assert_array_equal(paths.x[0].get(), first)
    theirs = fastbfgs.Paths(100)
    fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), record=theirs, options={"gtol": 1e-3, "ftol": 0.0})
    for b, nit in enumerate(result.nit.get()):
        assert nit > 3
        x, f, alpha = (getattr(paths, name).get()[:, b] for name in ("x", "f", "alpha"))
        np.testing.assert_array_equal(x[nit], result.x.get()[b])
        assert (alpha[1 : nit + 1] > 0.0).all() and np.isnan(alpha[0]) and (f[1 : nit + 1] < f[:nit]).all()
        np.testing.assert_allclose(alpha[1:4], theirs.alpha[1:4, b], 1e-3)
        S, Y = (array.get() for array in solver.pairs(b))
        assert S.shape[0] > 2
        np.testing.assert_array_equal(paths.s.get()[nit, b], S[-1])
        np.testing.assert_array_equal(paths.y.get()[nit, b], Y[-1])
    steps = [each.s.get()[each.rows.get() == 1] for each in kept]
    np.testing.assert_array_equal(np.concatenate(steps), paths.s.get()[: 1 + int(result.nit[1]), 1])


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS"])
def test_members_that_all_blocks_share(method, monkeypatch):
    """One after another, in whole runs that the members leave as they finish."""
    monkeypatch.setattr(cuda, "LARGE", 40)
    monkeypatch.setattr(cuda, "LARGE_BFGS", 40)
    x0, c = data(3, 50)
    x0[2] = c[2]  # has converged at its start
    bounds = [(-0.5, 1.0)] * 50 if method == "L-BFGS-B" else None
    x0 = np.clip(x0, -0.5, 1.0) if bounds else x0
    ours, theirs = (
        fastbfgs.minimize(bowls, kind(x0), jac=True, batch_args=(kind(c),), method=method, bounds=bounds)
        for kind in (xp.array, np.asarray)
    )
    assert bool(ours.success.all()) and ours.message.tolist() == theirs.message.tolist()
    np.testing.assert_array_equal(ours.nit.get(), theirs.nit)
    np.testing.assert_allclose(ours.x.get(), theirs.x, 1e-6, 1e-9)
    one = fastbfgs.minimize(bowls, xp.array(x0[0]), (xp.array(c[0]),), jac=True, method=method, bounds=bounds)
    np.testing.assert_array_equal(one.x.get(), ours.x[0].get())


def test_arrays_that_say_more_of_themselves_are_read_as_cupys(monkeypatch):
    """CuPy's may have all that the array standard asks for, and are not in memory that NumPy can read."""
    monkeypatch.setattr(on_host.ndarray, "__dlpack__", None, raising=False)
    monkeypatch.setattr(on_host.ndarray, "__array_namespace__", lambda self: on_host, raising=False)
    x0, c = data()
    (ours, mine), (theirs, other) = recorded(lambda: fastbfgs.Paths(100), x0, c)
    assert_same_arrays(ours.x, theirs.x)
    assert_same(mine[1:3], other[1:3])
    assert mine[2].nit == other[2].nit and mine.message.tolist() == other.message.tolist()


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("shape", [(), (6,), (2, 3)], ids=str)
def test_return_all(shape, compact):
    x0, c = (array[: math.prod(shape)].reshape(*shape, 3) for array in data(6, 3))
    x0[-1:] = c[-1:]
    keywords = {"jac": True, "method": "BFGS", "options": {"return_all": True}, "compact": compact}
    given = "batch_args" if shape else "args"
    ours = fastbfgs.minimize(bowls, xp.array(x0), **{given: (xp.array(c),)}, **keywords)
    theirs = fastbfgs.minimize(bowls, x0, **{given: (c,)}, **keywords)
    assert len(ours.allvecs) == len(theirs.allvecs) > 3
    for mine, other in zip(ours.allvecs, theirs.allvecs, strict=True):
        assert_same_arrays(mine, other)
    if len(shape) == 1:
        for mine, other in ((ours[2], theirs[2]), (ours[1:3], theirs[1:3])):
            assert len(mine.allvecs) == len(other.allvecs)
            for a, b in zip(mine.allvecs, other.allvecs, strict=True):
                np.testing.assert_array_equal(a.get(), b)


def test_how_often_a_record_waits_for_the_device():
    x0, c = data(B=20)
    centre = xp.array(c)

    def waits_of(**keywords):
        waits = []

        def fun(x):
            waits.append(on_host.waits)
            return bowls(x, centre)

        fastbfgs.minimize(fun, xp.array(x0), jac=True, method="BFGS", **keywords)
        return waits[-1] - waits[0], len(waits) - 1

    without, calls = waits_of()
    for each, keywords in (
        (1, {"record": lambda accepted: None}),
        (2, {"record": fastbfgs.Paths(1000)}),
        (1, {"options": {"return_all": True}}),
    ):
        waits, same = waits_of(**keywords)
        assert same == calls and waits - without <= each * calls


# ----------------------------------------------------------------------------------------------
# The host does not wait


@pytest.mark.parametrize("late", [0, 3])
def test_the_loop_does_not_wait_for_the_device(late, monkeypatch):
    """Every call runs on; that all have finished is heard `late` calls later, and changes nothing."""
    x0, c = data(B=20)
    centre = xp.array(c)
    waits = []

    def fun(x):
        waits.append(on_host.waits)
        return bowls(x, centre)

    monkeypatch.setattr(on_host, "late", late)
    ours = fastbfgs.minimize(fun, xp.array(x0), jac=True)
    theirs = fastbfgs.minimize(lambda x: bowls(x, c), x0, jac=True)
    assert ours.calls == theirs.calls + late
    assert_same(ours, theirs)
    # Half of the members that ran have finished: the rows are looked through, a few times in all.
    assert waits[-1] - waits[0] <= np.log2(20) + 1
    assert waits[4] == waits[0]


def test_pinned_memory_is_used_again_when_nothing_is_on_its_way_there(monkeypatch):
    """Else a late copy for a solver that has gone would tell another one that its members have finished."""
    monkeypatch.setattr(on_host, "late", 4)
    monkeypatch.setattr(cuda._Flag, "_retired", [])
    x0, c = data()
    solver = solved(Solver(on_host.array(x0)), on_host.array(c), 2)
    del solver
    assert [event.done for _, event in cuda._Flag._retired] == [False]
    whole = solved(Solver(on_host.array(x0)), on_host.array(c))
    assert whole.result().converged.get().all()
    assert len(cuda._Flag._retired) == 1 and cuda._Flag._retired[0][1].done
    memory = cuda._Flag._retired[0][0]
    again = cuda._Flag(on_host)
    assert again.memory is memory and not cuda._Flag._retired


def test_rows_leave_by_halves():
    """With batch_args finished members leave, but not at every call."""
    rng = np.random.default_rng(3)
    x0, c = data(B=64)
    scale = np.exp(rng.normal(size=(64, 3)) * 2)
    counts = []

    def fun(x, c, scale):
        counts.append(len(x))
        return ((x - c) ** 2 * scale).sum(axis=1), 2.0 * scale * (x - c)

    arguments = xp.array(c), xp.array(scale)
    ours = fastbfgs.minimize(fun, xp.array(x0), jac=True, batch_args=arguments)
    sizes = sorted(set(counts), reverse=True)
    assert sizes[0] == 64 and len(sizes) > 2
    assert all(2 * after <= before for before, after in pairwise(sizes))
    assert_same(ours, fastbfgs.minimize(fun, x0, jac=True, batch_args=(c, scale)))


# ----------------------------------------------------------------------------------------------
# Solver


def solved(solver, c, most=10**6):
    while solver.running and most:
        solver.tell(*bowls(solver.ask(), c[solver.rows] if solver.shape else c))
        most -= 1
    return solver


def test_ask_and_tell():
    x0, c = data()
    solver = Solver(xp.array(x0))
    first = solver.ask()
    first[...] = 0.0  # the caller's
    np.testing.assert_array_equal(solver.ask().get(), x0)
    solved(solver, xp.array(c))
    result, other = solver.result(), solved(Solver(x0), c).result()
    for name in ("x", "f", "g", "nit", "nfev", "status"):
        np.testing.assert_array_equal(getattr(result, name).get(), getattr(other, name))
    assert result.converged.get().all()
    assert result[1].x.get().tolist() == other[1].x.tolist()
    assert len(solver) == 6 and solver.status.get().tolist() == other.status.tolist()
    with pytest.raises(RuntimeError, match="every member has finished"):
        solver.ask()


def test_pairs_and_memories():
    x0, c = data()
    ours, theirs = Solver(xp.array(x0), history=3), Solver(x0, history=3)
    for most in (0, 1, 2, 2, 3):
        solved(ours, xp.array(c), most)
        solved(theirs, c, most)
        for mine, other in zip(ours.memories(), theirs.memories(), strict=True):
            np.testing.assert_array_equal(mine.get(), other)
        for mine, other in zip(ours.pairs(4), theirs.pairs(4), strict=True):
            np.testing.assert_array_equal(mine.get(), other)


@pytest.mark.parametrize("own", [False, True])
def test_inverse_hessians(own):
    x0, c = data()
    h0 = np.broadcast_to(np.diag([1.0, 2.0, 3.0]), (6, 3, 3)).copy()
    h0 = h0 if own else h0[0]
    ours = Solver(xp.array(x0), method="BFGS", h0=xp.array(h0))
    theirs = Solver(x0, method="BFGS", h0=h0)
    for most in (0, 1, 5):
        solved(ours, xp.array(c), most)
        solved(theirs, c, most)
        np.testing.assert_array_equal(ours.inverse_hessian().get(), theirs.inverse_hessian())


@pytest.mark.parametrize("bounded", [False, True])
def test_saved_and_loaded(tmp_path, bounded):
    x0, c = data()
    bounds = [(-0.1, 0.6)] * 3 if bounded else None
    centre = xp.array(c)
    whole = solved(Solver(xp.array(x0), method="L-BFGS-B", bounds=bounds), centre)
    part = solved(Solver(xp.array(x0), method="L-BFGS-B", bounds=bounds), centre, 4)
    part.save(tmp_path / "run.npz")
    again = Solver.load(tmp_path / "run.npz")
    assert isinstance(again.ask(), xp.ndarray)
    np.testing.assert_array_equal(again.ask().get(), part.ask().get())
    solved(again, centre)
    assert again.calls == whole.calls
    for mine, other in zip(again.result().x.get(), whole.result().x.get(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize(("name", "wrong"), [("count", 11), ("head", 10), ("fresh", -1), ("bounded", 1)])
def test_records_that_lead_out_of_memory_are_not_loaded(tmp_path, name, wrong):
    x0, c = data()
    solved(Solver(xp.array(x0)), xp.array(c), 4).save(tmp_path / "run.npz")
    with np.load(tmp_path / "run.npz") as file:
        saved = dict(file)
    field_of(saved["records"], name)[1] = wrong
    np.savez(tmp_path / "run.npz", **saved)
    with pytest.raises(ValueError, match="not, or no longer, a state"):
        Solver.load(tmp_path / "run.npz")


def test_no_members():
    solver = Solver(xp.array(np.zeros((0, 3))))
    assert not solver.running
    assert solver.result().x.shape == (0, 3)


def test_stop():
    x0, c = data()
    solver = solved(Solver(xp.array(x0)), xp.array(c), 3)
    solver.stop()
    assert not solver.running
    assert set(solver.status.get().tolist()) == {Status.STOPPED}


# ----------------------------------------------------------------------------------------------
# TensorFlow Probability's names


def fields(results):
    """Return a result's fields as NumPy arrays, but for the searches of L-BFGS."""
    given = {name: value for name, value in results._asdict().items() if not isinstance(value, tuple)}
    return {name: value.get() if isinstance(value, xp.ndarray) else value for name, value in given.items()}


@DTYPES
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("which", ["lbfgs_minimize", "bfgs_minimize"])
def test_the_names_of_tfp(which, compact, single, dtype):
    x0, c = data(6, 3, dtype)
    estimate = np.full(3, 0.3, dtype) if which == "lbfgs_minimize" else 0.3 * np.eye(3, dtype=dtype)
    if single:
        x0, c = x0[0], c[0]

    def run(make, given):
        c_of = make(c)
        fun = (lambda x: bowls(x, c_of)) if single or not compact else (lambda x, rows: bowls(x, c_of[rows]))
        return getattr(fastbfgs, which)(
            fun, make(x0), compact=compact, initial_inverse_hessian_estimate=make(estimate) if given else None,
            stopping_condition=fastbfgs.converged_all if given else None, tolerance=1e-3,
        )  # fmt: skip

    for given in (False, True):
        ours, theirs = fields(run(xp.array, given)), fields(run(np.asarray, given))
        assert list(ours) == list(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)


def test_a_start_of_tfps_names_elsewhere():
    with pytest.raises(ValueError, match="initial_position is on device 1"):
        fastbfgs.bfgs_minimize(bowls, away(X0))


# ----------------------------------------------------------------------------------------------
# Objectives in CUDA

SPRINGS = """
    template <typename T>
    __device__ double objective(
        long long member, long long n, const T *x, T *g, const double *c, double k, long long m
    ) {
        double f = 0.0, q = 0.0;
        for (long long i = 0; i < n; i++) {
            const double d = x[i] - c[member * m + i], d2 = d * d;
            g[i] = (T)(2.0 * d + 4.0 * k * d2 * d);
            f += d2;
            q += d2 * d2;
        }
        return f + k * q;
    }
"""


def springs(x, c, k):
    """The same, in NumPy, in the same order of operations."""
    d = x - c
    d2 = d * d
    f = q = 0.0
    for i in range(x.shape[1]):
        f, q = f + d2[:, i], q + d2[:, i] * d2[:, i]
    return f + k * q, (2.0 * d + 4.0 * k * d2 * d).astype(x.dtype)


@DTYPES
@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
@pytest.mark.parametrize("n", [3, 7])
def test_whole_runs_on_an_objective_in_cuda(n, method, dtype):
    """One thread a member: the bits of the CPU path."""
    x0, c = data(300, n, dtype)
    c = c.astype(np.float64)
    bounds = [(-0.5, 1.0)] * n if method == "L-BFGS-B" else None
    fun = fastbfgs.CudaObjective(SPRINGS, xp.array(c), 0.25, n)
    ours = fastbfgs.minimize(fun, xp.array(x0), method=method, bounds=bounds, options={"gtol": 1e-4})
    theirs = fastbfgs.minimize(
        lambda x, c: springs(x, c, 0.25), x0, jac=True, batch_args=(c,), method=method, bounds=bounds,
        options={"gtol": 1e-4},
    )  # fmt: skip
    assert_same(ours, theirs)
    assert ours.calls == theirs.nfev.sum()


def test_an_objective_in_cuda_of_one_problem_and_in_turns(monkeypatch):
    monkeypatch.setattr(cuda, "_TURN", 3)
    x0, c = data(1, 3)
    told = []
    fun = fastbfgs.CudaObjective(SPRINGS, xp.array(c), 0.25, 3)
    ours = fastbfgs.minimize(fun, xp.array(x0[0]), progress=lambda *numbers: told.append(numbers))
    theirs = fastbfgs.minimize(lambda x: tuple(each[0] for each in springs(x[None], c, 0.25)), x0[0], jac=True)
    assert (ours.fun, ours.nit, ours.nfev) == (theirs.fun, theirs.nit, theirs.nfev)
    assert len(told) == -(-ours.nfev // 3) and told[-1] == (1, 1, ours.nfev)
    solver = Solver(xp.array(x0), maxiter=2)
    solver.tell(*map(xp.array, springs(x0, c, 0.25)))
    solver.run(fun)
    assert solver.status.get().tolist() == [Status.MAXITER]


BAD_OBJECTIVES = {
    "no text": (lambda: fastbfgs.CudaObjective(print), TypeError, "source must be CUDA C"),
    "a NumPy array": (
        lambda: solve_springs(np.zeros((4, 2))),
        TypeError,
        r"data\[0\] must be a CuPy array on device 0",
    ),
    "a list": (
        lambda: solve_springs([1.0]),
        TypeError,
        r"data\[0\] must be a number, or a CuPy array of.*list",
    ),
    "complex": (lambda: solve_springs(xp.array([1j])), TypeError, "of dtype complex128"),
    "elsewhere": (lambda: solve_springs(away(X0)), ValueError, r"data\[0\] must be on device 0"),
    "not contiguous": (lambda: solve_springs(xp.array(X0).T), ValueError, r"data\[0\] must be C-contiguous"),
    "wrong source": (
        lambda: fastbfgs.minimize(fastbfgs.CudaObjective("nothing"), xp.array(X0)),
        ValueError,
        "the source of the CudaObjective does not compile for these members: .*objective:1",
    ),
    "x0 on the host": (
        lambda: fastbfgs.minimize(fastbfgs.CudaObjective(SPRINGS, 1, 1.0, 2), X0),
        TypeError,
        "a CudaObjective runs on a GPU, and x0 is not there",
    ),
    "a solver on the host": (
        lambda: Solver(X0).run(fastbfgs.CudaObjective(SPRINGS, 1, 1.0, 2)),
        TypeError,
        "a CudaObjective runs on a GPU, and x0 is not there",
    ),
    "jac": (
        lambda: fastbfgs.minimize(fastbfgs.CudaObjective(SPRINGS, 1, 1.0, 2), xp.array(X0), jac=print),
        ValueError,
        "gives f and g, so jac must be True or left out",
    ),
    "callback": (
        lambda: fastbfgs.minimize(fastbfgs.CudaObjective(SPRINGS, 1, 1.0, 2), xp.array(X0), callback=print),
        ValueError,
        "no callback can be called",
    ),
}


def test_objectives_in_cuda_are_for_few_coordinates(monkeypatch):
    monkeypatch.setattr(cuda, "LARGE", 2)
    with pytest.raises(ValueError, match="a CudaObjective is for members of less than 2 coordinates; got 2"):
        solve_springs(xp.array(X0))


def solve_springs(c):
    fastbfgs.minimize(fastbfgs.CudaObjective(SPRINGS, c, 1.0, 2), xp.array(X0))


@pytest.mark.parametrize(("call", "error", "match"), BAD_OBJECTIVES.values(), ids=BAD_OBJECTIVES)
def test_bad_objectives_in_cuda(call, error, match):
    with pytest.raises(error, match=f"(?s){match}"):
        call()


# ----------------------------------------------------------------------------------------------
# Bad input


def away(array, where=1):
    return on_host.ndarray(np.array(array), where)


X0 = np.zeros((4, 2))
RETURNED = {
    "f on the host": (
        lambda x: (np.zeros(4), x),
        TypeError,
        "return f as a CuPy array on device 0.*NumPy array of dtype float64",
    ),
    "g on the host": (
        lambda x: (x.sum(axis=1), np.zeros((4, 2))),
        TypeError,
        "return g as a CuPy array on device 0.*NumPy",
    ),
    "a list": (lambda x: ([0.0] * 4, x), TypeError, "return f as a CuPy array on device 0.*list"),
    "f elsewhere": (
        lambda x: (away(np.zeros(4)), x),
        ValueError,
        "return f on device 0, where x is; got it on device 1",
    ),
    "g elsewhere": (
        lambda x: (x.sum(axis=1), away(X0)),
        ValueError,
        "return g on device 0, where x is; got it on device 1",
    ),
    "g of float32": (
        lambda x: (x.sum(axis=1), x.astype(np.float32)),
        TypeError,
        "return g of float64, as x is; got float32",
    ),
    "f of integers": (
        lambda x: (x.sum(axis=1).astype(np.int64), x),
        TypeError,
        "return f of float32 or float64; got int64",
    ),
    "one f": (lambda x: (x.sum(), x), ValueError, r"f of shape \(4,\); got \(\).*sum over the last axis only"),
    "g transposed": (
        lambda x: (x.sum(axis=1), x.T),
        ValueError,
        r"g of shape \(4, 2\); got \(2, 4\). Is it transposed",
    ),
    "no pair": (lambda x: x.sum(axis=1), TypeError, r"must return the pair \(f, g\)"),
}


@pytest.mark.parametrize(("fun", "error", "match"), RETURNED.values(), ids=RETURNED)
def test_what_fun_must_not_return(fun, error, match):
    with pytest.raises(error, match=f"(?i){match}"):
        fastbfgs.minimize(fun, xp.array(X0), jac=True)


def test_nothing_has_changed_after_a_refusal():
    x0, c = data()
    centre = xp.array(c)
    solver = solved(Solver(xp.array(x0)), centre, 2)
    f, g = bowls(solver.ask(), centre)
    with pytest.raises(TypeError):
        solver.tell(f, g.get())
    with pytest.raises(TypeError):
        solver.tell(f.get(), g)
    solver.tell(f, g)
    solved(solver, centre)
    np.testing.assert_array_equal(solver.result().x.get(), solved(Solver(x0), c).result().x)


GIVEN = {
    "batch_args on the host": (
        {"batch_args": (X0,)},
        TypeError,
        r"batch_args\[0\] must be a CuPy array on device 0, as x0 is",
    ),
    "batch_args elsewhere": (
        {"batch_args": (away(X0),)},
        ValueError,
        r"batch_args\[0\] must be on device 0.*on device 1",
    ),
    "batch_args of another shape": (
        {"batch_args": (away(X0[0], 0),)},
        ValueError,
        "must have the leading axes of the batch",
    ),
    "bounds on the host": ({"bounds": SimpleNamespace(lb=X0, ub=X0 + 1)}, TypeError, "bounds.lb must be a CuPy array"),
    "bounds elsewhere": (
        {"bounds": SimpleNamespace(lb=0.0, ub=away(X0[0]))},
        ValueError,
        "bounds.ub must be on device 0",
    ),
    "bounds crossed": (
        {"bounds": SimpleNamespace(lb=away(X0, 0), ub=-1.0)},
        ValueError,
        "An upper bound is less than .* member 0",
    ),
    "bounds of another shape": (
        {"bounds": SimpleNamespace(lb=away(X0[:3], 0), ub=1.0)},
        ValueError,
        "number of bounds is not compat",
    ),
    "hess_inv0 on the host": (
        {"method": "L-BFGS", "options": {"hess_inv0": np.ones(2)}},
        TypeError,
        "hess_inv0 must be a CuPy array",
    ),
    "hess_inv0 negative": (
        {"method": "L-BFGS", "options": {"hess_inv0": away(-X0 - 1, 0)}},
        ValueError,
        "positive and finite",
    ),
    "hess_inv0 skew": (
        {"method": "BFGS", "options": {"hess_inv0": away([[1.0, 1], [0, 1]], 0)}},
        ValueError,
        "not symmetric",
    ),
    "hess_inv0 indefinite": (
        {"method": "BFGS", "options": {"hess_inv0": away([[1.0, 2], [2, 1]], 0)}},
        ValueError,
        "positive definite",
    ),
    "pairs": ({"options": {"pairs": "float32"}}, ValueError, "pairs='float32' is for the CPU, and x0 is on a GPU"),
    "workers": ({"workers": 2}, ValueError, "workers are threads of the CPU"),
    "constraints": ({"constraints": [1]}, ValueError, "cannot handle constraints"),
}


@pytest.mark.parametrize(("keywords", "error", "match"), GIVEN.values(), ids=GIVEN)
def test_what_must_not_be_given(keywords, error, match):
    def fun(*given):
        raise AssertionError("called")

    with pytest.raises(error, match=match):
        fastbfgs.minimize(fun, xp.array(X0), **{"jac": True, **keywords})


STARTS = {
    "complex": (away(X0 * 1j, 0), TypeError, "x0 must hold real numbers; got dtype complex128, which is complex"),
    "half": (away(X0.astype(np.float16), 0), TypeError, "dtype float16, which is neither float32 nor float64"),
    "no coordinates": (away(np.zeros((4, 0)), 0), ValueError, "at least one coordinate"),
    "elsewhere": (away(X0), ValueError, "x0 is on device 1, but the current one is 0; call within `with x0.device:`"),
}


@pytest.mark.parametrize(("x0", "error", "match"), STARTS.values(), ids=STARTS)
def test_starts(x0, error, match):
    for call in (Solver, lambda x0: fastbfgs.minimize(bowls, x0, jac=True)):
        with pytest.raises(error, match=match):
            call(x0)


def test_integers_become_float64_and_scalars_one_coordinate():
    assert Solver(xp.array(np.zeros((4, 2), np.int64))).ask().dtype == np.float64
    assert Solver(xp.array(np.float32(1.0))).ask().shape == (1,)


def test_bounds_are_rounded_inwards():
    lb, ub = np.array([[0.1, 0.2], [1 / 3, -np.inf]]), np.array([[0.3, 0.7], [2 / 3, np.inf]])
    bounds = SimpleNamespace(lb=lb, ub=ub), SimpleNamespace(lb=xp.array(lb), ub=xp.array(ub))
    x0 = np.ones((2, 2), np.float32)
    solvers = [Solver(x, method="L-BFGS-B", bounds=b) for x, b in zip((x0, xp.array(x0)), bounds, strict=True)]
    np.testing.assert_array_equal(solvers[1].box.get(), solvers[0].box)
    np.testing.assert_array_equal(solvers[1].ask().get(), solvers[0].ask())
    assert Solver(xp.array(x0), method="L-BFGS-B", bounds=SimpleNamespace(lb=-np.inf, ub=np.inf)).box is None


def test_compiled_objectives_are_for_the_cpu():
    import ctypes

    vector = ctypes.POINTER(ctypes.c_double)
    kind = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_int64, vector, vector, ctypes.c_void_p)
    with pytest.raises(TypeError, match="compiled fun runs on the CPU, and x0 is on a GPU"):
        fastbfgs.minimize(kind(lambda *_: 0.0), xp.array(X0))
    with pytest.raises(TypeError, match="compiled objectives run on the CPU, and x0 is on a GPU"):
        Solver(xp.array(X0)).run(kind(lambda *_: 0.0))


def test_no_cupy_no_device_old_driver(monkeypatch):
    assert device.cupy("this") is on_host
    monkeypatch.setattr(on_host, "devices", lambda: 0)
    with pytest.raises(RuntimeError, match="this needs a GPU, and CuPy finds none"):
        device.cupy("this")

    def fail(name):
        def raising():
            raise ValueError(f"{name}: CUDA driver version is insufficient for CUDA runtime version")

        return raising

    monkeypatch.setattr(on_host, "devices", fail("cudaErrorInsufficientDriver"))
    with pytest.raises(RuntimeError, match="this needs an NVIDIA driver, as new as the CUDA that CuPy was built for"):
        device.cupy("this")
    monkeypatch.setattr(on_host, "devices", fail("cudaErrorUnknown"))
    with pytest.raises(RuntimeError, match=r"this needs a GPU that CuPy can use.* cudaErrorUnknown"):
        device.cupy("this")
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"this needs CuPy: install fastbfgs\[cuda13\]"):
        device.cupy("this")


def test_too_little_memory_is_told_before_anything_is_taken(monkeypatch):
    monkeypatch.setattr(on_host, "free", 2000)
    with pytest.raises(MemoryError, match="the largest batch that fits has 1 members"):
        Solver(xp.array(np.zeros((100, 5))))


def test_readers_have_the_same_words():
    """`interop` and `Arrays` are asked for the same things."""
    from fastbfgs import interop

    for name in "enter start argument spread diagonal matrix box nearest value values row".split():
        ours = list(inspect.signature(getattr(device.Arrays, name)).parameters)[1:]
        theirs = list(inspect.signature(getattr(interop, name)).parameters)
        assert theirs[: len(ours)] == ours, name


def test_options_are_all_passed_on():
    """A new option of `Options` must be told to the kernels, or refused."""
    known = set("history method scale_h0 c1 c2 gtol ftol frtol fatol xtol xrtol norm maxiter maxfun maxls".split())
    refused = {"pairs"}  # `GIVEN`
    assert set(vars(Options())) == known | refused


def test_readme(capsys):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names = {"fastbfgs": fastbfgs}
    for block in blocks:
        if "cupy" in block:
            exec(compile(block.replace("10_000", "20"), "README.md", "exec"), names)
    assert "cupy.ndarray" in capsys.readouterr().out
    assert names["run"].success.get().all()
