# The C face of what a solver needs of its members' memory, for solver.pxd and cpu.pxd.

cdef class Backend:
    cdef public Py_ssize_t finished     # members that stopped in the last `tell`; 0 if nobody need look
    cdef readonly object crew           # threads that share a member; its `settle` raises what they had to keep

    cpdef points(self, rows)
    cpdef bint tell(self, rows, f, g) except -1
    cpdef point_one(self)
    cpdef Py_ssize_t movers(self) except -1
    cpdef bint runs(self, Py_ssize_t b)
    cpdef bint tell_one(self, f, g) except -1
