# Which way within bounds: the step of L-BFGS-B for one member.
#
# Follows R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained optimization",
# SIAM J. Sci. Comput. 16 (1995) 1190-1208 ("BLNZ"): the generalised Cauchy point of section 4 (Algorithm CP), where the
# first local minimiser of the quadratic model along the projected gradient path says which coordinates come to rest at
# bounds, and the minimiser of the model over the others, of section 5; and for the way back into the box J. L. Morales
# and J. Nocedal, "Remark on algorithm 778", ACM TOMS 38 (2011) 7: the minimiser is projected, and only if that does not
# descend, the step to it is cut short. We deviate in five places, the last four of which change steps by rounding only:
# - The projected minimiser must keep DESCENT, a fifth, of the slope p.g that the minimiser itself promises, and not
#   only descend: pushed into a corner it may lead almost along a contour, step after step. (784 runs of bounded test
#   problems: 0.991 instead of 0.999 of SciPy's evaluations, 747 instead of 740 solved.)
# - Algorithm CP is left out where its result is certain. Let A be the coordinates that rest at once, d the step to the
#   minimiser over the others, g_F the gradient there. The path's minimiser, at g_F.g_F / g_F.B g_F, comes no later than
#   -d.g / g_F.g_F (the Cauchy-Schwarz inequality in the norm of B); if that is before the first breakpoint, A it is.
# - With few coordinates in A, d comes from H and not from B (the dual method of BLNZ section 5.3): two-loop recursions
#   of -g and of the unit vectors of A side by side, then elimination: the columns of H in A, weighted so that d_A = 0.
#   With A empty that is the plain direction. A coordinate of A that moved in no remembered pair needs no column: B
#   without its row and column is the BFGS matrix of the pairs without it, and so is H of the shortened recursion.
# - With many, the primal method of BLNZ section 5.1 eliminates the first block of the matrix it inverts,
#
#       M^-1 - W_F'W_F / theta = ((-P, Q), (Q', theta S_A'S_A)),  P = D + Y_F'Y_F / theta,  Q = L' - Y_F'S_F,
#
#   so that two positive definite matrices of order k are factored, and nothing indefinite.
# - Without pairs the model is that of B = I, whose Cauchy point is the projection of x - g.

from cython cimport floating
from libc.math cimport fabs, ilogb, isfinite, ldexp, INFINITY, NAN
from libc.string cimport memcpy

from fastbfgs.kernels.compact cimport Compact, compact, compact_size, row_of_w, slot_of, times_m, times_w_transposed
from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.dense cimport cholesky, solve_lower, solve_lower_rows, solve_upper
from fastbfgs.kernels.lbfgs cimport COLUMNS, recursion, s_of
from fastbfgs.kernels.state cimport Member, Rules, Work
from fastbfgs.kernels.vectors cimport axpy, dot


cdef extern from *:
    """
    #define DESCENT 0.2
    """
    double DESCENT


cdef inline Py_ssize_t columns_of(Py_ssize_t n) noexcept nogil:
    """How many columns of H the dual method may take.

    With 12 it takes as long as the primal one, for n = 20 to 1,000 and m = 10. Each is n numbers of scratch.
    """
    return min(n, 12) if n <= 10000 else 2


# --------------------------------------------------------------------------------------------
# One coordinate

cdef inline floating step_to(
    floating x, double alpha, floating p, floating lower, floating upper, double eps
) noexcept nogil:
    """x + alpha p, on the bound it heads for if it is there but for rounding, and never beyond."""
    cdef:
        double slack = 2.0 * eps
        double size = fabs(<double>x)
        floating z = <floating>(<double>x + alpha * <double>p)
    # Without a bound the slack is infinite, and -inf + inf is NaN, which nothing is below.
    z = lower if (p < 0.0) & (<double>z <= <double>lower + slack * (size + fabs(<double>lower))) else z
    return upper if (p > 0.0) & (<double>z >= <double>upper - slack * (size + fabs(<double>upper))) else z


