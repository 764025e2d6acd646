"""Whole runs: against the slow solver bit for bit, and what every run promises."""

from __future__ import annotations

import pickle
import warnings
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import Bounds

from fastbfgs import Options, Result, Solver, Status, threads
from fastbfgs.backend import field_of
from fastbfgs.kernels.advance import RECORD
from tests import oracle
from tests.problems import BOUNDED, PROBLEMS, Problem, by_name, starts

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
SMALL = [problem for problem in PROBLEMS if problem.n <= 20]
each_small = pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)
each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: p.name)
FIELDS = ("x", "f", "g", "nit", "nfev", "status")
FINAL = {status for status in Status if status >= 0}


def some_starts(problem: Problem, count: int, dtype: type) -> np.ndarray:
    """Return x0 itself, and `count` - 1 points around it."""
    x = starts(problem, count, 0.5, np.random.default_rng([problem.n, count]))
    x[0] = problem.x0
    return x.astype(dtype)


def advance(solver: Solver, fun, most: float = np.inf) -> int:
    """Tell `solver` the values of `fun` at most `most` times; return how often."""
    times = 0
    while solver.running and times < most:
        solver.tell(*fun(solver.ask()))
        times += 1
    return times


def run(fun, x0, **keywords) -> Result:
    solver = Solver(x0, **keywords)
    advance(solver, fun)
    return solver.result()


def one(fun):
    """Return the batched `fun` for one point."""

    def single(x: np.ndarray) -> tuple[float, np.ndarray]:
        f, g = fun(x[None])
        return float(f[0]), g[0]

    return single


def assert_same(a: Result, b: Result) -> None:
    """Compare bit for bit; NaN equals NaN."""
    for name in FIELDS:
        x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        assert x.dtype == y.dtype and x.shape == y.shape, name
        assert x.tobytes() == y.tobytes(), name


# ----------------------------------------------------------------------------------------------
# Against the slow solver


def assert_is_the_oracle(fun, x0: np.ndarray, options: Options, h0: np.ndarray | None = None) -> oracle.Outcome:
    """Every point asked for, and the end, are those of the slow solver."""
    solver = Solver(x0, options, h0=h0)
    slow = oracle.lbfgs(x0, x0.dtype, options, h0)
    point = next(slow)
    while solver.running:
        x = solver.ask()
        assert x.tolist() == point, f"evaluation {solver.calls + 1}"
        f, g = fun(x)
        solver.tell(f, g)
        try:
            point = slow.send((f, g))
        except StopIteration as end:
            outcome = end.value
            break
    assert not solver.running
    result = solver.result()
    assert Status(result.status) is outcome.status
    assert (result.nit, result.nfev) == (outcome.nit, outcome.nfev)
    np.testing.assert_array_equal(result.x, np.array(outcome.x, x0.dtype))
    np.testing.assert_array_equal(result.g, np.array(outcome.g, x0.dtype))
    np.testing.assert_array_equal(result.f, outcome.f)
    return outcome


@DTYPES
@each_small
def test_kernels_are_the_oracle(problem, dtype):
    for x0 in some_starts(problem, 2, dtype):
        assert_is_the_oracle(one(problem.fun), x0, Options(maxfun=60, gtol=1e-9, ftol=0.0))


OPTIONS = {
    "default": {},
    "one pair": {"history": 1},
    "two pairs": {"history": 2, "gtol": 1e-10},
    "tight search": {"c2": 0.05, "ftol": 0.0},
    "armijo": {"c1": 0.4, "c2": 0.5, "maxls": 4, "ftol": 0.0},
    "one evaluation a search": {"maxls": 1, "ftol": 0.0},
    "no tolerance": {"gtol": 0.0, "ftol": 0.0},
    "relative decrease": {"frtol": 1e-2, "ftol": 0.0},
    "absolute decrease": {"fatol": 1e-2, "ftol": 0.0},
    "small moves": {"xtol": 1e-3, "ftol": 0.0},
    "few iterations": {"maxiter": 7},
    "few evaluations": {"maxfun": 9},
}


@DTYPES
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("name", ["rosenbrock", "beale", "wood", "log_domain_5", "hartmann_6", "meyer", "box_3d"])
def test_kernels_are_the_oracle_for_every_option(name, options, dtype):
    problem = by_name(name)
    for x0 in some_starts(problem, 3, dtype):
        assert_is_the_oracle(one(problem.fun), x0, Options(**({"maxfun": 80} | options)))


@DTYPES
@pytest.mark.parametrize("name", ["rosenbrock", "wood", "quadratic_1e4_10", "log_domain_5", "powell_badly_scaled"])
def test_kernels_are_the_oracle_with_a_diagonal(name, dtype):
    problem = by_name(name)
    h0 = np.geomspace(1e-3, 1e-1, problem.n).astype(dtype)
    for x0 in some_starts(problem, 3, dtype):
        assert_is_the_oracle(one(problem.fun), x0, Options(maxfun=60), h0)


def test_budget_ends_a_search_as_maxls_does():
    """A constant that claims to fall: there is no lower point to take, whichever limit ends the search."""

    def fun(x):
        return 1.0, np.full(2, 1e-9)

    for limit in ({"maxfun": 4}, {"maxls": 3}):
        result = run(fun, np.zeros(2), gtol=0.0, ftol=0.0, **limit)
        assert result.nit == 0 and result.x.tolist() == [0.0, 0.0]


# ----------------------------------------------------------------------------------------------
# What every step promises


