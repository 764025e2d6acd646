/* A compiled objective for fastbfgs: value and gradient at one point of one member.
 *
 *     #include <fastbfgs.h>
 *
 *     fastbfgs_objective bowl;        // the compiler now holds bowl to the signature
 *
 *     double bowl(int64_t member, int64_t n, const double *x, double *g, void *user_data)
 *     {
 *         const double *centre = (const double *)user_data + member * n;
 *         double f = 0.0;
 *         for (int64_t i = 0; i < n; i++) {
 *             g[i] = 2.0 * (x[i] - centre[i]);
 *             f += (x[i] - centre[i]) * (x[i] - centre[i]);
 *         }
 *         return f;
 *     }
 *
 * member     the member's index in the flattened batch; 0 for one problem
 * n          number of coordinates
 * x          (n) the point, to read only
 * g          (n) the gradient, to write: every number of it, whatever stood there before
 * user_data  the pointer given with the function, the same for every call
 *
 * returns    f, in double also where x and g are float. NaN or infinite f or g say "too far": the step shrinks.
 *
 * It is called from several threads at a time, without Python's GIL, in no order that could be relied on. So it must
 * only read what all members share, and its value must depend on its arguments alone.
 */
#ifndef FASTBFGS_H
#define FASTBFGS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* For x0 of float64. */
typedef double fastbfgs_objective(int64_t member, int64_t n, const double *x, double *g, void *user_data);

/* For x0 of float32. */
typedef double fastbfgs_objective_f32(int64_t member, int64_t n, const float *x, float *g, void *user_data);

#ifdef __cplusplus
}
#endif

#endif
