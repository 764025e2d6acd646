"""The user's callable as ``evaluate(x, rows) -> f, g``: f and g together, f and jac apart, or finite differences.

What comes back is checked where it is taken in (`Solver.tell`), except where this file computes with it itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np

from fastbfgs import interop
from fastbfgs.differences import Stencil


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
    pair : callable
        ``pair(returned)`` makes f and g of what is no tuple of two, or says what is wrong with it.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        jac: Any,
        args: tuple[Any, ...],
        batch_args: tuple[np.ndarray, ...],
        single: bool,
        pair: Callable[[Any], tuple[Any, Any]] = interop.pair,
    ) -> None:
        self.fun = fun
        self.jac = jac
        self.args = args
        self.batch_args = batch_args
        self.single = single
        self.pair = pair
        self.fun_takes_rows = not single and takes_rows(fun)
        self.jac_takes_rows = not single and callable(jac) and takes_rows(jac)
        self.evaluations: Any = 1  # function values spent for each (f, g), or by each member (B,),
        self.gradients: Any = 1  # and gradients
        self.fixed: np.ndarray | None = None  # coordinates without a derivative, (n,) or (B, n)
        self._rows: np.ndarray | None = None
        self._rows_args = batch_args

    def evaluate(self, x: np.ndarray, rows: np.ndarray) -> tuple[Any, Any]:
        """Return f and g at `x`, for the members `rows`."""
        args = self.args_of(rows) if self.batch_args else self.args
        if self.jac is True:
            if args or self.fun_takes_rows:
                returned = self.call(self.fun, self.fun_takes_rows, x, rows, args)
            else:
                returned = self.fun(x)
            if type(returned) is tuple and len(returned) == 2:
                return returned
            return self.pair(returned)
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
    """Evaluate a function without a gradient, all points of all members in one call.

    For a batch the relative step is chosen before f is known, so a float32 f of a float64 x needs a step of its own
    there (`finite_diff_rel_step`); for one problem f tells, as in SciPy.

    Parameters
    ----------
    stencil : Stencil
        Where the points are.
    workers : callable, optional
        ``workers(function, points)`` evaluates the points of one problem; a pool's map, say.
    reader : interop or device.Arrays
        Reads what fun returns.
    fun, args, batch_args, single
        See `Objective`.
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        args: tuple[Any, ...],
        batch_args: tuple[np.ndarray, ...],
        single: bool,
        stencil: Stencil,
        workers: Callable[..., Any] | None = None,
        reader: Any = interop,
    ) -> None:
        super().__init__(fun, None, args, batch_args, single)
        self.stencil = stencil
        self.workers = workers
        self.reader = reader
        self.evaluations = stencil.counts
        self.gradients = (self.evaluations > 1) * 1
        self.fixed = stencil.fixed
        self.kind = np.complex128 if stencil.scheme == "cs" else np.float64

    def evaluate(self, x: np.ndarray, rows: np.ndarray) -> tuple[Any, Any]:
        """Return f and g at `x`, for the members `rows`."""
        if self.single:
            return self.evaluate_one(x)
        xp = self.reader.xp
        size = self.stencil.size
        ends, moves, one_sided = self.stencil.around(x, rows, np.finfo(x.dtype).eps)
        args = self.args
        if self.batch_args:
            own = self.args_of(rows)[len(args) :]
            args = args + tuple([xp.repeat(a, size, axis=0) for a in own])
        points = self.stencil.points(x, ends).reshape(-1, x.shape[1])
        f = self.call(self.fun, self.fun_takes_rows, points, xp.repeat(rows, size), args)
        f = self.reader.values(f, len(x) * size, "fun", self.kind).reshape(len(x), size)
        return xp.ascontiguousarray(f[:, 0].real), self.stencil.gradient(f, moves, one_sided, x.dtype)

    def evaluate_one(self, x: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return f and g at `x` (n,), point by point; the first one tells how precise f is."""
        kind, reader = self.kind, self.reader
        # With complex steps x goes in as complex, too: f is then the same as in a batch, to the bit.
        start = x.copy() if kind is np.float64 else x.astype(np.result_type(x.dtype, np.complex64))
        first = self.fun(start, *self.args)
        f0 = reader.value(first, "fun", kind)
        eps = np.finfo(x.dtype).eps
        if isinstance(first, (reader.xp.ndarray, np.generic)) and first.dtype.kind == "f":
            eps = max(eps, np.finfo(first.dtype).eps)
        ends, moves, one_sided = self.stencil.around(x[np.newaxis], 0, eps)
        call, points = _OnePoint(self.fun, self.args, kind, reader.value), self.stencil.one_by_one(x, ends)
        # Not by `map`, which would end at a StopIteration of the function's.
        values = [call(point) for point in points] if self.workers is None else self.workers(call, points)
        f = reader.row([f0, *values], kind)
        return f0.real, self.stencil.gradient(f, moves, one_sided, x.dtype)[0]


class _OnePoint:
    """The user's function of one point: an object, so that it can be sent to another process."""

    def __init__(self, fun: Callable[..., Any], args: tuple[Any, ...], kind: type, value: Callable[..., Any]) -> None:
        self.fun = fun
        self.args = args
        self.kind = kind
        self.value = value

    def __call__(self, x: np.ndarray) -> Any:
        return self.value(self.fun(x, *self.args), "fun", self.kind)


def takes_rows(function: Callable[..., Any]) -> bool:
    """Return whether `function` has a parameter of its own named ``rows``, to which the user has bound nothing."""
    if type(function) is FunctionType and not function.__dict__:  # a signature takes 10 us; nothing hides this one's
        code = function.__code__
        return "rows" in code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    if isinstance(function, partial) and "rows" in function.keywords:
        return False
    takes = _parameters(function, follow_wrapped=False)
    if takes is None or any(each.kind is each.VAR_KEYWORD for each in takes.values()):  # so does what it wraps
        takes = (takes or {}) | (_parameters(function, follow_wrapped=True) or {})
    rows = takes.get("rows")
    return rows is not None and rows.kind in (rows.KEYWORD_ONLY, rows.POSITIONAL_OR_KEYWORD)


def _parameters(function: Callable[..., Any], follow_wrapped: bool) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a function, or of what it wraps, by name; None for a builtin without a signature."""
    try:
        return dict(inspect.signature(function, follow_wrapped=follow_wrapped).parameters)
    except (TypeError, ValueError):
        return None
