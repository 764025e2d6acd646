# The backend's C face, for solver.pxd.

cimport numpy as cnp
from cython cimport final, floating
from libc.stdint cimport int64_t

from fastbfgs.backend cimport Backend
from fastbfgs.kernels.state cimport Member, Rules, Work
from fastbfgs.kernels.tile cimport Tile


@final
cdef class CPU(Backend):
    cdef:
        Rules rules
        readonly object records         # (B, bytes of a record), uint8
        readonly object vectors         # (B, numbers of a member), see kernels/state.pxd and kernels/large.pxd
        readonly object h0
        readonly object box             # (2, n) or (B, 2, n)
        Py_ssize_t accepted             # members that took a step in the last `tell`
        Py_ssize_t B, record_size, vector_size, h0_size, box_size   # sizes of one member's part, in bytes
        Py_ssize_t work_size
        list works                      # scratch that no thread is using
        Work work                       # that of the only member
        object last_point
        char *record
        char *vector
        char *h0_data
        char *box_data
        int typenum
        int workers

        int _bounded(self, Py_ssize_t b) noexcept
        Member *_member(self, Py_ssize_t b) noexcept nogil
        char *_h0(self, Py_ssize_t b) noexcept nogil
        void _fetch(self, Py_ssize_t b) noexcept nogil
        void _point(self, Py_ssize_t b, char *x, Py_ssize_t k, const Work *work) noexcept nogil
        bint _advance(self, Py_ssize_t b, const Work *work, double f, const char *g) noexcept nogil
        void _set_off(self, Py_ssize_t b, const Work *work) noexcept nogil
        void _join(self, Py_ssize_t b, Tile *tile) noexcept nogil
        Py_ssize_t _set_off_together(self, Tile *tile, const Work *work) noexcept nogil
        void _learn(self, Py_ssize_t b, const floating *s, const floating *y) noexcept nogil
        void _reopen(self, Py_ssize_t b, bint anew) noexcept nogil
        bint _rounds(self) noexcept
        bint _shares(self, Py_ssize_t members) noexcept
        Work _lent(self, char *room, Py_ssize_t members) noexcept
        bint _past(self, Py_ssize_t b, const int64_t *known) noexcept nogil
        void _step(self, const char *new, char *old, char *copy, char *difference) noexcept nogil
        bint _native(self, array, int typenum, int ndim, Py_ssize_t length) noexcept
        _split(self, task, arrays, Py_ssize_t count, double ns)

    cpdef steps(self, cnp.ndarray rows, cnp.ndarray nit, cnp.ndarray xg)