def rounding(x: np.ndarray, g: np.ndarray, eps: float) -> float:
    """Bound what rounding x, |x| eps / 2 for each coordinate and on both sides, does to s.g."""
    return eps * float(np.abs(x.astype(float)) @ np.abs(g.astype(float)))


class Accepted(NamedTuple):
    """A step, from x0 to x1, both with their f and g; `eps` of f, and `eps_x` of x, which bounds may round more."""

    x0: np.ndarray
    f0: float
    g0: np.ndarray
    x1: np.ndarray
    f1: float
    g1: np.ndarray
    eps: float
    eps_x: float

    def slopes(self) -> tuple[float, float]:
        """Return s.g0 and s.g1, for the step s = alpha p."""
        s = self.x1.astype(float) - self.x0.astype(float)
        return float(s @ self.g0.astype(float)), float(s @ self.g1.astype(float))

    def errors(self) -> tuple[float, float]:
        """Return what rounding may do to these."""
        x = np.maximum(np.abs(self.x0), np.abs(self.x1))
        return rounding(x, self.g0, self.eps_x), rounding(x, self.g1, self.eps_x)

    def falls(self, c1: float) -> bool:
        """Is there sufficient decrease, N&W (3.7a)?"""
        return self.f1 <= self.f0 + c1 * (self.slopes()[0] + self.errors()[0]) + 2.0**-52 * abs(self.f0)

    def is_wolfe(self, c1: float, c2: float) -> bool:
        """Strong Wolfe, N&W (3.7), or its approximate form where f is noise."""
        (dphi0, dphi1), (error0, error1) = self.slopes(), self.errors()
        flat_enough = abs(dphi1) <= c2 * abs(dphi0) + c2 * error0 + error1
        return flat_enough and (self.falls(c1) or abs(self.f1 - self.f0) <= 10.0 * self.eps * abs(self.f0))

    def ends_at(self, lower: np.ndarray, upper: np.ndarray, c1: float) -> bool:
        """Is a bound in the way of a longer step, where f falls far enough and still falls?"""
        blocked = (self.x1 != self.x0) & ((self.x1 == lower) | (self.x1 == upper))
        return bool(blocked.any() and self.slopes()[1] <= self.errors()[1] and self.falls(c1))


def assert_takes_good_steps(problem: Problem, x0: np.ndarray, fallbacks_allowed: float, **keywords) -> Result:
    """Observe all members step by step.

    A step that is not Wolfe ended at a bound, or was the best of a search that ran out. Every point is in the box.
    """
    solver = Solver(x0, compact=False, **keywords)
    o, eps = solver.options, float(np.finfo(x0.dtype).eps)
    box = np.array([[-np.inf], [np.inf]], x0.dtype) if solver.box is None else solver.box
    box = np.broadcast_to(box, (len(x0), 2, problem.n))
    eps_x = eps if solver.box is None else 4.0 * eps  # what is at a bound but for rounding is put there
    fallbacks = steps = 0
    searched = np.zeros(len(x0), int)  # evaluations in the member's search
    before = solver.result()
    while solver.running:
        asked = solver.ask()
        assert (box[:, 0] <= asked).all() and (asked <= box[:, 1]).all()
        f, g = problem.fun(asked)
        solver.tell(f, g)
        after = solver.result()
        searched += after.nfev > before.nfev
        assert (after.nfev <= o.maxfun).all() and (after.nit <= o.maxiter).all()
        # One search, a second one along -g, and the start.
        assert (searched <= 2 * o.maxls + 1).all()
        for b in np.flatnonzero(after.nit > before.nit):
            told = (getattr(r, name)[b] for r in (before, after) for name in ("x", "f", "g"))
            step = Accepted(*told, eps, eps_x)
            steps += 1
            assert step.f1 <= step.f0 + 10.0 * eps * abs(step.f0)
            if not step.is_wolfe(o.c1, o.c2) and not step.ends_at(*box[b], o.c1):
                fallbacks += 1
                assert step.f1 < step.f0
                assert searched[b] > 1 or after.nfev[b] == o.maxfun
            searched[b] = 0
        before = after
    # f and g are the very values told at x.
    f, g = problem.fun(before.x)
    np.testing.assert_array_equal(before.f, f.astype(float))
    np.testing.assert_array_equal(before.g, g)
    assert fallbacks <= 1 + fallbacks_allowed * steps
    assert set(before.status) <= FINAL
    return before


@DTYPES
@each_problem
def test_steps(problem, dtype):
    assert_takes_good_steps(problem, some_starts(problem, 3, dtype), 0.1, maxfun=150, gtol=1e-7, ftol=0.0)


@pytest.mark.parametrize("c1, c2", [(1e-4, 0.1), (0.3, 0.4), (1e-4, 0.9)])
@pytest.mark.parametrize("name", ["rosenbrock", "beale", "log_domain_5", "chained_rosenbrock_10"])
def test_steps_for_other_constants(name, c1, c2):
    assert_takes_good_steps(by_name(name), some_starts(by_name(name), 5, np.float64), 0.2, c1=c1, c2=c2)


# ----------------------------------------------------------------------------------------------
# Solo = batch = permuted = any number of workers


@DTYPES
@each_small
def test_solo_is_batch_is_permuted(problem, dtype):
    x0 = some_starts(problem, 6, dtype)
    options = Options(maxfun=50)
    batch = run(problem.fun, x0, options=options)
    for b in range(6):
        assert_same(batch[b], as_member(run(one(problem.fun), x0[b], options=options)))
    order = np.array([3, 5, 0, 4, 1, 2])
    assert_same(batch[order], run(problem.fun, x0[order], options=options))
    assert_same(batch, run(problem.fun, x0, options=options, compact=False))
    cube = run(lambda x: problem.fun(x), x0.reshape(2, 3, problem.n), options=options)
    for name in FIELDS:
        assert getattr(cube, name).shape[:2] == (2, 3)
        assert getattr(cube, name).tobytes() == getattr(batch, name).tobytes()


