"""Two oracles: the L-BFGS matrix by formula, and a slow solver of one member, written to be read aloud.

The solver is the left neighbour of the Cython kernels: lists of Python floats and explicit loops. It is a generator
that yields points and is sent f and g, so there is no state machine in it, and the line search stands in the middle of
the algorithm, where the books have it. It takes its sums in the order that `vectors.pxd` promises and rounds where the
kernels store, so it must ask for the same points as they do, bit for bit, in float64 and in float32.

References
----------
J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006 ("N&W").
J. J. Moré and D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease", ACM TOMS 20 (1994) 286-307
("MT").
W. W. Hager and H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search",
SIAM J. Optim. 16 (2005) 170-192 ("HZ").
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from fastbfgs import Options, Status

Vector = list[float]

# ----------------------------------------------------------------------------------------------
# The matrix


def dense(s: np.ndarray, y: np.ndarray, h0: np.ndarray | None = None) -> np.ndarray:
    """Return H (n, n) of the pairs s, y (k, n), oldest first, by the product form of the update, N&W (6.17) and (7.19).

    Without a diagonal `h0` (n,), H0 is gamma I of the newest pair, N&W (7.20), and I if there is no pair.
    """
    s, y = s.astype(np.longdouble), y.astype(np.longdouble)
    if h0 is not None:
        H = np.diag(h0.astype(np.longdouble))
    else:
        gamma = (s[-1] @ y[-1]) / (y[-1] @ y[-1]) if len(s) else 1.0
        H = gamma * np.eye(s.shape[1], dtype=np.longdouble)
    for s_k, y_k in zip(s, y, strict=True):
        rho = 1.0 / (y_k @ s_k)
        H = H - rho * np.outer(H @ y_k, s_k)  # H V, where V = I - rho y s'
        H = H - rho * np.outer(s_k, y_k @ H)  # V' H V
        H = H + rho * np.outer(s_k, s_k)
    return H


def direction_error(g: np.ndarray, s: np.ndarray, y: np.ndarray, h0: np.ndarray | None = None) -> np.ndarray:
    """Bound the rounding error of each coordinate of p = -H g (n,) as Algorithm 7.4 computes it in the dtype of g.

    Algorithm 7.4 is run with absolute values for all terms. Whatever is rounded on the way is at most one rounding unit
    of these; a path through the algorithm meets 2 stores and 2 sums for each pair, and each rho_j with its own error.
    """
    k, n = s.shape
    eps, eps_sum = float(np.finfo(g.dtype).eps), 2.0**-52
    q, s, y = np.abs(g.astype(float)), s.astype(float), y.astype(float)
    S, Y = np.abs(s), np.abs(y)
    sy = np.sum(s * y, axis=1)
    a = np.zeros(k)
    for j in reversed(range(k)):
        a[j] = (S[j] @ q) / sy[j]
        q = q + a[j] * Y[j]
    r = q * (np.abs(h0.astype(float)) if h0 is not None else sy[-1] / (y[-1] @ y[-1]) if k else 1.0)
    for j in range(k):
        r = r + S[j] * (a[j] + (Y[j] @ r) / sy[j])
    cancellation = np.sum(np.sum(S * Y, axis=1) / sy)
    return ((2 * k + 2) * eps + (2 * k + 2 * cancellation) * (n + 8) * eps_sum) * r


# ----------------------------------------------------------------------------------------------
# Numbers


def over(a: float, b: float) -> float:
    """Return a / b as IEEE 754 has it, where Python raises."""
    if b != 0.0:
        return a / b
    if a == 0.0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def smaller(a: float, b: float) -> float:
    """Return C's fmin: a NaN gives way to the other number."""
    return b if math.isnan(a) else a if math.isnan(b) else min(a, b)


def larger(a: float, b: float) -> float:
    """Return C's fmax."""
    return -smaller(-a, -b)


def storage(dtype: np.dtype) -> Callable[[float], float]:
    """Return the function that rounds a float64 to what a vector of this dtype holds."""
    if dtype == np.float64:
        return float
    return lambda z: ctypes.c_float(z).value  # quiet about overflow, unlike np.float32


# ----------------------------------------------------------------------------------------------
# Sums, in the one order that is promised


def dot(a: Vector, b: Vector) -> float:
    """Return a . b."""
    return sum_in_lanes([x * y for x, y in zip(a, b, strict=True)])