cdef inline bint rests(floating x, floating g, floating lower, floating upper) noexcept nogil:
    """Is x at a bound that -g leads out of?"""
    return (x <= lower and g >= 0.0) or (x >= upper and g <= 0.0)


cdef inline double breakpoint(floating x, floating g, floating lower, floating upper) noexcept nogil:
    """The t >= 0 for which x - t g is on a bound; infinite or NaN if there is none."""
    return fabs((<double>x - <double>(lower if g > 0.0 else upper)) / <double>g)


# --------------------------------------------------------------------------------------------
# All coordinates

cdef inline double projected_max(
    Py_ssize_t n, const floating *x, const floating *g, const floating *box
) noexcept nogil:
    """max |P(x - g) - x|, BLNZ (6.1)."""
    cdef:
        double largest = 0.0, move, room
        Py_ssize_t i
    for i in range(n):
        move = -<double>g[i]
        room = <double>box[i] - <double>x[i]
        move = room if room > move else move
        room = <double>box[n + i] - <double>x[i]
        move = fabs(room if room < move else move)
        largest = move if move > largest else largest
    return largest


cdef inline bint cut(Py_ssize_t n, const floating *x, floating *p, const floating *box) noexcept nogil:
    """Of each coordinate of p no more than leads to its bound; was that so before?"""
    cdef:
        Py_ssize_t i, beyond = 0
        floating z
    for i in range(n):
        z = x[i] + p[i]
        beyond += (z < box[i]) + (z > box[n + i])
    if beyond > 0:
        for i in range(n):
            z = x[i] + p[i]
            p[i] = box[i] - x[i] if z < box[i] else box[n + i] - x[i] if z > box[n + i] else p[i]
    return beyond == 0


cdef inline bint leads_inside(
    const Rules *rules, const Member *member, const floating *v, const floating *box
) noexcept nogil:
    """Is x + p in the box, but for what `step_to` takes off if p is not `clear`, and p_i = 0 where x_i rests?"""
    cdef:
        Py_ssize_t n = rules.n, i
        const floating *p = v + 2 * n
        floating z
        double size
    for i in range(n):
        z = v[i] + p[i]
        size = 0.0 if member.clear else 2.0 * rules.eps
        if not (<double>z >= <double>box[i] - size * (fabs(<double>v[i]) + fabs(<double>box[i]))
                or <double>z >= <double>box[i]):
            return False
        if not (<double>z <= <double>box[n + i] + size * (fabs(<double>v[i]) + fabs(<double>box[n + i]))
                or <double>z <= <double>box[n + i]):
            return False
        if p[i] != 0.0 and rests(v[i], v[n + i], box[i], box[n + i]):
            return False
    return True


cdef inline double longest_step(
    Py_ssize_t n, const floating *x, const floating *p, const floating *box
) noexcept nogil:
    """The largest alpha for which x + alpha p is in the box; at least 1, as the directions below promise."""
    cdef:
        double alpha = INFINITY, room, ratio
        Py_ssize_t i
    for i in range(n):
        room = <double>box[i] - <double>x[i] if p[i] < 0.0 else <double>box[n + i] - <double>x[i]
        ratio = room / <double>p[i]                         # NaN where neither moves anything
        alpha = ratio if ratio < alpha and p[i] != 0.0 else alpha
    return alpha if alpha > 1.0 else 1.0


