"""One member's machine: it asks for f and g at a point, is told them, and asks for the next.

The order of things at an accepted step follows J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed. (2006),
Algorithm 7.5. We deviate in eight places:
- the first step, and the first one after the memory was dropped, is along -g / max(1, ||g||_2), with alpha = 1;
- a direction that does not descend, or a line search that finds no step, drops the memory and tries -g, once;
- f = -inf ends the run at that point: there is nothing lower;
- convergence is looked at before the limits, so a member that converges with its last iteration has converged;
- a line search that has come back so far that its next trial, rounded, would be x itself, ends;
- one that has found no more than a step of some rounding units of x has found none: f and g contradict each other, as
  by finite differences near a minimum, and such steps could go on for ever (BFGS by forward differences over the tests'
  problems of n <= 20 takes 40,198 evaluations of f and g instead of 112,823, and converges as often);
- a step that lowers neither f nor max |g_i| ends the run as stalled, where f can no longer tell its points apart;
  within bounds only if it was along -g;
- so do IDLE_AT_MOST steps that between them lower f by no more than noise, and max |g_i| not at all: rounding can lead
  in a circle (f up and g down, then f down and g up), for ever where tolerances ask for more than there is.
"""
import numpy as np

from libc.math cimport fabs, fmax, fmin, isfinite, sqrt, INFINITY

from fastbfgs.kernels.bfgs cimport bfgs_direction, bfgs_push
from fastbfgs.kernels.box cimport box_direction, leads_inside, longest_step, projected_max, step_to
from fastbfgs.kernels.contracts cimport require
from fastbfgs.kernels.large cimport (
    S_MAX, SS, large_descent, large_direction, large_enter, large_gradient_size, large_leads_nowhere,
    large_learn, large_move, large_point, large_slope,
)
from fastbfgs.kernels.lbfgs cimport direction, forget, push
from fastbfgs.kernels.state cimport BFGS, BOXED, Member, Rules, Search, Work
from fastbfgs.kernels.tile cimport TILE, directions, tiles_pay
from fastbfgs.kernels.vectors cimport dot, max_abs, norm, norm_of_order
from fastbfgs.kernels.wolfe cimport (
    ACCEPT, GIVE_UP, TAKE_LO, TRIAL, WOLFE_NOISE, Verdict, best_so_far, search_begin, search_step,
)

cdef enum:
    TILE_FROM = 3           # members; fewer are done one by one
    IDLE_AT_MOST = 30
    LOST_IN_X = 128         # a step is, if x does not change by this part of it

cdef Member _blank
RECORD = np.asarray(<Member[:1]>&_blank).dtype
"""The fixed part of a member's record as a NumPy dtype."""


cdef void point(
    const Rules *rules, const Member *member, floating *v, const floating *box, floating *x, const Work *work
) noexcept nogil:
    """The point the member asks about, or rests at: x + alpha p."""
    cdef Py_ssize_t i
    if member.status >= 0 or not member.started:
        for i in range(rules.n):
            x[i] = v[i]
    elif rules.large:
        large_point(rules, <Member *>member, v, member.search.alpha, x, work)
    else:
        step(rules, member, v, box, member.search.alpha, x)


cdef inline void step(
    const Rules *rules, const Member *member, const floating *v, const floating *box, double alpha, floating *x
) noexcept nogil:
    """x + alpha p, within the bounds."""
    cdef:
        Py_ssize_t n = rules.n, i
        const floating *p = v + 2 * n
    if member.bounded and not (member.clear and alpha <= 1.0):
        for i in range(n):
            x[i] = step_to(v[i], alpha, p[i], box[i], box[n + i], rules.eps)
    else:
        for i in range(n):
            x[i] = <floating>(<double>v[i] + alpha * <double>p[i])
            require(not member.bounded or box[i] <= x[i] <= box[n + i])


