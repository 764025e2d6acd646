"""`minimize` of one problem by L-BFGS, and `lbfgs` under scipy.optimize: SciPy's contract, side by side with SciPy."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult, OptimizeWarning, approx_fprime, rosen, rosen_der

# Of SciPy's private modules the one that has no public name: it is the definition of the quotients.
from scipy.optimize._numdiff import approx_derivative

import fastbfgs
from tests.problems import by_name

minimize = partial(fastbfgs.minimize, method="L-BFGS-B")

START = np.array([-1.2, 1.0, 0.7, -0.4, 1.9])

KEYS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message")


def both(x):
    """Return Rosenbrock's function and gradient."""
    return rosen(x), rosen_der(x)


def quadratic(x):
    """Return sum i (x_i - 1)**2 and its gradient."""
    weight = np.arange(1.0, x.size + 1.0).astype(x.dtype)
    return float((weight * (x - 1) ** 2).sum()), 2 * weight * (x - 1)


def counted(fun):
    """Return fun with an attribute `xs` of the points it was called with."""

    def wrapper(x, *args):
        wrapper.xs.append(x.copy())
        return fun(x, *args)

    wrapper.xs = []
    return wrapper


def scipys(*args, **kwargs):
    """Return what SciPy's L-BFGS-B returns."""
    return scipy.optimize.minimize(*args, method="L-BFGS-B", **kwargs)


def assert_same(a, b):
    """Assert that two results of one problem agree in every bit."""
    for key in KEYS:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
        assert np.asarray(a[key]).dtype == np.asarray(b[key]).dtype


# ----------------------------------------------------------------------------------------------
# The result


@pytest.mark.parametrize("method", ["L-BFGS", "L-BFGS-B", "l-bfgs-b", "l-bfgs"])
def test_result_is_scipys(method):
    ours, theirs = minimize(both, START, method=method, jac=True), scipys(both, START, jac=True)
    assert type(ours) is OptimizeResult
    assert set(ours) == set(theirs)
    for key in set(KEYS) - {"fun"}:
        assert type(ours[key]) is type(theirs[key]), key
    assert isinstance(ours.fun, float)
    assert isinstance(ours.hess_inv, LbfgsInvHessProduct)
    assert ours.hess_inv.shape == (5, 5)
    for key in ("x", "jac"):
        assert (ours[key].shape, ours[key].dtype) == (theirs[key].shape, theirs[key].dtype)
    assert ours.success and ours.status == 0
    np.testing.assert_allclose(ours.x, np.ones(5), atol=1e-4)
    assert (ours.fun, ours.nfev) == (rosen(ours.x), ours.njev)
    np.testing.assert_array_equal(ours.jac, rosen_der(ours.x))


@pytest.mark.parametrize(
    ("options", "status", "success"),
    [
        ({"ftol": 0}, 0, True),
        ({"gtol": 1e-12, "ftol": 1e-3}, 0, True),
        ({"maxiter": 3}, 1, False),
        ({"maxfun": 4}, 1, False),
    ],
    ids=["gradient", "decrease", "maxiter", "maxfun"],
)
def test_status_and_message_are_scipys(options, status, success):
    ours, theirs = minimize(both, START, jac=True, options=options), scipys(both, START, jac=True, options=options)
    assert (ours.status, ours.success) == (theirs.status, theirs.success) == (status, success)
    assert ours.message == theirs.message


def test_converged_by_gradient_means_so():
    result = minimize(both, START, jac=True, options={"gtol": 1e-3, "ftol": 0})
    assert result.message == "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"
    assert np.abs(result.jac).max() <= 1e-3


def test_converged_by_decrease_means_so():
    values = [rosen(START)]
    result = minimize(
        both, START, jac=True, options={"gtol": 0, "ftol": 1e-3}, callback=lambda x: values.append(rosen(x))
    )
    assert result.message == "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"
    decrease = -np.diff(values) / np.maximum(np.maximum(np.abs(values[:-1]), np.abs(values[1:])), 1.0)
    assert (decrease[:-1] > 1e-3).all() and decrease[-1] <= 1e-3


def test_optimal_start():
    ours, theirs = minimize(both, np.ones(4), jac=True), scipys(both, np.ones(4), jac=True)
    for key in KEYS:
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
    np.testing.assert_array_equal(ours.hess_inv.todense(), np.eye(4))


@pytest.mark.parametrize("maxfun", range(1, 30))
def test_maxfun_is_never_exceeded(maxfun):
    fun = counted(both)
    result = minimize(fun, START, jac=True, options={"maxfun": maxfun})
    assert len(fun.xs) == result.nfev <= maxfun
    if not result.success:
        assert (result.nfev, result.status) == (maxfun, 1)
    assert result.fun == rosen(result.x) <= rosen(START)


