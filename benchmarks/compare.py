"""Compare fastbfgs with every other solver that is installed, and write tables and a picture.

    python -m benchmarks.compare                # at most 20 minutes
    python -m benchmarks.compare --quick        # at most 2
    python -m benchmarks.compare --also /path/to/another/python

All get the same functions, starts and tolerances: max|g| <= 1e-6, 10 pairs, at most 500 iterations
(one problem: 1,000, or 10 n).  Each solver has a process of its own; they are timed in turn within a round,
ratios are formed in each round, medians taken over rounds.  ``--also`` names interpreters that have
those packages which this one lacks.  A solver that is not installed, fails, or takes too long is
named, with the reason.  Exit status 1: one of this package's answers is wrong or missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import math
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import picture, report
from benchmarks.bench_evaluations import RIVALS, STOPS
from benchmarks.bench_import import first_call_medians, import_medians
from benchmarks.bench_single import SLOW
from benchmarks.contest import Outcome, Times
from benchmarks.machine import machine_lines, machine_load
from benchmarks.peers import BATCHES, BOUNDED_SINGLES, DENSE, FASTBFGS, ROUNDED, SINGLES, needs
from benchmarks.process import Missing, Process, Stopped, TooSlow
from benchmarks.report import OUT_OF_TIME, Entry, Score
from benchmarks.tasks import UNSET, Task, every_task


class Plan(NamedTuple):
    """How long things may take, in seconds.

    Attributes
    ----------
    rounds : int
        Rounds of each solver, fewer where they take longer than `patience`.
    patience : float
        For the rounds of one solver on one task.
    limit : float
        For one answer of a solver: compiling and the first run, or one round.
    whole : float
        For everything; what is not reached by then is said to be missing.
    """

    rounds: int
    patience: float
    limit: float
    whole: float


FULL = Plan(rounds=3, patience=4.0, limit=40.0, whole=18 * 60.0)
QUICK = Plan(rounds=3, patience=0.5, limit=15.0, whole=105.0)

# An import may take this long on a cold disk.
LOADING = 60.0


def _installed(module: str) -> bool:
    """Whether this interpreter has the package of ``module``."""
    return importlib.util.find_spec(module.partition(".")[0]) is not None


class Race:
    """All solvers, each in its process, and what they have done so far."""

    def __init__(self, plan: Plan, pythons: list[str], only: list[str] | None) -> None:
        self.plan, self.pythons, self.only = plan, pythons, only
        self.begin = time.monotonic()
        self.processes: dict[str, Process] = {}
        self.missing: dict[tuple[str, ...], str] = {}
        self.versions: dict[str, str] = {}

    def say(self, text: str) -> None:
        """Show progress."""
        minutes, seconds = divmod(int(time.monotonic() - self.begin), 60)
        print(f"{minutes:2d}:{seconds:02d}  {text}", file=sys.stderr, flush=True)

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.plan.whole - (time.monotonic() - self.begin)

    def wanted(self, names: Iterable[str]) -> list[str]:
        """Return those of the solvers that take part."""
        return [name for name in names if self.only is None or name.startswith(tuple(self.only))]

    def ask(self, name: str, what: str, *args: Any) -> Any:
        """Ask the process of the solver ``name``, in time."""
        process, left = self.process(name), self.left
        limit = self.plan.limit * (3 if what == "tally" else 1)
        if left <= 0.0:
            raise Stopped(OUT_OF_TIME)
        try:
            return process.ask(what, *args, limit=min(limit, left))
        except TooSlow:
            if left < limit:
                raise Stopped(OUT_OF_TIME) from None
            raise

    def process(self, name: str) -> Process:
        """Return the solver's process, its packages loaded, from the first interpreter that has them."""
        if name in self.processes and self.processes[name].alive:
            return self.processes[name]
        plain = name.removesuffix(UNSET)
        modules = needs(plain)
        reason = self.missing.get(modules, "")
        if reason:
            raise Missing(reason)
        for python in self.pythons:
            absent = [module for module in modules if python == sys.executable and not _installed(module)]
            if absent:
                reason = f"{absent[0]} is not installed"
                continue
            process = Process(plain, python, "1" if name == plain else "unset")
            try:
                self.versions |= process.ask("load", limit=LOADING)
            except Missing as missing:
                reason = str(missing)
                process.close()
                continue
            self.processes[name] = process
            return process
        self.missing[modules] = reason
        self.say(f"skipped {name}: {reason}")
        raise Missing(reason)

    def run(self, task: Task) -> list[Entry]:
        """Let every solver do the task; return what came of it."""
        entries = []
        for name in self.wanted(task.peers or task.table()):
            entry = Entry(name)
            entries.append(entry)
            try:
                if self.left <= 0.0:
                    raise Stopped(OUT_OF_TIME)
                if needs(name.removesuffix(UNSET)) not in self.missing:
                    self.say(f"{task.title}: {name}")
                self.process(name)
                entry.first = self.ask(name, "prepare", task.sample(name), *task)
                entry.spent = entry.first * task.sample(name) / task.B
            except Stopped as reason:
                entry.stop(str(reason), isinstance(reason, Missing))
        self.say(f"{task.title}: {self.plan.rounds} rounds")
        for _ in range(self.plan.rounds):
            for entry in entries:
                # One round of ours in any case: the first run does not tell the solver's own time.
                patient = entry.spent < self.plan.patience or (entry.name.startswith("fastbfgs") and not entry.times)
                if not entry.note and self.left > 0.0 and patient:
                    self._answer(entry, "time")
        for entry in entries:
            if not entry.note:
                self._answer(entry, "outcome")
        return entries

    def _answer(self, entry: Entry, what: str) -> None:
        """Have the entry's process time a round, or tell the outcome."""
        start = time.monotonic()
        try:
            answer = self.processes[entry.name].ask(what, limit=self.plan.limit)
        except Stopped as reason:
            entry.stop(str(reason))
        else:
            if what == "time":
                entry.times.append(Times(*answer))
            else:
                entry.outcome = Outcome(*answer)
                # A solver that took all its time in the first run is judged by that.
                entry.times = entry.times or [Times(entry.first, math.nan)]
        entry.spent += time.monotonic() - start

    def scores(self, stop: str, names: Iterable[str], *problems: Any) -> dict[str, Score]:
        """Let solvers of one problem do the ``problems``, arguments of `bench_evaluations.problem_set`."""
        found = {}
        for name in self.wanted(names):
            self.say(f"{problems[0]}, {stop}: {name}")
            try:
                found[name] = Score(*self.ask(name, "tally", stop, *problems))
            except Stopped as reason:
                self.say(f"{name}: {reason}")
                if not isinstance(reason, Missing):
                    found[name] = Score.stopped(str(reason))
        return found

    def skipped(self) -> dict[str, str]:
        """Return the names of the solvers that are not here, together by what they lack, and the reasons."""
        names = {modules: [name for name in BATCHES if needs(name) == modules] for modules in self.missing}
        return {", ".join(names[modules]): reason for modules, reason in self.missing.items()}

    def close(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            process.close()


def problem_sets(race: Race, arguments: argparse.Namespace) -> Iterator[tuple[str, dict[str, Score]]]:
    """Yield the title of each problem set and how the solvers did, by SciPy's defaults SciPy and this package alone."""
    quick = arguments.quick
    everyone = dict(zip(RIVALS, ({**SINGLES, **ROUNDED}, BOUNDED_SINGLES, DENSE), strict=True))
    for rivals, stop in itertools.product(RIVALS, STOPS):
        defaults = stop == "SciPy's defaults"
        if quick and (defaults or rivals.slow is not None):
            continue
        names: Iterable[str] = (rivals.ours, rivals.theirs) if defaults else everyone[rivals]
        title = f"{rivals.problems}{' (every fourth)' if quick else ''}, {rivals.theirs.split()[-1]}, {stop}"
        if chosen(arguments, title):
            names = [name for name in names if not (quick and name in SLOW)]
            yield title, race.scores(stop, names, rivals.problems, rivals.slow, 4 if quick else 1)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="smaller batches, in at most 2 minutes")
    parser.add_argument(
        "--also", action="append", default=[], metavar="PYTHON", help="an interpreter with more packages"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="solvers whose names begin so")
    parser.add_argument(
        "--tasks", nargs="+", metavar="WORDS", help="tasks and problem sets with these words in the title"
    )
    parser.add_argument("--members", type=int, help="at most so many problems in a batch")
    parser.add_argument("--rounds", type=int, help="rounds of each solver")
    parser.add_argument("--minutes", type=float, help="for everything")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder of compare.md and compare.png")
    return parser.parse_args()


