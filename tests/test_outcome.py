"""Results that are SciPy's without its import, and the inverse Hessian that is read when it is looked at."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import LbfgsInvHessProduct, OptimizeResult, rosen, rosen_der
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import fastbfgs
from fastbfgs import outcome
from fastbfgs.inverse import InverseHessian, operator

START = np.array([1.3, 0.7, 0.8, 1.9])
COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda each: pickle.loads(pickle.dumps(each))}
V = np.linspace(-1.0, 2.0, 4)


def both(x):
    return rosen(x), rosen_der(x)


def solved(**options):
    solver = fastbfgs.Solver(START, **options)
    while solver.running:
        solver.tell(*both(solver.ask()))
    return solver


# ----------------------------------------------------------------------------------------------
# OptimizeResult


SCRIPT = """
import sys
import numpy as np
import fastbfgs

def bowl(x):
    return float(x @ x), 2.0 * x

def bowls(x):
    return (x * x).sum(axis=1), 2.0 * x

seen = []
def callback(intermediate_result):
    seen.append(intermediate_result)

x0 = np.array([1.0, -2.0, 3.0])
results = [
    fastbfgs.minimize(bowl, x0, jac=True, callback=callback),
    fastbfgs.minimize(bowl, x0, method="L-BFGS-B", jac=True, bounds=[(0.5, 4.0)] * 3, options={"gtol": 1e-9}),
    fastbfgs.minimize(lambda x: x @ x, x0, method="L-BFGS-B"),
    fastbfgs.minimize(bowls, x0[:, None], jac=True)[1],
]
assert all(result.success and result["nit"] >= 1 and isinstance(result, dict) for result in results)
assert seen[-1].x.tolist() == results[0].x.tolist()
assert not hasattr(results[0], "nothing") and isinstance(results[0].hess_inv, np.ndarray)
results[0].extra = 7
assert results[0]["extra"] == 7 and "extra" in dir(results[0])
del results[0].extra
assert "extra" not in results[0]
assert not [name for name in sys.modules if name == "scipy" or name.startswith("scipy.")], "nothing has asked for it"

from scipy.optimize import LbfgsInvHessProduct, OptimizeResult
assert all(isinstance(result, OptimizeResult) and isinstance(result, dict) for result in results + seen)
assert not any(isinstance(result, list) for result in results)
inverse = results[1].hess_inv
assert isinstance(inverse, LbfgsInvHessProduct) and not isinstance(inverse, dict)
assert type(fastbfgs.minimize(bowl, x0, jac=True)) is OptimizeResult
print(results[1])
assert type(results[1]) is OptimizeResult
"""


def test_a_run_does_not_import_scipy():
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbfgs.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "message: CONVERGENCE" in done.stdout


@pytest.fixture
def early(monkeypatch):
    """A result as it is made where SciPy is not there yet."""
    monkeypatch.setattr(outcome, "_imported", lambda: None)
    result = outcome.optimize_result({"x": V, "fun": 2.0, "message": "Said."})
    assert type(result) is not OptimizeResult
    monkeypatch.undo()
    return result


def test_an_early_result_calls_itself_scipys(early):
    assert isinstance(early, OptimizeResult) and isinstance(early, dict) and not isinstance(early, list)
    assert issubclass(early.__class__, OptimizeResult)


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_an_early_result_are_scipys(name, early):
    again = COPIES[name](early)
    assert type(again) is type(early) is OptimizeResult
    assert list(again) == list(early) == ["x", "fun", "message"]
    assert again.x.tolist() == V.tolist() and (again.fun, again.message) == (2.0, "Said.")
    early.fun = 3.0
    assert again.fun == 2.0 and early["fun"] == 3.0


def test_an_early_result_prints_like_scipys(early):
    assert repr(early) == repr(OptimizeResult(x=V, fun=2.0, message="Said."))
    assert type(early) is OptimizeResult


def test_an_early_result_is_as_easily_read_and_written_as_scipys(early):
    early.more = 1
    assert early["more"] == 1 and set(dir(early)) == {"x", "fun", "message", "more"}
    del early.more
    with pytest.raises(AttributeError, match="more"):
        _ = early.more
    assert early.get("more") is None and early == {"x": V, "fun": 2.0, "message": "Said."}
    assert weakref.ref(early)() is early


# ----------------------------------------------------------------------------------------------
# The inverse Hessian

USES = {
    "H @ v": lambda H: H @ V,
    "H @ V": lambda H: H @ np.outer(V, V[:3]),
    "H * v": lambda H: H * V,
    "H(v)": lambda H: H(V),
    "2 H": lambda H: (2 * H) @ V,
    "H 2": lambda H: (H * 2) @ V,
    "H / 2": lambda H: (H / 2) @ V,
    "H**2": lambda H: (H**2) @ V,
    "H + H": lambda H: (H + H) @ V,
    "I + H": lambda H: (aslinearoperator(np.eye(4)) + H) @ V,
    "H - H": lambda H: (H - H) @ V,
    "-H": lambda H: -H @ V,
    "H H": lambda H: (H @ H) @ V,
    "matvec": lambda H: H.matvec(V),
    "todense": lambda H: H.todense(),
    "aslinearoperator": lambda H: aslinearoperator(H).matvec(V),
    "fields": lambda H: np.concatenate([H.sk.ravel(), H.yk.ravel(), H.rho, [H.h0, H.n_corrs, *H.shape]]),
}


def guest():
    h = InverseHessian(solved(), None)
    assert type(h) is InverseHessian
    return h


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_it_is_an_operator_at_the_first_touch(use):
    s, y = solved().pairs()
    expected = use(operator(s, y, None))
    h = guest()
    np.testing.assert_array_equal(use(h), expected)
    assert type(h) is type(operator(s, y, None)) and isinstance(h, LbfgsInvHessProduct)
    assert "_unread" not in vars(h), "the solver is let go"


@pytest.mark.parametrize("name", COPIES)
def test_copies(name):
    h = guest()
    again = COPIES[name](h)
    assert isinstance(again, LbfgsInvHessProduct)
    np.testing.assert_array_equal(again.todense(), h.todense())


def test_what_is_asked_of_its_class():
    h = guest()
    assert isinstance(h, LinearOperator) and isinstance(h, LbfgsInvHessProduct) and not isinstance(h, np.ndarray)
    assert type(h) is InverseHessian, "asked, but not looked at"
    assert repr(h) == repr(operator(*solved().pairs(), None))
    with pytest.raises(AttributeError, match="nothing"):
        _ = h.nothing


def test_it_knows_all_special_methods_of_an_operator():
    special = {
        name
        for kind in LbfgsInvHessProduct.__mro__[:-1]
        for name, value in vars(kind).items()
        if name.startswith("__") and callable(value)
    }
    assert special - {"__new__", "__init__"} <= set(vars(InverseHessian))


@pytest.mark.parametrize("method", ["L-BFGS", "L-BFGS-B"])
def test_a_result_does_not_read_the_pairs(method):
    bounds = [(0.0, 1.5)] * 4 if method == "L-BFGS-B" else None
    result = fastbfgs.minimize(both, START, jac=True, method=method, bounds=bounds)
    h = result.hess_inv
    assert type(h) is InverseHessian
    result.x[:] = result.jac[:] = np.nan
    assert np.isfinite(h.todense()).all() and h.sk.any()
