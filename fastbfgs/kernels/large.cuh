// Twin of large.pxd: members of very many coordinates, each shared by all blocks of a launch; see there.
//
// A pass over the coordinates ends in a barrier of all blocks, after which each adds up the sums of all, in order.
// Every thread of every block then has the same numbers, and decides the same, as in group.cuh. An iteration has three
// passes, and reads the pairs twice. The launch is cooperative: its blocks are all there at the same time. What has no
// tables is for grid.cuh: bounds, a matrix, other norms.
//
// It differs in what a panel is: as many coordinates as a block's threads take in a few turns, so that the new pair
// stays in the first-level cache while the others stream past. That depends on how many blocks there are, and so the
// bits depend on the device. Pairs are of the vectors' dtype.

constexpr int MOST_SLOTS = 65;

enum { SS, SY, YY, GG, S_MAX, G_MAX, WEIGHTED_YY, PG, PRODUCTS };

enum { WITH_Y_NEW, WITH_G, Y_WITH_S_NEW, Y_WITH_Y_NEW, Y_WITH_G, EACH };

enum Purpose { MOVE, ENTER, PROJECT };

constexpr int MOST_SUMS = PRODUCTS + EACH * MOST_SLOTS;

struct Shared {                                             // by the threads of a block
    double of_warp[GRID_BLOCK / 32][MOST_SUMS];
    double total[MOST_SUMS];
    double a[MOST_SLOTS], along_s[MOST_SLOTS], along_y[MOST_SLOTS];
};

template <typename floating>
struct Large {
    Shared &shared;
    const Rules &rules;
    Member member;                                          // a copy
    floating *v;
    const floating *h0;
    double *behind;                                         // the record
    double *sums;                                           // (2, blocks, MOST_SUMS) that blocks leave to each other
    unsigned long long *arrived;                            // blocks at barriers, since ever
    int turn;

    __device__ int slots() const { return (int)rules.m + 1; }
    __device__ int after(int j) const { return j < (int)rules.m ? j + 1 : 0; }
    __device__ int before(int j) const { return j > 0 ? j - 1 : (int)rules.m; }
    __device__ double *rho() const { return behind; }
    __device__ double *sy() const { return behind + slots(); }
    __device__ double *yy() const { return sy() + slots() * slots(); }
    __device__ double *g_of() const { return yy() + slots() * slots(); }
    __device__ floating *s_at(int j) const { return v + (3 + 2 * j) * rules.n; }
    __device__ floating *p() const { return s_at(member.head); }
    __device__ const double *total() const { return shared.total; }

    // --------------------------------------------------------------------------------------------
    // Passes

    /// Coordinates that a block takes at a time: all blocks have some, if there are enough.
    __device__ Index panel() const {
        const Index even = (rules.n + gridDim.x - 1) / gridDim.x;
        const Index whole = (even + GRID_BLOCK - 1) / GRID_BLOCK * GRID_BLOCK;
        return whole < 32 * GRID_BLOCK ? whole : 32 * GRID_BLOCK;
    }

    /// Call `task(first, last)` for this thread's coordinates of each panel: from first to last, GRID_BLOCK apart.
    template <typename Task>
    __device__ void each_panel(Task task) const {
        const Index length = panel();
        for (Index start = blockIdx.x * length; start < rules.n; start += gridDim.x * length)
            task(start + threadIdx.x, start + length < rules.n ? start + length : rules.n);
    }

    __device__ void begin_pass(int width) {
        for (int i = threadIdx.x % 32; i < width; i += 32)
            shared.of_warp[threadIdx.x / 32][i] = 0.0;
        __syncwarp(0xffffffffu);
    }

    /// Add what the threads of a warp have found to its sum `which`, or take the largest.
    __device__ void add(int which, double value, bool largest = false) {
        for (int k = 16; k > 0; k /= 2) {
            const double other = __shfl_xor_sync(0xffffffffu, value, k);
            value = largest ? fmax(value, other) : value + other;
        }
        double &sum = shared.of_warp[threadIdx.x / 32][which];
        if (threadIdx.x % 32 == 0)
            sum = largest ? fmax(sum, value) : sum + value;
    }

