"""Several members side by side: the bits that each gets alone, under every instruction set that runs here."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import LowLevelCallable
from scipy.optimize import Bounds

import fastbfgs
from fastbfgs import kernels
from fastbfgs.kernels import probe
from tests.problems import by_name
from tests.test_lbfgs import gradient, pairs

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_size = pytest.mark.parametrize("n", [*range(1, 18), 24, 31, 32])
TILE = 8


def member(n: int, k: int, m: int, dtype: type, rng: np.random.Generator, h0: np.ndarray | None) -> probe.Learnt:
    """Return a member that has learnt k pairs, where some of g is 0 and -0."""
    g = gradient(n, dtype, rng)
    g[rng.random(n) < 0.2] = 0.0
    g[rng.random(n) < 0.2] = -0.0
    return probe.Learnt(np.zeros_like(g), g, *pairs(n, k, dtype, rng), m, h0)


def assert_as_alone(members: list[probe.Learnt]) -> None:
    """Hold what the members get together against what each gets alone, bit for bit."""
    alone = [each.direction() for each in members]
    together = probe.directions(members)
    assert len(together) == len(members)
    for (p, slope), (p_alone, slope_alone) in zip(together, alone, strict=True):
        if np.isfinite(slope_alone):
            assert p.tobytes() == p_alone.tobytes()
            assert slope == slope_alone
        else:  # p is given up
            assert not np.isfinite(slope)


@DTYPES
@each_size
def test_each_gets_what_it_gets_alone(n, dtype):
    rng = np.random.default_rng([n, 11])
    for m in (1, 3, 10):
        for count in range(1, TILE + 1):
            assert_as_alone([member(n, 2 * m + 1, m, dtype, rng, None) for _ in range(count)])


@DTYPES
@each_size
def test_members_may_have_different_numbers_of_pairs(n, dtype):
    rng = np.random.default_rng([n, 12])
    for m in (2, 5, 10):
        for _ in range(5):
            counts = rng.integers(1, 2 * m + 3, TILE)
            assert_as_alone([member(n, k, m, dtype, rng, None) for k in counts])


@DTYPES
@each_size
def test_a_given_diagonal_replaces_gamma(n, dtype):
    rng = np.random.default_rng([n, 13])
    h0 = (10.0 ** rng.uniform(-2, 2, (TILE, n))).astype(dtype)
    for k in (1, 3, 6):
        assert_as_alone([member(n, k, 4, dtype, rng, h0[0]) for _ in range(TILE)])
        assert_as_alone([member(n, k + i % 2, 4, dtype, rng, h0[i]) for i in range(TILE)])


def test_an_overflow_stays_where_it_is():
    rng = np.random.default_rng(14)
    members = [member(4, k, 5, np.float64, rng, None) for k in range(1, TILE + 1)]
    s, y = pairs(4, 3, np.float64, rng)
    members[3] = probe.Learnt(np.zeros(4), 1e300 * gradient(4, np.float64, rng), s * 1e100, y * 1e100, 5)
    members[5] = probe.Learnt(np.zeros(4), 1e300 * gradient(4, np.float64, rng), s * 1e10, y * 1e-130, 5)
    assert [each.count for each in members] == [1, 2, 3, 3, 5, 3, 5, 5]
    assert [bool(np.isfinite(each.direction()[1])) for each in members].count(False) == 2
    assert_as_alone(members)


# ----------------------------------------------------------------------------------------------
# Instruction sets


def digests() -> list[str]:
    """Return one digest for each of some runs that between them pass through all of `advance`."""
    found = []
    for name in ("trigonometric_10", "dixon_price_10", "engval1_100"):
        problem = by_name(name)
        for dtype in (np.float64, np.float32):
            rng = np.random.default_rng(15)
            x0 = (problem.x0 + 0.1 * rng.normal(size=(30, problem.n))).astype(dtype)
            fun = lambda x, problem=problem: tuple(v.astype(x.dtype) for v in problem.fun(x))  # noqa: E731
            for keywords in (
                {"method": "L-BFGS-B"},
                {"method": "BFGS"},
                {"method": "L-BFGS-B", "bounds": Bounds(x0[0] - 1, x0[0] + 0.3)},
            ):
                options = {"maxiter": 60}
                found.append(digest(fastbfgs.minimize(fun, x0, jac=True, workers=1, options=options, **keywords)))
    for n in (1, 2, 3, 7, 10, 15, 25, 32, 33, 50):
        x0 = np.random.default_rng(16).uniform(-2, 2, (40, n))
        fun = LowLevelCallable.from_cython(probe, "rosenbrock")
        found.append(digest(fastbfgs.minimize(fun, x0, method="L-BFGS-B", options={"maxiter": 60})))
        fun = LowLevelCallable.from_cython(probe, "rosenbrock_f32")
        found.append(digest(fastbfgs.minimize(fun, x0.astype(np.float32), method="L-BFGS-B", options={"maxiter": 60})))
    return found


def digest(result: fastbfgs.BatchResult) -> str:
    parts = (result.x, result.fun, result.jac, result.nit, result.nfev, result.status)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def under(instructions: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the kernels of these instructions."""
    environment = {**os.environ, "FASTBFGS_INSTRUCTIONS": instructions}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("instructions", kernels.AVAILABLE)
def test_every_instruction_set_gives_the_same_bits(instructions):
    done = under(
        instructions,
        "from fastbfgs import kernels; from fastbfgs.kernels import advance; from tests.test_tile import digests;"
        "print(kernels.INSTRUCTIONS, advance.__file__, *digests(), sep='\\n')",
    )
    assert done.returncode == 0, done.stderr
    name, file, *found = done.stdout.splitlines()
    assert name == instructions
    assert (os.path.basename(os.path.dirname(file)) == instructions) == (instructions != "baseline")
    assert found == digests()


def test_the_widest_is_in_use():
    given = os.environ.get("FASTBFGS_INSTRUCTIONS")
    assert given == kernels.INSTRUCTIONS or (not given and kernels.AVAILABLE[0] == kernels.INSTRUCTIONS)


def test_an_instruction_set_that_is_not_there_is_refused():
    done = under("mmx", "import fastbfgs")
    assert done.returncode != 0
    assert "FASTBFGS_INSTRUCTIONS must be one of" in done.stderr
    assert "got 'mmx'" in done.stderr
