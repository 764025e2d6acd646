"""Every accepted iterate, from what the solver knows: handed to a callable, or kept in arrays.

Of a run on a GPU all of it stays there. The host has to hear who moved, so a `Recorder` waits for the device once after
each `tell`, and `Paths` once more.
"""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastbfgs import device, foreign
from fastbfgs.solver import Solver


class Accepted(NamedTuple):
    """The iterates that k members accepted in one `tell`, and the steps that led there: copies, the receiver's to keep.

    They are arrays of x0's library, on its device.

    Parameters
    ----------
    rows : ndarray (k,) of intp
        The members: indices into the batch, flattened.
    nit : ndarray (k,) of int64
        Which iterate of the member it is; 0 is the start.
    x, g : ndarray (k, n)
        Iterate, and gradient there, as it was told.
    f : ndarray (k,) of float64
        Value at `x`. The start may have any, NaN included; a later one is finite, or -inf at an UNBOUNDED end.
    alpha : ndarray (k,) of float64
        Step length: x is the previous iterate + alpha p, rounded; with bounds, what stands outside is moved onto them.
        The direction p is -H g, within bounds the way to the minimiser of the model there; without any pair yet it
        is along -g and at most 1 long, unless h0 or two bounds for every coordinate give the scale. NaN at the start.
    s, y : ndarray (k, n)
        x and g minus those of the previous iterate, the bits that the solver learns from. NaN at the start, and
        for the iterate at which a `Recorder` comes in.
    shape : tuple of int
        Shape of the batch that `rows` are indices of; () for one problem, which has row 0.
    """

    rows: np.ndarray
    nit: np.ndarray
    x: np.ndarray
    f: np.ndarray
    g: np.ndarray
    alpha: np.ndarray
    s: np.ndarray
    y: np.ndarray
    shape: tuple[int, ...]


class Recorder:
    """Hand every iterate that a solver accepts, the starts first, to a callable.

    Nothing is evaluated for it, and the solver's path does not change. `minimize` makes its own of the argument
    `record`; this is for a solver that is driven by hand. It holds the last x and g of each member, 2 n numbers. With
    x0 on a GPU it waits for the device once after each `tell`, to hear which members moved.

    Parameters
    ----------
    solver : Solver
        If it has been told values already, where its members stand is handed over at once, and all that follows.
    receive : callable
        Called with an `Accepted`; what it returns is not looked at, what it raises passes through. `Paths` is one.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> solver = fastbfgs.Solver(np.array([[1.0, 0.0], [0.0, 0.0]]))
    >>> recorder = fastbfgs.Recorder(solver, lambda a: print(a.rows, a.nit, a.f, a.alpha, a.x))
    >>> while solver.running:
    ...     x = solver.ask()
    ...     solver.tell(0.5 * (x**2).sum(axis=1), x)
    ...     recorder.take()
    [0 1] [0 0] [0.5 0. ] [nan nan] [[1. 0.]
     [0. 0.]]
    [0] [1] [0.] [1.] [[0. 0.]]
    """

    def __init__(self, solver: Solver, receive: Callable[[Accepted], Any]) -> None:
        if not isinstance(solver, Solver):
            raise TypeError(f"solver must be a fastbfgs.Solver; got {type(solver).__name__}")
        if not callable(receive):
            raise TypeError(f"receive must be callable, and take a fastbfgs.Accepted; got {type(receive).__name__}")
        self._solver = solver
        self._receive = receive
        self._calls = solver.calls
        self._rows, self._nit, self._xg = solver._unseen()  # who can have moved since, and where all were
        self.take()

    def take(self) -> None:
        """Hand over what the last `tell` led to, if any member moved. Call it after every `tell`.

        Raises
        ------
        RuntimeError
            If there was more than one `tell` since the last time: iterates may be lost.
        """
        solver = self._solver
        if solver.calls > self._calls + 1:
            raise RuntimeError(f"take() must be called after every tell(); there were {solver.calls - self._calls}")
        self._calls = solver.calls
        moved = solver._steps(self._rows, self._nit, self._xg)
        self._rows = solver._rows
        if moved is not None:
            self._receive(solver._whole(Accepted._make((*moved, solver.shape))))

    def watch(self, solver: Solver) -> bool:
        """Take, as `driver.run` calls those who look on; a recorder never stops the run."""
        self.take()
        return False


