"""A stand-in for CuPy without a GPU: kernels/advance.cu is compiled by g++ with on_host.cpp, and arrays are NumPy's in
disguise.

It has what the package uses of CuPy, and is as strict: no array comes to the host, or goes to the device, unasked.
`waits` counts how often the host has waited for the device, and `late` is how many launches a number needs to arrive in
pinned memory.
"""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import sys
import tempfile
from numbers import Number
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

from fastbfgs.cuda import KERNELS, OPTIONS, source

COMPILER = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")

order = 0
"""In which order the threads of a block take turns; see on_host.cpp."""

late = 0
waits = 0
free = 2**40
"""Bytes that the device has left."""

current = 0
"""The current device."""

launched: list = []
"""The current stream, and device, of every launch."""

_on_their_way: list = []


@functools.cache
def library(fused: str | None = None, floating: str = "") -> ctypes.CDLL:
    """Return the compiled kernels; those of a program with an objective of the caller's, for one type, if given."""
    flags = "-std=c++17 -O1 -U_FORTIFY_SOURCE -ffp-contract=off -fPIC -shared -Wall -Wextra".split()
    with tempfile.TemporaryDirectory() as folder:
        made, program = Path(folder, "on_host.so"), Path(folder, "program.cu")
        if fused is None:
            flags.append("-Werror")
        else:
            program.write_text(fused, encoding="utf-8")
            flags += [f'-DFUSED="{program}"', f"-DFLOATING={floating}"]
        command = [COMPILER, *flags, f"-I{KERNELS}", "-o", made, Path(__file__).parent / "on_host.cpp"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr)
        loaded = ctypes.CDLL(str(made))
    loaded.launch.restype = ctypes.c_char_p
    for name in ("size_of_member", "size_of_run", "place_of_status"):
        getattr(loaded, name).restype = ctypes.c_size_t
    return loaded


def pretend(monkeypatch) -> None:
    """Let ``import cupy`` find this, for one test."""
    here = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "cupy", here)
    for name in ("order", "late", "waits", "current"):
        monkeypatch.setattr(here, name, 0)
    monkeypatch.setattr(here, "free", 2**40)
    launched.clear()
    _on_their_way.clear()


# ----------------------------------------------------------------------------------------------
# Arrays


def waited():
    """Count it; and what was on its way has arrived."""
    global waits
    waits += 1
    arrive(0)


def arrive(most: int) -> None:
    """Let copies arrive until so many are on their way."""
    while len(_on_their_way) > most:
        there, numbers = _on_their_way.pop(0)
        ctypes.memmove(there, numbers, len(numbers))


