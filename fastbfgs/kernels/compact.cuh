// Twin of compact.pxd: the L-BFGS matrix B in closed form; see there.
//
// Small matrices and vectors are shared out as in dense.cuh, among threads near each other.

struct Compact {
    int k, m;
    double theta, gamma;
    double *YS, *D_inverse, *U, *P, *Q, *G, *vectors;
};

__device__ __forceinline__ Index compact_size(Index m) {
    return 5 * m * m + 11 * m;
}

__device__ __forceinline__ int slot_of(const Rules &rules, const Member &member, int q) {
    q += member.head - member.count;
    return q >= 0 ? q : q + (int)rules.m;
}

/// Set up B in the room `small`; false if rounding has spoilt it.
template <class Group, typename floating>
__device__ bool compact(
    Group &group, const Rules &rules, Member &member, floating *v, const Work &work, Compact &B
) {
    const Index n = rules.n;
    const int m = (int)rules.m, k = member.count;
    auto &near = group.near();
    double *small = work.small;
    double *SS = work.rho + m, *SY = SS + m * m;
    for (int q = k - member.fresh; q < k; q++) {            // each with all pairs up to itself
        const int i = slot_of(rules, member, q);
        floating *s_new = s_of(rules, v, i);
        for (int a = 0; a <= q; a++) {
            const int j = slot_of(rules, member, a);
            floating *s = s_of(rules, v, j);
            double products[3] = {
                part_of_dot(group, n, s_new, s), part_of_dot(group, n, s_new, s + n),
                a < q ? part_of_dot(group, n, s, s_new + n) : 0.0};
            group.sum_each(products);
            if (near.leads()) {
                SS[i * m + j] = SS[j * m + i] = products[0];
                SY[i * m + j] = products[1];
                SY[j * m + i] = a < q ? products[2] : products[1];
            }
        }
    }
    member.fresh = 0;
    near.sync();

    B.k = k;
    B.m = m;
    B.theta = 1.0 / member.gamma;
    B.gamma = member.gamma;
    B.YS = small;
    B.U = small + m * m;
    B.P = small + 2 * m * m;
    B.Q = small + 3 * m * m;
    B.G = small + 4 * m * m;
    B.D_inverse = small + 5 * m * m;
    B.vectors = B.D_inverse + m;
    for (int a = 0; a < k; a++) {
        const int i = slot_of(rules, member, a);
        for (int b = near.rank(); b < k; b += near.size()) {
            const int j = slot_of(rules, member, b);
            B.YS[a * m + b] = SY[j * m + i];
            B.U[a * m + b] = B.theta * SS[i * m + j];
            if (a == b)
                B.D_inverse[a] = 1.0 / SY[i * m + i];
        }
    }
    near.sync();
    for (int q = 0; q < k; q++) {                           // U += L D^-1 L', above the diagonal
        for (int a = q + 1; a < k; a++) {
            const double c = B.YS[q * m + a] * B.D_inverse[q];
            for (int b = near.rank(); b < k; b += near.size())
                if (b >= a)
                    B.U[a * m + b] += c * B.YS[q * m + b];
        }
    }
    return cholesky(near, k, m, B.U);
}

/// r = M v, where v and r (2 k) are (Y part, S part).
template <class Group>
__device__ void times_m(Group &group, const Compact &B, const double *v, double *r) {
    const int k = B.k, m = B.m;
    for (int a = group.rank(); a < k; a += group.size()) {  // v_s + L D^-1 v_y
        double total = v[k + a];
        for (int q = 0; q < a; q++)
            total += B.YS[q * m + a] * (v[q] * B.D_inverse[q]);
        r[k + a] = total;
    }
    solve_lower(group, k, m, B.U, r + k);
    solve_upper(group, k, m, B.U, r + k);
    for (int q = group.rank(); q < k; q += group.size()) {  // D^-1 (L' r_s - v_y)
        double total = -v[q];
        for (int a = q + 1; a < k; a++)
            total += B.YS[q * m + a] * r[k + a];
        r[q] = total * B.D_inverse[q];
    }
    group.sync();
}

/// r (2 k) = W' d
template <class Group, typename floating>
__device__ void times_w_transposed(
    Group &group, const Rules &rules, const Member &member, const Compact &B, floating *v, const floating *d, double *r
) {
    const Index n = rules.n;
    auto &near = group.near();
    for (int q = 0; q < B.k; q++) {
        floating *s = s_of(rules, v, slot_of(rules, member, q));
        double products[2] = {part_of_dot(group, n, s + n, d), part_of_dot(group, n, s, d)};
        group.sum_each(products);
        if (near.owns(q))
            r[q] = products[0];
        if (near.owns(B.k + q))
            r[B.k + q] = B.theta * products[1];
    }
    near.sync();
}

/// Number q of row i of W.
template <typename floating>
__device__ __forceinline__ double entry_of_w(
    const Rules &rules, const Member &member, const Compact &B, floating *v, Index i, int q
) {
    return q < B.k ? (double)s_of(rules, v, slot_of(rules, member, q))[rules.n + i]
                   : B.theta * (double)s_of(rules, v, slot_of(rules, member, q - B.k))[i];
}

/// r (2 k) = row i of W
template <class Group, typename floating>
__device__ void row_of_w(
    Group &group, const Rules &rules, const Member &member, const Compact &B, floating *v, Index i, double *r
) {
    for (int q = group.rank(); q < 2 * B.k; q += group.size())
        r[q] = entry_of_w(rules, member, B, v, i, q);
    group.sync();
}
