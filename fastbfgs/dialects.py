"""How SciPy speaks of its methods: their options, statuses and messages, by its names and in its words."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

from fastbfgs.options import Options, options_of
from fastbfgs.result import Status, cure, sentence

NUMBERS = {
    Status.RUNNING: -1,
    Status.MAXITER: 1,
    Status.MAXFUN: 1,
    Status.ABNORMAL: 2,
    Status.NONFINITE_START: 3,
    Status.STALLED: 4,
    Status.UNBOUNDED: 5,
    Status.STOPPED: 99,
}
"""SciPy's number for a status, 0 for the others. (3 is what its BFGS gives for NaN; -1, 4 and 5 are ours.)"""


@dataclass(frozen=True)
class Dialect:
    """How SciPy speaks of one of its methods."""

    kernel: dict[str, str]
    """Options by SciPy's name, with ours."""
    face: frozenset[str]
    """Options that the kernels do not know."""
    defaults: dict[str, Any]
    """Of the kernels' options, where they are not those of `Options`."""
    eps: float
    """Default of the absolute difference step."""
    tol: tuple[str, ...]
    """Options that `tol` sets."""
    messages: dict[Status, str]
    """SciPy's message for a status. One that ends with a blank says too little, and is followed by ours."""


ALL_FIXED = "All independent variables were fixed by bounds."
"""SciPy's message for a success without a step."""

NO_LIMIT = 2**62
"""Iterations or evaluations; SciPy's users say infinity."""

_STOPPED = "`callback` raised `StopIteration`."
_LBFGSB = Dialect(
    kernel={
        "maxcor": "history",
        **{name: name for name in ("ftol", "gtol", "xtol", "maxfun", "maxiter", "maxls", "c1", "c2", "pairs")},
    },
    face=frozenset({"eps", "finite_diff_rel_step", "workers", "hess_inv0"}),
    defaults={},
    eps=1e-8,
    tol=("ftol", "gtol"),
    messages={
        Status.CONVERGED_GRADIENT: "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL",
        Status.CONVERGED_DECREASE: "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH",
        Status.MAXITER: "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT",
        Status.MAXFUN: "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT",
        Status.STOPPED: _STOPPED,
        Status.ABNORMAL: "ABNORMAL: ",
    },
)
_WORDS = {"history": "maxcor"}
_PRECISION_LOSS = "Desired error not necessarily achieved due to precision loss. "
_BFGS = Dialect(
    kernel={name: name for name in ("gtol", "norm", "xrtol", "maxiter", "c1", "c2")},
    face=frozenset({"eps", "finite_diff_rel_step", "workers", "hess_inv0", "disp", "return_all"}),
    # No limit of evaluations and no test of the decrease: SciPy's BFGS has neither.
    defaults={"ftol": 0.0, "maxfun": NO_LIMIT, "c1": 1e-4, "c2": 0.9},
    eps=math.sqrt(np.finfo(float).eps),
    tol=("gtol",),
    messages={
        Status.CONVERGED_GRADIENT: "Optimization terminated successfully.",
        Status.CONVERGED_STEP: "Optimization terminated successfully.",
        Status.MAXITER: "Maximum number of iterations has been exceeded.",
        Status.STOPPED: _STOPPED,
        Status.ABNORMAL: _PRECISION_LOSS,
        Status.STALLED: _PRECISION_LOSS,
        Status.NONFINITE_START: "NaN result encountered. ",
    },
)
DIALECTS = {"L-BFGS": _LBFGSB, "L-BFGS-B": _LBFGSB, "BFGS": _BFGS}
_METHODS = {name.lower(): name for name in DIALECTS}


def method_named(method: Any, bounds: Any, constraints: Any) -> str:
    """Return our name of `method`, which can do what is asked of it."""
    name = _METHODS.get(method.lower()) if isinstance(method, str) else None
    if name is None:
        raise ValueError(f"method must be one of {', '.join(map(repr, DIALECTS))} or None; got {method!r}")
    if constraints is not None and constraints != () and np.size(constraints):
        raise ValueError(
            f"Method {method} cannot handle constraints; "
            "use scipy.optimize.minimize with method 'SLSQP' or 'trust-constr'"
        )
    if bounds is not None and name != "L-BFGS-B":
        raise ValueError(f"Method {method} cannot handle bounds; use method 'L-BFGS-B', or leave them out")
    return name


def split_options(
    options: Mapping[str, Any] | None, tol: float | None, name: str, method: str, n: int
) -> tuple[Options, dict[str, Any]]:
    """Return the options for the kernels, checked, and those of this face."""
    if options is None and tol is None:
        return _default_options(name, n), {}
    if not (options is None or type(options) is dict or isinstance(options, Mapping)):
        raise TypeError(f"options must be a dict of options by name; got {type(options).__name__}")
    dialect, kernel, words = DIALECTS[name], _defaults(name, n), _WORDS
    face: dict[str, Any] = {}
    unknown: list[str] = []
    given = {} if options is None else options
    if tol is not None:
        kernel |= dict.fromkeys(dialect.tol, tol)
        words = words | {key: "tol" for key in dialect.tol if key not in given}
    for key, value in given.items():
        if key in dialect.kernel:
            endless = key in ("maxiter", "maxfun") and isinstance(value, float) and value == math.inf
            kernel[dialect.kernel[key]] = NO_LIMIT if endless else value
        elif key in dialect.face:
            face[key] = value
        else:
            unknown.append(key)
    if name == "BFGS":
        if kernel["maxiter"] is None:  # SciPy's way to say the default
            kernel["maxiter"] = _defaults(name, n)["maxiter"]
    elif unknown:
        if given.get("return_all"):
            warn(f"Method {method} does not support the return_all option.", RuntimeWarning)
        if "disp" in given or "iprint" in given:
            message = "The options `disp` and `iprint` show nothing, as in SciPy 1.18; use `progress` or `callback`."
            warn(message, DeprecationWarning)
        unknown = [key for key in unknown if key not in ("return_all", "disp", "iprint")]
    if unknown:
        warn(f"Unknown solver options: {', '.join(unknown)}")
    return options_of(words, **kernel), face


def _defaults(name: str, n: int) -> dict[str, Any]:
    """Return the options in which a method differs from `Options`, for n coordinates."""
    return {"method": name} | DIALECTS[name].defaults | ({"maxiter": 200 * n} if name == "BFGS" else {})


@lru_cache
def _default_options(name: str, n: int) -> Options:
    return options_of(**_defaults(name, n))


@cache
def message_of(status: int, method: str) -> str:
    """Return SciPy's message for a status; ours, with the cure, where it has none, and after it where it is vague."""
    words = DIALECTS[method].messages.get(Status(status), "")
    return words if words and not words.endswith(" ") else f"{words}{sentence(status)} {cure(status)}".rstrip()


def numbers_of(status: np.ndarray) -> np.ndarray:
    """Return SciPy's number for each status."""
    numbers = 0 * status
    for own, scipys in NUMBERS.items():
        numbers[status == int(own)] = scipys
    return numbers


def warn(message: str, kind: type[Warning] | None = None) -> None:
    """Warn from where `minimize`, ours or SciPy's, was called; in SciPy's kind, if no other is given."""
    if kind is None:
        from scipy.optimize import OptimizeWarning

        kind = OptimizeWarning
    level, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in ("fastbfgs", "scipy"):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, kind, stacklevel=level)
