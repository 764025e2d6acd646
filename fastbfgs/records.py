"""What a step takes in and leaves behind: gradients beside their variables, and traces in arrays allocated once."""

from __future__ import annotations

import sys
from numbers import Number
from typing import Any

import numpy as np

from fastbfgs import foreign, nests
from fastbfgs.optimizers import require_gradient

_NO_TAPE = "There is no tape: form the gradients along with the loss."
_CHANGED = "trace_fn must return the same {} at every step: trace{} was {} so far, and is {} at step {}"


class Reader:
    """Reads what loss_fn returned, and keeps the variables as they were then.

    Gradients come in a nest built like the variables, as a flat list, or one alone.
    """

    def __init__(self, parameters: Any, variables: list[Any]) -> None:
        self.variables = variables
        self.shapes = [variable.shape for variable in variables]
        self.assigned = [hasattr(variable, "assign") for variable in variables]
        self.copies = [
            np.asarray(variable).copy() if assigned else make_room(variable, 1)[0, ...]
            for variable, assigned in zip(variables, self.assigned, strict=True)
        ]
        self.owners = [_owner(variable) for variable in variables]
        self.places = [_place(owner) for owner in self.owners]
        self.names = [f"gradients{path}" for path, _ in nests.items(parameters)]
        self.model = nests.rebuild(parameters, iter([None] * len(variables)))
        self.form = self.model  # what the gradients were built like last

    def read(self, returned: Any, step: int) -> tuple[Any, Any, list[tuple[Any, Any]]]:
        """Return loss and gradients as they came, and pairs (gradient, variable) in the order of the variables.

        What is a variable itself, as the gradients of ``x * y`` are, becomes a copy: the update would change it. What
        has a graph of PyTorch's behind it is cut off, or variables and traces would keep the graphs of all steps.
        """
        if not (isinstance(returned, (tuple, list)) and len(returned) == 2):
            self._refuse(returned, step)
        loss, gradients = returned
        if step == 0 and not (isinstance(loss, Number) or hasattr(loss, "shape")):
            raise TypeError(f"loss_fn must return a number or an array as loss; got {loss!r}")
        loss = self._apart(loss)
        if self.form is None and not isinstance(gradients, (dict, tuple, list)):
            gradients = self._checked(gradients, 0, step)
            self._keep()
            return loss, gradients, [(gradients, self.variables[0])]
        leaves: list[Any] = []
        if not nests.matches(self.form, gradients, leaves):
            leaves = self._other(gradients, step)
        pairs = []
        copied = False
        for i, gradient in enumerate(leaves):
            own = self._checked(gradient, i, step)
            copied = copied or own is not gradient
            pairs.append((own, self.variables[i]))
        if copied:
            gradients = nests.rebuild(self.form, iter([own for own, _ in pairs]))
        self._keep()
        return loss, gradients, pairs

    def _keep(self) -> None:
        for i, variable in enumerate(self.variables):
            self.copies[i][...] = np.asarray(variable) if self.assigned[i] else variable

    def restore(self) -> None:
        """Put the variables back where they were at the last `read`."""
        for i, variable in enumerate(self.variables):
            if self.assigned[i]:
                variable.assign(self.copies[i])
            else:
                variable[...] = self.copies[i]

    def _checked(self, gradient: Any, i: int, step: int) -> Any:
        """Return the gradient of variable i, or a copy; raise if it does not fit."""
        if getattr(gradient, "shape", None) != self.shapes[i]:
            if gradient is None:
                raise TypeError(
                    f"loss_fn must return a gradient for every variable; at step {step} {self.names[i]} is None. "
                    + _NO_TAPE
                )
            require_gradient(gradient, self.variables[i], self.names[i])
        return self._apart(gradient)

    def _apart(self, array: Any) -> Any:
        """Return `array` without a graph, or a copy if it may be the memory of a variable."""
        if type(array) is not np.ndarray and getattr(array, "requires_grad", False):
            array = array.detach()
        owner = _owner(array)
        place = owner if type(owner) is range else None
        for i, own in enumerate(self.owners):
            if own is owner or (place is not None and _overlap(place, self.places[i])):
                copy = make_room(array, 1)[0, ...]
                copy[...] = array
                return copy
        return array

    def _refuse(self, returned: Any, step: int) -> None:
        what = f"a {type(returned).__name__} of {len(returned)}" if isinstance(returned, (tuple, list)) else None
        raise TypeError(
            f"loss_fn must return the pair (loss, gradients); at step {step} it returned "
            f"{what or f'one {type(returned).__name__}'}. {_NO_TAPE}"
        )

    def _other(self, gradients: Any, step: int) -> list[Any]:
        """Return the leaves of gradients that have another form than those before."""
        flat = [None] * len(self.variables)
        for form in [self.model, flat, *(flat if len(flat) == 1 else [])]:
            leaves: list[Any] = []
            if nests.matches(form, gradients, leaves):
                self.form = form
                return leaves
        path, wanted, got = nests.difference(self.model, gradients)
        raise TypeError(
            "loss_fn must return its gradients in the structure of trainable_variables, or as a flat list of "
            f"{len(self.variables)}: at step {step} gradients{path} should be {wanted}, and is {got}"
        )


