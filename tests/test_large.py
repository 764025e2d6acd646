"""Members of many coordinates: the direction from tables, in panels, by threads, and with pairs in float32."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

import fastbfgs
from fastbfgs import Options, Result, Solver, Status, cpu, kernels, threads
from tests import oracle
from tests.problems import PROBLEMS, by_name
from tests.test_lbfgs import gradient, pairs
from tests.test_machine import assert_same, one
from tests.test_native import by_ask_and_tell, capsule, through_python
from tests.test_tile import under

KINDS = {"float64": (np.float64, None), "float32": (np.float32, None), "float32 pairs": (np.float64, "float32")}
each_kind = pytest.mark.parametrize(("dtype", "rounded"), KINDS.values(), ids=KINDS)
# Blocks have 1,024 coordinates, panels are of whole blocks, 128 of them at most.
SIZES = [1, 2, 3, 5, 8, 13, 300, 1023, 1024, 1025, 2049, 3000]


@pytest.fixture(autouse=True)
def _all_are_large(monkeypatch):
    monkeypatch.setattr(cpu, "LARGE", 1)


def resumed(g, s, y, h0=None, rounded=None, **keywords) -> Solver:
    """Return a solver at 0 that has learnt the pairs (k, n), oldest first, and sets off from there with g."""
    x = np.zeros_like(g)
    result = Result(x, 0.0, g, 0, 1, Status.RUNNING, 1)
    return Solver.resume(result, (s, y), Options(gtol=0.0, pairs=rounded), h0=h0, workers=1, **keywords)


def quadratic(n: int, rng: np.random.Generator):
    """Return fun(x), a convex quadratic of condition 3,000 with its minimum at c."""
    d, c = np.exp(rng.uniform(0, 8, n)), rng.normal(size=n)

    def fun(x):
        r = x - c.astype(x.dtype)
        g = d.astype(x.dtype) * r
        return 0.5 * (g * r).sum(axis=-1), g

    return fun


def advanced(solver: Solver, fun, most: int = 10**9) -> Solver:
    for _ in range(most):
        if not solver.running:
            break
        solver.tell(*fun(solver.ask()))
    return solver


# ----------------------------------------------------------------------------------------------
# The direction


def minus_Hg(g, s, y, h0) -> np.ndarray:
    """Return p by Algorithm 7.4 in the longest floating-point type: the dense matrix takes minutes here."""
    q, s, y = (array.astype(np.longdouble) for array in (-g, s, y))
    sy = (s * y).sum(axis=1)
    a = np.zeros(len(s), np.longdouble)
    for j in reversed(range(len(s))):
        a[j] = s[j] @ q / sy[j]
        q -= a[j] * y[j]
    q *= sy[-1] / (y[-1] @ y[-1]) if h0 is None else h0.astype(np.longdouble)
    for j in range(len(s)):
        q += (a[j] - y[j] @ q / sy[j]) * s[j]
    return q


@each_kind
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("given", [False, True], ids=["gamma", "h0"])
def test_the_direction_is_minus_Hg(n, dtype, rounded, given):
    rng = np.random.default_rng([n, 41])
    h0 = (10.0 ** rng.uniform(-1, 1, n)).astype(dtype) if given else None
    for k in (1, 2, 5, 10):
        s, y = pairs(n, k, dtype, rng)
        g = gradient(n, dtype, rng)
        solver = resumed(g, s, y, h0, rounded)
        s, y = solver.pairs()
        p = solver.ask()
        assert p.dtype == dtype and len(s) == k
        expected = minus_Hg(g, s, y, h0)
        # The bound is of the recursion on vectors; sums over tables are of as many terms, k times over.
        assert (np.abs(p - expected) <= 2 * k * oracle.direction_error(g, s, y, h0)).all()


@each_kind
def test_the_secant_equation_holds(dtype, rounded):
    rng = np.random.default_rng(42)
    s, y = pairs(700, 6, dtype, rng)
    kept = resumed(y[-1], s, y, rounded=rounded).pairs()
    s, y = (array.copy() for array in kept)
    p = resumed(y[-1], s, y, rounded=rounded).ask()
    np.testing.assert_allclose(p, -s[-1], rtol=0, atol=200 * np.finfo(dtype).eps * np.abs(s[-1]).max())


def test_rounded_pairs_are_float32_numbers():
    rng = np.random.default_rng(43)
    s, y = pairs(50, 4, np.float64, rng)
    found_s, found_y = resumed(s[0], s, y, rounded="float32").pairs()
    assert found_s.dtype == found_y.dtype == np.float64
    np.testing.assert_array_equal(found_s, s.astype(np.float32))
    np.testing.assert_array_equal(found_y, y.astype(np.float32))


def test_a_pair_without_curvature_costs_no_other():
    """The ring is full; a search that may take one evaluation only takes a step along which the slope falls."""

    def fun(x):
        return float(-np.cosh(x).sum()), -np.sinh(x)

    rng = np.random.default_rng(45)
    s, y = pairs(30, 4, np.float64, rng)
    x = np.full(30, 0.1)
    f, g = fun(x)
    options = Options(gtol=0.0, ftol=0.0, maxls=1)
    solver = Solver.resume(Result(x, f, g, 0, 1, Status.RUNNING, 1), (s, y), options, workers=1)
    before = solver.pairs()
    solver.tell(*fun(solver.ask()))
    r = solver.result()
    assert r.nit == 1
    np.testing.assert_array_equal(solver.pairs(), before)
    p = solver.ask() - r.x
    np.testing.assert_allclose(p, -(oracle.dense(s, y) @ r.g).astype(float), rtol=1e-9, atol=1e-12 * np.abs(p).max())


# ----------------------------------------------------------------------------------------------
# Whole runs


@pytest.mark.parametrize(("dtype", "rounded"), [KINDS["float64"], KINDS["float32 pairs"]], ids=["float64", "rounded"])
@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.n <= 100], ids=lambda p: p.name)
def test_statuses_and_minima_are_those_of_other_members(problem, dtype, rounded, monkeypatch):
    def run(large: int, **keywords) -> Result:
        monkeypatch.setattr(cpu, "LARGE", large)
        x0 = problem.x0.astype(dtype)
        fun = one(problem.fun)
        return advanced(Solver(x0, maxfun=3000, workers=1, **keywords), lambda x: fun(x)).result()

    with np.errstate(all="ignore"):
        ours, theirs = run(1, pairs=rounded), run(10**9)
    small = Status.CONVERGED_GRADIENT, Status.CONVERGED_DECREASE, Status.STALLED, Status.MAXFUN
    assert Status(ours.status) is Status(theirs.status) or {ours.status, theirs.status} <= set(small)
    assert ours.f <= max(theirs.f, min(problem.minima)) + 1e-2 * (1.0 + abs(theirs.f)) or problem.minima[1:]


@each_kind
def test_accepted_steps_satisfy_wolfe(dtype, rounded):
    problem = by_name("extended_rosenbrock_100")
    fun, x0 = one(problem.fun), problem.x0.astype(dtype)
    solver = Solver(x0, gtol=0.0, ftol=0.0, maxiter=60, c1=1e-3, c2=0.9, pairs=rounded, workers=1)
    before = None
    steps = 0
    while solver.running:
        x = solver.ask()
        f, g = fun(x)
        if before is None:
            before = (x, f, g.astype(float))
        solver.tell(f, g.astype(dtype))
        if solver.accepted and steps < 30:  # before f can no longer tell its points apart
            r = solver.result()
            s = r.x.astype(float) - before[0].astype(float)
            slack = 4 * np.finfo(dtype).eps * (np.abs(r.x) @ np.abs(before[2]))
            assert r.f <= before[1] + 1e-3 * (s @ before[2]) + slack
            assert abs(s @ r.g.astype(float)) <= 0.9 * abs(s @ before[2]) + slack
            before = (r.x, r.f, r.g.astype(float))
            steps += 1
    assert steps == 30


SEVERAL_PANELS = 5000


@each_kind
def test_any_number_of_threads_gives_the_same_bits(dtype, rounded, monkeypatch):
    monkeypatch.setattr(cpu, "SHARED", 1)
    rng = np.random.default_rng(46)
    fun = quadratic(SEVERAL_PANELS, rng)
    x0 = rng.normal(size=SEVERAL_PANELS).astype(dtype)
    runs = [
        advanced(Solver(x0, workers=workers, maxiter=25, ftol=0.0, pairs=rounded), fun).result()
        for workers in (1, 2, 3, 7)
    ]
    assert runs[0].nit == 25
    for other in runs[1:]:
        assert_same(runs[0], other)


@each_kind
@pytest.mark.parametrize("workers", [1, 2, 8])
def test_batch_is_solo_and_permuted(dtype, rounded, workers, monkeypatch):
    monkeypatch.setattr(cpu, "SHARED", 1)
    rng = np.random.default_rng(47)
    fun = quadratic(SEVERAL_PANELS, rng)
    x0 = rng.normal(size=(4, SEVERAL_PANELS)).astype(dtype)
    keywords = {"workers": workers, "maxiter": 12, "ftol": 0.0, "pairs": rounded}

    def batch(x0):
        return advanced(Solver(x0, **keywords), lambda x: tuple(map(np.array, zip(*map(fun, x), strict=True)))).result()

    together, order = batch(x0), [2, 0, 3, 1]
    permuted = batch(x0[order])
    for name in ("x", "f", "g", "nit", "nfev", "status"):
        np.testing.assert_array_equal(getattr(together, name)[order], getattr(permuted, name))
    for b in range(4):
        alone = advanced(Solver(x0[b], **keywords), fun).result()
        np.testing.assert_array_equal(alone.x, together.x[b])
        assert (alone.nit, alone.nfev, alone.status) == (together.nit[b], together.nfev[b], together.status[b])


@each_kind
@pytest.mark.parametrize("compact", [False, True])
def test_saved_and_loaded_it_goes_on(dtype, rounded, compact, tmp_path):
    rng = np.random.default_rng(48)
    fun = quadratic(400, rng)
    x0 = rng.normal(size=(3, 400)).astype(dtype)
    keywords = {"gtol": 1e-3, "ftol": 0.0, "history": 5, "pairs": rounded, "compact": compact, "maxiter": 40}
    whole = advanced(Solver(x0, **keywords), fun).result()
    for times in (1, 2, 7, 20):
        advanced(Solver(x0, **keywords), fun, times).save(tmp_path / "state.npz")
        assert_same(advanced(Solver.load(tmp_path / "state.npz"), fun).result(), whole)


@each_kind
def test_resumed_it_goes_on(dtype, rounded):
    problem = by_name("extended_powell_100")
    x0 = problem.x0.astype(dtype)

    def fun(x):
        f, g = one(problem.fun)(x)
        return f, g.astype(dtype)

    options = Options(gtol=1e-4, ftol=0.0, maxiter=40, history=4, pairs=rounded)
    whole = advanced(Solver(x0, options), fun).result()
    for times in range(1, 30):
        solver = advanced(Solver(x0, options), fun, times)
        again = Solver.resume(solver.result(), solver.memories(), options, searches=solver.searches())
        assert_same(advanced(again, fun).result(), whole)


@each_kind
@pytest.mark.parametrize("shape", [(2100,), (6, 2100)])
def test_compiled_is_python(dtype, rounded, shape, monkeypatch):
    monkeypatch.setattr(cpu, "SHARED", 1)
    x0 = np.random.default_rng(49).uniform(-1, 1, shape).astype(dtype)
    keywords = {"maxiter": 50, "pairs": rounded}
    expected = by_ask_and_tell(Solver(x0, workers=1, **keywords), through_python(capsule(dtype), dtype))
    for workers in (1, 2, 8):
        solver = Solver(x0, workers=workers, **keywords)
        solver.run(capsule(dtype))
        assert_same(solver.result(), expected.result())


def digests() -> list[str]:
    """Return one digest for each kind, of a run over several panels."""
    found = []
    for dtype, rounded in KINDS.values():
        rng = np.random.default_rng(50)
        x0 = rng.normal(size=3001).astype(dtype)
        for h0 in (None, np.full(3001, 0.01, dtype)):
            solver = Solver(x0, workers=1, maxiter=30, ftol=0.0, pairs=rounded, h0=h0)
            r = advanced(solver, quadratic(3001, rng)).result()
            found.append(hashlib.sha256(r.x.tobytes() + r.g.tobytes()).hexdigest())
    return found


@pytest.mark.parametrize("instructions", kernels.AVAILABLE)
def test_every_instruction_set_gives_the_same_bits(instructions):
    done = under(
        instructions,
        "from fastbfgs import cpu, kernels; cpu.LARGE = 1; from tests.test_large import digests;"
        "print(kernels.INSTRUCTIONS, *digests())",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [instructions, *digests()]


# ----------------------------------------------------------------------------------------------
# Threads


def shared_run(x0, fun, **keywords) -> Solver:
    return Solver(x0, workers=3, maxiter=15, ftol=0.0, **keywords)


def test_help_that_never_comes_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(cpu, "SHARED", 1)
    rng = np.random.default_rng(51)
    fun, x0 = quadratic(SEVERAL_PANELS, rng), rng.normal(size=SEVERAL_PANELS)
    helped = advanced(shared_run(x0, fun), fun).result()
    asked = []
    monkeypatch.setattr(threads, "lend", lambda task, size: asked.append(size))
    assert_same(advanced(shared_run(x0, fun), fun).result(), helped)
    assert set(asked) == {2}


def test_where_no_thread_can_be_started_one_does_it_all(monkeypatch):
    monkeypatch.setattr(cpu, "SHARED", 1)
    rng = np.random.default_rng(54)
    fun, x0 = quadratic(SEVERAL_PANELS, rng), rng.normal(size=SEVERAL_PANELS)
    helped = advanced(shared_run(x0, fun), fun).result()

    def refuse(task, size):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "lend", refuse)
    assert_same(advanced(shared_run(x0, fun), fun).result(), helped)


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 30])
def test_an_interrupt_while_threads_are_called_breaks_nothing(at, monkeypatch):
    monkeypatch.setattr(cpu, "SHARED", 1)
    rng = np.random.default_rng(52)
    fun, x0 = quadratic(SEVERAL_PANELS, rng), rng.normal(size=SEVERAL_PANELS)
    whole = advanced(shared_run(x0, fun), fun).result()
    lend, calls = threads.lend, itertools.count(1)

    def interrupted(task, size):
        if next(calls) == at:
            raise KeyboardInterrupt
        lend(task, size)

    monkeypatch.setattr(threads, "lend", interrupted)
    solver = shared_run(x0, fun)
    with pytest.raises(KeyboardInterrupt):
        advanced(solver, fun)
    assert_same(advanced(solver, fun).result(), whole)


def test_one_problem_uses_threads_only_where_it_pays(monkeypatch):
    assert Solver(np.zeros(cpu.SHARED - 1)).workers == 1
    monkeypatch.setenv("FASTBFGS_NUM_THREADS", "5")
    assert Solver(np.zeros(cpu.SHARED)).workers == 5


# ----------------------------------------------------------------------------------------------
# What the option asks


def test_minimize_takes_the_option():
    fun = by_name("extended_rosenbrock_10").fun
    x0 = np.tile(by_name("extended_rosenbrock_10").x0, (3, 1))
    result = fastbfgs.minimize(fun, x0, jac=True, options={"pairs": "float32", "gtol": 1e-8, "ftol": 0.0})
    assert result.success.all() and result.fun.max() < 1e-12
    single = fastbfgs.minimize(one(fun), x0[0], jac=True, method="L-BFGS-B", options={"pairs": "float32"})
    assert single.hess_inv.todense().shape == (10, 10)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"pairs": "float16"}, r"pairs must be \"float32\".* or None; got 'float16' for method L-BFGS"),
        ({"pairs": "float32", "method": "BFGS"}, r"pairs must be \"float32\", for a method with a limited memory"),
        (
            {"pairs": "float32", "method": "L-BFGS-B", "bounds": [(0, 1)] * 2},
            r"pairs='float32' and bounds do not go together",
        ),
    ],
)
def test_what_it_cannot_be(keywords, message):
    with pytest.raises(ValueError, match=message):
        Solver(np.zeros(2), **keywords)


def test_float32_pairs_of_a_float32_problem_are_as_ever():
    rng = np.random.default_rng(53)
    fun, x0 = quadratic(50, rng), rng.normal(size=50).astype(np.float32)
    assert_same(
        advanced(Solver(x0, pairs="float32", maxiter=20), fun).result(), advanced(Solver(x0, maxiter=20), fun).result()
    )
