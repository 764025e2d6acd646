"""All tests that need a GPU: ``python -m pytest tests/gpu.py``. Without one, or without CuPy, they fail; none skips.

First those of test_cuda.py, with the device in place of the emulator: functions are evaluated by NumPy, so one thread a
member must give the bits of the CPU path here, too. Then whole runs, on functions of CuPy's.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import cupy
import numpy as np
import pytest
from scipy.optimize import Bounds

import fastbfgs
from fastbfgs import Options, Solver
from fastbfgs.cuda import CUDA
from fastbfgs.device import Arrays
from tests import test_cuda, test_device_resume
from tests.test_cuda import (  # noqa: F401
    test_a_grid_takes_the_way_of_the_cpu,
    test_a_pair_that_is_not_learnt_keeps_the_oldest,
    test_blocks_agree_in_whatever_order_they_take_turns,
    test_blocks_take_several_panels_each,
    test_every_option_and_every_end,
    test_four_threads_have_the_bits_of_one_where_nothing_is_left_over,
    test_grids_have_every_option_and_every_end,
    test_grids_solve_problems_within_bounds,
    test_initial_inverse_hessians,
    test_initial_inverse_hessians_of_grids,
    test_large_members_have_every_option_and_every_end,
    test_large_members_take_the_way_of_the_cpu,
    test_more_threads_solve_the_same_problems,
    test_more_threads_take_the_same_way,
    test_one_thread_has_the_bits_of_the_cpu,
    test_one_thread_has_the_bits_of_the_cpu_on_problems,
    test_one_thread_has_the_bits_of_the_cpu_within_bounds,
    test_rows_and_what_has_moved,
    test_stopping,
    test_the_pairs_of_large_members,
    test_threads_agree_in_whatever_order_they_take_turns,
)
from tests.test_device import SPRINGS, springs
from tests.test_device_resume import (  # noqa: F401
    assert_same,
    taken_up,
    test_a_condition_that_holds_at_once_is_not_followed_by_a_call,
    test_large_members_go_on_as_if_never_stopped,
    test_more_threads_go_on_as_if_never_stopped,
    test_no_members_to_take_up,
    told,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
METHODS = ("L-BFGS", "BFGS", "L-BFGS-B")


@pytest.fixture(autouse=True)
def _on_the_device(monkeypatch):
    """Run test_cuda.py's tests with CuPy; fill new memory, so that what nobody has written to is seen as such."""
    empty = cupy.empty

    def filled(shape, dtype=float):
        made = empty(shape, dtype)
        made.reshape(-1).view(np.uint8)[...] = 255
        return made

    monkeypatch.setattr(cupy, "empty", filled)
    monkeypatch.setattr(test_cuda, "xp", cupy)
    monkeypatch.setattr(test_device_resume, "xp", cupy)


def valleys(x):
    """Rosenbrock, chained, for NumPy and for CuPy."""
    d, e = x[:, 1:] - x[:, :-1] ** 2, 1.0 - x[:, :-1]
    g = 0.0 * x
    g[:, 1:] += 200.0 * d
    g[:, :-1] -= 400.0 * x[:, :-1] * d + 2.0 * e
    return (100.0 * d**2 + e**2).sum(axis=1), g


def bowls(x, c):
    d = x - c
    return (d**2).sum(axis=-1) + 0.25 * (d**4).sum(axis=-1), 2.0 * d + d**3


def data(B, n, dtype=np.float64):
    rng = np.random.default_rng([B, n])
    return rng.normal(size=(B, n)).astype(dtype), (3 * rng.normal(size=(B, n))).astype(dtype)


def test_there_is_a_device():
    assert cupy.cuda.runtime.getDeviceCount() > 0


