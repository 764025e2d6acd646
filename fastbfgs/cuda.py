"""The CUDA backend: B members in two device arrays, and one kernel launch a call that serves them all.

What `cpu.CPU` is for NumPy, with the records and rows of vectors of kernels/state.pxd, and the mathematics of
kernels/advance.cu. Everything runs on the caller's current stream, and nothing waits for the device, but for what hands
numbers to the host because the caller asks: results of one problem, `movers`, `steps`, `running`, `state`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

import numpy as np

from fastbfgs.backend import Backend, field_of, sound
from fastbfgs.device import Arrays
from fastbfgs.fused import CudaObjective
from fastbfgs.kernels.advance import RECORD

KERNELS = Path(__file__).parent / "kernels"

THREADS = ((4, 1), (8, 4), (16, 8), (32, 16), (1024, 32), (8192, 128), (2**62, 256))
"""Coordinates at most, and how many threads share a member then.

By n alone, and never by B: the order of sums depends on it, and a member is to have the same bits in every batch.
Not measured yet: nothing of this has run on a GPU.
"""

LARGE, LARGE_BFGS = 100_000, 2_000
"""Coordinates from which on all blocks share a member: of L-BFGS, and of BFGS, whose matrix then has 4 million numbers.

By n alone, as `THREADS`. Not measured: a guess, from barriers of all blocks that cost some 3 us, of which an iteration
has 10 (BFGS) to 150 (with bounds), and from the 30 GB/s that one block may read.
"""

_GRID_BLOCK, _MOST_AT_ONCE = 256, 12
"""As kernels/grid.cuh and group.cuh have them."""

_MOST_SLOTS, _MOST_SUMS = 65, 8 + 5 * 65
"""As kernels/large.cuh has them."""

RUN = np.dtype(
    [(name, np.int64) for name in ("n", "m")]
    + [(name, np.int32) for name in ("method", "scale_h0", "tables")]
    + [(name, np.float64) for name in "c1 c2 gtol ftol frtol fatol xtol xrtol norm eps".split()]
    + [(name, np.int64) for name in ("maxiter", "maxfun", "maxls")]
    + [(name, np.uint64) for name in ("records", "vectors", "h0", "box", "room", "finished")]
    + [(name, np.int64) for name in ("record_size", "room_size", "vector_size", "h0_size", "box_size")],
    align=True,
)
"""`Run` of kernels/advance.cu: what is the same in every launch."""

_NULL = np.uint64(0)
"""A pointer to nothing."""

_BLOCK = 128
"""Threads of a block, unless one member has more."""

_TURN = 256
"""Evaluations of a member in one launch of a whole run; in between Ctrl-C is heard, and progress seen."""

_BLOCKS = 8
"""Blocks a multiprocessor: more find no registers anyway, and each has scratch of its own."""


def threads_of(n: int) -> int:
    """Return how many threads share a member of n coordinates."""
    return next(threads for most, threads in THREADS if n <= most)


def source() -> str:
    """Return kernels/advance.cu with the files that it includes in their places."""
    text = (KERNELS / "advance.cu").read_text(encoding="utf-8")
    return re.sub(r'#include "(\w+\.cuh)"\n', lambda found: (KERNELS / found[1]).read_text(encoding="utf-8"), text)


def instances(dtype: Any, threads: int, method: str, bounded: bool, shared: str = "") -> dict[str, str]:
    """Return the C++ names of the kernels of one kind of run, by their names in advance.cu.

    `shared`: "large" or "grid" if all blocks share a member, as the .cuh of that name says.
    """
    floating = "float" if dtype == np.float32 else "double"
    kind = f"{floating}, {threads}"
    which = f"{'BFGS' if method == 'BFGS' else 'LBFGS'}, {'true' if bounded else 'false'}"
    opening = {"open_all": f"open_all<{kind}>"}
    if shared:
        return opening | {"tell": f"tell_large<{floating}>" if shared == "large" else f"tell_grid<{floating}, {which}>"}
    return opening | {"points": f"points<{kind}>", "tell": f"tell<{kind}, {which}>"}


def instance_of_take_up(dtype: Any, threads: int, shared: str = "") -> str:
    """Return the C++ name of the kernel that lets members go on where others stood."""
    floating = "float" if dtype == np.float32 else "double"
    return f"take_up_{shared}<{floating}>" if shared else f"take_up<{floating}, {threads}>"


OPTIONS = ("--std=c++17", "--fmad=false")
"""Of the compiler. No fused multiply-add: see setup.py. (CuPy adds -ftz=true: float32 numbers below 1e-38 are 0.)"""


@cache
def _compiled(xp: Any, device: int, names: tuple[str, ...], shared: bool) -> list[Any]:
    """Return the compiled kernels of these C++ names. CuPy keeps them on disk, too."""
    module = xp.RawModule(code=source(), options=OPTIONS, name_expressions=names, enable_cooperative_groups=shared)
    return [module.get_function(name) for name in names]


@cache
def _fused_kernel(xp: Any, device: int, code: str, name: str) -> Any:
    """Return the compiled kernel that runs whole solves on an objective of the caller's."""
    module = xp.RawModule(code=code, options=OPTIONS, name_expressions=(name,))
    try:
        return module.get_function(name)
    except Exception as error:
        raise ValueError(f"the source of the CudaObjective does not compile for these members: {error}") from error


