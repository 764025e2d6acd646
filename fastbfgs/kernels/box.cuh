// Twin of box.pxd: which way within bounds; see there.
//
// It differs in what threads can share: the coordinates that rest are counted and marked in t, not listed; each thread
// has a heap of the breakpoints of its own coordinates; and the sums over coordinates of `subspace` are formed a few at
// a time. Small matrices and vectors belong to threads near each other, and are no sums over coordinates.

constexpr double DESCENT = 0.2;
constexpr int COLUMNS = 13;                                 // -g and the most of columns_of
constexpr int AT_A_TIME = 3;                                // pairs in a pass over y_q and s_q; with 4, registers spill

__device__ __forceinline__ Index columns_of(Index n) {
    return n <= 10000 ? (n < 12 ? n : 12) : 2;
}

// ------------------------------------------------------------------------------------------------
// One coordinate

/// x + alpha p, on the bound it heads for if it is there but for rounding, and never beyond.
template <typename floating>
__device__ __forceinline__ floating step_to(
    floating x, double alpha, floating p, floating lower, floating upper, double eps
) {
    const double slack = 2.0 * eps, size = fabs((double)x);
    floating z = (floating)((double)x + alpha * (double)p);
    // Without a bound the slack is infinite, and -inf + inf is NaN, which nothing is below.
    z = p < 0 && (double)z <= (double)lower + slack * (size + fabs((double)lower)) ? lower : z;
    return p > 0 && (double)z >= (double)upper - slack * (size + fabs((double)upper)) ? upper : z;
}

/// Is x at a bound that -g leads out of?
template <typename floating>
__device__ __forceinline__ bool rests(floating x, floating g, floating lower, floating upper) {
    return (x <= lower && g >= 0) || (x >= upper && g <= 0);
}

/// The t >= 0 for which x - t g is on a bound; infinite or NaN if there is none.
template <typename floating>
__device__ __forceinline__ double breakpoint(floating x, floating g, floating lower, floating upper) {
    return fabs(((double)x - (double)(g > 0 ? lower : upper)) / (double)g);
}

// ------------------------------------------------------------------------------------------------
// All coordinates

/// max |P(x - g) - x|, BLNZ (6.1).
template <class Group, typename floating>
__device__ double projected_max(Group &group, Index n, const floating *x, const floating *g, const floating *box) {
    double largest = 0.0;
    for (Index i = group.rank(); i < n; i += group.size()) {
        double move = -(double)g[i];
        double room = (double)box[i] - (double)x[i];
        move = room > move ? room : move;
        room = (double)box[n + i] - (double)x[i];
        move = fabs(room < move ? room : move);
        largest = move > largest ? move : largest;
    }
    return group.most(largest);
}

/// Of each coordinate of p no more than leads to its bound; was that so before?
template <class Group, typename floating>
__device__ bool cut(Group &group, Index n, const floating *x, floating *p, const floating *box) {
    bool beyond = false;
    for (Index i = group.rank(); i < n; i += group.size()) {
        const floating z = x[i] + p[i];
        beyond |= z < box[i] || z > box[n + i];
    }
    beyond = group.any(beyond);
    if (beyond) {
        for (Index i = group.rank(); i < n; i += group.size()) {
            const floating z = x[i] + p[i];
            p[i] = z < box[i] ? box[i] - x[i] : z > box[n + i] ? box[n + i] - x[i] : p[i];
        }
    }
    return !beyond;
}

/// The largest alpha for which x + alpha p is in the box; at least 1, as the directions below promise.
template <class Group, typename floating>
__device__ double longest_step(Group &group, Index n, const floating *x, const floating *p, const floating *box) {
    double alpha = INFINITY;
    for (Index i = group.rank(); i < n; i += group.size()) {
        const double room = p[i] < 0 ? (double)box[i] - (double)x[i] : (double)box[n + i] - (double)x[i];
        const double ratio = room / (double)p[i];           // NaN where neither moves anything
        alpha = ratio < alpha && p[i] != 0 ? ratio : alpha;
    }
    alpha = -group.most(-alpha);
    return alpha > 1.0 ? alpha : 1.0;
}

