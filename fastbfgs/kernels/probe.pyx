"""The kernels one at a time, seen from Python: what the tests hold against their oracles. Nothing else uses it."""
import numpy as np

cimport numpy as cnp
from cython cimport floating
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from fastbfgs.kernels.bfgs cimport bfgs_direction, bfgs_push
from fastbfgs.kernels.box cimport (
    box_direction, cauchy, columns_of, dual, longest_step, subspace,
)
from fastbfgs.kernels.compact cimport Compact, compact
from fastbfgs.kernels.lbfgs cimport direction as lbfgs_direction, push
from fastbfgs.kernels.state cimport BFGS, LBFGS, Member, Rules, Search, Work
from fastbfgs.kernels.tile cimport TILE, directions as tile_directions, tile_size
from fastbfgs.kernels.vectors cimport dot as _dot, norm as _norm, max_abs
from fastbfgs.kernels.wolfe cimport ACCEPT, GIVE_UP, TAKE_LO, TRIAL, search_begin, search_step
from fastbfgs.kernels.work cimport CACHE_LINE, aligned, work_in, work_size

cnp.import_array()

VERDICTS = {TRIAL: "TRIAL", ACCEPT: "ACCEPT", TAKE_LO: "TAKE_LO", GIVE_UP: "GIVE_UP"}


cdef class LineSearch:
    """wolfe.pxd: `alpha` is the trial to evaluate next, `lo` the best step so far."""

    cdef Rules rules
    cdef Search search

    def __init__(self, double phi0, double dphi0, double alpha, *, c1, c2, maxls, eps, largest=np.inf):
        self.rules.c1 = c1
        self.rules.c2 = c2
        self.rules.maxls = maxls
        self.rules.eps = eps
        search_begin(&self.search, phi0, dphi0, alpha)
        self.search.largest = largest

    def step(self, double phi, double dphi):
        """Take phi and dphi at `alpha`; return the verdict's name."""
        return VERDICTS[search_step(&self.rules, &self.search, phi, dphi)]

    @property
    def alpha(self):
        return self.search.alpha

    @property
    def lo(self):
        return self.search.lo


cdef class Learnt:
    """One member at x, where the gradient is g, that has learnt the pairs (k, n), oldest first.

    `box` (2, n) and `h0` as in `fastbfgs.cpu.CPU`; method "L-BFGS" or "BFGS", of which H `grows` or not.
    """

    cdef:
        Rules rules
        Work work
        Member *member
        readonly object vectors
        object h0, box, room

    def __cinit__(self):
        self.member = NULL

    def __init__(self, x, g, s, y, Py_ssize_t m=10, h0=None, box=None, method="L-BFGS", grows=False):
        dtype = g.dtype
        n = len(g)
        rules = &self.rules
        rules.n = n
        rules.m = m
        rules.method = BFGS if method == "BFGS" else LBFGS
        rules.scale_h0 = 0 if h0 is not None else 2 if grows else 1
        rules.tables = box is not None
        rules.eps = np.finfo(dtype).eps
        self.h0, self.box = h0, box
        self.vectors = np.zeros((4 + 2 * m) * n if method == "L-BFGS" else (5 + n) * n, dtype)
        self.vectors[:n] = x
        self.vectors[n:2 * n] = g
        self.room = np.empty(work_size(rules, dtype.itemsize), np.uint8)
        self.work = work_in(rules, cnp.PyArray_BYTES(self.room))
        self.member = <Member *>calloc(1, sizeof(Member) + (m + 2 * m * m) * sizeof(double))
        self.member.bounded = box is not None
        for s_k, y_k in zip(s, y, strict=True):
            self.learn(s_k, y_k)

    def __dealloc__(self):
        free(self.member)

    def learn(self, s, y):
        """Take the pair, if its curvature can be trusted."""
        n = self.rules.n
        v = self.vectors
        v[2 * n:3 * n] = s
        v[3 * n:4 * n] = y
        if v.dtype == np.float64:
            self._learn(<double *>cnp.PyArray_DATA(v), <double *>data(self.h0))
        else:
            self._learn(<float *>cnp.PyArray_DATA(v), <float *>data(self.h0))

    cdef _learn(self, floating *v, floating *h0):
        cdef Py_ssize_t n = self.rules.n
        if self.rules.method == BFGS:
            bfgs_push(&self.rules, self.member, v, h0, v + 2 * n, v + 3 * n)
        elif push(&self.rules, self.member, v, v + 2 * n, v + 3 * n) and self.member.fresh < self.member.count:
            self.member.fresh += 1

    @property
    def count(self):
        """Pairs remembered; for BFGS learnt."""
        return self.member.count

    @property
    def columns_at_most(self):
        """How many resting coordinates that have moved in some pair the dual method takes."""
        return columns_of(self.rules.n)

    def direction(self, way=""):
        """Return p and p.g; within bounds `way` may ask for one of the ways alone: "cauchy", "subspace" or "dual"."""
        v = self.vectors
        n = self.rules.n
        if v.dtype == np.float64:
            slope = self._direction(
                <double *>cnp.PyArray_DATA(v), <double *>data(self.h0), <double *>data(self.box), way)
        else:
            slope = self._direction(
                <float *>cnp.PyArray_DATA(v), <float *>data(self.h0), <float *>data(self.box), way)
        return v[2 * n:3 * n].copy(), slope

    cdef double _direction(self, floating *v, floating *h0, floating *box, str way) except? -1.0:
        cdef:
            Compact B
            Py_ssize_t n = self.rules.n, i, resting = 0
            Member *member = self.member
        if way == "dual":
            for i in range(n):
                if (v[i] <= box[i] and v[n + i] >= 0.0) or (v[i] >= box[n + i] and v[n + i] <= 0.0):
                    self.work.order[resting] = i
                    resting += 1
            return 0.0 if dual(&self.rules, member, v, &self.work, resting) else np.nan
        if way:
            if not compact(&self.rules, member, v, self.work.small, &B):
                return np.nan
            cauchy(&self.rules, member, v, box, &self.work, &B)
            return 0.0 if way == "cauchy" else subspace(&self.rules, member, v, box, &self.work, &B)
        if self.rules.method == BFGS:
            return bfgs_direction(&self.rules, member, v, h0)
        if member.bounded:
            return box_direction(&self.rules, member, v, box, &self.work)
        return lbfgs_direction(&self.rules, member, v, h0, &self.work)

    @property
    def rests(self):
        """Which coordinates rest at the generalised Cauchy point found last (n,)."""
        return np.array([self.work.t[i] < 0.0 for i in range(self.rules.n)])

    @property
    def longest_step(self):
        """The longest step along p within the bounds."""
        cdef Py_ssize_t n = self.rules.n
        if self.vectors.dtype == np.float64:
            return longest_step(n, <double *>data(self.vectors), <double *>data(self.vectors) + 2 * n,
                                <double *>data(self.box))
        return longest_step(n, <float *>data(self.vectors), <float *>data(self.vectors) + 2 * n,
                            <float *>data(self.box))


