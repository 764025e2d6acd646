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

constexpr int MOST_AT_ONCE = 12;                            // sums

template <int warps>
struct Rooms {
    double of[2][MOST_AT_ONCE * warps];
};

template <int SIZE>
struct Group {
    static_assert(SIZE % 32 == 0 || 32 % SIZE == 0, "no part of a warp");
    static constexpr bool alone = SIZE == 1;                // a thread is
    static constexpr int warps = SIZE > 32 ? SIZE / 32 : 1;
    int turn = 0;                                           // which of two rooms the block's next sum uses

    __device__ static constexpr int size() {
        return SIZE;
    }

    /// Which group of the launch this is, and how many there are.
    __device__ __forceinline__ static Index number() {
        return blockIdx.x * (Index)(blockDim.x / SIZE) + threadIdx.x / SIZE;
    }

    __device__ __forceinline__ static Index groups() {
        return gridDim.x * (Index)(blockDim.x / SIZE);
    }

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

    /// These threads, or as many of them as need not wait long for each other, each of which does the same.
    __device__ __forceinline__ Group &near() {
        return *this;
    }

    /// Of a matrix, which rows are theirs who are near: from this one, so many apart.
    __device__ __forceinline__ Index first_row() const {
        return 0;
    }

    __device__ __forceinline__ Index rows_apart() const {
        return 1;
    }

    /// The sum of `value` over the threads.
    __device__ __forceinline__ double sum(double value) {
        double values[1] = {value};
        sum_each(values);
        return values[0];
    }

    /// The same of several numbers, with one wait.
    template <int COUNT>
    __device__ __forceinline__ void sum_each(double (&values)[COUNT]) {
        warp_sync();
        for (int i = 0; i < COUNT; i++)
            for (int k = (SIZE < 32 ? SIZE : 32) / 2; k > 0; k /= 2)
                values[i] += __shfl_xor_sync(mask(), values[i], k);
        if constexpr (SIZE > 32) {
            const double *room = of_warps(values);
            for (int i = 0; i < COUNT; i++) {
                values[i] = room[i * warps];
                for (int k = 1; k < warps; k++)
                    values[i] += room[i * warps + k];
            }
        }
    }

    /// The largest `value` of the threads, none of which is NaN.
    __device__ __forceinline__ double most(double value) {
        warp_sync();
        for (int k = (SIZE < 32 ? SIZE : 32) / 2; k > 0; k /= 2)
            value = fmax(value, __shfl_xor_sync(mask(), value, k));
        if constexpr (SIZE > 32) {
            double values[1] = {value};
            const double *room = of_warps(values);
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

private:
    /// A shuffle orders nothing in memory.
    __device__ __forceinline__ void warp_sync() const {
        if constexpr (SIZE > 1)
            __syncwarp(mask());
    }

    /// The numbers of each warp of the block, those of all warps side by side. The room is used again in the next but
    /// one call: by then every thread has come through the barrier of the next one, and has read this.
    template <int COUNT>
    __device__ __forceinline__ const double *of_warps(const double (&values)[COUNT]) {
        static_assert(COUNT <= MOST_AT_ONCE, "no room");
        SHARED(Rooms<warps>, rooms);
        double *room = rooms.of[turn];
        turn ^= 1;
        if (threadIdx.x % 32 == 0)
            for (int i = 0; i < COUNT; i++)
                room[i * warps + threadIdx.x / 32] = values[i];
        __syncthreads();
        return room;
    }
};
