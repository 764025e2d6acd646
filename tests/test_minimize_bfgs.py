"""`minimize` by BFGS, of one problem and of batches, and `bfgs` under scipy.optimize: side by side with SciPy."""

from __future__ import annotations

import inspect
import pickle
import re
from functools import partial

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import OptimizeResult, OptimizeWarning, approx_fprime, rosen, rosen_der

# SciPy's defaults have no public name, nor has the definition of the quotients.
from scipy.optimize._lbfgsb_py import _minimize_lbfgsb
from scipy.optimize._numdiff import approx_derivative
from scipy.optimize._optimize import _minimize_bfgs

import fastbfgs
from fastbfgs import BatchResult, Status, driver
from tests.problems import by_name, starts

minimize = partial(fastbfgs.minimize, method="BFGS")

START = np.array([-1.2, 1.0, 0.7, -0.4, 1.9])
ROSENBROCK = by_name("chained_rosenbrock_5")
KEYS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message", "hess_inv")
FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success", "hess_inv")
LOSS = "Desired error not necessarily achieved due to precision loss."


def both(x):
    """Return Rosenbrock's function and gradient."""
    return rosen(x), rosen_der(x)


def bowl(x):
    """Return sum i (x_i - 1)**2 and its gradient."""
    weight = np.arange(1.0, x.size + 1.0).astype(x.dtype)
    return float((weight * (x - 1) ** 2).sum()), 2 * weight * (x - 1)


def one(fun):
    """Return a function of rows as one of a single point."""

    def single(x):
        f, g = fun(x[None])
        return f[0], g[0]

    return single


def scipys(*args, **kwargs):
    """Return what SciPy's BFGS returns."""
    return scipy.optimize.minimize(*args, method="BFGS", **kwargs)


def random_starts(count, seed=0):
    """Return starts (count, 5) of which some are far and some at the solution, so that members end apart."""
    x0 = starts(ROSENBROCK, count, 1.0, np.random.default_rng(seed))
    x0[::4] = 1.0 + 1e-9 * x0[::4]
    return x0


def assert_same(a, b, keys=KEYS):
    """Assert that two results agree in every bit."""
    for key in keys:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
        assert np.asarray(a[key]).dtype == np.asarray(b[key]).dtype


def steps_of(x0, **kwargs):
    """Return the iterates and their gradients, the start first, and the result."""
    points, gradients = [x0], [both(x0)[1]]

    def callback(intermediate_result):
        points.append(intermediate_result.x)
        gradients.append(intermediate_result.jac)

    result = minimize(both, x0, jac=True, callback=callback, **kwargs)
    return np.array(points), np.array(gradients), result


# ----------------------------------------------------------------------------------------------
# The method chosen


def test_the_default_is_scipys():
    plain = fastbfgs.minimize(both, START, jac=True)
    assert_same(plain, minimize(both, START, jac=True))
    assert plain.message == scipy.optimize.minimize(both, START, jac=True).message
    box = [(None, 0.5)] * 5
    bounded = fastbfgs.minimize(both, START, jac=True, bounds=box)
    assert_same(bounded, fastbfgs.minimize(both, START, jac=True, bounds=box, method="L-BFGS-B"), KEYS[:-1])
    assert bounded.message.startswith("CONVERGENCE: ")


@pytest.mark.parametrize("shape", [(1,), (4,), (2, 3)], ids=str)
def test_the_default_of_a_batch(shape):
    x0 = random_starts(int(np.prod(shape))).reshape(*shape, 5)
    assert fastbfgs.minimize(ROSENBROCK.fun, x0, jac=True).method == "L-BFGS-B"
    assert minimize(ROSENBROCK.fun, x0, jac=True).method == "BFGS"


# ----------------------------------------------------------------------------------------------
# The result


@pytest.mark.parametrize("method", [None, "BFGS", "bfgs"])
@pytest.mark.parametrize(
    "jac", [True, rosen_der, None, "3-point", "cs"], ids=["pair", "apart", "none", "3-point", "cs"]
)
def test_result_is_scipys(method, jac):
    fun = both if jac is True else rosen
    ours, theirs = minimize(fun, START, method=method, jac=jac), scipys(fun, START, jac=jac)
    assert type(ours) is OptimizeResult
    assert set(ours) == set(theirs)
    for key in set(KEYS) - {"fun"}:
        assert type(ours[key]) is type(theirs[key]), key
    assert isinstance(ours.fun, float)
    for key in ("x", "jac", "hess_inv"):
        assert (ours[key].shape, ours[key].dtype) == (theirs[key].shape, theirs[key].dtype), key
    assert ours.success and theirs.success and ours.message == theirs.message
    np.testing.assert_allclose(ours.x, np.ones(5), atol=1e-4)
    each = 1 if jac is True or callable(jac) else 11 if jac == "3-point" else 6
    assert ours.nfev == each * ours.njev


