"""Ask and tell: the members' machines, seen from outside."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from inspect import signature
from typing import Any

import numpy as np

from fastbfgs import device, interop, threads
from fastbfgs.backend import field_of
from fastbfgs.cpu import CPU, SHARED
from fastbfgs.fused import CudaObjective
from fastbfgs.kernels.advance import RECORD, Status
from fastbfgs.native import Native, is_compiled
from fastbfgs.options import Options, options_of
from fastbfgs.result import Result
from fastbfgs.runs import Runs

_ONLY = np.frombuffer(bytes(np.dtype(np.intp).itemsize), np.intp)
"""The rows of one problem, [0], not writeable."""

_FORMAT = 4
"""Of the files that `Solver.save` writes."""


class Solver:
    """Minimise one problem or a batch of them, with the evaluations in the caller's hands.

    Every member is a small state machine of its own: it asks for f and g at one point, is told them, and asks for the
    next. Nothing runs in between, so the values may come from a job queue, another process, an autograd graph or a
    laboratory.

    Parameters
    ----------
    x0 : array_like (n,) or (..., n)
        Start of one problem, or of each member of a batch. Float32 is computed in float32, everything else in float64.
        If it is a PyTorch tensor, a JAX array or the like, `ask` and `result` return such: see `fastbfgs.minimize`.
        If it is on a GPU, of CuPy or of those, all runs there, `rows` are there too, and what is said of `live` and
        `running` is heard late: the host does not wait for the device. (That has not run on any GPU yet.)
    options : Options, optional
        Tolerances, limits and the like.
    h0 : array_like, optional
        Initial inverse Hessian, for all members or for each: its diagonal (n,) or (..., n), positive; for BFGS the
        whole of it, (n, n) or (..., n, n), symmetric and positive definite. The first step is then -h0 g, and no
        scaling gamma is applied. Without it the first step is -g, at most 1 long. Not together with bounds.
    bounds : scipy.optimize.Bounds or sequence of n pairs, optional
        For method "L-BFGS-B": lower and upper bounds, shared by all members; `Bounds` may also hold arrays (..., n),
        each member's own. None or an infinite number is no bound. Every point that is asked for lies within them;
        x0 is moved to the nearest point that does. A member without a finite bound costs no more than by "L-BFGS", up
        to n = 300.
    compact : bool, default True
        Whether `ask` leaves finished members out. If not, it gives all rows, finished ones at their final point: better
        for functions that JAX compiles, anew for each number of rows.
    workers : int, optional
        Threads to use at most for the solver's own work; default ``FASTBFGS_NUM_THREADS``, and without that the cores
        this process may run on. Results do not depend on it.
    **keywords
        The fields of `fastbfgs.Options` by name, in place of `options`.

    Attributes
    ----------
    rows : ndarray (k,) of intp
        The members `ask` gives the points of: indices into the batch, flattened. Of x0's library if that is on a GPU,
        else NumPy's.
    live : int
        How many members still run.
    calls : int
        How often `tell` was called; and with `run`, how often the compiled objective was.
    accepted : int
        How many members took a step in the last `tell`.
    box : ndarray (2, n) or (B, 2, n), or None
        The bounds, lower and upper, of all members or of each, not to be changed; None if there is no finite one.
        CuPy's if x0 is on a GPU, else NumPy's.

    Raises
    ------
    TypeError, ValueError
        If x0, h0, bounds, workers or an option breaks its rule; the message says which, and what is required.

    References
    ----------
    J. Nocedal and S. J. Wright, "Numerical Optimization", 2nd ed., Springer 2006, chapters 3, 6 and 7.
    R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound constrained optimization",
    SIAM J. Sci. Comput. 16 (1995) 1190-1208.

    Examples
    --------
    Three quadratics ``sum((x - c)**2)`` with centres of their own:

    >>> import numpy as np
    >>> import fastbfgs
    >>> c = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> solver = fastbfgs.Solver(np.zeros((3, 2)))
    >>> while solver.running:
    ...     d = solver.ask() - c[solver.rows]
    ...     solver.tell((d**2).sum(axis=1), 2 * d)
    >>> result = solver.result()
    >>> result.x.round(6)
    array([[1., 2.],
           [3., 4.],
           [5., 6.]])
    >>> result.converged
    array([ True,  True,  True])
    """

    # What `inspect` and `help` show: the constructor of a compiled class has no signature of its own.
    __signature__ = signature(
        lambda x0, options=None, *, h0=None, bounds=None, compact=True, workers=None, **keywords: None
    )

    def __init__(
        self,
        x0: Any,
        options: Options | None = None,
        *,
        h0: Any = None,
        bounds: Any = None,
        compact: bool = True,
        workers: int | None = None,
        **keywords: Any,
    ) -> None:
        if not (options is None or isinstance(options, Options)):
            raise TypeError(f"options must be a fastbfgs.Options; got {type(options).__name__}. Give others by name.")
        if options is not None and keywords:
            raise TypeError(f"give options as an Options object or by name, not both; got {list(keywords)} by name")
        reader: Any = interop if type(x0) is np.ndarray else device.reader(x0)
        start, self._library = reader.enter(x0)
        self.options = options_of(**keywords) if options is None else options
        if self._library is None:
            self._open(reader, start, h0, bounds, compact, workers)
            return
        with self._library.at_work():
            h0, bounds = self._library.argument(h0, "h0"), self._library.bounds(bounds)
            self._open(reader, start, h0, bounds, compact, workers)

    def _open(self, reader: Any, start: Any, h0: Any, bounds: Any, compact: bool, workers: int | None) -> None:
        """Read what comes with the start, and place the members."""
        self.shape = start.shape[:-1]
        self.n = start.shape[-1]
        self.compact = bool(compact)
        count: int = math.prod(self.shape)
        self._single = not self.shape
        alone = self._single and self.n < SHARED
        self.workers = 1 if alone and workers is None else threads.resolve(workers)
        method = self.options.method
        if h0 is not None:
            h0 = (reader.matrix if method == "BFGS" else reader.diagonal)(h0, self.shape, self.n, start.dtype)
        if not self._single:
            start = start.reshape(count, self.n)
        self.box = None
        if bounds is not None:
            if method != "L-BFGS-B":
                raise ValueError(f'method {method!r} takes no bounds; use "L-BFGS-B", or leave them out')
            self.box = reader.box(bounds, self.shape, self.n, start.dtype)
        if self.box is not None:
            if h0 is not None:
                raise ValueError("h0 and bounds do not go together; leave one of them out")
            if self.options.pairs is not None:
                raise ValueError(f"pairs={self.options.pairs!r} and bounds do not go together; leave one of them out")
            if self.options.norm != math.inf:
                raise ValueError(f"norm must be infinite where there are bounds; got {self.options.norm!r}")
            start = reader.nearest(start, self.box)
            if type(self.box) is np.ndarray:
                self.box.flags.writeable = False
        start = start.reshape(count, self.n)
        self.live = count
        self.calls = 0
        self._begun: Any = None
        if reader is interop:
            self._backend = CPU(start, self.options, h0, self.box, self.workers)
            if self._single:
                self.rows = self._rows = _ONLY
            else:
                self._set_rows(np.arange(count))
        else:
            from fastbfgs.cuda import CUDA

            if workers is not None:
                raise ValueError("workers are threads of the CPU, and x0 is on a GPU; leave them out")
            backend: Any = CUDA(start, self.options, h0, self.box, reader)
            self._backend = backend
            self._set_rows(backend.all_rows)

    def _set_rows(self, rows: Any) -> None:
        self.rows = self._rows = rows
        if type(rows) is np.ndarray:
            rows.flags.writeable = False
        elif self._library is not None:
            self.rows = self._library.own(rows)

    @property
    def running(self) -> bool:
        """Whether any member still runs."""
        return self.live > 0

    @property
    def accepted(self) -> int:
        """How many members took a step in the last `tell`."""
        return int(self._backend.movers())

    @property
    def status(self) -> Any:
        """The `Status` of each member: an array (...) of int32, a copy; one problem's number."""
        status = self._backend.statuses()
        return int(status[0]) if self._single else self._whole(status.reshape(self.shape))

    def ask(self) -> np.ndarray:
        """Return the points whose f and g are wanted: (k, n), one for each of `rows`; (n,) for one problem.

        The array, one of x0's library, is the caller's: it may be kept and written into. Asking twice gives the same
        points.

        Raises
        ------
        RuntimeError
            If every member has finished.
        """
        if self.live == 0:
            raise RuntimeError("every member has finished; take result(), and ask only while running is true")
        x = self._backend.point_one() if self._single else self._backend.points(self._rows)
        return x if self._library is None else self._library.own(x)

    def tell(self, f: Any, g: Any) -> None:
        """Take f and g at the points of the last `ask`, and move every member on.

        Parameters
        ----------
        f : array_like (k,)
            Values; a number for one problem. NaN and infinities are allowed: a member shrinks its step there. These and
            g may be arrays of any library whose memory NumPy can read, with a graph behind them or not.
        g : array_like (k, n)
            Gradients; (n,) for one problem.

        Raises
        ------
        RuntimeError
            If every member has finished.
        TypeError, ValueError
            If f or g is not real or has another shape; nothing has changed then.
        """
        if self.live == 0:
            raise RuntimeError("every member has finished; take result(), and tell only while running is true")
        backend = self._backend
        if self._single:
            if not backend.tell_one(f, g):
                f = interop.value(f, "the function")
                g = interop.gradient(g, self.n, backend.dtype, "the function")
                if not backend.tell_one(f, g):
                    raise AssertionError("checked values were refused; please report this")
        elif not backend.tell(self._rows, f, g):
            count = len(self._rows)
            f = interop.values(f, count, "the function")
            g = interop.gradients(g, count, self.n, backend.dtype, "the function")
            if not backend.tell(self._rows, f, g):
                raise AssertionError("checked values were refused; please report this")
        self.calls += 1
        if backend.finished:
            self._recount()
        if backend.crew is not None:
            backend.crew.settle()

    def run(self, objective: Any, watch: Callable[[Solver], Any] | None = None) -> None:
        """Run every member to its end on a compiled objective, without the interpreter and in `workers` threads.

        The results have the same bits as those of ask and tell, and `run` may come before or after these. Ctrl-C
        is raised when every thread has come out of the evaluation it is in; nothing is lost, and `run` goes on.

        Parameters
        ----------
        objective : scipy.LowLevelCallable, Numba cfunc, ctypes function, PyCapsule of Cython, or CudaObjective
            The last one if x0 is on a GPU; `watch` is then called every 256 evaluations. The others for NumPy, of the C
            signature in ``fastbfgs.h``, see `fastbfgs.get_include`::

                double objective(int64_t member, int64_t n, const double *x, double *g, void *user_data)

            with ``const float *x, float *g`` for float32. It is called from several threads at a time, so it must only
            read what members share. User data is that of the LowLevelCallable; without one it is NULL. What a Python
            function behind ctypes raises is printed by ctypes and goes no further; if g is not written by then, it is
            taken as NaN.
        watch : callable, optional
            ``watch(solver)``, called about 20 times a second from the second millisecond on, and at the end. It may
            read `live` and `calls`, nothing else.

        Raises
        ------
        TypeError
            If the objective is not compiled, or its signature is another.
        BaseException
            What `watch` raises, unchanged.

        Examples
        --------
        >>> import ctypes
        >>> import numpy as np
        >>> import fastbfgs
        >>> vector = ctypes.POINTER(ctypes.c_double)
        >>> @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int64, ctypes.c_int64, vector, vector, ctypes.c_void_p)
        ... def bowl(member, n, x, g, user_data):  # a compiled one is meant; this one shows what it is given
        ...     g[0] = 2.0 * (x[0] - member)
        ...     return (x[0] - member) ** 2
        >>> solver = fastbfgs.Solver(np.zeros((3, 1)))
        >>> solver.run(bowl)
        >>> solver.result().x.ravel()
        array([0., 1., 2.])
        """
        backend: Any = self._backend
        if not isinstance(backend, CPU):
            self._run_on_a_gpu(objective, watch)
            return
        if isinstance(objective, CudaObjective):
            raise TypeError("a CudaObjective runs on a GPU, and x0 is not there; give x0 as a CuPy array")
        if not isinstance(objective, Native):
            if not is_compiled(objective):
                raise TypeError(
                    "objective must be compiled: a scipy.LowLevelCallable, a Numba cfunc, a ctypes function or a "
                    f"Cython one; got {type(objective).__name__}. For a Python function use ask and tell, or minimize."
                )
            objective = Native(objective, self._backend.dtype)
        self._recount()
        if self.live == 0:
            return
        live, calls = self.live, self.calls
        runs = Runs(self._backend, self._backend.running(self._rows), objective.address, objective.user_data)

        def beat() -> None:
            self.live = live - runs.finished
            self.calls = calls + runs.evaluations
            if watch is not None:
                watch(self)

        try:
            runs.solve(self.workers, beat)
        finally:
            self.calls = calls + runs.evaluations
            self._recount()
        if self._backend.crew is not None:
            self._backend.crew.settle()
        if watch is not None:
            watch(self)

    def _run_on_a_gpu(self, objective: Any, watch: Callable[[Solver], Any] | None) -> None:
        """Run every member to its end on a CudaObjective."""
        if not isinstance(objective, CudaObjective):
            raise TypeError(
                "compiled objectives run on the CPU, and x0 is on a GPU: give a CudaObjective, or use ask and tell"
            )
        self._recount()
        backend: Any = self._backend
        while self.live:
            self.calls += backend.solve(objective)
            self._recount()
            if watch is not None:
                watch(self)

    def _limit(self, most: Any) -> None:
        """Limit the evaluations of each member to `most` (B,), or of all to one number, at least 1; not by maxfun.

        To be called before the first `tell`. The kernels have one limit for all, maxfun: each member begins to count
        where as many are left to it. `save` knows nothing of that.
        """
        self._begun = self.options.maxfun - most
        self._backend.count_from(self._begun)

    def stop(self) -> None:
        """End every member that still runs, with status STOPPED."""
        self._backend.stop(Status.STOPPED)
        self._recount()

    def _hear(self) -> None:
        """Wait for a GPU, if x0 is on one: `live` and `rows` are then as they are, and not as they were."""
        backend: Any = self._backend
        if not isinstance(backend, CPU) and backend.hear() != len(self) - self.live:
            self._recount()

    def _recount(self) -> None:
        """Find out who still runs."""
        if self._single:
            self.live = self._backend.runs(0)
            return
        running = self._backend.running(self._rows)
        self.live = len(running)
        if self.compact:
            self._set_rows(running)

    def result(self) -> Result:
        """Return where every member stands; at any time, also while they run."""
        if self._single:
            one = Result(*self._backend.snapshot_one(), self.calls)
            if self._begun is not None:
                one.nfev -= self._begun
            whole: Result = self._whole(one)
            return whole
        x, f, g, nit, nfev, status = self._backend.snapshot()
        if self._begun is not None:
            nfev -= self._begun
        shape = self.shape
        many: Result = self._whole(
            Result(
                x.reshape(*shape, self.n),
                f.reshape(shape),
                g.reshape(*shape, self.n),
                nit.reshape(shape),
                nfev.reshape(shape),
                status.reshape(shape),
                self.calls,
            )
        )
        return many

    def _whole(self, result: Any) -> Any:
        """Return `result` with arrays of x0's library in it."""
        return result if self._library is None else self._library.whole(result)

    @property
    def dtype(self) -> np.dtype:
        """NumPy's float32 or float64: what the solver computes in."""
        dtype: np.dtype = self._backend.dtype
        return dtype

    def _unseen(self) -> Any:
        """For `Recorder`: rows, nit and xg as `_steps` takes them, for who has seen no iterate of any member."""
        return self._backend.unseen()

    def _steps(self, rows: Any, nit: Any, xg: Any) -> Any:
        """For `Recorder`: rows, nit, x, f, g, alpha, s, y of those that have moved from where `nit` and `xg` say."""
        return self._backend.steps(rows, nit, xg)

    def pairs(self, member: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs s and y that a member remembers: (count, n) each, oldest first.

        Parameters
        ----------
        member : int
            Its index in the flattened batch.

        Raises
        ------
        ValueError
            If the method is "BFGS".
        """
        self._require_pairs()
        s, y = self._backend.pairs(range(len(self))[member])
        return self._whole(s), self._whole(y)

    def memories(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs s and y that all members remember: (history, ..., n) each, the newest last.

        A member that remembers fewer has zeros before them.

        Raises
        ------
        ValueError
            If the method is "BFGS".
        """
        self._require_pairs()
        s, y = (memory.reshape(len(memory), *self.shape, self.n) for memory in self._backend.memories())
        return self._whole(s), self._whole(y)

    def _require_pairs(self) -> None:
        if self.options.method == "BFGS":
            raise ValueError("BFGS remembers no pairs; take inverse_hessian()")

    def searches(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what a `Result` and `memories` leave out: the line searches under way, two arrays for `resume`."""
        searches: tuple[np.ndarray, np.ndarray] = self._backend.searches()
        return searches

    def inverse_hessian(self) -> np.ndarray:
        """Return a copy of the inverse Hessian that BFGS has learnt: (n, n) of one problem, (..., n, n) of a batch.

        Raises
        ------
        ValueError
            If the method is another.
        """
        if self.options.method != "BFGS":
            raise ValueError(f"method {self.options.method!r} has no dense inverse Hessian; take pairs()")
        hessians: np.ndarray = self._whole(self._backend.inverse_hessians().reshape(*self.shape, self.n, self.n))
        return hessians

    def __len__(self) -> int:
        return len(self._backend.records)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the whole state to `path`, an npz file; a run resumed from it has the same bits as one not interrupted.

        The file is complete or not there: an interruption leaves what stood at `path` before.
        """
        import json

        arrays: dict[str, Any] = {
            "format": _FORMAT,
            "record": str(RECORD),
            "options": json.dumps(asdict(self.options)),
            "shape": np.array(self.shape, dtype=np.intp),
            "n": self.n,
            "compact": self.compact,
            "calls": self.calls,
            **({} if isinstance(self._backend, CPU) else {"device": "cuda"}),
            **self._backend.state(),
        }
        partial = f"{os.fspath(path)}.partial"
        try:
            with open(partial, "wb") as file:
                np.savez(file, **arrays)
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):  # what went wrong is the news
                os.remove(partial)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, workers: int | None = None) -> Solver:
        """Return the solver that `save` wrote to `path`; it asks in NumPy arrays, whatever x0 was.

        Parameters
        ----------
        path : path-like
            The file. Nothing in it is executed: it holds numbers and text only.
        workers : int, optional
            As in the constructor; not part of the file, since results do not depend on it.

        Raises
        ------
        ValueError
            If the file was not written by `save` of this format, or is damaged.
        OSError
            If it cannot be opened.
        """
        unknown = (
            f"{os.fspath(path)!r} is not, or no longer, a state that this version of fastbfgs wrote with Solver.save; "
            "load it with the version that wrote it, or take another copy"
        )
        with open(path, "rb") as file:
            try:
                saved = _read(file)
            except MemoryError:
                raise
            except Exception as error:  # NumPy's, zipfile's, zlib's, the system's: whatever other files bring about
                raise ValueError(unknown) from error
        place = device.cupy("a run that was saved on a GPU").asarray if "device" in saved else np.asarray
        h0, bounds = (interop.Checked(place(saved[name])) if name in saved else None for name in ("h0", "box"))
        solver = cls(
            place(saved["x0"]), saved["options"], h0=h0, bounds=bounds, compact=saved["compact"], workers=workers
        )
        if not solver._resume(saved["records"], saved["vectors"], saved["calls"]):
            raise ValueError(unknown)
        return solver

    @classmethod
    def resume(
        cls,
        result: Result,
        memories: tuple[np.ndarray, np.ndarray],
        options: Options | None = None,
        *,
        searches: tuple[np.ndarray, np.ndarray] | None = None,
        h0: Any = None,
        compact: bool = True,
        workers: int | None = None,
    ) -> Solver:
        """Return a solver of method "L-BFGS" that goes on from a result and the pairs, whoever found them.

        Nothing is evaluated again.

        Parameters
        ----------
        result : Result
            Where the members stand. A member with a negative status runs on; one that meets the tolerances, or is at a
            limit, ends at once. The run goes on where x is, and with arrays of its library, of which all must be.
        memories : tuple of ndarray (m, ..., n)
            The pairs s and y, oldest first; those that show no curvature, zeros for one, are left out. The solver
            remembers m.
        options : Options, optional
            As in the constructor, but for `history`, which is m.
        searches : tuple, optional
            What `Solver.searches` returned when the result was taken: a member whose x, f and g have the same bits as
            then goes on as if it had never stopped. Others begin a new line search. Not of a run with bounds, which
            this one does not have: `save` and `load` keep those.
        h0, compact, workers
            As in the constructor.

        Raises
        ------
        TypeError, ValueError
            If an array breaks its rule; the message says which, and what is required.

        Examples
        --------
        >>> import numpy as np
        >>> import fastbfgs
        >>> solver = fastbfgs.Solver([0.0, 0.0], gtol=1e-9)
        >>> for _ in range(3):
        ...     x = solver.ask()
        ...     solver.tell(((x - 2) ** 4).sum(), 4 * (x - 2) ** 3)
        >>> again = fastbfgs.Solver.resume(
        ...     solver.result(), solver.memories(), solver.options, searches=solver.searches()
        ... )
        >>> bool((again.ask() == solver.ask()).all())
        True
        """
        options = Options() if options is None else options
        if options.method != "L-BFGS":
            raise ValueError(f'only runs of method "L-BFGS" can be taken up; got {options.method!r}')
        reader: Any = device.reader(result.x, "result.x")
        x, library = reader.enter(result.x, "result.x")
        shape, n, dtype = x.shape[:-1], x.shape[-1], x.dtype
        count = math.prod(shape)

        def array(name: str, given: Any) -> Any:
            given = given if library is None else library.argument(given, name)
            return reader.xp.ascontiguousarray(reader.argument(given, name, "result.x"))

        def spread(name: str, shape: tuple[int, ...], kind: Any) -> Any:
            given = getattr(result, name)
            given = given if library is None else library.argument(given, name)
            return reader.spread(given, f"result.{name}", shape, kind, "result.x")

        with reader.at_work():
            s, y = (array(f"memories[{k}]", memory) for k, memory in enumerate(memories))
            for name, memory in (("memories[0]", s), ("memories[1]", y)):
                if not (memory.shape[1:] == x.shape and memory.dtype == dtype and len(memory)):
                    raise ValueError(
                        f"{name} must have shape {('m', *x.shape)} with m of at least 1 and dtype {dtype}, as "
                        f"result.x; got {memory.shape} of {memory.dtype}"
                    )
            if s.shape != y.shape:
                raise ValueError(f"memories must hold as many s as y; got {len(s)} and {len(y)}")
            if searches is not None:
                records, vectors = searches = tuple(array(f"searches[{k}]", each) for k, each in enumerate(searches))
                wanted: Any = ((count, RECORD.itemsize), (count, 4 * n), np.uint8, dtype)
                if (records.shape, vectors.shape, records.dtype, vectors.dtype) != wanted:
                    raise ValueError("searches are not of this result: take both from one solver, or leave it out")
                if bool(field_of(records, "bounded").any()):
                    raise ValueError(
                        "searches must be of a run without bounds, as the resumed one is: leave them out to begin new "
                        "searches without bounds, or go on with bounds by save and load"
                    )
            g = spread("g", x.shape, dtype).reshape(count, n)
            scalars = [
                spread(name, shape, kind).reshape(count)
                for name, kind in (("f", dtype), ("nit", np.int64), ("nfev", np.int64), ("status", np.int32))
            ]
            pairs = [memory.reshape(len(memory), count, n) for memory in (s, y)]
            solver = cls(result.x, replace(options, history=len(s)), h0=h0, compact=compact, workers=workers)
            solver._take_up((g, *scalars, *pairs, searches), result.calls)
        return solver

    def _take_up(self, state: tuple[Any, ...], calls: int) -> None:
        """Put the members where others stood."""
        self._backend.take_up(*state)
        self._recount()
        self.calls = calls

    def _resume(self, records: np.ndarray, vectors: np.ndarray, calls: int) -> bool:
        """Go on from the arrays and the count of a saved run; False, and nothing done, if they are of another."""
        if not self._backend.restore(records, vectors):
            return False
        self._recount()
        self.calls = calls
        return True


