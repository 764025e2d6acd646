"""TensorFlow Probability's face: `lbfgs_minimize` and `bfgs_minimize`, their results, and when to stop.

Arguments, defaults, result fields and shapes are TFP's (`tfp.optimizer`, version 0.25). How it differs, and why, stands
in README.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from fastbfgs import device, driver, foreign, interop
from fastbfgs.native import Native, is_compiled
from fastbfgs.objective import Objective, takes_rows
from fastbfgs.options import Options, options_of
from fastbfgs.result import Result, Status, converged
from fastbfgs.solver import Solver

_WORDS = {
    "history": "num_correction_pairs",
    "gtol": "tolerance",
    "xtol": "x_tolerance",
    "frtol": "f_relative_tolerance",
    "fatol": "f_absolute_tolerance",
    "maxiter": "max_iterations",
    "maxls": "max_line_search_iterations",
    "scale_h0": "scale_initial_inverse_hessian",
}
_NO_LIMIT = 2**62
_C2 = 0.5
_C2_EXACT = 0.05
"""Curvature constants, tighter than that of `Options`: TFP's limits are in iterations, and its searches nearly exact.

With 0.5 instead of 0.97, 81 problems of n <= 10 take 0.73 times the iterations and 0.98 times the evaluations. With
fewer pairs than coordinates a nearly exact search does what the pairs cannot, as in conjugate gradients: 38 problems of
n > 10 take 0.63 times the iterations, if 1.37 times the evaluations, and TFP's own example, a bowl of 60 dimensions, 49
iterations instead of 85, as by TFP; the limit is 50 by default. And BFGS, whose inverse Hessian is read as a
covariance, then knows that of a quadratic function of n coordinates after n steps.
"""


class LBfgsOptimizerResults(NamedTuple):
    """What `lbfgs_minimize` returns: TFP's fields, and from `member_iterations` on what it has not.

    Parameters
    ----------
    converged : ndarray (...) of bool
        A tolerance was met, f is -inf, or rounding noise of f hides all further decrease.
    failed : ndarray (...) of bool
        f or its gradient was NaN or infinite at the start, or no step along the steepest descent lowers f. Never both;
        neither, if the member was still running when the run ended.
    num_iterations : int
        Iterations of the member that took most.
    num_objective_evaluations : int
        Calls of the function, for all members together.
    position : ndarray (..., n)
        The last point each member accepted.
    objective_value : ndarray (...)
        f there.
    objective_gradient : ndarray (..., n)
        Its gradient there.
    position_deltas, gradient_deltas : ndarray (m, ..., n)
        The pairs s and y that each member remembers, the newest last, zeros before them.
    member_iterations, member_evaluations : ndarray (...) of int64
        Iterations and evaluations of each member.
    reason : ndarray (...) of int32
        The `fastbfgs.Status` of each; `fastbfgs.sentence` and `fastbfgs.cure` put it into words.
    search_state : tuple
        The line searches under way, for `previous_optimizer_results`.
    """

    converged: np.ndarray
    failed: np.ndarray
    num_iterations: int
    num_objective_evaluations: int
    position: np.ndarray
    objective_value: np.ndarray
    objective_gradient: np.ndarray
    position_deltas: np.ndarray
    gradient_deltas: np.ndarray
    member_iterations: np.ndarray
    member_evaluations: np.ndarray
    reason: np.ndarray
    search_state: Any


class BfgsOptimizerResults(NamedTuple):
    """What `bfgs_minimize` returns: TFP's fields, and from `member_iterations` on what it has not.

    Parameters
    ----------
    converged, failed, num_iterations, num_objective_evaluations, position, objective_value, objective_gradient
        As in `LBfgsOptimizerResults`.
    inverse_hessian_estimate : ndarray (..., n, n)
        What each member has learnt of the inverse Hessian; the initial one of a member that has learnt nothing.
    scale_initial_inverse_hessian : bool
        As it was given.
    member_iterations, member_evaluations, reason
        As in `LBfgsOptimizerResults`.
    """

    converged: np.ndarray
    failed: np.ndarray
    num_iterations: int
    num_objective_evaluations: int
    position: np.ndarray
    objective_value: np.ndarray
    objective_gradient: np.ndarray
    inverse_hessian_estimate: np.ndarray
    scale_initial_inverse_hessian: bool
    member_iterations: np.ndarray
    member_evaluations: np.ndarray
    reason: np.ndarray


def converged_all(converged: Any, failed: Any) -> Any:
    """Stop when every member has converged or failed: the default `stopping_condition`.

    Parameters
    ----------
    converged, failed : array (...) of bool

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> bool(converged_all(np.array([True, False]), np.array([False, True])))
    True
    """
    return (converged | failed).all()


def converged_any(converged: Any, failed: Any) -> Any:
    """Stop when any member has converged, or all have failed.

    Parameters
    ----------
    converged, failed : array (...) of bool

    Returns
    -------
    bool

    Examples
    --------
    >>> import numpy as np
    >>> bool(converged_any(np.array([True, False]), np.array([False, False])))
    True
    """
    return converged.any() | failed.all()


def lbfgs_minimize(
    value_and_gradients_function: Callable[..., Any],
    initial_position: Any = None,
    previous_optimizer_results: Any = None,
    num_correction_pairs: int = 10,
    tolerance: float = 1e-8,
    x_tolerance: float = 0,
    f_relative_tolerance: float = 0,
    initial_inverse_hessian_estimate: Any = None,
    max_iterations: int = 50,
    parallel_iterations: int = 1,
    stopping_condition: Callable[[Any, Any], Any] | None = None,
    max_line_search_iterations: int = 50,
    f_absolute_tolerance: float = 0,
    name: str | None = None,
    *,
    compact: bool = False,
) -> LBfgsOptimizerResults:
    """Minimise one function, or a batch of them, by L-BFGS, in the words of `tfp.optimizer.lbfgs_minimize`.

    Parameters
    ----------
    value_and_gradients_function : callable
        Takes points ``(..., n)`` and returns f ``(...)`` and its gradient ``(..., n)``. All rows come in every call,
        finished ones at their final point, unless `compact` is set. NaN and infinite values are taken as "too far".
        It owns the array it is given. If it has a parameter named ``rows``, that is given the indices of the members in
        the flattened batch. Or a compiled objective, see `Solver.run`: then all runs without the interpreter, and there
        can be no `stopping_condition`.
    initial_position : array_like (n,) or (..., n)
        Start of one problem, or of each member of a batch. Float32 is computed in float32, other numbers in float64.
        If it is a PyTorch tensor, a JAX array or the like, so are all arrays that functions are given, and those in the
        results, except `search_state`: see `fastbfgs.minimize`. One problem's numbers, as its value and whether it has
        converged, are NumPy's. On a GPU, of CuPy or of those, all runs there.
    previous_optimizer_results : LBfgsOptimizerResults, optional
        Go on from these, in place of `initial_position`; any object with TFP's fields will do. Members that have
        converged or failed there stay as they are, also if the tolerances are tighter now: clear the flags with
        ``_replace`` to run them on. Counts go on, too. The function is not called again at the positions.
    num_correction_pairs : int
        Pairs that a member remembers. Previous results have their own number.
    tolerance : float
        Converged once max ``|g_i|`` is at most this.
    x_tolerance : float
        Converged once a step changes no coordinate by more than this. 0 switches the test off, as in the next two.
    f_relative_tolerance, f_absolute_tolerance : float
        Converged once a step lowers f by no more than the first times ``|f|``, or by no more than the second.
    initial_inverse_hessian_estimate : array_like or callable, optional
        Diagonal of the initial inverse Hessian, positive, of a shape that broadcasts to ``(..., n)``; or a function of
        `initial_position` that returns one. By default it is the identity, scaled by every pair that is learnt; a given
        one is used as it is, and in later runs that go on from the results of this one.
    max_iterations : int
        Iterations of a member at most, those before `previous_optimizer_results` included.
    parallel_iterations : int
        Ignored: no member waits for another, whatever it is. Solver threads are set by ``FASTBFGS_NUM_THREADS``.
    stopping_condition : callable, optional
        ``stopping_condition(converged, failed)`` of two arrays ``(...)`` of bool: true ends the run. Asked whenever a
        member has finished. Default: `converged_all`; there is also `converged_any`. On a GPU the host waits after each
        call of the function to hear who has finished, unless it is `converged_all`.
    max_line_search_iterations : int
        Evaluations of one line search at most.
    name : str, optional
        Ignored: there is no graph whose parts need names.
    compact : bool
        Whether the function is called with the points ``(k, n)`` of the members alone that still run.

    Returns
    -------
    LBfgsOptimizerResults

    Raises
    ------
    TypeError, ValueError
        If an argument breaks its rule, before the function is called; or if it returns something else than promised, at
        the first call.
    BaseException
        What the function raises, Ctrl-C included. The exception then has an attribute ``partial_result``: the results
        as they stood, from which another run can go on.

    References
    ----------
    J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, Algorithm 7.5.

    Examples
    --------
    A bowl of 60 dimensions:

    >>> import numpy as np
    >>> import fastbfgs
    >>> scales, minimum = np.arange(60) + 1.0, np.ones(60)
    >>> def bowl(x):
    ...     return (scales * (x - minimum) ** 2).sum(axis=-1), 2 * scales * (x - minimum)
    >>> results = fastbfgs.lbfgs_minimize(bowl, initial_position=np.arange(60.0, 0.0, -1.0), tolerance=1e-8)
    >>> results.converged, results.failed
    (np.True_, np.False_)
    >>> np.testing.assert_allclose(results.position, minimum)

    Stop when the first of three has arrived, then go on to the end:

    >>> starts = np.ones((3, 60)) * [[9.0], [1.0], [2.0]]
    >>> first = fastbfgs.lbfgs_minimize(bowl, starts, stopping_condition=fastbfgs.converged_any)
    >>> first.converged, first.num_objective_evaluations
    (array([False,  True, False]), 1)
    >>> fastbfgs.lbfgs_minimize(bowl, previous_optimizer_results=first).converged
    array([ True,  True,  True])
    """
    if (initial_position is None) == (previous_optimizer_results is None):
        both = "both" if initial_position is not None else "neither"
        raise ValueError(
            f"exactly one of initial_position and previous_optimizer_results must be given; got {both}. "
            "Give the first to start, the second to go on."
        )
    given: dict[str, Any] = {
        "gtol": tolerance,
        "ftol": 0.0,
        "frtol": f_relative_tolerance,
        "fatol": f_absolute_tolerance,
        "xtol": x_tolerance,
        "maxiter": max_iterations,
        "maxfun": _NO_LIMIT,
        "maxls": max_line_search_iterations,
    }
    before = None if previous_optimizer_results is None else _Previous(previous_optimizer_results)
    if before is None:
        reader = device.reader(initial_position, "initial_position")
        start, library = reader.enter(initial_position, "initial_position")
    else:
        reader, start, library = before.reader, before.result.x, before.library
    with reader.at_work():
        h0 = _diagonal(initial_inverse_hessian_estimate, start, library, reader)
        if before is None:
            options = _lbfgs_options(given, num_correction_pairs, start.shape[-1])
            solver = Solver(start, options, h0=h0, compact=compact)
            resting = None
        else:
            options = _lbfgs_options(given, len(before.memories[0]), start.shape[-1])
            h0 = h0 or before.h0
            solver = Solver.resume(
                before.result, before.memories, options, searches=before.searches, h0=h0, compact=compact
            )
            resting = before.converged, before.failed

        def report() -> LBfgsOptimizerResults:
            s, y = solver.memories()
            common, members = _fields(solver, resting)
            return LBfgsOptimizerResults._make((*common, s, y, *members, (*solver.searches(), h0)))

        results: LBfgsOptimizerResults = _run(
            solver, value_and_gradients_function, stopping_condition, resting, report, library
        )
        return results


def bfgs_minimize(
    value_and_gradients_function: Callable[..., Any],
    initial_position: Any,
    tolerance: float = 1e-8,
    x_tolerance: float = 0,
    f_relative_tolerance: float = 0,
    initial_inverse_hessian_estimate: Any = None,
    scale_initial_inverse_hessian: bool = True,
    max_iterations: int = 50,
    parallel_iterations: int = 1,
    stopping_condition: Callable[[Any, Any], Any] | None = None,
    validate_args: bool = True,
    max_line_search_iterations: int = 50,
    f_absolute_tolerance: float = 0,
    name: str | None = None,
    *,
    compact: bool = False,
) -> BfgsOptimizerResults:
    """Minimise one function, or a batch of them, by BFGS, in the words of `tfp.optimizer.bfgs_minimize`.

    Parameters
    ----------
    value_and_gradients_function, initial_position, tolerance, x_tolerance, f_relative_tolerance, f_absolute_tolerance
        As in `lbfgs_minimize`.
    initial_inverse_hessian_estimate : array_like or callable, optional
        Initial inverse Hessian, symmetric and positive definite, of a shape that broadcasts to ``(..., n, n)``; or a
        function of `initial_position` that returns one. Default: the identity.
    scale_initial_inverse_hessian : bool
        Whether the initial inverse Hessian, a given one too, is multiplied by s.y / y.y of the first pair before it
        learns that.
    validate_args : bool
        Whether `initial_inverse_hessian_estimate` is checked for symmetry and positive definiteness. A direction that
        does not descend is a failure of its member alone.
    max_iterations, parallel_iterations, stopping_condition, max_line_search_iterations, name, compact
        As in `lbfgs_minimize`.

    Returns
    -------
    BfgsOptimizerResults

    Raises
    ------
    TypeError, ValueError, BaseException
        As in `lbfgs_minimize`.

    References
    ----------
    J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, Algorithm 6.1.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> def bowl(x):
    ...     return ((x - [1.0, 2.0]) ** 2 * [1.0, 5.0]).sum(axis=-1), 2 * (x - [1.0, 2.0]) * [1.0, 5.0]
    >>> results = fastbfgs.bfgs_minimize(bowl, initial_position=np.zeros((3, 2)))
    >>> results.position.round(6)
    array([[1., 2.],
           [1., 2.],
           [1., 2.]])
    >>> abs(results.inverse_hessian_estimate[0]).round(2)
    array([[0.5, 0. ],
           [0. , 0.1]])
    """
    options = options_of(
        _WORDS,
        method="BFGS",
        gtol=tolerance,
        ftol=0.0,
        frtol=f_relative_tolerance,
        fatol=f_absolute_tolerance,
        xtol=x_tolerance,
        maxiter=max_iterations,
        maxfun=_NO_LIMIT,
        maxls=max_line_search_iterations,
        scale_h0=scale_initial_inverse_hessian,
        c2=_C2_EXACT,
    )
    reader = device.reader(initial_position, "initial_position")
    start, library = reader.enter(initial_position, "initial_position")
    with reader.at_work():
        h0 = _matrix(initial_inverse_hessian_estimate, start, validate_args, library, reader)
        solver = Solver(start, options, h0=h0, compact=compact)

        def report() -> BfgsOptimizerResults:
            H = solver.inverse_hessian()
            common, members = _fields(solver, None)
            return BfgsOptimizerResults._make((*common, H, scale_initial_inverse_hessian, *members))

        results: BfgsOptimizerResults = _run(
            solver, value_and_gradients_function, stopping_condition, None, report, library
        )
        return results


def _lbfgs_options(given: dict[str, Any], pairs: Any, n: int) -> Options:
    options = options_of(_WORDS, history=pairs, c2=_C2, **given)
    return options if n <= options.history else options_of(**(vars(options) | {"c2": _C2_EXACT}))


def _run(
    solver: Solver,
    function: Callable[..., Any],
    condition: Callable[[Any, Any], Any] | None,
    resting: tuple[np.ndarray, np.ndarray] | None,
    report: Callable[[], Any],
    library: foreign.Library | None,
) -> Any:
    """Run `solver` on the function, until all have finished or the condition holds.

    Both take arrays of `library`, and so has the report them, if it is not None.
    """
    if library is not None:
        report = library.returning(report)
    if is_compiled(function):
        if not (condition is None or condition is converged_all):
            raise ValueError(
                "a compiled value_and_gradients_function runs without the interpreter, so only converged_all can be "
                "its stopping_condition; leave it out"
            )
        return driver.run_compiled(solver, Native(function, solver.dtype), [], report)
    if not callable(function):
        raise TypeError(f"value_and_gradients_function must be callable; got {type(function).__name__}")
    if not (condition is None or callable(condition)):
        raise TypeError(f"stopping_condition must be callable or None; got {type(condition).__name__}")
    if condition is converged_all:
        condition = None  # the same, and nobody waits to hear of each member on a GPU
    if library is not None:
        function = library.function(function)
        condition = condition and library.function(condition)
    stop = None if condition is None else _Condition(condition, resting)
    if stop is not None and resting is not None and stop(solver):
        return report()
    rows = _Rows(function, solver)
    plain = not rows.takes_rows and len(rows.shape) < 2  # as it is, it does what `rows` does
    objective = Objective(function if plain else rows, True, (), (), solver.shape == (), _pair)
    return driver.run(solver, objective, [] if stop is None else [stop], report)


class _Rows:
    """The user's function of points ``(..., n)`` as one of the solver's rows."""

    def __init__(self, function: Callable[..., Any], solver: Solver) -> None:
        self.function = function
        self.takes_rows = takes_rows(function)
        self.shape = () if solver.compact else solver.shape
        self.n = solver.n

    def __call__(self, x: np.ndarray, rows: Any = None) -> tuple[Any, Any]:
        folded = len(self.shape) > 1
        if folded:
            x = x.reshape(*self.shape, self.n)
        returned = self.function(x, rows=rows) if self.takes_rows else self.function(x)
        f, g = _pair(returned)
        if folded:
            if np.shape(f) != self.shape or np.shape(g) != (*self.shape, self.n):
                raise ValueError(
                    "value_and_gradients_function must return values and gradients of the shapes "
                    f"{self.shape} and {(*self.shape, self.n)} for that batch; got {np.shape(f)} and {np.shape(g)}"
                )
            f, g = np.reshape(f, -1), np.reshape(g, (-1, self.n))
        return f, g


def _pair(returned: Any) -> tuple[Any, Any]:
    """Return value and gradients as the user's function returned them."""
    if isinstance(returned, (tuple, list)) and len(returned) == 2:
        return returned[0], returned[1]
    got = f"{len(returned)} things" if isinstance(returned, (tuple, list)) else f"a {type(returned).__name__}"
    raise TypeError(f"value_and_gradients_function must return the pair (value, gradients); got {got}")


