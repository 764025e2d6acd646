"""SciPy's face: `minimize`, and `lbfgs`, `lbfgsb`, `bfgs` for ``scipy.optimize.minimize(method=...)``.

How it differs from SciPy's L-BFGS-B and BFGS, and why, stands in README.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache, lru_cache, partial
from numbers import Number
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastbfgs import device, driver, interop
from fastbfgs.differences import SCHEMES, Stencil
from fastbfgs.foreign import Library, on_host
from fastbfgs.fused import CudaObjective
from fastbfgs.inverse import InverseHessian
from fastbfgs.native import Native, is_compiled
from fastbfgs.objective import Differences, Objective, takes_rows
from fastbfgs.observers import Callback, Progress
from fastbfgs.options import Options, options_of
from fastbfgs.outcome import optimize_result
from fastbfgs.recorder import Accepted, Iterates, Recorder
from fastbfgs.result import Result, Status, cure, members_at, sentence
from fastbfgs.solver import Solver

_SCIPY_NUMBER = {
    Status.RUNNING: -1,
    Status.MAXITER: 1,
    Status.MAXFUN: 1,
    Status.ABNORMAL: 2,
    Status.NONFINITE_START: 3,
    Status.STALLED: 4,
    Status.UNBOUNDED: 5,
    Status.STOPPED: 99,
}
"""SciPy's number for a status, 0 for the others. (3 is what its BFGS gives for NaN; -1, 4 and 5 are ours.)"""


@dataclass(frozen=True)
class _Dialect:
    """How SciPy speaks of one of its methods."""

    kernel: dict[str, str]
    """Options by SciPy's name, with ours."""
    face: frozenset[str]
    """Options that the kernels do not know."""
    defaults: dict[str, Any]
    """Of the kernels' options, where they are not those of `Options`."""
    eps: float
    """Default of the absolute difference step."""
    tol: tuple[str, ...]
    """Options that `tol` sets."""
    messages: dict[Status, str]
    """SciPy's message for a status. One that ends with a blank says too little, and is followed by ours."""


_STOPPED = "`callback` raised `StopIteration`."
_LBFGSB = _Dialect(
    kernel={
        "maxcor": "history",
        **{name: name for name in ("ftol", "gtol", "xtol", "maxfun", "maxiter", "maxls", "c1", "c2", "pairs")},
    },
    face=frozenset({"eps", "finite_diff_rel_step", "workers", "hess_inv0"}),
    defaults={},
    eps=1e-8,
    tol=("ftol", "gtol"),
    messages={
        Status.CONVERGED_GRADIENT: "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL",
        Status.CONVERGED_DECREASE: "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH",
        Status.MAXITER: "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT",
        Status.MAXFUN: "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT",
        Status.STOPPED: _STOPPED,
        Status.ABNORMAL: "ABNORMAL: ",
    },
)
_WORDS = {"history": "maxcor"}
_PRECISION_LOSS = "Desired error not necessarily achieved due to precision loss. "
_BFGS = _Dialect(
    kernel={name: name for name in ("gtol", "norm", "xrtol", "maxiter", "c1", "c2")},
    face=frozenset({"eps", "finite_diff_rel_step", "workers", "hess_inv0", "disp", "return_all"}),
    # No limit of evaluations and no test of the decrease: SciPy's BFGS has neither.
    defaults={"ftol": 0.0, "maxfun": 2**62, "c1": 1e-4, "c2": 0.9},
    eps=math.sqrt(np.finfo(float).eps),
    tol=("gtol",),
    messages={
        Status.CONVERGED_GRADIENT: "Optimization terminated successfully.",
        Status.CONVERGED_STEP: "Optimization terminated successfully.",
        Status.MAXITER: "Maximum number of iterations has been exceeded.",
        Status.STOPPED: _STOPPED,
        Status.ABNORMAL: _PRECISION_LOSS,
        Status.STALLED: _PRECISION_LOSS,
        Status.NONFINITE_START: "NaN result encountered. ",
    },
)
_DIALECTS = {"L-BFGS": _LBFGSB, "L-BFGS-B": _LBFGSB, "BFGS": _BFGS}
_METHODS = {name.lower(): name for name in _DIALECTS}
_Evaluated = Objective | Native | CudaObjective
_AT_A_MINIMUM = int(Status.CONVERGED_GRADIENT)
_ALL_FIXED = "All independent variables were fixed by bounds."


