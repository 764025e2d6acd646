"""The solvers that are compared, each behind one of two signatures, imported only when asked for.

`SINGLES` solve one problem from a Python callable; `BATCHES` solve B of them, and every single one
joins these as a loop; `DENSE` are BFGS with its n by n matrix, `ROUNDED` keeps its pairs in
float32, `LARGE` are those that are tried on very many variables.  `BOUNDED_SINGLES` and
`BOUNDED_BATCHES` are those that take bounds.  Compilation happens while a run is prepared, never
while it is timed.  All stop at max|g| <= gtol, g being
projected where there are bounds, or as near to it as their own test allows (said beside each).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.objectives import Array, Batch, Box, value_in


class Stop(NamedTuple):
    """When to stop, and how much to remember.

    Attributes
    ----------
    gtol : float
        Stop at max|g| <= gtol.
    maxiter : int
        Iterations of a member.
    history : int
        Pairs of L-BFGS.
    ftol : float
        Relative decrease, where the solver has SciPy's test; elsewhere there is none.
    evaluations : int or None
        Where known, the evaluations a run takes: NLopt, which has no gradient test and no limit of
        iterations, then stops there, and is not charged for a test of ours.
    """

    gtol: float = 1e-6
    maxiter: int = 500
    history: int = 10
    ftol: float = 0.0
    evaluations: int | None = None


class Single(NamedTuple):
    """One problem, ready: ``run()`` solves it, ``calls(count)`` only calls the objective."""

    run: Callable[[], Array]
    calls: Callable[[int], None]


class Solved(NamedTuple):
    """Minimisers (B, n), evaluations over all members, calls, members given up, iterations (B,); None: not known."""

    x: Array
    evaluations: int | None = None
    calls: int | None = None
    failed: int | None = None
    iterations: Array | None = None


Function = Callable[[Array], tuple[float, Array]]
SinglePeer = Callable[[Function, Array, Stop], Single]
BatchPeer = Callable[[Batch, Stop], Callable[[], Solved]]


def require(module: str) -> Any:
    """Import ``module``, or skip the benchmark (asv's NotImplementedError)."""
    try:
        return importlib.import_module(module)
    except (ImportError, AttributeError, RuntimeError) as error:  # the latter two: a version it does not know
        raise NotImplementedError(f"{module} does not import: {error}") from error


class BoundedSinglePeer(Protocol):
    """A `SinglePeer` that also takes bounds."""

    def __call__(self, fun: Function, x0: Array, stop: Stop, box: Box | None = None) -> Single: ...


def scipy_options(stop: Stop, method: str = "L-BFGS-B") -> dict[str, Any]:
    """Return the options of SciPy's `method`, which are also this package's."""
    if method == "BFGS":
        return {"gtol": stop.gtol, "maxiter": stop.maxiter}
    return {
        "maxcor": stop.history,
        "gtol": stop.gtol,
        "ftol": stop.ftol,
        "maxiter": stop.maxiter,
        "maxfun": 20 * stop.maxiter,
    }


def _calls(fun: Callable[..., Any], *args: Any) -> Callable[[int], None]:
    def calls(count: int) -> None:
        for _ in range(count):
            fun(*args)

    return calls


# ---------------------------------------------------------------------------- one problem


def scipy_face(module: str, method: str, pairs: str | None = None, **further: Any) -> BoundedSinglePeer:
    """Return SciPy's `minimize`, or this package's, which is called alike but for ``pairs`` and ``further``."""

    def prepare(fun: Function, x0: Array, stop: Stop, box: Box | None = None) -> Single:
        minimize = require(module).minimize
        keywords = {
            "jac": True,
            "method": method,
            "options": scipy_options(stop, method) | ({} if pairs is None else {"pairs": pairs}),
            **scipy_bounds(box),
            **further,
        }

        def run() -> Array:
            return minimize(fun, x0, **keywords).x

        return Single(run, _calls(fun, x0))

    return prepare


def scipy_bounds(box: Box | None) -> dict[str, Any]:
    """Return the bounds in SciPy's words, as a keyword if there are any."""
    return {} if box is None else {"bounds": require("scipy.optimize").Bounds(*box)}


def pylbfgs(fun: Callable, x0: Array, stop: Stop) -> Single:
    """liblbfgs through PyLBFGS; stops at ||g||_2 <= gtol max(1, ||x||_2) / sqrt(n)."""
    lbfgs = require("lbfgs")

    def native(x: Array, g: Array) -> float:
        f, g[:] = fun(x)
        return f

    epsilon = stop.gtol / np.sqrt(x0.size)
    keywords = {"m": stop.history, "epsilon": epsilon, "max_iterations": stop.maxiter}

    def run() -> Array:
        try:
            return lbfgs.fmin_lbfgs(native, x0, **keywords)
        except lbfgs.LBFGSError:  # it keeps its last point to itself
            return np.full_like(x0, np.nan)

    return Single(run, _calls(native, x0, np.empty_like(x0)))


def nlopt_lbfgs(fun: Callable, x0: Array, stop: Stop, box: Box | None = None) -> Single:
    """NLopt's LD_LBFGS; our gradient test inside the callable, unless `Stop.evaluations` is set."""
    nlopt = require("nlopt")
    x0 = x0 if box is None else box.project(x0)  # a start outside is an error there
    best: list[Any] = [np.inf, x0]

    def plain(x: Array, grad: Array) -> float:
        f, grad[:] = fun(x)
        return f

    def tested(x: Array, grad: Array) -> float:
        f, g = fun(x)
        grad[:] = g
        slope = g if box is None else box.slope(x, g)
        small = abs(slope).max() <= stop.gtol
        if small or f < best[0]:  # a stopped or failed run returns no point
            best[:] = f, x.copy()
        if small:
            raise nlopt.ForcedStop
        return f

    native = tested if stop.evaluations is None else plain

    def run() -> Array:
        best[:] = np.inf, x0
        solver = nlopt.opt(nlopt.LD_LBFGS, x0.size)
        solver.set_min_objective(native)
        if box is not None:
            solver.set_lower_bounds(box.lower)
            solver.set_upper_bounds(box.upper)
        solver.set_vector_storage(stop.history)
        solver.set_maxeval(stop.evaluations or 10 * stop.maxiter)
        try:
            return solver.optimize(x0)
        except (nlopt.ForcedStop, nlopt.RoundoffLimited, nlopt.runtime_error):
            return best[1]

    return Single(run, _calls(native, x0, np.empty_like(x0)))


def torch_lbfgs(fun: Callable, x0: Array, stop: Stop) -> Single:
    """torch.optim.LBFGS with strong Wolfe; NumPy closure, arrays shared with torch."""
    torch = require("torch")

    def run() -> Array:
        x = torch.from_numpy(x0.copy()).requires_grad_(True)
        view = x.detach().numpy()
        solver = torch.optim.LBFGS(
            [x],
            max_iter=stop.maxiter,
            max_eval=20 * stop.maxiter,
            tolerance_grad=stop.gtol,
            tolerance_change=0.0,
            history_size=stop.history,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            f, g = fun(view)
            x.grad = torch.from_numpy(g)
            return torch.tensor(f)

        solver.step(closure)
        return view

    return Single(run, _calls(fun, x0))


def lbfgsb_python(fun: Callable, x0: Array, stop: Stop) -> Single:
    """The pure-Python package lbfgsb; where its small matrices are not positive definite, it raises."""
    minimize = require("lbfgsb").minimize_lbfgsb
    options = scipy_options(stop)

    def run() -> Array:
        try:
            return minimize(fun=fun, x0=x0, jac=True, **options).x
        except np.linalg.LinAlgError:
            return np.full_like(x0, np.nan)

    return Single(run, _calls(fun, x0))


BOUNDED_SINGLES: dict[str, BoundedSinglePeer] = {
    "fastbfgs": scipy_face("fastbfgs", "L-BFGS-B"),
    "SciPy L-BFGS-B": scipy_face("scipy.optimize", "L-BFGS-B"),
    "NLopt LD_LBFGS": nlopt_lbfgs,
}

SINGLES: dict[str, SinglePeer] = {
    **BOUNDED_SINGLES,
    "PyLBFGS": pylbfgs,
    "torch LBFGS": torch_lbfgs,
    "lbfgsb (Python)": lbfgsb_python,
}

ROUNDED: dict[str, SinglePeer] = {"fastbfgs, float32 pairs": scipy_face("fastbfgs", "L-BFGS-B", pairs="float32")}

DENSE: dict[str, SinglePeer] = {
    "fastbfgs BFGS": scipy_face("fastbfgs", "BFGS"),
    "SciPy BFGS": scipy_face("scipy.optimize", "BFGS"),
}


LARGE: dict[str, SinglePeer] = {
    "fastbfgs, 1 thread": scipy_face("fastbfgs", "L-BFGS-B", workers=1),
    "fastbfgs, all threads": scipy_face("fastbfgs", "L-BFGS-B", workers=os.cpu_count()),
    "fastbfgs, 1 thread, float32 pairs": scipy_face("fastbfgs", "L-BFGS-B", workers=1, pairs="float32"),
    "fastbfgs, all threads, float32 pairs": scipy_face("fastbfgs", "L-BFGS-B", workers=os.cpu_count(), pairs="float32"),
    "SciPy L-BFGS-B": scipy_face("scipy.optimize", "L-BFGS-B"),
    "PyLBFGS": pylbfgs,
    "NLopt LD_LBFGS": nlopt_lbfgs,
    "torch LBFGS": torch_lbfgs,
}


# ---------------------------------------------------------------------------- many problems


def loop(single: Callable[..., Single], batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """Solve the members one after the other."""
    single = single if batch.box is None else partial(single, box=batch.box)
    single(batch.member(0), batch.x0[0], stop)

    def run() -> Solved:
        x = np.empty_like(batch.x0)
        for b, start in enumerate(batch.x0):
            x[b] = single(batch.member(b), start, stop).run()
        return Solved(x)

    return run


def thread_pool(single: Callable[..., Single], batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """Solve the members in as many Python threads as there are cores."""

    def solve(b: int) -> Array:
        return single(batch.member(b), batch.x0[b], stop).run()

    solve(0)  # imports

    def run() -> Solved:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return Solved(np.array(list(pool.map(solve, range(len(batch.x0))))))

    return run


def fastbfgs_batch(
    batch: Batch, stop: Stop, workers: int | None = 1, method: str = "L-BFGS-B", **further: Any
) -> Callable[[], Solved]:
    """This package, all members at once, finished ones leaving."""
    minimize = require("fastbfgs").minimize
    options = scipy_options(stop, method)

    def run() -> Solved:
        result = minimize(
            batch.fun,
            batch.x0,
            jac=True,
            method=method,
            options=options,
            batch_args=batch.data,
            compact=True,
            workers=workers,
            **scipy_bounds(batch.box),
            **further,
        )
        return Solved(result.x, int(result.nfev.sum()), int(result.calls), iterations=result.nit)

    return run


def fastbfgs_tfp(batch: Batch, stop: Stop, method: str = "lbfgs") -> Callable[[], Solved]:
    """This package, in TensorFlow Probability's words, on all threads."""
    minimize = getattr(require("fastbfgs"), f"{method}_minimize")
    options = _tfp_options(stop)
    if method == "bfgs":
        del options["num_correction_pairs"]
    newest: list[Any] = [None, ()]

    def with_data(x: Array, rows: Array) -> tuple[Array, Array]:
        if rows is not newest[0]:
            whole = len(rows) == len(batch.x0)
            newest[:] = rows, batch.data if whole else tuple(array[rows] for array in batch.data)
        return batch.fun(x, *newest[1])

    fun = with_data if batch.data else batch.fun

    def run() -> Solved:
        result = minimize(fun, batch.x0, compact=True, **options)
        evaluations, failed = int(result.member_evaluations.sum()), int(result.failed.sum())
        return Solved(result.position, evaluations, result.num_objective_evaluations, failed)

    return run


def fastbfgs_compiled(
    batch: Batch, stop: Stop, workers: int | None = 1, method: str = "L-BFGS-B"
) -> Callable[[], Solved]:
    """This package, Rosenbrock's chain compiled: whole runs without the interpreter."""
    minimize, probe = require("fastbfgs").minimize, require("fastbfgs.kernels.probe")
    if batch.name != "rosenbrock" or not hasattr(probe, "__pyx_capi__"):
        raise NotImplementedError("only Rosenbrock's chain is there in compiled form")
    fun = probe.__pyx_capi__["rosenbrock" if batch.x0.dtype == np.float64 else "rosenbrock_f32"]
    keywords = {"method": method, "options": scipy_options(stop, method), **scipy_bounds(batch.box)}

    def run() -> Solved:
        result = minimize(fun, batch.x0, workers=workers, **keywords)
        return Solved(result.x, int(result.nfev.sum()), iterations=result.nit)

    return run


def fastbfgs_ask_tell(batch: Batch, stop: Stop, workers: int | None = 1) -> Callable[[], Solved]:
    """This package, through its Solver."""
    solver_class = require("fastbfgs").Solver

    def run() -> Solved:
        solver = solver_class(
            batch.x0,
            history=stop.history,
            gtol=stop.gtol,
            ftol=stop.ftol,
            maxiter=stop.maxiter,
            compact=True,
            workers=workers,
            **({} if batch.box is None else {"method": "L-BFGS-B", **scipy_bounds(batch.box)}),
        )
        calls = 0
        while solver.running:
            x = solver.ask()
            rows = solver.rows
            f, g = batch.fun(x, *(array[rows] for array in batch.data))
            solver.tell(f, g)
            calls += 1
        result = solver.result()
        return Solved(result.x, int(result.nfev.sum()), calls)

    return run


def scipy_stacked(batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """The folk trick: SciPy's L-BFGS-B once, over the sum of all objectives."""
    minimize = require("scipy.optimize").minimize
    shape = batch.x0.shape
    options = scipy_options(stop._replace(maxiter=10 * stop.maxiter))

    def total(x: Array) -> tuple[float, Array]:
        f, g = batch.fun(x.reshape(shape), *batch.data)
        return f.sum(), g.reshape(-1)

    def run() -> Solved:
        result = minimize(total, batch.x0.reshape(-1), jac=True, method="L-BFGS-B", options=options)
        return Solved(result.x.reshape(shape), shape[0] * result.nfev, result.nfev)

    return run


def botorch_batched(batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """BoTorch's fmin_l_bfgs_b_batched: SciPy's compiled steps, one Python state per member."""
    fmin = require("botorch.optim.batched_lbfgs_b").fmin_l_bfgs_b_batched

    def fun(x: Array, batch_indices: list[int]) -> tuple[Array, Array]:
        return batch.fun(x, *(array[batch_indices] for array in batch.data))

    with_data = bool(batch.data)
    bounds = None if batch.box is None else list(zip(*batch.box, strict=True))

    def run() -> Solved:
        x, _, _ = fmin(
            fun if with_data else batch.fun,
            batch.x0,
            bounds=bounds,
            maxcor=stop.history,
            factr=None,
            ftol=stop.ftol,
            pgtol=stop.gtol,
            maxiter=stop.maxiter,
            pass_batch_indices=with_data,
        )
        return Solved(np.asarray(x))

    return run


def _jax() -> Any:
    jax = require("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


def _vmapped(solve: Callable[..., tuple[Any, Any]], batch: Batch, lockstep: bool = False) -> Callable[[], Solved]:
    """Compile ``solve(x0, *row) -> x, evaluations`` for all members.

    ``lockstep``: one evaluation an iteration, so that the slowest member counts the calls.
    """
    jax = _jax()
    arrays = [jax.numpy.asarray(array) for array in (batch.x0, *batch.data)]
    compiled = jax.jit(jax.vmap(solve)).lower(*arrays).compile()

    def run() -> Solved:
        x, evaluations = jax.block_until_ready(compiled(*arrays))
        counts = np.asarray(evaluations)
        return Solved(np.asarray(x), int(counts.sum()), int(counts.max()) if lockstep else None)

    return run


def jaxopt_lbfgs(batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """JAXopt's LBFGS (zoom) under vmap and jit; stops at ||g||_2 <= gtol."""
    jax, jaxopt = _jax(), require("jaxopt")
    value = value_in(batch.name, jax.numpy)
    solver = jaxopt.LBFGS(
        jax.value_and_grad(value),
        value_and_grad=True,
        maxiter=stop.maxiter,
        tol=stop.gtol,
        history_size=stop.history,
        maxls=30,
        implicit_diff=False,
    )

    def solve(x0: Any, *row: Any) -> tuple[Any, Any]:
        x, state = solver.run(x0, *row)
        return x, state.num_fun_eval

    return _vmapped(solve, batch)


def optimistix_minimise(batch: Batch, stop: Stop, limited: bool) -> Callable[[], Solved]:
    """Optimistix' BFGS or LBFGS under vmap and jit, its Cauchy test replaced by max|g| <= gtol."""
    jax, optimistix = _jax(), require("optimistix")
    value = value_in(batch.name, jax.numpy)
    parent: Any = optimistix.LBFGS if limited else optimistix.BFGS

    class GradientTest(parent):
        def terminate(self, fn, y, args, options, state, tags):  # type: ignore[no-untyped-def]
            small = jax.numpy.max(jax.numpy.abs(state.f_info.grad)) <= stop.gtol
            return ~state.first_step & small, state.result

    solver = GradientTest(rtol=0.0, atol=0.0, **({"history_length": stop.history} if limited else {}))

    def solve(x0: Any, *row: Any) -> tuple[Any, Any]:
        solution = optimistix.minimise(
            lambda x, args: value(x, *args),
            solver,
            x0,
            args=row,
            max_steps=stop.maxiter,
            throw=False,
        )
        return solution.value, solution.stats["num_steps"]

    return _vmapped(solve, batch, lockstep=True)


def optax_lbfgs(batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """Optax' lbfgs (zoom) in a while_loop under vmap and jit."""
    jax, optax = _jax(), require("optax")
    value = value_in(batch.name, jax.numpy)
    search = optax.scale_by_zoom_linesearch(max_linesearch_steps=20, initial_guess_strategy="one")
    solver = optax.lbfgs(memory_size=stop.history, linesearch=search)
    tree = optax.tree

    def solve(x0: Any, *row: Any) -> tuple[Any, Any]:
        def at(x: Any) -> Any:
            return value(x, *row)

        evaluate = optax.value_and_grad_from_state(at)

        def body(carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            x, state, evaluations = carry
            f, g = evaluate(x, state=state)
            step, state = solver.update(g, state, x, value=f, grad=g, value_fn=at)
            trials = tree.get(state, "info").num_linesearch_steps
            return optax.apply_updates(x, step), state, evaluations + trials

        def unfinished(carry: tuple[Any, Any, Any]) -> Any:
            _, state, _ = carry
            count = tree.get(state, "count", filtering=_is_lbfgs_count)
            g = tree.get(state, "grad")
            large = jax.numpy.max(jax.numpy.abs(g)) > stop.gtol
            return (count == 0) | ((count < stop.maxiter) & large)

        x, _, evaluations = jax.lax.while_loop(unfinished, body, (x0, solver.init(x0), 1))
        return x, evaluations

    return _vmapped(solve, batch)


def _is_lbfgs_count(path: Any, value: Any) -> bool:
    del value
    return "ScaleByLBFGSState" in str(path[-1])


def tfp_tensorflow(batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """TensorFlow Probability's lbfgs_minimize, compiled by XLA."""
    tf, tfp = require("tensorflow"), require("tensorflow_probability")
    require("tf_keras")
    value = value_in(batch.name, require("tensorflow.experimental.numpy"))
    data = [tf.constant(array) for array in batch.data]

    def value_and_gradient(x: Any) -> Any:
        return tfp.math.value_and_gradient(lambda point: value(point, *data), x)

    @tf.function(jit_compile=True)
    def solve(x0: Any) -> Any:
        return tfp.optimizer.lbfgs_minimize(
            value_and_gradient,
            initial_position=x0,
            **_tfp_options(stop),
        )

    start = tf.constant(batch.x0)
    solve(start)

    def run() -> Solved:
        result = solve(start)
        calls, failed = int(result.num_objective_evaluations), int(np.sum(result.failed))
        return Solved(result.position.numpy(), calls * len(batch.x0), calls, failed)

    return run


def _tfp_options(stop: Stop) -> dict[str, Any]:
    """Return `stop` in the words of TensorFlow Probability."""
    return {
        "num_correction_pairs": stop.history,
        "tolerance": stop.gtol,
        "x_tolerance": 0.0,
        "f_relative_tolerance": 0.0,
        "max_iterations": stop.maxiter,
    }


def tfp_jax(batch: Batch, stop: Stop) -> Callable[[], Solved]:
    """TensorFlow Probability's lbfgs_minimize on JAX, where the two versions agree."""
    jax = _jax()
    tfp = require("tensorflow_probability.substrates.jax")
    value = value_in(batch.name, jax.numpy)

    def solve(x0: Any, *rows: Any) -> Any:
        def value_and_gradient(x: Any) -> Any:
            f, pull = jax.vjp(lambda point: value(point, *rows), x)
            return f, pull(jax.numpy.ones_like(f))[0]

        return tfp.optimizer.lbfgs_minimize(
            value_and_gradient,
            initial_position=x0,
            **_tfp_options(stop),
        )

    arrays = [jax.numpy.asarray(array) for array in (batch.x0, *batch.data)]
    compiled = jax.jit(solve).lower(*arrays).compile()

    def run() -> Solved:
        result = jax.block_until_ready(compiled(*arrays))
        calls, failed = int(result.num_objective_evaluations), int(np.sum(result.failed))
        return Solved(np.asarray(result.position), calls * len(batch.x0), calls, failed)

    return run


FASTBFGS = "fastbfgs, 1 thread"

BOUNDED_BATCHES: dict[str, BatchPeer] = {
    FASTBFGS: fastbfgs_batch,
    "fastbfgs, all threads": partial(fastbfgs_batch, workers=None),
    "fastbfgs ask/tell": fastbfgs_ask_tell,
    "BoTorch": botorch_batched,
} | {f"{name} loop": partial(loop, single) for name, single in BOUNDED_SINGLES.items()}

# Solver and objective in one compiled program: what an objective costs apart is not known.
JITTED: dict[str, BatchPeer] = {
    "JAXopt LBFGS": jaxopt_lbfgs,
    "Optimistix BFGS": partial(optimistix_minimise, limited=False),
    "Optimistix LBFGS": partial(optimistix_minimise, limited=True),
    "Optax lbfgs": optax_lbfgs,
    "TFP TF XLA": tfp_tensorflow,
    "TFP JAX": tfp_jax,
}

COMPILED: dict[str, BatchPeer] = {
    "fastbfgs compiled, 1 thread": fastbfgs_compiled,
    "fastbfgs compiled, all threads": partial(fastbfgs_compiled, workers=None),
}

BATCHES: dict[str, BatchPeer] = {
    FASTBFGS: fastbfgs_batch,
    "fastbfgs, all threads": partial(fastbfgs_batch, workers=None),
    **COMPILED,
    "fastbfgs ask/tell": fastbfgs_ask_tell,
    "fastbfgs lbfgs_minimize": fastbfgs_tfp,
    "fastbfgs BFGS, 1 thread": partial(fastbfgs_batch, method="BFGS"),
    "SciPy stacked": scipy_stacked,
    "SciPy thread pool": partial(thread_pool, SINGLES["SciPy L-BFGS-B"]),
    "BoTorch": botorch_batched,
    **JITTED,
} | {f"{name} loop": partial(loop, single) for name, single in SINGLES.items()}

# Solvers of other packages, by the first words of their names: the modules they need.
_NEEDS = {
    "fastbfgs": ("fastbfgs",),
    "SciPy": ("scipy.optimize",),
    "PyLBFGS": ("lbfgs",),
    "NLopt": ("nlopt",),
    "torch": ("torch",),
    "lbfgsb": ("lbfgsb",),
    "BoTorch": ("botorch.optim.batched_lbfgs_b",),
    "JAXopt": ("jax", "jaxopt"),
    "Optimistix": ("jax", "optimistix"),
    "Optax": ("jax", "optax"),
    "TFP TF": ("tensorflow", "tensorflow_probability", "tf_keras"),
    "TFP JAX": ("jax", "tensorflow_probability.substrates.jax"),
}


def needs(name: str) -> tuple[str, ...]:
    """Return the modules that the solver ``name`` imports."""
    return next(modules for words, modules in _NEEDS.items() if name.startswith(words))
