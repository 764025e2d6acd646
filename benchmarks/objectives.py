"""The objectives that are benchmarked: value and gradient in one NumPy function.

Each comes three times: for one point, for ``(k, n)`` points (`batch`), and as a formula of its
value alone (`value`), from which frameworks with automatic differentiation make their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray

# Numbers of one block of points: the temporaries of a block stay in a second-level cache.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Objective:
    """One objective in the three forms that solvers want.

    Attributes
    ----------
    one : callable
        ``x (n,), *row -> f float, g (n,)``.
    batch : callable
        ``x (k, n), *rows -> f (k,), g (k, n)``.
    value : callable
        ``xp, x (..., n), *rows -> f (...)`` in the array namespace ``xp``.
    """

    one: Callable[..., tuple[float, Array]]
    batch: Callable[..., tuple[Array, Array]]
    value: Callable[..., Any]


class Box(NamedTuple):
    """Bounds (n,) that all members share; -inf and inf where there is none."""

    lower: Array
    upper: Array

    def project(self, x: Array) -> Array:
        """Return ``x`` (..., n), put into the box."""
        return np.clip(x, self.lower, self.upper)

    def slope(self, x: Array, g: Array) -> Array:
        """Return the projected gradient x - P(x - g), without its cancellation."""
        return np.clip(g, x - self.upper, x - self.lower)


@dataclass(frozen=True)
class Batch:
    """B problems of one objective.

    Attributes
    ----------
    name : str
        Name of the objective, a key of `OBJECTIVES`.
    x0 : ndarray, shape (B, n)
        The starts.
    data : tuple of ndarray, shape (B, ...)
        What members do not share.
    fun : callable
        ``x (k, n), *rows of data -> f (k,), g (k, n)``.
    one : callable
        ``x (n,), *row of data -> f, g (n,)``.
    box : Box or None
        Bounds, if there are any.
    """

    name: str
    x0: Array
    data: tuple[Array, ...]
    fun: Callable[..., tuple[Array, Array]]
    one: Callable[..., tuple[float, Array]]
    box: Box | None = None

    def member(self, b: int) -> Callable[[Array], tuple[float, Array]]:
        """Return the objective of member ``b`` alone."""
        if not self.data:
            return self.one
        rows = tuple(array[b] for array in self.data)
        return lambda x: self.one(x, *rows)

    def astype(self, dtype: Any) -> Batch:
        """Return the batch in another precision."""
        box = None if self.box is None else Box(*(bound.astype(dtype) for bound in self.box))
        return replace(self, x0=self.x0.astype(dtype), data=tuple(array.astype(dtype) for array in self.data), box=box)

    def first(self, count: int) -> Batch:
        """Return the batch of the first ``count`` members."""
        return replace(self, x0=self.x0[:count], data=tuple(array[:count] for array in self.data))


def rosenbrock(x: Array) -> tuple[float, Array]:
    """Evaluate the chained Rosenbrock function at one point."""
    a = x[:-1]
    t = x[1:] - a * a
    u = a - 1.0
    f = 100.0 * t.dot(t) + u.dot(u)
    g = np.empty_like(x)
    g[-1] = 0.0
    t *= 200.0
    h = g[:-1]
    np.multiply(a, t, out=h)
    h -= u
    h *= -2.0
    g[1:] += t
    return f, g


def rosenbrock_batch(x: Array) -> tuple[Array, Array]:
    """Evaluate the chained Rosenbrock function at ``(k, n)`` points."""
    k, n = x.shape
    rows = max(1, BLOCK // n) if k * n > 2 * BLOCK else k
    f, g = np.empty(k, x.dtype), np.empty((k, n), x.dtype)
    for start in range(0, k, rows):
        stop = start + rows
        _rosenbrock_block(x[start:stop], f[start:stop], g[start:stop])
    return f, g


def _rosenbrock_block(x: Array, f: Array, g: Array) -> None:
    """Write f (k,) and g (k, n) of the points x (k, n).

    All points are treated as one long chain, in long loops; the links between two points are cut
    by zeros in the last column.
    """
    x = np.ascontiguousarray(x)
    flat = x.reshape(-1)
    t = np.empty_like(x)
    link = t.reshape(-1)[:-1]
    np.multiply(flat[:-1], flat[:-1], out=link)
    np.subtract(flat[1:], link, out=link)
    t[:, -1] = 0.0
    u = x - 1.0
    u[:, -1] = 0.0
    np.einsum("ki,ki->k", t, t, out=f)
    f *= 100.0
    f += np.einsum("ki,ki->k", u, u)
    t *= 200.0
    np.multiply(x, t, out=g)
    g -= u
    g *= -2.0
    g.reshape(-1)[1:] += link


def rosenbrock_value(xp: Any, x: Any) -> Any:
    """Return the value of the chained Rosenbrock function."""
    a = x[..., :-1]
    t = x[..., 1:] - a * a
    u = 1.0 - a
    return 100.0 * xp.sum(t * t, axis=-1) + xp.sum(u * u, axis=-1)


RIDGE = 1e-2


def logistic(x: Array, A: Array) -> tuple[float, Array]:
    """Evaluate mean log(1 + exp(-A x)) + RIDGE/2 |x|^2, A (50, 8) the samples times their signs."""
    z = A.dot(x)
    e = np.exp(-np.abs(z))
    f = (np.log1p(e) - np.minimum(z, 0.0)).sum() / len(z) + 0.5 * RIDGE * x.dot(x)
    weight = np.where(z >= 0.0, e, 1.0)
    weight /= 1.0 + e
    g = weight.dot(A)
    g *= -1.0 / len(z)
    g += RIDGE * x
    return f, g


def logistic_batch(x: Array, A: Array) -> tuple[Array, Array]:
    """Evaluate `logistic` at ``(k, n)`` points, each with its own samples A (k, 50, n)."""
    z = np.matmul(A, x[:, :, None])[:, :, 0]
    e = np.exp(-np.abs(z))
    f = (np.log1p(e) - np.minimum(z, 0.0)).mean(axis=1)
    f += 0.5 * RIDGE * np.einsum("ki,ki->k", x, x)
    weight = np.where(z >= 0.0, e, 1.0)
    weight /= 1.0 + e
    g = np.matmul(weight[:, None, :], A)[:, 0, :]
    g *= -1.0 / z.shape[1]
    g += RIDGE * x
    return f, g


def logistic_value(xp: Any, x: Any, A: Any) -> Any:
    """Return the value of `logistic`."""
    z = xp.sum(A * x[..., None, :], axis=-1)
    loss = xp.log1p(xp.exp(-xp.abs(z))) - xp.minimum(z, 0.0)
    return xp.mean(loss, axis=-1) + 0.5 * RIDGE * xp.sum(x * x, axis=-1)


QUARTIC = 0.02


def mixed(x: Array, d: Array, c: Array) -> tuple[float, Array]:
    """Evaluate 1/2 sum d (x - c)^2 + QUARTIC sum x^4."""
    r = x - c
    s = x * x
    g = d * r
    f = 0.5 * g.dot(r) + QUARTIC * s.dot(s)
    s *= x
    s *= 4.0 * QUARTIC
    g += s
    return f, g


def mixed_batch(x: Array, d: Array, c: Array) -> tuple[Array, Array]:
    """Evaluate `mixed` at ``(k, n)`` points, each with its own d and c (k, n)."""
    r = x - c
    s = x * x
    g = d * r
    f = 0.5 * np.einsum("ki,ki->k", g, r)
    f += QUARTIC * np.einsum("ki,ki->k", s, s)
    s *= x
    s *= 4.0 * QUARTIC
    g += s
    return f, g


def mixed_value(xp: Any, x: Any, d: Any, c: Any) -> Any:
    """Return the value of `mixed`."""
    r = x - c
    s = x * x
    return 0.5 * xp.sum(d * r * r, axis=-1) + QUARTIC * xp.sum(s * s, axis=-1)


OBJECTIVES = {
    "rosenbrock": Objective(rosenbrock, rosenbrock_batch, rosenbrock_value),
    "logistic": Objective(logistic, logistic_batch, logistic_value),
    "mixed": Objective(mixed, mixed_batch, mixed_value),
}


def chain_start(n: int, seed: int = 0) -> Array:
    """Return the standard start (-1.2, 1, -1.2, ...) of Rosenbrock's chain, moved a little."""
    x0 = np.where(np.arange(n) % 2 == 0, -1.2, 1.0)
    if n > 2:
        x0 += 0.1 * np.random.default_rng(seed).standard_normal(n)
    return x0


