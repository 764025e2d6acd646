# What the machine holds: a record of float64 scalars and one row of vectors for each member, nothing else.
#
# vectors of a member, `floating`, in units of n:
#
#     x | g | p | g_lo | s_0 y_0 | s_1 y_1 | ... | s_(m-1) y_(m-1)
#
# x, g     the accepted iterate and its gradient              per accepted iterate
# p        the search direction                               per accepted iterate
# g_lo     the gradient at the best trial of this search      per trial
# s_j y_j  the pairs, a ring: `head` is the next slot         memory
#
# BFGS has u | H (n, n) in place of the pairs, see bfgs.pxd. Large members have another order, see large.pxd. The point
# a member asks for is x + alpha p. It is never stored: whoever is asked may write into his copy.
# Behind each record stand m float64 of its own: rho_j. In a run with bounds the tables of compact.pxd follow, 2 m^2
# more.
#
# Bounds, if a member has any, are one row of its own or of all: `box`, lower (n) | upper (n), of the vectors' dtype.

from libc.stdint cimport int32_t, int64_t

cdef enum Method:           # which way the steps go
    LBFGS                   # L-BFGS-B is this too, for the members that have bounds
    BFGS

cdef enum:
    BOXED = 2

cdef struct Rules:          # the same for all members, for the whole run
    Py_ssize_t n            # coordinates
    Py_ssize_t m            # pairs remembered at most
    Method method
    int scale_h0            # BFGS: 1 if H0 is scaled by s.y / y.y, 2 if H also grows, see bfgs.pxd
    bint narrow             # directions of several members are found together, see tile.pxd
    bint tables             # room for those of compact.pxd stands behind every record
    bint large              # members are of the kind of large.pxd
    bint single             # their pairs are float32
    double c1               # sufficient decrease, N&W (3.6a)
    double c2               # curvature, N&W (3.7b)
    double gtol             # stop at max |g_i| <= gtol
    double ftol             # stop at f_k - f_(k+1) <= ftol max(|f_k|, |f_(k+1)|, 1); 0: never
    double frtol            # stop at f_k - f_(k+1) <= frtol |f_k|; 0: never
    double fatol            # stop at f_k - f_(k+1) <= fatol; 0: never
    double xtol             # stop at max |s_i| <= xtol; 0: never
    double xrtol            # stop at ||s||_2 <= xrtol (xrtol + ||x||_2); 0: never
    double norm             # order of the norm that gtol limits: infinity for max |g_i|
    double eps              # rounding unit of the vectors' dtype
    int64_t maxiter         # accepted steps
    int64_t maxfun          # evaluations
    int64_t maxls           # evaluations of one line search

cdef struct Search:         # one line search; the letters of wolfe.pxd
    double phi0             # given at its start
    double dphi0
    double alpha            # the trial that awaits its phi, dphi
    double lo               # the best step so far: its value, not its place, is low
    double phi_lo
    double dphi_lo
    double hi               # the other end of the bracket
    double phi_hi
    double dphi_hi
    double ceiling          # the shortest step known to have no finite phi
    double largest          # the longest step within the bounds, once one longer than the first may be wanted
    double width            # of the bracket now, and one trial before
    double width_old
    int32_t bracketed
    int32_t stage           # 1: no step has had sufficient decrease and dphi >= 0 yet
    int64_t evals

cdef struct Member:
    # per accepted iterate
    double f
    double g_size           # max |g_i|, or another norm; of the projected gradient, if there are bounds
    double alpha            # the step length that led here; NaN at the start
    int64_t nit
    double f_best           # the lowest f so far, as of when that was last beyond noise, and the least g_size
    double g_best
    # memory
    double gamma            # s.y / y.y of the newest pair
    int32_t count           # pairs in use; of BFGS, learnt
    int32_t head            # next slot of the ring
    # per trial
    Search search
    # bookkeeping
    int64_t nfev
    int32_t status          # Status; negative while it runs
    int32_t started         # the start has been evaluated
    int32_t idle            # steps since either was lowered
    int32_t flat            # a search failed where the model promised less than f can show
    int32_t bounded         # 1: some coordinate has a finite bound; BOXED: each has two
    int32_t fresh           # of the newest pairs, how many are not in the tables yet; large: products with g miss
    int32_t clear           # up to alpha = 1 the ray of this search crosses no bound


ctypedef void (*Task)(void *job, Py_ssize_t k) noexcept nogil

cdef struct Team:           # threads that may share the panels of a large member
    void (*run)(void *self, Task task, void *job, Py_ssize_t count) noexcept nogil   # task(job, k) for all k < count
    void *self


cdef struct Work:           # scratch that a thread lends to the member at hand
    double *tile            # what tile.pxd interleaves
    double *a               # (m) of Algorithm 7.4
    # large members, see large.pxd:
    double *sums
    Team team               # run is NULL where this thread works alone
    # within bounds, see box.pxd:
    double *small           # for the matrices and vectors of compact.pxd
    double *t               # (n) breakpoints of the projected gradient path
    Py_ssize_t *order       # (n) a heap of them; or the coordinates that rest
    void *columns           # (1 + columns, n) of the vectors' dtype: -g and unit vectors, and what H makes of them


cdef inline double *rho_of(Member *member) noexcept nogil:
    """rho_j = 1 / y_j.s_j, one for each slot of the ring."""
    return <double *>(member + 1)
