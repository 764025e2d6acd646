# The per-member machine: its Status, and the one function that moves a member on by one evaluation.

from cython cimport floating

from fastbfgs.kernels.state cimport Member, Rules, Work

cpdef enum Status:
    RUNNING = -1
    CONVERGED_GRADIENT = 0
    CONVERGED_DECREASE = 1
    CONVERGED_STEP = 2
    MAXITER = 10
    MAXFUN = 11
    STOPPED = 12
    STALLED = 20
    ABNORMAL = 21
    NONFINITE_START = 22
    UNBOUNDED = 23

cdef bint advance(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work,
    double f, const floating *g
) noexcept nogil

cdef void set_off(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work
) noexcept nogil

cdef bint together(const Rules *rules) noexcept nogil

cdef void set_off_together(
    const Rules *rules, Py_ssize_t count, Member **member, floating **v, const floating **h0, const Work *work
) noexcept nogil

cdef void enter(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *s, const floating *y,
    const Work *work
) noexcept nogil

cdef void reopen(
    const Rules *rules, Member *member, floating *v, const floating *h0, const floating *box, const Work *work,
    bint anew
) noexcept nogil

cdef void point(
    const Rules *rules, const Member *member, floating *v, const floating *box, floating *x, const Work *work
) noexcept nogil