    /// Wait for all blocks; then `total` has the sums of all.
    __device__ void end_pass(int width) {
        volatile double *rooms = sums + (Index)turn * gridDim.x * MOST_SUMS;
        turn ^= 1;                                          // a slow block may still read what the last pass left
        __syncthreads();
        for (int i = threadIdx.x; i < width; i += GRID_BLOCK) {
            double sum = shared.of_warp[0][i];
            for (int k = 1; k < GRID_BLOCK / 32; k++)
                sum = i == S_MAX || i == G_MAX ? fmax(sum, shared.of_warp[k][i]) : sum + shared.of_warp[k][i];
            rooms[(Index)blockIdx.x * MOST_SUMS + i] = sum;
        }
        wait_for_blocks(arrived);
        for (int i = threadIdx.x; i < width; i += GRID_BLOCK) {
            double sum = 0.0;
            for (unsigned block = 0; block < gridDim.x; block++) {
                const double of_block = rooms[(Index)block * MOST_SUMS + i];
                sum = i == S_MAX || i == G_MAX ? fmax(sum, of_block) : sum + of_block;
            }
            shared.total[i] = sum;
        }
        __syncthreads();
    }

    /// p.g
    __device__ double slope(const floating *g) {
        const floating *p = this->p();
        double sum = 0.0;
        begin_pass(PRODUCTS);
        each_panel([&](Index first, Index last) {
            for (Index i = first; i < last; i += GRID_BLOCK)
                sum += (double)p[i] * (double)g[i];
        });
        add(PG, sum);
        end_pass(PRODUCTS);
        return total()[PG];
    }

    /// ||a||_2, scaled only if the plain sum leaves float64's range.
    __device__ double norm_of(const floating *a) {
        double scale = 1.0, sum, largest;
        for (int round = 0; round < 2; round++) {
            sum = largest = 0.0;
            begin_pass(PRODUCTS);
            each_panel([&](Index first, Index last) {
                for (Index i = first; i < last; i += GRID_BLOCK) {
                    const double scaled = (double)a[i] / scale;
                    sum += scaled * scaled;
                    largest = fabs((double)a[i]) > largest ? fabs((double)a[i]) : largest;
                }
            });
            add(GG, sum);
            add(G_MAX, largest, true);
            end_pass(PRODUCTS);
            sum = total()[GG];
            largest = total()[G_MAX];
            if (round > 0 || (1e-280 < sum && sum < 1e300) || largest == 0.0 || !isfinite(largest))
                break;
            scale = largest;
        }
        return scale * sqrt(sum);
    }

    __device__ double gradient_size() {
        if (rules.norm == INFINITY)
            return total()[G_MAX];
        return 1e-280 < total()[GG] && total()[GG] < 1e300 ? sqrt(total()[GG]) : norm_of(v + rules.n);
    }

    /// Is x + alpha p the same as x, rounded?
    __device__ bool leads_nowhere(double alpha) {
        const floating *p = this->p();
        double moves = 0.0;
        begin_pass(PRODUCTS);
        each_panel([&](Index first, Index last) {
            for (Index i = first; i < last; i += GRID_BLOCK)
                if ((floating)((double)v[i] + alpha * (double)p[i]) != v[i])
                    moves = 1.0;
        });
        add(G_MAX, moves, true);
        end_pass(PRODUCTS);
        return total()[G_MAX] == 0.0;
    }

    /// Take g at the start, and its size.
    __device__ void take(const floating *g_told) {
        floating *g = v + rules.n;
        double gg = 0.0, g_max = 0.0, check = 0.0;
        begin_pass(PRODUCTS);
        each_panel([&](Index first, Index last) {
            for (Index i = first; i < last; i += GRID_BLOCK) {
                const double g_i = g[i] = g_told[i];
                gg += g_i * g_i;
                check += 0.0 * g_i;
                g_max = fabs(g_i) > g_max ? fabs(g_i) : g_max;
            }
        });
        add(GG, gg);
        add(PG, check);
        add(G_MAX, g_max, true);
        end_pass(PRODUCTS);
    }