@pytest.mark.parametrize(("jac", "each"), [(None, 6), ("2-point", 6), ("3-point", 11), ("cs", 6)])
@pytest.mark.parametrize("maxfun", [12, 35, 60])
def test_maxfun_counts_difference_points(jac, each, maxfun):
    fun = counted(rosen)
    result = minimize(fun, START, jac=jac, options={"maxfun": maxfun})
    assert len(fun.xs) == result.nfev <= maxfun
    assert (result.nfev, result.status) == (maxfun // each * each, 1)


@pytest.mark.parametrize("maxiter", [0, 1, 2, 7])
def test_maxiter(maxiter):
    result = minimize(both, START, jac=True, options={"maxiter": maxiter})
    assert (result.nit, result.status, result.success) == (maxiter, 1, False)
    assert result.message == "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"


def test_maxiter_0_performs_none():
    result = minimize(both, START, jac=True, options={"maxiter": 0})
    assert (result.nit, result.nfev, result.fun) == (0, 1, rosen(START))
    np.testing.assert_array_equal(result.x, START)
    np.testing.assert_array_equal(result.jac, rosen_der(START))


# ----------------------------------------------------------------------------------------------
# Arguments


def test_tol_sets_ftol_and_gtol():
    by_tol = minimize(both, START, jac=True, tol=1e-3)
    assert_same(by_tol, minimize(both, START, jac=True, options={"ftol": 1e-3, "gtol": 1e-3}))
    assert by_tol.nit < minimize(both, START, jac=True).nit


@pytest.mark.parametrize("given", [{"gtol": 1e-9}, {"ftol": 1e-12}, {"gtol": 1e-9, "ftol": 0.0}])
def test_options_win_over_tol(given):
    kept = dict(given)
    a = minimize(both, START, jac=True, tol=1e-2, options=given)
    b = minimize(both, START, jac=True, options={"ftol": 1e-2, "gtol": 1e-2, **given})
    assert_same(a, b)
    assert given == kept, "the caller's dictionary is the caller's"


@pytest.mark.parametrize("jac", [True, "apart", None])
def test_args(jac):
    def value(x, a, b=0.0):
        return float(((x - a) ** 2).sum() + b)

    def gradient(x, a, b=0.0):
        return 2 * (x - a)

    def pair(*args):
        return value(*args), gradient(*args)

    fun, jac = (pair, True) if jac is True else (value, gradient if jac else None)
    result = minimize(fun, np.zeros(2), args=(3.0, 7.0), jac=jac)
    np.testing.assert_allclose(result.x, 3.0, atol=1e-5)
    assert result.fun == pytest.approx(7.0)
    np.testing.assert_allclose(minimize(fun, np.zeros(2), 3.0, jac=jac).x, 3.0, atol=1e-5)
    # A bare array is one argument, not a sequence of them.
    centre = np.array([1.0, 2.0])
    np.testing.assert_allclose(minimize(fun, np.zeros(2), centre, jac=jac).x, centre, atol=1e-5)


@pytest.mark.parametrize("x0", [5.0, 5, np.float64(5.0), np.array(5.0)], ids=repr)
def test_scalar_start_is_one_coordinate(x0):
    ours = minimize(lambda x: ((x[0] - 2.0) ** 2, 2.0 * (x - 2.0)), x0, jac=True)
    assert ours.x.shape == ours.jac.shape == (1,)
    np.testing.assert_allclose(ours.x, [2.0], atol=1e-8)


@pytest.mark.parametrize(
    "x0",
    [
        [3, 4],
        (3, 4),
        np.array([3, 4]),
        np.array([3, 4], np.uint8),
        np.array([3, 4], np.float16),
        np.array([3, 4], np.longdouble),
        np.array([3.0, 4.0], ">f8"),
        np.array([[3.0, 0.0], [4.0, 0.0]])[:, 0],
    ],
    ids=lambda x0: getattr(getattr(x0, "dtype", None), "str", type(x0).__name__),
)
def test_other_starts_become_float64(x0):
    fun = counted(both)
    result = minimize(fun, x0, jac=True)
    assert result.x.dtype == result.jac.dtype == np.float64
    assert all(x.dtype == np.float64 and x.dtype.isnative for x in fun.xs)
    assert_same(result, minimize(both, np.array([3.0, 4.0]), jac=True))


def test_start_is_not_written_to():
    x0 = START.copy()
    x0.flags.writeable = False
    minimize(both, x0, jac=True)
    x0 = START.copy()
    result = minimize(both, x0, jac=True, options={"maxiter": 0})
    result.x[:] = 0.0
    np.testing.assert_array_equal(x0, START)


@pytest.mark.parametrize("g_dtype", [np.float32, np.float64])
def test_float32_throughout(g_dtype):
    def fun(x):
        f, g = quadratic(x)
        return f, g.astype(g_dtype)

    fun = counted(fun)
    seen = []
    result = minimize(
        fun,
        np.array([5.0, -2.0, 3.0], np.float32),
        jac=True,
        callback=lambda intermediate_result: seen.append(intermediate_result),
    )
    assert result.success
    assert result.x.dtype == result.jac.dtype == np.float32
    assert all(x.dtype == np.float32 for x in fun.xs)
    assert seen and all(r.x.dtype == r.jac.dtype == np.float32 for r in seen)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-5)


