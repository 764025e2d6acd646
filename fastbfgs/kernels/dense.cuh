// Twin of dense.pxd: small matrices; see there.
//
// Column r of a matrix, or number r of a vector, belongs to thread r mod SIZE: alone it changes them, in the order of
// dense.pxd. So all of this has the same bits for any number of threads. What comes in is in view of its owners; what
// goes out is in view of all.

/// a = U'U; false, and a spoilt, if it is not positive definite.
template <class Group>
__device__ bool cholesky(Group &group, int k, int stride, double *a) {
    for (int j = 0; j < k; j++) {
        double *u = a + j * stride;
        if (group.owns(j))
            u[j] = u[j] > 0.0 && isfinite(u[j]) ? 1.0 / sqrt(u[j]) : 0.0;
        group.sync();
        const double c = u[j];
        if (!(c > 0.0))
            return false;
        for (int r = group.rank(); r < k; r += group.size())
            if (r > j)
                u[r] *= c;
        group.sync();
        for (int i = j + 1; i < k; i++) {
            double *row = a + i * stride;
            const double u_i = u[i];
            for (int r = group.rank(); r < k; r += group.size())
                if (r >= i)
                    row[r] -= u_i * u[r];
        }
    }
    return true;
}

/// b = U^-T b
template <class Group>
__device__ void solve_lower(Group &group, int k, int stride, const double *u, double *b) {
    for (int j = 0; j < k; j++) {
        if (group.owns(j))
            b[j] *= u[j * stride + j];
        group.sync();
        const double c = b[j];
        for (int i = group.rank(); i < k; i += group.size())
            if (i > j)
                b[i] -= c * u[j * stride + i];
    }
}

/// b = U^-1 b, by one thread: each number waits for all after it.
template <class Group>
__device__ void solve_upper(Group &group, int k, int stride, const double *u, double *b) {
    if (group.leads()) {
        for (int j = k - 1; j >= 0; j--) {
            double total = b[j];
            for (int i = j + 1; i < k; i++)
                total -= u[j * stride + i] * b[i];
            b[j] = total * u[j * stride + j];
        }
    }
    group.sync();
}

/// b = U^-T b, of a matrix b.
template <class Group>
__device__ void solve_lower_rows(Group &group, int k, int stride, const double *u, double *b) {
    for (int j = 0; j < k; j++) {
        const double c = u[j * stride + j];
        for (int r = group.rank(); r < k; r += group.size())
            b[j * stride + r] *= c;
        for (int i = j + 1; i < k; i++) {
            const double u_i = u[j * stride + i];
            for (int r = group.rank(); r < k; r += group.size())
                b[i * stride + r] -= u_i * b[j * stride + r];
        }
    }
    group.sync();
}