class _Condition:
    """The user's stopping condition, asked whenever a member has finished."""

    def __init__(self, condition: Callable[[Any, Any], Any], resting: tuple[np.ndarray, np.ndarray] | None) -> None:
        self.condition = condition
        self.resting = resting
        self.live = -1

    def __call__(self, solver: Solver) -> bool:
        solver._hear()
        if solver.live == self.live:
            return False
        self.live = solver.live
        answer = self.condition(*_flags(solver.status, self.resting))
        if getattr(answer, "size", 1) != 1:
            raise ValueError(f"stopping_condition must return one truth value; got an array of shape {answer.shape}")
        return bool(answer)


def _flags(status: Any, resting: tuple[np.ndarray, np.ndarray] | None) -> tuple[Any, Any]:
    """Return which members have converged, and which have failed; those at rest from the beginning as they were."""
    good, bad = _verdicts(status)
    if isinstance(status, int):  # one problem's
        good, bad = np.bool_(good), np.bool_(bad)
    return (good, bad) if resting is None else (good | resting[0], bad | resting[1])


_ARRIVED = int(Status.STALLED), int(Status.UNBOUNDED)
_LOST = int(Status.ABNORMAL), int(Status.NONFINITE_START)


def _verdicts(reason: Any) -> tuple[Any, Any]:
    """Return whether TFP calls a status, or each of an array of them, converged, and whether failed."""
    good = converged(reason) | (reason == _ARRIVED[0]) | (reason == _ARRIVED[1])
    return good, (reason == _LOST[0]) | (reason == _LOST[1])


