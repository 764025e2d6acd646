// Twin of lbfgs.pxd: which way, by pairs; see there.
//
// Every thread stores the same a_j and rho_j in the same place, and loads what it has stored itself.

/// s_j; y_j stands right behind it.
template <typename floating>
__device__ __forceinline__ floating *s_of(const Rules &rules, floating *v, Index j) {
    return v + (4 + 2 * j) * rules.n;
}

/// Drop all pairs: the next direction is -H0 g.
__device__ __forceinline__ void forget(Member &member) {
    member.count = member.head = member.fresh = 0;
}

__device__ __forceinline__ bool trusted(double eps, double ss, double sy, double yy) {
    return sy > eps * sqrt(ss) * sqrt(yy) && isfinite(1.0 / sy) && isfinite(sy / yy);
}

/// Can the curvature of the pair be trusted? Gives s.y and y.y.
template <class Group, typename floating>
__device__ __forceinline__ bool curvature(
    Group &group, const Rules &rules, const floating *s, const floating *y, double &sy, double &yy
) {
    const double ss = dot(group, rules.n, s, s);
    sy = dot(group, rules.n, s, y);
    yy = dot(group, rules.n, y, y);
    return trusted(rules.eps, ss, sy, yy);
}

/// Remember the pair (s, y) in place of the oldest one, if its curvature can be trusted; was it?
template <class Group, typename floating>
__device__ __forceinline__ bool push(
    Group &group, const Rules &rules, Member &member, floating *v, const Work &work, const floating *s,
    const floating *y
) {
    const Index n = rules.n;
    double sy, yy;
    floating *slot = s_of(rules, v, member.head);
    if (!curvature(group, rules, s, y, sy, yy))
        return false;
    for (Index i = group.rank(); i < n; i += group.size()) {
        slot[i] = s[i];
        slot[n + i] = y[i];
    }
    work.rho[member.head] = 1.0 / sy;
    member.gamma = sy / yy;
    member.head = member.head + 1 < rules.m ? member.head + 1 : 0;
    if (member.count < rules.m)
        member.count += 1;
    return true;
}

/// q = H q by Algorithm 7.4, for each row of q (columns, n), MOST at most; return g.q of the last.
///
/// Coordinates with t_i < 0 have moved in no pair; H is then that of the others alone, and q is 0 there. t may be NULL.
template <int MOST, class Group, typename floating>
__device__ __forceinline__ double recursion(
    Group &group, const Rules &rules, const Member &member, floating *v, const floating *h0, const Work &work,
    double *a, int columns, floating *q, const double *t
) {
    const Index n = rules.n;
    const int m = (int)rules.m;
    const double *rho = work.rho;
    double product[MOST], g_q = 0.0;
    int j = member.head > 0 ? member.head - 1 : m - 1;
    floating *s = s_of(rules, v, j);
    columns = MOST == 1 ? 1 : columns;
    for (int c = 0; c < columns; c++)
        product[c] = dot(group, n, s, q + c * n);
    for (int k = 1; k < member.count; k++) {                // newest to oldest
        const int older = j > 0 ? j - 1 : m - 1;
        for (int c = 0; c < columns; c++) {
            const double a_j = rho[j] * product[c];
            a[c * m + j] = a_j;
            product[c] = axpy_dot(group, n, -a_j, s + n, q + c * n, s_of(rules, v, older));
        }
        j = older;
        s = s_of(rules, v, j);
    }
    for (int c = 0; c < columns; c++) {
        const double a_j = rho[j] * product[c];
        a[c * m + j] = a_j;
        for (Index i = group.rank(); i < n; i += group.size()) {
            const double scale = h0 == nullptr ? member.gamma : (double)h0[i];
            const floating scaled = (floating)(((double)q[c * n + i] - a_j * (double)s[n + i]) * scale);
            q[c * n + i] = t != nullptr && t[i] < 0.0 ? 0 : scaled;
        }
    }
    for (int c = 0; c < columns; c++)
        product[c] = dot(group, n, q + c * n, s + n);
    for (int k = 1; k < member.count; k++) {                // oldest to newest
        const int newer = j + 1 < m ? j + 1 : 0;
        for (int c = 0; c < columns; c++)
            product[c] = axpy_dot(
                group, n, a[c * m + j] - rho[j] * product[c], s, q + c * n, s_of(rules, v, newer) + n);
        j = newer;
        s = s_of(rules, v, j);
    }
    for (int c = 0; c < columns; c++)
        g_q = axpy_dot(group, n, a[c * m + j] - rho[j] * product[c], s, q + c * n, v + n);
    return g_q;
}

/// p = -H g; return p.g.
template <class Group, typename floating>
__device__ __forceinline__ double direction(
    Group &group, const Rules &rules, const Member &member, floating *v, const floating *h0, const Work &work
) {
    const Index n = rules.n;
    const floating *g = v + n;
    floating *p = v + 2 * n;
    for (Index i = group.rank(); i < n; i += group.size())
        p[i] = -g[i];
    if (member.count > 0)
        return recursion<1>(group, rules, member, v, h0, work, work.a, 1, p, nullptr);
    if (h0 != nullptr)
        for (Index i = group.rank(); i < n; i += group.size())
            p[i] *= h0[i];
    return dot(group, n, p, g);
}
