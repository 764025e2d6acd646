"""The CPU backend: B members in two arrays, and the loops over them, in threads where that pays."""
import numpy as np

cimport numpy as cnp
from cpython.object cimport PyObject
from cython cimport final, floating
from libc.math cimport isfinite, INFINITY, NAN
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from fastbfgs.backend cimport Backend
from fastbfgs.crew cimport Crew
from fastbfgs.kernels.advance cimport RUNNING, advance, enter, point, reopen, set_off, set_off_together, together
from fastbfgs.kernels.large cimport behind_record
from fastbfgs.kernels.lbfgs cimport forget
from fastbfgs.kernels.state cimport BFGS, BOXED, LBFGS, Member, Work
from fastbfgs.kernels.tile cimport TILE, Tile, fits
from fastbfgs.kernels.work cimport CACHE_LINE, work_in, work_size

from fastbfgs import threads
from fastbfgs.backend import sound
from fastbfgs.kernels.advance import RECORD

cnp.import_array()

LARGE = 300
"""Coordinates from which on L-BFGS without bounds uses kernels/large.pxd: an iteration took 1.0 times as long as
without at n = 100, 0.9 at n = 300, and 0.7 from n = 1,000 on (AVX-512, m = 10, one thread)."""

SHARED = 50_000
"""From which on threads share the coordinates: two took 1.15 times as long as one at n = 20,000, 0.90 at 40,000, 0.85
at 80,000 and 0.67 at 150,000."""

cdef object np_float64 = np.float64, np_float32 = np.float32

cdef enum:
    FETCH_AT_MOST = 4096    # bytes; longer vectors are read in order, which the hardware foresees

cdef extern from *:
    """
    /* A chunk of less work than this is not worth handing to a thread: two gained nothing at B = 1,000, n = 10
       (115 us each), and took 0.64 of the time of one at B = 10,000. */
    #define CHUNK_NS 150e3
    #if defined(__GNUC__)
        #define FASTBFGS_PREFETCH(address) __builtin_prefetch(address)
    #else
        #define FASTBFGS_PREFETCH(address) ((void)(address))
    #endif
    """
    double CHUNK_NS
    void prefetch "FASTBFGS_PREFETCH" (const void *) noexcept nogil


cdef void part_from(
    Py_ssize_t n, const floating *new, floating *old, floating *copy, floating *difference
) noexcept nogil:
    """copy = new; difference = new - old; old = new."""
    cdef Py_ssize_t i
    for i in range(n):
        copy[i] = new[i]
        difference[i] = new[i] - old[i]
        old[i] = new[i]


