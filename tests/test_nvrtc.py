"""kernels/advance.cu, compiled by NVIDIA's compiler for real GPUs, which takes none: every kernel, and no spills.

The compiler is the one of ``pip install nvidia-cuda-nvrtc``. By default a few instances are compiled, two minutes; with
FASTBFGS_NVRTC=all every one that `CUDA` can ask for, ten minutes of one core.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.gpu import DECAY
from fastbfgs.cuda import KERNELS, OPTIONS, THREADS, instance_of_take_up, instances, source
from fastbfgs.fused import CudaObjective

NVIDIA = importlib.util.find_spec("nvidia")
FOLDERS = [] if NVIDIA is None else list(NVIDIA.submodule_search_locations or ())
LIBRARIES = sorted(path for folder in FOLDERS for path in Path(folder).glob("**/libnvrtc.so.*"))
pytestmark = pytest.mark.skipif(not LIBRARIES, reason="pip install nvidia-cuda-nvrtc")

ARCHITECTURES = ("sm_80", "sm_90")
METHODS = ("L-BFGS", "BFGS", "L-BFGS-B")
EVERY = [
    (architecture, dtype, threads, method)
    for architecture in ARCHITECTURES
    for dtype in ("float32", "float64")
    for _, threads in THREADS
    for method in METHODS
]
FEW = [each for each in EVERY if each[:3] in (("sm_80", "float32", 8), ("sm_90", "float64", 256))]
CHOSEN = EVERY if os.environ.get("FASTBFGS_NVRTC") == "all" else FEW


class Compiler:
    """The C interface of nvrtc."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def __call__(self, name: str, *arguments) -> None:
        error = getattr(self.library, f"nvrtc{name}")(*arguments)
        assert error == 0, f"nvrtc{name}: {self.library.nvrtcGetErrorString(error).decode()}"

    @contextmanager
    def program(self, text: str) -> Iterator[ctypes.c_void_p]:
        program = ctypes.c_void_p()
        self("CreateProgram", ctypes.byref(program), text.encode(), b"advance.cu", 0, None, None)
        yield program
        self("DestroyProgram", ctypes.byref(program))

    def text(self, kind: str, program: ctypes.c_void_p) -> bytes:
        """Return the log or the machine code."""
        size = ctypes.c_size_t()
        self(f"Get{kind}Size", program, ctypes.byref(size))
        room = ctypes.create_string_buffer(size.value)
        self(f"Get{kind}", program, room)
        return room.raw

    def compile(self, text: str, names: list[str], architecture: str) -> tuple[str, bytes]:
        """Return what ptxas says of the kernels `names`, and their machine code."""
        options = [f"--gpu-architecture={architecture}", *OPTIONS, "--ptxas-options=-v"]
        with self.program(text) as program:
            for name in names:
                self("AddNameExpression", program, name.encode())
            given = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
            error = self.library.nvrtcCompileProgram(program, len(options), given)
            log = self.text("ProgramLog", program).decode()
            assert error == 0, log
            return log, self.text("CUBIN", program)


@pytest.mark.parametrize(("architecture", "dtype", "threads", "method"), CHOSEN)
def test_every_kernel_compiles_without_spills(architecture, dtype, threads, method):
    names = list(instances(np.dtype(dtype), threads, method, method == "L-BFGS-B").values())
    log, code = Compiler(LIBRARIES[-1]).compile(source(), names, architecture)
    assert code[:4] == b"\x7fELF"
    assert "warning" not in log, log
    kernels = re.findall(
        r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads", log, re.DOTALL
    )
    assert len(kernels) == len(names) == 3
    assert [kernel for kernel in kernels if kernel[1:] != ("0", "0")] == [], log
    # No room in memory either that a thread has to itself, except the products and the model within bounds.
    assert all(int(size) <= 128 * (method == "L-BFGS-B") for size in re.findall(r"(\d+) bytes stack frame", log)), log


@pytest.mark.parametrize(("architecture", "dtype", "threads"), sorted({each[:3] for each in CHOSEN}))
def test_what_takes_members_up_compiles_without_spills(architecture, dtype, threads):
    name = instance_of_take_up(np.dtype(dtype), threads)
    log, code = Compiler(LIBRARIES[-1]).compile(source(), [name], architecture)
    assert code[:4] == b"\x7fELF"
    assert re.search(r"Compiling entry function '\w*take_up\w*'", log)
    assert set(re.findall(r"(\d+) bytes spill", log)) == {"0"}, log


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("architecture", "floating"), [("sm_90", "float"), ("sm_80", "double")])
def test_whole_runs_compile_without_spills(architecture, floating, method):
    dtype = np.dtype(np.float32 if floating == "float" else np.float64)
    array = SimpleNamespace(dtype=dtype, ndim=1, flags=SimpleNamespace(c_contiguous=True))
    text = CudaObjective(DECAY, array, array, 50).code(source(), (KERNELS / "solve.cuh").read_text(encoding="utf-8"))
    kind = f"{'BFGS' if method == 'BFGS' else 'LBFGS'}, {'true' if method == 'L-BFGS-B' else 'false'}"
    log, code = Compiler(LIBRARIES[-1]).compile(text, [f"solve<{floating}, {kind}>"], architecture)
    assert code[:4] == b"\x7fELF"
    assert re.search(r"Compiling entry function '\w*solve\w*'", log)
    assert set(re.findall(r"(\d+) bytes spill", log)) == {"0"}, log


@pytest.mark.parametrize(("architecture", "dtype"), [("sm_90", np.float32), ("sm_80", np.float64)])
def test_the_kernels_for_large_members_compile_without_spills(architecture, dtype):
    kinds = [("L-BFGS", "large"), *((method, "grid") for method in METHODS)]
    names = [instances(dtype, 256, method, method == "L-BFGS-B", shared)["tell"] for method, shared in kinds]
    names += [instance_of_take_up(dtype, 256, shared) for shared in ("large", "grid")]
    log, code = Compiler(LIBRARIES[-1]).compile(source(), names, architecture)
    assert code[:4] == b"\x7fELF"
    assert "warning" not in log, log
    for name in ("tell_large", "tell_grid", "take_up_large", "take_up_grid"):
        assert re.search(rf"Compiling entry function '\w*{name}\w*'", log)
    assert set(re.findall(r"(\d+) bytes spill", log)) == {"0"}, log


def test_spills_would_be_seen():
    text = """
    extern "C" __global__ void __launch_bounds__(1024) wide(const double *a, double *b) {
        double sum[96];
        for (int k = 0; k < 96; k++) sum[k] = a[k * 1024 + threadIdx.x];
        for (int i = 0; i < 100; i++)
            for (int k = 0; k < 96; k++) sum[k] = sum[k] * sum[(k + 1) % 96] + a[i];
        for (int k = 0; k < 96; k++) b[k * 1024 + threadIdx.x] = sum[k];
    }
    """
    log, _ = Compiler(LIBRARIES[-1]).compile(text, [], "sm_90")
    assert re.search(r"[1-9]\d* bytes spill stores", log), log
