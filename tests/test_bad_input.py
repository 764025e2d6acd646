"""What bad input gets: what was required, what came, what to do; and functions that are odd, but right."""

from __future__ import annotations

import re
import types
from functools import partial

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import rosen, rosen_der

import fastbfgs
from fastbfgs import Options, Solver
from fastbfgs.options import options_of
from tests.problems import by_name, starts

minimize = partial(fastbfgs.minimize, method="L-BFGS-B")
bfgs = partial(fastbfgs.minimize, method="BFGS")

ONE = np.array([-1.2, 1.0, 0.5])
BOX = [(0.0, 1.0)] * 3
MANY = np.arange(12.0).reshape(4, 3) / 10


def never(*args, **kwargs):
    """Stand for a function that must not be called."""
    raise AssertionError("fun was called")


def pair(x):
    """Return Rosenbrock's function and gradient at one point."""
    return rosen(x), rosen_der(x)


def pairs(x):
    """Return f (k,) and g (k, n) of sum x**2 of each row."""
    return (x**2).sum(axis=1), 2 * x


def foreign(library, name="Tensor", parts=()):
    """Return an object of a class that lives in a module of a foreign array library."""
    module = types.ModuleType(library)
    kind = type(name, (*parts,), {"__module__": library, "__array__": lambda *args, **kwargs: np.zeros(3)})
    setattr(module, name, kind)
    return getattr(module, name)()


def table(*rows):
    """Parametrize by rows (id, call, error, regex of its message)."""
    return pytest.mark.parametrize(("call", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in rows])


def assert_raises(call, error, message):
    """Assert that call raises `error` itself, and that what `message` says is there, in that order."""
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


# ----------------------------------------------------------------------------------------------
# Before the first evaluation

STARTS = [
    ("none", None, TypeError, r"x0 must .*real numbers.*dtype object.*not numeric"),
    ("text", ["a", "b"], TypeError, r"x0 must .*real numbers.*<U1.*not numeric"),
    ("dict", {"a": 1.0}, TypeError, r"x0 must .*real numbers.*dtype object"),
    ("objects", np.array([1.0, None]), TypeError, r"x0 must .*real numbers.*dtype object"),
    ("dates", np.array(["2020-01-01"], "M8[D]"), TypeError, r"x0 must .*real numbers.*datetime64"),
    ("complex", [1.0 + 2.0j], TypeError, r"x0 must .*real numbers.*complex.*real and imaginary parts"),
    ("complex64", np.zeros((2, 3), np.complex64), TypeError, r"x0 must .*complex64"),
    ("empty", [], ValueError, r"x0 must .*at least one coordinate.*\(0,\)"),
    ("no coordinates", np.zeros((3, 0)), ValueError, r"x0 must .*at least one coordinate.*\(3, 0\)"),
    ("ragged", [[1.0, 2.0], [3.0]], ValueError, r"x0 must .*regular.*pad them, or solve them one by one"),
    *(
        (module, foreign(module, kind), TypeError, rf"x0 must .*{library} array.*{convert}\(x0\)")
        for module, kind, library, convert in [
            ("cupy", "ndarray", "CuPy", r"cupy\.asnumpy"),
            ("tensorflow.python.framework.ops", "EagerTensor", "TensorFlow", r"numpy\.asarray"),
        ]
    ),
]


@pytest.mark.parametrize(("x0", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in STARTS])
def test_start(x0, error, message):
    assert_raises(lambda: minimize(never, x0, jac=True), error, message)
    assert_raises(lambda: minimize(never, x0), error, message)
    assert_raises(lambda: fastbfgs.lbfgs(never, x0, jac=True), error, message)
    assert_raises(lambda: Solver(x0), error, message)


def test_start_of_a_class_derived_from_a_foreign_one():
    base = type(foreign("cupy"))
    x0 = type("Points", (base,), {})()  # defined here, as a user's subclass of cupy.ndarray is
    assert_raises(lambda: minimize(never, x0, jac=True), TypeError, r"x0 must .*CuPy array")


RULES = [
    *(("maxcor", "history", value, ValueError, "a positive integer") for value in (0, -1, 2.5, np.nan, np.inf, 2**61)),
    *(("maxls", "maxls", value, ValueError, "a positive integer") for value in (0, -1, 2.5)),
    *(
        (name, name, value, ValueError, "a number that is not negative")
        for name in ("gtol", "ftol", "xtol")
        for value in (-1e-9, -np.inf, np.nan)
    ),
    *(
        (name, name, value, ValueError, "an integer that is not negative")
        for name in ("maxiter", "maxfun")
        for value in (-1, 1.5, -np.inf, np.nan)
    ),
    *(("c1", "c1", value, ValueError, "above 0 and below 0.5") for value in (0, 0.5, -1.0, np.nan)),
    *(("c2", "c2", value, ValueError, "above c1 and below 1") for value in (0.0, 1.0, np.nan)),
    *(
        (name, ours, value, TypeError, "")
        for name, ours in [("maxcor", "history"), ("gtol", "gtol"), ("ftol", "ftol"), ("xtol", "xtol"), ("c1", "c1")]
        for value in ("1", None, True, [1], 1j, np.array(True), np.array("1"), np.ones(1))
    ),
    *((name, name, value, TypeError, "") for name in ("maxiter", "maxfun", "maxls") for value in (None, "9")),
]


@pytest.mark.parametrize(
    ("scipys", "ours", "value", "error", "rule"), RULES, ids=[f"{row[0]}={row[2]!r}" for row in RULES]
)
def test_options(scipys, ours, value, error, rule):
    given = re.escape(repr(value))
    for x0 in (ONE, MANY):
        assert_raises(
            lambda x0=x0: minimize(never, x0, jac=True, options={scipys: value}),
            error,
            rf"^{scipys} must be .*{rule}.*; got {given}",
        )
    assert_raises(lambda: Options(**{ours: value}), error, rf"^{ours} must be .*{rule}.*; got {given}")
    assert_raises(lambda: Solver(ONE, **{ours: value}), error, rf"^{ours} must be .*{rule}.*; got {given}")


RULES_OF_BFGS = [
    *(("gtol", value, ValueError, "a number that is not negative") for value in (-1e-9, np.nan)),
    *(("xrtol", value, ValueError, "a number that is not negative") for value in (-1e-9, -np.inf, np.nan)),
    *(("norm", value, ValueError, "a number, not 0") for value in (0, np.nan)),
    *(("maxiter", value, ValueError, "an integer that is not negative") for value in (-1, 1.5)),
    *((name, value, TypeError, "") for name in ("gtol", "xrtol", "norm", "c1", "c2") for value in ("1", None, True)),
    ("maxiter", "9", TypeError, ""),
    ("c1", 0.5, ValueError, "above 0 and below 0.5"),
    ("c2", 1.0, ValueError, "above c1 and below 1"),
]