class Trace:
    """The traces of all steps, in the structure of the first record."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.model: Any = None
        self.leaves: list[Leaf] = []

    def write(self, step: int, traced: Any) -> None:
        """Write what trace_fn returned at `step` into its row."""
        if step == 0:
            self.leaves = [Leaf(leaf, path, self.steps) for path, leaf in nests.items(traced)]
            self.model = nests.rebuild(traced, iter([None] * len(self.leaves)))
        if self.model is None and not isinstance(traced, (dict, tuple, list)):
            own = self.leaves[0]
            own.write(step, traced)
            return
        leaves: list[Any] = []
        if not nests.matches(self.model, traced, leaves):
            path, before, now = nests.difference(self.model, traced)
            raise ValueError(_CHANGED.format("structure", path, before, now, step))
        for i, leaf in enumerate(leaves):
            own = self.leaves[i]
            own.write(step, leaf)

    def rows(self, count: int) -> Any:
        """Return the first `count` rows, built like a record; None if there are none."""
        return nests.rebuild(self.model, iter([leaf.rows(count) for leaf in self.leaves])) if count else None

    def filled(self, count: int) -> Any:
        """Return all rows, those after the first `count` like the last of them."""
        for leaf in self.leaves:
            leaf.fill(count)
        return self.rows(self.steps)

    def cut(self, count: int) -> Any:
        """Return the first `count` rows, and let the others go."""
        for leaf in self.leaves:
            leaf.cut(count)
        return self.rows(count)


class Leaf:
    """A leaf of the record: what it is at step 0, and an array for all steps; none for a leaf that is None.

    The array is one of the leaf's library, or of NumPy, and then made one of `library`, if that writes none in place.
    """

    def __init__(self, first: Any, path: str, steps: int) -> None:
        self.path = path
        self.kind = type(first)
        self.scalar = first is None or isinstance(first, (Number, np.generic))
        self.room: Any = None
        self.library: foreign.Library | None = None
        self.namespace: Any = None
        self.shape: Any = None
        self.dtype: Any = None
        self.flat = False
        self.graphs = False  # PyTorch's, which must not be kept with the numbers
        if first is None:
            return
        self.shape, self.dtype = _form(first, path)
        self.flat = not self.shape
        self.namespace = namespace(first)
        self.graphs = hasattr(first, "requires_grad")
        if self.graphs:
            first = first.detach()
        try:
            make_room(first, 1)[0, ...] = first
        except TypeError as error:
            self.library = foreign.library_of(first)
            if self.library is None:
                raise TypeError(
                    f"trace_fn must return arrays of a kind that is written in place; trace{path} is a "
                    f"{type(first).__name__}: {error}. Convert it, with numpy.asarray for instance."
                ) from error
            # JAX's, which never change. To stack them at the end would take it 1 ms a step, to compile that.
            first = np.asarray(first)
        self.room = make_room(first, steps)

    def write(self, step: int, leaf: Any) -> None:
        """Write `leaf` into row `step`."""
        if type(leaf) is not self.kind or not (self.scalar or (leaf.shape == self.shape and leaf.dtype == self.dtype)):
            self._compare(leaf, step)
        if self.room is not None:
            self.room[step if self.flat else (step, ...)] = leaf.detach() if self.graphs else leaf

    def rows(self, count: int) -> Any:
        """Return the first `count` rows."""
        if self.room is None:
            return None
        rows = self.room if count == self.room.shape[0] else self.room[:count, ...]
        return rows if self.library is None else self.library.own(rows)

    def fill(self, count: int) -> None:
        """Make all rows after the first `count` like the last of them."""
        if self.room is not None and count < self.room.shape[0]:
            self.room[count:, ...] = self.room[count - 1, ...]

    def cut(self, count: int) -> None:
        """Keep the first `count` rows only, in an array of that length."""
        if self.room is not None and count < self.room.shape[0]:
            room = make_room(self.room[0, ...], count)
            room[...] = self.room[:count, ...]
            self.room = room

    def _compare(self, leaf: Any, step: int) -> None:
        """Raise unless a leaf that is not quite like the first fits into the same array."""
        if self.room is None or leaf is None:
            before = "None" if self.room is None else f"one {self.kind.__name__}"
            now = "None" if leaf is None else f"one {type(leaf).__name__}"
            raise ValueError(_CHANGED.format("structure", self.path, before, now, step))
        shape, dtype = _form(leaf, self.path)
        if shape != self.shape:
            raise ValueError(_CHANGED.format("shapes", self.path, tuple(self.shape), tuple(shape), step))
        ours, theirs = self.namespace, namespace(leaf)
        if ours is not theirs:
            raise ValueError(_CHANGED.format("library", self.path, ours.__name__, theirs.__name__, step))
        if dtype != self.dtype and not (ours is np and np.can_cast(dtype, self.dtype)):
            raise ValueError(_CHANGED.format("dtypes", self.path, self.dtype, dtype, step))


def _form(leaf: Any, path: str) -> tuple[Any, Any]:
    """Return shape and dtype of a leaf of a trace."""
    array = np.asarray(leaf) if isinstance(leaf, (Number, np.generic)) else leaf
    shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
    if shape is None or dtype is None or (isinstance(dtype, np.dtype) and dtype.kind not in "biufc"):
        raise TypeError(
            "trace_fn must return numbers, arrays of numbers or None, in nested dicts, tuples and lists; "
            f"trace{path} is {leaf!r} of type {type(leaf).__name__}"
        )
    return shape, dtype


def namespace(array: Any) -> Any:
    """Return the library of an array; NumPy for a number."""
    if isinstance(array, Number):
        return np
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    return sys.modules[type(array).__module__.partition(".")[0]]


def _owner(array: Any) -> Any:
    """Return whose memory an array has: the array that it is a view of, or itself; addresses, if that is PyTorch's."""
    base = getattr(array, "base", array)  # a tensor has no such attribute
    if base is None:
        return array
    if type(base) is np.ndarray:
        return base
    library = foreign.library_of(base)
    place = None if library is None else library.place(base)
    return base if place is None else place


def _place(owner: Any) -> range:
    """Return the addresses of the memory of an owner; none if they are not known."""
    if type(owner) is np.ndarray:
        start: int = owner.ctypes.data
        return range(start, start + owner.nbytes)
    return owner if type(owner) is range else range(0)


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def make_room(leaf: Any, rows: int) -> Any:
    """Return an array for `rows` leaves like this one, on its device."""
    xp = namespace(leaf)
    if xp is np:  # nothing is touched, so the rows of a run that ends early cost nothing
        return np.empty((rows, *np.shape(leaf)), np.asarray(leaf).dtype)
    return xp.tile(leaf[None, ...], (rows, *(1 for _ in leaf.shape)))
