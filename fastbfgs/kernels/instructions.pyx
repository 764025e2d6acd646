"""What this processor and its operating system can do."""

cdef extern from *:
    """
    #if defined(__GNUC__) && defined(__x86_64__)
        #define FASTBFGS_AVX2 __builtin_cpu_supports("avx2")
        #define FASTBFGS_AVX512 (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") \\
                                 && __builtin_cpu_supports("avx512vl"))
    #else
        #define FASTBFGS_AVX2 0
        #define FASTBFGS_AVX512 0
    #endif
    """
    bint AVX2 "FASTBFGS_AVX2"
    bint AVX512 "FASTBFGS_AVX512"


def supported():
    """Return the instruction sets beyond the baseline that can run here, the widest first."""
    return [name for name, runs in {"avx512": AVX512, "avx2": AVX2}.items() if runs]