def _fields(solver: Solver, resting: tuple[np.ndarray, np.ndarray] | None) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what both kinds of results begin with, and what they say of each member: its counts and its reason."""
    result = solver.result()
    single, kind = solver.shape == (), result.x.dtype
    f = kind.type(result.f) if single else result.f.astype(kind, copy=False)
    nit = result.nit if single else int(result.nit.max()) if len(solver) else 0
    common = (*_flags(result.status, resting), nit, solver.calls, result.x, f, result.g)
    return common, (result.nit, result.nfev, result.status)


def _diagonal(estimate: Any, start: Any, library: foreign.Library | None, reader: Any) -> interop.Checked | None:
    """Return the initial inverse Hessian's diagonal, checked."""
    if estimate is None:
        return None
    shape, n = start.shape[:-1], start.shape[-1]
    estimate = _broadcast(estimate, start, start.shape, library, reader)
    return interop.Checked(reader.diagonal(estimate, shape, n, start.dtype, "initial_inverse_hessian_estimate"))


def _matrix(
    estimate: Any, start: Any, check: bool, library: foreign.Library | None, reader: Any
) -> interop.Checked | None:
    """Return the initial inverse Hessian, checked or not."""
    if estimate is None:
        return None
    shape, n = start.shape[:-1], start.shape[-1]
    estimate = _broadcast(estimate, start, (*start.shape, n), library, reader)
    return interop.Checked(reader.matrix(estimate, shape, n, start.dtype, "initial_inverse_hessian_estimate", check))


