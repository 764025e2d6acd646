# Pre- and postconditions of the kernels: checked in a build with FASTBFGS_DEBUG=1, nothing at all otherwise.
# A broken one ends the process with the claim, its file and its line: it is always a bug of this library.

cdef extern from *:
    """
    #ifdef FASTBFGS_DEBUG
        #undef NDEBUG
        #include <assert.h>
        #define FASTBFGS_REQUIRE(claim) assert(claim)
    #else
        #define FASTBFGS_REQUIRE(claim) ((void)0)
    #endif
    """
    void require "FASTBFGS_REQUIRE" (bint claim) noexcept nogil
