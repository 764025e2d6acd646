"""Arrays of other libraries, there and back: PyTorch's, JAX's, and those of the array standard that have DLPack.

The solver computes with NumPy. What the caller's functions are given, and what comes back to the caller, is of the
library of x0 and in the same memory, where the library lets it be; what the functions return is read where it lies.

An evaluation of one problem takes 3.4 us more with PyTorch, 16 us with JAX: 0.4 and 10 to make an array, 0.8 and 1.8 to
read each of two. A call of 1,000 members of n = 10, float32, takes 8 and 35 us more, where the solver takes 116
(`benchmarks/bench_foreign.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, is_dataclass, replace
from functools import cache, wraps
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np

_HOST = {1, 3, 11, 13}
"""DLPack's numbers of the devices whose memory NumPy reads: the CPU, and what CUDA and ROCm pin or manage."""

_CUDA = 2
"""DLPack's number of the devices whose memory CuPy reads."""

_SHARED = 2**18
"""Bytes from which on JAX is to share our memory, which takes 16 us; a copy takes 10 us below, 700 us of 4 MB."""

_ALIGNMENT = 64
"""JAX shares what begins at a multiple of it. Else it copies, and slowly: 18 ms of 40 MB, where NumPy takes 4."""


PLAIN = frozenset({np.ndarray, np.float64, np.float32, float, int, list, tuple, slice})
"""What most users hand over: no array of any other library, and nothing that need be looked at for long."""