@pytest.mark.parametrize(
    ("name", "value", "error", "rule"), RULES_OF_BFGS, ids=[f"{row[0]}={row[1]!r}" for row in RULES_OF_BFGS]
)
def test_options_of_bfgs(name, value, error, rule):
    for x0 in (ONE, MANY):
        assert_raises(
            lambda x0=x0: bfgs(never, x0, jac=True, options={name: value}),
            error,
            rf"^{name} must be .*{rule}.*; got {re.escape(repr(value))}",
        )


@pytest.mark.parametrize(("c1", "c2"), [(0.3, 0.3), (0.3, 0.1)])
def test_c1_is_less_than_c2(c1, c2):
    message = rf"c1 must be less than c2; got {c1} and {c2}"
    assert_raises(lambda: minimize(never, ONE, jac=True, options={"c1": c1, "c2": c2}), ValueError, message)
    assert_raises(lambda: Options(c1=c1, c2=c2), ValueError, message)


KINDS = [np.float32, np.float64, np.int32, np.int64, int, float]
KINDS += [np.array, lambda number: np.array(number, float), lambda number: np.array(number, object)]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_other_kinds_are_numbers(kind):
    options = Options(history=kind(5), gtol=kind(1), ftol=kind(0), maxiter=kind(7), maxfun=kind(9), maxls=kind(3))
    assert options == Options(history=5, gtol=1.0, ftol=0.0, maxiter=7, maxfun=9, maxls=3)
    assert type(options.history) is type(options.maxiter) is int
    assert type(options.gtol) is float


def test_options_made_before_do_not_let_others_pass():
    # Equal values that are not the same: what is remembered of one must not answer for the other.
    assert options_of(maxiter=1) is options_of(maxiter=1) == Options(maxiter=1)
    assert options_of(gtol=1.0) is not options_of(gtol=1) == Options(gtol=1.0)
    minimize(lambda x: (0.0, 0.0 * x), ONE, jac=True, options={"maxiter": 1, "gtol": 1.0})
    for name in ("maxiter", "gtol"):
        assert_raises(lambda name=name: minimize(never, ONE, jac=True, options={name: True}), TypeError, "got True")
    for _ in range(2):
        assert_raises(lambda: options_of({"gtol": "tol"}, gtol=-1.0), ValueError, "^tol must be .*; got -1.0")
        assert_raises(lambda: options_of({"gtol": "tol"}, gtol=[1.0]), TypeError, r"^tol must be .*; got \[1.0\]")
        assert_raises(lambda: options_of(nothing=1), TypeError, "nothing")


def test_options_are_frozen():
    with pytest.raises(AttributeError):
        Options().gtol = 1.0


def bounds_object(lb=-np.inf, ub=np.inf):
    """Return an object with lb and ub as they are: SciPy's Bounds would broadcast them."""
    return types.SimpleNamespace(lb=lb, ub=ub)


def changed(index, value, shape=(4, 3), other=0.0):
    """Return an array full of `other`, but for `value` at `index`."""
    array = np.full(shape, other)
    array[index] = value
    return array


AXES = MANY.reshape(2, 2, 3)
LENGTH = r"^The number of bounds is not compatible with the length of `x0`\. "
BOUNDS = [
    (
        "order",
        ONE,
        [(0, 1), (1.5, 0), (0, 1)],
        ValueError,
        r"^An upper bound is less than the corresponding lower bound\. bounds must have lb <= ub; "
        r"got \(1\.5, 0\.0\) at coordinate 1\. Swap them, or give the same number twice",
    ),
    ("order shared", MANY, bounds_object(1, 0), ValueError, r"lb <= ub; got \(1\.0, 0\.0\) at coordinate 0\. "),
    (
        "order member",
        MANY,
        scipy.optimize.Bounds(0, changed((2, 1), -1.0)),
        ValueError,
        r"lb <= ub; got \(0\.0, -1\.0\) at coordinate 1 of member 2\. ",
    ),
    (
        "order axes",
        AXES,
        bounds_object(changed((1, 0, 2), 3.0, (2, 2, 3)), np.ones(3)),
        ValueError,
        r"lb <= ub; got \(3\.0, 1\.0\) at coordinate 2 of member \(1, 0\)\. ",
    ),
    (
        "nan",
        ONE,
        [(0, 1), (0, 1), (np.nan, 1)],
        ValueError,
        r"^bounds must not be NaN; got \(nan, 1\.0\) at .* 2\. .*None",
    ),
    ("nan ub", ONE, [(None, np.nan)] * 3, ValueError, r"^bounds must not be NaN; got \(-inf, nan\) at coordinate 0\."),
    (
        "nan member",
        MANY,
        bounds_object(ub=changed((3, 0), np.nan)),
        ValueError,
        r"^bounds must not be NaN; got \(-inf, nan\) at coordinate 0 of member 3\. ",
    ),
    (
        "plus infinity",
        ONE,
        [(0, 1), (np.inf, np.inf), (0, 1)],
        ValueError,
        r"^bounds must have a finite float64 between them; got \(inf, inf\) at coordinate 1\. .*lb = -inf or ub = inf",
    ),
    (
        "minus infinity",
        MANY,
        bounds_object(ub=-np.inf),
        ValueError,
        r"finite float64.*got \(-inf, -inf\) at coordinate 0\. ",
    ),
    (
        "float32",
        ONE.astype(np.float32),
        [(0, 1), (0, 1), (1e300, None)],
        ValueError,
        r"^bounds must have a finite float32 between them; got \(inf, inf\) at coordinate 2\. ",
    ),
    (
        "float32 fixed",
        ONE.astype(np.float32),
        [(0, 1), (-1e300, -1e300), (1, None)],
        ValueError,
        r"^bounds must have a finite float32 between them; got \(-inf, -inf\) at coordinate 1\. ",
    ),
    (
        "too few",
        ONE,
        [(0, 1)] * 2,
        ValueError,
        LENGTH + r".*pairs \(min, max\), one for each of the 3 coordinates; got 2\.",
    ),
    ("too many", MANY, [(0, 1)] * 4, ValueError, LENGTH + r".*one for each of the 3 coordinates; got 4\. .*lb and ub"),
    ("none at all", ONE, [], ValueError, LENGTH + r".*; got 0\."),
    ("rows", MANY, np.zeros((4, 3, 2)), ValueError, LENGTH + r".*; got 4\. For bounds of each member, give lb and ub"),
    (
        "lb length",
        ONE,
        scipy.optimize.Bounds(np.zeros(2)),
        ValueError,
        LENGTH + r"bounds\.lb must be one number, or have shape \(3,\), one for each coordinate; got shape \(2,\)\.",
    ),
    (
        "ub members",
        MANY,
        bounds_object(ub=np.zeros(4)),
        ValueError,
        LENGTH
        + r"bounds\.ub must .*\(3,\), one for each coordinate, or \(4, 3\), a row for each member; got shape \(4,\)",
    ),
    ("ub transposed", MANY, bounds_object(ub=np.zeros((3, 4))), ValueError, LENGTH + r".*\(4, 3\).*got shape \(3, 4\)"),
    ("ub column", MANY, bounds_object(ub=np.zeros((4, 1))), ValueError, LENGTH + r".*\(4, 3\).*got shape \(4, 1\)"),
    ("lb flat", AXES, bounds_object(lb=np.zeros((4, 3))), ValueError, LENGTH + r".*\(2, 2, 3\).*got shape \(4, 3\)"),
    ("lb rows of one", ONE, bounds_object(lb=np.zeros((2, 3))), ValueError, LENGTH + r".*got shape \(2, 3\)"),
    ("number", ONE, 5.0, TypeError, r"^bounds must be an object with lb and ub.*or a sequence of pairs.*; got 5\.0"),
    ("triples", ONE, [(0, 1, 2)] * 3, ValueError, r"^bounds\[0\] must be a pair \(min, max\); got \(0, 1, 2\)"),
    ("numbers", ONE, [0, 1, 2], ValueError, r"^bounds\[0\] must be a pair \(min, max\); got 0"),
    (
        "text",
        ONE,
        [(0, 1), (0, "1"), (0, 1)],
        TypeError,
        r"^bounds\[1\] must hold real numbers, or None .*; got \(0, '1'\)",
    ),
    ("complex", ONE, [(0, 1j)] * 3, TypeError, r"^bounds\[0\] must hold real numbers, or None"),
    ("complex lb", ONE, bounds_object(lb=[1j, 0, 0]), TypeError, r"^bounds\.lb must hold real numbers.*complex"),
    ("none lb", ONE, bounds_object(lb=[None, 0, 0]), TypeError, r"^bounds\.lb must hold real numbers.*object"),
    ("ragged ub", MANY, bounds_object(ub=[[1.0], [1.0, 2.0]]), ValueError, r"^bounds\.ub must be a regular array"),
    ("cupy", ONE, foreign("cupy"), TypeError, r"^bounds must .*CuPy array.*cupy\.asnumpy\(bounds\)"),
    ("cupy lb", ONE, bounds_object(lb=foreign("cupy")), TypeError, r"^bounds\.lb must .*CuPy array"),
]


