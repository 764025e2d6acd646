"""The oracles for bounds and for BFGS themselves: by hand, by brute force, and against SciPy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from tests import oracle
from tests.oracle_box import (
    bfgs_dense,
    cauchy_point,
    dense_B,
    model,
    project,
    projected_gradient,
    solve,
    subspace_minimiser,
    subspace_step,
)

pytestmark = pytest.mark.filterwarnings("error")

EPS = float(np.finfo(np.longdouble).eps)
INF = np.inf

seeds = pytest.mark.parametrize("seed", range(40))


class Setting(NamedTuple):
    """A point inside a box, and a model there."""

    x: np.ndarray
    g: np.ndarray
    B: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def pairs(n: int, k: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return s and y (k, n) of a quadratic with condition number 100."""
    axes = np.linalg.qr(rng.standard_normal((n, n)))[0]
    s = rng.standard_normal((k, n))
    return s, s @ (axes * 10.0 ** rng.uniform(-1.0, 1.0, n)) @ axes.T


def setting(seed: int) -> Setting:
    """Draw a setting with bounds on both sides, on one or on none, at x, equal, and with a zero in g."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    B = np.asarray(dense_B(*pairs(n, int(rng.integers(0, 6)), rng)), dtype=np.float64)
    B = 0.5 * (B + B.T)
    x, g = rng.standard_normal(n), rng.standard_normal(n)
    lower, upper = x - rng.exponential(1.0, n), x + rng.exponential(1.0, n)
    kind = rng.integers(0, 8, n)
    lower[kind == 0] = -INF
    upper[kind <= 1] = INF
    lower[kind == 2] = x[kind == 2]
    upper[kind == 3] = x[kind == 3]
    g[kind == 4] *= rng.integers(0, 2)
    if seed % 3 == 0:
        lower[kind == 5] = upper[kind == 5] = x[kind == 5]
    return Setting(x, g, B, lower, upper)


def assert_inside(z: np.ndarray, at: Setting) -> None:
    assert np.all(at.lower <= z) and np.all(z <= at.upper)


# ----------------------------------------------------------------------------------------------
# The matrices


@pytest.mark.parametrize("k", [0, 1, 2, 5, 12])
def test_direct_update_is_the_inverse_of_the_product_form(k):
    s, y = pairs(6, k, np.random.default_rng(k))
    B, H = dense_B(s, y), oracle.dense(s, y)
    np.testing.assert_allclose(np.asarray(B @ H, dtype=float), np.eye(6), rtol=0.0, atol=1e4 * EPS)
    np.testing.assert_allclose(np.asarray(B - B.T, dtype=float), 0.0, atol=1e3 * EPS * float(np.abs(B).max()))


def test_direct_update_by_hand():
    np.testing.assert_array_equal(dense_B(np.zeros((0, 3)), np.zeros((0, 3))), np.eye(3))
    # theta = 20 / 4; along s = (2, 0) the curvature becomes that of y = (2, 4).
    B = dense_B(np.array([[2.0, 0.0]]), np.array([[2.0, 4.0]]))
    np.testing.assert_array_equal(B, [[1.0, 2.0], [2.0, 9.0]])


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_secant_equations(k):
    s, y = pairs(6, k, np.random.default_rng(k))
    newest = float(np.abs(dense_B(s, y) @ s[-1] - y[-1]).max())
    assert newest <= 1e3 * EPS * float(np.abs(y[-1]).max())
    newest = float(np.abs(bfgs_dense(s, y) @ y[-1] - s[-1]).max())
    assert newest <= 1e3 * EPS * float(np.abs(s[-1]).max())


@pytest.mark.parametrize("k", [1, 2, 5])
def test_bfgs_begins_with_the_first_pair(k):
    s, y = pairs(5, k, np.random.default_rng(k))
    first, newest = ((a @ b) / (b @ b) for a, b in ((s[0], y[0]), (s[-1], y[-1])))
    given = bfgs_dense(s, y, h0=first * np.eye(5))
    np.testing.assert_allclose(np.asarray(bfgs_dense(s, y) - given, dtype=float), 0.0, atol=1e-12)
    # With the newest pair in that place it is the matrix of L-BFGS.
    limited = bfgs_dense(s, y, h0=newest * np.eye(5)) @ dense_B(s, y)
    np.testing.assert_allclose(np.asarray(limited, dtype=float), np.eye(5), atol=1e-12)


def test_bfgs_without_pairs():
    none = np.zeros((0, 3))
    np.testing.assert_array_equal(bfgs_dense(none, none), np.eye(3))
    h0 = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 4.0]])
    np.testing.assert_array_equal(bfgs_dense(none, none, h0), h0)


def test_bfgs_knows_a_quadratic_after_n_conjugate_steps():
    # N&W Theorem 6.4: H is then the inverse of the Hessian, whatever H0.
    rng = np.random.default_rng(3)
    root = rng.standard_normal((6, 6)) + 3.0 * np.eye(6)
    A = root @ root.T
    s = np.linalg.inv(np.linalg.cholesky(A))  # its rows are conjugate: s A s' = I
    for h0 in (None, 0.3 * np.eye(6)):
        H = np.asarray(bfgs_dense(s, s @ A, h0), dtype=float)
        np.testing.assert_allclose(H @ A, np.eye(6), atol=1e-12)


# ----------------------------------------------------------------------------------------------
# The box


def test_projected_gradient_by_hand():
    x = np.array([0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 2.0, 7.0])
    g = np.array([3.0, -3.0, -0.2, 3.0, 0.3, -3.0, 0.3, -1e9, 1e9])
    lower = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, -INF])
    upper = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, INF])
    expected = [0.0, -1.0, -0.2, 0.5, 0.3, 0.0, 0.3, 0.0, 1e9]
    np.testing.assert_array_equal(projected_gradient(x, g, lower, upper).astype(float), expected)


@seeds
def test_projected_gradient_is_the_step_to_the_projection(seed):
    at = setting(seed)
    step = at.x - project(at.x - at.g, at.lower, at.upper)
    np.testing.assert_allclose(projected_gradient(at.x, at.g, at.lower, at.upper).astype(float), step, atol=1e-15)


def test_projected_gradient_does_not_cancel():
    g = projected_gradient(np.array([1e20]), np.array([1.0]), np.array([-INF]), np.array([INF]))
    assert g[0] == 1.0


# ----------------------------------------------------------------------------------------------
# The generalised Cauchy point


@seeds
def test_cauchy_point_is_the_first_valley_of_the_path(seed):
    at = setting(seed)
    x_c, _ = cauchy_point(*at)
    # Walk the path in small steps until the model rises.
    h = 1e-4 * max(1.0, 1.0 / float(np.linalg.norm(at.B)))
    valley, t = 0.0, 0.0
    lowest = 0.0
    for start in range(0, 10**7, 10**5):
        times = h * np.arange(start + 1, start + 1 + 10**5)
        z = project(at.x - times[:, None] * at.g, at.lower, at.upper) - at.x
        m = z @ at.g + 0.5 * np.einsum("ki,ij,kj->k", z, at.B, z)
        rising = np.flatnonzero(np.diff(np.r_[lowest, m]) >= 0.0)
        if rising.size:
            j = rising[0]
            valley, t = (lowest, times[0] - h) if j == 0 else (m[j - 1], times[j - 1])
            break
        lowest = m[-1]
    else:
        pytest.fail("the model never rises")
    scanned = project(at.x - t * at.g, at.lower, at.upper)
    assert float(np.abs(x_c - scanned).max()) <= 1.01 * h * float(np.abs(at.g).max(initial=0.0))
    reached = float(model(x_c, at.x, at.g, at.B))
    # The valley lies between two steps, and may be as sharp as a V where a coordinate arrives.
    assert valley - 2.0 * h * float(at.g @ at.g) <= reached <= valley + 1e-12


@seeds
def test_cauchy_point_keeps_to_the_box_to_the_bit(seed):
    at = setting(seed)
    x_c, fixed = cauchy_point(*at)
    assert_inside(x_c, at)
    rounded = x_c.astype(np.float64)
    assert_inside(rounded, at)
    np.testing.assert_array_equal(fixed, (rounded == at.lower) | (rounded == at.upper))
    np.testing.assert_array_equal(x_c[at.g == 0.0], at.x[at.g == 0.0])


def test_settings_are_of_every_kind():
    found = [(setting(seed), cauchy_point(*setting(seed)).fixed) for seed in range(40)]
    assert any(np.any(at.g == 0.0) for at, _ in found)
    assert any(np.any((at.x == at.lower) & (at.g < 0.0)) for at, _ in found)
    assert any(np.any((at.x == at.lower) & (at.g > 0.0)) for at, _ in found)
    assert any(np.any(at.lower == at.upper) for at, _ in found)
    assert any(np.any(np.isinf(at.lower)) for at, _ in found)
    assert any(fixed.all() for _, fixed in found) and any(not fixed.any() for _, fixed in found)
    assert sum(0 < fixed.sum() < fixed.size for _, fixed in found) >= 10


def test_cauchy_point_without_bounds_is_that_of_steepest_descent():
    rng = np.random.default_rng(0)
    B = dense_B(*pairs(5, 3, rng))
    x, g = rng.standard_normal(5), rng.standard_normal(5)
    x_c, fixed = cauchy_point(x, g, B, np.full(5, -INF), np.full(5, INF))
    g = g.astype(np.longdouble)
    np.testing.assert_allclose((x_c - (x - (g @ g) / (g @ B @ g) * g)).astype(float), 0.0, atol=10.0 * EPS)
    assert not fixed.any()


@pytest.mark.parametrize(
    ("lower", "upper", "expected", "fixed"),
    [
        # The valley of x + x**2 from x = 1 lies at -1/2.
        (-INF, INF, -0.5, False),
        (-2.0, INF, -0.5, False),
        (0.0, INF, 0.0, True),
        (-0.5, INF, -0.5, True),
        (1.0, 3.0, 1.0, True),
        (-3.0, 1.0, -0.5, False),
        (1.0, 1.0, 1.0, True),
    ],
)
def test_cauchy_point_of_a_parabola(lower, upper, expected, fixed):
    found = cauchy_point(np.array([1.0]), np.array([3.0]), np.array([[2.0]]), np.array([lower]), np.array([upper]))
    assert found.x_c[0] == expected
    assert found.fixed[0] == fixed


def test_cauchy_point_turns_a_corner():
    # From 0 along (2, 1): the first coordinate arrives at t = 1/2; the second goes on to where 1 = x_2.
    x_c, fixed = cauchy_point(
        np.zeros(2), np.array([-2.0, -1.0]), np.eye(2) * [1.0, 1.0], np.zeros(2), np.array([1.0, 9.0])
    )
    np.testing.assert_array_equal(x_c, [1.0, 1.0])
    np.testing.assert_array_equal(fixed, [True, False])


def test_cauchy_point_is_the_first_valley_not_the_deepest():
    at = Setting(
        np.zeros(2), np.array([-3.0, 3.0]), np.array([[4.5, 6.0], [6.0, 13.5]]), np.full(2, -2.0), np.full(2, 3.0)
    )
    x_c, _ = cauchy_point(*at)
    np.testing.assert_allclose(x_c.astype(float), [1.0, -1.0], atol=1e-15)
    assert model(x_c, at.x, at.g, at.B) == pytest.approx(-3.0)
    # Further on, where x_2 has arrived, there is a deeper one.
    further = project(-at.g, at.lower, at.upper)
    assert model(further, at.x, at.g, at.B) == -3.75


def test_cauchy_point_where_nothing_can_move():
    x, g = np.array([0.0, 1.0, 2.0]), np.array([1.0, -1.0, 5.0])
    found = cauchy_point(x, g, np.eye(3), np.array([0.0, 0.0, 2.0]), np.array([1.0, 1.0, 2.0]))
    np.testing.assert_array_equal(found.x_c, x)
    assert found.fixed.all()
    found = cauchy_point(x, np.zeros(3), np.eye(3), np.array([-1.0, 0.0, 0.0]), np.full(3, 3.0))
    np.testing.assert_array_equal(found.x_c, x)
    assert not found.fixed.any()


# ----------------------------------------------------------------------------------------------
# The subspace


def test_elimination():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((7, 7)) + 3.0 * np.eye(7)
    A, b = root @ root.T, rng.standard_normal(7)
    before = A.copy(), b.copy()
    x = solve(A, b)
    np.testing.assert_allclose(x.astype(float), np.linalg.solve(A, b), rtol=1e-12)
    assert float(np.abs(A @ x - b).max()) <= 1e2 * EPS * float(np.abs(A).max() * np.abs(x).max())
    np.testing.assert_array_equal((A, b)[0], before[0])
    np.testing.assert_array_equal((A, b)[1], before[1])


def bounded_minimum(at: Setting, free: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Return SciPy's minimiser of the model in the box, where only the free coordinates of `rest` may move."""
    r = at.g + at.B @ (rest - at.x)
    root = np.linalg.cholesky(at.B[np.ix_(free, free)])
    within = at.lower[free] - rest[free], at.upper[free] - rest[free]
    z = rest.copy()
    z[free] += lsq_linear(root.T, -np.linalg.solve(root, r[free]), within, tol=1e-14).x
    return z