class ndarray(NDArrayOperatorsMixin):
    """An array on a device."""

    __array_priority__ = 100.0

    def __init__(self, data, device=None):
        self._data = data
        self.device = Device(current if device is None else device)
        self.base = None

    def _made(self, data):
        made = ndarray(np.asarray(data), self.device.id)
        if np.may_share_memory(made._data, self._data):
            made.base = self if self.base is None else self.base
        return made

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)
    ndim = property(lambda self: self._data.ndim)
    size = property(lambda self: self._data.size)
    nbytes = property(lambda self: self._data.nbytes)
    itemsize = property(lambda self: self._data.itemsize)
    flags = property(lambda self: SimpleNamespace(c_contiguous=self._data.flags.c_contiguous))
    data = property(lambda self: Memory(self._data.ctypes.data))
    T = property(lambda self: self._made(self._data.T))
    real = property(lambda self: self._made(self._data.real))
    imag = property(lambda self: self._made(self._data.imag))

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_namespace__(self, *, api_version=None):
        return sys.modules["cupy"]

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method != "__call__" or not all(isinstance(each, (ndarray, Number)) for each in inputs):
            return NotImplemented
        with np.errstate(all="ignore"):
            result = ufunc(*map(bare, inputs), **kwargs)
        if out is not None:
            out[0]._data[...] = result
            return out[0]
        return self._made(result)

    def __array_function__(self, function, types, args, kwargs):
        if function.__name__ not in ("ndim", "shape", "ravel", "reshape", "all", "any"):
            return NotImplemented
        result = function(*map(bare, args), **kwargs)
        return self._made(result) if isinstance(result, (np.ndarray, np.generic)) else result

    def __getitem__(self, key):
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(each, ndarray) and each.dtype == bool for each in parts):
            waited()  # for how many there are
        return self._made(self._data[index(key)])

    def __setitem__(self, key, value):
        if not isinstance(value, (ndarray, Number)):
            raise TypeError(f"Unsupported type {type(value)}")
        self._data[index(key)] = bare(value)

    def __len__(self):
        return len(self._data)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __dlpack_device__(self):
        return 2, self.device.id

    def __dlpack__(self, *, stream=None, max_version=None, copy=None):
        """Return the memory, which here is its capsule."""
        assert stream is not None, "a consumer that does not say where it works"
        return self._data

    def get(self):
        """Return a NumPy copy, on request."""
        waited()
        return self._data.copy()

    def item(self):
        waited()
        return self._data.item()

    def tolist(self):
        waited()
        return self._data.tolist()

    def __bool__(self):
        return bool(self.item())

    def __int__(self):
        return int(self.item())

    def __float__(self):
        return float(self.item())

    def view(self, dtype):
        assert self._data.flags.c_contiguous
        return self._made(self._data.view(dtype))

    def astype(self, dtype, copy=True):
        return self._made(self._data.astype(dtype, copy=copy))


def _method(name):
    def method(self, *args, **kwargs):
        with np.errstate(all="ignore"):
            return self._made(getattr(self._data, name)(*map(bare, args), **{k: bare(v) for k, v in kwargs.items()}))

    return method


for _name in "copy reshape swapaxes sum all any max min clip".split():
    setattr(ndarray, _name, _method(_name))
ndarray.__module__ = "cupy"


def bare(array):
    """Return what is behind the disguise."""
    return array._data if isinstance(array, ndarray) else array


def index(key):
    """Return a key of NumPy's; host arrays in it are not for a device."""
    parts = key if isinstance(key, tuple) else (key,)
    assert not any(isinstance(part, np.ndarray) for part in parts), "an index on the host"
    return tuple(map(bare, parts)) if isinstance(key, tuple) else bare(key)


def asarray(given, dtype=None):
    """Return an array of the device; what is on the host is copied there."""
    return ndarray(np.array(bare(given), dtype, order="C"))


def array(given, dtype=None, order="C"):
    """Return a copy."""
    return ndarray(np.array(bare(given), dtype, order=order))


def ascontiguousarray(given, dtype=None):
    assert isinstance(given, ndarray)
    made = np.ascontiguousarray(given._data, dtype)
    return given if made is given._data else given._made(made)


def broadcast_to(array, shape):
    return array._made(np.broadcast_to(array._data, shape))


def concatenate(arrays):
    return ndarray(np.concatenate([array._data for array in arrays]))


def from_dlpack(given):
    """Return the memory of another library's array on a device."""
    kind, number = given.__dlpack_device__()
    assert kind == 2, "no memory of a GPU"
    return ndarray(given.__dlpack__(stream=_streams[-1].ptr or 1, max_version=(1, 0), copy=None), number)


def stack(arrays):
    return ndarray(np.stack([array._data for array in arrays]))


def flatnonzero(array):
    waited()  # for how many there are
    return array._made(np.flatnonzero(array._data))


def tile(array, repetitions):
    return array._made(np.tile(array._data, repetitions))


def copyto(there, array, casting):
    assert isinstance(array, (ndarray, Number))
    np.copyto(there._data, bare(array), casting=casting)


def _function(name):
    def function(*args, **kwargs):
        assert not any(isinstance(each, np.ndarray) for each in (*args, *kwargs.values())), "an array on the host"
        given = {key: bare(value) for key, value in kwargs.items()}
        with np.errstate(all="ignore"):
            return ndarray(np.asarray(getattr(np, name)(*map(bare, args), **given)))

    return function