@pytest.mark.parametrize(("x0", "bounds", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BOUNDS])
def test_bounds(x0, bounds, error, message):
    assert_raises(lambda: minimize(never, x0, jac=True, bounds=bounds), error, message)
    assert_raises(lambda: minimize(never, x0, method=None, bounds=bounds), error, message)
    assert_raises(lambda: Solver(x0, method="L-BFGS-B", bounds=bounds), error, message)
    if x0.ndim == 1:
        assert_raises(lambda: fastbfgs.lbfgsb(never, x0, jac=True, bounds=bounds), error, message)


EYE = np.eye(3)
SKEW = changed((0, 2), 1e-3, (3, 3)) + EYE
MATRICES = [
    ("vector", ONE, np.ones(3), ValueError, r"have shape \(3, 3\), one matrix for all members; got \(3,\)"),
    ("size", MANY, np.eye(4), ValueError, r"have shape \(3, 3\).*, or \(4, 3, 3\), one for each; got \(4, 4\)"),
    ("members", MANY, np.ones((3, 3, 3)), ValueError, r"\(4, 3, 3\), one for each; got \(3, 3, 3\)"),
    ("rows", MANY, np.ones((4, 3)), ValueError, r"\(4, 3, 3\), one for each; got \(4, 3\)"),
    ("not symmetric", ONE, SKEW, ValueError, r"be a symmetric.*; got one that is not symmetric, in row 0, column 2$"),
    (
        "indefinite",
        ONE,
        np.diag([1.0, -1.0, 1.0]),
        ValueError,
        r"positive definite matrix; it is not positive definite$",
    ),
    (
        "singular",
        ONE,
        np.zeros((3, 3)),
        ValueError,
        r"positive definite matrix; it is not positive definite$",
    ),
    (
        "nan",
        ONE,
        changed((1, 1), np.nan, (3, 3)) + EYE,
        ValueError,
        r"; got a number that is not finite, in row 1, column 1$",
    ),
    ("float32", ONE.astype("f4"), 1e300 * EYE, ValueError, r"; got a number that is not finite, in row 0, column 0$"),
    (
        "not symmetric member",
        MANY,
        np.stack([EYE, EYE, SKEW, EYE]),
        ValueError,
        r"; got one that is not symmetric, in row 0, column 2 of member 2$",
    ),
    (
        "indefinite member",
        AXES,
        np.stack([EYE, EYE, EYE, -EYE]).reshape(2, 2, 3, 3),
        ValueError,
        r"; that of member \(1, 1\) is not positive definite$",
    ),
    ("text", ONE, "identity", TypeError, "hold real numbers"),
    ("complex", ONE, 1j * EYE, TypeError, "hold real numbers"),
]


@pytest.mark.parametrize(("x0", "matrix", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in MATRICES])
def test_hess_inv0_of_bfgs(x0, matrix, error, message):
    assert_raises(
        lambda: bfgs(never, x0, jac=True, options={"hess_inv0": matrix}), error, rf"^hess_inv0 must .*{message}"
    )
    assert_raises(lambda: Solver(x0, method="BFGS", h0=matrix), error, rf"^h0 must .*{message}")


CONSTRAINT = {"type": "eq", "fun": never}


