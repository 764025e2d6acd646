"""Dense BFGS: its matrix against the formula, its runs bit for bit against the slow solver, and how they stop."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize._optimize import vecnorm

from fastbfgs import Options, Result, Solver, Status, threads
from fastbfgs.kernels.probe import Learnt
from tests import oracle
from tests.oracle_box import LONG, bfgs_dense
from tests.problems import PROBLEMS, Problem, by_name
from tests.test_box import pairs
from tests.test_machine import (
    DTYPES,
    advance,
    as_member,
    assert_is_the_oracle,
    assert_same,
    assert_takes_good_steps,
    one,
    some_starts,
)

INF = math.inf
EPS = 2.0**-52  # of the sums, whatever the dtype
SEEDS = range(80)
SMALL = [problem for problem in PROBLEMS if problem.n <= 12]
each_small = pytest.mark.parametrize("problem", SMALL, ids=lambda p: p.name)


def run(fun, x0, **keywords) -> Result:
    solver = Solver(x0, method="BFGS", **keywords)
    advance(solver, fun)
    return solver.result()


def positive_definite(n: int, dtype: type, rng: np.random.Generator) -> np.ndarray:
    root = rng.standard_normal((n, n))
    return (np.eye(n) + root @ root.T / n).astype(dtype)


class Drawn:
    """Pairs, a gradient, and every other time a given H0."""

    def __init__(self, seed: int, dtype: type) -> None:
        rng = np.random.default_rng([seed, 31])
        self.n, k = int(rng.integers(1, 30)), int(rng.integers(1, 15))
        condition = 10.0 ** rng.uniform(0, 3 if dtype is np.float32 else 6)
        self.s, self.y = (z.astype(dtype) for z in pairs(self.n, k, condition, rng))
        self.g = rng.standard_normal(self.n).astype(dtype)
        self.h0 = positive_definite(self.n, dtype, rng) if seed % 2 else None

    def learnt(self, k: int | None = None, grows: bool = False) -> Learnt:
        return Learnt(np.zeros_like(self.g), self.g, self.s[:k], self.y[:k], h0=self.h0, method="BFGS", grows=grows)


def matrix_of(member: Learnt, n: int) -> np.ndarray:
    """Return H (n, n) where bfgs.pxd keeps it."""
    return member.vectors[5 * n :].reshape(n, n)


def matrix_error(s: np.ndarray, y: np.ndarray, h0: np.ndarray | None = None, grows: bool = False) -> float:
    """Bound the rounding error of H after the pairs, in the Frobenius norm.

    Each update multiplies H by I - rho s y' from both sides, whose norm is one over the cosine of s and y, and rounds
    products of that size. What earlier ones have rounded does not grow: later updates project it.
    """
    error = sum(update_error(s, y, h0, k, grows) for k in range(1, len(s) + 1))
    return 2.0 * float(np.finfo(s.dtype).eps) * error


def update_error(s: np.ndarray, y: np.ndarray, h0: np.ndarray | None, k: int, grows: bool = False) -> float:
    """Return the size of what the update by pair k rounds, counted from 1."""
    before, after = (bfgs_dense(s[:j], y[:j], h0, grows) for j in (k - 1, k))
    if k == 1 and h0 is None:
        before = float(s[0] @ y[0]) / float(y[0] @ y[0]) * before
    s_k, y_k = s[k - 1].astype(float), y[k - 1].astype(float)
    cosine = (s_k @ y_k) / np.linalg.norm(s_k) / np.linalg.norm(y_k)
    before, after = (np.linalg.norm(np.asarray(H, float)) for H in (before, after))
    return float(before / cosine**2 + after)


def assert_is_minus_Hg(p: np.ndarray, slope: float, H: np.ndarray, g: np.ndarray) -> None:
    """Hold p and p.g against the matrix as it is stored."""
    size = np.abs(H.astype(float)) @ np.abs(g.astype(float))
    error = (len(g) + 2) * EPS * size + np.finfo(g.dtype).eps * np.abs(p)
    assert p.dtype == g.dtype
    assert (np.abs(p + H.astype(LONG) @ g.astype(LONG)) <= error).all()
    assert abs(slope - float(p.astype(LONG) @ g.astype(LONG))) <= (len(g) + 2) * EPS * float(np.abs(p) @ np.abs(g))


# ----------------------------------------------------------------------------------------------
# The matrix


@DTYPES
@pytest.mark.parametrize("grows", [False, True])
def test_matrix_is_that_of_the_formula(grows, dtype):
    grown = 0
    for seed in SEEDS:
        at = Drawn(seed, dtype)
        here = grows and at.h0 is None  # a given one does not
        H, formula = matrix_of(at.learnt(grows=grows), at.n), bfgs_dense(at.s, at.y, at.h0, here)
        error = float(np.linalg.norm((H - formula).astype(float)))
        assert error <= matrix_error(at.s, at.y, at.h0, here), seed
        assert H.tobytes() == H.T.tobytes(), seed
        grown += here and np.abs(formula - bfgs_dense(at.s, at.y)).max() > 0.1 * np.abs(formula).max()
    assert grown >= 10 * grows


@DTYPES
def test_secant_equation(dtype):
    for seed in SEEDS:
        at = Drawn(seed, dtype)
        for k in (1, len(at.s)):
            H = matrix_of(at.learnt(k), at.n).astype(LONG)
            error = float(np.linalg.norm((H @ at.y[k - 1] - at.s[k - 1]).astype(float)))
            # It is met by each update anew, so only the last one's rounding counts.
            size = update_error(at.s, at.y, at.h0, k) * float(np.linalg.norm(at.y[k - 1]))
            assert error <= 2.0 * float(np.finfo(dtype).eps) * size, (seed, k)


@DTYPES
def test_direction_is_minus_Hg(dtype):
    for seed in SEEDS:
        at = Drawn(seed, dtype)
        member = at.learnt()
        p, slope = member.direction()
        assert_is_minus_Hg(p, slope, matrix_of(member, at.n), at.g)
        assert slope < 0.0


@DTYPES
def test_before_the_first_pair(dtype):
    """-g, or -H0 g of a given H0."""
    for seed in SEEDS:
        at = Drawn(seed, dtype)
        p, slope = at.learnt(0).direction()
        if at.h0 is None:
            assert p.tolist() == (-at.g).tolist()
        else:
            assert_is_minus_Hg(p, slope, at.h0, at.g)


@DTYPES
def test_the_first_pair_scales_the_identity(dtype):
    """s.y / y.y I, across s and y; a given H0 stays as it is there."""
    s, y = np.zeros((2, 1, 4), dtype)
    s[0, :2], y[0, :2] = [1.0, 0.5], [4.0, 8.0]
    for h0, across in ((None, 8.0 / 80.0), (np.diag([1.0, 1.0, 3.0, 3.0]).astype(dtype), 3.0)):
        H = matrix_of(Learnt(np.zeros(4, dtype), s[0], s, y, h0=h0, method="BFGS"), 4)
        assert H[2:, 2:].tolist() == (dtype(across) * np.eye(2, dtype=dtype)).tolist()
        assert not H[:2, 2:].any()


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_matrix_grows_where_it_is_too_small(n, dtype):
    """Where s.y is more than y.Hy, in as many updates after the first as there are twice coordinates; never else."""
    axis = np.arange(n + 1) % n
    for ratio in (8.0, 0.125):  # of this and of the last s.y / y.y, along one axis after the other
        member, H = Learnt(np.zeros(n, dtype), np.ones(n, dtype), [], [], method="BFGS", grows=True), 1.0
        for k in range(2 * n + 3):
            s, y = np.zeros((2, n), dtype)
            s[axis[k % n]], y[axis[k % n]] = ratio**k, 1.0
            member.learn(s, y)
            H = np.diag(np.full(n, s.max())) if k == 0 else H.copy()
            if k:
                H *= max(1.0, s.max() / H[axis[k % n], axis[k % n]]) if k <= 2 * n else 1.0
                H[axis[k % n], axis[k % n]] = s.max()
            np.testing.assert_array_equal(matrix_of(member, n), H)


@DTYPES
def test_a_pair_without_curvature_leaves_the_matrix_as_it_was(dtype):
    """And the next direction comes from that matrix and the new gradient."""
    for seed in SEEDS[::4]:
        for drawn in (seed, seed + 1):
            at = Drawn(drawn, dtype)
            rng = np.random.default_rng([drawn, 32])
            nothing, s, y = np.zeros(at.n, dtype), at.s[0], at.y[0]
            for k in (0, len(at.s)):
                for bad in ((s, -y), (nothing, y), (s, nothing), (s, y * dtype(np.nan)), (s, y * dtype(np.inf))):
                    member = at.learnt(k)
                    before = matrix_of(member, at.n).copy()
                    g = rng.standard_normal(at.n).astype(dtype)
                    member.vectors[at.n : 2 * at.n] = g
                    member.learn(*bad)
                    p, slope = member.direction()
                    assert member.count == k
                    if k:
                        assert matrix_of(member, at.n).tobytes() == before.tobytes()
                        assert_is_minus_Hg(p, slope, before, g)
                    else:
                        assert_is_minus_Hg(p, slope, np.eye(at.n) if at.h0 is None else at.h0, g)


@DTYPES
def test_given_matrix_is_not_written_to(dtype):
    at = Drawn(1, dtype)
    kept = at.h0.copy()
    at.learnt()
    run(one(by_name("rosenbrock").fun), np.array([-1.2, 1.0], dtype), h0=kept[:2, :2])
    assert at.h0.tobytes() == kept.tobytes()


# ----------------------------------------------------------------------------------------------
# Whole runs


@DTYPES
@each_small
def test_runs_are_those_of_the_slow_solver(problem, dtype, monkeypatch):
    """Every point and the end, bit for bit."""
    monkeypatch.setattr(oracle, "Memory", oracle.DenseMemory)
    for x0 in some_starts(problem, 2, dtype):
        assert_is_the_oracle(one(problem.fun), x0, Options("BFGS", maxfun=40, gtol=1e-9, ftol=0.0))


def steps_of(solver: Solver, fun, most: int):
    """Run, and after each accepted step yield x and g from before it and after it."""
    before = None
    while solver.running and (before is None or solver.result().nit < most):
        nit = solver.result().nit
        solver.tell(*fun(solver.ask()))
        after = solver.result()
        if before is not None and after.nit > nit:
            yield before, after
        if before is None or after.nit > nit:
            before = after


@DTYPES
@pytest.mark.parametrize("given", [False, True], ids=["no H0", "H0"])
@pytest.mark.parametrize(
    "name", ["rosenbrock", "wood", "chained_rosenbrock_10", "beale", "quadratic_1e2_10", "sphere_1"]
)
def test_matrix_of_a_run_is_that_of_its_steps(name, given, dtype):
    problem = by_name(name)
    h0 = positive_definite(problem.n, dtype, np.random.default_rng(problem.n)) / dtype(100.0) if given else None
    solver = Solver(problem.x0.astype(dtype), method="BFGS", h0=h0, ftol=0.0, gtol=1e-4)
    start, grows = (np.eye(problem.n), True) if h0 is None else (h0, False)
    assert solver.inverse_hessian().tolist() == start.tolist()
    s, y = np.empty((2, 0, problem.n), dtype)
    for before, after in steps_of(solver, one(problem.fun), 12):
        s, y = np.r_[s, [after.x - before.x]], np.r_[y, [after.g - before.g]]
        assert s[-1] @ y[-1] > 0.0  # all of these steps teach something
        H = solver.inverse_hessian()
        assert H.dtype == dtype and H.tobytes() == H.T.tobytes()
        error = float(np.linalg.norm((H - bfgs_dense(s, y, h0, grows)).astype(float)))
        assert error <= matrix_error(s, y, h0, grows)
    assert len(s) >= min(problem.n, 4)


@DTYPES
@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.n <= 50], ids=lambda p: p.name)
def test_steps(problem, dtype):
    keywords = {"method": "BFGS", "maxfun": 80, "gtol": 1e-7, "ftol": 0.0}
    assert_takes_good_steps(problem, some_starts(problem, 2, dtype), 0.1, **keywords)


@DTYPES
def test_a_failed_search_forgets_the_matrix(dtype):
    """Then H is H0 again, and the next step goes along -H0 g; its pair scales the identity anew."""
    for h0 in (None, np.array([[2.0, 0.5], [0.5, 1.0]], dtype)):
        start = np.eye(2) if h0 is None else h0
        solver = Solver(np.zeros(2, dtype), method="BFGS", h0=h0, maxls=1)
        solver.tell(0.0, np.array([-0.5, -0.25], dtype))
        solver.tell(-1.0, np.array([-0.25, 0.125], dtype))
        assert solver.inverse_hessian().tolist() != start.tolist()
        solver.tell(9.0, np.array([1.0, 1.0], dtype))  # higher, and no second trial
        assert solver.running and solver.inverse_hessian().tolist() == start.tolist()
        at = solver.result()
        p = solver.ask() - at.x
        np.testing.assert_allclose(p, -start @ at.g, rtol=4 * np.finfo(dtype).eps)
        solver.tell(-2.0, np.array([-0.125, 0.0625], dtype))
        after = solver.result()
        assert after.nit == 2
        s, y = (after.x - at.x)[None], (after.g - at.g)[None]
        expected = bfgs_dense(s, y, h0).astype(float)
        np.testing.assert_allclose(solver.inverse_hessian(), expected, atol=matrix_error(s, y, h0))


def test_matrix_and_pairs():
    single, batch = Solver(np.zeros(3), method="BFGS"), Solver(np.zeros((2, 4, 3)), method="BFGS")
    assert single.inverse_hessian().tolist() == np.eye(3).tolist()
    assert batch.inverse_hessian().tolist() == np.broadcast_to(np.eye(3), (2, 4, 3, 3)).tolist()
    own = np.arange(1.0, 9.0).reshape(2, 4, 1, 1) * np.eye(3)
    assert Solver(np.zeros((2, 4, 3)), method="BFGS", h0=own).inverse_hessian().tolist() == own.tolist()
    shared = Solver(np.zeros((2, 4, 3)), method="BFGS", h0=own[1, 1]).inverse_hessian()
    assert shared.tolist() == np.broadcast_to(own[1, 1], own.shape).tolist()
    for solver in (single, batch):
        kept = solver.inverse_hessian()
        kept[...] = 0.0  # a copy
        assert solver.inverse_hessian().any()
        with pytest.raises(ValueError, match="BFGS remembers no pairs"):
            solver.pairs()
    for method in ("L-BFGS", "L-BFGS-B"):
        with pytest.raises(ValueError, match="no dense inverse Hessian"):
            Solver(np.zeros(3), method=method).inverse_hessian()


def test_members_that_have_not_begun_beside_some_that_have():
    """Each has its own H0, or what it has learnt."""
    problem = by_name("rosenbrock")
    x0 = np.array([[1.0, 1.0], [-1.2, 1.0], [2.0, 2.0]])  # the first one is the minimiser
    h0 = np.array([2.0, 1e-3, 1e-3])[:, None, None] * np.eye(2)
    solver = Solver(x0, method="BFGS", h0=h0)
    advance(solver, problem.fun)
    H = solver.inverse_hessian()
    assert H[0].tolist() == h0[0].tolist()
    for b in (1, 2):
        alone = Solver(x0[b], method="BFGS", h0=h0[b])
        advance(alone, one(problem.fun))
        assert H[b].tobytes() == alone.inverse_hessian().tobytes()


# ----------------------------------------------------------------------------------------------
# Solo = batch = permuted = any number of workers; interrupted and resumed = not interrupted


@DTYPES
@each_small
def test_solo_is_batch_is_permuted(problem, dtype):
    x0 = some_starts(problem, 5, dtype)
    options = Options("BFGS", maxfun=40)

    def end(fun, x, **keywords) -> Result:
        solver = Solver(x, options, **keywords)
        advance(solver, fun)
        return solver.result()

    batch = end(problem.fun, x0)
    order = np.array([3, 0, 4, 1, 2])
    assert_same(batch[order], end(problem.fun, x0[order]))
    assert_same(batch, end(problem.fun, x0, compact=False))
    for b in range(5):
        assert_same(batch[b], as_member(end(one(problem.fun), x0[b])))


@DTYPES
@pytest.mark.parametrize("given", [None, "shared", "each"])
@pytest.mark.parametrize("name, B", [("rosenbrock", 4200), ("chained_rosenbrock_10", 1800), ("trid_50", 170)])
def test_any_number_of_workers(name, B, given, dtype, monkeypatch):
    problem = by_name(name)
    x0, h0 = some_starts(problem, B, dtype), start_matrix(given, B, problem.n, dtype)
    parts_used = set()
    split = threads.run

    def spy(task, count, parts):
        parts_used.add(parts)
        return split(task, count, parts)

    monkeypatch.setattr(threads, "run", spy)
    reference = run(problem.fun, x0, h0=h0, workers=1, maxfun=30)
    assert not parts_used
    for workers, compact in ((2, True), (3, False)):
        assert_same(reference, run(problem.fun, x0, h0=h0, workers=workers, compact=compact, maxfun=30))
        assert max(parts_used) == workers
    for b in (0, B - 1):
        own = h0[b] if given == "each" else h0
        assert_same(reference[b], as_member(run(one(problem.fun), x0[b], h0=own, maxfun=30)))


def start_matrix(given: str | None, B: int, n: int, dtype: type) -> np.ndarray | None:
    """Return no H0, one for all, or one for each of B."""
    shared = positive_definite(n, dtype, np.random.default_rng(n)) / dtype(100.0)
    each = shared * np.geomspace(0.1, 10.0, B).astype(dtype)[:, None, None]
    return {None: None, "shared": shared, "each": each}[given]


@DTYPES
@pytest.mark.parametrize("given", [None, "shared", "each"])
@pytest.mark.parametrize("compact", [True, False])
def test_resumed_is_uninterrupted(tmp_path, dtype, given, compact):
    problem = by_name("wood")
    x0 = some_starts(problem, 4, dtype)
    x0[2] = 1.0  # the minimiser: finishes at once
    keywords = {"method": "BFGS", "h0": start_matrix(given, 4, 4, dtype), "compact": compact, "maxfun": 50}
    reference = Solver(x0, **keywords)
    calls = advance(reference, problem.fun)
    for k in range(calls + 1):
        solver = Solver(x0, **keywords)
        advance(solver, problem.fun, k)
        solver.save(tmp_path / "run.npz")
        resumed = Solver.load(tmp_path / "run.npz")
        assert_same(resumed.result(), solver.result())
        assert resumed.inverse_hessian().tobytes() == solver.inverse_hessian().tobytes()
        advance(resumed, problem.fun)
        assert_same(resumed.result(), reference.result())
        assert resumed.inverse_hessian().tobytes() == reference.inverse_hessian().tobytes()


@pytest.mark.parametrize("given", [False, True])
def test_resumed_batch_keeps_its_shape(tmp_path, given):
    """Also where the axes of the batch and of the matrix could be taken for each other."""
    problem = by_name("wood")
    x0 = some_starts(problem, 8, np.float64).reshape(2, 4, 4)
    h0 = start_matrix("each", 8, 4, np.float64).reshape(2, 4, 4, 4) if given else None

    def fun(x):
        f, g = problem.fun(x)
        return f, g

    reference, solver = (Solver(x0, method="BFGS", h0=h0, maxfun=40) for _ in range(2))
    advance(reference, fun)
    advance(solver, fun, 9)
    solver.save(tmp_path / "run.npz")
    resumed = Solver.load(tmp_path / "run.npz")
    advance(resumed, fun)
    assert_same(resumed.result(), reference.result())
    assert resumed.inverse_hessian().shape == (2, 4, 4, 4)


# ----------------------------------------------------------------------------------------------
# How runs stop


def path(problem: Problem, x0: np.ndarray, **keywords) -> tuple[list[Result], Result]:
    """Return where a run has been, the start first, and its end."""
    solver = Solver(x0, method="BFGS", ftol=0.0, **keywords)
    been: list[Result] = []
    while solver.running:
        solver.tell(*one(problem.fun)(solver.ask()))
        state = solver.result()
        if not been or state.nit > been[-1].nit:
            been.append(state)
    return been, state


@DTYPES
@pytest.mark.parametrize("norm", [1.0, 2.0, 3.5, INF, -INF, 0.5, -1.0])
@pytest.mark.parametrize("name", ["rosenbrock", "quadratic_1e2_10", "chained_rosenbrock_10"])
def test_norm_of_the_gradient(name, norm, dtype):
    """gtol is met at the end by SciPy's norm, and nowhere before."""
    problem = by_name(name)
    for gtol in (1.0, 1e-2):
        been, end = path(problem, problem.x0.astype(dtype), norm=norm, gtol=gtol)
        assert end.status == Status.CONVERGED_GRADIENT
        sizes = [float(vecnorm(state.g.astype(float), norm)) for state in been]
        assert sizes[-1] <= gtol * (1 + 8 * EPS) and min(sizes[:-1]) > gtol * (1 - 8 * EPS)


