"""The test problems themselves: derivatives, batching, bounds and minima."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.optimize import Bounds, minimize

from tests.problems import BOUNDED, FAMILIES, MGH, PROBLEMS, Problem, by_name, starts

pytestmark = pytest.mark.filterwarnings("error")

EPS = float(np.finfo(np.float64).eps)

each_problem = pytest.mark.parametrize("problem", PROBLEMS + BOUNDED, ids=lambda p: p.name)
each_bounded = pytest.mark.parametrize("problem", BOUNDED, ids=lambda p: p.name)


def rng_of(problem: Problem) -> np.random.Generator:
    return np.random.default_rng([problem.n, *problem.name.encode()])


def value(problem: Problem, x: np.ndarray) -> float:
    return float(problem.fun(x[None])[0][0])


def has_bounds(problem: Problem) -> bool:
    return bool(np.isfinite(problem.lower).any() or np.isfinite(problem.upper).any())


def put_inside(problem: Problem, x: np.ndarray) -> np.ndarray:
    return np.clip(x, problem.lower, problem.upper)


def complex_step(problem: Problem, x: np.ndarray, rows: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient from ``f`` alone, and the Hessian from ``g``, by complex steps.

    The imaginary part of f(x + i h e_j) is h df/dx_j with a truncation error of relative size
    h**2, which is nothing for this h; there is no subtraction, so no cancellation either.
    """
    h = 1e-100
    gradient = np.empty(problem.n)
    hessian = np.empty((problem.n, problem.n))
    for first in range(0, problem.n, rows):
        j = np.arange(first, min(first + rows, problem.n))
        z = np.tile(x.astype(np.complex128), (j.size, 1))
        z[np.arange(j.size), j] += 1j * h
        f, g = problem.fun(z)
        gradient[j] = f.imag / h
        hessian[j] = g.imag / h
    return gradient, hessian


def assert_same_bits(a: np.ndarray, b: np.ndarray) -> None:
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))


# ----------------------------------------------------------------------------------------------
# The lists


def test_lists():
    assert len({p.fun for p in MGH}) == 35
    assert PROBLEMS == MGH + FAMILIES
    assert len(BOUNDED) >= 60
    names = [p.name for p in PROBLEMS + BOUNDED]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) for name in names)
    numbers = [int(re.match(r"MGH (\d+)", p.source)[1]) for p in MGH]
    assert sorted(set(numbers)) == list(range(1, 36))
    assert numbers == sorted(numbers)
    assert all(by_name(p.name) is p for p in PROBLEMS + BOUNDED)
    assert not any(has_bounds(p) for p in PROBLEMS)


@each_problem
def test_standard_start(problem):
    assert problem.x0.shape == (problem.n,)
    assert problem.x0.dtype == np.float64
    assert problem.minima and problem.source
    with pytest.raises(ValueError, match="read-only"):
        problem.x0[0] = 1.0
    f, g = problem.fun(put_inside(problem, problem.x0)[None])
    assert np.isfinite(f).all() and np.isfinite(g).all()


@each_bounded
def test_boxes(problem):
    for bound in (problem.lower, problem.upper):
        assert bound.shape == (problem.n,) and bound.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            bound[0] = 1.0
    assert np.all(problem.lower <= problem.upper)
    assert np.all(problem.lower < np.inf) and np.all(problem.upper > -np.inf)
    assert has_bounds(problem)


def test_boxes_are_of_every_kind():
    sizes = {p.n for p in BOUNDED}
    assert min(sizes) == 1 and max(sizes) >= 1000
    inside = [bool(np.array_equal(put_inside(p, p.x0), p.x0)) for p in BOUNDED]
    assert sum(inside) >= 20 and len(inside) - sum(inside) >= 20
    assert sum(np.all((p.x0 == p.lower) | (p.x0 == p.upper)) for p in BOUNDED) >= 10
    assert sum(np.all(p.lower == p.upper) for p in BOUNDED) == 2
    assert sum(np.any(p.lower == p.upper) for p in BOUNDED) >= 10
    assert sum(np.any(np.isinf(p.lower) != np.isinf(p.upper)) for p in BOUNDED) >= 20


