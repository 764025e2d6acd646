"""Arrays of other libraries on a GPU: they go in and come out, zero-copy, and work is done on their stream.

On stand-ins: `on_host` for CuPy, and for the libraries `standard`, and a PyTorch that has what is used of it.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import fastbfgs
from fastbfgs import device, foreign
from tests import on_host, standard

pytestmark = on_host.needs_compiler

rng = np.random.default_rng(5)
START, CENTRE = rng.normal(size=(2, 6, 3))


@pytest.fixture(autouse=True)
def _cupy(monkeypatch):
    on_host.pretend(monkeypatch)


def pytorch(monkeypatch):
    """Let ``import torch`` find a stand-in, for one test."""

    class Tensor(standard.Array):
        grad_of = None

        def __array_namespace__(self, *, api_version=None):
            raise AssertionError("PyTorch's tensors have none")

        def detach(self):
            return Tensor(self._data, self.device)

        def __dlpack__(self, **options):
            if self.grad_of is not None:
                raise BufferError("Can't export tensors that require gradient")
            assert on_host.current == self.device[1], "PyTorch exports from the current device alone"
            return super().__dlpack__(**options)

    class Where(tuple):
        type = property(lambda self: "cpu" if self[0] == 1 else "cuda")

    Tensor.device = property(lambda self: Where(self._where), lambda self, where: setattr(self, "_where", where))
    Tensor.__module__ = "torch"
    torch = ModuleType("torch")
    torch.Tensor = Tensor
    torch.sum = standard.sum
    torch.from_dlpack = lambda other: Tensor(other.__dlpack__(stream=1), other.__dlpack_device__())
    torch.streams = [0]
    torch.cuda = SimpleNamespace(current_stream=lambda device: SimpleNamespace(cuda_stream=torch.streams[device]))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(foreign, "_KNOWN", {"torch": lambda: foreign._Torch()})
    return torch


@pytest.fixture(params=["standard", "torch"])
def lib(request, monkeypatch):
    """Return a library: its arrays' type, how to make one on a GPU, and its namespace."""
    namespace = standard if request.param == "standard" else pytorch(monkeypatch)
    kind = standard.Array if request.param == "standard" else namespace.Tensor
    return SimpleNamespace(
        name="tests.standard array" if request.param == "standard" else "PyTorch tensor",
        kind=kind,
        namespace=namespace,
        make=lambda numbers, device=0: kind(np.array(numbers), (2, device)),
    )


def bowl(x, c, total=np.sum):
    d = (x - c) * (x - c)
    return total(d * (1.0 + 4.0 * d), axis=-1), 2.0 * (x - c) * (1.0 + 8.0 * d)


def assert_same(ours, native, lib, device=0):
    """Assert that a result holds arrays of the library where the native one holds NumPy's, with the same bits."""
    if isinstance(native, np.ndarray) and native.dtype != object:
        assert type(ours) is lib.kind and tuple(ours.device) == (2, device)
        np.testing.assert_array_equal(ours._data, native)
    else:
        assert type(ours) is type(native)
        assert ours == native or (ours != ours and native != native)


FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success")


def assert_same_batch(ours, theirs, lib, fields=FIELDS, device=0):
    for name in fields:
        assert_same(getattr(ours, name), getattr(theirs, name), lib, device)


@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_minimize_a_batch(lib, dtype, method):
    start, centre = START.astype(dtype), CENTRE.astype(dtype)
    lower = np.full((6, 3), -0.5, dtype)
    ours = {"batch_args": (lib.make(centre),)}
    theirs = {"batch_args": (centre,)}
    if method == "L-BFGS-B":
        ours["bounds"] = SimpleNamespace(lb=lib.make(lower), ub=np.inf)
        theirs["bounds"] = SimpleNamespace(lb=lower, ub=np.inf)
    else:
        h0 = np.linspace(0.5, 2.0, 18, dtype=dtype).reshape(6, 3)
        h0 = h0 if method == "L-BFGS" else np.eye(3, dtype=dtype) * h0[..., np.newaxis]
        ours["options"], theirs["options"] = {"hess_inv0": lib.make(h0)}, {"hess_inv0": h0}

    def fun(x, c):
        assert type(x) is type(c) is lib.kind
        return bowl(x, c, lib.namespace.sum)

    a = fastbfgs.minimize(fun, lib.make(start), jac=True, method=method, **ours)
    b = fastbfgs.minimize(bowl, start, jac=True, method=method, **theirs)
    assert_same_batch(a, b, lib)
    assert a.message.tolist() == b.message.tolist() and a.failed.tolist() == b.failed.tolist()
    assert repr(a).partition("calls")[0] == repr(b).partition("calls")[0]
    if method == "BFGS":
        assert_same(a.hess_inv, b.hess_inv, lib)


