"""Every way into the package: one batch by each, in both precisions, on one thread and on all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.objectives import make, make_bounded
from benchmarks.peers import (
    Solved,
    Stop,
    fastbfgs_ask_tell,
    fastbfgs_batch,
    fastbfgs_compiled,
    fastbfgs_tfp,
)

# So that both precisions do the same work, for all members: none has converged by then.
STOP = Stop(gtol=0.0, maxiter=15)


def no_record(accepted: Any) -> None:
    """Take every accepted iterate, and do nothing with it."""


# By name: the solver, and whether its problems have bounds.
PATHS: dict[str, tuple[Callable[..., Callable[[], Solved]], bool]] = {
    "minimize": (fastbfgs_batch, False),
    "minimize, bounds": (fastbfgs_batch, True),
    "minimize, BFGS": (partial(fastbfgs_batch, method="BFGS"), False),
    "minimize, record": (partial(fastbfgs_batch, record=no_record), False),
    "compiled": (fastbfgs_compiled, False),
    "compiled, bounds": (fastbfgs_compiled, True),
    "compiled, BFGS": (partial(fastbfgs_compiled, method="BFGS"), False),
    "ask/tell": (fastbfgs_ask_tell, False),
    "ask/tell, bounds": (fastbfgs_ask_tell, True),
    "lbfgs_minimize": (fastbfgs_tfp, False),
    "bfgs_minimize": (partial(fastbfgs_tfp, method="bfgs"), False),
}

# Those that have no say in it: TFP's words have none for threads.
THREADS = {"lbfgs_minimize": "all", "bfgs_minimize": "all"}


def prepare(path: str, dtype: str, threads: str, B: int, n: int) -> Callable[[], Solved]:
    """Return a run of Rosenbrock's chain by one path, ready."""
    solver, bounded = PATHS[path]
    if THREADS.get(path, threads) != threads:
        raise NotImplementedError(f"{path} has {THREADS[path]} threads")
    keywords = {} if path in THREADS else {"workers": 1 if threads == "1" else None}
    batch = (make_bounded(B, n) if bounded else make("rosenbrock", B, n)).astype(dtype)
    return solver(batch, STOP, **keywords)


class Paths:
    """10,000 problems of 10 variables, 15 iterations."""

    params = (list(PATHS), ["float64", "float32"], ["1", "all"])
    param_names = ["path", "dtype", "threads"]
    timeout = 120

    def setup(self, path: str, dtype: str, threads: str) -> None:
        self.run = prepare(path, dtype, threads, 10_000, 10)
        self.run()  # imports

    def time_run(self, path: str, dtype: str, threads: str) -> None:
        self.run()
