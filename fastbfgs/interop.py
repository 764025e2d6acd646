"""Foreign arrays in, native ones out: what a user hands over becomes C-contiguous NumPy, or a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np

# Arrays whose own kind the caller expects back; NumPy could convert them, but not silently.
_FOREIGN = {"cupy": "CuPy", "torch": "PyTorch", "jax": "JAX", "jaxlib": "JAX", "tensorflow": "TensorFlow"}


def start(x0: Any) -> np.ndarray:
    """Return `x0` as a C-contiguous float32 or float64 array of at least one axis, copied.

    Float32 stays float32; every other real number, boolean or integer becomes float64; a scalar is one coordinate.

    Raises
    ------
    TypeError
        If it is complex, not numeric, or an array of another library.
    ValueError
        If its members have no coordinates, or it is ragged.
    """
    library = _FOREIGN.get(type(x0).__module__.partition(".")[0])
    if library is not None:
        raise TypeError(
            f"x0 must be something NumPy reads; got a {library} array, which this release does not compute with. "
            "Convert it (for instance numpy.asarray(x0)), and let fun take and return NumPy arrays."
        )
    try:
        array = np.asarray(x0)
    except ValueError as error:
        raise ValueError(
            f"x0 must be a regular array of shape (n,) or (..., n); NumPy cannot make one of it: {error}. "
            "Members of different length cannot share a batch: pad them, or solve them one by one."
        ) from None
    if array.dtype.kind not in "biuf":
        what = "complex" if array.dtype.kind == "c" else "not numeric"
        raise TypeError(
            f"x0 must hold real numbers; got dtype {array.dtype}, which is {what}."
            + (" Minimise over real and imaginary parts side by side." if what == "complex" else "")
        )
    array = np.atleast_1d(array)
    if array.shape[-1] == 0:
        raise ValueError(f"x0 must have at least one coordinate; got shape {array.shape}")
    return np.array(array, dtype=np.float32 if array.dtype == np.float32 else np.float64, order="C")


def values(f: Any, count: int, source: str, dtype: type = np.float64) -> np.ndarray:
    """Return what the user gave as f for `count` rows: (count,) of `dtype`, float64 or complex128.

    Raises
    ------
    TypeError, ValueError
        If it is not real, or not one number for each row.
    """
    f = _numbers(f, "f", source, dtype)
    if f.shape != (count,):
        hint = ""
        if f.ndim == 0 or f.shape == (1,):
            hint = " Is it written for one point, or does it sum over the rows? For a batch, sum over the last axis only."
        elif f.size == count:
            hint = f" Return it without the extra axes: f.reshape({count})."
        raise ValueError(
            f"{source} must return one value for each of the {count} rows it was given, f of shape ({count},); "
            f"got {f.shape}.{hint}"
        )
    return np.ascontiguousarray(f, dtype=dtype)


def gradients(g: Any, count: int, n: int, dtype: np.dtype, source: str) -> np.ndarray:
    """Return what the user gave as g for `count` rows: (count, n) of `dtype`.

    Raises
    ------
    TypeError, ValueError
        If it is not real, or not one gradient for each row.
    """
    g = _numbers(g, "g", source)
    if g.shape != (count, n):
        hint = ""
        if g.shape == (n,):
            hint = " Is it written for one point, or does it sum over the rows?"
        elif g.shape == (n, count):
            hint = " Is it transposed?"
        raise ValueError(
            f"{source} must return one gradient for each of the {count} rows it was given, g of shape ({count}, {n}); "
            f"got {g.shape}.{hint}"
        )
    return np.ascontiguousarray(g, dtype=dtype)


def value(f: Any, source: str, dtype: type = np.float64) -> Any:
    """Return what the user gave as f at one point: a float or complex, from a number or an array of one element.

    Raises
    ------
    TypeError, ValueError
        If it is not one real number.
    """
    f = _numbers(f, "f", source, dtype)
    if f.size != 1:
        raise ValueError(
            f"{source} must return a scalar value at one point; got f of shape {f.shape}. "
            "For a batch of problems, hand over x0 of shape (B, n)."
        )
    return f.reshape(()).astype(dtype).item()


def gradient(g: Any, n: int, dtype: np.dtype, source: str) -> np.ndarray:
    """Return what the user gave as g at one point: (n,) of `dtype`; a number will do for n = 1.

    Raises
    ------
    TypeError, ValueError
        If it is not one real gradient.
    """
    g = np.atleast_1d(_numbers(g, "g", source))
    if g.shape != (n,):
        raise ValueError(f"{source} must return a gradient of shape ({n},) at one point; got {g.shape}.")
    return np.ascontiguousarray(g, dtype=dtype)


def pair(returned: Any, source: str) -> tuple[Any, Any]:
    """Return f and g as `returned` by a function that gives both.

    Raises
    ------
    TypeError
        If it is not a pair.
    """
    if isinstance(returned, (tuple, list)) and len(returned) == 2:
        return returned[0], returned[1]
    got = f"{len(returned)} things" if isinstance(returned, (tuple, list)) else f"a {type(returned).__name__}"
    raise TypeError(
        f"{source} must return the pair (f, g); got {got}. "
        "If it returns f alone, pass its gradient as jac=, or leave jac out for finite differences."
    )


def _numbers(array: Any, letter: str, source: str, dtype: type = np.float64) -> np.ndarray:
    """Return `array` as a NumPy array of numbers: real ones, unless `dtype` is complex."""
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{source} must return {letter} as a regular array; NumPy cannot make one: {error}") from None
    if array.dtype.kind not in ("biufc" if dtype is np.complex128 else "biuf"):
        raise TypeError(f"{source} must return real numbers as {letter}; got dtype {array.dtype}.")
    return array