def test_norms_differ():
    g = np.array([3.0, -4.0, 0.5])
    sizes = {1.0: 7.5, 2.0: math.sqrt(25.25), INF: 4.0, -INF: 0.5, 3.5: (3.0**3.5 + 4.0**3.5 + 0.5**3.5) ** (1 / 3.5)}
    for norm, expected in sizes.items():
        for gtol, status in ((expected * (1 + 4 * EPS), 0), (expected * (1 - 4 * EPS), Status.RUNNING)):
            solver = Solver(np.zeros(3), method="BFGS", norm=norm, gtol=gtol)
            solver.tell(1.0, g)
            assert solver.result().status == status, (norm, gtol)


@DTYPES
@pytest.mark.parametrize("xrtol", [1e-1, 1e-2, 1e-4])
@pytest.mark.parametrize("name", ["rosenbrock", "wood", "quadratic_1e2_10", "chained_rosenbrock_10"])
def test_xrtol(name, xrtol, dtype):
    """SciPy's rule holds for the last step, and for none before."""
    problem = by_name(name)
    been, end = path(problem, problem.x0.astype(dtype), xrtol=xrtol, gtol=1e-30)
    assert end.status == Status.CONVERGED_STEP
    small = [
        float(vecnorm((b.x - a.x).astype(float))) <= xrtol * (xrtol + float(vecnorm(b.x.astype(float))))
        for a, b in pairwise(been)
    ]
    assert small == [False] * (len(small) - 1) + [True]


@DTYPES
@pytest.mark.parametrize("length, status", [(0.009, Status.CONVERGED_STEP), (0.011, Status.RUNNING)])
def test_xrtol_where_x_is_zero(length, status, dtype):
    """There a step of xrtol**2 is small."""
    solver = Solver(np.array([length, 0.0], dtype), method="BFGS", xrtol=0.1, ftol=0.0)
    solver.tell(1.0, np.array([length, 0.0], dtype))
    assert solver.ask().tolist() == [0.0, 0.0]
    solver.tell(0.5, np.array([0.0, 1e-3], dtype))
    assert solver.result().nit == 1 and solver.result().status == status


@DTYPES
def test_gradient_comes_before_step(dtype):
    solver = Solver(np.zeros(2, dtype), method="BFGS", xrtol=1e3, ftol=0.0)
    solver.tell(1.0, np.array([1.0, 0.0], dtype))
    solver.tell(0.5, np.zeros(2, dtype))
    assert solver.result().status == Status.CONVERGED_GRADIENT
