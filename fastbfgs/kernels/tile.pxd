# Which way, for TILE narrow members at a time: `direction` of lbfgs.pxd with one member in each lane.
#
# Follows lbfgs.pxd operation by operation, so every member gets the bits that it gets alone. The sums of a narrow
# member are too short to fill vector registers, and Algorithm 7.4 waits for each of them in turn; side by side, TILE
# members fill them and wait once.
#
# The members stand where they always stand: what is interleaved is a copy of their pairs in scratch, made afresh for
# each tile. So a tile takes any members that happen to need a direction, a member costs no cache lines but its own, and
# nobody else has to know. Memory interleaved for good would save the copy, about a quarter of a tile's instructions,
# and would drag members along that wait for their values, or have ended.
#
# A member with fewer pairs than another of its tile has absent pairs, as if they were newer than all others: s = -0,
# y = +0, rho = 0. With finite q, s.q = y.q = +0 then, a = +0, and q - a y = q + (+0) s = q, to the bit, also where q
# is -0. If q overflows, p.g is not finite, and p is given up with or without them.
#
# scratch, in units of TILE numbers:
#
#     product | c | q (n) | g (n) | scale (n) | rho (m) | a (m) | s_0 (n) y_0 (n) | s_1 y_1 | ... | rows (m)
#
# with the newest pair first; `rows` are where the pairs come from. Everything in it is float64; what was float32 is
# rounded as lbfgs.pxd rounds it.
#
# Whole runs on a compiled Rosenbrock function, AVX2, B = 10,000, us an evaluation: n = 2: 0.138 instead of 0.186 (one
# member at a time, SSE2), n = 10: 0.197 instead of 0.280, n = 20: 0.305 instead of 0.409, n = 32: 0.44 instead of 0.49.
# In SSE2 n = 10 takes 0.26 and n = 20 more than one at a time: hence FASTBFGS_NARROW. In AVX-512 (another machine,
# where AVX2 takes 0.076, 0.107) eight lanes a register take 0.068 and 0.107, four lanes 0.077 and 0.115.

from cython cimport floating

from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.state cimport LBFGS, Member, Rules, rho_of
from fastbfgs.kernels.vectors cimport LANES

cdef extern from *:
    """
    #if defined(__GNUC__)
        #if defined(__AVX512F__)
            #define FASTBFGS_WIDE 8
        #elif defined(__AVX__)
            #define FASTBFGS_WIDE 4
        #else
            #define FASTBFGS_WIDE 2
            #define FASTBFGS_NARROW 12
        #endif
        typedef double fastbfgs_wide __attribute__((vector_size(8 * FASTBFGS_WIDE), may_alias));
        typedef float fastbfgs_wide_f32 __attribute__((vector_size(4 * FASTBFGS_WIDE)));
        #define FASTBFGS_ROUNDED(wide) \
            __builtin_convertvector(__builtin_convertvector(wide, fastbfgs_wide_f32), fastbfgs_wide)
    #else
        #define FASTBFGS_WIDE 1
        #define FASTBFGS_NARROW 0   /* no tiles */
        typedef double fastbfgs_wide;
        #define FASTBFGS_ROUNDED(wide) ((double)(float)(wide))
    #endif
    #if !defined(FASTBFGS_NARROW)
        #define FASTBFGS_NARROW 32
    #endif
    static inline fastbfgs_wide fastbfgs_zero(void) { fastbfgs_wide zero = {0}; return zero; }

    /* b_k (8 apart) = the numbers k of four vectors, k = 0 to 3 */
    #if defined(__AVX__)
        #include <immintrin.h>
        #define FASTBFGS_FOUR_OF(a) _Generic(*(a), \
            double: _mm256_loadu_pd((const double *)(a)), float: _mm256_cvtps_pd(_mm_loadu_ps((const float *)(a))))
        #define FASTBFGS_TRANSPOSE(a0, a1, a2, a3, b) do { \
            __m256d r0 = FASTBFGS_FOUR_OF(a0), r1 = FASTBFGS_FOUR_OF(a1); \
            __m256d r2 = FASTBFGS_FOUR_OF(a2), r3 = FASTBFGS_FOUR_OF(a3); \
            __m256d t0 = _mm256_unpacklo_pd(r0, r1), t1 = _mm256_unpackhi_pd(r0, r1); \
            __m256d t2 = _mm256_unpacklo_pd(r2, r3), t3 = _mm256_unpackhi_pd(r2, r3); \
            _mm256_store_pd(b, _mm256_permute2f128_pd(t0, t2, 0x20)); \
            _mm256_store_pd((b) + 8, _mm256_permute2f128_pd(t1, t3, 0x20)); \
            _mm256_store_pd((b) + 16, _mm256_permute2f128_pd(t0, t2, 0x31)); \
            _mm256_store_pd((b) + 24, _mm256_permute2f128_pd(t1, t3, 0x31)); \
        } while (0)
    #else
        #define FASTBFGS_TRANSPOSE(a0, a1, a2, a3, b) do { \
            for (int k = 0; k < 4; k++) { \
                (b)[8 * k] = (a0)[k], (b)[8 * k + 1] = (a1)[k], (b)[8 * k + 2] = (a2)[k], (b)[8 * k + 3] = (a3)[k]; \
            } \
        } while (0)
    #endif
    """
    enum:
        WIDE "FASTBFGS_WIDE"                                # members in a vector register
        FASTBFGS_NARROW                                     # coordinates up to which tiles pay
        PARTS "(8 / FASTBFGS_WIDE)"                         # registers that hold one number of each of a tile
    ctypedef double wide "fastbfgs_wide"                    # one number of each: to Cython a double
    wide to_float32 "FASTBFGS_ROUNDED" (wide) noexcept nogil
    wide zero "fastbfgs_zero" () noexcept nogil
    void transpose "FASTBFGS_TRANSPOSE" (
        const void *a0, const void *a1, const void *a2, const void *a3, double *b) noexcept nogil

