"""One model, many rows: a three-parameter decay, fitted to each row of data, with the gradient from PyTorch.

    pip install torch fastbfgs
    python examples/decay_torch.py            # 10,000 rows
    python examples/decay_torch.py 100000

The misfit is written for one row. `torch.func.grad_and_value` makes its gradient, `torch.func.vmap` takes both to all
rows at once; fastbfgs calls that with tensors, for the rows that have not converged, and returns tensors.
"""

import sys
import time

import torch
from scipy.optimize import Bounds

import fastbfgs

T = torch.linspace(0.0, 4.0, 20, dtype=torch.float64)


def misfit(x, y):
    """Return 1/2 sum (a exp(-b t) + c - y)**2 of one row: x (3,), y (20,)."""
    a, b, c = x
    return 0.5 * ((a * torch.exp(-b * T) + c - y) ** 2).sum()


def fun(x, y):
    """Return f (k,) and g (k, 3) of k rows. (PyTorch has the gradient first.)"""
    g, f = torch.func.vmap(torch.func.grad_and_value(misfit))(x, y)
    return f, g


def make_rows(count):
    """Return the true parameters (count, 3), and data (count, 20) with noise of 0.01."""
    generator = torch.Generator().manual_seed(0)
    low, high = torch.tensor([[1.0, 0.5, 0.0], [2.0, 2.0, 1.0]], dtype=torch.float64)
    true = low + (high - low) * torch.rand(count, 3, generator=generator, dtype=torch.float64)
    a, b, c = true.T[:, :, None]
    y = a * torch.exp(-b * T) + c + 0.01 * torch.randn(count, 20, generator=generator, dtype=torch.float64)
    return true, y


def main(count=10_000):
    """Fit, and say how it went."""
    true, y = make_rows(count)
    bounds = Bounds([0.0, 0.0, -float("inf")], float("inf"))
    start = time.perf_counter()
    result = fastbfgs.minimize(fun, torch.ones_like(true), jac=True, batch_args=(y,), bounds=bounds)
    taken = time.perf_counter() - start
    error = (result.x - true).abs().mean(dim=0)
    print(f"{count:,} fits in {taken:.2f} s, {result.calls} calls of fun, {1e6 * taken / count:.1f} us a fit")
    print(f"{result.success.double().mean():.2%} converged; mean error of a, b, c: {error.numpy().round(3)}")
    return true, result


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