def test_starts_stay_within_the_spread():
    problem = by_name("meyer")
    x = starts(problem, 50, 0.1, np.random.default_rng(1))
    assert x.shape == (50, 3)
    assert np.all(np.abs(x - problem.x0) <= 0.1 * np.abs(problem.x0) * (1.0 + EPS))
    np.testing.assert_array_equal(x, starts(problem, 50, 0.1, np.random.default_rng(1)))
    zero = starts(by_name("watson_6"), 20, 0.5, np.random.default_rng(2))
    assert 0.25 < np.abs(zero).max() <= 0.5
    small = starts(by_name("watson_6_small"), 20, 2.0, np.random.default_rng(2))
    assert np.abs(small).max() == 0.5


# ----------------------------------------------------------------------------------------------
# Values and derivatives

# f(x0), known from the initial norms that the MINPACK test drivers print, or by hand: this
# checks the data tables.
VALUES_AT_START = {
    "rosenbrock": 24.2,
    "freudenstein_roth": 400.5,
    "powell_badly_scaled": 1.0 + (np.exp(-1.0) - 1e-4) ** 2,
    "brown_badly_scaled": 999998000003.0,
    "beale": 14.203125,
    "jennrich_sampson": 4171.30616,
    "helical_valley": 2500.0,
    "bard": 6.456136**2,
    "gaussian": 3.888107e-6,
    "meyer": 41153.46655**2,
    "gulf": 12.11070,
    "box_3d": 32.11158**2,
    "powell_singular": 215.0,
    "wood": 19192.0,
    "kowalik_osborne": 0.07289151**2,
    "brown_dennis": 2815.438379**2,
    "osborne_1": 0.9375640**2,
    "biggs_exp6": 0.779070,
    "osborne_2": 1.446865**2,
    "watson_6": 30.0,
    "watson_9": 30.0,
    "extended_rosenbrock_10": 121.0,
    "extended_powell_12": 645.0,
    "penalty_1_4": 885.062640,
    "penalty_1_10": 148032.565,
    "penalty_2_4": 2.34000880,
    "penalty_2_10": 162.652777,
    "variably_dimensioned_10": 2198551.16,
    "trigonometric_10": 7.07576e-3,
    "brown_almost_linear_10": 16.53022**2,
    "chebyquad_8": 0.1965139**2,
}


@pytest.mark.parametrize("name", VALUES_AT_START)
def test_value_at_start(name):
    problem = by_name(name)
    assert value(problem, problem.x0) == pytest.approx(VALUES_AT_START[name], rel=1e-6)


@each_problem
def test_gradient_is_that_of_f(problem):
    # Rounding in g acts like changes of x by a few eps, relative to x and to constants of order
    # one (of order n = 10 in the trigonometric function), so it is at most a few eps of
    # |g_j| + sum_l |H_jl| max(1, |x_l|).  The largest ratio seen is 13, else 2.
    for x in [put_inside(problem, problem.x0), *starts(problem, 2, 0.1, rng_of(problem))]:
        g = problem.fun(x[None])[1][0]
        reference, hessian = complex_step(problem, x)
        assert np.isfinite(g).all()
        bound = np.abs(reference) + np.abs(hessian) @ np.maximum(1.0, np.abs(x))
        assert np.all(np.abs(g - reference) <= 16.0 * EPS * bound)
        # The Hessian comes from g: where g is a gradient, it is symmetric.
        scale = np.sqrt(np.outer(bound, bound))
        assert np.all(np.abs(hessian - hessian.T) <= 16.0 * EPS * scale)


@each_problem
def test_single_precision_is_kept(problem):
    x = np.vstack([put_inside(problem, problem.x0), starts(problem, 2, 0.1, rng_of(problem))]).astype(np.float32)
    f, g = problem.fun(x)
    assert f.dtype == g.dtype == np.float32
    assert f.shape == (3,) and g.shape == x.shape
    f64, g64 = problem.fun(x.astype(np.float64))
    assert f64.dtype == g64.dtype == np.float64
    # As above, but f also has the rounding errors of its terms, which may cancel.
    eps = float(np.finfo(np.float32).eps)
    size = np.maximum(1.0, np.abs(x))
    bound = np.abs(f64) + (np.abs(g64) * size).sum(axis=1) + problem.n
    assert np.all(np.abs(f - f64) <= 16.0 * eps * bound)


