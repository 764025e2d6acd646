"""`python -m fastbfgs doctor`: what fastbfgs finds on this machine, what is wrong with it, and how fast it is here."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastbfgs
from fastbfgs import kernels

MEMBERS, N = 1_000, 10

OPTIONS = {"gtol": 1e-6, "ftol": 0.0, "maxcor": 10}

OPTIONAL = {
    "threadpoolctl": ("threadpoolctl",),
    "tqdm": ("tqdm",),
    "matplotlib": ("matplotlib",),
    "scikit-learn": ("scikit-learn",),
    "cupy": ("cupy", "cupy-cuda12x", "cupy-cuda13x"),
    "torch": ("torch",),
    "jax": ("jax",),
    "numba": ("numba",),
}
"""Optional packages, and the names under which each may be installed."""

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass
class Speed:
    """What one way of fitting did in its share of the time."""

    label: str
    fits: int
    seconds: float
    evaluations: float  # mean per fit
    converged: float  # share of the fits

    @property
    def rate(self) -> float:
        """Fits per second."""
        return self.fits / self.seconds


def run(seconds: float = 5.0) -> int:
    """Print the report.

    Parameters
    ----------
    seconds : float
        About how long to measure.

    Returns
    -------
    int
        Exit status: 0, or 1 if fewer than 99 % of the batch's fits converge. Warnings do not change it.
    """
    import scipy.optimize

    warnings: list[str] = []
    print(
        f"fastbfgs       {fastbfgs.__version__}\n"
        f"Python         {platform.python_version()} ({platform.system()} {platform.machine()})\n"
        f"NumPy          {np.__version__}\n"
        f"SciPy          {scipy.__version__}"
    )
    for line in _processor(warnings):
        print(line)
    pools = _blas_pools()
    for line in _blas(pools, warnings):
        print(line)
    for line in _gpu():
        print(line)
    for line in _packages():
        print(line)

    print(
        f"\nMeasuring about {seconds:g} s: Rosenbrock function of {N} variables, {MEMBERS:,} starts in [-2, 2] ...",
        flush=True,
    )
    threaded = any(count > 1 for _, count in pools)
    speeds = measure(seconds, threaded)
    _print_speeds(speeds)
    batch = speeds[0]
    if threaded and speeds[1].rate < 0.8 * speeds[2].rate:
        warnings.append(
            f"BLAS threads make SciPy's L-BFGS-B {speeds[2].rate / speeds[1].rate:.1f} times slower here. "
            "Set OPENBLAS_NUM_THREADS=1 before Python starts."
        )
    if batch.converged < 0.99:
        warnings.append(
            f"only {batch.converged:.1%} of the batch converged, where more than 99 % should. Reinstall fastbfgs, "
            "and if that does not help, report it with this page."
        )
    print()
    for text in warnings:
        print(f"WARNING  {text}")
    if not warnings:
        print("Nothing looks wrong.")
    return 0 if batch.converged >= 0.99 else 1


def rosenbrock(x: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return f (...) and g (..., n) of the chained Rosenbrock function at x (..., n): for a point and for a batch."""
    x = np.ascontiguousarray(x.T)  # coordinates first: NumPy's inner loops go over the members
    head, tail = x[:-1], x[1:]
    bend = head * head
    np.subtract(tail, bend, out=bend)
    rest = 1.0 - head
    f = (100.0 * bend * bend + rest * rest).sum(axis=0)
    g = np.empty_like(x)
    g[0] = 0.0
    np.multiply(bend, 200.0, out=g[1:])
    bend *= head
    bend *= 400.0
    rest *= 2.0
    bend += rest
    g[:-1] -= bend
    return f, g.T


def measure(seconds: float, threaded: bool) -> list[Speed]:
    """Return the speed of the batch, of the SciPy loop, and with one BLAS thread if there are several."""
    starts = np.random.default_rng(0).uniform(-2.0, 2.0, (MEMBERS, N))
    share = seconds / (3.0 if threaded else 2.0)
    speeds = [_batch(starts, share), _loop(starts, share, "SciPy loop")]
    if threaded:
        with _one_blas_thread():
            speeds.append(_loop(starts, share, "SciPy loop, one BLAS thread"))
    return speeds


def _batch(starts: np.ndarray, seconds: float) -> Speed:
    """Minimise the batch again and again until the time is over."""
    fastbfgs.minimize(rosenbrock, starts[:10], jac=True, compact=True, options=OPTIONS)
    begin = time.perf_counter()
    runs = 0
    while not runs or time.perf_counter() - begin < seconds:
        result = fastbfgs.minimize(rosenbrock, starts, jac=True, compact=True, options=OPTIONS)
        runs += 1
    taken = time.perf_counter() - begin
    return Speed("one batch", runs * MEMBERS, taken, float(result.nfev.mean()), float(result.success.mean()))


def _loop(starts: np.ndarray, seconds: float, label: str) -> Speed:
    """Minimise with SciPy, start after start, until the time is over."""
    from scipy.optimize import minimize

    minimize(rosenbrock, starts[0], method="L-BFGS-B", jac=True, options=OPTIONS)
    begin = time.perf_counter()
    results = []
    for start in starts:
        results.append(minimize(rosenbrock, start, method="L-BFGS-B", jac=True, options=OPTIONS))
        if time.perf_counter() - begin > seconds:
            break
    taken = time.perf_counter() - begin
    evaluations = float(np.mean([result.nfev for result in results]))
    return Speed(label, len(results), taken, evaluations, float(np.mean([result.success for result in results])))