@DTYPES
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("B", "n"), [(200, 2), (200, 10), (50, 33), (20, 200), (3, 1500)])
def test_whole_runs_end_where_those_of_the_cpu_do(B, n, method, dtype):
    n = min(n, 200) if method == "BFGS" else n
    x0, c = data(B, n, dtype)
    bounds = [(-0.5, 1.0)] * n if method == "L-BFGS-B" else None
    keywords = {"jac": True, "method": method, "bounds": bounds}
    if dtype == np.float32:
        keywords["options"] = {"gtol": 1e-3}
    ours = fastbfgs.minimize(bowls, cupy.asarray(x0), batch_args=(cupy.asarray(c),), **keywords)
    theirs = fastbfgs.minimize(bowls, x0, batch_args=(c,), **keywords)
    assert all(isinstance(each, cupy.ndarray) for each in (ours.x, ours.fun, ours.jac, ours.nit, ours.status))
    assert bool(ours.success.all()) and theirs.success.all()
    np.testing.assert_allclose(ours.x.get(), theirs.x, 0, 2e-2 if dtype == np.float32 else 1e-4)
    assert abs(ours.nit.get() - theirs.nit).mean() < 2


@pytest.mark.parametrize(("B", "n"), [(5000, 10), (500, 100)])
def test_valleys(B, n):
    x0 = 1.0 + 0.3 * np.random.default_rng(1).normal(size=(B, n))
    ours = fastbfgs.minimize(valleys, cupy.asarray(x0), jac=True)
    theirs = fastbfgs.minimize(valleys, x0, jac=True)
    assert ours.success.get().mean() > 0.99
    assert abs(ours.nfev.get().mean() / theirs.nfev.mean() - 1.0) < 0.05


def test_a_solve_has_the_same_bits_every_time_and_in_every_batch():
    x0, c = (cupy.asarray(each) for each in data(300, 70))
    whole = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,))
    for part in (slice(None), slice(7, 8), slice(100, 300)):
        again = fastbfgs.minimize(bowls, x0[part], jac=True, batch_args=(c[part],))
        np.testing.assert_array_equal(again.nfev.get(), whole.nfev[part].get())
        if part == slice(None):
            np.testing.assert_array_equal(again.x.get(), whole.x.get())


def test_streams():
    """All runs on the current stream; two solves on two of them do not disturb each other."""
    x0, c = (cupy.asarray(each) for each in data(500, 20))
    alone = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), compact=False)
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    solvers = []
    cupy.cuda.get_current_stream().synchronize()
    for stream in streams:
        with stream:
            solvers.append(Solver(x0, method="L-BFGS-B", compact=False))
    for _ in range(300):
        for stream, solver in zip(streams, solvers, strict=True):
            with stream:
                if solver.running:
                    solver.tell(*bowls(solver.ask(), c))
    for stream, solver in zip(streams, solvers, strict=True):
        with stream:
            assert not solver.running
            np.testing.assert_array_equal(solver.result().x.get(), alone.x.get())


def test_one_problem():
    x0, c = (cupy.asarray(each[0]) for each in data(1, 10**5))
    result = fastbfgs.minimize(lambda x: bowls(x, c), x0, jac=True, method="L-BFGS")
    assert result.success and isinstance(result.x, cupy.ndarray) and type(result.fun) is float
    assert float(abs(result.x - c).max()) < 1e-3


@DTYPES
@pytest.mark.parametrize(("B", "n"), [(1, 10**6), (3, 150_000)])
def test_very_many_coordinates(B, n, dtype):
    x0, c = (cupy.asarray(each) for each in data(B, n, dtype))
    options = {"gtol": 1e-2 if dtype == np.float32 else 1e-6, "ftol": 0.0}
    results = [
        fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), method="L-BFGS", options=options) for _ in range(2)
    ]
    assert bool(results[0].success.all())
    assert float(abs(results[0].x - c).max()) < 1e-2
    np.testing.assert_array_equal(results[0].x.get(), results[1].x.get())


@DTYPES
@pytest.mark.parametrize(("method", "B", "n"), [("L-BFGS-B", 1, 10**6), ("L-BFGS-B", 3, 150_000), ("BFGS", 2, 2500)])
def test_very_many_coordinates_within_bounds_and_with_a_matrix(method, B, n, dtype):
    x0, c = (cupy.asarray(each) for each in data(B, n, dtype))
    options = {"gtol": 1e-2 if dtype == np.float32 else 1e-6, "ftol": 0.0}
    bounds = Bounds(-0.5, 1.0) if method == "L-BFGS-B" else None
    results = [
        fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), method=method, bounds=bounds, options=options)
        for _ in range(2)
    ]
    assert bool(results[0].success.all())
    there = c if bounds is None else cupy.clip(c, -0.5, 1.0)
    assert float(abs(results[0].x - there).max()) < 1e-2
    np.testing.assert_array_equal(results[0].x.get(), results[1].x.get())