def plan_of(arguments: argparse.Namespace) -> Plan:
    """Return the plan that the command line asks for."""
    plan = QUICK if arguments.quick else FULL
    if arguments.rounds is not None:
        plan = plan._replace(rounds=arguments.rounds)
    if arguments.minutes is not None:
        plan = plan._replace(whole=60.0 * arguments.minutes)
    return plan


def tasks_of(arguments: argparse.Namespace) -> list[Task]:
    """Return the tasks, their batches cut down where the command line asks for it."""
    tasks = every_task(arguments.quick)
    if arguments.members is not None:
        tasks = (task._replace(B=min(task.B, arguments.members)) for task in tasks)
    return [task for task in tasks if chosen(arguments, task.title)]


def chosen(arguments: argparse.Namespace, title: str) -> bool:
    """Whether the command line asks for the task or problem set of this title."""
    return arguments.tasks is None or any(words in title for words in arguments.tasks)


def main() -> int:
    """Measure, write, print; return the exit status."""
    arguments = parse_arguments()
    load = machine_load()
    race = Race(plan_of(arguments), [sys.executable, *arguments.also], arguments.only)
    results: list[tuple[Task, list[Entry]]] = []
    begin, sets, interrupted = None, {}, False
    try:
        race.say("imports and first calls")
        count = 1 if arguments.quick else 5
        begin = report.Begin(*import_medians(count), first_call_medians(count))
        sets |= problem_sets(race, arguments)
        for task in tasks_of(arguments):
            results.append((task, race.run(task)))
    except KeyboardInterrupt:
        race.say("interrupted: what is there is written")
        interrupted = True
    finally:
        race.close()
    text = "\n".join(
        report.lines(machine_lines(load, race.versions), race.skipped(), results, sets, begin, race.plan.rounds)
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "compare.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    drawn = picture.draw(arguments.out / "compare.png", results, sets)
    wrong = list(report.wrong_answers(results))
    if needs(FASTBFGS) in race.missing:
        wrong.append(race.missing[needs(FASTBFGS)])
    for each in wrong:
        print(f"FAILED: {each}", file=sys.stderr)
    race.say(f"written: {arguments.out / 'compare.md'}; {drawn}")
    return 130 if interrupted else 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