# ----------------------------------------------------------------------------------------------
# Derivatives


def test_gradient_apart_from_the_value():
    fun, jac = counted(rosen), counted(rosen_der)
    result = minimize(fun, START, jac=jac)
    assert_same(result, minimize(both, START, jac=True))
    assert len(fun.xs) == len(jac.xs) == result.nfev == result.njev
    np.testing.assert_array_equal(fun.xs, jac.xs)


@pytest.mark.parametrize("jac", [None, False, "2-point", "3-point", "cs"])
def test_differences_converge(jac):
    result = minimize(rosen, START, jac=jac)
    assert result.success
    np.testing.assert_allclose(result.x, 1.0, atol=1e-3)
    # With complex steps f is the real part at a complex x, which rounds in its own way.
    assert result.fun == (rosen(result.x + 0j).real if jac == "cs" else rosen(result.x))


def smooth(x):
    """Return a function that is good for complex x too, of which no difference is exact."""
    return np.exp(0.3 * x[0]) + np.sin(x[1] * x[2]) + (x**2).sum() + x[0] * x[-1] ** 3


POINTS = [
    np.array([0.3, -1.7, 2.9, 1e-3]),
    np.array([0.0, -0.0, 1.0, -1.0]),
    np.array([-1e-12, 3e4, -12.5, 0.1]),
    np.random.default_rng(5).normal(size=7),
]


@pytest.mark.parametrize("x", POINTS, ids=range(len(POINTS)))
@pytest.mark.parametrize("eps", [1e-8, 1e-6, -1e-7, 1e-30, 0.0, "array"])
def test_absolute_steps_are_scipys(x, eps):
    eps = np.geomspace(1e-9, 1e-5, x.size) if isinstance(eps, str) else eps
    result = minimize(smooth, x, options={"eps": eps, "maxiter": 0})
    np.testing.assert_array_equal(result.jac, approx_fprime(x, smooth, eps))
    np.testing.assert_array_equal(result.jac, approx_derivative(smooth, x, "2-point", abs_step=eps))


def test_default_step_is_scipys():
    result = minimize(smooth, POINTS[0], options={"maxiter": 0})
    np.testing.assert_array_equal(result.jac, approx_fprime(POINTS[0], smooth, 1e-8))


@pytest.mark.parametrize("x", POINTS, ids=range(len(POINTS)))
@pytest.mark.parametrize("scheme", ["2-point", "3-point", "cs"])
@pytest.mark.parametrize("step", [None, 1e-6, -1e-5, 0.0, "array"])
def test_relative_steps_are_scipys(x, scheme, step):
    step = np.geomspace(1e-9, 1e-5, x.size) if isinstance(step, str) else step
    result = minimize(smooth, x, jac=scheme, options={"finite_diff_rel_step": step, "maxiter": 0})
    np.testing.assert_array_equal(result.jac, approx_derivative(smooth, x, scheme, rel_step=step))


def test_steps_fit_a_function_of_float32():
    # As in SciPy: a value of 24 bits hides what a step for 53 bits changes.
    def fun(x):
        return np.float32(((x - 1.0) ** 2).sum() + 1.0)

    x = np.array([3.0, 4.0])
    result = minimize(fun, x, jac="2-point", options={"maxiter": 0})
    np.testing.assert_array_equal(result.jac, approx_derivative(fun, x, "2-point"))


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
def test_differences_are_counted_as_scipy_counts(jac):
    # At the minimum, where both evaluate once: paths differ elsewhere.
    def value(x):
        return ((x - 1.0) ** 2).sum()

    ours, theirs = (run(value, np.ones(3), jac=jac, options={"gtol": 1e-3}) for run in (minimize, scipys))
    assert (ours.nit, ours.nfev, ours.njev) == (theirs.nit, theirs.nfev, theirs.njev)
    fun = counted(rosen)
    result = minimize(fun, START, jac=jac)
    assert len(fun.xs) == result.nfev
    assert result.nfev == result.njev * (11 if jac == "3-point" else 6)


