"""The user's callable as ``evaluate(x, rows) -> f, g``: f and g together, f and jac apart, or finite differences.

What comes back is checked where it is taken in (`Solver.tell`), except where this file computes with it itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from fastbfgs import interop

SCHEMES = {"2-point": 1 / 2, "3-point": 1 / 3, "cs": 1 / 2}
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
        if self.jac is True:
            returned = self.call(self.fun, self.fun_takes_rows, x, rows)
            if type(returned) is tuple and len(returned) == 2:
                return returned
            return interop.pair(returned, "fun")
        x_of_jac = x.copy()  # fun may write into its own
        f = self.call(self.fun, self.fun_takes_rows, x, rows)
        return f, self.call(self.jac, self.jac_takes_rows, x_of_jac, rows)

    def call(self, function: Callable[..., Any], gives_rows: bool, x: np.ndarray, rows: np.ndarray) -> Any:
        """Call one of the user's functions with the arguments that belong to `rows`."""
        args = self.args + self.args_of(rows) if self.batch_args else self.args
        if gives_rows:
            return function(x, *args, rows=rows)
        return function(x, *args) if args else function(x)

    def args_of(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the rows of the batch arguments, copied anew only when `rows` has changed."""
        if rows is not self._rows:
            self._rows = rows
            whole = len(rows) == len(self.batch_args[0])
            self._rows_args = self.batch_args if whole else tuple(a[rows] for a in self.batch_args)
        return self._rows_args


class Differences(Objective):
    """Evaluate a function without a gradient: finite differences, all points of all members in one call.

    Steps and quotients are those of `scipy.optimize.approx_derivative`, without bounds. One deviation: where x is
    float32, an absolute step below float32's own best one is replaced by that one. (SciPy's 1e-8 gives differences of
    zero there, and a false "converged": scipy#17636.)

    Parameters
    ----------
    scheme : {"2-point", "3-point", "cs"}
    absolute : float or array_like (n,) or None
        Absolute step; None for a relative one.
    relative : float or array_like (n,) or None
        Relative step; None for the scheme's own.
    workers : callable
        ``workers(function, points)`` evaluates the points of one problem; `map` or a pool's.
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
        workers: Callable[..., Any] = map,
    ) -> None:
        super().__init__(fun, None, args, batch_args, single)
        self.scheme = scheme
        self.absolute = absolute
        self.relative = relative
        self.workers = workers
        self.evaluations = 1 + (2 * n if scheme == "3-point" else n)

    def evaluate(self, x: np.ndarray, rows: np.ndarray) -> tuple[Any, Any]:
        """Return f and g at `x`, for the members `rows`."""
        base = np.atleast_2d(x)
        count, n = base.shape
        points = np.repeat(base[:, np.newaxis], self.evaluations, axis=1)
        h = self.steps(base)
        i = np.arange(n)
        if self.scheme == "2-point":
            points[:, 1 + i, i] += h
        elif self.scheme == "3-point":
            h = np.abs(h)
            points[:, 1 + i, i] -= h
            points[:, 1 + n + i, i] += h
        else:
            points = points.astype(np.result_type(points, np.complex64))
            points[:, 1 + i, i] += 1j * h
        f = self.values(points.reshape(-1, n), rows).reshape(count, self.evaluations)
        with np.errstate(all="ignore"):  # not finite: the solver takes care of it
            if self.scheme == "2-point":
                g = (f[:, 1:] - f[:, :1]) / (points[:, 1 + i, i] - base)
            elif self.scheme == "3-point":
                g = (f[:, 1 + n :] - f[:, 1 : 1 + n]) / (points[:, 1 + n + i, i] - points[:, 1 + i, i])
            else:
                f, g = f.real, f[:, 1:].imag / h
        g = np.ascontiguousarray(g, dtype=x.dtype)
        return (float(f[0, 0]), g[0]) if self.single else (np.ascontiguousarray(f[:, 0]), g)

    def steps(self, x: np.ndarray) -> np.ndarray:
        """Return the steps (k, n) at x, signed as x is."""
        away = np.where(x >= 0, 1.0, -1.0)
        size = np.abs(x)
        own = np.finfo(x.dtype).eps ** SCHEMES[self.scheme] * np.maximum(1.0, size)
        if self.absolute is not None:
            h = np.broadcast_to(np.asarray(self.absolute, dtype=float), x.shape)
            if x.dtype == np.float32:
                h = np.where(np.abs(h) < own, away * own, h)
        elif self.relative is not None:
            h = self.relative * away * size
        else:
            return away * own
        return np.where((x + h) - x == 0, away * own, h)

    def values(self, points: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return f at all points: of one problem in turn, of a batch in one call."""
        kind = np.complex128 if points.dtype.kind == "c" else np.float64
        if self.single:
            call = _OnePoint(self.fun, self.args, kind)
            return np.fromiter(self.workers(call, points), kind, len(points))
        each = np.repeat(rows, self.evaluations)
        f = self.call(self.fun, self.fun_takes_rows, points, each)
        return interop.values(f, len(points), "fun", kind)


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
