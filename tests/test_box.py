"""The directions of L-BFGS-B: against the dense formulas, within their rounding error, and what they promise."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import pytest

from fastbfgs.kernels.probe import Learnt
from tests.oracle_box import (
    LONG,
    Cauchy,
    Step,
    cauchy_point,
    dense_B,
    long,
    project,
    subspace_minimiser,
    subspace_step,
)

INF = np.inf
EPS = 2.0**-52  # of the sums, whatever the dtype
DESCENT = 0.2  # of box.pxd
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
SEEDS = range(400)


class Setting(NamedTuple):
    """A point within a box, and the pairs (k, n) that were learnt on the way there, oldest first."""

    x: np.ndarray
    g: np.ndarray
    s: np.ndarray
    y: np.ndarray
    m: int
    lower: np.ndarray
    upper: np.ndarray


def pairs(
    n: int, k: int, condition: float, rng: np.random.Generator, still: np.ndarray | slice = slice(0)
) -> tuple[np.ndarray, np.ndarray]:
    """Return s of several lengths and y = A s, (k, n); the coordinates `still` moved in none."""
    axes = np.linalg.qr(rng.standard_normal((n, n)))[0]
    s = rng.standard_normal((k, n)) * 10.0 ** rng.uniform(-2, 1, (k, 1))
    s[:, still] = 0.0
    return s, s @ (axes * condition ** rng.uniform(-0.5, 0.5, n)) @ axes.T


def setting(seed: int, dtype: type) -> Setting:
    """Draw one of any size, some coordinates at bounds, between two, at one, without any, or fixed."""
    rng = np.random.default_rng([seed, 11])
    n = int(rng.integers(1, 5 if seed % 4 == 0 else 41))
    m = int(rng.integers(1, 13))
    k = int(rng.integers(1, 2 * m + 1))
    kind = rng.integers(0, (8, 16, 50)[seed % 3], n)
    still = ((kind == 2) | (kind == 3)) & (rng.random(n) < 0.5)
    still[0] = False
    s, y = pairs(n, k, 10.0 ** rng.uniform(0, 3 if dtype is np.float32 else 6), rng, still)
    x = rng.standard_normal(n).astype(dtype)
    g = rng.standard_normal(n) * 10.0 ** rng.uniform(-1, 1)
    room = 10.0 ** rng.uniform(-2, 2)
    lower = (x - room * rng.exponential(1.0, n)).astype(dtype)
    upper = (x + room * rng.exponential(1.0, n)).astype(dtype)
    lower[kind == 0] = -INF
    upper[kind <= 1] = INF
    lower[kind == 2] = x[kind == 2]
    upper[kind == 3] = x[kind == 3]
    g[kind == 4] *= rng.integers(0, 2)
    if seed % 5 == 0:
        lower[kind == 5] = upper[kind == 5] = x[kind == 5]
    return Setting(x, g.astype(dtype), s.astype(dtype), y.astype(dtype), m, lower, upper)


def shut(seed: int, dtype: type) -> Setting:
    """Draw a small one with a narrow valley along which one bound stands in the way, so that projection may ascend."""
    rng = np.random.default_rng([seed, 13])
    n = int(rng.integers(2, 5))
    s, y = pairs(n, n + 2, 10.0 ** rng.uniform(2, 4), rng)
    x = rng.standard_normal(n)
    B = dense_B(s, y).astype(float)
    p = np.linalg.eigh(B)[1][:, 0] + 0.03 * rng.standard_normal(n)
    g = -B @ p
    lower, upper = np.full(n, -INF), np.full(n, INF)
    i = (g * p).argmin()
    (lower if p[i] < 0.0 else upper)[i] = x[i] + p[i] * rng.uniform(0.1, 0.9)
    return Setting(*(z.astype(dtype) for z in (x, g, s, y)), n + 2, lower.astype(dtype), upper.astype(dtype))


def learnt(at: Setting) -> Learnt:
    member = Learnt(at.x, at.g, at.s, at.y, at.m, box=np.stack([at.lower, at.upper]))
    assert member.count == min(len(at.s), at.m)
    return member


def resting(at: Setting) -> np.ndarray:
    """Return which coordinates are at a bound that -g leads out of."""
    return ((at.x <= at.lower) & (at.g >= 0.0)) | ((at.x >= at.upper) & (at.g <= 0.0))


class Truth(NamedTuple):
    """What the dense formulas say, and the condition of the matrix that `compact` factors."""

    B: np.ndarray
    cauchy: Cauchy
    minimiser: np.ndarray
    step: Step
    condition: float


def truth(at: Setting) -> Truth:
    s, y = at.s[-at.m :], at.y[-at.m :]
    B = dense_B(s, y)
    cauchy = cauchy_point(at.x, at.g, B, at.lower, at.upper)
    arguments = at.x, cauchy.x_c, at.g, B, cauchy.fixed
    step = subspace_step(*arguments, at.lower, at.upper, DESCENT)
    return Truth(B, cauchy, subspace_minimiser(*arguments), step, condition_of_compact(s, y))


@functools.cache
def drawn(seed: int, dtype: type) -> tuple[Setting, Truth]:
    at = setting(seed, dtype)
    return at, truth(at)


def condition_of_compact(s: np.ndarray, y: np.ndarray) -> float:
    """Return the condition of theta S'S + L D^-1 L', its diagonal scaled to 1: what Cholesky's method feels."""
    s, y = long(s, y)
    sy = s @ y.T
    L = np.tril(sy, -1)
    U = (y[-1] @ y[-1]) / sy[-1, -1] * (s @ s.T) + (L / np.diag(sy)) @ L.T
    size = np.sqrt(np.diag(U))
    return condition(U / np.outer(size, size))


