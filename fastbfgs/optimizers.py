"""Objects with ``apply_gradients(grads_and_vars)``: they change variables in place, given gradients there.

Variables are floating arrays of any library that writes in place; only operators touch them, so that they stay where
they are. `LBFGS` needs more than gradients, and says so by two attributes, of which any optimizer may have either:

- ``needs_loss``: if True, it is called as ``apply_gradients(grads_and_vars, loss=loss)``,
- ``finish()``: whoever drives it calls that after the last step, before the variables are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from fastbfgs import device
from fastbfgs.options import Options
from fastbfgs.result import Result
from fastbfgs.solver import Solver

Pairs = Iterable[tuple[Any, Any]]


def require_variable(variable: Any, name: str) -> None:
    """Raise unless `variable`, called `name`, is a floating array that can be written in place.

    Raises
    ------
    TypeError, ValueError
        If it is not an array, not floating, or not writable.
    """
    rule = f"{name} must be an array of floating numbers, updated in place"
    if not (hasattr(variable, "shape") and hasattr(variable, "dtype")):
        raise TypeError(f"{rule}; got {variable!r} of type {type(variable).__name__}")
    if "float" not in str(getattr(variable.dtype, "name", variable.dtype)):  # true of every library's names
        raise TypeError(f"{rule}; got dtype {variable.dtype}. Convert it before its gradient is formed.")
    try:
        variable[...] = variable
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{rule}; a {type(variable).__name__} that cannot be written came: {error} Instead of JAX's, give a NumPy "
            "array, which loss_fn converts; of a PyTorch tensor that requires grad its detach(), of the same memory."
        ) from error


def require_gradient(gradient: Any, variable: Any, name: str) -> None:
    """Raise unless `gradient`, called `name`, has the shape of `variable`.

    Raises
    ------
    TypeError, ValueError
        If it is not an array or number, or has another shape.
    """
    shape = getattr(gradient, "shape", None)
    if shape is None:
        if not isinstance(gradient, Real):
            raise TypeError(f"{name} must be an array of shape {tuple(variable.shape)}; got {gradient!r}")
        shape = ()
    if shape != variable.shape:
        raise ValueError(f"{name} must have the shape of its variable, {tuple(variable.shape)}; got {tuple(shape)}")


class _Optimizer:
    """What all have in common: they belong to the variables of their first step."""

    needs_loss = False

    def __init__(self) -> None:
        self._variables: list[Any] = []

    def _take(self, grads_and_vars: Pairs) -> tuple[list[Any], list[Any]]:
        """Return the gradients and the variables, checked."""
        pairs = list(grads_and_vars)
        gradients = [gradient for gradient, _ in pairs]
        variables = [variable for _, variable in pairs]
        own = self._variables
        if not own:
            if not variables:
                raise ValueError("grads_and_vars must hold at least one pair (gradient, variable); got none")
            self._begin(variables)
            self._variables = variables
        elif len(own) != len(variables) or any([a is not b for a, b in zip(own, variables, strict=True)]):
            raise ValueError(
                f"this {type(self).__name__} remembers the {len(own)} variables of its first step, "
                "and must be given the same ones in the same order; make a new one for others"
            )
        for i, (gradient, variable) in enumerate(pairs):
            require_gradient(gradient, variable, f"gradient {i}")
        return gradients, variables

    def _begin(self, variables: list[Any]) -> None:
        """Take the variables of the first step, checked."""
        for i, variable in enumerate(variables):
            require_variable(variable, f"variable {i}")


class GradientDescent(_Optimizer):
    """Steps along the negative gradient, with momentum on demand.

    In the form of `tf.keras.optimizers.SGD`, with w the variables, g the gradient at them and v = 0 at the start:
    ``v = momentum * v - learning_rate * g``, then ``w = w + v``, or with Nesterov's momentum
    ``w = w + momentum * v - learning_rate * g``: the gradient is taken, and w stands, at the point looked ahead to.

    Parameters
    ----------
    learning_rate : float
        Above 0. The attribute may be changed between steps.
    momentum : float
        From 0 to less than 1.
    nesterov : bool
        Whether momentum looks ahead.

    Attributes
    ----------
    state : tuple
        v for each variable; empty without momentum, and before the first step.

    Raises
    ------
    TypeError, ValueError
        If a number breaks its rule.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl and G. Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013, equations 3 and 4; in the variables of Y. Bengio, N. Boulanger-Lewandowski and R. Pascanu,
    "Advances in optimizing recurrent networks", ICASSP 2013.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> x = np.array([4.0, -2.0])
    >>> optimizer = fastbfgs.GradientDescent(0.25)
    >>> optimizer.apply_gradients([(2 * x, x)])
    >>> x
    array([ 2., -1.])
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__()
        self.learning_rate = _number("learning_rate", learning_rate, above=0.0)
        self.momentum = _number("momentum", momentum, least=0.0, below=1.0)
        self.nesterov = bool(nesterov)
        self.state: tuple[Any, ...] = ()

    def apply_gradients(self, grads_and_vars: Pairs) -> None:
        """Take one step.

        Parameters
        ----------
        grads_and_vars : iterable of (gradient, variable)
            The same variables in every call.

        Raises
        ------
        TypeError, ValueError
            If a variable cannot be updated in place, or a gradient does not fit it.
        """
        gradients, variables = self._take(grads_and_vars)
        steps = [-self.learning_rate * gradient for gradient in gradients]
        velocity = steps
        if self.momentum:
            if self.state:
                velocity = [self.momentum * v + step for v, step in zip(self.state, steps, strict=True)]
            if self.nesterov:
                steps = [self.momentum * v + step for v, step in zip(velocity, steps, strict=True)]
            else:
                steps = velocity
        _add(steps, variables)
        self.state = tuple(velocity) if self.momentum else ()


