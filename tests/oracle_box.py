"""Oracles for bounds and for BFGS: the formulas of the papers with dense matrices, written to be read aloud.

And a slow solver of one member with bounds, made of them. It asks for the same points as the kernels but for rounding.

Nothing here is fast, compact or clever: B is an n by n array, breakpoints are sorted, systems are eliminated. All is
done in the longest floating-point type there is, so that what differs from it is the error of the other side.

References
----------
R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM J. Sci.
Comput. 16 (1995) 1190-1208 ("BLNZ").
J. L. Morales, J. Nocedal, "Remark on Algorithm 778: L-BFGS-B", ACM TOMS 38 (2011) 7 ("MN").
J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006 ("N&W").
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from fastbfgs import Options, Status
from tests.oracle import Found, line_search

Array = np.ndarray

LONG = np.longdouble


def long(*arrays: Array) -> list[Array]:
    """Return the arrays in the longest floating-point type."""
    return [np.asarray(array, dtype=LONG) for array in arrays]


# ----------------------------------------------------------------------------------------------
# The matrices


def dense_B(s: Array, y: Array) -> Array:
    """Return B (n, n) of the pairs s, y (k, n), oldest first, by the direct update, N&W (6.19).

    B0 is theta I, theta = y.y / s.y of the newest pair, as in BLNZ section 3; and I if there is no pair.
    """
    s, y = long(s, y)
    k, n = s.shape
    theta = (y[-1] @ y[-1]) / (s[-1] @ y[-1]) if k else LONG(1)
    B = theta * np.eye(n, dtype=LONG)
    for s_k, y_k in zip(s, y, strict=True):
        Bs = B @ s_k
        B = B - np.outer(Bs, Bs) / (s_k @ Bs) + np.outer(y_k, y_k) / (y_k @ s_k)
    return B


def bfgs_dense(s: Array, y: Array, h0: Array | None = None, grows: bool = False) -> Array:
    """Return H (n, n) of BFGS after the pairs s, y (k, n), oldest first, by N&W (6.17).

    Without `h0` (n, n), H0 is s.y / y.y I of the first pair, N&W (6.20), and I if there is no pair. (L-BFGS takes the
    newest pair for this, anew in every iteration: N&W (7.20), `oracle.dense`.) If it `grows`, H is multiplied by
    s.y / y.Hy, where that is above 1, before each but the first of 1 + 2 n updates.
    """
    s, y = long(s, y)
    k, n = s.shape
    one = np.eye(n, dtype=LONG)
    if h0 is None:
        h0 = (s[0] @ y[0]) / (y[0] @ y[0]) * one if k else one
    H = np.array(h0, dtype=LONG)
    for number, (s_k, y_k) in enumerate(zip(s, y, strict=True)):
        rho = 1 / (y_k @ s_k)
        if grows and 0 < number <= 2 * n:
            H = H * max(1, (s_k @ y_k) / (y_k @ H @ y_k))
        V = one - rho * np.outer(y_k, s_k)
        H = V.T @ H @ V + rho * np.outer(s_k, s_k)
    return H


# ----------------------------------------------------------------------------------------------
# The box


def projected_gradient(x: Array, g: Array, lower: Array, upper: Array) -> Array:
    """Return x - P(x - g, l, u), BLNZ (6.1) but for its sign: g itself, where no bound is nearer than that.

    It is zero exactly where the conditions of Karush, Kuhn and Tucker hold. Here without the cancellation in x - g.
    """
    x, g, lower, upper = long(x, g, lower, upper)
    return project(g, x - upper, x - lower)


def project(z: Array, lower: Array, upper: Array) -> Array:
    """Return P(z, l, u): every coordinate of z, moved to the nearest point between its bounds."""
    return np.minimum(np.maximum(z, lower), upper)


def model(z: Array, x: Array, g: Array, B: Array) -> np.floating:
    """Return m(z) - f, where m(z) = f + g.(z - x) + (z - x).B (z - x) / 2, BLNZ (2.1)."""
    z, x, g, B = long(z, x, g, B)
    return g @ (z - x) + (z - x) @ B @ (z - x) / 2


# ----------------------------------------------------------------------------------------------
# The generalised Cauchy point


class Cauchy(NamedTuple):
    """The point (n,), and whether each of its coordinates is at a bound (n,)."""

    x_c: Array
    fixed: Array


def cauchy_point(x: Array, g: Array, B: Array, lower: Array, upper: Array) -> Cauchy:
    """Return the first local minimiser of the model along x(t) = P(x - t g, l, u), t >= 0: BLNZ section 4.

    Between the times at which a coordinate reaches its bound, the path is straight and the model is a parabola in t.
    """
    x, g, B, lower, upper = long(x, g, B, lower, upper)

    # When does each coordinate reach its bound? BLNZ (4.1).
    bound = np.where(g < 0, upper, lower)
    t_i = np.array([(x[i] - bound[i]) / g[i] if g[i] != 0 else LONG(np.inf) for i in range(x.size)])

    def at(t: np.floating) -> Array:
        """Return x(t). A coordinate that has arrived is its bound, to the bit."""
        return project(np.where(t_i <= t, bound, x - np.where(t_i > t, t, 0) * g), lower, upper)

    t = LONG(0)
    for t_next in [*sorted({time for time in t_i if 0 < time < np.inf}), LONG(np.inf)]:
        # Up to t_next, a coordinate moves that has not arrived.
        d = np.where(t_i > t, -g, LONG(0))
        z = at(t) - x
        slope = g @ d + d @ B @ z  # dm/dt at t
        if slope >= 0:
            break
        minimiser = t - slope / (d @ B @ d)
        if minimiser < t_next:
            t = minimiser
            break
        t = t_next

    x_c = at(t)
    return Cauchy(x_c, (x_c <= lower) | (x_c >= upper))


# ----------------------------------------------------------------------------------------------
# The minimiser in the subspace


def solve(A: Array, b: Array) -> Array:
    """Solve A x = b for a positive definite A, by elimination (NumPy has no solver for this type)."""
    A, b = np.array(A, dtype=LONG), np.array(b, dtype=LONG)
    n = b.size
    for j in range(n):
        for i in range(j + 1, n):
            factor = A[i, j] / A[j, j]
            A[i] -= factor * A[j]
            b[i] -= factor * b[j]
    for j in reversed(range(n)):
        b[j] = (b[j] - A[j, j + 1 :] @ b[j + 1 :]) / A[j, j]
    return b


def subspace_minimiser(x: Array, x_c: Array, g: Array, B: Array, fixed: Array) -> Array:
    """Return the minimiser of the model among the points that agree with x_c where it is fixed: BLNZ section 5.

    The bounds of the other coordinates are left aside.
    """
    x, x_c, g, B = long(x, x_c, g, B)
    free = ~fixed
    r = (g + B @ (x_c - x))[free]  # the reduced gradient at x_c, BLNZ (5.4)
    x_hat = x_c.copy()
    x_hat[free] -= solve(B[np.ix_(free, free)], r)  # BLNZ (5.7)
    return x_hat


class Step(NamedTuple):
    """The point (n,) that the line search heads for, and whether MN's projection was taken."""

    x_bar: Array
    projected: bool