def condition(A: np.ndarray) -> float:
    return float(np.linalg.cond(A.astype(float))) if A.size else 1.0


# ----------------------------------------------------------------------------------------------
# How far rounding may lead


def cauchy_error(at: Setting, true: Truth) -> np.ndarray:
    """Bound the error of each coordinate of x_c - x, as Algorithm CP computes it.

    The slope of the model along the path, and its own slope d.B d, are carried from breakpoint to breakpoint. Both
    began as sums over all the coordinates that moved then, and have the rounding errors of these.
    """
    p, free = (true.cauchy.x_c - at.x).astype(float), ~true.cauchy.fixed
    g = at.g.astype(float)
    d = np.where(free, -g, 0.0)
    error = np.finfo(at.x.dtype).eps * np.abs(p)
    curvature = float(d @ true.B @ d)
    if curvature > 0.0:
        moved = g[~resting(at)]
        t = np.max(np.abs(p[d != 0.0] / d[d != 0.0]))
        slopes = (moved @ moved) * (1.0 + t * float(np.abs(true.B).sum(axis=0).max()))
        error += 4.0 * EPS * true.condition * slopes / curvature * np.abs(d)
    return error + np.finfo(LONG).eps * np.abs(at.x)  # the oracle takes x_c - x


def step_error(at: Setting, true: Truth) -> np.ndarray:
    """Bound the error of each coordinate of the step, however it is computed: a recursion rounds with every pair."""
    eps, free = np.finfo(at.x.dtype).eps, ~true.cauchy.fixed
    p, p_c = (true.minimiser - at.x).astype(float), (true.cauchy.x_c - at.x).astype(float)
    spread = condition(true.B[np.ix_(free, free)]) * (np.linalg.norm(p) + np.linalg.norm(p_c))
    error = (2.0 + min(len(at.s), at.m)) * (eps + EPS * true.condition) * spread
    if not true.step.projected:
        # The share of the way is known as well as the coordinate that ends it, for all of them.
        way = (true.minimiser - true.cauchy.x_c).astype(float)
        room = (np.where(way < 0.0, at.lower, at.upper) - true.cauchy.x_c).astype(float)
        share = np.divide(room, way, out=np.full(len(way), INF), where=way != 0.0)
        if way.any():
            error *= 1.0 + np.abs(way) / abs(way[share.argmin()])
    return error + eps * np.abs((true.step.x_bar - at.x).astype(float)) + np.finfo(LONG).eps * np.abs(at.x)


def assert_near(found: np.ndarray, expected: np.ndarray, error: np.ndarray, what: object) -> None:
    assert (np.abs(found - expected) <= error).all(), (what, np.abs(found - expected) / error)


