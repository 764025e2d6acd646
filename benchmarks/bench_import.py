"""What ``import fastbfgs`` and the first call cost once NumPy is there, each time in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.peers import require

SCRIPT = """
import sys, time
start = time.perf_counter()
import numpy
between = time.perf_counter()
import fastbfgs
ready = time.perf_counter()
print(between - start, ready - between)
"""


# From `import` to the answer, 100 problems of two variables; of SciPy one.
FIRST_CALL = """
import time
import numpy as np
start = time.perf_counter()
{imports}
minimize({fun}, np.zeros({shape}), jac=True, method="L-BFGS-B")
print(time.perf_counter() - start)
"""
FIRST_CALLS = {
    "fastbfgs": FIRST_CALL.format(
        imports="from fastbfgs import minimize", fun="lambda x: (((x - 1) ** 2).sum(1), 2 * (x - 1))", shape=(100, 2)
    ),
    "SciPy": FIRST_CALL.format(
        imports="from scipy.optimize import minimize", fun="lambda x: (((x - 1) ** 2).sum(), 2 * (x - 1))", shape=2
    ),
}


def import_times(compiled: str, script: str = SCRIPT) -> list[float]:
    """Return the milliseconds that ``script`` prints in a fresh interpreter.

    It keeps its compiled Python files in the folder ``compiled``.
    """
    home = Path(require("fastbfgs").__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(home), "PYTHONPYCACHEPREFIX": compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as elsewhere:
        answer = subprocess.run(
            [sys.executable, "-c", script],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return [1e3 * float(word) for word in answer.split()]


def import_medians(count: int = 9) -> tuple[float, float]:
    """Return the milliseconds of ``import numpy``, and of ``import fastbfgs`` after it: medians over interpreters."""
    with tempfile.TemporaryDirectory() as compiled:
        import_times(compiled)  # compiles the Python files
        times = [import_times(compiled) for _ in range(count)]
    return median(pair[0] for pair in times), median(pair[1] for pair in times)


def first_call_medians(count: int = 9) -> dict[str, float]:
    """Return the milliseconds from import to the first answer, once NumPy is there."""
    medians = {}
    with tempfile.TemporaryDirectory() as compiled:
        for name, script in FIRST_CALLS.items():
            import_times(compiled, script)
            medians[name] = median(import_times(compiled, script)[0] for _ in range(count))
    return medians


class Import:
    """Fresh interpreters, files warm."""

    timeout = 120

    def setup(self) -> None:
        require("fastbfgs")

    def track_numpy(self) -> float:
        return import_medians()[0]

    track_numpy.unit = "ms"  # type: ignore[attr-defined]

    def track_over_numpy(self) -> float:
        return import_medians()[1]

    track_over_numpy.unit = "ms"  # type: ignore[attr-defined]

    def track_first_call(self) -> float:
        return first_call_medians()["fastbfgs"]

    track_first_call.unit = "ms"  # type: ignore[attr-defined]
