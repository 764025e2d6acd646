"""The compiled modules and their flags; everything else stands in pyproject.toml."""

import os
import sys

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("FASTBFGS_DEBUG", "0") not in ("", "0")

# No -ffast-math, no fused multiply-add: every sum keeps the order written in kernels/vectors.pxd, so that a result
# has the same bits for every instruction set, alone and in a batch.
if sys.platform == "win32":
    FLAGS = ["/O2", "/fp:precise"]
else:
    FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]

KERNELS = ["kernels/advance.pyx", "kernels/probe.pyx", "cpu.pyx"]

# Plain Python with the C types of the .pxd beside it: one evaluation of one problem goes through all three.
PYTHON = ["solver.py", "objective.py", "driver.py"]


def compiled(paths: list[str], **directives: bool) -> list[Extension]:
    """Return the extensions of these files."""
    extensions = [
        Extension(
            "fastbfgs." + path.rpartition(".")[0].replace("/", "."),
            [f"fastbfgs/{path}"],
            include_dirs=[numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")] + [("FASTBFGS_DEBUG", "1")] * DEBUG,
            extra_compile_args=FLAGS,
        )
        for path in paths
    ]
    return cythonize(
        extensions,
        compiler_directives={"language_level": 3, "annotation_typing": False, "embedsignature": True, **directives},
        annotate="FASTBFGS_ANNOTATE" in os.environ,
    )


setup(ext_modules=compiled(KERNELS, cdivision=True) + compiled(PYTHON))
