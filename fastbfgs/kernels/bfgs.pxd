# Which way: the dense BFGS inverse Hessian of one member.
#
# Follows J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed. (2006): the update (6.17), and before the first
# one the scaling (6.20) of H0 = I. We deviate in four places:
# - a pair enters only if its cosine is above the rounding unit, as in lbfgs.pxd: there `curvature`;
# - H0 may be a given matrix, and whether it is scaled is an option: by default I is, and a given one is not;
# - by default H from I then grows before each of the next 2 n updates, where it is too small: by s.y / y.Hy, which is
#   (6.20) for H instead of I, and one of the factors of S. S. Oren and D. G. Luenberger, Management Science 20 (1974)
#   845. The first pair is mostly of the largest curvature, and where the others are smaller BFGS takes long to find
#   that out. H never shrinks, as M. Al-Baali, JOTA 96 (1998) 533, has it. Over 118 problems of n < 200 from 12 starts:
#   92,441 evaluations and 1,396 solved, without it 126,441 and 1,390 (SciPy, H0 = I: 131,797 and 1,337); over 60 least
#   squares and 60 logistic regressions on features of unlike scales, in several units, 16,048 instead of 20,985 (SciPy
#   13,674, from 20 to 110 each by the unit). The square roots of the diagonal of H at the end of small fits are off by
#   1 to 8 % (medians; at most 17 % in nine of ten), without it by 1 to 9 % (20 %). With s.Bs / s.y, the largest of
#   those factors, 98,158, 1,404 and 12,834, but they are then off by 230 %; with the geometric mean of both 91,569,
#   1,401 and 14,003, and by 68 %;
# - (6.17) is multiplied out, which takes O(n^2): with u = H y and rho = 1 / s.y,
#
#       H + w s' + s w',    w = rho (1 + rho y.u) / 2 s - rho u,
#
#   in which both triangles have the same bits.
#
# vectors of a member, in units of n, behind x | g | p | g_lo:    u | H, row after row
#
# An update passes over H twice: once to form u, and once to change it and to form the next direction, -H g, while each
# row is at hand. That direction waits in the room of y, which is spent then, for `bfgs_direction`.

from cython cimport floating
from libc.math cimport INFINITY
from libc.string cimport memcpy

from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.lbfgs cimport curvature
from fastbfgs.kernels.state cimport Member, Rules
from fastbfgs.kernels.vectors cimport dot


cdef inline void bfgs_push(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *s, floating *y
) noexcept nogil:
    """Let H learn the pair (s, y), if its curvature can be trusted; leave -H g in y."""
    cdef:
        Py_ssize_t n = rules.n, i, j
        const floating *g = v + n
        floating *w = v + 4 * n                             # u, then w
        floating *H = v + 5 * n
        floating *row
        double sy, yy, scale, half, w_i, s_i, yHy
    if curvature(rules, s, y, &sy, &yy):
        if member.count == 0:
            scale = sy / yy if rules.scale_h0 else 1.0
            for i in range(n):
                row = H + i * n
                for j in range(n):
                    row[j] = 0 if h0 == NULL else <floating>(scale * <double>h0[i * n + j])
                if h0 == NULL:
                    row[i] = <floating>scale
        for i in range(n):
            w[i] = <floating>dot(n, H + i * n, y)
        yHy = dot(n, y, w)
        scale = sy / yHy if rules.scale_h0 == 2 and 0 < member.count <= 2 * n else 1.0
        scale = scale if 1.0 < scale < INFINITY else 1.0
        member.count += 1
        half = 0.5 * (1.0 + scale * yHy / sy)
        for i in range(n):
            w[i] = <floating>((half * <double>s[i] - scale * <double>w[i]) / sy)
        for i in range(n):
            row = H + i * n
            w_i = w[i]
            s_i = s[i]
            for j in range(n):
                row[j] = <floating>(scale * <double>row[j] + (w_i * <double>s[j] + s_i * <double>w[j]))
            y[i] = <floating>-dot(n, row, g)
    elif member.count > 0:
        for i in range(n):
            y[i] = <floating>-dot(n, H + i * n, g)


cdef inline double bfgs_direction(
    const Rules *rules, const Member *member, floating *v, const floating *h0
) noexcept nogil:
    """p = -H g; return p.g."""
    cdef:
        Py_ssize_t n = rules.n, i
        const floating *g = v + n
        floating *p = v + 2 * n
    if member.count > 0:                                    # as `bfgs_push` has left it
        memcpy(p, v + 3 * n, n * sizeof(p[0]))
        require(p[0] != p[0] or p[0] == <floating>-dot(n, v + 5 * n, g))
    else:
        for i in range(n):
            p[i] = -g[i] if h0 == NULL else <floating>-dot(n, h0 + i * n, g)
    return dot(n, p, g)