/// p = the minimiser of the model over the coordinates that do not rest; false if that is not for this method.
///
/// `resting` of them rest: the `moved` of those that moved in some pair have t_i > 0, the others t_i < 0.
template <class Group, typename floating>
__device__ bool dual(
    Group &group, const Rules &rules, Member &member, floating *v, const Work &work, Index resting, Index moved
) {
    const Index n = rules.n;
    floating *p = v + 2 * n;
    floating *q = (floating *)work.columns;                 // row 0: -g, then -H g; row k: a column of H
    const double *t = resting > moved ? work.t : nullptr;
    const floating *no_h0 = nullptr;
    if (moved > columns_of(n))
        return false;
    if (moved == 0) {
        for (Index i = group.rank(); i < n; i += group.size())
            p[i] = -v[n + i];
        recursion<1>(group, rules, member, v, no_h0, work, work.small, 1, p, t);
        return true;
    }
    Index next = group.rank();                              // of this thread's coordinates that have moved
    for (int k = 0; k < (int)moved; k++) {
        while (next < n && !(work.t[next] > 0.0))
            next += group.size();
        const Index first = -(Index)group.most(next < n ? -(double)next : -INFINITY);
        if (group.leads())
            work.order[k] = first;
        if (next == first)
            next += group.size();
    }
    group.sync();
    const int columns = 1 + (int)moved;
    for (Index i = group.rank(); i < n; i += group.size())
        q[i] = -v[n + i];
    for (int k = 1; k < columns; k++)
        for (Index i = group.rank(); i < n; i += group.size())
            q[k * n + i] = i == work.order[k - 1] ? 1 : 0;
    recursion<COLUMNS>(group, rules, member, v, no_h0, work, work.small, columns, q, t);
    auto &near = group.near();
    double *share = work.small;                             // of column k in each row; its a_j are spent
    for (int k = 1; k < columns; k++) {
        const floating *column = q + k * n;
        const Index rest = work.order[k - 1];
        group.sync();                                       // the owner of `rest` has stored it in every row
        const double pivot = column[rest];
        if (!(pivot > 0.0 && isfinite(pivot)))
            return false;
        if (near.leads())
            for (int r = 0; r < columns; r++)
                share[r] = -(double)q[r * n + rest] / pivot;
        group.sync();
        for (int r = 0; r < columns; r++)
            if (r == 0 || r > k)
                axpy(group, n, share[r], column, q + r * n);
    }
    for (Index i = group.rank(); i < n; i += group.size())
        p[i] = q[i];
    for (int k = 0; k < (int)moved; k++)
        if (group.owns(work.order[k]))
            p[work.order[k]] = 0;
    return true;
}

// ------------------------------------------------------------------------------------------------
// The generalised Cauchy point

/// The breakpoints of this thread's coordinates, the earliest on top; those of all threads stand side by side.
struct Heap {
    const double *t;
    Index *order;                                           // of this thread's first entry
    int stride;
    Index size;

    __device__ __forceinline__ Index &entry(Index at) const { return order[at * stride]; }

    __device__ __forceinline__ double earliest() const { return size > 0 ? t[entry(0)] : INFINITY; }

    /// Move the entry `at` down, until none below it has an earlier breakpoint.
    __device__ __forceinline__ void sift(Index at) const {
        const Index i = entry(at);
        for (;;) {
            Index below = 2 * at + 1;
            if (below + 1 < size && t[entry(below + 1)] < t[entry(below)])
                below += 1;
            if (below >= size || t[entry(below)] >= t[i])
                break;
            entry(at) = entry(below);
            at = below;
        }
        entry(at) = i;
    }

    __device__ __forceinline__ void make() const {
        for (Index at = size / 2 - 1; at >= 0; at--)
            sift(at);
    }

    __device__ __forceinline__ void drop_earliest() {
        size -= 1;
        entry(0) = entry(size);
        if (size > 0)
            sift(0);
    }
};

