# A crew's C face, for cpu.pyx and runs.pyx.

from libc.stdint cimport int64_t

from fastbfgs.kernels.state cimport Task, Team

cdef class Shift:
    cdef:
        Task task
        void *job
        int64_t count
        int64_t next                    # the first part that nobody has taken
        int64_t done

    cdef void work(self) noexcept nogil

cdef class Crew:
    cdef:
        int size
        object raised                   # while threads were called: an interrupt, most likely

    cdef Team team(self)
    cdef void _perform(self, Task task, void *job, Py_ssize_t count) noexcept
    cpdef settle(self)