cdef void *data(array):
    return NULL if array is None else cnp.PyArray_DATA(array)


def direction(g, s, y, Py_ssize_t m, h0=None):
    """lbfgs.pxd: push the pairs (k, n), oldest first, into a ring of m slots; return p, p.g and the pairs kept."""
    member = Learnt(np.zeros_like(g), g, s, y, m, h0)
    return *member.direction(), member.count


def directions(list members):
    """tile.pxd: p and p.g of up to TILE members, all of one n, m and dtype, without bounds, with pairs."""
    if members[0].vectors.dtype == np.float64:
        return _directions[double](members, NULL)
    return _directions[float](members, NULL)


cdef _directions(list members, floating *kind):
    cdef:
        Learnt each
        Rules rules = (<Learnt>members[0]).rules
        Member *member[TILE]
        floating *v[TILE]
        const floating *h0[TILE]
        double slope[TILE]
        Py_ssize_t lane
    rules.narrow = True
    room = np.empty(CACHE_LINE + 8 * tile_size(&rules), np.uint8)
    for lane, each in enumerate(members):
        member[lane] = each.member
        v[lane] = <floating *>cnp.PyArray_DATA(each.vectors)
        h0[lane] = <floating *>data(each.h0)
    tile_directions(&rules, len(members), member, v, h0, <double *>aligned(cnp.PyArray_BYTES(room)), slope)
    n = rules.n
    return [(each.vectors[2 * n:3 * n].copy(), slope[lane]) for lane, each in enumerate(members)]


def dot(const floating[::1] a, const floating[::1] b):
    """vectors.pxd: a . b"""
    return _dot(a.shape[0], &a[0], &b[0])


def norm(const floating[::1] a):
    """vectors.pxd: ||a||_2"""
    return _norm(a.shape[0], &a[0], max_abs(a.shape[0], &a[0]))


cdef api double rosenbrock(int64_t member, int64_t n, const double *x, double *g, void *user_data) noexcept nogil:
    """A compiled objective, see include/fastbfgs.h: Rosenbrock's chain."""
    return chain(n, x, g)


cdef api double rosenbrock_f32(int64_t member, int64_t n, const float *x, float *g, void *user_data) noexcept nogil:
    """The same in float32."""
    return chain(n, x, g)


cdef inline double chain(int64_t n, const floating *x, floating *g) noexcept nogil:
    cdef:
        floating t, u
        double f = 0.0
        int64_t i
    g[0] = 0.0
    for i in range(n - 1):
        t = x[i + 1] - x[i] * x[i]
        u = 1 - x[i]
        f += 100 * t * t + u * u
        g[i] -= 400 * x[i] * t + 2 * u
        g[i + 1] = 200 * t
    return f
