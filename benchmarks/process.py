"""A solver in a process of its own, with its interpreter and its BLAS threads, that can be timed in turn with others.

    python -m benchmarks.process        # is what `Process` starts; it answers lines of JSON

So packages that do not go together, or that set up threads of their own, do not meet; one that
crashes or does not end is stopped and named, and the others go on.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]


class Stopped(Exception):
    """Why a solver has no figure: a package is missing, it failed, or it took too long."""


class Missing(Stopped):
    """A package is not there, or not for this task."""


class TooSlow(Stopped):
    """There was no answer in time."""


class Process:
    """The solver ``name``, run by the interpreter ``python``; ``blas`` is "1" or "unset"."""

    def __init__(self, name: str, python: str = sys.executable, blas: str = "1") -> None:
        self.name, self.python, self.blas = name, python, blas
        self._child: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._child = child = subprocess.Popen(
            [self.python, "-m", "benchmarks.process", self.name],
            cwd=ROOT,
            env={**os.environ, "BENCHMARKS_BLAS": self.blas},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        threading.Thread(target=_forward, args=(child.stdout, self._lines), daemon=True).start()
        return child

    @property
    def alive(self) -> bool:
        """Whether it runs and has not been stopped."""
        return self._child is not None

    def ask(self, what: str, *args: Any, limit: float) -> Any:
        """Return the answer, which must come within ``limit`` seconds.

        Raises
        ------
        Stopped
            Where there is none; its text says why.
        """
        child = self._child or self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps([what, *args]) + "\n")
            child.stdin.flush()
            line = self._lines.get(timeout=limit)
        except queue.Empty:
            self.close()
            raise TooSlow(f"stopped after {limit:.0f} s") from None
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            said = [text for text in self._log.read().splitlines() if text.strip()]
            self.close()
            raise Stopped(f"its process ended: {said[-1] if said else 'without a word'}")
        kind, answer = json.loads(line)
        if kind == "answer":
            return answer
        raise (Missing if kind == "missing" else Stopped)(answer)

    def close(self) -> None:
        """End the process, if it runs; the next question starts another."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()


def _forward(lines: TextIO, to: queue.SimpleQueue[str]) -> None:
    """Put the child's lines into the queue, and an empty one at its end."""
    for line in lines:
        to.put(line)
    to.put("")


def versions() -> dict[str, str]:
    """Return the versions of those packages that are loaded and may matter."""
    listed = (
        "fastbfgs numpy scipy PyLBFGS nlopt botorch torch jax jaxlib jaxopt optimistix optax lbfgsb "
        "tensorflow tensorflow-probability"
    ).split()
    modules = {"PyLBFGS": "lbfgs", "tensorflow-probability": "tensorflow_probability"}
    found = {}
    for package in listed:
        module = sys.modules.get(modules.get(package, package))
        if module is not None:
            try:
                found[package] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                found[package] = getattr(module, "__version__", "of unknown version")
    return found


def serve(name: str, questions: TextIO, answers: TextIO) -> None:
    """Answer the questions about the solver ``name`` until there are no more."""
    from benchmarks import bench_evaluations, contest
    from benchmarks.bench_single import SLOW, SLOW_ITERATIONS
    from benchmarks.peers import needs, require
    from benchmarks.tasks import Task

    current: contest.Contest | None = None

    def load() -> dict[str, str]:
        for module in needs(name):
            require(module)
        return versions()

    def prepare(members: int, *task: Any) -> Any:
        nonlocal current
        current = None
        current = contest.Contest(name, Task(*task), members)
        return current.scale * current.first

    def time() -> Any:
        assert current is not None
        return current.round()

    def outcome() -> Any:
        nonlocal current
        assert current is not None
        answer, current = current.outcome(), None
        return answer

    def tally(stop: str, problems: str, below: int | None, step: int) -> Any:
        when = bench_evaluations.STOPS[stop]
        if name in SLOW:
            when = when._replace(maxiter=SLOW_ITERATIONS)
        chosen = bench_evaluations.problem_set(problems, below, step)
        found = bench_evaluations.tally(bench_evaluations.EVERY[name], when, chosen, again=0.002)
        return [array.tolist() for array in found]

    known = {"load": load, "prepare": prepare, "time": time, "outcome": outcome, "tally": tally}
    for line in questions:
        what, *args = json.loads(line)
        try:
            answer = "answer", known[what](*args)
        except NotImplementedError as missing:
            answer = "missing", str(missing)
        except Exception as error:  # a peer's failure is a result: it goes into the table, in its own words
            text = str(error).strip().partition("\n")[0][:120]
            answer = "failed", f"{type(error).__name__}: {text}"
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve; what packages print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        serve(sys.argv[1], sys.stdin, answers)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
