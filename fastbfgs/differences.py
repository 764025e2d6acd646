"""Finite differences: the points at which f is asked for, and the gradient that its values there give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

SCHEMES = {"2-point": 1.0 / 2.0, "3-point": 1.0 / 3.0, "cs": 1.0 / 2.0}
"""The schemes, and the root of the rounding unit that is the relative step of each."""


class Stencil:
    """Lay points around x and difference their values, as `scipy.optimize.approx_derivative` does.

    We deviate in four places:
    - where x is float32, an absolute step below float32's own best one is replaced by that one: SciPy's 1e-8 gives
      differences of zero there, and a false "converged" (scipy#17636);
    - a step that float32 loses in x counts as lost, and is replaced;
    - rounding takes no point out of the box;
    - a coordinate whose bounds are equal has the derivative 0, and no point if they are equal in all members.

    Parameters
    ----------
    n : int
        Coordinates.
    scheme : {"2-point", "3-point", "cs"}
    absolute : float or ndarray (n,) or None
        Absolute step; None for a relative one.
    relative : float or ndarray (n,) or None
        Relative step; None for the scheme's own.
    box : ndarray (2, n) or (B, 2, n), optional
        Bounds, as `fastbfgs.interop.box` returns them.
    xp : module
        Whose arrays all these are, and those that come and go: NumPy, or CuPy. Nothing waits for the device, once the
        stencil is made.

    Attributes
    ----------
    size : int
        Points around each x, x itself among them.
    counts : int or ndarray (B,) of int64
        How many of them a member would have alone: none is for a coordinate that its own bounds fix.
    fixed : ndarray (n,) or (B, n) of bool, or None
        Coordinates whose bounds are equal; None if there are none.

    Examples
    --------
    >>> stencil = Stencil(2, "3-point", None, 0.5, box=np.array([[0.0, 0.0], [2.5, 9.0]]))
    >>> x = np.array([[2.0, 4.0]])
    >>> ends, moves, one_sided = stencil.around(x, 0, 1e-16)
    >>> points = stencil.points(x, ends)
    >>> points[0]  # the first coordinate has no room above
    array([[2., 4.],
           [1., 4.],
           [2., 2.],
           [0., 4.],
           [2., 6.]])
    >>> stencil.gradient((points**2).sum(axis=2), moves, one_sided, x.dtype)
    array([[4., 8.]])
    """

    def __init__(self, n: int, scheme: str, absolute: Any, relative: Any, box: np.ndarray | None, xp: Any = np) -> None:
        self.n = n
        self.scheme = scheme
        self.absolute = None if absolute is None else xp.asarray(absolute, float)
        self.relative = None if relative is None else xp.asarray(relative, float)
        self.box = box
        self.xp = xp
        self.fixed: np.ndarray | None = None
        self.free = xp.arange(n)
        self._places: Any = range(n)  # `free`, on the host
        if box is not None:
            fixed: np.ndarray = box[..., 0, :] == box[..., 1, :]
            if fixed.any():
                self.fixed = fixed
                self.free = xp.flatnonzero(~fixed.reshape(-1, n).all(axis=0))
                self._places = self.free.tolist()
                self.box = box[..., self.free]
                self.absolute, self.relative = (
                    step if step is None or step.size == 1 else step[self.free]
                    for step in (self.absolute, self.relative)
                )
        each = 2 if scheme == "3-point" else 1
        self.size = 1 + len(self.free) * each
        self.counts: Any = self.size
        if self.fixed is not None and self.fixed.ndim == 2:
            self.counts = 1 + each * (~self.fixed).sum(axis=1)

    @np.errstate(all="ignore")  # x may be infinite at the start: the solver takes care of it
    def around(self, x: np.ndarray, rows: Any, eps: float) -> tuple[list[np.ndarray], np.ndarray, Any]:
        """Return where the points around x are, and what `gradient` needs of them.

        Parameters
        ----------
        x : ndarray (k, n)
            Inside the box.
        rows : index (k,)
            Which members these are, for their boxes.
        eps : float
            To which x and f are precise.

        Returns
        -------
        ends : list of ndarray (k, m)
            Each of the m free coordinates in the point that differs from x in it alone; for "3-point" another such.
        moves : ndarray (k, m)
            From the one point to the other, as made: (x + h) - x, not h. 0 where a coordinate is fixed in this member.
        one_sided : ndarray (k, m) of bool, or None
            Where both points of "3-point" are on the same side of x; None if nowhere.
        """
        xp, free, m = self.xp, self.free, len(self.free)
        here = x if m == self.n else x[:, free]
        h = self.steps(here, eps)
        lower: Any = None
        if self.box is not None:
            box = self.box if self.box.ndim == 2 else self.box[rows]
            lower, upper = box[..., 0, :], box[..., 1, :]
        if self.scheme == "cs":
            if lower is not None:
                h = xp.where(lower == upper, 0.0, h)
            return [(here + 1j * h).astype(np.result_type(x.dtype, np.complex64), copy=False)], h, None

        one_sided = None
        if self.scheme == "2-point":
            if lower is not None:
                h = _one_step_inside(xp, here, h, lower, upper)
            ends = [here + h]
        elif lower is None:
            h = abs(h)
            ends = [here - h, here + h]
        else:
            h, one_sided = _two_steps_inside(xp, here, abs(h), lower, upper)
            ends = [xp.where(one_sided, here + h, here - h), xp.where(one_sided, here + 2 * h, here + h)]
        for k, end in enumerate(ends):
            ends[k] = end = end.astype(x.dtype, copy=False)
            if lower is not None:
                end.clip(lower, upper, out=end)
        begin = here if self.scheme == "2-point" else ends[0]
        if one_sided is not None:
            begin = xp.where(one_sided, here, begin)
        return ends, ends[-1] - begin, one_sided

    def points(self, x: np.ndarray, ends: list[np.ndarray]) -> np.ndarray:
        """Return all points around x (k, n): (k, size, n), x itself, then those of the first ends, then the others."""
        xp, m = self.xp, len(self.free)
        points: np.ndarray = xp.empty((len(x), self.size, self.n), ends[0].dtype)
        points[...] = x[:, np.newaxis]
        for k, end in enumerate(ends):
            points[:, xp.arange(1 + k * m, 1 + (k + 1) * m), self.free] = end
        return points

    def one_by_one(self, x: np.ndarray, ends: list[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the points around one x (n,), but x itself, in the order of `points`, each an array of its own."""
        x = x.astype(ends[0].dtype, copy=False)
        for end in ends:
            for i, value in zip(self._places, end[0].tolist() if self.xp is np else end[0], strict=True):
                point = x.copy()
                point[i] = value
                yield point

    @np.errstate(all="ignore")  # so may f be, anywhere
    def gradient(self, f: np.ndarray, moves: np.ndarray, one_sided: Any, dtype: np.dtype) -> np.ndarray:
        """Return the gradients (k, n), of `dtype`, from the values f (k, size) at the points."""
        xp, m = self.xp, len(self.free)
        f0, first, second = f[:, :1], f[:, 1 : 1 + m], f[:, 1 + m :]
        if self.scheme == "2-point":
            df = first - f0
        elif self.scheme == "cs":
            df = first.imag
        else:
            df = second - first
            if one_sided is not None:
                df = xp.where(one_sided, -3.0 * f0 + 4 * first - second, df)
        g: np.ndarray = df / moves
        if self.fixed is not None:
            free, g = xp.where(moves == 0, 0.0, g), xp.zeros((len(f), self.n))
            g[:, self.free] = free
        gradient: np.ndarray = xp.ascontiguousarray(g, dtype=dtype)
        return gradient

    def steps(self, x: np.ndarray, eps: float) -> np.ndarray:
        """Return the steps (k, m) at x, signed as x is, where x and f are precise to eps; without bounds."""
        xp = self.xp
        if self.absolute is not None and xp is np and x.dtype == np.float64 and (x + self.absolute != x).all():
            return np.full(x.shape, self.absolute)  # what follows comes to the same, in three times the time
        away: np.ndarray = xp.where(x >= 0, 1.0, -1.0)
        size: np.ndarray = abs(x)
        own: np.ndarray = float(eps ** SCHEMES[self.scheme]) * xp.maximum(1.0, size)
        if self.absolute is not None:
            h: np.ndarray = self.absolute
            if x.dtype == np.float32:
                h = xp.where(abs(h) < own, away * own, h)
        elif self.relative is not None:
            h = self.relative * away * size
        else:
            h = away * own
        steps: np.ndarray = xp.where((x + h).astype(x.dtype, copy=False) == x, away * own, h)
        return steps


def _one_step_inside(xp: Any, x: np.ndarray, h: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return h, or -h if x + h is outside, or the way to the farther bound if both are."""
    below, above = x - lower, upper - x
    fits = abs(h) <= xp.maximum(below, above)
    outside = (x + h < lower) | (x + h > upper)
    inside: np.ndarray = xp.where(fits, xp.where(outside, -h, h), xp.where(above >= below, above, -below))
    return inside


def _two_steps_inside(
    xp: Any, x: np.ndarray, h: np.ndarray, lower: np.ndarray, upper: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the h > 0 of "3-point" so that x - h and x + h, or x + h and x + 2 h, are inside; and where the latter.

    On one side h is negative where the lower bound is the farther one. If it has to be less than the way to the nearer
    bound, that way in both directions is better.
    """
    below, above = x - lower, upper - x
    nearer = xp.minimum(below, above)
    aside = xp.where(above >= below, xp.minimum(h, 0.5 * above), -xp.minimum(h, 0.5 * below))
    central = h <= nearer
    shorter = ~central & (abs(aside) <= nearer)
    return xp.where(central, h, xp.where(shorter, nearer, aside)), ~(central | shorter)
