"""Smooth test problems in batched form, without bounds (`PROBLEMS`) and with them (`BOUNDED`).

Every objective takes ``X`` of shape ``(k, n)`` and returns ``f`` of shape ``(k,)`` and ``g`` of
shape ``(k, n)`` in the dtype of ``X``.  Three properties hold for all of them:

* Row ``i`` of the result depends on row ``i`` of ``X`` alone, bit for bit.  The objectives
  therefore use elementwise operations and sums along axes of C-contiguous arrays, and no BLAS,
  whose blocking (and with it the rounding) depends on the number of rows.
* Overflow and domain errors far from the solution give inf or NaN without a warning.
* ``X`` may be complex, so that derivatives can be checked with the complex-step method.

References (cited by their short names in `Problem.source`)
-----------------------------------------------------------
MGH
    J. J. Moré, B. S. Garbow, K. E. Hillstrom, "Testing Unconstrained Optimization Software",
    ACM Trans. Math. Softw. 7 (1981) 17-41.
Gay
    D. M. Gay, "A trust-region approach to linearly constrained optimization", Lecture Notes in
    Mathematics 1066, Springer 1984, 72-105: the functions of MGH, with bounds.
HS
    W. Hock, K. Schittkowski, "Test Examples for Nonlinear Programming Codes", Lecture Notes in
    Economics and Mathematical Systems 187, Springer 1981.
CUTE
    I. Bongartz, A. R. Conn, N. Gould, Ph. L. Toint, "CUTE: Constrained and Unconstrained Testing
    Environment", ACM Trans. Math. Softw. 21 (1995) 123-160.
MT
    J. J. Moré, G. Toraldo, "On the solution of large quadratic programming problems with bound
    constraints", SIAM J. Optim. 1 (1991) 93-113.
Andrei
    N. Andrei, "An Unconstrained Optimization Test Functions Collection", Advanced Modeling and
    Optimization 10 (2008) 147-161.
SB
    S. Surjanovic, D. Bingham, "Virtual Library of Simulation Experiments: Test Functions and
    Datasets", Simon Fraser University.

Publications give about six digits of the minima that are not zero.  The further digits here are
ours: Newton's method in double precision, from the published minimiser or from the start; with
bounds, on the variables that no bound holds, after L-BFGS-B from up to 200 starts in the box.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
Pair = tuple[Array, Array]
Objective = Callable[[Array], Pair]


@dataclass(frozen=True)
class Problem:
    """A batched objective with its standard start, its bounds and the values of its known minima.

    Attributes
    ----------
    name : str
        Unique name.
    n : int
        Number of variables.
    x0 : ndarray, shape (n,)
        Standard start, float64, read-only.
    fun : callable
        Maps ``X`` (k, n) to ``f`` (k,) and ``g`` (k, n).
    minima : tuple of float
        Known values of ``f`` at minimisers within the bounds, local and global.
    source : str
        Where function, start, bounds and minima come from, and what is hard about the problem.
    lower, upper : ndarray, shape (n,)
        Bounds, float64, read-only; -inf and inf where there is none. The start may lie outside.
    """

    name: str
    n: int
    x0: Array
    fun: Objective
    minima: tuple[float, ...]
    source: str
    lower: Array
    upper: Array


def starts(problem: Problem, count: int, spread: float, rng: np.random.Generator) -> Array:
    """Return ``count`` starts, each component of x0 moved by up to ``spread`` times its size.

    The size of a component that is zero counts as one.  What leaves the bounds is put onto them.
    """
    size = np.where(problem.x0 == 0.0, 1.0, np.abs(problem.x0))
    x = problem.x0 + spread * size * rng.uniform(-1.0, 1.0, (count, problem.n))
    return np.clip(x, problem.lower, problem.upper)


# ----------------------------------------------------------------------------------------------
# Helpers


def objective(fun: Objective) -> Objective:
    """Make a batched objective quiet about floating-point errors and certain of C order."""

    @functools.wraps(fun)
    def wrapped(x: Array) -> Pair:
        with np.errstate(all="ignore"):
            return fun(np.ascontiguousarray(x))

    return wrapped


def least_squares(residuals: Objective) -> Objective:
    """Turn a function that returns r (k, m) and J (k, m, n) or (m, n) into f = sum r**2."""

    @objective
    @functools.wraps(residuals)
    def fun(x: Array) -> Pair:
        r, jac = residuals(x)
        terms = np.multiply(jac, r[:, :, None], order="C")
        return rowsum(r * r), 2.0 * terms.sum(axis=1)

    return fun


def rowsum(a: Array) -> Array:
    """Sum along the last axis; C order makes the order of the additions that of a single row."""
    return np.ascontiguousarray(a).sum(axis=-1)


def matvec(matrix: Array, x: Array) -> Array:
    """Multiply every row of ``x`` by ``matrix`` without BLAS."""
    return rowsum(matrix * x[:, None, :])


def columns(x: Array) -> Array:
    """Return the columns of ``x`` as contiguous vectors of length k."""
    # Contiguous because exp, sin, ... may take another code path for strided data.
    return np.ascontiguousarray(x.T)


def like(x: Array, *tables: Array) -> list[Array]:
    """Return float64 tables in the dtype of ``x``."""
    return [table.astype(x.dtype) for table in tables]


def indices(x: Array) -> Array:
    """Return 1, 2, ..., n in the dtype of ``x``."""
    return np.arange(1, x.shape[1] + 1).astype(x.dtype)


def pack(x: Array, *rows: Sequence[Array | float]) -> Array:
    """Return the (k, m, n) array whose entry [:, i, j] is ``rows[i][j]``, a vector or number."""
    out = np.empty((len(x), len(rows), len(rows[0])), x.dtype)
    for i, row in enumerate(rows):
        for j, entry in enumerate(row):
            out[:, i, j] = entry
    return out


def stack(x: Array, *entries: Array | float) -> Array:
    """Return the (k, m) array whose columns are ``entries``."""
    return pack(x, entries)[:, 0, :]


def absolute(z: Array) -> Array:
    """Return |z| for real z, and its analytic continuation for complex z."""
    return np.where(z.real < 0.0, -z, z)


def products_without(x: Array) -> Array:
    """Return, for every j, the product of the entries of a row other than the j-th."""
    before = np.ones_like(x)
    after = np.ones_like(x)
    np.cumprod(x[:, :-1], axis=1, out=before[:, 1:])
    np.cumprod(x[:, :0:-1], axis=1, out=after[:, -2::-1])
    return before * after


def neighbours(x: Array) -> tuple[Array, Array]:
    """Return x_{i-1} and x_{i+1}, with zeros outside."""
    left = np.zeros_like(x)
    right = np.zeros_like(x)
    left[:, 1:] = x[:, :-1]
    right[:, :-1] = x[:, 1:]
    return left, right


# ----------------------------------------------------------------------------------------------
# The functions of Moré, Garbow and Hillstrom, in the order and notation of the paper


@least_squares
def rosenbrock(x: Array) -> Pair:
    x1, x2 = columns(x)
    r = stack(x, 10.0 * (x2 - x1 * x1), 1.0 - x1)
    return r, pack(x, [-20.0 * x1, 10.0], [-1.0, 0.0])


@least_squares
def freudenstein_roth(x: Array) -> Pair:
    x1, x2 = columns(x)
    r = stack(
        x,
        -13.0 + x1 + ((5.0 - x2) * x2 - 2.0) * x2,
        -29.0 + x1 + ((x2 + 1.0) * x2 - 14.0) * x2,
    )
    jac = pack(
        x,
        [1.0, (10.0 - 3.0 * x2) * x2 - 2.0],
        [1.0, (3.0 * x2 + 2.0) * x2 - 14.0],
    )
    return r, jac


@least_squares
def powell_badly_scaled(x: Array) -> Pair:
    x1, x2 = columns(x)
    e1, e2 = np.exp(-x1), np.exp(-x2)
    r = stack(x, 1e4 * x1 * x2 - 1.0, e1 + e2 - 1.0001)
    return r, pack(x, [1e4 * x2, 1e4 * x1], [-e1, -e2])


@least_squares
def brown_badly_scaled(x: Array) -> Pair:
    x1, x2 = columns(x)
    r = stack(x, x1 - 1e6, x2 - 2e-6, x1 * x2 - 2.0)
    return r, pack(x, [1.0, 0.0], [0.0, 1.0], [x2, x1])


@least_squares
def beale(x: Array) -> Pair:
    x1, x2 = columns(x)
    p2 = x2 * x2
    p3 = p2 * x2
    r = stack(
        x,
        1.5 - x1 * (1.0 - x2),
        2.25 - x1 * (1.0 - p2),
        2.625 - x1 * (1.0 - p3),
    )
    jac = pack(
        x,
        [x2 - 1.0, x1],
        [p2 - 1.0, 2.0 * x1 * x2],
        [p3 - 1.0, 3.0 * x1 * p2],
    )
    return r, jac


@least_squares
def jennrich_sampson(x: Array) -> Pair:
    i = np.arange(1, 11).astype(x.dtype)
    e1, e2 = np.exp(i * x[:, :1]), np.exp(i * x[:, 1:])
    r = 2.0 + 2.0 * i - (e1 + e2)
    return r, np.stack([-i * e1, -i * e2], axis=2)


@least_squares
def helical_valley(x: Array) -> Pair:
    x1, x2, x3 = columns(x)
    theta = np.arctan(x2 / x1) / (2.0 * math.pi) + np.where(x1.real < 0.0, 0.5, 0.0).astype(x.dtype)
    square = x1 * x1 + x2 * x2
    root = np.sqrt(square)
    c = 50.0 / math.pi
    r = stack(x, 10.0 * (x3 - 10.0 * theta), 10.0 * (root - 1.0), x3)
    jac = pack(
        x,
        [c * x2 / square, -c * x1 / square, 10.0],
        [10.0 * x1 / root, 10.0 * x2 / root, 0.0],
        [0.0, 0.0, 1.0],
    )
    return r, jac


BARD_Y = np.array([0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34, 2.10, 4.39])


@least_squares
def bard(x: Array) -> Pair:
    (y,) = like(x, BARD_Y)
    u = np.arange(1, 16).astype(x.dtype)
    v = 16.0 - u
    w = np.minimum(u.real, v.real).astype(x.dtype)
    x1, x2, x3 = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    d = v * x2 + w * x3
    q = u / (d * d)
    r = y - (x1 + u / d)
    return r, np.stack([np.full_like(r, -1.0), q * v, q * w], axis=2)


GAUSSIAN_Y = np.array(
    [0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521, 0.3989]
    + [0.3521, 0.2420, 0.1295, 0.0540, 0.0175, 0.0044, 0.0009]
)


@least_squares
def gaussian(x: Array) -> Pair:
    (y,) = like(x, GAUSSIAN_Y)
    t = (8.0 - np.arange(1, 16).astype(x.dtype)) / 2.0
    x1, x2, d = x[:, 0:1], x[:, 1:2], t - x[:, 2:3]
    e = np.exp(-0.5 * x2 * d * d)
    jac = np.stack([e, -0.5 * x1 * e * d * d, x1 * x2 * e * d], axis=2)
    return x1 * e - y, jac


MEYER_Y = np.array(
    [34780.0, 28610.0, 23650.0, 19630.0, 16370.0, 13720.0, 11540.0, 9744.0]
    + [8261.0, 7030.0, 6005.0, 5147.0, 4427.0, 3820.0, 3307.0, 2872.0]
)


@least_squares
def meyer(x: Array) -> Pair:
    (y,) = like(x, MEYER_Y)
    t = 45.0 + 5.0 * np.arange(1, 17).astype(x.dtype)
    x1, x2, d = x[:, 0:1], x[:, 1:2], t + x[:, 2:3]
    e = np.exp(x2 / d)
    return x1 * e - y, np.stack([e, x1 * e / d, -x1 * x2 * e / (d * d)], axis=2)


@least_squares
def gulf(x: Array) -> Pair:
    # The paper prints |y_i m i x2|; the known function has |y_i - x2| (the minus sign was lost).
    t64 = np.arange(1, 100) / 100.0
    t, y = like(x, t64, 25.0 + (-50.0 * np.log(t64)) ** (2.0 / 3.0))
    x1, x2, x3 = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    d = absolute(y - x2)
    log_d = np.log(d)
    p = np.exp(x3 * log_d) / x1
    e = np.exp(-p)
    side = np.where((y - x2).real < 0.0, -1.0, 1.0).astype(x.dtype)
    jac = np.stack([e * p / x1, e * p * x3 / d * side, -e * p * log_d], axis=2)
    return e - t, jac


@least_squares
def box_3d(x: Array) -> Pair:
    t64 = 0.1 * np.arange(1, 11)
    t, c = like(x, t64, np.exp(-t64) - np.exp(-10.0 * t64))
    e1, e2 = np.exp(-t * x[:, 0:1]), np.exp(-t * x[:, 1:2])
    r = e1 - e2 - x[:, 2:3] * c
    return r, np.stack([-t * e1, t * e2, np.broadcast_to(-c, r.shape)], axis=2)


@least_squares
def powell_singular(x: Array) -> Pair:
    x1, x2, x3, x4 = columns(x)
    root5, root10 = math.sqrt(5.0), math.sqrt(10.0)
    u, v = x2 - 2.0 * x3, x1 - x4
    r = stack(x, x1 + 10.0 * x2, root5 * (x3 - x4), u * u, root10 * v * v)
    jac = pack(
        x,
        [1.0, 10.0, 0.0, 0.0],
        [0.0, 0.0, root5, -root5],
        [0.0, 2.0 * u, -4.0 * u, 0.0],
        [2.0 * root10 * v, 0.0, 0.0, -2.0 * root10 * v],
    )
    return r, jac


@least_squares
def wood(x: Array) -> Pair:
    x1, x2, x3, x4 = columns(x)
    root90, root10 = math.sqrt(90.0), math.sqrt(10.0)
    r = stack(
        x,
        10.0 * (x2 - x1 * x1),
        1.0 - x1,
        root90 * (x4 - x3 * x3),
        1.0 - x3,
        root10 * (x2 + x4 - 2.0),
        (x2 - x4) / root10,
    )
    jac = pack(
        x,
        [-20.0 * x1, 10.0, 0.0, 0.0],
        [-1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, -2.0 * root90 * x3, root90],
        [0.0, 0.0, -1.0, 0.0],
        [0.0, root10, 0.0, root10],
        [0.0, 1.0 / root10, 0.0, -1.0 / root10],
    )
    return r, jac


KOWALIK_OSBORNE_Y = np.array([0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
KOWALIK_OSBORNE_U = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])


@least_squares
def kowalik_osborne(x: Array) -> Pair:
    y, u = like(x, KOWALIK_OSBORNE_Y, KOWALIK_OSBORNE_U)
    x1, x2, x3, x4 = x[:, 0:1], x[:, 1:2], x[:, 2:3], x[:, 3:4]
    top = u * (u + x2)
    bottom = u * (u + x3) + x4
    q = x1 * top / (bottom * bottom)
    return y - x1 * top / bottom, np.stack([-top / bottom, -x1 * u / bottom, q * u, q], axis=2)


@least_squares
def brown_dennis(x: Array) -> Pair:
    t64 = np.arange(1, 21) / 5.0
    t, exp_t, sin_t, cos_t = like(x, t64, np.exp(t64), np.sin(t64), np.cos(t64))
    a = x[:, 0:1] + t * x[:, 1:2] - exp_t
    b = x[:, 2:3] + x[:, 3:4] * sin_t - cos_t
    return a * a + b * b, np.stack([2.0 * a, 2.0 * a * t, 2.0 * b, 2.0 * b * sin_t], axis=2)


OSBORNE_1_Y = np.array(
    [0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751]
    + [0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490]
    + [0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406]
)


@least_squares
def osborne_1(x: Array) -> Pair:
    (y,) = like(x, OSBORNE_1_Y)
    t = 10.0 * np.arange(33).astype(x.dtype)
    x1, x2, x3 = x[:, 0:1], x[:, 1:2], x[:, 2:3]
    e4, e5 = np.exp(-t * x[:, 3:4]), np.exp(-t * x[:, 4:5])
    r = y - (x1 + x2 * e4 + x3 * e5)
    return r, np.stack([np.full_like(r, -1.0), -e4, -e5, x2 * t * e4, x3 * t * e5], axis=2)


@least_squares
def biggs_exp6(x: Array) -> Pair:
    t64 = 0.1 * np.arange(1, 14)
    t, y = like(x, t64, np.exp(-t64) - 5.0 * np.exp(-10.0 * t64) + 3.0 * np.exp(-4.0 * t64))
    x3, x4, x6 = x[:, 2:3], x[:, 3:4], x[:, 5:6]
    e1, e2, e5 = np.exp(-t * x[:, 0:1]), np.exp(-t * x[:, 1:2]), np.exp(-t * x[:, 4:5])
    jac = np.stack([-t * x3 * e1, t * x4 * e2, e1, -e2, -t * x6 * e5, e5], axis=2)
    return x3 * e1 - x4 * e2 + x6 * e5 - y, jac


OSBORNE_2_Y = np.array(
    [1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746, 0.679, 0.608]
    + [0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649, 0.694, 0.644, 0.624, 0.661]
    + [0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395, 0.375, 0.372, 0.391, 0.396, 0.405, 0.428]
    + [0.429, 0.523, 0.562, 0.607, 0.653, 0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559]
    + [0.597, 0.625, 0.739, 0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054]
)


@least_squares
def osborne_2(x: Array) -> Pair:
    (y,) = like(x, OSBORNE_2_Y)
    t = np.arange(65).astype(x.dtype) / 10.0
    r = y - x[:, 0:1] * np.exp(-t * x[:, 4:5])
    jac = np.empty(r.shape + (11,), x.dtype)
    jac[:, :, 0] = -np.exp(-t * x[:, 4:5])
    jac[:, :, 4] = -t * x[:, 0:1] * jac[:, :, 0]
    for peak in (1, 2, 3):  # height x_2.., width x_6.., centre x_9..
        height, width = x[:, peak : peak + 1], x[:, peak + 4 : peak + 5]
        d = t - x[:, peak + 7 : peak + 8]
        e = np.exp(-d * d * width)
        r = r - height * e
        jac[:, :, peak] = -e
        jac[:, :, peak + 4] = height * d * d * e
        jac[:, :, peak + 7] = -2.0 * height * width * d * e
    return r, jac


@least_squares
def watson(x: Array) -> Pair:
    n = x.shape[1]
    t = np.arange(1, 30)[:, None] / 29.0
    j = np.arange(1, n + 1)
    power, slope = like(x, t ** (j - 1), (j - 1) * t ** np.maximum(j - 2, 0))
    s = matvec(power, x)
    x1, x2 = x[:, 0:1], x[:, 1:2]
    r = np.concatenate([matvec(slope, x) - s * s - 1.0, x1, x2 - x1 * x1 - 1.0], axis=1)
    jac = np.zeros((len(x), 31, n), x.dtype)
    jac[:, :29] = slope - 2.0 * s[:, :, None] * power
    jac[:, 29, 0] = 1.0
    jac[:, 30, 0] = -2.0 * x[:, 0]
    jac[:, 30, 1] = 1.0
    return r, jac


@objective
def extended_rosenbrock(x: Array) -> Pair:
    a, b = x[:, 0::2], x[:, 1::2]
    u, v = 10.0 * (b - a * a), 1.0 - a
    g = np.empty_like(x)
    g[:, 0::2] = -40.0 * a * u - 2.0 * v
    g[:, 1::2] = 20.0 * u
    return rowsum(u * u + v * v), g


@objective
def extended_powell(x: Array) -> Pair:
    a, b, c, d = (x[:, i::4] for i in range(4))
    p, q, u, v = a + 10.0 * b, c - d, b - 2.0 * c, a - d
    u3, v3 = u * u * u, v * v * v
    g = np.empty_like(x)
    g[:, 0::4] = 2.0 * p + 40.0 * v3
    g[:, 1::4] = 20.0 * p + 4.0 * u3
    g[:, 2::4] = 10.0 * q - 8.0 * u3
    g[:, 3::4] = -10.0 * q - 40.0 * v3
    return rowsum(p * p + 5.0 * q * q + u * u3 + 10.0 * v * v3), g


@objective
def penalty_1(x: Array) -> Pair:
    d = x - 1.0
    s = rowsum(x * x) - 0.25
    return 1e-5 * rowsum(d * d) + s * s, 2e-5 * d + 4.0 * s[:, None] * x


@objective
def penalty_2(x: Array) -> Pair:
    n = x.shape[1]
    i = np.arange(2, n + 1)
    weight, y = like(x, np.arange(n, 0, -1.0), np.exp(i / 10.0) + np.exp((i - 1) / 10.0))
    e = np.exp(x / 10.0)
    first = x[:, 0] - 0.2
    p = e[:, 1:] + e[:, :-1] - y
    q = e[:, 1:] - math.exp(-0.1)
    s = rowsum(weight * x * x) - 1.0
    g = 4.0 * s[:, None] * weight * x
    g[:, 0] += 2.0 * first
    g[:, 1:] += 2e-6 * (p + q) * e[:, 1:]
    g[:, :-1] += 2e-6 * p * e[:, :-1]
    return first * first + 1e-5 * rowsum(p * p + q * q) + s * s, g


@objective
def variably_dimensioned(x: Array) -> Pair:
    j = indices(x)
    d = x - 1.0
    s = rowsum(j * d)
    s2 = s * s
    return rowsum(d * d) + s2 + s2 * s2, 2.0 * d + j * (2.0 * s + 4.0 * s * s2)[:, None]


@objective
def trigonometric(x: Array) -> Pair:
    n = x.shape[1]
    i = indices(x)
    c, s = np.cos(x), np.sin(x)
    r = (n - rowsum(c))[:, None] + i * (1.0 - c) - s
    return rowsum(r * r), 2.0 * (rowsum(r)[:, None] * s + r * (i * s - c))


@objective
def brown_almost_linear(x: Array) -> Pair:
    n = x.shape[1]
    r = x + rowsum(x)[:, None] - (n + 1.0)
    r[:, -1] = 0.0  # the last equation is the product instead
    last = np.prod(x, axis=1) - 1.0
    g = 2.0 * (rowsum(r)[:, None] + r + last[:, None] * products_without(x))
    return rowsum(r * r) + last * last, g


@objective
def discrete_boundary_value(x: Array) -> Pair:
    h = 1.0 / (x.shape[1] + 1)
    c = x + indices(x) * h + 1.0
    left, right = neighbours(x)
    r = 2.0 * x - left - right + 0.5 * h * h * c * c * c
    left, right = neighbours(r)
    return rowsum(r * r), 2.0 * ((2.0 + 1.5 * h * h * c * c) * r - left - right)


@objective
def discrete_integral_equation(x: Array) -> Pair:
    h = 1.0 / (x.shape[1] + 1)
    t64 = h * np.arange(1, x.shape[1] + 1)
    # Green's function (1 - t_i) t_j for j <= i and t_i (1 - t_j) otherwise: symmetric.
    t, kernel = like(x, t64, np.minimum.outer(t64, t64) - np.multiply.outer(t64, t64))
    c = x + t + 1.0
    r = x + 0.5 * h * matvec(kernel, c * c * c)
    return rowsum(r * r), 2.0 * (r + 1.5 * h * c * c * matvec(kernel, r))


@objective
def broyden_tridiagonal(x: Array) -> Pair:
    left, right = neighbours(x)
    r = (3.0 - 2.0 * x) * x - left - 2.0 * right + 1.0
    left, right = neighbours(r)
    return rowsum(r * r), 2.0 * ((3.0 - 4.0 * x) * r - right - 2.0 * left)


@objective
def broyden_banded(x: Array) -> Pair:
    i = np.arange(x.shape[1])
    offset = i - i[:, None]  # j - i
    (band,) = like(x, (offset != 0) & (offset >= -5) & (offset <= 1))
    r = x * (2.0 + 5.0 * x * x) + 1.0 - matvec(band, x * (1.0 + x))
    g = 2.0 * ((2.0 + 15.0 * x * x) * r - (1.0 + 2.0 * x) * matvec(band.T.copy(), r))
    return rowsum(r * r), g


# The three linear functions have m = 2 n residuals A x - 1.


@least_squares
def linear_full_rank(x: Array) -> Pair:
    n = x.shape[1]
    (matrix,) = like(x, np.eye(2 * n, n) - 1.0 / n)
    return matvec(matrix, x) - 1.0, matrix


@least_squares
def linear_rank_1(x: Array) -> Pair:
    n = x.shape[1]
    (matrix,) = like(x, np.multiply.outer(np.arange(1, 2 * n + 1), np.arange(1, n + 1)))
    return matvec(matrix, x) - 1.0, matrix


@least_squares
def linear_rank_1_zeros(x: Array) -> Pair:
    n = x.shape[1]
    i, j = np.arange(2 * n), np.arange(1, n + 1)
    i[-1] = 0
    j[[0, -1]] = 0
    (matrix,) = like(x, np.multiply.outer(i, j))
    return matvec(matrix, x) - 1.0, matrix


@least_squares
def chebyquad(x: Array) -> Pair:
    n = x.shape[1]
    y = 2.0 * x - 1.0
    r = np.empty_like(x)
    jac = np.empty((len(x), n, n), x.dtype)
    t_before, t = np.ones_like(x), y
    d_before, d = np.zeros_like(x), np.full_like(x, 2.0)
    for i in range(1, n + 1):
        integral = -1.0 / (i * i - 1.0) if i % 2 == 0 else 0.0
        r[:, i - 1] = rowsum(t) / n - integral
        jac[:, i - 1] = d / n
        t_before, t, d_before, d = (
            t,
            2.0 * y * t - t_before,
            d,
            4.0 * t + 2.0 * y * d - d_before,
        )
    return r, jac


# ----------------------------------------------------------------------------------------------
# Families of functions of any dimension


@objective
def sphere(x: Array) -> Pair:
    """sum x_i**2."""
    return rowsum(x * x), 2.0 * x


@objective
def quartic(x: Array) -> Pair:
    """sum i x_i**4."""
    c = indices(x) * x * x * x
    return rowsum(c * x), 4.0 * c


@objective
def cosh(x: Array) -> Pair:
    """sum cosh x_i."""
    e, m = np.exp(x), np.exp(-x)
    return rowsum(0.5 * (e + m)), 0.5 * (e - m)


@objective
def pseudo_huber(x: Array) -> Pair:
    """sum sqrt(1 + (x_i - i)**2)."""
    d = x - indices(x)
    root = np.sqrt(1.0 + d * d)
    return rowsum(root), d / root


@objective
def chained_rosenbrock(x: Array) -> Pair:
    """sum 100 (x_{i+1} - x_i**2)**2 + (1 - x_i)**2."""
    a, b = x[:, :-1], x[:, 1:]
    u, v = b - a * a, 1.0 - a
    g = np.zeros_like(x)
    g[:, :-1] = -400.0 * a * u - 2.0 * v
    g[:, 1:] += 200.0 * u
    return rowsum(100.0 * u * u + v * v), g


@objective
def generalized_rosenbrock(x: Array) -> Pair:
    """1 + sum 100 (x_{i+1} - x_i**2)**2 + (x_{i+1} - 1)**2."""
    a, b = x[:, :-1], x[:, 1:]
    u, v = b - a * a, b - 1.0
    g = np.zeros_like(x)
    g[:, 1:] = 200.0 * u + 2.0 * v
    g[:, :-1] -= 400.0 * a * u
    return 1.0 + rowsum(100.0 * u * u + v * v), g


@objective
def dixon_price(x: Array) -> Pair:
    """(x_1 - 1)**2 + sum_{i>1} i (2 x_i**2 - x_{i-1})**2."""
    i = indices(x)[1:]
    a, b = x[:, :-1], x[:, 1:]
    first = x[:, 0] - 1.0
    u = 2.0 * b * b - a
    g = np.zeros_like(x)
    g[:, 0] = 2.0 * first
    g[:, :-1] -= 2.0 * i * u
    g[:, 1:] += 8.0 * i * b * u
    return first * first + rowsum(i * u * u), g


@objective
def styblinski_tang(x: Array) -> Pair:
    """half the sum of x_i**4 - 16 x_i**2 + 5 x_i."""
    x2 = x * x
    return 0.5 * rowsum(x2 * x2 - 16.0 * x2 + 5.0 * x), 0.5 * (4.0 * x2 * x - 32.0 * x + 5.0)


@objective
def trid(x: Array) -> Pair:
    """sum (x_i - 1)**2 - sum x_i x_{i-1}."""
    left, right = neighbours(x)
    d = x - 1.0
    return rowsum(d * d - x * left), 2.0 * d - left - right


@objective
def zakharov(x: Array) -> Pair:
    """sum x_i**2 + s**2 + s**4, s = sum i x_i / 2."""
    i = 0.5 * indices(x)
    s = rowsum(i * x)
    s2 = s * s
    return rowsum(x * x) + s2 + s2 * s2, 2.0 * x + i * (2.0 * s + 4.0 * s * s2)[:, None]


def ill_conditioned_quadratic(cond: float) -> Objective:
    """Quadratic with log-spaced eigenvalues from 1 to cond and rotated axes, minimum at ones."""

    @objective
    def fun(x: Array) -> Pair:
        n = x.shape[1]
        v64 = 1.0 + np.arange(n) % 3
        eigenvalues, v = like(x, cond ** np.linspace(0.0, 1.0, n), v64 / np.sqrt(sum(v64 * v64)))
        d = x - 1.0
        # A Householder reflection is a rotation of the axes that costs O(n).
        y = d - 2.0 * rowsum(v * d)[:, None] * v
        w = eigenvalues * y
        return 0.5 * rowsum(w * y), w - 2.0 * rowsum(v * w)[:, None] * v

    return fun


quadratic_1e2 = ill_conditioned_quadratic(1e2)
quadratic_1e4 = ill_conditioned_quadratic(1e4)
quadratic_1e6 = ill_conditioned_quadratic(1e6)


@objective
def rotated_ellipsoid(x: Array) -> Pair:
    """sum of the squares of the partial sums x_1 + ... + x_i."""
    s = np.cumsum(x, axis=1)
    tail = np.ascontiguousarray(np.cumsum(s[:, ::-1], axis=1)[:, ::-1])
    return rowsum(s * s), 2.0 * tail


@objective
def log_sum_exp(x: Array) -> Pair:
    """log sum (exp(d_i) + exp(-d_i)), d = x - c."""
    (centre,) = like(x, np.arange(x.shape[1]) % 5 - 2.0)
    d = x - centre
    # Shifted by the largest exponent, the sum neither overflows nor vanishes.
    shift = np.abs(d.real).max(axis=1)
    e, m = np.exp(d - shift[:, None]), np.exp(-d - shift[:, None])
    s = rowsum(e + m)
    return shift + np.log(s), (e - m) / s[:, None]


@objective
def log_domain(x: Array) -> Pair:
    """sum 50 x_i - log x_i."""
    return rowsum(50.0 * x - np.log(x)), 50.0 - 1.0 / x


@objective
def logistic_regression(x: Array) -> Pair:
    """Mean logistic loss of 8 n fixed samples, plus 0.005 |x|**2."""
    n = x.shape[1]
    m = 8 * n
    i, j = np.arange(1, m + 1), np.arange(1, n + 1)
    labels = np.where(np.sin(1.3 * i) + 0.5 * np.cos(0.7 * i) > 0.0, 1.0, -1.0)
    (features,) = like(x, labels[:, None] * np.cos(0.7 * np.multiply.outer(i, j)))
    z = matvec(features, x)
    e = np.exp(-absolute(z))
    loss = np.log1p(e) + np.where(z.real < 0.0, -z, 0.0)
    slope = -np.where(z.real < 0.0, 1.0, e) / (1.0 + e)
    terms = np.multiply(features, slope[:, :, None], order="C")
    return rowsum(loss) / m + 0.005 * rowsum(x * x), terms.sum(axis=1) / m + 0.01 * x


@objective
def griewank(x: Array) -> Pair:
    """1 + sum x_i**2 / 4000 - prod cos(x_i / sqrt(i))."""
    root = np.sqrt(indices(x))
    c, s = np.cos(x / root), np.sin(x / root)
    f = 1.0 + rowsum(x * x) / 4000.0 - np.prod(c, axis=1)
    return f, x / 2000.0 + products_without(c) * s / root


@objective
def levy(x: Array) -> Pair:
    """sin(pi w_1)**2 + sum (w_i - 1)**2 (1 + 10 sin(pi w_i + 1)**2) + ..., w = 1 + (x - 1)/4."""
    w = 1.0 + (x - 1.0) / 4.0
    a, last = w[:, :-1] - 1.0, columns(w)[-1]
    inner = np.ascontiguousarray(math.pi * w[:, :-1] + 1.0)
    s1, c1 = np.sin(math.pi * columns(w)[0]), np.cos(math.pi * columns(w)[0])
    s, c = np.sin(inner), np.cos(inner)
    sl, cl = np.sin(2.0 * math.pi * last), np.cos(2.0 * math.pi * last)
    bump = 1.0 + 10.0 * s * s
    end = 1.0 + sl * sl
    b = last - 1.0
    f = s1 * s1 + rowsum(a * a * bump) + b * b * end
    g = np.zeros_like(x)
    g[:, :-1] = 2.0 * a * bump + 20.0 * math.pi * a * a * s * c
    g[:, -1] = 2.0 * b * end + 4.0 * math.pi * b * b * sl * cl
    g[:, 0] += 2.0 * math.pi * s1 * c1
    return f, 0.25 * g


@objective
def negative_gaussian(x: Array) -> Pair:
    """-exp(-sum x_i**2 / 2)."""
    e = np.exp(-0.5 * rowsum(x * x))
    return -e, x * e[:, None]


@objective
def raydan_1(x: Array) -> Pair:
    """sum i/10 (exp(x_i) - x_i)."""
    i = indices(x) / 10.0
    e = np.exp(x)
    return rowsum(i * (e - x)), i * (e - 1.0)


@objective
def raydan_2(x: Array) -> Pair:
    """sum exp(x_i) - x_i."""
    e = np.exp(x)
    return rowsum(e - x), e - 1.0


@objective
def hager(x: Array) -> Pair:
    """sum exp(x_i) - sqrt(i) x_i."""
    root = np.sqrt(indices(x))
    e = np.exp(x)
    return rowsum(e - root * x), e - root


@objective
def power(x: Array) -> Pair:
    """(sum i x_i**2)**2."""
    i = indices(x)
    s = rowsum(i * x * x)
    return s * s, 4.0 * s[:, None] * i * x


@objective
def quartc(x: Array) -> Pair:
    """sum (x_i - i)**4."""
    d = x - indices(x)
    c = d * d * d
    return rowsum(c * d), 4.0 * c


@objective
def arwhead(x: Array) -> Pair:
    """sum_{i<n} (x_i**2 + x_n**2)**2 - 4 x_i + 3."""
    a, b = x[:, :-1], x[:, -1:]
    u = a * a + b * b
    g = np.empty_like(x)
    g[:, :-1] = 4.0 * a * u - 4.0
    g[:, -1] = 4.0 * x[:, -1] * rowsum(u)
    return rowsum(u * u - 4.0 * a + 3.0), g


@objective
def engval1(x: Array) -> Pair:
    """sum (x_i**2 + x_{i+1}**2)**2 - 4 x_i + 3."""
    a, b = x[:, :-1], x[:, 1:]
    u = a * a + b * b
    g = np.zeros_like(x)
    g[:, :-1] = 4.0 * a * u - 4.0
    g[:, 1:] += 4.0 * b * u
    return rowsum(u * u - 4.0 * a + 3.0), g


@objective
def nondia(x: Array) -> Pair:
    """(x_1 - 1)**2 + sum_{i>1} 100 (x_1 - x_i**2)**2."""
    a, d = x[:, 1:], x[:, 0] - 1.0
    u = x[:, :1] - a * a
    g = np.empty_like(x)
    g[:, 0] = 2.0 * d + 200.0 * rowsum(u)
    g[:, 1:] = -400.0 * a * u
    return d * d + 100.0 * rowsum(u * u), g


@objective
def dqdrtic(x: Array) -> Pair:
    """sum_{i<n-1} x_i**2 + 100 x_{i+1}**2 + 100 x_{i+2}**2."""
    n = x.shape[1]
    weights = np.zeros(n)
    weights[: n - 2] += 1.0
    weights[1 : n - 1] += 100.0
    weights[2:] += 100.0
    (w,) = like(x, weights)
    return rowsum(w * x * x), 2.0 * w * x


@objective
def tridia(x: Array) -> Pair:
    """(x_1 - 1)**2 + sum_{i>1} i (2 x_i - x_{i-1})**2."""
    i = indices(x)[1:]
    u = 2.0 * x[:, 1:] - x[:, :-1]
    d = x[:, 0] - 1.0
    g = np.zeros_like(x)
    g[:, 1:] = 4.0 * i * u
    g[:, :-1] -= 2.0 * i * u
    g[:, 0] += 2.0 * d
    return d * d + rowsum(i * u * u), g


@objective
def edensch(x: Array) -> Pair:
    """16 + sum (x_i - 2)**4 + (x_i x_{i+1} - 2 x_{i+1})**2 + (x_{i+1} + 1)**2."""
    a, b = x[:, :-1], x[:, 1:]
    d, e = a - 2.0, b + 1.0
    u = d * b
    g = np.zeros_like(x)
    g[:, :-1] = 4.0 * d * d * d + 2.0 * u * b
    g[:, 1:] += 2.0 * u * d + 2.0 * e
    return 16.0 + rowsum(d * d * d * d + u * u + e * e), g


@objective
def liarwhd(x: Array) -> Pair:
    """sum 4 (x_i**2 - x_1)**2 + (x_i - 1)**2."""
    u, d = x * x - x[:, :1], x - 1.0
    g = 16.0 * x * u + 2.0 * d
    g[:, 0] -= 8.0 * rowsum(u)
    return rowsum(4.0 * u * u + d * d), g


@objective
def cragg_levy(x: Array) -> Pair:
    """sum (exp a - b)**4 + 100 (b - c)**6 + tan(c - d)**4 + a**8 + (d - 1)**2."""
    a, b, c, d = x[:, 0:-2:2], x[:, 1:-2:2], x[:, 2::2], x[:, 3::2]
    ea, tangent = np.exp(np.ascontiguousarray(a)), np.tan(c - d)
    p, q = ea - b, b - c
    p3, q2, t3, a3 = p * p * p, q * q, tangent * tangent * tangent, a * a * a
    slope = 4.0 * t3 * (1.0 + tangent * tangent)
    f = rowsum(p3 * p + 100.0 * q2 * q2 * q2 + t3 * tangent + a3 * a3 * a * a + (d - 1.0) ** 2)
    g = np.zeros_like(x)
    g[:, 0:-2:2] += 4.0 * p3 * ea + 8.0 * a3 * a3 * a
    g[:, 1:-2:2] += -4.0 * p3 + 600.0 * q2 * q2 * q
    g[:, 2::2] += -600.0 * q2 * q2 * q + slope
    g[:, 3::2] += -slope + 2.0 * (d - 1.0)
    return f, g


@objective
def fletchcr(x: Array) -> Pair:
    """sum 100 (x_{i+1} - x_i + 1 - x_i**2)**2."""
    a, b = x[:, :-1], x[:, 1:]
    u = b - a + 1.0 - a * a
    g = np.zeros_like(x)
    g[:, 1:] = 200.0 * u
    g[:, :-1] -= 200.0 * u * (1.0 + 2.0 * a)
    return 100.0 * rowsum(u * u), g


@objective
def nondquar(x: Array) -> Pair:
    """(x_1 - x_2)**2 + sum (x_i + x_{i+1} + x_n)**4 + (x_{n-1} + x_n)**2."""
    first, last = x[:, 0] - x[:, 1], x[:, -2] + x[:, -1]
    u = x[:, :-2] + x[:, 1:-1] + x[:, -1:]
    c = 4.0 * u * u * u
    g = np.zeros_like(x)
    g[:, :-2] += c
    g[:, 1:-1] += c
    g[:, -1] += rowsum(c) + 2.0 * last
    g[:, -2] += 2.0 * last
    g[:, 0] += 2.0 * first
    g[:, 1] -= 2.0 * first
    return first * first + rowsum(u * u * u * u) + last * last, g


@objective
def dixmaana(x: Array) -> Pair:
    """1 + sum x_i**2 + sum x_i**2 x_{i+m}**4 / 8 + sum x_i x_{i+2m} / 8, n = 3 m."""
    m = x.shape[1] // 3
    a, b = x[:, : 2 * m], x[:, m:]
    p, q = x[:, :m], x[:, 2 * m :]
    b2 = b * b
    g = 2.0 * x
    g[:, : 2 * m] += 0.25 * a * b2 * b2
    g[:, m:] += 0.5 * a * a * b2 * b
    g[:, :m] += 0.125 * q
    g[:, 2 * m :] += 0.125 * p
    f = 1.0 + rowsum(x * x) + 0.125 * rowsum(a * a * b2 * b2) + 0.125 * rowsum(p * q)
    return f, g


@objective
def generalized_tridiagonal(x: Array) -> Pair:
    """sum (x_i + x_{i+1} - 3)**2 + (x_i - x_{i+1} + 1)**4."""
    a, b = x[:, :-1], x[:, 1:]
    u, v = a + b - 3.0, a - b + 1.0
    v3 = v * v * v
    g = np.zeros_like(x)
    g[:, :-1] = 2.0 * u + 4.0 * v3
    g[:, 1:] += 2.0 * u - 4.0 * v3
    return rowsum(u * u + v3 * v), g


# ----------------------------------------------------------------------------------------------
# Functions of few variables


@objective
def himmelblau(x: Array) -> Pair:
    x1, x2 = columns(x)
    u, v = x1 * x1 + x2 - 11.0, x1 + x2 * x2 - 7.0
    return u * u + v * v, stack(x, 4.0 * x1 * u + 2.0 * v, 2.0 * u + 4.0 * x2 * v)


@objective
def booth(x: Array) -> Pair:
    x1, x2 = columns(x)
    u, v = x1 + 2.0 * x2 - 7.0, 2.0 * x1 + x2 - 5.0
    return u * u + v * v, stack(x, 2.0 * u + 4.0 * v, 4.0 * u + 2.0 * v)


@objective
def matyas(x: Array) -> Pair:
    x1, x2 = columns(x)
    f = 0.26 * (x1 * x1 + x2 * x2) - 0.48 * x1 * x2
    return f, stack(x, 0.52 * x1 - 0.48 * x2, 0.52 * x2 - 0.48 * x1)


@objective
def branin(x: Array) -> Pair:
    x1, x2 = columns(x)
    b, c, t = 5.1 / (4.0 * math.pi**2), 5.0 / math.pi, 1.0 / (8.0 * math.pi)
    u = x2 - b * x1 * x1 + c * x1 - 6.0
    f = u * u + 10.0 * (1.0 - t) * np.cos(x1) + 10.0
    return f, stack(x, 2.0 * u * (c - 2.0 * b * x1) - 10.0 * (1.0 - t) * np.sin(x1), 2.0 * u)


@objective
def three_hump_camel(x: Array) -> Pair:
    x1, x2 = columns(x)
    s = x1 * x1
    f = s * (2.0 - 1.05 * s + s * s / 6.0) + x1 * x2 + x2 * x2
    return f, stack(x, x1 * (4.0 - 4.2 * s + s * s) + x2, x1 + 2.0 * x2)


@objective
def six_hump_camel(x: Array) -> Pair:
    x1, x2 = columns(x)
    s, q = x1 * x1, x2 * x2
    f = s * (4.0 - 2.1 * s + s * s / 3.0) + x1 * x2 + 4.0 * q * (q - 1.0)
    return f, stack(x, x1 * (8.0 - 8.4 * s + 2.0 * s * s) + x2, x1 + x2 * (16.0 * q - 8.0))


@objective
def goldstein_price(x: Array) -> Pair:
    x1, x2 = columns(x)
    s, d = x1 + x2 + 1.0, 2.0 * x1 - 3.0 * x2
    p = 19.0 - 14.0 * x1 + 3.0 * x1 * x1 - 14.0 * x2 + 6.0 * x1 * x2 + 3.0 * x2 * x2
    q = 18.0 - 32.0 * x1 + 12.0 * x1 * x1 + 48.0 * x2 - 36.0 * x1 * x2 + 27.0 * x2 * x2
    a, b = 1.0 + s * s * p, 30.0 + d * d * q
    p1 = -14.0 + 6.0 * (x1 + x2)  # dp/dx1 = dp/dx2, and the same for s
    da = 2.0 * s * p + s * s * p1
    q1 = -32.0 + 24.0 * x1 - 36.0 * x2
    q2 = 48.0 - 36.0 * x1 + 54.0 * x2
    db1, db2 = 4.0 * d * q + d * d * q1, -6.0 * d * q + d * d * q2
    return a * b, stack(x, da * b + a * db1, da * b + a * db2)


@objective
def easom(x: Array) -> Pair:
    x1, x2 = columns(x)
    u, v = x1 - math.pi, x2 - math.pi
    e = np.exp(-(u * u + v * v))
    c1, c2, s1, s2 = np.cos(x1), np.cos(x2), np.sin(x1), np.sin(x2)
    return -c1 * c2 * e, stack(x, e * c2 * (s1 + 2.0 * u * c1), e * c1 * (s2 + 2.0 * v * c2))


@objective
def bohachevsky(x: Array) -> Pair:
    x1, x2 = columns(x)
    a, b = 3.0 * math.pi, 4.0 * math.pi
    f = x1 * x1 + 2.0 * x2 * x2 - 0.3 * np.cos(a * x1) - 0.4 * np.cos(b * x2) + 0.7
    return f, stack(x, 2.0 * x1 + 0.3 * a * np.sin(a * x1), 4.0 * x2 + 0.4 * b * np.sin(b * x2))


@objective
def cube(x: Array) -> Pair:
    x1, x2 = columns(x)
    u, v = x2 - x1 * x1 * x1, 1.0 - x1
    return 100.0 * u * u + v * v, stack(x, -600.0 * x1 * x1 * u - 2.0 * v, 200.0 * u)


HARTMANN_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
HARTMANN_3_A = np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]])
HARTMANN_3_P = 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]])
HARTMANN_6_A = np.array(
    [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
)
HARTMANN_6_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(a64: Array, p64: Array) -> Objective:
    """Return minus a sum of four Gaussians with the given widths and centres."""

    @objective
    def fun(x: Array) -> Pair:
        alpha, a, p = like(x, HARTMANN_ALPHA, a64, p64)
        d = x[:, None, :] - p
        e = alpha * np.exp(-rowsum(a * d * d))
        return -rowsum(e), 2.0 * (a * d * e[:, :, None]).sum(axis=1)

    return fun


hartmann_3 = hartmann(HARTMANN_3_A, HARTMANN_3_P)
hartmann_6 = hartmann(HARTMANN_6_A, HARTMANN_6_P)


def extended(base: Objective, size: int) -> Objective:
    """Sum ``base``, a function of ``size`` variables, over consecutive groups of variables."""

    @objective
    def fun(x: Array) -> Pair:
        k, n = x.shape
        f, g = base(x.reshape(k * n // size, size))
        return rowsum(f.reshape(k, n // size)), g.reshape(k, n)

    return fun


extended_freudenstein_roth = extended(freudenstein_roth, 2)
extended_beale = extended(beale, 2)
extended_himmelblau = extended(himmelblau, 2)
extended_wood = extended(wood, 4)


# ----------------------------------------------------------------------------------------------
# Functions of the problems with bounds: few variables


def hs_3(weight: float) -> Objective:
    """Return x_2 + weight (x_2 - x_1)**2."""

    @objective
    def fun(x: Array) -> Pair:
        x1, x2 = columns(x)
        d = x2 - x1
        return x2 + weight * d * d, stack(x, -2.0 * weight * d, 1.0 + 2.0 * weight * d)

    return fun


hs_3_flat = hs_3(1e-5)
hs_3_steep = hs_3(1.0)


@objective
def hs_4(x: Array) -> Pair:
    """(x_1 + 1)**3 / 3 + x_2."""
    x1, x2 = columns(x)
    u = x1 + 1.0
    return u * u * u / 3.0 + x2, stack(x, u * u, 1.0)


@objective
def hs_45(x: Array) -> Pair:
    """2 - prod x_i / n!."""
    scale = math.factorial(x.shape[1])
    return 2.0 - np.prod(x, axis=1) / scale, products_without(x) / -scale


@objective
def logros(x: Array) -> Pair:
    """log(1 + 1e4 (x_2 - x_1**2)**2 + (1 - x_1)**2)."""
    x1, x2 = columns(x)
    u, v = x2 - x1 * x1, 1.0 - x1
    s = 1.0 + 1e4 * u * u + v * v
    return np.log(s), stack(x, (-4e4 * x1 * u - 2.0 * v) / s, 2e4 * u / s)


@objective
def mdhole(x: Array) -> Pair:
    """100 (sin x_1 - x_2)**2 + x_1."""
    x1, x2 = columns(x)
    u = np.sin(x1) - x2
    return 100.0 * u * u + x1, stack(x, 200.0 * u * np.cos(x1) + 1.0, -200.0 * u)


@objective
def eg1(x: Array) -> Pair:
    """x_1**2 + (x_2 x_3)**4 + x_2 sin(x_1 + x_3) + x_1 x_3 + x_2."""
    x1, x2, x3 = columns(x)
    u, t = x2 * x3, x1 + x3
    u3, s, c = u * u * u, np.sin(t), np.cos(t)
    f = x1 * x1 + u3 * u + x2 * s + x1 * x3 + x2
    return f, stack(x, 2.0 * x1 + x2 * c + x3, 4.0 * u3 * x3 + s + 1.0, 4.0 * u3 * x2 + x2 * c + x1)


@objective
def pspdoc(x: Array) -> Pair:
    """sum of sqrt(1 + x_i**2 + (x_{i+1} - x_{i+2})**2), i = 1, 2."""
    a, d = x[:, :2], x[:, 1:3] - x[:, 2:4]
    root = np.sqrt(1.0 + a * a + d * d)
    g = np.zeros_like(x)
    g[:, :2] = a / root
    g[:, 1:3] += d / root
    g[:, 2:4] -= d / root
    return rowsum(root), g


@objective
def himmelp1(x: Array) -> Pair:
    """Himmelblau's polynomial of problem HS 59, with an exponential and a fraction in it."""
    x1, x2 = columns(x)
    # Polynomials in x1, by rising powers, which multiply 1, x2, x2**2 and x2**3.
    factors = (
        (75.1963666677, -3.8112755343, 0.1269366345, -0.0020567665, 0.103450e-4),
        (-6.8306567613, 0.0302344793, -0.0012813448, 0.352599e-4, -0.2266e-6),
        (0.2564581253, 0.3405462e-3, -0.52375e-5, -0.63e-8, 0.0),
        (-0.003460403, -0.16638e-5, 0.0, 0.7e-9, 0.0),
        (0.135139e-4, 0.0, 0.0, 0.0, 0.0),
    )
    f, d1, d2 = np.zeros_like(x1), np.zeros_like(x1), np.zeros_like(x1)
    for c0, c1, c2, c3, c4 in reversed(factors):
        d2 = d2 * x2 + f
        f = f * x2 + (c0 + x1 * (c1 + x1 * (c2 + x1 * (c3 + x1 * c4))))
        d1 = d1 * x2 + (c1 + x1 * (2.0 * c2 + x1 * (3.0 * c3 + x1 * 4.0 * c4)))
    v = 1.0 + x2
    e = (-2.86731123 - 0.92e-8) * np.exp(5e-4 * x1 * x2)
    b = -28.1064434908
    f = f + b / v + e
    return -f, stack(x, -(d1 + 5e-4 * x2 * e), -(d2 - b / (v * v) + 5e-4 * x1 * e))


