/* A three-parameter decay a exp(-b t) + c, fitted to one row of data: see native_lowlevel.py. */
#include <math.h>

#include <fastbfgs.h>

struct rows {
    int64_t count;      /* of data in a row */
    const double *t;    /* (count) times, the same for all rows */
    const double *y;    /* (members, count) */
};

fastbfgs_objective misfit; /* holds the definition below to the signature */

double misfit(int64_t member, int64_t n, const double *x, double *g, void *user_data)
{
    const struct rows *rows = user_data;
    const double *y = rows->y + member * rows->count;
    double f = 0.0;
    for (int64_t i = 0; i < n; i++)
        g[i] = 0.0;
    for (int64_t k = 0; k < rows->count; k++) {
        double t = rows->t[k], e = exp(-x[1] * t), r = x[0] * e + x[2] - y[k];
        f += 0.5 * r * r;
        g[0] += r * e;
        g[1] -= r * x[0] * t * e;
        g[2] += r;
    }
    return f;
}