cdef enum:
    TILE = 8                # members
    WIDEST = 32             # coordinates at most

cdef struct Tile:           # the members that wait for a direction; v and h0 are of the vectors' dtype
    Py_ssize_t count
    Member *member[TILE]
    void *v[TILE]
    void *h0[TILE]


cdef extern from *:
    """
    #define MINUS_8 -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f
    static const float fastbfgs_absent_f32[64] = {MINUS_8, MINUS_8, MINUS_8, MINUS_8};
    static const double fastbfgs_absent[64] = {MINUS_8, MINUS_8, MINUS_8, MINUS_8};
    """
    const double *ABSENT "fastbfgs_absent"                  # s of WIDEST numbers, y of WIDEST numbers
    const float *ABSENT_F32 "fastbfgs_absent_f32"


cdef inline bint tiles_pay(const Rules *rules) noexcept nogil:
    """For members of this kind, under the instruction set that this file is compiled for?"""
    return rules.method == LBFGS and rules.n <= FASTBFGS_NARROW and not rules.large


cdef inline Py_ssize_t tile_size(const Rules *rules) noexcept nogil:
    """How many float64 `directions` needs."""
    return TILE * (2 + 3 * rules.n + 2 * rules.m * rules.n + 3 * rules.m) if rules.narrow else 0


cdef inline void axpy_dot_across(
    Py_ssize_t n, bint single, const wide *c, const wide *a, wide *b, const wide *d, wide *product
) noexcept nogil:
    """b += c a, unless c is NULL; then product = b . d."""
    cdef:
        wide sums[LANES]
        wide factor
        Py_ssize_t part, i, k
    for part in range(PARTS):
        sums[0] = sums[1] = sums[2] = sums[3] = zero()
        factor = c[part] if c != NULL else zero()
        for i in range(n >> 2):
            for k in range(LANES):
                axpy_dot_at((LANES * i + k) * PARTS + part, single, c != NULL, factor, a, b, d, &sums[k])
        i = (n & ~3) * PARTS + part
        if n & 2:
            axpy_dot_at(i, single, c != NULL, factor, a, b, d, &sums[0])
            axpy_dot_at(i + PARTS, single, c != NULL, factor, a, b, d, &sums[1])
            i += 2 * PARTS
        if n & 1:
            axpy_dot_at(i, single, c != NULL, factor, a, b, d, &sums[2])
        product[part] = (sums[0] + sums[2]) + (sums[1] + sums[3])


cdef inline void axpy_dot_at(
    Py_ssize_t i, bint single, bint update, wide c, const wide *a, wide *b, const wide *d, wide *sums
) noexcept nogil:
    """Coordinate i of `axpy_dot_across`."""
    cdef wide t = b[i]
    if update:
        t = t + c * a[i]
        if single:
            t = to_float32(t)
        b[i] = t
    sums[0] = sums[0] + t * d[i]


