"""Run an optimizer step by step, record what a function picks of each step, and stop once a criterion holds.

The words and the rules are those of `tfp.math.minimize`; what differs stands in the docstrings.
"""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from contextlib import suppress
from numbers import Number
from typing import Any, NamedTuple

import numpy as np

from fastbfgs import nests
from fastbfgs.observers import Steps
from fastbfgs.optimizers import require_variable
from fastbfgs.records import Reader, Trace, namespace


class MinimizeTraceableQuantities(NamedTuple):
    """What a `trace_fn` of one parameter is given at each step.

    Parameters
    ----------
    step : int
        From 0.
    loss, gradients
        As `loss_fn` returned them: at the variables before this step's update.
    parameters
        `trainable_variables`: the arrays themselves, after this step's update.
    has_converged : array of bool, or None
        In the shape of the loss; None without a criterion, as TFP's documentation has it.
    convergence_criterion_state
        What the criterion passes on; ``()`` without one.
    optimizer_state
        The optimizer's attribute `state`, or None.
    """

    step: int
    loss: Any
    gradients: Any
    parameters: Any
    has_converged: Any
    convergence_criterion_state: Any
    optimizer_state: Any


class ConvergenceCriterion:
    """Base of rules that end `trace_minimize` early.

    A rule of one's own overrides ``_bootstrap(loss, grads, parameters)``, which returns what the rule remembers after
    step 0, and ``_one_step(step, loss, grads, parameters, auxiliary_state)``, which returns whether each loss has
    converged and what to remember. The memory is passed on, not kept in the object, which may serve many runs.

    Parameters
    ----------
    min_num_steps : int, or array of int, optional
        Before this step nothing has converged. None, which TFP documents and refuses, means no such limit.
    name : str, optional
        For the reader.

    Raises
    ------
    TypeError, ValueError
        If `min_num_steps` is not made of numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> class SmallGradient(fastbfgs.ConvergenceCriterion):
    ...     def _bootstrap(self, loss, grads, parameters):
    ...         return ()
    ...     def _one_step(self, step, loss, grads, parameters, auxiliary_state):
    ...         return abs(grads) < 1.0, ()
    >>> x = np.array(4.0)
    >>> fastbfgs.trace_minimize(
    ...     lambda: (x**2, 2 * x), 100, fastbfgs.GradientDescent(0.25), SmallGradient(),
    ...     trainable_variables=x, return_full_length_trace=False,
    ... )
    array([16.    ,  4.    ,  1.    ,  0.25  ,  0.0625])
    """

    def __init__(self, min_num_steps: Any = None, name: str | None = None) -> None:
        if min_num_steps is not None:
            _require_numbers("min_num_steps", min_num_steps)
        self.min_num_steps = min_num_steps
        self.name = name

    def bootstrap(self, loss: Any, grads: Any, parameters: Any) -> Any:
        """Return what to remember after step 0."""
        return self._bootstrap(loss, grads, parameters)

    def one_step(self, step: int, loss: Any, grads: Any, parameters: Any, auxiliary_state: Any) -> tuple[Any, Any]:
        """Return whether each loss has converged at this step, from 1 on, and what to remember."""
        has_converged, auxiliary_state = self._one_step(step, loss, grads, parameters, auxiliary_state)
        if self.min_num_steps is not None:
            has_converged = has_converged & (step >= _beside(self.min_num_steps, loss))
        return has_converged, auxiliary_state

    def _bootstrap(self, loss: Any, grads: Any, parameters: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must have a method _bootstrap(loss, grads, parameters)")

    def _one_step(self, step: int, loss: Any, grads: Any, parameters: Any, auxiliary_state: Any) -> tuple[Any, Any]:
        raise NotImplementedError(
            f"{type(self).__name__} must have a method _one_step(step, loss, grads, parameters, auxiliary_state)"
        )


class LossNotDecreasingState(NamedTuple):
    """What `LossNotDecreasing` remembers: arrays in the shape of the loss."""

    previous_loss: Any
    average_decrease_in_loss: Any
    average_initial_decrease_in_loss: Any


class LossNotDecreasing(ConvergenceCriterion):
    """Stop once the loss falls too little: by its decrease from step to step, averaged with fading memory.

    With ``d = loss[t - 1] - loss[t]``, the average is ``a[t] = d + (1 - 1 / window_size) * (a[t - 1] - d)``, from
    ``a[0] = 0``, and the loss has converged if ``a[t] < max(atol, rtol * a0)``, where ``a0`` is the average of the step
    before, or that of step `window_size` if it is past. A NaN never converges; a loss that rises does.

    Parameters
    ----------
    atol, rtol : float or array, optional
        Tolerances, 0 where not given; at least one of them. All arguments may be arrays, an element for each loss.
    window_size : int or array of int
        Steps that the average remembers; at least 1.
    min_num_steps : int or array of int, optional
        As in `ConvergenceCriterion`; better not below `window_size`.
    name : str, optional
        For the reader.

    Raises
    ------
    TypeError, ValueError
        If there is no tolerance, the window is shorter than 1, or an argument is not made of numbers, or holds a NaN.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> x = np.array(0.0)
    >>> losses = fastbfgs.trace_minimize(
    ...     lambda: ((x - 5) ** 2, 2 * (x - 5)), 1000, fastbfgs.Adam(0.1),
    ...     fastbfgs.LossNotDecreasing(atol=0.01), trainable_variables=x, return_full_length_trace=False,
    ... )
    >>> losses.shape, losses[-1] < 0.01
    ((88,), np.True_)
    """

    def __init__(
        self,
        atol: Any = None,
        rtol: Any = None,
        window_size: Any = 10,
        min_num_steps: Any = 20,
        name: str | None = None,
    ) -> None:
        super().__init__(min_num_steps, name)
        if atol is None and rtol is None:
            raise ValueError("LossNotDecreasing needs atol or rtol, or both; got neither")
        for tolerance, given in (("atol", atol), ("rtol", rtol)):
            if given is not None:
                _require_numbers(tolerance, given)
        _require_numbers("window_size", window_size)
        window = window_size if hasattr(window_size, "shape") else np.asarray(window_size)
        if not bool((window >= 1).all()):
            raise ValueError(f"window_size must be at least 1; got {window_size!r}")
        self.atol = atol
        self.rtol = rtol
        self.window_size = window_size

    def _bootstrap(self, loss: Any, grads: Any, parameters: Any) -> LossNotDecreasingState:
        zero = namespace(loss).zeros_like(loss)
        return LossNotDecreasingState(loss * 1, zero, zero)

    def _one_step(
        self, step: int, loss: Any, grads: Any, parameters: Any, auxiliary_state: LossNotDecreasingState
    ) -> tuple[Any, LossNotDecreasingState]:
        previous, average, initial = auxiliary_state
        atol = 0.0 if self.atol is None else _beside(self.atol, loss)
        rtol = 0.0 if self.rtol is None else _beside(self.rtol, loss)
        window = _beside(self.window_size, loss)
        with np.errstate(invalid="ignore", over="ignore"):  # infinite losses: their averages are NaN
            decrease = previous - loss
            average = decrease + (1.0 - 1.0 / window) * (average - decrease)
            has_converged = (average < atol) | (average < rtol * initial)
        early = step <= window
        if isinstance(early, bool):
            initial = average if early else initial
        else:
            initial = namespace(early).where(early, average, initial)
        # A copy of the loss: loss_fn may return the same array each time.
        return has_converged, LossNotDecreasingState(loss * 1, average, initial)


_NOTE = "The variables are as these left them; their trace is in this exception's attribute partial_trace."


def _trace_loss(loss: Any, gradients: Any, variables: Any) -> Any:
    return loss


def trace_minimize(
    loss_fn: Callable[[], tuple[Any, Any]],
    num_steps: int,
    optimizer: Any,
    convergence_criterion: ConvergenceCriterion | None = None,
    batch_convergence_reduce_fn: Callable[[Any], Any] = np.all,
    trainable_variables: Any = None,
    trace_fn: Callable[..., Any] = _trace_loss,
    return_full_length_trace: bool = True,
    progress: Any = None,
    name: str | None = None,
) -> Any:
    """Take `num_steps` steps of an optimizer, and return what `trace_fn` picked of each.

    A step evaluates the loss, updates the variables, asks the criterion, and traces. So the loss and the gradients
    traced at step t are those before update t, the variables those after it: ``loss[t + 1]`` belongs to
    ``variables[t]``, and the loss at the final variables is not evaluated. These are the rules of `tfp.math.minimize`,
    as is that step 0 is always taken: 0 steps are 1.

    Parameters
    ----------
    loss_fn : callable
        ``loss_fn()`` returns ``(loss, gradients)`` at the variables as they are: a number, or an array (...) for a
        batch, and gradients in the structure of `trainable_variables`, or as a flat list in its order, or the gradient
        alone if there is one variable. There is no tape.
    num_steps : int
        Updates at most; not negative.
    optimizer : object
        With ``apply_gradients(grads_and_vars)``, as those in `fastbfgs.optimizers` (which says what `LBFGS` asks for
        besides).
    convergence_criterion : ConvergenceCriterion, optional
        Ends the run early. It is first asked at step 1, and with arrays on a device waits for the answer in each step.
    batch_convergence_reduce_fn : callable
        Whether to stop, given whether each loss has converged: `np.all` or `np.any`, for instance, which serve arrays
        of any library.
    trainable_variables : array, or nested dicts, tuples and lists of arrays
        What the gradients are for: floating arrays, of any library that can write in place; updated in place. Variables
        that are written by ``assign``, as those of Keras and TensorFlow, go with their own library's optimizers. A
        PyTorch tensor that requires a gradient is updated through its ``detach()``, or ``detach().numpy()``, which
        share its memory. CuPy arrays, and traces of them, stay on their device. JAX arrays cannot be updated: give
        NumPy arrays, and let `loss_fn` convert them; loss and gradients may be JAX's.
    trace_fn : callable
        ``trace_fn(loss, gradients, variables)``, or ``trace_fn(record)`` of one `MinimizeTraceableQuantities`. Returns
        numbers and arrays in nested dicts, tuples and lists, of the same structure and shapes at every step; None
        traces nothing. The variables it is given are the live arrays. By default it returns the loss.
    return_full_length_trace : bool
        Whether the trace of a run that ends early is filled up to `num_steps` by its last row, or cut after it.
    progress : True, a tqdm class, or callable, optional
        True shows a bar of tqdm's choice; another callable gets ``(done, steps, loss)`` after every step.
    name : str, optional
        Title of the bar.

    Returns
    -------
    array, or nest of arrays
        What `trace_fn` returned, each leaf with the steps as a new first axis, in an array of its own library. (JAX's
        are gathered in the CPU's memory, and made a JAX array in the end.) What was found is in the variables.

    Raises
    ------
    TypeError, ValueError
        If an argument, or what a function returned, breaks its rule; the message says which, at which step.
    BaseException
        Whatever the functions and the optimizer raise, Ctrl-C included. The variables, and the optimizer's attribute
        `state` if it can be set, are then as the last complete step left them, so that another run may go on (`LBFGS`
        may ask for its `finish` first); and the exception has an attribute ``partial_trace``, the trace so far (None
        without a step).

    Notes
    -----
    Where it differs from TFP: `loss_fn` is called once a step, without a seed, and its TypeErrors are its own. Without
    a criterion, `has_converged` is None, as documented there. The rows that fill up a trace are copies of the last one.
    A negative `num_steps` is an error.

    See Also
    --------
    fastbfgs.Adam, fastbfgs.GradientDescent, fastbfgs.LBFGS : optimizers.
    fastbfgs.LossNotDecreasing : a convergence criterion.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> x = np.array(0.0)
    >>> loss_fn = lambda: ((x - 5) ** 2, 2 * (x - 5))
    >>> losses = fastbfgs.trace_minimize(loss_fn, 100, fastbfgs.Adam(0.1), trainable_variables=x)
    >>> losses.shape, float(losses[0]), abs(x - 5) < 0.1
    ((100,), 25.0, np.True_)

    More than the loss, by name:

    >>> x[...] = 0.0
    >>> trace = fastbfgs.trace_minimize(
    ...     loss_fn, 100, fastbfgs.Adam(0.1), trainable_variables=x,
    ...     trace_fn=lambda loss, gradients, variables: {"loss": loss, "x": variables},
    ... )
    >>> trace["loss"].shape, trace["x"].shape, bool(trace["x"][-1] == x)
    ((100,), (100,), True)
    """
    steps = max(1, _not_negative(num_steps))
    variables = _variables(trainable_variables)
    _require("optimizer", optimizer, "apply_gradients")
    _require("loss_fn", loss_fn)
    _require("trace_fn", trace_fn)
    _require("batch_convergence_reduce_fn", batch_convergence_reduce_fn)
    if convergence_criterion is not None:
        _require("convergence_criterion", convergence_criterion, "bootstrap", "one_step")
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be True, a callable or None; got {type(progress).__name__}")
    needs_loss = getattr(optimizer, "needs_loss", False) is True
    finish = getattr(optimizer, "finish", None)
    remembers = hasattr(optimizer, "state")
    remembered: Any = None  # by the optimizer, before the step under way
    takes_record = _takes_record(trace_fn)
    apply_gradients = optimizer.apply_gradients
    reader = Reader(trainable_variables, variables)
    trace = Trace(steps)
    read, write = reader.read, trace.write
    has_converged: Any = None
    state: Any = ()
    stop = False
    begun, done = -1, 0  # the step whose loss was read last; complete steps
    bar = Steps(progress, steps, name) if progress else None
    try:
        while done < steps and not stop:
            loss, gradients, pairs = read(loss_fn(), done)
            if remembers:
                remembered = optimizer.state
            begun = done
            if needs_loss:
                apply_gradients(pairs, loss=loss)
            else:
                apply_gradients(pairs)
            if convergence_criterion is not None:
                if done == 0:
                    state = convergence_criterion.bootstrap(loss, gradients, trainable_variables)
                    has_converged = loss < -math.inf  # False, in the shape of the loss
                else:
                    has_converged, state = convergence_criterion.one_step(
                        done, loss, gradients, trainable_variables, state
                    )
                stop = bool(_own(batch_convergence_reduce_fn, has_converged)(has_converged))
            if finish is not None and (stop or done + 1 == steps):
                finish()
            if takes_record:
                own = getattr(optimizer, "state", None)
                traced = trace_fn(
                    MinimizeTraceableQuantities(done, loss, gradients, trainable_variables, has_converged, state, own)
                )
            else:
                traced = trace_fn(loss, gradients, trainable_variables)
            write(done, traced)
            done += 1
            if bar is not None:
                bar(done, loss)
    except BaseException as error:
        if begun == done:
            reader.restore()
            if remembers:
                with suppress(AttributeError):  # one that only reads, as that of `LBFGS`
                    optimizer.state = remembered
        with suppress(AttributeError, TypeError):  # an exception class may refuse both
            error.partial_trace = trace.rows(done)  # type: ignore[attr-defined]
            notes = getattr(error, "__notes__", [])
            notes[:] = [note for note in notes if not note.endswith(_NOTE)]  # of a run within this one, or before it
            error.add_note(f"fastbfgs: {done} steps are complete. {_NOTE}")
        raise
    finally:
        if bar is not None:
            bar.close()
    return trace.filled(done) if return_full_length_trace else trace.cut(done)


def _own(reduce: Callable[[Any], Any], has_converged: Any) -> Callable[[Any], Any]:
    """Return NumPy's `all` or `any` as that of the library of what it is given, since PyTorch's needs its own."""
    if (reduce is np.all or reduce is np.any) and hasattr(has_converged, "shape"):
        return getattr(namespace(has_converged), reduce.__name__, reduce)
    return reduce


def _require_numbers(name: str, given: Any) -> None:
    """Raise unless `given`, an argument of a criterion called `name`, is a number or an array of numbers, none NaN."""
    rule = f"{name} must be a number, or an array of numbers"
    array = given if hasattr(given, "shape") else np.asarray(given)
    if isinstance(array.dtype, np.dtype) and array.dtype.kind not in "iuf":
        raise TypeError(f"{rule}; got {given!r} of type {type(given).__name__}")
    if not bool((array == array).all()):
        raise ValueError(f"{rule}, and not NaN; got {given!r}")


def _beside(given: Any, loss: Any) -> Any:
    """Return an argument of a criterion as what can be compared with the losses, without changing their dtype."""
    if isinstance(given, Number):
        return given.item() if isinstance(given, np.generic) else given
    return namespace(loss).asarray(given, dtype=getattr(loss, "dtype", float))


def _takes_record(trace_fn: Callable[..., Any]) -> bool:
    """Return whether trace_fn takes one record, and not the loss, the gradients and the variables."""
    if trace_fn is _trace_loss:
        return False
    try:
        signature = inspect.signature(trace_fn)
    except (TypeError, ValueError):  # a builtin without one: operator.attrgetter("loss"), for instance
        return True

    def takes(count: int) -> bool:
        try:
            signature.bind(*range(count))
        except TypeError:
            return False
        return True

    free = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in signature.parameters.values() if p.kind in free and p.default is p.empty]
    if takes(1) and (len(needed) == 1 or not takes(3)):
        return True
    if takes(3):
        return False
    raise TypeError(f"trace_fn must take one record, or (loss, gradients, variables); got {trace_fn!r}{signature}")