/// p = x_c - x; work.t is negative for coordinates that rest there; the first vector of B is c = W'(x_c - x).
template <class Group, typename floating>
__device__ void cauchy(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *box, const Work &work,
    const Compact &B
) {
    const Index n = rules.n;
    const int k = B.k;
    const floating *x = v, *g = v + n;
    floating *p = v + 2 * n;                                // d, until a coordinate comes to rest
    auto &near = group.near();
    double *t = work.t;
    double *c = B.vectors;
    double *d_w = B.vectors + 2 * B.m;                      // p of the paper: W'd
    double *m_d = B.vectors + 4 * B.m;
    double *w = B.vectors + 6 * B.m;
    double *m_w = B.vectors + 8 * B.m;
    double now = 0.0, largest = 0.0, moving = 0.0;
    Heap heap = {t, work.order + group.rank(), group.size(), 0};

    for (Index i = group.rank(); i < n; i += group.size()) {
        t[i] = rests(x[i], g[i], box[i], box[n + i]) ? -1.0 : INFINITY;
        if (t[i] > 0.0 && fabs((double)g[i]) > largest)
            largest = fabs((double)g[i]);
    }
    largest = group.most(largest);
    // d, and all that is linear in it, in units in which |d_i| < 2, so that theta d.d stays within float64's range.
    const double unit = largest > 0.0 ? ldexp(1.0, -ilogb(largest)) : 1.0;
    for (Index i = group.rank(); i < n; i += group.size()) {
        p[i] = 0;
        if (t[i] > 0.0 && g[i] != 0) {
            p[i] = (floating)(-unit * (double)g[i]);
            t[i] = breakpoint(x[i], g[i], box[i], box[n + i]);
            moving += 1.0;
            if (t[i] < INFINITY)
                heap.entry(heap.size++) = i;
        }
    }
    moving = group.sum(moving);
    heap.make();

    times_w_transposed(group, rules, member, B, v, p, d_w);
    times_m(near, B, d_w, m_d);
    double df = -dot(group, n, p, p);
    double ddf = near.leads() ? -B.theta * df : 0.0;
    for (int q = near.rank(); q < 2 * k; q += near.size()) {
        ddf -= d_w[q] * m_d[q];
        c[q] = 0.0;
    }
    ddf = near.sum(ddf);
    double ddf_start = rules.eps * -B.theta * df;           // no curvature below is more than rounding
    ddf = ddf_start = ddf > ddf_start ? ddf : ddf_start;
    double step = df < 0.0 ? -df / ddf : 0.0;
    for (;;) {
        const double mine = heap.earliest(), t_b = -group.most(-mine);
        if (!(t_b < INFINITY) || t_b - now > step)
            break;
        const Index b = -(Index)group.most(mine == t_b ? -(double)heap.entry(0) : -INFINITY);
        if (group.owns(b))
            heap.drop_earliest();
        step = t_b - now;
        now = t_b;
        const double g_b = unit * (double)g[b];
        const double z = (g_b > 0.0 ? (double)box[b] : (double)box[n + b]) - (double)x[b];
        row_of_w(near, rules, member, B, v, b, w);
        times_m(near, B, w, m_w);
        df += step * ddf + g_b * g_b + B.theta * g_b * (unit * z);
        ddf -= B.theta * g_b * g_b;
        df = near.leads() ? df : 0.0;
        ddf = near.leads() ? ddf : 0.0;
        for (int q = near.rank(); q < 2 * k; q += near.size()) {
            c[q] += step * d_w[q];
            df -= g_b * m_w[q] * c[q];
            ddf -= g_b * m_w[q] * (2.0 * d_w[q] + g_b * w[q]);
            d_w[q] += g_b * w[q];
        }
        df = near.sum(df);
        ddf = near.sum(ddf);
        ddf = ddf > rules.eps * ddf_start ? ddf : rules.eps * ddf_start;
        if (group.owns(b)) {
            p[b] = (floating)z;
            t[b] = -1.0;
        }
        moving -= 1.0;
        step = df < 0.0 && moving > 0.0 ? -df / ddf : 0.0;
    }
    for (int q = near.rank(); q < 2 * k; q += near.size())
        c[q] = (c[q] + step * d_w[q]) / unit;
    now += step;
    for (Index i = group.rank(); i < n; i += group.size())
        if (t[i] >= 0.0)
            p[i] = (floating)(-now * (double)g[i]);
    near.sync();
}

// ------------------------------------------------------------------------------------------------
// The subspace minimiser

