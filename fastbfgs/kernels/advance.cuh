// Twin of advance.pyx: one member's machine; see there.
//
// `member` is each thread's own copy, and `g` the gradient that was told, or g_lo.

enum Status {
    RUNNING = -1,
    CONVERGED_GRADIENT = 0,
    CONVERGED_DECREASE = 1,
    CONVERGED_STEP = 2,
    MAXITER = 10,
    MAXFUN = 11,
    STOPPED = 12,
    STALLED = 20,
    ABNORMAL = 21,
    NONFINITE_START = 22,
    UNBOUNDED = 23,
};

/// x + alpha p, within the bounds: coordinate i of it.
template <typename floating>
__device__ __forceinline__ floating step(
    const Rules &rules, const Member &member, const floating *v, const floating *box, double alpha, Index i
) {
    const Index n = rules.n;
    const floating *p = v + 2 * n;
    if (member.bounded && !(member.clear && alpha <= 1.0))
        return step_to(v[i], alpha, p[i], box[i], box[n + i], rules.eps);
    return (floating)((double)v[i] + alpha * (double)p[i]);
}

/// The point the member asks about, or rests at: x + alpha p.
template <class Group, typename floating>
__device__ __forceinline__ void point(
    Group &group, const Rules &rules, const Member &member, const floating *v, const floating *box, floating *x
) {
    const bool at_rest = member.status >= 0 || !member.started;
    for (Index i = group.rank(); i < rules.n; i += group.size())
        x[i] = at_rest ? v[i] : step(rules, member, v, box, member.search.alpha, i);
}

/// Is x + alpha p the same as x, rounded?
template <class Group, typename floating>
__device__ bool leads_nowhere(
    Group &group, const Rules &rules, const Member &member, const floating *v, const floating *box, double alpha
) {
    const Index n = rules.n;
    const floating *p = v + 2 * n;
    bool moves = false;
    for (Index i = group.rank(); i < n && !moves; i += group.size())
        moves = (member.bounded ? step_to(v[i], alpha, p[i], box[i], box[n + i], rules.eps)
                                : (floating)((double)v[i] + alpha * (double)p[i])) != v[i];
    return !group.any(moves);
}

constexpr int IDLE_AT_MOST = 30;
constexpr double LOST_IN_X = 128.0;                         // a step is, if x does not change by this part of it

/// Count the steps since f was lowered by more than noise, or the size of g at all.
__device__ __forceinline__ void count_idle(const Rules &rules, Member &member, double f) {
    member.idle += 1;
    if (member.g_size < member.g_best || member.f_best - f > WOLFE_NOISE * rules.eps * fabs(f)) {
        member.f_best = fmin(member.f_best, f);
        member.g_best = fmin(member.g_best, member.g_size);
        member.idle = 0;
    }
}

/// Does the member go on after a step from f_old to f? `stalled`: neither f nor g was lowered; `small` tells whether the
/// step is, for xtol and xrtol.
template <typename Small>
__device__ __forceinline__ bool goes_on(
    const Rules &rules, Member &member, double f_old, double f, bool stalled, Small small
) {
    count_idle(rules, member, f);
    if (member.g_size <= rules.gtol)
        member.status = CONVERGED_GRADIENT;
    else if (small())
        member.status = CONVERGED_STEP;
    else if (rules.ftol > 0.0 && f_old - f <= rules.ftol * fmax(fmax(fabs(f_old), fabs(f)), 1.0))
        member.status = CONVERGED_DECREASE;
    else if (rules.frtol > 0.0 && f_old - f <= rules.frtol * fabs(f_old))
        member.status = CONVERGED_DECREASE;
    else if (rules.fatol > 0.0 && f_old - f <= rules.fatol)
        member.status = CONVERGED_DECREASE;
    else if (stalled || member.idle >= IDLE_AT_MOST)
        member.status = STALLED;
    else if (member.nit >= rules.maxiter)
        member.status = MAXITER;
    else if (member.nfev >= rules.maxfun)
        member.status = MAXFUN;
    return member.status == RUNNING;
}

/// After a search that found no step: may -g be tried?
__device__ __forceinline__ bool tries_again(const Rules &rules, Member &member) {
    // Before the memory is blamed: could f have shown what the model promised?
    member.flat |= -member.search.dphi0 <= WOLFE_NOISE * rules.eps * fabs(member.search.phi0);
    if (member.nfev >= rules.maxfun)
        member.status = MAXFUN;
    else if (member.count > 0)
        forget(member);
    else
        member.status = member.flat ? STALLED : ABNORMAL;
    return member.status == RUNNING;
}

