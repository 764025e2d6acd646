"""Foreign arrays in, native ones out: what a user hands over becomes C-contiguous NumPy, or a clear error."""

from __future__ import annotations

from typing import Any

import numpy as np

_NATIVE = (np.dtype(np.float64), np.dtype(np.float32))

# Arrays whose own kind the caller expects back; NumPy could convert them, but not silently.
_FOREIGN = {"cupy": "CuPy", "torch": "PyTorch", "jax": "JAX", "jaxlib": "JAX", "tensorflow": "TensorFlow"}


def start(x0: Any, name: str = "x0") -> np.ndarray:
    """Return `x0`, called `name`, as a C-contiguous float32 or float64 array (..., n); itself, if it is one.

    Float32 stays float32; every other real number, boolean or integer becomes float64; a scalar is one coordinate.

    Raises
    ------
    TypeError
        If it is complex, not numeric, or an array of another library.
    ValueError
        If its members have no coordinates, or it is ragged.
    """
    if type(x0) is np.ndarray and x0.dtype in _NATIVE and x0.ndim and x0.shape[-1] and x0.flags.c_contiguous:
        return x0
    for kind in type(x0).__mro__:
        library = _FOREIGN.get(kind.__module__.partition(".")[0])
        if library is not None:
            raise TypeError(
                f"{name} must be something NumPy reads; got a {library} array, which this release does not compute "
                f"with. Convert it (for instance numpy.asarray({name})), and let fun take and return NumPy arrays."
            )
    try:
        array = np.asarray(x0)
    except ValueError as error:
        raise ValueError(
            f"{name} must be a regular array of shape (n,) or (..., n); NumPy cannot make one of it: {error}. "
            "Members of different length cannot share a batch: pad them, or solve them one by one."
        ) from None
    if array.dtype.kind not in "biuf":
        what = "complex" if array.dtype.kind == "c" else "not numeric"
        raise TypeError(
            f"{name} must hold real numbers; got dtype {array.dtype}, which is {what}."
            + (" Minimise over real and imaginary parts side by side." if what == "complex" else "")
        )
    array = np.atleast_1d(array)
    if array.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one coordinate; got shape {array.shape}")
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype == np.float32 else np.float64)


def diagonal(h0: Any, shape: tuple[int, ...], n: int, dtype: np.dtype, name: str = "h0") -> np.ndarray:
    """Return `h0`, called `name`, the diagonal of a positive definite matrix: a new array (n,) or (B, n) of `dtype`.

    Raises
    ------
    TypeError, ValueError
        If it is not real and positive, or neither one diagonal nor one for each member of a batch of `shape`.
    """
    given = start(h0, name)
    if given.shape not in {(n,), (*shape, n)}:
        raise ValueError(
            f"{name} must have shape ({n},), one diagonal for all members"
            + (f", or {(*shape, n)}, one for each" if shape else "")
            + f"; got {given.shape}"
        )
    if not (np.isfinite(given) & (given > 0)).all():
        raise ValueError(
            f"{name} must be positive and finite everywhere: it is the diagonal of a positive definite matrix"
        )
    return np.array(given if given.ndim == 1 else given.reshape(-1, n), dtype=dtype, order="C")


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
            hint = " Is it written for one point, or does it sum over all rows? Sum over the last axis only."
        elif f.size == count:
            hint = f" Return it without the extra axes: f.reshape({count})."
        raise ValueError(
            f"{source} must return one value for each of the {count} rows it was given, f of shape ({count},); "
            f"got {f.shape}.{hint}"
        )
    return np.require(f, dtype, ["C", "A"])


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
    return np.require(g, dtype, ["C", "A"])


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
    return np.require(g, dtype, ["C", "A"])


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


def _numbers(given: Any, letter: str, source: str, dtype: type = np.float64) -> np.ndarray:
    """Return `given` as a NumPy array of numbers: real ones, unless `dtype` is complex."""
    try:
        numbers: np.ndarray = np.asarray(given)
    except ValueError as error:
        hint = ""
        if letter == "f" and isinstance(given, (tuple, list)) and len(given) == 2:
            hint = " If it returns the pair (f, g), pass jac=True."
        raise ValueError(
            f"{source} must return {letter} as a regular array; NumPy cannot make one: {error}.{hint}"
        ) from None
    if numbers.dtype.kind not in ("biufc" if dtype is np.complex128 else "biuf"):
        raise TypeError(f"{source} must return real numbers as {letter}; got dtype {numbers.dtype}.")
    return numbers
