"""A batch in pieces, one after another, where memory is short: `minimize` with `chunk`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from fastbfgs.batch_result import ARRAYS, BatchResult
from fastbfgs.dialects import numbers_of
from fastbfgs.objective import takes_rows
from fastbfgs.result import Status


def refuse(chunk: Any, start: Any, compiled: bool, callback: Any, progress: Any, record: Any, options: Any) -> None:
    """Raise an error for what cannot be done in pieces."""
    if isinstance(chunk, bool) or not isinstance(chunk, (int, np.integer)) or chunk < 1:
        raise ValueError(f"chunk must be a positive integer, members at a time, or None; got {chunk!r}")
    if start.ndim == 1:
        raise ValueError("chunk is for a batch, x0 of shape (..., n); leave it out for one problem")
    if compiled:
        raise ValueError("chunk is for functions of arrays, and fun is compiled; solve pieces by calls of your own")
    asked = {"callback": callback, "progress": progress, "record": record}
    asked["return_all"] = isinstance(options, Mapping) and options.get("return_all")
    for name, value in asked.items():
        if value:
            raise ValueError(f"{name} does not go with chunk: it would see one piece at a time; leave one of them out")


def in_pieces(
    solve: Callable[..., BatchResult],
    chunk: int,
    reader: Any,
    fun: Any,
    jac: Any,
    start: Any,
    arrays: tuple[Any, ...],
    box: Any,
    h0: Any,
    method: str,
) -> BatchResult:
    """Let `solve` minimise `chunk` members of a batch at a time; return the results of all.

    It takes fun, jac, and of a piece the start, the arrays of batch_args, and box and h0 as `reader` has read them.
    """
    shape, n = start.shape[:-1], start.shape[-1]
    count = math.prod(shape)
    flat, pieces = start.reshape(count, n), []

    def part(whole: Any, axes: int, rows: slice) -> Any:
        """Return the rows of a piece, if there is a row for each member: more axes than `axes`."""
        return whole if whole is None or whole.ndim == axes else whole[rows]

    for first in range(0, max(count, 1), chunk):
        here = slice(first, first + chunk)
        try:
            pieces.append(
                solve(
                    _with_rows_from(first, fun),
                    _with_rows_from(first, jac),
                    flat[here],
                    tuple([array[here] for array in arrays]),
                    part(box, 2, here),
                    part(h0, 2 if method == "BFGS" else 1, here),
                )
            )
        except BaseException as error:
            with suppress(AttributeError, TypeError):  # as in driver._keep
                begun: BatchResult = error.partial_result  # type: ignore[attr-defined]
                rest = slice(first + len(begun), None)
                x = flat[rest] if box is None else reader.nearest(flat[rest], part(box, 2, rest))
                never = _never_begun(x, begun, reader.xp)
                error.partial_result = _joined([*pieces, begun, never], shape, reader)  # type: ignore[attr-defined]
            raise
    return _joined(pieces, shape, reader)


def _joined(pieces: list[BatchResult], shape: tuple[int, ...], reader: Any) -> BatchResult:
    """Return the results of pieces as those of one batch of `shape`."""
    names = [*ARRAYS, *(name for name in ("hess_inv", "fixed") if getattr(pieces[0], name) is not None)]
    parts: dict[str, Any] = {}
    for name in names:
        whole = reader.concatenate([getattr(piece, name) for piece in pieces])
        parts[name] = whole.reshape(*shape, *whole.shape[1:])
    return BatchResult(**parts, calls=sum(piece.calls for piece in pieces), method=pieces[0].method)


def _never_begun(x: Any, like: BatchResult, xp: Any) -> BatchResult:
    """Return the result of members at x (k, n) that have not been evaluated; `like` is one of others."""
    count = len(x)
    none = xp.zeros(count, np.int64)
    running = xp.full(count, int(Status.RUNNING), np.int32)
    unknown = xp.full(count, np.nan, x.dtype)
    h = like.hess_inv
    return BatchResult(
        x=x, fun=unknown, jac=xp.full(x.shape, np.nan, x.dtype), nit=none, nfev=none, njev=none,
        status=numbers_of(running), reason=running, success=xp.zeros(count, bool), calls=0, method=like.method,
        hess_inv=None if h is None else xp.full((count, *h.shape[1:]), np.nan, x.dtype),
        fixed=None if like.fixed is None else xp.zeros(count, bool),
    )  # fmt: skip


def _with_rows_from(first: int, function: Any) -> Any:
    """Return a function of the caller's that is given the indices of a piece in the whole batch."""
    if not callable(function) or not takes_rows(function):
        return function

    def shifted(x: Any, *args: Any, rows: Any) -> Any:
        return function(x, *args, rows=rows + first)

    return shifted