@pytest.mark.parametrize("name", ["lbfgs_minimize", "bfgs_minimize"])
def test_the_names_of_tfp(name):
    x0, c = (cupy.asarray(each) for each in data(100, 20))
    results = getattr(fastbfgs, name)(lambda x: bowls(x, c), x0)
    assert isinstance(results.position, cupy.ndarray) and bool(results.converged.all())
    assert float(abs(results.position - c).max()) < 1e-4


@DTYPES
@pytest.mark.parametrize(("B", "n"), [(5000, 3), (500, 10), (50, 70), (3, 150_000)])
def test_stopped_and_taken_up_is_never_stopped(B, n, dtype):
    x0 = cupy.asarray(data(B, n, dtype)[0])
    options = Options(maxiter=20, history=5)
    whole = told(Solver(x0, options, compact=False))
    for times in (0, 1, 4, 13):
        assert_same(told(taken_up(told(Solver(x0, options, compact=False), times))).result(), whole.result())


def test_conditions_and_results_gone_on_from():
    x0, c = (cupy.asarray(each) for each in data(100, 20))
    whole = fastbfgs.lbfgs_minimize(lambda x: bowls(x, c), x0)
    first = fastbfgs.lbfgs_minimize(lambda x: bowls(x, c), x0, stopping_condition=fastbfgs.converged_any)
    assert 0 < int(first.converged.sum()) < 100
    rest = fastbfgs.lbfgs_minimize(lambda x: bowls(x, c), previous_optimizer_results=first)
    assert bool((rest.position == whole.position).all()) and bool(rest.converged.all())
    assert all(isinstance(each, cupy.ndarray) for each in (*rest[:2], *rest[4:12]))


@pytest.mark.parametrize("make", [lambda: fastbfgs.Adam(0.1), lambda: fastbfgs.LBFGS(gtol=1e-6)], ids=["Adam", "LBFGS"])
def test_traces(make):
    a, b = cupy.full((2, 3), 3.0), cupy.full((), 1.0)

    def loss_fn():
        return ((a - 1.0) ** 2).sum() + (b - 2.0) ** 2, {"a": 2.0 * (a - 1.0), "b": 2.0 * (b - 2.0)}

    losses, seen = fastbfgs.trace_minimize(
        loss_fn, 400, make(), fastbfgs.LossNotDecreasing(atol=1e-9, min_num_steps=60),
        trainable_variables={"a": a, "b": b}, trace_fn=lambda loss, grads, variables: (loss, variables["a"]),
    )  # fmt: skip
    assert isinstance(losses, cupy.ndarray) and losses.shape == (400,) and seen.shape == (400, 2, 3)
    assert float(abs(a - 1.0).max()) < 1e-2 and abs(float(b) - 2.0) < 1e-2
    assert bool((seen[-1] == a).all())


def test_pieces():
    x0, c = (cupy.asarray(each) for each in data(100, 20))
    whole = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,))
    pieces = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,), chunk=30)
    assert isinstance(pieces.x, cupy.ndarray) and bool(pieces.success.all())
    assert float(abs(pieces.x - whole.x).max()) < 1e-4


def test_callbacks_and_rows():
    x0, c = (cupy.asarray(each) for each in data(100, 5))
    seen = []

    def fun(x, *, rows):
        return bowls(x, c[rows])

    result = fastbfgs.minimize(fun, x0, jac=True, callback=lambda intermediate_result: seen.append(intermediate_result))
    assert bool(result.success.all())
    assert len(seen) > 3 and isinstance(seen[0].x, cupy.ndarray)
    assert bool((seen[-1].x == result.x).all())


