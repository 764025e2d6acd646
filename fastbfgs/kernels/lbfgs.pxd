# Which way: the limited-memory BFGS direction of one member.
#
# Follows J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed. (2006): the two-loop recursion, Algorithm 7.4,
# with H0 = gamma I, (7.20). We deviate in four places:
# - a pair enters only if its cosine s.y / (||s|| ||y||) is above the rounding unit: scale free in x and in f;
# - H0 may be a given diagonal, used as it stands at every iteration;
# - the update of one loop step and the inner product of the next share one pass over p;
# - it takes several vectors side by side (box.pxd needs that): one alone waits for each of its inner products in turn.

from cython cimport floating
from libc.math cimport isfinite, sqrt

from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.state cimport Member, Rules, Work, rho_of
from fastbfgs.kernels.vectors cimport axpy_dot, dot

cdef enum:
    COLUMNS = 16            # vectors side by side at most


cdef inline floating *s_of(const Rules *rules, floating *v, Py_ssize_t j) noexcept nogil:
    """s_j; y_j stands right behind it."""
    return v + (4 + 2 * j) * rules.n


cdef inline void forget(Member *member) noexcept nogil:
    """Drop all pairs: the next direction is -H0 g."""
    member.count = member.head = member.fresh = 0


cdef inline bint curvature(
    const Rules *rules, const floating *s, const floating *y, double *sy, double *yy
) noexcept nogil:
    """Can the curvature of the pair be trusted? Gives s.y and y.y."""
    cdef double ss = dot(rules.n, s, s)
    sy[0] = dot(rules.n, s, y)
    yy[0] = dot(rules.n, y, y)
    return trusted(rules.eps, ss, sy[0], yy[0])


cdef inline bint trusted(double eps, double ss, double sy, double yy) noexcept nogil:
    return sy > eps * sqrt(ss) * sqrt(yy) and isfinite(1.0 / sy) and isfinite(sy / yy)


cdef inline bint push(
    const Rules *rules, Member *member, floating *v, const floating *s, const floating *y
) noexcept nogil:
    """Remember the pair (s, y) in place of the oldest one, if its curvature can be trusted; was it?"""
    cdef:
        Py_ssize_t n = rules.n, i
        double sy, yy
        floating *slot = s_of(rules, v, member.head)
    if not curvature(rules, s, y, &sy, &yy):
        return False
    for i in range(n):
        slot[i] = s[i]
        slot[n + i] = y[i]
    rho_of(member)[member.head] = 1.0 / sy
    member.gamma = sy / yy
    member.head = member.head + 1 if member.head + 1 < rules.m else 0
    if member.count < rules.m:
        member.count += 1
    return True


cdef inline double recursion(
    const Rules *rules, Member *member, floating *v, const floating *h0, double *a, Py_ssize_t columns, floating *q,
    const Py_ssize_t *still, Py_ssize_t stills
) noexcept nogil:
    """q = H q by Algorithm 7.4, for each row of q (columns, n); return g.q of the last.

    a (columns, m) is the algorithm's a_j, not a step length. The coordinates `still` (stills) have moved in no pair; H
    is then that of the others alone, and q is 0 there.
    """
    cdef:
        Py_ssize_t n = rules.n, m = rules.m, i, c, _
        Py_ssize_t j = member.head, older, newer
        floating *s
        double *rho = rho_of(member)
        double product[COLUMNS]
        double scale
    require(0 < member.count <= m and 0 <= member.head < m and columns <= COLUMNS)
    j = j - 1 if j > 0 else m - 1
    s = s_of(rules, v, j)
    for c in range(columns):
        product[c] = dot(n, s, q + c * n)
    for _ in range(member.count - 1):                       # newest to oldest
        older = j - 1 if j > 0 else m - 1
        for c in range(columns):
            a[c * m + j] = rho[j] * product[c]
            product[c] = axpy_dot(n, -a[c * m + j], s + n, q + c * n, s_of(rules, v, older))
        j = older
        s = s_of(rules, v, j)
    for c in range(columns):
        a[c * m + j] = rho[j] * product[c]
        for i in range(n):
            scale = member.gamma if h0 == NULL else <double>h0[i]
            q[c * n + i] = <floating>((<double>q[c * n + i] - a[c * m + j] * <double>s[n + i]) * scale)
        for i in range(stills):
            q[c * n + still[i]] = 0
    for c in range(columns):
        product[c] = dot(n, q + c * n, s + n)
    for _ in range(member.count - 1):                       # oldest to newest
        newer = j + 1 if j + 1 < m else 0
        for c in range(columns):
            product[c] = axpy_dot(
                n, a[c * m + j] - rho[j] * product[c], s, q + c * n, s_of(rules, v, newer) + n)
        j = newer
        s = s_of(rules, v, j)
    for c in range(columns):
        scale = axpy_dot(n, a[c * m + j] - rho[j] * product[c], s, q + c * n, v + n)
    return scale


cdef inline double direction(
    const Rules *rules, Member *member, floating *v, const floating *h0, const Work *work
) noexcept nogil:
    """p = -H g; return p.g."""
    cdef:
        Py_ssize_t n = rules.n, i
        const floating *g = v + n
        floating *p = v + 2 * n
    for i in range(n):
        p[i] = -g[i]
    if member.count > 0:
        return recursion(rules, member, v, h0, work.a, 1, p, NULL, 0)
    if h0 != NULL:
        for i in range(n):
            p[i] *= h0[i]
    return dot(n, p, g)