cdef inline void interleave(Py_ssize_t n, const floating **a, double *b) noexcept nogil:
    """Each row of a (TILE, n) into a lane of b."""
    cdef Py_ssize_t i, lane
    for lane in range(0, TILE, 4):
        for i in range(0, n & ~3, 4):
            transpose(a[lane] + i, a[lane + 1] + i, a[lane + 2] + i, a[lane + 3] + i, b + i * TILE + lane)
    for i in range(n & ~3, n):
        for lane in range(TILE):
            b[i * TILE + lane] = a[lane][i]


cdef inline bint fits(const Rules *rules, const Member *member) noexcept nogil:
    """Can the member's next direction be one of a tile?"""
    return rules.narrow and member.count > 0 and not member.bounded


cdef inline void directions(
    const Rules *rules, Py_ssize_t count, Member **member, floating **v, const floating **h0, double *room,
    double *slope
) noexcept nogil:
    """p = -H g of `count` members, all of which fit; slope (TILE) is their p.g."""
    cdef:
        Py_ssize_t n = rules.n, most = 0, stride, i, j, k, lane
        Py_ssize_t size = n * PARTS
        bint single = floating is float
        wide *product = <wide *>room
        wide *c = product + PARTS
        wide *q = c + PARTS
        wide *g = q + size
        wide *scale = g + size                              # (n), or (1)
        wide *rho = scale + size
        wide *a = rho + rules.m * PARTS
        wide *s = a + rules.m * PARTS                       # y stands right behind it
        const floating **rows = <const floating **>(s + 2 * rules.m * size)
        const floating *row[TILE]
        const floating *pair
        const floating *absent
    if floating is double:
        absent = ABSENT + WIDEST - n
    else:
        absent = ABSENT_F32 + WIDEST - n
    require(0 < count <= TILE and rules.narrow and n <= WIDEST)
    for lane in range(count, TILE):
        member[lane], v[lane], h0[lane] = member[0], v[0], h0[0]
    for lane in range(TILE):
        require(fits(rules, member[lane]) and member[lane].count <= rules.m)
        most = max(most, member[lane].count)
        row[lane] = v[lane] + n
    interleave(n, row, <double *>g)
    if h0[0] != NULL:
        interleave(n, h0, <double *>scale)
    for lane in range(TILE):
        if h0[0] == NULL:
            (<double *>scale)[lane] = member[lane].gamma
        for k in range(most - member[lane].count):
            (<double *>rho)[k * TILE + lane] = 0.0
            rows[k * TILE + lane] = absent
        j = member[lane].head
        pair = v[lane] + (4 + 2 * j) * n
        for k in range(most - member[lane].count, most):
            if j == 0:
                j = rules.m
                pair += 2 * rules.m * n
            j -= 1
            pair -= 2 * n
            (<double *>rho)[k * TILE + lane] = rho_of(member[lane])[j]
            rows[k * TILE + lane] = pair
    for k in range(most):
        interleave(2 * n, rows + k * TILE, <double *>(s + 2 * k * size))

    for i in range(size):
        q[i] = -g[i]
    axpy_dot_across(n, single, NULL, NULL, q, s, product)
    for k in range(most):                                   # newest to oldest
        for i in range(PARTS):
            a[i] = rho[i] * product[i]
            c[i] = -a[i]
        if k + 1 < most:
            axpy_dot_across(n, single, c, s + size, q, s + 2 * size, product)
            s += 2 * size
            a += PARTS
            rho += PARTS
    stride = 0 if h0[0] == NULL else PARTS
    for i in range(n):
        for k in range(PARTS):
            q[i * PARTS + k] = (q[i * PARTS + k] + c[k] * s[size + i * PARTS + k]) * scale[i * stride + k]
            if single:
                q[i * PARTS + k] = to_float32(q[i * PARTS + k])
    axpy_dot_across(n, single, NULL, NULL, q, s + size, product)
    for k in range(most):                                   # oldest to newest
        for i in range(PARTS):
            c[i] = a[i] - rho[i] * product[i]
        axpy_dot_across(n, single, c, s, q, s - size if k + 1 < most else g, product)
        s -= 2 * size
        a -= PARTS
        rho -= PARTS

    for lane in range(count):
        slope[lane] = (<double *>product)[lane]
        for i in range(n):
            v[lane][2 * n + i] = <floating>(<double *>q)[i * TILE + lane]
