# Members of very many coordinates: an iteration reads the history twice, in panels that threads may share.
#
# The two-loop recursion (lbfgs.pxd) needs inner products of the pairs and of g only, so these are kept in small tables
# and it runs on numbers: the idea of W. Chen, Z. Wang and J. Zhou, "Large-scale L-BFGS using MapReduce", NIPS 2014.
# The pairs are read once when a step is taken, for the products of all with the new pair and the new g, and once to
# add p up from them. We deviate in four places:
# - products with the new y are summed over y itself, not taken as differences of products with g: nothing cancels;
# - with a given diagonal H0 the products among the y, and of y with g, are weighted by it;
# - p.g is summed over p itself, not over the tables, so the line search knows it whatever has cancelled there. (Little
#   does: over 3,000 sets of up to 10 pairs, parallel ones among them, of conditions up to 1e14, the error of p was 1.3
#   times that of the recursion on vectors in the median, and above 10 times in 0.3 %, where it was below 2e-15.)
# - the pairs may be kept in float32 while x and g are float64. H is then that of the rounded pairs, exactly: every
#   table is of these, and so is the test of their curvature. Over the unbounded tests/problems.py, gtol = 1e-6, that
#   took 0.3 % more, 0.1 % less and 3.8 % more evaluations than full precision (geometric means, from the standard
#   starts and two others); with the rounding unit of float32 in the test of the curvature 5.8, 3.7 and 4.6 % more.
#
# vectors of a member, in units of n:
#
#     x | g | g_lo | s_0 y_0 | s_1 y_1 | ... | s_m y_m
#
# One slot more than there are pairs remembered: p stands in the s of slot `head` and is turned into the new s where it
# stands, so no vector is ever copied. Where the pairs are rounded and p is not, p has a room of its own before s_0.
# Behind the record stand, by slot, rho_j | s_i.y_j | y_i.y_j | s_j.g | y_j.g.
#
# Sums run over a block in lanes (blocks.pxd), over the blocks of a panel in order, and over the panels in order. What a
# panel is depends on n alone, so the bits do not depend on who has done which.

from cython cimport floating
from libc.math cimport sqrt, INFINITY

from fastbfgs.kernels.blocks cimport block_add, block_dot, block_products, block_sizes
from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.lbfgs cimport trusted
from fastbfgs.kernels.state cimport Member, Rules, Work, rho_of
from fastbfgs.kernels.vectors cimport norm_of_order

ctypedef fused pair:        # the dtype of the pairs
    double
    float

cdef enum:
    BLOCK = 1024            # coordinates; what the pairs meet there stays in the first-level cache
    PANELS = 128            # at most, of whole blocks

cdef enum:                  # what a panel sums up
    SS                      # s.s, s.y, y.y, g.g of the new pair and g
    SY
    YY
    GG
    S_MAX                   # max |s_i| and |g_i|
    G_MAX
    WEIGHTED_YY             # with a given diagonal H0
    PG                      # p.g
    PRODUCTS                # of every slot: s.y_new, s.g, y.s_new, y.y_new, y.g

cdef enum:
    EACH = 5                # of them
    WITH_Y_NEW = 0
    WITH_G = 1
    Y_WITH_S_NEW = 2
    Y_WITH_Y_NEW = 3
    Y_WITH_G = 4

cdef enum Purpose:
    POINT                   # x = x + alpha p
    SLOPE                   # p.g
    MOVE                    # take the step: x, g, and the new pair; its products and those of g
    ENTER                   # take a pair as given; products as with MOVE
    PROJECT                 # the products of g alone
    COMBINE                 # p from its coefficients; p.g

cdef struct Pass:           # once over the coordinates; `v`, `x`, `g`, `h0` are of the vectors' dtype
    Purpose purpose
    const Rules *rules
    Member *member
    void *v
    const void *h0
    void *x                 # POINT: where to put it; ENTER: s
    const void *g           # SLOPE, MOVE: at the trial; ENTER: y
    double alpha            # POINT, MOVE; COMBINE: of -g, or without pairs what divides it
    const double *along_s   # COMBINE: coefficients, by slot
    const double *along_y
    double *sums
    bint single             # the vectors are float32


