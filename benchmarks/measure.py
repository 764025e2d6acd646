"""How things are measured: solver apart from objective, by rounds, in pairs.

On a machine that is shared no single time means much.  So whatever is compared is timed in turn
within one round, a ratio is formed in each round, and medians are taken over rounds.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from benchmarks.objectives import Array, Batch
from benchmarks.peers import BatchPeer, Single, Stop

# Numbers that recorded answers may have: what a second-level cache holds, so that reading them
# again costs a solver no more than an objective's fresh answer.
ROOM = 1 << 16

# The same for very many variables: half a gigabyte, for these answers cost more to make than to keep.
LARGE_ROOM = 1 << 26


class Recorder:
    """An objective that remembers the number of points of each call, and its answers.

    Answers are kept while they have at most ``room`` numbers; beyond it there are none.
    """

    def __init__(self, fun: Callable[..., tuple[Any, Array]], room: int = 0) -> None:
        self.fun = fun
        self.room = room
        self.answers: list[tuple[Any, Array]] = []
        self.points: list[int] = []

    def __call__(self, x: Array, *rows: Array) -> tuple[Any, Array]:
        f, g = self.fun(x, *rows)
        self.points.append(len(x) if x.ndim == 2 else 1)
        self.room -= g.size
        if self.room >= 0:
            self.answers.append((f, np.array(g)))
        else:
            self.answers.clear()
        return f, g


class Replay:
    """An objective that costs next to nothing: it gives recorded answers in their order.

    A solver that takes the same path twice asks for the same points, so what is left of its time
    is its own.
    """

    def __init__(self, answers: list[tuple[Any, Array]]) -> None:
        self.answers = answers
        self.rewind()

    def rewind(self) -> None:
        """Begin again at the first answer."""
        self._answers = iter(self.answers)

    def __call__(self, x: Array, *rows: Array) -> tuple[Any, Array]:
        return next(self._answers)


@contextmanager
def no_collection() -> Any:
    """Keep Python's cyclic garbage collector still, as timeit does."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def seconds(run: Callable[[], Any]) -> float:
    """Return the wall time of one run, in seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def least(run: Callable[[], Any], budget: float, most: int = 1000) -> float:
    """Return the least wall time of as many runs as fit into ``budget``, all in seconds."""
    best, spent, count = np.inf, 0.0, 0
    while count < most and (spent < budget or count == 0):
        taken = seconds(run)
        best, spent, count = min(best, taken), spent + taken, count + 1
    return best


def in_turn(runs: Mapping[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    """Return ``count`` figures of each run, taken in turn."""
    figures: dict[str, list[float]] = {name: [] for name in runs}
    with no_collection():
        for _ in range(count):
            for name, run in runs.items():
                figures[name].append(run())
    return figures


def ratio(figures: Mapping[str, list[float]], over: str, under: str) -> float:
    """Return the median over rounds of one figure over another."""
    pairs = zip(figures[over], figures[under], strict=True)
    return median(a / b if b > 0.0 else np.nan for a, b in pairs)


class Overhead(NamedTuple):
    """A way to measure a solver's own time, and the evaluations it is divided by.

    Attributes
    ----------
    measure : callable
        Returns the solver's own microseconds per evaluation, taken now.
    evaluations : int
        Points evaluated in one run.
    calls : list of int
        Points in each call of the objective.
    """

    measure: Callable[[], float]
    evaluations: int
    calls: list[int]

    def per_iteration(self, count: int) -> Overhead:
        """Return the same, for a run known to take ``count`` iterations, in microseconds per iteration."""
        return self._replace(measure=lambda: self.measure() * self.evaluations / count)


def single_overhead(
    peer: Callable[..., Single],
    fun: Callable[[Array], tuple[float, Array]],
    x0: Array,
    stop: Stop,
    room: int = 0,
    budget: float = 0.05,
) -> Overhead:
    """Prepare: (whole run - as many objective calls) / evaluations, for one problem.

    Where there is ``room`` for that many numbers, the objective gives recorded answers, which
    removes its noise from both.
    """
    recorder = Recorder(fun, room)
    peer(recorder, x0, stop).run()
    count = len(recorder.points)
    stop = stop._replace(evaluations=count)
    tape = Replay(recorder.answers)
    timed = peer(tape if recorder.answers else fun, x0, stop)

    def whole() -> None:
        tape.rewind()
        timed.run()

    def calls() -> None:
        tape.rewind()
        timed.calls(count)

    whole()  # the first run may import and warm what the later ones find warm

    def measure() -> float:
        return 1e6 * (least(whole, budget) - least(calls, budget)) / count

    return Overhead(measure, count, recorder.points)


def recorded(peer: BatchPeer, batch: Batch, stop: Stop, room: int = 0) -> tuple[Recorder, Recorder]:
    """Run once; return what was asked of the objective of many points, and of that of one."""
    many, one = Recorder(batch.fun, room), Recorder(batch.one)
    peer(dataclasses.replace(batch, fun=many, one=one), stop)()
    return many, one


def calls_of(batch: Batch, points: list[int], singles: int) -> Callable[[], None]:
    """Return the calls alone: of the first ``points[i]`` members together, then ``singles`` of one member."""
    views = [batch.first(k) for k in sorted(set(points))]
    arguments = {len(view.x0): (view.x0, *view.data) for view in views}
    fun, member, x0 = batch.fun, batch.member(0), batch.x0[0]

    def calls() -> None:
        for k in points:
            fun(*arguments[k])
        for _ in range(singles):
            member(x0)

    return calls


def batch_overhead(peer: BatchPeer, batch: Batch, stop: Stop, room: int = 0, budget: float = 0.0) -> Overhead:
    """Prepare: (whole run - the same calls of the objective) / member evaluations, for a batch.

    Recorded answers as in `single_overhead`.
    """
    recorder, _ = recorded(peer, batch, stop, room)
    tape = Replay(recorder.answers)
    replayed = dataclasses.replace(batch, fun=tape) if recorder.answers else batch
    run, calls = peer(replayed, stop), calls_of(replayed, recorder.points, 0)
    evaluations = sum(recorder.points)

    def rewound(each: Callable[[], Any]) -> float:
        return least(lambda: (tape.rewind(), each()), budget)

    def measure() -> float:
        return 1e6 * (rewound(run) - rewound(calls)) / evaluations

    return Overhead(measure, evaluations, recorder.points)


def numbers_moved(iterations: Array, n: int, history: int, evaluations: int = 0) -> int:
    """Return how many numbers a run must at least bring to the processor.

    Twice all that is remembered, s and y, in each of the ``iterations`` (B,) of the members, and
    for each of the ``evaluations`` that are counted a point and a gradient.
    """
    full = np.maximum(iterations - history, 0)
    growing = np.minimum(iterations, history)
    pairs = full * history + growing * (growing - 1) // 2
    return int(4 * n * pairs.sum() + 2 * n * evaluations)


def largest_gradient(batch: Batch, x: Array) -> Array:
    """Return max|g| (B,) at the points x (B, n), g projected; inf where it is not finite, and outside the bounds."""
    _, g = batch.fun(x, *batch.data)
    if batch.box is not None:
        inside = np.all(x == batch.box.project(x), axis=1)
        g = np.where(inside[:, None], batch.box.slope(x, g), np.inf)
    largest = np.abs(g).max(axis=1)
    return np.where(np.isfinite(largest), largest, np.inf)
