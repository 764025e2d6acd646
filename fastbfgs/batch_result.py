"""What `minimize` returns for a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fastbfgs.device import on_host
from fastbfgs.dialects import ALL_FIXED, message_of
from fastbfgs.outcome import optimize_result
from fastbfgs.result import members_at


@dataclass(frozen=True, eq=False, repr=False)
class BatchResult:
    """What `minimize` returns for a batch: SciPy's result fields as arrays over the members.

    ``result[i]`` is member i's own `scipy.optimize.OptimizeResult` (any index of the batch axes; a slice gives a
    `BatchResult`), ``result["x"]`` is ``result.x`` as with SciPy's result, ``len(result)`` and iteration go over the
    first batch axis.

    Parameters
    ----------
    x, jac : ndarray (..., n)
        Final points and gradients there, in the dtype of x0; these and all arrays are of the library of x0.
    fun : ndarray (...)
        Final values, in the dtype of x0.
    nit, nfev, njev : ndarray (...) of int64
        Iterations, function values and gradients of each member, as they would be alone. (With differences fun is also
        asked about coordinates that a member's own bounds fix, unless they do so in all members; that counts nowhere.)
    status : ndarray (...) of int32
        SciPy's numbers: 0 success, 1 a limit, 2 abnormal, 3 NaN or infinite at the start, 99 stopped by the callback.
        Besides: 4 stalled by rounding noise of fun, 5 fun is -inf, -1 still running.
    reason : ndarray (...) of int32
        The finer `fastbfgs.Status`.
    success : ndarray (...) of bool
    calls : int
        Calls of fun, for all members together: the largest nfev if fun is called for all at once, the sum if it is
        compiled.
    method : {"L-BFGS-B", "L-BFGS", "BFGS"}
    hess_inv : ndarray (..., n, n) or None
        For BFGS the inverse Hessians at the end. None for the others, and for what a callback sees: `Solver.pairs`
        has what they know.
    fixed : ndarray (...) of bool or None
        Whether a member had nothing to do, since bounds fix all its coordinates; None without bounds.
    allvecs : list of ndarray (..., n) or None
        With the option `return_all` of BFGS: the k-th holds each member's k-th iterate, the start first; the last one
        of a member is repeated until all have finished.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> def domain(x):
    ...     with np.errstate(all="ignore"):
    ...         return (x - np.log(x)).sum(axis=1), 1.0 - 1.0 / x
    >>> result = fastbfgs.minimize(domain, [[3.0, 0.5], [-1.0, 2.0]], jac=True)
    >>> result
    BatchResult of 2 members (2,), n = 2: 1 succeeded
             1  CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL
             1  f or its gradient is NaN or infinite at the start. Start where both are finite.
      calls: 14, function values: 15, iterations: 11
    >>> result[0].x.round(4)
    array([1., 1.])
    """

    x: np.ndarray
    fun: np.ndarray
    jac: np.ndarray
    nit: np.ndarray
    nfev: np.ndarray
    njev: np.ndarray
    status: np.ndarray
    reason: np.ndarray
    success: np.ndarray
    calls: int
    method: str
    hess_inv: np.ndarray | None = None
    fixed: np.ndarray | None = None
    allvecs: list[np.ndarray] | None = None

    @property
    def message(self) -> np.ndarray:
        """One sentence for each member, an object array (...)."""
        reason = on_host(self.reason, "reason")
        codes, where = np.unique(reason, return_inverse=True)
        words = np.array([message_of(code, self.method) for code in codes], dtype=object)
        messages: np.ndarray = words[where].reshape(reason.shape)
        if self.fixed is not None:
            messages[on_host(self.fixed, "fixed")] = ALL_FIXED
        return messages

    @property
    def failed(self) -> np.ndarray:
        """Indices of the members without success, in the flattened batch."""
        return np.flatnonzero(~on_host(self.success, "success"))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            if index in self:
                return getattr(self, index)
            raise KeyError(index)
        shape, index = self.status.shape, on_host(index, "the index")
        parts = {name: members_at(getattr(self, name), shape, index) for name in ARRAYS}
        parts |= {name: on_host(parts[name]) for name in ARRAYS if np.ndim(parts[name]) == 0}
        for name in ("hess_inv", "fixed"):
            if getattr(self, name) is not None:
                parts[name] = members_at(getattr(self, name), shape, index)
        if self.allvecs is not None:
            parts["allvecs"] = [members_at(x, shape, index) for x in self.allvecs]
        if np.ndim(parts["status"]):
            return BatchResult(**parts, calls=self.calls, method=self.method)
        if self.allvecs is not None:
            parts["allvecs"] = parts["allvecs"][: 1 + parts["nit"]]
        reason, fixed = parts.pop("reason"), bool(on_host(parts.pop("fixed", False), "fixed"))
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in parts.items()}
        return optimize_result({"message": ALL_FIXED if fixed else message_of(reason, self.method), **plain})

    def __contains__(self, name: Any) -> bool:
        return isinstance(name, str) and name in ("message", "failed", *(field.name for field in fields(self)))

    def __len__(self) -> int:
        return int(self.status.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        names = ("reason", "success", "nfev", "nit")
        reason, success, nfev, nit = (on_host(getattr(self, name), name) for name in names)
        codes, counts = np.unique(reason, return_counts=True)
        lines = [
            f"BatchResult of {reason.size} members {reason.shape}, n = {self.x.shape[-1]}: "
            f"{int(success.sum())} succeeded",
            *(f"  {count:>8}  {message_of(code, self.method)}" for code, count in zip(codes, counts, strict=True)),
            f"  calls: {self.calls}, function values: {int(nfev.sum())}, iterations: {int(nit.sum())}",
        ]
        return "\n".join(lines)


ARRAYS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success")
"""Fields of a `BatchResult` that always are arrays over the members."""
