"""Test and measure on a GPU, and write what was seen to one file.

    python -m benchmarks.gpu                     # about ten minutes; needs a GPU and CuPy
    python -m benchmarks.gpu --quick             # about two
    python -m benchmarks.gpu --out figures.json

First the tests of tests/gpu.py: if one fails, or is skipped, nothing is measured, and the exit
status is 1.  Then the solver's time a call, beside the time that its bytes take at the bandwidth of
a copy, measured in the same run; whole batches, beside this machine's cores, and beside JAXopt and
Optimistix where a JAX for CUDA is installed; and large problems, beside torch's LBFGS if that is installed,
and beside the CPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import Bounds

import fastbfgs
from benchmarks.objectives import Batch, rosenbrock, rosenbrock_batch
from benchmarks.peers import BATCHES, Stop

DTYPE = np.float32
M = 10


def main() -> int:
    """Test, measure, write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller batches, fewer repetitions")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="the file to write")
    given = parser.parse_args()
    tests = tested()
    print(tests["summary"])
    if not tests["passed"]:
        print("a test failed or was skipped; nothing is measured")
        return 1
    figures = {"machine": machine(), "tests": tests["summary"], "quick": given.quick, **measured(given.quick)}
    given.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))
    return 0


def tested() -> dict[str, Any]:
    """Run the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/gpu.py"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-2000:])
    return {"summary": lines[-1], "passed": done.returncode == 0 and "skipped" not in lines[-1]}


def machine() -> dict[str, Any]:
    """Say what was measured on, and when."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    return {
        "device": properties["name"].decode(),
        "memory_bytes": int(properties["totalGlobalMem"]),
        "driver": runtime.driverGetVersion(),
        "cuda": runtime.runtimeGetVersion(),
        "cupy": cupy.__version__,
        "numpy": np.__version__,
        "others": {name: version(name) for name in ("torch", "jax") if find_spec(name)},
        "fastbfgs": fastbfgs.__version__,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def measured(quick: bool) -> dict[str, Any]:
    """Return all figures."""
    bandwidth = copy_bandwidth()
    members, fits, large = (10_000, 100_000, 10**6) if quick else (100_000, 1_000_000, 10**7)
    return {
        "copy_GB_per_s": bandwidth / 1e9,
        "call": [a_call(10_000, n, bandwidth) for n in (10, 100)],
        "batch": a_batch(members, 10),
        "fits": fits_in_cuda(fits),
        "large": a_large_problem(large, bandwidth),
        "large_bounded": beside_the_cpu("L-BFGS-B", large // 10, quick),
        "large_bfgs": beside_the_cpu("BFGS", 2_000 if quick else 8_000, quick),
    }


def seconds(task: Callable[[], Any], repetitions: int = 5) -> float:
    """Return the shortest of a few times, the device's work included."""
    import cupy

    best = np.inf
    for _ in range(repetitions):
        cupy.cuda.get_current_stream().synchronize()
        start = time.perf_counter()
        task()
        cupy.cuda.get_current_stream().synchronize()
        best = min(best, time.perf_counter() - start)
    return float(best)


def copy_bandwidth() -> float:
    """Return bytes a second, read and written, of copying a gibibyte."""
    import cupy

    a = cupy.ones(2**28, np.float32)
    b = cupy.empty_like(a)
    return 2 * a.nbytes / seconds(lambda: cupy.copyto(b, a), 10)


def valleys(x: Any) -> tuple[Any, Any]:
    """Rosenbrock, chained, for NumPy and CuPy."""
    d, e = x[:, 1:] - x[:, :-1] ** 2, 1.0 - x[:, :-1]
    g = 0.0 * x
    g[:, 1:] += 200.0 * d
    g[:, :-1] -= 400.0 * x[:, :-1] * d + 2.0 * e
    return (100.0 * d**2 + e**2).sum(axis=1), g


def starts(B: int, n: int) -> np.ndarray:
    """Return starts far from the minimum: at least 30 evaluations away, nearly all of them."""
    return (-1.0 + np.random.default_rng(0).normal(size=(B, n))).astype(DTYPE)


def moved_bytes(n: int) -> int:
    """Return what a member that accepts a step cannot but move: the pairs once, the vectors, and its record."""
    from fastbfgs.kernels.advance import RECORD

    return (2 * M * n + 4 * n + 2 * n + 7 * n) * DTYPE().itemsize + 2 * RECORD.itemsize + 16 * M


def a_call(B: int, n: int, bandwidth: float) -> dict[str, Any]:
    """Measure the solver's share of a call, with all members running and their memories full."""
    import cupy

    solver = fastbfgs.Solver(cupy.asarray(starts(B, n)), history=M, gtol=0.0, ftol=0.0, compact=False)
    times, host = [], []
    for call in range(30):
        f, g = valleys(solver.ask())
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        started = time.perf_counter()
        solver.tell(f, g)
        host.append(time.perf_counter() - started)
        end.record()
        end.synchronize()
        if call >= 12:  # ten steps, or nearly
            times.append(cupy.cuda.get_elapsed_time(begin, end) * 1e-3)
    least = B * moved_bytes(n) / bandwidth
    took = float(np.median(times))
    return {
        "B": B, "n": n, "m": M, "us": took * 1e6, "us_on_the_host": float(np.median(host)) * 1e6,
        "us_for_its_bytes": least * 1e6, "times_its_bytes": took / least,
    }  # fmt: skip


def a_batch(B: int, n: int) -> dict[str, Any]:
    """Measure whole runs, on the GPU and on the CPU."""
    import cupy

    x0 = starts(B, n)
    x0_there = cupy.asarray(x0)
    options = {"jac": True, "options": {"gtol": 1e-2, "ftol": 0.0}}
    result = fastbfgs.minimize(valleys, x0_there, **options)  # compiles
    there = seconds(lambda: fastbfgs.minimize(valleys, x0_there, **options), 3)
    here = seconds(lambda: fastbfgs.minimize(valleys, x0, **options), 1)
    return {
        "B": B, "n": n, "s": there, "s_on_the_cpu": here, "times_the_cpu": here / there,
        "calls": result.calls, "succeeded": float(result.success.mean()),
        "s_in_float64": beside_jitted(x0.astype(float), options) if runs_jax() else {},
    }  # fmt: skip


def runs_jax() -> bool:
    """Return whether JAX is installed, and has found the GPU."""
    return find_spec("jax") is not None and import_module("jax").default_backend() == "gpu"


def beside_jitted(x0: np.ndarray, options: dict[str, Any]) -> dict[str, float]:
    """Return our time, and those of the jitted solvers that are installed, compile time left out.

    In float64: Optimistix' LBFGS has no float32 where JAX has both.
    """
    import cupy

    batch, there = Batch("rosenbrock", x0, (), rosenbrock_batch, rosenbrock), cupy.asarray(x0)
    fastbfgs.minimize(valleys, there, **options)  # compiles
    times = {"fastbfgs": seconds(lambda: fastbfgs.minimize(valleys, there, **options), 3)}
    for name in ("JAXopt LBFGS", "Optimistix LBFGS", "Optimistix BFGS"):
        try:
            run = BATCHES[name](batch, Stop(gtol=1e-2, maxiter=1000, history=M))
        except NotImplementedError as missing:
            print(f"left out: {name}: {missing}")
            continue
        times[name] = seconds(run, 2)
    return times


DECAY = """
    template <typename T>
    __device__ double objective(long long member, long long n, const T *x, T *g, const T *t, const T *y, long long m) {
        double f = 0.0, g0 = 0.0, g1 = 0.0, g2 = 0.0;
        for (long long i = 0; i < m; i++) {
            const double e = exp(-x[1] * t[i]), r = x[0] * e + x[2] - y[member * m + i];
            f += 0.5 * r * r;
            g0 += r * e;
            g1 -= r * x[0] * t[i] * e;
            g2 += r;
        }
        g[0] = (T)g0, g[1] = (T)g1, g[2] = (T)g2;
        return f;
    }
"""


def fits_in_cuda(B: int, points: int = 32) -> dict[str, Any]:
    """Measure fits of a decay, on an objective in CUDA and on one of CuPy's."""
    import cupy

    rng = np.random.default_rng(0)
    t = np.linspace(0.0, 3.0, points, dtype=DTYPE)
    truth = rng.uniform(0.5, 2.0, (B, 3)).astype(DTYPE)
    noise = 0.01 * rng.normal(size=(B, points))
    y = (truth[:, :1] * np.exp(-truth[:, 1:2] * t) + truth[:, 2:] + noise).astype(DTYPE)
    t, y, x0 = cupy.asarray(t), cupy.asarray(y), cupy.ones((B, 3), DTYPE)

    def fun(x: Any, y: Any) -> tuple[Any, Any]:
        e = cupy.exp(-x[:, 1:2] * t)
        r = x[:, :1] * e + x[:, 2:] - y
        slope = -x[:, :1] * t * e
        g = cupy.stack([(r * e).sum(axis=1), (r * slope).sum(axis=1), r.sum(axis=1)], axis=1)
        return 0.5 * (r * r).sum(axis=1), g

    options = {"gtol": 1e-3, "ftol": 0.0}
    objective = fastbfgs.CudaObjective(DECAY, t, y, points)
    result = fastbfgs.minimize(objective, x0, options=options)  # compiles
    fused = seconds(lambda: fastbfgs.minimize(objective, x0, options=options), 3)
    called = seconds(lambda: fastbfgs.minimize(fun, x0, jac=True, batch_args=(y,), options=options), 3)
    return {
        "B": B, "points": points, "s": fused, "s_by_cupy": called, "times_cupy": called / fused,
        "succeeded": float(result.success.mean()),
    }  # fmt: skip


def a_large_problem(n: int, bandwidth: float) -> dict[str, Any]:
    """Measure an iteration of one problem, with a function that costs little."""
    import cupy

    scale = cupy.linspace(1.0, 1e3, n, dtype=DTYPE)

    def fun(x: Any) -> tuple[Any, Any]:
        g = scale * x
        return 0.5 * (g * x).sum(), g

    x0 = cupy.ones(n, DTYPE)
    options = {"maxiter": 40, "gtol": 0.0, "ftol": 0.0, "maxcor": M}

    def run() -> Any:
        return fastbfgs.minimize(fun, x0, jac=True, method="L-BFGS", options=options)

    result = run()
    took = seconds(run, 2) / result.nit
    least = 4 * M * n * DTYPE().itemsize / bandwidth
    figures = {"n": n, "m": M, "ms_an_iteration": took * 1e3, "ms_to_read_4mn": least * 1e3, "ratio": took / least}
    if find_spec("torch") is not None:
        figures["ms_an_iteration_torch"] = torchs(n) * 1e3
    return figures


def beside_the_cpu(method: str, n: int, quick: bool) -> dict[str, Any]:
    """Measure an iteration of one problem that all blocks share as kernels/grid.cuh says, here and on the CPU."""
    import cupy

    centre = np.random.default_rng(0).normal(size=n).astype(DTYPE)
    bounds = Bounds(-0.5, 0.5) if method == "L-BFGS-B" else None
    options = {"maxiter": 10 if quick else 30, "gtol": 0.0}

    def an_iteration(xp: Any) -> float:
        c = xp.asarray(centre)

        def fun(x: Any) -> tuple[Any, Any]:
            d = x - c
            e = d[1:] - d[:-1]
            g = d + d**3
            g[1:] += 3.0 * e
            g[:-1] -= 3.0 * e
            return 0.5 * (d * d).sum() + 0.25 * (d**4).sum() + 1.5 * (e * e).sum(), g

        def run() -> Any:
            return fastbfgs.minimize(fun, xp.zeros(n, DTYPE), jac=True, method=method, bounds=bounds, options=options)

        return seconds(run, 2) / run().nit

    ours, theirs = an_iteration(cupy), an_iteration(np)
    return {
        "n": n, "method": method, "ms_an_iteration": ours * 1e3, "ms_on_the_cpu": theirs * 1e3,
        "times_the_cpu": theirs / ours,
    }  # fmt: skip


def torchs(n: int) -> float:
    """Return the time of an iteration of torch's LBFGS on the same problem."""
    import torch

    scale = torch.linspace(1.0, 1e3, n, device="cuda")
    x = torch.ones(n, device="cuda")
    optimizer = torch.optim.LBFGS([x], max_iter=40, history_size=M, line_search_fn="strong_wolfe", tolerance_grad=0.0)

    def closure() -> Any:
        x.grad = scale * x
        return 0.5 * (x.grad * x).sum()

    torch.cuda.synchronize()
    start = time.perf_counter()
    optimizer.step(closure)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / optimizer.state[x]["n_iter"]


if __name__ == "__main__":
    sys.exit(main())