def _broadcast(estimate: Any, start: Any, shape: tuple[int, ...], library: foreign.Library | None, reader: Any) -> Any:
    """Return `estimate`, or what it says of the start, in `shape`."""
    name = "initial_inverse_hessian_estimate"
    if library is not None:
        estimate = library.function(estimate) if callable(estimate) else library.argument(estimate, name)
    given = reader.start(estimate(start.copy()) if callable(estimate) else estimate, name)
    try:
        return reader.xp.broadcast_to(given, shape)
    except ValueError:
        raise ValueError(f"{name} must have a shape that broadcasts to {shape}; got {given.shape}") from None


class _Previous:
    """Earlier results, read and checked: `result`, `memories`, `searches`, `h0`, who rests, and the library of all."""

    def __init__(self, given: Any) -> None:
        position = getattr(given, "position", None)
        self.reader = device.reader(position, _POSITION)
        self.library = device.lender(position, _POSITION)
        with self.reader.at_work():
            self._read(given)

    def _read(self, given: Any) -> None:
        x = self.reader.start(self._field(given, "position"), _POSITION)
        shape = x.shape[:-1]
        rule = {"objective_value": shape, "objective_gradient": x.shape, "converged": shape, "failed": shape}
        arrays = {name: self._array(given, name, wanted, x.dtype) for name, wanted in rule.items()}
        self.converged, self.failed = arrays["converged"], arrays["failed"]
        s, y = (self._field(given, name) for name in ("position_deltas", "gradient_deltas"))
        for name, pairs in (("position_deltas", s), ("gradient_deltas", y)):
            if pairs.ndim != x.ndim + 1 or len(pairs) == 0:
                raise ValueError(
                    f"previous_optimizer_results.{name} must have shape {('m', *x.shape)} with m of at least 1, "
                    f"as its position; got {pairs.shape}"
                )
            self._check(name, pairs, (len(s), *x.shape), x.dtype)
        self.memories = s, y

        nit = self._field(given, "member_iterations", "num_iterations")
        nfev = self._field(given, "member_evaluations", "num_objective_evaluations")
        reason = self._field(given, "reason") if hasattr(given, "reason") else int(Status.STOPPED)
        reader = self.reader if shape else interop  # one problem's numbers are on the host, wherever its arrays are
        nit, nfev, reason = (
            reader.spread(each, f"previous_optimizer_results.{name}", shape, kind, _POSITION)
            for each, name, kind in (
                (nit, "member_iterations", np.int64),
                (nfev, "member_evaluations", np.int64),
                (reason, "reason", np.int32),
            )
        )
        # What has been changed by hand has no reason that we know of.
        good, bad = _verdicts(reason)
        known = (good == self.converged) & (bad == self.failed)
        status = reader.xp.where(known, reason, int(Status.STOPPED))
        status = reader.xp.where(self.converged | self.failed, status, int(Status.RUNNING))
        calls = int(self._field(given, "num_objective_evaluations"))
        f, g = arrays["objective_value"], arrays["objective_gradient"]
        self.result = Result(x, f, g, nit, nfev, status, calls)
        state: Any = getattr(given, "search_state", None) or (None, None, None)
        self.searches: Any = None if state[0] is None else state[:2]
        self.h0: interop.Checked | None = state[2]

    def _field(self, given: Any, *names: str) -> Any:
        """Return the first of these fields that there is, as an array where the position is; one number as NumPy's."""
        name = next((name for name in names if hasattr(given, name)), names[-1])
        if not hasattr(given, name):
            raise TypeError(
                "previous_optimizer_results must be what lbfgs_minimize has returned, or have its fields; "
                f"got {type(given).__name__} without {name}"
            )
        field = getattr(given, name)
        if self.library is not None:
            field = self.library.argument(field, f"previous_optimizer_results.{name}")
        if not isinstance(field, (Number, np.generic)):
            field = self.reader.argument(field, f"previous_optimizer_results.{name}", _POSITION)
        return field if np.ndim(field) else np.asarray(device.on_host(field))

    def _array(self, given: Any, name: str, shape: tuple[int, ...], dtype: np.dtype) -> Any:
        array = self._field(given, name)
        self._check(name, array, shape, np.dtype(bool) if name in ("converged", "failed") else dtype)
        return array

    def _check(self, name: str, array: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"previous_optimizer_results.{name} must have shape {shape} and dtype {dtype}, to go with position; "
                f"got {array.shape} of {array.dtype}"
            )


_POSITION = "previous_optimizer_results.position"
