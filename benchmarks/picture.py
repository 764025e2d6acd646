"""The picture of `benchmarks.compare`: performance profiles, and time against the size of the batch.

E. D. Dolan and J. J. Moré (2002), Benchmarking optimization software with performance profiles,
Mathematical Programming 91, 201-213.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import Results, Score, Sets, finished
from benchmarks.tasks import UNSET

# The problem set of the profiles, and the task whose batches grow.
PROFILED = ("PROBLEMS, L-BFGS-B, gtol 1e-6", "PROBLEMS (every fourth), L-BFGS-B, gtol 1e-6")
GROWING = ("many", "rosenbrock", 10)


def profile(scores: dict[str, Score], what: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return, for each solver, the ratios tau and the share of problems solved within tau of the best.

    The cost is ``what``, "evaluations" or "seconds"; a problem not solved costs infinitely much.
    """
    costs = {
        name: np.where(score.solved, np.array(getattr(score, what), float), np.inf)
        for name, score in scores.items()
        if not score.note
    }
    if not costs:
        return {}
    best = np.min(list(costs.values()), axis=0)
    curves = {}
    for name, cost in costs.items():
        solved = np.isfinite(cost)
        taus = np.sort(cost[solved] / best[solved])
        curves[name] = taus, np.arange(1, len(taus) + 1) / len(cost)
    return curves


def growing(results: Results) -> dict[str, tuple[list[int], list[float]]]:
    """Return, for each solver, the sizes B and the seconds."""
    found: dict[str, list[tuple[int, float]]] = {}
    for task, entries in results:
        if (task.kind, task.objective, task.n) == GROWING:
            for name, entry in finished(entries).items():
                if not name.endswith(UNSET):
                    found.setdefault(name, []).append((task.B, entry.seconds))
    curves = {}
    for name, points in found.items():
        sizes, seconds = zip(*sorted(points), strict=True)
        curves[name] = list(sizes), list(seconds)
    return curves


def draw(path: Path, results: Results, sets: Sets) -> str:
    """Draw into the file ``path``; return what to say about it."""
    try:
        import matplotlib
    except ImportError:
        return "no picture: matplotlib is not installed"
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (first, second, third) = pyplot.subplots(1, 3, figsize=(21, 6), layout="constrained")
    title, scores = next(((name, sets[name]) for name in PROFILED if name in sets), ("no problems", {}))
    for axes, what in ((first, "evaluations"), (second, "seconds")):
        _draw_profile(axes, profile(scores, what), what)
        axes.set_title(f"Performance profile (Dolan, Moré 2002)\n{title}")
    _draw_growth(third, growing(results))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return str(path)


def _style(name: str) -> dict[str, Any]:
    """Return how a solver's line looks: this package's thick."""
    ours = name.startswith("fastbfgs")
    return {"label": name, "linewidth": 2.4 if ours else 1.1, "zorder": 3 if ours else 2}


def _draw_profile(axes: Any, curves: dict[str, tuple[np.ndarray, np.ndarray]], what: str) -> None:
    last = max((taus[-1] for taus, _ in curves.values() if len(taus)), default=1.0)
    for name, (taus, share) in curves.items():
        steps = np.r_[1.0, taus, 1.1 * last], np.r_[0.0, share, share[-1] if len(share) else 0.0]
        axes.step(*steps, where="post", **_style(name))
    axes.set_xscale("log", base=2)
    axes.set(
        xlabel=f"{what}, times the best solver's",
        ylabel="share of problems solved",
        ylim=(0.0, 1.02),
    )
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="lower right", fontsize=8)


def _draw_growth(axes: Any, curves: dict[str, tuple[list[int], list[float]]]) -> None:
    for k, (name, (sizes, seconds)) in enumerate(sorted(curves.items(), key=lambda item: -item[1][1][-1])):
        style = ("-", "--", "-.")[k // 10 % 3]
        axes.loglog(sizes, seconds, style, marker="o", markersize=3, **_style(name))
    axes.set(
        xlabel="B, number of problems",
        ylabel="seconds, compile time apart",
        title="Time against B: Rosenbrock, n = 10\n(loops timed on some members, and scaled)",
    )
    axes.grid(alpha=0.3, which="both")
    if curves:
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