class AdamState(NamedTuple):
    """What `Adam` remembers: the steps taken, and for each variable the moving averages m of g and v of g**2."""

    step: int
    m: tuple[Any, ...]
    v: tuple[Any, ...]


class Adam(_Optimizer):
    """Steps of about the learning rate in each coordinate, by moving averages of the gradient and of its square.

    Algorithm 1 of the paper, in the order that its section 2 gives. (`tf.keras.optimizers.Adam` adds its epsilon, 1e-7,
    before the correction of v and not after it.)

    Parameters
    ----------
    learning_rate : float
        Above 0. The attribute may be changed between steps.
    beta_1, beta_2 : float
        Decay of the averages of g and of g**2; from 0 to less than 1.
    epsilon : float
        Above 0.

    Attributes
    ----------
    state : AdamState
        The steps so far, and the averages; new arrays after each step.

    Raises
    ------
    TypeError, ValueError
        If a number breaks its rule.

    References
    ----------
    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Examples
    --------
    The first step is as long as the learning rate, whatever the gradient:

    >>> import numpy as np
    >>> import fastbfgs
    >>> x = np.array([4.0, -2.0])
    >>> fastbfgs.Adam(0.1).apply_gradients([(2 * x, x)])
    >>> x.round(6)
    array([ 3.9, -1.9])
    """

    def __init__(
        self, learning_rate: float = 0.001, beta_1: float = 0.9, beta_2: float = 0.999, epsilon: float = 1e-8
    ) -> None:
        super().__init__()
        self.learning_rate = _number("learning_rate", learning_rate, above=0.0)
        self.beta_1 = _number("beta_1", beta_1, least=0.0, below=1.0)
        self.beta_2 = _number("beta_2", beta_2, least=0.0, below=1.0)
        self.epsilon = _number("epsilon", epsilon, above=0.0)
        self.state = AdamState(0, (), ())

    def apply_gradients(self, grads_and_vars: Pairs) -> None:
        """Take one step.

        Parameters
        ----------
        grads_and_vars : iterable of (gradient, variable)
            The same variables in every call.

        Raises
        ------
        TypeError, ValueError
            If a variable cannot be updated in place, or a gradient does not fit it.
        """
        gradients, variables = self._take(grads_and_vars)
        before, b1, b2 = self.state, self.beta_1, self.beta_2
        m = [(1 - b1) * g for g in gradients]
        v = [(1 - b2) * (g * g) for g in gradients]
        if before.step:
            m = [b1 * old + new for old, new in zip(before.m, m, strict=True)]
            v = [b2 * old + new for old, new in zip(before.v, v, strict=True)]
        step = before.step + 1
        root = math.sqrt(1 - b2**step)
        length, epsilon = self.learning_rate * root / (1 - b1**step), self.epsilon * root
        _add([-length * mean / (square**0.5 + epsilon) for mean, square in zip(m, v, strict=True)], variables)
        self.state = AdamState(step, tuple(m), tuple(v))


