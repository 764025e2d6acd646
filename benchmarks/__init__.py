"""Benchmarks of fastbfgs: what it costs, beside the peers that are installed.

``asv run --python=same --quick`` runs the suite, ``python -m benchmarks.compare`` prints the tables that README quotes.
"""

import os
import sys
from pathlib import Path

# One BLAS thread, set before NumPy loads its BLAS: threaded BLAS on short vectors is a lottery.
# What that lottery costs is measured too, in a process of its own that BENCHMARKS_BLAS=unset tells.
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
for _name in BLAS_VARIABLES:
    if os.environ.get("BENCHMARKS_BLAS") == "unset":
        os.environ.pop(_name, None)
    else:
        os.environ[_name] = "1"

# The repository's root goes last on the path: `tests.problems` is found, and an installed fastbfgs
# is not hidden by the source folder of the same name, which need not hold compiled modules.
_ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _ROOT] + [str(_ROOT)]