for _name in (
    "zeros ones arange eye full zeros_like full_like repeat isfinite minimum maximum subtract where nextafter abs log "
    "exp cosh sinh"
).split():
    setattr(sys.modules[__name__], _name, _function(_name))


def empty(shape, dtype=float):
    """Return what nobody has written to: NaN, or all bits set."""
    made = np.zeros(shape, dtype)
    made.reshape(-1).view(np.uint8)[:] = 255
    return ndarray(made)


linalg = SimpleNamespace(eigvalsh=lambda matrix: matrix._made(np.linalg.eigvalsh(matrix._data)))


# ----------------------------------------------------------------------------------------------
# The device


class Memory:
    def __init__(self, ptr: int) -> None:
        self.ptr = ptr

    def copy_to_host_async(self, to: int, size: int, stream) -> None:
        """Let the bytes as they are now arrive `late`."""
        _on_their_way.append((to, ctypes.string_at(self.ptr, size)))
        arrive(late)


class Device:
    def __init__(self, id: int) -> None:
        self.id = id
        self.attributes = {"MultiProcessorCount": 2}

    def __enter__(self):
        global current
        self.before, current = current, self.id
        return self

    def __exit__(self, *error) -> None:
        global current
        current = self.before


class Stream:
    def __init__(self, non_blocking: bool = False, ptr: int = 0) -> None:
        self.ptr = ptr

    @classmethod
    def from_external(cls, stream):
        return cls(ptr=stream.__cuda_stream__()[1])

    def __enter__(self):
        _streams.append(self)
        return self

    def __exit__(self, *error) -> None:
        assert _streams.pop() is self

    def synchronize(self) -> None:
        pass


_streams = [Stream()]


class Event:
    """What a stream has come to: here that all copies that were on their way have arrived."""

    def record(self, stream) -> None:
        self.waits_for = list(_on_their_way)

    @property
    def done(self) -> bool:
        return not any(copy is each for copy in _on_their_way for each in self.waits_for)


class Function:
    """A kernel of RawModule's."""

    def __init__(self, name: str, kernels: ctypes.CDLL) -> None:
        self.name = name
        self.library = kernels

    def __call__(self, grid, block, arguments) -> None:
        held = [self.passed(each) for each in arguments]
        pointers = (ctypes.c_void_p * len(held))(*[each.ctypes.data for each in held])
        launched.append((_streams[-1].ptr, current))
        error = self.library.launch(self.name.encode(), grid[0], block[0], pointers, order)
        if error:
            raise RuntimeError(error.decode())

    def passed(self, argument) -> np.ndarray:
        """Return what the kernel finds in its place: an array's address, or the bytes of a value."""
        if argument is None or isinstance(argument, ndarray):
            return np.array(0 if argument is None else argument.data.ptr, np.uint64)
        assert isinstance(argument, (np.ndarray, np.generic)) and argument.ndim == 0
        return np.asarray(argument)


class RawModule:
    def __init__(self, code: str, options, name_expressions, enable_cooperative_groups=False) -> None:
        assert options == OPTIONS
        assert enable_cooperative_groups == any("_large" in name or "_grid" in name for name in name_expressions)
        self.names = name_expressions
        self.code = None if code == source() else code

    def get_function(self, name: str) -> Function:
        assert name in self.names
        floating = name.partition("<")[2].partition(",")[0]
        return Function(name, library() if self.code is None else library(self.code, floating))


def devices() -> int:
    return 2


def get_default_memory_pool():
    return SimpleNamespace(
        free_bytes=lambda: 0, used_bytes=lambda: 0, get_limit=lambda: 0, free_all_blocks=lambda: None
    )


cuda = SimpleNamespace(
    Device=Device,
    alloc_pinned_memory=bytearray,
    get_current_stream=lambda: _streams[-1],
    Stream=Stream,
    Event=lambda disable_timing: Event(),
    runtime=SimpleNamespace(
        memGetInfo=lambda: (free, 2**40), getDevice=lambda: current, getDeviceCount=lambda: devices()
    ),
)
