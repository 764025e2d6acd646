"""Those who look on: the user's callback and the progress display, given copies and numbers, never the state."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastbfgs.solver import Solver


class Callback:
    """Call the user's callback in the form it was written for, after every `tell` that led to a step.

    Parameters
    ----------
    callback : callable
        ``callback(xk)``, or ``callback(*, intermediate_result)`` if that is the name of its only parameter.
    report : callable
        Makes the result to show: an object with `x` and more, of copies.
    """

    def __init__(self, callback: Callable[..., Any], report: Callable[[], Any]) -> None:
        self.callback = callback
        self.report = report
        self.wants_result = _parameters(callback) == {"intermediate_result"}

    def __call__(self, solver: Solver) -> bool:
        """Return whether the callback raised StopIteration."""
        if not solver.accepted:
            return False
        report = self.report()
        try:
            if self.wants_result:
                self.callback(intermediate_result=report)
            else:
                self.callback(report.x)
        except StopIteration:
            return True
        return False


class _Display:
    """A bar, if `progress` is True or a tqdm class; otherwise `progress` is called.

    Raises
    ------
    ImportError
        If `progress` is True and tqdm is not installed.
    """

    def __init__(self, progress: Any, arguments: str, **bar: Any) -> None:
        self.show = _tqdm(arguments) if progress is True else progress
        self.bar: Any = self.show(**bar) if hasattr(self.show, "update") else None

    def close(self) -> None:
        """Leave the display as it stands."""
        if self.bar is not None:
            self.bar.close()


class Progress(_Display):
    """Show how many members have finished, after every `tell`.

    Parameters
    ----------
    progress : True, a tqdm class, or callable
        True takes tqdm's own choice of display; another callable gets ``(finished, members, calls)``.
    """

    def __init__(self, progress: Any, members: int) -> None:
        super().__init__(progress, "(finished, members, calls)", total=members, unit="member")
        self.members = members

    def __call__(self, solver: Solver) -> bool:
        finished = self.members - solver.live
        if self.bar is None:
            self.show(finished, self.members, solver.calls)
        else:
            self.bar.set_postfix(calls=solver.calls, refresh=False)
            self.bar.update(finished - self.bar.n)
        return False


class Steps(_Display):
    """Show how many steps are done, after each.

    Parameters
    ----------
    progress : True, a tqdm class, or callable
        True takes tqdm's own choice of display; another callable gets ``(done, steps, loss)``.
    title : str, optional
        Of the bar.
    """

    def __init__(self, progress: Any, steps: int, title: str | None) -> None:
        super().__init__(progress, "(done, steps, loss)", total=steps, unit="step", desc=title)
        self.steps = steps

    def __call__(self, done: int, loss: Any) -> None:
        if self.bar is None:
            self.show(done, self.steps, loss)
        else:
            self.bar.update()


def _tqdm(arguments: str) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            f"progress=True needs tqdm: install fastbfgs[progress], or pass a callable that takes {arguments}"
        ) from error
    return tqdm


def _parameters(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a builtin without a signature
        return set()
