"""Threads that share the panels of one large member (kernels/large.pxd).

The calling thread takes panels like the others and waits for none that has not begun: help that comes late, or never,
finds nothing left to do. So a pass ends whatever happens to the pool, and nothing can interrupt it half way: Ctrl-C
that comes while threads are called is kept until the member stands between two evaluations (`settle`).
"""
import time

from fastbfgs.atomics cimport add, look
from fastbfgs.kernels.state cimport Task, Team

from fastbfgs import threads

cdef enum:
    SPINS = 20_000              # looks at a counter, some 20 us: the others are at their last panels


cdef class Shift:
    """One pass over the panels; those who come to work on it may outlive it."""

    cdef void work(self) noexcept nogil:
        cdef int64_t k = add(&self.next, 1)
        while k < self.count:
            self.task(self.job, k)
            add(&self.done, 1)
            k = add(&self.next, 1)

    def __call__(self):
        with nogil:
            self.work()


cdef class Crew:
    """Up to `size` threads, the calling one included."""

    def __init__(self, int size):
        self.size = size

    cdef Team team(self):
        """What kernels are given: it lives as long as the crew."""
        cdef Team team
        team.run = run
        team.self = <void *>self
        return team

    cdef void _perform(self, Task task, void *job, Py_ssize_t count) noexcept:
        cdef:
            Shift shift
            Py_ssize_t spins = 0, k
        try:
            shift = Shift()
            shift.task, shift.job, shift.count = task, job, count
            shift.next = shift.done = 0
        except BaseException as error:
            self.raised = error
            for k in range(count):
                task(job, k)
            return
        try:
            threads.lend(shift, min(self.size, count) - 1)
        except RuntimeError:                                # no thread is to be had: this one does it all
            pass
        except BaseException as error:
            self.raised = error
        with nogil:
            shift.work()
            while look(&shift.done) < count and spins < SPINS:
                spins += 1
        while look(&shift.done) < count:
            try:
                time.sleep(2e-5)
            except BaseException as error:
                self.raised = error

    cpdef settle(self):
        """Raise what has been kept."""
        error, self.raised = self.raised, None
        if error is not None:
            raise error


cdef void run(void *crew, Task task, void *job, Py_ssize_t count) noexcept nogil:
    with gil:
        (<Crew>crew)._perform(task, job, count)