@DTYPES
def test_each_member_has_its_own_diagonal(dtype):
    problem = by_name("wood")
    x0 = some_starts(problem, 5, dtype)
    h0 = np.geomspace(1e-4, 1e-2, 20).reshape(5, 4).astype(dtype)
    batch = run(problem.fun, x0, h0=h0, maxfun=40)
    shared = run(problem.fun, x0, h0=h0[1], maxfun=40)
    for b in range(5):
        assert_same(batch[b], as_member(run(one(problem.fun), x0[b], h0=h0[b], maxfun=40)))
        assert_same(shared[b], as_member(run(one(problem.fun), x0[b], h0=h0[1], maxfun=40)))


def as_member(result: Result) -> Result:
    """Give the numbers of a single problem the types they have in a batch."""
    return Result(
        result.x,
        np.float64(result.f),
        result.g,
        np.int64(result.nit),
        np.int64(result.nfev),
        np.int32(result.status),
        result.calls,
    )


@DTYPES
@pytest.mark.parametrize("name, B", [("rosenbrock", 4000), ("chained_rosenbrock_10", 2200), ("sphere_1000", 70)])
def test_any_number_of_workers(name, B, dtype, monkeypatch):
    problem = by_name(name)
    x0 = some_starts(problem, B, dtype)
    parts_used = set()
    split = threads.run

    def spy(task, count, parts):
        parts_used.add(parts)
        return split(task, count, parts)

    monkeypatch.setattr(threads, "run", spy)
    reference = run(problem.fun, x0, workers=1, maxfun=40)
    assert not parts_used
    for workers in (2, 3):
        for compact in (True, False):
            assert_same(reference, run(problem.fun, x0, workers=workers, compact=compact, maxfun=40))
        assert max(parts_used) == workers
    order = np.random.default_rng(1).permutation(B)
    assert_same(reference[order], run(problem.fun, x0[order], workers=3, maxfun=40))
    for b in (0, B // 2, B - 1):
        assert_same(reference[b], as_member(run(one(problem.fun), x0[b], maxfun=40)))


def test_live_rows_only():
    """Compact: rows are the members that run. Not compact: all of them, and the finished rest at their x."""
    problem = by_name("rosenbrock")
    x0 = some_starts(problem, 40, np.float64)
    x0[7] = 1.0  # the minimiser
    small, full = Solver(x0), Solver(x0, compact=False)
    while small.running:
        status = small.result().status
        assert small.rows.tolist() == np.flatnonzero(status < 0).tolist()
        assert small.live == full.live == len(small.rows)
        assert full.rows.tolist() == list(range(40))
        points = full.ask()
        assert small.ask().tolist() == points[small.rows].tolist()
        resting = status >= 0
        assert points[resting].tolist() == full.result().x[resting].tolist()
        small.tell(*problem.fun(small.ask()))
        f, g = problem.fun(points)
        f[resting], g[resting] = np.nan, np.nan  # nobody listens
        full.tell(f, g)
    assert_same(small.result(), full.result())
    assert small.rows.tolist() == []


# ----------------------------------------------------------------------------------------------
# Ask is pure


@DTYPES
@pytest.mark.parametrize("shape", [(2,), (5, 2)], ids=["single", "batch"])
def test_ask_is_idempotent_and_pure(shape, dtype):
    fun = by_name("rosenbrock").fun if len(shape) == 2 else one(by_name("rosenbrock").fun)
    x0 = np.broadcast_to([-1.2, 1.0], shape).astype(dtype)
    kept = x0.copy()
    reference, solver = Solver(x0), Solver(x0)
    x0[...] = np.nan  # the solver has its own copy
    while reference.running:
        x = solver.ask()
        assert x.tolist() == solver.ask().tolist() == reference.ask().tolist()
        x[...] = np.nan
        assert solver.ask().tolist() == reference.ask().tolist()
        before = solver.result()
        before.x[...] = before.g[...] = np.nan
        f, g = fun(solver.ask())
        reference.tell(*fun(reference.ask()))
        solver.tell(f, g)
        g[...] = np.nan
    assert_same(solver.result(), reference.result())
    assert_same(run(fun, kept), reference.result())


# ----------------------------------------------------------------------------------------------
# Interrupted and resumed = not interrupted


@DTYPES
@pytest.mark.parametrize("with_h0", [None, "shared", "each"])
@pytest.mark.parametrize("compact", [True, False])
def test_resumed_is_uninterrupted(tmp_path, dtype, with_h0, compact):
    """After any number of calls: in the middle of searches, and with members that have finished."""
    problem = by_name("wood")
    x0 = some_starts(problem, 6, dtype)
    x0[2] = 1.0  # the minimiser: finishes at once
    h0 = {
        None: None,
        "shared": np.full(4, 1e-3, dtype),
        "each": np.geomspace(1e-3, 1e-2, 24).reshape(6, 4).astype(dtype),
    }[with_h0]
    keywords = {"h0": h0, "compact": compact, "maxfun": 60, "history": 3}
    reference = Solver(x0, **keywords)
    calls = advance(reference, problem.fun)
    in_search = finished = 0
    for k in range(calls + 1):
        solver = Solver(x0, **keywords)
        advance(solver, problem.fun, k)
        path = tmp_path / f"{k}.npz"
        solver.save(path)
        state = solver.result()
        in_search += bool((state.nfev > state.nit + 1).any())
        finished += 0 < solver.live < 6
        resumed = Solver.load(path)
        assert_same(resumed.result(), state)
        assert (resumed.calls, resumed.live, resumed.rows.tolist()) == (k, solver.live, solver.rows.tolist())
        assert resumed.options == solver.options and resumed.compact == compact
        advance(resumed, problem.fun)
        assert_same(resumed.result(), reference.result())
        assert resumed.calls == reference.calls == calls
        for b in range(6):
            for found, expected in zip(resumed.pairs(b), reference.pairs(b), strict=True):
                assert found.tobytes() == expected.tobytes()
    assert in_search and finished


@DTYPES
def test_resumed_is_uninterrupted_for_one_problem(tmp_path, dtype):
    fun = one(by_name("rosenbrock").fun)
    x0 = np.array([-1.2, 1.0], dtype)
    reference = run(fun, x0)
    solver = Solver(x0)
    while solver.running:  # saved and loaded before every evaluation
        solver.save(tmp_path / "run.npz")
        solver = Solver.load(tmp_path / "run.npz")
        assert solver.ask().shape == (2,)
        solver.tell(*fun(solver.ask()))
    assert_same(solver.result(), reference)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_resumed_batch_keeps_its_shape(tmp_path):
    solver = Solver(np.ones((2, 0, 3, 4)))
    solver.save(tmp_path / "empty.npz")
    assert Solver.load(tmp_path / "empty.npz").result().x.shape == (2, 0, 3, 4)
    solver = Solver(np.ones((2, 3, 4)))
    solver.save(tmp_path / "full.npz")
    assert Solver.load(tmp_path / "full.npz").result().x.shape == (2, 3, 4)


def test_load_refuses_what_save_did_not_write(tmp_path):
    solver = Solver(np.ones(3))
    path = tmp_path / "run.npz"
    solver.save(path)
    with np.load(path) as file:
        saved = dict(file)
    for change in ({"format": 999}, {"format": None}, {"record": "something else"}):
        changed = {k: v for k, v in (saved | change).items() if v is not None}
        np.savez(path, **changed)
        with pytest.raises(ValueError, match=r"not, or no longer, a state .* Solver\.save"):
            Solver.load(path)
    np.savez(path, some="array")
    with pytest.raises(ValueError, match=r"Solver\.save"):
        Solver.load(path)


def test_load_refuses_what_does_not_fit(tmp_path):
    solver = Solver(np.ones((2, 4)), h0=np.ones(4))
    path = tmp_path / "run.npz"
    solver.save(path)
    with np.load(path) as file:
        saved = dict(file)
    for change in (
        {"format": [4, 4]},
        {"options": None},
        {"options": "text"},
        {"options": '{"history": 0}'},
        {"shape": [3]},
        {"n": 100},
        {"records": saved["records"][:1]},
        {"records": saved["records"].astype(np.int16)},
        {"vectors": saved["vectors"][:, :-1]},
        {"vectors": saved["vectors"].astype(complex)},
        {"h0": np.ones(3)},
        {"h0": np.ones(4, np.float32)},
    ):
        np.savez(path, **{k: v for k, v in (saved | change).items() if v is not None})
        with pytest.raises(ValueError, match=r"not, or no longer, a state .* Solver\.save"):
            Solver.load(path)


@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
@pytest.mark.parametrize("n", [4, 400])
def test_load_refuses_records_that_lead_out_of_memory(tmp_path, method, n):
    given = {"bounds": [(0.0, 2.0)] * n} if method == "L-BFGS-B" else {}
    solver = Solver(np.full((3, n), 0.5), method=method, history=5, **given)
    advance(solver, lambda x: (((x - 1.0) ** 4).sum(axis=1), 4.0 * (x - 1.0) ** 3), 9)
    path = tmp_path / "run.npz"
    solver.save(path)
    with np.load(path) as file:
        saved = dict(file)
    slots = 6 if method == "L-BFGS" and n == 400 else 5  # see large.pxd
    beyond = [] if method == "BFGS" else [6]  # which counts no pairs that it holds
    for name, wrong in (
        ("count", [-1, *beyond]),
        ("head", [-1, slots]),
        ("fresh", [-1, *beyond]),
        ("bounded", [0] if given else [1, 2]),
        ("status", [-2, 77]),
    ):
        for value in wrong:
            records = saved["records"].copy()
            field_of(records, name)[1] = value
            np.savez(path, **(saved | {"records": records}))
            with pytest.raises(ValueError, match=r"no longer, a state"):
                Solver.load(path)


def test_load_refuses_other_kinds_of_file(tmp_path):
    solver = Solver(np.ones(3))
    solver.save(tmp_path / "run.npz")
    whole = (tmp_path / "run.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    np.save(tmp_path / "array.npy", np.ones(3))
    for content in (
        b"",
        b"x0 = 1, 2, 3",
        pickle.dumps({"x0": 1}),
        (tmp_path / "array.npy").read_bytes(),
        whole[:-100],
        whole[:200],
        flipped,
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(ValueError, match=r"'.*file' is not, or no longer, a state"):
            Solver.load(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        Solver.load(tmp_path / "nothing")


def test_a_save_that_fails_leaves_nothing(tmp_path):
    solver, folder = Solver(np.ones(3)), tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError):
        solver.save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with pytest.raises(FileNotFoundError, match="partial"):
        solver.save(tmp_path / "nowhere" / "run.npz")


# ----------------------------------------------------------------------------------------------
# How members stop


def bowl(x):
    """sum x_i**2"""
    return float(x @ x), 2.0 * x


def status_of(fun, x0=(1.0, 2.0), **keywords) -> Result:
    return run(fun, np.array(x0), **keywords)


@pytest.mark.parametrize(
    "f, g",
    [
        (np.nan, [1.0, 1.0]),
        (np.inf, [1.0, 1.0]),
        (1.0, [1.0, np.nan]),
        (1.0, [np.inf, 1.0]),
        (1.0, [1.0, -np.inf]),
        (np.nan, [0.0, 0.0]),
        (1.0, [0.0, np.nan]),
        (np.nan, [np.nan, np.nan]),
    ],
)
def test_nonfinite_start(f, g):
    result = status_of(lambda x: (f, np.array(g)))
    assert (result.status, result.nit, result.nfev, result.calls) == (Status.NONFINITE_START, 0, 1, 1)
    assert result.x.tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(result.f, f)
    np.testing.assert_array_equal(result.g, g)


@pytest.mark.parametrize("g", [[1.0, 1.0], [np.nan, np.inf]])
def test_unbounded_at_the_start(g):
    result = status_of(lambda x: (-np.inf, np.array(g)))
    assert (result.status, result.f, result.nit, result.nfev) == (Status.UNBOUNDED, -np.inf, 0, 1)


def test_unbounded_in_a_trial():
    """The run ends at that point."""

    def fun(x):
        return (-np.inf, np.full(2, np.nan)) if x[0] < -5.0 else (x.sum(), np.ones(2))

    result = status_of(fun)
    assert (result.status, result.f) == (Status.UNBOUNDED, -np.inf)
    assert result.x[0] < -5.0 and result.nit > 0 and np.isnan(result.g).all()


def test_unbounded_below_without_inf_reaches_a_limit():
    result = status_of(lambda x: (-bowl(x)[0], -bowl(x)[1]), maxfun=50, ftol=0.0)
    assert result.status == Status.MAXFUN and result.f < -1e10


def test_abnormal():
    """A gradient of the wrong sign: nothing lowers f, and x stays."""
    result = status_of(lambda x: (bowl(x)[0], -bowl(x)[1]))
    assert (result.status, result.nit) == (Status.ABNORMAL, 0)
    assert result.x.tolist() == [1.0, 2.0] and result.f == 5.0


def test_abnormal_later():
    """The gradient turns wrong at the first accepted point; -g is tried there as well, once."""
    searches = []

    def fun(x):
        f, g = bowl(x - 3.0)
        right = x.tolist() == [0.0, 0.0] or not searches
        if x.tolist() != [0.0, 0.0]:
            searches.append(x)
        return f, g if right else -g

    result = status_of(lambda x: fun(x), x0=(0.0, 0.0), gtol=0.0, ftol=0.0)
    assert result.status in (Status.ABNORMAL, Status.STALLED)
    assert result.f < 18.0


def test_no_finite_trial_is_abnormal():
    result = status_of(lambda x: (1.0, np.ones(2)) if x.tolist() == [1.0, 2.0] else (np.nan, np.ones(2)))
    # 17 steps of the search, the last of which still moves a coordinate by its last bit.
    assert (result.status, result.nit, result.nfev) == (Status.ABNORMAL, 0, 18)


def test_stalled_when_the_promise_is_below_the_noise():
    result = status_of(lambda x: (1.0, np.full(2, 1e-9)), gtol=0.0, ftol=0.0)
    assert (result.status, result.nit) == (Status.STALLED, 0)
    assert result.x.tolist() == [1.0, 2.0]


def test_a_slope_beyond_float64_drops_the_memory():
    """gamma = 2e100 meets a gradient of 1e110: p.g is -inf, and the next direction is -g / ||g||."""
    solver = Solver(np.zeros(2), maxls=400, gtol=0.0, ftol=0.0)
    while solver.result().nit == 0:
        x = solver.ask()
        solver.tell(-x[0], np.array([-0.5 if x[0] > 1e100 else -1.0, 0.0]))
    solver.tell(-10.0 * solver.ask()[0], np.array([-0.25, 1e110]))  # a step whose pair has no curvature to speak of
    assert solver.result().nit == 2 and len(solver.pairs()[0]) == 0
    assert (solver.ask() - solver.result().x)[1] == -1.0


@DTYPES
def test_stalled_at_the_bottom(dtype):
    """No tolerance at all: the run ends where f cannot tell its points apart, soon, and near the minimiser."""
    problem = by_name("chained_rosenbrock_10")

    def fun(x):
        f, g = problem.fun(x[None])
        return float(f[0] + dtype(1.0)), g[0]

    result = run(fun, np.full(10, 2.0, dtype), gtol=0.0, ftol=0.0)
    assert result.status == Status.STALLED and result.nfev < 200
    np.testing.assert_allclose(result.x, 1.0, atol=50 * float(np.finfo(dtype).eps) ** 0.5)


def test_maxiter():
    fun = one(by_name("rosenbrock").fun)
    for maxiter in range(6):
        result = status_of(fun, (-1.2, 1.0), maxiter=maxiter)
        assert (result.status, result.nit) == (Status.MAXITER, maxiter)
    assert result.nfev > 5


@DTYPES
@pytest.mark.parametrize("name", ["rosenbrock", "brown_badly_scaled", "log_domain_5", "meyer", "easom"])
def test_maxfun_is_never_exceeded(name, dtype):
    problem = by_name(name)
    free = run(one(problem.fun), problem.x0.astype(dtype), ftol=0.0, gtol=0.0, maxfun=60)
    for maxfun in range(26):
        result = run(one(problem.fun), problem.x0.astype(dtype), ftol=0.0, gtol=0.0, maxfun=maxfun)
        assert result.nfev <= max(maxfun, 1)
        if free.nfev > maxfun:
            assert (result.status, result.nfev) == (Status.MAXFUN, max(maxfun, 1))
        assert result.f == problem.fun(result.x[None])[0][0]


def test_converged_at_the_start_comes_before_limits():
    result = status_of(bowl, (0.0, 0.0), maxiter=0, maxfun=0)
    assert (result.status, result.nit, result.nfev) == (Status.CONVERGED_GRADIENT, 0, 1)


def test_converged_with_the_last_iteration():
    free = status_of(bowl)
    assert free.status == Status.CONVERGED_GRADIENT
    for limit in ({"maxiter": free.nit}, {"maxfun": free.nfev}):
        assert status_of(bowl, **limit).status == Status.CONVERGED_GRADIENT


def test_converged_gradient_is_inclusive():
    g = 2.0**-10
    assert status_of(lambda x: (1.0, np.array([g, -g])), gtol=g).status == Status.CONVERGED_GRADIENT
    assert (
        status_of(lambda x: (1.0, np.array([0.0, -g])), gtol=np.nextafter(g, 0.0)).status != Status.CONVERGED_GRADIENT
    )


@DTYPES
def test_converged_decrease_and_step(dtype):
    """Each holds for the last step, and for no step before it."""
    problem = by_name("rosenbrock")
    for options, status in (({"ftol": 1e-4}, Status.CONVERGED_DECREASE), ({"xtol": 1e-3}, Status.CONVERGED_STEP)):
        solver = Solver(problem.x0.astype(dtype), **({"gtol": 0.0, "ftol": 0.0} | options))
        seen = []
        while solver.running:
            solver.tell(*one(problem.fun)(solver.ask()))
            state = solver.result()
            if not seen or state.nit > seen[-1].nit:
                seen.append(state)
        assert state.status == status
        small = [
            a.f - b.f <= 1e-4 * max(abs(a.f), abs(b.f), 1.0) if "ftol" in options else np.abs(b.x - a.x).max() <= 1e-3
            for a, b in pairwise(seen)
        ]
        assert small == [False] * (len(small) - 1) + [True]


def test_stopped():
    solver = Solver(np.array([[1.0, 2.0], [0.0, 0.0], [3.0, 4.0]]))

    def fun(x):
        return (x * x).sum(axis=1), 2.0 * x

    advance(solver, fun, 2)
    before = solver.result()
    solver.stop()
    assert not solver.running and solver.live == 0 and solver.rows.tolist() == []
    result = solver.result()
    assert result.status.tolist() == [Status.STOPPED, Status.CONVERGED_GRADIENT, Status.STOPPED]
    assert result.x.tolist() == before.x.tolist() and result.nfev.tolist() == before.nfev.tolist()
    for call in (solver.ask, lambda: solver.tell(np.zeros(0), np.zeros((0, 2)))):
        with pytest.raises(RuntimeError, match="every member has finished"):
            call()


# ----------------------------------------------------------------------------------------------
# One member's trouble is its own


@DTYPES
@pytest.mark.parametrize("compact", [True, False])
def test_trouble_stays_with_its_member(dtype, compact):
    problem = by_name("chained_rosenbrock_5")
    healthy = some_starts(problem, 12, dtype)
    trouble = {
        1: lambda x, f, g: (np.nan, g),
        4: lambda x, f, g: (f, g * np.nan),
        5: lambda x, f, g: (-np.inf, g),
        8: lambda x, f, g: (f, -g),
        9: lambda x, f, g: (f, g) if (x == x0[9]).all() else (np.inf, g * np.nan),
        11: lambda x, f, g: (1.0, g * 0.0 + 1e-20),
        16: lambda x, f, g: (f * np.inf, g * np.inf),
    }
    well = np.array([b for b in range(19) if b not in trouble])
    x0 = np.empty((19, 5), dtype)
    x0[well] = healthy
    x0[list(trouble)] = problem.x0.astype(dtype)
    solver = Solver(x0, compact=compact, gtol=1e-30, ftol=1e-6, maxfun=80)
    while solver.running:
        x = solver.ask()
        f, g = problem.fun(x)
        for row, b in enumerate(solver.rows):
            if b in trouble:
                with np.errstate(all="ignore"):
                    f[row], g[row] = trouble[b](x[row], f[row], g[row])
        solver.tell(f, g)
    result = solver.result()
    assert_same(result[well], run(problem.fun, healthy, gtol=1e-30, ftol=1e-6, maxfun=80))
    assert dict(zip(trouble, result.status[list(trouble)].tolist(), strict=True)) == {
        1: Status.NONFINITE_START,
        4: Status.NONFINITE_START,
        5: Status.UNBOUNDED,
        8: Status.ABNORMAL,
        9: Status.ABNORMAL,
        11: Status.STALLED,
        16: Status.NONFINITE_START,
    }
    assert result.converged[well].all()
    assert result.failed.tolist() == list(trouble)


# ----------------------------------------------------------------------------------------------
# Domains, scales, sizes


@pytest.mark.parametrize("outside", [np.nan, np.inf])
@pytest.mark.parametrize("slope_outside", [np.nan, 0.0, 1.0])
@DTYPES
def test_a_domain_with_an_edge(outside, slope_outside, dtype):
    """sum 50 x - log x from (5, 8): the first steps point far outside."""

    def fun(x):
        if (x <= 0.0).any():
            return outside, np.full(2, slope_outside, dtype)
        return float((50.0 * x - np.log(x)).sum()), (50.0 - 1.0 / x).astype(dtype)

    result = run(fun, np.array([5.0, 8.0], dtype), gtol=1e-5 if dtype is np.float64 else 1e-2)
    assert result.converged, Status(result.status)
    np.testing.assert_allclose(result.x, 0.02, rtol=1e-3)
    assert result.nfev < 60


SCALES = (-480, -100, -1, 1, 100, 480)


@pytest.mark.parametrize("of_f", SCALES)
@pytest.mark.parametrize("name", ["rosenbrock", "wood", "beale"])
def test_f_in_any_unit(name, of_f):
    """f times a power of two, up to 1e144: the same steps, bit for bit, if H0 is given in these units."""
    problem = by_name(name)
    unit = 2.0**of_f
    plain = run(one(problem.fun), problem.x0, h0=np.full(problem.n, 2.0**-8), gtol=1e-8, ftol=0.0)

    def fun(x):
        f, g = one(problem.fun)(x)
        return unit * f, unit * g

    scaled = run(fun, problem.x0, h0=np.full(problem.n, 2.0**-8 / unit), gtol=1e-8 * unit, ftol=0.0)
    assert plain.converged
    assert scaled.x.tolist() == plain.x.tolist() and scaled.f == plain.f * unit
    assert (scaled.nit, scaled.nfev, scaled.status) == (plain.nit, plain.nfev, plain.status)


@pytest.mark.parametrize("of_x", SCALES)
@pytest.mark.parametrize("name", ["rosenbrock", "wood", "beale"])
def test_x_in_any_unit(name, of_x):
    problem = by_name(name)
    unit = 2.0**of_x
    plain = run(one(problem.fun), problem.x0, h0=np.full(problem.n, 2.0**-8), gtol=1e-8, ftol=0.0)

    def fun(x):
        f, g = one(problem.fun)(x / unit)
        return f, g / unit

    h0 = np.full(problem.n, 2.0**-8 * unit * unit)
    scaled = run(fun, problem.x0 * unit, h0=h0, gtol=1e-8 / unit, ftol=0.0)
    assert scaled.x.tolist() == (plain.x * unit).tolist() and scaled.f == plain.f
    assert (scaled.nit, scaled.nfev, scaled.status) == (plain.nit, plain.nfev, plain.status)


def test_f_in_large_units_without_a_diagonal():
    """The first step is along -g, 1 long, whatever the unit of a large f."""
    problem = by_name("wood")
    plain = run(one(problem.fun), problem.x0, gtol=1e-8, ftol=0.0)
    unit = 2.0**480
    scaled = run(lambda x: tuple(unit * z for z in one(problem.fun)(x)), problem.x0, gtol=1e-8 * unit, ftol=0.0)
    assert scaled.x.tolist() == plain.x.tolist() and scaled.nfev == plain.nfev and plain.converged


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-150, 1e150, 1e200, 1e300])
def test_scales_beyond_what_squares_hold(scale):
    """No promise that it gets there, but f never rises, and the member ends with a status."""
    problem = by_name("wood")

    def fun(x):
        f, g = one(problem.fun)(x)
        with np.errstate(all="ignore"):
            return float(np.float64(scale) * f), np.float64(scale) * g

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(fun, problem.x0, gtol=0.0, ftol=0.0, maxfun=300)
    assert result.status in FINAL and np.isfinite(result.x).all()
    assert result.f <= fun(problem.x0)[0]


@DTYPES
@pytest.mark.parametrize("name", ["sphere_1", "quartic_1", "styblinski_tang_1", "log_domain_1"])
def test_one_coordinate(name, dtype):
    problem = by_name(name)
    result = run(problem.fun, some_starts(problem, 20, dtype))
    assert (result.converged | (result.status == Status.STALLED)).all()
    nearest = np.abs(result.f[:, None] - np.array(problem.minima)).min(axis=1)
    assert (nearest <= 1e-3 * (1.0 + np.abs(result.f))).all()


@DTYPES
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_empty_batch(shape, dtype):
    solver = Solver(np.empty(shape, dtype))
    assert not solver.running and len(solver) == 0 and solver.rows.tolist() == []
    with pytest.raises(RuntimeError):
        solver.ask()
    result = solver.result()
    assert result.x.shape == result.g.shape == shape and result.x.dtype == dtype
    assert result.f.shape == result.nit.shape == result.nfev.shape == result.status.shape == shape[:-1]
    assert result.failed.tolist() == [] and result.calls == 0


@DTYPES
@each_small
def test_memory_longer_than_the_run(problem, dtype):
    """As long as nothing is dropped, its length does not matter, and its pairs are the steps."""
    x0 = problem.x0.astype(dtype)
    reference = run(one(problem.fun), x0, history=6, maxiter=6)
    for m in (7, 50):
        assert_same(reference, run(one(problem.fun), x0, history=m, maxiter=6))


def test_pairs_are_the_last_steps():
    problem = by_name("wood")
    for m in (1, 3, 100):
        solver = Solver(problem.x0, history=m)
        states = []
        while solver.running:
            solver.tell(*one(problem.fun)(solver.ask()))
            state = solver.result()
            if not states or state.nit > states[-1].nit:
                states.append(state)
            s, y = solver.pairs()
            last = states[-(m + 1) :]
            # All of Wood's steps have positive curvature, and no search fails.
            assert s.tolist() == np.diff([z.x for z in last], axis=0).reshape(-1, 4).tolist()
            assert y.tolist() == np.diff([z.g for z in last], axis=0).reshape(-1, 4).tolist()
        assert len(states) > 15 and solver.result().converged


@pytest.mark.parametrize("m", [1, 2, 5, 40])
def test_any_memory_solves(m):
    result = run(by_name("rosenbrock").fun, some_starts(by_name("rosenbrock"), 10, np.float64), history=m)
    assert result.converged.all()
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)