def _variables(parameters: Any) -> list[Any]:
    """Return the leaves of trainable_variables, checked."""
    if parameters is None:
        raise TypeError(
            "trainable_variables must be given: there is no tape to find them. Pass the arrays that loss_fn reads, in "
            "the structure of the gradients it returns."
        )
    found: dict[int, str] = {}
    variables = []
    for path, variable in nests.items(parameters):
        if not callable(getattr(variable, "assign", None)):  # else it is for its own library's optimizers
            require_variable(variable, f"trainable_variables{path}")
        if id(variable) in found:
            raise ValueError(
                "trainable_variables must hold each array once; "
                f"trainable_variables{path} is trainable_variables{found[id(variable)]}"
            )
        found[id(variable)] = path
        variables.append(variable)
    if not variables:
        raise ValueError(f"trainable_variables must hold at least one array; got {parameters!r}")
    return variables


def _not_negative(num_steps: Any) -> int:
    rule = "num_steps must be an integer that is not negative"
    try:
        steps = operator.index(num_steps)
    except TypeError:
        raise TypeError(f"{rule}; got {num_steps!r} of type {type(num_steps).__name__}") from None
    if steps < 0:
        raise ValueError(f"{rule}; got {num_steps!r}")
    return steps


def _require(name: str, given: Any, *methods: str) -> None:
    """Raise unless `given`, called `name`, can be called, or is an object that has these methods."""
    if not methods and not callable(given):
        raise TypeError(f"{name} must be callable; got {given!r}")
    if methods and isinstance(given, type):
        kind = given.__name__
        raise TypeError(f"{name} must be an object, not its class; got {kind}. Make one: {kind}(...)")
    for method in methods:
        if not callable(getattr(given, method, None)):
            raise TypeError(f"{name} must have a method {method}; got {given!r}, which has none")