# ----------------------------------------------------------------------------------------------
# Against the formulas


@DTYPES
def test_cauchy_point(dtype):
    for seed in SEEDS:
        at, true = drawn(seed, dtype)
        member = learnt(at)
        p, _ = member.direction("cauchy")
        np.testing.assert_array_equal(member.rests, true.cauchy.fixed, err_msg=f"seed {seed}")
        assert_near(p, true.cauchy.x_c - at.x, cauchy_error(at, true), seed)
        # A coordinate that rests is on its bound: the step there is exact, but for its own rounding.
        np.testing.assert_array_equal(p[member.rests], (true.cauchy.x_c - at.x).astype(dtype)[member.rests])


@DTYPES
@pytest.mark.parametrize("way", ["subspace", ""], ids=["always Algorithm CP", "where it is uncertain"])
def test_step(way, dtype):
    for seed in SEEDS:
        at, true = drawn(seed, dtype)
        p, slope = learnt(at).direction(way)
        assert_near(p, true.step.x_bar - at.x, step_error(at, true), (seed, true.step.projected))
        assert np.isfinite(slope)


@DTYPES
def test_step_that_is_cut_short(dtype):
    """Both where the projection does not descend, and where it descends by too little."""
    uphill = too_little = 0
    for seed in range(500):
        at = shut(seed, dtype)
        true = truth(at)
        if true.step.projected:
            continue
        for way in ("", "subspace"):
            member = learnt(at)
            p, slope = member.direction(way)
            assert_near(p, true.step.x_bar - at.x, step_error(at, true), (seed, way))
            assert_promises(at, member, p, slope, (seed, way))
        descends = at.g @ (project(true.minimiser, at.lower, at.upper) - at.x) < 0.0
        uphill += not descends
        too_little += descends
    assert uphill > 5 < too_little


@DTYPES
def test_dual_is_the_minimiser_over_the_coordinates_that_do_not_rest(dtype):
    without_columns = 0
    for seed in SEEDS:
        at, true = drawn(seed, dtype)
        member, rest = learnt(at), resting(at)
        moved = rest & (at.s[-at.m :] != 0.0).any(axis=0)
        if moved.sum() > member.columns_at_most:
            continue
        p, _ = member.direction("dual")
        without_columns += bool(rest.any() and not moved.any())
        expected = subspace_minimiser(at.x, at.x, at.g, true.B, rest) - at.x
        size = float(np.linalg.norm(expected.astype(float)))
        assert_near(p, expected, 2.0 * np.finfo(dtype).eps * condition(true.B) * size + 1e-18, seed)
        assert (p[rest] == 0.0).all()
    assert without_columns >= 10


@DTYPES
def test_dual_says_if_it_has_too_few_columns(dtype):
    rng = np.random.default_rng(17)
    n = 30
    s, y = (z.astype(dtype) for z in pairs(n, 5, 10.0, rng))
    x, g = np.ones(n, dtype), rng.exponential(1.0, n).astype(dtype)
    for more in (0, 1):
        lower = np.full(n, -1e9, dtype)
        lower[: Learnt(x, g, s, y, box=np.stack([lower, -lower])).columns_at_most + more] = 1.0
        _, slope = Learnt(x, g, s, y, box=np.stack([lower, np.full(n, INF, dtype)])).direction("dual")
        assert np.isnan(slope) == bool(more)


@DTYPES
def test_settings_are_of_every_kind(dtype):
    found = [drawn(seed, dtype) for seed in SEEDS]
    at_once = [resting(at) for at, _ in found]
    fixed = [true.cauchy.fixed for _, true in found]
    assert {len(at.x) for at, _ in found} == set(range(1, 41))
    assert {at.m for at, _ in found} == set(range(1, 13))
    assert sum(len(at.s) > at.m for at, _ in found) >= 100 <= sum(len(at.s) < at.m for at, _ in found)
    assert sum(len(at.s) > len(at.x) for at, _ in found) >= 50
    assert sum(bool(np.any((at.x == at.lower) & (at.g < 0.0))) for at, _ in found) >= 50
    assert sum(bool(np.any((at.x == at.upper) & (at.g > 0.0))) for at, _ in found) >= 50
    assert sum(bool(np.any(at.lower == at.upper)) for at, _ in found) >= 10
    assert sum(bool(np.any(at.g == 0.0)) for at, _ in found) >= 20
    assert sum(f.all() for f in fixed) >= 10 and sum(not f.any() for f in fixed) >= 10
    assert sum((f == a).all() for f, a in zip(fixed, at_once, strict=True)) >= 50
    assert sum((f != a).any() and not f.all() for f, a in zip(fixed, at_once, strict=True)) >= 100
    inside = [bool(np.all(project(true.minimiser, at.lower, at.upper) == true.minimiser)) for at, true in found]
    assert sum(inside) >= 50 and sum(not z for z in inside) >= 100


