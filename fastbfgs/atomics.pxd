# Numbers that several threads read and write.

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #if defined(_MSC_VER)
        #include <intrin.h>
        static __int64 fastbfgs_add(volatile __int64 *number, __int64 more)
        { return _InterlockedExchangeAdd64(number, more); }
        static __int64 fastbfgs_look(volatile __int64 *number) { return *number; }
        static void fastbfgs_put(volatile __int64 *number, __int64 value) { *number = value; }
    #else
        static inline int64_t fastbfgs_add(int64_t *number, int64_t more)
        { return __atomic_fetch_add(number, more, __ATOMIC_ACQ_REL); }
        static inline int64_t fastbfgs_look(int64_t *number) { return __atomic_load_n(number, __ATOMIC_ACQUIRE); }
        static inline void fastbfgs_put(int64_t *number, int64_t value)
        { __atomic_store_n(number, value, __ATOMIC_RELEASE); }
    #endif
    """
    int64_t add "fastbfgs_add" (int64_t *number, int64_t more) noexcept nogil     # returns what it was
    int64_t look "fastbfgs_look" (int64_t *number) noexcept nogil
    void put "fastbfgs_put" (int64_t *number, int64_t value) noexcept nogil