@final
cdef class CPU(Backend):
    """B members on the CPU, each a record of scalars and a row of vectors (see kernels/state.pxd).

    Rows are indices of members. Nothing moves when members finish: a record is cache lines of its own. With 1,000 of
    100,000 members left, scattered, an evaluation takes 99, 326 and 818 ns at n = 2, 10, 50 (20,000 members there),
    against 97, 285 and 773 ns with 1,000 side by side; moving them once would cost more than that saves in 10 calls.

    Parameters
    ----------
    x0 : ndarray (B, n), float32 or float64
        Starts, within the bounds; copied.
    options : Options
    h0 : ndarray (n,) or (B, n) of x0's dtype, C-contiguous, or None
        Diagonal of the initial inverse Hessian; for BFGS the whole of it, (n, n) or (B, n, n).
    box : ndarray (2, n) or (B, 2, n) of x0's dtype, C-contiguous, or None
        Lower and upper bounds.
    workers : int
        Threads to use at most.
    """

    def __init__(self, x0, options, h0, box, int workers):
        cdef Py_ssize_t b
        rules = &self.rules
        self.B, rules.n = x0.shape
        rules.method = BFGS if options.method == "BFGS" else LBFGS
        rules.m = options.history if rules.method == LBFGS else 0
        rules.scale_h0 = options.scaling(h0 is not None)
        rules.single = x0.dtype == np.float32 or options.pairs == "float32"
        rules.large = rules.method == LBFGS and box is None and (
            rules.n >= LARGE or (options.pairs is not None and x0.dtype == np.float64))
        rules.narrow = together(rules)
        rules.tables = box is not None
        rules.c1 = options.c1
        rules.c2 = options.c2
        rules.gtol = options.gtol
        rules.ftol = options.ftol
        rules.frtol = options.frtol
        rules.fatol = options.fatol
        rules.xtol = options.xtol
        rules.xrtol = options.xrtol
        rules.norm = options.norm
        rules.eps = np.finfo(x0.dtype).eps
        rules.maxiter = options.maxiter
        rules.maxfun = options.maxfun
        rules.maxls = options.maxls
        self.workers = workers
        self.typenum = x0.dtype.num

        behind = behind_record(rules) if rules.large else rules.m
        if rules.tables:
            behind += 2 * rules.m * rules.m
        self.record_size = sizeof(Member) + behind * sizeof(double)
        self.records = np.zeros((self.B, self.record_size), np.uint8)
        self.record = cnp.PyArray_BYTES(self.records)
        each = 4 + 2 * rules.m if rules.method == LBFGS else 5 + rules.n
        if rules.large:
            each = 4 + rules.m + 1 if self._rounds() else 3 + 2 * (rules.m + 1)
        self.vectors = np.empty((self.B, each * rules.n), x0.dtype)
        self.vector = cnp.PyArray_BYTES(self.vectors)
        self.vector_size = self.vectors.shape[1] * x0.dtype.itemsize
        self.h0 = h0
        self.h0_data = NULL if h0 is None else cnp.PyArray_BYTES(h0)
        each = 1 if rules.method == LBFGS else 2
        self.h0_size = 0 if h0 is None or h0.ndim == each else rules.n ** each * x0.dtype.itemsize
        self.box = box
        self.box_data = NULL if box is None else cnp.PyArray_BYTES(box)
        self.box_size = 2 * rules.n * x0.dtype.itemsize if box is not None and box.ndim == 3 else 0
        self.work_size = work_size(rules, x0.dtype.itemsize)
        self.works = [np.empty(self.work_size, np.uint8)]
        self.crew = Crew(workers) if rules.large and workers > 1 and rules.n >= SHARED else None
        self.work = self._lent(cnp.PyArray_BYTES(self.works[0]), 1)

        for b in range(self.B):
            self._member(b).f = NAN
            self._member(b).alpha = NAN
            self._member(b).f_best = self._member(b).g_best = INFINITY
            self._member(b).status = RUNNING
            self._member(b).bounded = self._bounded(b)
        self.vectors[:, :rules.n] = x0
        self.vectors[:, rules.n:2 * rules.n] = np.nan

    cdef int _bounded(self, Py_ssize_t b) noexcept:
        """How member b is bounded: not at all, somewhere, or BOXED."""
        cdef:
            const char *box = self.box_data + b * self.box_size
            Py_ssize_t n = self.rules.n, i, finite = 0
        if box == NULL:
            return False
        for i in range(2 * n):
            finite += isfinite((<double *>box)[i] if self.typenum == cnp.NPY_DOUBLE else (<float *>box)[i])
        return BOXED if finite == 2 * n else finite > 0

    def _members(self):
        """The records' fixed part as a structured array, a view."""
        return np.ndarray((self.B,), RECORD, self.records, strides=(self.record_size,))

    cdef Member *_member(self, Py_ssize_t b) noexcept nogil:
        return <Member *>(self.record + b * self.record_size)

    cdef char *_h0(self, Py_ssize_t b) noexcept nogil:
        """That of member b, or NULL."""
        return NULL if self.h0_data == NULL else self.h0_data + b * self.h0_size

    cdef Work _lent(self, char *room, Py_ssize_t members) noexcept:
        """The scratch in `room`; with the crew, if `members` side by side leave threads free."""
        cdef Work work = work_in(&self.rules, room)
        if self._shares(members):
            work.team = (<Crew>self.crew).team()
        return work

    cdef bint _shares(self, Py_ssize_t members) noexcept:
        """Do the threads share the coordinates of each of these members, and not the members?"""
        return self.crew is not None and members < self.workers

    cpdef points(self, rows):
        """Return the points that `rows` (k,) ask about, or rest at: (k, n), the caller's to keep."""
        cdef Py_ssize_t count = cnp.PyArray_SIZE(rows)
        x = np.empty((count, self.rules.n), self.vectors.dtype)
        self._split(self._points_chunk, (rows, x), count, 10.0 + self.rules.n)
        return x

    def _points_chunk(self, cnp.ndarray rows, cnp.ndarray x, Py_ssize_t first, Py_ssize_t last):
        cdef:
            const Py_ssize_t *row = <const Py_ssize_t *>cnp.PyArray_DATA(rows)
            char *out = cnp.PyArray_BYTES(x)
            Py_ssize_t k
            Work work = self.work
        if not self._shares(cnp.PyArray_SIZE(rows)):
            work.team.run = NULL
        with nogil:
            for k in range(first, last):
                self._point(row[k], out, k, &work)

    cdef void _point(self, Py_ssize_t b, char *x, Py_ssize_t k, const Work *work) noexcept nogil:
        """Row k of x = the point that member b asks about."""
        v = self.vector + b * self.vector_size
        box = self.box_data + b * self.box_size
        if self.typenum == cnp.NPY_DOUBLE:
            point(&self.rules, self._member(b), <double *>v, <double *>box, <double *>x + k * self.rules.n, work)
        else:
            point(&self.rules, self._member(b), <float *>v, <float *>box, <float *>x + k * self.rules.n, work)

    cpdef bint tell(self, rows, f, g) except -1:
        """Take f (k,) and g (k, n) for `rows` (k,); False, and nothing done, if they are not native arrays."""
        cdef:
            Py_ssize_t count = cnp.PyArray_SIZE(rows)
            double ns = 100.0 + (6.0 + 0.7 * self.rules.m) * self.rules.n
        if self.rules.method == BFGS:
            ns += <double>self.rules.n * self.rules.n       # of H: 1 ns a number in the cache, 3 beyond
        if not (self._native(g, self.typenum, 2, count) and cnp.PyArray_DIM(g, 1) == self.rules.n
                and self._native(f, cnp.NPY_DOUBLE, 1, count)):
            return False
        results = self._split(self._tell_chunk, (rows, f, g), count, ns)
        self.accepted = sum([accepted for accepted, _ in results])
        self.finished = sum([finished for _, finished in results])
        return True

    def _tell_chunk(
        self, cnp.ndarray rows, cnp.ndarray f, cnp.ndarray g, Py_ssize_t first, Py_ssize_t last
    ):
        cdef:
            const Py_ssize_t *row = <const Py_ssize_t *>cnp.PyArray_DATA(rows)
            const double *value = <const double *>cnp.PyArray_DATA(f)
            const char *gradient = cnp.PyArray_BYTES(g)
            Py_ssize_t size = self.rules.n * cnp.PyArray_ITEMSIZE(g), k, accepted = 0, finished = 0
            Member *member
            int64_t nit
            Work work
            Tile tile
        try:
            room = self.works.pop()
        except IndexError:                                  # as many threads have theirs as there were
            room = np.empty(self.work_size, np.uint8)
        work = self._lent(cnp.PyArray_BYTES(room), cnp.PyArray_SIZE(rows))
        with nogil:
            tile.count = 0
            for k in range(first, last):
                if k + 1 < last:
                    self._fetch(row[k + 1])
                member = self._member(row[k])
                if member.status >= 0:
                    continue
                nit = member.nit
                if self._advance(row[k], &work, value[k], gradient + k * size):
                    if fits(&self.rules, member):
                        self._join(row[k], &tile)
                        if tile.count == TILE:
                            finished += self._set_off_together(&tile, &work)
                    else:
                        self._set_off(row[k], &work)
                accepted += member.nit > nit
                finished += member.status >= 0
            finished += self._set_off_together(&tile, &work)
        self.works.append(room)
        return accepted, finished

    cdef void _fetch(self, Py_ssize_t b) noexcept nogil:
        """Ask the caches for member b's memory: 550 to 400 ns an evaluation at B = 10,000, n = 10, m = 10."""
        cdef:
            char *record = self.record + b * self.record_size
            char *v = self.vector + b * self.vector_size
            Py_ssize_t i
        for i in range(<Py_ssize_t>(sizeof(Member) + self.rules.m * sizeof(double)) // CACHE_LINE + 1):
            prefetch(record + i * CACHE_LINE)
        for i in range(min(self.vector_size, FETCH_AT_MOST) // CACHE_LINE + 1):
            prefetch(v + i * CACHE_LINE)

    cdef bint _advance(self, Py_ssize_t b, const Work *work, double f, const char *g) noexcept nogil:
        """Tell member b f and g; has it to set off then?"""
        v = self.vector + b * self.vector_size
        h0 = self._h0(b)
        box = self.box_data + b * self.box_size
        if self.typenum == cnp.NPY_DOUBLE:
            return advance(
                &self.rules, self._member(b), <double *>v, <double *>h0, <double *>box, work, f, <const double *>g)
        return advance(
            &self.rules, self._member(b), <float *>v, <float *>h0, <float *>box, work, f, <const float *>g)

    cdef void _set_off(self, Py_ssize_t b, const Work *work) noexcept nogil:
        v = self.vector + b * self.vector_size
        h0 = self._h0(b)
        box = self.box_data + b * self.box_size
        if self.typenum == cnp.NPY_DOUBLE:
            set_off(&self.rules, self._member(b), <double *>v, <double *>h0, <double *>box, work)
        else:
            set_off(&self.rules, self._member(b), <float *>v, <float *>h0, <float *>box, work)

    cdef void _join(self, Py_ssize_t b, Tile *tile) noexcept nogil:
        """Let member b wait for its direction in the tile."""
        tile.member[tile.count] = self._member(b)
        tile.v[tile.count] = self.vector + b * self.vector_size
        tile.h0[tile.count] = self._h0(b)
        tile.count += 1

    cdef Py_ssize_t _set_off_together(self, Tile *tile, const Work *work) noexcept nogil:
        """Let all members of the tile set off, and leave it; return how many of them stop instead."""
        cdef Py_ssize_t finished = 0, lane
        if self.typenum == cnp.NPY_DOUBLE:
            set_off_together(
                &self.rules, tile.count, tile.member, <double **>tile.v, <const double **>tile.h0, work)
        else:
            set_off_together(&self.rules, tile.count, tile.member, <float **>tile.v, <const float **>tile.h0, work)
        for lane in range(tile.count):
            finished += tile.member[lane].status >= 0
        tile.count = 0
        return finished

    cpdef point_one(self):
        """Return the point that the only member asks about: (n,), the caller's to keep.

        The array of the last time serves again if nobody else holds it, or a view of it: 80 of 560 ns an evaluation.
        """
        cdef cnp.npy_intp n = self.rules.n
        if not ((<PyObject *>self.last_point).ob_refcnt == 1 and self._native(self.last_point, self.typenum, 1, n)
                and cnp.PyArray_ISWRITEABLE(self.last_point)):
            self.last_point = cnp.PyArray_SimpleNew(1, &n, self.typenum)
        self._point(0, cnp.PyArray_BYTES(self.last_point), 0, &self.work)
        return self.last_point

    cpdef bint tell_one(self, f, g) except -1:
        """Take the number f and g (n,) for the only member; False, and nothing done, if they are not such."""
        cdef:
            Member *member = self._member(0)
            int64_t nit = member.nit
        if not (type(f) is float or type(f) is np_float64 or type(f) is np_float32):
            return False
        if not self._native(g, self.typenum, 1, self.rules.n):
            return False
        self.accepted = self.finished = 0
        if member.status < 0:
            if self._advance(0, &self.work, f, cnp.PyArray_BYTES(g)):
                self._set_off(0, &self.work)
            self.accepted = member.nit > nit
            self.finished = member.status >= 0
        return True

    cdef bint _native(self, array, int typenum, int ndim, Py_ssize_t length) noexcept:
        """Is it a plain C-contiguous array of this kind?"""
        return (
            type(array) is cnp.ndarray and cnp.PyArray_TYPE(array) == typenum
            and cnp.PyArray_NDIM(array) == ndim and cnp.PyArray_DIM(array, 0) == length
            and cnp.PyArray_ISCARRAY_RO(array)
        )

    cdef _split(self, task, arrays, Py_ssize_t count, double ns):
        """Run ``task(*arrays, first, last)`` over range(count), in threads if that pays at `ns` for each."""
        cdef Py_ssize_t parts = min(self.workers, count, <Py_ssize_t>(count * ns / CHUNK_NS))
        if parts <= 1 or self._shares(count):
            return [task(*arrays, 0, count)]
        return threads.run(lambda first, last: task(*arrays, first, last), count, parts)

    cpdef Py_ssize_t movers(self) except -1:
        """Return how many members took a step in the last `tell`."""
        return self.accepted

    cpdef bint runs(self, Py_ssize_t b):
        """Return whether member b has not finished."""
        return self._member(b).status < 0

    def running(self, rows):
        """Return those of `rows` that have not finished."""
        return rows[self._members()["status"][rows] < 0]

    def statuses(self):
        """Return a copy of the status of every member (B,)."""
        return self._members()["status"].copy()

    def stop(self, status):
        """End every running member with `status`."""
        running = self._members()["status"]
        running[running < 0] = status

    def count_from(self, nfev):
        """Let members count their evaluations from `nfev` on, (B,) or one number."""
        self._members()["nfev"] = nfev

    def snapshot(self):
        """Return copies of x (B, n), f (B,) float64, g (B, n), nit, nfev, status (B,): the accepted iterates."""
        n = self.rules.n
        members = self._members()
        return (
            self.vectors[:, :n].copy(), members["f"].copy(), self.vectors[:, n:2 * n].copy(),
            members["nit"].copy(), members["nfev"].copy(), members["status"].copy(),
        )

    def snapshot_one(self):
        """Return x (n,), f, g (n,), nit, nfev, status of the only member: copies, and Python numbers."""
        cdef:
            Member *member = self._member(0)
            cnp.npy_intp n = self.rules.n
            Py_ssize_t size = n * cnp.PyArray_ITEMSIZE(self.vectors)
        x = cnp.PyArray_SimpleNew(1, &n, self.typenum)
        g = cnp.PyArray_SimpleNew(1, &n, self.typenum)
        memcpy(cnp.PyArray_BYTES(x), self.vector, size)
        memcpy(cnp.PyArray_BYTES(g), self.vector + size, size)
        return x, member.f, g, member.nit, member.nfev, member.status

    def unseen(self):
        """Return rows, nit and xg as `steps` takes them, for who has seen no iterate of any member."""
        xg = np.full((self.B, 2 * self.rules.n), np.nan, self.dtype)
        return np.arange(self.B), np.full(self.B, -1, np.int64), xg

    cpdef steps(self, cnp.ndarray rows, cnp.ndarray nit, cnp.ndarray xg):
        """Return rows, nit, x, f, g, alpha, s, y of those of `rows` that have moved, copies; None if there are none.

        `nit` (B,) int64 and `xg` (B, 2 n) of the vectors' dtype say where all were, and then where they are. A member
        that waits for its first f and g is nowhere yet.
        """
        cdef:
            Py_ssize_t n = self.rules.n, size = n * cnp.PyArray_ITEMSIZE(self.vectors), k, j = 0
            const Py_ssize_t *row = <const Py_ssize_t *>cnp.PyArray_DATA(rows)
            int64_t *known = <int64_t *>cnp.PyArray_DATA(nit)
            cnp.npy_intp[2] shape = [0, n]
            Member *member
        for k in range(cnp.PyArray_SIZE(rows)):
            shape[0] += self._past(row[k], known)
        if shape[0] == 0:
            return None
        moved = cnp.PyArray_SimpleNew(1, shape, cnp.NPY_INTP)
        now = cnp.PyArray_SimpleNew(1, shape, cnp.NPY_INT64)
        x = cnp.PyArray_SimpleNew(2, shape, self.typenum)
        f = cnp.PyArray_SimpleNew(1, shape, cnp.NPY_DOUBLE)
        g = cnp.PyArray_SimpleNew(2, shape, self.typenum)
        alpha = cnp.PyArray_SimpleNew(1, shape, cnp.NPY_DOUBLE)
        s = cnp.PyArray_SimpleNew(2, shape, self.typenum)
        y = cnp.PyArray_SimpleNew(2, shape, self.typenum)
        for k in range(cnp.PyArray_SIZE(rows)):
            if not self._past(row[k], known):
                continue
            member = self._member(row[k])
            v = self.vector + row[k] * self.vector_size
            old = cnp.PyArray_BYTES(xg) + row[k] * 2 * size
            (<Py_ssize_t *>cnp.PyArray_DATA(moved))[j] = row[k]
            (<int64_t *>cnp.PyArray_DATA(now))[j] = known[row[k]] = member.nit
            (<double *>cnp.PyArray_DATA(f))[j] = member.f
            (<double *>cnp.PyArray_DATA(alpha))[j] = member.alpha
            self._step(v, old, cnp.PyArray_BYTES(x) + j * size, cnp.PyArray_BYTES(s) + j * size)
            self._step(v + size, old + size, cnp.PyArray_BYTES(g) + j * size, cnp.PyArray_BYTES(y) + j * size)
            j += 1
        return moved, now, x, f, g, alpha, s, y

    cdef inline bint _past(self, Py_ssize_t b, const int64_t *known) noexcept nogil:
        """Whether member b has an iterate that is later than `known` of it."""
        member = self._member(b)
        return member.started and member.nit > known[b]

    cdef void _step(self, const char *new, char *old, char *copy, char *difference) noexcept nogil:
        """copy = new; difference = new - old; old = new; each (n) of the vectors' dtype."""
        if self.typenum == cnp.NPY_DOUBLE:
            part_from(self.rules.n, <const double *>new, <double *>old, <double *>copy, <double *>difference)
        else:
            part_from(self.rules.n, <const float *>new, <float *>old, <float *>copy, <float *>difference)

    @property
    def dtype(self):
        """Of x and g."""
        return self.vectors.dtype

    def state(self):
        """Return the arrays that hold everything, by name; h0 and box only if there are such."""
        arrays = {"records": self.records, "vectors": self.vectors, "h0": self.h0, "box": self.box}
        return {name: array for name, array in arrays.items() if array is not None}

    def restore(self, records, vectors):
        """Go on from the arrays of an earlier `state`; False, and nothing done, if they cannot be of such members."""
        held, bounded = (self.records, self.vectors), self._members()["bounded"]
        if not sound((records, vectors), held, bounded, self.rules.m, self.rules.m + self.rules.large):
            return False
        self.records[...] = records
        self.vectors[...] = vectors
        return True

    def _ring(self):
        """The slots of all members, (B, slots, 2, n), a view; of each the s, or p, and the y."""
        n = self.rules.n
        shape = (self.B, self.rules.m + self.rules.large, 2, n)
        if self._rounds():
            return self.vectors[:, 4 * n:].view(np_float32).reshape(shape)
        return self.vectors[:, (3 if self.rules.large else 4) * n:].reshape(shape)

    cdef bint _rounds(self) noexcept:
        """Are the pairs float32, and all else float64?"""
        return self.rules.single and self.typenum == cnp.NPY_DOUBLE

    def pairs(self, Py_ssize_t b):
        """Return copies of member b's s and y, (count, n) each, oldest first."""
        cdef Py_ssize_t count = self._member(b).count, head = self._member(b).head, k
        ring = self._ring()[b]
        pairs = ring[[(head - count + k) % len(ring) for k in range(count)]].astype(self.dtype, copy=False)
        return pairs[:, 0].copy(), pairs[:, 1].copy()

    def memories(self):
        """Return copies of the s and y of all members, (m, B, n) each: the newest last, zeros where there is none."""
        cdef cnp.npy_intp[3] shape = [self.rules.m, self.B, self.rules.n]
        s = cnp.PyArray_ZEROS(3, shape, self.typenum, 0)
        y = cnp.PyArray_ZEROS(3, shape, self.typenum, 0)
        for b in range(self.B):
            count = self._member(b).count
            if count > 0:
                s[shape[0] - count:, b], y[shape[0] - count:, b] = self.pairs(b)
        return s, y

    def searches(self):
        """Return copies of the records' fixed part (B, bytes), and of x | g | p | g_lo (B, 4 n)."""
        cdef Py_ssize_t n = self.rules.n
        vectors = self.vectors[:, :4 * n].copy()
        if self.rules.large:
            vectors[:, 2 * n:3 * n] = (
                self.vectors[:, 3 * n:4 * n] if self._rounds()
                else self._ring()[np.arange(self.B), self._members()["head"], 0]
            )
            vectors[:, 3 * n:] = self.vectors[:, 2 * n:3 * n]
        return self.records[:, :sizeof(Member)].copy(), vectors

    def take_up(self, g, f, nit, nfev, status, s, y, searches):
        """Put the members where others stood: at x0 with f (B,), g (B, n) and the pairs s, y (m, B, n) of L-BFGS,
        all of x0's dtype.

        Those whose `status` (B,) is negative run on: with the search that was under way, if `searches` is of this x, f
        and g, bit for bit; else with a new one.
        """
        cdef Py_ssize_t b, n = self.rules.n
        members = self._members()
        ours = np.zeros(self.B, bool)
        self.vectors[:, n:2 * n] = g
        if searches is not None:
            records, vectors = searches
            bits = f"u{self.vectors.itemsize}"
            ours = (self.vectors.view(bits)[:, :2 * n] == vectors.view(bits)[:, :2 * n]).all(axis=1)
            ours &= records.view(RECORD)["f"][:, 0].astype(f.dtype).view(bits) == f.view(bits)
            self.records[ours, :sizeof(Member)] = records[ours]
        members["started"][~ours] = True
        members["f"][~ours], members["nit"], members["nfev"] = f[~ours], nit, nfev
        members["status"][status >= 0] = status[status >= 0]
        s, y = (np.ascontiguousarray(memory.swapaxes(0, 1)) for memory in (s, y))
        cdef:
            const char *s_b = cnp.PyArray_BYTES(s)
            const char *y_b = cnp.PyArray_BYTES(y)
            Py_ssize_t size = self.rules.m * n * s.itemsize
        for b in range(self.B):
            if self.typenum == cnp.NPY_DOUBLE:
                self._learn(b, <double *>(s_b + b * size), <double *>(y_b + b * size))
            else:
                self._learn(b, <float *>(s_b + b * size), <float *>(y_b + b * size))
        if ours.any():
            p, g_lo = vectors[ours, 2 * n:3 * n], vectors[ours, 3 * n:]
            self.vectors[ours, 2 * n:3 * n] = g_lo if self.rules.large else p
            if self.rules.large and not self._rounds():
                self._ring()[ours, members["head"][ours], 0] = p
            else:
                self.vectors[ours, 3 * n:4 * n] = p if self.rules.large else g_lo
        for b in np.flatnonzero(status < 0):
            self._reopen(b, not ours[b])

    cdef void _learn(self, Py_ssize_t b, const floating *s, const floating *y) noexcept nogil:
        """Give member b the pairs (m, n), oldest first, in place of what it has."""
        cdef:
            Member *member = self._member(b)
            floating *v = <floating *>(self.vector + b * self.vector_size)
            Py_ssize_t n = self.rules.n, j
        forget(member)
        for j in range(self.rules.m):
            enter(&self.rules, member, v, <floating *>self._h0(b), s + j * n, y + j * n, &self.work)

    cdef void _reopen(self, Py_ssize_t b, bint anew) noexcept nogil:
        v = self.vector + b * self.vector_size
        h0 = self._h0(b)
        box = self.box_data + b * self.box_size
        if self.typenum == cnp.NPY_DOUBLE:
            reopen(&self.rules, self._member(b), <double *>v, <double *>h0, <double *>box, &self.work, anew)
        else:
            reopen(&self.rules, self._member(b), <float *>v, <float *>h0, <float *>box, &self.work, anew)

    def inverse_hessians(self):
        """Return copies of BFGS's H, (B, n, n): H0 where no pair has been learnt."""
        n = self.rules.n
        H = self.vectors[:, 5 * n:].reshape(self.B, n, n).copy()
        if self.B == 1 and self._member(0).count > 0:
            return H                                        # 8 us less for one problem
        new = self._members()["count"] == 0
        H[new] = np.eye(n) if self.h0 is None else self.h0 if self.h0.ndim == 2 else self.h0[new]
        return H