@seeds
def test_subspace_minimiser_has_no_gradient_left(seed):
    at = setting(seed)
    x_c, fixed = cauchy_point(*at)
    x_hat = subspace_minimiser(at.x, x_c, at.g, at.B, fixed)
    np.testing.assert_array_equal(x_hat[fixed], x_c[fixed])
    gradient = at.g + at.B @ (x_hat - at.x)
    size = np.abs(at.B).sum() * float(np.abs(x_hat - at.x).max()) + np.abs(at.g).max()
    assert float(np.abs(gradient[~fixed]).max(initial=0.0)) <= 1e2 * EPS * size
    assert model(x_hat, at.x, at.g, at.B) <= model(x_c, at.x, at.g, at.B) + 1e2 * EPS


@seeds
def test_subspace_step_descends_inside_the_box(seed):
    at = setting(seed)
    x_c, fixed = cauchy_point(*at)
    x_bar, projected = subspace_step(at.x, x_c, at.g, at.B, fixed, at.lower, at.upper)
    assert_inside(x_bar, at)
    assert_inside(x_bar.astype(np.float64), at)
    np.testing.assert_array_equal(x_bar[fixed], x_c[fixed])
    if np.any(projected_gradient(at.x, at.g, at.lower, at.upper) != 0.0):
        assert at.g @ (x_bar - at.x) < 0.0
    if not projected:
        assert model(x_bar, at.x, at.g, at.B) <= model(x_c, at.x, at.g, at.B) + 1e2 * EPS