def sum_in_lanes(terms: Vector) -> float:
    """Sum in four lanes: term i in lane i mod 4, the last three, two or one in lanes 0 1 2, 0 1, or 2."""
    n = len(terms)
    lanes = [i % 4 for i in range(n - n % 4)] + [[], [2], [0, 1], [0, 1, 2]][n % 4]
    total = [0.0, 0.0, 0.0, 0.0]
    for lane, term in zip(lanes, terms, strict=True):
        total[lane] += term
    return (total[0] + total[2]) + (total[1] + total[3])


def max_abs(a: Vector) -> float:
    """Return max |a_i|, passing over NaN."""
    return max([0.0] + [abs(x) for x in a if not math.isnan(x)])


def norm(a: Vector) -> float:
    """Return ||a||, also where the squares leave float64's range."""
    largest, total = max_abs(a), dot(a, a)
    if 1e-280 < total < 1e300 or largest == 0.0:
        return math.sqrt(total)
    total = 0.0
    for x in a:
        total += (x / largest) * (x / largest)
    return largest * math.sqrt(total)


# ----------------------------------------------------------------------------------------------
# How far


class At(NamedTuple):
    """What is known at one step length."""

    alpha: float
    phi: float
    dphi: float


class Found(NamedTuple):
    """How a line search ended: ACCEPT, TAKE_LO or GIVE_UP, and at which step."""

    verdict: str
    alpha: float
    flat: bool = False  # given up where no point is left before one where f rises, as its slope says, or none was
    hi: At | None = None  # the far end of the bracket


@dataclass(frozen=True)
class Choices:
    """Where we deviate from MT by a number or a choice."""

    noise: float = 10.0
    farthest: float = 9.0
    narrow: float = 0.1
    mean_in_case_1: bool = False


OURS = Choices()
PAPER = Choices(noise=0.0, farthest=4.0, narrow=0.0, mean_in_case_1=True)
MINPACK = Choices(noise=0.0, farthest=4.0, narrow=0.1, mean_in_case_1=True)


def line_search(
    phi0: float,
    dphi0: float,
    alpha: float,
    *,
    c1: float,
    c2: float,
    maxls: int,
    eps: float,
    largest: float = math.inf,
    nowhere: Callable[[float], bool] = lambda alpha: False,
    choices: Choices = OURS,
) -> Generator[float, tuple[float, float], Found]:
    """Yield step lengths, `alpha` first and none above `largest`, and be sent phi and dphi; return what was found.

    A search that comes back so far that the next trial would lead `nowhere` ends.
    """
    lo = hi = At(0.0, phi0, dphi0)
    bracketed = False
    ceiling = width = width_before = math.inf
    psi_decides = True  # stage 1: no step has had psi <= 0 and dphi >= 0 yet
    steep = c1 * dphi0
    noise = choices.noise * eps * abs(phi0)

    def best() -> Found:
        if lo.alpha > 0.0 and lo.phi < phi0:
            return Found("TAKE_LO", lo.alpha, hi=hi if bracketed else None)
        return Found("GIVE_UP", 0.0)

    for evals in count(1):
        phi, dphi = yield alpha
        line = phi0 + alpha * steep

        if not (math.isfinite(phi) and math.isfinite(dphi)):
            # Too far. Forget the bracket, if the far end lies beyond this.
            if alpha > lo.alpha:
                ceiling, bracketed, width, width_before = alpha, False, math.inf, math.inf
            following = lo.alpha + (0.1 if lo.alpha == 0.0 else 0.5) * (alpha - lo.alpha)
        else:
            # Strong Wolfe, N&W (3.7).
            if phi <= line and abs(dphi) <= -c2 * dphi0:
                return Found("ACCEPT", alpha)
            # Approximate Wolfe, HZ (4.1), where phi is noise.
            if abs(phi - phi0) <= noise and abs(dphi) <= -min(c2, 1.0 - 2.0 * c1) * dphi0:
                return Found("ACCEPT", alpha)
            # Lower still beyond, but bounds end the ray here: MINPACK-2's stpmax.
            if alpha >= largest and phi <= line and dphi < 0.0:
                return Found("ACCEPT", alpha)

            if phi <= line and dphi >= 0.0:
                psi_decides = False
            if bracketed:
                nearest, farthest = min(lo.alpha, hi.alpha), max(lo.alpha, hi.alpha)
            else:
                farthest = min(
                    alpha + choices.farthest * (alpha - lo.alpha),
                    alpha + 0.5 * (ceiling - alpha),
                    largest,
                )
                nearest = min(alpha if evals == 1 else alpha + 1.1 * (alpha - lo.alpha), farthest)

            new = At(alpha, phi, dphi)
            if psi_decides and lo.phi >= phi > line:
                # In terms of psi(alpha) = phi(alpha) - phi0 - c1 dphi0 alpha, MT (2.1), but for its constant.
                def psi(at: At) -> At:
                    return At(at.alpha, at.phi - at.alpha * steep, at.dphi - steep)

                case, following = trial_step(psi(lo), psi(hi), psi(new), bracketed, nearest, farthest, choices)
            else:
                case, following = trial_step(lo, hi, new, bracketed, nearest, farthest, choices)

            # The interval of MT section 3.
            if case == 1:
                hi, bracketed = new, True
            elif case == 2:
                lo, hi, bracketed = new, lo, True
            else:
                lo = new

            if bracketed:
                now = abs(hi.alpha - lo.alpha)
                if now >= 0.66 * width_before:
                    following = lo.alpha + 0.5 * (hi.alpha - lo.alpha)
                width_before, width = width, now
                left, right = min(lo.alpha, hi.alpha), max(lo.alpha, hi.alpha)
                if following <= left or following >= right or right - left <= choices.narrow * right:
                    return best()

        if not math.isfinite(following):
            following = lo.alpha + 0.5 * (alpha - lo.alpha)
        if evals >= maxls or following == lo.alpha:
            return best()
        if following < alpha and nowhere(following):
            return best()._replace(flat=bracketed and (hi.dphi >= 0.0 or nowhere(hi.alpha)))
        alpha = following
    raise AssertionError("unreachable")


