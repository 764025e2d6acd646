"""scikit-learn with its solver swapped: the same fits by SciPy's L-BFGS-B and by this package's.

    python -m benchmarks.sklearn_swap            # some minutes
    python -m benchmarks.sklearn_swap --rounds 1 --draws 0

`GaussianProcessRegressor` takes an optimizer; `LogisticRegression` calls `scipy.optimize.minimize`,
in whose place the other solver is put, with the same arguments.  What is timed is the whole fit, of
which the solver is a part; evaluations are those of scikit-learn's objective.  One fit is one draw: how the
evaluations compare shows over many data sets, counted only.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from benchmarks.measure import in_turn, ratio, seconds
from benchmarks.objectives import Array
from benchmarks.peers import require

# Ours first: where it cannot, the other need not.
SOLVERS = {"fastbfgs": "fastbfgs", "SciPy": "scipy.optimize"}


class Fit(NamedTuple):
    """What one fit came to.

    Attributes
    ----------
    minimum : float
        The objective's lowest value.
    parameters : ndarray
        Where it is.
    predictions : ndarray
        What the model says about data that it has not seen.
    evaluations : int
        How often the objective was asked.
    """

    minimum: float
    parameters: Array
    predictions: Array
    evaluations: int


class Counted:
    """A `minimize` that counts the calls of its objective, and keeps the lowest value found."""

    def __init__(self, minimize: Callable[..., Any]) -> None:
        self.minimize = minimize
        self.evaluations = 0
        self.lowest = np.inf

    def __call__(self, fun: Callable[..., Any], x0: Array, **keywords: Any) -> Any:
        def counted(x: Array, *args: Any) -> Any:
            self.evaluations += 1
            return fun(x, *args)

        result = self.minimize(counted, x0, **keywords)
        self.lowest = min(self.lowest, float(result.fun))
        return result


TIGHT = {"gtol": 1e-7, "ftol": 0.0}


def gaussian_process(
    minimize: Callable[..., Any],
    restarts: int = 0,
    options: dict[str, float] | None = None,
    samples: int = 200,
    seed: int = 0,
) -> Fit:
    """Fit samples of 30 features, each with a length of its own, of which four matter: 32 parameters in bounds."""
    gp = require("sklearn.gaussian_process")
    kernels = require("sklearn.gaussian_process.kernels")
    rng = np.random.default_rng(seed)
    x, unseen = rng.uniform(-1.0, 1.0, (samples, 30)), rng.uniform(-1.0, 1.0, (50, 30))
    y = np.sin(3.0 * x[:, 0]) + x[:, 1] ** 2 + 0.5 * x[:, 2] * x[:, 3] + 0.1 * rng.standard_normal(samples)
    counted = Counted(minimize)

    def optimizer(fun: Callable[..., Any], theta: Array, bounds: Array) -> tuple[Array, float]:
        result = counted(fun, theta, method="L-BFGS-B", jac=True, bounds=bounds, options=options)
        return result.x, result.fun

    kernel = kernels.ConstantKernel(1.0) * kernels.RBF(np.full(30, 2.0)) + kernels.WhiteKernel(0.1)
    model = gp.GaussianProcessRegressor(kernel, optimizer=optimizer, n_restarts_optimizer=restarts, random_state=0)
    model.fit(x, y)
    mean, deviation = model.predict(unseen, return_std=True)
    return Fit(counted.lowest, model.kernel_.theta, np.r_[mean, deviation], counted.evaluations)


def logistic_regression(minimize: Callable[..., Any], name: str, tol: float) -> Fit:
    """Fit half of a data set that comes with scikit-learn, its features scaled, with the usual L2 penalty."""
    x, y = getattr(require("sklearn.datasets"), f"load_{name}")(return_X_y=True)
    x = require("sklearn.preprocessing").StandardScaler().fit_transform(x)
    counted = Counted(minimize)
    model = require("sklearn.linear_model").LogisticRegression(tol=tol, max_iter=10_000)
    with mock.patch("scipy.optimize.minimize", counted):
        model.fit(x[::2], y[::2])
    parameters = np.r_[model.coef_.ravel(), model.intercept_]
    return Fit(counted.lowest, parameters, model.predict_proba(x[1::2]).ravel(), counted.evaluations)


TASKS: dict[str, Callable[[Callable[..., Any]], Fit]] = {
    "GaussianProcessRegressor, 200 x 30": partial(gaussian_process, restarts=0),
    "GaussianProcessRegressor, 200 x 30, two restarts": partial(gaussian_process, restarts=2),
    "GaussianProcessRegressor, 200 x 30, gtol = 1e-7": partial(gaussian_process, restarts=0, options=TIGHT),
    "LogisticRegression, breast cancer": partial(logistic_regression, name="breast_cancer", tol=1e-4),
    "LogisticRegression, breast cancer, tol = 1e-8": partial(logistic_regression, name="breast_cancer", tol=1e-8),
    "LogisticRegression, digits": partial(logistic_regression, name="digits", tol=1e-4),
    "LogisticRegression, digits, tol = 1e-8": partial(logistic_regression, name="digits", tol=1e-8),
}


def compare(task: Callable[[Callable[..., Any]], Fit], count: int) -> str:
    """Return the cells of one row, of ``count`` rounds."""
    solvers = {name: require(module).minimize for name, module in SOLVERS.items()}
    fits = {name: task(minimize) for name, minimize in solvers.items()}
    times = in_turn({name: partial(seconds, partial(task, minimize)) for name, minimize in solvers.items()}, count)
    theirs, ours = fits["SciPy"], fits["fastbfgs"]
    cells = [
        f"{1e3 * median(times['SciPy']):.3g} ms",
        f"{1e3 * median(times['fastbfgs']):.3g} ms",
        f"{ratio(times, 'SciPy', 'fastbfgs'):.2f}",
        str(theirs.evaluations),
        str(ours.evaluations),
        f"{(ours.minimum - theirs.minimum) / max(1.0, abs(theirs.minimum)):.1e}",
        f"{np.abs(ours.parameters - theirs.parameters).max():.1e}",
        f"{np.abs(ours.predictions - theirs.predictions).max():.1e}",
    ]
    return " | ".join(cells)


def over_draws(draws: int) -> str:
    """Say how many evaluations the Gaussian processes of `draws` data sets of 100 samples took, and who ended lower."""
    fits = {
        name: [gaussian_process(require(module).minimize, samples=100, seed=seed) for seed in range(draws)]
        for name, module in SOLVERS.items()
    }
    evaluations, minima = (
        {name: np.array([getattr(fit, field) for fit in of]) for name, of in fits.items()}
        for field in ("evaluations", "minimum")
    )
    apart = minima["fastbfgs"] - minima["SciPy"]
    same = np.abs(apart) < 1e-4 * np.maximum(1.0, np.abs(minima["SciPy"]))
    ours, theirs = evaluations["fastbfgs"], evaluations["SciPy"]
    return (
        f"GaussianProcessRegressor, 100 x 30, {draws} data sets: {ours.sum()} evaluations, SciPy {theirs.sum()}. "
        f"{same.sum()} end in the same optimum, with {ours[same].sum()} and {theirs[same].sum()}; in the others "
        f"ours is lower {int((apart < 0)[~same].sum())} times, SciPy's {int((apart > 0)[~same].sum())} times."
    )


def rows(count: int) -> Iterator[str]:
    """Yield the rows of the table."""
    for name, task in TASKS.items():
        print(f"fitting: {name}", file=sys.stderr)
        try:
            yield f"| {name} | {compare(task, count)} |"
        except NotImplementedError as missing:
            print(f"skipped {name}: {missing}", file=sys.stderr)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sklearn_swap", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="fits of each solver that are timed")
    parser.add_argument("--draws", type=int, default=24, help="data sets over which evaluations are counted")
    given = parser.parse_args()
    print("Largest differences of our answers from SciPy's; that of the objective is signed, relative above 1.\n")
    print(
        "| fit | SciPy | fastbfgs | faster by | SciPy's evaluations | ours | objective | parameters | predictions |\n"
        + "|---" * 9
        + "|"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for row in rows(given.rounds):
            print(row, flush=True)
        if given.draws:
            print("\n" + over_draws(given.draws))


if __name__ == "__main__":
    main()
