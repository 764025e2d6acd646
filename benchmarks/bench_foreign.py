"""Arrays of other libraries: what a call costs whose points are tensors or JAX arrays, apart from the objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastbfgs
from benchmarks.measure import Recorder, Replay, least
from benchmarks.objectives import chain_start, make, rosenbrock
from benchmarks.peers import require

N = 10


def maker(library: str) -> Callable[[Any], Any]:
    """Return the function of a library that makes an array of a NumPy one."""
    if library == "numpy":
        return lambda array: array[()]  # a number of f, as NumPy's functions return it
    return require("torch").from_numpy if library == "torch" else require("jax.numpy").asarray


class Foreign:
    """Rosenbrock's chain in single precision, one problem or a batch, with recorded answers in one thread."""

    params = ([1, 1_000, 10_000], ["numpy", "torch", "jax"])
    param_names = ["B", "library"]

    def setup(self, B: int, library: str) -> None:
        make_array = maker(library)
        batch = make("rosenbrock", B, N)
        fun, x0 = (rosenbrock, chain_start(N)) if B == 1 else (batch.fun, batch.x0)
        recorder = Recorder(fun, room=1 << 30)
        fastbfgs.minimize(recorder, x0.astype(np.float32), jac=True, method="L-BFGS-B", workers=1)
        answers = [(make_array(np.asarray(f, np.float32)), make_array(g)) for f, g in recorder.answers]
        self.calls = len(answers)
        self.replay = Replay(answers)
        self.x0 = make_array(x0.astype(np.float32))

    def run(self) -> None:
        """Minimise; every call takes one of the answers."""
        self.replay.rewind()
        fastbfgs.minimize(self.replay, self.x0, jac=True, method="L-BFGS-B", workers=1)

    def track_call(self, B: int, library: str) -> float:
        return 1e6 * least(self.run, 1.0) / self.calls

    track_call.unit = "us/call"  # type: ignore[attr-defined]
