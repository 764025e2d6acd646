"""Compiled objectives: the same bits as through Python for any number of threads, Ctrl-C, signatures, the examples."""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
from scipy import LowLevelCallable
from scipy.optimize import Bounds

import fastbfgs
from fastbfgs import Solver, Status, minimize, threads
from fastbfgs.kernels import probe
from fastbfgs.native import Native, is_compiled

ROOT = Path(__file__).resolve().parents[1]
DTYPES = [np.float64, np.float32]
VECTOR = {np.float64: ctypes.POINTER(ctypes.c_double), np.float32: ctypes.POINTER(ctypes.c_float)}


def signature(dtype=np.float64):
    """Return the ctypes prototype of a compiled objective."""
    vector = VECTOR[dtype]
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_int64, vector, vector, ctypes.c_void_p)


def capsule(dtype=np.float64):
    """Return the capsule of Rosenbrock's chain, compiled by Cython."""
    return probe.__pyx_capi__["rosenbrock" if dtype == np.float64 else "rosenbrock_f32"]


def through_python(fun, dtype=np.float64):
    """Return ``f(x, rows) -> f, g`` that calls the compiled function point by point."""
    native = Native(fun, np.dtype(dtype))
    call, vector = signature(dtype)(native.address), VECTOR[dtype]

    def function(x, rows):
        g = np.empty_like(x)
        f = [
            call(int(row), x.shape[1], x[k].ctypes.data_as(vector), g[k].ctypes.data_as(vector), native.user_data)
            for k, row in enumerate(rows)
        ]
        return np.array(f), g

    return function


def by_ask_and_tell(solver, function):
    """Run `solver` on ``function(x, rows)``."""
    while solver.running:
        rows = np.asarray(solver.rows)
        x = solver.ask()
        f, g = function(x.reshape(len(rows), -1), rows)
        solver.tell(*((f.item(), g[0]) if x.ndim == 1 else (f, g)))
    return solver


def everything(solver):
    """Return what the solver knows of its members, but for the number of calls."""
    result = solver.result()
    parts = {name: getattr(result, name) for name in ("x", "f", "g", "nit", "nfev", "status")}
    if solver.options.method == "BFGS":
        return parts | {"H": solver.inverse_hessian()}
    pairs = [solver.pairs(b) for b in range(len(solver))]
    return parts | {f"{name}{b}": pair[k] for b, pair in enumerate(pairs) for k, name in enumerate("sy")}


def assert_same(one, other):
    """Assert that two solvers stand at the same bits."""
    one, other = everything(one), everything(other)
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def slowly(pause=1e-3):
    """Return a ctypes function that takes a while: sum (x - member)**2 (1 + x**2)."""

    @signature()
    def function(member, n, x, g, user_data):
        time.sleep(pause)
        f = 0.0
        for i in range(n):
            d = x[i] - member
            f += d * d * (1.0 + x[i] * x[i])
            g[i] = 2.0 * d * (1.0 + x[i] * x[i]) + 2.0 * d * d * x[i]
        return f

    return function


class Signals:
    """Send SIGINT to this process after some seconds."""

    def __init__(self, *after):
        self.timers = [threading.Timer(each, os.kill, (os.getpid(), signal.SIGINT)) for each in after]

    def __enter__(self):
        for timer in self.timers:
            timer.start()

    def __exit__(self, *error):
        for timer in self.timers:
            timer.cancel()
            timer.join()


# ----------------------------------------------------------------------------------------------
# The same bits

B, N = 400, 5


def kinds(dtype):
    """Return the ways to run, as keywords of `Solver`, by name."""
    rng = np.random.default_rng(5)
    own = np.sort(rng.uniform(-2.5, 2.5, (2, B, N)), axis=0)
    own[0, ::3], own[1, 1::3] = -np.inf, np.inf
    diagonal = rng.uniform(0.001, 0.01, (B, N))
    return {
        "L-BFGS": {},
        "L-BFGS, h0": {"h0": diagonal},
        "L-BFGS-B": {"method": "L-BFGS-B", "bounds": Bounds([-np.inf, 0.2, -1.0, -1.0, -2.0], [0.5, 2, 1, np.inf, 2])},
        "L-BFGS-B, own": {"method": "L-BFGS-B", "bounds": Bounds(own[0], own[1])},
        "BFGS": {"method": "BFGS"},
        "BFGS, h0": {"method": "BFGS", "h0": np.eye(N) * diagonal[:, :, np.newaxis]},
        "limits": {"maxiter": 20, "maxfun": 22},
        "few pairs": {"history": 2, "gtol": 1e-9},
    }


