"""Objectives written in CUDA: compiled together with the solver into one kernel that runs whole solves."""

from __future__ import annotations

from typing import Any

import numpy as np

_TYPES = {
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "uint8": "unsigned char",
    "bool": "bool",
}
"""Of C++, by the dtype of an array."""


class CudaObjective:
    """An objective for members on a GPU, in CUDA C++; for `minimize` and `Solver.run`.

    Every member is run by one thread, from its start to its end, without a call of Python in between: for many members
    of few coordinates. (That has not run on any GPU yet.)

    Parameters
    ----------
    source : str
        CUDA C++ that defines, besides what else it needs, ::

            __device__ double objective(long long member, long long n, const T *x, T *g, ...)

        where T is float or double, as x0 is; or a template over it. It stores the gradient in g (n), and returns f;
        `member` is the index in the flattened batch. NaN or infinite values are taken as "too far".
    *data : cupy.ndarray, int or float
        What follows g: an array as a pointer to its first number, of float, double, int, long long, unsigned char or
        bool, an integer as long long, a number as double. Arrays must be C-contiguous and on the device of x0.

    Raises
    ------
    TypeError, ValueError
        If source is no text, or data are of other kinds.

    Examples
    --------
    >>> import fastbfgs
    >>> bowl = fastbfgs.CudaObjective('''
    ...     template <typename T>
    ...     __device__ double objective(long long member, long long n, const T *x, T *g, double centre) {
    ...         double f = 0.0;
    ...         for (long long i = 0; i < n; i++) {
    ...             const double d = x[i] - centre;
    ...             g[i] = 2.0 * d;
    ...             f += d * d;
    ...         }
    ...         return f;
    ...     }
    ... ''', 3.0)

    With CuPy, ``fastbfgs.minimize(bowl, cupy.zeros((1_000_000, 3)))`` then solves a million of them.
    """

    # What `Objective` says of itself:
    fun_takes_rows = jac_takes_rows = False
    evaluations = gradients = 1
    fixed = None

    def __init__(self, source: str, *data: Any) -> None:
        if not isinstance(source, str):
            raise TypeError(f"source must be CUDA C++, a str; got {type(source).__name__}")
        self.source = source
        self.data = data
        self.types = [_type(k, each) for k, each in enumerate(data)]

    def code(self, solver: str, solve: str) -> str:
        """Return a whole program: the caller's source, and the solver around it, in two parts."""
        fields = "".join(f"    {kind}data_{k};\n" for k, kind in enumerate(self.types))
        arguments = "".join(f", data.data_{k}" for k in range(len(self.types)))
        return f"""{solver}
#line 1 "objective"
{self.source}

struct Data {{
    long long members;
{fields}}};

template <typename floating>
__device__ double evaluate(Index member, Index n, const floating *x, floating *g, const Data &data) {{
    return objective(member, n, x, g{arguments});
}}

{solve}"""

    def values(self, members: int, arrays: Any) -> np.ndarray:
        """Return `Data` for the kernel; `arrays` checks what is to be on its device."""
        kinds = [np.int64, *[_kind(each) for each in self.data]]
        values = np.zeros((), np.dtype([(f"f{k}", kind) for k, kind in enumerate(kinds)], align=True))
        values["f0"] = members
        for k, each in enumerate(self.data):
            if hasattr(each, "dtype") and each.ndim:
                each = arrays.argument(each, f"data[{k}]").data.ptr
            values[f"f{k + 1}"] = each
        return values


def _type(k: int, each: Any) -> str:
    """Return the C++ type of data[k]."""
    if isinstance(each, (bool, int, np.integer)):
        return "long long "
    if isinstance(each, (float, np.floating)):
        return "double "
    kind = _TYPES.get(str(getattr(each, "dtype", None)))
    if kind is None or not getattr(each, "ndim", 0):
        raise TypeError(
            f"data[{k}] must be a number, or a CuPy array of {', '.join(_TYPES)}; got a {type(each).__name__}"
            + (f" of dtype {each.dtype}" if hasattr(each, "dtype") else "")
        )
    if not each.flags.c_contiguous:
        raise ValueError(f"data[{k}] must be C-contiguous; give cupy.ascontiguousarray of it")
    return f"const {kind} *"


def _kind(each: Any) -> Any:
    """Return how a value is handed over."""
    if isinstance(each, (bool, int, np.integer)):
        return np.int64
    return np.float64 if isinstance(each, (float, np.floating)) else np.uint64
