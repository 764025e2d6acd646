"""Arrays of other libraries go in and come out, in the words of every face.

Each test runs on a stand-in for libraries of the array standard, which is always here, and on PyTorch and JAX where
they are installed. What only one of them can do has its own file, `test_foreign_torch.py` and `test_foreign_jax.py`.
"""

from __future__ import annotations

import ctypes
import gc
import pickle
from importlib import import_module
from importlib.util import find_spec
from itertools import permutations
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import scipy.optimize

import fastbfgs
from fastbfgs import foreign
from tests import standard

CENTRE = np.array([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25], [2.0, 2.0]], np.float32)
START = np.zeros((4, 2), np.float32)


class Library:
    """One of the libraries, with what the tests need of it."""

    def __init__(self, name, namespace, kind, make):
        self.name, self.namespace, self.kind, self.make = name, namespace, kind, make

    def bowl(self, x, c):
        """Return f and g of sum((x - c)**2 (1 + 4 (x - c)**2)), checking that all are this library's."""
        assert type(x) is self.kind and type(c) is self.kind
        d = (x - c) * (x - c)
        return self.namespace.sum(d * (1.0 + 4.0 * d), axis=-1), 2.0 * (x - c) * (1.0 + 8.0 * d)


INSTALLED = ["standard", *(name for name in ("torch", "jax") if find_spec(name))]
"""What the tests run on; the files named above say what is skipped."""


def library(name):
    """Return a library by its name."""
    if name == "standard":
        return Library("tests.standard array", standard, standard.Array, standard.Array)
    if name == "other":
        namespace = ModuleType("other")
        kind = type("Array", (standard.Array,), {"__array_namespace__": lambda self: namespace})
        return Library("other array", namespace, kind, kind)
    if name == "torch":
        torch = import_module("torch")
        return Library("PyTorch tensor", torch, torch.Tensor, lambda a: torch.from_numpy(np.array(a)))
    jnp = import_module("jax.numpy")
    return Library("JAX array", jnp, type(jnp.zeros(1)), jnp.asarray)


@pytest.fixture(params=INSTALLED)
def lib(request):
    return library(request.param)


def here(array):
    """Return an array of a library as NumPy's."""
    return np.from_dlpack(array)


def bowl(x, c):
    """Return what `Library.bowl` does, in NumPy."""
    d = (x - c) ** 2
    return (d * (1.0 + 4.0 * d)).sum(axis=-1), 2.0 * (x - c) * (1.0 + 8.0 * d)


def assert_same(ours, native, lib):
    """Assert that a result holds an array of the library where the native one holds NumPy's, of about these numbers."""
    if isinstance(native, np.ndarray) and native.dtype != object:
        assert type(ours) is lib.kind and tuple(ours.shape) == native.shape
        if native.dtype.kind == "f":
            np.testing.assert_allclose(here(ours), native, rtol=2e-3, atol=2e-3)
        else:
            np.testing.assert_array_equal(here(ours), native)
    elif isinstance(native, float):
        assert type(ours) is type(native)
        np.testing.assert_allclose(ours, native, rtol=2e-3, atol=2e-3)
    elif isinstance(native, np.ndarray):
        np.testing.assert_array_equal(ours, native)
    else:
        assert type(ours) is type(native) and (ours == native or native != native)


# ----------------------------------------------------------------------------------------------
# minimize


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS"])
@pytest.mark.parametrize("apart", [False, True], ids=["pair", "jac"])
def test_one_problem(lib, method, apart):
    def run(start, centre, bowl):
        args = (centre,)
        if apart:
            parts = {"fun": lambda x, c: bowl(x, c)[0], "jac": lambda x, c: bowl(x, c)[1]}
        else:
            parts = {"fun": bowl, "jac": True}
        return fastbfgs.minimize(x0=start, args=args, method=method, **parts)

    native = run(START[0], CENTRE[0], bowl)
    ours = run(lib.make(START[0]), lib.make(CENTRE[0]), lib.bowl)
    assert isinstance(ours, scipy.optimize.OptimizeResult) and ours.success
    assert list(ours) == list(native)
    for name in ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message"):
        assert_same(ours[name], native[name], lib)
    assert str(ours.x.dtype).endswith("float32")
    if method == "BFGS":
        assert_same(ours.hess_inv, native.hess_inv, lib)
    else:  # SciPy's operator, of NumPy
        np.testing.assert_allclose(ours.hess_inv.todense(), native.hess_inv.todense(), rtol=2e-3)