def test_a_slope_that_underflows_is_a_stall():
    # p.g = -1e-400 is no number: the gradient is right, and nothing can be done with it.
    solver = Solver(np.ones(2), gtol=0.0)
    solver.tell(1.0, np.full(2, 1e-200))
    assert solver.result().status == Status.STALLED


def test_a_search_cut_short_has_not_converged():
    solver = Solver(np.ones(2), maxfun=50)
    while solver.running:
        x = solver.ask()
        solver.tell(-(x**2).sum(), -2 * x)
    assert solver.result().status == Status.MAXFUN


def test_points_that_are_kept_stay_as_they_were():
    # The array of a point serves again only if nobody holds it: not itself, not a view of it.
    solver, kept = Solver(np.full(3, 2.0), gtol=1e-8), []
    while solver.running:
        x = solver.ask()
        kept.append((x[1:] if len(kept) % 2 else x, x.copy()))
        value = ((x - 1.0) ** 4).sum(), 4 * (x - 1.0) ** 3
        del x
        solver.tell(*value)
    assert len(kept) > 10
    for held, then in kept:
        np.testing.assert_array_equal(held, then[-held.size :])


@pytest.mark.parametrize("spoil", ["shape", "writeable"])
def test_a_spoilt_point_is_not_used_again(spoil):
    solver, twin = (Solver(np.full(4, 2.0), gtol=1e-8) for _ in range(2))
    while solver.running:
        x = solver.ask()
        np.testing.assert_array_equal(x, twin.ask())
        for each in (solver, twin):
            each.tell(((x - 1.0) ** 4).sum(), 4 * (x - 1.0) ** 3)
        if spoil == "shape":
            x.shape = (2, 2)
        else:
            x.flags.writeable = False
        del x