def minimize(
    fun: Any,
    x0: Any,
    args: Any = (),
    method: str | None = None,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    batch_args: Any = (),
    compact: bool | None = None,
    workers: int | None = None,
    progress: Any = None,
    record: Callable[[Accepted], Any] | None = None,
    chunk: int | None = None,
) -> Any:
    """Minimise one smooth function, or a batch of them in one go, with SciPy's interface.

    Parameters
    ----------
    fun : callable
        The objective. For one problem ``fun(x, *args)`` gets x of shape ``(n,)`` and returns f, or ``(f, g)`` if `jac`
        is True. For a batch ``fun(x, *args, *batch_args)`` gets the points of k members, ``(k, n)``, and returns f of
        shape ``(k,)``, and g of shape ``(k, n)`` with ``jac=True``. A batch function with a parameter named ``rows``
        is also given the indices ``(k,)`` of those members in the flattened batch.
        It owns the x it is given. NaN or infinite values are taken as "too far".
        Or a compiled objective of f and g: a `scipy.LowLevelCallable`, a Numba cfunc, a ctypes function or a capsule of
        Cython, see `Solver.run`. Then all runs without the interpreter, in `workers` threads. User data stands for
        `args` and `batch_args`, `progress` for `callback`; those, `record` and `return_all` are errors. With x0 on a
        GPU the same goes for a `fastbfgs.CudaObjective`.
    x0 : array_like (n,) or (..., n)
        Start of one problem, or of each member of a batch. Float32 is computed in float32, other numbers in float64.
        A PyTorch tensor, a JAX array, a CuPy array, or one of another library of the array standard that has DLPack:
        all functions are given such, and all arrays of the result are such. If it is on a CUDA device, so is all else,
        and the solver runs there, on the current stream. See Notes. (That has not run on any GPU yet.)
    args : tuple, optional
        Passed on to fun and jac, as they are.
    method : {None, "L-BFGS-B", "L-BFGS", "BFGS"}
        In any case. "L-BFGS-B" takes bounds; without any it is "L-BFGS". "BFGS" keeps the inverse Hessian as a matrix,
        n**2 numbers for each member. None is "L-BFGS-B" for a batch; for one problem, as in SciPy, "L-BFGS-B" with
        bounds and "BFGS" without.
    jac : True, callable, {"2-point", "3-point", "cs"} or None
        As in SciPy; None takes forward differences of the absolute step `eps`. For a batch, the difference points of
        all members go into one call of fun. They stay within the bounds; coordinates whose bounds are equal get none,
        and NaN in the result's jac.
    hess, hessp
        Not used; given, they get SciPy's RuntimeWarning.
    bounds : scipy.optimize.Bounds or sequence of n pairs (min, max), optional
        For "L-BFGS-B"; None or an infinite number is no bound, equal ones fix a coordinate. `lb` and `ub` of a Bounds
        may have a row for each member of a batch, ``(..., n)``; else all share them. fun and jac are never called
        outside: x0 is moved inside first.
    constraints
        Not supported: an error if given.
    tol : float, optional
        Sets `gtol`, and for L-BFGS `ftol`, unless `options` does.
    callback : callable, optional
        ``callback(xk)`` or ``callback(*, intermediate_result)``, after every iteration of one problem, and after every
        call of fun that moved any member of a batch. The intermediate result has x, fun, jac, nit and nfev; for a
        batch it is a `BatchResult` of all members. Its arrays are copies. Raising StopIteration ends the run; members
        that have converged stay so.
    options : dict, optional
        SciPy's for the method, with its defaults. L-BFGS: maxcor (10), ftol (2.22e-9), gtol (1e-5), eps (1e-8), maxfun
        (15000), maxiter (15000), maxls (20), finite_diff_rel_step, workers (a number or a map-like callable, for finite
        differences of one problem); besides, xtol (0: stop when no coordinate moves by more), c1 (1e-3), c2 (0.97), and
        hess_inv0, a positive diagonal ``(n,)`` or ``(..., n)`` of the initial inverse Hessian, without bounds, and
        pairs (None; "float32" keeps those of a float64 problem without bounds in half the memory).
        BFGS: gtol (1e-5), norm (inf), eps (1.5e-8), maxiter (200 n), disp, return_all, finite_diff_rel_step, xrtol (0),
        c1 (1e-4), c2 (0.9), workers, and hess_inv0, a positive definite matrix ``(n, n)`` or ``(..., n, n)``.
    batch_args : tuple of array_like (..., *)
        Arrays with the leading axes of the batch; fun gets the rows of the members it is asked about, one leading axis.
        Of x0's library, if it is an array of one.
    compact : bool, optional
        Whether fun is called with the members alone that still run. Default: only if there are `batch_args` or fun
        takes ``rows``, and x0 is no JAX array; else every call has all rows, finished ones at their final point.
    chunk : int, optional
        Solve a batch in pieces of so many members, one after another: where the solver's memory, or what fun takes, is
        too much for all at once. The results are the same, but for `calls`, the sum over the pieces. fun gets members
        of one piece, with their rows of batch_args, and their indices in the whole batch as ``rows``. Not with
        a compiled fun, callback, progress, record or return_all.
    workers : int, optional
        Threads for the solver's own work on a batch, or on one problem of at least 50,000 coordinates; default
        ``FASTBFGS_NUM_THREADS``, else all cores this process may use. Results do not depend on it.
    progress : True or callable, optional
        True shows a bar (needs tqdm; a tqdm class does too). Another callable gets ``(finished, members, calls)``
        after every call of fun; if fun is compiled, about 20 times a second.
    record : callable, optional
        Gets every accepted iterate, the starts first, without another evaluation: a `fastbfgs.Accepted` after each
        call of fun that moved any member. `fastbfgs.Paths` is one that keeps them in arrays. f and g are those that
        the solver works with: g by differences is 0 where the bounds of a coordinate are equal.

    Returns
    -------
    scipy.optimize.OptimizeResult or BatchResult
        For one problem SciPy's own type, with x, fun, jac, nit, nfev, njev, status, success, message, hess_inv, and
        allvecs if return_all is set. (SciPy is not imported for that; until it is, the result is of a type that behaves
        alike.) hess_inv is a matrix for BFGS; for L-BFGS a `scipy.sparse.linalg.LinearOperator` made of the last pairs,
        which as in SciPy knows nothing of bounds. For a batch the same fields as arrays, see `BatchResult`.

    Raises
    ------
    TypeError, ValueError
        If an argument breaks its rule, before fun is called; or if fun returns something else than promised, at the
        first call.
    BaseException
        What fun, jac, callback or record raises, Ctrl-C included. The exception then has an attribute
        ``partial_result``: the result as it stood, with the best points so far.

    Warns
    -----
    scipy.optimize.OptimizeWarning
        For options that are not known.

    Notes
    -----
    Every member runs its own line search; a call of fun serves all members that wait, whatever each is about to do. So
    a batch takes exactly as many calls as its slowest member takes evaluations. A member's path has the same bits
    alone, in a batch, in another order and with any number of threads, if fun computes rows independently.

    Memory for each member, besides the points, values and gradients of a call: (4 + 2 maxcor) n numbers of x0's dtype
    and 200 + 8 maxcor bytes, with bounds 16 maxcor**2 bytes more; for BFGS (5 + n) n numbers and 200 bytes. From
    n = 300 on, L-BFGS without bounds keeps (5 + 2 maxcor) n numbers and 16 (maxcor + 1)**2 bytes, and reads the pairs
    twice in an iteration; with pairs="float32" it keeps (5 + maxcor) n numbers.

    If x0 is an array of another library, so is every array that fun, jac, callback and record are given, and every one
    in the result; of NumPy are only `message`, `failed`, and what SciPy's operator `hess_inv` works on. Numbers of one
    problem (fun, nit, status) are Python's. x0 must be float32, float64 or of integers. Arrays come and go in the same
    memory, except that JAX copies small ones on the CPU. f and g must be where x0 is; on the CPU, bounds and hess_inv0
    may be of NumPy all the same.

    - PyTorch: points require no gradient and are the function's own, so ``x.requires_grad_()`` is right. f and g may
      have a graph behind them, which is cut off, as is that of x0. ``torch.func.grad_and_value`` returns (g, f): turn
      that around.
    - JAX: ``jax.jit(jax.vmap(jax.value_and_grad(f)))`` is compiled once, since every call has all rows. With
      ``compact=True`` it is once for each number of rows that is left: 8.4 s instead of 0.3 s for the first run of
      10,000 Rosenbrock problems, n = 10, where a second run takes 0.14 instead of 0.26 s. Without jax_enable_x64 all is
      float32 and int32, and x0 = [1, 2] is float32. It cannot be called inside jit, grad or vmap.

    With x0 on a CUDA device the solver works with CuPy, which must be installed; PyTorch's and JAX's arrays are CuPy's
    of the same memory, and its work is done on PyTorch's current stream. (JAX has none that it tells of: CuPy's current
    one and JAX's wait for each other on the device.) Bounds of arrays, batch_args, hess_inv0 and steps of differences
    for each coordinate must be on the device of x0, and so must f, of float32 or float64, and g, of x0's dtype. fun may
    be called a few times more after the last member has finished, at points that no longer move: the host does not wait
    to hear of it. `callback`, `record` and `return_all` make it wait, after each call; so does a look at one member's
    numbers or at `message`. Differences of one problem call fun point after point, as on the CPU; with x0 a batch of
    one, ``x0[None]``, one call has all points. Compiled objectives, `workers`, also the option, and `pairs` are for the
    CPU. Device memory for each member: as above, and per call two arrays of points.

    References
    ----------
    J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, Algorithms 6.1 and 7.5.
    R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained optimization",
    SIAM J. Sci. Comput. 16 (1995) 1190-1208.
    J. J. More and D. J. Thuente, "Line search algorithms with guaranteed sufficient decrease", ACM TOMS 20 (1994).

    Examples
    --------
    One problem, as with SciPy:

    >>> import numpy as np
    >>> import scipy.optimize
    >>> import fastbfgs
    >>> def bowl(x):
    ...     return ((x - 3.0) ** 2).sum(), 2.0 * (x - 3.0)
    >>> result = fastbfgs.minimize(bowl, np.zeros(4), jac=True)
    >>> result.x
    array([3., 3., 3., 3.])
    >>> result.message
    'Optimization terminated successfully.'

    A thousand problems of two coordinates, each with a centre of its own:

    >>> centre = np.linspace(0.0, 1.0, 2000).reshape(1000, 2)
    >>> def bowls(x, c):
    ...     return ((x - c) ** 2).sum(axis=1), 2.0 * (x - c)
    >>> result = fastbfgs.minimize(bowls, np.zeros((1000, 2)), jac=True, batch_args=(centre,))
    >>> result.x.shape, int(result.success.sum()), result.failed
    ((1000, 2), 1000, array([], dtype=int64))
    >>> bool(abs(result.x - centre).max() < 1e-5)
    True

    The same, but none goes above its own limit:

    >>> limit = np.full((1000, 2), np.linspace(0.2, 0.8, 1000)[:, None])
    >>> bounds = scipy.optimize.Bounds(-np.inf, limit)
    >>> result = fastbfgs.minimize(bowls, np.zeros((1000, 2)), jac=True, batch_args=(centre,), bounds=bounds)
    >>> bool(abs(result.x - np.minimum(centre, limit)).max() < 1e-5)
    True
    """
    if not (_runs_by_itself(fun) or callable(fun)):
        raise TypeError(f"fun must be callable; got {type(fun).__name__}")
    if isinstance(batch_args, list):
        raise TypeError("batch_args must be a tuple of arrays, or one array; got a list, which could be either")
    given = {
        "args": args if isinstance(args, tuple) else (args,), "method": method, "jac": jac, "hess": hess,
        "hessp": hessp, "bounds": bounds, "constraints": constraints, "tol": tol, "callback": callback,
        "options": options, "batch_args": batch_args if isinstance(batch_args, tuple) else (batch_args,),
        "compact": compact, "workers": workers, "progress": progress, "record": record, "chunk": chunk,
    }  # fmt: skip
    reader = interop if type(x0) is np.ndarray else device.reader(x0)
    start, library = reader.enter(x0)
    if library is None:
        return _minimize(reader, fun, start, **given)
    with library.at_work():
        fun = _as_the_solvers(library, fun, given)
        try:
            result = _minimize(reader, fun, start, **given)
        except BaseException as error:
            with suppress(AttributeError, TypeError):  # as in driver._keep
                error.partial_result = library.whole(error.partial_result)  # type: ignore[attr-defined]
            raise
        return library.whole(result)


