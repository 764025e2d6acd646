"""The tables of `benchmarks.compare`, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from benchmarks.bench_single import SLOW, SLOW_ITERATIONS
from benchmarks.contest import Outcome, Times
from benchmarks.machine import read_seconds
from benchmarks.measure import numbers_moved
from benchmarks.peers import COMPILED, FASTBFGS, JITTED
from benchmarks.tasks import UNSET, Task

# A solver of which fewer members converged is not counted as fast.
ENOUGH = 0.99

SCIPY = "SciPy L-BFGS-B"

OUT_OF_TIME = "not run: out of time"


class Entry:
    """One solver on one task: its rounds, and what it reached, or why there is nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.first = np.nan
        self.spent = 0.0
        self.times: list[Times] = []
        self.outcome: Outcome | None = None
        self.note = ""
        self.absent = False

    def stop(self, note: str, absent: bool = False) -> None:
        """Note why it does not go on; ``absent`` if it could not begin."""
        self.note, self.absent = note, absent

    @property
    def reached(self) -> Outcome:
        """Return what it reached."""
        assert self.outcome is not None
        return self.outcome

    @property
    def seconds(self) -> float:
        """Return the median of its rounds."""
        return median(each.seconds for each in self.times)

    @property
    def own(self) -> float:
        """Return the median of the solver's own microseconds per evaluation (per iteration of BFGS)."""
        return median(each.own for each in self.times)


class Begin(NamedTuple):
    """Milliseconds of imports, and from import to the first answer."""

    numpy: float
    fastbfgs: float
    first_call: dict[str, float]


class Score(NamedTuple):
    """How one solver did on a problem set: by problem, as `bench_evaluations.Tally`; or why it did not."""

    evaluations: list[int]
    solved: list[bool]
    f: list[float]
    seconds: list[float]
    note: str = ""

    @classmethod
    def stopped(cls, note: str) -> Score:
        """Return the score of a solver that did not come to the end."""
        return cls([], [], [], [], note)

    def over(self, other: Score, what: str) -> float:
        """Return the geometric mean of ``what`` over the other's, on the problems that both solve."""
        both = np.array(self.solved) & np.array(other.solved)
        mine, theirs = np.array(getattr(self, what)), np.array(getattr(other, what))
        return float(np.exp(np.log(mine[both] / theirs[both]).mean()))


Results = Sequence[tuple[Task, Sequence[Entry]]]
Sets = dict[str, dict[str, Score]]


def number(value: float) -> str:
    """Format a figure with three digits."""
    if not np.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Format a time with three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return "-" if not seconds > 0.0 else f"{number(1e9 * seconds)} ns"


def faster(quotient: float) -> str:
    """Format by how much fastbfgs is faster; where it loses, in bold and in words."""
    return f"**{number(quotient)}, slower**" if quotient < 1.0 else number(quotient)


