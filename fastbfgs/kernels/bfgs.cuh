// Twin of bfgs.pxd: which way, by a matrix; see there.
//
// Threads near each other share a row of H: coordinate j of it belongs to thread j mod SIZE.

/// Let H learn the pair (s, y), if its curvature can be trusted; leave -H g in y.
template <class Group, typename floating>
__device__ __forceinline__ void bfgs_push(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *h0, const floating *s, floating *y
) {
    const Index n = rules.n;
    const floating *g = v + n;
    floating *w = v + 4 * n;                                // u, then w
    floating *H = v + 5 * n;
    auto &near = group.near();
    double sy, yy;
    if (curvature(group, rules, s, y, sy, yy)) {
        if (member.count == 0) {
            const double scale = rules.scale_h0 ? sy / yy : 1.0;
            for (Index i = group.first_row(); i < n; i += group.rows_apart())
                for (Index j = near.rank(); j < n; j += near.size())
                    H[i * n + j] = h0 != nullptr ? (floating)(scale * (double)h0[i * n + j])
                        : j == i ? (floating)scale : 0;
        }
        for (Index i = group.first_row(); i < n; i += group.rows_apart()) {
            const double u_i = dot(near, n, H + i * n, y);
            if (near.owns(i))
                w[i] = (floating)u_i;
        }
        group.sync();
        const double yHy = dot(group, n, y, w);
        double scale = rules.scale_h0 == 2 && 0 < member.count && member.count <= 2 * n ? sy / yHy : 1.0;
        scale = 1.0 < scale && scale < INFINITY ? scale : 1.0;
        member.count += 1;
        const double half = 0.5 * (1.0 + scale * yHy / sy);
        for (Index i = group.rank(); i < n; i += group.size())
            w[i] = (floating)((half * (double)s[i] - scale * (double)w[i]) / sy);
        group.sync();                                       // s and w have been stored
        for (Index i = group.first_row(); i < n; i += group.rows_apart()) {
            floating *row = H + i * n;
            const double w_i = w[i], s_i = s[i];
            for (Index j = near.rank(); j < n; j += near.size())
                row[j] = (floating)(scale * (double)row[j] + (w_i * (double)s[j] + s_i * (double)w[j]));
            const double p_i = -dot(near, n, row, g);
            if (near.owns(i))
                y[i] = (floating)p_i;
        }
    } else if (member.count > 0) {
        for (Index i = group.first_row(); i < n; i += group.rows_apart()) {
            const double p_i = -dot(near, n, H + i * n, g);
            if (near.owns(i))
                y[i] = (floating)p_i;
        }
    }
    group.sync();
}

/// p = -H g; return p.g.
template <class Group, typename floating>
__device__ __forceinline__ double bfgs_direction(
    Group &group, const Rules &rules, const Member &member, floating *v, const floating *h0
) {
    const Index n = rules.n;
    const floating *g = v + n;
    floating *p = v + 2 * n;
    if (member.count > 0 || h0 == nullptr) {
        for (Index i = group.rank(); i < n; i += group.size())
            p[i] = member.count > 0 ? v[3 * n + i] : -g[i]; // as `bfgs_push` has left it
    } else {
        auto &near = group.near();
        for (Index i = group.first_row(); i < n; i += group.rows_apart()) {
            const double p_i = -dot(near, n, h0 + i * n, g);
            if (near.owns(i))
                p[i] = (floating)p_i;
        }
        group.sync();
    }
    return dot(group, n, p, g);
}
