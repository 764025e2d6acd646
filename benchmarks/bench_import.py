"""What ``import fastbfgs`` costs once NumPy is there, each time in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.peers import require

SCRIPT = """
import time
start = time.perf_counter()
import numpy
between = time.perf_counter()
import fastbfgs
print(between - start, time.perf_counter() - between)
"""


def import_times() -> tuple[float, float]:
    """Return the milliseconds of ``import numpy`` and of ``import fastbfgs`` after it."""
    home = Path(require("fastbfgs").__file__).parents[1]
    with tempfile.TemporaryDirectory() as elsewhere:
        answer = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=elsewhere,
            env={**os.environ, "PYTHONPATH": str(home)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    numpy, fastbfgs = (1e3 * float(word) for word in answer.split())
    return numpy, fastbfgs


def import_medians(count: int = 9) -> tuple[float, float]:
    """Return the medians of `import_times` over ``count`` interpreters, in milliseconds."""
    import_times()
    pairs = [import_times() for _ in range(count)]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


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
