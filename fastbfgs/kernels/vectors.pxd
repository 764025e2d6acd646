# Sums and updates of one member's vectors.
#
# A sum runs in LANES fixed lanes: coordinate i in lane i mod LANES, the last one to three coordinates in lanes 0 and 1,
# then 2; the lanes are added up in one fixed tree. The compiler may then use vector registers of any width without
# being allowed to reorder anything, so a result has the same bits under SSE2, AVX2 and AVX-512, in a batch and alone.
# Four lanes and not eight: at n = 10, m = 10 a direction took 230 instead of 290 ns (SSE2), and no longer at n = 1000.
# The values go through `t` because the compiler cannot know that a, b and d do not overlap: 230 instead of 310 ns.
# Every sum is in float64, also over float32 vectors: what the line search sees is then limited by f itself.
# The build forbids fused multiply-add (-ffp-contract=off), for the same reason as the lanes.

from cython cimport floating
from libc.math cimport fabs, fmin, pow, sqrt, INFINITY

cdef enum:
    LANES = 4


cdef inline double dot(Py_ssize_t n, const floating *a, const floating *b) noexcept nogil:
    """a . b"""
    cdef:
        double lane[LANES]
        Py_ssize_t block, i, k
    for k in range(LANES):
        lane[k] = 0.0
    for block in range(n >> 2):
        i = block * LANES
        for k in range(LANES):
            lane[k] += <double>a[i + k] * <double>b[i + k]
    i = n & ~3
    if n & 2:
        for k in range(2):
            lane[k] += <double>a[i + k] * <double>b[i + k]
        i += 2
    if n & 1:
        lane[2] += <double>a[i] * <double>b[i]
    return (lane[0] + lane[2]) + (lane[1] + lane[3])


cdef inline void axpy(Py_ssize_t n, double c, const floating *a, floating *b) noexcept nogil:
    """b += c a"""
    cdef Py_ssize_t i
    for i in range(n):
        b[i] = <floating>(<double>b[i] + c * <double>a[i])


cdef inline double axpy_dot(
    Py_ssize_t n, double c, const floating *a, floating *b, const floating *d
) noexcept nogil:
    """b += c a, then b . d, in one pass."""
    cdef:
        double lane[LANES]
        floating t[LANES]
        Py_ssize_t block, i, k
    for k in range(LANES):
        lane[k] = 0.0
    for block in range(n >> 2):
        i = block * LANES
        for k in range(LANES):
            t[k] = <floating>(<double>b[i + k] + c * <double>a[i + k])
        for k in range(LANES):
            b[i + k] = t[k]
        for k in range(LANES):
            lane[k] += <double>t[k] * <double>d[i + k]
    i = n & ~3
    if n & 2:
        for k in range(2):
            t[k] = <floating>(<double>b[i + k] + c * <double>a[i + k])
        for k in range(2):
            b[i + k] = t[k]
        for k in range(2):
            lane[k] += <double>t[k] * <double>d[i + k]
        i += 2
    if n & 1:
        b[i] = <floating>(<double>b[i] + c * <double>a[i])
        lane[2] += <double>b[i] * <double>d[i]
    return (lane[0] + lane[2]) + (lane[1] + lane[3])


cdef inline double max_abs(Py_ssize_t n, const floating *a) noexcept nogil:
    """max |a_i|; NaN coordinates are passed over."""
    cdef:
        double largest = 0.0, size
        Py_ssize_t i
    for i in range(n):
        size = fabs(<double>a[i])
        largest = size if size > largest else largest
    return largest


cdef inline double norm(Py_ssize_t n, const floating *a, double largest) noexcept nogil:
    """||a||_2, where `largest` is max |a_i|; scaled by it only if the plain sum leaves float64's range."""
    cdef:
        double total = dot(n, a, a), scaled
        Py_ssize_t i
    if 1e-280 < total < 1e300 or largest == 0.0:
        return sqrt(total)
    total = 0.0
    for i in range(n):
        scaled = <double>a[i] / largest
        total += scaled * scaled
    return largest * sqrt(total)


cdef inline double norm_of_order(Py_ssize_t n, const floating *a, double order) noexcept nogil:
    """(sum |a_i|^order)^(1 / order); max |a_i| for infinity, min |a_i| for -infinity."""
    cdef:
        double largest = max_abs(n, a), total = 0.0, smallest = INFINITY
        Py_ssize_t i
    if order == INFINITY or n == 0:
        return largest
    if order == 2.0:
        return norm(n, a, largest)
    for i in range(n):
        smallest = fmin(smallest, fabs(<double>a[i]))
        total += pow(fabs(<double>a[i]), order)
    return smallest if order == -INFINITY else pow(total, 1.0 / order)
