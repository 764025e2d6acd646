// Twin of state.pxd: what the machine holds, with the same names in the same places; see there.
//
// A record and a row of vectors have the bytes that they have on the CPU. Only `rho` is found in another way: behind a
// thread's Member, which is a copy, stand no rho_j.

enum Method { LBFGS, BFGS };

enum { BOXED = 2 };

struct Rules {                                              // cuda.py has it as a NumPy dtype
    Index n, m;
    int method, scale_h0, tables;
    double c1, c2, gtol, ftol, frtol, fatol, xtol, xrtol, norm, eps;
    long long maxiter, maxfun, maxls;
};

struct Search {
    double phi0, dphi0, alpha;
    double lo, phi_lo, dphi_lo;
    double hi, phi_hi, dphi_hi;
    double ceiling, largest, width, width_old;
    int bracketed, stage;
    long long evals;
};

struct Member {
    double f, g_size, alpha;
    long long nit;
    double f_best, g_best;
    double gamma;
    int count, head;
    Search search;
    long long nfev;
    int status, started, idle, flat, bounded, fresh, clear;
};

struct Work {                                               // scratch lent to the member at hand
    double *rho;                                            // (m) its own, behind its record
    double *a;                                              // (m)
    double *small;                                          // within bounds, as in state.pxd
    double *t;                                              // (n)
    double *r;                                              // (n) of BLNZ (5.4), negated
    Index *order;                                           // (n)
    void *columns;                                          // (1 + columns_of(n), n)
};