def subspace_step(
    x: Array, x_c: Array, g: Array, B: Array, fixed: Array, lower: Array, upper: Array, descent: float = 0.0
) -> Step:
    """Return the minimiser of the subspace, brought back into the box: MN section 2.

    It is projected, as long as the way from x there descends: MN are content with any slope, we ask for the share
    `descent` of the slope before the projection. Else the way from x_c to it ends at the first bound, as it always did
    in BLNZ (5.8).
    """
    x, x_c, g, lower, upper = long(x, x_c, g, lower, upper)
    x_hat = subspace_minimiser(x, x_c, g, B, fixed)
    x_bar = project(x_hat, lower, upper)
    if g @ (x_bar - x) < descent * (g @ (x_hat - x)):
        return Step(x_bar, True)
    d = x_hat - x_c
    longest = [LONG(1)]
    for i in range(x.size):
        if d[i] != 0:
            longest.append(((upper[i] if d[i] > 0 else lower[i]) - x_c[i]) / d[i])
    # Projected, since the coordinate that ends the way may pass its bound by a rounding error.
    return Step(project(x_c + min(longest) * d, lower, upper), False)


# ----------------------------------------------------------------------------------------------
# The solver


class Outcome(NamedTuple):
    """Where a run has come to."""

    x: Array
    f: float
    nit: int
    nfev: int
    status: Status


