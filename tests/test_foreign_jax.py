"""JAX arrays: precision, traces, shapes, memory that must not change. What all libraries share: `test_foreign.py`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fastbfgs
from fastbfgs import foreign
from tests.test_foreign import CENTRE, START, here, never

jax = pytest.importorskip("jax")
jnp = jax.numpy


def misfit(x, c):
    """Return f of one point."""
    return ((x - c) ** 2 * (1.0 + 4.0 * (x - c) ** 2)).sum()


def test_jitted():
    """f and g of one point, written for all and compiled by JAX."""
    fun = jax.jit(jax.vmap(jax.value_and_grad(misfit)))
    run = fastbfgs.minimize(fun, jnp.zeros((4, 2)), jac=True, batch_args=(jnp.asarray(CENTRE),))
    np.testing.assert_allclose(run.x, CENTRE, atol=1e-3)
    assert fun._cache_size() == 1, "compiled once: every call has all rows"


@pytest.mark.parametrize("compact", [None, False, True])
def test_shapes_are_kept_unless_told_otherwise(compact):
    """Where NumPy leaves finished members out by default: each number of rows would be compiled anew."""
    start = jnp.asarray(START + np.array([[0.0], [0.0], [0.0], [2.0]], np.float32))
    sizes = set()

    def fun(x, c, *, rows):
        sizes.add(len(x))
        assert len(c) == len(rows) == len(x)
        f, g = jax.vmap(jax.value_and_grad(misfit))(x, c)
        return f, g

    fastbfgs.minimize(fun, start, jac=True, batch_args=(jnp.asarray(CENTRE),), compact=compact)
    assert (len(sizes) > 1) == bool(compact)


@pytest.fixture
def double():
    """Return a function that allows float64, or forbids it; forbidden it is in the end."""
    yield lambda allowed: jax.config.update("jax_enable_x64", allowed)
    jax.config.update("jax_enable_x64", False)


def test_double(double):
    double(True)
    c = jnp.asarray(CENTRE.astype(float))
    run = fastbfgs.minimize(jax.jit(jax.vmap(jax.value_and_grad(misfit))), jnp.zeros((4, 2)), jac=True, batch_args=c)
    assert run.x.dtype == run.fun.dtype == np.float64 and run.nit.dtype == np.int64
    np.testing.assert_allclose(run.x, CENTRE, atol=1e-5)
    assert fastbfgs.minimize(lambda x: (0.0, 0.0 * x), jnp.arange(2), jac=True).x.dtype == np.float64
    double(False)
    assert run.x.dtype == np.float64
    with pytest.raises(TypeError, match=r"^x0 is float64, which jax_enable_x64 does not allow now"):
        fastbfgs.minimize(never, run.x, jac=True)


def test_single_is_what_jax_makes_of_what_is_wider():
    run = fastbfgs.lbfgs_minimize(jax.vmap(jax.value_and_grad(lambda x: misfit(x, 1.0))), jnp.zeros((4, 2)))
    assert run.position.dtype == run.objective_value.dtype == np.float32
    assert run.member_iterations.dtype == run.reason.dtype == np.int32
    accepted = []
    fastbfgs.minimize(jax.value_and_grad(lambda x: misfit(x, 1.0)), jnp.zeros(2), jac=True, record=accepted.append)
    assert accepted[0].f.dtype == accepted[0].alpha.dtype == np.float32


def test_traced():
    for transformed in (
        jax.jit(lambda x: fastbfgs.minimize(never, x, jac=True).x),
        jax.grad(lambda x: fastbfgs.minimize(never, x, jac=True).fun),
        jax.vmap(lambda x: fastbfgs.Solver(x).ask()),
    ):
        with pytest.raises(TypeError, match=r"a traced JAX array .* outside of jit, grad and vmap, or .*pure_callback"):
            transformed(jnp.zeros((2, 2)))


def test_by_pure_callback():
    """The way that the error names."""

    def solve(c):
        return fastbfgs.minimize(jax.value_and_grad(misfit), jnp.zeros(2), (c,), jac=True).x

    shape = jax.ShapeDtypeStruct((2,), np.float32)
    x = jax.jit(lambda c: jax.pure_callback(solve, shape, c))(jnp.asarray(CENTRE[0]))
    np.testing.assert_allclose(x, CENTRE[0], atol=1e-3)


def test_kinds_that_numpy_has_not():
    rule = r"must be numbers that NumPy can read, best float32 or float64; got a JAX array of dtype "
    for kind in ("bfloat16", "float8_e4m3fn"):
        with pytest.raises(TypeError, match=rf"^x0 must be float32 or float64; got {kind}"):
            fastbfgs.minimize(never, jnp.zeros(2, kind), jac=True)
    with pytest.raises(TypeError, match=rf"^what the function returns {rule}bfloat16"):
        fastbfgs.minimize(lambda x: (x.sum().astype("bfloat16"), x), jnp.zeros(2), jac=True)
    keys = jax.random.split(jax.random.key(0), 4)
    with pytest.raises(TypeError, match=rf"^batch_args\[0\] {rule}key"):
        fastbfgs.minimize(never, jnp.zeros((4, 2)), jac=True, batch_args=(keys,))
    # Their data will do.
    fastbfgs.minimize(lambda x, k: (x.sum(1), x), jnp.zeros((4, 2)), jac=True, batch_args=(jax.random.key_data(keys),))


# ----------------------------------------------------------------------------------------------
# Memory


def aligned(n, dtype=np.float32):
    """Return an array that begins where JAX likes it to, so that it need not copy."""
    raw = np.empty(n * np.dtype(dtype).itemsize + 64, np.uint8)
    begin = -raw.ctypes.data % 64
    return raw[begin : begin + n * np.dtype(dtype).itemsize].view(dtype)


def test_memory_is_shared_where_that_is_cheaper():
    library = foreign.library_of(jnp.zeros(1))
    large = aligned(100_000)
    large[...] = np.arange(100_000)
    assert np.shares_memory(here(library.own(large)), large)
    np.testing.assert_array_equal(here(library.own(large[1:])), large[1:])  # which begins elsewhere
    array = jnp.arange(3.0)
    assert np.shares_memory(library.native(array, "it"), here(array))


@pytest.mark.parametrize("n", [16, 200_000])
@pytest.mark.parametrize("donated", [False, True])
@pytest.mark.parametrize("own", [False, True], ids=["as it is", "the solver's own memory"])
def test_no_point_changes_while_jax_computes(n, donated, own, monkeypatch):
    """JAX computes behind our back: what it has not come to yet must not change, though nobody else holds it."""
    if own:  # JAX is handed the points themselves, and shares some of the small ones
        monkeypatch.setattr(foreign, "_SHARED", 0)
        monkeypatch.setattr(foreign, "_ALIGNMENT", 1)
    c = jnp.asarray(np.linspace(-1.0, 1.0, n, dtype=np.float32))
    both = jax.value_and_grad(misfit)

    @jax.jit
    def slowly(x):
        return jax.lax.fori_loop(0, 200, lambda i, y: jnp.sin(jnp.cos(y)), x) * 0.0 + x

    later, points = [], []

    def fun(x):
        points.append(np.array(x))
        later.append(slowly(x))
        return function(x, c)

    function = jax.jit(both, donate_argnums=0) if donated else jax.jit(both)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        for _ in range(10 if n < 100 else 1):
            run = fastbfgs.minimize(fun, jnp.zeros(n), jac=True, method="L-BFGS-B")
    assert run.success and len(points) >= run.nfev > 5
    for x, y in zip(points, later, strict=True):
        np.testing.assert_array_equal(np.array(y), x)
    again = fastbfgs.minimize(jax.jit(both), jnp.zeros(n), (c,), jac=True, method="L-BFGS-B")
    np.testing.assert_array_equal(run.x, again.x)


def test_results_do_not_change():
    """Large ones share memory with the solver's copies."""
    n = 100_000
    solver = fastbfgs.Solver(jnp.zeros(n))
    both = jax.jit(jax.value_and_grad(lambda x: misfit(x, 1.0)))
    results, copies = [], []
    while solver.running:
        solver.tell(*both(solver.ask()))
        results.append(solver.result().x)
        copies.append(np.array(results[-1]))
    for result, copy in zip(results, copies, strict=True):
        np.testing.assert_array_equal(result, copy)