def test_difference_path_is_that_of_the_gradient_given():
    def pair(x):
        return rosen(x), approx_derivative(rosen, x, "3-point")

    a, b = minimize(rosen, START, jac="3-point"), minimize(pair, START, jac=True)
    for key in ("x", "fun", "jac", "nit", "njev", "status"):
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*JAX is multithreaded:RuntimeWarning")
def test_difference_workers():
    plain = minimize(rosen, START)
    points = []

    def mapping(function, iterable):
        iterable = list(iterable)
        points.append(len(iterable))
        return [function(x) for x in iterable]

    assert_same(plain, minimize(rosen, START, options={"workers": mapping}))
    # As in SciPy: x itself is evaluated first, and apart.
    assert sum(points) == plain.nfev - plain.njev
    assert_same(plain, minimize(rosen, START, options={"workers": map}))
    assert_same(plain, minimize(rosen, START, options={"workers": 2}))
    assert_same(plain, minimize(rosen, START, options={"workers": np.int64(2)}))


def test_one_difference_worker_is_this_process(monkeypatch):
    monkeypatch.setattr("multiprocessing.Pool", None)
    for one in (1, np.int64(1)):
        assert_same(minimize(rosen, START), minimize(lambda x: rosen(x), START, options={"workers": one}))


@pytest.mark.parametrize("jac", [None, "3-point", "cs"])
def test_difference_points_are_made_one_after_another(jac):
    n = 1000
    tracemalloc.start()
    minimize(lambda x: (x * x).sum(), np.ones(n), jac=jac, options={"maxiter": 1, "maxfun": 1e9})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1000 * 8 * n  # all of them at once are 1000 to 2000 n numbers


def test_float32_overflow_is_silent():
    def fun(x):
        x = x.astype(float)
        wall = x <= 0
        inside = np.where(wall, 1.0, x)
        return np.where(wall, 1e60, x - np.log(inside)).sum(-1), np.where(wall, -1e60, 1 - 1 / inside)

    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        for x0 in (np.full(1, 40, np.float32), np.full((2, 1), 40, np.float32)):
            for jac in (True, None, "3-point"):
                value = fun if jac is True else lambda x: fun(x)[0]
                result = minimize(value, x0, jac=jac)
                np.testing.assert_allclose(result.x, 1.0, atol=2e-2)
        stopped = minimize(lambda x: (1e60 + x[:, 0].astype(float), x), np.ones((2, 1), np.float32), jac=True)
        assert np.isinf(stopped.fun).all()


def test_an_infinite_limit_is_none():
    for options in ({"maxiter": np.inf}, {"maxfun": np.inf}, {"maxiter": np.float64(np.inf), "maxfun": math.inf}):
        assert_same(minimize(both, START, jac=True), minimize(both, START, jac=True, options=options))
    options = {"maxiter": np.inf}
    assert fastbfgs.minimize(both, START, jac=True, options=options).success


@pytest.mark.parametrize("jac", [None, "2-point", "3-point"])
def test_float32_differences_do_not_converge_falsely(jac):
    # SciPy's absolute step of 1e-8 changes no float32 coordinate near 1: a gradient of zeros.
    fun = counted(lambda x: float(((x.astype(float) - np.array([3.0, -2.0])) ** 2).sum()))
    result = minimize(fun, np.array([1.0, 1.5], np.float32), jac=jac)
    assert all(x.dtype == np.float32 for x in fun.xs)
    assert result.x.dtype == result.jac.dtype == np.float32
    assert result.nit > 0
    np.testing.assert_allclose(result.x, [3.0, -2.0], atol=5e-3)


# ----------------------------------------------------------------------------------------------
# Warnings


@pytest.mark.parametrize("keyword", ["hess", "hessp"])
@pytest.mark.parametrize("method", ["L-BFGS-B", "l-bfgs-b"])
def test_unused_hessian_gets_scipys_warning(keyword, method):
    texts = []
    for run in (minimize, scipy.optimize.minimize):
        with pytest.warns(RuntimeWarning, match=f"[(]{keyword}[)]") as caught:
            result = run(both, START, method=method, jac=True, **{keyword: lambda x, *p: np.eye(5)})
        assert result.success
        assert [w.filename for w in caught] == [__file__]
        texts.append(str(caught[0].message))
    assert texts[0] == texts[1]