@pytest.fixture(scope="module")
def references():
    """Return a function that gives the solver run through Python, each made once."""
    made = {}

    def reference(dtype, kind):
        if (dtype, kind) not in made:
            solver = Solver(starts(dtype), **kinds(dtype)[kind], workers=1)
            made[dtype, kind] = by_ask_and_tell(solver, through_python(capsule(dtype), dtype))
        return made[dtype, kind]

    return reference


def starts(dtype, members=B):
    """Return random starts."""
    return np.random.default_rng(3).uniform(-2.0, 2.0, (members, N)).astype(dtype)


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
@pytest.mark.parametrize("kind", kinds(np.float64))
@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_as_through_python(references, dtype, kind, workers):
    solver = Solver(starts(dtype), **kinds(dtype)[kind], workers=workers)
    solver.run(capsule(dtype))
    assert not solver.running
    assert solver.calls == solver.result().nfev.sum()
    assert_same(solver, references(dtype, kind))


def test_all_members_run_in_threads():
    # Else the test above would say little: 400 members take longer than the millisecond of the calling thread.
    names = set()

    @signature()
    def bowl(member, n, x, g, user_data):
        names.add(threading.current_thread().ident)
        time.sleep(1e-4)
        g[0] = 2.0 * (x[0] - member)
        return (x[0] - member) ** 2

    Solver(np.zeros((50, 1)), workers=3).run(bowl)
    assert len(names) == 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_permuted_starts_permute_results(dtype):
    order = np.random.default_rng(1).permutation(B)
    one, other = Solver(starts(dtype)), Solver(starts(dtype)[order])
    one.run(capsule(dtype))
    other.run(capsule(dtype))
    np.testing.assert_array_equal(one.result().x[order], other.result().x)


