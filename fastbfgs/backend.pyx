"""What a solver asks of its members' memory at every evaluation; `cpu.CPU` and `cuda.CUDA` answer."""


cdef class Backend:
    """B members in arrays of one library. Nothing calls these methods but where one is missing."""

    cpdef points(self, rows):
        """Return the points that `rows` (k,) ask about, or rest at: (k, n), the caller's to keep."""
        raise NotImplementedError

    cpdef bint tell(self, rows, f, g) except -1:
        """Take f (k,) and g (k, n) for `rows` (k,); False, and nothing done, if they are not native arrays."""
        raise NotImplementedError

    cpdef point_one(self):
        """Return the point that the only member asks about: (n,), the caller's to keep."""
        raise NotImplementedError

    cpdef Py_ssize_t movers(self) except -1:
        """Return how many members took a step in the last `tell`."""
        raise NotImplementedError

    cpdef bint runs(self, Py_ssize_t b):
        """Return whether member b has not finished."""
        raise NotImplementedError

    cpdef bint tell_one(self, f, g) except -1:
        """Take f and g (n,) for the only member; False, and nothing done, if they are not native."""
        raise NotImplementedError