    /// The products of the new pair and of g. MOVE: both come of x += alpha p, where g is `given_y`. ENTER: the pair is
    /// given. PROJECT: there is none.
    __device__ void products(
        Purpose purpose, double alpha = 0.0, const floating *given_s = nullptr, const floating *given_y = nullptr
    ) {
        const Index n = rules.n;
        const int head = member.head, width = PRODUCTS + EACH * slots();
        const bool paired = purpose != PROJECT;
        const int known = paired && member.count == (int)rules.m ? member.count - 1 : member.count;
        floating *x = v, *g = v + n, *s_new = s_at(head), *y_new = s_new + n;
        begin_pass(width);
        each_panel([&](Index first, Index last) {
            if (paired) {
                double ss = 0.0, sy = 0.0, yy = 0.0, gg = 0.0, s_max = 0.0, g_max = 0.0;
                double weighted_yy = 0.0, sg = 0.0, yg = 0.0;
                for (Index i = first; i < last; i += GRID_BLOCK) {
                    floating s_i, y_i, g_i;
                    if (purpose == MOVE) {
                        const floating x_i = (floating)((double)x[i] + alpha * (double)s_new[i]);  // p stands there
                        s_i = x_i - x[i];
                        x[i] = x_i;
                        g_i = given_y[i];
                        y_i = g_i - g[i];
                        g[i] = g_i;
                    } else {
                        s_i = given_s[i];
                        y_i = given_y[i];
                        g_i = g[i];
                    }
                    s_new[i] = s_i;
                    y_new[i] = y_i;
                    const double s = s_i, y = y_i, g_new = g_i;
                    const double w = h0 == nullptr ? 1.0 : (double)h0[i];
                    ss += s * s;
                    sy += s * y;
                    yy += y * y;
                    gg += g_new * g_new;
                    s_max = fabs(s) > s_max ? fabs(s) : s_max;
                    g_max = fabs(g_new) > g_max ? fabs(g_new) : g_max;
                    weighted_yy += w * y * y;
                    sg += s * g_new;
                    yg += y * (w * g_new);
                }
                add(SS, ss);
                add(SY, sy);
                add(YY, yy);
                add(GG, gg);
                add(S_MAX, s_max, true);
                add(G_MAX, g_max, true);
                add(WEIGHTED_YY, weighted_yy);
                add(PRODUCTS + EACH * head + WITH_G, sg);
                add(PRODUCTS + EACH * head + Y_WITH_G, yg);
            }
            int j = head;
            for (int k = 0; k < known; k++) {
                j = before(j);
                const floating *s_j = s_at(j), *y_j = s_j + n;
                double with_y = 0.0, with_g = 0.0, y_with_s = 0.0, y_with_y = 0.0, y_with_g = 0.0;
                for (Index i = first; i < last; i += GRID_BLOCK) {
                    const double s = s_j[i], y = y_j[i], g_i = g[i];
                    const double w = h0 == nullptr ? 1.0 : (double)h0[i];
                    with_g += s * g_i;
                    y_with_g += y * (w * g_i);
                    if (paired) {
                        with_y += s * (double)y_new[i];
                        y_with_s += y * (double)s_new[i];
                        y_with_y += y * (w * (double)y_new[i]);
                    }
                }
                const int of_pair = PRODUCTS + EACH * j;
                add(of_pair + WITH_G, with_g);
                add(of_pair + Y_WITH_G, y_with_g);
                if (paired) {
                    add(of_pair + WITH_Y_NEW, with_y);
                    add(of_pair + Y_WITH_S_NEW, y_with_s);
                    add(of_pair + Y_WITH_Y_NEW, y_with_y);
                }
            }
        });
        end_pass(width);
    }

