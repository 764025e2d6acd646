"""What a solver asks of its members' memory at every evaluation; `cpu.CPU` and `cuda.CUDA` answer."""
import numpy as np

from fastbfgs.kernels.advance import RECORD, Status


def field_of(records, name):
    """Return a view of one scalar of records (B, bytes): (B,)."""
    kind, at = RECORD.fields[name][:2]
    return records.view(kind)[:, at // kind.itemsize]


def sound(given, held, bounded, Py_ssize_t m, Py_ssize_t slots):
    """Return whether records (B, bytes) and vectors, NumPy's, from wherever they come, keep members in their memory.

    These are `given`, and of the form of those `held`. There are `slots` for m pairs, or none for BFGS, which counts
    what it has learnt; and a box where `bounded` (B,) says so.
    """
    cdef Py_ssize_t size = RECORD.itemsize
    if any([(new.shape, new.dtype) != (old.shape, old.dtype) for new, old in zip(given, held, strict=True)]):
        return False
    records = np.ascontiguousarray(given[0][:, :size])
    count, head, fresh = (field_of(records, name) for name in ("count", "head", "fresh"))
    return bool(
        ((0 <= fresh) & (fresh <= count) & ((count <= m) | (m == 0)) & (0 <= head) & (head < max(slots, 1))).all()
        and (field_of(records, "bounded") == bounded).all()
        and np.isin(field_of(records, "status"), list(Status)).all()
    )


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