# ----------------------------------------------------------------------------------------------
# Batching


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@each_problem
def test_rows_are_independent(problem, dtype):
    rng = rng_of(problem)
    x = starts(problem, 7, 0.5, rng)
    x[5] = starts(problem, 1, 1e3, rng)[0]  # may overflow, which must not touch the other rows
    x = x.astype(dtype)
    f, g = problem.fun(x)
    for i in range(7):
        fi, gi = problem.fun(x[i : i + 1])
        assert_same_bits(fi, f[i : i + 1])
        assert_same_bits(gi, g[i : i + 1])
    order = rng.permutation(7)
    many = np.tile(order, 5)[:33]
    for rows in (order, order[:2], many):
        for layout in ("C", "F"):
            fr, gr = problem.fun(np.asarray(x[rows], order=layout))
            assert_same_bits(fr, f[rows])
            assert_same_bits(gr, g[rows])


@each_problem
def test_input_is_left_alone_and_no_rows_are_fine(problem):
    x = starts(problem, 3, 0.1, rng_of(problem))
    before = x.copy()
    f, g = problem.fun(x)
    np.testing.assert_array_equal(x, before)
    assert not np.shares_memory(g, x)
    assert g.flags.c_contiguous and g.flags.writeable
    f, g = problem.fun(x[:0])
    assert f.shape == (0,) and g.shape == (0, problem.n)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@each_problem
def test_far_points_are_quiet(problem, dtype):
    rng = rng_of(problem)
    signs = rng.choice([-1.0, 1.0], (4, problem.n))
    x = signs * np.array([[1e3], [1e30], [np.inf], [np.nan]])
    f, g = problem.fun(x.astype(dtype))  # warnings are errors here
    assert f.shape == (4,) and g.shape == (4, problem.n)
    assert np.isnan(f[3])


def test_log_domain_ends_at_zero():
    f, g = by_name("log_domain_5").fun(np.array([[0.1] * 4 + [-0.1], [0.1] * 4 + [0.0]]))
    assert np.isnan(f[0])
    assert f[1] == np.inf and g[1, -1] == -np.inf


# ----------------------------------------------------------------------------------------------
# Minima

# The first variables at the minimisers of the problems "qrtquad": every second one is large, or there is a gap.
QUARTICS = [
    (
        12,
        [
            [0.1, 10.0, 0.1, 10.0, 0.1, 10.0],
            [10.0, 0.1, 0.1, 10.0, 0.1, 10.0],
            [10.0, 0.1, 10.0, 0.1, 0.1, 10.0],
            [0.1, 10.0, 0.1, 0.1, 10.0, 0.1],
            [0.1, 10.0, 0.1, 10.0, 0.1, 0.1],
            [10.0, 0.1, 0.1, 10.0, 0.1, 0.1],
        ],
    ),
    (
        120,
        [
            [0.1, 10.0, 0.1, 0.1, 10.0, 0.1, 10.0, 0.1, 10.0, 0.1],
            [0.1, 10.0, 0.1, 10.0, 0.1, 0.1, 10.0, 0.1, 10.0, 0.1],
            [10.0, 0.1, 0.1, 10.0, 0.1, 0.1, 10.0, 0.1, 10.0, 0.1],
            [0.1, 10.0, 0.1, 10.0, 0.1, 10.0, 0.1, 0.1, 10.0, 0.1],
            [10.0, 0.1, 0.1, 10.0, 0.1, 10.0, 0.1, 0.1, 10.0, 0.1],
            [0.1, 10.0, 0.1, 10.0, 0.1, 10.0, 0.1, 10.0, 0.1, 0.1],
        ],
    ),
]

