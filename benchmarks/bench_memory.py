"""Peak memory of the process: NumPy and the imports alone, batches by every path, and very many variables."""

from __future__ import annotations

from functools import partial

from benchmarks.bench_paths import PATHS, THREADS, prepare
from benchmarks.bench_single import ITERATIONS
from benchmarks.objectives import make
from benchmarks.peers import LARGE, Stop, fastbfgs_batch, loop


class Batches:
    """Rosenbrock, 15 iterations, so that all 10 pairs of each member are in use."""

    params = ([(0, 10), (1_000, 10), (100_000, 10), (10_000, 100)],)
    param_names = ["(B, n)"]
    timeout = 300

    def setup(self, shape: tuple[int, int]) -> None:
        B, n = shape
        batch = make("rosenbrock", max(B, 1), n)
        self.run = fastbfgs_batch(batch, Stop(maxiter=15)) if B else None

    def peakmem_run(self, shape: tuple[int, int]) -> None:
        """Peak of the process; B = 0 is the floor that imports set."""
        if self.run is not None:
            self.run()


class Paths:
    """The same by every path: 10,000 problems of 20 variables."""

    params = (list(PATHS), ["float64", "float32"])
    param_names = ["path", "dtype"]
    timeout = 300

    def setup(self, path: str, dtype: str) -> None:
        self.run = prepare(path, dtype, THREADS.get(path, "1"), 10_000, 20)

    def peakmem_run(self, path: str, dtype: str) -> None:
        self.run()


class Large:
    """One problem of a million variables; a history of 10 pairs alone takes 160 MB."""

    params = list(LARGE)
    param_names = ["peer"]
    timeout = 300

    def setup(self, peer: str) -> None:
        stop = Stop(gtol=0.0, maxiter=ITERATIONS, evaluations=ITERATIONS + 1)
        self.run = partial(loop, LARGE[peer])(make("mixed", 1, 1_000_000), stop)

    def peakmem_run(self, peer: str) -> None:
        self.run()