/// The size of g that gtol limits.
template <class Group, typename floating>
__device__ __forceinline__ double gradient_size(
    Group &group, const Rules &rules, const Member &member, const floating *v, const floating *box
) {
    const Index n = rules.n;
    if (member.bounded)
        return projected_max(group, n, v, v + n, box);
    return norm_of_order(group, n, v + n, rules.norm);
}

/// Is there anything to do from x, where f and g are as they stand, g finite or not? The status says so, or how it has
/// ended.
__device__ __forceinline__ bool may_run(const Rules &rules, Member &member, bool finite) {
    member.status = member.f == -INFINITY ? UNBOUNDED
        : !(isfinite(member.f) && finite) ? NONFINITE_START
        : member.g_size <= rules.gtol ? CONVERGED_GRADIENT
        : member.nit >= rules.maxiter ? MAXITER
        : member.nfev >= rules.maxfun ? MAXFUN : RUNNING;
    return member.status == RUNNING;
}

/// The same, where nobody has looked at g.
template <class Group, typename floating>
__device__ __forceinline__ bool may_run(Group &group, const Rules &rules, Member &member, const floating *v) {
    const Index n = rules.n;
    double check = 0.0;                                     // stays 0 as long as all is finite
    for (Index i = group.rank(); i < n; i += group.size())
        check += 0.0 * (double)v[n + i];
    return may_run(rules, member, group.sum(check) == 0.0);
}

/// Take f and g at the start; may the member set off?
template <class Group, typename floating>
__device__ __forceinline__ bool begin(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *box, double f, const floating *g
) {
    const Index n = rules.n;
    for (Index i = group.rank(); i < n; i += group.size())
        v[n + i] = g[i];
    member.f = f;
    member.g_size = gradient_size(group, rules, member, v, box);
    member.started = true;
    return may_run(group, rules, member, v);
}

/// Set p; return p.g.
template <class Group, typename floating>
__device__ __forceinline__ double which_way(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *h0, const floating *box,
    const Work &work
) {
    if (member.bounded)
        return box_direction(group, rules, member, v, box, work);
    if (rules.method == BFGS)
        return bfgs_direction(group, rules, member, v, h0);
    return direction(group, rules, member, v, h0, work);
}

/// Choose p, if it descends, else -g; and ask for the first trial along it: a new search, or (false) the end.
template <class Group, typename floating>
__device__ __forceinline__ bool set_off(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *h0, const floating *box,
    const Work &work
) {
    const Index n = rules.n;
    floating *p = v + 2 * n;
    double dphi0;
    bool again;
    do {
        dphi0 = which_way(group, rules, member, v, h0, box, work);
        again = member.count > 0 && !(dphi0 < 0.0 && isfinite(dphi0));
        if (again)
            forget(member);
    } while (again);
    if (member.count == 0 && h0 == nullptr && member.bounded != BOXED) {
        // Nothing is known of the scale of x: no first step longer than 1.
        const double length = norm(group, n, p, max_abs(group, n, p));
        if (length > 1.0) {
            for (Index i = group.rank(); i < n; i += group.size())
                p[i] = (floating)((double)p[i] / length);
            dphi0 = dot(group, n, p, v + n);
        }
    }
    if (dphi0 < 0.0 && isfinite(dphi0)) {
        search_begin(member.search, member.f, dphi0, 1.0);
        return true;
    }
    // A slope of zero, where g is not: it is too small for float64.
    member.status = member.flat || dphi0 == 0.0 ? STALLED : ABNORMAL;
    return false;
}

/// Run on, under these rules, from where the member stands; `anew`: with a new search, from x, f and g.
template <class Group, typename floating>
__device__ __forceinline__ void reopen(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *h0, const floating *box,
    const Work &work, bool anew
) {
    if (!member.started) {
        member.status = RUNNING;
        return;
    }
    anew |= member.status != RUNNING && member.status != STOPPED;   // every other status is given between two searches
    member.g_size = gradient_size(group, rules, member, v, box);
    if (may_run(group, rules, member, v) && anew)
        set_off(group, rules, member, v, h0, box, work);
}

/// Take the pair that `move` has left in the rooms of p and g_lo.
template <class Group, typename floating>
__device__ __forceinline__ void learn(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *h0, const Work &work
) {
    const floating *s = v + 2 * rules.n;
    floating *y = v + 3 * rules.n;
    if (rules.method == BFGS)
        bfgs_push(group, rules, member, v, h0, s, y);
    else if (push(group, rules, member, v, work, s, y) && rules.tables && member.fresh < member.count)
        member.fresh += 1;
}