def test_unknown_options_get_scipys_warning():
    texts = []
    for run in (minimize, scipys):
        with pytest.warns(OptimizeWarning) as caught:
            result = run(both, START, jac=True, options={"maxitre": 3, "norm": 2})
        assert result.success
        texts.append(str(caught[0].message))
    assert texts[0] == texts[1] == "Unknown solver options: maxitre, norm"


@pytest.mark.parametrize(
    "run",
    [
        partial(fastbfgs.minimize, method="L-BFGS-B"),
        partial(fastbfgs.minimize, method="L-BFGS-B", chunk=1),
        partial(scipy.optimize.minimize, method=fastbfgs.lbfgsb),
        partial(scipy.optimize.minimize, method=fastbfgs.lbfgs),
    ],
    ids=["ours", "in pieces", "lbfgsb", "lbfgs"],
)
def test_warnings_point_at_the_caller(run):
    pieces = "chunk" in run.keywords
    x0, fun = (np.stack([START, START]), lambda x: (0 * x[:, 0], 0 * x)) if pieces else (START, both)
    options = {"maxitre": 3, "disp": True} | ({} if pieces else {"return_all": True})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(fun, x0, jac=True, hess=lambda x: x, options=options)
    assert {w.filename for w in caught} == {__file__}
    expected = [DeprecationWarning, OptimizeWarning, RuntimeWarning] + [RuntimeWarning] * (not pieces)
    assert sorted((w.category for w in caught), key=lambda kind: kind.__name__) == expected


@pytest.mark.parametrize("option", ["disp", "iprint"])
def test_options_of_the_past(option, capfd):
    with pytest.warns(DeprecationWarning, match="`disp` and `iprint`"):
        result = minimize(both, START, jac=True, options={option: 1})
    assert_same(result, minimize(both, START, jac=True))
    assert capfd.readouterr() == ("", "")


def test_return_all_gets_scipys_warning():
    texts = []
    for run in (minimize, scipy.optimize.minimize):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(both, START, method="L-BFGS-B", jac=True, options={"return_all": True})
        texts += [str(w.message) for w in caught if w.category is RuntimeWarning]
    assert len(texts) == 2
    assert texts[0] == texts[1]


@pytest.mark.parametrize("constraints", [(), [], None])
def test_no_constraints(constraints):
    assert minimize(both, START, jac=True, constraints=constraints).success


# ----------------------------------------------------------------------------------------------
# Callback


def test_callback_of_the_point():
    seen = []

    def callback(xk):
        seen.append(xk)
        return True  # no reason to stop

    result = minimize(both, START, jac=True, callback=callback)
    assert len(seen) == result.nit > 10
    assert len({x.tobytes() for x in seen}) == result.nit
    np.testing.assert_array_equal(seen[-1], result.x)
    values = [rosen(x) for x in seen]
    assert values == sorted(values, reverse=True)
    assert_same(result, minimize(both, START, jac=True))


def test_callback_of_the_result():
    seen = []
    result = minimize(both, START, jac=True, callback=lambda intermediate_result: seen.append(intermediate_result))
    assert len(seen) == result.nit
    for k, r in enumerate(seen, 1):
        assert type(r) is OptimizeResult
        assert {"x", "fun"} <= set(r)
        assert (r.fun, r.nit) == (rosen(r.x), k)
        np.testing.assert_array_equal(r.jac, rosen_der(r.x))
    assert seen[-1].nfev == result.nfev
    assert len({r.x.tobytes() for r in seen}) == result.nit


def test_callback_may_write_into_what_it_gets():
    def callback(intermediate_result):
        intermediate_result.x[:] = np.nan
        intermediate_result.jac[:] = np.nan

    def point(xk):
        xk[:] = np.nan

    plain = minimize(both, START, jac=True)
    assert_same(plain, minimize(both, START, jac=True, callback=callback))
    assert_same(plain, minimize(both, START, jac=True, callback=point))


class Methods:
    """Callbacks as methods and as callable objects."""

    def __init__(self):
        self.seen = []

    def result(self, *, intermediate_result):
        self.seen.append(intermediate_result.x)

    def point(self, x):
        self.seen.append(x)

    __call__ = point


def test_callback_of_other_kinds():
    seen = Methods()
    result = minimize(both, START, jac=True, callback=seen.result)
    minimize(both, START, jac=True, callback=seen.point)
    minimize(both, START, jac=True, callback=seen)
    minimize(both, START, jac=True, callback=seen.seen.append)  # a builtin
    assert len(seen.seen) == 4 * result.nit
    assert all(isinstance(x, np.ndarray) for x in seen.seen)


