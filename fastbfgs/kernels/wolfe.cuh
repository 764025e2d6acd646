// Twin of wolfe.pxd: how far, scalars only; see there.

enum Verdict { TRIAL, ACCEPT, TAKE_LO, GIVE_UP };

constexpr double WOLFE_NOISE = 10.0;
constexpr double WOLFE_SHRINK = 0.1;
constexpr double WOLFE_NARROW = 0.1;
constexpr double WOLFE_REDUCE = 0.66;
constexpr double WOLFE_NEAREST = 1.1;
constexpr double WOLFE_FARTHEST = 9.0;

__device__ __forceinline__ void search_begin(Search &search, double phi0, double dphi0, double alpha) {
    search.phi0 = search.phi_lo = search.phi_hi = phi0;
    search.dphi0 = search.dphi_lo = search.dphi_hi = dphi0;
    search.alpha = alpha;
    search.lo = search.hi = 0.0;
    search.ceiling = search.largest = search.width = search.width_old = INFINITY;
    search.bracketed = false;
    search.stage = 1;
    search.evals = 0;
}

__device__ __forceinline__ Verdict best_so_far(const Search &search) {
    return search.lo > 0.0 && search.phi_lo < search.phi0 ? TAKE_LO : GIVE_UP;
}

__device__ __forceinline__ Verdict go_on(const Rules &rules, Search &search, double next) {
    if (!isfinite(next))                                    // phi is so large that the cubic overflows
        next = search.lo + 0.5 * (search.alpha - search.lo);
    if (search.evals >= rules.maxls || next == search.lo)
        return best_so_far(search);
    search.alpha = next;
    return TRIAL;
}

/// Where the cubic through both points and slopes has its minimiser, as a share of b - a (N&W (3.59)).
__device__ __forceinline__ double cubic_of(
    double a, double phi_a, double dphi_a, double b, double phi_b, double dphi_b, bool &exists
) {
    const double theta = 3.0 * (phi_a - phi_b) / (b - a) + dphi_a + dphi_b;
    const double size = fmax(fabs(theta), fmax(fabs(dphi_a), fabs(dphi_b)));
    double root = size * sqrt(fmax(0.0, (theta / size) * (theta / size) - (dphi_a / size) * (dphi_b / size)));
    exists = root != 0.0;
    if (b < a)
        root = -root;
    return ((root - dphi_a) + theta) / (((root - dphi_a) + root) + dphi_b);
}

/// The trial step of section 4, of psi = phi - slope alpha; then the interval update of section 3.
__device__ __forceinline__ double next_trial(
    Search &search, double phi, double dphi, double slope, double nearest, double farthest
) {
    const double alpha = search.alpha, psi = phi - alpha * slope, dpsi = dphi - slope;
    const double lo = search.lo, psi_lo = search.phi_lo - lo * slope, dpsi_lo = search.dphi_lo - slope;
    const double hi = search.hi, psi_hi = search.phi_hi - hi * slope, dpsi_hi = search.dphi_hi - slope;
    const bool turns = dpsi != 0.0 && (dpsi < 0.0) != (dpsi_lo < 0.0);
    bool exists;
    double share, cubic, secant, next;

    if (psi > psi_lo) {                                     // case 1: higher; a minimiser in between
        next = lo + (alpha - lo) * cubic_of(lo, psi_lo, dpsi_lo, alpha, psi, dpsi, exists);
    } else if (turns) {                                     // case 2: lower, and the slope turns
        cubic = alpha + (lo - alpha) * cubic_of(alpha, psi, dpsi, lo, psi_lo, dpsi_lo, exists);
        secant = alpha + (lo - alpha) * dpsi / (dpsi - dpsi_lo);
        next = fabs(cubic - alpha) > fabs(secant - alpha) ? cubic : secant;
    } else if (fabs(dpsi) < fabs(dpsi_lo)) {                // case 3: lower, and less steep
        share = cubic_of(alpha, psi, dpsi, lo, psi_lo, dpsi_lo, exists);
        cubic = exists && share < 0.0 ? alpha + (lo - alpha) * share : alpha > lo ? farthest : nearest;
        secant = alpha + (lo - alpha) * dpsi / (dpsi - dpsi_lo);
        if (search.bracketed) {
            next = fabs(cubic - alpha) < fabs(secant - alpha) ? cubic : secant;
            secant = alpha + 0.66 * (hi - alpha);           // stay well off the far end
            next = alpha > lo ? fmin(next, secant) : fmax(next, secant);
        } else {
            next = fabs(cubic - alpha) > fabs(secant - alpha) ? cubic : secant;
            next = fmin(fmax(next, nearest), farthest);
        }
    } else if (search.bracketed) {                          // case 4: lower, and at least as steep
        next = alpha + (hi - alpha) * cubic_of(alpha, psi, dpsi, hi, psi_hi, dpsi_hi, exists);
    } else {
        next = farthest;
    }

    if (psi > psi_lo) {
        search.hi = alpha, search.phi_hi = phi, search.dphi_hi = dphi;
        search.bracketed = true;
    } else {
        if (turns) {
            search.hi = lo, search.phi_hi = search.phi_lo, search.dphi_hi = search.dphi_lo;
            search.bracketed = true;
        }
        search.lo = alpha, search.phi_lo = phi, search.dphi_lo = dphi;
    }
    return next;
}