/// From p = x_c - x, p = the step to the minimiser over the free coordinates, brought into the box; return p.g.
template <class Group, typename floating>
__device__ double subspace(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *box, const Work &work,
    const Compact &B
) {
    const Index n = rules.n;
    const int k = B.k, m = B.m;
    const floating *x = v, *g = v + n;
    floating *p = v + 2 * n;
    floating *d = v + 3 * n;                                // from x_c
    floating *whole = (floating *)work.columns;
    const double *t = work.t;
    double *r = work.r;
    double *m_c = B.vectors + 2 * m;
    double *rhs = B.vectors + 6 * m;
    const double theta = B.theta, gamma = B.gamma;
    auto &near = group.near();
    times_m(near, B, B.vectors, m_c);
    double count = 0.0;
    for (Index i = group.rank(); i < n; i += group.size()) {
        double total = 0.0;
        if (t[i] >= 0.0) {
            count += 1.0;
            total = -(double)g[i] - theta * (double)p[i];
            for (int q = 0; q < 2 * k; q++)
                total += entry_of_w(rules, member, B, v, i, q) * m_c[q];
        }
        r[i] = total;
        d[i] = (floating)total;
    }
    const Index free_ones = (Index)group.sum(count);

    if (free_ones > 0) {
        const bool by_free = 2 * free_ones <= n;            // each Q by the fewer products: it is also Y_A'S_A - R'
        for (int q = 0; q < k; q++) {
            double totals[2] = {0.0, 0.0};
            for (Index i = group.rank(); i < n; i += group.size()) {
                if (t[i] >= 0.0) {
                    totals[0] += entry_of_w(rules, member, B, v, i, q) * r[i];
                    totals[1] += entry_of_w(rules, member, B, v, i, k + q) * r[i];
                }
            }
            group.sum_each(totals);
            if (near.owns(q))
                rhs[q] = totals[0];
            if (near.owns(k + q))
                rhs[k + q] = totals[1];
        }
        for (int q = 0; q < k; q++) {
            const floating *s_q = s_of(rules, v, slot_of(rules, member, q)), *y_q = s_q + n;
            for (int first = 0; first < k; first += AT_A_TIME) {
                double totals[3 * AT_A_TIME];               // of P, Q and G, for each pair a
                for (int j = 0; j < AT_A_TIME; j++) {
                    const int a = first + j;
                    totals[3 * j] = group.leads() && a == q ? B.YS[q * m + q] : 0.0;
                    totals[3 * j + 1] = totals[3 * j + 2] = 0.0;
                    if (group.leads() && a < k && by_free == (a > q))
                        totals[3 * j + 1] = by_free ? B.YS[q * m + a] : -B.YS[q * m + a];
                }
                for (Index i = group.rank(); i < n; i += group.size()) {
                    const bool is_free = t[i] >= 0.0;
                    const double y_i = y_q[i], s_i = s_q[i];
                    for (int j = 0; j < AT_A_TIME; j++) {
                        const int a = first + j;
                        if (a >= k)
                            break;
                        const floating *s_a = s_of(rules, v, slot_of(rules, member, a)), *y_a = s_a + n;
                        if (is_free && a >= q)
                            totals[3 * j] += y_i * gamma * (double)y_a[i];
                        if (is_free == by_free)
                            totals[3 * j + 1] += (is_free ? -y_i : y_i) * gamma * (theta * (double)s_a[i]);
                        if (!is_free && a >= q)
                            totals[3 * j + 2] += theta * s_i * gamma * (theta * (double)s_a[i]);
                    }
                }
                group.sum_each(totals);
                for (int j = 0; j < AT_A_TIME; j++) {
                    const int a = first + j;
                    if (a < k && near.owns(a)) {
                        B.P[q * m + a] = totals[3 * j];
                        B.Q[q * m + a] = totals[3 * j + 1];
                        B.G[q * m + a] = totals[3 * j + 2];
                    }
                }
            }
        }
        // ((-P, Q), (Q', G)) z = W_F' r
        if (!cholesky(near, k, m, B.P))
            return NAN;
        solve_lower(near, k, m, B.P, rhs);
        solve_lower_rows(near, k, m, B.P, B.Q);
        for (int q = 0; q < k; q++) {
            const double *row = B.Q + q * m;
            for (int i = near.rank(); i < k; i += near.size())
                rhs[k + i] += row[i] * rhs[q];
            for (int i = 0; i < k; i++)
                for (int a = near.rank(); a < k; a += near.size())
                    if (a >= i)
                        B.G[i * m + a] += row[i] * row[a];
        }
        if (!cholesky(near, k, m, B.G))
            return NAN;
        solve_lower(near, k, m, B.G, rhs + k);
        solve_upper(near, k, m, B.G, rhs + k);
        for (int q = near.rank(); q < k; q += near.size()) {
            double total = -rhs[q];
            for (int a = 0; a < k; a++)
                total += B.Q[q * m + a] * rhs[k + a];
            rhs[q] = total;
        }
        near.sync();
        solve_upper(near, k, m, B.P, rhs);
        for (Index i = group.rank(); i < n; i += group.size()) {
            if (t[i] >= 0.0) {
                double total = 0.0;
                for (int q = 0; q < 2 * k; q++)
                    total += entry_of_w(rules, member, B, v, i, q) * rhs[q];
                d[i] = (floating)(((double)d[i] + total * gamma) * gamma);
            }
        }
    }

    for (Index i = group.rank(); i < n; i += group.size())
        d[i] = whole[i] = p[i] + d[i];                      // from x now
    member.clear = cut(group, n, x, d, box);
    const double slope = dot(group, n, d, g);
    if (slope < DESCENT * dot(group, n, whole, g)) {
        for (Index i = group.rank(); i < n; i += group.size())
            p[i] = d[i];
        return slope;
    }
    double share = 1.0;                                     // of the way from x_c, within the box
    for (Index i = group.rank(); i < n; i += group.size()) {
        const double c = (double)whole[i] - (double)p[i];
        if (c != 0.0) {
            const double room = (c < 0.0 ? (double)box[i] : (double)box[n + i]) - (double)x[i] - (double)p[i];
            share = room / c < share ? room / c : share;
        }
    }
    share = -group.most(-share);
    share = share > 0.0 ? share : 0.0;
    for (Index i = group.rank(); i < n; i += group.size())
        p[i] = (floating)((double)p[i] + share * ((double)whole[i] - (double)p[i]));
    member.clear = cut(group, n, x, p, box);
    return dot(group, n, p, g);
}