def test_fun_and_jac_belong_to_x():
    result = minimize(both, START, jac=True)
    assert result.fun == rosen(result.x)
    np.testing.assert_array_equal(result.jac, rosen_der(result.x))


def diverging(x):
    """Return -inf below -3."""
    return (-np.inf if x[0] < -3.0 else float(x[0])), np.array([1.0])


@pytest.mark.parametrize(
    ("fun", "x0", "options", "status", "message"),
    [
        (both, START, {}, 0, "Optimization terminated successfully."),
        (both, np.ones(5), {}, 0, "Optimization terminated successfully."),
        (both, START, {"xrtol": 1e-2}, 0, "Optimization terminated successfully."),
        (both, START, {"maxiter": 4}, 1, "Maximum number of iterations has been exceeded."),
        (both, START, {"maxiter": 0}, 1, "Maximum number of iterations has been exceeded."),
    ],
    ids=["gradient", "at once", "step", "maxiter", "maxiter 0"],
)
def test_status_and_message_are_scipys(fun, x0, options, status, message):
    ours, theirs = (m(fun, x0, jac=True, options=options) for m in (minimize, scipys))
    for key in ("status", "success", "message"):
        assert ours[key] == theirs[key], key
    assert (ours.status, ours.success, ours.message) == (status, status == 0, message)


@pytest.mark.parametrize(
    ("fun", "jac", "number", "theirs", "words", "cure"),
    [
        (rosen, lambda x: -rosen_der(x), 2, 2, LOSS, "check_grad"),
        (lambda x: 1e6 + rosen(x), "3-point", 4, 2, LOSS, "rounding noise"),
        (lambda x: np.nan, lambda x: np.nan * x, 3, 3, "NaN result encountered.", "Start where both are finite"),
        (rosen, lambda x: np.nan * x, 3, 3, "NaN result encountered.", "Start where both are finite"),
    ],
    ids=["sign", "noise", "f and g NaN", "g NaN"],
)
def test_where_we_know_more_scipys_words_come_first(fun, jac, number, theirs, words, cure):
    result = minimize(fun, START, jac=jac)
    with np.errstate(all="ignore"):
        reference = scipys(fun, START, jac=jac)
    assert (reference.status, reference.message) == (theirs, words)
    assert (result.status, result.success) == (number, False)
    assert result.message.startswith(f"{words} ")
    assert cure in result.message.removeprefix(words)


def test_nan_at_the_start_alone_is_not_a_loss_of_precision():
    ours, theirs = (m(lambda x: (np.nan, rosen_der(x)), START, jac=True) for m in (minimize, scipys))
    assert (theirs.status, theirs.message) == (2, LOSS)
    assert (ours.status, ours.nfev) == (3, 1) and ours.message.startswith("NaN result encountered. ")


def test_minus_infinity_is_no_loss_of_precision():
    ours, theirs = (m(diverging, [2.0], jac=True) for m in (minimize, scipys))
    assert (theirs.status, theirs.message) == (2, LOSS)
    assert (ours.status, ours.success, ours.fun) == (5, False, -np.inf)
    assert ours.message.startswith("f is -inf here") and "precision" not in ours.message


def test_converged_with_the_last_iteration_has_converged():
    for run, status in ((minimize, 0), (scipys, 1)):
        free = run(both, START, jac=True)
        limited = run(both, START, jac=True, options={"maxiter": free.nit})
        np.testing.assert_array_equal(limited.x, free.x)
        assert limited.status == status


# ----------------------------------------------------------------------------------------------
# Options


@pytest.mark.parametrize(("method", "reference"), [("BFGS", _minimize_bfgs), ("L-BFGS-B", _minimize_lbfgsb)])
def test_defaults_are_scipys(method, reference, monkeypatch):
    used = []
    monkeypatch.setattr(driver, "run", lambda solver, *rest: used.append(solver.options))
    n = 7
    fastbfgs.minimize(both, np.zeros(n), jac=True, method=method)
    fastbfgs.minimize(both, np.zeros(n), jac=True, method=method, options={"gtol": 1e-5})
    assert used[0] == used[1]
    theirs = {
        name: parameter.default
        for name, parameter in inspect.signature(reference).parameters.items()
        if name in {"maxcor", "ftol", "gtol", "maxfun", "maxiter", "maxls", "norm", "xrtol", "c1", "c2"}
    }
    assert len(theirs) == 6
    if method == "BFGS":
        assert theirs.pop("maxiter") is None and used[0].maxiter == 200 * n
    ours = {name: getattr(used[0], {"maxcor": "history"}.get(name, name)) for name in theirs}
    assert ours == theirs
    if method == "BFGS":  # what SciPy's BFGS has not
        assert (used[0].ftol, used[0].xtol) == (0.0, 0.0) and used[0].maxfun > 1e18


