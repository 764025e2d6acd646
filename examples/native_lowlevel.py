"""A compiled objective in C, with user data: scipy.LowLevelCallable.

    python examples/native_lowlevel.py        # needs a C compiler, cc

decay.c is compiled against the header that fastbfgs brings. What the function needs beside x goes through one pointer,
here to a struct; each member finds its own row by its index.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from scipy import LowLevelCallable

import fastbfgs

VECTOR = ctypes.POINTER(ctypes.c_double)
T = np.linspace(0.0, 4.0, 50)


class Rows(ctypes.Structure):
    """The struct of decay.c."""

    _fields_ = [("count", ctypes.c_int64), ("t", ctypes.c_void_p), ("y", ctypes.c_void_p)]


def compiled(source, folder):
    """Return the shared library of a C file."""
    library = Path(folder) / "objective.so"
    command = ["cc", "-O2", "-shared", "-fPIC", f"-I{fastbfgs.get_include()}", source, "-o", library, "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def main(count=10_000):
    """Fit `count` rows; return the true parameters and the result."""
    rng = np.random.default_rng(0)
    true = rng.uniform([1.0, 0.5, 0.0], [2.0, 2.0, 1.0], (count, 3))
    y = true[:, :1] * np.exp(-true[:, 1:2] * T) + true[:, 2:] + 0.01 * rng.standard_normal((count, len(T)))

    with tempfile.TemporaryDirectory() as folder:
        misfit = compiled(Path(__file__).with_name("decay.c"), folder).misfit
    misfit.restype = ctypes.c_double
    misfit.argtypes = [ctypes.c_int64, ctypes.c_int64, VECTOR, VECTOR, ctypes.c_void_p]

    rows = Rows(len(T), T.ctypes.data, y.ctypes.data)  # T, y and rows live as long as the call
    fun = LowLevelCallable(misfit, ctypes.cast(ctypes.byref(rows), ctypes.c_void_p))
    result = fastbfgs.minimize(fun, np.ones((count, 3)))
    print(result)
    print("mean error of a, b, c:", abs(result.x - true).mean(axis=0).round(3))
    return true, result


if __name__ == "__main__":
    main()
