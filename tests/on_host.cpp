// advance.cu on the host: a small CUDA machine, in which each thread of a block is a fibre.
//
// Fibres run one at a time, each until it waits for others. In which order they take turns is the caller's choice
// (`order`), and no result may depend on it: a number that one thread stores, and another one loads without `sync`
// in between, comes out differently.
// What would hang a GPU, a barrier that not all of its threads come to, is an error here.
// The blocks of a launch run one after another; those of a cooperative one together.

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

using std::exp, std::log, std::sin, std::cos;
using std::fabs, std::fmax, std::fmin, std::ilogb, std::isfinite, std::ldexp, std::pow, std::sqrt;

#define __device__ inline
#define __forceinline__
#define __noinline__
#define __global__
#define __launch_bounds__(...)
#define __shared__ static                                   // for blocks that run one after another
#define SHARED(type, name) \
    static char key_of_##name; \
    type &name = *static_cast<type *>(shared_by_block(&key_of_##name, sizeof(type)))

namespace {

struct Dim {
    unsigned x = 1;
};

Dim threadIdx, blockIdx, blockDim, gridDim;

// --------------------------------------------------------------------------------------------
// Fibres

struct Barrier {
    int arrived = 0;
    unsigned long passed = 0;
    const char *kind = nullptr;
    unsigned mask = 0;
};

struct Fibre {
    ucontext_t begins;
    jmp_buf goes_on;
    bool begun = false;
    std::unique_ptr<char[]> stack;
    unsigned thread = 0, block = 0;
    bool done = false;
};

struct Machine {
    std::vector<Fibre> fibres;
    jmp_buf scheduler;
    Fibre *at = nullptr;
    std::function<void()> body;
    // By block: its own, then one for each lane that a mask begins at.
    std::vector<std::vector<Barrier>> barriers;
    std::vector<std::vector<std::uint64_t>> slots;          // what each of its threads shows to the others
    std::vector<std::map<const void *, std::vector<char>>> shared;
    bool progress = false;
    std::string error;
} machine;

constexpr std::size_t STACK = 256 * 1024;

// A context is only entered by setcontext: that and swapcontext ask the kernel for the signal mask every time.
void let(Fibre &fibre) {
    if (_setjmp(machine.scheduler))
        return;
    if (fibre.begun)
        _longjmp(fibre.goes_on, 1);
    fibre.begun = true;
    setcontext(&fibre.begins);
}

void yield() {
    if (!_setjmp(machine.at->goes_on))
        _longjmp(machine.scheduler, 1);
}

void enter() {
    machine.body();
    machine.at->done = true;
    machine.progress = true;
    yield();
}

void wait(Barrier &barrier, int parties, const char *kind, unsigned mask) {
    if (parties == 1)
        return;
    if (barrier.arrived == 0)
        barrier.kind = kind, barrier.mask = mask;
    if (std::strcmp(barrier.kind, kind) != 0 || barrier.mask != mask)
        machine.error = std::string("threads meet in ") + kind + " and " + barrier.kind;
    const unsigned long before = barrier.passed;
    if (++barrier.arrived == parties) {
        barrier.arrived = 0;
        barrier.passed++;
        machine.progress = true;
    }
    while (barrier.passed == before)
        yield();
}

void wait_in_warp(unsigned mask, const char *kind) {
    const unsigned warp = threadIdx.x / 32;
    if (!(mask >> threadIdx.x % 32 & 1))
        machine.error = std::string("a thread is not in its own mask, in ") + kind;
    wait(machine.barriers[blockIdx.x][1 + 32 * warp + __builtin_ctz(mask)], __builtin_popcount(mask), kind, mask);
}

void *shared_by_block(const void *key, std::size_t size) {
    auto &room = machine.shared[blockIdx.x][key];
    if (room.empty())
        room.resize(size);
    return room.data();
}

/// Run the threads of these blocks to their ends, taking turns as `order` says: 0 up, 1 down, else at random.
void run_blocks(unsigned first, unsigned last, unsigned order) {
    machine.barriers.assign(gridDim.x, std::vector<Barrier>(1 + 32 * ((blockDim.x + 31) / 32)));
    machine.slots.assign(gridDim.x, std::vector<std::uint64_t>(blockDim.x));
    machine.shared.assign(gridDim.x, {});
    if (machine.fibres.size() < (last - first) * blockDim.x)
        machine.fibres = std::vector<Fibre>((last - first) * blockDim.x);
    std::vector<Fibre *> turns;
    for (unsigned k = 0; k < (last - first) * blockDim.x; k++) {
        const unsigned thread = k % blockDim.x;
        Fibre &fibre = machine.fibres[k];
        fibre.block = first + k / blockDim.x;
        if (!fibre.stack)
            fibre.stack = std::make_unique<char[]>(STACK);
        fibre.thread = thread;
        fibre.done = fibre.begun = false;
        getcontext(&fibre.begins);
        fibre.begins.uc_stack.ss_sp = fibre.stack.get();
        fibre.begins.uc_stack.ss_size = STACK;
        fibre.begins.uc_link = nullptr;
        makecontext(&fibre.begins, enter, 0);
        turns.push_back(&fibre);
    }
    if (order == 1)
        std::reverse(turns.begin(), turns.end());
    std::minstd_rand random(order);
    do {
        machine.progress = false;
        if (order > 1)
            std::shuffle(turns.begin(), turns.end(), random);
        for (Fibre *fibre : turns) {
            if (fibre->done)
                continue;
            machine.at = fibre;
            threadIdx.x = fibre->thread;
            blockIdx.x = fibre->block;
            let(*fibre);
        }
        if (!machine.progress && machine.error.empty()) {
            for (const Fibre *fibre : turns)
                if (!fibre->done)
                    machine.error = "threads wait for others that never come";
        }
    } while (machine.progress && machine.error.empty());
}

// --------------------------------------------------------------------------------------------
// CUDA's words

inline void __syncwarp(unsigned mask) {
    wait_in_warp(mask, "__syncwarp");
}

inline void __syncthreads() {
    wait(machine.barriers[blockIdx.x][0], (int)blockDim.x, "__syncthreads", 0);
}

inline double __shfl_xor_sync(unsigned mask, double value, int k) {
    const unsigned me = threadIdx.x;
    auto &slots = machine.slots[blockIdx.x];
    std::memcpy(&slots[me], &value, sizeof value);
    wait_in_warp(mask, "__shfl_xor_sync");
    double other;
    std::memcpy(&other, &slots[(me & ~31u) | ((me % 32) ^ (unsigned)k)], sizeof other);
    wait_in_warp(mask, "__shfl_xor_sync, read");
    return other;
}

inline unsigned long long atomicAdd(unsigned long long *sum, unsigned long long value) {
    machine.progress = true;
    *sum += value;
    return *sum - value;
}

inline void __threadfence() {}

inline void __nanosleep(unsigned) {
    yield();
}

}  // namespace

#ifdef FUSED
#include FUSED                                              // with the caller's objective, see fused.py
#else
#include "advance.cu"
#endif

// --------------------------------------------------------------------------------------------
// Launches

namespace {

template <typename T>
T &at(void **arguments, int k) {
    return *static_cast<T *>(arguments[k]);
}

#ifdef FUSED
#define TEXT_OF(word) #word
#define TEXT(word) TEXT_OF(word)
#define NAME TEXT(FLOATING)

template <typename floating, Method METHOD, bool BOUNDED>
void whole_runs(void **arguments, std::function<void()> &body) {
    auto &run = at<Run<floating>>(arguments, 0);
    body = [=, &run] {
        solve<floating, METHOD, BOUNDED>(
            run, at<Index>(arguments, 1), at<Index>(arguments, 2), at<floating *>(arguments, 3), at<Data>(arguments, 4));
    };
}

bool launch_any(const std::string &name, void **arguments, std::function<void()> &body) {
    if (name == "solve<" NAME ", LBFGS, false>")
        whole_runs<FLOATING, LBFGS, false>(arguments, body);
    else if (name == "solve<" NAME ", BFGS, false>")
        whole_runs<FLOATING, BFGS, false>(arguments, body);
    else if (name == "solve<" NAME ", LBFGS, true>")
        whole_runs<FLOATING, LBFGS, true>(arguments, body);
    else
        return false;
    return true;
}

#else

template <typename floating, int SIZE>
bool launch_of(const std::string &name, void **arguments, std::function<void()> &body) {
    using Rows = const Index *;
    auto &run = at<Run<floating>>(arguments, 0);
    const auto told = [&](auto kernel) {
        body = [=, &run] {
            kernel(run, at<Rows>(arguments, 1), at<Index>(arguments, 2), at<const void *>(arguments, 3),
                   at<int>(arguments, 4), at<const floating *>(arguments, 5), at<floating *>(arguments, 6),
                   at<unsigned char *>(arguments, 7));
        };
    };
    const std::string kind = std::string(sizeof(floating) == 4 ? "float" : "double") + ", " + std::to_string(SIZE);
    if (name == "open_all<" + kind + ">")
        body = [=, &run] { open_all<floating, SIZE>(run, at<Index>(arguments, 1), at<const floating *>(arguments, 2)); };
    else if (name == "points<" + kind + ">")
        body = [=, &run] {
            points<floating, SIZE>(run, at<Rows>(arguments, 1), at<Index>(arguments, 2), at<floating *>(arguments, 3));
        };
    else if (name == "take_up<" + kind + ">")
        body = [=, &run] {
            take_up<floating, SIZE>(
                run, at<Index>(arguments, 1), at<const floating *>(arguments, 2), at<const floating *>(arguments, 3),
                at<const int *>(arguments, 4), at<const bool *>(arguments, 5), at<const floating *>(arguments, 6));
        };
    else if (name == "tell<" + kind + ", LBFGS, false>")
        told(tell<floating, SIZE, LBFGS, false>);
    else if (name == "tell<" + kind + ", BFGS, false>")
        told(tell<floating, SIZE, BFGS, false>);
    else if (name == "tell<" + kind + ", LBFGS, true>")
        told(tell<floating, SIZE, LBFGS, true>);
    else
        return false;
    return true;
}

template <int SIZE>
bool launch_of(const std::string &name, void **arguments, std::function<void()> &body) {
    return launch_of<float, SIZE>(name, arguments, body) || launch_of<double, SIZE>(name, arguments, body);
}

template <typename floating>
bool launch_shared(const std::string &name, void **arguments, std::function<void()> &body) {
    auto &run = at<Run<floating>>(arguments, 0);
    const auto told = [&](auto kernel) {
        body = [=, &run] {
            kernel(run, at<const Index *>(arguments, 1), at<Index>(arguments, 2), at<const void *>(arguments, 3),
                   at<int>(arguments, 4), at<const floating *>(arguments, 5), at<floating *>(arguments, 6),
                   at<unsigned char *>(arguments, 7), at<double *>(arguments, 8),
                   at<unsigned long long *>(arguments, 9));
        };
    };
    const auto taken_up = [&](auto kernel) {
        body = [=, &run] {
            kernel(run, at<Index>(arguments, 1), at<const floating *>(arguments, 2), at<const floating *>(arguments, 3),
                   at<const int *>(arguments, 4), at<const bool *>(arguments, 5), at<const floating *>(arguments, 6),
                   at<double *>(arguments, 7), at<unsigned long long *>(arguments, 8));
        };
    };
    const std::string kind = sizeof(floating) == 4 ? "float" : "double";
    if (name == "tell_large<" + kind + ">")
        told(tell_large<floating>);
    else if (name == "tell_grid<" + kind + ", LBFGS, false>")
        told(tell_grid<floating, LBFGS, false>);
    else if (name == "tell_grid<" + kind + ", BFGS, false>")
        told(tell_grid<floating, BFGS, false>);
    else if (name == "tell_grid<" + kind + ", LBFGS, true>")
        told(tell_grid<floating, LBFGS, true>);
    else if (name == "take_up_large<" + kind + ">")
        taken_up(take_up_large<floating>);
    else if (name == "take_up_grid<" + kind + ">")
        taken_up(take_up_grid<floating>);
    else
        return false;
    return true;
}

bool launch_any(const std::string &name, void **arguments, std::function<void()> &body) {
    return launch_shared<float>(name, arguments, body) || launch_shared<double>(name, arguments, body)
        || launch_of<1>(name, arguments, body) || launch_of<4>(name, arguments, body)
        || launch_of<8>(name, arguments, body) || launch_of<16>(name, arguments, body)
        || launch_of<32>(name, arguments, body) || launch_of<128>(name, arguments, body)
        || launch_of<256>(name, arguments, body);
}

#endif

}  // namespace

extern "C" {

/// Launch a kernel by its C++ name; return what went wrong, or NULL.
const char *launch(const char *name, unsigned grid, unsigned block, void **arguments, unsigned order) {
    machine.error.clear();
    if (!launch_any(name, arguments, machine.body))
        machine.error = std::string("not built for the host: ") + name;
    gridDim.x = grid;
    blockDim.x = block;
    if (std::strstr(name, "_large<") != nullptr || std::strstr(name, "_grid<") != nullptr)
        run_blocks(0, grid, order);
    else
        for (unsigned first = 0; first < grid && machine.error.empty(); first++)
            run_blocks(first, first + 1, order);
    return machine.error.empty() ? nullptr : machine.error.c_str();
}

/// Sizes and places of what Python and CUDA share.
std::size_t size_of_member() { return sizeof(Member); }
std::size_t size_of_run() { return sizeof(Run<double>); }
std::size_t place_of_status() { return offsetof(Member, status); }

}