@table(
    ("fun", lambda: minimize(3.0, ONE), TypeError, r"fun must be callable; got float"),
    ("fun none", lambda: minimize(None, ONE, jac=never), TypeError, r"fun must be callable; got NoneType"),
    ("method", lambda: minimize(never, ONE, method="Nelder-Mead"), ValueError, r"method .*'L-BFGS'.*'Nelder-Mead'"),
    ("method number", lambda: minimize(never, ONE, method=3), ValueError, r"method must be .*; got 3"),
    ("method callable", lambda: minimize(never, ONE, method=never), ValueError, r"method must be .*got <function"),
    *(
        (
            f"bounds for {method} {x0.shape}",
            lambda method=method, x0=x0, bounds=bounds: minimize(never, x0, method=method, jac=True, bounds=bounds),
            ValueError,
            rf"^Method {method} cannot handle bounds; use method 'L-BFGS-B', or leave them out$",
        )
        for method in ("BFGS", "bfgs", "L-BFGS")
        for x0, bounds in ((ONE, BOX), (MANY, scipy.optimize.Bounds(0, 1)), (ONE, [(None, None)] * 3))
    ),
    (
        "bounds and constraints",
        lambda: minimize(never, ONE, bounds=BOX, constraints=CONSTRAINT),
        ValueError,
        r"cannot handle constraints.*'SLSQP'",
    ),
    (
        "bounds and hess_inv0",
        lambda: minimize(never, ONE, jac=True, bounds=BOX, options={"hess_inv0": ONE**2}),
        ValueError,
        r"hess_inv0 does not go with bounds; leave one of them out",
    ),
    (
        "constraints",
        lambda: minimize(never, ONE, constraints=CONSTRAINT),
        ValueError,
        r"cannot handle constraints.*'SLSQP'",
    ),
    (
        "constraints list",
        lambda: minimize(never, ONE, constraints=[CONSTRAINT]),
        ValueError,
        r"cannot handle constraints.*'SLSQP'",
    ),
    (
        "constraint object",
        lambda: minimize(never, ONE, constraints=scipy.optimize.LinearConstraint(np.eye(3), 0, 1)),
        ValueError,
        r"cannot handle constraints",
    ),
    ("jac name", lambda: minimize(never, ONE, jac="4-point"), ValueError, r"jac must be True.*'2-point'.*'4-point'"),
    ("jac number", lambda: minimize(never, ONE, jac=1.0), ValueError, r"jac must be True.*got 1\.0"),
    ("jac array", lambda: minimize(never, ONE, jac=ONE), ValueError, r"jac must be True.*got array"),
    ("callback", lambda: minimize(never, ONE, callback=3), TypeError, r"callback must be callable or None; got int"),
    ("callback list", lambda: minimize(never, MANY, callback=[]), TypeError, r"callback must be callable.*got list"),
    ("progress", lambda: minimize(never, MANY, progress="bar"), TypeError, r"progress must be True, a callable.*str"),
    ("progress 1", lambda: minimize(never, MANY, progress=1), TypeError, r"progress must be True, a callable.*int"),
    ("tol", lambda: minimize(never, ONE, tol=-1.0), ValueError, r"\btol must be .*not negative.*got -1\.0"),
    ("tol text", lambda: minimize(never, ONE, tol="low"), TypeError, r"\btol must be .*'low'"),
    ("options", lambda: minimize(never, ONE, options=5), TypeError, r"options must be a .*; got .*int"),
    ("options object", lambda: minimize(never, ONE, options=Options()), TypeError, r"options must be .*got .*Options"),
    *(
        (
            f"workers {workers!r}",
            lambda workers=workers: minimize(never, MANY, jac=True, workers=workers),
            ValueError,
            rf"workers must be a positive integer or None; got {workers!r}.*None uses every core",
        )
        for workers in (0, -1, 1.5, "2", True)
    ),
    (
        "workers one",
        lambda: minimize(never, ONE, jac=True, workers=0),
        ValueError,
        r"workers must be a positive integer or None; got 0",
    ),
    *(
        (
            f"difference workers {workers!r}",
            lambda workers=workers: minimize(never, ONE, options={"workers": workers}),
            ValueError,
            rf"options\['workers'\] must be a positive integer, -1 or a map-like callable; got {workers!r}",
        )
        for workers in (0, -2, 1.5, "2")
    ),
    (
        "difference workers batch",
        lambda: minimize(never, MANY, options={"workers": 2}),
        ValueError,
        r"options\['workers'\] .*one problem.*keyword workers",
    ),
    (
        "batch_args of one",
        lambda: minimize(never, ONE, jac=True, batch_args=(ONE,)),
        ValueError,
        r"batch_args belong to a batch.*x0 of shape \(\.\.\., n\).*args",
    ),
    (
        "batch_args length",
        lambda: minimize(never, MANY, jac=True, batch_args=(MANY, np.zeros(5))),
        ValueError,
        r"batch_args\[1\] must have the leading axes of the batch, \(4,\); got shape \(5,\).*args",
    ),
    (
        "batch_args scalar",
        lambda: minimize(never, MANY, jac=True, batch_args=(2.0,)),
        ValueError,
        r"batch_args\[0\] must have the leading axes of the batch, \(4,\); got shape \(\).*args",
    ),
    (
        "batch_args axes",
        lambda: minimize(never, MANY.reshape(2, 2, 3), jac=True, batch_args=(np.zeros(4),)),
        ValueError,
        r"batch_args\[0\] must have the leading axes of the batch, \(2, 2\); got shape \(4,\)",
    ),
    (
        "batch_args ragged",
        lambda: minimize(never, MANY, jac=True, batch_args=([[1.0], [2.0], [3.0, 4.0], []],)),
        ValueError,
        r"batch_args\[0\] must .*regular|batch_args\[0\] must .*leading axes",
    ),
    (
        "eps shape",
        lambda: minimize(never, ONE, options={"eps": [1e-8, 1e-8]}),
        ValueError,
        r"eps must .*\(3,\).*got .*\(2,\)",
    ),
    ("eps text", lambda: minimize(never, MANY, options={"eps": "small"}), TypeError, r"eps must .*got .*small"),
    (
        "finite_diff_rel_step shape",
        lambda: minimize(never, MANY, jac="2-point", options={"finite_diff_rel_step": np.ones(4)}),
        ValueError,
        r"finite_diff_rel_step must .*\(3,\).*got .*\(4,\)",
    ),
    (
        "finite_diff_rel_step text",
        lambda: minimize(never, ONE, jac="2-point", options={"finite_diff_rel_step": "small"}),
        TypeError,
        r"finite_diff_rel_step must .*got .*small",
    ),
    *(
        (
            f"hess_inv0 {name}",
            lambda value=value, x0=x0: minimize(never, x0, jac=True, options={"hess_inv0": value}),
            error,
            rf"hess_inv0 must {message}",
        )
        for name, x0, value, error, message in [
            ("zero", ONE, [1.0, 0.0, 1.0], ValueError, "be positive and finite"),
            ("negative", MANY, -np.ones((4, 3)), ValueError, "be positive and finite"),
            ("infinite", ONE, [1.0, np.inf, 1.0], ValueError, "be positive and finite"),
            ("dense", ONE, np.eye(3), ValueError, r"have shape \(3,\).*got \(3, 3\)"),
            ("length", MANY, np.ones(4), ValueError, r"have shape \(3,\).*\(4, 3\).*got \(4,\)"),
            ("text", ONE, "identity", TypeError, "hold real numbers"),
            ("complex", ONE, 1j * np.ones(3), TypeError, "hold real numbers"),
            ("cupy", ONE, foreign("cupy"), TypeError, "be .*CuPy"),
        ]
    ),
)
def test_before_the_first_evaluation(call, error, message):
    assert_raises(call, error, message)