def test_maxiter_none_is_the_default():
    assert_same(*(minimize(both, START, jac=True, options=o) for o in ({"maxiter": None}, {})))


@pytest.mark.parametrize("order", [np.inf, -np.inf, 1, 2, 3.5, 0.5, -1])
def test_norm(order):
    # The minimum over the coordinates is small early; gtol is what tells the orders apart.
    _, gradients, result = steps_of(START, options={"norm": order, "gtol": 1e-3})
    with np.errstate(divide="ignore"):
        sizes = [np.linalg.norm(g, order) for g in gradients]
    assert result.success
    assert sizes[-1] <= 1e-3 < min(sizes[:-1])
    theirs = scipys(both, START, jac=True, options={"norm": order, "gtol": 1e-3})
    assert theirs.success and np.linalg.norm(theirs.jac, order) <= 1e-3


def test_norms_of_the_start_are_scipys():
    # At the start both ask the same question of the same numbers: just above and just below.
    g = rosen_der(START)
    for order in (np.inf, -np.inf, 1, 2, 3.5):
        size = np.linalg.norm(g, order)
        for gtol, nit in ((size * (1 + 1e-12), 0), (size * (1 - 1e-12), 1)):
            options = {"norm": order, "gtol": gtol, "maxiter": 1}
            ours, theirs = (m(both, START, jac=True, options=options) for m in (minimize, scipys))
            assert (ours.nit, theirs.nit) == (nit, nit), order


@pytest.mark.parametrize("xrtol", [1e-1, 1e-2, 1e-3, 1e-5])
def test_xrtol(xrtol):
    points, _, result = steps_of(START, options={"xrtol": xrtol, "gtol": 0})
    length = np.linalg.norm(np.diff(points, axis=0), axis=1)
    reach = xrtol * (xrtol + np.linalg.norm(points[1:], axis=1))
    assert (result.status, result.nit) == (0, len(points) - 1)
    assert length[-1] <= reach[-1] * (1 + 1e-12)
    assert (length[:-1] > reach[:-1]).all()


@pytest.mark.parametrize(("c1", "c2"), [(1e-4, 0.9), (1e-3, 0.1), (0.3, 0.5), (1e-8, 0.99)])
def test_steps_satisfy_the_wolfe_conditions_asked_for(c1, c2):
    points, gradients, result = steps_of(START, options={"c1": c1, "c2": c2, "gtol": 1e-4})
    assert result.success
    for x, step, g, g_new in zip(points, np.diff(points, axis=0), gradients, gradients[1:], strict=False):
        slope = g @ step
        assert slope < 0
        assert rosen(x + step) <= rosen(x) + c1 * slope + 1e-12
        assert abs(g_new @ step) <= c2 * abs(slope) * (1 + 1e-6)


def test_default_step_of_differences_is_scipys():
    x0 = START + 0.1
    result = minimize(rosen, x0, options={"maxiter": 0})
    np.testing.assert_array_equal(result.jac, scipys(rosen, x0, options={"maxiter": 0}).jac)
    np.testing.assert_array_equal(result.jac, approx_fprime(x0, rosen, np.sqrt(np.finfo(float).eps)))


@pytest.mark.parametrize("eps", [1e-6, np.geomspace(1e-9, 1e-5, 5)], ids=["number", "array"])
def test_eps(eps):
    ours, theirs = (m(rosen, START, options={"eps": eps, "maxiter": 0}) for m in (minimize, scipys))
    np.testing.assert_array_equal(ours.jac, theirs.jac)
    assert (ours.nfev, ours.njev) == (theirs.nfev, theirs.njev)


@pytest.mark.parametrize("jac", ["2-point", "3-point", "cs"])
def test_finite_diff_rel_step(jac):
    options = {"finite_diff_rel_step": 1e-5, "maxiter": 0}
    ours, theirs = (m(rosen, START, jac=jac, options=options) for m in (minimize, scipys))
    np.testing.assert_array_equal(ours.jac, theirs.jac)
    np.testing.assert_array_equal(ours.jac, approx_derivative(rosen, START, jac, rel_step=1e-5))