def test_double(lib):
    if lib.name == "JAX array":
        pytest.skip("float64 is a setting of JAX: test_foreign_jax.py")
    ours = fastbfgs.minimize(lib.bowl, lib.make(START[0].astype(float)), (lib.make(CENTRE[0].astype(float)),), jac=True)
    assert str(ours.x.dtype).endswith("float64")
    np.testing.assert_allclose(here(ours.x), CENTRE[0], atol=1e-5)


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS"])
def test_batch(lib, method):
    native = fastbfgs.minimize(bowl, START, jac=True, batch_args=(CENTRE,), method=method)
    ours = fastbfgs.minimize(lib.bowl, lib.make(START), jac=True, batch_args=(lib.make(CENTRE),), method=method)
    for name in ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success", "calls", "hess_inv"):
        assert_same(ours[name], native[name], lib)
    assert repr(ours) == repr(native)
    np.testing.assert_array_equal(ours.failed, native.failed)
    np.testing.assert_array_equal(ours.message, native.message)
    for name in ("x", "fun", "jac", "nit", "success", "message"):
        assert_same(ours[1][name], native[1][name], lib)
        assert_same(ours[1:][name], native[1:][name], lib)
    assert_same(ours[lib.make(np.array([True, False, False, True]))].x, native.x[[0, 3]], lib)
    assert len(list(ours)) == 4


def test_axes_of_a_batch(lib):
    start, centre = START.reshape(2, 2, 2), CENTRE.reshape(2, 2, 2)
    ours = fastbfgs.minimize(lib.bowl, lib.make(start), jac=True, batch_args=(lib.make(centre),))
    assert tuple(ours.x.shape) == (2, 2, 2) and tuple(ours.fun.shape) == (2, 2)
    np.testing.assert_allclose(here(ours.x), centre, atol=1e-3)


@pytest.mark.parametrize("compact", [False, True])
def test_rows_and_batch_arguments(lib, compact):
    seen = []

    def fun(x, shift, c, *, rows):
        assert type(rows) is lib.kind and shift == 0.0
        np.testing.assert_array_equal(here(c), CENTRE[here(rows)])
        seen.append(len(here(rows)))
        return lib.bowl(x + shift, c)

    start = START + [[0.0], [0.0], [0.0], [2.0]]  # the last one is there already
    ours = fastbfgs.minimize(
        fun, lib.make(start.astype(np.float32)), 0.0, jac=True, batch_args=lib.make(CENTRE), compact=compact
    )
    np.testing.assert_allclose(here(ours.x), CENTRE, atol=1e-3)
    assert seen[0] == 4 and (min(seen) < 4 if compact else min(seen) == 4)


def test_differences(lib):
    def fun(x, *c):
        return lib.bowl(x, *c)[0]

    one = fastbfgs.minimize(fun, lib.make(START[0]), (lib.make(CENTRE[0]),), jac="3-point")
    many = fastbfgs.minimize(fun, lib.make(START), jac="3-point", batch_args=(lib.make(CENTRE),))
    assert type(one.jac) is type(many.jac) is lib.kind
    np.testing.assert_allclose(here(one.x), CENTRE[0], atol=2e-2)
    np.testing.assert_allclose(here(many.x), CENTRE, atol=2e-2)