cdef bint advance(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work,
    double f, const floating *g
) noexcept nogil:
    """Take f and g at the point asked for; decide; ask for the next point, or stop.

    True if the next point is along a new direction: the caller has to let the member set off.
    """
    cdef:
        Py_ssize_t n = rules.n, i
        Search *search = &member.search
        double alpha = search.alpha, dphi
        floating *g_lo = v + (2 if rules.large else 3) * n
        Verdict verdict
        bint due
    require(member.status < 0)
    member.nfev += 1
    if not member.started:
        return begin(rules, member, v, box, f, g)
    if f == -INFINITY:
        move(rules, member, v, h0, box, work, alpha, f, g)
        member.status = UNBOUNDED
        return False

    dphi = large_slope(rules, member, v, g, work) if rules.large else dot(n, v + 2 * n, g)
    if member.bounded and search.evals == 0 and (
            dphi < rules.c2 * search.dphi0 or (dphi < 0.0 and f > search.phi0 + rules.c1 * search.dphi0)):
        search.largest = longest_step(n, v, v + 2 * n, box)  # only now may a step longer than the first be wanted
    verdict = search_step(rules, search, f, dphi)
    if verdict == ACCEPT:
        return accept(rules, member, v, h0, box, work, alpha, f, g)
    if search.lo == alpha:
        for i in range(n):
            g_lo[i] = g[i]
    if verdict == TRIAL and member.nfev >= rules.maxfun:
        verdict = best_so_far(search)
    elif verdict == TRIAL and search.alpha < alpha and leads_nowhere(rules, member, v, box, search.alpha):
        verdict = best_so_far(search)
        member.flat |= rises_beside(rules, member, v, box, 1.0)
    if verdict == TAKE_LO and leads_nowhere(rules, member, v, box, search.lo / LOST_IN_X):
        verdict = GIVE_UP
        member.flat |= rises_beside(rules, member, v, box, LOST_IN_X)
    if verdict == TAKE_LO:
        due = accept(rules, member, v, h0, box, work, search.lo, search.phi_lo, g_lo)
        if member.nfev >= rules.maxfun and member.status != CONVERGED_GRADIENT:
            member.status = MAXFUN                          # a search cut short says nothing of convergence
            return False
        return due
    if verdict == GIVE_UP:
        # Before the memory is blamed: could f have shown what the model promised?
        member.flat |= -search.dphi0 <= WOLFE_NOISE * rules.eps * fabs(search.phi0)
        if member.nfev >= rules.maxfun:
            member.status = MAXFUN
        elif member.count > 0:
            forget(member)
            return True
        else:
            member.status = STALLED if member.flat else ABNORMAL
    return False


cdef inline bint rises_beside(
    const Rules *rules, const Member *member, const floating *v, const floating *box, double near
) noexcept nogil:
    """Is no point left between x and one where f rises, as its slope there says, too; or was there never another?"""
    cdef const Search *search = &member.search
    return search.bracketed and (search.dphi_hi >= 0.0 or leads_nowhere(rules, member, v, box, search.hi / near))


cdef bint leads_nowhere(
    const Rules *rules, const Member *member, const floating *v, const floating *box, double alpha
) noexcept nogil:
    """Is x + alpha p the same as x, rounded?"""
    cdef:
        Py_ssize_t n = rules.n, i
        const floating *p = v + 2 * n
    if rules.large:
        return large_leads_nowhere(rules, member, v, alpha)
    for i in range(n):
        if member.bounded and step_to(v[i], alpha, p[i], box[i], box[n + i], rules.eps) != v[i]:
            return False
        if not member.bounded and <floating>(<double>v[i] + alpha * <double>p[i]) != v[i]:
            return False
    return True


cdef bint begin(
    const Rules *rules, Member *member, floating *v, const floating *box, double f, const floating *g
) noexcept nogil:
    """Take f and g at the start; may the member set off?"""
    cdef Py_ssize_t n = rules.n, i
    for i in range(n):
        v[n + i] = g[i]
    member.f = f
    member.g_size = gradient_size(rules, member, v, box)
    member.started = True
    return may_run(rules, member, v)