def table(head: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield what stands above a table, the table in Markdown and a blank line, or nothing if there are no rows."""
    if rows:
        yield head + "\n"
        yield "| " + " | ".join(columns) + " |"
        yield "|---" * len(columns) + "|"
        for row in rows:
            yield "| " + " | ".join(row) + " |"
        yield ""


def by_round(over: Entry, under: Entry, what: str) -> float:
    """Return the median over rounds of one solver's figure over another's."""
    pairs = zip(over.times, under.times, strict=False)  # a slow solver has fewer rounds
    quotients = [getattr(a, what) / getattr(b, what) for a, b in pairs if getattr(b, what) > 0.0]
    return median(quotients) if quotients else np.nan


def finished(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Return the solvers that have figures, by their names."""
    return {entry.name: entry for entry in entries if entry.outcome is not None}


def lowest(done: dict[str, Entry]) -> np.ndarray:
    """Return the lowest f of each member; some solvers did only the first members."""
    values = [np.array(entry.reached.f) for entry in done.values()]
    best = np.full(max(map(len, values), default=0), np.inf)
    for f in values:
        best[: len(f)] = np.fmin(best[: len(f)], f)
    return best


def at_best(reached: Outcome, best: np.ndarray) -> float:
    """Return the share of members within 1e-6 of the lowest f, relative above 1."""
    f = np.array(reached.f)
    least = best[: len(f)]
    return float(np.mean(f <= least + 1e-6 * np.maximum(1.0, abs(least))))


def ours_of(task: Task, done: dict[str, Entry], compiled: bool = False) -> Entry | None:
    """Return the entry of this package that the others are held against."""
    if compiled:
        return done.get(next(iter(COMPILED)))
    names = {"one": "fastbfgs loop", "bounded one": "fastbfgs loop", "dense": "fastbfgs BFGS"}
    return done.get(names.get(task.kind, FASTBFGS))


def shown(task: Task, name: str) -> str:
    """Return a solver's name as it is printed."""
    plain, unset = name.removesuffix(UNSET), name.endswith(UNSET)
    sample = task.sample(name)
    if task.B == 1:
        plain = plain.removesuffix(" loop")
    text = plain + (UNSET if unset else "")
    return f"{text} ({sample} members, scaled)" if sample < task.B else text


def scipy_of(task: Task, done: dict[str, Entry]) -> Entry | None:
    """Return SciPy, in a loop where there is more than one problem."""
    return done.get({"dense": "SciPy BFGS"}.get(task.kind, SCIPY), done.get(f"{SCIPY} loop"))


def fastest(done: dict[str, Entry], what: str, among: Iterable[str] | None = None) -> Entry | None:
    """Return the fastest solver of others that converges."""
    rivals = [
        entry
        for name, entry in done.items()
        if not name.startswith("fastbfgs") and not name.endswith(UNSET) and (among is None or name in among)
        if getattr(entry, what) > 0.0 and (entry.reached.converged >= ENOUGH or what == "own")
    ]
    return min(rivals, key=lambda entry: getattr(entry, what), default=None)


# ---------------------------------------------------------------------------- the tables


def summary(results: Results) -> Iterator[str]:
    """Yield one line for each task: this package, the fastest of the others, SciPy, and the floor."""
    rows = []
    for task, entries in results:
        done = finished(entries)
        for compiled in (False, True):
            ours = ours_of(task, done, compiled)
            if ours is None:
                continue
            for what in _compared(task, compiled):
                rows.append(_summary_row(task, done, ours, what, compiled))
    columns = ("what", "fastbfgs", "fastest of the others", "fastbfgs faster by", "SciPy", "faster by")
    head = (
        "## In short\n\n"
        "Whole runs, objective included, or the solver's own time without it. Where another is faster, the ratio is in "
        f"bold. Others count if at least {100 * ENOUGH:.0f} % of their members converge."
    )
    yield from table(head, columns, rows)


def _compared(task: Task, compiled: bool) -> Sequence[str]:
    """Return what of a task is compared: ``seconds`` of the whole, ``own`` ones."""
    if task.fixed:
        return ("own",)
    return ("seconds", "own") if "one" in task.kind and not compiled else ("seconds",)


def _summary_row(task: Task, done: dict[str, Entry], ours: Entry, what: str, compiled: bool) -> list[str]:
    per = "iteration" if task.kind == "dense" else "evaluation"
    aspect = f"solver per {per}" if what == "own" else "whole run"
    if compiled:
        aspect += ", compiled objective"

    def time_of(entry: Entry) -> str:
        return duration(1e-6 * entry.own if what == "own" else entry.seconds)

    rival, scipy = fastest(done, what), scipy_of(task, done)
    return [
        f"{task.title}: {aspect}",
        time_of(ours),
        f"{time_of(rival)} ({shown(task, rival.name).partition(' (')[0]})" if rival else "-",
        faster(by_round(rival, ours, what)) if rival else "-",
        time_of(scipy) if scipy else "-",
        faster(by_round(scipy, ours, what)) if scipy else "-",
    ]


def task_table(task: Task, entries: Sequence[Entry]) -> Iterator[str]:
    """Yield all solvers on one task, fastest first, and those that have no figure."""
    done = finished(entries)
    ours, best = ours_of(task, done), lowest(done)
    what = "own" if task.fixed else "seconds"
    per = "iteration" if task.kind == "dense" else "evaluation"
    columns = ["solver", "whole run", f"per {per}", "of it the solver", "fastbfgs faster by", "evaluations per member"]
    columns += (
        ["calls", "max\\|g\\|"] if task.fixed else ["calls", "converged", "given up", "max\\|g\\|", "at the best f"]
    )
    columns += ["compiling"]
    rows = []
    for entry in sorted(done.values(), key=lambda entry: getattr(entry, what)):
        reached = entry.reached
        count = task.stop.maxiter if task.kind == "dense" else reached.evaluations * task.B
        row = [shown(task, entry.name), duration(entry.seconds), duration(entry.seconds / count)]
        gain = by_round(entry, ours, what) if ours else np.nan
        rival = not entry.name.startswith("fastbfgs")
        row += [duration(1e-6 * entry.own), faster(gain) if rival else number(gain)]
        row += [f"{reached.evaluations:.1f}", "-" if reached.calls is None else f"{reached.calls:,}"]
        largest = "no point" if np.isinf(reached.largest) else f"{reached.largest:.2g}"
        if task.fixed:
            row += [largest]
        else:
            share = _percent(reached.converged)
            row += [share if reached.converged >= ENOUGH else f"**{share}**"]
            row += ["-" if reached.failed is None else str(reached.failed), largest]
            row += [_percent(at_best(reached, best))]
        plain = entry.name.removesuffix(UNSET)
        rows.append([*row, f"{reached.compiling:.1f} s" if plain in JITTED else "none"])
    head = f"### {task.title[0].upper()}{task.title[1:]}"
    yield from table(head, columns, rows)
    notes: dict[str, list[str]] = {}
    for entry in entries:
        if entry.outcome is None and not entry.absent:
            notes.setdefault(entry.note, []).append(shown(task, entry.name))
    for note, names in notes.items():
        yield f"**{note}**: {'; '.join(names)}\n"


def _percent(share: float) -> str:
    """Format a share; one that is not complete is never rounded up to that."""
    return "100 %" if share == 1.0 else f"{np.floor(1e4 * share) / 100.0:.2f} %"


def distances(results: Results) -> Iterator[str]:
    """Yield how near the solver comes to the time that bringing in its numbers takes."""
    rows = []
    for task, entries in results:
        ours = ours_of(task, finished(entries))
        if ours is None or task.kind not in ("many", "bounded", "large"):
            continue
        m, evaluations = task.stop.history, ours.reached.evaluations * task.B
        size = 8.0 * task.B * task.n * (2 * m + 4)
        large = task.kind == "large"
        moved = numbers_moved(np.array([task.stop.maxiter]), task.n, m) if large else ours.reached.moved
        if moved is None:
            continue
        reading = read_seconds(moved, size)
        own = 1e-6 * ours.own * evaluations
        row = [task.title, f"{size / 1e6:,.1f} MB", f"{number(8.0 * moved / evaluations)}"]
        row += [f"{8e-9 * moved / reading:.1f}", duration(reading / evaluations), duration(1e-6 * ours.own)]
        row += [number(own / reading), "-" if large else number(ours.seconds / (ours.reached.in_calls + reading))]
        rows.append(row)
    columns = ("what", "memory", "bytes per evaluation", "GB/s", "they take", "the solver's own", "times", "whole run")
    head = (
        "## The floor\n\n"
        f"{FASTBFGS}. What must come to the processor: all pairs twice an iteration, and in batches a point and a "
        "gradient per evaluation. `GB/s`: a dot product on as much memory as the batch has. `times`: the solver's own "
        "time over that. `whole run`: it over the calls of the objective that were made and the reading, together."
    )
    yield from table(head, columns, rows)


def threads(results: Results) -> Iterator[str]:
    """Yield the gain of all threads over one, for this package."""
    rows = []
    for task, entries in results:
        done = finished(entries)
        for name, one in done.items():
            many = done.get(name.replace("1 thread", "all threads"))
            if name.endswith("1 thread") and many is not None:
                what = "own" if task.fixed else "seconds"
                rows.append([task.title, name.removesuffix(", 1 thread"), number(by_round(one, many, what))])
    yield from table("## All threads against one", ("what", "solver", "faster by"), rows)


def blas_threads(results: Results) -> Iterator[str]:
    """Yield what happens when BLAS threads are left to BLAS."""
    rows = []
    for task, entries in results:
        done = finished(entries)
        for name, unset in done.items():
            one = done.get(name.removesuffix(UNSET))
            if name.endswith(UNSET) and one is not None:
                what = "own" if task.fixed else "seconds"
                times = [1e-6 * each.own if task.fixed else each.seconds for each in (one, unset)]
                slower = number(by_round(unset, one, what))
                rows.append([task.title, shown(task, one.name), *map(duration, times), slower])
    head = (
        "## BLAS threads: one, or as many as BLAS likes\n\n"
        "`OPENBLAS_NUM_THREADS` and its like set to 1, as everywhere else here, or unset, in a process of its own."
    )
    yield from table(head, ("what", "solver", "1", "unset", "times slower"), rows)


def growth(results: Results) -> Iterator[str]:
    """Yield the cost of a unit as B and n grow."""
    rows = []
    for task, entries in sorted(results, key=lambda result: (result[0].objective, result[0].n, result[0].B)):
        for name, entry in finished(entries).items():
            if task.kind in ("many", "large") and (name == FASTBFGS or name in COMPILED):
                own = 1e3 * entry.own / task.n if task.kind == "large" else np.nan
                each = 1e9 * entry.seconds / (entry.reached.evaluations * task.B * task.n)
                unit = own if task.kind == "large" else each
                what = "the solver's own" if task.kind == "large" else "whole run"
                rows.append([task.objective, name, f"{task.n:,}", f"{task.B:,}", what, f"{number(unit)} ns"])
    head = "## As B and n grow\n\nTime per evaluation and variable."
    yield from table(head, ("objective", "solver", "n", "B", "time", "per unit"), rows)


def problem_sets(sets: Sets) -> Iterator[str]:
    """Yield evaluations, and problems solved."""
    rows = []
    for title, scores in sets.items():
        rival = scores.get("SciPy BFGS", scores.get(SCIPY))
        for name, score in scores.items():
            if score.note:
                rows.append([title, name, f"**{score.note}**", "-", "-", "-"])
                continue
            row = [title, name, f"{sum(score.solved)} of {len(score.solved)}", f"{sum(score.evaluations):,}"]
            both = rival is not None and rival is not score and not rival.note
            row += [f"{score.over(rival, what):.3f}" if both and rival else "1" for what in ("evaluations", "seconds")]
            rows.append(row)
    columns = ("problems", "solver", "solved", "evaluations", "evaluations over SciPy's", "time over SciPy's")
    head = (
        "## Evaluations\n\n"
        "The problems of `tests/problems.py`; geometric means over those that both solve. "
        f"{' and '.join(SLOW)} stop after {SLOW_ITERATIONS} iterations."
    )
    yield from table(head, columns, rows)


def beginnings(begin: Begin | None) -> Iterator[str]:
    """Yield import times and first calls."""
    if begin is not None:
        rows = [
            ["import of NumPy", f"{begin.numpy:.0f} ms"],
            ["import of fastbfgs, after it", f"{begin.fastbfgs:.0f} ms"],
            *(
                [f"from import to the first answer, {name}", f"{time:.0f} ms"]
                for name, time in begin.first_call.items()
            ),
        ]
        yield from table("## The first call", ("what, in a fresh interpreter", "time"), rows)


def lines(
    machine: Iterable[str],
    missing: dict[str, str],
    results: Results,
    sets: Sets,
    begin: Begin | None,
    rounds: int,
) -> Iterator[str]:
    """Yield the whole report."""
    yield "# fastbfgs and others\n"
    yield from machine
    yield "- one BLAS thread, if not said otherwise; XLA's programs have threads of their own"
    yield f"- medians of at most {rounds} rounds in turn, ratios formed in each round; compile time apart"
    for name, reason in missing.items():
        yield f"- not here: {name} ({reason})"
    yield ""
    yield from summary(results)
    yield from beginnings(begin)
    yield from problem_sets(sets)
    yield from distances(results)
    yield from threads(results)
    yield from blas_threads(results)
    yield from growth(results)
    yield "## Every solver on every task\n"
    yield (
        "`(k members, scaled)`: timed on k members, then scaled to all. `of it the solver`: the whole run less "
        "the same calls of the objective, per evaluation (BFGS: per iteration); where solver and objective are one "
        "compiled program it is not known. `given up`: members that the solver itself calls failed; `-` if it does not "
        "say. `at the best f`: members within 1e-6 of the lowest f that any solver found; Rosenbrock's chain has a "
        "second minimum. Converged: max\\|g\\| <= 1.01e-6, g projected onto the bounds.\n"
    )
    for task, entries in results:
        yield from task_table(task, entries)


def wrong_answers(results: Results) -> Iterator[str]:
    """Yield what this package failed at: an answer is missing, too few members converged, or not where others did.

    The latter only where there is one minimum.
    """
    for task, entries in results:
        best = lowest(finished(entries))
        for entry in entries:
            if not entry.name.startswith("fastbfgs") or entry.absent or entry.note == OUT_OF_TIME:
                continue
            what = f"{task.title}: {entry.name}"
            if entry.outcome is None:
                yield f"{what}: {entry.note}"
            elif not task.fixed and entry.outcome.converged < ENOUGH:
                yield f"{what}: {_percent(entry.outcome.converged)} converged"
            elif not task.fixed and task.objective != "rosenbrock" and at_best(entry.outcome, best) < ENOUGH:
                yield f"{what}: {_percent(at_best(entry.outcome, best))} at the lowest f"