# Half of the data of two molecules; the other half is its mirror image.
PALMER_1_T = np.array(
    [1.788963, 1.745329, 1.658063, 1.570796, 1.483530, 1.396263, 1.308997, 1.218612]
    + [1.134464, 1.047198, 0.872665, 0.698132, 0.523599, 0.349066, 0.174533]
)
PALMER_1_Y = np.array(
    [78.596218, 65.77963, 43.96947, 27.038816, 14.6126, 6.2614, 1.538330, 0.0]
    + [1.188045, 4.6841, 16.9321, 33.6988, 52.3664, 70.1630, 83.4221]
)
PALMER_4_T = np.array(
    [1.658063, 1.570796, 1.396263, 1.221730, 1.047198, 0.872665, 0.741119, 0.698132, 0.523599, 0.349066, 0.174533]
)
PALMER_4_Y = np.array(
    [67.27625, 52.8537, 30.2718, 14.9888, 5.5675, 0.92603, 0.0, 0.085108, 1.867422, 5.014768, 8.263520]
)


def palmer(t_half: Array, y_half: Array, middle: float) -> Objective:
    """Return the misfit of x_1 t**2 + x_2 / (x_3 + t**2 / x_4), with the value ``middle`` at t = 0."""
    t2 = np.concatenate([t_half, [0.0], t_half]) ** 2
    y64 = np.concatenate([y_half, [middle], y_half])

    @least_squares
    def fun(x: Array) -> Pair:
        t, y = like(x, t2, y64)
        x1, x2, x3, x4 = x[:, 0:1], x[:, 1:2], x[:, 2:3], x[:, 3:4]
        q = 1.0 / (x3 + t / x4)
        steep = x2 * q * q
        jac = np.stack([np.broadcast_to(t, q.shape), q, -steep, steep * t / (x4 * x4)], axis=2)
        return x1 * t + x2 * q - y, jac

    return fun


