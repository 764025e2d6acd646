"""One solver on one task: prepared once, timed again and again, then asked what it reached."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from benchmarks.measure import (
    LARGE_ROOM,
    ROOM,
    Overhead,
    calls_of,
    largest_gradient,
    least,
    no_collection,
    numbers_moved,
    recorded,
    single_overhead,
)
from benchmarks.peers import FASTBFGS, JITTED
from benchmarks.tasks import Task

# A short run is repeated for this many seconds, and the least counts.
AGAIN = 0.03


class Times(NamedTuple):
    """One round.

    Attributes
    ----------
    seconds : float
        Wall time of the whole run, scaled to all members.
    own : float
        The solver's own microseconds per evaluation, or per iteration of BFGS; NaN where the
        objective is part of a compiled program.
    """

    seconds: float
    own: float


class Outcome(NamedTuple):
    """What a solver reached.

    Attributes
    ----------
    compiling : float
        Seconds of preparation, which for some is compilation.
    converged : float
        Share of members with max|g| <= 1.01 gtol, g projected.
    largest : float
        Largest max|g| of all members; inf where a solver gives no point.
    failed : int or None
        Members given up, where the solver says so.
    evaluations : float
        Mean evaluations of a member.
    calls : int or None
        Calls of the objective for the batch.
    f : list of float
        The values reached, by member.
    moved : int or None
        Numbers that a run must at least bring to the processor; see `numbers_moved`.
    in_calls : float
        Seconds of the run's calls of the objective; NaN where it is part of a compiled program.
    """

    compiling: float
    converged: float
    largest: float
    failed: int | None
    evaluations: float
    calls: int | None
    f: list[float]
    moved: int | None
    in_calls: float


class Contest:
    """The solver ``name`` on the first ``members`` of ``task``."""

    def __init__(self, name: str, task: Task, members: int) -> None:
        self.name, self.task = name, task
        self.batch = task.batch(members)
        self.scale = task.B / members
        self.peer = task.table()[name]
        start = time.perf_counter()
        self.run = self.peer(self.batch, task.stop)
        self.prepared = time.perf_counter() - start
        start = time.perf_counter()
        self.solved = self.run()
        self.first = time.perf_counter() - start
        self.overhead: Overhead | None = None
        self.in_calls = np.nan
        self.evaluations, self.calls = self.solved.evaluations, self.solved.calls
        if name not in JITTED:
            self._separate()

    def _separate(self) -> None:
        """Find out which calls of the objective a run makes."""
        task, single = self.task, self.task.single(self.name)
        if single is not None:
            room = LARGE_ROOM if task.kind == "large" else ROOM
            overhead = single_overhead(single, self.batch.member(0), self.batch.x0[0], task.stop, room, AGAIN)
            self.evaluations = overhead.evaluations
            self.overhead = overhead.per_iteration(task.stop.maxiter) if task.kind == "dense" else overhead
            return
        many, one = recorded(self.peer, self.batch, task.stop)
        if many.points or one.points:
            self._calls = calls_of(self.batch, many.points, len(one.points))
            self.evaluations = sum(many.points) + len(one.points)
            self.calls = len(many.points) or None
            self.in_calls = least(self._calls, AGAIN)

    def round(self) -> Times:
        """Time one run, and the solver's part of it."""
        with no_collection():
            taken = least(self.run, AGAIN)
            if self.overhead is not None:
                return Times(taken, self.overhead.measure())
            if not np.isfinite(self.in_calls):
                return Times(self.scale * taken, np.nan)
            self.in_calls = least(self._calls, AGAIN)
        return Times(self.scale * taken, 1e6 * (taken - self.in_calls) / (self.evaluations or np.nan))

    def outcome(self) -> Outcome:
        """Return what the first run reached."""
        task, x = self.task, self.solved.x
        largest = largest_gradient(self.batch, x)
        f, _ = self.batch.fun(x, *self.batch.data)
        members = len(self.batch.x0)
        moved = None
        if self.solved.iterations is not None and self.name == FASTBFGS:
            iterations = np.asarray(self.solved.iterations)
            moved = numbers_moved(iterations, task.n, task.stop.history, self.evaluations or 0)
        return Outcome(
            # XLA compiles TensorFlow's function in its first run, which preparing it includes.
            max(self.prepared - (self.first if self.name == "TFP TF XLA" else 0.0), 0.0),
            float(np.mean(largest <= 1.01 * task.stop.gtol)),
            float(largest.max()),
            self.solved.failed,
            (self.evaluations or np.nan) / members,
            self.calls,
            np.where(np.isfinite(f), f, np.inf).tolist(),
            moved,
            self.in_calls,
        )