def test_paths_do_not_change():
    paths = fastbfgs.Paths(30)
    kept = []
    fastbfgs.minimize(
        jax.vmap(jax.value_and_grad(lambda x: misfit(x, 1.0))), jnp.zeros((40_000, 2)), jac=True, record=paths,
        callback=lambda x: kept.append((paths.x, np.array(paths.x))),
    )  # fmt: skip
    for x, copy in kept:
        np.testing.assert_array_equal(x, copy)


# ----------------------------------------------------------------------------------------------
# trace_minimize


def test_trace():
    """JAX arrays cannot be updated: the variables are NumPy's, and what is traced of each library is of it."""
    with pytest.raises(ValueError, match=r"immutable.*Instead of JAX's, give a NumPy array, which loss_fn converts"):
        fastbfgs.trace_minimize(never, 2, fastbfgs.Adam(0.1), trainable_variables=jnp.zeros(2))
    x = np.zeros(2, np.float32)
    both = jax.jit(jax.value_and_grad(lambda x: misfit(x, 1.0)))
    for optimizer in (fastbfgs.Adam(0.05), fastbfgs.GradientDescent(0.05, 0.5), fastbfgs.LBFGS()):
        x[...] = 0.0
        loss, g, path = fastbfgs.trace_minimize(
            lambda: both(x), 300, optimizer, fastbfgs.LossNotDecreasing(atol=1e-6), trainable_variables=x,
            trace_fn=lambda *step: step, return_full_length_trace=False,
        )  # fmt: skip
        assert isinstance(loss, jax.Array) and isinstance(g, jax.Array) and type(path) is np.ndarray
        assert len(loss) < 300 and loss.dtype == np.float32 and g.shape == path.shape == (len(loss), 2)
        np.testing.assert_array_equal(path[-1], x)
        for k in range(1, len(loss)):
            expected = both(path[k - 1])
            assert loss[k] == expected[0] and (g[k] == expected[1]).all()
        assert loss[-1] < 1e-3


def test_trace_that_is_filled_up_or_broken_off():
    x = np.zeros(2, np.float32)
    both = jax.jit(jax.value_and_grad(lambda x: misfit(x, 1.0)))
    losses = fastbfgs.trace_minimize(
        lambda: both(x), 9, fastbfgs.Adam(), fastbfgs.LossNotDecreasing(atol=1.0, min_num_steps=5), np.any, x
    )
    assert losses.shape == (9,) and (losses[5:] == losses[5]).all() and losses[5] < losses[4]
    values = iter([jnp.ones(2), jnp.ones(2), np.ones(2, np.float32)])
    with pytest.raises(ValueError, match=r"trace was jax\.numpy so far, and is numpy at step 2") as caught:
        fastbfgs.trace_minimize(
            lambda: both(x), 9, fastbfgs.Adam(), trainable_variables=x, trace_fn=lambda record: next(values)
        )
    assert isinstance(caught.value.partial_trace, jax.Array) and caught.value.partial_trace.shape == (2, 2)