@seeds
def test_subspace_step_against_the_quadratic_program_of_scipy(seed):
    at = setting(seed)
    x_c, fixed = cauchy_point(*at)
    free = ~fixed
    if not free.any():
        x_bar, _ = subspace_step(at.x, x_c, at.g, at.B, fixed, at.lower, at.upper)
        np.testing.assert_array_equal(x_bar, x_c)
        return
    x_hat = subspace_minimiser(at.x, x_c, at.g, at.B, fixed).astype(float)
    x_bar = subspace_step(at.x, x_c, at.g, at.B, fixed, at.lower, at.upper).x_bar.astype(float)
    best = bounded_minimum(at, free, x_c.astype(float))
    lowest = float(model(best, at.x, at.g, at.B))
    if np.all(at.lower <= x_hat) and np.all(x_hat <= at.upper):
        np.testing.assert_array_equal(x_bar, x_hat)
        np.testing.assert_allclose(x_bar, best, rtol=1e-5, atol=1e-5)
        assert float(model(x_bar, at.x, at.g, at.B)) == pytest.approx(lowest, rel=1e-7, abs=1e-9)
    else:
        assert float(model(x_bar, at.x, at.g, at.B)) >= lowest - 1e-7 * max(1.0, abs(lowest))


def test_both_ends_of_the_comparison_with_scipy_are_met():
    inside = []
    for seed in range(40):
        at = setting(seed)
        x_c, fixed = cauchy_point(*at)
        x_hat = subspace_minimiser(at.x, x_c, at.g, at.B, fixed)
        inside.append(bool(np.all(at.lower <= x_hat) and np.all(x_hat <= at.upper)) and not fixed.all())
    assert 5 <= sum(inside) <= 35