@table(
    (
        "options twice",
        lambda: Solver(ONE, Options(), gtol=1e-3),
        TypeError,
        r"options .*by name.*\['gtol'\]",
    ),
    ("options keyword twice", lambda: Solver(ONE, options=Options(), gtol=1e-3), TypeError, r"options .*by name.*gtol"),
    ("options mapping", lambda: Solver(ONE, {"gtol": 1e-3}), TypeError, r"options must be .*Options.*got .*dict"),
    ("unknown", lambda: Solver(ONE, maxcor=5), TypeError, r"unexpected keyword argument 'maxcor'"),
    ("method", lambda: Solver(ONE, method="Newton"), ValueError, r"method must be one of 'L-BFGS', .*; got 'Newton'"),
    ("norm", lambda: Solver(ONE, norm=0), ValueError, r"norm must be a number, not 0; got 0"),
    ("norm NaN", lambda: Solver(ONE, norm=np.nan), ValueError, r"norm must be a number, not 0; got nan"),
    ("xrtol", lambda: Solver(ONE, xrtol=-1.0), ValueError, r"xrtol must be a number that is not negative"),
    (
        "L-BFGS bounds",
        lambda: Solver(ONE, bounds=BOX),
        ValueError,
        r"method 'L-BFGS' takes no bounds; use \"L-BFGS-B\"",
    ),
    (
        "BFGS bounds",
        lambda: Solver(ONE, method="BFGS", bounds=BOX),
        ValueError,
        r"method 'BFGS' takes no bounds; use \"L-BFGS-B\"",
    ),
    (
        "bounds and h0",
        lambda: Solver(ONE, method="L-BFGS-B", bounds=BOX, h0=[1.0, 1.0, 1.0]),
        ValueError,
        r"h0 and bounds do not go together",
    ),
    (
        "bounds and norm",
        lambda: Solver(ONE, method="L-BFGS-B", bounds=BOX, norm=2),
        ValueError,
        r"norm must be infinite where there are bounds; got 2",
    ),
    ("pairs", lambda: Solver(ONE, method="BFGS").pairs(), ValueError, r"BFGS remembers no pairs"),
    ("no matrix", lambda: Solver(ONE).inverse_hessian(), ValueError, r"'L-BFGS' has no dense inverse Hessian"),
    ("h0 sign", lambda: Solver(ONE, h0=[-1.0, 1.0, 1.0]), ValueError, r"h0 must be positive and finite"),
    ("h0 shape", lambda: Solver(MANY, h0=np.ones(4)), ValueError, r"h0 must have shape \(3,\).*\(4, 3\).*got \(4,\)"),
    ("h0 text", lambda: Solver(ONE, h0="identity"), TypeError, r"h0 must hold real numbers.*<U8"),
    ("workers", lambda: Solver(MANY, workers=0), ValueError, r"workers must be a positive integer or None; got 0"),
)
def test_solver(call, error, message):
    assert_raises(call, error, message)


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_the_other_order_of_bytes_is_no_other_type(dtype):
    x0, native = MANY.astype(dtype), MANY.astype(np.dtype(dtype).newbyteorder("="))
    ours, theirs = (minimize(pairs, x, jac=True) for x in (x0, native))
    assert ours.x.dtype == ours.jac.dtype == Solver(x0).dtype == native.dtype
    assert ours.x.tobytes() == theirs.x.tobytes()


def test_a_nan_start_is_no_exception():
    result = minimize(pairs, np.where(MANY[2, 1] == MANY, np.nan, MANY), jac=True)
    assert result.status.tolist() == [0, 0, 3, 0]


# ----------------------------------------------------------------------------------------------
# At the first call


def f_of(value):
    """Return a call of minimize, of one problem, whose function returns `value` as f."""
    return lambda: minimize(lambda x: (value, rosen_der(x)), ONE, jac=True)


def g_of(value):
    """Return a call of minimize, of one problem, whose function returns `value` as g."""
    return lambda: minimize(lambda x: (rosen(x), value), ONE, jac=True)


def batch_f(value):
    """Return a call of minimize, of four members, whose function returns `value` as f."""
    return lambda: minimize(lambda x: (value, 2 * x), MANY, jac=True)


def batch_g(value):
    """Return a call of minimize, of four members, whose function returns ``value(x)`` as g."""
    return lambda: minimize(lambda x: ((x**2).sum(axis=1), value(x)), MANY, jac=True)


@table(
    ("f two", f_of(np.zeros(2)), ValueError, r"scalar.*\(2,\).*For a batch.*\(B, n\)"),
    ("f gradient", f_of(ONE), ValueError, r"scalar.*\(3,\)"),
    ("f empty", f_of([]), ValueError, r"scalar.*\(0,\)"),
    ("f none", f_of(None), TypeError, r"real numbers as f.*object"),
    ("f text", f_of("1.0"), TypeError, r"real numbers as f.*<U3"),
    ("f complex", f_of(1j), TypeError, r"real numbers as f.*complex128"),
    ("f ragged", f_of([[1.0], [2.0, 3.0]]), ValueError, r"f as a regular array"),
    ("g short", g_of(np.zeros(2)), ValueError, r"gradient.*\(3,\).*\(2,\)"),
    ("g row", g_of(np.zeros((1, 3))), ValueError, r"gradient.*\(3,\).*\(1, 3\)"),
    ("g column", g_of(np.zeros((3, 1))), ValueError, r"gradient.*\(3,\).*\(3, 1\)"),
    ("g number", g_of(0.0), ValueError, r"gradient.*\(3,\).*\(1,\)|gradient.*\(3,\).*\(\)"),
    ("g none", g_of(None), TypeError, r"real numbers as g.*object"),
    ("g complex", g_of(ONE.astype(complex)), TypeError, r"real numbers as g.*complex128"),
    ("g text", g_of(["a", "b", "c"]), TypeError, r"real numbers as g.*<U1"),
    ("g ragged", g_of([[1.0], [2.0, 3.0]]), ValueError, r"g as a regular array"),
    ("g objects", g_of(np.array([1.0, None, 2.0])), TypeError, r"real numbers as g.*object"),
    ("f alone", lambda: minimize(rosen, ONE, jac=True), TypeError, r"pair \(f, g\); got a float.*jac="),
    ("nothing", lambda: minimize(lambda x: None, ONE, jac=True), TypeError, r"pair \(f, g\); got a NoneType.*jac="),
    ("three", lambda: minimize(lambda x: (*pair(x), 1), ONE, jac=True), TypeError, r"pair \(f, g\); got 3 things"),
    ("one", lambda: minimize(lambda x: (rosen(x),), ONE, jac=True), TypeError, r"pair \(f, g\); got 1 things?\b"),
    ("array", lambda: minimize(lambda x: np.zeros(2), ONE, jac=True), TypeError, r"pair \(f, g\); got a ndarray"),
    ("jac short", lambda: minimize(rosen, ONE, jac=lambda x: x[:2]), ValueError, r"gradient.*\(3,\).*\(2,\)"),
    ("jac none", lambda: minimize(rosen, ONE, jac=lambda x: None), TypeError, r"real numbers as g.*object"),
    ("jac f none", lambda: minimize(lambda x: None, ONE, jac=rosen_der), TypeError, r"real numbers as f.*object"),
    ("batch for one", lambda: minimize(lambda x: x**2, ONE, jac=rosen_der), ValueError, r"scalar.*\(3,\).*\(B, n\)"),
    ("differences f", lambda: minimize(lambda x: x, ONE), ValueError, r"fun must return a scalar.*\(3,\)"),
    ("differences none", lambda: minimize(lambda x: None, ONE), TypeError, r"fun must return real .* as f.*object"),
    ("differences complex", lambda: minimize(lambda x: 1j, ONE), TypeError, r"fun must return real .*complex128"),
    ("differences pair", lambda: minimize(pair, ONE), ValueError, r"fun must return .*jac=True"),
)
def test_one_problem_at_the_first_call(call, error, message):
    assert_raises(call, error, message)


