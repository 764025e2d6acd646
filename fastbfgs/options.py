"""Every option of the solver: its default and the rule it must satisfy, on one screen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import InitVar, dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np

METHODS = ("L-BFGS", "L-BFGS-B", "BFGS")


@dataclass(frozen=True)
class Options:
    """What the kernels are told about a run; checked when made.

    Parameters
    ----------
    method : {"L-BFGS", "L-BFGS-B", "BFGS"}
        Which way the steps go: by a limited memory of pairs, the same within bounds, or by a dense inverse Hessian.
    history : int
        Pairs (s, y) remembered, m of Nocedal & Wright; from 1 to 1,000,000. Not for BFGS.
    gtol : float
        Stop at max ``|g_i| <= gtol``, of the projected gradient if there are bounds; at least 0.
    ftol : float
        Stop at ``f_k - f_(k+1) <= ftol * max(|f_k|, |f_(k+1)|, 1)``; at least 0, where 0 means never.
    frtol, fatol : float
        Stop at ``f_k - f_(k+1) <= frtol * |f_k|``, and at ``f_k - f_(k+1) <= fatol``; at least 0, where 0 means never.
    xtol : float
        Stop at max ``|x_(k+1) - x_k| <= xtol``; at least 0, where 0 means never.
    xrtol : float
        Stop at ``||s|| <= xrtol * (xrtol + ||x||)``, 2-norms of a step and of where it led; at least 0, where 0 means
        never.
    norm : float
        Order p of the norm that gtol limits, (sum ``|g_i|**p``)**(1/p); infinite for the largest and -infinite for the
        smallest ``|g_i|``. Bounds allow only infinity.
    maxiter, maxfun : int
        Iterations and evaluations of a member at most; at least 0. The start is always evaluated.
    maxls : int
        Evaluations of one line search at most; at least 1.
    scale_h0 : bool or None
        For BFGS: whether the first update is of H0 times s.y / y.y, Nocedal & Wright (6.20). None means only if H0 is
        not given, and that H is then scaled up before later updates, too, where it is too small (Oren & Luenberger
        1974): that takes a quarter fewer evaluations, and leaves a less exact H after a short run on a quadratic.
    pairs : {"float32"} or None
        For L-BFGS without bounds: keep the pairs of a float64 problem in float32, which takes half the memory and,
        where reading them is what takes time, about two thirds of it. x, f and g stay float64. Pairs of numbers beyond
        the range of float32, 1e-38 to 3e38, are left out.
    c1, c2 : float
        Sufficient decrease and curvature of the strong Wolfe conditions; ``0 < c1 < 0.5``, ``c1 < c2 < 1``.
    words : mapping, optional
        The caller's own word for an option, for the messages.

    Raises
    ------
    TypeError
        If a value is not a number.
    ValueError
        If a value breaks its rule.

    Examples
    --------
    >>> Options().gtol
    1e-05
    >>> Options(history=0)
    Traceback (most recent call last):
    ValueError: history must be a positive integer, at most a million; got 0
    """

    method: str = "L-BFGS"
    history: int = 10
    gtol: float = 1e-5
    ftol: float = 2.2204460492503131e-09
    frtol: float = 0.0
    fatol: float = 0.0
    xtol: float = 0.0
    xrtol: float = 0.0
    norm: float = math.inf
    maxiter: int = 15_000
    maxfun: int = 15_000
    maxls: int = 20
    c1: float = 1e-3
    c2: float = 0.97
    scale_h0: bool | None = None
    pairs: str | None = None

    words: InitVar[Mapping[str, str] | None] = None

    def __post_init__(self, words: Mapping[str, str] | None) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}; got {self.method!r}")
        values: dict[str, Any] = vars(self)
        for name, (kind, least, most, rule) in _RULES.items():
            given = values[name]
            if type(given) is kind and least <= given <= most:  # type: ignore[operator]
                continue
            if isinstance(given, np.ndarray) and given.ndim == 0:
                given = given[()]
            if isinstance(given, bool) or (not isinstance(given, (int, float)) and not _is_real(given)):
                word = (words or {}).get(name, name)
                raise TypeError(f"{word} must be {rule}; got {values[name]!r} of type {type(given).__name__}")
            if not least <= given <= most or kind(given) != given:
                word = (words or {}).get(name, name)
                raise ValueError(f"{word} must be {rule}; got {values[name]!r}")
            if type(values[name]) is not kind:
                object.__setattr__(self, name, kind(given))
        if not (self.scale_h0 is None or (isinstance(self.scale_h0, bool) and self.method == "BFGS")):
            rule = "True or False, for method BFGS, or None"
            word = (words or {}).get("scale_h0", "scale_h0")
            raise ValueError(f"{word} must be {rule}; got {self.scale_h0!r} for method {self.method}")
        if not (self.pairs is None or (self.pairs == "float32" and self.method != "BFGS")):
            rule = '"float32", for a method with a limited memory, or None'
            word = (words or {}).get("pairs", "pairs")
            raise ValueError(f"{word} must be {rule}; got {self.pairs!r} for method {self.method}")
        if self.norm == 0.0:
            raise ValueError("norm must be a number, not 0; got 0")
        if not self.c1 < self.c2:
            raise ValueError(f"c1 must be less than c2; got {self.c1!r} and {self.c2!r}")

    def scaling(self, given: bool) -> int:
        """Return what kernels/state.pxd has as scale_h0, where H0 is `given` or not."""
        return (0 if given else 2) if self.scale_h0 is None else int(self.scale_h0)


def options_of(words: Mapping[str, str] | None = None, /, **given: Any) -> Options:
    """Return ``Options(**given, words=words)``, the same object for the same values: that takes 1 us instead of 9.

    Raises
    ------
    TypeError, ValueError
        See `Options`.

    Examples
    --------
    >>> options_of(gtol=1e-6) is options_of(gtol=1e-6)
    True
    """
    try:
        return _made(**given)
    except (TypeError, ValueError):  # wrong, or not hashable
        pass
    return Options(**given, words=words)


@lru_cache(typed=True)  # 1, 1.0 and True are equal, but not each will do
def _made(**given: Any) -> Options:
    return Options(**given)


def _is_real(given: Any) -> bool:
    return isinstance(given, Real)  # NumPy's scalars are, too


_MOST = 2**62
_PAIRS = 1_000_000  # far more than tables of m times m numbers have room for, and far from where sizes overflow
_RULES: dict[str, tuple[type, float, float, str]] = {
    "history": (int, 1, _PAIRS, "a positive integer, at most a million"),
    "gtol": (float, 0.0, math.inf, "a number that is not negative"),
    "ftol": (float, 0.0, math.inf, "a number that is not negative (0 switches the test off)"),
    "frtol": (float, 0.0, math.inf, "a number that is not negative (0 switches the test off)"),
    "fatol": (float, 0.0, math.inf, "a number that is not negative (0 switches the test off)"),
    "xtol": (float, 0.0, math.inf, "a number that is not negative (0 switches the test off)"),
    "xrtol": (float, 0.0, math.inf, "a number that is not negative (0 switches the test off)"),
    "norm": (float, -math.inf, math.inf, "a number, not 0"),
    "maxiter": (int, 0, _MOST, "an integer that is not negative"),
    "maxfun": (int, 0, _MOST, "an integer that is not negative"),
    "maxls": (int, 1, _MOST, "a positive integer"),
    "c1": (float, math.ulp(0.0), math.nextafter(0.5, 0.0), "a number above 0 and below 0.5"),
    "c2": (float, math.ulp(0.0), math.nextafter(1.0, 0.0), "a number above c1 and below 1"),
}
"""Option: its kind, its least and its largest value, and all that in words."""
