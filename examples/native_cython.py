"""A compiled objective in Cython: scipy.LowLevelCallable.from_cython, here in float32.

    python examples/native_cython.py          # needs Cython and a C compiler

In a package of your own, bowls.pyx is one of its extension modules; pyximport only saves this example a setup.py.
"""

import ctypes
import tempfile

import numpy as np
import pyximport
from scipy import LowLevelCallable

import fastbfgs


def main(count=10_000, n=5):
    """Find the centres of `count` bowls; return them and the result."""
    with tempfile.TemporaryDirectory() as folder:
        pyximport.install(build_dir=folder, language_level=3)
        import bowls

    centre = np.random.default_rng(0).standard_normal((count, n), dtype=np.float32)
    fun = LowLevelCallable.from_cython(bowls, "bowl", ctypes.c_void_p(centre.ctypes.data))
    result = fastbfgs.minimize(fun, np.zeros((count, n), dtype=np.float32))
    print(result)
    return centre, result


if __name__ == "__main__":
    main()
