"""One problem: what a solver costs per evaluation or per iteration, apart from the objective."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measure import LARGE_ROOM, ROOM, in_turn, least, single_overhead
from benchmarks.objectives import chain_box, chain_start, make, rosenbrock
from benchmarks.peers import BOUNDED_SINGLES, DENSE, LARGE, SINGLES, Stop, require

STOP = Stop(gtol=1e-6, maxiter=1000)

# Solvers written in Python: on a problem set they stop after so many iterations.
SLOW = ("torch LBFGS", "lbfgsb (Python)")
SLOW_ITERATIONS = 500

# Iterations of a run of BFGS that is timed: on Rosenbrock's chain none has converged by then.
ITERATIONS = 30

ORIGIN = np.zeros(2)
ANSWER = 0.0, np.zeros(2)


def at_rest(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Return f and g of a minimiser, whatever x is."""
    return ANSWER


def fixed(module: str, face: str = "minimize", box: bool = False, **keywords: Any) -> Callable[[], Any]:
    """Prepare a call of a face of `module` that ends at its start."""
    call = getattr(require(module), face)
    if "method" in keywords and not isinstance(keywords["method"], str):
        keywords["method"] = keywords["method"]()
    if box:
        keywords["bounds"] = require("scipy.optimize").Bounds(ORIGIN - 1.0, ORIGIN + 1.0)
    return partial(call, at_rest, ORIGIN, **keywords)


OPTIONS = {"gtol": 1e-6, "maxiter": 1000}
OURS_IN_SCIPY = {"jac": True, "method": lambda: require("fastbfgs").lbfgsb}
CALLS = {
    "fastbfgs BFGS": partial(fixed, "fastbfgs", jac=True),
    "fastbfgs L-BFGS-B": partial(fixed, "fastbfgs", jac=True, method="L-BFGS-B"),
    "fastbfgs L-BFGS-B, options": partial(fixed, "fastbfgs", jac=True, method="L-BFGS-B", options=OPTIONS),
    "fastbfgs L-BFGS-B, bounds": partial(fixed, "fastbfgs", jac=True, method="L-BFGS-B", box=True),
    "fastbfgs through SciPy": partial(fixed, "scipy.optimize", **OURS_IN_SCIPY),
    "fastbfgs through SciPy, bounds": partial(fixed, "scipy.optimize", box=True, **OURS_IN_SCIPY),
    "fastbfgs lbfgs_minimize": partial(fixed, "fastbfgs", "lbfgs_minimize"),
    "SciPy BFGS": partial(fixed, "scipy.optimize", jac=True),
    "SciPy L-BFGS-B": partial(fixed, "scipy.optimize", jac=True, method="L-BFGS-B"),
    "SciPy L-BFGS-B, options": partial(fixed, "scipy.optimize", jac=True, method="L-BFGS-B", options=OPTIONS),
    "SciPy L-BFGS-B, bounds": partial(fixed, "scipy.optimize", jac=True, method="L-BFGS-B", box=True),
}
"""What each call is called, with what prepares it."""
FIXED = [(name.replace("SciPy", "fastbfgs"), name) for name in CALLS if name.startswith("SciPy")]
"""Calls to compare."""


class Single:
    """Chained Rosenbrock of n coordinates from its standard start."""

    params = ([2, 10, 100, 1000], list(SINGLES))
    param_names = ["n", "peer"]
    timeout = 300

    stop = STOP

    def setup(self, n: int, peer: str) -> None:
        if peer in SLOW and n > 10:
            raise NotImplementedError(f"{peer} takes too long at n = {n}")
        self.x0 = chain_start(n)
        self.solver = SINGLES[peer]
        self.begin()

    def begin(self) -> None:
        """Prepare the run."""
        self.single = self.solver(rosenbrock, self.x0, self.stop)
        self.single.run()  # imports what solvers import when first used

    def time_run(self, n: int, peer: str) -> None:
        self.single.run()

    def track_overhead(self, n: int, peer: str) -> float:
        """Median of 5 rounds, with recorded answers where they are small."""
        overhead = single_overhead(self.solver, rosenbrock, self.x0, self.stop, room=ROOM)
        return median(in_turn({peer: overhead.measure}, 5)[peer])

    track_overhead.unit = "us/evaluation"  # type: ignore[attr-defined]

    def track_evaluations(self, n: int, peer: str) -> int:
        return single_overhead(self.solver, rosenbrock, self.x0, self.stop).evaluations

    track_evaluations.unit = "evaluations"  # type: ignore[attr-defined]


class Float32Single(Single):
    """The same in single precision, to a tolerance that it can reach."""

    params = ([2, 10, 100, 1000], ["fastbfgs"])
    stop = STOP._replace(gtol=1e-2)

    def setup(self, n: int, peer: str) -> None:
        self.x0 = chain_start(n).astype(np.float32)
        self.solver = SINGLES[peer]
        self.begin()


class BoundedSingle(Single):
    """The same with bounds, half of which bind at the minimiser."""

    params = ([2, 10, 100, 1000], list(BOUNDED_SINGLES))

    def setup(self, n: int, peer: str) -> None:
        box = chain_box(n)
        self.x0 = box.project(chain_start(n))
        self.solver = partial(BOUNDED_SINGLES[peer], box=box)
        self.begin()


class Large:
    """Very many variables: the first iterations on 1/2 sum d (x - c)^2 + 0.02 sum x^4, of condition 1000."""

    params = ([10_000, 100_000, 1_000_000], list(LARGE))
    param_names = ["n", "peer"]
    timeout = 300

    def setup(self, n: int, peer: str) -> None:
        batch = make("mixed", 1, n)
        stop = Stop(gtol=0.0, maxiter=ITERATIONS, evaluations=ITERATIONS + 1)
        self.overhead = single_overhead(LARGE[peer], batch.member(0), batch.x0[0], stop, LARGE_ROOM)

    def track_overhead(self, n: int, peer: str) -> float:
        return median(in_turn({peer: self.overhead.measure}, 3)[peer])

    track_overhead.unit = "us/evaluation"  # type: ignore[attr-defined]


class Dense:
    """BFGS: the first iterations on chained Rosenbrock of n coordinates."""

    params = ([10, 100, 1000], list(DENSE))
    param_names = ["n", "peer"]
    timeout = 300

    def setup(self, n: int, peer: str) -> None:
        self.overhead = single_overhead(
            DENSE[peer], rosenbrock, chain_start(n), Stop(gtol=0.0, maxiter=ITERATIONS), room=ROOM
        ).per_iteration(ITERATIONS)

    def track_overhead(self, n: int, peer: str) -> float:
        return median(in_turn({peer: self.overhead.measure}, 3)[peer])

    track_overhead.unit = "us/iteration"  # type: ignore[attr-defined]


class Fixed:
    """A call whose start is a minimiser already, so that f and g are asked for once: what any call costs.

    The objective gives recorded answers; what is shown is the least time of many calls.
    """

    params = (list(CALLS),)
    param_names = ["call"]

    def setup(self, call: str) -> None:
        self.run = CALLS[call]()
        self.run()

    def time_call(self, call: str) -> None:
        self.run()

    def track_least(self, call: str) -> float:
        return 1e6 * least(self.run, 1.0, 20_000)

    track_least.unit = "us"  # type: ignore[attr-defined]