@pytest.mark.parametrize("shape", [(N,), (1, N), (3, N), (2, 3, N), (0, N), (2, 0, N)])
@pytest.mark.parametrize("method", ["L-BFGS", "L-BFGS-B", "BFGS"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_minimize_by_shapes(dtype, method, shape):
    x0 = np.random.default_rng(2).uniform(-2.0, 2.0, shape).astype(dtype)
    function = through_python(capsule(dtype), dtype)

    def one(x):
        f, g = function(x[np.newaxis], [0])
        return f[0], g[0]

    ours = minimize(capsule(dtype), x0, method=method)
    theirs = minimize(one if x0.ndim == 1 else function, x0, method=method, jac=True)
    assert type(ours) is type(theirs)
    for name in ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message"):
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    if x0.ndim > 1:
        assert ours.calls == ours.nfev.sum()
    if method == "BFGS":
        np.testing.assert_array_equal(ours.hess_inv, theirs.hess_inv)
    elif x0.ndim == 1:
        np.testing.assert_array_equal(ours.hess_inv @ np.eye(N), theirs.hess_inv @ np.eye(N))


def test_integers_are_float64():
    result = minimize(capsule(), [-1, 2])
    assert result.success and result.x.dtype == np.float64


def test_long_problems():
    # Of one member, which goes from the calling thread to another in the midst of its run.
    x0 = np.random.default_rng(7).uniform(-2.0, 2.0, 3_000)
    options = {"method": "L-BFGS", "maxiter": 500}
    one, other = Solver(x0, **options), Solver(x0, **options)
    one.run(capsule())
    assert_same(one, by_ask_and_tell(other, through_python(capsule())))


# ----------------------------------------------------------------------------------------------
# What a function may answer


def domain(member, n, x, g, user_data):
    """x - log x, whose domain some members start outside of; one has no lower bound."""
    g[0] = 1.0 - 1.0 / x[0] if x[0] != 0.0 else 0.0
    if member == 3:
        g[0] = -1.0
        return -math.inf if x[0] > 20.0 else -x[0]
    return x[0] - math.log(x[0]) if x[0] > 0.0 else math.nan


@pytest.mark.parametrize("workers", [1, 3])
def test_values_that_are_not_finite(workers):
    fun = signature()(domain)
    x0 = np.array([[3.0], [-1.0], [30.0], [1.0], [np.inf], [np.nan]])
    solver = Solver(x0, workers=workers)
    solver.run(fun)
    assert_same(solver, by_ask_and_tell(Solver(x0), through_python(fun)))
    assert list(solver.result().status[1:4]) == [
        Status.NONFINITE_START, Status.CONVERGED_GRADIENT, Status.UNBOUNDED,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("calls", [0, 1, 3])
def test_a_python_function_that_raises_has_not_succeeded(calls, dtype, monkeypatch):
    """ctypes prints what it raised, and returns some number; g is as it was."""
    printed, done = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: printed.append(error.exc_type))

    @signature(dtype)
    def fails(member, n, x, g, user_data):
        if len(done) == calls:
            raise ZeroDivisionError
        done.append(1)
        g[0] = 4.0 * (x[0] - 3.0) ** 3
        return (x[0] - 3.0) ** 4

    result = minimize(fails, np.zeros(1, dtype))
    assert not result.success and set(printed) == {ZeroDivisionError}
    assert len(done) == calls and (result.x[0] != 0.0) == (calls > 1)


def test_members_and_user_data():
    centre = np.random.default_rng(1).standard_normal((2, 60, 3))
    seen = np.zeros(120, dtype=int)

    @signature()
    def bowl(member, n, x, g, user_data):
        row = (ctypes.c_double * n).from_address(user_data + 8 * n * member)
        seen[member] += 1
        for i in range(n):
            g[i] = 2.0 * (x[i] - row[i])
        return sum((x[i] - row[i]) ** 2 for i in range(n))

    fun = LowLevelCallable(bowl, ctypes.c_void_p(centre.ctypes.data))
    result = minimize(fun, np.zeros((2, 60, 3)), workers=2)
    np.testing.assert_allclose(result.x, centre, atol=1e-5)
    np.testing.assert_array_equal(seen.reshape(2, 60), result.nfev)


def test_user_data_is_null_without_any():
    given = []

    @signature()
    def function(member, n, x, g, user_data):
        given.append(user_data)
        g[0] = 0.0
        return 0.0

    minimize(function, [1.0])
    assert given == [None]


# ----------------------------------------------------------------------------------------------
# Solver.run beside the other ways


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("before", [0, 1, 17])
def test_run_after_ask_and_tell_and_a_file(tmp_path, before, compact):
    function = through_python(capsule())
    solver = Solver(starts(np.float64, 40), compact=compact)
    for _ in range(before):
        solver.tell(*function(solver.ask(), np.asarray(solver.rows)))
    solver.save(tmp_path / "state.npz")
    solver = Solver.load(tmp_path / "state.npz")
    asked = before * 40 if compact else solver.result().nfev.sum()
    solver.run(capsule())
    assert solver.calls == before + solver.result().nfev.sum() - asked
    assert_same(solver, by_ask_and_tell(Solver(starts(np.float64, 40)), function))
    assert len(solver.rows) == (0 if compact else 40)
    solver.run(capsule())  # nothing is left to do
    assert_same(solver, by_ask_and_tell(Solver(starts(np.float64, 40)), function))


def test_finished_members_are_left_alone():
    solver = Solver(starts(np.float64, 10))
    solver.stop()
    solver.run(signature()(lambda *given: pytest.fail("called")))
    assert set(solver.result().status) == {Status.STOPPED}


def test_side_by_side():
    # Two Python threads that run solvers of their own do not wait for each other, nor does a batch of Python calls.
    fun, function = slowly(1e-4), through_python(capsule())
    alone = [Solver(np.zeros((30, 2)), workers=2) for _ in range(3)]
    callers = [threading.Thread(target=solver.run, args=(fun,)) for solver in alone]
    for caller in callers:
        caller.start()
    between = by_ask_and_tell(Solver(starts(np.float64), workers=2), function)
    for caller in callers:
        caller.join()
    last = Solver(np.zeros((30, 2)), workers=1)
    last.run(fun)
    for solver in alone:
        assert_same(solver, last)
    compiled = Solver(starts(np.float64))
    compiled.run(capsule())
    assert_same(compiled, between)


def test_run_inside_run():
    inner = Solver(starts(np.float64), workers=2)

    @signature()
    def function(member, n, x, g, user_data):
        if inner.running:
            inner.run(capsule())
        g[0] = 2.0 * x[0]
        return x[0] ** 2

    assert minimize(function, [3.0]).success
    assert inner.result().converged.all()


# ----------------------------------------------------------------------------------------------
# Ctrl-C, progress


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_interrupted_and_resumed_is_uninterrupted(workers):
    fun, x0 = slowly(2e-3), np.zeros((200, 3))
    solver = Solver(x0, workers=workers)
    start = time.perf_counter()
    with Signals(0.1), pytest.raises(KeyboardInterrupt):
        solver.run(fun)
    assert time.perf_counter() - start < 1.0
    middle = solver.result()
    assert 0 < middle.nfev.sum() == solver.calls
    assert solver.live == (middle.status < 0).sum() > 0
    time.sleep(0.05)
    np.testing.assert_array_equal(solver.result().nfev, middle.nfev)  # nobody works on
    solver.run(fun)
    whole = Solver(x0, workers=3)
    whole.run(fun)
    assert_same(solver, whole)
    assert solver.calls == whole.calls


def test_interrupt_without_interpreter():
    # The whole run takes seconds in which nothing but C runs.
    x0 = np.random.default_rng(0).uniform(-2.0, 2.0, (60, 2_000))
    options = {"maxiter": 10**9, "maxfun": 10**9, "ftol": 0.0, "gtol": 0.0}
    with Signals(0.2), pytest.raises(KeyboardInterrupt) as caught:
        minimize(capsule(), x0, options=options)
    partial = caught.value.partial_result
    assert partial.x.shape == x0.shape and partial.calls == partial.nfev.sum() > 0
    assert set(partial.status[partial.nfev == 0]) <= {-1}
    known = partial.nfev > 0
    f, g = through_python(capsule())(partial.x[known], np.flatnonzero(known))
    np.testing.assert_array_equal(partial.fun[known], f)
    np.testing.assert_array_equal(partial.jac[known], g)


def test_pressed_twice():
    # The second one comes while the threads are still in their evaluations.
    solver = Solver(np.zeros((4, 1)), workers=2)
    with Signals(0.5, 0.55), pytest.raises(KeyboardInterrupt):
        solver.run(slowly(0.3))
        time.sleep(1.0)
    assert solver.calls == solver.result().nfev.sum()


def test_handlers_that_do_not_raise_stop_nothing():
    got = []
    old = signal.signal(signal.SIGINT, lambda *given: got.append(given))
    try:
        solver = Solver(np.zeros((100, 3)), workers=2)
        with Signals(0.05):
            solver.run(slowly())
    finally:
        signal.signal(signal.SIGINT, old)
    assert len(got) == 1 and solver.result().converged.all()


def test_progress():
    seen = []
    result = minimize(slowly(2e-3), np.zeros((60, 3)), workers=2, progress=lambda *given: seen.append(given))
    finished, members, calls = map(np.array, zip(*seen, strict=True))
    assert len(seen) > 3, "in 0.2 s or more, every 50 ms"
    assert (np.diff(finished) >= 0).all() and (np.diff(calls) >= 0).all() and set(members) == {60}
    assert finished[-1] == 60 and calls[-1] == result.calls and 0 < calls[0] < calls[-1]


def test_progress_of_a_short_run():
    seen = []
    result = minimize(capsule(), [-1.0, 1.0], progress=lambda *given: seen.append(given))
    assert seen == [(1, 1, result.nfev)]


def test_progress_bar():
    pytest.importorskip("tqdm")
    minimize(slowly(1e-3), np.zeros((10, 3)), progress=True)


class Odd(Exception):
    """Nobody else's."""


def test_what_progress_raises_stops_the_run():
    def progress(finished, members, calls):
        raise Odd

    with pytest.raises(Odd) as caught:
        minimize(slowly(), np.zeros((200, 3)), progress=progress)
    assert 0 < caught.value.partial_result.calls < 2_000


def test_what_a_thread_raises_comes_through():
    halted = threading.Event()

    def task(k):
        if k == 1:
            raise Odd
        assert halted.wait(10.0)

    with pytest.raises(Odd):
        threads.side_by_side(task, range(3), halted.set, lambda: None)


# ----------------------------------------------------------------------------------------------
# Signatures and arguments


def of(restype, *argtypes):
    """Return a ctypes function of this signature that must not be called."""
    return ctypes.CFUNCTYPE(restype, *argtypes)(lambda *given: pytest.fail("called"))


I64, F64, D, F, P = ctypes.c_int64, ctypes.c_double, VECTOR[np.float64], VECTOR[np.float32], ctypes.c_void_p
WRONG = {
    "no arguments": of(F64),
    "an argument less": of(F64, I64, D, D, P),
    "an argument more": of(F64, I64, I64, D, D, P, P),
    "short integers": of(F64, ctypes.c_int32, I64, D, D, P),
    "unsigned": of(F64, ctypes.c_uint64, I64, D, D, P),
    "returns float": of(ctypes.c_float, I64, I64, D, D, P),
    "returns nothing": of(None, I64, I64, D, D, P),
    "untyped vectors": of(F64, I64, I64, P, P, P),
    "mixed vectors": of(F64, I64, I64, D, F, P),
    "pointers to pointers": of(F64, I64, I64, ctypes.POINTER(D), D, P),
    "a named capsule": LowLevelCallable(of(F64, F64), signature="double (double)"),
}


@pytest.mark.parametrize("fun", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("dtype", DTYPES)
def test_wrong_signature(fun, dtype):
    got = re.escape(LowLevelCallable(fun).signature)
    message = rf"(?s)must have the C signature.*double \(int64_t, .*since x0 is {np.dtype(dtype)}; got\s+{got}\n.*"
    with pytest.raises(TypeError, match=message + "get_include"):
        minimize(fun, np.zeros((2, 2), dtype))
    with pytest.raises(TypeError, match=message):
        Solver(np.zeros((2, 2), dtype)).run(fun)


@pytest.mark.parametrize(
    ("fun", "dtype", "message"),
    [
        (capsule(np.float32), np.float64, "Compile it for double, or give x0 as float32"),
        (capsule(np.float64), np.float32, "Compile it for float, or give x0 as float64"),
    ],
)
def test_the_other_dtype(fun, dtype, message):
    with pytest.raises(TypeError, match=message):
        minimize(fun, np.zeros(2, dtype))


def test_ctypes_without_a_signature():
    library = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("msvcrt")
    with pytest.raises(TypeError, match=r"argtypes are not set.*restype = c_double"):
        minimize(library.abs, [1.0])
    library.labs.argtypes = [I64, I64, D, D, P]
    with pytest.raises(TypeError, match=r"got\s+int \(long"):
        minimize(library.labs, [1.0])


@pytest.mark.parametrize(
    "text",
    [
        "double (int64_t, int64_t, double const *, double *, void *)",
        "double(long long,long long int,const double*,double*,void*)",
        "double (npy_int64, Py_ssize_t, double *, double *, void *)",
        "double (signed long long, ptrdiff_t, double *, double *, void *)",
    ],
)
def test_other_spellings(text):
    fun = LowLevelCallable(of(F64, I64, I64, D, D, P), signature=text)
    assert Native(fun, np.dtype(np.float64)).address


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"jac": lambda x: x}, "jac must be True or left out"),
        ({"jac": "2-point"}, "jac must be True or left out; got '2-point'"),
        ({"args": (1.0,)}, "takes no args.*user data"),
        ({"args": 1.0}, "takes no args.*user data"),
        ({"batch_args": (np.zeros(3),)}, "takes no batch_args.*user data"),
        ({"callback": print}, "no callback.*progress"),
        ({"method": "BFGS", "options": {"return_all": True}}, "return_all cannot be kept"),
        ({"record": print}, "nothing can be recorded"),
    ],
)
def test_arguments_that_do_not_go_with_it(keywords, message):
    with pytest.raises(ValueError, match=message):
        minimize(capsule(), np.zeros((3, 2)), **keywords)