cdef bint may_run(const Rules *rules, Member *member, const floating *v) noexcept nogil:
    """Is there anything to do from x, where f and g are as they stand? The status says so, or how it has ended."""
    cdef:
        Py_ssize_t n = rules.n, i
        double check = 0.0                                  # stays 0 as long as all is finite
    for i in range(n):
        check += 0.0 * <double>v[n + i]
    if member.f == -INFINITY:
        member.status = UNBOUNDED
    elif not (isfinite(member.f) and check == 0.0):
        member.status = NONFINITE_START
    elif member.g_size <= rules.gtol:
        member.status = CONVERGED_GRADIENT
    elif member.nit >= rules.maxiter:
        member.status = MAXITER
    elif member.nfev >= rules.maxfun:
        member.status = MAXFUN
    else:
        member.status = RUNNING
    return member.status == RUNNING


cdef void enter(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *s, const floating *y,
    const Work *work
) noexcept nogil:
    """Remember the pair (s, y) of L-BFGS, if its curvature can be trusted."""
    if rules.large:
        large_enter(rules, member, v, h0, s, y, work)
    else:
        push(rules, member, v, s, y)


cdef void reopen(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work,
    bint anew
) noexcept nogil:
    """Run on, under these rules, from where the member stands; `anew`: with a new search, from x, f and g."""
    if not member.started:
        member.status = RUNNING
        return
    anew |= member.status != RUNNING and member.status != STOPPED   # every other status is given between two searches
    member.g_size = gradient_size(rules, member, v, box)
    if may_run(rules, member, v) and anew:
        set_off(rules, member, v, h0, box, work)


cdef void set_off(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work
) noexcept nogil:
    """Choose p, and ask for the first trial along it."""
    search_along(rules, member, v, h0, box, work, which_way(rules, member, v, h0, box, work))


cdef bint together(const Rules *rules) noexcept nogil:
    """Does it pay to let members set off together?"""
    return tiles_pay(rules)


cdef void set_off_together(
    const Rules *rules, Py_ssize_t count, Member **member, floating **v, const floating **h0, const Work *work
) noexcept nogil:
    """Let `count` members set off, all of which fit into one tile."""
    cdef:
        double dphi0[TILE]
        Py_ssize_t lane
    if count < TILE_FROM:
        for lane in range(count):
            set_off(rules, member[lane], v[lane], h0[lane], NULL, work)
        return
    directions(rules, count, member, v, h0, work.tile, dphi0)
    for lane in range(count):
        search_along(rules, member[lane], v[lane], h0[lane], NULL, work, dphi0[lane])


cdef inline void search_along(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work,
    double dphi0
) noexcept nogil:
    """Ask for the first trial along p, if it descends, else along -g; dphi0 is p.g."""
    cdef:
        Py_ssize_t n = rules.n, i
        floating *p = v + 2 * n
        double length
    if member.count > 0 and not (dphi0 < 0.0 and isfinite(dphi0)):
        forget(member)
        dphi0 = which_way(rules, member, v, h0, box, work)
    if member.count == 0 and h0 == NULL and member.bounded != BOXED:
        # Nothing is known of the scale of x: no first step longer than 1.
        if rules.large:
            p = v + n                                       # -p, as long
        length = norm(n, p, max_abs(n, p))
        if length > 1.0 and rules.large:
            dphi0 = large_descent(rules, member, v, h0, length, work)
        elif length > 1.0:
            for i in range(n):
                p[i] = <floating>(<double>p[i] / length)
            dphi0 = dot(n, p, v + n)
    if dphi0 < 0.0 and isfinite(dphi0):
        require(not member.bounded or leads_inside(rules, member, v, box))
        search_begin(&member.search, member.f, dphi0, 1.0)
    else:
        # A slope of zero, where g is not: it is too small for float64.
        member.status = STALLED if member.flat or dphi0 == 0.0 else ABNORMAL


cdef inline double which_way(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work
) noexcept nogil:
    """Set p; return p.g."""
    if member.bounded:
        return box_direction(rules, member, v, box, work)
    if rules.large:
        return large_direction(rules, member, v, h0, work)
    if rules.method == BFGS:
        return bfgs_direction(rules, member, v, h0)
    return direction(rules, member, v, h0, work)


cdef inline void learn(
    const Rules *rules, Member *member, floating *v, const floating *h0
) noexcept nogil:
    """Take the pair that `move` has left in the rooms of p and g_lo."""
    cdef:
        const floating *s = v + 2 * rules.n
        floating *y = v + 3 * rules.n
    if rules.method == BFGS:
        bfgs_push(rules, member, v, h0, s, y)
    elif push(rules, member, v, s, y) and rules.tables and member.fresh < member.count:
        member.fresh += 1
    require(0 <= member.fresh <= member.count)


