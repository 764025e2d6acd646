"""Arrays on a GPU: what `interop` does for NumPy, done where the arrays are, for CuPy's and by way of them for others.

Numbers are looked at on the device; one of them, whether all is well, comes back. What is wrong is then told by
`interop`, of a copy. Arrays of PyTorch, JAX and the like are CuPy's of the same memory, by DLPack.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from numbers import Number
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastbfgs import interop
from fastbfgs.foreign import PLAIN, Library, in_numpy, is_cupys, library_of
from fastbfgs.interop import Checked

_NATIVE = (np.dtype(np.float64), np.dtype(np.float32))
_COMPLEX = (np.dtype(np.complex128), np.dtype(np.complex64))


def reader(x0: Any, name: str = "x0") -> Any:
    """Return who reads what comes with `x0`, called `name`: `interop`, or, if it is on a GPU, an `Arrays`."""
    if type(x0) in PLAIN:
        return interop
    if "cupy" in sys.modules and is_cupys(x0):
        return Arrays(x0, name)
    library = lender(x0, name)
    return Lent(library) if isinstance(library, OnGPU) else interop


def lender(array: Any, name: str) -> Library | None:
    """Return the library of `array`, called `name`, as it is where that is; None for NumPy's and CuPy's."""
    library = library_of(array)
    number = None if library is None else library.cuda_device(array)
    if library is None or number is None:
        return library
    return OnGPU(library, cupy(f"{name}, a {library.array} on a GPU,"), number)


def on_host(given: Any, name: str = "a result") -> Any:
    """Return what the caller asks to see of `given`, one of our results: as `in_numpy`, and copied from a GPU."""
    if type(given) in PLAIN:
        return given
    library = lender(given, name)
    if isinstance(library, OnGPU):
        with library.at_work():
            return on_host(library.native(given, name))
    if not is_cupys(given):
        return in_numpy(given, name)
    numbers = given.get()
    return numbers if numbers.ndim else numbers[()]


def cupy(purpose: str) -> Any:
    """Return CuPy, which can use a GPU here.

    Raises
    ------
    ImportError, RuntimeError
        If it is not installed, or finds no device, or the driver is too old for it; with the cure.
    """
    try:
        module = import_module("cupy")
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs CuPy: install fastbfgs[cuda13], or fastbfgs[cuda12] for a driver of CUDA 12"
        ) from error
    try:
        devices = module.cuda.runtime.getDeviceCount()
    except Exception as error:
        if "InsufficientDriver" in str(error):
            raise RuntimeError(
                f"{purpose} needs an NVIDIA driver, as new as the CUDA that CuPy was built for: install or update it, "
                f"or take an older CuPy (fastbfgs[cuda12]). CuPy says: {error}"
            ) from error
        raise RuntimeError(f"{purpose} needs a GPU that CuPy can use. CuPy says: {error}") from error
    if devices == 0:
        raise RuntimeError(f"{purpose} needs a GPU, and CuPy finds none: see what nvidia-smi lists")
    return module


class Arrays:
    """The reader of CuPy's arrays on one device.

    Parameters
    ----------
    x0 : cupy.ndarray
        Says which device. It must be the current one, whose current stream all work goes to.
    name : str

    Attributes
    ----------
    xp : module
        CuPy.
    device : int
    array : str
        What an array there is called.
    """

    def __init__(self, x0: Any, name: str = "x0") -> None:
        self.xp: Any = sys.modules["cupy"]  # whoever has an array has imported it
        self.device: int = x0.device.id
        self.array = f"CuPy array on device {self.device}"
        current: int = self.xp.cuda.runtime.getDevice()
        if self.device != current:
            raise ValueError(
                f"{name} is on device {self.device}, but the current one is {current}; call within "
                f"`with {name}.device:`"
            )

    def at_work(self) -> AbstractContextManager[Any]:
        """Return the context in which to work with these arrays: none, the current stream is the one."""
        return nullcontext()

    def taken(self, given: Any, name: str) -> Any:
        """Return `given`, called `name`, as CuPy has it; as it is, if it is no array that CuPy can have."""
        return given

    def argument(self, given: Any, name: str, beside: str = "x0") -> Any:
        """Return `given`, called `name`, if it is an array on this device, as what came `beside` it is.

        Raises
        ------
        TypeError, ValueError
            If it is none, or on another device.
        """
        given = self.taken(given, name)
        if not isinstance(given, self.xp.ndarray):
            raise TypeError(
                f"{name} must be a {self.array}, as {beside} is; got {_kind(given)}. Send it there once, before the "
                "call."
            )
        if given.device.id != self.device:
            raise ValueError(
                f"{name} must be on device {self.device}, as {beside} is; it is on device {given.device.id}. "
                "Copy it there."
            )
        return given

    def spread(self, given: Any, name: str, shape: tuple[int, ...], dtype: Any, beside: str = "x0") -> Any:
        """Return `given`, called `name`, an array or one number, as a C-contiguous array of this shape and `dtype`.

        Raises
        ------
        TypeError, ValueError
            As `interop.spread`.
        """
        if isinstance(given, (Number, np.generic)) or (isinstance(given, np.ndarray) and not given.ndim):
            return self.xp.full(shape, given.item() if hasattr(given, "item") else given, dtype)
        given = self.argument(given, name, beside)
        try:
            return self.xp.ascontiguousarray(self.xp.broadcast_to(given, shape), dtype=dtype).reshape(shape)
        except ValueError:
            raise ValueError(interop.about_spread(given, name, shape)) from None

    def concatenate(self, arrays: list[Any]) -> Any:
        """Return the rows of all arrays, one after another."""
        return self.xp.concatenate(arrays)

    def enter(self, x0: Any, name: str = "x0") -> tuple[Any, None]:
        """Return what `start` does, and None, as `interop.enter` does for NumPy."""
        return self.start(x0, name), None

    def start(self, x0: Any, name: str = "x0") -> Any:
        """Return `x0`, called `name`, as a C-contiguous float32 or float64 array (..., n); itself, if it is one.

        Raises
        ------
        TypeError, ValueError
            As `interop.start`.
        """
        x0 = self.argument(x0, name)
        if x0.dtype.kind not in "biuf" or (x0.dtype.kind == "f" and x0.dtype not in _NATIVE):
            what = "complex" if x0.dtype.kind == "c" else "neither float32 nor float64"
            raise TypeError(f"{name} must hold real numbers; got dtype {x0.dtype}, which is {what}.")
        x0 = x0.reshape(1) if x0.ndim == 0 else x0
        if x0.shape[-1] == 0:
            raise ValueError(f"{name} must have at least one coordinate; got shape {x0.shape}")
        return self.xp.ascontiguousarray(x0, dtype=np.float32 if x0.dtype == np.float32 else np.float64)

    def diagonal(self, h0: Any, shape: tuple[int, ...], n: int, dtype: Any, name: str = "h0") -> Any:
        """Return `h0`, called `name`, a positive diagonal: a new array (n,) or (B, n) of `dtype`.

        Raises
        ------
        TypeError, ValueError
            As `interop.diagonal`.
        """
        if type(h0) is Checked:
            return h0.array
        given = self.start(h0, name)
        fine = given.shape in {(n,), (*shape, n)} and bool((self.xp.isfinite(given) & (given > 0)).all())
        if not fine:
            interop.diagonal(given.get(), shape, n, dtype, name)
        return self.xp.array(given if given.ndim == 1 else given.reshape(-1, n), dtype=dtype, order="C")

    def matrix(self, h0: Any, shape: tuple[int, ...], n: int, dtype: Any, name: str = "h0", check: bool = True) -> Any:
        """Return `h0`, called `name`, a symmetric positive definite matrix: a new array (n, n) or (B, n, n) of `dtype`.

        Raises
        ------
        TypeError, ValueError
            As `interop.matrix`.
        """
        if type(h0) is Checked:
            return h0.array
        given, xp = self.start(h0, name), self.xp
        fine = given.shape in {(n, n), (*shape, n, n)}
        if fine:
            each = given.reshape(-1, n, n)
            transposed = each.swapaxes(1, 2)
            symmetric = xp.ascontiguousarray((each + transposed) / 2, dtype=dtype)
            noise = math.sqrt(np.finfo(given.dtype).eps) * xp.abs(each).max(axis=(1, 2), keepdims=True)
            fine = bool(xp.isfinite(symmetric).all())
            if check and fine:
                fine = bool((xp.abs(each - transposed) <= noise).all())
                fine = fine and bool((xp.linalg.eigvalsh(symmetric) > 0).all())
        if not fine:
            interop.matrix(given.get(), shape, n, dtype, name, check)
            raise ValueError(f"{name} must be a symmetric positive definite matrix; it is not, to rounding")
        return symmetric.reshape(-1, n, n) if given.ndim > 2 else symmetric.reshape(n, n)

    def box(self, bounds: Any, shape: tuple[int, ...], n: int, dtype: Any) -> Any:
        """Return `bounds` as a C-contiguous array of `dtype`, (2, n) or (B, 2, n); None if there are none.

        Arrays among them must be on the device, but for those of one number, and pairs of numbers.

        Raises
        ------
        TypeError, ValueError
            As `interop.box`.
        """
        if bounds is None:
            return None
        if type(bounds) is Checked:
            return bounds.array
        xp = self.xp
        if not (hasattr(bounds, "lb") and hasattr(bounds, "ub")):
            box = interop.box(bounds, shape, n, dtype)
            return None if box is None else xp.asarray(box)
        lb, ub = self._side(bounds.lb, "lb", shape, n), self._side(bounds.ub, "ub", shape, n)
        own = lb.ndim > 1 or ub.ndim > 1
        box = xp.empty((math.prod(shape), 2, n) if own else (2, n), np.float64)
        box[..., 0, :], box[..., 1, :] = lb, ub
        if not self._holds(box):
            interop.box(SimpleNamespace(lb=lb.get(), ub=ub.get()), shape, n, dtype)
        if dtype != np.float64:
            box = self._rounded_inwards(box, dtype)
            if not self._holds(box):
                interop.box(SimpleNamespace(lb=lb.get(), ub=ub.get()), shape, n, dtype)
        return box if bool(xp.isfinite(box).any()) else None

    def _side(self, given: Any, name: str, shape: tuple[int, ...], n: int) -> Any:
        """Return lb or ub of bounds as (n,), (1,) or (B, n)."""
        if isinstance(given, np.ndarray) and given.size != 1:
            raise TypeError(
                f"bounds.{name} must be a {self.array}, as x0 is; got {_kind(given)}. SciPy's Bounds have no other: "
                "give n pairs of numbers, or an object with lb and ub of arrays that are there."
            )
        if isinstance(given, (int, float, np.generic, np.ndarray)):
            given = self.xp.asarray(np.asarray(given, float).reshape(1))
        side = self.start(given, f"bounds.{name}")
        if side.shape not in {(n,), (1,), (*shape, n)}:
            interop.box(SimpleNamespace(lb=side.get(), ub=np.inf), shape, n, np.dtype(float))
        return side.reshape(-1, n) if side.ndim > 1 else side

    def _holds(self, box: Any) -> bool:
        """Return whether a finite number is between all bounds."""
        lower, upper = box[..., 0, :], box[..., 1, :]
        return bool(((lower <= upper) & (lower < math.inf) & (upper > -math.inf)).all())

    def _rounded_inwards(self, box: Any, dtype: Any) -> Any:
        """Return the largest box of `dtype` inside `box`; the nearest number where none is inside."""
        xp, rounded = self.xp, box.astype(dtype)
        infinity = xp.asarray(np.array(math.inf, dtype))
        lower, upper = rounded[..., 0, :], rounded[..., 1, :]
        up = xp.where(lower < box[..., 0, :], xp.nextafter(lower, infinity), lower)
        down = xp.where(upper > box[..., 1, :], xp.nextafter(upper, -infinity), upper)
        empty = up > down
        made = xp.empty(box.shape, dtype)
        made[..., 0, :] = xp.where(empty, lower, up)
        made[..., 1, :] = xp.where(empty, lower, down)
        return made

    def values(self, f: Any, count: int, source: str, dtype: Any = None) -> Any:
        """Return what the user gave as f for `count` rows: (count,) of `dtype`; if none is given, float32 or float64.

        Raises
        ------
        TypeError, ValueError
            If it is not on this device, of another type, or not one number for each row.
        """
        if dtype is np.complex128:
            f = self._returned(f, "f", source, "complex64, complex128, float32 or float64", (*_COMPLEX, *_NATIVE))
        else:
            f = self._returned(f, "f", source, "float32 or float64", _NATIVE)
        if f.shape != (count,):
            raise ValueError(interop.about_values(f, count, source))
        return self.xp.ascontiguousarray(f, dtype=dtype)

    def value(self, f: Any, source: str, dtype: Any = None) -> Any:
        """Return what the user gave as f at one point: (1,), as `values` does; a number on the host is copied.

        Raises
        ------
        TypeError, ValueError
            If it is not one number, or an array that is not on this device, or of another type.
        """
        f = self.taken(f, f"f of {source}")
        if isinstance(f, Number):
            f = self.xp.asarray(np.array([interop.value(f, source, dtype or np.float64)]))
        elif isinstance(f, self.xp.ndarray):
            if f.size != 1:
                raise ValueError(interop.about_value(f, source))
            f = f.reshape(1)
        return self.values(f, 1, source, dtype)

    def row(self, values: list[Any], dtype: Any) -> Any:
        """Return what `value` has returned at k points, side by side: (1, k) of `dtype`."""
        return self.xp.concatenate(values).astype(dtype, copy=False).reshape(1, -1)

    def gradients(self, g: Any, count: int, n: int, dtype: Any, source: str) -> Any:
        """Return what the user gave as g for `count` rows: (count, n) of `dtype`.

        Raises
        ------
        TypeError, ValueError
            If it is not on this device, not of `dtype`, or not one gradient for each row.
        """
        g = self._returned(g, "g", source, f"{dtype}, as x is", (dtype,))
        if g.shape != (count, n):
            raise ValueError(interop.about_gradients(g, count, n, source))
        return self.xp.ascontiguousarray(g)

    def _returned(self, given: Any, letter: str, source: str, kinds: str, dtypes: tuple[Any, ...]) -> Any:
        """Return f or g, if they are arrays of this device and of these types."""
        given = self.taken(given, f"{letter} of {source}")
        if not isinstance(given, self.xp.ndarray):
            raise TypeError(
                f"{source} must return {letter} as a {self.array}, where x is; got {_kind(given)}. Compute it there: a "
                "copy at every call would take longer than the solver."
            )
        if given.device.id != self.device:
            raise ValueError(
                f"{source} must return {letter} on device {self.device}, where x is; got it on device {given.device.id}"
            )
        if given.dtype not in dtypes:
            raise TypeError(f"{source} must return {letter} of {kinds}; got {given.dtype}. Convert it with astype.")
        return given

    def nearest(self, x: Any, box: Any) -> Any:
        """Return the point of `box`, (2, n) or (B, 2, n), that is nearest to `x`, (n,) or (B, n)."""
        return self.xp.minimum(self.xp.maximum(x, box[..., 0, :]), box[..., 1, :])


class OnGPU(Library):
    """A library whose arrays are on a GPU; the solver computes with CuPy's of the same memory.

    Work is done on the library's current stream if it has one, else on CuPy's. DLPack has each of two streams wait for
    the other where that is needed.

    Parameters
    ----------
    library : Library
        The same, on the CPU.
    xp : module
        CuPy.
    device : int
    """

    def __init__(self, library: Library, xp: Any, device: int) -> None:
        super().__init__(library.namespace, f"{library.array} on CUDA device {device}")
        self.library, self.xp, self.device = library, xp, device
        self.compiles = library.compiles
        self.solvers = xp.ndarray

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Make the library's device and stream those of CuPy, while this lasts."""
        stream = self.library.stream(self.device)
        with self.xp.cuda.Device(self.device):
            if stream is None:
                yield
            else:
                with self.xp.cuda.Stream.from_external(_Handle(stream)):
                    yield

    def own(self, array: Any) -> Any:
        """Return a CuPy array that nobody else writes into as one of this library, of the same memory."""
        with self.at_work():
            return self.namespace.from_dlpack(self.xp.ascontiguousarray(array))

    def native(self, array: Any, name: str) -> Any:
        """Return an array of this library, called `name`, as a CuPy array of the same memory.

        Raises
        ------
        TypeError
            If it is of another library, not on this device, or of a type that CuPy does not have.
        """
        if isinstance(array, self.solvers):
            return array
        other = library_of(array)
        if other is None or other.array != self.library.array or other.cuda_device(array) != self.device:
            where = "" if other is None else f" on {getattr(array, 'device', 'another device')}"
            raise TypeError(
                f"{name} must be a {self.array}, as x0 is; got {_kind(array)}{where}. Convert it, or send it there."
            )
        try:
            with self.at_work():
                return self.xp.from_dlpack(other.bare(array))
        except (BufferError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(
                f"{name} must be numbers that CuPy can read, best float32 or float64; got a {self.array} of dtype "
                f"{getattr(array, 'dtype', None)}: {error}"
            ) from error

    def argument(self, given: Any, name: str, numpy: bool = True) -> Any:
        """Return what came beside x0, called `name`, as a CuPy array; as it is, if it is no array.

        Raises
        ------
        TypeError
            If it is an array, but not of this library on this device.
        """
        if isinstance(given, np.ndarray) or library_of(given) is not None:
            return self.native(given, name)
        return given

    def bounds(self, bounds: Any) -> Any:
        """Return bounds as they are: `Lent.box` reads them, of this library or not."""
        return bounds

    def returned(self, given: Any) -> Any:
        return given if isinstance(given, Number) else self.native(given, "what the function returns")


class _Handle:
    """A stream in the form of CUDA's protocol, which not every PyTorch has."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.stream.cuda_stream


class Lent(Arrays):
    """The reader of another library's arrays on one device, and of CuPy's there.

    Parameters
    ----------
    library : OnGPU
    """

    def __init__(self, library: OnGPU) -> None:
        self.library, self.xp, self.device, self.array = library, library.xp, library.device, library.array

    def at_work(self) -> AbstractContextManager[Any]:
        """Return the context in which the library's device and stream are those of CuPy."""
        return self.library.at_work()

    def taken(self, given: Any, name: str) -> Any:
        """Return `given`, called `name`, as CuPy has it; as it is, if it is no array."""
        return self.library.argument(given, name)

    def enter(self, x0: Any, name: str = "x0") -> tuple[Any, Any]:
        """Return what `start` does, and the library whose arrays the caller is to get."""
        with self.at_work():
            return self.start(self.library.library.real(x0, name), name), self.library


def _kind(given: Any) -> str:
    """Say what an argument is."""
    if isinstance(given, np.ndarray):
        return f"a NumPy array of dtype {given.dtype}, in the host's memory"
    return f"a {type(given).__name__}"