def test_in_pieces(lib):
    def fun(x, c, rows):
        seen.append(rows)
        return lib.bowl(x, c)

    seen = []
    whole, pieces = (
        fastbfgs.minimize(fun, lib.make(START), jac=True, batch_args=(lib.make(CENTRE),), chunk=chunk)
        for chunk in (None, 3)
    )
    assert sorted({int(row) for rows in seen for row in here(rows)}) == [0, 1, 2, 3]
    for name in ("x", "fun", "jac", "nit", "nfev", "status", "reason", "success"):
        assert type(getattr(pieces, name)) is lib.kind
        np.testing.assert_array_equal(here(getattr(pieces, name)), here(getattr(whole, name)), name)


def test_bounds(lib):
    box = np.stack([np.full((4, 2), -0.5), np.maximum(CENTRE - 0.5, 0.0)]).astype(np.float32)
    native = fastbfgs.minimize(
        bowl, START, jac=True, batch_args=(CENTRE,), bounds=SimpleNamespace(lb=box[0], ub=box[1])
    )
    for bounds in (
        SimpleNamespace(lb=lib.make(box[0]), ub=lib.make(box[1])),
        scipy.optimize.Bounds(box[0], box[1]),  # which would have made NumPy arrays of others
    ):
        ours = fastbfgs.minimize(lib.bowl, lib.make(START), jac=True, batch_args=(lib.make(CENTRE),), bounds=bounds)
        assert_same(ours.x, native.x, lib)
    pairs = lib.make(np.array([[-0.5, 0.5], [-np.inf, 1.0]], np.float32))
    for bounds in (pairs, [(-0.5, 0.5), (None, 1.0)]):
        one = fastbfgs.minimize(lib.bowl, lib.make(START[0]), (lib.make(CENTRE[0]),), jac=True, bounds=bounds)
        np.testing.assert_allclose(here(one.x), [0.5, -2.0], atol=1e-3)


def test_initial_inverse_hessian(lib):
    h0 = np.array([0.5, 0.25], np.float32)
    native = fastbfgs.minimize(bowl, START, jac=True, batch_args=(CENTRE,), options={"hess_inv0": h0})
    for given in (lib.make(h0), h0):
        ours = fastbfgs.minimize(
            lib.bowl, lib.make(START), jac=True, batch_args=(lib.make(CENTRE),), options={"hess_inv0": given}
        )
        assert_same(ours.nfev, native.nfev, lib)


def test_who_looks_on(lib):
    """Callbacks, records and iterates are of the library; progress is numbers."""
    x0, c = lib.make(START), lib.make(CENTRE)
    points, results, accepted, numbers = [], [], [], []

    def callback(*, intermediate_result):
        results.append(intermediate_result)

    for each in (points.append, callback):
        fastbfgs.minimize(
            lib.bowl, x0, jac=True, batch_args=(c,), callback=each, record=accepted.append,
            progress=lambda *given: numbers.append(given),
        )  # fmt: skip
    assert all(type(x) is lib.kind for x in points)
    assert len(points) == len(results) > 3
    assert all(type(r.x) is type(r.jac) is type(r.fun) is type(r.nit) is lib.kind for r in results)
    for a in accepted:
        assert {type(v) for v in a[:-1]} == {lib.kind} and a.shape == (4,)
    assert all(type(n) is int for given in numbers for n in given)
    np.testing.assert_array_equal(here(accepted[0].rows), [0, 1, 2, 3])

    one = fastbfgs.minimize(
        lib.bowl, lib.make(START[0]), (lib.make(CENTRE[0]),), jac=True, callback=points.append, method="BFGS",
        options={"return_all": True},
    )  # fmt: skip
    assert type(points[-1]) is lib.kind and tuple(points[-1].shape) == (2,)
    assert len(one.allvecs) == one.nit + 1 and {type(x) for x in one.allvecs} == {lib.kind}
    np.testing.assert_array_equal(here(one.allvecs[-1]), here(one.x))