palmer_1 = palmer(PALMER_1_T, PALMER_1_Y, 88.3995)
palmer_4 = palmer(PALMER_4_T, PALMER_4_Y, 9.8046208)

WEEDS_Y = np.array([5.308, 7.24, 9.638, 12.866, 17.069, 23.192, 31.443, 38.558, 50.156, 62.948, 75.995, 91.972])


@least_squares
def weeds(x: Array) -> Pair:
    (y,) = like(x, WEEDS_Y)
    t = np.arange(1, 13).astype(x.dtype)
    x1, x2 = x[:, 0:1], x[:, 1:2]
    e = np.exp(-t * x[:, 2:3])
    q = 1.0 / (1.0 + x2 * e)
    slope = -x1 * q * q * e
    return x1 * q - y, np.stack([q, slope, -slope * t * x2], axis=2)


YFIT_Y = np.array(
    [21.158931, 17.591719, 14.046854, 10.519732, 7.0058392, 3.5007293, 0.0, -3.5007293, -7.0058392]
    + [-10.519732, -14.046854, -17.591719, -21.158931, -24.753206, -28.379405, -32.042552, -35.747869]
)


@least_squares
def yfit(x: Array) -> Pair:
    (y,) = like(x, YFIT_Y)
    share = np.arange(17).astype(x.dtype) / 16.0
    tangent = np.tan(x[:, 0:1] * (1.0 - share) + x[:, 1:2] * share)
    slope = x[:, 2:3] * (1.0 + tangent * tangent)
    return x[:, 2:3] * tangent - y, np.stack([slope * (1.0 - share), slope * share, tangent], axis=2)


