# The C types of objective.py, which is compiled as it stands.

cdef class Objective:
    cdef readonly:
        object fun
        object jac
        tuple args
        tuple batch_args
        bint single
        object pair
        bint fun_takes_rows
        bint jac_takes_rows
        object evaluations
        object gradients
        object fixed
    cdef:
        object _rows
        tuple _rows_args

    cpdef evaluate(self, x, rows)
    cpdef call(self, function, bint gives_rows, x, rows, tuple args)

cdef class Differences(Objective):
    cdef readonly:
        object stencil
        object workers
        object reader
        object kind