/// p, for which x + p is in the box; return p.g, NaN if rounding has spoilt the pairs.
template <class Group, typename floating>
__device__ double box_direction(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *box, const Work &work
) {
    const Index n = rules.n;
    const floating *x = v, *g = v + n;
    floating *p = v + 2 * n;
    if (member.count == 0) {
        for (Index i = group.rank(); i < n; i += group.size())
            p[i] = rests(x[i], g[i], box[i], box[n + i]) ? 0 : -g[i];
        member.clear = cut(group, n, x, p, box);
        return dot(group, n, p, g);
    }

    double first = INFINITY, totals[3] = {0.0, 0.0, 0.0};
    const double &gg = totals[0], &resting = totals[1], &moved = totals[2];
    for (Index i = group.rank(); i < n; i += group.size()) {
        const bool stays = rests(x[i], g[i], box[i], box[n + i]);
        bool has_moved = false;
        if (stays) {
            for (int k = 0; k < member.count && !has_moved; k++)
                has_moved = s_of(rules, v, slot_of(rules, member, k))[i] != 0;
        } else {
            totals[0] += (double)g[i] * (double)g[i];
            const double t = breakpoint(x[i], g[i], box[i], box[n + i]);
            first = t < first ? t : first;
        }
        totals[1] += stays ? 1.0 : 0.0;
        totals[2] += has_moved ? 1.0 : 0.0;
        work.t[i] = has_moved ? 1.0 : stays ? -1.0 : 0.0;
    }
    group.sum_each(totals);
    first = -group.most(-first);
    const bool solved = dual(group, rules, member, v, work, (Index)resting, (Index)moved);
    double slope = dot(group, n, p, g);
    if (solved && isfinite(gg) && -slope <= first * gg) {
        member.clear = cut(group, n, x, p, box);
        if (member.clear)
            return slope;
        const double promised = slope;
        slope = dot(group, n, p, g);
        if (slope < DESCENT * promised)
            return slope;
    }
    Compact B;
    if (!compact(group, rules, member, v, work, B))
        return NAN;
    cauchy(group, rules, member, v, box, work, B);
    return subspace(group, rules, member, v, box, work, B);
}
