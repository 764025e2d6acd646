# Which way: the limited-memory BFGS direction of one member.
#
# Follows J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed. (2006): the two-loop recursion, Algorithm 7.4,
# with H0 = gamma I, (7.20). We deviate in three places:
# - a pair enters only if its cosine s.y / (||s|| ||y||) is above the rounding unit: scale free in x and in f;
# - H0 may be a given diagonal, used as it stands at every iteration;
# - the update of one loop step and the inner product of the next share one pass over p.

from cython cimport floating
from libc.math cimport isfinite, sqrt

from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.state cimport Member, Rules, rho_of
from fastbfgs.kernels.vectors cimport axpy_dot, dot


cdef inline floating *s_of(const Rules *rules, floating *v, Py_ssize_t j) noexcept nogil:
    """s_j; y_j stands right behind it."""
    return v + (4 + 2 * j) * rules.n


cdef inline void forget(Member *member) noexcept nogil:
    """Drop all pairs: the next direction is -H0 g."""
    member.count = member.head = 0


cdef inline void push(
    const Rules *rules, Member *member, floating *v, const floating *s, const floating *y
) noexcept nogil:
    """Remember the pair (s, y) in place of the oldest one, if its curvature can be trusted."""
    cdef:
        Py_ssize_t n = rules.n, i
        double sy = dot(n, s, y), yy = dot(n, y, y), ss = dot(n, s, s)
        floating *slot = s_of(rules, v, member.head)
    if not (sy > rules.eps * sqrt(ss) * sqrt(yy) and isfinite(1.0 / sy) and isfinite(sy / yy)):
        return
    for i in range(n):
        slot[i] = s[i]
        slot[n + i] = y[i]
    rho_of(member)[member.head] = 1.0 / sy
    member.gamma = sy / yy
    member.head = member.head + 1 if member.head + 1 < rules.m else 0
    if member.count < rules.m:
        member.count += 1


cdef inline double direction(
    const Rules *rules, Member *member, floating *v, const floating *h0
) noexcept nogil:
    """p = -H g by Algorithm 7.4; return p.g."""
    cdef:
        Py_ssize_t n = rules.n, m = rules.m, i, _
        Py_ssize_t j = member.head, older, newer
        const floating *g = v + n
        floating *p = v + 2 * n
        floating *s
        double *rho = rho_of(member)
        double *a = rho + m                                 # not a step length: a_i of the book
        double product, scale
    require(0 <= member.count <= m and 0 <= member.head < m)
    for i in range(n):
        p[i] = -g[i]
    if member.count == 0:
        if h0 != NULL:
            for i in range(n):
                p[i] *= h0[i]
        return dot(n, p, g)

    j = j - 1 if j > 0 else m - 1
    s = s_of(rules, v, j)
    product = dot(n, s, p)
    for _ in range(member.count - 1):                       # newest to oldest
        a[j] = rho[j] * product
        older = j - 1 if j > 0 else m - 1
        product = axpy_dot(n, -a[j], s + n, p, s_of(rules, v, older))
        j = older
        s = s_of(rules, v, j)
    a[j] = rho[j] * product
    for i in range(n):
        scale = member.gamma if h0 == NULL else <double>h0[i]
        p[i] = <floating>((<double>p[i] - a[j] * <double>s[n + i]) * scale)
    product = dot(n, p, s + n)
    for _ in range(member.count - 1):                       # oldest to newest
        newer = j + 1 if j + 1 < m else 0
        product = axpy_dot(n, a[j] - rho[j] * product, s, p, s_of(rules, v, newer) + n)
        j = newer
        s = s_of(rules, v, j)
    return axpy_dot(n, a[j] - rho[j] * product, s, p, g)
