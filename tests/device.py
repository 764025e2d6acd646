"""An array library that stands in for CuPy: what would bring its arrays to the host raises.

As small as the array API standard allows: operators, indexing, and the functions of this module.
"""

from __future__ import annotations

import sys
from numbers import Number

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin


class Array(NDArrayOperatorsMixin):
    """A NumPy array in disguise."""

    __array_priority__ = 100.0

    def __init__(self, data):
        self._data = np.array(data)

    shape = property(lambda self: self._data.shape)
    dtype = property(lambda self: self._data.dtype)

    def __array_namespace__(self, *, api_version=None):
        return sys.modules[__name__]

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **kwargs):
        if method != "__call__" or not all(isinstance(each, (Array, Number)) for each in inputs):
            return NotImplemented
        result = ufunc(*(each._data if isinstance(each, Array) else each for each in inputs), **kwargs)
        if out is not None:
            out[0]._data[...] = result
            return out[0]
        return Array(result)

    def __array_function__(self, function, types, args, kwargs):
        if function not in (np.all, np.any):
            return NotImplemented
        return Array(function(args[0]._data))

    def __getitem__(self, key):
        view = Array.__new__(Array)
        view._data = self._data[(*key, ...) if isinstance(key, tuple) and ... not in key else key]
        view._data = view._data if isinstance(view._data, np.ndarray) else np.array(view._data)
        return view

    def __setitem__(self, key, value):
        if not isinstance(value, (Array, Number)):
            raise TypeError(f"unsupported type {type(value)}")
        self._data[key] = value._data if isinstance(value, Array) else value

    def __bool__(self):
        return bool(self._data)  # this one waits for the device, and is allowed

    def get(self):
        """Return a NumPy copy, on request."""
        return self._data.copy()


def asarray(data, dtype=None):
    """Return an array of numbers that are on the host."""
    return data if isinstance(data, Array) else Array(np.asarray(data, dtype))


def tile(array, repetitions):
    """Return copies side by side."""
    return Array(np.tile(array._data, repetitions))


def zeros_like(array):
    """Return zeros."""
    return Array(np.zeros_like(array._data))


def where(condition, ours, theirs):
    """Return ours where the condition holds, theirs elsewhere."""
    return Array(np.where(condition._data, ours._data, theirs._data))


def total(array):
    """Return the sum of all elements, 0-dimensional."""
    return Array(array._data.sum())