@DTYPES
def test_algorithm_cp_is_left_out_only_where_it_would_find_the_same_coordinates(dtype):
    """The certificate, on members too many for the slow oracle: Algorithm CP itself, proven above, says who rests."""
    left_out = run_through = 0
    for seed in range(2000):
        at = setting(seed + 1000, dtype)
        member, rest = learnt(at), resting(at)
        p, _ = member.direction()
        full, _ = member.direction("subspace")
        member.direction("cauchy")
        rests = member.rests
        short, slope = member.direction("dual") if rest.any() else Learnt(*at[:5]).direction()
        if not np.isnan(slope) and p.tolist() == within(at, short).tolist() and p.tolist() != full.tolist():
            left_out += 1
            np.testing.assert_array_equal(rests, rest, err_msg=f"seed {seed}")
            continue
        run_through += 1
        assert p.tolist() == full.tolist(), seed
    assert left_out > 300 < run_through


def within(at: Setting, p: np.ndarray) -> np.ndarray:
    """Return p with no coordinate longer than leads to its bound."""
    z = at.x + p
    return np.where(z < at.lower, at.lower - at.x, np.where(z > at.upper, at.upper - at.x, p))


# ----------------------------------------------------------------------------------------------
# What a direction promises


def assert_promises(at: Setting, member: Learnt, p: np.ndarray, slope: float, what: object) -> None:
    x, g, eps = at.x.astype(float), at.g.astype(float), float(np.finfo(at.x.dtype).eps)
    assert p.dtype == at.x.dtype and np.isfinite(p).all(), what
    # x + p is in the box, but for a rounding of its own: that is taken off where the point is formed (`step_to`).
    assert (x + p >= at.lower - eps * (np.abs(x) + np.abs(at.lower))).all(), what
    assert (x + p <= at.upper + eps * (np.abs(x) + np.abs(at.upper))).all(), what
    assert (p[resting(at)] == 0.0).all(), what
    exact = float(p.astype(LONG) @ at.g.astype(LONG))
    assert abs(slope - exact) <= (len(g) + 2) * EPS * float(np.abs(p.astype(float)) @ np.abs(g)), what
    assert slope < 0.0 or not np.any(project(-g, at.lower - x, at.upper - x)), what
    longest = member.longest_step
    assert longest >= 1.0, what
    if longest < INF:
        step = longest * p.astype(float)
        slack = 2.0 * eps * (np.abs(x) + np.abs(step))
        assert (x + step >= at.lower - slack).all() and (x + step <= at.upper + slack).all(), what
        # And no longer: there some coordinate is on its bound.
        ends = np.where(p < 0.0, at.lower, at.upper) - (x + step)
        assert (np.abs(ends[p != 0.0]) <= slack[p != 0.0]).any(), what


@DTYPES
def test_promises(dtype):
    for seed in SEEDS:
        at, true = drawn(seed, dtype)
        member = learnt(at)
        for way in ("", "subspace"):
            p, slope = member.direction(way)
            assert_promises(at, member, p, slope, (seed, way))
            promised = float(at.g @ (true.minimiser - at.x))
            assert not true.step.projected or slope <= 0.99 * DESCENT * promised, (seed, way)


@DTYPES
def test_promises_without_pairs(dtype):
    """-g, as far as the box allows."""
    for seed in SEEDS:
        at = setting(seed, dtype)
        member = Learnt(at.x, at.g, at.s[:0], at.y[:0], at.m, box=np.stack([at.lower, at.upper]))
        p, slope = member.direction()
        assert_promises(at, member, p, slope, seed)
        assert p.tolist() == within(at, -at.g).tolist()