def trial_step(
    lo: At, hi: At, new: At, bracketed: bool, nearest: float, farthest: float, choices: Choices
) -> tuple[int, float]:
    """Return which of the four cases of MT section 4 this is, and the next step length."""
    alpha = new.alpha
    # Where the slopes of lo and new, continued, are zero.
    secant = alpha + over((lo.alpha - alpha) * new.dphi, new.dphi - lo.dphi)

    if new.phi > lo.phi:
        share, _ = cubic(lo, new)
        following = lo.alpha + (alpha - lo.alpha) * share
        if choices.mean_in_case_1:
            rise = over(lo.phi - new.phi, alpha - lo.alpha)
            parabola = lo.alpha + 0.5 * over(lo.dphi, rise + lo.dphi) * (alpha - lo.alpha)
            if abs(following - lo.alpha) >= abs(parabola - lo.alpha):
                following = following + 0.5 * (parabola - following)
        return 1, following

    if new.dphi != 0.0 and (new.dphi < 0.0) != (lo.dphi < 0.0):
        share, _ = cubic(new, lo)
        bottom = alpha + (lo.alpha - alpha) * share
        return 2, bottom if abs(bottom - alpha) > abs(secant - alpha) else secant

    if abs(new.dphi) < abs(lo.dphi):
        share, has_minimiser = cubic(new, lo)
        if share < 0.0 and has_minimiser:
            bottom = alpha + (lo.alpha - alpha) * share
        else:
            bottom = farthest if alpha > lo.alpha else nearest
        if bracketed:
            following = bottom if abs(bottom - alpha) < abs(secant - alpha) else secant
            well_inside = alpha + 0.66 * (hi.alpha - alpha)
            return 3, (smaller if alpha > lo.alpha else larger)(following, well_inside)
        following = bottom if abs(bottom - alpha) > abs(secant - alpha) else secant
        return 3, smaller(larger(following, nearest), farthest)

    if bracketed:
        share, _ = cubic(new, hi)
        return 4, alpha + (hi.alpha - alpha) * share
    return 4, farthest


def cubic(a: At, b: At) -> tuple[float, bool]:
    """Return where the cubic through a and b has its minimiser, N&W (3.59), as a share of b - a; and if it has one."""
    theta = over(3.0 * (a.phi - b.phi), b.alpha - a.alpha) + a.dphi + b.dphi
    size = max(abs(theta), abs(a.dphi), abs(b.dphi))
    under = over(theta, size) * over(theta, size) - over(a.dphi, size) * over(b.dphi, size)
    root = size * math.sqrt(larger(0.0, under))
    if b.alpha < a.alpha:
        root = -root
    return over((root - a.dphi) + theta, ((root - a.dphi) + root) + b.dphi), root != 0.0


# ----------------------------------------------------------------------------------------------
# Which way


class Pair(NamedTuple):
    """One s and y that is remembered."""

    s: Vector
    y: Vector
    rho: float