def test_a_float32_value_is_taken_as_it_is():
    values = [np.float32(2.5), np.float64(np.float32(2.5)), 2.5, np.array(2.5, np.float32)]
    points = []
    for value in values:
        solver = Solver(np.ones(3, np.float32))
        solver.tell(value, np.full(3, 0.5, np.float32))
        points.append(solver.ask())
    assert all(np.array_equal(point, points[0]) for point in points)


# ----------------------------------------------------------------------------------------------
# Rounding


CIRCLES = [
    ("chained_rosenbrock_10_thirds", np.float32),
    ("watson_6_small", np.float32),
    ("helical_valley_gay", np.float64),
    ("brown_dennis_gay", np.float64),
]


@pytest.mark.parametrize(("name", "dtype"), CIRCLES)
def test_a_run_in_a_circle_of_rounding_errors_ends_as_stalled(name, dtype):
    """f goes up and g down, then f down and g up, neither ever lower than before."""
    problem = next(each for each in (*PROBLEMS, *BOUNDED) if each.name == name)
    x0 = np.asarray(problem.x0, dtype)
    keywords = {}
    if np.isfinite([problem.lower, problem.upper]).any():
        lower, upper = (np.asarray(bound, dtype) for bound in (problem.lower, problem.upper))
        keywords = {"method": "L-BFGS-B", "bounds": Bounds(lower, upper)}

    def fun(x):
        f, g = problem.fun(x[None])
        return float(f[0]), g[0].astype(dtype)

    solver = Solver(x0, gtol=1e-16, ftol=0.0, maxfun=3000, **keywords)
    seen = []
    while solver.running:
        solver.tell(*fun(solver.ask()))
        if solver.accepted:
            r = solver.result()
            seen.append((r.f, solver.searches()[0].view(RECORD)["g_size"].item()))
    assert Status(solver.status) is Status.STALLED
    f, g = np.array(seen[-30:]).T
    noise = 10 * np.finfo(dtype).eps * abs(f[-1])
    assert min(f[:-1]) - min(f) <= noise and min(g) >= min(size for _, size in seen[:-29])


@pytest.mark.parametrize("method", ["L-BFGS", "BFGS", "L-BFGS-B"])
def test_steps_lost_in_the_rounding_of_x_are_none(method):
    """f and g contradict each other: f falls along p by a hair's breadth alone, again and again."""
    steepest = np.array([1.0, -0.5])
    x0, tilt = 1.0 + np.array([0.3, 0.2]), 1e-4 * steepest
    bounds = Bounds([-9.0, -9.0], [9.0, 9.0]) if method == "L-BFGS-B" else None

    def fun(x):  # the gradient has an error, as one by differences
        d = x - 1.0
        return float(d @ d) + 1e-8 * float(np.abs(d).sum()), 2.0 * d + tilt

    solver = Solver(x0, method=method, bounds=bounds, gtol=1e-9, ftol=0.0)
    while solver.running:
        before = solver.result().x
        solver.tell(*fun(solver.ask()))
        moved = np.abs(solver.result().x - before)
        assert moved.max() == 0.0 or (moved > 32 * np.finfo(float).eps * np.abs(before)).any()
    assert Status(solver.status) in (Status.ABNORMAL, Status.STALLED)
    assert solver.calls < 150
