# The scratch that a thread lends to the members at hand, and where in it what stands.

from fastbfgs.kernels.box cimport columns_of
from fastbfgs.kernels.compact cimport compact_size
from fastbfgs.kernels.large cimport large_size
from fastbfgs.kernels.state cimport Rules, Work
from fastbfgs.kernels.tile cimport tile_size

cdef enum:
    CACHE_LINE = 64


cdef inline char *aligned(char *address) noexcept nogil:
    """The next start of a cache line."""
    return <char *>((<size_t>address + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)


cdef inline Py_ssize_t work_size(const Rules *rules, Py_ssize_t itemsize) noexcept nogil:
    """Bytes of scratch that a thread needs; `itemsize` is that of the vectors."""
    cdef Py_ssize_t n = rules.n, size = CACHE_LINE
    size += (tile_size(rules) + rules.m + large_size(rules)) * sizeof(double)
    if rules.tables:
        size += (compact_size(rules.m) + n) * sizeof(double) + n * sizeof(Py_ssize_t)
        size += (1 + columns_of(n)) * n * itemsize
    return size


cdef inline Work work_in(const Rules *rules, char *room) noexcept nogil:
    """Lay the scratch out in `room`, which has `work_size` bytes."""
    cdef Work work
    work.tile = <double *>aligned(room)
    work.a = work.tile + tile_size(rules)
    work.sums = work.a + rules.m
    work.team.run = NULL
    work.team.self = NULL
    work.small = work.sums + large_size(rules)
    work.t = work.small + compact_size(rules.m)
    work.order = <Py_ssize_t *>(work.t + rules.n)
    work.columns = work.order + rules.n
    return work
