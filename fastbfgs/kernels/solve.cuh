// Whole runs on an objective that the caller wrote in CUDA: what runs.pyx does on the CPU. fused.py puts the caller's
// source, `Data` and `evaluate` before this file.
//
// One thread a member. A thread that has finished one goes on with another, so that those of a warp evaluate together.

/// Run the members (count) to their ends, or for at most `most` evaluations each. room is for run.room and, behind it,
/// x and g of each thread.
template <typename floating, Method METHOD, bool BOUNDED>
__global__ void __launch_bounds__(128) solve(Run<floating> run, Index count, Index most, floating *points, Data data) {
    Group<1> group;
    Rules rules = run.rules;
    rules.method = METHOD;
    rules.tables = BOUNDED;
    const Index n = rules.n, threads = group.groups(), first = group.number();
    floating *x = points + 2 * n * first, *g = x + n;
    Index b = first, spent = 0;
    bool held = false;
    Member member;
    while (true) {
        if (!held) {
            while (b < count && member_of(run, b)->status >= 0)
                b += threads;
            if (b >= count)
                break;
            member = *member_of(run, b);
            if (!BOUNDED)
                member.bounded = false;
            spent = 0;
            held = true;
        }
        floating *v = run.vectors + b * run.vector_size;
        const floating *h0 = run.h0 == nullptr ? nullptr : run.h0 + b * run.h0_size;
        const floating *box = BOUNDED ? run.box + b * run.box_size : nullptr;
        const Work work = work_of(run, first, b);
        point(group, rules, member, v, box, x);
        const double f = evaluate(b, n, (const floating *)x, g, data);
        if (advance(group, rules, member, v, h0, box, work, f, (const floating *)g)) {
            member_of(run, b)->search = member.search;
            if (!set_off(group, rules, member, v, h0, box, work))
                member.search = member_of(run, b)->search;
        }
        spent += 1;
        if (member.status >= 0 || spent >= most) {
            *member_of(run, b) = member;
            if (member.status >= 0)
                atomicAdd((unsigned long long *)run.finished, 1ull);
            b += threads;
            held = false;
        }
    }
}
