// The loops over members on the GPU: what cpu.pyx does on the CPU. cuda.py launches these kernels, and reads this file
// together with those that it includes.
//
// A group of threads takes one member after another, `groups` apart. A launch serves all members of a call.

#include "group.cuh"
#include "grid.cuh"
#include "state.cuh"
#include "vectors.cuh"
#include "wolfe.cuh"
#include "lbfgs.cuh"
#include "bfgs.cuh"
#include "dense.cuh"
#include "compact.cuh"
#include "box.cuh"
#include "advance.cuh"

template <typename floating>
struct Run {                                                // cuda.py has it as a NumPy dtype
    Rules rules;
    char *records;                                          // (B, record_size)
    floating *vectors;                                      // (B, vector_size)
    const floating *h0;                                     // or NULL
    const floating *box;                                    // or NULL
    char *room;                                             // (groups, room_size): scratch
    long long *finished;                                    // how many members have
    Index record_size, room_size;                           // bytes
    Index vector_size, h0_size, box_size;                   // numbers; 0 where all members share
};

template <typename floating>
__device__ Member *member_of(const Run<floating> &run, Index b) {
    return (Member *)(run.records + b * run.record_size);
}

/// Lay out scratch for member b: small matrices and vectors, and rooms of n numbers.
template <typename floating>
__device__ Work work_in(const Run<floating> &run, Index b, double *small, double *wide) {
    const Index n = run.rules.n;
    Work work;
    work.rho = (double *)(member_of(run, b) + 1);
    work.a = small;
    work.small = small + run.rules.m;
    work.t = wide;
    work.r = work.t + n;
    work.order = (Index *)(work.r + n);
    work.columns = work.order + n;
    return work;
}

__device__ __forceinline__ Index small_size(Index m) {
    return m + compact_size(m);
}

/// The scratch of group number `group`.
template <typename floating>
__device__ Work work_of(const Run<floating> &run, Index group, Index b) {
    double *room = (double *)(run.room + group * run.room_size);
    return work_in(run, b, room, room + small_size(run.rules.m));
}

/// The scratch of a grid: each block has small rooms of its own.
template <typename floating>
__device__ Work work_of_grid(const Run<floating> &run, Index b) {
    double *room = (double *)run.room;
    const Index size = small_size(run.rules.m);
    return work_in(run, b, room + blockIdx.x * size, room + gridDim.x * size);
}

/// Put the members at their starts, x0 (B, n).
template <typename floating, int SIZE>
__global__ void __launch_bounds__(SIZE > 128 ? SIZE : 128, 2) open_all(Run<floating> run, Index B, const floating *x0) {
    Group<SIZE> group;
    const Index n = run.rules.n;
    for (Index b = group.number(); b < B; b += group.groups()) {
        floating *v = run.vectors + b * run.vector_size;
        const floating *box = run.box == nullptr ? nullptr : run.box + b * run.box_size;
        double finite = 0.0;
        for (Index i = group.rank(); i < n; i += SIZE) {
            v[i] = x0[b * n + i];
            v[n + i] = NAN;
            if (box != nullptr)
                finite += (isfinite(box[i]) ? 1.0 : 0.0) + (isfinite(box[n + i]) ? 1.0 : 0.0);
        }
        finite = group.sum(finite);
        if (group.leads()) {
            Member *member = member_of(run, b);
            member->f = member->alpha = NAN;
            member->f_best = member->g_best = INFINITY;
            member->status = RUNNING;
            member->bounded = finite == 2.0 * n ? (int)BOXED : finite > 0.0;
        }
    }
}

/// x (count, n) = the points that `rows` (count) ask about, or rest at; without rows, those of all members.
template <typename floating, int SIZE>
__global__ void __launch_bounds__(SIZE > 128 ? SIZE : 128, 2) points(
    Run<floating> run, const Index *rows, Index count, floating *x
) {
    Group<SIZE> group;
    const Index n = run.rules.n;
    for (Index k = group.number(); k < count; k += group.groups()) {
        const Index b = rows == nullptr ? k : rows[k];
        point(group, run.rules, *member_of(run, b), run.vectors + b * run.vector_size, run.box + b * run.box_size,
              x + k * n);
    }
}

/// Take f[k], of float32 if `narrow`, else of float64, and row k of g, for member b; row k of x is then as `points`
/// gives it, and moved[k] says whether it has a new iterate. Without f, only x is set.
///
/// METHOD and BOUNDED are what the rules and the member say, too: an instance holds no more than it needs.
template <Method METHOD, bool BOUNDED, class Group, typename floating>
__device__ __forceinline__ void tell_one(
    Group &group, const Run<floating> &run, const Rules &rules, const Work &work, Index b, Index k, const void *f,
    int narrow, const floating *g, floating *x, unsigned char *moved
) {
    const Index n = rules.n;
    Member *stored = member_of(run, b);
    floating *v = run.vectors + b * run.vector_size;
    const floating *h0 = run.h0 == nullptr ? nullptr : run.h0 + b * run.h0_size;
    const floating *box = BOUNDED ? run.box + b * run.box_size : nullptr;
    Member member = *stored;
    if (!BOUNDED)
        member.bounded = false;
    if (f != nullptr) {
        bool took = false;
        if (member.status < 0) {
            const double value = narrow ? (double)((const float *)f)[k] : ((const double *)f)[k];
            const long long nit = member.nit;
            if (advance(group, rules, member, v, h0, box, work, value, g + k * n)) {
                group.sync();                               // every thread has its copy
                if (group.leads())
                    stored->search = member.search;         // so that no registers hold it meanwhile
                if (!set_off(group, rules, member, v, h0, box, work))
                    member.search = stored->search;
            }
            took = member.nit > nit;
            group.sync();                                   // every thread has its copy, and is done with the scratch
            if (group.leads()) {
                *stored = member;
                if (member.status >= 0)
                    atomicAdd((unsigned long long *)run.finished, 1ull);
            }
        }
        if (group.leads())
            moved[k] = took;
    }
    point(group, rules, member, v, box, x + k * n);
}

