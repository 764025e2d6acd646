"""Benchmarks of fastbfgs: what it costs, beside the peers that are installed.

``asv run --python=same --quick`` runs the suite, ``python -m benchmarks.figures`` prints one table.
"""

import os
import sys
from pathlib import Path

# One BLAS thread, set before NumPy loads its BLAS: threaded BLAS on short vectors is a lottery.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_name] = "1"

# The repository's root goes last on the path: `tests.problems` is found, and an installed fastbfgs
# is not hidden by the source folder of the same name, which need not hold compiled modules.
_ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != _ROOT] + [str(_ROOT)]
