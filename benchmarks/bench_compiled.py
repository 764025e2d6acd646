"""Many problems with a compiled objective: throughput by size and threads."""

from __future__ import annotations

from benchmarks.measure import seconds
from benchmarks.objectives import make
from benchmarks.peers import Stop, fastbfgs_compiled


class Compiled:
    """Rosenbrock's chain, whole runs."""

    params = ([1, 1_000, 100_000], [2, 10, 100], ["1", "2", "all"])
    param_names = ["B", "n", "threads"]
    timeout = 600

    def setup(self, B: int, n: int, threads: str) -> None:
        if B * n > 1_000_000:
            raise NotImplementedError("takes too long")
        workers = None if threads == "all" else int(threads)
        self.run = fastbfgs_compiled(make("rosenbrock", B, n), Stop(gtol=1e-6, maxiter=500), workers)
        self.evaluations = self.run().evaluations or 0

    def time_run(self, B: int, n: int, threads: str) -> None:
        self.run()

    def track_evaluation(self, B: int, n: int, threads: str) -> float:
        return 1e6 * min(seconds(self.run) for _ in range(3)) / self.evaluations

    track_evaluation.unit = "us/evaluation"  # type: ignore[attr-defined]
