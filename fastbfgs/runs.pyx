"""Whole runs on a compiled objective: without the interpreter, each member from start to end, in threads.

A thread runs narrow members in groups, each until it needs a direction, and then finds those together, see
kernels/tile.pxd. The members of a group are any that are there: who ends makes room for the next. Wider members run one
after the other.

The calling thread works alone for the first millisecond, by the clock, which is all that a small problem takes. After
that it only waits, where Ctrl-C reaches it at once, and the members are run by threads of their own. They take members
from one counter, a few at a time, and look at one flag after every evaluation. A member that the flag or the clock
stops stays as it is, between two evaluations, so the run can go on from there.

Threads of the shared pool would keep the solvers of other Python threads waiting until the last member is done.
"""
import numpy as np

cimport numpy as cnp
from cython cimport floating
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint64_t
from libc.time cimport time_t

from fastbfgs.atomics cimport add, look, put
from fastbfgs.cpu cimport CPU
from fastbfgs.kernels.advance cimport advance, point, set_off
from fastbfgs.kernels.state cimport Member, Rules, Work
from fastbfgs.kernels.tile cimport TILE, Tile, fits
from fastbfgs.kernels.work cimport CACHE_LINE, aligned

from fastbfgs import threads

cnp.import_array()

ctypedef double (*Objective)(int64_t, int64_t, const double *, double *, void *) noexcept nogil
ctypedef double (*ObjectiveF32)(int64_t, int64_t, const float *, float *, void *) noexcept nogil

cdef enum:
    ALONE_NS = 1_000_000        # a thread costs 0.1 ms to begin and end
    SHARES = 64                 # of a thread: members differ in length
    GROUPS = 16                 # of a thread at least: what it has begun it must end alone
    SHARE_AT_MOST = 64          # members; the counter is touched once for each share

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

cdef enum Stretch:              # why a member does not go on
    DUE                         # it waits for a direction
    FINISHED
    HALTED