def test_run_takes_nothing_else():
    with pytest.raises(TypeError, match=r"must be compiled.*got function.*ask and tell"):
        Solver([1.0]).run(lambda x: x)


@pytest.mark.parametrize("fun", [None, 3, "rosenbrock", np.zeros(3), print, scipy.optimize.rosen])
def test_what_is_not_compiled(fun):
    assert not is_compiled(fun)


def test_scipys_methods():
    for method in (fastbfgs.lbfgs, fastbfgs.lbfgsb, fastbfgs.bfgs):
        result = scipy.optimize.minimize(LowLevelCallable(capsule()), [-1.2, 1.0], method=method)
        np.testing.assert_allclose(result.x, 1.0, atol=1e-4)


# ----------------------------------------------------------------------------------------------
# The header, and the examples

needs_cc = pytest.mark.skipif(shutil.which("cc") is None or os.name != "posix", reason="needs a C compiler, cc")


@needs_cc
@pytest.mark.parametrize("language", ["c", "c++"])
def test_header_holds_a_function_to_its_signature(tmp_path, language):
    right = "fastbfgs_objective f; double f(int64_t b, int64_t n, const double *x, double *g, void *u) { return 0; }"
    texts = {"right": right, "f32": right.replace("objective", "objective_f32").replace("double *", "float *")}
    texts["wrong"] = texts["f32"].replace("objective_f32", "objective")
    for name, text in texts.items():
        if name == "wrong" and language == "c++":
            continue  # another function of that name, there
        file = tmp_path / f"{name}.c"
        file.write_text(f"#include <fastbfgs.h>\n{text}\n")
        command = ["cc", "-x", language, "-fsyntax-only", "-Wall", "-pedantic", f"-I{fastbfgs.get_include()}", file]
        done = subprocess.run(command, capture_output=True, text=True)
        if language == "c++" and "cc1plus" in done.stderr:
            pytest.skip("cc knows no C++")
        assert (done.returncode == 0) == (name != "wrong"), done.stderr