def test_workers_of_differences():
    counts = []

    def mapping(function, iterable):
        points = list(iterable)
        counts.append(len(points))
        return [function(x) for x in points]

    plain = minimize(rosen, START)
    assert_same(plain, minimize(rosen, START, options={"workers": mapping}))
    assert sum(counts) == plain.nfev - plain.njev


def test_tol_sets_gtol_alone():
    assert_same(minimize(both, START, jac=True, tol=1e-2), minimize(both, START, jac=True, options={"gtol": 1e-2}))
    given = {"gtol": 1e-8}
    assert_same(
        minimize(both, START, jac=True, tol=1e-2, options=given), minimize(both, START, jac=True, options=given)
    )
    assert minimize(both, START, jac=True, tol=1e-2).nit < minimize(both, START, jac=True, tol=1e-8).nit


def test_options_of_l_bfgs_are_unknown():
    texts = []
    given = {"ftol": 1e-3, "maxcor": 3, "maxfun": 5, "maxls": 2, "iprint": 1}
    for run in (minimize, scipys):
        with pytest.warns(OptimizeWarning) as caught:
            result = run(both, START, jac=True, options=given)
        assert result.success
        texts.append(str(caught[0].message))
    assert texts[0] == texts[1] == "Unknown solver options: ftol, maxcor, maxfun, maxls, iprint"


def test_options_of_bfgs_are_unknown_to_l_bfgs():
    texts = []
    for run in (fastbfgs.minimize, scipy.optimize.minimize):
        with pytest.warns(OptimizeWarning) as caught:
            run(both, START, method="L-BFGS-B", jac=True, options={"norm": 2, "xrtol": 1e-3})
        texts.append(str(caught[0].message))
    assert texts[0] == texts[1] == "Unknown solver options: norm, xrtol"


@pytest.mark.parametrize("keyword", ["hess", "hessp"])
@pytest.mark.parametrize("method", [None, "BFGS", "bfgs"])
def test_unused_hessian_gets_scipys_warning(keyword, method):
    texts = []
    for run in (fastbfgs.minimize, scipy.optimize.minimize):
        with pytest.warns(RuntimeWarning, match=f"[(]{keyword}[)]") as caught:
            assert run(both, START, method=method, jac=True, **{keyword: lambda x, *p: np.eye(5)}).success
        assert [w.filename for w in caught] == [__file__]
        texts.append(str(caught[0].message))
    assert texts[0] == texts[1]


# ----------------------------------------------------------------------------------------------
# hess_inv0 and hess_inv


def definite(n, seed=0):
    """Return a symmetric positive definite matrix (n, n)."""
    a = np.random.default_rng(seed).normal(size=(n, n))
    return a @ a.T + 0.1 * np.eye(n)


def test_hess_inv0_makes_the_first_direction():
    h0 = 1e-3 * definite(5)
    points = []

    def fun(x):
        points.append(x.copy())
        return both(x)

    ours = minimize(fun, START, jac=True, options={"hess_inv0": h0, "maxiter": 1})
    p = -h0 @ rosen_der(START)
    step = points[1] - START
    np.testing.assert_allclose(step / np.linalg.norm(step), p / np.linalg.norm(p), rtol=1e-12)
    theirs = scipys(both, START, jac=True, options={"hess_inv0": h0, "maxiter": 0})
    ours = minimize(both, START, jac=True, options={"hess_inv0": h0, "maxiter": 0})
    np.testing.assert_allclose(ours.hess_inv, theirs.hess_inv, rtol=0, atol=1e-15)


def test_hess_inv_without_an_iteration_is_the_identity():
    for options in ({"maxiter": 0}, {"gtol": 1e9}):
        ours, theirs = (m(both, START, jac=True, options=options) for m in (minimize, scipys))
        np.testing.assert_array_equal(ours.hess_inv, theirs.hess_inv)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("with_h0", [False, True])
def test_hess_inv_satisfies_the_secant_equation(dtype, with_h0):
    options = {"maxiter": 15, "gtol": 0} | ({"hess_inv0": 0.01 * definite(5)} if with_h0 else {})
    points, gradients, result = steps_of(START.astype(dtype), options=options)
    assert result.nit == 15
    s, y, h = points[-1] - points[-2], gradients[-1] - gradients[-2], result.hess_inv
    assert s @ y > 0
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(h @ y, s, rtol=0, atol=1e3 * eps * np.abs(h).max() * np.abs(y).max())
    np.testing.assert_array_equal(h, h.T)
    assert h.dtype == dtype
    assert np.linalg.eigvalsh(h.astype(float)).min() > 0


