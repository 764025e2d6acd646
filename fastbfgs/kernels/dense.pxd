# Small dense matrices, row after row with `stride` numbers to a row: the Cholesky factor and its solves.
#
# A positive definite matrix is held as its upper triangle, and factored in place as U'U. The diagonal then holds
# 1 / u_jj, so that nothing divides afterwards. Inner loops run along rows, whole rows at a time where that is possible:
# the compiler may use vector registers without reordering any sum.

from libc.math cimport isfinite, sqrt


cdef inline bint cholesky(Py_ssize_t k, Py_ssize_t stride, double *a) noexcept nogil:
    """a = U'U; False, and a spoilt, if it is not positive definite."""
    cdef:
        Py_ssize_t i, j, r
        double c
        double *u
        double *row
    for j in range(k):
        u = a + j * stride
        if not (u[j] > 0.0 and isfinite(u[j])):
            return False
        c = 1.0 / sqrt(u[j])
        u[j] = c
        for r in range(j + 1, k):
            u[r] *= c
        for i in range(j + 1, k):
            row = a + i * stride
            c = u[i]
            for r in range(i, k):
                row[r] -= c * u[r]
    return True


cdef inline void solve_lower(Py_ssize_t k, Py_ssize_t stride, const double *u, double *b) noexcept nogil:
    """b = U^-T b"""
    cdef:
        Py_ssize_t i, j
        double c
    for j in range(k):
        c = b[j] * u[j * stride + j]
        b[j] = c
        for i in range(j + 1, k):
            b[i] -= c * u[j * stride + i]


cdef inline void solve_upper(Py_ssize_t k, Py_ssize_t stride, const double *u, double *b) noexcept nogil:
    """b = U^-1 b"""
    cdef:
        Py_ssize_t i, j
        double total
    for j in range(k - 1, -1, -1):
        total = b[j]
        for i in range(j + 1, k):
            total -= u[j * stride + i] * b[i]
        b[j] = total * u[j * stride + j]


cdef inline void solve_lower_rows(Py_ssize_t k, Py_ssize_t stride, const double *u, double *b) noexcept nogil:
    """b = U^-T b, of a matrix b."""
    cdef:
        Py_ssize_t i, j, r
        double c
    for j in range(k):
        c = u[j * stride + j]
        for r in range(k):
            b[j * stride + r] *= c
        for i in range(j + 1, k):
            c = u[j * stride + i]
            for r in range(k):
                b[i * stride + r] -= c * b[j * stride + r]