@table(
    ("f sum", batch_f(1.0), ValueError, r"each of the 4 rows.*\(4,\).*got \(\).*one point.*last axis"),
    ("f one", batch_f(np.zeros(1)), ValueError, r"each of the 4 rows.*\(4,\).*got \(1,\).*one point"),
    ("f column", batch_f(np.zeros((4, 1))), ValueError, r"\(4,\).*got \(4, 1\).*reshape\(4\)"),
    ("f coordinates", batch_f(np.zeros(3)), ValueError, r"\(4,\).*got \(3,\)"),
    ("f all", batch_f(np.zeros((4, 3))), ValueError, r"\(4,\).*got \(4, 3\)"),
    ("f none", batch_f(None), TypeError, r"real numbers as f.*object"),
    ("f complex", batch_f(np.zeros(4, complex)), TypeError, r"real numbers as f.*complex128"),
    ("f text", batch_f(["a"] * 4), TypeError, r"real numbers as f.*<U1"),
    ("f ragged", batch_f([[1.0], [2.0], [3.0], [4.0, 5.0]]), ValueError, r"f as a regular array"),
    ("g of one", batch_g(lambda x: 2 * x[0]), ValueError, r"\(4, 3\).*got \(3,\).*one point.*sum over the rows"),
    ("g sum", batch_g(lambda x: 2 * x.sum(axis=0)), ValueError, r"\(4, 3\).*got \(3,\).*sum over the rows"),
    ("g transposed", batch_g(lambda x: 2 * x.T), ValueError, r"\(4, 3\).*got \(3, 4\).*transposed"),
    ("g short", batch_g(lambda x: x[:, :2]), ValueError, r"\(4, 3\).*got \(4, 2\)"),
    ("g rows", batch_g(lambda x: x[:3]), ValueError, r"\(4, 3\).*got \(3, 3\)"),
    ("g flat", batch_g(lambda x: x.ravel()), ValueError, r"\(4, 3\).*got \(12,\)"),
    ("g complex", batch_g(lambda x: x * 1j), TypeError, r"real numbers as g.*complex128"),
    ("g none", batch_g(lambda x: None), TypeError, r"real numbers as g.*object"),
    ("g ragged", batch_g(lambda x: [[1.0], [2.0], [3.0], [4.0, 5.0]]), ValueError, r"g as a regular array"),
    ("f alone", lambda: minimize(lambda x: (x**2).sum(1), MANY, jac=True), TypeError, r"pair \(f, g\).*ndarray.*jac="),
    ("three", lambda: minimize(lambda x: (*pairs(x), 1), MANY, jac=True), TypeError, r"pair \(f, g\); got 3 things"),
    ("jac", lambda: minimize(lambda x: (x**2).sum(1), MANY, jac=lambda x: x.T), ValueError, r"\(4, 3\).*\(3, 4\)"),
    (
        "differences sum",
        lambda: minimize(lambda x: (x**2).sum(), MANY),
        ValueError,
        r"fun must return one value for each of the 16 rows.*\(16,\).*got \(\).*one point",
    ),
    (
        "differences members",
        lambda: minimize(lambda x: np.zeros(4), MANY),
        ValueError,
        r"fun must return one value for each of the 16 rows.*\(16,\).*got \(4,\)",
    ),
    ("differences none", lambda: minimize(lambda x: None, MANY), TypeError, r"fun must return real numbers as f"),
    ("differences pair", lambda: minimize(pairs, MANY), ValueError, r"fun must return .*jac=True"),
)
def test_batch_at_the_first_call(call, error, message):
    assert_raises(call, error, message)


def test_a_wrong_shape_later_is_an_error_too():
    calls = []

    def fun(x):
        calls.append(1)
        f, g = pairs(x - 3.0)
        return (f, g) if len(calls) < 2 else (f[:-1], g)

    with pytest.raises(ValueError, match=r"\(4,\).*got \(3,\)") as caught:
        minimize(fun, MANY, jac=True)
    np.testing.assert_array_equal(caught.value.partial_result.x, MANY)


def test_a_callback_of_the_wrong_arity_fails_as_written():
    def callback(a, b):
        never()

    with pytest.raises(TypeError, match="missing 1 required positional argument") as caught:
        minimize(pair, ONE, jac=True, callback=callback)
    assert caught.value.partial_result.nit == 1


# ----------------------------------------------------------------------------------------------
# Ask and tell


@pytest.mark.parametrize(
    ("f", "g"),
    [
        (0.0, MANY),
        (np.zeros(3), MANY),
        (np.zeros((4, 1)), MANY),
        (np.zeros(4), MANY.T),
        (np.zeros(4), MANY[0]),
        (np.zeros(4), MANY[:2]),
        (np.zeros(4), MANY * 1j),
        (np.zeros(4, complex), MANY),
        (None, MANY),
        (np.zeros(4), None),
        (["a"] * 4, MANY),
        (np.zeros(4), [[1.0], [2.0, 3.0], [], []]),
    ],
)
def test_a_bad_tell_changes_nothing(f, g, tmp_path):
    def run(disturb):
        solver = Solver(MANY)
        solver.tell(*pairs(solver.ask() - 3.0))
        if disturb:
            point = solver.ask()
            solver.save(tmp_path / "before.npz")
            with pytest.raises((TypeError, ValueError)):
                solver.tell(f, g)
            solver.save(tmp_path / "after.npz")
            assert (tmp_path / "before.npz").read_bytes() == (tmp_path / "after.npz").read_bytes()
            np.testing.assert_array_equal(solver.ask(), point)
        while solver.running:
            solver.tell(*pairs(solver.ask() - 3.0))
        return solver.result()

    a, b = run(True), run(False)
    np.testing.assert_array_equal(a.x, b.x)
    assert (a.nfev == b.nfev).all() and a.calls == b.calls