class Memory:
    """The last m pairs that could be trusted, and H of them."""

    def __init__(self, m: int, eps: float, store: Callable[[float], float]) -> None:
        self.m, self.eps, self.store = m, eps, store
        self.pairs: list[Pair] = []
        self.gamma = 1.0

    def push(self, s: Vector, y: Vector) -> None:
        """Remember the pair, unless its cosine is rounding noise."""
        sy, ss, yy = dot(s, y), dot(s, s), dot(y, y)
        if sy <= self.eps * math.sqrt(ss) * math.sqrt(yy):
            return
        if not (math.isfinite(over(1.0, sy)) and math.isfinite(over(sy, yy))):
            return
        self.gamma = sy / yy
        self.pairs = [*self.pairs, Pair(s, y, 1.0 / sy)][-self.m :]

    def times(self, v: Vector, h0: Vector | None) -> Vector:
        """Return H v by the two-loop recursion, N&W Algorithm 7.4."""
        store = self.store
        if not self.pairs:
            return list(v) if h0 is None else [store(h * z) for h, z in zip(h0, v, strict=True)]
        scale = [self.gamma] * len(v) if h0 is None else h0
        a = []
        for pair in reversed(self.pairs):  # newest to oldest
            a.append(pair.rho * dot(pair.s, v))
            if pair is self.pairs[0]:  # the last update and H0 together, rounded once
                v = [store((z - a[-1] * y) * h) for z, y, h in zip(v, pair.y, scale, strict=True)]
            else:
                v = [store(z - a[-1] * y) for z, y in zip(v, pair.y, strict=True)]
        for pair in self.pairs:  # oldest to newest
            c = a.pop() - pair.rho * dot(pair.y, v)
            v = [store(z + c * s) for z, s in zip(v, pair.s, strict=True)]
        return v


class DenseMemory(Memory):
    """All that the pairs have taught so far, as one matrix H (n, n): BFGS, rounded where bfgs.pxd stores.

    It takes the place of `Memory` in `lbfgs`, which then is BFGS. `pairs` only says how many there were.
    """

    def push(self, s: Vector, y: Vector) -> None:
        """Update H by N&W (6.17), unless the pair's cosine is rounding noise; let it grow before if it is too small."""
        store, known = self.store, len(self.pairs)
        self.pairs = []
        super().push(s, y)
        learnt = bool(self.pairs)
        self.pairs = [Pair([], [], 0.0)] * (known + learnt)
        if not learnt:
            return
        n, sy = len(s), dot(s, y)
        if not known:  # N&W (6.20)
            self.H = [[store(self.gamma) if i == j else 0.0 for j in range(n)] for i in range(n)]
        u = [store(dot(row, y)) for row in self.H]
        yHy, scale = dot(y, u), 1.0
        if 0 < known <= 2 * n:  # Oren and Luenberger, see bfgs.pxd
            scale = over(sy, yHy)
            scale = scale if 1.0 < scale < math.inf else 1.0
        half = 0.5 * (1.0 + scale * yHy / sy)
        w = [store((half * a - scale * b) / sy) for a, b in zip(s, u, strict=True)]
        self.H = [[store(scale * self.H[i][j] + (w[i] * s[j] + s[i] * w[j])) for j in range(n)] for i in range(n)]

    def times(self, v: Vector, h0: Vector | None) -> Vector:
        """Return H v."""
        return [self.store(dot(row, v)) for row in self.H] if self.pairs else list(v)


# ----------------------------------------------------------------------------------------------
# The solver


@dataclass
class Outcome:
    """Where a run has come to."""

    x: Vector
    f: float
    g: Vector
    nit: int
    nfev: int
    status: Status
    steps: list[Found]


