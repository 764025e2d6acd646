"""What figures depend on: the machine, its load, the packages, and how fast memory can be read here."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from benchmarks.measure import least

# Beyond every cache: twice this is read, or half of it copied, in one go.
BEYOND_CACHES = 1 << 28

# Below this a call costs as much as what it reads.
SMALLEST = 1 << 18


class Bandwidth(NamedTuple):
    """Bytes per second that NumPy reads in a dot product, and that it moves, in and out together, in a copy."""

    read: float
    copy: float


def side_by_side(calls: list[Callable[[], Any]]) -> Callable[[], None]:
    """Return one call that makes all ``calls``, each in a thread of its own."""

    def run() -> None:
        threads = [threading.Thread(target=call) for call in calls[1:]]
        for thread in threads:
            thread.start()
        calls[0]()
        for thread in threads:
            thread.join()

    return run


def _bandwidth(size: int, threads: int) -> Bandwidth:
    """Measure on two arrays of ``size`` bytes together, split over ``threads``."""
    count = max(size // 16 // threads, 16)
    pairs = [(np.ones(count), np.ones(count)) for _ in range(threads)]
    moved = 16 * count * threads
    repeat = max(1, (1 << 24) // moved)  # calls of a microsecond are timed many at once

    def dots(a: np.ndarray, b: np.ndarray) -> None:
        for _ in range(repeat):
            a.dot(b)

    def copies(a: np.ndarray, b: np.ndarray) -> None:
        for _ in range(repeat):
            np.copyto(a, b)

    read, copy = (
        least(side_by_side([functools.partial(each, *pair) for pair in pairs]), 0.3) for each in (dots, copies)
    )
    return Bandwidth(repeat * moved / read, repeat * moved / copy)


@functools.cache
def bandwidth(size: int = BEYOND_CACHES, threads: int = 1) -> Bandwidth:
    """Return the best of 0.3 s on ``size`` bytes."""
    return _bandwidth(size, threads)


def read_seconds(numbers: float, size: float) -> float:
    """Return the seconds that one thread takes to read ``numbers`` float64 that are spread over ``size`` bytes."""
    rounded = 1 << int(np.log2(min(max(size, SMALLEST), BEYOND_CACHES)))
    return 8.0 * numbers / bandwidth(rounded).read


def machine_load() -> str:
    """Return the machine's load averages."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else "-"


def machine_lines(load: str, versions: dict[str, str]) -> Iterator[str]:
    """Yield what the figures depend on; ``load`` is that of the start."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            models = [line.partition(":")[2].strip() for line in info if "model name" in line]
        model = models[0] if models else model
    yield f"- {datetime.date.today().isoformat()}, {platform.system()}, {model}"
    loads = f"load {load} at the start, {machine_load()} at the end"
    yield f"- {os.cpu_count()} cores, {loads}; Python {platform.python_version()}"
    yield "- " + ", ".join(f"{package} {version}" for package, version in sorted(versions.items(), key=str))
    for threads in dict.fromkeys((1, os.cpu_count() or 1)):
        speed = bandwidth(threads=threads)
        yield (
            f"- memory beyond the caches, {threads} thread{'s' * (threads > 1)}: "
            f"{speed.read / 1e9:.1f} GB/s read (dot product), {speed.copy / 1e9:.1f} GB/s moved in a copy, in and out"
        )