def test_the_first_update_is_of_a_scaled_identity():
    points, gradients, result = steps_of(START, options={"maxiter": 1})
    s, y = np.diff(points, axis=0)[0], np.diff(gradients, axis=0)[0]
    eye = np.eye(5)
    left = eye - np.outer(s, y) / (s @ y)
    expected = {"scaled": s @ y / (y @ y), "SciPy": 1.0}
    expected = {name: left @ (gamma * eye) @ left.T + np.outer(s, s) / (s @ y) for name, gamma in expected.items()}
    np.testing.assert_allclose(result.hess_inv, expected["scaled"], rtol=0, atol=1e-14)
    assert np.abs(result.hess_inv - expected["SciPy"]).max() > 0.5
    h0 = 1e-3 * definite(5)
    points, gradients, result = steps_of(START, options={"maxiter": 1, "hess_inv0": h0})
    s, y = np.diff(points, axis=0)[0], np.diff(gradients, axis=0)[0]
    left = eye - np.outer(s, y) / (s @ y)
    np.testing.assert_allclose(result.hess_inv, left @ h0 @ left.T + np.outer(s, s) / (s @ y), rtol=0, atol=1e-14)


def test_hess_inv_comes_to_the_inverse_of_the_hessian():
    a = definite(6, 3)
    result = minimize(lambda x: (0.5 * x @ a @ x, a @ x), np.arange(1.0, 7.0), jac=True, options={"gtol": 1e-10})
    np.testing.assert_allclose(result.hess_inv, np.linalg.inv(a), rtol=0, atol=0.05 * np.abs(np.linalg.inv(a)).max())


def test_a_second_run_starts_with_the_hess_inv_of_the_first():
    first = minimize(both, START, jac=True, options={"maxiter": 25})
    kept = first.hess_inv.copy()
    warm = minimize(both, first.x, jac=True, options={"hess_inv0": first.hess_inv})
    cold = minimize(both, first.x, jac=True)
    assert warm.success and warm.nit < cold.nit
    np.testing.assert_array_equal(first.hess_inv, kept)


def test_hess_inv_of_scipy_is_taken_as_it_is():
    # Rounding leaves it unsymmetric, and SciPy itself refuses it.
    theirs = scipys(both, START, jac=True, options={"maxiter": 20})
    assert (theirs.hess_inv != theirs.hess_inv.T).any()
    with pytest.raises(ValueError, match="positive definite"):
        scipys(both, theirs.x, jac=True, options={"hess_inv0": theirs.hess_inv})
    result = minimize(both, theirs.x, jac=True, options={"hess_inv0": theirs.hess_inv, "maxiter": 0})
    np.testing.assert_allclose(result.hess_inv, theirs.hess_inv, rtol=0, atol=1e-10)
    np.testing.assert_array_equal(result.hess_inv, result.hess_inv.T)


# ----------------------------------------------------------------------------------------------
# disp and return_all


def test_disp_prints_scipys_lines(capsys):
    texts = []
    for run in (minimize, scipys):
        run(both, np.ones(3), jac=True, options={"disp": True})
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    result = minimize(rosen, START, options={"disp": True})
    assert capsys.readouterr().out == (
        "Optimization terminated successfully.\n"
        f"         Current function value: {result.fun:f}\n"
        f"         Iterations: {result.nit}\n"
        f"         Function evaluations: {result.nfev}\n"
        f"         Gradient evaluations: {result.njev}\n"
    )


def test_disp_warns_of_a_failure_as_scipy_does(capsys):
    texts, warned = [], []
    for run in (minimize, scipys):
        with pytest.warns(OptimizeWarning) as caught:
            run(both, START, jac=True, options={"disp": True, "maxiter": 0})
        warned.append(str(caught[0].message))
        texts.append(capsys.readouterr().out)
    assert warned[0] == warned[1] == "Maximum number of iterations has been exceeded."
    assert texts[0] == texts[1] and texts[0].startswith("         Current function value: ")


def test_disp_tells_of_a_callback_that_stopped_the_run(capsys):
    def stop(xk):
        raise StopIteration

    scipys(both, START, jac=True, options={"disp": True}, callback=stop)
    assert capsys.readouterr().out.startswith("Optimization terminated successfully.")
    with pytest.warns(OptimizeWarning, match="^`callback` raised `StopIteration`[.]$"):
        minimize(both, START, jac=True, options={"disp": True}, callback=stop)
    assert "successfully" not in capsys.readouterr().out


def test_disp_points_at_the_caller():
    with pytest.warns(OptimizeWarning) as caught:
        minimize(both, START, jac=True, options={"disp": True, "maxiter": 0})
    assert [w.filename for w in caught] == [__file__]


