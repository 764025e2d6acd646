# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False
"""A compiled objective in Cython, in float32, with user data: see native_cython.py."""
from libc.stdint cimport int64_t


# `api` lets Python find it; `noexcept nogil` since it runs where there is no interpreter to raise to.
cdef api double bowl(int64_t member, int64_t n, const float *x, float *g, void *user_data) noexcept nogil:
    cdef:
        const float *centre = <const float *>user_data + member * n
        double f = 0.0
        float d
        int64_t i
    for i in range(n):
        d = x[i] - centre[i]
        g[i] = 2 * d
        f += d * d
    return f
