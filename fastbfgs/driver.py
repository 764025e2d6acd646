"""The loop: evaluate, tell, until nobody runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from fastbfgs.objective import Objective
from fastbfgs.solver import Solver


def run(
    solver: Solver,
    objective: Objective,
    watchers: Sequence[Callable[[Solver], bool]],
    report: Callable[[], Any],
) -> Any:
    """Run `solver` to its end on `objective`, and return ``report()``.

    Parameters
    ----------
    watchers : sequence of callable
        Called with the solver after every `tell`; one that returns true stops the members that still run.
    report : callable
        Makes the caller's kind of result of where the solver stands.

    Raises
    ------
    BaseException
        Whatever the user's code raises, Ctrl-C included, unchanged, but for an attribute ``partial_result``: the
        report at that moment, which holds the best points so far.
    """
    try:
        while solver.live:
            f, g = objective.evaluate(solver.ask(), solver.rows)
            solver.tell(f, g)
            for watch in watchers:
                if watch(solver):
                    solver.stop()
    except BaseException as error:
        _keep(error, report)
        raise
    return report()


def run_compiled(
    solver: Solver, objective: Any, watchers: Sequence[Callable[[Solver], Any]], report: Callable[[], Any]
) -> Any:
    """Do what `run` does for a compiled objective, a `Native`; the watchers look on now and then, and stop nothing."""

    def watch(solver: Solver) -> None:
        for each in watchers:
            each(solver)

    try:
        solver.run(objective, watch)
    except BaseException as error:
        _keep(error, report)
        raise
    return report()


_NOTE = "fastbfgs: the best points so far are in this exception's attribute partial_result."


def _keep(error: BaseException, report: Callable[[], Any]) -> None:
    """Leave the report in `error`, for whoever called this run: in place of that of a run within it."""
    with suppress(AttributeError, TypeError):  # an exception class may refuse both
        error.partial_result = report()  # type: ignore[attr-defined]
        if _NOTE not in getattr(error, "__notes__", ()):
            error.add_note(_NOTE)
