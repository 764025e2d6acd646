"""The thread pool: made when first needed, made anew after a fork, shared by all solvers of the process.

`concurrent.futures` is imported then, too: it takes 10 ms.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")

_BEAT = 0.05
"""Seconds."""

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def resolve(workers: int | None) -> int:
    """Return the number of threads to use.

    Parameters
    ----------
    workers : int or None
        What the user asked for; None means ``FASTBFGS_NUM_THREADS``, and without that the cores
        this process may run on.

    Raises
    ------
    ValueError
        If either number is not a positive integer.
    """
    if workers is None:
        text = os.environ.get("FASTBFGS_NUM_THREADS")
        if text is None:
            return cores()
        if not text.isdecimal() or int(text) < 1:
            raise ValueError(
                f"FASTBFGS_NUM_THREADS must be a positive integer; got {text!r}. "
                "Unset it to use every core this process may run on."
            )
        return int(text)
    if isinstance(workers, bool) or not hasattr(workers, "__index__") or workers < 1:
        raise ValueError(
            f"workers must be a positive integer or None; got {workers!r}. "
            "None uses every core this process may run on, 1 no threads."
        )
    return int(workers)


def cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(task: Callable[[int, int], T], count: int, parts: int) -> list[T]:
    """Call ``task(first, last)`` for `parts` even ranges of ``range(count)``, side by side.

    The calling thread does the last range itself. Results come in the order of the ranges.
    """
    from concurrent.futures import wait

    ranges = list(pairwise(count * part // parts for part in range(parts + 1)))
    futures = [_shared(parts - 1).submit(task, *pair) for pair in ranges[:-1]]
    try:
        last = task(*ranges[-1])
    finally:
        wait(futures)  # whatever happens here, nobody works on after the return
    return [*(future.result() for future in futures), last]


def lend(task: Callable[[], object], size: int) -> None:
    """Let `size` threads call `task`, sooner or later."""
    pool = _shared(size)
    for _ in range(size):
        pool.submit(task)


def side_by_side(
    task: Callable[[T], None], each: Sequence[T], halt: Callable[[], None], beat: Callable[[], object]
) -> None:
    """Call `task` with one of `each` in a thread of its own, and `beat` here every 50 ms, until all have returned.

    What `beat` raises, or Ctrl-C, is raised after `halt` was called and all tasks have come to their ends; what a
    task raises, too. A task that begins after `halt` must return at once.

    The tasks themselves tell that they have begun and ended: Ctrl-C may come while a thread starts, and `Thread.join`,
    interrupted, takes a thread for dead that is not (Python 3.11 and 3.12).
    """
    errors: list[BaseException] = []
    begun: list[int] = []
    ended: list[int] = []
    bell = threading.Lock()
    bell.acquire()

    def guarded(argument: T) -> None:
        begun.append(1)
        try:
            task(argument)
        except BaseException as error:
            errors.append(error)
            halt()
        ended.append(1)
        with suppress(RuntimeError):  # another one has rung, too
            bell.release()

    try:
        for argument in each:
            threading.Thread(target=guarded, args=(argument,), name="fastbfgs", daemon=True).start()
        while len(ended) < len(each):
            if not bell.acquire(timeout=_BEAT):
                beat()
    except BaseException as error:
        errors.insert(0, error)
        halt()
    while len(ended) < len(begun):
        try:
            bell.acquire(timeout=_BEAT)
        except KeyboardInterrupt as error:  # nobody works on after the return, however often it is pressed
            errors.append(error)
    if errors:
        raise errors[0]


def _shared(size: int) -> ThreadPoolExecutor:
    """Return the pool, of at least `size` threads."""
    global _pool
    from concurrent.futures import ThreadPoolExecutor

    with _lock:
        if _pool is None or _pool._max_workers < size:
            _pool = ThreadPoolExecutor(size, thread_name_prefix="fastbfgs")
        return _pool


def _forget_pool() -> None:
    """Start without a pool in a forked child: threads do not survive a fork, locks do, locked."""
    global _pool, _lock
    _pool, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