def _read(file: Any) -> dict[str, Any]:
    """Return what `Solver.save` wrote into a file, and `x0` and `options`, as the constructor takes them.

    Raises
    ------
    Exception
        Of any kind, if it was not `save` that wrote it.
    """
    import json

    saved: dict[str, Any] = dict(np.load(file, allow_pickle=False))
    if int(saved["format"]) != _FORMAT or str(saved["record"]) != str(RECORD):
        raise ValueError("another format")
    options = Options(**json.loads(str(saved["options"])))
    vectors, shape, n = saved["vectors"], saved["shape"].tolist(), int(saved["n"])
    x0 = vectors[:, :n].reshape(*shape, n)
    B = math.prod(x0.shape[:-1])
    forms = {"h0": ((n, n), (B, n, n)) if options.method == "BFGS" else ((n,), (B, n)), "box": ((2, n), (B, 2, n))}
    for name in saved.keys() & forms.keys():
        array = saved[name] = np.ascontiguousarray(saved[name])
        if array.shape not in forms[name] or array.dtype != x0.dtype:
            raise ValueError(f"{name} of another form")
    if x0.dtype not in (np.float64, np.float32):
        raise TypeError(f"vectors of dtype {x0.dtype}")
    read = {"x0": x0, "options": options, "compact": bool(saved["compact"]), "calls": int(saved["calls"])}
    return saved | read