cdef inline Py_ssize_t slots_of(const Rules *rules) noexcept nogil:
    return rules.m + 1


cdef inline Py_ssize_t behind_record(const Rules *rules) noexcept nogil:
    """How many float64 stand behind a record."""
    return 3 * slots_of(rules) + 2 * slots_of(rules) * slots_of(rules)


cdef inline Py_ssize_t sums_of(const Rules *rules) noexcept nogil:
    """How many a panel has."""
    return PRODUCTS + EACH * slots_of(rules)


cdef inline Py_ssize_t large_size(const Rules *rules) noexcept nogil:
    """How many float64 of scratch a thread needs: the sums of the panels and of all, and coefficients."""
    return (PANELS + 1) * sums_of(rules) + 3 * slots_of(rules) if rules.large else 0


cdef inline double *sy_of(const Rules *rules, Member *member) noexcept nogil:
    """s_i.y_j, a row for each i."""
    return rho_of(member) + slots_of(rules)


cdef inline double *yy_of(const Rules *rules, Member *member) noexcept nogil:
    return sy_of(rules, member) + slots_of(rules) * slots_of(rules)


cdef inline double *g_of(const Rules *rules, Member *member) noexcept nogil:
    """s_j.g, then y_j.g."""
    return yy_of(rules, member) + slots_of(rules) * slots_of(rules)


cdef inline bint p_apart(const Rules *rules, floating *_) noexcept nogil:
    """Has p a room of its own?"""
    return floating is double and rules.single


cdef inline void *ring_of(const Rules *rules, floating *v) noexcept nogil:
    return v + (4 if p_apart(rules, v) else 3) * rules.n


cdef inline floating *p_of(const Rules *rules, const Member *member, floating *v) noexcept nogil:
    return v + (3 if p_apart(rules, v) else 3 + 2 * member.head) * rules.n


cdef inline Py_ssize_t after(const Rules *rules, Py_ssize_t j) noexcept nogil:
    return j + 1 if j < rules.m else 0


cdef inline Py_ssize_t before(const Rules *rules, Py_ssize_t j) noexcept nogil:
    return j - 1 if j > 0 else rules.m


