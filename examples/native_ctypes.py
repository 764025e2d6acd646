"""A compiled objective that needs nothing but x: a ctypes function.

    python examples/native_ctypes.py          # needs a C compiler, cc

Whatever can make a shared library will do: C, C++, Fortran (with bind(C)), Rust. ctypes must be told the signature,
which fastbfgs checks; the user data is NULL.
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import fastbfgs

SOURCE = """
#include <fastbfgs.h>

fastbfgs_objective rosenbrock;

double rosenbrock(int64_t member, int64_t n, const double *x, double *g, void *user_data)
{
    double f = 0.0;
    g[0] = 0.0;
    for (int64_t i = 0; i + 1 < n; i++) {
        double t = x[i + 1] - x[i] * x[i], u = 1.0 - x[i];
        f += 100.0 * t * t + u * u;
        g[i] -= 400.0 * x[i] * t + 2.0 * u;
        g[i + 1] = 200.0 * t;
    }
    return f;
}
"""


def compiled(source, folder):
    """Return the shared library of a C text."""
    file, library = Path(folder) / "objective.c", Path(folder) / "objective.so"
    file.write_text(source)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", f"-I{fastbfgs.get_include()}", file, "-o", library], check=True)
    return ctypes.CDLL(str(library))


def main(count=10_000, n=10):
    """Minimise from `count` random starts; return the result."""
    with tempfile.TemporaryDirectory() as folder:
        fun = compiled(SOURCE, folder).rosenbrock
    vector = ctypes.POINTER(ctypes.c_double)
    fun.restype = ctypes.c_double
    fun.argtypes = [ctypes.c_int64, ctypes.c_int64, vector, vector, ctypes.c_void_p]

    x0 = np.random.default_rng(0).uniform(-2.0, 2.0, (count, n))
    result = fastbfgs.minimize(fun, x0)
    print(result)
    return result


if __name__ == "__main__":
    main()