def lbfgsb(
    x: Array, options: Options, lower: Array, upper: Array, descent: float
) -> Generator[Array, tuple[float, Array], Outcome]:
    """Yield points and be sent f and g there: BLNZ section 6 for one member, with the deviations of advance.pyx.

    Points, gradients and pairs are of the dtype of x, as they are for the kernels.
    """
    o, dtype = options, x.dtype
    eps = float(np.finfo(dtype).eps)
    boxed = bool(np.isfinite(lower).all() and np.isfinite(upper).all())
    x = project(x, lower, upper)
    pairs: list[tuple[Array, Array]] = []
    nit, nfev = 0, 1
    f, g = yield x

    def size() -> float:
        return float(np.abs(projected_gradient(x, g, lower, upper)).max())

    def at(alpha: float) -> Array:
        """Return x + alpha p; a coordinate that is on the bound it heads for but for rounding is on it."""
        z = project(long(x)[0] + LONG(alpha) * p, lower, upper).astype(dtype)
        for bound, heads in (lower, p < 0), (upper, p > 0):
            finite = np.where(np.isfinite(bound), bound, 0)
            near = np.abs(z - finite) <= 2 * eps * (np.abs(x) + np.abs(finite))
            z = np.where(near & heads & np.isfinite(bound), bound, z)
        return z

    if size() <= o.gtol:
        return Outcome(x, f, nit, nfev, Status.CONVERGED_GRADIENT)
    while True:
        # Which way.
        if pairs:
            s, y = (np.array(z) for z in zip(*pairs, strict=True))
            B = dense_B(s, y)
            x_c, fixed = cauchy_point(x, g, B, lower, upper)
            p = subspace_step(x, x_c, g, B, fixed, lower, upper, descent).x_bar - long(x)[0]
        else:
            p = project(-long(g)[0], long(lower)[0] - x, long(upper)[0] - x)
            if not boxed:
                p = p / max(LONG(1), np.sqrt(p @ p))
        dphi0 = float(p @ g)
        if not dphi0 < 0.0:
            if not pairs:
                return Outcome(x, f, nit, nfev, Status.STALLED if dphi0 == 0.0 else Status.ABNORMAL)
            pairs = []
            continue

        # How far.
        room = [((upper[i] if p[i] > 0 else lower[i]) - x[i]) / p[i] for i in range(x.size) if p[i] != 0]
        largest = max(1.0, float(min(room)))
        maxls = min(o.maxls, o.maxfun - nfev)

        def nowhere(alpha: float) -> bool:
            return bool((at(alpha) == x).all())  # noqa: B023

        search = line_search(
            float(f), dphi0, 1.0, c1=o.c1, c2=o.c2, maxls=maxls, eps=eps, largest=largest, nowhere=nowhere
        )
        alpha, told, found = next(search), {}, Found("", 0.0)
        while not found.verdict:
            told[alpha] = yield at(alpha)
            nfev += 1
            try:
                alpha = search.send((float(told[alpha][0]), float(p @ told[alpha][1])))
            except StopIteration as end:
                found = end.value

        if found.verdict == "GIVE_UP":
            if nfev >= o.maxfun:
                return Outcome(x, f, nit, nfev, Status.MAXFUN)
            if not pairs:
                return Outcome(x, f, nit, nfev, Status.STALLED if found.flat else Status.ABNORMAL)
            pairs = []
            continue

        # Take the step.
        (x_old, f_old, g_old), x, (f, g) = (x, f, g), at(found.alpha), told[found.alpha]
        nit += 1
        s, y = x - x_old, g - g_old
        if s @ y > eps * math.sqrt(s @ s) * math.sqrt(y @ y):
            pairs = [*pairs, (s, y)][-o.history :]

        # Stop there, or go on.
        if size() <= o.gtol:
            return Outcome(x, f, nit, nfev, Status.CONVERGED_GRADIENT)
        if o.ftol > 0.0 and f_old - f <= o.ftol * max(abs(f_old), abs(f), 1.0):
            return Outcome(x, f, nit, nfev, Status.CONVERGED_DECREASE)
        if o.frtol > 0.0 and f_old - f <= o.frtol * abs(f_old):
            return Outcome(x, f, nit, nfev, Status.CONVERGED_DECREASE)
        if o.fatol > 0.0 and f_old - f <= o.fatol:
            return Outcome(x, f, nit, nfev, Status.CONVERGED_DECREASE)
        if nit >= o.maxiter:
            return Outcome(x, f, nit, nfev, Status.MAXITER)
        if nfev >= o.maxfun:
            return Outcome(x, f, nit, nfev, Status.MAXFUN)