/// x += alpha p. The room of p and g_lo, both spent now, is left holding s and y.
template <class Group, typename floating>
__device__ __forceinline__ void move(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *box, double alpha, double f,
    const floating *g
) {
    const Index n = rules.n;
    floating *p = v + 2 * n, *y = v + 3 * n;
    for (Index i = group.rank(); i < n; i += group.size()) {
        const floating x_new = step(rules, member, v, box, alpha, i);
        p[i] = x_new - v[i];
        v[i] = x_new;
        const floating g_new = g[i];                        // g may be g_lo, which is y's room
        y[i] = g_new - v[n + i];
        v[n + i] = g_new;
    }
    member.f = f;
    member.alpha = alpha;
    member.nit += 1;
}

/// Take the step alpha, where f and g are known; stop there, or (true) set off again.
template <class Group, typename floating>
__device__ __forceinline__ bool accept(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *h0, const floating *box,
    const Work &work, double alpha, double f, const floating *g
) {
    const Index n = rules.n;
    const double f_old = member.f, g_size_old = member.g_size;
    const floating *s = v + 2 * n;
    const bool along_g = member.count == 0;
    move(group, rules, member, v, box, alpha, f, g);
    learn(group, rules, member, v, h0, work);
    member.g_size = gradient_size(group, rules, member, v, box);
    member.flat = false;
    const bool stuck = f >= f_old && member.g_size >= g_size_old;
    const bool on = goes_on(rules, member, f_old, f, stuck && (along_g || !member.bounded), [&] {
        return (rules.xtol > 0.0 && max_abs(group, n, s) <= rules.xtol)
            || (rules.xrtol > 0.0
                && norm(group, n, s, max_abs(group, n, s))
                    <= rules.xrtol * (rules.xrtol + norm(group, n, v, max_abs(group, n, v))));
    });
    if (on && stuck)
        forget(member);                                     // a projected direction may be to blame
    return on;
}

/// Take f and g at the point asked for; decide; ask for the next point, or stop.
///
/// True if the next point is along a new direction: the caller has to let the member set off.
template <class Group, typename floating>
__device__ bool advance(
    Group &group, const Rules &rules, Member &member, floating *v, const floating *h0, const floating *box,
    const Work &work, double f, const floating *g
) {
    const Index n = rules.n;
    Search &search = member.search;
    const double alpha = search.alpha;
    floating *g_lo = v + 3 * n;
    member.nfev += 1;
    if (!member.started)
        return begin(group, rules, member, v, box, f, g);
    if (f == -INFINITY) {
        move(group, rules, member, v, box, alpha, f, g);
        member.status = UNBOUNDED;
        return false;
    }

    const double dphi = dot(group, n, v + 2 * n, g);
    if (member.bounded && search.evals == 0
            && (dphi < rules.c2 * search.dphi0 || (dphi < 0.0 && f > search.phi0 + rules.c1 * search.dphi0)))
        search.largest = longest_step(group, n, v, v + 2 * n, box);  // only now may a longer step be wanted
    // Is no point left between x and one where f rises, as its slope there says, too; or was there never one?
    const auto rises_beside = [&](double near) {
        return search.bracketed
            && (search.dphi_hi >= 0.0 || leads_nowhere(group, rules, member, v, box, search.hi / near));
    };
    Verdict verdict = search_step(rules, search, f, dphi);
    if (verdict != ACCEPT) {
        if (search.lo == alpha)
            for (Index i = group.rank(); i < n; i += group.size())
                g_lo[i] = g[i];
        if (verdict == TRIAL && member.nfev >= rules.maxfun) {
            verdict = best_so_far(search);
        } else if (verdict == TRIAL && search.alpha < alpha
                   && leads_nowhere(group, rules, member, v, box, search.alpha)) {
            verdict = best_so_far(search);
            member.flat |= rises_beside(1.0);
        }
        if (verdict == TAKE_LO && leads_nowhere(group, rules, member, v, box, search.lo / LOST_IN_X)) {
            verdict = GIVE_UP;
            member.flat |= rises_beside(LOST_IN_X);
        }
    }
    if (verdict == ACCEPT || verdict == TAKE_LO) {
        const bool lo = verdict == TAKE_LO;
        const double f_taken = lo ? search.phi_lo : f;
        const bool due = accept(
            group, rules, member, v, h0, box, work, lo ? search.lo : alpha, f_taken, lo ? (const floating *)g_lo : g);
        if (lo && member.nfev >= rules.maxfun && member.status != CONVERGED_GRADIENT) {
            member.status = MAXFUN;                         // a search cut short says nothing of convergence
            return false;
        }
        return due;
    }
    return verdict == GIVE_UP && tries_again(rules, member);
}
