"""`python -m fastbfgs demo`: a cross-validated path of 1,000 logistic regressions, as one batch and by a SciPy loop.

Every fit minimises, over the slopes and the intercept of one fold at one strength,

    mean over training rows of log(1 + exp(-label * (slopes . row + intercept)))  +  strength / 2 * |slopes|^2

from zero, with the same formula, start, tolerance and history in both ways.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

import fastbfgs

FOLDS = 10
STRENGTHS = np.logspace(-5.0, 1.0, 100)

GTOL = 1e-7
"""On the mean loss. Both ways stop by the gradient alone, so that both leave the same error."""

OPTIONS = {"gtol": GTOL, "ftol": 0.0, "maxcor": 10, "maxiter": 15_000, "maxfun": 15_000}

LOSS_BOUND = 1e-3
"""How far apart the two validation losses of one fit may be; the least standard error over folds is 1e-2."""

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Fold:
    """Training and validation rows of one fold, m and v of them, as columns of p = features + 1 coordinates.

    Each column is ``-label * (row, 1)``: the loss of a row is ``log(1 + exp(w . column))``.
    """

    columns: np.ndarray  # (p, m)
    back: np.ndarray  # (m, p), columns.T / m: from the rows' slopes to the gradient of the mean
    mean: np.ndarray  # (m,), all 1 / m
    held_out: np.ndarray  # (p, v)


@dataclass
class Fits:
    """What one way of fitting found, member by member, and what it took."""

    x: np.ndarray
    fun: np.ndarray
    jac: np.ndarray
    nit: np.ndarray
    nfev: np.ndarray
    success: np.ndarray
    stops: Counter[str]
    calls: int
    seconds: float
    inside: float  # seconds of these in the objective


class Timed:
    """Count the calls of a function and the seconds spent there."""

    def __init__(self, fun: Callable[..., Any]) -> None:
        self.fun = fun
        self.calls = 0
        self.seconds = 0.0

    def __call__(self, *args: Any) -> Any:
        start = time.perf_counter()
        value = self.fun(*args)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return value


def run(every: int = 1, plot: str | None = "demo.png") -> int:
    """Fit both ways, print the comparison and draw the path.

    Parameters
    ----------
    every : int
        Take every so-many-th strength.
    plot : str, optional
        Where the picture goes; None draws none.

    Returns
    -------
    int
        Exit status: 0; 1 if a fit failed, the two ways disagree, or the picture cannot be written; 2 without
        scikit-learn.
    """
    try:
        folds = load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        print(
            'The demo takes its data from scikit-learn, which is not installed: pip install "fastbfgs[demo]"',
            file=sys.stderr,
        )
        return 2
    strengths = STRENGTHS[::every]
    members = FOLDS * len(strengths)
    p = len(folds[0].columns)
    print(
        f"Data       breast cancer, Wisconsin (scikit-learn): {_rows(folds):,} rows, {p - 1} features\n"
        f"Job        logistic regression, {FOLDS} folds x {len(strengths)} strengths from {strengths[0]:.2g} to "
        f"{strengths[-1]:.2g} = {members:,} fits of {p} parameters\n"
        f"Stop       every coordinate of the gradient at most {GTOL:g}\n"
        f"Versions   {_versions()}"
    )
    limit, before, note = _one_blas_thread()
    print(f"Threads    {note}\n", flush=True)
    with limit:
        batch = fit_batch(folds, strengths)
        loop = fit_loop(folds, strengths)
    as_set = _with_threads(folds, strengths, loop) if before > 1 else ""

    print()
    losses, hits = validate(folds, batch.x)
    loop_losses, _ = validate(folds, loop.x)
    best, simplest = choose(losses)
    _print_choice(strengths, losses, hits.sum(axis=0) / _rows(folds), same=choose(loop_losses) == (best, simplest))
    _print_costs(batch, loop, as_set)
    agree = _print_answers(strengths, batch, loop, losses, loop_losses)
    converged = bool(batch.success.all() and loop.success.all())
    drawn = plot is None or _draw(plot, strengths, losses)
    if not converged:
        print("FAILED: some fits did not converge.")
    if not agree:
        print("FAILED: the answers differ by more than allowed.")
    return 0 if converged and agree and drawn else 1


def load() -> list[Fold]:
    """Return the folds, standardised."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import StratifiedKFold

    features, classes = load_breast_cancer(return_X_y=True)
    labels = np.where(classes == 1, 1.0, -1.0)
    folds = []
    for train, held_out in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, classes):
        # Honest standardisation: a fold knows the mean and spread of its own training rows alone. (One matrix product
        # of all folds could serve too: standardising is affine, so each fold's goes into its slopes and intercept, and
        # weights of 0 mask its held-out rows. That is 11 % more rows and two masks, and takes 1.3 times as long as
        # a product for each fold.)
        centre, spread = features[train].mean(axis=0), features[train].std(axis=0)
        standard = np.column_stack([(features - centre) / spread, np.ones(len(features))])
        signed = -labels[:, None] * standard
        columns = np.ascontiguousarray(signed[train].T)
        m = len(train)
        folds.append(Fold(columns, signed[train] / m, np.full(m, 1.0 / m), np.ascontiguousarray(signed[held_out].T)))
    return folds