cdef inline double box_direction(
    const Rules *rules, Member *member, floating *v, const floating *box, const Work *work
) noexcept nogil:
    """p, for which x + p is in the box; return p.g, NaN if rounding has spoilt the pairs."""
    cdef:
        Py_ssize_t n = rules.n, i, resting = 0
        const floating *x = v
        const floating *g = v + n
        floating *p = v + 2 * n
        double first = INFINITY, gg = 0.0, slope, promised, t
        bint solved
        Compact B
    if member.count == 0:
        for i in range(n):
            p[i] = 0 if rests(x[i], g[i], box[i], box[n + i]) else -g[i]
        member.clear = cut(n, x, p, box)
        return dot(n, p, g)

    for i in range(n):
        if rests(x[i], g[i], box[i], box[n + i]):
            work.order[resting] = i
            resting += 1
        else:
            gg += <double>g[i] * <double>g[i]
            t = breakpoint(x[i], g[i], box[i], box[n + i])
            first = t if t < first else first
    solved = dual(rules, member, v, work, resting)
    slope = dot(n, p, g)
    if solved and isfinite(gg) and -slope <= first * gg:
        member.clear = cut(n, x, p, box)
        if member.clear:
            return slope
        promised = slope
        slope = dot(n, p, g)
        if slope < DESCENT * promised:
            return slope
    if not compact(rules, member, v, work.small, &B):
        return NAN
    cauchy(rules, member, v, box, work, &B)
    return subspace(rules, member, v, box, work, &B)


cdef inline bint dual(
    const Rules *rules, Member *member, floating *v, const Work *work, Py_ssize_t resting
) noexcept nogil:
    """p = the minimiser of the model over the coordinates that do not rest; False if that is not for this method."""
    cdef:
        Py_ssize_t n = rules.n, i, j, r, k, rest, moved = 0
        floating *p = v + 2 * n
        floating *q = <floating *>work.columns              # row 0: -g, then -H g; row k: a column of H
        floating *column
        Py_ssize_t *still
        double pivot
    for r in range(resting):
        rest = work.order[r]
        for k in range(member.count):
            j = slot_of(rules, member, k)
            if s_of(rules, v, j)[rest] != 0:
                work.order[r] = work.order[moved]
                work.order[moved] = rest
                moved += 1
                break
    if moved > columns_of(n):
        return False
    still = work.order + moved
    if moved == 0:
        for i in range(n):
            p[i] = -v[n + i]
        recursion(rules, member, v, <const floating *>NULL, work.small, 1, p, still, resting)
        return True
    for i in range(n):
        q[i] = -v[n + i]
    for k in range(1, 1 + moved):
        for i in range(n):
            q[k * n + i] = 0
        q[k * n + work.order[k - 1]] = 1
    recursion(rules, member, v, <const floating *>NULL, work.small, 1 + moved, q, still, resting - moved)
    for k in range(1, 1 + moved):
        column = q + k * n
        rest = work.order[k - 1]
        pivot = column[rest]
        if not (pivot > 0.0 and isfinite(pivot)):
            return False
        for r in range(1 + moved):
            if r == 0 or r > k:
                axpy(n, -<double>q[r * n + rest] / pivot, column, q + r * n)
    memcpy(p, q, n * sizeof(p[0]))
    for k in range(moved):
        p[work.order[k]] = 0
    return True


# --------------------------------------------------------------------------------------------
# The generalised Cauchy point

cdef inline void sift(const double *t, Py_ssize_t *order, Py_ssize_t size, Py_ssize_t at) noexcept nogil:
    """Move the entry `at` down, until none below it has an earlier breakpoint."""
    cdef Py_ssize_t below, i = order[at]
    while True:
        below = 2 * at + 1
        if below + 1 < size and t[order[below + 1]] < t[order[below]]:
            below += 1
        if below >= size or t[order[below]] >= t[i]:
            break
        order[at] = order[below]
        at = below
    order[at] = i


