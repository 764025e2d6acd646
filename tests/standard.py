"""An array library that stands in for those of the array standard: DLPack, operators, and nothing that NumPy knows.

`Array.device` is where it says it is; all memory is NumPy's. A capsule of what is not on the CPU is the memory itself.
"""

from __future__ import annotations

import sys
from numbers import Number

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

CPU, CUDA = (1, 0), (2, 0)
"""DLPack's names of two devices."""

STREAM = 7
"""What a GPU's work is in order on."""


class Array(NDArrayOperatorsMixin):
    """A NumPy array in disguise."""

    def __init__(self, data, device=CPU):
        self._data = data if isinstance(data, np.ndarray) else np.array(data)
        self.device = device

    shape = property(lambda self: self._data.shape)
    ndim = property(lambda self: self._data.ndim)
    dtype = property(lambda self: self._data.dtype)

    def __array_namespace__(self, *, api_version=None):
        return sys.modules[__name__]

    def __dlpack__(self, **options):
        if self.device == CPU:
            return self._data.__dlpack__(**options)
        if options.get("stream") is None:  # NumPy knows of none
            raise BufferError("there is no memory of the host here")
        return self._data

    def __dlpack_device__(self):
        return self.device

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or kwargs or not all(isinstance(each, (Array, Number)) for each in inputs):
            return NotImplemented
        assert len({each.device for each in inputs if isinstance(each, Array)}) == 1, "arrays on two devices"
        return self._made(ufunc(*(each._data if isinstance(each, Array) else each for each in inputs)))

    def _made(self, data):
        return type(self)(np.asarray(data), self.device)

    def __getitem__(self, key):
        return self._made(self._data[key._data if isinstance(key, Array) else key])

    def __setitem__(self, key, value):
        self._data[key] = value._data if isinstance(value, Array) else value


def from_dlpack(other):
    """Return the same memory as an Array."""
    device = other.__dlpack_device__()
    return Array(np.from_dlpack(other)) if device == CPU else Array(other.__dlpack__(stream=STREAM), device)


def sum(array, axis=None):
    """Return sums over an axis, or over all."""
    return array._made(array._data.sum(axis=axis))
