// All threads of all blocks of a cooperative launch, as one group that shares one member of very many coordinates.
//
// They do together what those of group.cuh do, and all that is said there holds. A word between blocks takes
// microseconds, so small matrices and vectors are not shared out over blocks: each block has its own, and the same, and
// its threads (`near`) share those. What waits is not inlined: beside its microseconds a call is nothing, and in a
// kernel of some hundred waits its text was two thirds.

constexpr int GRID_BLOCK = 256;                             // threads

/// Wait for all blocks of a cooperative launch: what any has stored before, all can load after. `arrived` counts blocks
/// at barriers, since ever.
__device__ __noinline__ void wait_for_blocks(unsigned long long *arrived) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        const unsigned long long goal = (atomicAdd(arrived, 1ull) / gridDim.x + 1) * gridDim.x;
        while (*(volatile unsigned long long *)arrived < goal)
            __nanosleep(20);
        __threadfence();
    }
    __syncthreads();
}

struct Grid {
    static constexpr bool alone = false;
    volatile double *sums;                                  // (2, blocks, MOST_AT_ONCE) that blocks leave to each other
    unsigned long long *arrived;
    Group<GRID_BLOCK> block;
    int turn = 0;

    __device__ Grid(double *sums, unsigned long long *arrived) : sums(sums), arrived(arrived) {}

    __device__ int size() const {
        return gridDim.x * GRID_BLOCK;
    }

    __device__ int rank() const {
        return blockIdx.x * GRID_BLOCK + threadIdx.x;
    }

    __device__ bool leads() const {
        return rank() == 0;
    }

    __device__ bool owns(Index i) const {
        return i % size() == rank();
    }

    __device__ Group<GRID_BLOCK> &near() {
        return block;
    }

    __device__ Index first_row() const {
        return blockIdx.x;
    }

    __device__ Index rows_apart() const {
        return gridDim.x;
    }

    __device__ void sync() const {
        wait_for_blocks(arrived);
    }

    __device__ double sum(double value) {
        double values[1] = {value};
        sum_each(values);
        return values[0];
    }

    template <int COUNT>
    __device__ __noinline__ void sum_each(double (&values)[COUNT]) {
        block.sum_each(values);
        const volatile double *of_blocks = exchange(values);
        for (int i = 0; i < COUNT; i++) {
            values[i] = 0.0;
            for (unsigned k = threadIdx.x; k < gridDim.x; k += GRID_BLOCK)
                values[i] += of_blocks[k * MOST_AT_ONCE + i];
        }
        block.sum_each(values);
    }

    __device__ __noinline__ double most(double value) {
        double values[1] = {block.most(value)};
        const volatile double *of_blocks = exchange(values);
        value = values[0];
        for (unsigned k = threadIdx.x; k < gridDim.x; k += GRID_BLOCK)
            value = fmax(value, of_blocks[k * MOST_AT_ONCE]);
        return block.most(value);
    }

    __device__ bool any(bool claim) {
        return most(claim ? 1.0 : 0.0) > 0.0;
    }

private:
    /// The numbers of all blocks, where all threads of a block have the same. The room is used again in the next but
    /// one call: by then every block has come through the barrier of the next one, and has read this.
    template <int COUNT>
    __device__ const volatile double *exchange(const double (&values)[COUNT]) {
        volatile double *room = sums + (Index)turn * gridDim.x * MOST_AT_ONCE;
        turn ^= 1;
        if (threadIdx.x == 0)
            for (int i = 0; i < COUNT; i++)
                room[blockIdx.x * MOST_AT_ONCE + i] = values[i];
        wait_for_blocks(arrived);
        return room;
    }
};
