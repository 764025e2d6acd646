"""The inverse Hessian that a run has learnt, as SciPy's linear operator; SciPy is imported when it is asked for."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np

from fastbfgs.device import on_host
from fastbfgs.outcome import become
from fastbfgs.solver import Solver


class InverseHessian:
    """H of the L-BFGS recursion, a `scipy.optimize.LbfgsInvHessProduct` from the first time it is looked at.

    Until then it holds the solver: copying the pairs and setting up the operator takes as long as 20 evaluations of a
    small problem, copying those of a large one as long as several iterations, and importing SciPy longer than importing
    NumPy; most results are never asked for it.

    One thing differs from SciPy's own: H0 is gamma I, as in the run, and not I, so that H has the right size in
    directions never tried.

    Parameters
    ----------
    solver : Solver
        Of one problem, after its run; its pairs are read later.
    h0 : ndarray (n,), optional
        Diagonal of H0; default gamma = s.y / y.y of the last pair, or 1 without pairs.

    References
    ----------
    J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, Algorithm 7.4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbfgs import Solver
    >>> from fastbfgs.inverse import InverseHessian
    >>> solver = Solver(np.zeros(2))
    >>> while solver.running:
    ...     x = solver.ask()
    ...     solver.tell(2.0 * (x[0] - 1.0) ** 2, [4.0 * (x[0] - 1.0), 0.0])
    >>> InverseHessian(solver, None).todense()
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """

    __array_ufunc__ = None  # as in SciPy: ``array @ H`` is for H

    def __init__(self, solver: Solver, h0: np.ndarray | None) -> None:
        self._unread = solver, h0

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # what isinstance asks; for SciPy's class nobody can who has not imported SciPy
        return _class() if "scipy.sparse.linalg" in sys.modules else type(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(_operator(self), name)


def _forwarded(name: str) -> Any:
    def method(self: InverseHessian, *given: Any) -> Any:
        return getattr(_operator(self), name)(*given)

    return method


# Python looks these up in the class.
for _name in "call mul rmul matmul rmatmul truediv pow add sub neg repr reduce_ex".split():
    setattr(InverseHessian, f"__{_name}__", _forwarded(f"__{_name}__"))


def operator(s: np.ndarray, y: np.ndarray, h0: np.ndarray | None) -> Any:
    """Return H of the pairs s, y (k, n), oldest first, as SciPy's operator; H y = s holds for the last.

    Examples
    --------
    >>> import numpy as np
    >>> operator(np.array([[1.0, 0.0]]), np.array([[4.0, 0.0]]), None).todense()
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    kind: Any = _class()
    return kind(s, y, h0)


def _operator(guest: InverseHessian) -> Any:
    """Return `guest` after it has become SciPy's operator."""
    unread = vars(guest).get("_unread")
    if unread is not None:
        solver, h0 = unread
        s, y, h0 = (on_host(each, "hess_inv") for each in (*solver.pairs(), h0))
        vars(guest).update(vars(operator(s, y, h0)))
        become(guest, _class())
        vars(guest).pop("_unread", None)
    return guest


@cache
def _class() -> Any:
    from scipy.optimize import LbfgsInvHessProduct

    class Operator(LbfgsInvHessProduct):  # type: ignore[misc]
        """Inverse Hessian of the L-BFGS recursion, H0 = gamma I or a diagonal; see `fastbfgs.inverse`."""

        def __init__(self, s: np.ndarray, y: np.ndarray, h0: np.ndarray | None) -> None:
            super().__init__(s.astype(float, copy=False), y.astype(float, copy=False))
            s, y = self.sk, self.yk  # of float64, where no product overflows that the run could form
            gamma = s[-1].dot(y[-1]) / y[-1].dot(y[-1]) if h0 is None and len(s) else 1.0
            self.h0: Any = gamma if h0 is None else h0

        def __reduce__(self) -> Any:
            return operator, (self.sk, self.yk, np.broadcast_to(self.h0, self.shape[:1]).copy())

        def _matvec(self, x: np.ndarray) -> np.ndarray:
            """H x by Algorithm 7.4."""
            q = np.array(x, dtype=float).reshape(-1)
            a = np.empty(self.n_corrs)
            for k in reversed(range(self.n_corrs)):
                a[k] = self.rho[k] * self.sk[k].dot(q)
                q -= a[k] * self.yk[k]
            q *= self.h0
            for k in range(self.n_corrs):
                q += self.sk[k] * (a[k] - self.rho[k] * self.yk[k].dot(q))
            return q

        def todense(self) -> np.ndarray:
            """Return H as an array (n, n)."""
            return np.stack([self._matvec(column) for column in np.eye(self.shape[0])], axis=1)

    return Operator