# Both objectives compute, for all rows of a fold at once,
#
#     z = w . column,  e = exp(z),  loss = mean of log(1 + e),  gradient = mean of e / (1 + e) * column.
#
# One exponential and one logarithm per row. log(1 + e) is off by at most 1.1e-16 where log1p is exact, which is nothing
# to a mean loss above 1e-3, and it reuses the 1 + e of the gradient; np.logaddexp takes 46 ns per row where all of this
# takes 7.3. For z beyond 709 e is infinite, a step too far for fastbfgs; |z| stays below 350 here.
#
# The floor, in ns per row and member with 100 members of a fold (AVX-512 at 2.3 GHz, one thread): the two matrix
# products 3.5, exp 1.1, log 1.3, the division 0.7, the sum and the mean 0.5; so 7.2, or 3.7 us per evaluation of 512
# rows. With the last few members of a fold, NumPy's cost per call comes on top, 1 us for each of ten calls; over the
# whole run it is 4.9 us.


def batch_objective(folds: Sequence[Fold], most: int) -> Callable[..., Pair]:
    """Return the objective of many members at once, at most `most` of a fold."""
    size = most * max(len(fold.mean) for fold in folds)
    z_space, e_space = np.empty(size), np.empty(size)

    def losses(w: np.ndarray, fold: np.ndarray, strength: np.ndarray) -> Pair:
        """Return f (k,) and g (k, p) at the points w (k, p) of members sorted by fold (k,)."""
        f, g = np.empty(len(w)), np.empty_like(w)
        ends = np.searchsorted(fold, np.arange(len(folds) + 1))
        for part, first, last in zip(folds, ends[:-1], ends[1:], strict=True):
            if first == last:
                continue
            shape = last - first, len(part.mean)
            z = z_space[: shape[0] * shape[1]].reshape(shape)
            e = e_space[: shape[0] * shape[1]].reshape(shape)
            np.matmul(w[first:last], part.columns, out=z)
            np.exp(z, out=e)
            np.add(e, 1.0, out=z)
            e /= z
            np.matmul(e, part.back, out=g[first:last])
            np.log(z, out=z)
            np.matmul(z, part.mean, out=f[first:last])
        pull = w * strength[:, None]
        pull[:, -1] = 0.0
        g += pull
        f += 0.5 * np.einsum("ij,ij->i", pull, w)
        return f, g

    return losses


def single_objective(w: np.ndarray, part: Fold, strength: float) -> tuple[float, np.ndarray]:
    """Return f and g (p,) of one member at w (p,): the same sums in as few NumPy calls."""
    e = np.exp(w @ part.columns)
    d = e + 1.0
    e /= d
    g = e @ part.back
    np.log(d, out=d)
    pull = w * strength
    pull[-1] = 0.0
    g += pull
    return d @ part.mean + 0.5 * (pull @ w), g