    /// p = -H g, of the coefficients; without pairs -H0 g / alpha. Return p.g.
    __device__ double combine(double alpha) {
        const Index n = rules.n;
        const floating *g = v + n;
        floating *p = this->p();
        double sum = 0.0;
        begin_pass(PRODUCTS);
        each_panel([&](Index first, Index last) {
            for (Index i = first; i < last; i += GRID_BLOCK) {
                const double g_i = g[i];
                double p_i = member.count == 0 ? -g_i / alpha : -g_i * alpha;
                int j = member.head;
                if (h0 != nullptr) {                        // first the y, then H0, then the s
                    for (int k = 0; k < member.count; k++) {
                        j = before(j);
                        p_i += shared.along_y[j] * (double)s_at(j)[n + i];
                    }
                    p_i *= (double)h0[i];
                    j = member.head;
                }
                for (int k = 0; k < member.count; k++) {
                    j = before(j);
                    const floating *s_j = s_at(j);
                    p_i += shared.along_s[j] * (double)s_j[i];
                    if (h0 == nullptr)
                        p_i += shared.along_y[j] * (double)s_j[n + i];
                }
                p[i] = (floating)p_i;
                sum += (double)p[i] * g_i;
            }
        });
        add(PG, sum);
        end_pass(PRODUCTS);
        return total()[PG];
    }

    // --------------------------------------------------------------------------------------------
    // Small tables: the first thread of each block stores, all store the same, and loads what it has stored itself

    /// Remember the pair in slot `head`, whose sums have just been formed, if its curvature can be trusted.
    __device__ void learn() {
        const bool full = member.count == (int)rules.m;
        const int size = slots(), head = member.head, known = full ? member.count - 1 : member.count;
        const double ss = total()[SS], sy_new = total()[SY], yy_new = total()[YY];
        const bool learnt = trusted(rules.eps, ss, sy_new, yy_new);
        if (threadIdx.x == 0) {
            double *SY_ = sy(), *YY_ = yy(), *g = g_of();
            int j = head;
            for (int k = 0; k < known; k++) {
                j = before(j);
                const double *of_pair = total() + PRODUCTS + EACH * j;
                g[j] = of_pair[WITH_G];
                g[size + j] = of_pair[Y_WITH_G];
                if (learnt) {
                    SY_[j * size + head] = of_pair[WITH_Y_NEW];
                    SY_[head * size + j] = of_pair[Y_WITH_S_NEW];
                    YY_[j * size + head] = YY_[head * size + j] = of_pair[Y_WITH_Y_NEW];
                }
            }
            if (learnt) {
                const double *of_pair = total() + PRODUCTS + EACH * head;
                g[head] = of_pair[WITH_G];
                g[size + head] = of_pair[Y_WITH_G];
                SY_[head * size + head] = sy_new;
                YY_[head * size + head] = h0 == nullptr ? yy_new : total()[WEIGHTED_YY];
                rho()[head] = 1.0 / sy_new;
            }
        }
        member.fresh = full && !learnt;                     // then the oldest stays, and its product with g is missing
        if (learnt) {
            member.gamma = sy_new / yy_new;
            member.head = after(head);
            member.count = known + 1;
        }
    }

    /// p = -H g; return p.g.
    __device__ double direction() {
        const int size = slots(), count = member.count;
        if (count == 0)
            return combine(1.0);
        if (member.fresh) {
            products(PROJECT);
            if (threadIdx.x == 0) {
                int j = member.head;
                for (int k = 0; k < count; k++) {
                    j = before(j);
                    g_of()[j] = total()[PRODUCTS + EACH * j + WITH_G];
                    g_of()[size + j] = total()[PRODUCTS + EACH * j + Y_WITH_G];
                }
            }
            member.fresh = 0;
        }
        const double scale = h0 == nullptr ? member.gamma : 1.0;
        if (threadIdx.x == 0) {
            const double *s_y = sy(), *y_y = yy(), *s_g = g_of(), *y_g = s_g + size;
            double *a = shared.a, *c = shared.along_s;
            int j = member.head;
            for (int k = 0; k < count; k++) {               // newest to oldest: a_j = rho_j s_j.q
                j = before(j);
                double product = -s_g[j];
                int i = member.head;
                for (int l = 0; l < k; l++) {
                    i = before(i);
                    product -= a[i] * s_y[j * size + i];
                }
                a[j] = rho()[j] * product;
            }
            for (int k = 0; k < count; k++) {               // oldest to newest: c_j = a_j - rho_j y_j.r
                double product = -y_g[j];
                int i = member.head;
                for (int l = 0; l < count; l++) {
                    i = before(i);
                    product -= a[i] * y_y[j * size + i];
                }
                product *= scale;
                i = j;
                for (int l = 0; l < k; l++) {
                    i = before(i);
                    product += c[i] * s_y[i * size + j];
                }
                c[j] = a[j] - rho()[j] * product;
                shared.along_y[j] = -scale * a[j];
                j = after(j);
            }
        }
        __syncthreads();
        return combine(scale);
    }

