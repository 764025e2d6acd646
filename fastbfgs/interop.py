"""What a user hands over becomes C-contiguous NumPy, or a clear error; what comes of other libraries, by `foreign`."""

from __future__ import annotations

import math
from contextlib import nullcontext
from operator import le
from typing import Any

import numpy as np

from fastbfgs import foreign
from fastbfgs.foreign import Library

_NATIVE = (np.dtype(np.float64), np.dtype(np.float32))

_FEW = 30
"""As many numbers are compared faster as lists: two coordinates with their bounds in 2 us instead of 8."""


_ALONE = "If it returns f alone, pass its gradient as jac=, or leave jac out for finite differences."
_ORDER = " Is it g? The pair is (f, g); torch.func.grad_and_value, for one, returns (g, f)."


class Checked:
    """What `diagonal`, `matrix` or `box` has returned, handed on in place of what that was made of."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


def enter(x0: Any, name: str = "x0") -> tuple[np.ndarray, Library | None]:
    """Return `x0` as `start` does, and the library whose arrays the caller is to get; None for NumPy.

    Raises
    ------
    TypeError, ValueError
        As `start`; and if it is of such a library, but on another device, or of another floating type.
    """
    if type(x0) is np.ndarray and x0.dtype in _NATIVE and x0.ndim and x0.shape[-1] and x0.flags.c_contiguous:
        return x0, None
    library = foreign.library_of(x0)
    return start(x0 if library is None else library.start(x0, name), name), library


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
    require_numpy(x0, name)
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
    return np.ascontiguousarray(array, dtype=np.float32 if array.dtype.type is np.float32 else np.float64)


def require_numpy(given: Any, name: str, beside: str = "x0") -> None:
    """Raise unless `given`, called `name`, is NumPy's or no array: the caller would expect its own kind back.

    `beside` is what came with it, and is NumPy's, or given as such.

    Raises
    ------
    TypeError
        If it is an array of a library whose arrays could be x0, or of one that this release knows nothing of.
    """
    if type(given) in foreign.PLAIN:
        return
    library = foreign.library_of(given)
    which, convert = f"{beside} is not", "numpy.asarray"
    if library is not None:
        theirs = library.array
    elif foreign.is_cupys(given):
        theirs, convert = "CuPy array", "cupy.asnumpy"
    elif any(kind.__module__.partition(".")[0] == "tensorflow" for kind in type(given).__mro__):
        theirs, which = "TensorFlow array", "this release does not compute with"
    else:
        return
    raise TypeError(
        f"{name} must be something NumPy reads; got a {theirs}, which {which}. Convert it (for instance "
        f"{convert}({name})), and let fun take and return NumPy arrays."
    )


def argument(given: Any, name: str, beside: str = "x0") -> np.ndarray:
    """Return `given`, called `name`, which is not to be changed, as a NumPy array.

    Raises
    ------
    TypeError, ValueError
        If it is an array of another library than what came `beside` it, or ragged.
    """
    require_numpy(given, name, beside)
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array; NumPy cannot make one: {error}") from None


def spread(given: Any, name: str, shape: tuple[int, ...], dtype: Any, beside: str = "x0") -> np.ndarray:
    """Return `given`, called `name`, an array or one number, as a C-contiguous array of this shape and `dtype`.

    Raises
    ------
    TypeError, ValueError
        If it is an array of another library than what came `beside` it, or of a shape that does not broadcast.

    Examples
    --------
    >>> spread(1, "nit", (3,), np.int32)
    array([1, 1, 1], dtype=int32)
    """
    array = argument(given, name, beside)
    try:
        return np.require(np.broadcast_to(array, shape), dtype, ["C"])
    except ValueError:
        raise ValueError(about_spread(array, name, shape)) from None


def about_spread(array: Any, name: str, shape: tuple[int, ...]) -> str:
    """Say that an array has the wrong shape."""
    return f"{name} must have a shape that broadcasts to {shape}; got {array.shape}"


xp = np
at_work = nullcontext
concatenate = np.concatenate
"""As `device.Arrays` has them."""


def diagonal(h0: Any, shape: tuple[int, ...], n: int, dtype: np.dtype, name: str = "h0") -> np.ndarray:
    """Return `h0`, called `name`, the diagonal of a positive definite matrix: a new array (n,) or (B, n) of `dtype`.

    Raises
    ------
    TypeError, ValueError
        If it is not real and positive, or neither one diagonal nor one for each member of a batch of `shape`.
    """
    if type(h0) is Checked:
        return h0.array
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


def matrix(
    h0: Any, shape: tuple[int, ...], n: int, dtype: np.dtype, name: str = "h0", check: bool = True
) -> np.ndarray:
    """Return `h0`, called `name`, a symmetric positive definite matrix: a new array (n, n) or (B, n, n) of `dtype`.

    What rounding has left unsymmetric, as in the hess_inv of SciPy's BFGS, is made symmetric; without `check`,
    whatever is unsymmetric, and it need not be positive definite.

    Raises
    ------
    TypeError, ValueError
        If it is not real, symmetric and positive definite, or neither one matrix nor one for each member of a batch of
        `shape`.
    """
    if type(h0) is Checked:
        return h0.array
    given = start(h0, name)
    if given.shape not in {(n, n), (*shape, n, n)}:
        raise ValueError(
            f"{name} must have shape {(n, n)}, one matrix for all members"
            + (f", or {(*shape, n, n)}, one for each" if shape else "")
            + f"; got {given.shape}"
        )
    shape = shape if given.ndim > 2 else ()
    given = given.reshape(-1, n, n)
    transposed = given.swapaxes(1, 2)
    with np.errstate(all="ignore"):  # not finite, in `dtype` at least: told below
        symmetric = np.ascontiguousarray((given + transposed) / 2, dtype=dtype)
        noise = math.sqrt(np.finfo(given.dtype).eps) * np.abs(given).max(axis=(1, 2), keepdims=True)
        skew = (np.abs(given - transposed) > noise) & check
    rule = f"{name} must be a symmetric positive definite matrix"
    for wrong, what in ((~np.isfinite(symmetric), "a number that is not finite"), (skew, "one that is not symmetric")):
        if wrong.any():
            b, i, j = np.argwhere(wrong)[0]
            raise ValueError(f"{rule}; got {what}, in row {i}, column {j}{_of_member(b, shape)}")
    for b, each in enumerate(symmetric if check else ()):
        try:
            np.linalg.cholesky(each)
        except np.linalg.LinAlgError:
            which = f"that{_of_member(b, shape)}" if shape else "it"
            raise ValueError(f"{rule}; {which} is not positive definite") from None
    return symmetric if shape else symmetric[0]


def box(bounds: Any, shape: tuple[int, ...], n: int, dtype: np.dtype) -> np.ndarray | None:
    """Return `bounds` as a C-contiguous array of `dtype`, (2, n) for all members or (B, 2, n); None if there are none.

    ``[..., 0, :]`` are the lower ones, ``[..., 1, :]`` the upper ones, infinite where there is none. To float32 they
    are rounded inwards, so that what is inside is inside those given; where no float32 is, both become the nearest.

    Parameters
    ----------
    bounds : object with lb and ub, sequence of n pairs (min, max), Checked, or None
        As in SciPy; `lb` and `ub` may also have a row for each member of the batch, ``(..., n)``.
    shape : tuple
        Axes of the batch.

    Raises
    ------
    TypeError, ValueError
        If a bound is not a real number, a lower one is above its upper one, or nothing is between them; or if they do
        not fit `n` and `shape`.

    Examples
    --------
    >>> box([(0, None), (-1.5, 1.5)], (), 2, np.dtype(float))
    array([[ 0. , -1.5],
           [ inf,  1.5]])
    """
    if bounds is None:
        return None
    if type(bounds) is Checked:
        return bounds.array
    if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
        lb, ub = _side(bounds.lb, "lb", shape, n), _side(bounds.ub, "ub", shape, n)
    else:
        lb, ub = _pairs(bounds, n)
    own = lb.ndim > 1 or ub.ndim > 1
    box = np.empty((math.prod(shape), 2, n) if own else (2, n))
    box[..., 0, :], box[..., 1, :] = lb, ub
    if not _check_box(box, shape):
        return None
    if dtype != box.dtype:
        box = _rounded_inwards(box, dtype)
        _check_box(box, shape)
    return box


def nearest(x: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the point of `box`, (2, n) or (B, 2, n), that is nearest to `x`, (n,) or (B, n); `x` itself if it is one.

    Examples
    --------
    >>> nearest(np.array([3.0, 0.5]), np.array([[0.0, 0.0], [1.0, 1.0]]))
    array([1. , 0.5])
    """
    if x.ndim == 1 and len(x) <= _FEW:
        numbers, (low, high) = x.tolist(), box.tolist()
        if all(map(le, low, numbers)) and all(map(le, numbers, high)):
            return x
    inside: np.ndarray = np.minimum(np.maximum(x, box[..., 0, :]), box[..., 1, :])
    return inside