def fit_batch(folds: Sequence[Fold], strengths: np.ndarray, show: bool = True) -> Fits:
    """Fit every fold at every strength in one call."""
    fold = np.repeat(np.arange(len(folds)), len(strengths))
    strength = np.tile(strengths, len(folds))
    x0 = np.zeros((len(fold), len(folds[0].columns)))
    start = time.perf_counter()
    fun = Timed(batch_objective(folds, len(strengths)))
    display = Display("fastbfgs, one batch", len(fold)) if show else None
    result = fastbfgs.minimize(fun, x0, jac=True, batch_args=(fold, strength), options=OPTIONS, progress=display)
    seconds = time.perf_counter() - start
    if display:
        display.close()
    return Fits(
        result.x, result.fun, result.jac, result.nit, result.nfev, result.success,
        Counter(result.message.tolist()), fun.calls, seconds, fun.seconds,
    )  # fmt: skip


def fit_loop(
    folds: Sequence[Fold],
    strengths: np.ndarray,
    order: Sequence[int] | None = None,
    limit: float = float("inf"),
) -> Fits:
    """Fit with SciPy, one after another: all and show it, or those in `order` until `limit` seconds are over."""
    from scipy.optimize import minimize

    members = range(len(folds) * len(strengths)) if order is None else order
    start = time.perf_counter()
    fun = Timed(single_objective)
    display = Display("SciPy, one by one", len(members)) if order is None else None
    results = []
    for member in members:
        fold, strength = divmod(member, len(strengths))
        x0 = np.zeros(len(folds[0].columns))
        args = (folds[fold], strengths[strength])
        results.append(minimize(fun, x0, args, method="L-BFGS-B", jac=True, options=OPTIONS))
        if display:
            display(len(results), len(members), fun.calls)
        if time.perf_counter() - start > limit:
            break
    seconds = time.perf_counter() - start
    if display:
        display.close()
    x, value, jac, nit, nfev, success = (
        np.array([result[name] for result in results]) for name in ("x", "fun", "jac", "nit", "nfev", "success")
    )
    stops = Counter(result.message for result in results)
    return Fits(x, value, jac, nit, nfev, success, stops, fun.calls, seconds, fun.seconds)


def validate(folds: Sequence[Fold], x: np.ndarray) -> Pair:
    """Return mean loss and correct answers on the held-out rows, both (folds, strengths)."""
    losses, hits = [], []
    for part, w in zip(folds, x.reshape(len(folds), -1, x.shape[-1]), strict=True):
        z = w @ part.held_out
        losses.append(np.logaddexp(0.0, z).mean(axis=1))
        hits.append((z < 0.0).sum(axis=1))
    return np.array(losses), np.array(hits)


def choose(losses: np.ndarray) -> tuple[int, int]:
    """Return the strength of least mean loss, and the largest within one standard error of it (both as indices)."""
    mean, error = mean_and_error(losses)
    best = int(mean.argmin())
    return best, int(np.flatnonzero(mean <= mean[best] + error[best])[-1])


def mean_and_error(losses: np.ndarray) -> Pair:
    """Return mean over folds and its standard error, both (strengths,)."""
    return losses.mean(axis=0), losses.std(axis=0, ddof=1) / np.sqrt(len(losses))


class Display:
    """Show how far a run is: a tqdm bar on a terminal, else a line for every tenth; both to standard error."""

    def __init__(self, title: str, members: int) -> None:
        self.title, self.next = title, 0.1
        self.start = time.perf_counter()
        self.bar: Any = None
        if sys.stderr.isatty() and importlib.util.find_spec("tqdm"):
            from tqdm import tqdm

            self.bar = tqdm(total=members, desc=f"{title:<20}", unit=" fits")

    def __call__(self, finished: int, members: int, calls: int) -> None:
        """Show the state; in the form that `fastbfgs.minimize` calls `progress`."""
        if self.bar is not None:
            self.bar.update(finished - self.bar.n)
        elif finished >= self.next * members:
            seconds = time.perf_counter() - self.start
            print(f"{self.title:<20} {finished / members:4.0%}  {calls:>7,} calls  {seconds:6.2f} s", file=sys.stderr)
            self.next = (finished * 10 // members + 1) / 10

    def close(self) -> None:
        """Leave the display as it stands."""
        if self.bar is not None:
            self.bar.close()


def _rows(folds: Sequence[Fold]) -> int:
    return sum(part.held_out.shape[1] for part in folds)


def _versions() -> str:
    import scipy
    import sklearn

    return (
        f"fastbfgs {fastbfgs.__version__}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"scikit-learn {sklearn.__version__}, Python {platform.python_version()}"
    )


def _one_blas_thread() -> tuple[AbstractContextManager[Any], int, str]:
    """Return what limits BLAS to one thread, the number of threads before, and a sentence about it."""
    import scipy.optimize  # noqa: F401  (brings its own BLAS, which can be limited only once it is loaded)
    from threadpoolctl import threadpool_info, threadpool_limits  # comes with scikit-learn

    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    before = max((pool["num_threads"] for pool in pools), default=1)
    names = ", ".join(sorted({f"{pool['internal_api']} {pool['version']}" for pool in pools}))
    note = f"1 for BLAS ({names or 'none found'}), in both ways" + (f"; {before} before" if before > 1 else "")
    limit: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api="blas")
    return limit, before, note