class Paths:
    """Keep the accepted iterates of every member in arrays, allocated once: ``x[k]`` are the k-th, ``x[0]`` the starts.

    An instance is what `minimize` takes as `record`, or a `Recorder` as `receive`. Given another run, it starts over
    with new arrays.

    Parameters
    ----------
    steps : int
        How many steps of each member there is room for. If one takes more, `nit` goes on counting, the rest is not
        kept, and a warning says so, once. With ``maxiter`` not above `steps` that cannot happen.

    Attributes
    ----------
    nit : ndarray (...) of int64
        The last iterate of each member; this and the others are views, which go on as the run does. Of a run on PyTorch
        tensors or JAX arrays, they are such, and copies. Of a run on CuPy arrays they are such, and show what there is
        when they are asked for.
    x, g : ndarray (K + 1, ..., n)
        Iterates and gradients in the dtype of x0. K is the largest `nit`, but not above `steps`; what follows the last
        iterate of a member is NaN.
    s, y : ndarray (K + 1, ..., n)
        ``x[k] - x[k - 1]`` and ``g[k] - g[k - 1]``, made when asked for; NaN for k = 0.
    f, alpha : ndarray (K + 1, ...) of float64
        Values, and step lengths as in `Accepted`.

    Raises
    ------
    TypeError, ValueError
        If `steps` is no whole number, or negative.
    RuntimeError
        If an array is asked for before there is an iterate.

    Warns
    -----
    RuntimeWarning
        When a member takes more than `steps`.

    Notes
    -----
    Memory: room for (steps + 1) (2 n + 2) numbers of each member. At most twice of what members reach is ever touched;
    the rest costs address space alone on most systems. On a GPU the arrays grow instead, by copies, to at most twice of
    what members reach.

    Examples
    --------
    >>> import numpy as np
    >>> import fastbfgs
    >>> def bowl(x):
    ...     return 0.5 * (x**2).sum(axis=1), x
    >>> paths = fastbfgs.Paths(100)
    >>> result = fastbfgs.minimize(bowl, np.array([[1.0, 0.0], [0.0, 0.0]]), jac=True, record=paths)
    >>> paths.nit, paths.x.shape
    (array([1, 0]), (2, 2, 2))
    >>> paths.f
    array([[0.5, 0. ],
           [0. , nan]])
    >>> paths.s[1, 0]
    array([-1.,  0.])
    """

    def __init__(self, steps: int) -> None:
        try:
            self.steps = operator.index(steps)
        except TypeError:
            raise TypeError(f"steps must be a whole number; got {steps!r}") from None
        if self.steps < 0:
            raise ValueError(f"steps must not be negative; got {steps}")
        self._library: foreign.Library | None = None
        self._room: dict[str, Any] = {}
        self._nit: Any = np.empty(0, np.int64)
        self._shape: tuple[int, ...] = ()
        self._ready = 0  # iterates that there is room for and NaN or more in it
        self._warned = False

    def __call__(self, accepted: Accepted) -> None:
        """Keep what was accepted."""
        if type(accepted.x) is np.ndarray:
            self._keep(accepted, np, None)
            return
        library = device.lender(accepted.x, "accepted.x")
        if library is None:
            self._keep(accepted, foreign.namespace_of(accepted.x), None)
            return
        with library.at_work():
            accepted = Accepted._make([library.argument(each, "what was accepted") for each in accepted])
            self._keep(accepted, foreign.namespace_of(accepted.x), library)

    def _keep(self, accepted: Accepted, xp: Any, library: foreign.Library | None) -> None:
        """Keep what was accepted, arrays of `xp`, to be shown as arrays of `library`."""
        rows, nit, s = accepted.rows, accepted.nit, accepted.s[0]
        same = bool(self._room) and xp is self._xp and accepted.shape == self._shape
        known = self._nit[rows[0]] if same else nit[0]
        # A recorder that comes in knows no step: it has begun another run, or this one anew.
        if xp is np:
            again = nit[0] <= known or (known >= 0 and s[0] != s[0] and bool((s != s).all()))
            last = int(nit.max())
        else:  # at once, since each would take a wait
            anew = (known >= 0) & (s != s).all()
            gained, anew, last = xp.stack((nit[0] - known, anew.astype(np.int64), nit.max())).tolist()
            again = gained <= 0 or anew
        if again:
            self._begin(accepted, xp)
            self._library = library
        self._nit[rows] = nit
        if last >= self._ready:
            self._prepare(min(2 * last, self.steps) + 1)
        kept: Any = slice(None) if last <= self.steps else xp.flatnonzero(nit <= self.steps)
        at: Any = nit[kept], rows[kept]
        if len(rows) == 1 and xp is np:
            at = slice(last, last + 1), rows[0]  # 10 of 20 us
        for name, room in self._room.items():
            room[at] = getattr(accepted, name)[kept]
        if last > self.steps and not self._warned:
            self._warned = True
            warnings.warn(
                f"a member has taken more than the {self.steps} steps that these Paths have room for; further ones are "
                "counted in nit, but not kept. Give Paths more room, or limit maxiter.",
                RuntimeWarning,
                stacklevel=3,
            )

    @property
    def _xp(self) -> Any:
        """The library of the arrays."""
        return foreign.namespace_of(self._nit)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled or copied: without the room that nothing has been kept in yet."""
        return vars(self) | {"_room": {name: room[: self._ready] for name, room in self._room.items()}}

    def _begin(self, accepted: Accepted, xp: Any) -> None:
        """Allocate for the batch that this is the first of."""
        members = math.prod(accepted.shape)
        iterates = self.steps + 1 if xp is np else 0  # on a GPU what is allocated is taken, touched or not
        for name in ("x", "f", "g", "alpha"):
            values = getattr(accepted, name)
            self._room[name] = xp.empty((iterates, members, *values.shape[1:]), values.dtype)
        self._nit = xp.full(members, -1, np.int64)
        self._shape = accepted.shape
        self._ready = 0
        self._warned = False

    def _prepare(self, ready: int) -> None:
        """Fill the room of the first `ready` iterates with NaN, as far as that is not done; make it, on a GPU."""
        for name, room in self._room.items():
            if len(room) < ready:
                self._room[name] = self._xp.empty((ready, *room.shape[1:]), room.dtype)
                self._room[name][: self._ready] = room
            self._room[name][self._ready : ready] = np.nan
        self._ready = ready

    def _kept(self, name: str) -> Any:
        """Return the part of an array that has been reached, in the shape of the batch."""
        if name == "nit":
            return self._nit.reshape(self._shape)
        count = min(int(self._nit.max()), self.steps) + 1
        room = self._room[name]
        return room[:count].reshape(count, *self._shape, *room.shape[2:])

    def _differences(self, name: str) -> Any:
        """Return array[k] - array[k - 1] of the part that has been reached, NaN for k = 0, in its dtype."""
        array = self._kept(name)
        differences = self._xp.full_like(array, np.nan)
        with np.errstate(all="ignore"):
            self._xp.subtract(array[1:], array[:-1], out=differences[1:])
        return differences

    def _shown(self, kept: Callable[[str], Any], name: str) -> Any:
        """Return an array as one of the library whose arrays came: a copy then, since JAX's must not change."""
        if not self._room:
            raise RuntimeError("there is no iterate yet; give these Paths to minimize as record, or to a Recorder")
        if self._library is None:
            return kept(name)
        with self._library.at_work():
            return self._library.own(kept(name).copy())

    nit = property(lambda self: self._shown(self._kept, "nit"))
    x = property(lambda self: self._shown(self._kept, "x"))
    f = property(lambda self: self._shown(self._kept, "f"))
    g = property(lambda self: self._shown(self._kept, "g"))
    alpha = property(lambda self: self._shown(self._kept, "alpha"))
    s = property(lambda self: self._shown(self._differences, "x"))
    y = property(lambda self: self._shown(self._differences, "g"))


