# The C types of records.py, which is compiled as it stands.
cimport cython

cdef class Reader:
    cdef:
        list variables
        list shapes
        list assigned
        list copies
        list owners
        list places
        list names
        object model
        object form

    @cython.locals(leaves=list, pairs=list, copied=bint, i=Py_ssize_t)
    cpdef tuple read(self, returned, step)

    @cython.locals(i=Py_ssize_t)
    cdef _keep(self)
    cdef _checked(self, gradient, Py_ssize_t i, step)

    @cython.locals(i=Py_ssize_t)
    cdef _apart(self, array)

cdef class Trace:
    cdef:
        object steps
        object model
        list leaves

    @cython.locals(leaves=list, own=Leaf, i=Py_ssize_t)
    cpdef write(self, step, traced)

cdef class Leaf:
    cdef:
        object path
        object kind
        object library
        object namespace
        object shape
        object dtype
        bint scalar
        bint flat
        bint graphs
        object room

    cpdef write(self, step, leaf)

cdef _owner(array)