def chain_box(n: int) -> Box:
    """Return bounds that bind on half of Rosenbrock's chain: x_3, x_6, ... at most 0.5, the others at least 0.2.

    With n = 10, five of them bind at the minimiser, where f = 16.25; no other has been found.
    """
    third = np.arange(n) % 3 == 2
    return Box(np.where(third, -np.inf, 0.2), np.where(third, 0.5, np.inf))


def rosenbrock_starts(B: int, n: int, rng: np.random.Generator) -> tuple[Array, ...]:
    """Draw starts uniform in [-2, 2]."""
    return (rng.uniform(-2.0, 2.0, (B, n)),)


def logistic_samples(B: int, n: int, rng: np.random.Generator) -> tuple[Array, ...]:
    """Draw 50 normal samples for each member, labelled by a noisy plane; start at zero."""
    samples = rng.standard_normal((B, 50, n))
    plane = rng.standard_normal((B, n, 1))
    score = np.matmul(samples, plane)[:, :, 0] + rng.logistic(size=(B, 50))
    return np.zeros((B, n)), samples * np.where(score >= 0.0, 1.0, -1.0)[:, :, None]


def mixed_curvatures(B: int, n: int, rng: np.random.Generator) -> tuple[Array, ...]:
    """Draw curvatures of condition 1.6, and of 1000 for every twentieth member."""
    condition = np.where(np.arange(B) % 20 == 0, 1e3, 1.6)
    exponent = rng.uniform(0.0, 1.0, (B, n))
    exponent[:, 0], exponent[:, -1] = 0.0, 1.0
    curvature = condition[:, None] ** exponent
    return rng.uniform(-2.0, 2.0, (B, n)), curvature, rng.standard_normal((B, n))


_DRAWS = {
    "rosenbrock": (10, rosenbrock_starts),
    "logistic": (8, logistic_samples),
    "mixed": (20, mixed_curvatures),
}


def make(name: str, B: int, n: int | None = None, seed: int = 0) -> Batch:
    """Return B problems of the objective ``name``; ``n`` defaults to the usual one (10, 8, 20)."""
    usual, draw = _DRAWS[name]
    x0, *data = draw(B, n or usual, np.random.default_rng(seed))
    objective = OBJECTIVES[name]
    return Batch(name, x0, tuple(data), objective.batch, objective.one)


def make_bounded(B: int, n: int = 10, seed: int = 0) -> Batch:
    """Return B problems of Rosenbrock's chain with the bounds of `chain_box`, the starts put inside."""
    batch, box = make("rosenbrock", B, n, seed), chain_box(n)
    return replace(batch, x0=box.project(batch.x0), box=box)


def value_in(name: str, xp: Any) -> Callable[..., Any]:
    """Return the value of the objective ``name`` in the array namespace ``xp``."""
    return partial(OBJECTIVES[name].value, xp)