def test_disp_of_a_batch(capsys):
    result = minimize(ROSENBROCK.fun, random_starts(4), jac=True, options={"disp": True, "maxiter": 3})
    assert capsys.readouterr().out == f"{result!r}\n"


@pytest.mark.parametrize("disp", [False, 0, None])
def test_no_disp(disp, capsys):
    minimize(both, START, jac=True, options={"disp": disp})
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("maxiter", [None, 0, 5])
def test_return_all(maxiter):
    seen = []
    options = {"return_all": True, "maxiter": maxiter}
    ours = minimize(both, START, jac=True, options=options, callback=seen.append)
    theirs = scipys(both, START, jac=True, options=options)
    assert set(ours) == set(theirs) == {*KEYS, "allvecs"}
    assert type(ours.allvecs) is type(theirs.allvecs) is list
    assert all(type(x) is np.ndarray and x.shape == (5,) for x in ours.allvecs)
    assert len(ours.allvecs) == ours.nit + 1
    np.testing.assert_array_equal(ours.allvecs, [START, *seen])
    np.testing.assert_array_equal(ours.allvecs[-1], ours.x)
    assert_same(ours, minimize(both, START, jac=True, options={"maxiter": maxiter}))


def test_return_all_of_a_stopped_run():
    def callback(xk):
        seen.append(xk)
        if len(seen) == 3:
            raise StopIteration

    seen = []
    result = minimize(both, START, jac=True, options={"return_all": True}, callback=callback)
    np.testing.assert_array_equal(result.allvecs, [START, *seen])


@pytest.mark.parametrize("shape", [(6,), (2, 3)], ids=str)
@pytest.mark.parametrize("compact", [False, True])
def test_return_all_of_a_batch(shape, compact):
    x0 = random_starts(6).reshape(*shape, 5)
    options = {"return_all": True}
    result = minimize(ROSENBROCK.fun, x0, jac=True, options=options, compact=compact)
    assert len(result.allvecs) == result.nit.max() + 1
    assert result.nit.min() == 0
    assert all(x.shape == (*shape, 5) for x in result.allvecs)
    np.testing.assert_array_equal(result.allvecs[-1], result.x)
    for index in np.ndindex(shape):
        alone = minimize(one(ROSENBROCK.fun), x0[index], jac=True, options=options)
        repeated = alone.allvecs + [alone.x] * int(result.nit.max() - alone.nit)
        np.testing.assert_array_equal([x[index] for x in result.allvecs], repeated)
        np.testing.assert_array_equal(result[index].allvecs, alone.allvecs)
    part = result[:1]
    assert [x.shape for x in part.allvecs] == [(1, *shape[1:], 5)] * len(result.allvecs)


def test_return_all_of_no_members():
    result = minimize(ROSENBROCK.fun, np.zeros((0, 5)), jac=True, options={"return_all": True})
    assert [x.shape for x in result.allvecs] == [(0, 5)]


def test_no_allvecs_unless_asked_for():
    assert "allvecs" not in minimize(both, START, jac=True)
    batch = minimize(ROSENBROCK.fun, random_starts(3), jac=True)
    assert batch.allvecs is None and "allvecs" not in batch[0]


# ----------------------------------------------------------------------------------------------
# Callback and errors


@pytest.mark.parametrize("form", ["point", "result"])
def test_callback_stops(form):
    seen = []

    def point(xk):
        seen.append(xk)
        if len(seen) == 4:
            raise StopIteration

    callback = point if form == "point" else lambda intermediate_result: point(intermediate_result.x)
    ours = minimize(both, START, jac=True, callback=callback)
    seen.clear()
    theirs = scipys(both, START, jac=True, callback=callback)
    for key in ("nit", "status", "success", "message"):
        assert ours[key] == theirs[key], key
    assert (ours.nit, ours.status) == (4, 99)


def test_callback_of_the_result():
    seen = []
    result = minimize(both, START, jac=True, callback=lambda intermediate_result: seen.append(intermediate_result))
    assert len(seen) == result.nit
    for k, r in enumerate(seen, 1):
        assert (r.fun, r.nit) == (rosen(r.x), k)
        np.testing.assert_array_equal(r.jac, rosen_der(r.x))
    np.testing.assert_array_equal(seen[-1].x, result.x)


