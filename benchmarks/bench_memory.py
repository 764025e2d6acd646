"""Peak memory of the process: NumPy alone, the imports, and batches."""

from __future__ import annotations

from benchmarks.objectives import make
from benchmarks.peers import BATCHES, Stop


class Batches:
    """Rosenbrock, 15 iterations, so that all 10 pairs of each member are in use."""

    params = ([(0, 10), (1_000, 10), (100_000, 10), (10_000, 100)], ["fastbfgs, 1 thread"])
    param_names = ["(B, n)", "peer"]
    timeout = 300

    def setup(self, shape: tuple[int, int], peer: str) -> None:
        B, n = shape
        self.batch = make("rosenbrock", max(B, 1), n)
        self.run = BATCHES[peer](self.batch, Stop(maxiter=15)) if B else None

    def peakmem_run(self, shape: tuple[int, int], peer: str) -> None:
        """Peak of the process; B = 0 is the floor that imports set."""
        if self.run is not None:
            self.run()
