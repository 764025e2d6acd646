"""The compiled modules and their flags; everything else stands in pyproject.toml."""

import copy
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTBFGS_DEBUG", "0") not in ("", "0")
KERNELS = ["kernels/advance.pyx", "kernels/instructions.pyx", "kernels/probe.pyx"]
KERNELS += ["backend.pyx", "crew.pyx", "cpu.pyx", "runs.pyx"]
# kernels/advance is built for each of these besides the baseline, into a folder of its own (kernels/__init__.py).
WIDER = {"avx2": ["-mavx2"], "avx512": ["-mavx512f", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]}
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
    directives = {"language_level": 3, "annotation_typing": False, **directives}
    annotate = "FASTBFGS_ANNOTATE" in os.environ
    return cythonize(extensions, compiler_directives=directives, build_dir="build", annotate=annotate)


def wider(advance: Extension) -> Iterator[Extension]:
    """Yield kernels/advance, to be compiled once more for each of WIDER, if this compiler can."""
    if not (sys.platform.startswith("linux") and platform.machine() == "x86_64"):
        return
    for name, flags in WIDER.items():
        source = Path("build", name, "advance.c")  # of its own: object files are named after it
        source.parent.mkdir(parents=True, exist_ok=True)
        Path("fastbfgs/kernels", name).mkdir(exist_ok=True)  # where a build in place puts it
        shutil.copy(advance.sources[0], source)
        again = copy.copy(advance)
        again.name = f"fastbfgs.kernels.{name}.advance"
        again.sources = [str(source)]
        again.extra_compile_args = [*advance.extra_compile_args, *flags]
        again.optional = True
        yield again


kernels = compiled(KERNELS, cdivision=True)
setup(
    ext_modules=[*kernels, *wider(kernels[0]), *compiled(PYTHON)],
    options={"build_ext": {"parallel": os.cpu_count()}},
)