def test_paths(lib):
    native, ours = fastbfgs.Paths(50), fastbfgs.Paths(50)
    fastbfgs.minimize(bowl, START, jac=True, batch_args=(CENTRE,), record=native)
    run = fastbfgs.minimize(lib.bowl, lib.make(START), jac=True, batch_args=(lib.make(CENTRE),), record=ours)
    for name in ("nit", "x", "f", "g", "s", "y"):
        assert_same(getattr(ours, name), getattr(native, name), lib)
    last = here(ours.x)[here(ours.nit), np.arange(4)]
    np.testing.assert_array_equal(last, here(run.x))


def test_what_stops_a_run_holds_the_arrays(lib):
    calls = []

    def fun(x, c):
        calls.append(x)
        if len(calls) == 4:
            raise ZeroDivisionError
        return lib.bowl(x, c)

    with pytest.raises(ZeroDivisionError) as caught:
        fastbfgs.minimize(fun, lib.make(START), jac=True, batch_args=(lib.make(CENTRE),))
    assert type(caught.value.partial_result.x) is lib.kind


def test_compiled_objective(lib):
    vector = ctypes.POINTER(ctypes.c_float)

    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_int64, vector, vector, ctypes.c_void_p)
    def fun(member, n, x, g, user_data):
        g[0] = 2.0 * (x[0] - member)
        return (x[0] - member) ** 2

    x0 = lib.make(np.full((3, 1), 0.5, np.float32))
    for x in (fastbfgs.minimize(fun, x0).x, fastbfgs.lbfgs_minimize(fun, x0).position):
        assert type(x) is lib.kind
        np.testing.assert_allclose(here(x).ravel(), [0.0, 1.0, 2.0], atol=1e-5)


def test_integers_are_floats_of_the_library(lib):
    ours = fastbfgs.minimize(lambda x: (0.0, 0.0 * x), lib.make(np.array([1, 2])), jac=True)
    assert str(ours.x.dtype).endswith("float32" if lib.name == "JAX array" else "float64")
    np.testing.assert_array_equal(here(ours.x), [1.0, 2.0])


@pytest.mark.parametrize("kind", ["number", "NumPy", "list"])
def test_what_fun_may_return_besides(lib, kind):
    def fun(x):
        g = 2.0 * here(x)
        f = float((g**2).sum()) / 4
        return {"number": (f, 2.0 * x), "NumPy": (np.float32(f), g), "list": [f, g.tolist()]}[kind]

    ours = fastbfgs.minimize(fun, lib.make(np.ones(2, np.float32)), jac=True)
    assert type(ours.x) is lib.kind
    np.testing.assert_array_equal(here(ours.x), [0.0, 0.0])


def test_native_points_may_be_answered_by_others(lib):
    """As far as NumPy reads them: the kind of x0 says what fun is given, not what it computes with."""
    c = lib.make(CENTRE)
    ours = fastbfgs.minimize(lambda x: lib.bowl(lib.make(x), c), START, jac=True)
    assert type(ours.x) is np.ndarray
    np.testing.assert_allclose(ours.x, CENTRE, atol=1e-3)


def test_functions_go_to_other_processes(lib):
    function = foreign.library_of(lib.make(START)).function(np.shape, ())
    again = pickle.loads(pickle.dumps(function))
    assert again(START) == (4, 2)
    assert type(again.library) is type(function.library) and again.library.namespace is lib.namespace


# ----------------------------------------------------------------------------------------------
# Whose memory it is


def test_points_are_the_callers(lib):
    """Whoever keeps one, or writes into it, changes nothing: neither the run nor other points."""
    kept, copies = [], []
    c = lib.make(CENTRE[0])

    def fun(x):
        kept.append(x)
        copies.append(here(x).copy())
        return lib.bowl(x, c)

    run = fastbfgs.minimize(fun, lib.make(START[0]), jac=True)
    assert len(kept) == run.nfev > 5
    np.testing.assert_array_equal([here(x) for x in kept], copies)
    assert len({here(x).ctypes.data for x in kept}) == len(kept)

    def spoiled(x):
        f, g = lib.bowl(x, c)
        if lib.name != "JAX array":  # which cannot
            x[...] = 99.0
        return f, g

    np.testing.assert_array_equal(here(fastbfgs.minimize(spoiled, lib.make(START[0]), jac=True).x), here(run.x))