@pytest.mark.parametrize(
    ("f", "g"), [(np.zeros(2), ONE), (0.0, ONE[:2]), (1j, ONE), (0.0, None), (None, ONE), (0.0, [1.0, [2.0, 3.0], 4.0])]
)
def test_a_bad_tell_of_one_changes_nothing(f, g):
    solver = Solver(ONE)
    solver.tell(*pair(solver.ask()))
    point = solver.ask()
    with pytest.raises((TypeError, ValueError)):
        solver.tell(f, g)
    assert solver.calls == 1 and solver.result().nfev == 1
    np.testing.assert_array_equal(solver.ask(), point)


@pytest.mark.parametrize("x0", [ONE, MANY, np.zeros((0, 3))], ids=["one", "batch", "none"])
@pytest.mark.parametrize("end", ["converged", "stopped"])
def test_after_the_end(x0, end):
    solver = Solver(x0)
    if end == "stopped":
        solver.stop()
    while solver.running:
        solver.tell(*(pair if x0.ndim == 1 else pairs)(solver.ask()))
    before = solver.result()
    with pytest.raises(RuntimeError, match=r"every member has finished; take result\(\)"):
        solver.ask()
    with pytest.raises(RuntimeError, match=r"every member has finished; take result\(\)"):
        solver.tell(np.zeros(len(x0)), x0)
    np.testing.assert_array_equal(solver.result().x, before.x)
    assert solver.calls == before.calls
    solver.stop()
    np.testing.assert_array_equal(solver.result().status, before.status)


# ----------------------------------------------------------------------------------------------
# Hostile, but legal: what the user's function does with its own arrays is its own affair

WATSON = by_name("extended_rosenbrock_10")
FORMS = ("one", "batch", "compact")


def polite(x):
    """Return f (k,) and g (k, n), new arrays."""
    return WATSON.fun(x)


def rounded(kind):
    """Return a polite function whose g has been through another dtype."""

    def fun(x):
        f, g = polite(x)
        return f, g.astype(kind).astype(np.float64)

    return fun


def flat(x):
    """Return a polite function whose gradient is the same for all members: they start together."""
    f, g = polite(x)
    return f, np.repeat(g[:1], len(x), axis=0)


def changes_x(x):
    """Write into x after f and g are known."""
    f, g = polite(x)
    x[...] = np.nan
    return f, g


def returns_x(x):
    """Return x itself, with g written into it."""
    f, g = polite(x)
    x[...] = g
    return f, x


def returns_a_view_of_x(x):
    """Return a view of x, with g written into it."""
    return returns_x(x)[0], x[...]


class OneBuffer:
    """Write f and g into the same arrays each time, after spoiling all that was handed out before."""

    def __init__(self):
        self.kept = []
        self.g = {}

    def __call__(self, x):
        f, g = polite(x)
        for array in self.kept:
            array[...] = np.nan
        buffers = self.g.setdefault(x.shape, (np.empty_like(f), np.empty_like(g)))
        buffers[0][...], buffers[1][...] = f, g
        self.kept = [x]
        return buffers


def unaligned(a):
    """Return a copy of `a` whose data do not begin at a multiple of 8 bytes."""
    room = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    room[...] = a
    return room


def frozen(a):
    """Return a copy of `a` that is read-only."""
    a = a.copy()
    a.flags.writeable = False
    return a


def spread(a):
    """Return a view with gaps in every axis."""
    for axis in range(a.ndim):
        a = np.repeat(a, 2, axis=axis)
    return a[(slice(None, None, 2),) * a.ndim]


def float16(a):
    """Return `a` rounded to float16, as float64."""
    return a.astype(np.float16).astype(np.float64)


class Subclass(np.ndarray):
    """An ndarray that is none by type."""


def changed(f=lambda f: f, g=lambda g: g):
    """Return a function whose f and g are the polite ones, seen through f and g."""
    return lambda x: (f(polite(x)[0]), g(polite(x)[1]))


HOSTILE = {
    "changes x": (changes_x, polite),
    "returns x": (returns_x, polite),
    "returns a view of x": (returns_a_view_of_x, polite),
    "one buffer": (OneBuffer(), polite),
    "gaps": (changed(spread, spread), polite),
    "fortran": (changed(g=np.asfortranarray), polite),
    "backwards": (changed(g=lambda g: g[..., ::-1].copy()[..., ::-1]), polite),
    "read-only": (changed(frozen, frozen), polite),
    "unaligned": (changed(unaligned, unaligned), polite),
    "swapped bytes": (changed(lambda f: f.astype(">f8"), lambda g: g.astype(">f8")), polite),
    "longdouble": (changed(lambda f: f.astype(np.longdouble), lambda g: g.astype(np.longdouble)), polite),
    "subclass": (changed(lambda f: f.view(Subclass), lambda g: g.view(Subclass)), polite),
    "masked": (changed(np.ma.asarray, np.ma.asarray), polite),
    "list": (changed(lambda f: f.tolist(), lambda g: g.tolist()), polite),
    "tuple": (changed(lambda f: tuple(f.tolist()), lambda g: tuple(map(tuple, g.tolist()))), polite),
    "a list of the two": (lambda x: list(polite(x)), polite),
    "float32": (changed(g=lambda g: g.astype(np.float32)), rounded(np.float32)),
    "float16": (changed(g=lambda g: (g / 1e3).astype(np.float16)), changed(g=lambda g: float16(g / 1e3))),
    "integer": (changed(g=lambda g: np.rint(g).astype(int)), changed(g=lambda g: np.rint(g) + 0.0)),
    "boolean": (changed(g=lambda g: g > 0), changed(g=lambda g: (g > 0) + 0.0)),
    "broadcast": (lambda x: (polite(x)[0], np.broadcast_to(polite(x)[1][:1], x.shape)), flat),
    "f float32": (changed(lambda f: f.astype(np.float32)), changed(lambda f: f.astype(np.float32).astype(float))),
    "f integer": (changed(lambda f: np.rint(f).astype(int)), changed(np.rint)),
}


def limited(fun):
    """Return fun, which fails instead of being called for ever."""
    calls = []

    def wrapper(x):
        calls.append(1)
        assert len(calls) < 2000, "no end in sight"
        return fun(x)

    return wrapper


