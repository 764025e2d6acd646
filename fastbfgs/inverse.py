"""The inverse Hessian that a run has learnt, as SciPy's linear operator; SciPy is imported when it is asked for."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np


def inverse_hessian(s: np.ndarray, y: np.ndarray, h0: np.ndarray | None) -> Any:
    """Return H of the L-BFGS recursion as a `scipy.optimize.LbfgsInvHessProduct`.

    Two things differ from SciPy's own: H0 is gamma I, as in the run, and not I, so that H has the right size in
    directions never tried; and it sets itself up when it is first looked at, since that takes 10 us, as long as 20
    evaluations of a small problem, and most results are never asked for it.

    Parameters
    ----------
    s, y : ndarray (k, n)
        The pairs, oldest first; H y = s holds for the last.
    h0 : ndarray (n,), optional
        Diagonal of H0; default gamma = s.y / y.y of the last pair, or 1 without pairs.

    References
    ----------
    J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, Algorithm 7.4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastbfgs.inverse import inverse_hessian
    >>> inverse_hessian(np.array([[1.0, 0.0]]), np.array([[4.0, 0.0]]), None).todense()
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    return _operator()(s, y, h0)


@cache
def _operator() -> Any:
    from scipy.optimize import LbfgsInvHessProduct

    class InverseHessian(LbfgsInvHessProduct):  # type: ignore[misc]
        """Inverse Hessian of the L-BFGS recursion, H0 = gamma I or a diagonal; see `fastbfgs.inverse`."""

        def __new__(cls, *given: Any) -> InverseHessian:
            return object.__new__(cls)

        def __init__(self, *given: Any) -> None:
            self._given = given

        def __getattr__(self, name: str) -> Any:  # called for what is not there yet
            given = self.__dict__.pop("_given", None)
            if given is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            s, y, h0 = given
            super().__init__(s.astype(float, copy=False), y.astype(float, copy=False))
            if h0 is None:
                h0 = 1.0 if len(s) == 0 else s[-1].dot(y[-1]) / y[-1].dot(y[-1])
            self.h0 = h0
            return getattr(self, name)

        def __reduce__(self) -> Any:
            return inverse_hessian, (self.sk, self.yk, np.broadcast_to(self.h0, self.shape[:1]).copy())

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

    return InverseHessian