/// What an instance knows of the rules.
__device__ __forceinline__ Rules rules_of(const Rules &given, Method method, bool bounded) {
    Rules rules = given;
    rules.method = method;
    rules.tables = bounded;
    return rules;
}

/// Take f (count) and g (count, n) for `rows` (count) or all members, see `tell_one`.
template <typename floating, int SIZE, Method METHOD, bool BOUNDED>
__global__ void __launch_bounds__(SIZE > 128 ? SIZE : 128, SIZE > 128 || BOUNDED ? 1 : 3) tell(
    Run<floating> run, const Index *rows, Index count, const void *f, int narrow, const floating *g, floating *x,
    unsigned char *moved
) {
    Group<SIZE> group;
    const Rules rules = rules_of(run.rules, METHOD, BOUNDED);
    for (Index k = group.number(); k < count; k += group.groups()) {
        const Index b = rows == nullptr ? k : rows[k];
        tell_one<METHOD, BOUNDED>(group, run, rules, work_of(run, group.number(), b), b, k, f, narrow, g, x, moved);
    }
}

/// The same in a cooperative launch, all blocks of which take one member after another. Without f as `points`.
template <typename floating, Method METHOD, bool BOUNDED>
__global__ void __launch_bounds__(GRID_BLOCK, 1) tell_grid(
    Run<floating> run, const Index *rows, Index count, const void *f, int narrow, const floating *g, floating *x,
    unsigned char *moved, double *sums, unsigned long long *arrived
) {
    Grid grid(sums, arrived);
    const Rules rules = rules_of(run.rules, METHOD, BOUNDED);
    for (Index k = 0; k < count; k++) {
        const Index b = rows == nullptr ? k : rows[k];
        tell_one<METHOD, BOUNDED>(grid, run, rules, work_of_grid(run, b), b, k, f, narrow, g, x, moved);
    }
}

/// Give member b the pairs s, y (m, B, n) of L-BFGS, oldest first. If its `status` is negative it runs on: with the
/// search that `search` (4 n) tells of, x | g | p | g_lo, or with a new one if `anew`.
template <class Group, typename floating>
__device__ __forceinline__ void take_up_one(
    Group &group, const Run<floating> &run, const Rules &rules, const Work &work, Index B, Index b, const floating *s,
    const floating *y, int status, bool anew, const floating *search
) {
    const Index n = rules.n;
    Member *stored = member_of(run, b);
    floating *v = run.vectors + b * run.vector_size;
    const floating *h0 = run.h0 == nullptr ? nullptr : run.h0 + b * run.h0_size;
    Member member = *stored;
    member.bounded = false;
    forget(member);
    for (Index j = 0; j < rules.m; j++)
        push(group, rules, member, v, work, s + (j * B + b) * n, y + (j * B + b) * n);
    if (!anew)
        for (Index i = group.rank(); i < n; i += group.size()) {
            v[2 * n + i] = search[2 * n + i];
            v[3 * n + i] = search[3 * n + i];
        }
    if (status < 0)
        reopen(group, rules, member, v, h0, (const floating *)nullptr, work, anew);
    group.sync();                                           // every thread has its copy, and is done with the scratch
    if (group.leads())
        *stored = member;
}

/// Let all members go on where others stood, see `take_up_one`: status (B), anew (B), searches (B, 4 n).
template <typename floating, int SIZE>
__global__ void __launch_bounds__(SIZE > 128 ? SIZE : 128, SIZE > 128 ? 1 : 3) take_up(
    Run<floating> run, Index B, const floating *s, const floating *y, const int *status, const bool *anew,
    const floating *searches
) {
    Group<SIZE> group;
    const Rules rules = rules_of(run.rules, LBFGS, false);
    for (Index b = group.number(); b < B; b += group.groups()) {
        const Work work = work_of(run, group.number(), b);
        take_up_one(group, run, rules, work, B, b, s, y, status[b], anew[b], searches + 4 * b * rules.n);
    }
}

/// The same in a cooperative launch.
template <typename floating>
__global__ void __launch_bounds__(GRID_BLOCK, 1) take_up_grid(
    Run<floating> run, Index B, const floating *s, const floating *y, const int *status, const bool *anew,
    const floating *searches, double *sums, unsigned long long *arrived
) {
    Grid grid(sums, arrived);
    const Rules rules = rules_of(run.rules, LBFGS, false);
    for (Index b = 0; b < B; b++) {
        const Work work = work_of_grid(run, b);
        take_up_one(grid, run, rules, work, B, b, s, y, status[b], anew[b], searches + 4 * b * rules.n);
    }
}

#include "large.cuh"