def _print_speeds(speeds: list[Speed]) -> None:
    print(f"{'':<29}{'fits':>8}{'time, s':>10}{'fits per s':>12}{'evaluations':>14}{'converged':>12}{'ratio':>8}")
    for speed in speeds:
        ratio = f"{speeds[0].rate / speed.rate:.1f}" if speed is not speeds[0] else ""
        print(
            f"{speed.label:<29}{speed.fits:>8,}{speed.seconds:>10.2f}{speed.rate:>12,.0f}"
            f"{speed.evaluations:>14.1f}{speed.converged:>12.1%}{ratio:>8}"
        )
    print("(evaluations: mean per fit; ratio: fits per second of the batch over those of this row)")


def _processor(warnings: list[str]) -> Iterable[str]:
    """Say what there is to compute on."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    whole = os.cpu_count() or count
    yield f"Cores          {count} for this process" + (f", of {whole}" if whole != count else "")
    yield f"Instructions   {kernels.INSTRUCTIONS}, of {', '.join(kernels.AVAILABLE)} (FASTBFGS_INSTRUCTIONS)"
    setting = os.environ.get("FASTBFGS_NUM_THREADS")
    if setting is None:
        yield f"Threads        up to {count} for the solver's own work (FASTBFGS_NUM_THREADS is not set)"
    elif setting.isdecimal() and int(setting) > 0:
        yield f"Threads        up to {setting} for the solver's own work (FASTBFGS_NUM_THREADS={setting})"
        if int(setting) > count:
            warnings.append(f"FASTBFGS_NUM_THREADS={setting} is more than the {count} cores of this process.")
    else:
        yield f"Threads        FASTBFGS_NUM_THREADS={setting!r}"
        # The measurement goes on without it.
        del os.environ["FASTBFGS_NUM_THREADS"]
        warnings.append(f"FASTBFGS_NUM_THREADS must be a positive integer; got {setting!r}. Unset it to use all cores.")
    if hasattr(os, "getloadavg"):
        load = os.getloadavg()[0]
        yield f"Load           {load:.2f} (mean of the last minute)"
        if load > count:
            warnings.append(
                f"{load:.1f} processes want to run and there are {count} cores: the figures are too low and "
                "their ratio is uncertain."
            )


def _blas_pools() -> list[tuple[str, int]]:
    """Return name and threads of each BLAS that is loaded; nothing if threadpoolctl cannot tell."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return []
    return [
        (f"{pool['internal_api']} {pool['version'] or ''} {_owner(pool['filepath'])}".strip(), pool["num_threads"])
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]


def _owner(path: str) -> str:
    """Return which package brings a library, as far as its folder tells."""
    folder = os.path.basename(os.path.dirname(path))
    return {"numpy.libs": "(NumPy's)", "scipy.libs": "(SciPy's)"}.get(folder, "")


def _blas(pools: list[tuple[str, int]], warnings: list[str]) -> Iterable[str]:
    """Say which BLAS there is and with how many threads, and what follows."""
    if pools:
        yield _listed("BLAS", [f"{name}: {count} thread{'s' if count > 1 else ''}" for name, count in pools])
        if all(count == 1 for _, count in pools):
            yield "               One thread suits short vectors."
            return
    else:
        found = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
        yield f"BLAS           threads unknown without threadpoolctl; {', '.join(found) or 'no variable set'}"
        if "OPENBLAS_NUM_THREADS=1" in found:
            return
    yield (
        "               Threads in BLAS make SciPy's L-BFGS-B up to 10 times slower on short vectors, since 1.15;\n"
        "               OPENBLAS_NUM_THREADS=1 cures it. fastbfgs itself calls no BLAS; your objective may."
    )


def _gpu() -> Iterable[str]:
    """Say what there is of a GPU, and when it is used."""
    yield "GPU            used if x0 is a CuPy array (not yet run on any)"
    yield f"               CUDA driver: {_cuda_driver()}"
    version = _version(OPTIONAL["cupy"])
    yield f"               CuPy: {version or 'not installed'}"


def _cuda_driver() -> str:
    """Return what the CUDA driver says of itself and its devices."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        if driver.cuInit(0):
            return "installed, but it finds no device it can use"
        version, count = ctypes.c_int(), ctypes.c_int()
        driver.cuDriverGetVersion(ctypes.byref(version))
        driver.cuDeviceGetCount(ctypes.byref(count))
        names = []
        for index in range(count.value):
            device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
            driver.cuDeviceGet(ctypes.byref(device), index)
            driver.cuDeviceGetName(name, len(name), device)
            names.append(name.value.decode(errors="replace"))
    except (OSError, AttributeError):
        return "none found"
    cuda = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    return f"{cuda}, {', '.join(names) or 'no device'}"


def _packages() -> Iterable[str]:
    """Say which optional packages are installed, without importing any."""
    versions = {name: _version(names) for name, names in OPTIONAL.items()}
    found = [f"{name} {version}" for name, version in versions.items() if version]
    yield f"Installed      {', '.join(found) or 'no optional package'}"
    absent = [name for name, version in versions.items() if not version]
    if absent:
        yield f"Not installed  {', '.join(absent)} (all optional)"


def _version(names: Iterable[str]) -> str | None:
    """Return the version of the first of the distributions that is installed."""
    for name in names:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _one_blas_thread() -> AbstractContextManager[Any]:
    from threadpoolctl import threadpool_limits

    limit: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limit


def _listed(label: str, entries: list[str]) -> str:
    """Return a label with its entries below each other."""
    return "\n".join(f"{label if i == 0 else '':<15}{entry}" for i, entry in enumerate(entries))
