"""`minimize` of a batch: shapes, which rows each call gets, and every member as if it were alone."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import OptimizeResult

import fastbfgs
from fastbfgs import BatchResult, Status
from fastbfgs.objective import takes_rows
from tests.problems import by_name, starts

minimize = partial(fastbfgs.minimize, method="L-BFGS-B")

ROOT = Path(fastbfgs.__file__).parents[1]
ROSENBROCK = by_name("chained_rosenbrock_5")

FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success")


def random_starts(count, problem=ROSENBROCK, seed=0):
    """Return starts (count, n) of which some are far and some at the solution, so that members end apart."""
    x0 = starts(problem, count, 1.0, np.random.default_rng(seed))
    x0[::4] = 1.0 + 1e-9 * x0[::4]
    return x0


def one(fun):
    """Return a function of rows as one of a single point."""

    def single(x, *args):
        f, g = fun(x[None], *(a[None] for a in args))
        return f[0], g[0]

    return single


def recorded(fun):
    """Return fun with an attribute `calls`: copies of x, and of what else it was given."""

    def wrapper(x, *args, rows):
        wrapper.calls.append((x.copy(), *args, rows.copy()))
        return fun(x, *args)

    wrapper.calls = []
    return wrapper


def assert_same(a, b, index=()):
    """Assert that member `index` of batch result a is b, in every bit."""
    for key in set(FIELDS) & set(b):
        np.testing.assert_array_equal(a[key][index], b[key], err_msg=key)
        assert a[key].dtype == np.asarray(b[key]).dtype or np.ndim(b[key]) == 0, key


def assert_same_batch(a, b):
    """Assert that two batch results agree in every bit."""
    for key in (*FIELDS, "calls"):
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def quartic(x, c):
    """Return sum (x - c)**4 of each row, and its gradient."""
    d = x - c
    return (d**4).sum(axis=1), 4 * d**3


# ----------------------------------------------------------------------------------------------
# Results


@pytest.mark.parametrize("shape", [(7,), (2, 3), (1,), (0,), (2, 0), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("compact", [False, True])
def test_shapes_and_dtypes(shape, dtype, compact):
    count = int(np.prod(shape))
    x0 = random_starts(count).reshape(*shape, 5).astype(dtype)
    seen = []

    def fun(x):
        seen.append((x.shape, x.dtype))
        return ROSENBROCK.fun(x)

    result = minimize(fun, x0, jac=True, compact=compact)
    assert type(result) is BatchResult
    assert all(len(s) == 2 and s[1] == 5 and d == dtype for s, d in seen)
    expected = {
        "x": ((*shape, 5), dtype),
        "jac": ((*shape, 5), dtype),
        "fun": (shape, dtype),
        "nit": (shape, np.int64),
        "nfev": (shape, np.int64),
        "njev": (shape, np.int64),
        "status": (shape, np.int32),
        "reason": (shape, np.int32),
        "success": (shape, np.bool_),
        "message": (shape, np.object_),
    }
    for key, (dims, kind) in expected.items():
        value = result[key]
        assert value is getattr(result, key) or key == "message"
        assert (value.shape, value.dtype) == (dims, kind), key
    assert len(result) == shape[0]
    assert result.failed.ndim == 1
    assert len(seen) == result.calls == result.nfev.max(initial=0)
    assert repr(result).startswith(f"BatchResult of {count} members {shape}")


def test_start_is_not_written_to():
    x0 = random_starts(4)
    x0.flags.writeable = False
    result = minimize(ROSENBROCK.fun, x0, jac=True, options={"maxiter": 0})
    result.x[:] = 0.0
    np.testing.assert_array_equal(x0, random_starts(4))


@pytest.fixture(scope="module")
def mixed():
    """A (2, 3) batch whose members end for different reasons, and its starts."""
    x0 = random_starts(6).reshape(2, 3, 5)
    x0[1, 2] = np.nan
    x0[0, 0] = 1.0
    return x0, minimize(ROSENBROCK.fun, x0, jac=True, options={"maxiter": 30, "ftol": 0})


def test_member_is_an_optimize_result(mixed):
    x0, batch = mixed
    for index in np.ndindex(2, 3):
        member = batch[index]
        assert type(member) is OptimizeResult
        alone = minimize(one(ROSENBROCK.fun), x0[index], jac=True, options={"maxiter": 30, "ftol": 0})
        assert set(member) == set(alone) - {"hess_inv"}
        for key in member:
            np.testing.assert_array_equal(member[key], alone[key], err_msg=key)
            assert type(member[key]) is type(alone[key]), key


def test_parts(mixed):
    _, batch = mixed
    np.testing.assert_array_equal(batch[1].x, batch.x[1])
    assert type(batch[1]) is BatchResult and len(batch[1]) == 3
    np.testing.assert_array_equal(batch[1, 2].x, batch.x[1, 2])
    np.testing.assert_array_equal(batch[-1, -1].x, batch.x[1, 2])
    np.testing.assert_array_equal(batch[:, 1:].fun, batch.fun[:, 1:])
    np.testing.assert_array_equal(batch[:, 0].jac, batch.jac[:, 0])
    np.testing.assert_array_equal(batch[batch.success].x, batch.x[batch.success])
    np.testing.assert_array_equal(batch[[1, 0], [2, 0]].nit, batch.nit[[1, 0], [2, 0]])
    assert batch[:1].message.shape == (1, 3)
    assert [r.x.shape for r in batch] == [(3, 5)] * 2
    assert [r.nfev for r in batch[0]] == batch.nfev[0].tolist()
    with pytest.raises(IndexError):
        batch[2]
    with pytest.raises(IndexError):
        batch[0, 0, 0]


def test_fields_by_name(mixed):
    _, batch = mixed
    assert batch["x"] is batch.x
    assert batch["calls"] == batch.calls
    with pytest.raises(KeyError, match="no such field"):
        batch["no such field"]


def test_an_ellipsis_is_of_the_batch_axes(mixed):
    _, batch = mixed
    np.testing.assert_array_equal(batch[..., 1].x, batch.x[:, 1])
    np.testing.assert_array_equal(batch[..., 1].fun, batch.fun[:, 1])


def test_failed_and_message(mixed):
    _, batch = mixed
    np.testing.assert_array_equal(batch.failed, np.flatnonzero(~batch.success.ravel()))
    assert batch.message[0, 0] == "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"
    assert batch.status[1, 2] == 3 and "NaN or infinite at the start" in batch.message[1, 2]
    assert 5 in batch.failed
    limited = batch.status == 1
    assert limited.any()
    assert set(batch.message[limited]) == {"STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"}


def test_repr(mixed):
    _, batch = mixed
    text = repr(batch)
    assert f"{batch.success.sum()} succeeded" in text
    for message, count in Counter(batch.message.ravel()).items():
        assert any(line.split(None, 1) == [str(count), message] for line in text.splitlines())
    assert f"calls: {batch.calls}" in text


def test_result_can_be_pickled(mixed):
    _, batch = mixed
    assert_same_batch(pickle.loads(pickle.dumps(batch)), batch)


# ----------------------------------------------------------------------------------------------
# A member in a batch is as if it were alone


@pytest.mark.parametrize("name", ["chained_rosenbrock_5", "beale", "log_domain_5", "wood", "logistic_regression_20"])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_is_solo(name, compact, dtype):
    problem = by_name(name)
    x0 = starts(problem, 9, 0.5, np.random.default_rng(3)).astype(dtype)
    batch = minimize(problem.fun, x0, jac=True, compact=compact)
    for i, start in enumerate(x0):
        assert_same(batch, minimize(one(problem.fun), start, jac=True), i)
    turned = minimize(problem.fun, x0[::-1], jac=True, compact=compact)
    assert_same_batch(turned[::-1], batch)


def test_batch_of_one():
    x0 = random_starts(3)[1:2]
    batch = minimize(ROSENBROCK.fun, x0, jac=True)
    assert batch.x.shape == (1, 5)
    assert_same(batch, minimize(one(ROSENBROCK.fun), x0[0], jac=True), 0)


def test_one_bad_member_touches_no_other():
    x0 = random_starts(6)
    good = minimize(ROSENBROCK.fun, x0, jac=True)

    def fun(x, rows):
        f, g = ROSENBROCK.fun(x)
        f[rows == 1] = np.nan
        g[rows == 2] = np.inf
        f[rows == 3] = -np.inf
        g[rows == 5] *= -1.0
        return f, g

    bad = minimize(fun, x0, jac=True)
    for i in (0, 4):
        assert_same(bad, good[i], i)
    assert bad.status.tolist()[1:4] == [3, 3, 5]
    assert bad.status[5] == 2
    assert not bad.success[[1, 2, 3, 5]].any()
    np.testing.assert_array_equal(bad.x[[1, 2, 3]], x0[[1, 2, 3]])


def test_a_later_nan_is_only_too_far():
    def fun(x):
        with np.errstate(invalid="ignore"):
            return (50 * x - np.log(x)).sum(axis=1), 50 - 1 / x

    x0 = np.array([[5.0, 8.0], [0.02, 0.02], [1e-3, 3.0]])
    result = minimize(fun, x0, jac=True)
    assert result.success.all()
    np.testing.assert_allclose(result.x, 0.02, rtol=1e-3)


# ----------------------------------------------------------------------------------------------
# Which rows


@pytest.mark.parametrize("jac", [True, "apart"])
def test_compact_passes_running_rows_alone(jac):
    x0 = random_starts(8)
    fun = recorded(ROSENBROCK.fun if jac is True else lambda x: ROSENBROCK.fun(x)[0])
    gradient = recorded(lambda x: ROSENBROCK.fun(x)[1])
    result = minimize(fun, x0, jac=True if jac is True else gradient)
    assert len(fun.calls) == result.calls == result.nfev.max()
    counts = np.bincount(np.concatenate([rows for *_, rows in fun.calls]), minlength=8)
    np.testing.assert_array_equal(counts, result.nfev)
    for call, (x, rows) in enumerate(fun.calls, 1):
        np.testing.assert_array_equal(rows, np.flatnonzero(result.nfev >= call))
        assert x.shape == (len(rows), 5)
    if jac != "apart":
        return
    assert len(gradient.calls) == len(fun.calls)
    for a, b in zip(fun.calls, gradient.calls, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_all_rows_without_compact():
    x0 = random_starts(8)
    calls = []

    def fun(x):
        calls.append(x.copy())
        return ROSENBROCK.fun(x)

    result = minimize(fun, x0, jac=True)
    assert len(calls) == result.calls == result.nfev.max()
    assert result.nfev.min() == 1
    for call, x in enumerate(calls, 1):
        assert x.shape == (8, 5)
        finished = result.nfev < call
        np.testing.assert_array_equal(x[finished], result.x[finished])
    assert_same_batch(minimize(fun, x0, jac=True, compact=True), result)


def test_garbage_for_finished_rows_is_not_looked_at():
    x0 = random_starts(8)
    plain = minimize(ROSENBROCK.fun, x0, jac=True)
    calls = []

    def fun(x):
        calls.append(1)
        f, g = ROSENBROCK.fun(x)
        finished = plain.nfev < len(calls)
        f[finished], g[finished] = -np.inf, np.nan
        return f, g

    assert_same_batch(minimize(fun, x0, jac=True), plain)


def test_rows_without_compact():
    fun = recorded(ROSENBROCK.fun)
    result = minimize(fun, random_starts(5), jac=True, compact=False)
    assert len(fun.calls) == result.calls
    assert all(rows.tolist() == [0, 1, 2, 3, 4] for *_, rows in fun.calls)


def test_rows_are_of_the_flattened_batch():
    fun = recorded(ROSENBROCK.fun)
    x0 = random_starts(6)
    result = minimize(fun, x0.reshape(3, 2, 5), jac=True)
    assert_same_batch(result, minimize(ROSENBROCK.fun, x0.reshape(3, 2, 5), jac=True))
    np.testing.assert_array_equal(fun.calls[0][0], x0)
    assert fun.calls[0][-1].tolist() == [0, 1, 2, 3, 4, 5]


def test_rows_that_fun_does_not_take_are_not_given():
    def fun(x, *rows, **anything):
        assert rows == () and anything == {}
        return ROSENBROCK.fun(x)

    assert minimize(fun, random_starts(4), jac=True).success.all()


def _hidden(function):
    @functools.wraps(function)
    def wrapper(*given, **named):
        return function(*given, **named)

    return wrapper


def _hidden_without_rows(function):
    @functools.wraps(function)
    def wrapper(*given):
        return function(*given, rows=None)

    return wrapper


def _with_signature_of(function):
    wrapper = lambda *given, **named: function(*given, **named)  # noqa: E731
    wrapper.__signature__ = inspect.signature(function)
    return wrapper


@pytest.mark.parametrize(
    ("function", "takes"),
    [
        (lambda x, rows: None, True),
        (lambda x, rows=None: None, True),
        (lambda x, *c, rows: None, True),
        (lambda rows: None, True),
        (lambda x: None, False),
        (lambda x, *rows: None, False),
        (lambda x, **rows: None, False),
        (lambda rows, /, x: None, False),
        (lambda x, c: [rows for rows in c], False),
        (_hidden(lambda x, rows: None), True),
        (_hidden(lambda x: None), False),
        (_with_signature_of(lambda x, rows: None), True),
        (_hidden_without_rows(lambda x, rows: None), False),
        (functools.partial(lambda x, rows: None), True),
        (functools.partial(lambda x, rows: None, rows="mine"), False),
        (functools.lru_cache(lambda x, rows: None), True),
        (type("Takes", (), {"__call__": lambda self, x, rows: None})(), True),
        (type("Takes", (), {"fun": lambda self, x, rows: None})().fun, True),
        (type("Takes", (), {"fun": lambda rows, x: None})().fun, False),
        (max, False),
    ],
)
def test_who_takes_rows(function, takes):
    assert takes_rows(function) is takes


def test_rows_of_one_problem():
    # One problem has no rows: a parameter of that name is a parameter like others.
    def fun(x, rows=5.0):
        return float(((x - rows) ** 2).sum()), 2 * (x - rows)

    np.testing.assert_allclose(minimize(fun, np.zeros(2), jac=True).x, 5.0, atol=1e-8)
    np.testing.assert_allclose(minimize(fun, np.zeros(2), 3.0, jac=True).x, 3.0, atol=1e-8)


def test_rows_cannot_be_written_to():
    def fun(x, rows):
        with pytest.raises(ValueError, match="read-only"):
            rows[:] = 0
        return ROSENBROCK.fun(x)

    assert minimize(fun, random_starts(4), jac=True).success.all()


@pytest.mark.parametrize("shape", [(8,), (2, 4)], ids=str)
@pytest.mark.parametrize("compact", [None, True, False])
def test_batch_args_follow_the_members(shape, compact):
    rng = np.random.default_rng(1)
    x0 = rng.normal(size=(*shape, 3))
    centre = rng.normal(size=(*shape, 3)) * np.geomspace(1e-3, 30, 8).reshape(*shape, 1)
    number = np.arange(8).reshape(shape)
    table = np.broadcast_to(number[..., None, None], (*shape, 2, 2))

    def fun(x, scale, c, i, t, rows):
        assert scale == 2.0
        np.testing.assert_array_equal(i, rows)
        assert t.shape == (len(x), 2, 2)
        np.testing.assert_array_equal(t[:, 1, 0], rows)
        np.testing.assert_array_equal(c, centre.reshape(8, 3)[rows])
        sizes.append(len(x))
        f, g = quartic(x, c)
        return scale * f, scale * g

    sizes = []
    result = minimize(fun, x0, (2.0,), jac=True, batch_args=(centre, number, table), compact=compact)
    assert result.success.all()
    assert len(sizes) == result.nfev.max()
    assert sum(sizes) == (8 * len(sizes) if compact is False else result.nfev.sum())
    for index in np.ndindex(shape):
        alone = minimize(one(lambda x, c: tuple(2.0 * v for v in quartic(x, c))), x0[index], (centre[index],), jac=True)
        assert_same(result, alone, index)


def test_batch_args_and_args_of_jac():
    rng = np.random.default_rng(2)
    x0, centre = rng.normal(size=(6, 3)), 5 * rng.normal(size=(6, 3))

    def value(x, scale, c, rows):
        np.testing.assert_array_equal(c, centre[rows])
        return scale * quartic(x, c)[0]

    def gradient(x, scale, c):
        return scale * quartic(x, c)[1]

    def pair(x, scale, c):
        return value(x, scale, c, slice(None)), gradient(x, scale, c)

    apart = minimize(value, x0, 3.0, jac=gradient, batch_args=centre)
    assert_same_batch(apart, minimize(pair, x0, (3.0,), jac=True, batch_args=(centre,), compact=False))


def test_batch_args_are_copied_only_when_members_have_finished():
    given = np.arange(6.0)[:, None] * np.ones(3)
    seen = []

    def fun(x, c):
        seen.append(c)
        return quartic(x, c)

    result = minimize(fun, np.full((6, 3), 9.0), jac=True, batch_args=(given,))
    first = result.nfev.min()
    assert first > 2
    assert all(c is seen[0] for c in seen[:first])
    assert np.shares_memory(seen[0], given)
    for k in range(1, len(seen)):
        same = len(seen[k]) == len(seen[k - 1])
        assert (seen[k] is seen[k - 1]) == same


@pytest.mark.parametrize("shape", [(3,), (1, 3)], ids=str)
def test_batch_args_may_be_empty_rows(shape):
    # A member with no data of its own, as a table of no columns has it.
    result = minimize(
        lambda x, t: (ROSENBROCK.fun(x)[0] + t.sum(axis=1), ROSENBROCK.fun(x)[1]),
        random_starts(3).reshape(*shape, 5),
        jac=True,
        batch_args=(np.zeros((*shape, 0)),),
    )
    assert result.success.all()


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2)], ids=str)
def test_batch_args_of_no_members(shape):
    def fun(x, c):
        raise AssertionError("there is no member to ask about")

    result = minimize(fun, np.zeros((*shape, 3)), jac=True, batch_args=(np.zeros((*shape, 3)),))
    assert result.x.shape == (*shape, 3) and result.calls == 0
    assert result.message.shape == shape


# ----------------------------------------------------------------------------------------------
# Derivatives


@pytest.mark.parametrize("compact", [False, True])
def test_gradient_apart_from_the_value(compact):
    x0 = random_starts(6)
    apart = minimize(lambda x: ROSENBROCK.fun(x)[0], x0, jac=lambda x: ROSENBROCK.fun(x)[1], compact=compact)
    assert_same_batch(apart, minimize(ROSENBROCK.fun, x0, jac=True))


@pytest.mark.parametrize("jac", [None, False, "2-point", "3-point", "cs"])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_differences(jac, compact, dtype):
    x0 = random_starts(6).astype(dtype)
    each = 11 if jac == "3-point" else 6
    shapes = []

    def fun(x):
        shapes.append(x.shape)
        assert x.dtype == np.result_type(dtype, np.complex64 if jac == "cs" else dtype)
        return ROSENBROCK.fun(x)[0]

    result = minimize(fun, x0, jac=jac, compact=compact)
    assert len(shapes) == result.calls == result.njev.max()
    np.testing.assert_array_equal(result.nfev, each * result.njev)
    running = [(result.njev >= call).sum() for call in range(1, result.calls + 1)]
    assert shapes == [(each * (k if compact else 6), 5) for k in running]
    for i, start in enumerate(x0):
        assert_same(result, minimize(lambda x: ROSENBROCK.fun(x[None])[0][0], start, jac=jac), i)
    if dtype == np.float64:
        assert result.success.all()
        assert np.abs(ROSENBROCK.fun(result.x)[1]).max() < 0.1


@pytest.mark.parametrize("options", [{"eps": 1e-6}, {"eps": np.geomspace(1e-9, 1e-6, 5)}], ids=["number", "array"])
def test_absolute_steps(options):
    x0 = random_starts(4)
    result = minimize(lambda x: ROSENBROCK.fun(x)[0], x0, options=options)
    for i, start in enumerate(x0):
        assert_same(result, minimize(lambda x: ROSENBROCK.fun(x[None])[0][0], start, options=options), i)


@pytest.mark.parametrize("step", [1e-6, np.geomspace(1e-9, 1e-6, 5)], ids=["number", "array"])
@pytest.mark.parametrize("jac", ["2-point", "3-point", "cs"])
def test_relative_steps(step, jac):
    options = {"finite_diff_rel_step": step}
    x0 = random_starts(4)
    x0[1, 2] = 0.0
    result = minimize(lambda x: ROSENBROCK.fun(x)[0], x0, jac=jac, options=options)
    for i, start in enumerate(x0):
        assert_same(result, minimize(lambda x: ROSENBROCK.fun(x[None])[0][0], start, jac=jac, options=options), i)


@pytest.mark.parametrize("jac", [None, "3-point", "cs"])
@pytest.mark.parametrize("count", [5, 6, 9, 10, 12])
def test_differences_with_batch_args(jac, count):
    # With n = 2 a member has 3 (or 5) points. Running members times points is now and then the size of the batch,
    # which is no reason to hand over the whole of it.
    rng = np.random.default_rng(count)
    centre = rng.normal(size=(count, 2)) * np.geomspace(1e-4, 30, count)[:, None]
    number = np.arange(count)
    each = 5 if jac == "3-point" else 3
    sizes = []

    def fun(x, c, i, rows):
        sizes.append(len(x) // each)
        np.testing.assert_array_equal(i, rows)
        np.testing.assert_array_equal(rows, np.repeat(rows[::each], each))
        np.testing.assert_array_equal(c, centre[rows])
        return ((x - c) ** 4).sum(axis=1)

    result = minimize(fun, np.zeros((count, 2)), jac=jac, batch_args=(centre, number), tol=1e-9)
    assert sizes == [(result.njev >= call).sum() for call in range(1, result.calls + 1)]
    assert len(set(sizes)) > 2
    np.testing.assert_allclose(result.x, centre, atol=0.02)


# ----------------------------------------------------------------------------------------------
# Callback and progress


def moved(x0, options=None):
    """Return in how many calls any member took a step, from the steps as a callback sees them."""
    nits = [np.zeros(len(x0), int)]
    minimize(
        ROSENBROCK.fun,
        x0,
        jac=True,
        options=options,
        callback=lambda intermediate_result: nits.append(intermediate_result.nit),
    )
    return np.array(nits)


@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
@pytest.mark.parametrize("compact", [False, True])
def test_callback_of_the_result(shape, compact):
    x0 = random_starts(6).reshape(*shape, 5)
    seen = []
    result = minimize(
        ROSENBROCK.fun,
        x0,
        jac=True,
        compact=compact,
        callback=lambda intermediate_result: seen.append(intermediate_result),
    )
    before = np.zeros(shape, int)
    for r in seen:
        assert type(r) is BatchResult
        assert r.x.shape == r.jac.shape == (*shape, 5)
        f, g = ROSENBROCK.fun(r.x.reshape(6, 5))
        np.testing.assert_array_equal(r.fun.ravel(), f)
        np.testing.assert_array_equal(r.jac.reshape(6, 5), g)
        assert (r.nit >= before).all() and (r.nit > before).any()
        assert ((r.status == -1) == (r.reason == Status.RUNNING)).all()
        before = r.nit
    assert result.nit.max() <= len(seen) <= result.calls
    assert_same_batch(seen[-1], result)
    assert len({r.x.tobytes() for r in seen}) == len(seen)


def test_callback_of_the_points():
    x0 = random_starts(6).reshape(2, 3, 5)
    seen = []
    result = minimize(ROSENBROCK.fun, x0, jac=True, callback=seen.append)
    assert all(type(x) is np.ndarray and x.shape == (2, 3, 5) for x in seen)
    assert len({x.tobytes() for x in seen}) == len(seen)
    np.testing.assert_array_equal(seen[-1], result.x)


def test_callback_may_write_into_what_it_gets():
    def callback(intermediate_result):
        for key in FIELDS:
            intermediate_result[key][...] = 0

    x0 = random_starts(6)
    assert_same_batch(minimize(ROSENBROCK.fun, x0, jac=True, callback=callback), minimize(ROSENBROCK.fun, x0, jac=True))


@pytest.mark.parametrize("compact", [False, True])
def test_callback_stops_those_that_run(compact):
    x0 = random_starts(6)
    free = minimize(ROSENBROCK.fun, x0, jac=True)
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 5:
            raise StopIteration

    result = minimize(ROSENBROCK.fun, x0, jac=True, callback=callback, compact=compact)
    assert len(seen) == 5
    stopped = result.status == 99
    assert 0 < stopped.sum() < 6
    assert not result.success[stopped].any() and result.success[~stopped].all()
    assert set(result.message[stopped]) == {"`callback` raised `StopIteration`."}
    for i in np.flatnonzero(~stopped):
        assert_same(result, free[int(i)], int(i))
    np.testing.assert_array_equal(result.x, seen[-1].x)
    np.testing.assert_array_equal(result.failed, np.flatnonzero(stopped))


@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
def test_progress_as_a_function(shape):
    seen = []
    x0 = random_starts(6).reshape(*shape, 5)
    result = minimize(ROSENBROCK.fun, x0, jac=True, progress=lambda *numbers: seen.append(numbers))
    expected = [(int((result.nfev <= call).sum()), 6, call) for call in range(1, result.calls + 1)]
    assert seen == expected
    assert_same_batch(result, minimize(ROSENBROCK.fun, x0, jac=True))


def test_progress_of_one_problem():
    seen = []
    result = minimize(one(ROSENBROCK.fun), ROSENBROCK.x0, jac=True, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(int(k == result.nfev), 1, k) for k in range(1, result.nfev + 1)]


def test_progress_as_a_tqdm_class(capsys):
    tqdm = pytest.importorskip("tqdm").tqdm
    bars = []

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            bars.append(self)

    minimize(ROSENBROCK.fun, random_starts(6), jac=True, progress=Bar)
    assert [(bar.n, bar.total, bar.disable) for bar in bars] == [(6, 6, True)], "closed at the end"
    assert "6/6" in capsys.readouterr().err

    def fail(x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        minimize(fail, random_starts(6), jac=True, progress=Bar)
    assert bars[1].disable, "closed after an error"


def test_progress_true(capsys):
    pytest.importorskip("tqdm")
    result = minimize(ROSENBROCK.fun, random_starts(6), jac=True, progress=True)
    text = capsys.readouterr().err
    assert "6/6" in text and f"calls={result.calls}" in text


@pytest.mark.parametrize("progress", [None, False])
def test_no_progress(progress, capsys):
    minimize(ROSENBROCK.fun, random_starts(6), jac=True, progress=progress)
    assert capsys.readouterr() == ("", "")


def test_progress_without_tqdm(monkeypatch):
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)

    def fun(x):
        raise AssertionError("too late")

    with pytest.raises(ImportError, match=r"tqdm.*fastbfgs\[progress\].*callable"):
        minimize(fun, random_starts(6), jac=True, progress=True)
    seen = []
    minimize(ROSENBROCK.fun, random_starts(6), jac=True, progress=lambda *numbers: seen.append(numbers))
    assert seen


# ----------------------------------------------------------------------------------------------
# Errors of the user's function


class Odd(Exception):
    """Not an error that anyone catches."""


@pytest.mark.parametrize("error", [Odd, KeyboardInterrupt, SystemExit, StopIteration, MemoryError])
@pytest.mark.parametrize("jac", [True, "apart", None])
def test_errors_pass_and_carry_the_best_points(error, jac):
    x0 = random_starts(6).reshape(2, 3, 5)
    calls = []
    seen = []
    raised = error("in row 3")

    def fun(x):
        calls.append(1)
        if len(calls) == 12:
            raise raised
        return ROSENBROCK.fun(x) if jac is True else ROSENBROCK.fun(x)[0]

    gradient = (lambda x: ROSENBROCK.fun(x)[1]) if jac == "apart" else jac
    with pytest.raises(error) as caught:
        minimize(fun, x0, jac=gradient, callback=seen.append)
    assert caught.value is raised
    partial = raised.partial_result
    assert type(partial) is BatchResult and partial.x.shape == (2, 3, 5)
    assert partial.calls == 11
    assert set(partial.status.ravel().tolist()) == {-1, 0}
    start = ROSENBROCK.fun(x0.reshape(6, 5))[0]
    assert (partial.fun.ravel() <= start).all() and (partial.fun.ravel() < start).any()
    np.testing.assert_array_equal(partial.fun.ravel(), ROSENBROCK.fun(partial.x.reshape(6, 5))[0])
    np.testing.assert_array_equal(partial.x, seen[-1])
    assert [note for note in raised.__notes__ if "partial_result" in note]
    # The points found are good starts: a second solve works, and needs less.
    second = minimize(ROSENBROCK.fun, partial.x, jac=True)
    assert second.success.all()
    assert second.nfev.max() < minimize(ROSENBROCK.fun, x0, jac=True).nfev.max()


@pytest.mark.parametrize("where", ["jac", "callback", "progress"])
def test_errors_elsewhere_pass_too(where):
    raised = Odd(where)

    def fail(*args):
        raise raised

    given = {"jac": True, where: fail}
    fun = ROSENBROCK.fun if where != "jac" else lambda x: ROSENBROCK.fun(x)[0]
    with pytest.raises(Odd) as caught:
        minimize(fun, random_starts(6), **given)
    assert caught.value is raised
    partial = raised.partial_result
    assert partial.calls == (0 if where == "jac" else 1 if where == "progress" else partial.calls)
    assert minimize(ROSENBROCK.fun, random_starts(6), jac=True).success.all()


def test_nested_solves():
    # The points of the innermost run that failed are those of the exception.
    def inner(x):
        raise Odd

    def outer(x):
        minimize(inner, np.zeros((2, 3)), jac=True)

    with pytest.raises(Odd) as caught:
        minimize(outer, random_starts(6), jac=True)
    assert caught.value.partial_result.x.shape in {(2, 3), (6, 5)}

    def good(x):
        minimize(ROSENBROCK.fun, random_starts(3, seed=1), jac=True)
        return ROSENBROCK.fun(x)

    x0 = random_starts(6)
    assert_same_batch(minimize(good, x0, jac=True), minimize(ROSENBROCK.fun, x0, jac=True))


def test_a_result_knows_its_names_and_is_itself():
    result = minimize(ROSENBROCK.fun, random_starts(3), jac=True)
    assert all(name in result for name in (*FIELDS, "message", "failed", "calls"))
    assert "y" not in result and result.x not in result
    assert result == result and result != minimize(ROSENBROCK.fun, random_starts(3), jac=True)
    assert len({result, result}) == 1


# ----------------------------------------------------------------------------------------------
# Threads


def large(count=4000):
    """Return starts of a batch that is worth threads."""
    problem = by_name("chained_rosenbrock_10")
    return problem.fun, starts(problem, count, 0.5, np.random.default_rng(9))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("compact", [False, True])
def test_results_do_not_depend_on_threads(dtype, compact):
    fun, x0 = large(1500)
    options = {"maxiter": 25}
    results = [
        minimize(fun, x0.astype(dtype), jac=True, workers=workers, compact=compact, options=options)
        for workers in (1, 2, 3, 16)
    ]
    assert any(thread.name.startswith("fastbfgs") for thread in threading.enumerate())
    for result in results[1:]:
        assert_same_batch(result, results[0])


@pytest.mark.parametrize("text", ["1", "2", "007"])
def test_threads_from_the_environment(monkeypatch, text):
    monkeypatch.setenv("FASTBFGS_NUM_THREADS", text)
    assert fastbfgs.Solver(np.zeros((3, 2))).workers == int(text)
    assert fastbfgs.Solver(np.zeros((3, 2)), workers=5).workers == 5, "what is said in the call comes first"
    assert minimize(ROSENBROCK.fun, random_starts(4), jac=True).success.all()


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "", " "])
def test_bad_threads_from_the_environment(monkeypatch, text):
    monkeypatch.setenv("FASTBFGS_NUM_THREADS", text)

    def fun(x):
        raise AssertionError("too late")

    with pytest.raises(ValueError, match=f"FASTBFGS_NUM_THREADS must be a positive integer; got '{text}'.*Unset it"):
        minimize(fun, random_starts(4), jac=True)
    # Who says it in the call does not depend on the environment.
    assert minimize(ROSENBROCK.fun, random_starts(4), jac=True, workers=1).success.all()


def test_threads_of_the_caller():
    # The interpreter's lock is given up in the loops: several solves at once share the pool and stay apart.
    fun, x0 = large(1000)
    options = {"maxiter": 10}
    expected = minimize(fun, x0, jac=True, workers=1, options=options)
    results = {}

    def solve(name):
        results[name] = minimize(fun, x0, jac=True, workers=2, options=options)

    callers = [threading.Thread(target=solve, args=(k,)) for k in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert len(results) == 3
    for result in results.values():
        assert_same_batch(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_threads_survive_a_fork():
    script = """
        import os, sys, threading, warnings
        warnings.filterwarnings("ignore", message=".*multi-threaded", category=DeprecationWarning)
        import numpy as np
        from fastbfgs import minimize

        def fun(x):
            d = x - 1.0
            return (d**4).sum(axis=1), 4 * d**3

        def solve():
            result = minimize(fun, x0, jac=True, workers=2)
            assert result.success.all()
            assert any(t.name.startswith("fastbfgs") for t in threading.enumerate()), "too small for threads"
            return result.x

        x0 = np.random.default_rng(0).normal(size=(4000, 10))
        before = solve()
        child = os.fork()
        if child == 0:
            try:
                os._exit(0 if (solve() == before).all() else 3)
            except BaseException as error:
                print(repr(error), file=sys.stderr)
                os._exit(4)
        _, status = os.waitpid(child, 0)
        assert (solve() == before).all()
        sys.exit(os.waitstatus_to_exitcode(status))
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