@DTYPES
def test_a_coordinate_at_rest_does_not_end_the_ray(dtype):
    """However small its g_i is, compared with x_i."""
    x, g = np.array([1.0, 0.0], dtype), np.array([1e-20, -1.0], dtype)
    box = np.array([[1.0, -9.0], [INF, 5.0]], dtype)
    for k in (0, 2):
        s = np.eye(2, dtype=dtype)[:k]
        member = Learnt(x, g, s, s, box=box)
        p, _ = member.direction()
        assert p.tolist() == [0.0, 1.0] and member.longest_step == 5.0


@DTYPES
def test_only_the_last_pairs_count(dtype):
    """The tables stand by slot of the ring: what a slot held before has left nothing in them."""
    for seed in SEEDS:
        at = setting(seed, dtype)
        last = at._replace(s=at.s[-at.m :], y=at.y[-at.m :])
        for way in ("", "subspace"):
            p, slope = learnt(at).direction(way)
            again, slope_again = learnt(last).direction(way)
            assert (p.tolist(), slope) == (again.tolist(), slope_again), (seed, way)


@DTYPES
def test_it_does_not_matter_when_the_tables_are_brought_up_to_date(dtype):
    for seed in SEEDS[::4]:
        at = setting(seed, dtype)
        rng = np.random.default_rng([seed, 12])
        member = Learnt(at.x, at.g, at.s[:0], at.y[:0], at.m, box=np.stack([at.lower, at.upper]))
        for k in range(1, len(at.s) + 1):
            member.learn(at.s[k - 1], at.y[k - 1])
            if rng.integers(3) == 0:
                for way in ("subspace", "cauchy", ""):
                    p, slope = member.direction(way)
                    q, slope_q = learnt(at._replace(s=at.s[:k], y=at.y[:k])).direction(way)
                    assert (p.tolist(), slope) == (q.tolist(), slope_q), (seed, k)


@DTYPES
def test_scale_free(dtype):
    """x times a power of two and f times a power of four: p is scaled, bit for bit."""
    units = [(-20, 0), (9, 30), (0, -20), (20, 20), (-11, -40)]
    if dtype is np.float64:
        units += [(0, 480), (0, -480), (100, 480), (-100, 300), (100, -200)]
    for seed in SEEDS[::4]:
        at = setting(seed, dtype)
        for of_x, of_f in units:
            x, f = dtype(2.0**of_x), dtype(2.0**of_f)
            scaled = Setting(at.x * x, at.g * (f / x), at.s * x, at.y * (f / x), at.m, at.lower * x, at.upper * x)
            for way in ("", "subspace", "cauchy"):
                p, slope = learnt(at).direction(way)
                q, slope_q = learnt(scaled).direction(way)
                assert (q.tolist(), slope_q) == ((p * x).tolist(), slope * f), (seed, of_x, of_f, way)


# ----------------------------------------------------------------------------------------------
# Constructed cases


def identity(x, g, lower, upper, dtype: type, m: int = 1) -> Setting:
    """Return the setting whose pair makes B the identity: every number on the path is exact."""
    x, g, lower, upper = (np.array(np.broadcast_to(z, len(g)), dtype) for z in (x, g, lower, upper))
    s = np.zeros((1, len(g)), dtype)
    s[0, -1] = 1.0
    return Setting(x, g, s, s.copy(), m, lower, upper)