@DTYPES
@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
@pytest.mark.parametrize("bounded", [False, True])
def test_differences(bounded, jac, dtype):
    x0, c = data(300, 5, dtype)
    c /= 3  # else float32 cannot tell f at two points of a difference apart
    lb, ub = np.full((300, 5), -0.5), np.full((300, 5), 1.0)
    lb[:, 1] = ub[:, 1] = 0.25
    lb[::3, 2], ub[1::3, 3] = 1.0, np.inf

    def run(kind):
        bounds = SimpleNamespace(lb=kind(lb), ub=kind(ub)) if bounded else None
        return fastbfgs.minimize(
            lambda x, c: ((x - c) ** 2).sum(axis=1) + 0.25 * ((x - c) ** 4).sum(axis=1), kind(x0),
            batch_args=(kind(c),), jac=jac, bounds=bounds, options={"gtol": 1e-2, "ftol": 0.0},
        )  # fmt: skip

    ours, theirs = run(cupy.asarray), run(np.asarray)
    assert ours.x.dtype == ours.jac.dtype == dtype
    np.testing.assert_allclose(ours.x.get(), theirs.x, 0, 2e-2)
    np.testing.assert_array_equal(cupy.isnan(ours.jac).get(), np.isnan(theirs.jac))
    assert abs(ours.nit.get() - theirs.nit).mean() < (3 if dtype == np.float32 else 1)


@pytest.mark.parametrize("jac", ["2-point", "3-point", "cs"])
def test_differences_of_one_problem(jac):
    x0, c = (cupy.asarray(each[0]) for each in data(1, 6))
    options = {"finite_diff_rel_step": cupy.full(6, 1e-6)}
    result = fastbfgs.minimize(lambda x: ((x - c) ** 2).sum(), x0, jac=jac, options=options)
    assert float(abs(result.x - c).max()) < 1e-4 and result.nfev % (13 if jac == "3-point" else 7) == 0


@DTYPES
@pytest.mark.parametrize("method", METHODS)
def test_every_iterate(method, dtype):
    x0, c = data(50, 4, dtype)
    runs = []
    for kind in (cupy.asarray, np.asarray):
        paths = fastbfgs.Paths(30)
        options = {"maxiter": 30} | ({"return_all": True} if method == "BFGS" else {})
        runs.append((paths, fastbfgs.minimize(
            bowls, kind(x0), jac=True, batch_args=(kind(c),), method=method, record=paths, options=options
        )))  # fmt: skip
    (ours, mine), (theirs, other) = runs
    assert bool((ours.nit == mine.nit).all())
    b = np.arange(50)
    for name, last in (("x", mine.x), ("g", mine.jac)):
        np.testing.assert_array_equal(getattr(ours, name).get()[ours.nit.get(), b], last.get())
        np.testing.assert_allclose(getattr(ours, name).get()[:2], getattr(theirs, name)[:2], 1e-4, 1e-4)
    np.testing.assert_allclose(ours.alpha.get()[1], theirs.alpha[1], 1e-4)
    np.testing.assert_array_equal(ours.s.get()[1:], (ours.x[1:] - ours.x[:-1]).get())
    if method == "BFGS":
        assert bool((mine.allvecs[-1] == mine.x).all()) and abs(len(mine.allvecs) - len(other.allvecs)) < 3