def _with_threads(folds: Sequence[Fold], strengths: np.ndarray, loop: Fits) -> str:
    """Measure both ways with BLAS as the user has set it, SciPy on a sample, and say the outcome."""
    members = FOLDS * len(strengths)
    sample = np.random.default_rng(0).permutation(members)[:50].tolist()
    batch = fit_batch(folds, strengths, show=False)
    some = fit_loop(folds, strengths, order=sample, limit=3.0)
    guess = some.seconds / some.nfev.sum() * loop.nfev.sum()
    return (
        f"With BLAS threads as set before: one batch {batch.seconds:.3g} s, SciPy loop about {guess:.3g} s "
        f"(from {len(some.x)} fits), ratio {guess / batch.seconds:.1f}"
    )


def _print_choice(strengths: np.ndarray, losses: np.ndarray, accuracy: np.ndarray, same: bool) -> None:
    mean, error = mean_and_error(losses)
    print(f"{'Choice of strength':<36}{'strength':>12}{'validation loss':>20}{'accuracy':>12}")
    for label, index in zip(
        ("least mean validation loss", "largest within 1 standard error"), choose(losses), strict=True
    ):
        loss = f"{mean[index]:.4f} +- {error[index]:.4f}"
        print(f"  {label:<34}{strengths[index]:>12.3g}{loss:>20}{accuracy[index]:>12.2%}")
    print(f"  The fits of SciPy lead to {'the same' if same else 'ANOTHER'} choice.\n")


def _print_costs(batch: Fits, loop: Fits, as_set: str) -> None:
    print(f"{'Cost':<36}{'one batch':>12}{'SciPy loop':>12}{'ratio':>12}")

    def line(label: str, ours: float, scipys: float, form: str) -> None:
        print(f"  {label:<34}{ours:>12{form}}{scipys:>12{form}}{scipys / ours if ours else np.nan:>12.2f}")

    line("wall time, s", batch.seconds, loop.seconds, ".3f")
    line("  in the objective, s", batch.inside, loop.inside, ".3f")
    line("  in the solver, s", batch.seconds - batch.inside, loop.seconds - loop.inside, ".3f")
    line("calls of the objective", batch.calls, loop.calls, ",")
    line("evaluations, all fits together", int(batch.nfev.sum()), int(loop.nfev.sum()), ",")
    line("iterations, all fits together", int(batch.nit.sum()), int(loop.nit.sum()), ",")
    ours, scipys = 1e6 * batch.seconds / batch.nfev.sum(), 1e6 * loop.seconds / loop.nfev.sum()
    line("time per evaluation, us", ours, scipys, ".2f")
    shares = [run.inside / run.seconds for run in (batch, loop)]
    print(
        f"  Where the time goes: the objective takes {shares[0]:.0%} of the batch and {shares[1]:.0%} of the loop;\n"
        f"  were fastbfgs itself to take no time at all, the ratio would be {loop.seconds / batch.inside:.1f}.\n"
        "  Every fit starts at zero. Started from its neighbour's answer, SciPy needs a third fewer evaluations."
    )
    if as_set:
        print(f"  {as_set}")
    print()