cdef struct Room:               # a thread's own, on cache lines of its own
    int64_t finished            # these two nobody else writes
    int64_t evaluations
    Py_ssize_t next             # the members it has taken and not begun: from this row up to that
    Py_ssize_t last
    Py_ssize_t live             # how many it has begun, and which
    Py_ssize_t lane[TILE]
    Tile tile
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
        Py_ssize_t *row
        Py_ssize_t count, share, lanes
        void *objective
        void *user_data
        Shared shared

    def __init__(self, CPU cpu, cnp.ndarray rows, size_t address, size_t user_data):
        self.cpu = cpu
        self.rows = np.array(rows, np.intp)
        self.row = <Py_ssize_t *>cnp.PyArray_DATA(self.rows)
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
        self.lanes = min(1 + self.count // GROUPS, TILE)
        self._alone(self.memories[0])
        cdef Py_ssize_t left = self.count - self.shared.next
        if left == 0:
            return
        workers = min(workers, left)
        self.share = min(1 + left // (SHARES * workers), SHARE_AT_MOST)
        self.lanes = min(1 + left // (GROUPS * workers), TILE)
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
        room.work = self.cpu._lent(aligned(room.g + vector), self.count)

    def _alone(self, memory):
        """Run members in this thread until all are done, or ALONE_NS are over."""
        cdef:
            CPU cpu = self.cpu
            Room *room = room_in(memory)
        with nogil:
            room.next = 0
            room.last = self.count
            self._run(cpu, room, clock_ns())
            while room.live > 0:                            # others will go on with these
                room.live -= 1
                room.next -= 1
                self.row[room.next] = room.lane[room.live]
            self.shared.next = room.next

    def _work(self, memory):
        """Run members until nobody is left, or somebody calls a halt."""
        cdef:
            CPU cpu = self.cpu
            Room *room = room_in(memory)
        with nogil:
            room.next = room.last = 0
            self._run(cpu, room, 0)

    cdef void _run(self, CPU cpu, Room *room, int64_t begin) noexcept nogil:
        """Run members until nobody is left, or a halt was called, or, if `begin` is not 0, ALONE_NS are over since."""
        cdef:
            Py_ssize_t at
            Stretch end = DUE
        room.live = room.tile.count = 0
        while end != HALTED:
            at = 0
            while at < self.lanes and end != HALTED and (at < room.live or self._take(cpu, room, begin != 0)):
                end = self._stretch(cpu, room.lane[at], room, begin)
                if end == DUE:
                    cpu._join(room.lane[at], &room.tile)
                    at += 1
                elif end == FINISHED:
                    room.live -= 1
                    room.lane[at] = room.lane[room.live]
            cpu._set_off_together(&room.tile, &room.work)
            if room.live == 0:
                break

    cdef bint _take(self, CPU cpu, Room *room, bint alone) noexcept nogil:
        """Begin one member more, if there is one."""
        if room.next == room.last:
            if alone or look(&self.shared.next) >= self.count:
                return False
            room.next = add(&self.shared.next, self.share)
            room.last = min(room.next + self.share, self.count)
            if room.next >= room.last:
                room.next = room.last = 0
                return False
        room.lane[room.live] = self.row[room.next]
        room.live += 1
        room.next += 1
        if room.next < room.last:
            cpu._fetch(self.row[room.next])
        return True

    cdef Stretch _stretch(self, CPU cpu, Py_ssize_t b, Room *room, int64_t begin) noexcept nogil:
        """Run member b until it needs a direction that a tile can find, or ends, or is stopped."""
        cdef:
            Member *member = cpu._member(b)
            int64_t nfev = member.nfev
            char *v = cpu.vector + b * cpu.vector_size
            char *h0 = cpu._h0(b)
            char *box = cpu.box_data + b * cpu.box_size
            Stretch end
        if cpu.typenum == cnp.NPY_DOUBLE:
            end = run(&cpu.rules, member, b, <double *>v, <double *>h0, <double *>box, &room.work, self.objective,
                      self.user_data, <double *>room.x, <double *>room.g, &self.shared.halted, begin)
        else:
            end = run(&cpu.rules, member, b, <float *>v, <float *>h0, <float *>box, &room.work, self.objective,
                      self.user_data, <float *>room.x, <float *>room.g, &self.shared.halted, begin)
        put(&room.evaluations, room.evaluations + member.nfev - nfev)
        put(&room.finished, room.finished + (end == FINISHED))
        return end


cdef Stretch run(
    const Rules *rules, Member *member, Py_ssize_t b, floating *v, const floating *h0, const floating *box,
    const Work *work, void *objective, void *user_data, floating *x, floating *g, int64_t *halted, int64_t begin
) noexcept nogil:
    """Evaluate and advance."""
    cdef double f
    while member.status < 0:
        if look(halted) or (begin and <uint64_t>(clock_ns() - begin) >= ALONE_NS):
            return HALTED
        point(rules, member, v, box, x, work)
        # Who writes no gradient has failed, and is at no solution: a Python function that raises, behind ctypes, which
        # prints what was raised and returns whatever number.
        g[0] = NAN
        if floating is double:
            f = (<Objective>objective)(b, rules.n, x, g, user_data)
        else:
            f = (<ObjectiveF32>objective)(b, rules.n, x, g, user_data)
        if advance(rules, member, v, h0, box, work, f, g):
            if fits(rules, member):
                return DUE
            set_off(rules, member, v, h0, box, work)
    return FINISHED


cdef inline Room *room_in(memory) noexcept:
    return <Room *>aligned(cnp.PyArray_BYTES(memory))


cdef inline int64_t clock_ns() noexcept nogil:
    """The time of day: whoever set it back meanwhile has let time pass, too."""
    cdef timespec now
    timespec_get(&now, TIME_UTC)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec
