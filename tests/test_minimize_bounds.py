"""`minimize` within bounds, of one problem and of batches: SciPy's contract, side by side with SciPy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.optimize
from scipy.optimize import Bounds, LbfgsInvHessProduct, OptimizeResult, rosen, rosen_der

# Of SciPy's private modules the one that has no public name: it is the definition of the quotients.
from scipy.optimize._numdiff import approx_derivative

import fastbfgs
from fastbfgs import BatchResult, Solver, interop, minimize
from fastbfgs.differences import SCHEMES, Stencil
from tests.problems import by_name, starts

START = np.array([-1.2, 1.0, 0.7, -0.4, 1.9])
BOX = [(-1.5, 0.8), (0.5, None), (None, 0.4), (-0.4, -0.4), (None, None)]
"""Around START, with bounds of every kind: two, one, equal and none; START[2] is outside."""

KEYS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "success", "message")
JACS = [True, "apart", None, "2-point", "3-point", "cs"]


def both(x):
    """Return Rosenbrock's function and gradient."""
    return rosen(x), rosen_der(x)


def scipys(*args, **kwargs):
    """Return what SciPy's L-BFGS-B returns."""
    return scipy.optimize.minimize(*args, method="L-BFGS-B", **kwargs)


def sides(bounds, n):
    """Return lower and upper bounds (n,) as SciPy reads them."""
    array = interop.box(bounds, (), n, np.dtype(float))
    return (np.full(n, -np.inf), np.full(n, np.inf)) if array is None else (array[0], array[1])


def projected(x, g, lower, upper):
    """Return the largest coordinate of the projected gradient."""
    return np.abs(np.clip(x - g, lower, upper) - x).max()


def random_box(x, rng, widths=(-3.0, 1.0)):
    """Return lower and upper bounds of x's shape: some infinite, some at x, none equal."""
    below, above = 10.0 ** rng.uniform(*widths, (2, *x.shape))
    kind = rng.integers(0, 6, x.shape)
    lower = np.where(kind == 0, -np.inf, x - np.where(kind == 1, 0.0, below))
    upper = np.where(kind == 2, np.inf, x + np.where(kind == 3, 0.0, above))
    return lower, upper


def assert_same(a, b, keys=KEYS):
    """Assert that two results agree in every bit."""
    for key in keys:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
        assert np.asarray(a[key]).dtype == np.asarray(b[key]).dtype


# ----------------------------------------------------------------------------------------------
# Bounds as they may be given

PAIRS = np.array([[-1.0, 1.0], [0.0, np.inf], [-np.inf, 2.0]])
FORMS = {
    "pairs": [(-1.0, 1.0), (0.0, None), (None, 2.0)],
    "lists": [[-1, 1], [0, None], [None, 2]],
    "infinite": [(-1, 1), (0, np.inf), (-np.inf, 2)],
    "array": PAIRS,
    "integers and arrays": ((np.int64(-1), np.array(1.0)), (np.array([0.0]), None), (None, np.float32(2.0))),
    "zip": lambda: zip([-1, 0, None], [1, None, 2], strict=True),
    "Bounds": Bounds(PAIRS[:, 0], PAIRS[:, 1]),
    "keep_feasible": Bounds(PAIRS[:, 0], PAIRS[:, 1], keep_feasible=[True, False, True]),
    "Bounds of lists": Bounds([-1, 0, -np.inf], [1, np.inf, 2]),
    "object": SimpleNamespace(lb=[-1, 0, -np.inf], ub=PAIRS[:, 1]),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(), (4,), (2, 0)], ids=str)
def test_forms_of_bounds(form, shape):
    bounds = FORMS[form]() if form == "zip" else FORMS[form]
    box = interop.box(bounds, shape, 3, np.dtype(float))
    np.testing.assert_array_equal(box, PAIRS.T)
    assert box.dtype == np.float64 and box.flags.c_contiguous
    assert interop.box(interop.Checked(box), shape, 3, np.dtype(float)) is box


@pytest.mark.parametrize(
    ("bounds", "lower", "upper"),
    [
        (Bounds(0, 1), 0.0, 1.0),
        (Bounds(0), 0.0, np.inf),
        (Bounds(ub=[2, 3]), -np.inf, [2.0, 3.0]),
        (SimpleNamespace(lb=-1, ub=[0.5]), -1.0, 0.5),
        (SimpleNamespace(lb=[-1.0, -2.0], ub=np.float32(0.5)), [-1.0, -2.0], 0.5),
        ([(1, 1), (2, 2)], [1.0, 2.0], [1.0, 2.0]),
    ],
)
def test_one_number_is_for_all_coordinates(bounds, lower, upper):
    expected = np.stack(np.broadcast_arrays(lower, upper, np.zeros(2))[:2])
    for shape in ((), (3,)):
        np.testing.assert_array_equal(interop.box(bounds, shape, 2, np.dtype(float)), expected)


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1,), (0,)], ids=str)
@pytest.mark.parametrize("which", ["both", "lb", "ub", "scalar"])
def test_bounds_of_each_member(shape, which):
    rng = np.random.default_rng(1)
    lb, ub = rng.uniform(-2, -1, (*shape, 3)), rng.uniform(1, 2, (*shape, 3))
    lb = lb if which in ("both", "lb", "scalar") else np.array([-1.0, -2.0, -np.inf])
    ub = ub if which in ("both", "ub") else np.array([1.0, np.inf, 2.0]) if which == "lb" else 7
    expected = np.stack(np.broadcast_arrays(lb, ub, np.zeros((*shape, 3)))[:2], axis=-2).reshape(-1, 2, 3)
    given = [SimpleNamespace(lb=lb, ub=ub)] + [Bounds(lb, ub)] * bool(np.size(lb) and np.size(ub))
    for bounds in given:
        box = interop.box(bounds, shape, 3, np.dtype(float))
        if shape == (0,):
            assert box is None
            continue
        np.testing.assert_array_equal(box, expected)
        assert box.flags.c_contiguous and box.dtype == np.float64


@pytest.mark.parametrize(
    "bounds",
    [
        None,
        [(None, None)] * 3,
        [(-np.inf, np.inf)] * 3,
        Bounds(),
        SimpleNamespace(lb=np.full((4, 3), -np.inf), ub=np.inf),
    ],
    ids=["None", "None pairs", "infinite pairs", "Bounds", "members"],
)
def test_no_bounds(bounds):
    assert interop.box(bounds, (4,), 3, np.dtype(float)) is None
    problem = by_name("chained_rosenbrock_5")
    x0 = starts(problem, 4, 1.0, np.random.default_rng(0))[:, :3]
    fun = lambda x: (((x - 1) ** 4).sum(axis=1), 4 * (x - 1) ** 3)  # noqa: E731
    a, b = minimize(fun, x0, jac=True, bounds=bounds), minimize(fun, x0, jac=True, method="L-BFGS")
    for key in ("x", "fun", "nit", "nfev"):
        np.testing.assert_array_equal(a[key], b[key])


def test_bounds_are_the_callers():
    lb, ub = np.full(5, -1.0), np.full(5, 0.5)
    solver = Solver(START, method="L-BFGS-B", bounds=Bounds(lb, ub))
    lb[:], ub[:] = np.nan, np.nan
    np.testing.assert_array_equal(solver.box, [[-1.0] * 5, [0.5] * 5])
    lb[:], ub[:] = -1.0, 0.5
    lb.flags.writeable = ub.flags.writeable = False
    assert minimize(both, START, jac=True, bounds=Bounds(lb, ub)).success


def test_float32_bounds_are_rounded_inwards():
    rng = np.random.default_rng(2)
    lower = rng.normal(size=(300, 7)) * 10.0 ** rng.integers(-44, 38, (300, 7))
    lower[::7] = -np.inf
    lower[1::7] = lower[1::7].astype(np.float32)  # float32 already
    upper = lower + 10.0 ** rng.uniform(-50, 38, (300, 7))
    upper[::7] = rng.normal(size=upper[::7].shape)
    upper[3::7] = np.inf
    upper[5::7] = 1e300  # more than float32 has
    box = interop.box(SimpleNamespace(lb=lower, ub=upper), (300,), 7, np.dtype(np.float32))
    assert box.dtype == np.float32
    low, high = box[:, 0], box[:, 1]
    assert (low <= high).all()
    inside = (low >= lower) & (high <= upper)
    # Nothing smaller would do: the next number outwards is outside.
    with np.errstate(over="ignore"):
        assert (np.nextafter(low, np.float32(-np.inf)) < lower)[inside & np.isfinite(lower)].all()
        assert (np.nextafter(high, np.float32(np.inf)) > upper)[inside & np.isfinite(upper)].all()
    np.testing.assert_array_equal(low[lower == -np.inf], -np.inf)
    np.testing.assert_array_equal(high[upper == np.inf], np.inf)
    # Where there is no float32 between them, the nearest.
    none = ~inside
    assert 10 < none.sum() < none.size / 2
    np.testing.assert_array_equal(low[none], high[none])
    np.testing.assert_array_equal(low[none], lower[none].astype(np.float32))


def test_float32_coordinates_fixed_at_no_float32():
    result = minimize(both, START.astype(np.float32), jac=True, bounds=[(0.1, 0.1), (None, None)] + [(-0.3, 0.3)] * 3)
    assert result.x.dtype == np.float32
    assert result.x[0] == np.float32(0.1)
    assert (np.abs(result.x[2:].astype(float)) <= 0.3).all()


# ----------------------------------------------------------------------------------------------
# Differences within bounds


def smooth(x):
    """Return a function that is good for complex x too, of which no difference is exact."""
    return np.cos(0.3 * x[0]) + np.sin(x[1] * x[2]) + (x**2).sum() + x[0] * x[-1] ** 3


STEPS = [(1e-8, None), (-1e-4, None), ("array", None), (None, None), (None, 1e-6), (None, "array")]


def points_and_moves(stencil, x, rows, eps):
    ends, moves, one_sided = stencil.around(x, rows, eps)
    return stencil.points(x, ends), moves, one_sided