CASES = {
    # x, g, lower, upper; then x_c - x, who rests there, and p
    "no bound": (0.0, [-1.0, 2.0, 0.5], -INF, INF, [1.0, -2.0, -0.5], [0, 0, 0], [1.0, -2.0, -0.5]),
    "no bound in reach": (0.0, [-1.0, 2.0, 0.5], -3.0, 3.0, [1.0, -2.0, -0.5], [0, 0, 0], [1.0, -2.0, -0.5]),
    "all breakpoints coincide": (0.0, [1.0, -1.0] * 3, -0.5, 0.5, [-0.5, 0.5] * 3, [1] * 6, [-0.5, 0.5] * 3),
    "two by two": (
        0.0,
        [-4.0, -1.0, -4.0, -1.0],
        -9.0,
        [1.0, 0.5, 1.0, 0.5],
        [1.0, 0.5, 1.0, 0.5],
        [1, 1, 1, 1],
        [1.0, 0.5, 1.0, 0.5],
    ),
    "all end at bounds": (
        0.0,
        [-8.0, 4.0, -2.0],
        -0.5,
        0.25,
        [0.25, -0.5, 0.25],
        [1, 1, 1],
        [0.25, -0.5, 0.25],
    ),
    "the valley is at a breakpoint": (0.0, [-1.0, -2.0], -9.0, [9.0, 2.0], [1.0, 2.0], [0, 1], [1.0, 2.0]),
    "the valley is at the last breakpoint": (0.0, [-1.0, -2.0], -9.0, [1.0, 2.0], [1.0, 2.0], [1, 1], [1.0, 2.0]),
    "only one can move": (
        [0.0, 1.0, 0.0, 1.0, 0.5],
        [3.0, -3.0, 1.0, -1.0, 0.25],
        0.0,
        1.0,
        [0.0, 0.0, 0.0, 0.0, -0.25],
        [1, 1, 1, 1, 0],
        [0.0, 0.0, 0.0, 0.0, -0.25],
    ),
    "nothing can move": ([0.0, 1.0], [3.0, -3.0], 0.0, 1.0, [0.0, 0.0], [1, 1], [0.0, 0.0]),
    "away from the bounds": ([0.0, 1.0], [-0.5, 0.5], 0.0, 1.0, [0.5, -0.5], [0, 0], [0.5, -0.5]),
    "from one bound to the other": ([0.0, 1.0], [-5.0, 5.0], 0.0, 1.0, [1.0, -1.0], [1, 1], [1.0, -1.0]),
    "no width": ([1.0, 0.0], [-5.0, -0.5], [1.0, -9.0], [1.0, 9.0], [0.0, 0.5], [1, 0], [0.0, 0.5]),
    "no slope at a bound": ([0.0, 0.0], [0.0, -0.5], 0.0, 9.0, [0.0, 0.5], [1, 0], [0.0, 0.5]),
    "no slope inside": ([1.0, 0.0], [0.0, -0.5], 0.0, 9.0, [0.0, 0.5], [0, 0], [0.0, 0.5]),
    "no slope at all": ([1.0, 2.0], [0.0, -0.0], 0.0, 9.0, [0.0, 0.0], [0, 0], [0.0, 0.0]),
    "one coordinate": (0.0, [-3.0], -1.0, 2.0, [2.0], [1], [2.0]),
    "one coordinate inside": (0.0, [3.0], -4.0, 2.0, [-3.0], [0], [-3.0]),
    "one coordinate without room": (0.0, [3.0], 0.0, 2.0, [0.0], [1], [0.0]),
}


@DTYPES
@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("case", CASES)
def test_cases(case, m, dtype):
    """By hand, where B = I: x_c is the projection of x - g, and nothing lies beyond."""
    x, g, lower, upper, x_c, rests, p = CASES[case]
    at = identity(x, g, lower, upper, dtype, m)
    member = learnt(at)
    assert member.direction("cauchy")[0].tolist() == x_c
    assert member.rests.tolist() == [bool(r) for r in rests]
    for way in ("subspace", ""):
        found, slope = member.direction(way)
        assert found.tolist() == p and slope == float(np.dot(p, g))
        assert_promises(at, member, found, slope, way)


@DTYPES
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_coordinate_without_slope_is_no_reason_for_algorithm_cp(zero, dtype):
    """Far from all bounds the direction is that without bounds, bit for bit."""
    for seed in SEEDS:
        at = setting(seed, dtype)
        at.g[::2] = zero
        far = at._replace(lower=np.full_like(at.x, -1e30), upper=np.full_like(at.x, 1e30))
        p, slope = learnt(far).direction()
        q, slope_q = Learnt(*at[:5]).direction()
        assert (p.tolist(), slope) == (q.tolist(), slope_q), seed