# Starts from which the minima are found that the standard start does not lead to.
OTHER_STARTS = {
    "freudenstein_roth": [[4.5, 3.5]],
    # For these two, the second minimum is at infinity.
    "bard": [[0.8406666666666667, -1e12, -1e12]],
    "kowalik_osborne": [[1e12, -14.07588322, -45.25719095e12, -28.23149657e12]],
    # For these two, the minimiser in the literature: solvers stop short of it.
    "powell_badly_scaled": [[1.098e-5, 9.106]],
    "meyer": [[0.00560963647, 6181.34635, 345.223635]],
    "biggs_exp6": [[1.0, 9.0, 1.0, 5.0, 4.0, 3.0]],
    "osborne_2": [[2.8, -1.5, 0.6, 0.5, 0.56, 0.36, 5.1, 2.4, -0.16, 5.6, 4.6]],
    "trigonometric_10": [
        [0.048, 0.049, 0.051, 0.052, 0.054, 0.056, 0.059, 0.186, 0.154, 0.125],
        [0.054, 0.055, 0.057, 0.059, 0.062, 0.258, 0.068, 0.073, 0.078, 0.084],
    ],
    "brown_almost_linear_10": [[0.0] * 9 + [11.0]],
    "chebyquad_10": [[0.07, 0.17, 0.29, 0.36, 0.47, 0.6, 0.63, 0.8, 0.84, 0.97]],
    "three_hump_camel": [[0.1, 0.1], [-1.75, 0.87]],
    "six_hump_camel": [[0.0, 0.7], [1.7, -0.8], [1.6, 0.57]],
    "goldstein_price": [[0.0, -0.9], [-0.6, -0.4], [1.8, 0.2], [1.2, 0.8]],
    "hartmann_3": [[0.11, 0.56, 0.85], [0.11, 0.86, 0.56], [0.37, 0.12, 0.27]],
    "hartmann_6": [[0.2, 0.15, 0.48, 0.28, 0.31, 0.66], [0.4, 0.88, 0.85, 0.57, 0.14, 0.04]],
    "chained_rosenbrock_5": [np.r_[-1.0, np.ones(4)]],
    "chained_rosenbrock_10": [np.r_[-1.0, np.ones(9)]],
    "chained_rosenbrock_100": [np.r_[-1.0, np.ones(99)]],
    "broyden_tridiagonal_1000": [np.full(1000, -0.7)],
    "extended_freudenstein_roth_4": [[4.5, 3.5, 4.5, 3.5], [4.5, 3.5, 11.0, -1.0]],
    # From the standard start, a step of scipy's solvers goes where the function is NaN.
    "log_domain_1": [np.full(1, 0.03)],
    "log_domain_5": [np.full(5, 0.03)],
    "log_domain_50": [np.full(50, 0.03)],
    **{f"styblinski_tang_{n}": [np.where(np.arange(n) < i, 2.7, -2.9) for i in range(n + 1)] for n in (1, 10, 100)},
    # With bounds. (From the start of HS 25, nothing that looks at the gradient moves.)
    "hs_2": [[1.2, 1.5]],
    "hs_5": [[2.6, 1.6]],
    "hs_25": [[40.0, 24.0, 1.4]],
    "powell_badly_scaled_gay": [[1.11e-5, 9.0]],
    "wood_gay": [[0.0, 0.0, -1.4, 1.9]],
    "biggs_exp6_gay": [[0.24, 0.05, 1.0, 4.5, 0.24, 5.0]],
    "eg1": [[-0.9, -0.3, 2.0]],
    "himmelp1": [[81.0, 69.0], [0.0, 1.0]],
    "palmer_4": [[18.0, 0.066, 0.006, 2.3]],
    "mixture": [[0.5, 0.23, 135.0, 210.0, 170.0, 14.0, 23.0, 12.0]],
    "gp_likelihood": [[-0.9, -0.6, -11.5], [-1.6, -3.1, -1.1], [-11.5, 8.7, -0.6]],
    "explin_12": [
        np.r_[2.3, 10.0, 3.4, 3.7, 10.0, 3.4, np.full(6, 10.0)],
        np.r_[2.3, 10.0, 2.7, 10.0, 3.9, 4.1, np.full(6, 10.0)],
        np.r_[10.0, 2.9, 3.4, 10.0, 3.9, 4.1, np.full(6, 10.0)],
    ],
    "explin_120": [np.r_[2.3, 10.0, 2.7, 10.0, 3.2, 10.0, 4.2, 4.3, 10.0, 3.9, np.full(110, 10.0)]],
    "expquad_12": [[10.0, 10.0, 10.0, 5.8, 10.0, 4.7, 6.8, 9.6, 10.8, 12.1, 13.3, 3.4]],
    **{
        f"qrtquad_{n}": [np.r_[head, np.arange(len(head) + 1, n + 1) * 1.25] for head in heads] for n, heads in QUARTICS
    },
    "hatfldc": [np.full(25, 0.2), np.r_[1.0, 0.0, np.zeros(22), 0.5]],
    "s368_8": [[1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 0.5, 1.0], [0.5, 0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]],
    "styblinski_tang_10_half": [np.where(np.arange(10) < i, 2.0, 0.0) for i in range(10)],
    "dixon_price_10_fixed": [
        np.r_[1.67, 1.0, 0.78, 0.79, 1.0, middle, 1.0, end]
        for middle in ([0.77, 0.78], [-0.46, 0.48])
        for end in ([0.71, 0.6], [-0.6, 0.0])
    ],
    "trigonometric_10_fixed": [[0.07, 0.1, 0.08, 0.08, 0.1, 0.24, 0.1, 0.1, 0.11, 0.1]],
}
OTHER_STARTS["chebyqad_10"] = OTHER_STARTS["chebyquad_10"]
for name in ("six_hump_camel", "goldstein_price", "hartmann_3", "hartmann_6"):
    OTHER_STARTS[f"{name}_usual"] = OTHER_STARTS[name]


