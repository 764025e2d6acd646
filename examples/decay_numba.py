"""One model, many rows: a three-parameter decay, fitted to each of a million rows of data, in Numba.

    pip install numba fastbfgs
    python examples/decay_numba.py            # 1,000,000 rows
    python examples/decay_numba.py 10000

The model a exp(-b t) + c is the same for all rows; row `member` of the data is found through the member's index
and the user-data pointer, so nothing is copied and no Python runs while the fits do.
"""

import ctypes
import sys
import time

import numba
import numpy as np
from numba import types
from scipy import LowLevelCallable
from scipy.optimize import Bounds

import fastbfgs

T = np.linspace(0.0, 4.0, 20)  # the times are compiled in; what differs between rows is not
COUNT = len(T)
SIGNATURE = types.float64(
    types.int64,  # member
    types.int64,  # n
    types.CPointer(types.float64),  # x (n,), to read
    types.CPointer(types.float64),  # g (n,), to write
    types.voidptr,  # user data: the rows
)


@numba.cfunc(SIGNATURE)
def misfit(member, n, x, g, rows):
    """Return 1/2 sum (a exp(-b t) + c - y)**2 of one row, and write its gradient."""
    y = numba.carray(rows, (member + 1, COUNT), np.float64)[member]
    a, b, c = x[0], x[1], x[2]
    f = ga = gb = gc = 0.0
    for k in range(COUNT):
        e = np.exp(-b * T[k])
        r = a * e + c - y[k]
        f += 0.5 * r * r
        ga += r * e
        gb -= r * a * T[k] * e
        gc += r
    g[0], g[1], g[2] = ga, gb, gc
    return f


def make_rows(count):
    """Return the true parameters (count, 3), and data (count, 20) with noise of 0.01."""
    rng = np.random.default_rng(0)
    true = rng.uniform([1.0, 0.5, 0.0], [2.0, 2.0, 1.0], (count, 3))
    y = np.exp(-true[:, 1:2] * T)
    y *= true[:, :1]
    y += true[:, 2:]
    y += 0.01 * rng.standard_normal((count, COUNT))
    return true, y


def fit(y, progress=None):
    """Return the result of all fits."""
    pointer = ctypes.c_void_p(y.ctypes.data)  # y is C-contiguous float64, and lives as long as the call
    fun = LowLevelCallable(misfit.ctypes, pointer)
    bounds = Bounds([0.0, 0.0, -np.inf], np.inf)
    return fastbfgs.minimize(fun, np.ones((len(y), 3)), bounds=bounds, progress=progress)


def main(count=1_000_000):
    """Fit, and say how it went."""
    true, y = make_rows(count)
    start = time.perf_counter()
    result = fit(y)
    taken = time.perf_counter() - start
    error = abs(result.x - true).mean(axis=0).round(3)
    print(
        f"{count:,} fits in {taken:.2f} s, {int(result.nfev.sum()):,} evaluations, {1e6 * taken / count:.2f} us a fit"
    )
    print(f"{result.success.mean():.2%} converged; mean error of a, b, c: {error}")
    return true, result


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