@DTYPES
def test_all_end_at_bounds_but_those_without_slope(dtype):
    """Nothing moves any more then, and the path must not go on by what rounding has left of its slope."""
    for seed in range(150):
        at = setting(seed, dtype)
        still = np.arange(len(at.x)) % 3 == 1
        at.g[still] = 0.0
        steep = np.abs(at.y[at.s != 0.0] / at.s[at.s != 0.0]).max(initial=1.0)
        near = np.abs(at.g) * dtype(1e-4) / steep.astype(dtype)
        at = at._replace(lower=np.where(still, -INF, at.x - near), upper=np.where(still, INF, at.x + near))
        at = at._replace(lower=at.lower.astype(dtype), upper=at.upper.astype(dtype))
        true = truth(at)
        assert (true.cauchy.fixed == ~still).all()
        for way in ("", "subspace"):
            p, _ = learnt(at).direction(way)
            assert_near(p, true.step.x_bar - at.x, step_error(at, true), (seed, way))


@DTYPES
def test_fewer_pairs_than_coordinates_or_more_agree_on_a_line(dtype):
    """In one dimension B is y / s of the last pair, and p the Newton step, as far as the box allows."""
    for seed in range(200):
        rng = np.random.default_rng([seed, 14])
        m, k = int(rng.integers(1, 6)), int(rng.integers(1, 9))
        s = rng.standard_normal((k, 1)).astype(dtype)
        y = (s * 10.0 ** rng.uniform(-2, 2, (k, 1))).astype(dtype)
        x, g = np.zeros(1, dtype), rng.standard_normal(1).astype(dtype)
        bounds = np.sort(rng.standard_normal((2, 1)) * [[1.0], [1.0]], axis=0).astype(dtype)
        lower, upper = np.minimum(bounds[0], x), np.maximum(bounds[1], x)
        at = Setting(x, g, s, y, m, lower, upper)
        newton = -g[0].astype(float) / (y[-1, 0].astype(float) / s[-1, 0])
        member = learnt(at)
        for way in ("", "subspace"):
            p, slope = member.direction(way)
            scale = 1.0 + float(np.ptp(y / s) / (y[-1] / s[-1])[0])  # products of curvatures cancel
            error = 4.0 * (np.finfo(dtype).eps + EPS * condition_of_compact(s[-m:], y[-m:])) * abs(newton) * scale
            assert abs(p[0] - np.clip(newton, lower[0], upper[0])) <= error, (seed, way)
            assert_promises(at, member, p, slope, seed)


# ----------------------------------------------------------------------------------------------
# Pairs that rounding spoils


def spoilt(seed: int, dtype: type) -> Setting:
    """Draw steps that are nearly parallel, and along which the curvature jumps."""
    rng = np.random.default_rng([seed, 15])
    n, m = int(rng.integers(1, 9)), int(rng.integers(1, 8))
    k = int(rng.integers(1, 2 * m + 1))
    s = rng.standard_normal(n) + 10.0 ** rng.uniform(-20, 0, (k, 1)) * rng.standard_normal((k, n))
    y = s * 10.0 ** rng.uniform(-12, 12, (k, 1)) * 10.0 ** rng.uniform(-1, 1, n)
    x, g = rng.standard_normal(n).astype(dtype), rng.standard_normal(n) * 10.0 ** rng.uniform(-12, 12)
    room = 10.0 ** rng.uniform(-12, 2, (2, n)) * (rng.uniform(size=(2, n)) < 0.8)
    lower, upper = (x - room[0]).astype(dtype), (x + room[1]).astype(dtype)
    return Setting(x, g.astype(dtype), s.astype(dtype), y.astype(dtype), m, lower, upper)


@DTYPES
def test_spoilt_pairs_give_a_step_in_the_box_or_none(dtype):
    """A slope that is not a number says that there is none."""
    none = 0
    for seed in range(1500):
        at = spoilt(seed, dtype)
        member = Learnt(at.x, at.g, at.s, at.y, at.m, box=np.stack([at.lower, at.upper]))
        if member.count == 0:
            continue
        for way in ("", "subspace"):
            p, slope = member.direction(way)
            none += np.isnan(slope)
            if slope < 0.0:  # else the machine does not take it
                assert_promises(at, member, p, slope, (seed, way))
    assert none > 10