MIXTURE_Y = np.r_[95.0, np.arange(105.0, 220.1, 5.0), 230.0, 235.0, 240.0, 245.0, 250.0]
MIXTURE_COUNTS = np.array(
    [1, 1, 4, 4, 15, 15, 15, 13, 21, 12, 17, 4, 20, 8, 17, 8, 6, 6, 7, 4, 3, 3, 8, 1, 6, 5, 1, 7, 1, 2]
)


@objective
def mixture(x: Array) -> Pair:
    """Minus the log-likelihood of a mixture of three normal distributions: weights, means, widths."""
    y, count = like(x, MIXTURE_Y, MIXTURE_COUNTS)
    weight = np.stack([x[:, 0], x[:, 1], 1.0 - x[:, 0] - x[:, 1]], axis=1)[:, :, None]
    mean, width = x[:, 2:5, None], x[:, 5:8, None]
    d = (y - mean) / width
    e = np.exp(-0.5 * d * d) / width
    total = e[:, 0] * weight[:, 0] + e[:, 1] * weight[:, 1] + e[:, 2] * weight[:, 2]
    f = -rowsum(count * np.log(total / math.sqrt(2.0 * math.pi)))
    share = count / total
    q = weight * e * share[:, None, :]
    g = np.empty_like(x)
    g[:, 0:2] = -rowsum((e[:, :2] - e[:, 2:]) * share[:, None, :])
    g[:, 2:5] = -rowsum(q * d / width)
    g[:, 5:8] = -rowsum(q * (d * d - 1.0) / width)
    return f, g


