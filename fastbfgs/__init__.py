"""Minimise ten thousand smooth functions in one call, with SciPy's interface."""

try:
    import fastbfgs.kernels.advance  # noqa: F401
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("fastbfgs.kernels."):
        raise
    raise ImportError(
        "the compiled part of fastbfgs is not there. In a checkout, build it in place with `pip install -e .`, "
        "or leave the checkout's folder to import the installed package."
    ) from error

from fastbfgs._version import __version__
from fastbfgs.batch_result import BatchResult
from fastbfgs.fused import CudaObjective
from fastbfgs.minimize import bfgs, lbfgs, lbfgsb, minimize
from fastbfgs.native import get_include
from fastbfgs.optimizers import LBFGS, Adam, GradientDescent
from fastbfgs.options import Options
from fastbfgs.recorder import Accepted, Paths, Recorder
from fastbfgs.result import Result, Status, cure, sentence
from fastbfgs.solver import Solver
from fastbfgs.tfp import bfgs_minimize, converged_all, converged_any, lbfgs_minimize
from fastbfgs.trace import ConvergenceCriterion, LossNotDecreasing, trace_minimize

__all__ = [
    "LBFGS",
    "Accepted",
    "Adam",
    "BatchResult",
    "ConvergenceCriterion",
    "CudaObjective",
    "GradientDescent",
    "LossNotDecreasing",
    "Options",
    "Paths",
    "Recorder",
    "Result",
    "Solver",
    "Status",
    "__version__",
    "bfgs",
    "bfgs_minimize",
    "converged_all",
    "converged_any",
    "cure",
    "get_include",
    "lbfgs",
    "lbfgs_minimize",
    "lbfgsb",
    "minimize",
    "sentence",
    "trace_minimize",
]
