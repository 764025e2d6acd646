"""Compiled objectives: what language one came from is forgotten here, its signature is checked, an address is left.

SciPy reads them all: a `scipy.LowLevelCallable` is a capsule with the function's address, named by its C signature, and
with the user data's address as its context.
"""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

_SIGNATURES = {
    np.dtype(np.float64): "double (int64_t, int64_t, const double *, double *, void *)",
    np.dtype(np.float32): "double (int64_t, int64_t, const float *, float *, void *)",
}
"""By the dtype of x0: of member, n, x, g, user_data; returns f. The same stands in include/fastbfgs.h."""

_WHOLE = {"int64_t": 8, "long long": 8, "__int64": 8, "longlong": 8, "npy_int64": 8} | dict.fromkeys(
    ("Py_ssize_t", "ssize_t", "ptrdiff_t", "intptr_t", "npy_intp"), ctypes.sizeof(ctypes.c_ssize_t)
)
"""Other names of signed integers, with their size."""
_WHOLE |= {"long": ctypes.sizeof(ctypes.c_long), "int": ctypes.sizeof(ctypes.c_int)}

_get_name, _get_pointer, _get_context = (
    ctypes.PYFUNCTYPE(kind, ctypes.py_object, *rest)((name, ctypes.pythonapi))
    for name, kind, rest in (
        ("PyCapsule_GetName", ctypes.c_char_p, ()),
        ("PyCapsule_GetPointer", ctypes.c_void_p, (ctypes.c_char_p,)),
        ("PyCapsule_GetContext", ctypes.c_void_p, ()),
    )
)


class Native:
    """A compiled objective that fits the dtype of x0.

    Parameters
    ----------
    fun : scipy.LowLevelCallable, Numba cfunc, ctypes function or PyCapsule of Cython
        Kept, so that neither the function nor the object that holds the user data goes away.
    dtype : numpy.dtype
        Of x0.

    Attributes
    ----------
    address, user_data : int
        Where they are; 0 is NULL.

    Raises
    ------
    TypeError
        If the function has another signature, or does not tell which it has.

    Examples
    --------
    >>> import ctypes
    >>> vector = ctypes.POINTER(ctypes.c_double)
    >>> signature = [ctypes.c_int64, ctypes.c_int64, vector, vector, ctypes.c_void_p]
    >>> function = ctypes.CFUNCTYPE(ctypes.c_double, *signature)(lambda member, n, x, g, user_data: 0.0)
    >>> Native(function, np.dtype(np.float64)).user_data
    0
    >>> Native(function, np.dtype(np.float32))
    Traceback (most recent call last):
    TypeError: fun must have the C signature
        double (int64_t, int64_t, const float *, float *, void *)
    for member, n, x, g and user_data, since x0 is float32; got
        double (long, long, double *, double *, void *)
    Compile it for float, or give x0 as float64.
    """

    # What `Objective` says of itself:
    fun_takes_rows = jac_takes_rows = False
    evaluations = gradients = 1
    fixed = None

    def __init__(self, fun: Any, dtype: np.dtype) -> None:
        self.fun = fun
        capsule = _capsule(fun)
        name = _get_name(capsule)
        _check(name.decode() if name else "", dtype)
        self.address = _get_pointer(capsule, name)
        self.user_data = _get_context(capsule) or 0


def is_compiled(fun: Any) -> bool:
    """Return whether `fun` is a compiled objective, whatever its signature."""
    if type(fun) is FunctionType:  # most are
        return False
    scipy = sys.modules.get("scipy")
    return (
        isinstance(fun, ctypes._CFuncPtr)  # type: ignore[attr-defined]
        or type(fun).__name__ == "PyCapsule"
        or (scipy is not None and isinstance(fun, scipy.LowLevelCallable))
        or _is_cfunc(fun)
    )


def get_include() -> str:
    """Return the folder of ``fastbfgs.h``, the header that a compiled objective includes.

    Examples
    --------
    >>> import os
    >>> import fastbfgs
    >>> os.listdir(fastbfgs.get_include())
    ['fastbfgs.h']
    """
    return str(Path(__file__).with_name("include"))


def _is_cfunc(fun: Any) -> bool:
    """Return whether Numba has made `fun` with its decorator cfunc."""
    return str(type(fun).__module__).startswith("numba.") and hasattr(fun, "address") and hasattr(fun, "ctypes")


def _capsule(fun: Any) -> Any:
    """Return the capsule that SciPy makes of a compiled function."""
    from scipy import LowLevelCallable

    if _is_cfunc(fun):
        fun = fun.ctypes
    if isinstance(fun, ctypes._CFuncPtr) and fun.argtypes is None:  # type: ignore[attr-defined]
        raise TypeError(
            "fun, a ctypes function, must tell its C signature; its argtypes are not set. Set fun.argtypes = "
            "[c_int64, c_int64, POINTER(c_double), POINTER(c_double), c_void_p] and fun.restype = c_double."
        )
    if not isinstance(fun, LowLevelCallable):
        fun = LowLevelCallable(fun)
    return tuple.__getitem__(fun, 0)


@cache
def _check(signature: str, dtype: np.dtype) -> None:
    """Raise TypeError if the signature is not that of `dtype`."""
    required, given = _SIGNATURES[dtype], _words(signature)
    if given == _words(required):
        return
    cure = "include/fastbfgs.h (see fastbfgs.get_include) has it for C; write it like that."
    for other, theirs in _SIGNATURES.items():
        if given == _words(theirs):
            cure = f"Compile it for {'float' if dtype == np.float32 else 'double'}, or give x0 as {other}."
    raise TypeError(
        f"fun must have the C signature\n    {required}\nfor member, n, x, g and user_data, since x0 is {dtype}; got"
        f"\n    {signature or 'none'}\n{cure}"
    )


def _words(signature: str) -> tuple[str, ...]:
    """Return the types of a C signature, the returned one first, each under one of its names."""
    returned, _, arguments = signature.partition("(")
    types = []
    for text in (returned, *arguments.rstrip(") ").split(",")):
        words = [word for word in re.findall(r"\w+|\*", text) if word not in ("const", "signed", "struct")]
        if words[-1:] == ["int"] and len(words) > 1:
            words.pop()  # long int, long long int
        name = " ".join(words)
        types.append(f"int{8 * _WHOLE[name]}_t" if name in _WHOLE else name)
    return tuple(types)
