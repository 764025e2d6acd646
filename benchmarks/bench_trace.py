"""The trace runner: what a step costs beyond the loss and the optimizer.

``python -m benchmarks.bench_trace`` prints it.
"""

from __future__ import annotations

import numpy as np

from benchmarks.measure import in_turn, seconds
from benchmarks.peers import require

STEPS = 500
TRACES = {
    "loss": {},
    "record": {"trace_fn": lambda record: record.loss},
    "dict": {"trace_fn": lambda loss, gradients, variables: {"loss": loss, "x": variables}},
}


def overhead(traced: str, rounds: int = 300) -> float:
    """Return the microseconds per step of Adam on one array of 10 numbers, less those of a bare loop of the same calls.

    Taken in turn, the least of each: the difference is a twentieth of either.
    """
    fastbfgs = require("fastbfgs")
    x, centre = np.zeros(10), np.linspace(1.0, 2.0, 10)

    def loss_fn() -> tuple[float, np.ndarray]:
        away = x - centre
        return (away * away).sum(), 2.0 * away

    def bare() -> None:
        x[...] = 0.0
        step = fastbfgs.Adam(0.1).apply_gradients
        for _ in range(STEPS):
            _, gradient = loss_fn()
            step([(gradient, x)])

    def whole() -> None:
        x[...] = 0.0
        fastbfgs.trace_minimize(loss_fn, STEPS, fastbfgs.Adam(0.1), trainable_variables=x, **TRACES[traced])

    figures = in_turn({"whole": lambda: seconds(whole), "bare": lambda: seconds(bare)}, rounds)
    return 1e6 / STEPS * (min(figures["whole"]) - min(figures["bare"]))


class Trace:
    """Adam on one array of 10 numbers, by what is traced."""

    params = list(TRACES)
    param_names = ["traced"]
    timeout = 120

    def track_overhead(self, traced: str) -> float:
        return overhead(traced)

    track_overhead.unit = "us/step"  # type: ignore[attr-defined]


def main() -> None:
    """Print the overhead of each kind of trace."""
    for traced in TRACES:
        print(f"{traced:<7} {overhead(traced):.2f} us a step")


if __name__ == "__main__":
    main()