def lbfgs(
    x: Sequence[float], dtype: np.dtype, options: Options, h0: Sequence[float] | None = None
) -> Generator[Vector, tuple[float, Sequence[float]], Outcome]:
    """Yield points and be sent f and g there: N&W Algorithm 7.5 for one member, with the deviations of advance.pyx."""
    o, store, eps = options, storage(np.dtype(dtype)), float(np.finfo(dtype).eps)
    x = [store(float(z)) for z in x]
    h0 = None if h0 is None else [store(float(z)) for z in h0]
    memory = Memory(o.history, eps, store)
    steps: list[Found] = []

    f, g = yield list(x)
    f, g = float(f), [float(z) for z in g]
    nit, nfev, flat, idle = 0, 1, False, 0
    f_best, g_best = math.inf, math.inf

    def stop(status: Status) -> Outcome:
        return Outcome(x, f, g, nit, nfev, status, steps)

    if f == -math.inf:
        return stop(Status.UNBOUNDED)
    if not (math.isfinite(f) and all(map(math.isfinite, g))):
        return stop(Status.NONFINITE_START)
    if max_abs(g) <= o.gtol:
        return stop(Status.CONVERGED_GRADIENT)
    if o.maxiter == 0:
        return stop(Status.MAXITER)
    if o.maxfun <= 1:
        return stop(Status.MAXFUN)

    while True:
        # Which way.
        p = memory.times([-z for z in g], h0)
        dphi0 = dot(p, g)
        if memory.pairs and not (dphi0 < 0.0 and math.isfinite(dphi0)):
            memory.pairs = []
            p = memory.times([-z for z in g], h0)
            dphi0 = dot(p, g)
        if not memory.pairs and h0 is None and norm(g) > 1.0:
            length = norm(g)
            p = [store(z / length) for z in p]
            dphi0 = dot(p, g)
        if not (dphi0 < 0.0 and math.isfinite(dphi0)):
            return stop(Status.STALLED if flat or dphi0 == 0.0 else Status.ABNORMAL)

        # How far.
        def point(alpha: float) -> Vector:
            return [store(z + alpha * d) for z, d in zip(x, p, strict=True)]  # noqa: B023

        search = line_search(
            f,
            dphi0,
            1.0,
            c1=o.c1,
            c2=o.c2,
            maxls=min(o.maxls, o.maxfun - nfev),
            eps=eps,
            nowhere=lambda alpha: point(alpha) == x,  # noqa: B023
        )
        told: dict[float, tuple[float, Vector]] = {}
        alpha = next(search)
        while True:
            f_trial, g_trial = yield point(alpha)
            nfev += 1
            told[alpha] = float(f_trial), [float(z) for z in g_trial]
            if f_trial == -math.inf:
                found = Found("ACCEPT", alpha)
                break
            try:
                alpha = search.send((told[alpha][0], dot(p, told[alpha][1])))
            except StopIteration as end:
                found = end.value
                break
        if found.verdict == "TAKE_LO" and point(found.alpha / 128.0) == x:  # the step is lost in the rounding of x
            hi = found.hi
            beside = hi is not None and (hi.dphi >= 0.0 or point(hi.alpha / 128.0) == x)
            found = Found("GIVE_UP", 0.0, found.flat or beside)
        steps.append(found)

        if found.verdict == "GIVE_UP":
            # Could f have shown what the model promised?
            flat = flat or found.flat or -dphi0 <= 10.0 * eps * abs(f)
            if nfev >= o.maxfun:
                return stop(Status.MAXFUN)
            if not memory.pairs:
                return stop(Status.STALLED if flat else Status.ABNORMAL)
            memory.pairs = []
            continue

        # Take the step.
        x_old, f_old, g_old = x, f, g
        x = point(found.alpha)
        f, g = told[found.alpha]
        nit += 1
        if f == -math.inf:
            return stop(Status.UNBOUNDED)
        s = [store(a - b) for a, b in zip(x, x_old, strict=True)]
        y = [store(a - b) for a, b in zip(g, g_old, strict=True)]
        memory.push(s, y)
        flat = False
        idle += 1
        if max_abs(g) < g_best or f_best - f > 10.0 * eps * abs(f):
            f_best, g_best, idle = min(f_best, f), min(g_best, max_abs(g)), 0

        # Stop there, or go on.
        if max_abs(g) <= o.gtol:
            return stop(Status.CONVERGED_GRADIENT)
        if found.verdict == "TAKE_LO" and nfev >= o.maxfun:
            return stop(Status.MAXFUN)
        if o.xtol > 0.0 and max_abs(s) <= o.xtol:
            return stop(Status.CONVERGED_STEP)
        if o.ftol > 0.0 and f_old - f <= o.ftol * max(abs(f_old), abs(f), 1.0):
            return stop(Status.CONVERGED_DECREASE)
        if o.frtol > 0.0 and f_old - f <= o.frtol * abs(f_old):
            return stop(Status.CONVERGED_DECREASE)
        if o.fatol > 0.0 and f_old - f <= o.fatol:
            return stop(Status.CONVERGED_DECREASE)
        if (f >= f_old and max_abs(g) >= max_abs(g_old)) or idle >= 30:
            return stop(Status.STALLED)
        if nit >= o.maxiter:
            return stop(Status.MAXITER)
        if nfev >= o.maxfun:
            return stop(Status.MAXFUN)
