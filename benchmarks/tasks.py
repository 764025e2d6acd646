"""What is solved, and by whom: the tasks of `benchmarks.compare`.

A task is a few numbers, so that it can be told to another process, which makes the problems of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from benchmarks.bench_single import ITERATIONS
from benchmarks.objectives import Batch, chain_box, chain_start, make, make_bounded, rosenbrock, rosenbrock_batch
from benchmarks.peers import (
    BATCHES,
    BOUNDED_BATCHES,
    BOUNDED_SINGLES,
    COMPILED,
    DENSE,
    FASTBFGS,
    LARGE,
    SINGLES,
    BatchPeer,
    Stop,
    loop,
)

# What follows the name of a solver that runs with as many BLAS threads as BLAS likes.
UNSET = ", BLAS threads unset"

# Members on which a slow solver is timed; its time is then scaled to all of them.  Loops are
# proportional to the members; so is, from some hundred members on, BoTorch, and nearly so JAXopt.
SAMPLES = {
    "SciPy L-BFGS-B loop": 200,
    "SciPy thread pool": 200,
    "fastbfgs loop": 1_000,
    "PyLBFGS loop": 200,
    "NLopt LD_LBFGS loop": 200,
    "BoTorch": 500,
    "JAXopt LBFGS": 1_000,
    "torch LBFGS loop": 10,
    "lbfgsb (Python) loop": 5,
}


class Task(NamedTuple):
    """B problems of n variables.

    Attributes
    ----------
    kind : str
        "many"; "bounded", with the bounds of `chain_box`; "one" and "bounded one", from the
        standard start; "large" and "dense", one problem for a fixed number of iterations.
    objective : str
        A key of `benchmarks.objectives.OBJECTIVES`.
    B, n : int
        Problems, and variables of each.
    peers : tuple of str
        Names of solvers; all of them where it is empty.
    thrift : int
        Loops are timed on so many times fewer members.
    """

    kind: str
    objective: str
    B: int
    n: int
    peers: tuple[str, ...] = ()
    thrift: int = 1

    @property
    def title(self) -> str:
        """Return what is solved, in a few words."""
        what = {"rosenbrock": "Rosenbrock", "logistic": "logistic 50 x 8", "mixed": "mixed difficulty"}[self.objective]
        how = {"bounded": ", bounds", "bounded one": ", bounds", "dense": ", BFGS"}.get(self.kind, "")
        count = "one problem" if self.B == 1 else f"{self.B:,} problems"
        return f"{count}, {what}, n = {self.n:,}{how}"

    @property
    def fixed(self) -> bool:
        """Whether the iterations are given, and convergence is not asked for."""
        return self.kind in ("large", "dense")

    @property
    def stop(self) -> Stop:
        """Return when to stop."""
        if self.fixed:
            return Stop(gtol=0.0, maxiter=ITERATIONS, evaluations=ITERATIONS + 1)
        return Stop(gtol=1e-6, maxiter=max(1_000, 10 * self.n) if self.B == 1 else 500)

    def table(self) -> dict[str, BatchPeer]:
        """Return the solvers that can do it, single ones as a loop."""
        if self.kind in ("bounded", "bounded one"):
            return BOUNDED_BATCHES
        single = {"large": LARGE, "dense": DENSE}.get(self.kind)
        return BATCHES if single is None else {name: partial(loop, peer) for name, peer in single.items()}

    def single(self, name: str) -> Callable[..., Any] | None:
        """Return the solver ``name`` as one of a single problem, if it is one."""
        name = name.removesuffix(" loop")
        if self.kind == "bounded one":
            return partial(BOUNDED_SINGLES[name], box=chain_box(self.n))
        singles: dict[str, dict[str, Any]] = {"one": SINGLES, "large": LARGE, "dense": DENSE}
        return singles.get(self.kind, {}).get(name)

    def sample(self, name: str) -> int:
        """Return on how many members the solver ``name`` is timed."""
        plain = name.removesuffix(UNSET)
        thrift = self.thrift * (1 if name == plain else 10)
        most = SAMPLES.get(plain, self.B)
        if plain.endswith((" loop", " pool")):
            most = max(most // thrift, 3)
        return min(most, self.B)

    def batch(self, most: int | None = None) -> Batch:
        """Make the problems, or the first ``most`` of them."""
        if self.kind in ("one", "bounded one", "dense"):
            box = chain_box(self.n) if self.kind == "bounded one" else None
            x0 = chain_start(self.n)[None]
            return Batch("rosenbrock", x0 if box is None else box.project(x0), (), rosenbrock_batch, rosenbrock, box)
        batch = make_bounded(self.B, self.n) if self.kind == "bounded" else make(self.objective, self.B, self.n)
        return batch if most is None else batch.first(most)


BATCHED_ONLY = (
    FASTBFGS,
    "fastbfgs, all threads",
    "fastbfgs compiled, all threads",
    "fastbfgs BFGS, 1 thread",
    "SciPy stacked",
    "SciPy thread pool",
    "BoTorch",
)

ONE = tuple(name for name in BATCHES if name not in BATCHED_ONLY)
BOUNDED_ONE = tuple(f"{name} loop" for name in BOUNDED_SINGLES)
OURS = tuple(name for name in BATCHES if name.startswith("fastbfgs") and name != "fastbfgs loop")
QUICK = (
    FASTBFGS,
    "fastbfgs, all threads",
    "fastbfgs lbfgs_minimize",
    "SciPy stacked",
    "BoTorch",
    "SciPy L-BFGS-B loop",
    "NLopt LD_LBFGS loop",
    "PyLBFGS loop",
)
LOOPS = ("SciPy L-BFGS-B loop", "NLopt LD_LBFGS loop", "PyLBFGS loop")
QUICK_ONE = ("fastbfgs loop", *LOOPS)
FAST_JITTED = ("Optimistix BFGS", "Optax lbfgs", "TFP TF XLA", "TFP JAX")


def unset(*names: str) -> tuple[str, ...]:
    """Return the solvers once more, with BLAS threads unset."""
    return tuple(name + UNSET for name in names)


def every_task(quick: bool) -> Iterator[Task]:
    """Yield the tasks, what matters most first: time may run out."""
    yield from (task._replace(thrift=5) for task in _quick_tasks()) if quick else _tasks()


def _quick_tasks() -> Iterator[Task]:
    every = tuple(BATCHES) + unset(FASTBFGS, "SciPy L-BFGS-B loop")
    leave = ("JAXopt LBFGS", "Optimistix LBFGS", "TFP TF XLA", "TFP JAX", "torch LBFGS loop", "lbfgsb (Python) loop")
    yield Task("many", "rosenbrock", 1_000, 10, tuple(name for name in every if name not in leave))
    yield Task("one", "rosenbrock", 1, 10, (*QUICK_ONE, "fastbfgs lbfgs_minimize", "Optimistix BFGS"))
    yield Task("large", "mixed", 1, 100_000)
    yield Task("bounded", "rosenbrock", 1_000, 10)
    yield Task("bounded one", "rosenbrock", 1, 10, BOUNDED_ONE)
    yield Task("dense", "rosenbrock", 1, 100)
    yield Task("many", "rosenbrock", 10_000, 10, (*OURS, "SciPy L-BFGS-B loop", "PyLBFGS loop"))
    yield Task("many", "rosenbrock", 1_000, 2, (*QUICK, *COMPILED, "Optimistix BFGS"))
    yield Task("many", "logistic", 1_000, 8, (*QUICK, "Optimistix LBFGS"))
    yield Task("many", "mixed", 1_000, 20, (*QUICK, "Optimistix BFGS"))
    yield Task("one", "rosenbrock", 1, 2, QUICK_ONE)
    yield Task("one", "rosenbrock", 1, 100, QUICK_ONE)


def _tasks() -> Iterator[Task]:
    unset_ones = unset(FASTBFGS, "SciPy L-BFGS-B loop", "SciPy stacked")
    many = tuple(name for name in BATCHES if name not in ("torch LBFGS loop", "lbfgsb (Python) loop"))
    yield Task("many", "rosenbrock", 1_000, 10, tuple(BATCHES) + unset_ones)
    yield Task("one", "rosenbrock", 1, 10, ONE + unset("fastbfgs loop", "SciPy L-BFGS-B loop"))
    yield Task("large", "mixed", 1, 100_000, tuple(LARGE) + unset("fastbfgs, 1 thread", "SciPy L-BFGS-B"))
    yield Task("large", "mixed", 1, 1_000_000)
    yield Task("bounded", "rosenbrock", 1_000, 10)
    yield Task("bounded one", "rosenbrock", 1, 10, BOUNDED_ONE)
    for B in (1_000, 10_000):
        if B > 1_000:
            yield Task("many", "rosenbrock", B, 10, many)
        yield Task("many", "rosenbrock", B, 2, many)
        yield Task("many", "logistic", B, 8, many)
        yield Task("many", "mixed", B, 20, many)
    for n in (2, 10):
        yield Task("many", "rosenbrock", 100_000, n, (*COMPILED, FASTBFGS, "SciPy L-BFGS-B loop", *FAST_JITTED))
    for n in (10, 100, 1_000):
        yield Task("dense", "rosenbrock", 1, n)
    yield Task("bounded one", "rosenbrock", 1, 100, BOUNDED_ONE)
    yield Task("bounded", "rosenbrock", 10_000, 10)
    yield Task("one", "rosenbrock", 1, 2, (*QUICK_ONE, *FAST_JITTED))
    yield Task("one", "rosenbrock", 1, 100, (*QUICK_ONE, "torch LBFGS loop", "Optimistix LBFGS", "JAXopt LBFGS"))
    yield Task("one", "rosenbrock", 1, 1_000, (*QUICK_ONE, "Optimistix LBFGS", "JAXopt LBFGS"))
    yield Task("many", "rosenbrock", 100, 10, (*OURS, *LOOPS, *FAST_JITTED))
    yield Task("many", "rosenbrock", 10, 10, (*OURS, *LOOPS, *FAST_JITTED))
    yield Task("many", "rosenbrock", 1_000_000, 2, (FASTBFGS, *COMPILED))
    yield Task("large", "mixed", 1, 10_000, ("fastbfgs, 1 thread", "fastbfgs, all threads"))
    yield Task("large", "mixed", 1, 10_000_000, ("fastbfgs, 1 thread", "fastbfgs, all threads"))
