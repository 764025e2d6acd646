"""kernels/advance.cu without a GPU: compiled by g++ with on_host.cpp, and launched by a stand-in for CuPy."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastbfgs.cuda import KERNELS

COMPILER = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@functools.cache
def library() -> ctypes.CDLL:
    """Return the compiled kernels."""
    here = Path(__file__).parent
    folder = tempfile.TemporaryDirectory()
    made = Path(folder.name, "on_host.so")
    flags = "-std=c++17 -O1 -U_FORTIFY_SOURCE -ffp-contract=off -fPIC -shared -Wall -Wextra -Werror".split()
    command = [COMPILER, *flags, f"-I{KERNELS}", "-o", made, here / "on_host.cpp"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = ctypes.CDLL(str(made))
    folder.cleanup()
    loaded.launch.restype = ctypes.c_char_p
    for name in ("size_of_member", "size_of_run", "place_of_status"):
        getattr(loaded, name).restype = ctypes.c_size_t
    return loaded


class Array(np.ndarray):
    """A NumPy array with the few words of CuPy's that `CUDA` says."""

    @property
    def data(self):
        return Pointer(self.ctypes.data)

    @property
    def device(self):
        return SimpleNamespace(id=0)


class Pointer:
    def __init__(self, ptr: int) -> None:
        self.ptr = ptr

    def copy_to_host_async(self, to: int, size: int, stream) -> None:
        ctypes.memmove(to, self.ptr, size)


class Function:
    """A kernel of RawModule's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, grid, block, arguments) -> None:
        held = [self.passed(each) for each in arguments]
        pointers = (ctypes.c_void_p * len(held))(*[each.ctypes.data for each in held])
        error = library().launch(self.name.encode(), grid[0], block[0], pointers, standin.order)
        if error:
            raise RuntimeError(error.decode())

    def passed(self, argument) -> np.ndarray:
        """Return what the kernel finds in its place: an array's address, or the bytes of a value."""
        if argument is None or isinstance(argument, Array):
            return np.array(0 if argument is None else argument.ctypes.data, np.uint64)
        assert isinstance(argument, (np.ndarray, np.generic)) and argument.ndim == 0
        return np.asarray(argument)


class RawModule:
    def __init__(self, code: str, options, name_expressions) -> None:
        self.names = name_expressions

    def get_function(self, name: str) -> Function:
        assert name in self.names
        return Function(name)


def array(given, dtype=None) -> Array:
    return np.ascontiguousarray(given, dtype).view(Array)


standin = sys.modules[__name__]
ndarray = Array
order = 0
"""In which order the threads of a block take turns; see on_host.cpp."""

free = 2**40
"""Bytes that the device has left."""


def zeros(shape, dtype) -> Array:
    return np.zeros(shape, dtype).view(Array)


def empty(shape, dtype) -> Array:
    """Return what nobody has written to: NaN, or all bits set."""
    made = zeros(shape, dtype)
    made.reshape(-1).view(np.uint8)[:] = 255
    return made


def alloc_pinned_memory(size: int) -> bytearray:
    return bytearray(size)


def get_default_memory_pool():
    return SimpleNamespace(free_bytes=lambda: 0, used_bytes=lambda: 0, get_limit=lambda: 0)


cuda = SimpleNamespace(
    Device=lambda device: SimpleNamespace(attributes={"MultiProcessorCount": 2}),
    alloc_pinned_memory=alloc_pinned_memory,
    get_current_stream=lambda: None,
    runtime=SimpleNamespace(memGetInfo=lambda: (free, 2**40)),
)
