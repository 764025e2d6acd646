"""Whole runs on a compiled objective: without the interpreter, each member from start to end, in threads.

The calling thread works alone for the first millisecond, by the clock, which is all that a small problem takes. After
that it only waits, where Ctrl-C reaches it at once, and the members are run by threads of their own. They take members
from one counter, a few at a time, and look at one flag after every evaluation. A member that the flag or the clock
stops stays as it is, between two evaluations, so the run can go on from there.

Threads of the shared pool would keep the solvers of other Python threads waiting until the last member is done.
"""
import numpy as np

cimport numpy as cnp
from cython cimport floating
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time_t

from fastbfgs.cpu cimport CPU
from fastbfgs.kernels.advance cimport advance, point
from fastbfgs.kernels.box cimport work_in
from fastbfgs.kernels.state cimport Member, Rules, Work

from fastbfgs import threads

cnp.import_array()

ctypedef double (*Objective)(int64_t, int64_t, const double *, double *, void *) noexcept nogil
ctypedef double (*ObjectiveF32)(int64_t, int64_t, const float *, float *, void *) noexcept nogil

cdef enum:
    CACHE_LINE = 64
    ALONE_NS = 1_000_000        # a thread costs 0.1 ms to begin and end
    SHARES = 64                 # of a thread: members differ in length
    SHARE_AT_MOST = 64          # members; the counter is touched once for each share

cdef extern from *:
    """
    #if defined(_MSC_VER)
        #include <intrin.h>
        static __int64 fastbfgs_add(volatile __int64 *number, __int64 more)
        { return _InterlockedExchangeAdd64(number, more); }
        static __int64 fastbfgs_look(volatile __int64 *number) { return *number; }
    #else
        static inline int64_t fastbfgs_add(int64_t *number, int64_t more)
        { return __atomic_fetch_add(number, more, __ATOMIC_RELAXED); }
        static inline int64_t fastbfgs_look(int64_t *number) { return __atomic_load_n(number, __ATOMIC_RELAXED); }
    #endif
    """
    int64_t add "fastbfgs_add" (int64_t *number, int64_t more) noexcept nogil     # returns what it was
    int64_t look "fastbfgs_look" (int64_t *number) noexcept nogil

cdef extern from "<time.h>":
    struct timespec:
        time_t tv_sec
        long tv_nsec
    int timespec_get(timespec *now, int base) noexcept nogil
    int TIME_UTC

cdef struct Shared:             # by the threads of a run: what they read on one cache line, what they write on another
    int64_t halted
    char[CACHE_LINE] apart
    int64_t next                # the first member that nobody has taken
    char[CACHE_LINE] behind

cdef struct Room:               # a thread's own, on cache lines of its own
    int64_t finished
    int64_t evaluations
    Work work
    char *x
    char *g


