"""What examples/pathfinder.py finds is true. (The compiled objectives there: `test_native.py`.)"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import fastbfgs
from tests import oracle

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_it_runs(capsys):
    runpy.run_path(str(EXAMPLES / "pathfinder.py"), run_name="__main__")
    assert "normal: 20 paths" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------------
# Pathfinder


@pytest.fixture
def example():
    """Return the names of pathfinder.py, its random numbers at their start."""
    return runpy.run_path(str(EXAMPLES / "pathfinder.py"))


@pytest.fixture
def found(example):
    """Return what it finds of the correlated normal."""
    return example["pathfinder"](example["normal"], starts(5))


def starts(n):
    return np.random.default_rng(0).uniform(-10.0, 10.0, (20, n))


def test_it_is_one_run_of_the_solver(example):
    calls = []

    def U(x):
        calls.append(len(x))
        return example["normal"](x)

    run = fastbfgs.minimize(example["normal"], starts(5), jac=True, options={"maxcor": example["J"]})
    paths, *_ = example["pathfinder"](U, starts(5))
    np.testing.assert_array_equal(paths.nit, run.nit)
    assert calls[:-2] == [20] * run.calls
    assert calls[-2:] == [(run.nit.sum() + 20) * example["DRAWS"], 20 * 4000]


def test_covariances_are_the_inverse_hessians(example, found):
    """By the formula, in the longest floating-point type."""
    paths, J = found[0], example["J"]
    mean, covariance = example["normals"](paths)
    for b in range(20):
        diagonal = np.ones((1, 5))
        for k in range(paths.nit[b] + 1):
            if k > 0:
                diagonal = example["next_diagonal"](diagonal, paths.s[k, b][None], paths.y[k, b][None])
            those = slice(max(1, k - J + 1), k + 1)
            expected = oracle.dense(paths.s[those, b], paths.y[those, b], diagonal[0])
            scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
            assert (abs(covariance[k, b] - expected) <= 1e-6 * scale).all()
            np.testing.assert_allclose(mean[k, b], paths.x[k, b] - covariance[k, b] @ paths.g[k, b], rtol=1e-12)
        assert np.isnan(mean[k + 1 :, b]).all() and np.isnan(covariance[k + 1 :, b]).all()


def test_the_diagonal_is_that_of_an_update(example):
    """Of the Hessian, by BFGS, of the diagonal before, which is scaled to fit the pair first."""
    rng = np.random.default_rng(1)
    a, s = rng.uniform(0.1, 10.0, (7, 4)), rng.standard_normal((7, 4))
    y = s + 0.3 * rng.standard_normal((7, 4))
    a, s, y = (v[(s * y).sum(axis=1) > 0.1] for v in (a, s, y))
    assert len(a) > 2
    for given, found, s_k, y_k in zip(a, example["next_diagonal"](a, s, y), s, y, strict=True):
        scaled = given * (s_k @ y_k) / (y_k @ (given * y_k))
        H = oracle.dense(s_k[None], y_k[None], scaled).astype(float)
        np.testing.assert_allclose(1.0 / found, np.diag(np.linalg.inv(H)), rtol=1e-9)


def test_every_elbo_is_minus_the_divergence(example, found):
    """Between normals the divergence is known, and the variance of its estimate by draws."""
    paths, elbo, *_ = found
    mean, covariance = example["normals"](paths)
    P, n = example["C_INVERSE"], 5
    errors = []
    for k, b in np.argwhere(np.isfinite(elbo)):
        M, d = covariance[k, b] @ P, mean[k, b] - example["CENTRE"]
        divergence = 0.5 * (np.trace(M) + d @ P @ d - n - np.linalg.slogdet(M)[1])
        L = np.linalg.cholesky(covariance[k, b])
        R = np.eye(n) - L.T @ P @ L
        variance = 0.5 * (R**2).sum() + ((L.T @ P @ d) ** 2).sum()
        errors.append((elbo[k, b] + divergence) / np.sqrt(variance / example["DRAWS"]))
    assert len(errors) == paths.nit.sum() + 20
    assert np.isneginf(elbo).sum() == elbo.size - len(errors)
    assert abs(np.mean(errors)) < 4.0 / np.sqrt(len(errors))
    assert 0.9 < np.std(errors) < 1.1 and np.abs(errors).max() < 6.0


def test_finds_a_normal(example, found):
    _, elbo, mean, covariance, sample = found
    b = elbo.max(axis=0).argmax()
    C, centre = example["C"], example["CENTRE"]
    deviations = np.sqrt(np.diag(C))
    scale = np.outer(deviations, deviations)
    assert abs(elbo.max()) < 0.05
    assert (abs(mean[b] - centre) < 0.05 * deviations).all()
    assert (abs(covariance[b] - C) < 0.3 * scale).all()
    # Of 4,000 draws, some of them more than once.
    assert (abs(sample.mean(axis=0) - centre) < 0.1 * deviations).all()
    assert (abs(np.cov(sample.T) - C) < 0.1 * scale).all()


def test_comes_near_a_banana(example):
    paths, elbo, _, _, sample = example["pathfinder"](example["banana"], starts(2))
    best, ends = elbo.max(axis=0), elbo[paths.nit, np.arange(20)]
    assert np.isfinite(best).all() and (best < 0.05).all()
    assert np.median(best) > np.median(ends) + 0.05, "the last normal is not the nearest"
    deviations = np.array([1.0, np.sqrt(2 * 0.3**2 + 0.5**2)])
    assert (abs(sample.mean(axis=0) - [0.0, 0.3]) < 0.1 * deviations).all()
    assert (abs(sample.std(axis=0) / deviations - 1.0) < 0.15).all()


# ----------------------------------------------------------------------------------------------
# Decays, with gradients by other libraries


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_decay(name, capsys):
    pytest.importorskip(name)
    example = runpy.run_path(str(EXAMPLES / f"decay_{name}.py"))
    true, result = example["main"](500)
    assert "500 fits in" in capsys.readouterr().out
    assert type(result.x) is type(true) and bool(result.success.all())
    assert (abs(np.asarray(result.x) - np.asarray(true)).mean(axis=0) < [0.02, 0.04, 0.02]).all()