class LBFGSState(NamedTuple):
    """Where an `LBFGS` optimizer is: its iterations and evaluations so far, and whether it goes on."""

    nit: int
    nfev: int
    running: bool


class LBFGS(_Optimizer):
    """L-BFGS with its line search, one evaluation a step: `fastbfgs.Solver` behind ``apply_gradients``.

    A step tells the solver the loss and the gradients at the variables, and moves the variables to the point that it
    asks about next. That may be a trial point of the line search, so losses need not fall from step to step, and a rule
    that watches them may stop too early; `gtol`, `ftol` and `xtol` watch accepted points only. Once one of them holds,
    the variables rest at the solution, and further steps change nothing.

    `finish` puts the last accepted point into the variables; `fastbfgs.trace_minimize` calls it within the last step. A
    further step goes on from where the search was: the first one only moves the variables back to its point.

    Parameters
    ----------
    gtol, ftol : float
        As in `fastbfgs.Options`, but 0 by default: the caller says how many steps to take.
    **options
        The other fields of `fastbfgs.Options` by name: `history`, `xtol`, `maxiter`, `maxfun`, `maxls`, `c1`, `c2`.

    Variables may be CuPy arrays: the solver is then on their device, and the host waits for it in every step.

    Attributes
    ----------
    converged : bool
        Whether a tolerance was met.
    state : LBFGSState
        Iterations and evaluations so far, and whether it goes on.

    Raises
    ------
    TypeError, ValueError
        If an option breaks its rule.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> a, b = np.zeros(3), np.zeros(2)
    >>> def loss_fn():
    ...     return ((a - 1) ** 4).sum() + ((b - 2) ** 2).sum(), (4 * (a - 1) ** 3, 2 * (b - 2))
    >>> optimizer = fastbfgs.LBFGS(gtol=1e-9)
    >>> losses = fastbfgs.trace_minimize(loss_fn, 60, optimizer, trainable_variables=(a, b))
    >>> optimizer.converged, a.round(2), b.round(2)
    (True, array([1., 1., 1.]), array([2., 2.]))
    """

    needs_loss = True

    _solver: Solver

    def __init__(self, *, gtol: float = 0.0, ftol: float = 0.0, **options: Any) -> None:
        super().__init__()
        self.options = Options(gtol=gtol, ftol=ftol, **options)
        self._nit = 0
        self._searching = True  # the variables are at the point asked about, not at the accepted one

    def apply_gradients(self, grads_and_vars: Pairs, *, loss: Any) -> None:
        """Take one step: one evaluation, at the variables as they are.

        Parameters
        ----------
        grads_and_vars : iterable of (gradient, variable)
            The same variables in every call, unchanged since the last one: NumPy arrays, or CuPy arrays of one device,
            all float32 or all float64. Gradients of CuPy arrays are such, too.
        loss : float, or array of one element
            At the variables. NaN and infinities are allowed: the step shrinks there.

        Raises
        ------
        TypeError, ValueError
            If a variable is not of that kind, a gradient does not fit it, or the loss is not one number.
        RuntimeError
            If the variables are not where the last call left them.
        """
        gradients, variables = self._take(grads_and_vars)
        value = _value(loss)
        solver = self._solver
        if not self._unmoved(variables):
            raise RuntimeError(
                "the variables are not where this LBFGS left them, so the loss does not belong to the point it asked "
                "about; call its finish() to go on from its last accepted point, or make a new one to start from here"
            )
        if not solver.running:
            return
        if self._searching:
            for i, (part, gradient) in enumerate(zip(self._gradients, gradients, strict=True)):
                if self._xp is not np and not isinstance(gradient, Real):
                    gradient = self._reader.argument(gradient, f"gradient {i}", f"variable {i}")
                self._xp.copyto(part, gradient, casting="same_kind")
            solver.tell(value, self._g)
            self._nit += solver.accepted
            solver._hear()
        if solver.live:
            self._searching = True
            self._move(solver.ask())
        else:
            self.finish()

    def finish(self) -> None:
        """Put the last accepted point, the best but for a trial of the search under way, into the variables."""
        if self._variables and self._solver.calls:
            self._searching = False
            self._move(self._solver.result().x)

    def result(self) -> Result:
        """Return where the solver stands, with `x` and `g` of all variables side by side, in their order.

        Raises
        ------
        RuntimeError
            Before the first step.
        """
        if not self._variables:
            raise RuntimeError("this LBFGS has taken no step yet; ask for its result after apply_gradients")
        return self._solver.result()

    @property
    def converged(self) -> bool:
        """Whether a tolerance was met."""
        return bool(self._variables) and bool(self._solver.result().converged)

    @property
    def state(self) -> LBFGSState:
        """Where it is."""
        if not self._variables:
            return LBFGSState(0, 0, True)
        return LBFGSState(self._nit, self._solver.calls, self._solver.running)

    def _begin(self, variables: list[Any]) -> None:
        """Make the solver, and arrays (n,) with a view of the shape of each variable."""
        super()._begin(variables)
        self._reader: Any = device.reader(variables[0], "variable 0")
        self._xp = self._reader.xp
        kinds = {v.dtype.name if isinstance(v, self._xp.ndarray) else _kind(v) for v in variables}
        if len(kinds) > 1 or not kinds <= {"float32", "float64"}:
            raise TypeError(
                "LBFGS needs NumPy arrays, or CuPy arrays, all float32 or all float64; got "
                f"{', '.join(sorted(kinds))}. Adam and GradientDescent take arrays of any library, and mixed ones."
            )
        for i, variable in enumerate(variables):
            self._reader.argument(variable, f"variable {i}", "variable 0")
        (kind,) = kinds
        n = sum(variable.size for variable in variables)
        self._x, self._g, self._here = (self._xp.empty(n, kind) for _ in range(3))
        self._points = _views(self._x, variables)
        self._gradients = _views(self._g, variables)
        self._now = _views(self._here, variables)
        for part, variable in zip(self._points, variables, strict=True):
            part[...] = variable
        self._solver = Solver(self._x, self.options)

    def _unmoved(self, variables: list[Any]) -> bool:
        """Return whether the variables have the bits that were put into them."""
        for part, variable in zip(self._now, variables, strict=True):
            part[...] = variable
        bits = f"u{self._x.itemsize}"
        return bool((self._here.view(bits) == self._x.view(bits)).all())

    def _move(self, point: Any) -> None:
        """Put `point` (n,) into the variables."""
        self._x[...] = point
        for part, variable in zip(self._points, self._variables, strict=True):
            variable[...] = part


