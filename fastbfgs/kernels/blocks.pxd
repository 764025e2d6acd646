# What is done to a block of coordinates of one large member: sums and updates of several vectors, in one reading.
#
# The lanes are those of vectors.pxd, four, and so are the bits under every instruction set. They are written out as
# vectors here because GCC finds none in loops with several sums: 4.0 instead of 0.8 ns for four coordinates of a pair
# (AVX2, from the first-level cache). A pair stands in memory as float64 or, `single`, as float32; everything is summed
# in float64. The processor is asked for a pair's numbers ahead of time: without that the products of pairs with three
# vectors took 2.7 times as long as a bare reading of the pairs at 48 GB/s, and with it 1.4 times; adding pairs up took
# 1.8 times, and with it 1.3 (C trial, n = 1e6, m = 10, AVX2).

cdef extern from *:
    """
    #include <stddef.h>
    #include <math.h>
    #if defined(__GNUC__)
        #if defined(__AVX__)
            #define LONG_WIDE 4
        #else
            #define LONG_WIDE 2
        #endif
        #define LONG_INLINE static inline __attribute__((always_inline))
        #define LONG_FETCH(address) __builtin_prefetch(address)
        typedef double long_v __attribute__((vector_size(8 * LONG_WIDE), aligned(8), may_alias));
        typedef float long_s __attribute__((vector_size(4 * LONG_WIDE), aligned(4), may_alias));
        typedef long long long_i __attribute__((vector_size(8 * LONG_WIDE), aligned(8), may_alias));
        #define LONG_LOAD_S(address) __builtin_convertvector(*(const long_s *)(address), long_v)
        #define LONG_LANE(v, k) (v)[k]
        LONG_INLINE long_v long_abs(long_v a) { return (long_v)((long_i)a & ((long_i){0} + 0x7fffffffffffffffLL)); }
        LONG_INLINE long_v long_max(long_v a, long_v b)
        { long_i more = (long_i)(a > b); return (long_v)(((long_i)a & more) | ((long_i)b & ~more)); }
    #else
        #define LONG_WIDE 1
        #define LONG_INLINE static __inline
        #define LONG_FETCH(address) ((void)(address))
        typedef double long_v;
        #define LONG_LOAD_S(address) ((double)*(const float *)(address))
        #define LONG_LANE(v, k) (v)
        LONG_INLINE long_v long_abs(long_v a) { return fabs(a); }
        LONG_INLINE long_v long_max(long_v a, long_v b) { return a > b ? a : b; }
    #endif
    #define LONG_PARTS (4 / LONG_WIDE)
    #define LONG_PRODUCTS_AHEAD 512 /* numbers */
    #define LONG_ADD_AHEAD 256
    #define LONG_LINE 8             /* numbers that one request brings, at least */
    #define LONG_EACH for (int part = 0; part < LONG_PARTS; part++)

    LONG_INLINE long_v long_load(int single, const void *a, ptrdiff_t i)
    { return single ? LONG_LOAD_S((const float *)a + i) : *(const long_v *)((const double *)a + i); }
    LONG_INLINE double long_number(int single, const void *a, ptrdiff_t i)
    { return single ? (double)((const float *)a)[i] : ((const double *)a)[i]; }
    LONG_INLINE void long_fetch(int single, const void *a, ptrdiff_t i)
    { LONG_FETCH((const char *)a + i * (single ? 4 : 8)); }
    /* the four lanes of a sum as one number */
    LONG_INLINE double long_total(const double *lane) { return (lane[0] + lane[2]) + (lane[1] + lane[3]); }
    LONG_INLINE void long_unpack(const long_v *sums, double *lane)
    { LONG_EACH for (int k = 0; k < LONG_WIDE; k++) lane[part * LONG_WIDE + k] = LONG_LANE(sums[part], k); }

    /* sum a b */
    LONG_INLINE double long_dot(ptrdiff_t n, int single_a, const void *a, int single_b, const void *b)
    {
        long_v sum[LONG_PARTS] = {0};
        double lane[4];
        ptrdiff_t i;
        for (i = 0; i + 4 <= n; i += 4)
            LONG_EACH sum[part] += long_load(single_a, a, i + part * LONG_WIDE)
                                   * long_load(single_b, b, i + part * LONG_WIDE);
        long_unpack(sum, lane);
        for (; i < n; i++) lane[i & 3] += long_number(single_a, a, i) * long_number(single_b, b, i);
        return long_total(lane);
    }

    /* out += s.s, s.y, y.y, g.g; then the largest |s_i| and |g_i| into out[4] and out[5] */
    LONG_INLINE void long_sizes(ptrdiff_t n, const double *s, const double *y, const double *g, double *out)
    {
        long_v sum[6][LONG_PARTS] = {{0}};
        double lane[4];
        ptrdiff_t i;
        int k;
        for (i = 0; i + 4 <= n; i += 4)
            LONG_EACH {
                long_v a = long_load(0, s, i + part * LONG_WIDE), b = long_load(0, y, i + part * LONG_WIDE);
                long_v c = long_load(0, g, i + part * LONG_WIDE);
                sum[0][part] += a * a;
                sum[1][part] += a * b;
                sum[2][part] += b * b;
                sum[3][part] += c * c;
                sum[4][part] = long_max(long_abs(a), sum[4][part]);
                sum[5][part] = long_max(long_abs(c), sum[5][part]);
            }
        for (k = 0; k < 4; k++) {
            long_unpack(sum[k], lane);
            for (ptrdiff_t j = i; j < n; j++)
                lane[j & 3] += (k == 0 || k == 1 ? s[j] : k == 2 ? y[j] : g[j])
                               * (k == 0 ? s[j] : k == 3 ? g[j] : y[j]);
            out[k] += long_total(lane);
        }
        for (k = 4; k < 6; k++) {
            long_unpack(sum[k], lane);
            for (ptrdiff_t j = i; j < n; j++) {
                double size = fabs(k == 4 ? s[j] : g[j]);
                lane[0] = size > lane[0] ? size : lane[0];
            }
            for (int l = 0; l < 4; l++) out[k] = lane[l] > out[k] ? lane[l] : out[k];
        }
    }

    /* out += s.y_new, s.g, y.s_new, y.wy_new, y.wg */
    LONG_INLINE void long_products(
        ptrdiff_t n, int single, const void *s, const void *y, const double *s_new, const double *y_new,
        const double *g, const double *wy_new, const double *wg, double *out)
    {
        long_v sum[5][LONG_PARTS] = {{0}};
        double lane[5][4];
        ptrdiff_t i, j;
        int k;
        for (i = 0; i + LONG_LINE <= n; i += LONG_LINE) {
            long_fetch(single, s, i + LONG_PRODUCTS_AHEAD);
            long_fetch(single, y, i + LONG_PRODUCTS_AHEAD);
            for (j = i; j < i + LONG_LINE; j += 4)
                LONG_EACH {
                    ptrdiff_t at = j + part * LONG_WIDE;
                    long_v a = long_load(single, s, at), b = long_load(single, y, at);
                    sum[0][part] += a * long_load(0, y_new, at);
                    sum[1][part] += a * long_load(0, g, at);
                    sum[2][part] += b * long_load(0, s_new, at);
                    sum[3][part] += b * long_load(0, wy_new, at);
                    sum[4][part] += b * long_load(0, wg, at);
                }
        }
        for (k = 0; k < 5; k++) long_unpack(sum[k], lane[k]);
        for (; i < n; i++) {
            double a = long_number(single, s, i), b = long_number(single, y, i);
            lane[0][i & 3] += a * y_new[i];
            lane[1][i & 3] += a * g[i];
            lane[2][i & 3] += b * s_new[i];
            lane[3][i & 3] += b * wy_new[i];
            lane[4][i & 3] += b * wg[i];
        }
        for (k = 0; k < 5; k++) out[k] += long_total(lane[k]);
    }

    /* p += cs s + cy y */
    LONG_INLINE void long_add(
        ptrdiff_t n, int single, double cs, const void *s, double cy, const void *y, double *p)
    {
        ptrdiff_t i, j;
        for (i = 0; i + LONG_LINE <= n; i += LONG_LINE) {
            long_fetch(single, s, i + LONG_ADD_AHEAD);
            long_fetch(single, y, i + LONG_ADD_AHEAD);
            for (j = i; j < i + LONG_LINE; j += 4)
                LONG_EACH {
                    ptrdiff_t at = j + part * LONG_WIDE;
                    *(long_v *)(p + at) += cs * long_load(single, s, at) + cy * long_load(single, y, at);
                }
        }
        for (; i < n; i++) p[i] += cs * long_number(single, s, i) + cy * long_number(single, y, i);
    }

    static double fastbfgs_block_dot(ptrdiff_t n, int single_a, const void *a, int single_b, const void *b)
    {
        return single_a ? (single_b ? long_dot(n, 1, a, 1, b) : long_dot(n, 1, a, 0, b))
                        : (single_b ? long_dot(n, 0, a, 1, b) : long_dot(n, 0, a, 0, b));
    }
    static void fastbfgs_block_sizes(ptrdiff_t n, const double *s, const double *y, const double *g, double *out)
    { long_sizes(n, s, y, g, out); }
    static void fastbfgs_block_products(
        ptrdiff_t n, int single, const void *s, const void *y, const double *s_new, const double *y_new,
        const double *g, const double *wy_new, const double *wg, double *out)
    {
        if (wg != g) {      /* else y_new and g are read once, as the compiler then sees */
            if (single) long_products(n, 1, s, y, s_new, y_new, g, wy_new, wg, out);
            else long_products(n, 0, s, y, s_new, y_new, g, wy_new, wg, out);
        }
        else if (single) long_products(n, 1, s, y, s_new, y_new, g, y_new, g, out);
        else long_products(n, 0, s, y, s_new, y_new, g, y_new, g, out);
    }
    static void fastbfgs_block_add(
        ptrdiff_t n, int single, double cs, const void *s, double cy, const void *y, double *p)
    {
        if (single) long_add(n, 1, cs, s, cy, y, p);
        else long_add(n, 0, cs, s, cy, y, p);
    }
    """
    double block_dot "fastbfgs_block_dot" (
        Py_ssize_t n, bint single_a, const void *a, bint single_b, const void *b) noexcept nogil
    void block_sizes "fastbfgs_block_sizes" (
        Py_ssize_t n, const double *s, const double *y, const double *g, double *out) noexcept nogil
    void block_products "fastbfgs_block_products" (
        Py_ssize_t n, bint single, const void *s, const void *y, const double *s_new, const double *y_new,
        const double *g, const double *wy_new, const double *wg, double *out) noexcept nogil
    void block_add "fastbfgs_block_add" (
        Py_ssize_t n, bint single, double cs, const void *s, double cy, const void *y, double *p) noexcept nogil
