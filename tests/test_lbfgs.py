"""The direction against the matrix it stands for, and what it promises; and the sums under it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastbfgs.kernels import probe
from tests import oracle

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
SIZES = [*range(1, 38), 1000]
each_size = pytest.mark.parametrize("n", SIZES)


def hessian(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the diagonal and a direction of A = diag + u u', positive definite."""
    return 10.0 ** rng.uniform(-1, 1, n), rng.normal(size=n) / math.sqrt(n)


def pairs(n: int, k: int, dtype: type, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return s and y = A s, (k, n), of a quadratic: their curvature is positive."""
    diagonal, u = hessian(n, rng)
    s = rng.normal(size=(k, n)) * 10.0 ** rng.uniform(-2, 1, (k, 1))
    y = s * diagonal + np.outer(s @ u, u)
    return s.astype(dtype), y.astype(dtype)


def gradient(n: int, dtype: type, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=n).astype(dtype)


def assert_is_minus_Hg(found, g, s, y, h0=None):
    """Hold p and p.g against the dense matrix of these pairs; the tolerance is the computed bound, and no more."""
    p, slope, kept = found
    assert kept == len(s)
    assert p.dtype == g.dtype
    expected = -oracle.dense(s, y, h0) @ g.astype(np.longdouble)
    bound = oracle.direction_error(g, s, y, h0)
    assert (np.abs(p - expected) <= bound).all()
    exact = float(p.astype(np.longdouble) @ g.astype(np.longdouble))
    assert abs(slope - exact) <= (len(g) + 2) * 2.0**-52 * float(np.abs(p.astype(float)) @ np.abs(g.astype(float)))


# ----------------------------------------------------------------------------------------------
# The matrix


@DTYPES
@each_size
def test_direction_is_minus_Hg(n, dtype):
    rng = np.random.default_rng([n, 1])
    for k, m in ((0, 1), (1, 1), (1, 5), (3, 5), (5, 5), (10, 10)):
        s, y = pairs(n, k, dtype, rng)
        g = gradient(n, dtype, rng)
        assert_is_minus_Hg(probe.direction(g, s, y, m), g, s, y)


@DTYPES
@each_size
def test_ring_drops_the_oldest(n, dtype):
    rng = np.random.default_rng([n, 2])
    for k, m in ((2, 1), (5, 1), (4, 3), (6, 3), (7, 3), (25, 10)):
        s, y = pairs(n, k, dtype, rng)
        g = gradient(n, dtype, rng)
        found = probe.direction(g, s, y, m)
        assert_is_minus_Hg(found, g, s[-m:], y[-m:])
        np.testing.assert_array_equal(found[0], probe.direction(g, s[-m:], y[-m:], m)[0])


@DTYPES
@each_size
def test_a_given_diagonal_replaces_gamma(n, dtype):
    rng = np.random.default_rng([n, 3])
    for k, m in ((0, 2), (1, 2), (2, 2), (5, 3)):
        s, y = pairs(n, k, dtype, rng)
        g = gradient(n, dtype, rng)
        h0 = (10.0 ** rng.uniform(-2, 2, n)).astype(dtype)
        assert_is_minus_Hg(probe.direction(g, s, y, m, h0), g, s[-m:], y[-m:], h0)


@DTYPES
@each_size
def test_direction_is_the_recursion_bit_for_bit(n, dtype):
    """The slow two-loop recursion rounds where the kernel stores, and sums in the same lanes."""
    rng = np.random.default_rng([n, 4])
    for k, m, with_h0 in ((0, 2, False), (0, 2, True), (2, 3, False), (7, 3, False), (7, 3, True), (1, 1, True)):
        s, y = pairs(n, k, dtype, rng)
        g = gradient(n, dtype, rng)
        h0 = (10.0 ** rng.uniform(-2, 2, n)).astype(dtype) if with_h0 else None
        memory = oracle.Memory(m, float(np.finfo(dtype).eps), oracle.storage(np.dtype(dtype)))
        for s_k, y_k in zip(s.tolist(), y.tolist(), strict=True):
            memory.push(s_k, y_k)
        p = memory.times((-g).tolist(), None if h0 is None else h0.tolist())
        found, slope, kept = probe.direction(g, s, y, m, h0)
        assert found.tolist() == p
        assert slope == oracle.dot(p, g.tolist())
        assert kept == len(memory.pairs)


# ----------------------------------------------------------------------------------------------
# Which pairs enter


def spoiled(s: np.ndarray, y: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return pairs whose curvature cannot be trusted."""
    n = len(s)
    bad = {
        "negative curvature": (s, -y),
        "no step": (np.zeros_like(s), y),
        "no change": (s, np.zeros_like(y)),
        "both zero": (np.zeros_like(s), np.zeros_like(y)),
        "not a number": (s, np.full_like(y, np.nan)),
        "infinite": (s, np.full_like(y, np.inf)),
    }
    if s.dtype == np.float64:  # squares of float32 do not leave the range
        bad["1 / s.y overflows"] = (np.full_like(s, 1e-156), np.full_like(y, 1e-156))
        bad["s.y / y.y overflows"] = (np.full_like(s, 1e-20), np.full_like(y, 1e-250))
    if n > 1:
        s_flat, y_flat = np.zeros_like(s), np.zeros_like(y)
        s_flat[0] = 1.0
        y_flat[0], y_flat[1] = np.finfo(s.dtype).eps / 4, 1.0
        bad["cosine below the rounding unit"] = (s_flat, y_flat)
    return bad


@DTYPES
@pytest.mark.parametrize("n", [1, 2, 5, 8, 37])
def test_pairs_without_curvature_are_left_out(n, dtype):
    rng = np.random.default_rng([n, 5])
    m = 3
    for k in range(6):  # empty, half full, full and wrapped rings
        s, y = pairs(n, k, dtype, rng)
        g = gradient(n, dtype, rng)
        clean = probe.direction(g, s, y, m)
        for name, (s_bad, y_bad) in spoiled(*(v[0] for v in pairs(n, 1, dtype, rng))).items():
            for place in range(k + 1):
                both = [np.insert(a, place, b, axis=0) for a, b in ((s, s_bad), (y, y_bad))]
                found = probe.direction(g, *both, m)
                assert found[2] == min(k, m), (name, place)
                # Also the oldest pair of a full ring is still there.
                assert found[0].tolist() == clean[0].tolist() and found[1] == clean[1], (name, place)


@DTYPES
def test_the_curvature_rule_is_relative(dtype):
    """What counts is the cosine of s and y, whatever their length."""
    eps = np.finfo(dtype).eps
    g = np.array([1.0, 1.0], dtype)
    for scale_s in (1e-12, 1.0, 1e12):
        for scale_y in (1e-12, 1.0, 1e12):
            s = np.array([[scale_s, 0.0]], dtype)
            for cosine, kept in ((eps / 2, 0), (4 * eps, 1)):
                y = np.array([[scale_y * cosine, scale_y]], dtype)
                assert probe.direction(g, s, y, 1)[2] == kept


# ----------------------------------------------------------------------------------------------
# What it promises


@DTYPES
@each_size
def test_secant_equation(n, dtype):
    """H y = s for the newest pair, whatever came before."""
    rng = np.random.default_rng([n, 6])
    for k, m, with_h0 in ((1, 1, False), (3, 5, False), (8, 3, False), (8, 3, True)):
        s, y = pairs(n, k, dtype, rng)
        h0 = (10.0 ** rng.uniform(-2, 2, n)).astype(dtype) if with_h0 else None
        p, _, _ = probe.direction(y[-1], s, y, m, h0)
        assert (np.abs(p + s[-1].astype(float)) <= oracle.direction_error(y[-1], s[-m:], y[-m:], h0)).all()


@DTYPES
@each_size
def test_descends(n, dtype):
    rng = np.random.default_rng([n, 7])
    for k in (0, 1, 4, 12):
        s, y = pairs(n, k, dtype, rng)
        assert probe.direction(gradient(n, dtype, rng), s, y, 10)[1] < 0.0


@DTYPES
@pytest.mark.parametrize("n", [1, 3, 10, 37])
@pytest.mark.parametrize("k", [1, 3, 9])
def test_scale_free(n, k, dtype):
    """x times a power of two and f times another: the same pairs, and p scaled, bit for bit."""
    rng = np.random.default_rng([n, k, 8])
    s, y = pairs(n, k, dtype, rng)
    g = gradient(n, dtype, rng)
    p, slope, kept = probe.direction(g, s, y, 5)
    powers = (-40, -7, 0, 9, 40) if dtype is np.float64 else (-20, -7, 0, 9, 20)
    for of_x in powers:
        for of_f in powers:
            x, f = 2.0**of_x, 2.0**of_f
            scaled = probe.direction((g * dtype(f / x)), s * dtype(x), y * dtype(f / x), 5)
            assert scaled[0].tolist() == (p * dtype(x)).tolist()
            assert (scaled[1], scaled[2]) == (slope * f, kept)


# ----------------------------------------------------------------------------------------------
# The sums


@DTYPES
@pytest.mark.parametrize("n", [*SIZES, 4097])
def test_dot(n, dtype):
    """In the promised order bit for bit, and so within the bound of a sum in four lanes."""
    rng = np.random.default_rng([n, 9])
    for spread in (0.0, 3.0, 10.0):
        a, b = (rng.normal(size=(2, n)) * 10.0 ** rng.uniform(-spread, spread, (2, n))).astype(dtype)
        found, terms = probe.dot(a, b), (a.astype(float) * b.astype(float)).tolist()
        assert found == oracle.sum_in_lanes(terms)
        assert abs(found - math.fsum(terms)) <= (n // 4 + 4) * 2.0**-53 * math.fsum(map(abs, terms))


@DTYPES
@pytest.mark.parametrize("n", SIZES)
def test_norm(n, dtype):
    """Right to a few units at every scale that the dtype has."""
    rng = np.random.default_rng([n, 10])
    info = np.finfo(dtype)
    for magnitude in range(math.ceil(math.log10(info.tiny)) + 4, math.floor(math.log10(info.max)) - 2, 7):
        a = (rng.normal(size=n) * 10.0**magnitude).astype(dtype)
        found = probe.norm(a)
        assert found == oracle.norm(a.tolist())
        largest = float(np.abs(a).max())
        exact = largest * math.sqrt(math.fsum((float(z) / largest) ** 2 for z in a))
        assert abs(found - exact) <= (n + 8) * 2.0**-53 * exact


@DTYPES
def test_norm_of_nothing(dtype):
    assert probe.norm(np.zeros(5, dtype)) == 0.0
    assert probe.norm(np.array([0.0, -3.0, 4.0], dtype)) == 5.0
    largest = float(np.finfo(dtype).max)
    assert probe.norm(np.full(4, largest / 4.0, dtype)) == largest / 2.0