@pytest.mark.parametrize("form", ["point", "result"])
def test_callback_stops(form):
    seen = []

    def point(xk):
        seen.append(xk)
        if len(seen) == 4:
            raise StopIteration

    def result(intermediate_result):
        point(intermediate_result.x)

    callback = {"point": point, "result": result}[form]
    ours = minimize(both, START, jac=True, callback=callback)
    seen.clear()
    theirs = scipys(both, START, jac=True, callback=callback)
    for key in ("nit", "status", "success", "message"):
        assert ours[key] == theirs[key], key
    assert (ours.nit, ours.status, ours.message) == (4, 99, "`callback` raised `StopIteration`.")
    assert ours.fun == rosen(ours.x)


class Odd(Exception):
    """Not an error that anyone catches."""


def raising(error, after):
    """Return a function that raises `error` when called for the time after `after`."""
    calls = []

    def function(*args, **kwargs):
        calls.append(1)
        if len(calls) > after:
            raise error

    return function


def test_callback_errors_pass():
    with pytest.raises(Odd) as caught:
        minimize(both, START, jac=True, callback=raising(Odd(), 3))
    partial = caught.value.partial_result
    assert type(partial) is OptimizeResult
    assert (partial.nit, partial.fun) == (4, rosen(partial.x))


# ----------------------------------------------------------------------------------------------
# Errors of the user's function


@pytest.mark.parametrize("error", [Odd("no"), KeyboardInterrupt(), SystemExit(3), StopIteration(), ZeroDivisionError()])
@pytest.mark.parametrize("jac", [True, rosen_der, None, "3-point"], ids=["pair", "apart", "2-point", "3-point"])
def test_errors_pass_and_carry_the_best_point(error, jac):
    error = type(error)(*error.args)  # one without the marks of other tests
    fail = raising(error, 60)
    seen = []

    def fun(x):
        fail()
        return both(x) if jac is True else rosen(x)

    with pytest.raises(type(error)) as caught:
        minimize(fun, START, jac=jac, callback=seen.append)
    assert caught.value is error
    partial = error.partial_result
    assert type(partial) is OptimizeResult
    assert (partial.status, partial.success) == (-1, False)
    assert partial.fun == rosen(partial.x) < rosen(START)
    assert any("partial_result" in note for note in error.__notes__)
    np.testing.assert_array_equal(partial.x, seen[-1])
    # Nothing is left behind.
    assert minimize(both, START, jac=True).success


def test_an_error_in_a_run_within_a_run():
    """Each run leaves its own result for whoever called it, and all leave one note."""
    error = Odd()

    def outer(x):
        with pytest.raises(Odd):
            minimize(raising(error, 0), np.zeros(3), jac=True)
        assert error.partial_result.x.shape == (3,)
        raise error

    for _ in range(2):
        with pytest.raises(Odd):
            minimize(outer, START, jac=True)
        np.testing.assert_array_equal(error.partial_result.x, START)
        assert len(error.__notes__) == 1


@pytest.mark.parametrize("where", ["jac", "fun"])
def test_error_in_the_first_evaluation(where):
    fail = raising(Odd(), 0)
    fun, jac = (fail, rosen_der) if where == "fun" else (rosen, fail)
    with pytest.raises(Odd) as caught:
        minimize(fun, START, jac=jac)
    partial = caught.value.partial_result
    assert partial.nfev == 0
    np.testing.assert_array_equal(partial.x, START)


@pytest.mark.parametrize("jac", [True, None])
def test_an_error_that_takes_no_attributes_passes(jac):
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int = 0

    with pytest.raises(Frozen):
        minimize(raising(Frozen(7), 0), START, jac=jac)


# ----------------------------------------------------------------------------------------------
# The inverse Hessian


@pytest.mark.parametrize("maxcor", [1, 3, 10])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hess_inv_satisfies_the_secant_equation(maxcor, dtype):
    points = [START.astype(dtype)]
    gradients = [rosen_der(points[0])]

    def callback(intermediate_result):
        points.append(intermediate_result.x)
        gradients.append(intermediate_result.jac)

    result = minimize(
        both, points[0], jac=True, options={"maxcor": maxcor, "maxiter": 15, "ftol": 0}, callback=callback
    )
    assert result.nit == 15 > maxcor
    s, y = points[-1] - points[-2], gradients[-1] - gradients[-2]
    assert s @ y > 0
    assert result.hess_inv.n_corrs == maxcor
    eps = np.finfo(dtype).eps
    # sk, yk are in the dtype of x; the products with them are in float64.
    np.testing.assert_allclose(result.hess_inv @ y.astype(float), s, rtol=0, atol=1e3 * eps * np.abs(s).max())
    h = result.hess_inv.todense()
    np.testing.assert_allclose(h, h.T, rtol=0, atol=1e3 * eps * np.abs(h).max())
    assert np.linalg.eigvalsh((h + h.T) / 2).min() > 0