class Library:
    """A library of the array standard, as far as its arrays are in memory that NumPy can read.

    Parameters
    ----------
    namespace : module
        What its arrays' ``__array_namespace__`` returns.
    array : str
        What one of its arrays is called.

    Attributes
    ----------
    compiles : bool
        Whether its functions are compiled anew for every shape, so that each call had better have the same.
    solvers : type
        Of the arrays that the solver computes with: NumPy's.
    """

    compiles = False

    def __init__(self, namespace: Any, array: str | None = None) -> None:
        self.namespace = namespace
        self.array = array or f"{namespace.__name__} array"
        self.solvers: type[Any] = np.ndarray

    def __reduce__(self) -> Any:  # functions are sent to other processes with it
        return _restored, (type(self), self.namespace.__name__, self.array)

    def own(self, array: np.ndarray) -> Any:
        """Return a NumPy array that nobody else writes into as one of this library, of the same memory."""
        return self.namespace.from_dlpack(_writeable(array))

    def native(self, array: Any, name: str) -> np.ndarray:
        """Return an array of this library, called `name`, as a NumPy array of the same memory.

        Raises
        ------
        TypeError
            If it is on another device, or of a kind that NumPy does not have.
        """
        try:
            return self._read(array)
        except (AttributeError, BufferError, RuntimeError, TypeError, ValueError) as error:
            self._require_host(array, name)
            raise TypeError(
                f"{name} must be numbers that NumPy can read, best float32 or float64; got a {self.array} of dtype "
                f"{getattr(array, 'dtype', None)}: {error}"
            ) from error

    def _read(self, array: Any) -> np.ndarray:
        return np.from_dlpack(array)

    def bare(self, array: Any) -> Any:
        """Return an array of this library as one that DLPack takes: without the graph that it may have behind it."""
        return array

    def place(self, array: Any) -> range | None:
        """Return the addresses of the memory that an array of this library shares with its views; None if unknown."""
        return None

    def stream(self, device: int) -> Any:
        """Return the current stream of a CUDA device, an object with `cuda_stream`; None if nobody is told of any."""
        return None

    def at_work(self) -> AbstractContextManager[Any]:
        """Return the context in which to work with the solver's arrays of this library's memory."""
        return nullcontext()

    def cuda_device(self, array: Any) -> int | None:
        """Return the number of the CUDA device that holds an array of this library; None if none does."""
        if self._device(array) is None:
            return None
        kind, number = array.__dlpack_device__()
        return int(number) if kind == _CUDA else None

    def _device(self, array: Any) -> Any:
        """Return where an array is, if NumPy cannot read it there; else None."""
        return None if array.__dlpack_device__()[0] in _HOST else getattr(array, "device", "another device")

    def _require_host(self, array: Any, name: str) -> None:
        device = self._device(array)
        if device is not None:
            raise TypeError(
                f"{name} must be in the CPU's memory; got a {self.array} on {device}. Copy it to the CPU; fun may send "
                "its points on to a device, and bring f and g back. Or let all, x0 first, be on one CUDA device."
            )

    def start(self, x0: Any, name: str) -> np.ndarray:
        """Return x0, an array of this library called `name`, as a NumPy array of any shape and layout.

        Raises
        ------
        TypeError
            If it is on another device, or `real` refuses it.
        """
        return self.native(self.real(x0, name), name)

    def real(self, x0: Any, name: str) -> Any:
        """Return x0, an array of this library called `name`, of a type that the solver and the library both have.

        Raises
        ------
        TypeError
            If it is of a floating type other than float32 and float64.
        """
        dtype = str(getattr(x0, "dtype", None))
        if "float" in dtype and not dtype.endswith(("float32", "float64")):
            raise TypeError(
                f"{name} must be float32 or float64; got {dtype}, too coarse for a line search. Convert it; fun may "
                "compute in a coarser type inside."
            )
        return x0

    def argument(self, given: Any, name: str, numpy: bool = True) -> Any:
        """Return what came beside x0, called `name`, as a NumPy array if it is an array of this library.

        What is no array of any library is returned as it is; if `numpy` is true, so are NumPy arrays.

        Raises
        ------
        TypeError
            If it is of another library, or on another device.
        """
        other = library_of(given)
        if other is None and (numpy or not isinstance(given, np.ndarray)):
            return given
        if other is None or other.array != self.array:
            theirs = "NumPy array" if other is None else other.array
            raise TypeError(f"{name} must be a {self.array}, as x0 is; got a {theirs}. Convert one of them.")
        return self.native(given, name)

    def bounds(self, bounds: Any) -> Any:
        """Return bounds, whatever kind of them, with NumPy arrays in place of this library's."""
        if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
            return SimpleNamespace(**{s: self.argument(getattr(bounds, s), f"bounds.{s}") for s in ("lb", "ub")})
        return self.argument(bounds, "bounds")

    def function(self, function: Callable[..., Any], args: tuple[Any, ...] = ()) -> Function:
        """Return the caller's function as one of NumPy arrays, see `Function`."""
        return Function(self, function, args)

    def shown(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that shows `callback` what it is given, with arrays of this library in it."""

        @wraps(callback)
        def show(*given: Any, **named: Any) -> Any:
            return callback(*map(self.whole, given), **{name: self.whole(each) for name, each in named.items()})

        return show

    def returned(self, given: Any) -> Any:
        """Return what one of the caller's functions has returned, or one of a pair, as the solver reads it."""
        return in_numpy(given, "what the function returns")

    def returning(self, report: Callable[[], Any]) -> Callable[[], Any]:
        """Return a function that returns what `report` does, with arrays of this library in it."""
        return lambda: self.whole(report())

    def whole(self, given: Any) -> Any:
        """Return a result with an array of this library in place of each array of numbers of the solver's.

        It may be a dict, a dataclass, a named tuple, a list of arrays, or an array; what else there is in it stays.
        """
        if isinstance(given, self.solvers):
            return given if given.dtype == object else self.own(given)
        if isinstance(given, dict):
            for name, value in given.items():
                given[name] = self.whole(value)
        elif is_dataclass(given) and not isinstance(given, type):
            return replace(given, **{field.name: self.whole(getattr(given, field.name)) for field in fields(given)})
        elif isinstance(given, tuple) and hasattr(given, "_make"):
            return given._make(map(self.whole, given))
        elif isinstance(given, list):
            return [self.whole(value) for value in given]
        return given


class _Torch(Library):
    """PyTorch. Its own ways take 0.4 us there and 0.8 us back, those of DLPack 1.0 and 1.9 us."""

    def __init__(self) -> None:
        super().__init__(import_module("torch"), "PyTorch tensor")

    def __reduce__(self) -> Any:
        return _torch, ()

    def own(self, array: np.ndarray) -> Any:
        return self.namespace.from_numpy(_writeable(array))

    def _read(self, array: Any) -> np.ndarray:
        numbers: np.ndarray = array.detach().numpy()  # f and g may have a graph behind them
        return numbers

    def bare(self, array: Any) -> Any:
        return array.detach()

    def place(self, array: Any) -> range | None:
        try:
            storage = array.untyped_storage()
            start = storage.data_ptr()
        except RuntimeError:  # a sparse tensor, for instance, has none
            return None
        return range(start, start + storage.nbytes())

    def cuda_device(self, array: Any) -> int | None:
        known = getattr(self._device(array), "type", None) == "cuda"  # others may have no number in DLPack
        return super().cuda_device(array) if known else None

    def stream(self, device: int) -> Any:
        return self.namespace.cuda.current_stream(device)

    def _device(self, array: Any) -> Any:
        device = getattr(array, "device", None)
        return None if getattr(device, "type", "cpu") == "cpu" else device


class _Jax(Library):
    """JAX, whose arrays never change: nothing that one shares is written into again."""

    compiles = True

    def __init__(self) -> None:
        super().__init__(import_module("jax.numpy"), "JAX array")
        jax = import_module("jax")
        self.traced = jax.core.Tracer
        self.canonical = jax.dtypes.canonicalize_dtype
        self.copies = jax.default_backend() == "cpu"  # elsewhere asarray would send it away

    def __reduce__(self) -> Any:
        return _jax, ()

    def own(self, array: np.ndarray) -> Any:
        if array.nbytes >= _SHARED:
            return super().own(_aligned(array))
        return self.namespace.asarray(array) if self.copies else super().own(array)

    def _device(self, array: Any) -> Any:
        if isinstance(array, self.traced):
            raise TypeError(
                "a traced JAX array has no numbers yet; call fastbfgs outside of jit, grad and vmap, or by way of "
                "jax.pure_callback"
            )
        devices = array.devices() if hasattr(array, "devices") else ()
        elsewhere = [device for device in devices if device.platform != "cpu"]
        return elsewhere[0] if elsewhere else None

    def real(self, x0: Any, name: str) -> Any:
        x0 = super().real(x0, name)
        if x0.dtype.kind in "biu":
            return self.namespace.asarray(x0, dtype=float)  # its own float
        if self.canonical(x0.dtype) != x0.dtype:
            raise TypeError(f"{name} is {x0.dtype}, which jax_enable_x64 does not allow now; set it, or convert x0")
        return x0


class Function:
    """The caller's function of a library's arrays, as one of the solver's arrays that returns such.

    Parameters
    ----------
    library : Library
    function : callable
        ``function(x, *args, *rest)``, and perhaps ``rows``. x may be what has arrays in it, see `Library.whole`.
    args : tuple
        Passed on as they are.
    """

    def __init__(self, library: Library, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.__wrapped__ = function  # where `inspect.signature` looks
        self.library = library
        self.args = args
        self._rest: tuple[np.ndarray, ...] = ()
        self._own: tuple[Any, ...] = ()

    def __call__(self, x: Any, *rest: Any, **rows: np.ndarray) -> Any:
        given: list[Any] = [self.library.whole(x), *self.args]
        if rest or rows:  # the same arrays from call to call, until a member finishes
            rest += tuple(rows.values())
            if len(rest) != len(self._rest) or any(a is not b for a, b in zip(rest, self._rest, strict=True)):
                self._rest, self._own = rest, tuple(map(self.library.whole, rest))
            rows = dict(zip(rows, self._own[len(rest) - len(rows) :], strict=True))
            given += self._own[: len(rest) - len(rows)]
        returned = self.__wrapped__(*given, **rows)
        if isinstance(returned, (tuple, list)):
            return tuple(map(self.library.returned, returned))
        return self.library.returned(returned)


def in_numpy(given: Any, name: str = "a result") -> Any:
    """Return `given`, called `name`, as NumPy has it if it is an array of a library: a number, if it has no axes."""
    library = library_of(given)
    if library is None:
        return given
    numbers = library.native(given, name)
    return numbers if numbers.ndim else numbers[()]


def is_cupys(given: Any) -> bool:
    """Return whether `given` is an array of CuPy's, on a GPU: `device` reads those."""
    return any(kind.__module__.partition(".")[0] == "cupy" for kind in type(given).__mro__)


def namespace_of(array: Any) -> Any:
    """Return the module whose arrays `array` is one of: NumPy, or CuPy for what is on a GPU."""
    return np if type(array) is np.ndarray or not is_cupys(array) else import_module("cupy")


def where_it_is(array: Any, index: Any) -> Any:
    """Return an index (NumPy's, or a number) as one of `array`, which may be on a GPU."""
    xp = namespace_of(array)
    if xp is np:
        return index
    return xp.asarray(index) if np.ndim(index) else int(index)


def library_of(array: Any) -> Library | None:
    """Return the library of an array; None for NumPy's and CuPy's, what is no array, and what no library is known of.

    Examples
    --------
    >>> library_of(np.zeros(3)) is library_of([0.0]) is None
    True
    """
    kind = type(array)
    if kind in PLAIN:
        return None
    for each in kind.__mro__:
        root = each.__module__.partition(".")[0]
        if root == "cupy":
            return None
        known = _KNOWN.get(root)
        if known is not None:
            return known()
    if hasattr(kind, "__dlpack__") and hasattr(kind, "__array_namespace__"):
        return None if issubclass(kind, (np.ndarray, np.generic)) else Library(array.__array_namespace__())
    return None


@cache
def _torch() -> Library:
    return _Torch()


@cache
def _jax() -> Library:
    return _Jax()


_KNOWN: dict[str, Callable[[], Library]] = {"torch": _torch, "jax": _jax, "jaxlib": _jax}


def _restored(kind: type[Library], namespace: str, array: str) -> Library:
    """Return the library that has been pickled."""
    return kind(import_module(namespace), array)


def _aligned(array: np.ndarray) -> np.ndarray:
    """Return `array`, or a copy to be written into that begins where JAX wants it."""
    if array.flags.writeable and array.ctypes.data % _ALIGNMENT == 0:
        return array
    room = np.empty(array.nbytes + _ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % _ALIGNMENT
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _writeable(array: np.ndarray) -> np.ndarray:
    """Return `array`, or a copy if it is not to be written into: DLPack cannot say so."""
    return array if array.flags.writeable else array.copy()