def test_subspace_step_is_truncated_where_the_projection_does_not_descend():
    at = Setting(
        np.zeros(2), np.array([4.0, -6.0]), np.array([[2.5, -6.0], [-6.0, 18.5]]), np.array([-1.0, -3.0]), np.ones(2)
    )
    x_c, fixed = cauchy_point(*at)
    np.testing.assert_allclose(x_c.astype(float), np.array([-104.0, 156.0]) / 497.0, rtol=1e-15)
    assert not fixed.any()
    x_hat = subspace_minimiser(at.x, x_c, at.g, at.B, fixed).astype(float)
    np.testing.assert_allclose(x_hat, np.array([-152.0, -36.0]) / 41.0, rtol=1e-14)
    # The projection (-1, -36/41) lies uphill: -4 + 216/41 > 0. So x_1 = -1 ends the way from x_c.
    x_bar, projected = subspace_step(at.x, x_c, at.g, at.B, fixed, at.lower, at.upper)
    assert not projected
    share = (-1.0 + 104.0 / 497.0) / (-152.0 / 41.0 + 104.0 / 497.0)
    expected = [-1.0, 156.0 / 497.0 + share * (-36.0 / 41.0 - 156.0 / 497.0)]
    np.testing.assert_allclose(x_bar.astype(float), expected, rtol=1e-14)
    assert x_bar[0] == -1.0


