# The L-BFGS matrix B itself, in compact form: B = theta I - W M W', W = (Y, theta S).
#
# Follows R. H. Byrd, J. Nocedal and R. B. Schnabel, "Representations of quasi-Newton matrices and their use in limited
# memory methods", Math. Programming 63 (1994) 129-156: (3.2) for B, with D = diag(s_q.y_q), L the part of S'Y strictly
# below its diagonal, and M^-1 = ((-D, L'), (L, theta S'S)); pairs are numbered from the oldest, q = 0, to the newest,
# k - 1. We deviate in two places:
# - M v is formed by eliminating the first block of M^-1, so that one positive definite matrix of order k is factored,
#   theta S'S + L D^-1 L' = U'U, (3.23), and nothing indefinite;
# - S'S and S'Y are brought up to date only when a bounded direction needs them: most do not (box.pxd).
#
# The tables of a member, m x m each, stand by slot of the ring behind its record: s_i.s_j, then s_i.y_j.

from cython cimport floating

from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.dense cimport cholesky, solve_lower, solve_upper
from fastbfgs.kernels.lbfgs cimport s_of
from fastbfgs.kernels.state cimport Member, Rules, rho_of
from fastbfgs.kernels.vectors cimport dot

cdef struct Compact:        # B of one member; the matrices have m numbers to a row, and count rows
    Py_ssize_t k            # pairs
    Py_ssize_t m
    double theta
    double gamma            # 1 / theta
    double *YS              # y_i.s_j of pairs in order: L' above its diagonal, which is D
    double *D_inverse       # (m)
    double *U               # the factor of theta S'S + L D^-1 L'
    double *P               # room for the matrices of the subspace problem, see box.pxd
    double *Q
    double *G
    double *vectors         # room for five vectors (2 m)


cdef inline Py_ssize_t compact_size(Py_ssize_t m) noexcept nogil:
    """How many float64 `compact` needs."""
    return 5 * m * m + 11 * m


cdef inline Py_ssize_t slot_of(const Rules *rules, const Member *member, Py_ssize_t q) noexcept nogil:
    """The slot of pair q, counted from the oldest."""
    q += member.head - member.count
    return q if q >= 0 else q + rules.m


cdef inline bint compact(
    const Rules *rules, Member *member, floating *v, double *small, Compact *B
) noexcept nogil:
    """Set up B in the room `small`; False if rounding has spoilt it."""
    cdef:
        Py_ssize_t n = rules.n, m = rules.m, k = member.count, i, j, q, a, b
        double *SS = rho_of(member) + m
        double *SY = SS + m * m
        double *row
        floating *s
        floating *s_new
        double c
    require(rules.tables and 0 < k <= m and 0 <= member.fresh <= k)
    for q in range(k - member.fresh, k):                    # each with all pairs up to itself
        i = slot_of(rules, member, q)
        s_new = s_of(rules, v, i)
        for a in range(q + 1):
            j = slot_of(rules, member, a)
            s = s_of(rules, v, j)
            SS[i * m + j] = SS[j * m + i] = dot(n, s_new, s)
            SY[i * m + j] = dot(n, s_new, s + n)
            if a < q:
                SY[j * m + i] = dot(n, s, s_new + n)
    member.fresh = 0

    B.k = k
    B.m = m
    B.theta = 1.0 / member.gamma
    B.gamma = member.gamma
    B.YS = small
    B.U = small + m * m
    B.P = small + 2 * m * m
    B.Q = small + 3 * m * m
    B.G = small + 4 * m * m
    B.D_inverse = small + 5 * m * m
    B.vectors = B.D_inverse + m
    for a in range(k):
        i = slot_of(rules, member, a)
        for b in range(k):
            j = slot_of(rules, member, b)
            B.YS[a * m + b] = SY[j * m + i]
            B.U[a * m + b] = B.theta * SS[i * m + j]
    for q in range(k):                                      # U += L D^-1 L', above the diagonal
        require(B.YS[q * m + q] > 0.0)
        B.D_inverse[q] = 1.0 / B.YS[q * m + q]
        for a in range(q + 1, k):
            c = B.YS[q * m + a] * B.D_inverse[q]
            row = B.U + a * m
            for b in range(a, k):
                row[b] += c * B.YS[q * m + b]
    return cholesky(k, m, B.U)


cdef inline void times_m(const Compact *B, const double *v, double *r) noexcept nogil:
    """r = M v, where v and r (2 k) are (Y part, S part)."""
    cdef:
        Py_ssize_t k = B.k, m = B.m, q, a
        double c
    for q in range(k):
        r[k + q] = v[k + q]
    for q in range(k):                                      # v_s + L D^-1 v_y
        c = v[q] * B.D_inverse[q]
        for a in range(q + 1, k):
            r[k + a] += B.YS[q * m + a] * c
    solve_lower(k, m, B.U, r + k)
    solve_upper(k, m, B.U, r + k)
    for q in range(k):                                      # D^-1 (L' r_s - v_y)
        c = -v[q]
        for a in range(q + 1, k):
            c += B.YS[q * m + a] * r[k + a]
        r[q] = c * B.D_inverse[q]


cdef inline void times_w_transposed(
    const Rules *rules, const Member *member, const Compact *B, floating *v, const floating *d, double *r
) noexcept nogil:
    """r (2 k) = W' d"""
    cdef:
        Py_ssize_t n = rules.n, q
        floating *s
    for q in range(B.k):
        s = s_of(rules, v, slot_of(rules, member, q))
        r[q] = dot(n, s + n, d)
        r[B.k + q] = B.theta * dot(n, s, d)


cdef inline void row_of_w(
    const Rules *rules, const Member *member, const Compact *B, floating *v, Py_ssize_t i, double *r
) noexcept nogil:
    """r (2 k) = row i of W"""
    cdef:
        Py_ssize_t q
        floating *s
    for q in range(B.k):
        s = s_of(rules, v, slot_of(rules, member, q))
        r[q] = s[rules.n + i]
        r[B.k + q] = B.theta * <double>s[i]