@pytest.mark.parametrize("method", ["L-BFGS", "BFGS"])
def test_minimize_one_problem(lib, method):
    ours = fastbfgs.minimize(
        lambda x, c: bowl(x, c, lib.namespace.sum), lib.make(START[0]), (lib.make(CENTRE[0]),), jac=True, method=method
    )
    theirs = fastbfgs.minimize(bowl, START[0], (CENTRE[0],), jac=True, method=method)
    for name in ("x", "fun", "jac", "nit", "nfev", "status", "success", "message"):
        assert_same(ours[name], theirs[name], lib)
    if method == "BFGS":
        assert_same(ours.hess_inv, theirs.hess_inv, lib)
    else:
        np.testing.assert_array_equal(ours.hess_inv.todense(), theirs.hess_inv.todense())


def test_functions_apart_pieces_rows_and_callback(lib):
    seen = []

    def fun(x, rows):
        assert type(rows) is lib.kind
        return bowl(x, lib.make(CENTRE)[rows], lib.namespace.sum)[0]

    def jac(x, rows):
        return bowl(x, lib.make(CENTRE)[rows], lib.namespace.sum)[1]

    def callback(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 3:
            raise StopIteration

    theirs = {"jac": lambda x, rows: bowl(x, CENTRE[rows])[1]}
    for more in ({}, {"chunk": 4}):
        a = fastbfgs.minimize(fun, lib.make(START), jac=jac, **more)
        b = fastbfgs.minimize(lambda x, rows: bowl(x, CENTRE[rows])[0], START, **theirs, **more)
        assert_same_batch(a, b, lib)
    fastbfgs.minimize(fun, lib.make(START), jac=jac, callback=callback)
    assert len(seen) == 3
    assert type(seen[-1].x) is type(seen[-1].nit) is lib.kind
    fastbfgs.minimize(fun, lib.make(START), jac=jac, callback=lambda xk: seen.append(xk))
    assert type(seen[-1]) is lib.kind


@pytest.mark.parametrize("jac", [None, "3-point", "cs"])
@pytest.mark.parametrize("shape", [(), (6,)], ids=str)
def test_finite_differences(lib, shape, jac):
    start, centre = (START, CENTRE) if shape else (START[0], CENTRE[0])
    lower = np.full((*shape, 3), -0.5)
    lower[..., 1] = 0.25
    step = np.array([1e-5, 1e-6, 1e-7])

    def run(make, fun):
        bounds = SimpleNamespace(lb=make(lower), ub=make(np.where(lower == 0.25, lower, np.inf)))
        given = {"batch_args" if shape else "args": (make(centre),)}
        options = {"finite_diff_rel_step": make(step)} if jac == "3-point" else {}
        return fastbfgs.minimize(fun, make(start), jac=jac, bounds=bounds, options=options, **given)

    def fun(x, c):
        assert type(x) is lib.kind
        d = (x - c) * (x - c)
        return lib.namespace.sum(d * (1.0 + 4.0 * d), axis=-1)

    a, b = run(lib.make, fun), run(np.asarray, lambda x, c: bowl(x, c)[0])
    assert np.isnan(b.jac[..., 1]).all() and np.all(b.success)
    for name in FIELDS if shape else ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message"):
        mine = getattr(a, name)
        assert_same(mine, getattr(b, name), lib)
    if not shape:  # a number on the host will do
        again = run(lib.make, lambda x, c: fun(x, c)._data.item())
        assert_same(again.x, b.x, lib)


@pytest.mark.parametrize("shape", [(), (6,), (2, 3)], ids=str)
def test_every_iterate_is_recorded(lib, shape):
    start, centre = (array[: np.prod(shape, dtype=int)].reshape(*shape, 3) for array in (START, CENTRE))
    ours, theirs, seen = fastbfgs.Paths(200), fastbfgs.Paths(200), []

    def record(accepted):
        seen.append(accepted)
        ours(accepted)

    def fun(x, c):
        return bowl(x, c, lib.namespace.sum)

    given = "batch_args" if shape else "args"
    keywords = {"jac": True, "method": "BFGS", "options": {"return_all": True}}
    a = fastbfgs.minimize(fun, lib.make(start), record=record, **{given: (lib.make(centre),)}, **keywords)
    b = fastbfgs.minimize(bowl, start, record=theirs, **{given: (centre,)}, **keywords)
    for name in ("nit", "x", "f", "g", "alpha", "s", "y"):
        assert_same(getattr(ours, name), getattr(theirs, name), lib)
    for mine, other in zip(a.allvecs, b.allvecs, strict=True):
        assert_same(mine, other, lib)
    assert len(seen) > 3 and seen[0].shape == shape
    assert all(type(each) is lib.kind for each in seen[-1][:-1])


def test_a_recorder_of_a_solver_that_is_driven_by_hand(lib):
    paths = []
    for make in (lib.make, np.asarray):
        solver = fastbfgs.Solver(make(START))
        paths.append(fastbfgs.Paths(200))
        recorder = fastbfgs.Recorder(solver, paths[-1])
        while solver.running:
            total = lib.namespace.sum if make is lib.make else np.sum
            solver.tell(*bowl(solver.ask(), make(CENTRE)[solver.rows], total))
            recorder.take()
    for name in ("nit", "x", "f", "g", "alpha", "s", "y"):
        assert_same(*(getattr(each, name) for each in paths), lib)


def test_an_error_keeps_the_best_points(lib):
    def fun(x):
        if on_host.launched:
            fun.calls += 1
        if fun.calls == 3:
            raise ZeroDivisionError
        return bowl(x, lib.make(CENTRE), lib.namespace.sum)

    fun.calls = 0
    with pytest.raises(ZeroDivisionError) as caught:
        fastbfgs.minimize(fun, lib.make(START), jac=True)
    assert type(caught.value.partial_result.x) is lib.kind


def test_ask_and_tell(lib):
    solver, native = fastbfgs.Solver(lib.make(START)), fastbfgs.Solver(START)
    while native.running:
        x, rows = solver.ask(), solver.rows
        assert type(x) is type(rows) is lib.kind
        solver.tell(*bowl(x, lib.make(CENTRE)[rows], lib.namespace.sum))
        native.tell(*bowl(native.ask(), CENTRE[native.rows]))
    while solver.running:  # heard late
        solver.tell(*bowl(solver.ask(), lib.make(CENTRE)[solver.rows], lib.namespace.sum))
    ours, theirs = solver.result(), native.result()
    for name in ("x", "f", "g", "nit", "nfev", "status"):
        assert_same(getattr(ours, name), getattr(theirs, name), lib)
    for mine, other in zip(solver.pairs(2), native.pairs(2), strict=True):
        assert_same(mine, other, lib)

    one, native = fastbfgs.Solver(lib.make(START[0])), fastbfgs.Solver(START[0])
    while one.running:
        one.tell(*bowl(one.ask(), lib.make(CENTRE[0]), lib.namespace.sum))
        native.tell(*bowl(native.ask(), CENTRE[0]))
    assert_same(one.result().x, native.result().x, lib)


def test_points_and_gradients_are_of_the_same_memory(lib):
    given = lib.make(START)
    reader = device.reader(given)
    start, library = reader.enter(given)
    assert np.shares_memory(start._data, given._data)
    assert np.shares_memory(library.own(start)._data, given._data)
    assert np.shares_memory(reader.gradients(given, *START.shape, START.dtype, "fun")._data, given._data)


def test_faces_of_tensorflow_probability(lib):
    for run in (fastbfgs.lbfgs_minimize, fastbfgs.bfgs_minimize):
        ours = run(lambda x: bowl(x, lib.make(CENTRE), lib.namespace.sum), lib.make(START), tolerance=1e-6)
        theirs = run(lambda x: bowl(x, CENTRE), START, tolerance=1e-6)
        for name in ("converged", "failed", "position", "objective_value", "objective_gradient", "reason"):
            assert_same(getattr(ours, name), getattr(theirs, name), lib)


@pytest.mark.parametrize("shape", [(6, 3), (3,)])
def test_runs_are_taken_up(lib, shape):
    """Of a solver, and of TensorFlow Probability's results, with a condition that sees the library's arrays."""
    start, centre = (each[:6] if len(shape) > 1 else each[0] for each in (START, CENTRE))

    def part(make, total, kind):
        solver = fastbfgs.Solver(make(start), history=3, compact=False)
        for _ in range(2):
            solver.tell(*bowl(solver.ask(), make(centre), total))
        again = fastbfgs.Solver.resume(
            solver.result(), solver.memories(), solver.options, searches=solver.searches(), compact=False
        )
        assert type(again.ask()) is kind
        while again.running:
            again.tell(*bowl(again.ask(), make(centre), total))
        return again.result()

    def stopped(make, total, kind):
        def condition(converged, failed):
            assert len(shape) == 1 or type(converged) is type(failed) is kind
            return len(calls) == 3

        def fun(x):
            assert type(x) is kind
            calls.append(1)
            return bowl(x, make(centre), total)

        calls = []
        first = fastbfgs.lbfgs_minimize(fun, make(start), max_iterations=2, stopping_condition=condition)
        return fastbfgs.lbfgs_minimize(fun, previous_optimizer_results=first)

    for run in (part, stopped):
        ours, theirs = run(lib.make, lib.namespace.sum, lib.kind), run(np.asarray, np.sum, np.ndarray)
        if run is part:
            assert_same_batch(ours, theirs, lib, ("x", "f", "g", "nit", "nfev", "status", "calls"))
        else:
            assert_same_batch(ours, theirs, lib, theirs._fields[:12])


def test_everything_is_done_on_pytorchs_stream_and_device(monkeypatch):
    torch = pytorch(monkeypatch)
    torch.streams = [0, 4711]

    def make(numbers):
        return torch.Tensor(np.array(numbers), (2, 1))

    def fun(x, c):
        assert on_host.current == 1 or not inside
        return bowl(x, c, torch.sum)

    inside = True
    ours = fastbfgs.minimize(fun, make(START), jac=True, batch_args=(make(CENTRE),))
    assert set(on_host.launched) == {(4711, 1)} and on_host.current == 0
    theirs = fastbfgs.minimize(bowl, START, jac=True, batch_args=(CENTRE,))
    np.testing.assert_array_equal(ours.x._data, theirs.x)
    assert ours.x.device == (2, 1)
    np.testing.assert_array_equal(ours[2].x._data, theirs[2].x)

    on_host.launched.clear()
    inside = False
    solver = fastbfgs.Solver(make(START))
    while solver.running:
        solver.tell(*fun(solver.ask(), make(CENTRE)[solver.rows]))
    np.testing.assert_array_equal(solver.result().x._data, theirs.x)
    assert set(on_host.launched) == {(4711, 1)} and on_host.current == 0

    solver, paths = fastbfgs.Solver(make(START)), fastbfgs.Paths(100)
    recorder = fastbfgs.Recorder(solver, paths)
    while solver.running:
        solver.tell(*fun(solver.ask(), make(CENTRE)[solver.rows]))
        recorder.take()
    for array in (paths.nit, paths.x, paths.s):
        assert array.device == (2, 1)
    np.testing.assert_array_equal(paths.x._data[paths.nit._data, np.arange(6)], theirs.x)
    assert on_host.current == 0


def test_graphs_are_cut_off(monkeypatch):
    torch = pytorch(monkeypatch)

    def fun(x):
        f, g = bowl(x, torch.Tensor(CENTRE, (2, 0)), torch.sum)
        f.grad_of = g.grad_of = "a graph"
        return f, g

    x0 = torch.Tensor(START, (2, 0))
    x0.grad_of = "another"
    assert_same(
        fastbfgs.minimize(fun, x0, jac=True).x,
        fastbfgs.minimize(lambda x: bowl(x, CENTRE), START, jac=True).x,
        SimpleNamespace(kind=torch.Tensor),
    )


# ----------------------------------------------------------------------------------------------
# Bad input


def never(x, *args):
    raise AssertionError("called")


def test_arrays_elsewhere(lib):
    x0 = lib.make(START)
    for given, what in (
        (CENTRE, "a NumPy array of dtype float64, in the host's memory"),
        (lib.kind(CENTRE, (1, 0)), rf"a {lib.kind.__name__} on \(1, 0\)"),
        (lib.make(CENTRE, 1), rf"a {lib.kind.__name__} on \(2, 1\)"),
    ):
        rule = rf"must be a {lib.name} on CUDA device 0, as x0 is; got {what}"
        with pytest.raises(TypeError, match=rf"^batch_args\[0\] {rule}"):
            fastbfgs.minimize(never, x0, jac=True, batch_args=(given,))
        with pytest.raises(TypeError, match=rf"^hess_inv0 {rule}"):
            fastbfgs.minimize(never, x0, jac=True, options={"hess_inv0": given})
        with pytest.raises(TypeError, match=rf"^bounds\.lb {rule}"):
            fastbfgs.minimize(never, x0, jac=True, bounds=SimpleNamespace(lb=given, ub=np.inf))
        with pytest.raises(TypeError, match=rf"^what the function returns {rule}"):
            fastbfgs.minimize(lambda x, given=given: (0.0 * x[:, 0], given), x0, jac=True)
        solver = fastbfgs.Solver(x0)
        with pytest.raises(TypeError, match=rf"^g of the function {rule}"):
            solver.tell(0.0 * solver.ask()[:, 0], given)


def test_no_numbers_for_the_solver(lib):
    with pytest.raises(TypeError, match=r"^x0 must be float32 or float64; got float16"):
        fastbfgs.minimize(never, lib.make(START.astype(np.float16)), jac=True)
    with pytest.raises(TypeError, match=f"returns must be a {lib.name} on CUDA device 0, as x0 is; got a list"):
        fastbfgs.minimize(lambda x: ([0.0] * 6, x), lib.make(START), jac=True)
    with pytest.raises(TypeError, match="must return g of float64, as x is; got float32"):
        fastbfgs.minimize(lambda x: (0.0 * x[:, 0], lib.make(START.astype(np.float32))), lib.make(START), jac=True)


def test_without_cupy(lib, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=f"^x0, a {lib.name} on a GPU, needs CuPy: install fastbfgs"):
        fastbfgs.minimize(never, lib.make(START), jac=True)