cdef inline void cauchy(
    const Rules *rules, Member *member, floating *v, const floating *box, const Work *work, const Compact *B
) noexcept nogil:
    """p = x_c - x; work.t is negative for coordinates that rest there; the first vector of B is c = W'(x_c - x)."""
    cdef:
        Py_ssize_t n = rules.n, k = B.k, size = 0, moving = 0, i, j, b, q
        const floating *x = v
        const floating *g = v + n
        floating *p = v + 2 * n                             # d, until a coordinate comes to rest
        double *t = work.t
        double *c = B.vectors
        double *d_w = B.vectors + 2 * B.m                   # p of the paper: W'd
        double *m_d = B.vectors + 4 * B.m
        double *w = B.vectors + 6 * B.m
        double *m_w = B.vectors + 8 * B.m
        double df, ddf, ddf_start, now = 0.0, step, z, g_b, largest = 0.0, unit

    for i in range(n):
        t[i] = -1.0 if rests(x[i], g[i], box[i], box[n + i]) else INFINITY
        if t[i] > 0.0 and fabs(<double>g[i]) > largest:
            largest = fabs(<double>g[i])
    # d, and all that is linear in it, in units in which |d_i| < 2, so that theta d.d stays within float64's range.
    unit = ldexp(1.0, -ilogb(largest)) if largest > 0.0 else 1.0
    for i in range(n):
        p[i] = 0
        if t[i] > 0.0 and g[i] != 0.0:
            p[i] = <floating>(-unit * <double>g[i])
            t[i] = breakpoint(x[i], g[i], box[i], box[n + i])
            moving += 1
            if t[i] < INFINITY:
                work.order[size] = i
                size += 1
    for j in range(size // 2 - 1, -1, -1):
        sift(t, work.order, size, j)

    times_w_transposed(rules, member, B, v, p, d_w)
    times_m(B, d_w, m_d)
    df = -dot(n, p, p)
    ddf = -B.theta * df
    for q in range(2 * k):
        ddf -= d_w[q] * m_d[q]
        c[q] = 0.0
    ddf_start = rules.eps * -B.theta * df                   # no curvature below is more than rounding
    ddf = ddf_start = ddf if ddf > ddf_start else ddf_start
    step = -df / ddf if df < 0.0 else 0.0
    while size > 0:
        b = work.order[0]
        if t[b] - now > step:
            break
        size -= 1
        work.order[0] = work.order[size]
        if size > 0:
            sift(t, work.order, size, 0)
        step = t[b] - now
        now = t[b]
        g_b = unit * <double>g[b]
        z = (<double>box[b] if g_b > 0.0 else <double>box[n + b]) - <double>x[b]
        row_of_w(rules, member, B, v, b, w)
        times_m(B, w, m_w)
        df += step * ddf + g_b * g_b + B.theta * g_b * (unit * z)
        ddf -= B.theta * g_b * g_b
        for q in range(2 * k):
            c[q] += step * d_w[q]
            df -= g_b * m_w[q] * c[q]
            ddf -= g_b * m_w[q] * (2.0 * d_w[q] + g_b * w[q])
            d_w[q] += g_b * w[q]
        ddf = ddf if ddf > rules.eps * ddf_start else rules.eps * ddf_start
        p[b] = <floating>z
        t[b] = -1.0
        moving -= 1
        step = -df / ddf if df < 0.0 and moving > 0 else 0.0
    for q in range(2 * k):
        c[q] = (c[q] + step * d_w[q]) / unit
    now += step
    require(size >= 0 and moving >= 0 and step >= 0.0)
    for i in range(n):
        if t[i] >= 0.0:
            p[i] = <floating>(-now * <double>g[i])


# --------------------------------------------------------------------------------------------
# The subspace minimiser

cdef inline double subspace(
    const Rules *rules, Member *member, floating *v, const floating *box, const Work *work, const Compact *B
) noexcept nogil:
    """From p = x_c - x, p = the step to the minimiser over the free coordinates, brought into the box; return p.g."""
    cdef:
        Py_ssize_t n = rules.n, k = B.k, m = B.m, i, q, a, free_ones = 0
        const floating *x = v
        const floating *g = v + n
        floating *p = v + 2 * n
        floating *d = v + 3 * n                             # from x_c
        floating *whole = <floating *>work.columns
        const double *t = work.t
        double *m_c = B.vectors + 2 * m
        double *w = B.vectors + 4 * m
        double *rhs = B.vectors + 6 * m
        double *row
        double theta = B.theta, gamma = B.gamma, c, total, share, slope, room
    times_m(B, B.vectors, m_c)
    for q in range(2 * k):
        rhs[q] = 0.0
    for i in range(n):
        free_ones += t[i] >= 0.0
    for q in range(k):                                      # each Q by the fewer products: it is also Y_A'S_A - R'
        for a in range(k):
            B.P[q * m + a] = B.G[q * m + a] = B.Q[q * m + a] = 0.0
            if 2 * free_ones <= n and a > q:
                B.Q[q * m + a] = B.YS[q * m + a]
            elif 2 * free_ones > n and a <= q:
                B.Q[q * m + a] = -B.YS[q * m + a]
        B.P[q * m + q] = B.YS[q * m + q]

    for i in range(n):
        row_of_w(rules, member, B, v, i, w)
        if t[i] >= 0.0:
            total = -<double>g[i] - theta * <double>p[i]
            for q in range(2 * k):
                total += w[q] * m_c[q]
            d[i] = <floating>total                          # r of BLNZ (5.4), negated
            for q in range(2 * k):
                rhs[q] += w[q] * total
            for q in range(k):
                row = B.P + q * m
                c = w[q] * gamma
                for a in range(q, k):
                    row[a] += c * w[a]
        else:
            d[i] = 0
            for q in range(k):
                row = B.G + q * m
                c = w[k + q] * gamma
                for a in range(q, k):
                    row[a] += c * w[k + a]
        if (2 * free_ones <= n) == (t[i] >= 0.0):
            for q in range(k):
                row = B.Q + q * m
                c = (-w[q] if t[i] >= 0.0 else w[q]) * gamma
                for a in range(k):
                    row[a] += c * w[k + a]

    if free_ones > 0:
        # ((-P, Q), (Q', G)) z = W_F' r
        if not cholesky(k, m, B.P):
            return NAN
        solve_lower(k, m, B.P, rhs)
        solve_lower_rows(k, m, B.P, B.Q)
        for q in range(k):
            row = B.Q + q * m
            for i in range(k):
                rhs[k + i] += row[i] * rhs[q]
                for a in range(i, k):
                    B.G[i * m + a] += row[i] * row[a]
        if not cholesky(k, m, B.G):
            return NAN
        solve_lower(k, m, B.G, rhs + k)
        solve_upper(k, m, B.G, rhs + k)
        for q in range(k):
            row = B.Q + q * m
            total = -rhs[q]
            for a in range(k):
                total += row[a] * rhs[k + a]
            rhs[q] = total
        solve_upper(k, m, B.P, rhs)
        for i in range(n):
            if t[i] >= 0.0:
                row_of_w(rules, member, B, v, i, w)
                total = 0.0
                for q in range(2 * k):
                    total += w[q] * rhs[q]
                d[i] = <floating>((<double>d[i] + total * gamma) * gamma)

    for i in range(n):
        d[i] = whole[i] = p[i] + d[i]                       # from x now
    member.clear = cut(n, x, d, box)
    slope = dot(n, d, g)
    if slope < DESCENT * dot(n, whole, g):
        memcpy(p, d, n * sizeof(p[0]))
        return slope
    share = 1.0                                             # of the way from x_c, within the box
    for i in range(n):
        c = <double>whole[i] - <double>p[i]
        if c != 0.0:
            room = (<double>box[i] if c < 0.0 else <double>box[n + i]) - <double>x[i] - <double>p[i]
            share = room / c if room / c < share else share
    share = share if share > 0.0 else 0.0
    for i in range(n):
        p[i] = <floating>(<double>p[i] + share * (<double>whole[i] - <double>p[i]))
    member.clear = cut(n, x, p, box)
    return dot(n, p, g)