def values(f: Any, count: int, source: str, dtype: type = np.float64) -> np.ndarray:
    """Return what the user gave as f for `count` rows: (count,) of `dtype`, float64 or complex128.

    Raises
    ------
    TypeError, ValueError
        If it is not real, or not one number for each row.
    """
    f = _numbers(f, "f", source, dtype)
    if f.shape != (count,):
        raise ValueError(about_values(f, count, source))
    return _native(f, dtype)


def about_values(f: Any, count: int, source: str) -> str:
    """Say what is wrong with the shape of f."""
    hint = ""
    if f.ndim == 0 or f.shape == (1,):
        hint = " Is it written for one point, or does it sum over all rows? Sum over the last axis only."
    elif f.size == count:
        hint = f" Return it without the extra axes: f.reshape({count})."
    elif f.ndim == 2 and len(f) == count:
        hint = _ORDER
    return (
        f"{source} must return one value for each of the {count} rows it was given, f of shape ({count},); "
        f"got {f.shape}.{hint}"
    )


def gradients(g: Any, count: int, n: int, dtype: np.dtype, source: str) -> np.ndarray:
    """Return what the user gave as g for `count` rows: (count, n) of `dtype`.

    Raises
    ------
    TypeError, ValueError
        If it is not real, or not one gradient for each row.
    """
    g = _numbers(g, "g", source)
    if g.shape != (count, n):
        raise ValueError(about_gradients(g, count, n, source))
    return _native(g, dtype)


