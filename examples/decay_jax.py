"""One model, many rows: a three-parameter decay, fitted to each row of data, with the gradient from JAX.

    pip install jax fastbfgs
    python examples/decay_jax.py              # 10,000 rows
    python examples/decay_jax.py 100000

The misfit is written for one row. `jax.value_and_grad` makes its gradient, `jax.vmap` takes both to all rows at once,
`jax.jit` compiles that, once: every call has all rows, those that have converged at their final point. (With
``compact=True`` they would leave, and each number of rows that are left be compiled anew.)
"""

import sys
import time

import jax
import jax.numpy as jnp
from scipy.optimize import Bounds

import fastbfgs

T = jnp.linspace(0.0, 4.0, 20)


def misfit(x, y):
    """Return 1/2 sum (a exp(-b t) + c - y)**2 of one row: x (3,), y (20,)."""
    a, b, c = x
    return 0.5 * ((a * jnp.exp(-b * T) + c - y) ** 2).sum()


fun = jax.jit(jax.vmap(jax.value_and_grad(misfit)))


def make_rows(count):
    """Return the true parameters (count, 3), and data (count, 20) with noise of 0.01."""
    parameters, noise = jax.random.split(jax.random.key(0))
    low, high = jnp.array([1.0, 0.5, 0.0]), jnp.array([2.0, 2.0, 1.0])
    true = jax.random.uniform(parameters, (count, 3), minval=low, maxval=high)
    a, b, c = true.T[:, :, None]
    return true, a * jnp.exp(-b * T) + c + 0.01 * jax.random.normal(noise, (count, 20))


def main(count=10_000):
    """Fit, and say how it went."""
    true, y = make_rows(count)
    bounds = Bounds([0.0, 0.0, -jnp.inf], jnp.inf)
    # JAX's float32: f is known to 1e-7 or so, and no better tolerance can be met.
    options = {"gtol": 1e-3, "ftol": 1e-6}
    start = time.perf_counter()
    result = fastbfgs.minimize(fun, jnp.ones_like(true), jac=True, batch_args=(y,), bounds=bounds, options=options)
    taken = time.perf_counter() - start
    error = abs(result.x - true).mean(axis=0)
    print(f"{count:,} fits in {taken:.2f} s, {result.calls} calls of fun, {1e6 * taken / count:.1f} us a fit")
    print(f"{result.success.mean():.2%} converged; mean error of a, b, c: {error.round(3)}")
    return true, result


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