    // --------------------------------------------------------------------------------------------
    // The machine, as in advance.cuh

    __device__ bool begin(double f, const floating *g) {
        take(g);
        const double check = total()[PG];
        member.f = f;
        member.g_size = gradient_size();
        member.started = true;
        return may_run(rules, member, check == 0.0);
    }

    /// Run on, under these rules, from where the member stands; `anew`: with a new search, from x, f and g.
    __device__ void reopen(bool anew) {
        if (!member.started) {
            member.status = RUNNING;
            return;
        }
        anew |= member.status != RUNNING && member.status != STOPPED;
        if (begin(member.f, v + rules.n) && anew)
            set_off();
    }

    __device__ void move(double alpha, double f, const floating *g) {
        products(MOVE, alpha, nullptr, g);
        member.f = f;
        member.alpha = alpha;
        member.nit += 1;
    }

    __device__ bool accept(double alpha, double f, const floating *g) {
        const double f_old = member.f, g_size_old = member.g_size;
        move(alpha, f, g);
        learn();
        const double s_max = total()[S_MAX], s_norm = sqrt(total()[SS]);
        member.g_size = gradient_size();
        member.flat = false;
        const bool stuck = f >= f_old && member.g_size >= g_size_old;
        return goes_on(rules, member, f_old, f, stuck, [&] {
            return (rules.xtol > 0.0 && s_max <= rules.xtol)
                || (rules.xrtol > 0.0 && s_norm <= rules.xrtol * (rules.xrtol + norm_of(v)));
        });
    }

    __device__ bool advance(double f, const floating *g) {
        Search &search = member.search;
        const double alpha = search.alpha;
        floating *g_lo = v + 2 * rules.n;
        member.nfev += 1;
        if (!member.started)
            return begin(f, g);
        if (f == -INFINITY) {
            move(alpha, f, g);
            member.status = UNBOUNDED;
            return false;
        }
        const auto rises_beside = [&](double near) {
            return search.bracketed && (search.dphi_hi >= 0.0 || leads_nowhere(search.hi / near));
        };
        Verdict verdict = search_step(rules, search, f, slope(g));
        if (verdict != ACCEPT) {
            if (search.lo == alpha)
                each_panel([&](Index first, Index last) {
                    for (Index i = first; i < last; i += GRID_BLOCK)
                        g_lo[i] = g[i];
                });
            if (verdict == TRIAL && member.nfev >= rules.maxfun) {
                verdict = best_so_far(search);
            } else if (verdict == TRIAL && search.alpha < alpha && leads_nowhere(search.alpha)) {
                verdict = best_so_far(search);
                member.flat |= rises_beside(1.0);
            }
            if (verdict == TAKE_LO && leads_nowhere(search.lo / LOST_IN_X)) {
                verdict = GIVE_UP;
                member.flat |= rises_beside(LOST_IN_X);
            }
        }
        if (verdict == ACCEPT || verdict == TAKE_LO) {
            const bool lo = verdict == TAKE_LO;
            const bool due = accept(lo ? search.lo : alpha, lo ? search.phi_lo : f, lo ? (const floating *)g_lo : g);
            if (lo && member.nfev >= rules.maxfun && member.status != CONVERGED_GRADIENT) {
                member.status = MAXFUN;
                return false;
            }
            return due;
        }
        return verdict == GIVE_UP && tries_again(rules, member);
    }