GP_T = np.linspace(0.0, 5.0, 12)
GP_Y = np.sin(GP_T) + 0.2 * np.cos(9.0 * GP_T)


@objective
def gp_likelihood(x: Array) -> Pair:
    """Minus the log marginal likelihood of a Gaussian process: logarithms of variance, length and noise."""
    m = GP_T.size
    distance, y, eye = like(x, np.subtract.outer(GP_T, GP_T) ** 2, GP_Y, np.eye(m))
    e = np.exp(x)[:, :, None, None]
    scaled = distance / (e[:, 1] * e[:, 1])
    smooth = e[:, 0] * np.exp(-0.5 * scaled)
    noise = e[:, 2] * eye
    matrix = smooth + noise

    # Gauss and Jordan without pivots, which a positive definite matrix does not need.
    inverse = np.zeros_like(matrix) + eye
    log_det = np.zeros_like(x[:, 0])
    for j in range(m):
        pivot = matrix[:, j, j, None].copy()
        log_det = log_det + np.log(pivot[:, 0])
        matrix[:, j] /= pivot
        inverse[:, j] /= pivot
        factor = matrix[:, :, j, None].copy()
        factor[:, j] = 0.0
        matrix -= factor * matrix[:, j, None]
        inverse -= factor * inverse[:, j, None]

    weight = rowsum(inverse * y)
    f = 0.5 * rowsum(weight * y) + 0.5 * log_det
    slope = inverse - weight[:, :, None] * weight[:, None, :]
    parts = np.stack([smooth, smooth * scaled, noise], axis=1)
    return f, 0.5 * rowsum((slope[:, None] * parts).reshape(len(x), 3, m * m))


# ----------------------------------------------------------------------------------------------
# Functions of the problems with bounds: any number of variables


@objective
def paviani(x: Array) -> Pair:
    """sum log(x_i - 2)**2 + log(10 - x_i)**2 - (prod x_i)**0.2: NaN outside 2 < x < 10."""
    low, high = np.log(x - 2.0), np.log(10.0 - x)
    p = np.exp(0.2 * rowsum(np.log(x)))
    f = rowsum(low * low + high * high) - p
    return f, 2.0 * low / (x - 2.0) - 2.0 * high / (10.0 - x) - 0.2 * p[:, None] / x


@objective
def mccormick(x: Array) -> Pair:
    """sum (x_i - x_{i+1})**2 + sin(x_i + x_{i+1}) - 1.5 x_i + 2.5 x_{i+1} + 1."""
    a, b = x[:, :-1], x[:, 1:]
    d, t = a - b, a + b
    c = np.cos(t)
    g = np.zeros_like(x)
    g[:, :-1] = 2.0 * d + c - 1.5
    g[:, 1:] += c - 2.0 * d + 2.5
    return rowsum(d * d + np.sin(t) - 1.5 * a + 2.5 * b + 1.0), g


@objective
def wolfe(x: Array) -> Pair:
    """(sum x_i**3)**2 - sum x_i**2 sum x_i**4."""
    x2 = x * x
    x3 = x2 * x
    s2, s3, s4 = rowsum(x2), rowsum(x3), rowsum(x2 * x2)
    g = 6.0 * s3[:, None] * x2 - 2.0 * s4[:, None] * x - 4.0 * s2[:, None] * x3
    return s3 * s3 - s2 * s4, g


def slope_and_pairs(m: int, pair: Callable[[Array, Array], Pair], tail: bool = False) -> Objective:
    """Return -10 sum i x_i, plus ``m`` terms in x_i x_{i+1}, plus a quadratic in the other x_i.

    ``pair(z, c)`` returns a term and its derivative at z = x_i x_{i+1}, for c = i / m.  With a ``tail`` there is
    4 x_i**2 + 2 x_n**2 + x_i x_n for m < i < n.
    """

    @objective
    def fun(x: Array) -> Pair:
        (c,) = like(x, np.arange(1, m + 1) / m)
        linear = -10.0 * indices(x)
        a, b = x[:, :m], x[:, 1 : m + 1]
        value, slope = pair(a * b, c)
        f = rowsum(linear * x) + rowsum(value)
        g = np.zeros_like(x) + linear
        g[:, :m] += slope * b
        g[:, 1 : m + 1] += slope * a
        if tail:
            a, b = x[:, m:-1], x[:, -1:]
            f = f + rowsum(4.0 * a * a + 2.0 * b * b + a * b)
            g[:, m:-1] += 8.0 * a + b
            g[:, -1] += rowsum(4.0 * b + a)
        return f, g

    return fun


def pair_exp(z: Array, c: Array) -> Pair:
    e = np.exp(0.1 * z)
    return e, 0.1 * e


def pair_exp_rising(z: Array, c: Array) -> Pair:
    e = np.exp(0.1 * c * z)
    return e, 0.1 * c * e


def pair_product(z: Array, c: Array) -> Pair:
    return z, np.ones_like(z)


def pair_quartic(z: Array, c: Array) -> Pair:
    z3 = z * z * z
    return c * z3 * z, 4.0 * c * z3


@objective
def hatfld_ab(x: Array) -> Pair:
    """(x_1 - 1)**2 + sum (x_{i-1} - sqrt(x_i))**2."""
    root = np.sqrt(x[:, 1:])
    d, u = x[:, 0] - 1.0, x[:, :-1] - root
    g = np.zeros_like(x)
    g[:, :-1] = 2.0 * u
    g[:, 1:] -= u / root
    g[:, 0] += 2.0 * d
    return d * d + rowsum(u * u), g


@objective
def hatfld_c(x: Array) -> Pair:
    """(x_1 - 1)**2 + sum_{1<i<n} (x_{i+1} - x_i**2)**2 + (x_n - 1)**2."""
    first, last = x[:, 0] - 1.0, x[:, -1] - 1.0
    a = x[:, 1:-1]
    u = x[:, 2:] - a * a
    g = np.zeros_like(x)
    g[:, 2:] = 2.0 * u
    g[:, 1:-1] -= 4.0 * a * u
    g[:, 0] += 2.0 * first
    g[:, -1] += 2.0 * last
    return first * first + rowsum(u * u) + last * last, g


@objective
def nonscomp(x: Array) -> Pair:
    """(x_1 - 1)**2 + 4 sum (x_i - x_{i-1}**2)**2."""
    first, a = x[:, 0] - 1.0, x[:, :-1]
    u = x[:, 1:] - a * a
    g = np.zeros_like(x)
    g[:, 1:] = 8.0 * u
    g[:, :-1] -= 16.0 * a * u
    g[:, 0] += 2.0 * first
    return first * first + 4.0 * rowsum(u * u), g


@objective
def biggsb1(x: Array) -> Pair:
    """(x_1 - 1)**2 + sum (x_{i+1} - x_i)**2 + (1 - x_n)**2."""
    first, last, d = x[:, 0] - 1.0, x[:, -1] - 1.0, x[:, 1:] - x[:, :-1]
    g = np.zeros_like(x)
    g[:, 1:] = 2.0 * d
    g[:, :-1] -= 2.0 * d
    g[:, 0] += 2.0 * first
    g[:, -1] += 2.0 * last
    return first * first + rowsum(d * d) + last * last, g


@objective
def pentdi(x: Array) -> Pair:
    """6 sum x_i**2 - 4 sum x_i x_{i+1} + sum x_i x_{i+2}, i < n - 1 in both, plus a linear function."""
    n = x.shape[1]
    half = n // 2
    linear = np.zeros(n)
    linear[[0, 1, half - 2, half - 1, half]] = -3.0, 1.0, 1.0, -3.0, 4.0
    linear[half + 2 :] += 1.0
    (c,) = like(x, linear)
    a, b, d = x[:, :-2], x[:, 1:-1], x[:, 2:]
    g = 12.0 * x + c
    g[:, :-2] += d - 4.0 * b
    g[:, 1:-1] -= 4.0 * a
    g[:, 2:] += a
    return rowsum(6.0 * x * x + c * x) + rowsum(a * d - 4.0 * a * b), g