def _columns_of(n: int) -> int:
    """Return what columns_of of kernels/box.cuh does."""
    return min(n, 12) if n <= 10000 else 2


class Footprint:
    """How much device memory a run takes, in bytes, before any of it is taken.

    Parameters
    ----------
    n, m : int
        Coordinates, and pairs; m = 0 for BFGS.
    itemsize : int
        Of x.
    bounded : bool
    blocks : int
        How many share a member; 0 if one does, or less.
    shared : str
        How they do, see `instances`.
    """

    def __init__(self, n: int, m: int, itemsize: int, bounded: bool, blocks: int = 0, shared: str = "") -> None:
        self.record = RECORD.itemsize + 8 * m + (16 * m * m if bounded else 0)
        self.vector = (4 + (2 * m if m else 1 + n)) * n
        self.sums = (2, blocks, {"": 0, "large": _MOST_SUMS, "grid": _MOST_AT_ONCE}[shared])  # left to other blocks
        self.fixed = 8 + (8 + 8 * math.prod(self.sums) if shared else 0)
        if shared == "large":
            self.record = RECORD.itemsize + 8 * (3 * (m + 1) + 2 * (m + 1) ** 2)
            self.vector = (3 + 2 * (m + 1)) * n
        self.call = 2 * n * itemsize + 17  # x of this call and of the last; rows of both, and who has moved
        self.member = self.record + self.vector * itemsize + self.call
        small = 8 * (m + (5 * m * m + 11 * m if bounded or shared else 0))
        self.room = 0 if shared == "large" else max(1, blocks) * small
        if bounded:
            self.room += 8 * 3 * n + -(-(1 + _columns_of(n)) * n * itemsize // 8) * 8
        self.formula = f"{self.member} bytes a member, and {self.room} bytes of scratch for each of at most {{groups}}"

    def total(self, B: int, groups: int) -> int:
        """Return what B members take, `groups` of which are advanced at a time."""
        return B * self.member + min(B, groups) * self.room + self.fixed

    def most(self, free: int, groups: int) -> int:
        """Return the largest B for which `total` is at most `free`."""
        free = max(0, free - self.fixed)
        alone = free // (self.member + self.room)
        return alone if alone <= groups else max(0, free - groups * self.room) // self.member


class _Flag:
    """A number of the device's, copied to pinned memory behind every launch, and read as it stands.

    The memory is used again only when no copy can be on its way to it any more: what is freed goes back to CuPy's pool
    at once, whatever a stream is still to do with it.
    """

    _retired: ClassVar[list[tuple[Any, Any]]] = []

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.stream: Any = None
        free = next((k for k, (_, event) in enumerate(self._retired) if event.done), None)
        self.memory = xp.cuda.alloc_pinned_memory(8) if free is None else self._retired.pop(free)[0]
        self.value = np.frombuffer(self.memory, np.int64, 1)
        self.value[0] = 0

    def follow(self, number: Any) -> None:
        """Copy `number` (1,) here, when the current stream comes to that."""
        self.stream = self.xp.cuda.get_current_stream()
        number.data.copy_to_host_async(self.value.ctypes.data, 8, self.stream)

    def __del__(self) -> None:
        if self.stream is not None and not sys.is_finalizing():
            event = self.xp.cuda.Event(disable_timing=True)
            event.record(self.stream)
            self._retired.append((self.memory, event))


def _at_work(backend: type) -> type:
    """Return a backend with every method but those of its own run where its arrays are at work."""

    def there(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(self: Any, *arguments: Any) -> Any:
            with self.arrays.at_work():
                return method(self, *arguments)

        return run

    for name, method in list(vars(backend).items()):
        if isinstance(method, FunctionType) and not name.startswith("_"):
            setattr(backend, name, there(method))
    return backend


@_at_work
class CUDA(Backend):
    """B members on a GPU, each a record of scalars and a row of vectors (see kernels/state.pxd).

    Members are masked when they finish: a launch looks at their records and goes on. How many have finished is copied
    to pinned memory behind every launch, and read without waiting for it, so the host learns it late.

    Parameters
    ----------
    x0 : cupy.ndarray (B, n), float32 or float64, C-contiguous
        Starts, within the bounds; copied.
    options : Options
    h0, box
        As `cpu.CPU` takes them, on the same device.
    arrays : Arrays
        Of the device of x0.
    threads : int, optional
        How many share a member: one of those in `THREADS`.

    Raises
    ------
    ValueError
        If an option is for the CPU alone.
    MemoryError
        If the device has not enough memory left; the message has the formula, and the largest B that fits.
    """

    def __init__(self, x0: Any, options: Any, h0: Any, box: Any, arrays: Arrays, threads: int | None = None) -> None:
        if options.pairs is not None:
            raise ValueError(
                f"pairs={options.pairs!r} is for the CPU, and x0 is on a GPU; leave it out, or use float32"
            )
        self.arrays = arrays
        self.xp = xp = arrays.xp
        self.B, self.n = x0.shape
        self.dtype = np.dtype(x0.dtype)
        self.method = options.method
        self.m = 0 if options.method == "BFGS" else options.history
        self.h0, self.box = h0, box
        self.threads = threads_of(self.n) if threads is None else threads
        self.block = max(_BLOCK, self.threads)
        processors = xp.cuda.Device(arrays.device).attributes["MultiProcessorCount"]
        self.shared = ""
        if self.n >= self._most_alone() and threads is None:
            by_tables = box is None and 0 < self.m < _MOST_SLOTS and options.norm in (np.inf, 2.0)
            self.shared = "large" if by_tables else "grid"
        self.blocks = processors if self.shared else _BLOCKS * processors
        shared = (self.blocks, self.shared) if self.shared else ()
        self.footprint = Footprint(self.n, self.m, self.dtype.itemsize, box is not None, *shared)
        groups = 1 if self.shared else self.blocks * (self.block // self.threads)
        self._require_memory(groups)

        size = self.footprint
        self.records = xp.zeros((self.B, size.record), np.uint8)
        self.vectors = xp.empty((self.B, size.vector), self.dtype)
        self._room = xp.empty(min(self.B, groups) * size.room, np.uint8)
        self._finished = xp.zeros(1, np.int64)
        self._flag = _Flag(xp)
        self._counted = 0  # the members that had finished when the rows were last looked through
        self._moved = xp.empty(self.B, np.uint8)
        self._read: Any = None
        self._told = 0  # how many rows the last `tell` was about
        self._next: Any = None  # the rows that were told last, and the points that they ask about now
        each = 1 if self.m else 2
        self._run = np.zeros((), RUN)
        for name, value in {
            "n": self.n,
            "m": self.m,
            "method": int(options.method == "BFGS"),
            "scale_h0": options.scaling(h0 is not None),
            "tables": box is not None,
            "eps": np.finfo(self.dtype).eps,
            "records": self.records.data.ptr,
            "vectors": self.vectors.data.ptr,
            "h0": 0 if h0 is None else h0.data.ptr,
            "box": 0 if box is None else box.data.ptr,
            "room": self._room.data.ptr,
            "finished": self._finished.data.ptr,
            "record_size": size.record,
            "room_size": size.room,
            "vector_size": size.vector,
            "h0_size": 0 if h0 is None or h0.ndim == each else self.n**each,
            "box_size": 0 if box is None or box.ndim == 2 else 2 * self.n,
        }.items():
            self._run[name] = value
        for name in "c1 c2 gtol ftol frtol fatol xtol xrtol norm maxiter maxfun maxls".split():
            self._run[name] = getattr(options, name)
        names = instances(self.dtype, self.threads, options.method, box is not None, self.shared)
        kernels = _compiled(xp, arrays.device, tuple(names.values()), bool(self.shared))
        self._kernels = dict(zip(names, kernels, strict=True))
        if self.shared:
            self._sums = xp.empty(size.sums, np.float64)
            self._arrived = xp.zeros(1, np.uint64)
        self._launch("open_all", self.B, np.int64(self.B), x0)
        self.all_rows = xp.arange(self.B, dtype=np.int64)
        self.finished = 0

    def _require_memory(self, groups: int) -> None:
        """Raise MemoryError if the members do not fit into what is free on the device."""
        size, needed = self.footprint, self.footprint.total(self.B, groups)
        free = self._free()
        if needed > free:
            raise MemoryError(
                f"{self.B} members of {self.n} coordinates need {needed} bytes of device memory, besides what fun "
                f"takes, and {free} are free. That is {size.formula.format(groups=groups)}: the largest batch that "
                f"fits has {size.most(free, groups)} members. Solve the batch in pieces, with chunk=, remember "
                "fewer pairs, or use float32."
            )

    def _most_alone(self) -> int:
        """Return from how many coordinates on all blocks share a member."""
        return LARGE_BFGS if self.method == "BFGS" else LARGE

    def _free(self) -> int:
        """Return how many bytes of device memory can still be had."""
        pool = self.xp.get_default_memory_pool()
        free = int(self.xp.cuda.runtime.memGetInfo()[0] + pool.free_bytes())
        return min(free, pool.get_limit() - pool.used_bytes()) if pool.get_limit() > 0 else free

    def _launch(self, name: str, count: int, *arguments: Any) -> None:
        """Launch a kernel over `count` members."""
        if count:
            groups = self.block // self.threads
            blocks = min(self.blocks, -(-count // groups))
            self._kernels[name]((blocks,), (self.block,), (self._run, *arguments))

    def _share(self, name: str, count: int, *arguments: Any) -> None:
        """Launch a kernel of all blocks over `count` members, one after another."""
        if count:
            arguments += (self._sums, self._arrived)
            self._kernels[name]((self.blocks,), (_GRID_BLOCK,), (self._run, *arguments))

    def _ring(self) -> Any:
        """Return the slots of all members, (B, slots, 2, n), a view; of each the s, or p, and the y."""
        first, slots = (3, self.m + 1) if self.shared == "large" else (4, self.m)
        return self.vectors[:, first * self.n :].reshape(self.B, slots, 2, self.n)

    def _field(self, name: str) -> Any:
        """Return a view of one scalar of every record (B,)."""
        return field_of(self.records, name)

    def _rows(self, rows: Any) -> Any:
        """Return what a kernel takes for `rows`: nothing for all members, in order."""
        return _NULL if len(rows) == self.B else rows

    def points(self, rows: Any) -> Any:
        """Return the points that `rows` (k,) ask about, or rest at: (k, n), the caller's to keep."""
        told, x = self._next or (None, None)
        self._next = None
        if told is rows:
            return x
        x = self.xp.empty((len(rows), self.n), self.dtype)
        if self.shared:
            nothing = _NULL, np.int32(0), _NULL
            self._share("tell", len(rows), self._rows(rows), np.int64(len(rows)), *nothing, x, _NULL)
        else:
            self._launch("points", len(rows), self._rows(rows), np.int64(len(rows)), x)
        return x

    def point_one(self) -> Any:
        """Return the point that the only member asks about: (n,), the caller's to keep."""
        return self.points(self.all_rows).reshape(self.n)

    def tell(self, rows: Any, f: Any, g: Any) -> bool:
        """Take f (k,) of float32 or float64 and g (k, n) of the vectors' dtype for `rows` (k,).

        Raises
        ------
        TypeError, ValueError
            If f or g is not on the device, or has another type or shape; nothing has changed then.
        """
        count, source = len(rows), "the function"
        f = self.arrays.values(f, count, source)
        g = self.arrays.gradients(g, count, self.n, self.dtype, source)
        x = self.xp.empty((count, self.n), self.dtype)
        narrow = np.int32(f.dtype == np.float32)
        launch = self._share if self.shared else self._launch
        launch("tell", count, self._rows(rows), np.int64(count), f, narrow, g, x, self._moved)
        self._next, self._told = (rows, x), count
        self._read = f, g  # kept until the next call: by then another library has waited for this one
        self._flag.follow(self._finished)
        # Is it time to look who still runs? Nobody does, or half of those that did do not. The host hears of it late.
        finished = int(self._flag.value[0])
        self.finished = int(finished == self.B or 2 * (self.B - finished) <= self.B - self._counted)
        return True

    def tell_one(self, f: Any, g: Any) -> bool:
        """Take f, one number, and g (n,) for the only member. A number on the host is copied to the device.

        Raises
        ------
        TypeError, ValueError
            As `tell`.
        """
        f, g = self.arrays.value(f, "the function"), self.arrays.taken(g, "g")
        if isinstance(g, self.xp.ndarray) and g.shape == (self.n,):
            g = g.reshape(1, self.n)
        return self.tell(self.all_rows, f, g)

    def runs(self, b: int) -> bool:
        """Return whether the only member has not finished, as far as the host has heard."""
        return bool(self._flag.value[0] == 0)

    def solve(self, objective: CudaObjective) -> int:
        """Run every member for at most `_TURN` evaluations; return how many that were in all. Waits for the device.

        Raises
        ------
        MemoryError
            If there is no room for the points of its threads.
        TypeError, ValueError
            If the objective does not compile, or its data are on another device.
        """
        xp, n = self.xp, self.n
        if self.shared:
            raise ValueError(f"a CudaObjective is for members of less than {self._most_alone()} coordinates; got {n}")
        blocks = min(self.blocks, -(-self.B // _BLOCK))
        threads = blocks * _BLOCK
        needed = threads * (self.footprint.room + 2 * n * self.dtype.itemsize)
        if needed > self._free():
            raise MemoryError(f"{threads} threads need {needed} bytes of scratch, and {self._free()} are free")
        text = (KERNELS / "solve.cuh").read_text(encoding="utf-8")
        which = instances(self.dtype, 1, self.method, self.box is not None)["tell"].replace("tell", "solve")
        name = which.replace(", 1,", ",")
        kernel = _fused_kernel(xp, self.arrays.device, objective.code(source(), text), name)
        run = self._run.copy()
        room = xp.empty(threads * self.footprint.room, np.uint8)
        run["room"] = room.data.ptr
        points = xp.empty((threads, 2, n), self.dtype)
        data = objective.values(self.B, self.arrays)
        before = int(self._field("nfev").sum())
        if self.B:
            kernel((blocks,), (_BLOCK,), (run, np.int64(self.B), np.int64(_TURN), points, data))
        self._next, self._told = None, 0
        self.hear()
        return int(self._field("nfev").sum()) - before

    def movers(self) -> int:
        """Return how many members took a step in the last `tell`. Waits for the device."""
        return int(self._moved[: self._told].sum())

    def running(self, rows: Any) -> Any:
        """Return those of `rows` that have not finished. Waits for the device."""
        running = rows[self._field("status")[rows] < 0]
        self._counted = self.B - len(running)
        return running

    def statuses(self) -> Any:
        """Return a copy of the status of every member (B,)."""
        return self._field("status").copy()

    def stop(self, status: int) -> None:
        """End every running member with `status`."""
        running = self._field("status")
        running[running < 0] = int(status)
        self._finished[0] = self.B
        self.hear()

    def hear(self) -> int:
        """Return how many members have finished. Waits for the device."""
        finished = int(self._finished[0])
        self._flag.value[0] = finished
        return finished

    def count_from(self, nfev: Any) -> None:
        """Let members count their evaluations from `nfev` on, (B,) or one number."""
        self._field("nfev")[...] = nfev

    def snapshot(self) -> tuple[Any, ...]:
        """Return copies of x (B, n), f (B,) float64, g (B, n), nit, nfev, status (B,): the accepted iterates."""
        x, g = self.vectors[:, : self.n].copy(), self.vectors[:, self.n : 2 * self.n].copy()
        f, nit, nfev, status = (self._field(name).copy() for name in ("f", "nit", "nfev", "status"))
        return x, f, g, nit, nfev, status

    def snapshot_one(self) -> tuple[Any, ...]:
        """Return x (n,), f, g (n,), nit, nfev, status of the only member: x and g on the device, and Python numbers."""
        x, g = self.vectors[0, : self.n].copy(), self.vectors[0, self.n : 2 * self.n].copy()
        f, nit, nfev, status = (self._field(name)[0].get().item() for name in ("f", "nit", "nfev", "status"))
        return x, f, g, nit, nfev, status

    def unseen(self) -> tuple[Any, Any, Any]:
        """Return rows, nit and xg as `steps` takes them, for who has seen no iterate of any member."""
        xp = self.xp
        return self.all_rows, xp.full(self.B, -1, np.int64), xp.full((self.B, 2 * self.n), np.nan, self.dtype)

    def steps(self, rows: Any, nit: Any, xg: Any) -> Any:
        """Return rows, nit, x, f, g, alpha, s, y of those of `rows` that have moved, copies; None if there are none.

        As `cpu.CPU` does. Waits for the device once: how many they are.
        """
        now = self._field("nit")
        moved = rows[(self._field("started")[rows] != 0) & (now[rows] > nit[rows])]
        if len(moved) == 0:
            return None
        nit[moved] = now[moved]

        def step(which: slice) -> tuple[Any, Any]:
            new = self.vectors[moved, which]
            difference = new - xg[moved, which]
            xg[moved, which] = new
            return new, difference

        x, s = step(slice(0, self.n))
        g, y = step(slice(self.n, 2 * self.n))
        return moved, nit[moved], x, self._field("f")[moved], g, self._field("alpha")[moved], s, y

    def state(self) -> dict[str, np.ndarray]:
        """Return copies on the host of the arrays that hold everything, by name; h0 and box only if there are such."""
        arrays = {"records": self.records, "vectors": self.vectors, "h0": self.h0, "box": self.box}
        return {name: array.get() for name, array in arrays.items() if array is not None}

    def restore(self, records: np.ndarray, vectors: np.ndarray) -> bool:
        """Go on from the arrays of an earlier `state`; False, and nothing done, if they cannot be of such members."""
        held, bounded = (self.records, self.vectors), self._field("bounded").get()
        if not sound((records, vectors), held, bounded, self.m, self.m + (self.shared == "large")):
            return False
        self.records[...] = self.xp.asarray(records)
        self.vectors[...] = self.xp.asarray(vectors)
        self._recount()
        return True

    def _recount(self) -> None:
        """Find out who has finished, whatever was known before."""
        self._next, self._told, self._counted = None, 0, 0
        self._finished[0] = (self._field("status") >= 0).sum()
        self.hear()

    def pairs(self, b: int) -> tuple[Any, Any]:
        """Return copies of member b's s and y, (count, n) each, oldest first."""
        count, head = (int(self._field(name)[b]) for name in ("count", "head"))
        ring = self._ring()[b]
        pairs = ring[self.xp.asarray((np.arange(head - count, head) % len(ring)).astype(np.int64))]
        return pairs[:, 0].copy(), pairs[:, 1].copy()

    def memories(self) -> tuple[Any, Any]:
        """Return copies of the s and y of all members, (m, B, n) each: the newest last, zeros where there is none."""
        xp, m = self.xp, self.m
        ago = xp.arange(m)[::-1].reshape(m, 1)  # 0 for the newest
        ring = self._ring()
        slots = (self._field("head").astype(np.int64) - 1 - ago) % ring.shape[1]
        there = (ago < self._field("count")).reshape(m, self.B, 1)
        s, y = (xp.where(there, ring[self.all_rows, slots, k], 0).astype(self.dtype) for k in range(2))
        return s, y

    def searches(self) -> tuple[Any, Any]:
        """Return copies of the records' fixed part (B, bytes), and of x | g | p | g_lo (B, 4 n)."""
        n = self.n
        vectors = self.vectors[:, : 4 * n].copy()
        if self.shared == "large":
            vectors[:, 2 * n : 3 * n] = self._ring()[self.all_rows, self._field("head").astype(np.int64), 0]
            vectors[:, 3 * n :] = self.vectors[:, 2 * n : 3 * n]
        return self.records[:, : RECORD.itemsize].copy(), vectors

    def take_up(
        self, g: Any, f: Any, nit: Any, nfev: Any, status: Any, s: Any, y: Any, searches: tuple[Any, Any] | None
    ) -> None:
        """Put the members where others stood: at x0 with f (B,), g (B, n) and the pairs s, y (m, B, n) of L-BFGS,
        all of x0's dtype and C-contiguous. Waits for the device.

        Those whose `status` (B,) is negative run on: with the search that was under way, if `searches` is of this x, f
        and g, bit for bit; else with a new one.
        """
        xp, n = self.xp, self.n
        self.vectors[:, n : 2 * n] = g
        ours, vectors = xp.zeros(self.B, bool), _NULL
        if searches is not None:
            records, vectors = searches
            bits = f"u{self.dtype.itemsize}"
            ours = (self.vectors.view(bits)[:, : 2 * n] == vectors.view(bits)[:, : 2 * n]).all(axis=1)
            ours &= field_of(records, "f").astype(self.dtype).view(bits) == f.view(bits)
            fixed = self.records[:, : RECORD.itemsize]
            fixed[...] = xp.where(ours.reshape(-1, 1), records, fixed)
        for name, there in {
            "started": xp.where(ours, self._field("started"), 1),
            "f": xp.where(ours, self._field("f"), f),
            "nit": nit,
            "nfev": nfev,
            "status": xp.where(status >= 0, status, self._field("status")),
        }.items():
            self._field(name)[...] = there
        name = instance_of_take_up(self.dtype, self.threads, self.shared)
        (self._kernels["take_up"],) = _compiled(xp, self.arrays.device, (name,), bool(self.shared))
        launch = self._share if self.shared else self._launch
        launch("take_up", self.B, np.int64(self.B), s, y, status, ~ours, vectors)
        self._recount()

    def inverse_hessians(self) -> Any:
        """Return copies of BFGS's H, (B, n, n): H0 where no pair has been learnt."""
        xp, n = self.xp, self.n
        H0 = xp.eye(n, dtype=self.dtype) if self.h0 is None else self.h0
        learnt = (self._field("count") > 0).reshape(self.B, 1, 1)
        return xp.where(learnt, self.vectors[:, 5 * n :].reshape(self.B, n, n), H0).astype(self.dtype)