def uphill_steps(problem: Problem, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return x - g, put inside, minus x: zero where the conditions of Karush, Kuhn and Tucker hold."""
    return put_inside(problem, x - g) - x


def reach_minimum(problem: Problem, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the value and the point where L-BFGS-B, then BFGS and Newton's method where that is cheap, end.

    BFGS runs where there are no bounds.  Newton's method leaves the variables out that a bound holds, and its steps are
    put inside. It goes on where f shows no difference any more and g does: how near SciPy comes depends on the BLAS.
    """

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        f, g = problem.fun(x[None])
        return float(f[0]), g[0]

    bounds = Bounds(problem.lower, problem.upper)
    bounded = has_bounds(problem)
    bfgs = {"gtol": 1e-10}
    lbfgs = {"maxcor": 20, "ftol": 0.0, "gtol": 1e-10, "maxiter": 10**5, "maxfun": 10**5}
    x = put_inside(problem, x)
    f = value(problem, x)
    with np.errstate(all="ignore"):
        for method, options in (("L-BFGS-B", lbfgs), ("BFGS", bfgs)):
            if method == "L-BFGS-B" or (problem.n <= 50 and not bounded):
                within = {"bounds": bounds} if bounded else {}
                result = minimize(fun, x, jac=True, method=method, options=options, **within)
                if result.fun < f:
                    f, x = float(result.fun), result.x
        for _ in range(20 if problem.n <= 100 else 0):
            g, hessian = complex_step(problem, x)
            if not np.isfinite(hessian).all():
                break
            free = ((x > problem.lower) | (g < 0.0)) & ((x < problem.upper) | (g > 0.0))
            trial = x.copy()
            trial[free] -= np.linalg.lstsq(hessian[np.ix_(free, free)], g[free], rcond=1e-15)[0]
            trial = put_inside(problem, trial)
            f_trial, g_trial = value(problem, trial), problem.fun(trial[None])[1][0]
            nearer = abs(uphill_steps(problem, trial, g_trial)).max() < abs(uphill_steps(problem, x, g)).max()
            if not (f_trial < f or (nearer and f_trial <= f + 1e-14 * abs(f))):
                break
            f, x = f_trial, trial
    return f, x


@each_problem
def test_minima(problem):
    first = [problem.x0]
    if len(problem.minima) > 1 and problem.n <= 20:
        first += list(starts(problem, 3, 0.3, rng_of(problem)))
    first += [np.asarray(x, dtype=np.float64) for x in OTHER_STARTS.get(problem.name, [])]
    reached = [reach_minimum(problem, x) for x in first]
    ends = np.array([f for f, _ in reached])

    lowest = min(problem.minima)
    rounding = 1e-8 * abs(lowest) if lowest else 1e-15 * problem.n
    assert ends.min() >= lowest - rounding
    begin = put_inside(problem, problem.x0)
    near_zero = 1e-11 * min(1.0, abs(value(problem, begin)))
    for minimum in problem.minima:
        nearest = int(np.abs(ends - minimum).argmin())
        assert abs(ends[nearest] - minimum) <= (1e-8 * abs(minimum) if minimum else near_zero)
        if has_bounds(problem):
            x = reached[nearest][1]
            assert np.all(problem.lower <= x) and np.all(x <= problem.upper)
            steps = np.abs(uphill_steps(problem, x, problem.fun(x[None])[1][0]))
            at_start = np.abs(uphill_steps(problem, begin, problem.fun(begin[None])[1][0]))
            assert steps.max() <= 1e-6 * max(1.0, at_start.max())
