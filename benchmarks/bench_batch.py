"""Many problems: throughput by size and threads, and the peers on three objectives."""

from __future__ import annotations

import dataclasses
from statistics import median

import numpy as np

from benchmarks.measure import ROOM, Recorder, batch_overhead, in_turn, largest_gradient, seconds
from benchmarks.objectives import OBJECTIVES, Batch, make, make_bounded
from benchmarks.peers import BATCHES, BOUNDED_BATCHES, FASTBFGS, BatchPeer, Stop, fastbfgs_batch

STOP = Stop(gtol=1e-6, maxiter=500)

# Peers that take minutes on 1,000 problems.
SLOW = ("JAXopt LBFGS", "torch LBFGS loop", "lbfgsb (Python) loop")


class Throughput:
    """Rosenbrock, at most 20 iterations, so that batches of every size do the same work."""

    params = ([1, 10, 100, 1_000, 10_000, 100_000], [2, 10, 100], ["1", "all"])
    param_names = ["B", "n", "threads"]
    timeout = 600

    def setup(self, B: int, n: int, threads: str) -> None:
        self.batch = make("rosenbrock", B, n)
        self.workers = 1 if threads == "1" else None
        self.stop = Stop(gtol=1e-6, maxiter=20)
        self.run = fastbfgs_batch(self.batch, self.stop, workers=self.workers)
        fastbfgs_batch(self.batch.first(1), self.stop, workers=self.workers)()  # imports

    def time_run(self, B: int, n: int, threads: str) -> None:
        self.run()

    def track_member_evaluations(self, B: int, n: int, threads: str) -> float:
        recorder = Recorder(self.batch.fun)
        batch = dataclasses.replace(self.batch, fun=recorder)
        taken = seconds(fastbfgs_batch(batch, self.stop, workers=self.workers))
        return sum(recorder.points) / taken

    track_member_evaluations.unit = "1/s"  # type: ignore[attr-defined]


class MemberOverhead:
    """Solver time of one member evaluation, the objective's own time taken off."""

    params = ([1, 100, 1_000], [2, 10, 100], ["fastbfgs, 1 thread", "fastbfgs ask/tell", "BoTorch"])
    param_names = ["B", "n", "peer"]
    timeout = 600

    def setup(self, B: int, n: int, peer: str) -> None:
        if peer == "BoTorch" and B * n > 10_000:
            raise NotImplementedError("takes too long")
        self.prepare(BATCHES[peer], make("rosenbrock", B, n))

    def prepare(self, peer: BatchPeer, batch: Batch) -> None:
        """Run once."""
        self.overhead = batch_overhead(peer, batch, Stop(maxiter=100), room=ROOM, budget=0.02)

    def track_overhead(self, B: int, n: int, peer: str) -> float:
        return median(in_turn({peer: self.overhead.measure}, 3)[peer])

    track_overhead.unit = "us/evaluation"  # type: ignore[attr-defined]


class BoundedMemberOverhead(MemberOverhead):
    """The same with bounds, half of which bind at the minimiser."""

    params = ([1, 100, 1_000], [10], [FASTBFGS, "BoTorch"])

    def setup(self, B: int, n: int, peer: str) -> None:
        self.prepare(BOUNDED_BATCHES[peer], make_bounded(B, n))


class Peers:
    """1,000 problems (100 for the slowest peers), the whole run."""

    params = (list(OBJECTIVES), list(BATCHES))
    param_names = ["objective", "peer"]
    timeout = 600

    def setup(self, objective: str, peer: str) -> None:
        self.batch = make(objective, 100 if peer in SLOW else 1_000)
        self.run = BATCHES[peer](self.batch, STOP)

    def time_run(self, objective: str, peer: str) -> None:
        self.run()

    def track_converged(self, objective: str, peer: str) -> float:
        largest = largest_gradient(self.batch, self.run().x)
        return float(np.mean(largest <= 1.01 * STOP.gtol))

    track_converged.unit = "share of members"  # type: ignore[attr-defined]

    def track_calls(self, objective: str, peer: str) -> float:
        """Calls of the objective; NaN for loops and where a compiled solver does not say."""
        calls = self.run().calls
        return np.nan if calls is None else calls

    track_calls.unit = "calls"  # type: ignore[attr-defined]