def about_gradients(g: Any, count: int, n: int, source: str) -> str:
    """Say what is wrong with the shape of g."""
    hint = ""
    if g.shape == (n,):
        hint = " Is it written for one point, or does it sum over the rows?"
    elif g.shape == (n, count):
        hint = " Is it transposed?"
    return (
        f"{source} must return one gradient for each of the {count} rows it was given, g of shape ({count}, {n}); "
        f"got {g.shape}.{hint}"
    )


def value(f: Any, source: str, dtype: type = np.float64) -> Any:
    """Return what the user gave as f at one point: a float or complex, from a number or an array of one element.

    Raises
    ------
    TypeError, ValueError
        If it is not one real number.
    """
    if dtype is np.float64 and (type(f) is float or type(f) is np.float64):  # as nearly always
        return float(f)
    f = _numbers(f, "f", source, dtype)
    if f.size != 1:
        raise ValueError(about_value(f, source))
    return _native(f.reshape(()), dtype).item()


def about_value(f: Any, source: str) -> str:
    """Say what is wrong with the shape of f at one point."""
    return (
        f"{source} must return a scalar value at one point; got f of shape {f.shape}. "
        f"For a batch of problems, hand over x0 of shape (B, n).{_ORDER}"
    )


def row(values: list[Any], dtype: type) -> np.ndarray:
    """Return what `value` has returned at k points, side by side: (1, k) of `dtype`."""
    return np.array([values], dtype)


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
    return _native(g, dtype)


def pair(returned: Any, source: str = "fun") -> tuple[Any, Any]:
    """Return f and g as `returned` by a function that gives both.

    Raises
    ------
    TypeError
        If it is not a pair.
    """
    if isinstance(returned, (tuple, list)) and len(returned) == 2:
        return returned[0], returned[1]
    got, cure = f"a {type(returned).__name__}", _ALONE
    if isinstance(returned, (tuple, list)):
        got = f"{len(returned)} things"
        if len(returned) > 2:
            cure = "If f and g are the first two, let it return these alone."
    raise TypeError(f"{source} must return the pair (f, g); got {got}. {cure}")


def _numbers(given: Any, letter: str, source: str, dtype: type = np.float64) -> np.ndarray:
    """Return `given` as a NumPy array of numbers: real ones, unless `dtype` is complex."""
    try:
        numbers: np.ndarray = np.asarray(foreign.in_numpy(given, f"{letter} of {source}"))
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


def _native(numbers: np.ndarray, dtype: Any) -> np.ndarray:
    """Return numbers as a plain array of `dtype`; those beyond it are infinite, that is, too far."""
    if numbers.dtype == dtype:
        return np.require(numbers, dtype, ["C", "A"])
    with np.errstate(all="ignore"):
        return np.require(numbers, dtype, ["C", "A"])