def test_hess_inv_has_the_scale_of_the_function():
    # SciPy's starts from the identity, so it says 1 in the directions not yet explored, where 1e-6 is true.
    result = minimize(lambda x: (5e5 * (x @ x), 1e6 * x), np.array([1.0, 2.0, 3.0]), jac=True)
    assert result.nit > 0
    np.testing.assert_allclose(np.linalg.eigvalsh(result.hess_inv.todense()), 1e-6, rtol=1e-6)


# ----------------------------------------------------------------------------------------------
# SciPy's defects, which are not copied


@pytest.mark.parametrize(
    ("fun", "options"),
    [
        (both, {"maxls": 1}),
        (both, {"maxls": 2}),
        (lambda x: (rosen(x), -rosen_der(x)), {}),
        (lambda x: (rosen(x), rosen_der(x) + 5.0), {}),
        (lambda x: (rosen(x) + 0.1 * np.sin(1e6 * x).sum(), rosen_der(x)), {"ftol": 0}),
        (lambda x: (1e10 + rosen(x), rosen_der(x)), {"ftol": 0, "gtol": 0}),
        (by_name("log_domain_5").fun, {"maxls": 1}),
    ],
    ids=["maxls 1", "maxls 2", "sign", "offset", "noise", "cancellation", "domain"],
)
def test_fun_and_jac_belong_to_x(fun, options):
    name = "one point"
    if fun is by_name("log_domain_5").fun:
        batched, name = fun, "rows"

        def fun(x):
            f, g = batched(x[None])
            return f[0], g[0]

    x0 = np.ones(5) if name == "rows" else np.array([-1.2, 1.0])
    fun = counted(fun)
    result = minimize(fun, x0, jac=True, options=options)
    f, g = fun(result.x)
    assert result.fun == f
    np.testing.assert_array_equal(result.jac, g)
    assert any((result.x == x).all() for x in fun.xs[:-1])
    assert result.fun <= fun(x0)[0]


def test_wrong_sign_is_told():
    result = minimize(lambda x: (rosen(x), -rosen_der(x)), START, jac=True)
    assert (result.status, result.success) == (2, False)
    assert result.message.startswith("ABNORMAL: ")
    assert "check_grad" in result.message


@pytest.mark.parametrize("outside", [np.inf, np.nan])
@pytest.mark.parametrize("slope", [np.nan, 1.0])
@pytest.mark.parametrize(("weight", "start"), [(50.0, [5.0, 8.0]), (1.0, [5.0, 8.0]), (1.0, [1e3, 1e-3])])
def test_domain(outside, slope, weight, start):
    def fun(x):
        if (x <= 0).any():
            return outside, np.full_like(x, slope)
        return float((weight * x - np.log(x)).sum()), weight - 1 / x

    result = minimize(fun, start, jac=True)
    assert result.success
    np.testing.assert_allclose(result.x, 1 / weight, rtol=1e-2)
    assert result.fun == fun(result.x)[0]


@pytest.mark.parametrize(
    ("f", "g"), [(np.nan, 0.0), (np.inf, 0.0), (np.nan, np.inf), (1.0, np.nan), (1.0, np.inf), (1.0, -np.inf)]
)
def test_non_finite_start(f, g):
    fun = counted(lambda x: (f, np.array([1.0, g])))
    result = minimize(fun, [1.0, 2.0], jac=True)
    assert (result.nit, result.nfev, len(fun.xs)) == (0, 1, 1)
    assert (result.status, result.success) == (3, False)
    np.testing.assert_array_equal(result.x, [1.0, 2.0])
    np.testing.assert_equal(result.fun, f)


def test_start_that_is_nan():
    result = minimize(both, [np.nan, 1.0], jac=True)
    assert (result.status, result.success, result.nfev) == (3, False, 1)


def test_minus_infinity_ends_the_run():
    def fun(x):
        return (-np.inf if x[0] < -3.0 else float(x[0])), np.array([1.0])

    result = minimize(fun, [2.0], jac=True)
    assert (result.status, result.fun) == (5, -np.inf)
    assert fun(result.x)[0] == -np.inf