cdef class Runs:
    """The runs of some members of a backend, from where they stand to their ends.

    Parameters
    ----------
    cpu : CPU
    rows : ndarray (k,) of intp
        Members that have not finished.
    address, user_data : int
        Of the objective, as in include/fastbfgs.h, for the dtype of `cpu`; and what it is given.

    Attributes
    ----------
    finished, evaluations : int
        Members that have come to their end, and evaluations of all, so far.
    """

    cdef:
        CPU cpu
        object rows
        list memories                   # of the threads' rooms
        const Py_ssize_t *row
        Py_ssize_t count, share
        void *objective
        void *user_data
        Shared shared

    def __init__(self, CPU cpu, cnp.ndarray rows, size_t address, size_t user_data):
        self.cpu = cpu
        self.rows = np.ascontiguousarray(rows, np.intp)
        self.row = <const Py_ssize_t *>cnp.PyArray_DATA(self.rows)
        self.count = cnp.PyArray_SIZE(rows)
        self.objective = <void *>address
        self.user_data = <void *>user_data
        self.shared.halted = self.shared.next = 0
        self.memories = []

    @property
    def finished(self):
        return sum([look(&room_in(memory).finished) for memory in self.memories])

    @property
    def evaluations(self):
        return sum([look(&room_in(memory).evaluations) for memory in self.memories])

    def solve(self, int workers, beat):
        """Run the members to their ends in `workers` threads, calling `beat` now and then.

        What `beat` raises, and Ctrl-C, passes through, when all threads have come to rest.
        """
        self._add_room()
        self._alone(self.memories[0])
        cdef Py_ssize_t left = self.count - self.shared.next
        if left == 0:
            return
        workers = min(workers, left)
        self.share = min(1 + left // (SHARES * workers), SHARE_AT_MOST)
        while len(self.memories) < workers:
            self._add_room()
        threads.side_by_side(self._work, self.memories, self.halt, beat)

    def halt(self):
        """Let every thread come to rest after the evaluation it is in."""
        add(&self.shared.halted, 1)

    def _add_room(self):
        """Make one more `Room`, with what it points at behind it."""
        cdef:
            Py_ssize_t vector = self.cpu.rules.n * cnp.PyArray_ITEMSIZE(self.cpu.vectors)
            Room *room
        self.memories.append(np.zeros(sizeof(Room) + self.cpu.work_size + 2 * vector + 5 * CACHE_LINE, np.uint8))
        room = room_in(self.memories[-1])
        room.x = aligned(<char *>(room + 1))
        room.g = aligned(room.x + vector)
        room.work = work_in(&self.cpu.rules, aligned(room.g + vector))

    def _alone(self, memory):
        """Run members in this thread until all are done, or ALONE_NS are over."""
        cdef:
            CPU cpu = self.cpu
            Room *room = room_in(memory)
            int64_t begin
        with nogil:
            begin = clock_ns()
            while self.shared.next < self.count and self._run(cpu, self.row[self.shared.next], room, begin):
                self.shared.next += 1

    def _work(self, memory):
        """Run shares of members until nobody is left, or somebody calls a halt."""
        cdef:
            CPU cpu = self.cpu
            Room *room = room_in(memory)
            Py_ssize_t k = 0, last
        with nogil:
            while k < self.count and not look(&self.shared.halted):
                k = add(&self.shared.next, self.share)
                last = min(k + self.share, self.count)
                while k < last and not look(&self.shared.halted):
                    if k + 1 < last:
                        cpu._fetch(self.row[k + 1])
                    self._run(cpu, self.row[k], room, 0)
                    k += 1

    cdef bint _run(self, CPU cpu, Py_ssize_t b, Room *room, int64_t begin) noexcept nogil:
        """Run member b; return whether it has finished.

        It has not if a halt was called, or ALONE_NS are over since `begin`, if that is not 0.
        """
        cdef:
            Member *member = cpu._member(b)
            int64_t nfev = member.nfev
            char *v = cpu.vector + b * cpu.vector_size
            char *h0 = cpu.h0_data
            char *box = cpu.box_data + b * cpu.box_size
        if h0 != NULL:
            h0 += b * cpu.h0_size
        if cpu.typenum == cnp.NPY_DOUBLE:
            run(&cpu.rules, member, b, <double *>v, <double *>h0, <double *>box, &room.work, self.objective,
                self.user_data, <double *>room.x, <double *>room.g, &self.shared.halted, begin)
        else:
            run(&cpu.rules, member, b, <float *>v, <float *>h0, <float *>box, &room.work, self.objective,
                self.user_data, <float *>room.x, <float *>room.g, &self.shared.halted, begin)
        add(&room.evaluations, member.nfev - nfev)
        add(&room.finished, member.status >= 0)
        return member.status >= 0


cdef void run(
    const Rules *rules, Member *member, Py_ssize_t b, floating *v, const floating *h0, const floating *box,
    const Work *work, void *objective, void *user_data, floating *x, floating *g, int64_t *halted, int64_t begin
) noexcept nogil:
    """Evaluate and advance, until the member finishes or is stopped."""
    cdef double f
    while member.status < 0:
        if look(halted) or (begin and <uint64_t>(clock_ns() - begin) >= ALONE_NS):
            break
        point(rules, member, v, box, x)
        if floating is double:
            f = (<Objective>objective)(b, rules.n, x, g, user_data)
        else:
            f = (<ObjectiveF32>objective)(b, rules.n, x, g, user_data)
        advance(rules, member, v, h0, box, work, f, g)


cdef inline Room *room_in(memory) noexcept:
    return <Room *>aligned(cnp.PyArray_BYTES(memory))


cdef inline int64_t clock_ns() noexcept nogil:
    """The time of day: whoever set it back meanwhile has let time pass, too."""
    cdef timespec now
    timespec_get(&now, TIME_UTC)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


cdef inline char *aligned(char *address) noexcept nogil:
    """The next start of a cache line."""
    return <char *>((<size_t>address + CACHE_LINE - 1) // CACHE_LINE * CACHE_LINE)