@pytest.mark.parametrize("shape", [(), (4,)], ids=str)
def test_errors_pass_and_carry_the_best_point(shape):
    calls = []

    def fun(x):
        calls.append(1)
        if len(calls) == 12:
            raise ZeroDivisionError
        return ROSENBROCK.fun(x) if shape else both(x)

    with pytest.raises(ZeroDivisionError) as caught:
        minimize(fun, random_starts(4) if shape else START, jac=True, options={"return_all": True})
    partial_result = caught.value.partial_result
    assert (np.asarray(partial_result.status) == -1).any()
    assert partial_result.hess_inv.shape == (*shape, 5, 5)
    np.testing.assert_array_equal(partial_result.allvecs[-1], partial_result.x)


def test_error_in_the_first_evaluation():
    def fun(x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        minimize(fun, START, jac=True)
    np.testing.assert_array_equal(caught.value.partial_result.hess_inv, np.eye(5))


# ----------------------------------------------------------------------------------------------
# Batches


@pytest.mark.parametrize("name", ["chained_rosenbrock_5", "beale", "log_domain_5", "wood", "logistic_regression_20"])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batch_is_solo(name, compact, dtype):
    problem = by_name(name)
    x0 = starts(problem, 9, 0.5, np.random.default_rng(3)).astype(dtype)
    batch = minimize(problem.fun, x0, jac=True, compact=compact)
    assert batch.hess_inv.shape == (9, problem.n, problem.n) and batch.hess_inv.dtype == dtype
    for i, start in enumerate(x0):
        alone = minimize(one(problem.fun), start, jac=True)
        member = batch[i]
        assert type(member) is OptimizeResult and set(member) == set(alone)
        for key in KEYS:
            np.testing.assert_array_equal(member[key], alone[key], err_msg=key)
            assert type(member[key]) is type(alone[key]), key
    turned = minimize(problem.fun, x0[::-1], jac=True, compact=compact)
    for key in FIELDS:
        np.testing.assert_array_equal(turned[key][::-1], batch[key], err_msg=key)


@pytest.mark.parametrize("jac", [None, "3-point", "cs"])
def test_differences_of_a_batch(jac):
    x0 = random_starts(6)
    result = minimize(lambda x: ROSENBROCK.fun(x)[0], x0, jac=jac)
    for i, start in enumerate(x0):
        alone = minimize(lambda x: ROSENBROCK.fun(x[None])[0][0], start, jac=jac)
        for key in KEYS:
            np.testing.assert_array_equal(result[i][key], alone[key], err_msg=key)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_hess_inv0_of_a_batch(shape, own):
    count = int(np.prod(shape))
    x0 = random_starts(count).reshape(*shape, 5)
    h0 = np.stack([0.01 * definite(5, seed) for seed in range(max(1, count))])
    h0 = h0[:count].reshape(*shape, 5, 5) if own else h0[0]
    result = minimize(ROSENBROCK.fun, x0, jac=True, options={"hess_inv0": h0})
    assert result.hess_inv.shape == (*shape, 5, 5)
    for index in np.ndindex(shape):
        options = {"hess_inv0": h0[index] if own else h0}
        alone = minimize(one(ROSENBROCK.fun), x0[index], jac=True, options=options)
        for key in KEYS:
            np.testing.assert_array_equal(result[index][key], alone[key], err_msg=key)


def test_parts_and_pickles():
    batch = minimize(ROSENBROCK.fun, random_starts(6).reshape(2, 3, 5), jac=True, options={"maxiter": 12})
    np.testing.assert_array_equal(batch[1].hess_inv, batch.hess_inv[1])
    np.testing.assert_array_equal(batch[:, 1:].hess_inv, batch.hess_inv[:, 1:])
    assert type(batch[1]) is BatchResult and batch[1].method == "BFGS"
    assert batch["hess_inv"] is batch.hess_inv
    again = pickle.loads(pickle.dumps(batch))
    for key in FIELDS:
        np.testing.assert_array_equal(again[key], batch[key])
    assert (again.message == batch.message).all()


def test_messages_of_a_batch():
    x0 = random_starts(4)
    x0[2] = np.nan
    batch = minimize(ROSENBROCK.fun, x0, jac=True, options={"maxiter": 5})
    words = batch.message.tolist()
    assert words[0] == "Optimization terminated successfully."
    assert words[1] == "Maximum number of iterations has been exceeded."
    assert words[2].startswith("NaN result encountered. ") and batch.reason[2] == Status.NONFINITE_START
    for line in repr(batch).splitlines()[1:-1]:
        assert re.match(r" +\d+  ", line) and line.split(None, 1)[1] in words


def test_what_a_callback_of_a_batch_sees():
    seen = []
    result = minimize(
        ROSENBROCK.fun,
        random_starts(6),
        jac=True,
        callback=lambda intermediate_result: seen.append(intermediate_result),
    )
    assert all(r.hess_inv is None and r.method == "BFGS" for r in seen)
    for key in FIELDS[:-1]:
        np.testing.assert_array_equal(seen[-1][key], result[key])


def test_results_do_not_depend_on_threads():
    problem = by_name("chained_rosenbrock_10")
    x0 = starts(problem, 1500, 0.5, np.random.default_rng(9))
    results = [minimize(problem.fun, x0, jac=True, workers=w, options={"maxiter": 25}) for w in (1, 2, 16)]
    for result in results[1:]:
        for key in FIELDS:
            np.testing.assert_array_equal(result[key], results[0][key])


# ----------------------------------------------------------------------------------------------
# Ends


@pytest.mark.parametrize(
    "name",
    ["chained_rosenbrock_5", "wood", "beale", "logistic_regression_20", "extended_rosenbrock_10", "helical_valley"],
)
def test_ends_are_scipys(name):
    problem = by_name(name)
    ours, theirs = (m(one(problem.fun), problem.x0, jac=True) for m in (minimize, scipys))
    assert ours.success and theirs.success
    assert ours.fun == pytest.approx(theirs.fun, abs=1e-7)
    assert np.abs(ours.jac).max() <= 1e-5


@pytest.mark.parametrize("outside", [np.inf, np.nan])
def test_domain(outside):
    # SciPy's BFGS wanders off to where f is NaN.
    def fun(x):
        if (x <= 0).any():
            return outside, np.full_like(x, np.nan)
        return float((50 * x - np.log(x)).sum()), 50 - 1 / x

    result = minimize(fun, [5.0, 8.0], jac=True)
    assert result.success
    np.testing.assert_allclose(result.x, 0.02, rtol=1e-3)


@pytest.mark.parametrize("jac", [True, None, "3-point"])
def test_float32_throughout(jac):
    seen = []

    def fun(x):
        seen.append(x.dtype)
        return bowl(x) if jac is True else bowl(x)[0]

    result = minimize(fun, np.array([5.0, -2.0, 3.0], np.float32), jac=jac, options={"gtol": 1e-3})
    assert set(seen) == {np.dtype(np.float32)}
    assert result.x.dtype == result.jac.dtype == result.hess_inv.dtype == np.float32
    np.testing.assert_allclose(result.x, 1.0, atol=2e-2)


# ----------------------------------------------------------------------------------------------
# As the method of scipy.optimize


def through_scipy(fun, x0, **kwargs):
    """Return what scipy.optimize.minimize returns with our method."""
    return scipy.optimize.minimize(fun, x0, method=fastbfgs.bfgs, **kwargs)


@pytest.mark.parametrize("jac", [True, rosen_der, None], ids=["pair", "apart", "none"])
def test_through_scipy(jac):
    calls = []
    fun = both if jac is True else rosen
    result = through_scipy(lambda x: calls.append(1) or fun(x), START, jac=jac)
    assert len(calls) == result.nfev
    assert_same(result, minimize(fun, START, jac=jac))


def test_through_scipy_with_tol_and_options():
    given = {"norm": 2, "c2": 0.5, "return_all": True, "hess_inv0": 0.01 * definite(5)}
    a = through_scipy(both, START, jac=True, tol=1e-3, options=given)
    b = minimize(both, START, jac=True, tol=1e-3, options=given)
    assert_same(a, b)
    np.testing.assert_array_equal(a.allvecs, b.allvecs)
    with pytest.warns(OptimizeWarning, match="Unknown solver options: maxcor"):
        through_scipy(both, START, jac=True, options={"maxcor": 1})


def test_basinhopping():
    def fun(x):
        return float((x**2).sum() + 3 * np.cos(3 * x).sum()), 2 * x - 9 * np.sin(3 * x)

    ours, theirs = (
        scipy.optimize.basinhopping(
            fun,
            [2.5, -2.5],
            niter=12,
            stepsize=1.5,
            rng=np.random.default_rng(1),
            minimizer_kwargs={"method": method, "jac": True},
        )
        for method in (fastbfgs.bfgs, "BFGS")
    )
    assert ours.fun == pytest.approx(theirs.fun, abs=1e-8)
    assert ours.lowest_optimization_result.hess_inv.shape == (2, 2)


def test_a_gradient_by_differences_that_contradicts_f_costs_no_thousands():
    """The error of forward differences is a slope of 2.8e-5 where f is 2e-11: SciPy ends in "precision loss"."""
    rng = np.random.default_rng(3)
    rng.normal(size=2)
    result = minimize(rosen, 1.0 + 0.3 * rng.normal(size=2), method="BFGS")
    assert result.success and result.nfev < 200