def _add(steps: list[Any], variables: list[Any]) -> None:
    """Add each step to its variable, now that all are known: a gradient may be a variable itself, as that of x * y."""
    for step, variable in zip(steps, variables, strict=True):
        # Not `variable +=`, which binds the name anew where another library's array takes over, as PyTorch's would.
        variable[...] += np.asarray(step) if type(variable) is np.ndarray else step


def _kind(given: Any) -> str:
    """Return the name of a type, with its library's."""
    return f"{type(given).__module__.partition('.')[0]}.{type(given).__name__}"


def _views(flat: Any, variables: list[Any]) -> list[Any]:
    """Return consecutive parts of `flat` in the shapes of the variables."""
    views, start = [], 0
    for variable in variables:
        views.append(flat[start : start + variable.size].reshape(variable.shape))
        start += variable.size
    return views


def _value(loss: Any) -> float:
    """Return the loss as a float."""
    if math.prod(getattr(loss, "shape", ())) != 1:
        raise ValueError(
            f"LBFGS minimises one problem, so the loss must be one number; got shape {tuple(loss.shape)}. "
            "For a batch of problems use fastbfgs.minimize or fastbfgs.Solver."
        )
    return float(loss.reshape(()) if hasattr(loss, "reshape") else loss)


def _number(
    name: str, given: Any, least: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> float:
    """Return `given` as a float, checked."""
    rule = " and ".join(
        [f"at least {least:g}"] * (least > -math.inf)
        + [f"above {above:g}"] * (above > -math.inf)
        + [f"below {below:g}"] * (below < math.inf)
    )
    if isinstance(given, bool) or not isinstance(given, Real):
        raise TypeError(f"{name} must be a number {rule}; got {given!r} of type {type(given).__name__}")
    number = float(given)
    if not (least <= number and above < number < below):
        raise ValueError(f"{name} must be a number {rule}; got {given!r}")
    return number
