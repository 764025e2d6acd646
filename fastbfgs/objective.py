"""The user's callable as ``evaluate(x, rows) -> f, g``: f and g together, f and jac apart, or finite differences.

What comes back is checked where it is taken in (`Solver.tell`), except where this file computes with it itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbfgs import interop

SCHEMES = {"2-point": 1.0 / 2.0, "3-point": 1.0 / 3.0, "cs": 1.0 / 2.0}
"""Schemes of finite differences, and the root of the rounding unit that is the relative step of each."""


class Objective:
    """Evaluate the user's function for the members that wait.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args, *batch_args)``; returns (f, g) if `jac` is True, else f. A function that takes a keyword
        ``rows`` is given the indices of the members in x, for a batch.
    jac : True or callable
        Whether fun returns both, or the gradient function of the same arguments.
    args : tuple
        Passed on as they are.
    batch_args : tuple of ndarray (B, ...)
        Passed on as the rows of the members in x.
    single : bool
        One problem: x (n,), f a number, g (n,). Else x (k, n), f (k,), g (k, n).
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        jac: Any,
        args: tuple[Any, ...],
        batch_args: tuple[np.ndarray, ...],
        single: bool,
    ) -> None:
        self.fun = fun
        self.jac = jac
        self.args = args
        self.batch_args = batch_args
        self.single = single
        self.fun_takes_rows = not single and takes_rows(fun)
        self.jac_takes_rows = not single and callable(jac) and takes_rows(jac)
        self.evaluations = 1  # function values spent for each (f, g)
        self._rows: np.ndarray | None = None
        self._rows_args = batch_args

    def evaluate(self, x: np.ndarray, rows: np.ndarray) -> tuple[Any, Any]:
        """Return f and g at `x`, for the members `rows`."""
        args = self.args_of(rows) if self.batch_args else self.args
        if self.jac is True:
            returned = self.call(self.fun, self.fun_takes_rows, x, rows, args)
            if type(returned) is tuple and len(returned) == 2:
                return returned
            return interop.pair(returned, "fun")
        x_of_jac = x.copy()  # fun may write into its own
        f = self.call(self.fun, self.fun_takes_rows, x, rows, args)
        return f, self.call(self.jac, self.jac_takes_rows, x_of_jac, rows, args)

    def call(
        self, function: Callable[..., Any], gives_rows: bool, x: np.ndarray, rows: np.ndarray, args: tuple[Any, ...]
    ) -> Any:
        """Call one of the user's functions."""
        if gives_rows:
            return function(x, *args, rows=rows)
        return function(x, *args) if args else function(x)

    def args_of(self, rows: np.ndarray) -> tuple[Any, ...]:
        """Return `args` and the rows of the batch arguments, copied anew only when `rows` has changed."""
        if rows is not self._rows:
            self._rows = rows
            whole = len(rows) == len(self.batch_args[0])
            self._rows_args = self.args + (self.batch_args if whole else tuple(a[rows] for a in self.batch_args))
        return self._rows_args


