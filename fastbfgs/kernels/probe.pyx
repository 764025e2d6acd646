"""The kernels one at a time, seen from Python: what the tests hold against their oracles. Nothing else uses it."""
import numpy as np

from cython cimport floating
from libc.stdlib cimport calloc, free

from fastbfgs.kernels.lbfgs cimport direction as _direction, push
from fastbfgs.kernels.state cimport Member, Rules, Search
from fastbfgs.kernels.vectors cimport dot as _dot, norm as _norm, max_abs
from fastbfgs.kernels.wolfe cimport ACCEPT, GIVE_UP, TAKE_LO, TRIAL, search_begin, search_step

VERDICTS = {TRIAL: "TRIAL", ACCEPT: "ACCEPT", TAKE_LO: "TAKE_LO", GIVE_UP: "GIVE_UP"}


cdef class LineSearch:
    """wolfe.pxd: `alpha` is the trial to evaluate next, `lo` the best step so far."""

    cdef Rules rules
    cdef Search search

    def __init__(self, double phi0, double dphi0, double alpha, *, c1, c2, maxls, eps):
        self.rules.c1 = c1
        self.rules.c2 = c2
        self.rules.maxls = maxls
        self.rules.eps = eps
        search_begin(&self.search, phi0, dphi0, alpha)

    def step(self, double phi, double dphi):
        """Take phi and dphi at `alpha`; return the verdict's name."""
        return VERDICTS[search_step(&self.rules, &self.search, phi, dphi)]

    @property
    def alpha(self):
        return self.search.alpha

    @property
    def lo(self):
        return self.search.lo


def direction(const floating[::1] g, const floating[:, ::1] s, const floating[:, ::1] y, Py_ssize_t m, h0=None):
    """lbfgs.pxd: push the pairs (k, n), oldest first, into a ring of m slots; return p, p.g and the pairs kept."""
    cdef:
        Rules rules
        Py_ssize_t k, n = g.shape[0]
        floating[::1] diagonal
        floating[::1] v
        Member *member
    rules.n = n
    rules.m = m
    dtype = np.float32 if floating is float else np.float64
    rules.eps = np.finfo(dtype).eps
    vectors = np.zeros((4 + 2 * m) * n, dtype)
    v = vectors
    vectors[n:2 * n] = g
    if h0 is not None:
        diagonal = h0
    member = <Member *>calloc(1, sizeof(Member) + 2 * m * sizeof(double))
    try:
        for k in range(s.shape[0]):
            push(&rules, member, &v[0], &s[k, 0], &y[k, 0])
        slope = _direction(&rules, member, &v[0], NULL if h0 is None else &diagonal[0])
        return vectors[2 * n:3 * n].copy(), slope, member.count
    finally:
        free(member)


def dot(const floating[::1] a, const floating[::1] b):
    """vectors.pxd: a . b"""
    return _dot(a.shape[0], &a[0], &b[0])


def norm(const floating[::1] a):
    """vectors.pxd: ||a||_2"""
    return _norm(a.shape[0], &a[0], max_abs(a.shape[0], &a[0]))
