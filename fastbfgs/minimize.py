"""SciPy's face: `minimize`, and `lbfgs`, `lbfgsb`, `bfgs` for ``scipy.optimize.minimize(method=...)``.

How it differs from SciPy's L-BFGS-B and BFGS, and why, stands in README.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from numbers import Number
from typing import Any

import numpy as np

from fastbfgs import device, driver, interop, pieces
from fastbfgs.batch_result import BatchResult
from fastbfgs.dialects import (
    ALL_FIXED,
    DIALECTS,
    NUMBERS,
    message_of,
    method_named,
    numbers_of,
    split_options,
    warn,
)
from fastbfgs.differences import SCHEMES, Stencil
from fastbfgs.foreign import Library
from fastbfgs.fused import CudaObjective
from fastbfgs.inverse import InverseHessian
from fastbfgs.native import Native, is_compiled
from fastbfgs.objective import Differences, Objective
from fastbfgs.observers import Callback, Progress
from fastbfgs.options import Options
from fastbfgs.outcome import optimize_result
from fastbfgs.recorder import Accepted, Iterates, Recorder
from fastbfgs.result import Result
from fastbfgs.solver import Solver

_Evaluated = Objective | Native | CudaObjective


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
        (15000; infinity is no limit), maxiter (15000, likewise), maxls (20), finite_diff_rel_step, workers (a number or
        a map-like callable, for finite differences of one problem); besides, xtol (0: stop when no coordinate moves by
        more), c1 (1e-3), c2 (0.97), and hess_inv0, a positive diagonal ``(n,)`` or ``(..., n)`` of the initial inverse
        Hessian, without bounds, and pairs (None; "float32" keeps those of a float64 problem without bounds in half the
        memory).
        BFGS: gtol (1e-5), norm (inf), eps (1.5e-8), maxiter (200 n), disp, return_all, finite_diff_rel_step, xrtol (0),
        c1 (1e-4), c2 (0.9), workers, and hess_inv0, a positive definite matrix ``(n, n)`` or ``(..., n, n)``.
    batch_args : tuple of array_like (..., *)
        Arrays with the leading axes of the batch; fun gets the rows of the members it is asked about, one leading axis,
        to read only: they may be these arrays themselves, or copies for several calls.
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
    if not (callable(fun) or _runs_by_itself(fun)):
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
        pieces.refuse(chunk, start, compiled, callback, progress, record, options)
    single, shape, n = start.ndim == 1, start.shape[:-1], start.shape[-1]
    if method is None:
        method = "BFGS" if single and bounds is None else "L-BFGS-B"
    name = method_named(method, bounds, constraints)
    if hess is not None:
        warn(f"Method {method} does not use Hessian information (hess).", RuntimeWarning)
    if hessp is not None:
        warn(f"Method {method} does not use Hessian-vector product information (hessp).", RuntimeWarning)
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
        fun, jac = (fun if fused else Native(fun, start.dtype)), True
    arrays = _batch_arrays(batch_args, shape, reader) if batch_args else ()
    box = None if bounds is None else reader.box(bounds, shape, n, start.dtype)
    kernel, face = split_options(options, tol, name, method, n)
    h0 = face.get("hess_inv0")
    if h0 is not None:
        if box is not None:
            raise ValueError("hess_inv0 does not go with bounds; leave one of them out")
        read = reader.matrix if name == "BFGS" else reader.diagonal
        h0 = read(h0, shape, n, start.dtype, "hess_inv0")
    if chunk is None:
        result = _solve(
            reader, args, kernel, face, callback, compact, workers, progress, record, fun, jac, start, arrays, box, h0
        )
    else:
        solve = partial(_solve, reader, args, kernel, face, callback, compact, workers, progress, record)
        result = pieces.in_pieces(solve, chunk, reader, fun, jac, start, arrays, box, h0, name)
    if face.get("disp"):
        _show(result)
    return result


def _solve(
    reader: Any,
    args: tuple[Any, ...],
    kernel: Options,
    face: dict[str, Any],
    callback: Callable[..., Any] | None,
    compact: bool | None,
    workers: int | None,
    progress: Any,
    record: Callable[[Accepted], Any] | None,
    fun: Any,
    jac: Any,
    start: Any,
    arrays: tuple[Any, ...],
    box: Any,
    h0: Any,
) -> Any:
    """Do what `_minimize` does, of arguments that it has read; `fun` may be a `Native`."""
    single, n = start.ndim == 1, start.shape[-1]
    mapping, pool = _mapping(face["workers"], single, jac, reader) if "workers" in face else (None, None)
    bar = most = None
    try:
        objective: _Evaluated
        if isinstance(fun, (Native, CudaObjective)):
            objective = fun
        elif jac is True or callable(jac):
            objective = Objective(fun, jac, args, arrays, single)
        else:
            scheme, absolute = _scheme(jac, _step("eps", face.get("eps", DIALECTS[kernel.method].eps), n, reader))
            relative = _step("finite_diff_rel_step", face.get("finite_diff_rel_step"), n, reader)
            stencil = Stencil(n, scheme, absolute, relative, box, reader.xp)
            objective = Differences(fun, args, arrays, single, stencil, mapping, reader)
            # SciPy's maxfun counts the values behind a difference gradient too.
            most = kernel.maxfun // objective.evaluations
        if compact is None:
            compact = bool(arrays) or objective.fun_takes_rows or objective.jac_takes_rows
        solver = Solver(
            start,
            kernel,
            h0=None if h0 is None else interop.Checked(h0),
            bounds=None if box is None else interop.Checked(box),
            compact=compact,
            workers=workers,
        )
        if most is not None:
            solver._limit(max(1, most) if isinstance(most, int) else most.clip(1, None))
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
            return driver.run_compiled(solver, objective, watchers, report)
        return driver.run(solver, objective, watchers, report)
    finally:
        if pool is not None:
            pool.terminate()
        if bar is not None:
            bar.close()


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


def _scipy_result(solver: Solver, objective: _Evaluated, h0: Any, iterates: Iterates | None) -> Any:
    """Return where the solver stands in SciPy's words."""
    result, method = solver.result(), solver.options.method
    vectors = None if iterates is None else iterates.vectors()
    if solver.shape:
        h = solver.inverse_hessian() if method == "BFGS" else None
        return _batch_result(result, objective, solver, h, vectors)
    box = solver.box
    fixed = box is not None and result.nit == 0 and result.converged and bool((box[0] == box[1]).all())
    fields = {
        "x": result.x,
        "fun": result.f,
        "jac": result.g if objective.fixed is None else _gradient(result, objective),
        "nit": result.nit,
        "nfev": result.nfev * objective.evaluations,
        "njev": result.nfev * objective.gradients,
        "status": NUMBERS.get(result.status, 0),
        "success": result.converged,
        "message": ALL_FIXED if fixed else message_of(result.status, method),
        "hess_inv": solver.inverse_hessian() if method == "BFGS" else InverseHessian(solver, h0),
    }
    if vectors is not None:
        fields["allvecs"] = vectors
    return optimize_result(fields)