def example(name):
    """Return the module of an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_cc
def test_example_lowlevel(capsys):
    true, result = example("native_lowlevel").main(200)
    assert result.success.all()
    np.testing.assert_allclose(result.x, true, atol=0.5)
    assert "200 succeeded" in capsys.readouterr().out


@needs_cc
def test_example_ctypes(capsys):
    result = example("native_ctypes").main(100, 6)
    x0 = np.random.default_rng(0).uniform(-2.0, 2.0, (100, 6))
    same = minimize(capsule(), x0)
    np.testing.assert_allclose(result.x, same.x, atol=1e-3)
    assert "100 succeeded" in capsys.readouterr().out


@needs_cc
def test_example_cython():
    pytest.importorskip("Cython")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "native_cython.py"], env=environment, capture_output=True, text=True
    )
    assert "10000 succeeded" in done.stdout, done.stderr


def test_example_numba(capsys):
    pytest.importorskip("numba")
    decay = example("decay_numba")
    true, result = decay.main(500)
    assert result.success.all()
    np.testing.assert_allclose(result.x, true, atol=0.5)
    assert "500 fits" in capsys.readouterr().out
    same = minimize(decay.misfit, np.ones((0, 3)))  # a cfunc by itself; its user data is NULL, and nobody asks for it
    assert same.x.shape == (0, 3)
    assert len((ROOT / "examples" / "decay_numba.py").read_text().splitlines()) < 100


def test_numba_signatures():
    numba = pytest.importorskip("numba")
    real, vector = numba.types.float64, numba.types.CPointer(numba.types.float32)
    whole, pointer = numba.types.int64, numba.types.voidptr

    @numba.cfunc(real(whole, whole, vector, vector, pointer))
    def bowl(member, n, x, g, user_data):
        g[0] = numba.float32(2.0) * (x[0] - member)
        return (x[0] - member) ** 2

    result = minimize(bowl, np.zeros((5, 1), np.float32))
    np.testing.assert_allclose(result.x[:, 0], range(5), atol=1e-5)
    with pytest.raises(TypeError, match="Compile it for double"):
        minimize(bowl, np.zeros((5, 1)))
