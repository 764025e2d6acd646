# Strong-Wolfe line search along one ray: scalars only, resumable at each evaluation.
#
# Follows J. J. More and D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease", ACM TOMS 20 (1994)
# 286-307: the interval update of section 3, the trial step of section 4 (cases 1 to 4), the auxiliary function psi
# of (2.1) until some step has psi <= 0 and dphi >= 0. We deviate in five places, the figures being evaluations over
# tests/problems.py (532 runs), relative to the paper's choice:
# - a trial without a finite phi and dphi is "too far": the step shrinks (to a tenth as long as no trial was finite,
#   else half way back to `lo`), and no later trial goes beyond half way from a finite trial to it;
# - near the minimum, where phi - phi0 is rounding noise, the derivative alone decides: the approximate Wolfe conditions
#   of W. W. Hager and H. Zhang, "A new conjugate gradient method with guaranteed descent and an efficient line search",
#   SIAM J. Optim. 16 (2005), (4.1), with their error in phi set to NOISE rounding units of phi0;
# - in case 1 the trial is always the cubic's minimiser, never the mean of it and the quadratic's (-0.3 %), and
#   extrapolation goes up to 9 instead of 4 times the last move (-0.3 %);
# - when evaluations or floating-point numbers run out, `lo` is taken if it has sufficient decrease, without evaluating
#   it again;
# - there is no smallest step, and a largest one only where bounds end the ray.
# The default of c2, 0.97 (options.py), is worth another -0.9 % against SciPy's 0.9; 0.99 solved one problem less.
#
# lo and hi order the *values*: phi_lo is the lowest psi (later phi) seen, whichever side of hi it is on.

from libc.math cimport fabs, fmax, fmin, isfinite, sqrt, INFINITY

from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.state cimport Rules, Search

cdef enum Verdict:
    TRIAL           # evaluate at search.alpha
    ACCEPT          # the step just evaluated is taken
    TAKE_LO         # nothing better is to be had than search.lo, which has sufficient decrease
    GIVE_UP         # no step with sufficient decrease was found

cdef extern from *:
    """
    #define WOLFE_NOISE 10.0      /* differences of phi below this many rounding units of phi0 are noise */
    #define WOLFE_SHRINK 0.1      /* of the step, while no trial had a finite phi */
    #define WOLFE_NARROW 0.1      /* a bracket this narrow, relative to its longer end, is given up */
    #define WOLFE_REDUCE 0.66     /* the bracket must shrink to this share in two trials (section 4) */
    #define WOLFE_NEAREST 1.1     /* extrapolation goes at least and at most */
    #define WOLFE_FARTHEST 9.0    /*   this many times the last move beyond lo */
    """
    double WOLFE_NOISE, WOLFE_SHRINK, WOLFE_NARROW, WOLFE_REDUCE, WOLFE_NEAREST, WOLFE_FARTHEST


cdef inline void search_begin(
    Search *search, double phi0, double dphi0, double alpha
) noexcept nogil:
    """Start at alpha = 0, where phi is phi0 and dphi is dphi0 < 0; the first trial is `alpha`."""
    require(dphi0 < 0.0 and alpha > 0.0)
    search.phi0 = search.phi_lo = search.phi_hi = phi0
    search.dphi0 = search.dphi_lo = search.dphi_hi = dphi0
    search.alpha = alpha
    search.lo = search.hi = 0.0
    search.ceiling = search.largest = search.width = search.width_old = INFINITY
    search.bracketed = False
    search.stage = 1
    search.evals = 0


cdef inline Verdict search_step(
    const Rules *rules, Search *search, double phi, double dphi
) noexcept nogil:
    """Take phi and dphi at search.alpha; say what to do next, and set search.alpha to the next trial."""
    cdef:
        double alpha = search.alpha
        double slope = rules.c1 * search.dphi0              # of the sufficient-decrease line
        double line = search.phi0 + alpha * slope           # its value at alpha
        double noise = WOLFE_NOISE * rules.eps * fabs(search.phi0)
        double next, nearest, farthest
    require(alpha > 0.0 and alpha < search.ceiling and alpha <= search.largest)
    search.evals += 1

    if not (isfinite(phi) and isfinite(dphi)):
        if alpha > search.lo:
            search.ceiling = alpha
            search.bracketed = False
            search.width = search.width_old = INFINITY
        next = WOLFE_SHRINK if search.lo == 0.0 else 0.5
        return _go_on(rules, search, search.lo + next * (alpha - search.lo))

    if phi <= line and fabs(dphi) <= -rules.c2 * search.dphi0:
        return ACCEPT
    if (fabs(phi - search.phi0) <= noise
            and fabs(dphi) <= -fmin(rules.c2, 1.0 - 2.0 * rules.c1) * search.dphi0):
        return ACCEPT
    if alpha >= search.largest and phi <= line and dphi < 0.0:
        return ACCEPT                                       # the bounds end the step, not the search (MINPACK-2)

    if search.stage == 1 and phi <= line and dphi >= 0.0:
        search.stage = 2
    if search.bracketed:
        nearest = fmin(search.lo, search.hi)
        farthest = fmax(search.lo, search.hi)
    else:
        # The very first move may be as short as interpolation says (MINPACK-2).
        nearest = alpha if search.evals == 1 else alpha + WOLFE_NEAREST * (alpha - search.lo)
        farthest = fmin(alpha + WOLFE_FARTHEST * (alpha - search.lo),
                        fmin(alpha + 0.5 * (search.ceiling - alpha), search.largest))
        nearest = fmin(nearest, farthest)

    # psi(alpha) = phi(alpha) - phi0 - c1 dphi0 alpha, the auxiliary function (2.1): for as long as
    # it, and not phi itself, shows where a minimiser with sufficient decrease lies.
    if not (search.stage == 1 and phi <= search.phi_lo and phi > line):
        slope = 0.0
    next = _next_trial(search, phi, dphi, slope, nearest, farthest)

    if search.bracketed:
        if fabs(search.hi - search.lo) >= WOLFE_REDUCE * search.width_old:
            next = search.lo + 0.5 * (search.hi - search.lo)
        search.width_old = search.width
        search.width = fabs(search.hi - search.lo)
        nearest = fmin(search.lo, search.hi)
        farthest = fmax(search.lo, search.hi)
        if (next <= nearest or next >= farthest
                or farthest - nearest <= WOLFE_NARROW * farthest):
            return best_so_far(search)
    return _go_on(rules, search, next)