def test_subspace_step_is_projected_where_that_descends():
    # Truncated, the way from x_c = (1, 1) to (4, 2) would end at (2, 4/3).
    x, g = np.zeros(2), np.array([-4.0, -4.0])
    B = np.array([[1.0, 0.0], [0.0, 2.0]])
    lower, upper = np.full(2, -9.0), np.array([2.0, 9.0])
    x_bar, projected = subspace_step(x, np.ones(2), g, B, np.zeros(2, dtype=bool), lower, upper)
    assert projected
    np.testing.assert_array_equal(x_bar, [2.0, 2.0])


@pytest.mark.parametrize(("descent", "projected"), [(0.0, True), (0.19, True), (0.21, False), (0.9, False)])
def test_subspace_step_may_ask_for_a_share_of_the_descent(descent, projected):
    # From 0 to the minimiser (1, 5) the slope is -11, and projected, to (1, 0.6), 0.2 of that.
    x, g, B = np.zeros(2), np.array([-1.0, -2.0]), np.diag([1.0, 0.4])
    lower, upper = np.full(2, -9.0), np.array([9.0, 0.6])
    x_bar, found = subspace_step(x, np.array([0.5, 0.5]), g, B, np.zeros(2, dtype=bool), lower, upper, descent)
    assert found == projected
    np.testing.assert_allclose(x_bar.astype(float), [1.0, 0.6] if projected else [0.5 + 0.1 / 9.0, 0.6], rtol=1e-14)


def test_without_bounds_the_step_is_that_of_l_bfgs():
    rng = np.random.default_rng(7)
    s, y = pairs(6, 4, rng)
    x, g = rng.standard_normal(6), rng.standard_normal(6)
    B, none = dense_B(s, y), np.full(6, INF)
    x_c, fixed = cauchy_point(x, g, B, -none, none)
    x_bar, projected = subspace_step(x, x_c, g, B, fixed, -none, none)
    assert projected
    p = -oracle.dense(s, y) @ g
    np.testing.assert_allclose((x_bar - x).astype(float), p.astype(float), rtol=1e-13, atol=1e-14)