def test_memory_lives_as_long_as_the_array(lib):
    solver = fastbfgs.Solver(lib.make(START[0]))
    x = solver.ask()
    before = here(x).copy()
    solver.tell(*lib.bowl(x, lib.make(CENTRE[0])))
    other = solver.ask()
    assert (here(other) != before).any()
    del solver, other
    gc.collect()
    noise = [np.full(2, 7.0, np.float32) for _ in range(1000)]
    np.testing.assert_array_equal(here(x), before)
    assert len(noise) == 1000


def test_x0_is_left_alone(lib):
    x0 = lib.make(START)
    ours = fastbfgs.minimize(lib.bowl, x0, jac=True, batch_args=(lib.make(CENTRE),))
    np.testing.assert_array_equal(here(x0), START)
    assert not np.shares_memory(here(ours.x), here(x0))


# ----------------------------------------------------------------------------------------------
# Solver, and TFP's words


def test_ask_and_tell(lib):
    solver = fastbfgs.Solver(lib.make(START), gtol=1e-4)
    c = CENTRE
    while solver.running:
        assert type(solver.rows) is np.ndarray
        x = solver.ask()
        solver.tell(*lib.bowl(x, lib.make(c[solver.rows])))
    result = solver.result()
    np.testing.assert_allclose(here(result.x), CENTRE, atol=1e-3)
    for array in (result.f, result.g, result.nit, result.status, result[1:].x, solver.status, *solver.pairs(2)):
        assert type(array) is lib.kind
    assert len(result.failed) == 0 and type(result[0].x) is lib.kind
    assert solver.dtype == np.float32
    s, y = solver.memories()
    h0 = lib.make(np.ones(2, np.float32))
    again = fastbfgs.Solver.resume(result, (s, y), solver.options, searches=solver.searches(), h0=h0)
    assert type(again.result().x) is lib.kind
    np.testing.assert_array_equal(here(again.result().x), here(result.x))


def test_ask_and_tell_one(lib):
    solver = fastbfgs.Solver(lib.make(START[0]), method="BFGS", h0=lib.make(np.eye(2, dtype=np.float32)))
    recorded = []
    recorder = fastbfgs.Recorder(solver, recorded.append)
    while solver.running:
        solver.tell(*lib.bowl(solver.ask(), lib.make(CENTRE[0])))
        recorder.take()
    assert type(solver.result().x) is type(solver.inverse_hessian()) is lib.kind
    assert type(solver.result().f) is float
    assert {type(a.x) for a in recorded} == {lib.kind}


def test_solver_with_bounds(lib):
    bounds = SimpleNamespace(lb=lib.make(np.zeros(2, np.float32)), ub=np.ones(2))
    solver = fastbfgs.Solver(lib.make(START[0]), method="L-BFGS-B", bounds=bounds)
    while solver.running:
        solver.tell(*lib.bowl(solver.ask(), lib.make(CENTRE[0])))
    np.testing.assert_allclose(here(solver.result().x), [1.0, 0.0])


def test_a_loaded_solver_asks_in_numpy(lib, tmp_path):
    solver = fastbfgs.Solver(lib.make(START[0]))
    solver.tell(*lib.bowl(solver.ask(), lib.make(CENTRE[0])))
    solver.save(tmp_path / "run.npz")
    x = fastbfgs.Solver.load(tmp_path / "run.npz").ask()
    assert type(x) is np.ndarray
    np.testing.assert_array_equal(x, here(solver.ask()))