/// Take phi and dphi at search.alpha; say what to do next, and set search.alpha to the next trial.
__device__ __forceinline__ Verdict search_step(const Rules &rules, Search &search, double phi, double dphi) {
    const double alpha = search.alpha;
    double slope = rules.c1 * search.dphi0;                 // of the sufficient-decrease line
    const double line = search.phi0 + alpha * slope;        // its value at alpha
    const double noise = WOLFE_NOISE * rules.eps * fabs(search.phi0);
    double next, nearest, farthest;
    search.evals += 1;

    if (!(isfinite(phi) && isfinite(dphi))) {
        if (alpha > search.lo) {
            search.ceiling = alpha;
            search.bracketed = false;
            search.width = search.width_old = INFINITY;
        }
        next = search.lo == 0.0 ? WOLFE_SHRINK : 0.5;
        return go_on(rules, search, search.lo + next * (alpha - search.lo));
    }

    if (phi <= line && fabs(dphi) <= -rules.c2 * search.dphi0)
        return ACCEPT;
    if (fabs(phi - search.phi0) <= noise && fabs(dphi) <= -fmin(rules.c2, 1.0 - 2.0 * rules.c1) * search.dphi0)
        return ACCEPT;
    if (alpha >= search.largest && phi <= line && dphi < 0.0)
        return ACCEPT;                                      // the bounds end the step, not the search (MINPACK-2)

    if (search.stage == 1 && phi <= line && dphi >= 0.0)
        search.stage = 2;
    if (search.bracketed) {
        nearest = fmin(search.lo, search.hi);
        farthest = fmax(search.lo, search.hi);
    } else {
        // The very first move may be as short as interpolation says (MINPACK-2).
        nearest = search.evals == 1 ? alpha : alpha + WOLFE_NEAREST * (alpha - search.lo);
        farthest = fmin(alpha + WOLFE_FARTHEST * (alpha - search.lo),
                        fmin(alpha + 0.5 * (search.ceiling - alpha), search.largest));
        nearest = fmin(nearest, farthest);
    }

    // psi(alpha) = phi(alpha) - phi0 - c1 dphi0 alpha, the auxiliary function (2.1): for as long as
    // it, and not phi itself, shows where a minimiser with sufficient decrease lies.
    if (!(search.stage == 1 && phi <= search.phi_lo && phi > line))
        slope = 0.0;
    next = next_trial(search, phi, dphi, slope, nearest, farthest);

    if (search.bracketed) {
        if (fabs(search.hi - search.lo) >= WOLFE_REDUCE * search.width_old)
            next = search.lo + 0.5 * (search.hi - search.lo);
        search.width_old = search.width;
        search.width = fabs(search.hi - search.lo);
        nearest = fmin(search.lo, search.hi);
        farthest = fmax(search.lo, search.hi);
        if (next <= nearest || next >= farthest || farthest - nearest <= WOLFE_NARROW * farthest)
            return best_so_far(search);
    }
    return go_on(rules, search, next);
}