class Iterates:
    """Keep x alone of every iterate, however many there will be: what SciPy's BFGS calls allvecs.

    Parameters
    ----------
    start : ndarray (..., n)
        The iterates that come before anything is evaluated.
    """

    def __init__(self, start: Any) -> None:
        self.start = start
        self.taken: list[tuple[Any, Any, Any]] = []

    def __call__(self, accepted: Accepted) -> None:
        """Keep what was accepted."""
        self.taken.append((accepted.rows, accepted.nit, accepted.x))

    def vectors(self) -> list[Any]:
        """Return the k-th iterate of each member, the start first; a member's last one is repeated."""
        start = self.start.reshape(-1, self.start.shape[-1])
        xp = foreign.namespace_of(start)
        last = xp.zeros(len(start), np.int64)
        for rows, nit, _ in self.taken:
            last[rows] = nit
        count = 1 + int(last.max()) if len(start) else 1
        vectors = xp.empty((count, *start.shape), start.dtype)
        vectors[0] = start
        for rows, nit, x in self.taken:  # members step in different calls
            vectors[nit, rows] = x
        for k in range(1, count):
            vectors[k] = xp.where((last < k)[:, np.newaxis], vectors[k - 1], vectors[k])
        return list(vectors.reshape(count, *self.start.shape))
