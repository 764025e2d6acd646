"""What ``import fastbfgs`` and a first result cost once NumPy is there, each time in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.peers import require

SCRIPT = """
import sys, time
start = time.perf_counter()
import numpy
between = time.perf_counter()
import fastbfgs
ready = time.perf_counter()
result = fastbfgs.minimize(lambda x: (float(x @ x), 2.0 * x), numpy.ones(3), jac=True)
end = time.perf_counter()
assert result.success and result.x.shape == (3,)
print(between - start, ready - between, end - ready)
"""


class Times(NamedTuple):
    """Milliseconds of ``import numpy``, of ``import fastbfgs`` after it, and of the first `minimize`."""

    numpy: float
    fastbfgs: float
    first: float


def import_times(compiled: str) -> Times:
    """Take the times in a fresh interpreter that keeps its compiled Python files in the folder ``compiled``."""
    home = Path(require("fastbfgs").__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(home), "PYTHONPYCACHEPREFIX": compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as elsewhere:
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=elsewhere,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return Times(*(1e3 * float(word) for word in answer.split()))


def import_medians(count: int = 9) -> Times:
    """Return the medians of `import_times` over ``count`` interpreters, after one that compiles the Python files."""
    with tempfile.TemporaryDirectory() as compiled:
        import_times(compiled)
        times = [import_times(compiled) for _ in range(count)]
    return Times(*(median(column) for column in zip(*times, strict=True)))


class Import:
    """Fresh interpreters, files warm."""

    timeout = 120

    def setup(self) -> None:
        require("fastbfgs")

    def track_numpy(self) -> float:
        return import_medians().numpy

    track_numpy.unit = "ms"  # type: ignore[attr-defined]

    def track_over_numpy(self) -> float:
        return import_medians().fastbfgs

    track_over_numpy.unit = "ms"  # type: ignore[attr-defined]

    def track_first_result(self) -> float:
        times = import_medians()
        return times.fastbfgs + times.first

    track_first_result.unit = "ms"  # type: ignore[attr-defined]