cdef inline double gradient_size(
    const Rules *rules, const Member *member, const floating *v, const floating *box
) noexcept nogil:
    """The size of g that gtol limits."""
    cdef Py_ssize_t n = rules.n
    if member.bounded:
        return projected_max(n, v, v + n, box)
    return norm_of_order(n, v + n, rules.norm)


cdef bint accept(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box,
    const Work *work, double alpha, double f, const floating *g
) noexcept nogil:
    """Take the step alpha, where f and g are known; stop there, or (True) set off again."""
    cdef:
        Py_ssize_t n = rules.n
        double f_old = member.f, g_size_old = member.g_size
        const floating *s = v + 2 * n
        const double *sums
        bint along_g = member.count == 0, stuck
    sums = move(rules, member, v, h0, box, work, alpha, f, g)
    if rules.large:
        large_learn(rules, member, sums, h0 != NULL)
        member.g_size = large_gradient_size(rules, v, sums)
    else:
        learn(rules, member, v, h0)
        member.g_size = gradient_size(rules, member, v, box)
    member.flat = False
    stuck = f >= f_old and member.g_size >= g_size_old
    member.idle += 1
    if member.g_size < member.g_best or member.f_best - f > WOLFE_NOISE * rules.eps * fabs(f):
        member.f_best = fmin(member.f_best, f)
        member.g_best = fmin(member.g_best, member.g_size)
        member.idle = 0
    if member.g_size <= rules.gtol:
        member.status = CONVERGED_GRADIENT
    elif rules.xtol > 0.0 and (sums[S_MAX] if rules.large else max_abs(n, s)) <= rules.xtol:
        member.status = CONVERGED_STEP
    elif rules.xrtol > 0.0 and (
            (sqrt(sums[SS]) if rules.large else norm(n, s, max_abs(n, s)))
            <= rules.xrtol * (rules.xrtol + norm(n, v, max_abs(n, v)))):
        member.status = CONVERGED_STEP
    elif rules.ftol > 0.0 and f_old - f <= rules.ftol * fmax(fmax(fabs(f_old), fabs(f)), 1.0):
        member.status = CONVERGED_DECREASE
    elif rules.frtol > 0.0 and f_old - f <= rules.frtol * fabs(f_old):
        member.status = CONVERGED_DECREASE
    elif rules.fatol > 0.0 and f_old - f <= rules.fatol:
        member.status = CONVERGED_DECREASE
    elif (stuck and (along_g or not member.bounded)) or member.idle >= IDLE_AT_MOST:
        member.status = STALLED
    elif member.nit >= rules.maxiter:
        member.status = MAXITER
    elif member.nfev >= rules.maxfun:
        member.status = MAXFUN
    else:
        if stuck:
            forget(member)                                  # a projected direction may be to blame
        return True
    return False


cdef const double *move(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work,
    double alpha, double f, const floating *g
) noexcept nogil:
    """x += alpha p. The room of p and g_lo, both spent now, is left holding s and y; of large members, the next slot
    is, and the sums of the pair are returned."""
    cdef:
        Py_ssize_t n = rules.n, i
        floating *p = v + 2 * n
        floating *y = v + 3 * n
        floating x_new, g_new
    member.f = f
    member.alpha = alpha
    member.nit += 1
    if rules.large:
        return large_move(rules, member, v, h0, alpha, g, work)
    if member.bounded and not (member.clear and alpha <= 1.0):
        for i in range(n):
            x_new = step_to(v[i], alpha, p[i], box[i], box[n + i], rules.eps)
            p[i] = x_new - v[i]
            v[i] = x_new
    else:
        for i in range(n):
            x_new = <floating>(<double>v[i] + alpha * <double>p[i])
            p[i] = x_new - v[i]
            v[i] = x_new
    for i in range(n):
        g_new = g[i]                                        # g may be g_lo, which is y's room
        y[i] = g_new - v[n + i]
        v[n + i] = g_new
    return NULL
