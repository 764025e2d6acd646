"""The mathematics of one member, compiled: `advance` for several instruction sets, of which the widest that runs here
is loaded. All of them give the same bits.

The environment variable FASTBFGS_INSTRUCTIONS names another one, of those in `AVAILABLE`.
"""

import os

from fastbfgs.kernels.instructions import supported


def _built(name: str) -> bool:
    folder = os.path.join(__path__[0], name)
    return os.path.isdir(folder) and any(file.startswith("advance.") for file in os.listdir(folder))


AVAILABLE = [*filter(_built, supported()), "baseline"]
"""Those that were built and run here, the widest first."""

INSTRUCTIONS = os.environ.get("FASTBFGS_INSTRUCTIONS") or AVAILABLE[0]
"""The one in use."""

if INSTRUCTIONS not in AVAILABLE:
    raise ImportError(
        f"FASTBFGS_INSTRUCTIONS must be one of {', '.join(AVAILABLE)} on this machine; got {INSTRUCTIONS!r}. "
        "Leave it unset for the fastest"
    )
if INSTRUCTIONS != "baseline":
    __path__.insert(0, os.path.join(__path__[0], INSTRUCTIONS))