def test_negative_values_are_as_good_as_positive():
    # f_k enters the relative tests by its size: -1e6 at the minimum is no reason to stop early.
    shifted = minimize(lambda x: (quadratic(x)[0] - 1e6, quadratic(x)[1]), np.full(4, 9.0), jac=True)
    assert shifted.success
    np.testing.assert_allclose(shifted.x, 1.0, atol=1e-2)


# ----------------------------------------------------------------------------------------------
# As the method of scipy.optimize


def through_scipy(fun, x0, **kwargs):
    """Return what scipy.optimize.minimize returns with our method."""
    return scipy.optimize.minimize(fun, x0, method=fastbfgs.lbfgs, **kwargs)


def test_scipy_with_value_and_gradient_together():
    fun = counted(both)
    result = through_scipy(fun, START, jac=True)
    assert type(result) is OptimizeResult
    assert len(fun.xs) == result.nfev
    assert_same(result, minimize(both, START, jac=True))


@pytest.mark.parametrize(
    "x0", [START.tolist(), START.astype(np.float32), np.array([2, 3]), 4.0], ids=["list", "float32", "int", "scalar"]
)
def test_scipy_with_other_starts(x0):
    fun = counted(quadratic)
    result = through_scipy(fun, x0, jac=True)
    assert len(fun.xs) == result.nfev
    assert_same(result, minimize(quadratic, x0, jac=True))


@pytest.mark.parametrize("jac", [rosen_der, None])
def test_scipy_with_other_gradients(jac):
    fun = counted(rosen)
    result = through_scipy(fun, START, jac=jac)
    assert len(fun.xs) == result.nfev
    assert_same(result, minimize(rosen, START, jac=jac))


def test_scipy_with_args():
    def fun(x, a, b):
        return float(((x - a) ** 2).sum() + b), 2 * (x - a)

    result = through_scipy(fun, np.zeros(3), args=(2.0, 5.0), jac=True)
    assert_same(result, minimize(fun, np.zeros(3), (2.0, 5.0), jac=True))
    np.testing.assert_allclose(result.x, 2.0, atol=1e-8)


def test_scipy_with_tol_and_options():
    assert_same(through_scipy(both, START, jac=True, tol=1e-3), minimize(both, START, jac=True, tol=1e-3))
    given = {"gtol": 1e-9, "maxcor": 4, "maxiter": 20}
    assert_same(
        through_scipy(both, START, jac=True, tol=1e-3, options=given),
        minimize(both, START, jac=True, tol=1e-3, options=given),
    )
    with pytest.warns(OptimizeWarning, match="Unknown solver options: maxitre"):
        through_scipy(both, START, jac=True, options={"maxitre": 1})


def test_scipy_with_callback():
    points, results = [], []
    result = through_scipy(both, START, jac=True, callback=points.append)
    through_scipy(both, START, jac=True, callback=lambda intermediate_result: results.append(intermediate_result))
    assert len(points) == len(results) == result.nit
    np.testing.assert_array_equal(points, [r.x for r in results])
    stopped = through_scipy(both, START, jac=True, callback=raising(StopIteration(), 2))
    assert (stopped.status, stopped.nit) == (99, 3)


def test_scipy_with_bounds():
    with pytest.raises(ValueError, match="Method L-BFGS cannot handle bounds; use method 'L-BFGS-B'"):
        through_scipy(both, START, jac=True, bounds=[(0, 1)] * 5)


def test_basinhopping():
    def fun(x):
        return float((x**2).sum() + 3 * np.cos(3 * x).sum()), 2 * x - 9 * np.sin(3 * x)

    kwargs = {"niter": 12, "rng": np.random.default_rng(1)}
    ours = scipy.optimize.basinhopping(
        fun, [2.5, -2.5], minimizer_kwargs={"method": fastbfgs.lbfgs, "jac": True}, **kwargs
    )
    assert ours.lowest_optimization_result.success
    kwargs["rng"] = np.random.default_rng(1)
    theirs = scipy.optimize.basinhopping(
        fun, [2.5, -2.5], minimizer_kwargs={"method": "L-BFGS-B", "jac": True}, **kwargs
    )
    assert ours.fun == pytest.approx(theirs.fun, abs=1e-8)
    assert ours.minimization_failures == 0


def test_dual_annealing():
    def fun(x):
        return float((x**2).sum() + 3 * np.cos(3 * x).sum())

    result = scipy.optimize.dual_annealing(
        fun, [(-4.0, 4.0)] * 2, maxiter=60, rng=3, minimizer_kwargs={"method": fastbfgs.lbfgs}
    )
    best = minimize(fun, [1.0, 1.0]).fun
    assert result.fun == pytest.approx(best, abs=1e-6)
