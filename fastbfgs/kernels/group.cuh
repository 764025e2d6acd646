// The threads that share one member, and what they do together.
//
// Coordinate i belongs to thread i mod SIZE, in every loop over coordinates, so what is done coordinate by coordinate
// needs no word between them. Every thread has a copy of the member's scalars of its own, and computes them all: sums
// come out the same, bit for bit, in every thread. So only what one thread stores and another one loads needs `sync`,
// and whatever forms one result of all threads is one.
//
// SIZE is 1, or a part of a warp, or the whole block. No sum uses atomics: its order is fixed, and a solve has the same
// bits every time. A sum over 1 thread, and a `dot` over 4, has the bits of vectors.pxd.

#ifdef __CUDACC_RTC__                                       // which has no headers
#define INFINITY __longlong_as_double(0x7ff0000000000000ll)
#define NAN __longlong_as_double(0x7ff8000000000000ll)
#endif

#ifndef SHARED                                              // on_host.cpp gives each block its own
#define SHARED(type, name) __shared__ type name
#endif

typedef long long Index;                                    // Py_ssize_t
static_assert(sizeof(Index) == 8, "64 bits");

template <int SIZE>
struct Group {
    static_assert(SIZE % 32 == 0 || 32 % SIZE == 0, "no part of a warp");
    static constexpr int size = SIZE;
    static constexpr int warps = SIZE > 32 ? SIZE / 32 : 1;
    int turn = 0;                                           // which of two rooms the block's next sum uses

    __device__ __forceinline__ int rank() const {
        return SIZE == 1 ? 0 : threadIdx.x % SIZE;
    }

    __device__ __forceinline__ bool leads() const {
        return rank() == 0;
    }

    __device__ __forceinline__ bool owns(Index i) const {
        return SIZE == 1 || i % SIZE == rank();
    }

    __device__ __forceinline__ unsigned mask() const {      // of these threads in their warp
        return SIZE >= 32 ? 0xffffffffu : ((1u << SIZE % 32) - 1u) << (threadIdx.x % 32 / SIZE * SIZE);
    }

    /// What any of these threads has stored before, all can load after.
    __device__ __forceinline__ void sync() const {
        if constexpr (SIZE > 32)
            __syncthreads();
        else if constexpr (SIZE > 1)
            __syncwarp(mask());
    }

    /// The sum of `value` over the threads.
    __device__ __forceinline__ double sum(double value) {
        warp_sync();
        for (int k = (SIZE < 32 ? SIZE : 32) / 2; k > 0; k /= 2)
            value += __shfl_xor_sync(mask(), value, k);
        if constexpr (SIZE > 32) {
            const double *room = of_warps(value);
            value = room[0];
            for (int k = 1; k < warps; k++)
                value += room[k];
        }
        return value;
    }

    /// The largest `value` of the threads, none of which is NaN.
    __device__ __forceinline__ double most(double value) {
        warp_sync();
        for (int k = (SIZE < 32 ? SIZE : 32) / 2; k > 0; k /= 2)
            value = fmax(value, __shfl_xor_sync(mask(), value, k));
        if constexpr (SIZE > 32) {
            const double *room = of_warps(value);
            value = room[0];
            for (int k = 1; k < warps; k++)
                value = fmax(value, room[k]);
        }
        return value;
    }

    /// Is `claim` true for any of the threads?
    __device__ __forceinline__ bool any(bool claim) {
        return SIZE == 1 ? claim : most(claim ? 1.0 : 0.0) > 0.0;
    }

    /// For how many threads `claim` is true, in `all`; and for how many of those before this one.
    __device__ __forceinline__ int before(bool claim, int *all) {
        if constexpr (SIZE == 1) {
            *all = claim;
            return 0;
        } else {
            warp_sync();
            const unsigned those = __ballot_sync(mask(), claim) & mask();
            const int earlier = __popc(those & ((1u << threadIdx.x % 32) - 1u));
            *all = __popc(those);
            if constexpr (SIZE > 32) {
                const double *room = of_warps(*all);
                double in_all = 0.0, in_earlier = 0.0;
                for (int k = 0; k < warps; k++) {
                    in_earlier += k < (int)threadIdx.x / 32 ? room[k] : 0.0;
                    in_all += room[k];
                }
                *all = (int)in_all;
                return earlier + (int)in_earlier;
            }
            return earlier;
        }
    }

private:
    /// A shuffle orders nothing in memory.
    __device__ __forceinline__ void warp_sync() const {
        if constexpr (SIZE > 1)
            __syncwarp(mask());
    }

    /// One number of each warp of the block. The room is used again in the next but one call: by then every thread has
    /// come through the barrier of the next one, and has read this.
    __device__ __forceinline__ const double *of_warps(double value) {
        __shared__ double rooms[2][warps];
        double *room = rooms[turn];
        turn ^= 1;
        if (threadIdx.x % 32 == 0)
            room[threadIdx.x / 32] = value;
        __syncthreads();
        return room;
    }
};