@DTYPES
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("B", "n"), [(1, 3), (5000, 3), (500, 40)])
def test_whole_runs_on_an_objective_in_cuda(B, n, method, dtype):
    x0, c = data(B, n, dtype)
    bounds = [(-0.5, 1.0)] * n if method == "L-BFGS-B" else None
    keywords = {"method": method, "bounds": bounds, "options": {"gtol": 1e-3}}
    fun = fastbfgs.CudaObjective(SPRINGS, cupy.asarray(c.astype(np.float64)), 0.25, n)
    ours = fastbfgs.minimize(fun, cupy.asarray(x0), **keywords)
    theirs = fastbfgs.minimize(
        lambda x, c: springs(x, c, 0.25), x0, jac=True, batch_args=(c.astype(np.float64),), **keywords
    )
    assert bool(ours.success.all())
    np.testing.assert_allclose(ours.x.get(), theirs.x, 0, 1e-2)
    assert abs(ours.nit.get() - theirs.nit).mean() < 1
    assert ours.calls == ours.nfev.get().sum()


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_loaded(method, tmp_path):
    x0, c = (cupy.asarray(each) for each in data(50, 12))
    solvers = [Solver(x0, method=method) for _ in range(2)]
    for solver in solvers:
        for _ in range(4):
            solver.tell(*bowls(solver.ask(), c[solver.rows]))
    solvers[0].save(tmp_path / "run.npz")
    solvers[0] = Solver.load(tmp_path / "run.npz")
    for solver in solvers:
        while solver.running:
            solver.tell(*bowls(solver.ask(), c[solver.rows]))
    np.testing.assert_array_equal(solvers[0].result().x.get(), solvers[1].result().x.get())


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_what_the_formula_says(method):
    B, n = 5000, 12
    x0 = cupy.zeros((B, n), np.float32)
    arrays = Arrays(x0)
    box = arrays.box([(-1.0, 2.0)] * n, (B,), n, x0.dtype) if method == "L-BFGS-B" else None
    f, g = cupy.ones(B), cupy.ones((B, n), np.float32)
    pool = cupy.get_default_memory_pool()
    before = pool.used_bytes()
    backend = CUDA(x0, Options(method=method), None, box, arrays)
    x = backend.points(backend.all_rows)
    backend.tell(backend.all_rows, f, g)
    taken = pool.used_bytes() - before
    formula = backend.footprint.total(B, backend.blocks * (backend.block // backend.threads))
    assert x.shape == (B, n) and taken < formula + 20 * 512  # what the pool rounds up to


def test_too_little_memory():
    free = cupy.cuda.runtime.memGetInfo()[0]
    x0 = cupy.zeros((free // 4000, 10))
    with pytest.raises(MemoryError, match="the largest batch that fits has"):
        Solver(x0, history=60)


LIBRARIES = [name for name in ("torch", "jax") if find_spec(name)]
"""Those that are installed; `benchmarks.gpu` writes down which."""


def lent(name, numbers):
    """Return NumPy's numbers as another library's array on the device, and the function of such that is a bowl."""
    if name == "torch":
        torch = import_module("torch")
        return torch.from_numpy(np.array(numbers)).cuda(), bowls
    jax = import_module("jax")
    return jax.device_put(np.asarray(numbers), jax.devices("cuda")[0]), jax.jit(bowls)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", LIBRARIES)
def test_arrays_of_other_libraries(name, method):
    x0, c = data(300, 20, np.float32)
    ours, fun = lent(name, x0)
    result = fastbfgs.minimize(
        fun, ours, jac=True, method=method, batch_args=(lent(name, c)[0],), options={"gtol": 1e-3}
    )
    assert type(result.x) is type(ours) and type(result.nit) is type(ours) and result.x.device == ours.device
    theirs = fastbfgs.minimize(
        bowls, cupy.asarray(x0), jac=True, method=method, batch_args=(cupy.asarray(c),), options={"gtol": 1e-3}
    )
    assert bool(result.success.all())
    assert float(abs(cupy.from_dlpack(result.x) - theirs.x).max()) < 1e-2

    solver = Solver(ours, method=method, gtol=1e-3)
    while solver.running:
        solver.tell(*fun(solver.ask(), lent(name, c)[0][solver.rows]))
    np.testing.assert_array_equal(cupy.from_dlpack(solver.result().x).get(), cupy.from_dlpack(result.x).get())
    one = result[7]
    assert type(one.x) is type(ours) and type(one.fun) is float


@pytest.mark.parametrize("name", [name for name in LIBRARIES if name == "torch"])
def test_pytorchs_stream(name):
    """All runs on PyTorch's current stream: nothing else waits for it, and the bits are those of the default one."""
    torch = import_module(name)
    x0, c = (lent(name, each)[0] for each in data(500, 20))
    alone = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,))
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        beside = fastbfgs.minimize(bowls, x0, jac=True, batch_args=(c,))
        assert bool((beside.x == alone.x).all())


def test_host_arrays_are_refused():
    with pytest.raises(TypeError, match="must return f as a CuPy array"):
        fastbfgs.minimize(lambda x: (np.zeros(3), x), cupy.zeros((3, 2)), jac=True)