cdef inline Verdict _go_on(const Rules *rules, Search *search, double next) noexcept nogil:
    """Ask for `next`, unless evaluations or floating-point numbers have run out."""
    if not isfinite(next):                                  # phi is so large that the cubic overflows
        next = search.lo + 0.5 * (search.alpha - search.lo)
    if search.evals >= rules.maxls or next == search.lo:
        return best_so_far(search)
    search.alpha = next
    return TRIAL


cdef inline Verdict best_so_far(const Search *search) noexcept nogil:
    """End without a Wolfe step: psi(lo) <= psi(0) makes any lo > 0 a sufficient decrease."""
    return TAKE_LO if search.lo > 0.0 and search.phi_lo < search.phi0 else GIVE_UP


cdef inline double _next_trial(
    Search *search, double phi, double dphi, double slope, double nearest, double farthest
) noexcept nogil:
    """The trial step of section 4, of psi = phi - slope alpha; then the interval update of section 3."""
    cdef:
        double alpha = search.alpha, psi = phi - alpha * slope, dpsi = dphi - slope
        double lo = search.lo, psi_lo = search.phi_lo - lo * slope, dpsi_lo = search.dphi_lo - slope
        double hi = search.hi, psi_hi = search.phi_hi - hi * slope, dpsi_hi = search.dphi_hi - slope
        bint turns = dpsi != 0.0 and (dpsi < 0.0) != (dpsi_lo < 0.0), exists
        double share, cubic, secant, next

    if psi > psi_lo:                                        # case 1: higher; a minimiser in between
        next = lo + (alpha - lo) * _cubic(lo, psi_lo, dpsi_lo, alpha, psi, dpsi, &exists)
    elif turns:                                             # case 2: lower, and the slope turns
        cubic = alpha + (lo - alpha) * _cubic(alpha, psi, dpsi, lo, psi_lo, dpsi_lo, &exists)
        secant = alpha + (lo - alpha) * dpsi / (dpsi - dpsi_lo)
        next = cubic if fabs(cubic - alpha) > fabs(secant - alpha) else secant
    elif fabs(dpsi) < fabs(dpsi_lo):                        # case 3: lower, and less steep
        share = _cubic(alpha, psi, dpsi, lo, psi_lo, dpsi_lo, &exists)
        # A cubic that has no minimiser beyond alpha says "as far as allowed".
        cubic = (alpha + (lo - alpha) * share if exists and share < 0.0
                 else farthest if alpha > lo else nearest)
        secant = alpha + (lo - alpha) * dpsi / (dpsi - dpsi_lo)
        if search.bracketed:
            next = cubic if fabs(cubic - alpha) < fabs(secant - alpha) else secant
            secant = alpha + 0.66 * (hi - alpha)            # stay well off the far end
            next = fmin(next, secant) if alpha > lo else fmax(next, secant)
        else:
            next = cubic if fabs(cubic - alpha) > fabs(secant - alpha) else secant
            next = fmin(fmax(next, nearest), farthest)
    elif search.bracketed:                                  # case 4: lower, and at least as steep
        next = alpha + (hi - alpha) * _cubic(alpha, psi, dpsi, hi, psi_hi, dpsi_hi, &exists)
    else:
        next = farthest

    if psi > psi_lo:
        search.hi, search.phi_hi, search.dphi_hi = alpha, phi, dphi
        search.bracketed = True
    else:
        if turns:
            search.hi, search.phi_hi, search.dphi_hi = lo, search.phi_lo, search.dphi_lo
            search.bracketed = True
        search.lo, search.phi_lo, search.dphi_lo = alpha, phi, dphi
    return next


cdef inline double _cubic(
    double a, double phi_a, double dphi_a, double b, double phi_b, double dphi_b, bint *exists
) noexcept nogil:
    """Where the cubic through both points and slopes has its minimiser, as a share of b - a (N&W (3.59))."""
    cdef:
        double theta = 3.0 * (phi_a - phi_b) / (b - a) + dphi_a + dphi_b
        double size = fmax(fabs(theta), fmax(fabs(dphi_a), fabs(dphi_b)))
        double root = size * sqrt(fmax(
            0.0, (theta / size) * (theta / size) - (dphi_a / size) * (dphi_b / size)))
    exists[0] = root != 0.0
    if b < a:
        root = -root
    return ((root - dphi_a) + theta) / (((root - dphi_a) + root) + dphi_b)