class Differences(Objective):
    """Evaluate a function without a gradient: finite differences, all points of all members in one call.

    Steps and quotients are those of `scipy.optimize.approx_derivative`, without bounds. Two deviations: where x is
    float32, an absolute step below float32's own best one is replaced by that one (SciPy's 1e-8 gives differences of
    zero there, and a false "converged": scipy#17636); and for a batch the relative step is chosen before f is known, so
    a float32 f of a float64 x needs a step of its own there (`finite_diff_rel_step`).

    Parameters
    ----------
    scheme : {"2-point", "3-point", "cs"}
    absolute : float or array_like (n,) or None
        Absolute step; None for a relative one.
    relative : float or array_like (n,) or None
        Relative step; None for the scheme's own.
    workers : callable, optional
        ``workers(function, points)`` evaluates the points of one problem; a pool's map, say.
    fun, args, batch_args, single
        See `Objective`.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        args: tuple[Any, ...],
        batch_args: tuple[np.ndarray, ...],
        single: bool,
        *,
        n: int,
        scheme: str,
        absolute: Any,
        relative: Any,
        workers: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(fun, None, args, batch_args, single)
        self.scheme = scheme
        self.absolute = absolute
        self.relative = relative
        self.workers = workers
        self.evaluations = 1 + (2 * n if scheme == "3-point" else n)

    def evaluate(self, x: np.ndarray, rows: np.ndarray) -> tuple[Any, Any]:
        """Return f and g at `x`, for the members `rows`."""
        if self.single:
            return self.evaluate_one(x)
        points, h = self.stencil(x, np.finfo(x.dtype).eps)
        args = self.args
        if self.batch_args:
            own = self.args_of(rows)[len(args) :]
            args = args + tuple([np.repeat(a, self.evaluations, axis=0) for a in own])
        kind = np.complex128 if self.scheme == "cs" else np.float64
        count, n = x.shape
        flat = points.reshape(-1, n)
        f = self.call(self.fun, self.fun_takes_rows, flat, np.repeat(rows, self.evaluations), args)
        f = interop.values(f, len(flat), "fun", kind).reshape(count, self.evaluations)
        return np.ascontiguousarray(f[:, 0].real), self.quotient(f, h, x.dtype)

    def evaluate_one(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Return f and g at `x` (n,), point by point; the first one tells how precise f is."""
        kind = np.complex128 if self.scheme == "cs" else np.float64
        # With complex steps x goes in as complex, too: f is then the same as in a batch, to the bit.
        first = self.fun(x.copy() if kind is np.float64 else x.astype(np.result_type(x, np.complex64)), *self.args)
        f0 = interop.value(first, "fun", kind)
        eps = np.finfo(x.dtype).eps
        if isinstance(first, (np.ndarray, np.generic)) and first.dtype.kind == "f":
            eps = max(eps, np.finfo(first.dtype).eps)
        points, h = self.stencil(x[np.newaxis], eps)
        call = _OnePoint(self.fun, self.args, kind)
        if self.workers is None:
            values = [call(point) for point in points[0, 1:]]
        else:
            values = list(self.workers(call, points[0, 1:]))
        return f0.real, self.quotient(np.array([[f0, *values]], kind), h, x.dtype)[0]

    def stencil(self, x: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the points (k, evaluations, n) around x (k, n), x itself first, and the moves (k, n) between them."""
        points = np.repeat(x[:, np.newaxis], self.evaluations, axis=1)
        h = self.steps(x, eps)
        n = x.shape[1]
        i = np.arange(n)
        # The moves as made, x + h - x: read before fun is called, which may write into its points.
        if self.scheme == "2-point":
            points[:, 1 + i, i] += h
            return points, points[:, 1 + i, i] - x
        if self.scheme == "3-point":
            points[:, 1 + i, i] -= np.abs(h)
            points[:, 1 + n + i, i] += np.abs(h)
            return points, points[:, 1 + n + i, i] - points[:, 1 + i, i]
        points = points.astype(np.result_type(points, np.complex64))
        points[:, 1 + i, i] += 1j * h
        return points, h

    def quotient(self, f: np.ndarray, h: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the gradients (k, n) from f (k, evaluations) at the points and the moves between them."""
        n = h.shape[1]
        with np.errstate(all="ignore"):  # not finite: the solver takes care of it
            if self.scheme == "2-point":
                g = (f[:, 1:] - f[:, :1]) / h
            elif self.scheme == "3-point":
                g = (f[:, 1 + n :] - f[:, 1 : 1 + n]) / h
            else:
                g = f[:, 1:].imag / h
            return np.ascontiguousarray(g, dtype=dtype)

    def steps(self, x: np.ndarray, eps: float) -> np.ndarray:
        """Return the steps (k, n) at x, signed as x is, where x and f are precise to eps."""
        away: np.ndarray = np.where(x >= 0, 1.0, -1.0)
        size: np.ndarray = np.abs(x)
        own: np.ndarray = eps ** SCHEMES[self.scheme] * np.maximum(1.0, size)
        if self.absolute is not None:
            h: np.ndarray = np.broadcast_to(self.absolute, x.shape)
            if x.dtype == np.float32:
                h = np.where(np.abs(h) < own, away * own, h)
        elif self.relative is not None:
            h = self.relative * away * size
        else:
            h = away * own
        return np.where((x + h) - x == 0, away * own, h)


class _OnePoint:
    """The user's function of one point: an object, so that it can be sent to another process."""

    def __init__(self, fun: Callable[..., Any], args: tuple[Any, ...], kind: type) -> None:
        self.fun = fun
        self.args = args
        self.kind = kind

    def __call__(self, x: np.ndarray) -> Any:
        return interop.value(self.fun(x.copy(), *self.args), "fun", self.kind)


def takes_rows(function: Callable[..., Any]) -> bool:
    """Return whether `function` has a parameter of its own named ``rows``."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin without a signature
        return False
    rows = parameters.get("rows")
    return rows is not None and rows.kind in (rows.KEYWORD_ONLY, rows.POSITIONAL_OR_KEYWORD)