def _side(given: Any, name: str, shape: tuple[int, ...], n: int) -> np.ndarray:
    """Return lb or ub of bounds as (n,), (1,) or (B, n)."""
    side = start(given, f"bounds.{name}")
    if side.shape == (n,) or side.shape == (1,):
        return side
    if side.shape == (*shape, n):
        return side.reshape(-1, n)
    raise ValueError(
        "The number of bounds is not compatible with the length of `x0`. "
        f"bounds.{name} must be one number, or have shape ({n},), one for each coordinate"
        + (f", or {(*shape, n)}, a row for each member" if shape else "")
        + f"; got shape {side.shape}."
    )


def _pairs(bounds: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and the upper ones of a sequence of n pairs."""
    require_numpy(bounds, "bounds")
    rule = "bounds must be an object with lb and ub, like scipy.optimize.Bounds, or a sequence of pairs (min, max)"
    try:
        pairs = list(bounds)
    except TypeError:
        raise TypeError(f"{rule}; got {bounds!r}") from None
    if len(pairs) != n:
        raise ValueError(
            "The number of bounds is not compatible with the length of `x0`. "
            f"{rule}, one for each of the {n} coordinates; got {len(pairs)}. "
            "For bounds of each member, give lb and ub with a row for each."
        )
    sides: tuple[list[Any], list[Any]] = ([], [])
    for i, pair in enumerate(pairs):
        try:
            lower, upper = pair
        except (TypeError, ValueError):
            raise ValueError(f"bounds[{i}] must be a pair (min, max); got {pair!r}") from None
        for side, bound, none in ((sides[0], lower, -math.inf), (sides[1], upper, math.inf)):
            if bound is None:
                bound = none
            elif isinstance(bound, np.ndarray) and bound.size == 1:
                bound = bound.item()
            if not isinstance(bound, (int, float, np.number)) or isinstance(bound, np.complexfloating):
                raise TypeError(f"bounds[{i}] must hold real numbers, or None for no bound; got {pair!r}")
            side.append(bound)
    return np.array(sides[0], dtype=float), np.array(sides[1], dtype=float)


def _check_box(box: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Return whether any bound is finite; raise ValueError for some that no finite number is between, and say which."""
    if box.ndim == 2 and box.shape[1] <= _FEW:
        low, high = box.tolist()
        fine = all(map(le, low, high)) and max(low) < math.inf and min(high) > -math.inf
        finite = max(low) > -math.inf or min(high) < math.inf
    else:
        lower, upper = box[..., 0, :], box[..., 1, :]
        fine = ((lower <= upper) & (lower < math.inf) & (upper > -math.inf)).all()
        finite = np.isfinite(box).any()
    if not fine:
        _refuse_box(box[..., 0, :], box[..., 1, :], shape)
    return bool(finite)


def _refuse_box(lower: np.ndarray, upper: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raise ValueError for the first bounds of the first kind that is wrong."""
    for wrong, rule, cure in (
        (np.isnan(lower) | np.isnan(upper), "bounds must not be NaN", "For no bound, give None or an infinite number."),
        (
            lower > upper,
            "An upper bound is less than the corresponding lower bound. bounds must have lb <= ub",
            "Swap them, or give the same number twice to fix the coordinate.",
        ),
        (
            (lower == math.inf) | (upper == -math.inf),
            f"bounds must have a finite {lower.dtype} between them",
            "For no bound, give lb = -inf or ub = inf.",
        ),
    ):
        if wrong.any():
            *member, i = map(int, np.argwhere(wrong)[0])
            which = _of_member(member[0], shape) if member else ""
            raise ValueError(f"{rule}; got ({lower[*member, i]}, {upper[*member, i]}) at coordinate {i}{which}. {cure}")


def _rounded_inwards(box: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the largest box of `dtype` inside `box`; the nearest number where none is inside."""
    with np.errstate(over="ignore"):
        rounded = box.astype(dtype)
        lower, upper = rounded[..., 0, :], rounded[..., 1, :]
        nearest = lower.copy()
        np.nextafter(lower, math.inf, out=lower, where=lower < box[..., 0, :])
        np.nextafter(upper, -math.inf, out=upper, where=upper > box[..., 1, :])
    empty = lower > upper
    lower[empty] = upper[empty] = nearest[empty]
    return rounded


def _of_member(b: int, shape: tuple[int, ...]) -> str:
    """Return the end of a sentence that names member `b` of the flattened batch; nothing for one problem."""
    if not shape:
        return ""
    index = tuple(map(int, np.unravel_index(b, shape)))
    return f" of member {index if len(shape) > 1 else index[0]}"
