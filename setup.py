"""The compiled modules and their flags; everything else stands in pyproject.toml."""

import os
import sys

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTBFGS_DEBUG", "0") not in ("", "0")
KERNELS = ["kernels/advance.pyx", "kernels/probe.pyx", "cpu.pyx", "runs.pyx"]
# Plain Python with the C types of the .pxd beside it: one evaluation of one problem goes through the first three.
# A step of trace_minimize goes through the last two: 1.7 us beyond loss and optimizer instead of 3.3, and 4.2 instead
# of 6.6 if a dict of two is traced.
PYTHON = ["solver.py", "objective.py", "driver.py", "records.py", "nests.py"]
# No -ffast-math, no fused multiply-add: every sum keeps the order written in kernels/vectors.pxd, so that a result
# has the same bits for every instruction set, alone and in a batch.
# GCC stops inlining once that makes a file grow by 40 %: 3,260 instead of 2,630 instructions an evaluation, n = 10.
UNIX_FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "--param=inline-unit-growth=300"]


def compiled(paths: list[str], **directives: bool) -> list[Extension]:
    """Return the extensions of these files; their C files are neither kept beside them nor shipped."""
    extensions = [
        Extension(
            "fastbfgs." + path.rpartition(".")[0].replace("/", "."),
            [f"fastbfgs/{path}"],
            include_dirs=[numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")] + [("FASTBFGS_DEBUG", "1")] * DEBUG,
            extra_compile_args=["/O2", "/fp:precise"] if sys.platform == "win32" else UNIX_FLAGS,
        )
        for path in paths
    ]
    directives = {"language_level": 3, "annotation_typing": False, "embedsignature": True, **directives}
    annotate = "FASTBFGS_ANNOTATE" in os.environ
    return cythonize(extensions, compiler_directives=directives, build_dir="build", annotate=annotate)


setup(ext_modules=compiled(KERNELS, cdivision=True) + compiled(PYTHON))