@pytest.mark.parametrize("face", [fastbfgs.lbfgs_minimize, fastbfgs.bfgs_minimize])
@pytest.mark.parametrize("shape", [(4, 2), (2, 2, 2)])
def test_tfp(lib, face, shape):
    start, centre = START.reshape(shape), CENTRE.reshape(shape)
    c = lib.make(centre)
    asked = []

    def condition(converged, failed):
        asked.append({type(converged), type(failed)})
        return fastbfgs.converged_all(here(converged), here(failed))

    native = face(lambda x: bowl(x, centre), start, tolerance=1e-3)
    ours = face(lambda x: lib.bowl(x, c), lib.make(start), tolerance=1e-3, stopping_condition=condition)
    for name in native._fields:
        if name not in ("search_state", "position_deltas", "gradient_deltas", "inverse_hessian_estimate"):
            assert_same(getattr(ours, name), getattr(native, name), lib)
    assert all(kinds == {lib.kind} for kinds in asked) and asked


def test_tfp_one(lib):
    results = fastbfgs.lbfgs_minimize(lambda x: lib.bowl(x, lib.make(CENTRE[0])), lib.make(START[0]), tolerance=1e-3)
    assert results.converged and type(results.position) is lib.kind and type(results.objective_value) is np.float32


def test_tfp_goes_on(lib):
    def fun(x):
        return lib.bowl(x, lib.make(CENTRE))

    whole = fastbfgs.lbfgs_minimize(fun, lib.make(START), tolerance=1e-3)
    part = fastbfgs.lbfgs_minimize(fun, lib.make(START), tolerance=1e-3, max_iterations=2)
    rest = fastbfgs.lbfgs_minimize(fun, previous_optimizer_results=part, tolerance=1e-3)
    assert type(rest.position) is type(rest.member_iterations) is lib.kind
    np.testing.assert_array_equal(here(rest.position), here(whole.position))
    np.testing.assert_array_equal(here(rest.member_evaluations), here(whole.member_evaluations))


def test_tfp_estimates(lib):
    def estimate(x):
        assert type(x) is lib.kind
        return lib.make(np.ones(2, np.float32))

    def fun(x):
        return lib.bowl(x, lib.make(CENTRE))

    given = lib.make(np.ones(2, np.float32))
    for each in (estimate, given):
        run = fastbfgs.lbfgs_minimize(fun, lib.make(START), initial_inverse_hessian_estimate=each, tolerance=1e-3)
        assert here(run.converged).all()


# ----------------------------------------------------------------------------------------------
# Errors


def never(*args, **kwargs):
    """Stand for a function that must not be called."""
    raise AssertionError("fun was called")


def test_batch_arguments_of_numpy(lib):
    message = rf"^batch_args\[1\] must be a {lib.name}, as x0 is; got a NumPy array"
    with pytest.raises(TypeError, match=message):
        fastbfgs.minimize(never, lib.make(START), jac=True, batch_args=(lib.make(CENTRE), CENTRE))


def test_x0_of_numpy(lib):
    for name, given in (
        (r"batch_args\[0\]", {"batch_args": (lib.make(CENTRE),)}),
        (r"bounds\.ub", {"bounds": SimpleNamespace(lb=0.0, ub=lib.make(CENTRE))}),
        ("hess_inv0", {"options": {"hess_inv0": lib.make(CENTRE)}}),
    ):
        with pytest.raises(
            TypeError, match=rf"^{name} must be something NumPy reads; got a {lib.name}, which x0 is not"
        ):
            fastbfgs.minimize(never, START, jac=True, **given)
    with pytest.raises(TypeError, match=rf"^h0 must be something NumPy reads; got a {lib.name}"):
        fastbfgs.Solver(START, h0=lib.make(CENTRE))


