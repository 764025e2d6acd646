"""How members stopped: `Status` in words, and results per member and per batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastbfgs.device import lender, on_host
from fastbfgs.foreign import where_it_is
from fastbfgs.kernels.advance import Status

__all__ = ["Result", "Status", "cure", "sentence"]

_WORDS: dict[Status, tuple[str, str]] = {
    Status.RUNNING: ("The member is still running.", "Tell it more values, or use the point as it is."),
    Status.CONVERGED_GRADIENT: ("Converged: no coordinate of the gradient exceeds gtol.", ""),
    Status.CONVERGED_DECREASE: ("Converged: the last step lowered f by less than ftol allows.", ""),
    Status.CONVERGED_STEP: ("Converged: no coordinate moved by more than xtol.", ""),
    Status.MAXITER: (
        "The limit of iterations was reached.",
        "Raise maxiter, or scale the variables so that they are of similar size.",
    ),
    Status.MAXFUN: (
        "The limit of evaluations was reached.",
        "Raise maxfun, or scale the variables so that they are of similar size.",
    ),
    Status.STOPPED: ("The caller stopped the run.", ""),
    Status.STALLED: (
        "f can no longer tell the points apart: its rounding noise hides the decrease that is left.",
        "The point is as good as this f allows; a larger tolerance calls it converged, "
        "and float64 or a more careful sum in f goes further.",
    ),
    Status.ABNORMAL: (
        "No step along the steepest descent lowers f.",
        "Most likely the gradient does not belong to f: compare it with scipy.optimize.check_grad; "
        "otherwise f jumps, or is noisy, there. Forward differences are coarse near a minimum; jac='3-point' is finer.",
    ),
    Status.NONFINITE_START: (
        "f or its gradient is NaN or infinite at the start.",
        "Start where both are finite.",
    ),
    Status.UNBOUNDED: (
        "f is -inf here: there is no lower point.",
        "Bound f from below, for instance by a penalty, if this is not what was meant.",
    ),
}


def sentence(status: Status | int) -> str:
    """Say in one sentence how a member stopped.

    Examples
    --------
    >>> sentence(Status.CONVERGED_GRADIENT)
    'Converged: no coordinate of the gradient exceeds gtol.'
    """
    return _WORDS[Status(status)][0]


def cure(status: Status | int) -> str:
    """Say what can be done about it; empty if nothing needs doing.

    Examples
    --------
    >>> cure(Status.NONFINITE_START)
    'Start where both are finite.'
    """
    return _WORDS[Status(status)][1]


@dataclass(slots=True)
class Result:
    """Where the members of a run stand: the last iterate each has accepted.

    For one problem (x0 of shape ``(n,)``) every field but `x` and `g` is a scalar; for a batch
    ``(..., n)`` it has the batch shape ``(...)``.

    Parameters
    ----------
    x, g : ndarray (..., n)
        Iterate, and gradient there; NaN before the first evaluation.
    f : ndarray (...) of float64, or float
        Value at `x`.
    nit, nfev : ndarray (...) of int64, or int
        Accepted steps, and evaluations.
    status : ndarray (...) of int32, or int
        A `Status`.
    calls : int
        Calls of the user's function so far, for all members together: `Solver.calls`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> solver = fastbfgs.Solver(np.zeros((2, 3)))
    >>> solver.tell([1.0, np.nan], np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    >>> result = solver.result()
    >>> [fastbfgs.Status(status).name for status in result.status]
    ['RUNNING', 'NONFINITE_START']
    >>> result.failed, result[0].f
    (array([1]), np.float64(1.0))
    """

    x: np.ndarray
    f: Any
    g: np.ndarray
    nit: Any
    nfev: Any
    status: Any
    calls: int

    @property
    def converged(self) -> Any:
        """Whether each member converged: bool, or an array (...) of bool."""
        return converged(self.status)

    @property
    def failed(self) -> np.ndarray:
        """Indices of the members that stopped without converging, in the flattened batch."""
        status = np.ravel(on_host(self.status, "status"))
        return np.flatnonzero((status >= 0) & ~converged(status))

    def __getitem__(self, index: Any) -> Result:
        """Return one member, or a part of the batch, as a `Result`."""
        if np.ndim(self.status) == 0:
            raise TypeError("this Result is of one problem; only a batch can be indexed")
        index = on_host(index, "the index")
        arrays = (self.x, self.f, self.g, self.nit, self.nfev, self.status)
        x, f, g, nit, nfev, status = (members_at(array, self.status.shape, index) for array in arrays)
        return Result(x, f, g, nit, nfev, status, self.calls)

    def __len__(self) -> int:
        if np.ndim(self.status) == 0:
            raise TypeError("this Result is of one problem; only a batch has a length")
        return int(self.status.shape[0])

    def __iter__(self) -> Iterator[Result]:
        return (self[i] for i in range(len(self)))


def members_at(array: Any, shape: tuple[int, ...], index: Any) -> Any:
    """Return the part of `array` (*shape, ...) that belongs to the members at `index` of the batch axes.

    It is of the library of `array`; NumPy's scalar, if it is a single number.
    """
    members = np.arange(math.prod(shape)).reshape(shape)[index]
    library = lender(array, "this result")
    if library is None:
        return _rows_at(array, shape, members)
    with library.at_work():
        return library.whole(_rows_at(library.native(array, "this result"), shape, members))


def _rows_at(array: Any, shape: tuple[int, ...], members: Any) -> Any:
    return array.reshape(math.prod(shape), *array.shape[len(shape) :])[where_it_is(array, members)]


def converged(status: Any) -> Any:
    """Return whether a status, or each of an array of them, is one of the CONVERGED ones."""
    return (status >= 0) & (status < _LIMITS)


_LIMITS = int(Status.MAXITER)
"""Statuses from here on are not CONVERGED; a number, since a name of the enumeration takes 1 us to look up."""