def _intermediate(solver: Solver, objective: _Evaluated) -> Any:
    """Return what a callback sees."""
    result = solver.result()
    if solver.shape:
        return _batch_result(result, objective, solver)
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
    solver: Solver,
    h: np.ndarray | None = None,
    vectors: Any = None,
) -> BatchResult:
    shape, fixed = solver.shape, None
    evaluations, gradients = (
        count if isinstance(count, int) else count.reshape(shape)
        for count in (objective.evaluations, objective.gradients)
    )
    if solver.box is not None:
        fixed = (solver.box[..., 0, :] == solver.box[..., 1, :]).all(axis=-1)
        fixed = result.converged & (fixed.reshape(shape) if fixed.ndim else fixed)
    with np.errstate(all="ignore"):  # beyond float32 f is infinite
        f = result.f.astype(result.x.dtype, copy=False)
    return BatchResult(
        x=result.x, fun=f, jac=_gradient(result, objective), nit=result.nit, nfev=result.nfev * evaluations,
        njev=result.nfev * gradients, status=numbers_of(result.status), reason=result.status,
        success=result.converged, calls=result.calls, method=solver.options.method, hess_inv=h, fixed=fixed,
        allvecs=vectors,
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
        warn(result.message)
    print(f"         Current function value: {result.fun:f}")
    print(f"         Iterations: {result.nit:d}")
    print(f"         Function evaluations: {result.nfev:d}")
    print(f"         Gradient evaluations: {result.njev:d}")


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
    if isinstance(workers, (int, np.integer)) and (workers == -1 or workers >= 1):
        if workers == 1:  # as in SciPy: this process
            return None, None
        import multiprocessing

        pool = multiprocessing.Pool(None if workers == -1 else int(workers))
        return pool.map, pool
    raise ValueError(f"options['workers'] must be a positive integer, -1 or a map-like callable; got {workers!r}")