def _print_answers(strengths: np.ndarray, batch: Fits, loop: Fits, losses: np.ndarray, loop_losses: np.ndarray) -> bool:
    """Print how far the answers are apart, and return whether they agree."""
    # Penalised losses are convex, with at least the curvature of the least strength: a gradient of norm |g| leaves the
    # slopes at most |g| / strength from the minimum.
    allowed = 2.0 * np.sqrt(batch.x.shape[1]) * GTOL / strengths[0]
    x_apart = float(np.abs(batch.x - loop.x).max())
    losses_apart = float(np.abs(losses - loop_losses).max())
    print(f"{'Largest difference of the answers':<36}{'difference':>12}{'allowed':>12}{'largest':>12}")
    for label, found, limit, size in (
        ("parameters", x_apart, allowed, np.abs(batch.x).max()),
        ("validation loss of a fit", losses_apart, LOSS_BOUND, losses.max()),
    ):
        print(f"  {label:<34}{found:>12.1e}{limit:>12.1e}{size:>12.3g}")
    mean_apart = np.abs(losses.mean(axis=0) - loop_losses.mean(axis=0)).max()
    print(f"  {'mean validation loss of a strength':<34}{mean_apart:>12.1e}")
    print(f"  {'minimum that was found':<34}{np.abs(batch.fun - loop.fun).max():>12.1e}\n")

    print(f"{'Stops':<36}{'one batch':>12}{'SciPy loop':>12}")
    for message in sorted(batch.stops | loop.stops):
        print(f"  {_short(message):<34}{batch.stops[message]:>12,}{loop.stops[message]:>12,}")
    gradients = [np.abs(run.jac).max() for run in (batch, loop)]
    print(f"  {'largest |gradient| left':<34}{gradients[0]:>12.2e}{gradients[1]:>12.2e}\n")
    return bool(x_apart <= allowed and losses_apart <= LOSS_BOUND)


def _short(message: str) -> str:
    """Return SciPy's message in the words of a table."""
    return {
        "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL": "gradient within gtol",
        "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH": "loss falls no further",
    }.get(message, message)


def cannot_draw(path: str) -> str | None:
    """Return why no picture can be written to `path`, in words; None if it can, or if there is no matplotlib anyway."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    formats = Figure().canvas.get_supported_filetypes()
    folder = os.path.dirname(path) or "."
    if _format(path) not in formats:
        return f"the picture must be of a kind that matplotlib writes, {', '.join(sorted(formats))}; got {path}"
    if os.path.isdir(path) or not (os.path.isdir(folder) and os.access(folder, os.W_OK)):
        return f"the picture must go into a file in a folder that can be written to; got {path}"
    return None


def _format(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower() or "png"


def _draw(path: str, strengths: np.ndarray, losses: np.ndarray) -> bool:
    """Draw validation loss against strength, and return whether the picture could be written."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        print('Picture    none: matplotlib is not installed (pip install "fastbfgs[plot]")')
        return True
    mean, error = mean_and_error(losses)
    best, simplest = choose(losses)
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    axes.plot(strengths, mean, color="C0", linewidth=2.0, zorder=3, label=f"mean of {len(losses)} folds")
    axes.fill_between(strengths, mean - error, mean + error, color="C0", alpha=0.25, label="± 1 standard error")
    for fold, line in enumerate(losses):
        axes.plot(strengths, line, color="0.7", linewidth=0.8, zorder=1, label="each fold" if fold == 0 else None)
    for index, marker, label in (
        (best, "o", "least mean loss, at {:.2g}"),
        (simplest, "s", "largest strength within 1 standard error, {:.2g}"),
    ):
        axes.plot(strengths[index], mean[index], marker, color="C3", zorder=4, label=label.format(strengths[index]))
    axes.set(
        xlabel="strength of the penalty",
        ylabel="validation loss (mean per row)",
        title=f"{losses.size:,} logistic regressions in one call of fastbfgs.minimize",
        xlim=(strengths[0] / 2.0, strengths[-1] * 2.0),  # before the scale, which wants some of one strength, too
        xscale="log",
        yscale="log",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    try:
        figure.savefig(path, format=_format(path))
    except OSError as error:
        print(f"FAILED: the picture cannot be written to {path}: {error.strerror}")
        return False
    print(f"Picture    {path}")
    return True