def tight_boxes(count, n, seed):
    """Yield x, lower and upper (n,): distances to the bounds from far below the steps to far above them, and none."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        x = rng.normal(size=n) * 10.0 ** rng.integers(-9, 4, n)
        lower, upper = random_box(x, rng, (-18.0, 3.0))
        yield x, lower, np.where(lower == upper, np.nextafter(upper, np.inf), upper)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("absolute", "relative"), STEPS)
def test_quotients_are_scipys(scheme, absolute, relative):
    absolute, relative = (np.geomspace(1e-9, 1e-3, 4) if isinstance(s, str) else s for s in (absolute, relative))
    rounded_out = 0
    for x, lower, upper in tight_boxes(300, 4, 3):
        seen = []
        expected = approx_derivative(
            lambda z, seen=seen: seen.append(z) or smooth(z),
            x, scheme, abs_step=absolute, rel_step=relative, bounds=(lower, upper),
        )  # fmt: skip
        stencil = Stencil(4, scheme, absolute, relative, np.stack([lower, upper]))
        ends, moves, one_sided = stencil.around(x[np.newaxis], 0, np.finfo(float).eps)
        points = stencil.points(x[np.newaxis], ends)
        np.testing.assert_array_equal(list(stencil.one_by_one(x, ends)), points[0, 1:])
        assert ((points.real >= lower) & (points.real <= upper)).all()
        if all(((z.real >= lower) & (z.real <= upper)).all() for z in seen):
            g = stencil.gradient(np.array([[smooth(z) for z in points[0]]]), moves, one_sided, x.dtype)
            np.testing.assert_array_equal(g[0], expected)
        else:
            rounded_out += 1
    assert rounded_out <= 3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_of_members_are_those_of_each(scheme, dtype):
    x, lower, upper = (np.stack(arrays) for arrays in zip(*tight_boxes(200, 4, 4), strict=True))
    x, box = x.astype(dtype), interop.box(SimpleNamespace(lb=lower, ub=upper), (200,), 4, np.dtype(dtype))
    x = x.clip(box[:, 0], box[:, 1])
    eps = np.finfo(dtype).eps
    rows = np.random.default_rng(5).permutation(200)[:70]
    together = points_and_moves(Stencil(4, scheme, None, None, box), x[rows], rows, eps)
    for k, b in enumerate(rows):
        if (box[b, 0] == box[b, 1]).any():
            continue  # rounded to one float32, and left out where it is alone
        alone = points_and_moves(Stencil(4, scheme, None, None, box[b]), x[b : b + 1], 0, eps)
        for a, c in zip(together, alone, strict=True):
            np.testing.assert_array_equal(None if a is None else a[k], None if c is None else c[0])
    points, moves, _ = together
    assert points.dtype == (np.result_type(dtype, np.complex64) if scheme == "cs" else dtype)
    assert ((points.real >= box[rows, None, 0]) & (points.real <= box[rows, None, 1])).all()
    np.testing.assert_array_equal(points[:, 0], x[rows])
    assert (moves != 0).sum() >= (box[rows, 0] != box[rows, 1]).sum()


def test_a_step_that_float32_loses_is_replaced():
    x = np.array([[1.0, 1000.0]], np.float32)
    points, moves, _ = points_and_moves(Stencil(2, "2-point", None, 1e-9, None), x, 0, np.finfo(np.float32).eps)
    assert (moves > 1e-5).all()
    np.testing.assert_array_equal(points[0, [1, 2], [0, 1]] - x[0], moves[0])


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
@pytest.mark.parametrize("workers", [None, map])
def test_jac_within_bounds_is_scipys(jac, workers):
    bounds = [(0.0, 0.5), (1.0, None), (None, 2.0), (0.3, 0.3 + 1e-9), (None, None)]
    lower, upper = sides(bounds, 5)
    x0 = np.array([0.5, 1.0, 2.0, 0.3, -0.7])
    options = {"maxiter": 0} | ({} if workers is None else {"workers": workers})
    result = minimize(smooth, x0, jac=jac, bounds=bounds, options=options)
    step = {"abs_step": 1e-8} if jac is None else {}
    expected = approx_derivative(smooth, x0, jac or "2-point", bounds=(lower, upper), **step)
    np.testing.assert_array_equal(result.jac, expected)


# ----------------------------------------------------------------------------------------------
# The result


@pytest.mark.parametrize("method", [None, "L-BFGS-B", "l-bfgs-b"])
@pytest.mark.parametrize("jac", JACS)
def test_result_is_scipys(method, jac):
    fun, jac = (both, True) if jac is True else (rosen, rosen_der if jac == "apart" else jac)
    kwargs = {"jac": jac, "bounds": BOX, "options": {"ftol": 0 if callable(jac) or jac is True else 1e-13}}
    ours, theirs = minimize(fun, START, method=method, **kwargs), scipys(fun, START, **kwargs)
    assert type(ours) is OptimizeResult
    assert set(ours) == set(theirs)
    for key in set(KEYS) - {"fun"}:
        assert type(ours[key]) is type(theirs[key]), key
    assert isinstance(ours.hess_inv, LbfgsInvHessProduct)
    assert ours.success and theirs.success
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-4)
    np.testing.assert_array_equal(ours.x[[1, 3]], theirs.x[[1, 3]])
    assert ours.x[1] == 0.5, "no bound is active"
    np.testing.assert_array_equal(np.isnan(ours.jac), np.isnan(theirs.jac))
    assert ours.fun == pytest.approx(theirs.fun, abs=1e-8)


@pytest.mark.parametrize(
    ("options", "status"),
    [({"ftol": 0}, 0), ({"gtol": 1e-12, "ftol": 1e-3}, 0), ({"maxiter": 2}, 1), ({"maxfun": 3}, 1)],
    ids=["gradient", "decrease", "maxiter", "maxfun"],
)
def test_status_and_message_are_scipys(options, status):
    kwargs = {"jac": True, "bounds": [(None, 0.5)] * 5, "options": options}
    ours, theirs = minimize(both, START, **kwargs), scipys(both, START, **kwargs)
    assert (ours.status, ours.success) == (theirs.status, theirs.success) == (status, status == 0)
    assert ours.message == theirs.message


def test_converged_means_the_projected_gradient():
    seen = []
    bounds = [(None, 0.8), (0.5, 2.0), (None, 0.4), (-0.4, 0.9), (None, None)]
    lower, upper = sides(bounds, 5)
    result = minimize(
        both, START, jac=True, bounds=bounds, options={"gtol": 1e-4, "ftol": 0},
        callback=lambda intermediate_result: seen.append(intermediate_result),
    )  # fmt: skip
    sizes = [projected(r.x, r.jac, lower, upper) for r in seen]
    assert result.message == "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"
    assert sizes[-1] <= 1e-4 < min(sizes[:-1])
    assert np.abs(result.jac).max() > 1, "no bound is active"


@pytest.mark.parametrize("name", ["chained_rosenbrock_5", "wood", "beale", "log_domain_5", "logistic_regression_20"])
@pytest.mark.parametrize("seed", range(4))
def test_ends_are_scipys(name, seed):
    problem = by_name(name)
    rng = np.random.default_rng(seed)
    x0 = starts(problem, 1, 0.3, rng)[0]
    lower, upper = random_box(x0, rng, (-1.0, 0.5))
    if name == "log_domain_5":
        lower = np.maximum(lower, 1e-3)
        upper = np.maximum(upper, 1.0)
    x0 += rng.normal(size=x0.shape)  # some of it outside

    def fun(x):
        f, g = problem.fun(x[np.newaxis])
        return f[0], g[0]

    kwargs = {"jac": True, "bounds": Bounds(lower, upper), "options": {"ftol": 1e-14, "gtol": 1e-7}}
    ours, theirs = minimize(fun, x0, **kwargs), scipys(fun, x0, **kwargs)
    assert ((ours.x >= lower) & (ours.x <= upper)).all()
    assert ours.fun <= theirs.fun + 1e-6 * max(1.0, abs(theirs.fun))
    assert projected(ours.x, ours.jac, lower, upper) <= 1e-3 * max(1.0, np.abs(ours.jac).max())


@pytest.mark.parametrize("few", [0, 100], ids=["arrays", "lists"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_few_coordinates_are_compared_as_many_are(few, dtype, monkeypatch):
    monkeypatch.setattr(interop, "_FEW", few)
    wrong = {
        (np.nan, 1.0): "must not be NaN",
        (0.0, np.nan): "must not be NaN",
        (2.0, 1.0): "less than the corresponding",
        (np.inf, np.inf): "between them",
        (-np.inf, -np.inf): "between them",
    }
    for pair, message in wrong.items():
        with pytest.raises(ValueError, match=f"{message}.* at coordinate 1"):
            interop.box([(0.0, 1.0), pair, (-np.inf, 1.0)], (), 3, np.dtype(dtype))
    assert interop.box([(None, None)] * 3, (), 3, np.dtype(dtype)) is None
    for pair in [(None, 1.0), (-1.0, None), (-1.0, 1.0)]:
        box = interop.box([(None, None), pair], (), 2, np.dtype(dtype))
        assert box.dtype == dtype and box.shape == (2, 2)
        for x in ([0.0, 0.5], [7.0, 1.0], [7.0, -1.0], [0.0, 9.0], [0.0, -9.0], [-np.inf, np.nan]):
            x = np.array(x, dtype)
            near = interop.nearest(x, box)
            np.testing.assert_array_equal(near, np.clip(x, box[0], box[1]))
            inside = bool((box[0] <= x).all() and (x <= box[1]).all())
            assert near.dtype == dtype and (near is x) == (few > 0 and inside)


def test_start_outside_is_moved_to_the_nearest_point_inside():
    seen = []

    def fun(x):
        seen.append(x.copy())
        return both(x)

    x0 = np.array([9.0, -9.0, 0.1, 5.0, 0.0])
    bounds = [(0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (2.0, 2.0), (None, -3.0)]
    kept = x0.copy()
    result = minimize(fun, x0, jac=True, bounds=bounds)
    np.testing.assert_array_equal(seen[0], [1.0, 0.0, 0.1, 2.0, -3.0])
    np.testing.assert_array_equal(x0, kept)
    assert_same(result, minimize(both, seen[0], jac=True, bounds=bounds))
    ours, theirs = (m(both, x0, jac=True, bounds=bounds, options={"gtol": 1e9}) for m in (minimize, scipys))
    assert_same(ours, theirs, ("x", "jac", "nit", "nfev", "status", "success"))


def test_hess_inv_is_that_of_the_pairs_without_bounds():
    # As SciPy's: the pairs of the run, and no word of the bounds.
    points, gradients = [START.clip(-1.0, 0.6)], [rosen_der(START.clip(-1.0, 0.6))]

    def callback(intermediate_result):
        points.append(intermediate_result.x)
        gradients.append(intermediate_result.jac)

    result = minimize(both, START, jac=True, bounds=Bounds(-1.0, 0.6), callback=callback)
    s, y = np.diff(points, axis=0)[-1], np.diff(gradients, axis=0)[-1]
    assert (np.isin(result.x, [-1.0, 0.6])).any()
    np.testing.assert_array_equal(result.hess_inv.sk[-1], s)
    np.testing.assert_allclose(result.hess_inv @ y, s, atol=1e-12)
    h = result.hess_inv.todense()
    np.testing.assert_allclose(h, h.T, atol=1e-12)
    assert np.linalg.eigvalsh(h).min() > 0


# ----------------------------------------------------------------------------------------------
# Nothing is asked for outside


@pytest.mark.parametrize("jac", JACS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("shape", "own"), [((), False), ((6,), False), ((6,), True), ((2, 3), False), ((2, 3), True)], ids=str
)
def test_every_point_is_inside_to_the_bit(jac, dtype, shape, own):
    problem = by_name("chained_rosenbrock_5")
    rng = np.random.default_rng(7)
    x0 = starts(problem, int(np.prod(shape)), 1.0, rng).reshape(*shape, 5)
    lower, upper = random_box(x0 if own else x0.reshape(-1, 5)[0], rng, (-9.0 if own else -1.0, 0.5))
    if own:
        upper[..., 1] = lower[..., 1] = np.where(rng.random(shape) < 0.5, 0.7, 0.1)  # fixed, at no float32
        lower[0, ..., 2], upper[0, ..., 2] = 0.3, 0.3  # fixed in some members only
    box = interop.box(SimpleNamespace(lb=lower, ub=upper), shape, 5, np.dtype(dtype))
    low, high = np.broadcast_to(box[..., 0, :], (max(1, x0.size // 5), 5)), box[..., 1, :]
    high = np.broadcast_to(high, low.shape)
    calls = []

    def value(x, rows):
        assert ((np.atleast_2d(x).real >= low[rows]) & (np.atleast_2d(x).real <= high[rows])).all()
        calls.append(len(rows))
        return problem.fun(x)[0]

    def pair(x, rows):
        value(x, rows)
        return problem.fun(x)

    def gradient(x, rows):
        return pair(x, rows)[1]

    fun = pair if jac is True else value
    given = gradient if jac == "apart" else jac
    if not shape:
        fun = lambda x, f=fun: tuple(v[0] for v in f(x[None], [0])) if jac is True else f(x[None], [0])[0]  # noqa: E731
        given = (lambda x: gradient(x[None], [0])[0]) if jac == "apart" else jac
    result = minimize(fun, x0.astype(dtype), jac=given, bounds=SimpleNamespace(lb=lower, ub=upper))
    assert len(calls) > 5
    assert result.x.dtype == dtype
    assert ((result.x.reshape(-1, 5) >= low) & (result.x.reshape(-1, 5) <= high)).all()
    assert (np.asarray(result.nit) > 0).any()


# ----------------------------------------------------------------------------------------------
# Coordinates fixed by equal bounds


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
def test_fixed_coordinates_get_no_points(jac):
    bounds = [(0.3, 0.3), (None, None), (-1.0, 2.0), (1.5, 1.5), (None, 0.2)]
    points = []

    def fun(x):
        points.append(x.copy())
        return smooth(x)

    result = minimize(fun, START, jac=jac, bounds=bounds)
    assert result.success and result.nit > 2
    points = np.array(points)
    assert (points[:, [0, 3]] == [0.3, 1.5]).all()
    np.testing.assert_array_equal(np.isnan(result.jac), [True, False, False, True, False])
    each = 7 if jac == "3-point" else 4
    assert len(points) == result.nfev == each * result.njev


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
def test_counts_with_fixed_coordinates_are_scipys(jac):
    # At the minimum, where both evaluate once: paths differ elsewhere.
    def value(x):
        return ((x - 1.0) ** 2).sum()

    bounds = [(1.0, 1.0), (None, None), (0.0, 3.0), (2.5, 2.5)]
    ours, theirs = (m(value, np.ones(4), jac=jac, bounds=bounds, options={"gtol": 1e-3}) for m in (minimize, scipys))
    for key in ("x", "fun", "nit", "nfev", "njev", "status", "message"):
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
    np.testing.assert_allclose(ours.jac, theirs.jac, atol=1e-7)


@pytest.mark.parametrize("step", ["eps", "finite_diff_rel_step"])
def test_steps_as_arrays_belong_to_all_coordinates(step):
    # SciPy has no room for those of the fixed ones.
    x0, steps = np.array([2.0, 3.0, 4.0]), np.array([1e-3, 1e-5, 1e-4])
    bounds = [(None, None), (3.0, 3.0), (None, None)]
    jac = None if step == "eps" else "2-point"
    result = minimize(smooth, x0, jac=jac, bounds=bounds, options={step: steps, "maxiter": 0})
    with pytest.raises(ValueError, match="broadcast"):
        scipys(smooth, x0, jac=jac, bounds=bounds, options={step: steps})
    expected = approx_derivative(smooth, x0, "2-point", **{"abs_step" if jac is None else "rel_step": steps})
    np.testing.assert_array_equal(result.jac, np.where([False, True, False], np.nan, expected))


@pytest.mark.parametrize("maxfun", [12, 35, 47])
def test_maxfun_counts_the_points_there_are(maxfun):
    calls = []
    bounds = [(None, None), (0.5, 0.5), (None, None), (0.5, 0.5), (None, None)]
    result = minimize(
        lambda x: calls.append(1) or rosen(x), START, bounds=bounds, options={"maxfun": maxfun, "gtol": 0, "ftol": 0}
    )
    assert len(calls) == result.nfev == maxfun // 4 * 4
    assert result.status == 1


@pytest.mark.parametrize("jac", JACS)
def test_all_coordinates_fixed(jac):
    fun, jac = (both, True) if jac is True else (rosen, rosen_der if jac == "apart" else jac)
    calls = []
    bounds = [(b, b) for b in (0.5, -1.0, 0.5, 0.0, 2.0)]
    x0 = START.copy()
    ours = minimize(lambda x: calls.append(1) or fun(x), x0, jac=jac, bounds=bounds)
    theirs = scipys(rosen, x0, bounds=bounds)
    assert len(calls) == 1
    for key in ("x", "fun", "success", "message", "nfev"):
        np.testing.assert_array_equal(ours[key], theirs[key])
    assert ours.message == "All independent variables were fixed by bounds."
    # What SciPy leaves out is there too.
    assert set(KEYS) | {"hess_inv"} == set(ours)
    given = jac is True or callable(jac)
    assert (ours.nit, ours.status, ours.njev) == (0, 0, int(given))
    np.testing.assert_array_equal(ours.jac, rosen_der(ours.x) if given else np.full(5, np.nan))


def test_all_coordinates_fixed_where_there_is_no_value():
    # SciPy calls this a success.
    result = minimize(lambda x: np.nan, [1.0, 2.0], bounds=[(1, 1), (2, 2)])
    assert (result.status, result.success, result.nfev) == (3, False, 1)
    assert "NaN or infinite at the start" in result.message


@pytest.mark.parametrize("jac", [True, rosen_der], ids=["pair", "apart"])
def test_fixed_coordinates_with_a_gradient_keep_it(jac):
    result = minimize(both if jac is True else rosen, START, jac=jac, bounds=BOX)
    assert result.x[3] == -0.4
    np.testing.assert_array_equal(result.jac, rosen_der(result.x))


@pytest.mark.parametrize("jac", [None, "3-point", "cs"])
@pytest.mark.parametrize("compact", [False, True])
def test_coordinates_fixed_in_some_members(jac, compact):
    problem = by_name("chained_rosenbrock_5")
    x0 = starts(problem, 6, 1.0, np.random.default_rng(0))
    lb, ub = np.full((6, 5), -2.0), np.full((6, 5), 0.9)
    lb[:, 0] = ub[:, 0] = 0.25  # in all
    lb[1:4, 2] = ub[1:4, 2] = 0.5  # in some
    lb[5] = ub[5] = 0.1  # one member is fixed altogether
    each, own_points = (9, [2, 6]) if jac == "3-point" else (5, [2])  # of coordinate 2, the second free one
    sizes = []

    def fun(x, rows):
        sizes.append(len(x))
        points, rows = x.real.reshape(-1, each, 5), rows[::each]
        assert (points[..., 0] == np.where(rows == 5, 0.1, 0.25)[:, np.newaxis]).all()
        for k in np.flatnonzero((rows >= 1) & (rows < 4)):
            assert (points[k, :, 2] == 0.5).all()
            assert (points[k, own_points] == points[k, 0]).all()
        np.testing.assert_array_equal(points[rows == 5], 0.1)
        return problem.fun(x)[0]

    lb[5, 0] = ub[5, 0] = 0.1
    result = minimize(fun, x0, jac=jac, bounds=Bounds(lb, ub), compact=compact)
    assert all(size % each == 0 for size in sizes)
    np.testing.assert_array_equal(np.isnan(result.jac), lb == ub)
    assert result.status[5] == 0 and result.nit[5] == 0
    for i in range(6):
        alone = minimize(lambda x: problem.fun(x[None])[0][0], x0[i], jac=jac, bounds=Bounds(lb[i], ub[i]))
        assert result[i].message == result.message[i] == alone.message
        for key in ("x", "fun", "jac", "nit", "nfev", "njev", "status"):
            np.testing.assert_array_equal(result[key][i], alone[key], err_msg=key)


@pytest.mark.parametrize("jac", [None, "3-point"])
@pytest.mark.parametrize("maxfun", [0, 11, 60, np.inf])
def test_the_limit_of_a_member_counts_its_own_points(jac, maxfun):
    problem = by_name("chained_rosenbrock_5")
    x0 = starts(problem, 3, 1.0, np.random.default_rng(0))
    lb, ub = np.full((3, 5), -2.0), np.full((3, 5), 0.9)
    lb[1, 1:4] = ub[1, 1:4] = 0.5
    options, given = {"maxfun": maxfun}, {"jac": jac, "bounds": Bounds(lb, ub)}
    whole = minimize(lambda x: problem.fun(x)[0], x0, options=options, **given)
    split = minimize(lambda x: problem.fun(x)[0], x0, options=options, chunk=1, **given)
    for i in range(3):
        bounds = Bounds(lb[i], ub[i])
        alone = minimize(lambda x: problem.fun(x[None])[0][0], x0[i], jac=jac, bounds=bounds, options=options)
        for key in ("x", "fun", "nit", "nfev", "njev", "status"):
            np.testing.assert_array_equal(whole[key][i], alone[key], err_msg=key)
            np.testing.assert_array_equal(split[key][i], alone[key], err_msg=key)
        assert type(alone.nfev) is int
    assert whole.nfev[1] <= max(maxfun, 5)


@pytest.mark.parametrize("shape", [(2, 3), (4,)])
def test_members_that_bounds_fix_say_so(shape):
    x0 = np.ones((*shape, 2))
    lb, ub = np.zeros_like(x0), np.full_like(x0, 2.0)
    lb.reshape(-1, 2)[1] = ub.reshape(-1, 2)[1] = 1.5
    words = "All independent variables were fixed by bounds."
    for bounds, fixed in ((Bounds(lb, ub), 1), (Bounds([1.0, 1.0], [1.0, 1.0]), x0.size // 2)):
        for chunk in (None, 2):
            result = minimize(lambda x: ((x**2).sum(1), 2 * x), x0, jac=True, bounds=bounds, chunk=chunk)
            assert (result.message == words).sum() == result.fixed.sum() == fixed
            assert result.message.shape == shape
            member = np.unravel_index(1, shape)
            assert result[member].message == words and "fixed" not in result[member]
            assert (result[:2].message == result.message[:2]).all()
    assert minimize(lambda x: ((x**2).sum(1), 2 * x), x0, jac=True).fixed is None
    bad = minimize(lambda x: (np.nan * x[:, 0], 2 * x), x0, jac=True, bounds=Bounds(1.0, 1.0))
    assert (bad.status == 3).all() and not bad.fixed.any() and not (bad.message == words).any()


# ----------------------------------------------------------------------------------------------
# Batches


def one(fun):
    """Return a function of rows as one of a single point."""

    def single(x):
        f, g = fun(x[None])
        return f[0], g[0]

    return single


FIELDS = ("x", "fun", "jac", "nit", "nfev", "njev", "status", "reason", "success")


@pytest.mark.parametrize("name", ["chained_rosenbrock_5", "beale", "wood", "logistic_regression_20"])
@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_batch_is_solo(name, compact, dtype, own):
    problem = by_name(name)
    rng = np.random.default_rng(3)
    x0 = starts(problem, 9, 0.5, rng).astype(dtype)
    lower, upper = random_box(x0 if own else x0[0], rng, (-1.0, 1.0))
    if own:
        lower[4], upper[4] = -np.inf, np.inf  # a free member among the others
    batch = minimize(problem.fun, x0, jac=True, compact=compact, bounds=SimpleNamespace(lb=lower, ub=upper))
    for i, start in enumerate(x0):
        bounds = Bounds(*((lower[i], upper[i]) if own else (lower, upper)))
        alone = minimize(one(problem.fun), start, jac=True, bounds=bounds)
        for key in set(FIELDS) & set(alone) | {"message"}:
            np.testing.assert_array_equal(batch[key][i], alone[key], err_msg=key)
        member = batch[i]
        assert type(member) is OptimizeResult and "hess_inv" not in member
    assert np.isin(batch.x, [lower.astype(dtype), upper.astype(dtype)]).any(), "no bound is active"
    turned = SimpleNamespace(lb=lower[::-1], ub=upper[::-1]) if own else Bounds(lower, upper)
    reverse = minimize(problem.fun, x0[::-1], jac=True, compact=compact, bounds=turned)
    for key in FIELDS:
        np.testing.assert_array_equal(reverse[key][::-1], batch[key], err_msg=key)


@pytest.mark.parametrize("shape", [(8,), (2, 4)], ids=str)
def test_shapes(shape):
    problem = by_name("chained_rosenbrock_5")
    rng = np.random.default_rng(3)
    x0 = starts(problem, 8, 0.5, rng).reshape(*shape, 5)
    lower, upper = random_box(x0, rng, (-1.0, 1.0))
    result = minimize(problem.fun, x0, jac=True, bounds=Bounds(lower, upper))
    assert type(result) is BatchResult and result.method == "L-BFGS-B" and result.hess_inv is None
    assert result.x.shape == (*shape, 5)
    assert ((result.x >= lower) & (result.x <= upper)).all()
    flat = minimize(problem.fun, x0.reshape(8, 5), jac=True, bounds=Bounds(lower.reshape(8, 5), upper.reshape(8, 5)))
    np.testing.assert_array_equal(result.x.reshape(8, 5), flat.x)


@pytest.mark.parametrize("jac", [None, "2-point", "3-point", "cs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_differences_of_a_batch(jac, dtype):
    problem = by_name("chained_rosenbrock_5")
    rng = np.random.default_rng(6)
    x0 = starts(problem, 6, 0.5, rng).astype(dtype)
    lower, upper = random_box(x0, rng, (-2.0, 1.0))
    calls = []

    def fun(x):
        calls.append(len(x))
        return problem.fun(x)[0]

    bounds = SimpleNamespace(lb=lower, ub=upper)
    result = minimize(fun, x0, jac=jac, bounds=bounds, compact=True)
    each = 11 if jac == "3-point" else 6
    assert calls == [each * (result.njev >= call).sum() for call in range(1, result.calls + 1)]
    for i, start in enumerate(x0):
        alone = minimize(lambda x: problem.fun(x[None])[0][0], start, jac=jac, bounds=Bounds(lower[i], upper[i]))
        for key in set(FIELDS) & set(alone):
            np.testing.assert_array_equal(result[key][i], alone[key], err_msg=key)


def test_results_do_not_depend_on_threads():
    problem = by_name("chained_rosenbrock_10")
    rng = np.random.default_rng(9)
    x0 = starts(problem, 1500, 0.5, rng)
    bounds = Bounds(*random_box(x0, rng, (-1.0, 1.0)))
    results = [
        minimize(problem.fun, x0, jac=True, bounds=bounds, workers=workers, options={"maxiter": 25})
        for workers in (1, 2, 16)
    ]
    for result in results[1:]:
        for key in FIELDS:
            np.testing.assert_array_equal(result[key], results[0][key])


def test_callback_stops():
    seen = []

    def callback(intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 3:
            raise StopIteration

    bounds = [(None, 0.8)] * 5
    ours = minimize(both, START, jac=True, bounds=bounds, callback=callback)
    seen.clear()
    theirs = scipys(both, START, jac=True, bounds=bounds, callback=callback)
    for key in ("nit", "status", "success", "message"):
        assert ours[key] == theirs[key], key
    assert ours.status == 99


def test_callback_sees_fixed_coordinates():
    seen = []
    minimize(rosen, START, bounds=BOX, callback=lambda intermediate_result: seen.append(intermediate_result))
    assert len(seen) > 2
    for r in seen:
        assert r.x[3] == -0.4
        np.testing.assert_array_equal(np.isnan(r.jac), [False, False, False, True, False])


# ----------------------------------------------------------------------------------------------
# As the method of scipy.optimize


@pytest.mark.parametrize(
    "bounds", [BOX, Bounds(-1.0, [0.5, 0.6, np.inf, 1.0, 2.0]), None], ids=["pairs", "Bounds", "none"]
)
@pytest.mark.parametrize("jac", [True, rosen_der, None], ids=["pair", "apart", "none"])
def test_through_scipy(bounds, jac):
    fun = both if jac is True else rosen
    result = scipy.optimize.minimize(fun, START, jac=jac, bounds=bounds, method=fastbfgs.lbfgsb)
    assert_same(result, minimize(fun, START, jac=jac, bounds=bounds, method="L-BFGS-B"))


def test_bounded_basinhopping():
    def fun(x):
        return float((x**2).sum() + 3 * np.cos(3 * x).sum()), 2 * x - 9 * np.sin(3 * x)

    bounds = [(-4.0, -1.5), (0.2, 4.0)]
    results = [
        scipy.optimize.basinhopping(
            fun, [-2.5, 2.5], niter=30, stepsize=1.5, rng=np.random.default_rng(1),
            minimizer_kwargs={"method": method, "jac": True, "bounds": bounds},
        )
        for method in (fastbfgs.lbfgsb, "L-BFGS-B")
    ]  # fmt: skip
    ours, theirs = results
    assert ours.fun == pytest.approx(theirs.fun, abs=1e-8)
    assert ours.minimization_failures == 0


def test_bounded_dual_annealing():
    def fun(x):
        assert ((x >= -4.0) & (x <= -1.5)).all()
        return float((x**2).sum() + 3 * np.cos(3 * x).sum())

    bounds = [(-4.0, -1.5)] * 2
    ours, theirs = (
        scipy.optimize.dual_annealing(
            fun, bounds, maxiter=40, rng=3, minimizer_kwargs={"method": method, "bounds": bounds}
        )
        for method in (fastbfgs.lbfgsb, "L-BFGS-B")
    )
    assert ours.fun == pytest.approx(theirs.fun, abs=1e-6)


def test_bounds_given_to_other_methods_through_scipy():
    for method in (fastbfgs.lbfgs, fastbfgs.bfgs):
        with pytest.raises(ValueError, match="cannot handle bounds; use method 'L-BFGS-B'"):
            scipy.optimize.minimize(both, START, jac=True, bounds=BOX, method=method)
