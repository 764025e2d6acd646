"""One problem: what a solver costs per evaluation or per iteration, apart from the objective."""

from __future__ import annotations

from functools import partial
from statistics import median

from benchmarks.measure import in_turn, single_overhead
from benchmarks.objectives import chain_box, chain_start, rosenbrock
from benchmarks.peers import BOUNDED_SINGLES, DENSE, SINGLES, Stop

STOP = Stop(gtol=1e-6, maxiter=1000)
SLOW = ("torch LBFGS", "lbfgsb (Python)")

# Iterations of a run of BFGS that is timed: on Rosenbrock's chain none has converged by then.
ITERATIONS = 30


class Single:
    """Chained Rosenbrock of n coordinates from its standard start."""

    params = ([2, 10, 100, 1000], list(SINGLES))
    param_names = ["n", "peer"]
    timeout = 300

    def setup(self, n: int, peer: str) -> None:
        if peer in SLOW and n > 10:
            raise NotImplementedError(f"{peer} takes too long at n = {n}")
        self.x0 = chain_start(n)
        self.solver = SINGLES[peer]
        self.begin()

    def begin(self) -> None:
        """Prepare the run."""
        self.single = self.solver(rosenbrock, self.x0, STOP)
        self.single.run()  # imports what solvers import when first used

    def time_run(self, n: int, peer: str) -> None:
        self.single.run()

    def track_overhead(self, n: int, peer: str) -> float:
        """Median of 5 rounds, with recorded answers where they are small."""
        overhead = single_overhead(self.solver, rosenbrock, self.x0, STOP, replay=True)
        return median(in_turn({peer: overhead.measure}, 5)[peer])

    track_overhead.unit = "us/evaluation"  # type: ignore[attr-defined]

    def track_evaluations(self, n: int, peer: str) -> int:
        return single_overhead(self.solver, rosenbrock, self.x0, STOP).evaluations

    track_evaluations.unit = "evaluations"  # type: ignore[attr-defined]


class BoundedSingle(Single):
    """The same with bounds, half of which bind at the minimiser."""

    params = ([2, 10, 100, 1000], list(BOUNDED_SINGLES))

    def setup(self, n: int, peer: str) -> None:
        box = chain_box(n)
        self.x0 = box.project(chain_start(n))
        self.solver = partial(BOUNDED_SINGLES[peer], box=box)
        self.begin()


class Dense:
    """BFGS: the first iterations on chained Rosenbrock of n coordinates."""

    params = ([10, 100, 1000], list(DENSE))
    param_names = ["n", "peer"]
    timeout = 300

    def setup(self, n: int, peer: str) -> None:
        self.overhead = single_overhead(
            DENSE[peer], rosenbrock, chain_start(n), Stop(gtol=0.0, maxiter=ITERATIONS), replay=True
        ).per_iteration(ITERATIONS)

    def track_overhead(self, n: int, peer: str) -> float:
        return median(in_turn({peer: self.overhead.measure}, 3)[peer])

    track_overhead.unit = "us/iteration"  # type: ignore[attr-defined]
