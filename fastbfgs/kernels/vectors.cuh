// Twin of vectors.pxd: sums and updates of one member's vectors; see there.
//
// One thread runs the four lanes of vectors.pxd, more threads are a lane each.

/// What this thread adds to a.b.
template <class Group, typename floating>
__device__ __forceinline__ double part_of_dot(Group &group, Index n, const floating *a, const floating *b) {
    if constexpr (!Group::alone) {
        double lane = 0.0;
        for (Index i = group.rank(); i < n; i += group.size())
            lane += (double)a[i] * (double)b[i];
        return lane;
    } else {
        double lane[4] = {0.0, 0.0, 0.0, 0.0};
        Index i = 0;
        for (; i < (n & ~3ll); i += 4)
            for (int k = 0; k < 4; k++)
                lane[k] += (double)a[i + k] * (double)b[i + k];
        if (n & 2) {
            for (int k = 0; k < 2; k++)
                lane[k] += (double)a[i + k] * (double)b[i + k];
            i += 2;
        }
        if (n & 1)
            lane[2] += (double)a[i] * (double)b[i];
        return (lane[0] + lane[2]) + (lane[1] + lane[3]);
    }
}

template <class Group, typename floating>
__device__ __forceinline__ double dot(Group &group, Index n, const floating *a, const floating *b) {
    return group.sum(part_of_dot(group, n, a, b));
}

/// b += c a
template <class Group, typename floating>
__device__ __forceinline__ void axpy(Group &group, Index n, double c, const floating *a, floating *b) {
    for (Index i = group.rank(); i < n; i += group.size())
        b[i] = (floating)((double)b[i] + c * (double)a[i]);
}

/// b += c a, then b . d, in one pass.
template <class Group, typename floating>
__device__ __forceinline__ double axpy_dot(
    Group &group, Index n, double c, const floating *a, floating *b, const floating *d
) {
    if constexpr (!Group::alone) {
        double lane = 0.0;
        for (Index i = group.rank(); i < n; i += group.size()) {
            const floating t = (floating)((double)b[i] + c * (double)a[i]);
            b[i] = t;
            lane += (double)t * (double)d[i];
        }
        return group.sum(lane);
    } else {
        double lane[4] = {0.0, 0.0, 0.0, 0.0};
        floating t[4];
        Index i = 0;
        for (; i < (n & ~3ll); i += 4) {
            for (int k = 0; k < 4; k++)
                t[k] = (floating)((double)b[i + k] + c * (double)a[i + k]);
            for (int k = 0; k < 4; k++)
                b[i + k] = t[k];
            for (int k = 0; k < 4; k++)
                lane[k] += (double)t[k] * (double)d[i + k];
        }
        if (n & 2) {
            for (int k = 0; k < 2; k++)
                t[k] = (floating)((double)b[i + k] + c * (double)a[i + k]);
            for (int k = 0; k < 2; k++)
                b[i + k] = t[k];
            for (int k = 0; k < 2; k++)
                lane[k] += (double)t[k] * (double)d[i + k];
            i += 2;
        }
        if (n & 1) {
            b[i] = (floating)((double)b[i] + c * (double)a[i]);
            lane[2] += (double)b[i] * (double)d[i];
        }
        return (lane[0] + lane[2]) + (lane[1] + lane[3]);
    }
}

/// max |a_i|; NaN coordinates are passed over.
template <class Group, typename floating>
__device__ __forceinline__ double max_abs(Group &group, Index n, const floating *a) {
    double largest = 0.0;
    for (Index i = group.rank(); i < n; i += group.size()) {
        const double size = fabs((double)a[i]);
        largest = size > largest ? size : largest;
    }
    return group.most(largest);
}

/// ||a||_2, where `largest` is max |a_i|; scaled by it only if the plain sum leaves float64's range.
template <class Group, typename floating>
__device__ __forceinline__ double norm(Group &group, Index n, const floating *a, double largest) {
    double total = dot(group, n, a, a);
    if ((1e-280 < total && total < 1e300) || largest == 0.0)
        return sqrt(total);
    total = 0.0;
    for (Index i = group.rank(); i < n; i += group.size()) {
        const double scaled = (double)a[i] / largest;
        total += scaled * scaled;
    }
    return largest * sqrt(group.sum(total));
}

/// (sum |a_i|^order)^(1 / order); max |a_i| for infinity, min |a_i| for -infinity.
template <class Group, typename floating>
__device__ double norm_of_order(Group &group, Index n, const floating *a, double order) {
    const double largest = max_abs(group, n, a);
    if (order == INFINITY || n == 0)
        return largest;
    if (order == 2.0)
        return norm(group, n, a, largest);
    double total = 0.0, smallest = INFINITY;
    for (Index i = group.rank(); i < n; i += group.size()) {
        smallest = fmin(smallest, fabs((double)a[i]));
        total += pow(fabs((double)a[i]), order);
    }
    if (order == -INFINITY)
        return -group.most(-smallest);
    return pow(group.sum(total), 1.0 / order);
}