def run(fun, form, x0, apart=False):
    """Return the result of fun, a function of rows, in one of the forms."""
    fun = limited(fun)
    if form == "one":

        def single(x):
            # A view of x, not a copy: what is done to it is done to the x that was handed over.
            f, g = fun(x[None])
            return f[0], (g[0] if isinstance(g, (list, tuple)) else g[0, ...])

        if apart:
            return minimize(lambda x: single(x)[0], x0[0], jac=lambda x: single(x)[1])
        return minimize(single, x0[0], jac=True)
    if apart:
        return minimize(lambda x: fun(x)[0], x0, jac=lambda x: fun(x)[1], compact=form == "compact")
    return minimize(fun, x0, jac=True, compact=form == "compact")


def assert_same(a, b):
    """Assert that two results agree in every bit."""
    for key in ("x", "fun", "jac", "nit", "nfev", "status"):
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_hostile_but_legal(name, form, apart):
    hostile, twin = HOSTILE[name]
    x0 = starts(WATSON, 5, 0.3, np.random.default_rng(4))
    if name == "broadcast":
        x0[:] = x0[0]
    if form != "one":
        x0[1] = 1.0
        if name == "broadcast":
            x0[:] = x0[0]
    a, b = run(hostile, form, x0, apart), run(twin, form, x0, apart)
    assert_same(a, b)
    if twin is polite:
        assert np.all(b.success)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_float32_state(form, dtype):
    # g in another dtype than x's is rounded to it once, nothing else.
    x0 = starts(WATSON, 5, 0.3, np.random.default_rng(4)).astype(np.float32)
    a = run(lambda x: (polite(x)[0], polite(x)[1].astype(dtype)), form, x0)
    b = run(lambda x: (polite(x)[0].astype(np.float64), polite(x)[1].astype(np.float32)), form, x0)
    assert_same(a, b)
    assert a.x.dtype == np.float32


def quartic(x):
    """Return sum (x - 1)**4 + ... at one point: a value with all its bits in use."""
    return float(((x - 1.0) ** 4).sum() + 0.1 * (x**2).sum())


@pytest.mark.parametrize(
    "form",
    [
        np.float64,
        np.array,
        lambda f: np.array([f]),
        lambda f: np.array([[f]]),
        lambda f: [f],
        np.longdouble,
        lambda f: np.array([f], dtype=">f8"),
    ],
    ids=["float64", "0-d", "(1,)", "(1, 1)", "list", "longdouble", "swapped"],
)
@pytest.mark.parametrize("jac", [True, "apart", None, "3-point"])
def test_forms_of_a_value(form, jac):
    def gradient(x):
        return 4 * (x - 1.0) ** 3 + 0.2 * x

    def solve(form):
        if jac is True:
            return minimize(lambda x: (form(quartic(x)), gradient(x)), ONE, jac=True)
        return minimize(lambda x: form(quartic(x)), ONE, jac=gradient if jac == "apart" else jac)

    assert_same(solve(form), solve(float))


@pytest.mark.parametrize(
    ("form", "twin"),
    [
        (np.float32, lambda f: float(np.float32(f))),
        (round, lambda f: float(round(f))),
        (np.int64, lambda f: float(int(f))),
    ],
    ids=["float32", "int", "int64"],
)
def test_rounded_forms_of_a_value(form, twin):
    def solve(form):
        return minimize(lambda x: (form(quartic(x)), 4 * (x - 1.0) ** 3 + 0.2 * x), 9 * ONE, jac=True)

    assert_same(solve(form), solve(twin))


@pytest.mark.parametrize("g", [2.0, 2, np.float32(2.0), [2.0], np.array(2.0), np.array([2])], ids=repr)
def test_forms_of_a_gradient_of_one_coordinate(g):
    # A number will do where there is one coordinate.
    def solve(g):
        return minimize(lambda x: (float(2 * x[0]), g), [3.0], jac=True, options={"maxiter": 3})

    assert_same(solve(g), solve(np.array([2.0])))


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
@pytest.mark.parametrize("form", FORMS)
def test_differences_of_a_function_that_changes_x(jac, form):
    def fun(x):
        return polite(np.atleast_2d(x))[0][(0 if x.ndim == 1 else slice(None))]

    def hostile(x):
        f = fun(x)
        x[...] = 7.0
        return f

    x0 = starts(WATSON, 4, 0.3, np.random.default_rng(4))
    x0 = x0[0] if form == "one" else x0
    a, b = (minimize(f, x0, jac=jac, compact=form == "compact") for f in (hostile, fun))
    assert_same(a, b)
    assert np.all(a.nit > 0)


@pytest.mark.parametrize("form", FORMS)
def test_points_may_be_kept(form):
    # A log of all points is as good afterwards as when it was written.
    kept, copies = [], []

    def fun(x):
        kept.append(x)
        copies.append(x.copy())
        return polite(x)

    run(fun, form, starts(WATSON, 4, 0.3, np.random.default_rng(4)))
    for x, copy in zip(kept, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize("form", ["batch", "compact"])
def test_batch_args_are_not_touched(form):
    # They may be read-only, and whoever writes into them writes into rows of this call alone, or into the original.
    x0 = starts(WATSON, 4, 0.3, np.random.default_rng(4))
    data = np.zeros((4, 2))
    data.flags.writeable = False
    result = minimize(lambda x, d: polite(x), x0, jac=True, batch_args=(data,), compact=form == "compact")
    assert_same(result, minimize(polite, x0, jac=True))


def test_a_solver_keeps_nothing_of_the_caller():
    x0 = starts(WATSON, 4, 0.3, np.random.default_rng(4))
    expected = minimize(polite, x0, jac=True)
    start = x0.copy()
    solver = Solver(start)
    start[...] = np.nan
    while solver.running:
        x = solver.ask()
        f, g = polite(x)
        solver.tell(f, g)
        for array in (x, f, g):
            array[...] = np.nan
    np.testing.assert_array_equal(solver.result().x, expected.x)
    solver.result().x[...] = np.nan
    np.testing.assert_array_equal(solver.result().x, expected.x)


@pytest.mark.parametrize("shape", [(10,), (4, 10)], ids=str)
def test_h0_is_the_callers_to_change(shape):
    x0 = starts(WATSON, 4, 0.3, np.random.default_rng(4))
    results = []
    for change in (False, True):
        h0 = np.full(shape, 1e-3)
        solver = Solver(x0, h0=h0, maxiter=20)
        if change:
            h0[...] = np.nan
        while solver.running:
            solver.tell(*polite(solver.ask()))
        results.append(solver.result())
    np.testing.assert_array_equal(results[0].x, results[1].x)
    np.testing.assert_array_equal(results[0].nfev, results[1].nfev)