cdef inline Py_ssize_t panel_length(Py_ssize_t n) noexcept nogil:
    return ((n + PANELS - 1) // PANELS + BLOCK - 1) // BLOCK * BLOCK


cdef inline void large_point(
    const Rules *rules, Member *member, floating *v, double alpha, floating *x, const Work *work
) noexcept nogil:
    """x + alpha p"""
    cdef Pass job
    begin_pass(&job, POINT, rules, member, v, NULL)
    job.alpha = alpha
    job.x = x
    share(&job, work)


cdef inline double large_slope(
    const Rules *rules, Member *member, floating *v, const floating *g, const Work *work
) noexcept nogil:
    """p.g"""
    cdef Pass job
    begin_pass(&job, SLOPE, rules, member, v, NULL)
    job.g = g
    return perform(&job, work)[PG]


cdef inline bint large_leads_nowhere(
    const Rules *rules, const Member *member, const floating *v, double alpha
) noexcept nogil:
    """Is x + alpha p the same as x, rounded?"""
    cdef:
        const floating *p = p_of(rules, member, <floating *>v)
        Py_ssize_t i
    for i in range(rules.n):
        if <floating>(<double>v[i] + alpha * <double>p[i]) != v[i]:
            return False
    return True


cdef inline const double *large_move(
    const Rules *rules, Member *member, floating *v, const floating *h0, double alpha, const floating *g,
    const Work *work
) noexcept nogil:
    """x += alpha p, and take g there; return the sums of the new pair, which stands in slot `head`."""
    cdef Pass job
    begin_pass(&job, MOVE, rules, member, v, h0)
    job.alpha = alpha
    job.g = g
    return perform(&job, work)


cdef inline void large_enter(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *s, const floating *y,
    const Work *work
) noexcept nogil:
    """Remember the pair (s, y), if its curvature can be trusted."""
    cdef Pass job
    begin_pass(&job, ENTER, rules, member, v, h0)
    job.x = <void *>s
    job.g = y
    large_learn(rules, member, perform(&job, work), h0 != NULL)


cdef inline void large_learn(const Rules *rules, Member *member, const double *sums, bint weighted) noexcept nogil:
    """Remember the pair in slot `head`, whose sums these are, if its curvature can be trusted."""
    cdef:
        Py_ssize_t slots = slots_of(rules), head = member.head, known = member.count, j = head, _
        double *SY_ = sy_of(rules, member)
        double *YY_ = yy_of(rules, member)
        double *g = g_of(rules, member)
        const double *of_pair
        bint full = known == rules.m, learnt = trusted(rules.eps, sums[SS], sums[SY], sums[YY])
    if full:
        known -= 1                                          # the oldest goes
    for _ in range(known):
        j = before(rules, j)
        take_products_of_g(rules, g, sums, j)
        if learnt:
            of_pair = sums + PRODUCTS + EACH * j
            SY_[j * slots + head] = of_pair[WITH_Y_NEW]
            SY_[head * slots + j] = of_pair[Y_WITH_S_NEW]
            YY_[j * slots + head] = YY_[head * slots + j] = of_pair[Y_WITH_Y_NEW]
    member.fresh = full and not learnt                      # then the oldest stays, and its product with g is missing
    if not learnt:
        return
    take_products_of_g(rules, g, sums, head)
    SY_[head * slots + head] = sums[SY]
    YY_[head * slots + head] = sums[WEIGHTED_YY] if weighted else sums[YY]
    rho_of(member)[head] = 1.0 / sums[SY]
    member.gamma = sums[SY] / sums[YY]
    member.head = after(rules, head)
    member.count = known + 1


cdef inline double large_gradient_size(const Rules *rules, const floating *v, const double *sums) noexcept nogil:
    """The size of g that gtol limits, where `sums` are of it."""
    if rules.norm == INFINITY:
        return sums[G_MAX]
    if rules.norm == 2.0 and 1e-280 < sums[GG] < 1e300:
        return sqrt(sums[GG])
    return norm_of_order(rules.n, v + rules.n, rules.norm)


cdef inline double large_descent(
    const Rules *rules, Member *member, floating *v, const floating *h0, double length, const Work *work
) noexcept nogil:
    """p = -H0 g / length, where nothing has been learnt; return p.g."""
    cdef Pass job
    require(member.count == 0)
    begin_pass(&job, COMBINE, rules, member, v, h0)
    job.alpha = length
    return perform(&job, work)[PG]


cdef inline double large_direction(
    const Rules *rules, Member *member, floating *v, const floating *h0, const Work *work
) noexcept nogil:
    """p = -H g; return p.g."""
    cdef:
        Py_ssize_t slots = slots_of(rules), count = member.count, j = member.head, i, k, _
        const double *rho = rho_of(member)
        const double *s_y = sy_of(rules, member)
        const double *y_y = yy_of(rules, member)
        double *s_g = g_of(rules, member)
        double *y_g = s_g + slots
        double *a = work.sums + (PANELS + 1) * sums_of(rules)
        double *c = a + slots
        double *along_y = c + slots
        const double *sums
        double scale = member.gamma if h0 == NULL else 1.0, product
        Pass job
    require(0 <= count <= rules.m and 0 <= member.head <= rules.m)
    if count == 0:
        return large_descent(rules, member, v, h0, 1.0, work)
    if member.fresh:
        begin_pass(&job, PROJECT, rules, member, v, h0)
        sums = perform(&job, work)
        for _ in range(count):
            j = before(rules, j)
            take_products_of_g(rules, s_g, sums, j)
        j = member.head
        member.fresh = 0
    for k in range(count):                                  # newest to oldest: a_j = rho_j s_j.q
        j = before(rules, j)
        product = -s_g[j]
        i = member.head
        for _ in range(k):
            i = before(rules, i)
            product -= a[i] * s_y[j * slots + i]
        a[j] = rho[j] * product
    for k in range(count):                                  # oldest to newest: c_j = a_j - rho_j y_j.r
        product = -y_g[j]
        i = member.head
        for _ in range(count):
            i = before(rules, i)
            product -= a[i] * y_y[j * slots + i]
        product *= scale
        i = j
        for _ in range(k):
            i = before(rules, i)
            product += c[i] * s_y[i * slots + j]
        c[j] = a[j] - rho[j] * product
        along_y[j] = -scale * a[j]
        j = after(rules, j)
    begin_pass(&job, COMBINE, rules, member, v, h0)
    job.alpha = scale
    job.along_s = c
    job.along_y = along_y
    return perform(&job, work)[PG]


cdef inline void take_products_of_g(
    const Rules *rules, double *g, const double *sums, Py_ssize_t j
) noexcept nogil:
    """s_j.g and y_j.g into the table g, from the sums of a pass."""
    g[j] = sums[PRODUCTS + EACH * j + WITH_G]
    g[slots_of(rules) + j] = sums[PRODUCTS + EACH * j + Y_WITH_G]


cdef inline void begin_pass(
    Pass *job, Purpose purpose, const Rules *rules, Member *member, floating *v, const floating *h0
) noexcept nogil:
    job.purpose = purpose
    job.rules = rules
    job.member = member
    job.v = v
    job.h0 = h0
    job.x = NULL
    job.g = NULL
    job.alpha = 0.0
    job.along_s = job.along_y = NULL
    job.single = floating is float


cdef inline void panel_of(void *job, Py_ssize_t k) noexcept nogil:
    """Do panel k of a `Pass`."""
    cdef Pass *self = <Pass *>job
    if self.single:
        panel(self, <float *>self.v, <float *>ring_of(self.rules, <float *>self.v), k)
    elif self.rules.single:
        panel(self, <double *>self.v, <float *>ring_of(self.rules, <double *>self.v), k)
    else:
        panel(self, <double *>self.v, <double *>ring_of(self.rules, <double *>self.v), k)


cdef inline void panel(const Pass *job, floating *v, pair *pairs, Py_ssize_t k) noexcept nogil:
    cdef:
        const Rules *rules = job.rules
        Py_ssize_t n = rules.n, width = sums_of(rules), first = k * panel_length(n), i, count
        Py_ssize_t last = min(first + panel_length(n), n)
        double *sums = job.sums + k * width
        floating *p = p_of(rules, job.member, v)
    if job.purpose == POINT:
        for i in range(first, last):
            (<floating *>job.x)[i] = <floating>(<double>v[i] + job.alpha * <double>p[i])
        return
    for i in range(width):
        sums[i] = 0.0
    while first < last:
        count = min(BLOCK, last - first)
        if job.purpose == SLOPE:
            sums[PG] += block_dot(
                count, floating is float, p + first, floating is float, <const floating *>job.g + first)
        elif job.purpose == COMBINE:
            combine_block(job, v, pairs, first, count, sums)
        else:
            products_block(job, v, pairs, first, count, sums)
        first += count


cdef inline void products_block(
    const Pass *job, floating *v, pair *pairs, Py_ssize_t first, Py_ssize_t count, double *sums
) noexcept nogil:
    """MOVE, ENTER and PROJECT over `count` coordinates from `first` on."""
    cdef:
        const Rules *rules = job.rules
        const Member *member = job.member
        Py_ssize_t n = rules.n, known = member.count, j = member.head, i, _
        floating *x = v + first
        floating *g = x + n
        const floating *h0 = <const floating *>job.h0 + first if job.h0 != NULL else NULL
        const floating *given_s = <const floating *>job.x + first if job.x != NULL else NULL
        const floating *given_y = <const floating *>job.g + first if job.g != NULL else NULL
        const floating *p = p_of(rules, member, v) + first
        pair *s = pairs + 2 * n * j + first
        pair *y = s + n
        double s_new[BLOCK]
        double y_new[BLOCK]
        double g_new[BLOCK]
        double weighted_y[BLOCK]
        double weighted_g[BLOCK]
        double *wy = y_new
        double *wg = g_new
        floating number
    if job.purpose == MOVE:
        for i in range(count):
            number = <floating>(<double>x[i] + job.alpha * <double>p[i])
            s[i] = <pair>(number - x[i])
            x[i] = number
            s_new[i] = s[i]
        for i in range(count):
            number = given_y[i]                             # g at the trial
            y[i] = <pair>(number - g[i])
            g[i] = number
            y_new[i] = y[i]
            g_new[i] = number
    else:
        for i in range(count):
            g_new[i] = g[i]
            s_new[i] = y_new[i] = 0.0
        if job.purpose == ENTER:
            for i in range(count):
                s[i] = <pair>given_s[i]
                y[i] = <pair>given_y[i]
                s_new[i] = s[i]
                y_new[i] = y[i]
    block_sizes(count, s_new, y_new, g_new, sums)
    if h0 != NULL:
        wy = weighted_y
        wg = weighted_g
        for i in range(count):
            wy[i] = <double>h0[i] * y_new[i]
            wg[i] = <double>h0[i] * g_new[i]
        sums[WEIGHTED_YY] += block_dot(count, False, wy, False, y_new)
    if job.purpose != PROJECT:
        sums[PRODUCTS + EACH * j + WITH_G] += block_dot(count, False, s_new, False, g_new)
        sums[PRODUCTS + EACH * j + Y_WITH_G] += block_dot(count, False, y_new, False, wg)
        known = min(known, rules.m - 1)                     # the oldest is about to go
    for _ in range(known):
        j = before(rules, j)
        s = pairs + 2 * n * j + first
        block_products(count, pair is float, s, s + n, s_new, y_new, g_new, wy, wg, sums + PRODUCTS + EACH * j)


cdef inline void combine_block(
    const Pass *job, floating *v, pair *pairs, Py_ssize_t first, Py_ssize_t count, double *sums
) noexcept nogil:
    """COMBINE over `count` coordinates from `first` on."""
    cdef:
        const Rules *rules = job.rules
        const Member *member = job.member
        Py_ssize_t n = rules.n, j = member.head, i, _
        const floating *g = v + n + first
        const floating *h0 = <const floating *>job.h0 + first if job.h0 != NULL else NULL
        floating *p = p_of(rules, member, v) + first
        pair *s
        double sum[BLOCK]
        double g_new[BLOCK]
    for i in range(count):
        g_new[i] = g[i]
        sum[i] = -g_new[i] / job.alpha if member.count == 0 else -g_new[i] * job.alpha
    if h0 != NULL:                                          # first the y, then H0, then the s
        for _ in range(member.count):
            j = before(rules, j)
            s = pairs + 2 * n * j + first
            block_add(count, pair is float, 0.0, s + n, job.along_y[j], s + n, sum)
        for i in range(count):
            sum[i] *= <double>h0[i]
    j = member.head
    for _ in range(member.count):
        j = before(rules, j)
        s = pairs + 2 * n * j + first
        if h0 != NULL:
            block_add(count, pair is float, job.along_s[j], s, 0.0, s, sum)
        else:
            block_add(count, pair is float, job.along_s[j], s, job.along_y[j], s + n, sum)
    for i in range(count):
        p[i] = <floating>sum[i]
        sum[i] = p[i]
    sums[PG] += block_dot(count, False, sum, False, g_new)


cdef inline Py_ssize_t share(Pass *job, const Work *work) noexcept nogil:
    """Do all panels of a pass; return how many there are."""
    cdef Py_ssize_t length = panel_length(job.rules.n), panels = (job.rules.n + length - 1) // length, k
    job.sums = work.sums
    if work.team.run != NULL and panels > 1:
        work.team.run(work.team.self, panel_of, job, panels)
    else:
        for k in range(panels):
            panel_of(job, k)
    return panels


cdef inline const double *perform(Pass *job, const Work *work) noexcept nogil:
    """Do all panels of a pass; return their sums."""
    cdef:
        Py_ssize_t panels = share(job, work), width = sums_of(job.rules), i, _
        double *total = work.sums + PANELS * width
        const double *sums = work.sums
    for i in range(width):
        total[i] = 0.0
    for _ in range(panels):
        for i in range(width):
            if i == S_MAX or i == G_MAX:
                total[i] = sums[i] if sums[i] > total[i] else total[i]
            else:
                total[i] += sums[i]
        sums += width
    return total
