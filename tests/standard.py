"""An array library that stands in for those of the array standard: DLPack, operators, and nothing that NumPy knows.

`Array.device` is what it says it is; all memory is NumPy's.
"""

from __future__ import annotations

import sys
from numbers import Number

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

CPU, CUDA = (1, 0), (2, 0)
"""DLPack's names of two devices."""


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
        if self.device != CPU:
            raise BufferError("there is no memory of the host here")
        return self._data.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.device

    def __array__(self, dtype=None, copy=None):
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__" or kwargs or not all(isinstance(each, (Array, Number)) for each in inputs):
            return NotImplemented
        return Array(ufunc(*(each._data if isinstance(each, Array) else each for each in inputs)))

    def __getitem__(self, key):
        return Array(np.asarray(self._data[key._data if isinstance(key, Array) else key]))

    def __setitem__(self, key, value):
        self._data[key] = value._data if isinstance(value, Array) else value


def from_dlpack(other):
    """Return the same memory as an Array."""
    return Array(np.from_dlpack(other))


def sum(array, axis=None):
    """Return sums over an axis, or over all."""
    return Array(np.asarray(array._data.sum(axis=axis)))
