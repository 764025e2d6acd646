// The loops over members on the GPU: what cpu.pyx does on the CPU. cuda.py launches these kernels, and reads this file
// together with those that it includes.
//
// A group of threads takes one member after another, `groups` apart. A launch serves all members of a call.

#include "group.cuh"
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

/// Lay out the scratch of group number `group`, for member b.
template <typename floating>
__device__ Work work_of(const Run<floating> &run, Index group, Index b) {
    const Index n = run.rules.n, m = run.rules.m;
    Work work;
    work.rho = (double *)(member_of(run, b) + 1);
    work.a = (double *)(run.room + group * run.room_size);
    work.small = work.a + m;
    work.t = work.small + compact_size(m);
    work.r = work.t + n;
    work.order = (Index *)(work.r + n);
    work.columns = work.order + n;
    return work;
}

/// Put the members at their starts, x0 (B, n).
template <typename floating, int SIZE>
__global__ void __launch_bounds__(SIZE > 128 ? SIZE : 128, 2) open_all(Run<floating> run, Index B, const floating *x0) {
    Group<SIZE> group;
    const Index n = run.rules.n, groups = gridDim.x * (Index)(blockDim.x / SIZE);
    for (Index b = blockIdx.x * (Index)(blockDim.x / SIZE) + threadIdx.x / SIZE; b < B; b += groups) {
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
    const Index n = run.rules.n, groups = gridDim.x * (Index)(blockDim.x / SIZE);
    for (Index k = blockIdx.x * (Index)(blockDim.x / SIZE) + threadIdx.x / SIZE; k < count; k += groups) {
        const Index b = rows == nullptr ? k : rows[k];
        point(group, run.rules, *member_of(run, b), run.vectors + b * run.vector_size, run.box + b * run.box_size,
              x + k * n);
    }
}

/// Take f (count), of float32 if `narrow`, else of float64, and g (count, n), for `rows` (count) or all members; x is
/// then as `points` gives it, and moved (count) says who has a new iterate.
///
/// METHOD and BOUNDED are what the rules and the members say, too: an instance holds no more than it needs.
template <typename floating, int SIZE, Method METHOD, bool BOUNDED>
__global__ void __launch_bounds__(SIZE > 128 ? SIZE : 128, SIZE > 128 || BOUNDED ? 1 : 3) tell(
    Run<floating> run, const Index *rows, Index count, const void *f, int narrow, const floating *g, floating *x,
    unsigned char *moved
) {
    Group<SIZE> group;
    Rules rules = run.rules;
    rules.method = METHOD;
    rules.tables = BOUNDED;
    const Index n = rules.n, groups = gridDim.x * (Index)(blockDim.x / SIZE);
    const Index first = blockIdx.x * (Index)(blockDim.x / SIZE) + threadIdx.x / SIZE;
    for (Index k = first; k < count; k += groups) {
        const Index b = rows == nullptr ? k : rows[k];
        Member *stored = member_of(run, b);
        floating *v = run.vectors + b * run.vector_size;
        const floating *h0 = run.h0 == nullptr ? nullptr : run.h0 + b * run.h0_size;
        const floating *box = BOUNDED ? run.box + b * run.box_size : nullptr;
        Member member = *stored;
        if (!BOUNDED)
            member.bounded = false;
        bool took = false;
        if (member.status < 0) {
            const double value = narrow ? (double)((const float *)f)[k] : ((const double *)f)[k];
            const Work work = work_of(run, first, b);
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
        point(group, rules, member, v, box, x + k * n);
    }
}

/// Give the members the pairs s, y (m, B, n) of L-BFGS, oldest first. Those whose `status` (B) is negative run on: with
/// the search that `searches` (B, 4 n) tell of, x | g | p | g_lo, or with a new one if `anew` (B).
template <typename floating, int SIZE>
__global__ void __launch_bounds__(SIZE > 128 ? SIZE : 128, SIZE > 128 ? 1 : 3) take_up(
    Run<floating> run, Index B, const floating *s, const floating *y, const int *status, const bool *anew,
    const floating *searches
) {
    Group<SIZE> group;
    Rules rules = run.rules;
    rules.method = LBFGS;
    rules.tables = false;
    const Index n = rules.n, groups = gridDim.x * (Index)(blockDim.x / SIZE);
    const Index first = blockIdx.x * (Index)(blockDim.x / SIZE) + threadIdx.x / SIZE;
    for (Index b = first; b < B; b += groups) {
        Member *stored = member_of(run, b);
        floating *v = run.vectors + b * run.vector_size;
        const floating *h0 = run.h0 == nullptr ? nullptr : run.h0 + b * run.h0_size;
        const Work work = work_of(run, first, b);
        Member member = *stored;
        member.bounded = false;
        forget(member);
        for (Index j = 0; j < rules.m; j++)
            push(group, rules, member, v, work, s + (j * B + b) * n, y + (j * B + b) * n);
        if (!anew[b])
            for (Index i = group.rank(); i < n; i += SIZE) {
                v[2 * n + i] = searches[(4 * b + 2) * n + i];
                v[3 * n + i] = searches[(4 * b + 3) * n + i];
            }
        if (status[b] < 0)
            reopen(group, rules, member, v, h0, (const floating *)nullptr, work, anew[b]);
        group.sync();                                       // every thread has its copy, and is done with the scratch
        if (group.leads())
            *stored = member;
    }
}

#include "large.cuh"