def chenhark_linear(n: int) -> Array:
    """Return q such that the first half of x = 1, else 0, minimises x' M x / 2 + q x, x >= 0, degenerately."""
    x = np.zeros(n + 4)
    x[2 : n // 2 + 2] = 1.0
    q = -np.convolve(np.convolve(x, [1.0, -2.0, 1.0], "valid"), [1.0, -2.0, 1.0], "valid")
    q[n // 2 + n // 5 :] += 1.0
    return q


@objective
def chenhark(x: Array) -> Pair:
    """Half the sum of the squares of the second differences of (0, 0, x, 0, 0), plus q x."""
    k, n = x.shape
    (q,) = like(x, chenhark_linear(n))
    z = np.zeros((k, n + 4), x.dtype)
    z[:, 2:-2] = x
    d = z[:, :-2] - 2.0 * z[:, 1:-1] + z[:, 2:]
    return 0.5 * rowsum(d * d) + rowsum(q * x), d[:, :-2] - 2.0 * d[:, 1:-1] + d[:, 2:] + q


def rank_one_sum(positive: Callable[[int], int]) -> Objective:
    """Return half the sum of i (x_i + x_j + x_k)**2, the first ``positive(n)`` with plus, the others with minus.

    j = (2 i - 1) mod n + 1 and k = (3 i - 1) mod n + 1.
    """

    @objective
    def fun(x: Array) -> Pair:
        n = x.shape[1]
        i = np.arange(1, n + 1)
        j, k = (2 * i - 1) % n, (3 * i - 1) % n
        (weight,) = like(x, np.where(i <= positive(n), i, -i))
        u = x + x[:, j] + x[:, k]
        t = weight * u
        g = t.copy()
        np.add.at(g, (slice(None), j), t)
        np.add.at(g, (slice(None), k), t)
        return 0.5 * rowsum(t * u), g

    return fun


cvxbqp1 = rank_one_sum(lambda n: n)
ncvxbqp1 = rank_one_sum(lambda n: n // 4)


def grid(down: Array, right: Array, load: Array) -> Objective:
    """Return a membrane on p by q points: sums of weights times squared differences, minus load x.

    ``down`` (p - 1, q) and ``right`` (p, q - 1) weigh the differences, ``load`` (p, q) the points.
    """

    @objective
    def fun(x: Array) -> Pair:
        k, (p, q) = len(x), load.shape
        z = x.reshape(k, p, q)
        w, v, c = like(x, down, right, load)
        d, e = z[:, 1:] - z[:, :-1], z[:, :, 1:] - z[:, :, :-1]
        f = rowsum(rowsum(w * d * d)) + rowsum(rowsum(v * e * e)) - rowsum(rowsum(c * z))
        g = np.zeros_like(z) - c
        g[:, 1:] += 2.0 * w * d
        g[:, :-1] -= 2.0 * w * d
        g[:, :, 1:] += 2.0 * v * e
        g[:, :, :-1] -= 2.0 * v * e
        return f, g.reshape(x.shape)

    return fun


def inside(p: int, value: float = 1.0) -> Array:
    """Return ``value`` at the inner points of p by p, and 0 on the edge."""
    z = np.zeros((p, p))
    z[1:-1, 1:-1] = value
    return z


def membrane(p: int, force: float) -> Objective:
    """Return the membrane under a force on the unit square, p by p points with its edge."""
    inner = 0.25 * inside(p)
    return grid(inner[1:] + inner[:-1], inner[:, 1:] + inner[:, :-1], inside(p, force / (p - 1.0) ** 2))


def journal_bearing(p: int, eccentricity: float) -> Objective:
    """Return the pressure in a journal bearing, on 2 pi by 20, p by p points with its edge."""
    ht, hy = 2.0 * math.pi / (p - 1), 20.0 / (p - 1)
    angle = ht * np.arange(p)
    w = (1.0 + eccentricity * np.cos(angle)) ** 3
    # Of the two triangles at a point, (i, i + 1) and (i, i - 1).
    after, before = (2.0 * w[:-1] + w[1:]) / 6.0, (2.0 * w[1:] + w[:-1]) / 6.0
    one_side, other_side = np.ones(p), np.ones(p)
    one_side[-1] = other_side[0] = 0.0
    down = 0.5 * hy / ht * (np.multiply.outer(after, one_side) + np.multiply.outer(before, other_side))
    right = 0.5 * ht / hy * (np.r_[after, 0.0] + np.r_[0.0, before])[:, None] * np.ones(p - 1)
    return grid(down, right, inside(p, eccentricity * ht * hy) * np.sin(angle)[:, None])


# ----------------------------------------------------------------------------------------------
# The lists


def entry(
    name: str,
    fun: Objective,
    x0: Sequence[float] | Array,
    minima: float | Sequence[float],
    source: str,
    lower: float | Sequence[float] | Array = -np.inf,
    upper: float | Sequence[float] | Array = np.inf,
) -> Problem:
    """Build a `Problem` with read-only copies of ``x0`` and of the bounds, numbers being those of all coordinates."""
    start = np.array(x0, dtype=np.float64)
    below, above = (np.array(np.broadcast_to(bound, start.shape), dtype=np.float64) for bound in (lower, upper))
    for array in (start, below, above):
        array.setflags(write=False)
    values = (minima,) if isinstance(minima, (int, float)) else minima
    return Problem(name, start.size, start, fun, tuple(float(v) for v in values), source, below, above)


def ramp(n: int) -> Array:
    """Return 1, 2, ..., n as floats."""
    return np.arange(1.0, n + 1.0)


def _mgh() -> tuple[Problem, ...]:
    h = ramp(10) / 11.0
    m = 20.0
    return (
        entry("rosenbrock", rosenbrock, [-1.2, 1.0], 0, "MGH 1"),
        entry("freudenstein_roth", freudenstein_roth, [0.5, -2.0], (0, 48.98425367924), "MGH 2"),
        entry("powell_badly_scaled", powell_badly_scaled, [0.0, 1.0], 0, "MGH 3; flat"),
        entry("brown_badly_scaled", brown_badly_scaled, [1.0, 1.0], 0, "MGH 4"),
        entry("beale", beale, [1.0, 1.0], 0, "MGH 5"),
        entry("jennrich_sampson", jennrich_sampson, [0.3, 0.4], 124.36218235561, "MGH 6, m = 10"),
        entry("helical_valley", helical_valley, [-1.0, 0.0, 0.0], 0, "MGH 7"),
        entry(
            "bard",
            bard,
            [1.0, 1.0, 1.0],
            (8.214877306579e-3, 17.42869333333333),
            "MGH 8; the second as x_2, x_3 -> -inf",
        ),
        entry("gaussian", gaussian, [0.4, 1.0, 0.0], 1.127932769619e-8, "MGH 9"),
        entry(
            "meyer",
            meyer,
            [0.02, 4000.0, 250.0],
            87.94585517050,
            "MGH 10; so badly scaled that most methods stop short",
        ),
        entry("gulf", gulf, [5.0, 2.5, 0.15], 0, "MGH 11, m = 99"),
        entry("box_3d", box_3d, [0.0, 10.0, 20.0], 0, "MGH 12, m = 10"),
        entry("powell_singular", powell_singular, [3.0, -1.0, 0.0, 1.0], 0, "MGH 13"),
        entry("wood", wood, [-3.0, -1.0, -3.0, -1.0], 0, "MGH 14"),
        entry(
            "kowalik_osborne",
            kowalik_osborne,
            [0.25, 0.39, 0.415, 0.39],
            (3.075056038492e-4, 1.027343048695e-3),
            "MGH 15; the second at infinity",
        ),
        entry(
            "brown_dennis",
            brown_dennis,
            [25.0, 5.0, -5.0, -1.0],
            85822.20162635628,
            "MGH 16, m = 20",
        ),
        entry("osborne_1", osborne_1, [0.5, 1.5, -1.0, 0.01, 0.02], 5.464894697482e-5, "MGH 17"),
        entry(
            "biggs_exp6",
            biggs_exp6,
            [1.0, 2.0, 1.0, 1.0, 1.0, 1.0],
            (0, 5.655649925500e-3),
            "MGH 18, m = 13; the second is a saddle, reached as start and gradient have x_1 = x_5 and x_3 = x_6",
        ),
        entry(
            "osborne_2",
            osborne_2,
            [1.3, 0.65, 0.65, 0.7, 0.6, 3.0, 5.0, 7.0, 2.0, 4.5, 5.5],
            (4.013773629355e-2, 8.759472409341e-2),
            "MGH 19; the second is ours, and there are more",
        ),
        entry("watson_6", watson, np.zeros(6), 2.287670053552e-3, "MGH 20, n = 6"),
        entry("watson_9", watson, np.zeros(9), 1.399760138e-6, "MGH 20, n = 9"),
        entry(
            "watson_12",
            watson,
            np.zeros(12),
            4.72238111e-10,
            "MGH 20, n = 12; condition number 1e13",
        ),
        entry("extended_rosenbrock_10", extended_rosenbrock, np.tile([-1.2, 1.0], 5), 0, "MGH 21"),
        entry("extended_powell_12", extended_powell, np.tile([3.0, -1.0, 0.0, 1.0], 3), 0, "MGH 22"),
        entry("penalty_1_4", penalty_1, ramp(4), 2.249977500900e-5, "MGH 23, n = 4"),
        entry("penalty_1_10", penalty_1, ramp(10), 7.087651467090e-5, "MGH 23, n = 10"),
        entry("penalty_2_4", penalty_2, np.full(4, 0.5), 9.376293007355e-6, "MGH 24, n = 4"),
        entry("penalty_2_10", penalty_2, np.full(10, 0.5), 2.936605374575e-4, "MGH 24, n = 10"),
        entry("variably_dimensioned_10", variably_dimensioned, 1.0 - ramp(10) / 10.0, 0, "MGH 25"),
        entry(
            "trigonometric_10",
            trigonometric,
            np.full(10, 0.1),
            (0, 2.795056121879e-5, 4.218633887921e-5),
            "MGH 26; the third is ours",
        ),
        entry(
            "brown_almost_linear_10",
            brown_almost_linear,
            np.full(10, 0.5),
            (0, 1),
            "MGH 27; 1 at (0, ..., 0, 11)",
        ),
        entry("discrete_boundary_value_10", discrete_boundary_value, h * (h - 1.0), 0, "MGH 28"),
        entry("discrete_integral_equation_10", discrete_integral_equation, h * (h - 1.0), 0, "MGH 29"),
        entry("broyden_tridiagonal_10", broyden_tridiagonal, np.full(10, -1.0), 0, "MGH 30"),
        entry("broyden_banded_10", broyden_banded, np.full(10, -1.0), 0, "MGH 31"),
        entry("linear_full_rank_10", linear_full_rank, np.ones(10), m - 10.0, "MGH 32, m = 20"),
        entry(
            "linear_rank_1_10",
            linear_rank_1,
            np.ones(10),
            m * (m - 1.0) / (2.0 * (2.0 * m + 1.0)),
            "MGH 33, m = 20",
        ),
        entry(
            "linear_rank_1_zeros_10",
            linear_rank_1_zeros,
            np.ones(10),
            (m * m + 3.0 * m - 6.0) / (2.0 * (2.0 * m - 3.0)),
            "MGH 34, m = 20",
        ),
        entry("chebyquad_7", chebyquad, ramp(7) / 8.0, 0, "MGH 35, m = n = 7"),
        entry("chebyquad_8", chebyquad, ramp(8) / 9.0, 3.516873725678e-3, "MGH 35, m = n = 8"),
        entry("chebyquad_9", chebyquad, ramp(9) / 10.0, 0, "MGH 35, m = n = 9"),
        entry(
            "chebyquad_10",
            chebyquad,
            ramp(10) / 11.0,
            (4.772713696375e-3, 6.503954800882e-3),
            "MGH 35, m = n = 10; the first is ours",
        ),
    )


def _few_variables() -> tuple[Problem, ...]:
    return (
        entry("himmelblau", himmelblau, [0.0, 0.0], 0, "Himmelblau (1972)"),
        entry("booth", booth, [0.0, 0.0], 0, "SB"),
        entry("matyas", matyas, [5.0, -4.0], 0, "SB"),
        entry("branin", branin, [2.5, 7.5], 0.397887357729738, "SB"),
        entry("three_hump_camel", three_hump_camel, [1.0, 1.0], (0, 0.2986384422368594), "SB"),
        entry(
            "six_hump_camel",
            six_hump_camel,
            [0.5, 0.5],
            (-1.0316284534898774, -0.2154638243837, 2.104250310311),
            "SB",
        ),
        entry("goldstein_price", goldstein_price, [0.5, -0.5], (3, 30, 84, 840), "SB"),
        entry("easom", easom, [2.5, 3.5], -1, "SB; the start is near, the function flat elsewhere"),
        entry("bohachevsky", bohachevsky, [0.1, -0.1], 0, "SB, function 1"),
        entry("cube", cube, [-1.2, 1.0], 0, "Leon (1966)"),
        entry(
            "hartmann_3",
            hartmann_3,
            np.full(3, 0.5),
            (-3.862779787332, -3.089764134383, -1.000816863561),
            "SB",
        ),
        entry("hartmann_6", hartmann_6, np.full(6, 0.5), (-3.322368011415, -3.203161918396), "SB"),
    )


def _families() -> tuple[Problem, ...]:
    problems: list[Problem] = []

    def add(
        name: str,
        fun: Objective,
        sizes: Sequence[int],
        x0: Callable[[int], Array],
        minima: Callable[[int], float | Sequence[float]],
        source: str,
    ) -> None:
        for n in sizes:
            problems.append(entry(f"{name}_{n}", fun, x0(n), minima(n), source))

    def zero(n: int) -> float:
        return 0.0

    def at(values: dict[int, float | Sequence[float]]) -> Callable[[int], float | Sequence[float]]:
        return lambda n: values[n]

    def full(value: float) -> Callable[[int], Array]:
        return lambda n: np.full(n, value)

    def cycle(*values: float) -> Callable[[int], Array]:
        return lambda n: np.resize(np.array(values), n)

    add("sphere", sphere, (1, 1000), lambda n: ramp(n) / n, zero, "sum of squares")
    add("quartic", quartic, (1, 100), np.ones, zero, "De Jong's fourth, without noise; singular")
    add("cosh", cosh, (20,), ramp, float, "minimum n at 0")
    add("pseudo_huber", pseudo_huber, (20,), np.zeros, float, "minimum n at (1, ..., n)")
    add("extended_rosenbrock", extended_rosenbrock, (100, 1000), cycle(-1.2, 1.0), zero, "MGH 21")
    add(
        "chained_rosenbrock",
        chained_rosenbrock,
        (5, 10, 100),
        cycle(-1.2, 1.0),
        at(
            {
                5: (0, 3.930839434133),
                10: (0, 3.986579112347),
                100: (0, 3.986623854301),
            }
        ),
        "scipy.optimize.rosen; the second minimum, near (-1, 1, ..., 1), is ours",
    )
    add(
        "generalized_rosenbrock",
        generalized_rosenbrock,
        (5, 50),
        lambda n: ramp(n) / (n + 1.0),
        lambda n: 1.0,
        "CUTE, GENROSE",
    )
    add(
        "extended_powell",
        extended_powell,
        (100, 1000),
        cycle(3.0, -1.0, 0.0, 1.0),
        zero,
        "MGH 22; singular",
    )
    add("dixon_price", dixon_price, (10, 50), np.ones, zero, "SB")
    add(
        "styblinski_tang",
        styblinski_tang,
        (1, 10, 100),
        full(-1.0),
        lambda n: [-39.16616570377142 * (n - i) - 25.029446655283945 * i for i in range(n + 1)],
        "SB; every coordinate has two minima",
    )
    add("trid", trid, (10, 50), np.zeros, lambda n: -n * (n + 4.0) * (n - 1.0) / 6.0, "SB")
    add("zakharov", zakharov, (10, 50), np.ones, zero, "SB")
    add("quadratic_1e2", quadratic_1e2, (10, 1000), np.zeros, zero, "condition number 1e2")
    add("quadratic_1e4", quadratic_1e4, (10, 100), np.zeros, zero, "condition number 1e4")
    add("quadratic_1e6", quadratic_1e6, (10, 100), np.zeros, zero, "condition number 1e6")
    add("rotated_ellipsoid", rotated_ellipsoid, (10, 50), np.ones, zero, "SB")
    add(
        "log_sum_exp",
        log_sum_exp,
        (20, 200),
        full(3.0),
        lambda n: math.log(2.0 * n),
        "minimum log(2 n) at c, by symmetry",
    )
    add(
        "log_domain",
        log_domain,
        (1, 5, 50),
        np.ones,
        lambda n: n * (1.0 + math.log(50.0)),
        "NaN outside x > 0; minimiser 1/50, and the gradient at the start points far outside",
    )
    add(
        "logistic_regression",
        logistic_regression,
        (5, 20),
        np.zeros,
        at({5: 0.5962186591992, 20: 0.6283225794744}),
        "fixed data; function and minima are ours",
    )
    add("griewank", griewank, (10,), full(0.5), zero, "SB; from near the global minimum")
    add("levy", levy, (10,), full(0.5), zero, "SB; from near the global minimum")
    add("negative_gaussian", negative_gaussian, (10,), full(0.5), lambda n: -1.0, "minimum at 0")
    add(
        "penalty_1",
        penalty_1,
        (100, 1000),
        ramp,
        at({100: 9.024909768043e-4, 1000: 9.686175432445e-3}),
        "MGH 23; minima as in CUTE, PENALTY1",
    )
    add(
        "variably_dimensioned",
        variably_dimensioned,
        (50,),
        lambda n: 1.0 - ramp(n) / n,
        zero,
        "MGH 25",
    )
    add(
        "broyden_tridiagonal",
        broyden_tridiagonal,
        (100, 1000),
        full(-1.0),
        at({100: 0.0, 1000: (0.0, 0.7125279095861)}),
        "MGH 30; for n = 1000 the start leads to the second minimum, which is ours",
    )
    add("broyden_banded", broyden_banded, (50,), full(-1.0), zero, "MGH 31")
    add(
        "discrete_boundary_value",
        discrete_boundary_value,
        (50,),
        lambda n: ramp(n) / (n + 1.0) * (ramp(n) / (n + 1.0) - 1.0),
        zero,
        "MGH 28",
    )
    add("raydan_1", raydan_1, (100,), np.ones, lambda n: n * (n + 1.0) / 20.0, "Andrei")
    add("raydan_2", raydan_2, (1000,), np.ones, float, "Andrei")
    add(
        "hager",
        hager,
        (10, 100),
        np.ones,
        lambda n: math.fsum(math.sqrt(i) * (1.0 - 0.5 * math.log(i)) for i in range(1, n + 1)),
        "Andrei; minimiser x_i = log(i) / 2",
    )
    add("power", power, (10,), np.ones, zero, "CUTE, POWER; singular")
    add("quartc", quartc, (100,), full(2.0), zero, "CUTE, QUARTC; singular")
    add("arwhead", arwhead, (1000,), np.ones, zero, "CUTE, ARWHEAD")
    add(
        "engval1",
        engval1,
        (2, 100, 1000),
        full(2.0),
        at({2: 0.0, 100: 109.08813614309, 1000: 1108.1947187850}),
        "CUTE, ENGVAL1",
    )
    add("nondia", nondia, (10, 100), full(-1.0), zero, "Shanno (1978); CUTE, NONDIA, is similar")
    add("dqdrtic", dqdrtic, (1000,), full(3.0), zero, "CUTE, DQDRTIC")
    add("tridia", tridia, (100,), np.ones, zero, "CUTE, TRIDIA")
    add(
        "edensch",
        edensch,
        (36, 1000),
        np.zeros,
        at({36: 219.28459202076, 1000: 6003.2845920208}),
        "CUTE, EDENSCH, from 0",
    )
    add("liarwhd", liarwhd, (10, 1000), full(4.0), zero, "CUTE, LIARWHD")
    add(
        "cragg_levy",
        cragg_levy,
        (4, 50),
        lambda n: np.r_[1.0, np.full(n - 1, 2.0)],
        at({4: 0.0, 50: 11.634273151786}),
        "Cragg and Levy (1969), chained as in CUTE; singular for n = 4; minimum for n = 50 is ours",
    )
    add("fletchcr", fletchcr, (10,), np.zeros, zero, "CUTE, FLETCHCR")
    add("nondquar", nondquar, (10,), cycle(1.0, -1.0), zero, "CUTE, NONDQUAR; singular")
    add("dixmaana", dixmaana, (15, 300), full(2.0), lambda n: 1.0, "CUTE, DIXMAANA")
    add(
        "generalized_tridiagonal",
        generalized_tridiagonal,
        (10, 100),
        full(2.0),
        at({10: 7.211216703292, 100: 97.210307485991}),
        "Andrei, generalized tridiagonal 1; minima are ours",
    )
    add(
        "extended_freudenstein_roth",
        extended_freudenstein_roth,
        (4,),
        cycle(0.5, -2.0),
        lambda n: [48.98425367924 * i for i in range(n // 2 + 1)],
        "Andrei; every pair has two minima",
    )
    add("extended_beale", extended_beale, (1000,), cycle(1.0, 0.8), zero, "Andrei")
    add("extended_himmelblau", extended_himmelblau, (20,), np.ones, zero, "Andrei")
    add("extended_wood", extended_wood, (20,), cycle(-3.0, -1.0), zero, "CUTE, WOODS")
    return tuple(problems)


def _published_bounds() -> tuple[Problem, ...]:
    problems: list[Problem] = []

    def add(
        name: str,
        fun: Objective,
        x0: Sequence[float] | Array,
        lower: float | Sequence[float] | Array,
        upper: float | Sequence[float] | Array,
        minima: float | Sequence[float],
        source: str,
    ) -> None:
        problems.append(entry(name, fun, x0, minima, source, lower, upper))

    inf = np.inf
    a = math.sqrt(598.0 / 1200.0)
    x = 2.0 * a * math.cos(math.acos(1.0 / (400.0 * a**3)) / 3.0)
    value = 100.0 * (1.5 - x * x) ** 2 + (1.0 - x) ** 2
    add("hs_1", rosenbrock, [-2.0, 1.0], [-inf, -1.5], inf, 0, "HS 1; the bound does not bind")
    add(
        "hs_2",
        rosenbrock,
        [-2.0, 1.0],
        [-inf, 1.5],
        inf,
        (value, 4.941229317989),
        "HS 2; from outside; the second is ours",
    )
    add("hs_3", hs_3_flat, [10.0, 1.0], [-inf, 0.0], inf, 0, "HS 3; nearly linear")
    add("hs_3mod", hs_3_steep, [10.0, 1.0], [-inf, 0.0], inf, 0, "CUTE, HS3MOD")
    add("hs_4", hs_4, [1.125, 0.125], [1.0, 0.0], inf, 8.0 / 3.0, "HS 4; a vertex")
    value = -math.sqrt(3.0) / 2.0 - math.pi / 3.0
    add("hs_5", mccormick, [0.0, 0.0], [-1.5, -3.0], [4.0, 3.0], (value, 1.228369698609), "HS 5; the second is ours")
    add(
        "hs_25",
        gulf,
        [100.0, 12.5, 3.0],
        [0.1, 0.0, 0.0],
        [100.0, 25.6, 5.0],
        0,
        "HS 25; max|g| is 2e-8 at the start, which solvers take for a minimiser",
    )
    add("hs_38", wood, [-3.0, -1.0, -3.0, -1.0], -10.0, 10.0, 0, "HS 38; no bound binds")
    add("hs_45", hs_45, np.full(5, 2.0), 0.0, ramp(5), 1, "HS 45; a vertex; from outside")
    add("hs_110", paviani, np.full(10, 9.0), 2.001, 9.999, -45.77846970745, "HS 110; NaN outside 2 < x < 10")

    add(
        "powell_badly_scaled_gay",
        powell_badly_scaled,
        [0.0, 1.0],
        [0.0, 1.0],
        [1.0, 9.0],
        1.5125936724397e-10,
        "Gay; flat; starts on a corner",
    )
    add(
        "brown_badly_scaled_gay",
        brown_badly_scaled,
        [1.0, 1.0],
        [0.0, 3e-5],
        [1e6, 100.0],
        783.9999992952,
        "Gay",
    )
    add("beale_gay", beale, [1.0, 1.0], [0.6, 0.5], [10.0, 100.0], 0, "Gay; a bound binds, its multiplier being 0")
    add(
        "helical_valley_gay",
        helical_valley,
        [-1.0, 0.0, 0.0],
        [-100.0, -1.0, -1.0],
        [0.8, 1.0, 1.0],
        0.9904221209614,
        "Gay",
    )
    add("gaussian_gay", gaussian, [0.4, 1.0, 0.0], [0.398, 1.0, -0.5], [4.2, 2.0, 0.1], 1.127932769618e-08, "Gay")
    add(
        "box_3d_gay",
        box_3d,
        [0.0, 10.0, 20.0],
        [0.0, 5.0, 0.0],
        [2.0, 9.5, 20.0],
        0.0001143481802641,
        "Gay; from outside; the minimum, for m = 10, is ours",
    )
    add(
        "wood_gay",
        wood,
        [-3.0, -1.0, -3.0, -1.0],
        -100.0,
        [0.0, 10.0, 100.0, 100.0],
        (1.556700800439, 7.093836425129),
        "Gay; the second minimum is ours",
    )
    add(
        "brown_dennis_gay",
        brown_dennis,
        [25.0, 5.0, -5.0, -1.0],
        [-10.0, 0.0, -100.0, -20.0],
        [100.0, 15.0, 0.0, 0.2],
        88860.4797675,
        "Gay",
    )
    add(
        "biggs_exp6_gay",
        biggs_exp6,
        [1.0, 2.0, 1.0, 1.0, 1.0, 1.0],
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        [2.0, 8.0, 1.0, 7.0, 5.0, 5.0],
        (0.0005320986590782, 0.2428078039714),
        "Gay; starts at a bound; the second minimum is ours",
    )

    add("logros", logros, [-1.2, 1.0], 0.0, inf, 0, "CUTE, LOGROS; from outside")
    add("mdhole", mdhole, [10.0, 1.0], [0.0, -inf], inf, 0, "CUTE, MDHOLE; a curved valley that ends at a bound")
    add(
        "eg1",
        eg1,
        np.zeros(3),
        [-inf, -1.0, 1.0],
        [inf, 1.0, 2.0],
        (-1.429306753575, -1.132800782584),
        "CUTE, EG1; from outside; minima ours",
    )
    value = 1.0 + math.sqrt(2.0)
    add("pspdoc", pspdoc, np.full(4, 3.0), -inf, [-1.0, inf, inf, inf], value, "CUTE, PSPDOC; from outside")
    add(
        "himmelp1",
        himmelp1,
        [95.0, 10.0],
        0.0,
        [95.0, 75.0],
        (-62.05386937543, -51.73784632195, -23.89740780741),
        "CUTE, HIMMELP1; starts at a bound; only the first minimum is published",
    )
    positive = [-inf, 1e-5, 1e-5, 1e-5]
    add("palmer_1", palmer_1, np.ones(4), positive, inf, 11754.60254535, "CUTE, PALMER1; badly scaled")
    add(
        "palmer_4",
        palmer_4,
        np.ones(4),
        positive,
        inf,
        (2285.383225450, 2424.016415548),
        "CUTE, PALMER4; badly scaled; the second minimum is ours",
    )
    add("weeds", weeds, np.ones(3), 0.0, [inf, inf, 3.0], 2.587277395284, "CUTE, WEEDS; badly scaled")
    add("yfit", yfit, [0.6, -0.6, 20.0], [-inf, -inf, 0.0], inf, 0, "CUTE, YFIT; the data are rounded, and leave 7e-13")
    add(
        "mixture",
        mixture,
        [0.1, 0.2, 100.0, 125.0, 175.0, 11.2, 13.2, 15.8],
        [0.001, 0.001, 100.0, 130.0, 170.0, 5.0, 5.0, 5.0],
        [0.499, 0.499, 180.0, 210.0, 240.0, 25.0, 25.0, 25.0],
        (1136.307303574, 1137.960456831),
        "CUTE, MAXLIKA: HS 105 without its constraint; from outside; minima ours",
    )
    log_bound = math.log(1e5)
    add(
        "gp_likelihood",
        gp_likelihood,
        np.zeros(3),
        -log_bound,
        log_bound,
        (-7.289300483301, -6.051610008802, 2.254907985172, 2.254995800266),
        "the bounds of scikit-learn's kernels; data and minima are ours",
    )

    free = np.full(120, inf)
    pairs: tuple[tuple[str, Callable[[Array, Array], Pair], bool, tuple[float | tuple[float, ...], ...]], ...] = (
        (
            "explin",
            pair_exp,
            False,
            ((-6849.952835702, -6733.226781533, -6690.638473902, -6635.584482096), (-723756.2654926, -723558.0362454)),
        ),
        ("explin2", pair_exp_rising, False, (-7092.472402671, -724459.1429581)),
        ("expquad", pair_exp_rising, True, ((-4201.071873882, -4129.318521321), -3625962.136856)),
        ("qudlin", pair_product, False, (-7200.0, -725000.0)),
        (
            "qrtquad",
            pair_quartic,
            True,
            (
                (
                    -3634.662620671,
                    -3607.683199483,
                    -3536.370715251,
                    -3437.675290296,
                    -3410.574469181,
                    -3312.919181977,
                    -3214.627276556,
                ),
                (
                    -3624631.853525,
                    -3624435.281504,
                    -3624336.889689,
                    -3624238.914859,
                    -3624238.524112,
                    -3624140.549282,
                    -3624138.43566,
                ),
            ),
        ),
    )
    for name, pair, tail, values in pairs:
        for (n, m), minimum in zip(((12, 6), (120, 10)), values, strict=True):
            bounded = m if tail else n
            add(
                f"{name}_{n}",
                slope_and_pairs(m, pair, tail),
                np.zeros(n),
                np.r_[np.zeros(bounded), -free[bounded:n]],
                np.r_[np.full(bounded, 10.0), free[bounded:n]],
                minimum,
                f"CUTE, {name.upper()}; starts at bounds; minimum ours",
            )

    add("hatflda", hatfld_ab, np.full(4, 0.1), 1e-7, inf, 0, "CUTE, HATFLDA; NaN outside x >= 0; no bound binds")
    add(
        "hatfldb",
        hatfld_ab,
        np.full(4, 0.1),
        1e-7,
        [inf, 0.8, inf, inf],
        0.005572809000084,
        "CUTE, HATFLDB; NaN outside x >= 0",
    )
    add(
        "hatfldc",
        hatfld_c,
        np.full(25, 0.9),
        np.r_[np.zeros(24), -inf],
        np.r_[np.full(24, 10.0), inf],
        0,
        "CUTE, HATFLDC; no bound binds",
    )
    for n, minimum in ((10, -9.598006194747), (1000, -913.6887328762)):
        add(f"mccormck_{n}", mccormick, np.zeros(n), -1.5, 3.0, minimum, "CUTE, MCCORMCK; minimum ours")
    for n in (25, 1000):
        odd = np.arange(n) % 2 == 0
        lower = np.where(odd, 1.0, -100.0)
        add(
            f"nonscomp_{n}",
            nonscomp,
            np.full(n, 3.0),
            lower,
            100.0,
            0,
            "CUTE, NONSCOMP; half of the bounds bind, their multipliers being 0",
        )
    for n in (25, 100):
        upper = np.r_[np.full(n - 1, 0.9), inf]
        add(f"biggsb1_{n}", biggsb1, np.zeros(n), np.r_[np.zeros(n - 1), -inf], upper, 0.015, "CUTE, BIGGSB1; slow")
    for n in (50, 1000):
        add(f"pentdi_{n}", pentdi, np.zeros(n), 0.0, inf, -0.75, "CUTE, PENTDI; starts on a corner")
    for n in (10, 100):
        add(
            f"chenhark_{n}",
            chenhark,
            np.full(n, 0.5),
            0.0,
            inf,
            -2.0,
            "CUTE, CHENHARK; a fifth of the bounds bind, their multipliers being 0; minimum ours",
        )
    for n in (100, 1000):
        add(f"cvxbqp1_{n}", cvxbqp1, np.full(n, 0.5), 0.1, 10.0, 0.0225 * n * (n + 1.0), "CUTE, CVXBQP1; a vertex")
    add("ncvxbqp1_10", ncvxbqp1, np.full(10, 0.5), 0.1, 10.0, -22050.0, "CUTE, NCVXBQP1; not convex; minima ours")
    add("s368_8", wolfe, ramp(8) / 9.0, 0.0, 1.0, (-1.0, -0.9375, -0.75), "CUTE, S368; minima ours")
    for n, minimum in ((10, 25.94493173042), (100, 313.9449317304)):
        add(
            f"genroseb_{n}",
            generalized_rosenbrock,
            ramp(n) / (n + 1.0),
            0.2,
            0.5,
            minimum,
            "CUTE, GENROSEB; from outside; minimum ours",
        )
    for n, minimum in ((8, 3.516873725678e-3), (10, (4.772713696375e-3, 6.503954800882e-3))):
        add(f"chebyqad_{n}", chebyquad, ramp(n) / (n + 1.0), 0.0, 1.0, minimum, "CUTE, CHEBYQAD; no bound binds")

    for p, minimum in ((10, -0.4923418536749), (22, -0.4560877127319)):
        i = np.arange(p)
        distance = np.minimum.outer(np.minimum(i, i[::-1]), np.minimum(i, i[::-1])).ravel() / (p - 1.0)
        add(
            f"torsion1_{p * p}",
            membrane(p, 5.0),
            distance,
            -distance,
            distance,
            minimum,
            "MT; CUTE, TORSION1; starts on a corner; the edge is fixed",
        )
    for p, minimum in ((10, 1.397897559247), (23, 1.678027026259)):
        i = np.arange(p) / (p - 1.0)
        lower = inside(p) * np.multiply.outer(np.sin(3.2 * i), np.sin(3.3 * i))
        upper = inside(p, 2000.0)
        add(
            f"obstclae_{p * p}",
            membrane(p, 1.0),
            inside(p).ravel(),
            lower.ravel(),
            upper.ravel(),
            minimum,
            "MT; CUTE, OBSTCLAE; the edge is fixed",
        )
    for p, minimum in ((10, 2.875038227726), (32, 6.887086700203)):
        i = np.arange(p) / (p - 1.0)
        wave = inside(p) * np.multiply.outer(np.sin(9.2 * i), np.sin(9.3 * i))
        lower, upper = (wave**3).ravel(), (wave**2 + inside(p, 0.02)).ravel()
        add(
            f"obstclbm_{p * p}",
            membrane(p, 1.0),
            0.5 * (lower + upper),
            lower,
            upper,
            minimum,
            "MT; CUTE, OBSTCLBM; the edge is fixed",
        )
    for p, minimum in ((10, -0.1789618692352), (23, -0.1800455689277)):
        start = inside(p) * np.sin(2.0 * math.pi / (p - 1) * np.arange(p))[:, None]
        upper = inside(p, inf)
        add(
            f"jnlbrng1_{p * p}",
            journal_bearing(p, 0.1),
            start.ravel(),
            0.0,
            upper.ravel(),
            minimum,
            "MT; CUTE, JNLBRNG1; from outside; the edge is fixed",
        )
    return tuple(problems)


def _boxes() -> tuple[Problem, ...]:
    problems: list[Problem] = []
    inf = np.inf

    def add(
        base: str,
        box: str,
        lower: float | Sequence[float] | Array,
        upper: float | Sequence[float] | Array,
        minima: float | Sequence[float],
        source: str,
        x0: Sequence[float] | Array | None = None,
    ) -> None:
        problem = _UNBOUNDED[base]
        start = problem.x0 if x0 is None else x0
        problems.append(entry(f"{base}_{box}", problem.fun, start, minima, source, lower, upper))

    def same(
        base: str, box: str, lower: float | Sequence[float] | Array, upper: float | Sequence[float] | Array, source: str
    ) -> None:
        add(base, box, lower, upper, _UNBOUNDED[base].minima, source)

    same("branin", "usual", [-5.0, 0.0], [10.0, 15.0], "SB's box, which does not bind")
    same("six_hump_camel", "usual", [-3.0, -1.5], [3.0, 1.5], "CUTE, CAMEL6; does not bind")
    same("goldstein_price", "usual", -2.0, 2.0, "SB's box, which does not bind")
    same("hartmann_3", "usual", 0.0, 1.0, "SB's box, which does not bind")
    same("hartmann_6", "usual", 0.0, 1.0, "SB's box, which does not bind")
    same("log_domain_50", "usual", 1e-3, inf, "the lower bound keeps off the NaN")
    same("quartic_1", "usual", -10.0, 10.0, "one variable, does not bind")
    same("rosenbrock", "far", -1e8, 1e8, "far away")
    same("extended_rosenbrock_100", "far", -100.0, 100.0, "far away")
    same("trid_50", "far", -2500.0, 2500.0, "SB's box, which does not bind")
    same("edensch_1000", "far", -1e3, 1e3, "far away")
    same("logistic_regression_20", "far", -inf, 1e6, "far away, one side only")
    same("engval1_1000", "far", -1e10, inf, "far away, one side only")

    # Bounds that bind, x0 within them or without.
    for n, minimum in ((10, 16.25418347451), (100, 274.0889201748)):
        third = np.arange(n) % 3 == 2
        lower, upper = np.where(third, -inf, 0.2), np.where(third, 0.5, inf)
        source = "x_3, x_6, ... at most 0.5, the others at least 0.2; from outside; the minimum is ours"
        add(f"chained_rosenbrock_{n}", "thirds", lower, upper, minimum, source)
    half = np.resize([0.5, inf], 1000)
    add("extended_rosenbrock_1000", "half", -inf, half, 125, "x_1, x_3, ... at most 0.5, and all of them are")
    add("sphere_1", "upper", -inf, -0.25, 0.0625, "one variable; from outside")
    add("rosenbrock", "half", [-50.0, 0.0], [0.5, 100.0], 0.25, "x_1 at most 0.5")
    values = [0.0 - 19.0 * i for i in range(11)]
    add(
        "styblinski_tang_10",
        "half",
        0.0,
        2.0,
        values,
        "every coordinate has a minimum at either bound",
        np.full(10, 0.5),
    )
    add("quadratic_1e2_1000", "upper", -inf, 0.9, 81.70162709658, "the minimum is ours")
    add("quadratic_1e4_100", "corner", 0.0, 0.9, 140.9913317889, "starts on a corner; the minimum is ours")
    add("quadratic_1e6_10", "corner", 0.0, 0.9, 216.2408453669, "starts on a corner; the minimum is ours")
    add("log_domain_5", "wall", 0.05, inf, 5.0 * (2.5 - math.log(0.05)), "a vertex")
    add("logistic_regression_20", "positive", 0.0, inf, 0.6678524868827, "the minimum is ours")
    add("logistic_regression_20", "small", -0.2, 0.2, 0.6529367144862, "the minimum is ours")
    s2 = (0.25 * 55.0) ** 2
    add("zakharov_10", "vertex", 0.5, 2.0, 2.5 + s2 + s2 * s2, "a vertex")
    target = np.clip(ramp(20), 5.0, 12.0) - ramp(20)
    value = math.fsum(np.sqrt(1.0 + target**2))
    add("pseudo_huber_20", "middle", 5.0, 12.0, value, "from outside")
    value = (math.exp(-0.5) + 0.5) * 505.0
    add("raydan_1_100", "vertex", -2.0, -0.5, value, "a vertex; from outside")
    log_half = 0.5 * np.log(ramp(100))
    x = np.clip(log_half, 0.5, 1.5)
    value = math.fsum(np.exp(x) - np.sqrt(ramp(100)) * x)
    add("hager_100", "middle", 0.5, 1.5, value, "minimiser log(i) / 2, put into the box")
    lower = np.resize([-1.0, 0.5, -inf], 1000)
    value = 0.25 * (101.0 + 332.0 * 201.0)
    add("dqdrtic_1000", "third", lower, inf, value, "x_2, x_5, ... at least 0.5, and all of them are")
    add(
        "extended_powell_100",
        "positive",
        0.0,
        inf,
        0,
        "from outside; the bounds bind, their multipliers being 0; singular",
    )
    add("broyden_tridiagonal_100", "tight", -0.705, 0.6, 0.003186246740642, "from outside; the minimum is ours")
    add("watson_6", "small", -0.5, 0.5, 1.271398427581, "the minimum is ours")
    upper = np.resize([0.9, inf], 10)
    add(
        "variably_dimensioned_10",
        "half",
        -inf,
        upper,
        0.07828055935345,
        "x_1, x_3, ... at most 0.9; the minimum is ours",
    )
    lower, upper = [0.0, 1.0, -2.0, 0.0, 0.0], [0.4, 1.8, -0.5, 0.1, 0.1]
    add("osborne_1", "box", lower, upper, 5.559881821366e-05, "from outside; the minimum is ours")
    add("cragg_levy_50", "box", 0.3, 1.0, 12.22968870889, "from outside; the minimum is ours")
    add("edensch_36", "box", -0.2, 1.0, 221.5662117365, "the minimum is ours")
    add("penalty_2_10", "upper", -inf, 0.15, 0.002795747601632, "from outside; the minimum is ours")
    add("generalized_tridiagonal_100", "above", 1.5, inf, 98.105153743, "the minimum is ours")

    # Variables that are fixed: by a box of width zero.
    for base, minimum in (
        ("engval1_100", 1056.69930347),
        ("dixon_price_10", (22.51446164257, 26.82001719813, 35.41784421019, 39.72339976575)),
        ("trigonometric_10", (0.001063226900831, 0.001214453348525)),
    ):
        problem = _UNBOUNDED[base]
        fixed = np.arange(problem.n) % 3 == 1
        lower, upper = np.where(fixed, problem.x0, -inf), np.where(fixed, problem.x0, inf)
        add(base, "fixed", lower, upper, minimum, "every third variable is fixed; the minimum is ours")
    value = math.fsum(np.cosh(ramp(20)))
    add("cosh_20", "point", ramp(20), ramp(20), value, "all variables are fixed")
    add("quartic_100", "point", 0.5, 0.5, 0.0625 * 5050.0, "all variables are fixed; from outside")
    return tuple(problems)


MGH = _mgh()
FAMILIES = _few_variables() + _families()
PROBLEMS = MGH + FAMILIES

_UNBOUNDED = {problem.name: problem for problem in PROBLEMS}
BOUNDED = _published_bounds() + _boxes()

_BY_NAME = _UNBOUNDED | {problem.name: problem for problem in BOUNDED}


def by_name(name: str) -> Problem:
    """Return the problem called ``name``."""
    return _BY_NAME[name]
