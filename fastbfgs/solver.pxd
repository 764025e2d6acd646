# The C types of solver.py, which is compiled as it stands.

from fastbfgs.backend cimport Backend

cdef class Solver:
    cdef readonly:
        object options
        object shape
        object rows
        object _rows                # as the backend takes them
        object box
        Py_ssize_t n
        Py_ssize_t live
        Py_ssize_t calls
        bint compact
        int workers
    cdef:
        Backend _backend
        bint _single
        object _library
        object _begun               # at which count of evaluations members began; None for 0

    cpdef ask(self)
    cpdef tell(self, f, g)