    __device__ void set_off() {
        double dphi0;
        bool again;
        do {
            dphi0 = direction();
            again = member.count > 0 && !(dphi0 < 0.0 && isfinite(dphi0));
            if (again)
                forget(member);
        } while (again);
        if (member.count == 0 && h0 == nullptr) {
            const double length = norm_of(v + rules.n);
            if (length > 1.0)
                dphi0 = combine(length);
        }
        if (dphi0 < 0.0 && isfinite(dphi0))
            search_begin(member.search, member.f, dphi0, 1.0);
        else
            member.status = member.flat || dphi0 == 0.0 ? STALLED : ABNORMAL;
    }

    /// The point the member asks about, or rests at: x + alpha p.
    __device__ void point(floating *x) {
        const bool at_rest = member.status >= 0 || !member.started;
        const floating *p = this->p();
        const double alpha = member.search.alpha;
        each_panel([&](Index first, Index last) {
            for (Index i = first; i < last; i += GRID_BLOCK)
                x[i] = at_rest ? v[i] : (floating)((double)v[i] + alpha * (double)p[i]);
        });
    }
};

/// Member b, with a copy of its record.
template <typename floating>
__device__ Large<floating> large_of(
    const Run<floating> &run, Index b, Shared &shared, double *sums, unsigned long long *arrived, int turn
) {
    Member *stored = member_of(run, b);
    return {shared, run.rules, *stored, run.vectors + b * run.vector_size,
            run.h0 == nullptr ? nullptr : run.h0 + b * run.h0_size, (double *)(stored + 1), sums, arrived, turn};
}

/// As `tell`, and without f as `points`, for large members; in one cooperative launch.
template <typename floating>
__global__ void __launch_bounds__(GRID_BLOCK, 1) tell_large(
    Run<floating> run, const Index *rows, Index count, const void *f, int narrow, const floating *g, floating *x,
    unsigned char *moved, double *sums, unsigned long long *arrived
) {
    SHARED(Shared, shared);
    const Rules &rules = run.rules;
    int turn = 0;
    for (Index k = 0; k < count; k++) {
        const Index b = rows == nullptr ? k : rows[k];
        Member *stored = member_of(run, b);
        Large<floating> large = large_of(run, b, shared, sums, arrived, turn);
        Member &member = large.member;
        bool took = false;
        if (f != nullptr && member.status < 0) {
            const long long nit = member.nit;
            if (large.advance(narrow ? (double)((const float *)f)[k] : ((const double *)f)[k], g + k * rules.n))
                large.set_off();
            took = member.nit > nit;
            if (blockIdx.x == 0 && threadIdx.x == 0) {      // all blocks have come through a barrier with their copies
                *stored = member;
                if (member.status >= 0)
                    atomicAdd((unsigned long long *)run.finished, 1ull);
            }
        }
        if (f != nullptr && blockIdx.x == 0 && threadIdx.x == 0)
            moved[k] = took;
        large.point(x + k * rules.n);
        turn = large.turn;
    }
}

/// As `take_up`, for large members; in one cooperative launch.
template <typename floating>
__global__ void __launch_bounds__(GRID_BLOCK, 1) take_up_large(
    Run<floating> run, Index B, const floating *s, const floating *y, const int *status, const bool *anew,
    const floating *searches, double *sums, unsigned long long *arrived
) {
    SHARED(Shared, shared);
    const Index n = run.rules.n;
    int turn = 0;
    for (Index b = 0; b < B; b++) {
        Large<floating> large = large_of(run, b, shared, sums, arrived, turn);
        Member &member = large.member;
        forget(member);
        for (Index j = 0; j < run.rules.m; j++) {
            large.products(ENTER, 0.0, s + (j * B + b) * n, y + (j * B + b) * n);
            large.learn();
        }
        if (!anew[b])
            large.each_panel([&](Index first, Index last) {
                for (Index i = first; i < last; i += GRID_BLOCK) {
                    large.p()[i] = searches[(4 * b + 2) * n + i];
                    large.v[2 * n + i] = searches[(4 * b + 3) * n + i];
                }
            });
        if (status[b] < 0)
            large.reopen(anew[b]);
        if (blockIdx.x == 0 && threadIdx.x == 0)            // all blocks have come through a barrier with their copies
            *member_of(run, b) = member;
        turn = large.turn;
    }
}