@pytest.mark.parametrize(("ours", "theirs"), list(permutations([*INSTALLED, "other"], 2)))
def test_two_libraries(ours, theirs):
    ours, theirs = library(ours), library(theirs)
    other = theirs.make(CENTRE)
    names = rf"must be a {ours.name}, as x0 is; got a {theirs.name}"
    for name, given in (
        (r"batch_args\[0\]", {"batch_args": (other,)}),
        (r"bounds\.lb", {"bounds": SimpleNamespace(lb=other, ub=np.inf)}),
        ("bounds", {"bounds": other}),
        ("hess_inv0", {"options": {"hess_inv0": other}}),
    ):
        with pytest.raises(TypeError, match=rf"^{name} {names}"):
            fastbfgs.minimize(never, ours.make(START), jac=True, **given)
    with pytest.raises(TypeError, match=rf"^h0 {names}"):
        fastbfgs.Solver(ours.make(START), h0=other)
    with pytest.raises(TypeError, match=rf"^initial_inverse_hessian_estimate {names}"):
        fastbfgs.lbfgs_minimize(never, ours.make(START), initial_inverse_hessian_estimate=other)


def test_shapes_are_checked_as_ever(lib):
    with pytest.raises(ValueError, match=r"Is it g\? The pair is \(f, g\); torch\.func\.grad_and_value"):
        fastbfgs.minimize(lambda x: (2.0 * x, 0.0), lib.make(START), jac=True)
    with pytest.raises(ValueError, match=r"g of shape \(4, 2\); got \(2,\)"):
        fastbfgs.minimize(lambda x: (np.zeros(4), lib.make(CENTRE[0])), lib.make(START), jac=True)
    with pytest.raises(ValueError, match=r"scalar value at one point; got f of shape \(2,\)"):
        fastbfgs.minimize(lambda x: (2.0 * x, 0.0), lib.make(START[0]), jac=True)
    with pytest.raises(TypeError, match=r"x0 must hold real numbers; got dtype complex64"):
        fastbfgs.minimize(never, lib.make(START.astype(np.complex64)), jac=True)


def test_half_precision(lib):
    for run in (lambda x: fastbfgs.minimize(never, x, jac=True), fastbfgs.Solver):
        with pytest.raises(TypeError, match=r"^x0 must be float32 or float64; got \S*float16, too coarse"):
            run(lib.make(START.astype(np.float16)))
    with pytest.raises(TypeError, match=r"^initial_position must be float32 or float64; got \S*float16"):
        fastbfgs.bfgs_minimize(never, lib.make(START.astype(np.float16)))


def test_another_device():
    def fun(x):
        return 0.0, standard.Array(START[0], device=standard.CUDA)

    x0 = standard.Array(START, device=standard.CUDA)
    rule = r"must be in the CPU's memory; got a tests.standard array on \(2, 0\)\. Copy it"
    with pytest.raises(TypeError, match=rf"^batch_args\[0\] {rule}"):
        fastbfgs.minimize(never, standard.Array(START), jac=True, batch_args=(x0,))
    with pytest.raises(TypeError, match=rf"^what the function returns {rule}"):
        fastbfgs.minimize(fun, standard.Array(START[0]), jac=True)
    x0 = standard.Array(START, device=(8, 0))
    rule = r"must be in the CPU's memory; got a tests.standard array on \(8, 0\)\. Copy it"
    for run in (lambda x: fastbfgs.minimize(never, x, jac=True), fastbfgs.Solver):
        with pytest.raises(TypeError, match=rf"^x0 {rule}"):
            run(x0)
    with pytest.raises(TypeError, match=rf"^initial_position {rule}"):
        fastbfgs.lbfgs_minimize(never, x0)


def test_subclasses_of_numpy_arrays_are_numpys():
    class Points(np.ndarray):
        pass

    assert foreign.library_of(START.view(Points)) is None
    assert foreign.library_of(np.float64(1.0)) is None
    assert type(fastbfgs.minimize(bowl, START[0].view(Points), (CENTRE[0],), jac=True).x) is np.ndarray