def _as_the_solvers(library: Library, fun: Any, given: dict[str, Any]) -> Any:
    """Return a `fun` of the solver's arrays, and make what else is `given` such, where arrays were of `library`."""
    if callable(given["jac"]):
        given["jac"] = library.function(given["jac"], given["args"])
    if not _runs_by_itself(fun):
        fun, given["args"] = library.function(fun, given["args"]), ()
    for name in ("callback", "record"):
        if callable(given[name]):
            given[name] = library.shown(given[name])
    given["bounds"] = library.bounds(given["bounds"])
    given["batch_args"] = tuple(
        [library.argument(each, f"batch_args[{i}]", False) for i, each in enumerate(given["batch_args"])]
    )
    options = given["options"]
    if isinstance(options, Mapping) and "hess_inv0" in options:
        given["options"] = {**options, "hess_inv0": library.argument(options["hess_inv0"], "hess_inv0")}
    if given["compact"] is None and library.compiles:
        given["compact"] = False
    return fun


def _runs_by_itself(fun: Any) -> bool:
    """Return whether `fun` is a compiled objective, for the CPU or for a GPU."""
    return isinstance(fun, CudaObjective) or is_compiled(fun)


def _minimize(
    reader: Any,
    fun: Any,
    start: Any,
    *,
    args: tuple[Any, ...],
    method: str | None,
    jac: Any,
    hess: Any,
    hessp: Any,
    bounds: Any,
    constraints: Any,
    tol: float | None,
    callback: Callable[..., Any] | None,
    options: Mapping[str, Any] | None,
    batch_args: tuple[Any, ...],
    compact: bool | None,
    workers: int | None,
    progress: Any,
    record: Callable[[Accepted], Any] | None,
    chunk: int | None,
) -> Any:
    """Minimise a function of the arrays that `reader` reads, from `start`, which it has read."""
    fused, compiled = isinstance(fun, CudaObjective), _runs_by_itself(fun)
    if chunk is not None:
        _refuse_in_pieces(chunk, start, compiled, callback, progress, record, options)
        given = {
            "args": args, "hess": hess, "hessp": hessp, "constraints": constraints, "tol": tol, "callback": None,
            "compact": compact, "workers": workers, "progress": None, "record": None, "chunk": None,
        }  # fmt: skip
        return _in_pieces(chunk, reader, fun, start, method, jac, bounds, options, batch_args, given)
    single, shape, n = start.ndim == 1, start.shape[:-1], start.shape[-1]
    if method is None:
        method = "BFGS" if single and bounds is None else "L-BFGS-B"
    name = _name(method, bounds, constraints)
    if hess is not None:
        message = f"Method {method} does not use Hessian information (hess)."
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    if hessp is not None:
        message = f"Method {method} does not use Hessian-vector product information (hessp)."
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable or None; got {type(callback).__name__}")
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, a callable or None; got {type(progress).__name__}")
    if record is not None and not callable(record):
        raise TypeError(
            f"record must be callable, and take a fastbfgs.Accepted, or None; got {type(record).__name__}. "
            "fastbfgs.Paths(steps) keeps iterates in arrays."
        )
    if reader is not interop:
        _refuse_on_a_gpu(compiled and not fused, workers)
    elif fused:
        raise TypeError("a CudaObjective runs on a GPU, and x0 is not there; give x0 as a CuPy array")
    if compiled:
        _refuse_of_compiled(jac, args, batch_args, callback, record, options)
        native: Any = fun if fused else Native(fun, start.dtype)
        jac = True
    arrays = _batch_arrays(batch_args, shape, reader) if batch_args else ()
    box = None if bounds is None else reader.box(bounds, shape, n, start.dtype)
    kernel, face = _split_options(options, tol, name, method, n)
    h0 = face.get("hess_inv0")
    if h0 is not None:
        if box is not None:
            raise ValueError("hess_inv0 does not go with bounds; leave one of them out")
        read = reader.matrix if name == "BFGS" else reader.diagonal
        h0 = read(h0, shape, n, start.dtype, "hess_inv0")
    mapping, pool = _mapping(face["workers"], single, jac, reader) if "workers" in face else (None, None)
    bar = None
    try:
        objective: _Evaluated
        if compiled:
            objective = native
        elif jac is True or callable(jac):
            objective = Objective(fun, jac, args, arrays, single)
        else:
            scheme, absolute = _scheme(jac, _step("eps", face.get("eps", _DIALECTS[name].eps), n, reader))
            relative = _step("finite_diff_rel_step", face.get("finite_diff_rel_step"), n, reader)
            stencil = Stencil(n, scheme, absolute, relative, box, reader.xp)
            objective = Differences(fun, args, arrays, single, stencil, mapping, reader)
            # SciPy's maxfun counts the values behind a difference gradient too.
            most = max(1, kernel.maxfun // objective.evaluations)
            kernel = options_of(**(vars(kernel) | {"maxfun": most}))
        if compact is None:
            compact = bool(batch_args) or objective.fun_takes_rows or objective.jac_takes_rows
        solver = Solver(
            start,
            kernel,
            h0=None if h0 is None else interop.Checked(h0),
            bounds=None if box is None else interop.Checked(box),
            compact=compact,
            workers=workers,
        )
        iterates = Iterates(solver.result().x) if face.get("return_all") else None
        report: Callable[[], Any] = partial(_scipy_result, solver, objective, h0, iterates)
        watchers: list[Callable[[Solver], bool]] = []
        if progress:
            bar = Progress(progress, len(solver))
            watchers.append(bar)
        if iterates is not None:
            watchers.append(Recorder(solver, iterates).watch)
        if record is not None:
            watchers.append(Recorder(solver, record).watch)
        if callback is not None:
            watchers.append(Callback(callback, partial(_intermediate, solver, objective)))
        if isinstance(objective, (Native, CudaObjective)):
            result = driver.run_compiled(solver, objective, watchers, report)
        else:
            result = driver.run(solver, objective, watchers, report)
    finally:
        if pool is not None:
            pool.terminate()
        if bar is not None:
            bar.close()
    if face.get("disp"):
        _show(result)
    return result


def lbfgs(fun: Callable[..., Any], x0: Any, args: Any = (), **given: Any) -> Any:
    """Minimise by L-BFGS, as the `method` of `scipy.optimize.minimize` and of everything that forwards it.

    Parameters
    ----------
    fun, x0, args, **given
        As `scipy.optimize.minimize` passes them on: jac, hess, hessp, bounds, constraints, callback, and the options
        by name; see `fastbfgs.minimize`. SciPy turns the name of a difference scheme, jac="3-point" say, into None.

    Returns
    -------
    scipy.optimize.OptimizeResult

    Raises
    ------
    TypeError, ValueError
        See `fastbfgs.minimize`. Bounds are an error: they are for `lbfgsb`.

    Examples
    --------
    >>> import scipy.optimize
    >>> from scipy.optimize import rosen, rosen_der
    >>> import fastbfgs
    >>> result = scipy.optimize.minimize(rosen, [1.3, 0.7], jac=rosen_der, method=fastbfgs.lbfgs)
    >>> result.x.round(4)
    array([1., 1.])
    """
    return _as_method("L-BFGS", fun, x0, args, **given)


def lbfgsb(fun: Callable[..., Any], x0: Any, args: Any = (), **given: Any) -> Any:
    """Minimise by L-BFGS-B, within bounds or without, as the `method` of `scipy.optimize.minimize`.

    Parameters, result and errors are those of `fastbfgs.lbfgs`.

    Examples
    --------
    >>> import scipy.optimize
    >>> from scipy.optimize import rosen, rosen_der
    >>> import fastbfgs
    >>> bounds = [(None, 0.5), (0.0, 2.0)]
    >>> result = scipy.optimize.minimize(rosen, [1.3, 0.7], jac=rosen_der, bounds=bounds, method=fastbfgs.lbfgsb)
    >>> result.x.round(4)
    array([0.5 , 0.25])
    """
    return _as_method("L-BFGS-B", fun, x0, args, **given)


def bfgs(fun: Callable[..., Any], x0: Any, args: Any = (), **given: Any) -> Any:
    """Minimise by BFGS, with the inverse Hessian as a matrix, as the `method` of `scipy.optimize.minimize`.

    Parameters, result and errors are those of `fastbfgs.lbfgs`.

    Examples
    --------
    >>> import numpy as np
    >>> import scipy.optimize
    >>> import fastbfgs
    >>> def bowl(x):
    ...     return x[0] ** 2 + 5.0 * x[1] ** 2, np.array([2.0, 10.0]) * x
    >>> result = scipy.optimize.minimize(bowl, [1.3, 0.7], jac=True, method=fastbfgs.bfgs)
    >>> abs(result.hess_inv).round(2)
    array([[0.5, 0. ],
           [0. , 0.1]])
    """
    return _as_method("BFGS", fun, x0, args, **given)


def _refuse_in_pieces(
    chunk: Any, start: Any, compiled: bool, callback: Any, progress: Any, record: Any, options: Any
) -> None:
    """Raise an error for what cannot be done in pieces."""
    if isinstance(chunk, bool) or not isinstance(chunk, (int, np.integer)) or chunk < 1:
        raise ValueError(f"chunk must be a positive integer, members at a time, or None; got {chunk!r}")
    if start.ndim == 1:
        raise ValueError("chunk is for a batch, x0 of shape (..., n); leave it out for one problem")
    if compiled:
        raise ValueError("chunk is for functions of arrays, and fun is compiled; solve pieces by calls of your own")
    asked = {"callback": callback, "progress": progress, "record": record}
    asked["return_all"] = isinstance(options, Mapping) and options.get("return_all")
    for name, value in asked.items():
        if value:
            raise ValueError(f"{name} does not go with chunk: it would see one piece at a time; leave one of them out")


def _in_pieces(
    chunk: int,
    reader: Any,
    fun: Any,
    start: Any,
    method: str | None,
    jac: Any,
    bounds: Any,
    options: Any,
    batch_args: tuple[Any, ...],
    given: dict[str, Any],
) -> BatchResult:
    """Minimise `chunk` members of a batch at a time; return the results of all."""
    shape, n = start.shape[:-1], start.shape[-1]
    count = math.prod(shape)
    arrays = _batch_arrays(batch_args, shape, reader)
    flat, own = start.reshape(count, n), method or "L-BFGS-B"
    options = dict(options or {})
    h0 = options.get("hess_inv0")
    if bounds is not None:  # what is wrong with a later piece is told now
        reader.box(bounds, shape, n, start.dtype)
    if h0 is not None:
        (reader.matrix if own.upper() == "BFGS" else reader.diagonal)(h0, shape, n, start.dtype, "hess_inv0")

    def part(whole: Any, first: int, axes: int) -> Any:
        """Return the rows of a piece, if there is a row for each member: more axes than `axes`."""
        if np.ndim(whole) <= axes:
            return whole
        whole = reader.argument(whole, "bounds and hess_inv0")
        if whole.shape[: len(shape)] != shape:
            return whole  # which is told below
        return whole.reshape(count, *whole.shape[len(shape) :])[first : first + chunk]

    pieces = []
    for first in range(0, max(count, 1), chunk):
        box = bounds
        if hasattr(bounds, "lb") and hasattr(bounds, "ub"):
            box = SimpleNamespace(lb=part(bounds.lb, first, 1), ub=part(bounds.ub, first, 1))
        if h0 is not None:
            options["hess_inv0"] = part(h0, first, 2 if own.upper() == "BFGS" else 1)
        try:
            pieces.append(
                _minimize(
                    reader,
                    _with_rows_from(first, fun),
                    flat[first : first + chunk],
                    method=own,
                    jac=_with_rows_from(first, jac),
                    bounds=box,
                    options=options or None,
                    batch_args=tuple([array[first : first + chunk] for array in arrays]),
                    **given,
                )
            )
        except BaseException as error:
            with suppress(AttributeError, TypeError):  # as in driver._keep
                here: BatchResult = error.partial_result  # type: ignore[attr-defined]
                never = _never_begun(flat[first + len(here) :], here, reader.xp)
                error.partial_result = _joined([*pieces, here, never], shape, reader)  # type: ignore[attr-defined]
            raise
    return _joined(pieces, shape, reader)


def _joined(pieces: list[BatchResult], shape: tuple[int, ...], reader: Any) -> BatchResult:
    """Return the results of pieces as those of one batch of `shape`."""
    names = [*_ARRAYS, *(["hess_inv"] if pieces[0].hess_inv is not None else [])]
    parts: dict[str, Any] = {}
    for name in names:
        whole = reader.concatenate([getattr(piece, name) for piece in pieces])
        parts[name] = whole.reshape(*shape, *whole.shape[1:])
    return BatchResult(**parts, calls=sum(piece.calls for piece in pieces), method=pieces[0].method)


def _never_begun(x: Any, like: BatchResult, xp: Any) -> BatchResult:
    """Return the result of members at x (k, n) that have not been evaluated; `like` is one of others."""
    count = len(x)
    none = xp.zeros(count, np.int64)
    running = xp.full(count, int(Status.RUNNING), np.int32)
    unknown = xp.full(count, np.nan, x.dtype)
    h = like.hess_inv
    return BatchResult(
        x=x, fun=unknown, jac=xp.full(x.shape, np.nan, x.dtype), nit=none, nfev=none, njev=none,
        status=_numbers(running), reason=running, success=xp.zeros(count, bool), calls=0, method=like.method,
        hess_inv=None if h is None else xp.full((count, *h.shape[1:]), np.nan, x.dtype),
    )  # fmt: skip


def _with_rows_from(first: int, function: Any) -> Any:
    """Return a function of the caller's that is given the indices of a piece in the whole batch."""
    if not callable(function) or not takes_rows(function):
        return function

    def shifted(x: Any, *args: Any, rows: Any) -> Any:
        return function(x, *args, rows=rows + first)

    return shifted


def _as_method(
    method: str,
    fun: Any,
    x0: Any,
    args: Any,
    /,
    *,
    jac: Any = None,
    hess: Any = None,
    hessp: Any = None,
    bounds: Any = None,
    constraints: Any = (),
    callback: Any = None,
    tol: Any = None,
    **options: Any,
) -> Any:
    """Minimise as `scipy.optimize.minimize` calls a method of its user's."""
    # SciPy wraps a fun with jac=True so that each call compares x with the last one; the wrapped function serves us
    # better as it was.
    owner: Any = getattr(jac, "__self__", None)
    if type(fun).__name__ == "MemoizeJac" and owner is fun:
        fun, jac = fun.fun, True
    return minimize(fun, x0, args, method, jac, hess, hessp, bounds, constraints, tol, callback, options or None)


@dataclass(frozen=True, repr=False)
class BatchResult:
    """What `minimize` returns for a batch: SciPy's result fields as arrays over the members.

    ``result[i]`` is member i's own `scipy.optimize.OptimizeResult` (any index of the batch axes; a slice gives a
    `BatchResult`), ``result["x"]`` is ``result.x`` as with SciPy's result, ``len(result)`` and iteration go over the
    first batch axis.

    Parameters
    ----------
    x, jac : ndarray (..., n)
        Final points and gradients there, in the dtype of x0; these and all arrays are of the library of x0.
    fun : ndarray (...)
        Final values, in the dtype of x0.
    nit, nfev, njev : ndarray (...) of int64
        Iterations, function values and gradients of each member. With differences every member has the same points,
        also for a coordinate that its own bounds fix, unless they are equal in all members.
    status : ndarray (...) of int32
        SciPy's numbers: 0 success, 1 a limit, 2 abnormal, 3 NaN or infinite at the start, 99 stopped by the callback.
        Besides: 4 stalled by rounding noise of fun, 5 fun is -inf, -1 still running.
    reason : ndarray (...) of int32
        The finer `fastbfgs.Status`.
    success : ndarray (...) of bool
    calls : int
        Calls of fun, for all members together: the largest nfev if fun is called for all at once, the sum if it is
        compiled.
    method : {"L-BFGS-B", "L-BFGS", "BFGS"}
    hess_inv : ndarray (..., n, n) or None
        For BFGS the inverse Hessians at the end. None for the others, and for what a callback sees: `Solver.pairs`
        has what they know.
    allvecs : list of ndarray (..., n) or None
        With the option `return_all` of BFGS: the k-th holds each member's k-th iterate, the start first; the last one
        of a member is repeated until all have finished.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> def domain(x):
    ...     with np.errstate(all="ignore"):
    ...         return (x - np.log(x)).sum(axis=1), 1.0 - 1.0 / x
    >>> result = fastbfgs.minimize(domain, [[3.0, 0.5], [-1.0, 2.0]], jac=True)
    >>> result
    BatchResult of 2 members (2,), n = 2: 1 succeeded
             1  CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL
             1  f or its gradient is NaN or infinite at the start. Start where both are finite.
      calls: 14, function values: 15, iterations: 11
    >>> result[0].x.round(4)
    array([1., 1.])
    """

    x: np.ndarray
    fun: np.ndarray
    jac: np.ndarray
    nit: np.ndarray
    nfev: np.ndarray
    njev: np.ndarray
    status: np.ndarray
    reason: np.ndarray
    success: np.ndarray
    calls: int
    method: str
    hess_inv: np.ndarray | None = None
    allvecs: list[np.ndarray] | None = None

    @property
    def message(self) -> np.ndarray:
        """One sentence for each member, an object array (...)."""
        reason = on_host(self.reason, "reason")
        codes, where = np.unique(reason, return_inverse=True)
        words = np.array([_message(code, self.method) for code in codes], dtype=object)
        return words[where].reshape(reason.shape)

    @property
    def failed(self) -> np.ndarray:
        """Indices of the members without success, in the flattened batch."""
        return np.flatnonzero(~on_host(self.success, "success"))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            if index in ("message", "failed") or any(index == field.name for field in fields(self)):
                return getattr(self, index)
            raise KeyError(index)
        shape, index = self.status.shape, on_host(index, "the index")
        parts = {name: members_at(getattr(self, name), shape, index) for name in _ARRAYS}
        parts |= {name: on_host(parts[name]) for name in _ARRAYS if np.ndim(parts[name]) == 0}
        if self.hess_inv is not None:
            parts["hess_inv"] = members_at(self.hess_inv, shape, index)
        if self.allvecs is not None:
            parts["allvecs"] = [members_at(x, shape, index) for x in self.allvecs]
        if np.ndim(parts["status"]):
            return BatchResult(**parts, calls=self.calls, method=self.method)
        if self.allvecs is not None:
            parts["allvecs"] = parts["allvecs"][: 1 + parts["nit"]]
        reason = parts.pop("reason")
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in parts.items()}
        return optimize_result({"message": _message(reason, self.method), **plain})

    def __len__(self) -> int:
        return int(self.status.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        names = ("reason", "success", "nfev", "nit")
        reason, success, nfev, nit = (on_host(getattr(self, name), name) for name in names)
        codes, counts = np.unique(reason, return_counts=True)
        lines = [
            f"BatchResult of {reason.size} members {reason.shape}, n = {self.x.shape[-1]}: "
            f"{int(success.sum())} succeeded",
            *(f"  {count:>8}  {_message(code, self.method)}" for code, count in zip(codes, counts, strict=True)),
            f"  calls: {self.calls}, function values: {int(nfev.sum())}, iterations: {int(nit.sum())}",
        ]
        return "\n".join(lines)


_ARRAYS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success")
"""Fields of a `BatchResult` that always are arrays over the members."""


@cache
def _message(status: int, method: str) -> str:
    """Return SciPy's message for a status; ours, with the cure, where it has none, and after it where it is vague."""
    words = _DIALECTS[method].messages.get(Status(status), "")
    return words if words and not words.endswith(" ") else f"{words}{sentence(status)} {cure(status)}".rstrip()


def _numbers(status: np.ndarray) -> np.ndarray:
    """Return SciPy's number for each status."""
    numbers = 0 * status
    for own, scipys in _SCIPY_NUMBER.items():
        numbers[status == int(own)] = scipys
    return numbers


def _warn(message: str) -> None:
    """Warn in SciPy's kind, from where `minimize` was called."""
    from scipy.optimize import OptimizeWarning

    warnings.warn(message, OptimizeWarning, stacklevel=5)


def _scipy_result(solver: Solver, objective: _Evaluated, h0: Any, iterates: Iterates | None) -> Any:
    """Return where the solver stands in SciPy's words."""
    result, method = solver.result(), solver.options.method
    vectors = None if iterates is None else iterates.vectors()
    if solver.shape:
        h = solver.inverse_hessian() if method == "BFGS" else None
        return _batch_result(result, objective, method, h, vectors)
    message = _message(result.status, method)
    box = solver.box
    if box is not None and result.nit == 0 and result.status == _AT_A_MINIMUM and (box[0] == box[1]).all():
        message = _ALL_FIXED
    fields = {
        "x": result.x,
        "fun": result.f,
        "jac": result.g if objective.fixed is None else _gradient(result, objective),
        "nit": result.nit,
        "nfev": result.nfev * objective.evaluations,
        "njev": result.nfev * objective.gradients,
        "status": _SCIPY_NUMBER.get(result.status, 0),
        "success": result.converged,
        "message": message,
        "hess_inv": solver.inverse_hessian() if method == "BFGS" else InverseHessian(solver, h0),
    }
    if vectors is not None:
        fields["allvecs"] = vectors
    return optimize_result(fields)


def _intermediate(solver: Solver, objective: _Evaluated) -> Any:
    """Return what a callback sees."""
    result = solver.result()
    if solver.shape:
        return _batch_result(result, objective, solver.options.method)
    return optimize_result(
        {
            "x": result.x,
            "fun": result.f,
            "jac": _gradient(result, objective),
            "nit": result.nit,
            "nfev": result.nfev * objective.evaluations,
        }
    )


def _batch_result(
    result: Result,
    objective: _Evaluated,
    method: str,
    h: np.ndarray | None = None,
    vectors: Any = None,
) -> BatchResult:
    return BatchResult(
        x=result.x, fun=result.f.astype(result.x.dtype, copy=False), jac=_gradient(result, objective),
        nit=result.nit, nfev=result.nfev * objective.evaluations, njev=result.nfev * objective.gradients,
        status=_numbers(result.status), reason=result.status, success=result.converged,
        calls=result.calls, method=method, hess_inv=h, allvecs=vectors,
    )  # fmt: skip


def _gradient(result: Result, objective: _Evaluated) -> np.ndarray:
    """Return the gradient of a result, NaN where no difference was taken, as in SciPy."""
    g: np.ndarray = result.g
    if isinstance(objective, Differences) and objective.fixed is not None:
        fixed = objective.fixed if objective.fixed.ndim == 1 else objective.fixed.reshape(g.shape)
        g = objective.reader.xp.where(fixed, np.nan, g)
    return g


def _show(result: Any) -> None:
    """Print what SciPy's BFGS does with ``disp=True``, or the result of a batch."""
    if isinstance(result, BatchResult):
        print(result)
        return
    if result.success:
        print(result.message)
    else:
        _warn(result.message)
    print(f"         Current function value: {result.fun:f}")
    print(f"         Iterations: {result.nit:d}")
    print(f"         Function evaluations: {result.nfev:d}")
    print(f"         Gradient evaluations: {result.njev:d}")


def _name(method: Any, bounds: Any, constraints: Any) -> str:
    """Return our name of `method`, which can do what is asked of it."""
    name = _METHODS.get(method.lower()) if isinstance(method, str) else None
    if name is None:
        raise ValueError(f"method must be one of {', '.join(map(repr, _DIALECTS))} or None; got {method!r}")
    if constraints is not None and constraints != () and np.size(constraints):
        raise ValueError(
            f"Method {method} cannot handle constraints; "
            "use scipy.optimize.minimize with method 'SLSQP' or 'trust-constr'"
        )
    if bounds is not None and name != "L-BFGS-B":
        raise ValueError(f"Method {method} cannot handle bounds; use method 'L-BFGS-B', or leave them out")
    return name


def _split_options(
    options: Mapping[str, Any] | None, tol: float | None, name: str, method: str, n: int
) -> tuple[Options, dict[str, Any]]:
    """Return the options for the kernels, checked, and those of this face."""
    if options is None and tol is None:
        return _default_options(name, n), {}
    if not (options is None or type(options) is dict or isinstance(options, Mapping)):
        raise TypeError(f"options must be a dict of options by name; got {type(options).__name__}")
    dialect, kernel, words = _DIALECTS[name], _defaults(name, n), _WORDS
    face: dict[str, Any] = {}
    unknown: list[str] = []
    given = {} if options is None else options
    if tol is not None:
        kernel |= dict.fromkeys(dialect.tol, tol)
        words = words | {key: "tol" for key in dialect.tol if key not in given}
    for key, value in given.items():
        if key in dialect.kernel:
            kernel[dialect.kernel[key]] = value
        elif key in dialect.face:
            face[key] = value
        else:
            unknown.append(key)
    if name == "BFGS":
        if kernel["maxiter"] is None:  # SciPy's way to say the default
            kernel["maxiter"] = _defaults(name, n)["maxiter"]
    elif unknown:
        if given.get("return_all"):
            message = f"Method {method} does not support the return_all option."
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        if "disp" in given or "iprint" in given:
            message = "The options `disp` and `iprint` show nothing, as in SciPy 1.18; use `progress` or `callback`."
            warnings.warn(message, DeprecationWarning, stacklevel=4)
        unknown = [key for key in unknown if key not in ("return_all", "disp", "iprint")]
    if unknown:
        _warn(f"Unknown solver options: {', '.join(unknown)}")
    return options_of(words, **kernel), face


def _defaults(name: str, n: int) -> dict[str, Any]:
    """Return the options in which a method differs from `Options`, for n coordinates."""
    return {"method": name} | _DIALECTS[name].defaults | ({"maxiter": 200 * n} if name == "BFGS" else {})


@lru_cache
def _default_options(name: str, n: int) -> Options:
    return options_of(**_defaults(name, n))


def _refuse_of_compiled(jac: Any, args: Any, batch_args: Any, callback: Any, record: Any, options: Any) -> None:
    """Raise an error for what needs the interpreter at every evaluation, or has no place in the C signature."""
    if jac is not None and jac is not True:
        raise ValueError(f"a compiled fun gives f and g, so jac must be True or left out; got {jac!r}")
    if args or batch_args:
        name = "args" if args else "batch_args"
        raise ValueError(f"a compiled fun takes no {name}; give it the user data of a scipy.LowLevelCallable")
    if callback is not None:
        raise ValueError(
            "a compiled fun runs without the interpreter, so no callback can be called; use progress, or maxiter"
        )
    if record is not None:
        raise ValueError("a compiled fun runs without the interpreter, so nothing can be recorded; leave record out")
    if isinstance(options, Mapping) and options.get("return_all"):
        raise ValueError("a compiled fun runs without the interpreter, so return_all cannot be kept; leave it out")


def _refuse_on_a_gpu(compiled: bool, workers: Any) -> None:
    """Raise an error for what is done on the CPU alone."""
    if compiled:
        raise TypeError(
            "a compiled fun runs on the CPU, and x0 is on a GPU; give a fun of CuPy arrays, a CudaObjective, or a "
            "NumPy x0"
        )
    if workers is not None:
        raise ValueError("workers are threads of the CPU, and x0 is on a GPU; leave them out")


def _batch_arrays(batch_args: tuple[Any, ...], shape: tuple[int, ...], reader: Any) -> tuple[Any, ...]:
    """Return the batch arguments as arrays of one leading axis, the batch flattened."""
    if batch_args and not shape:
        raise ValueError("batch_args belong to a batch, x0 of shape (..., n); for one problem use args")
    arrays = []
    for i, given in enumerate(batch_args):
        array = reader.argument(given, f"batch_args[{i}]")
        if array.shape[: len(shape)] != shape:
            raise ValueError(
                f"batch_args[{i}] must have the leading axes of the batch, {shape}; got shape {array.shape}. "
                "What all members share belongs into args."
            )
        arrays.append(array.reshape(math.prod(shape), *array.shape[len(shape) :]))
    return tuple(arrays)


def _step(name: str, given: Any, n: int, reader: Any) -> Any:
    """Return a step of finite differences as given in the options: a number or an array (n,), or None."""
    if given is None:
        return None
    rule = f"{name} must be a finite number, or an array of shape ({n},), one for each coordinate"
    xp: Any = np
    if reader is interop or isinstance(given, Number):
        try:
            step = np.asarray(given, dtype=float)
        except (TypeError, ValueError):
            raise TypeError(f"{rule}; got {given!r}") from None
    else:
        xp, step = reader.xp, reader.start(given, name)
    if step.shape not in {(), (1,), (n,)}:
        raise ValueError(f"{rule}; got shape {step.shape}")
    if not xp.isfinite(step).all():
        raise ValueError(f"{rule}; got {given!r}")
    return step


def _scheme(jac: Any, eps: Any) -> tuple[str, Any]:
    """Return the scheme of finite differences that `jac` names, and the absolute step if it has one."""
    if jac is None or jac is False:
        return "2-point", eps
    if isinstance(jac, str) and jac in SCHEMES:
        return jac, None
    raise ValueError(f"jac must be True, a callable, one of {', '.join(map(repr, SCHEMES))}, or None; got {jac!r}")


def _mapping(workers: Any, single: bool, jac: Any, reader: Any) -> tuple[Callable[..., Any] | None, Any]:
    """Return the map that evaluates the difference points of one problem, as SciPy's option `workers` says.

    And the pool behind it, to be terminated; None if there is none.
    """
    if workers is None or jac is True or callable(jac):
        return None, None
    if not single:
        raise ValueError(
            "options['workers'] is for finite differences of one problem; all difference points of a batch go into "
            "one call of fun, so leave it out (the keyword workers sets the solver's threads)"
        )
    if reader is not interop:
        raise ValueError(
            "options['workers'] is for points in the host's memory, and x0 is on a GPU; leave it out, and give x0 as "
            "a batch of one, x0[None], to have all difference points in one call of fun"
        )
    if callable(workers):
        return workers, None
    if isinstance(workers, int) and (workers == -1 or workers >= 1):
        import multiprocessing

        pool = multiprocessing.Pool(None if workers == -1 else workers)
        return pool.map, pool
    raise ValueError(f"options['workers'] must be a positive integer, -1 or a map-like callable; got {workers!r}")
