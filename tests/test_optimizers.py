"""Optimizers against the published formulas, and `LBFGS` against the solver it wraps, bit for bit."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fastbfgs import LBFGS, Adam, GradientDescent, Solver, Status, trace_minimize
from tests import device
from tests.problems import by_name

NAMES = ["rosenbrock", "beale", "wood", "osborne_1", "watson_9", "penalty_1_10", "extended_powell_12"]


def gradients_of(steps, shape, seed=0):
    """Return gradients of very different sizes."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((steps, *shape)) * 10.0 ** rng.uniform(-6, 3, (steps, *shape))


def bits(*arrays):
    """Return what two equal arrays have in common, the signs of zeros included."""
    return [(array.dtype, array.shape, array.tobytes()) for array in arrays]


# ----------------------------------------------------------------------------------------------
# First order


def adam_by_the_paper(theta, gradients, alpha, beta_1, beta_2, epsilon):
    """Return the iterates of one coordinate: Algorithm 1 of Kingma & Ba (2015), line by line."""
    m = v = 0.0
    path = []
    for t, g in enumerate(gradients, start=1):
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g**2
        m_hat = m / (1 - beta_1**t)
        v_hat = v / (1 - beta_2**t)
        theta = theta - alpha * m_hat / (v_hat**0.5 + epsilon)
        path.append(theta)
    return path


@pytest.mark.parametrize(
    "rules", [{}, {"beta_1": 0.0}, {"beta_2": 0.0}, {"epsilon": 1.0}, {"beta_1": 0.5, "beta_2": 0.9}]
)
def test_adam(rules):
    gradients = gradients_of(50, (3, 2))
    start = np.arange(6.0).reshape(3, 2)
    x, optimizer, path = start.copy(), Adam(0.1, **rules), []
    for g in gradients:
        optimizer.apply_gradients([(g, x)])
        path.append(x.copy())
    rules = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8} | rules
    for i in np.ndindex(3, 2):
        own = [point[i] for point in path]
        expected = adam_by_the_paper(start[i], gradients[(slice(None), *i)].tolist(), 0.1, **rules)
        np.testing.assert_allclose(own, expected, rtol=0, atol=1e-14 * np.abs(expected).max())
    assert optimizer.state.step == 50
    assert optimizer.state.m[0].shape == optimizer.state.v[0].shape == (3, 2)


def test_adam_of_many_variables_is_adam_of_each():
    shapes = [(3,), (), (2, 2)]
    gradients = [gradients_of(10, shape, seed) for seed, shape in enumerate(shapes)]
    together, apart = [np.ones(shape) for shape in shapes], [np.ones(shape) for shape in shapes]
    optimizer = Adam(0.3)
    for step in range(10):
        optimizer.apply_gradients(zip([g[step] for g in gradients], together, strict=True))
    for g, x in zip(gradients, apart, strict=True):
        alone = Adam(0.3)
        for step in range(10):
            alone.apply_gradients([(g[step], x)])
    assert bits(*together) == bits(*apart)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.0, True), (0.9, False), (0.9, True)])
def test_gradient_descent(momentum, nesterov):
    w, v, rate = 2.0, 0.0, 0.125
    x, optimizer = np.array([2.0]), GradientDescent(rate, momentum, nesterov)
    for g in gradients_of(20, ()).tolist():
        optimizer.apply_gradients([(np.array([g]), x)])
        v = momentum * v - rate * g
        w = w + momentum * v - rate * g if nesterov else w + v
        assert x[0] == pytest.approx(w, rel=1e-15, abs=1e-15)
        assert optimizer.state == () if momentum == 0.0 else optimizer.state[0][0] == pytest.approx(v, rel=1e-15)


def test_nesterov_stands_where_sutskever_looks():
    # v' = mu v - eps grad(theta + mu v), theta' = theta + v': the gradient is taken at w = theta + mu v.
    mu, rate = 0.8, 0.02
    gradient = by_name("rosenbrock").fun
    x = np.array([-1.2, 1.0]) / 2
    theta, v = x.copy(), np.zeros(2)
    optimizer = GradientDescent(rate / 10, mu, nesterov=True)
    for _ in range(30):
        v = mu * v - rate / 10 * gradient((theta + mu * v)[None])[1][0]
        theta = theta + v
        optimizer.apply_gradients([(gradient(x[None])[1][0], x)])
        np.testing.assert_allclose(x, theta + mu * v, rtol=1e-11)


@pytest.mark.parametrize("make", [GradientDescent, lambda: GradientDescent(0.1, 0.9, True), Adam, LBFGS])
def test_gradients_that_are_the_variables(make):
    # Those of sum(x * y) are y and x.
    def run(keep):
        x, y, optimizer = np.array([4.0, 1.0]), np.array([-8.0, 2.0]), make()
        for _ in range(4):
            extra = {"loss": (x * y).sum()} if optimizer.needs_loss else {}
            optimizer.apply_gradients([(keep(y), x), (keep(x), y)], **extra)
        return x, y

    assert bits(*run(lambda array: array)) == bits(*run(np.copy))


def test_the_learning_rate_may_change():
    for make in (GradientDescent, Adam):
        x, optimizer = np.array(0.0), make(0.5)
        optimizer.apply_gradients([(1.0, x)])
        first = float(x)
        optimizer.learning_rate = 1e-3
        optimizer.apply_gradients([(1.0, x)])
        assert abs(float(x) - first) == pytest.approx(1e-3, rel=1e-6)
        assert first == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "make", [GradientDescent, lambda: GradientDescent(0.1, 0.9, nesterov=True), Adam], ids=["plain", "nesterov", "adam"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_variables_stay_where_they_are(make, dtype, shape):
    whole = np.ones((2, *shape), dtype)
    x = whole[1, ...]  # a view
    optimizer = make()
    for _ in range(3):
        optimizer.apply_gradients([(x * dtype(2), x)])
    assert x.dtype == dtype and x.base is whole
    assert (whole[0] == 1).all() and (whole[1] < 1).all()
    for average in getattr(optimizer.state, "m", optimizer.state):
        assert average.dtype == dtype and np.shape(average) == shape


@pytest.mark.parametrize("make", [lambda: GradientDescent(0.25), lambda: GradientDescent(0.25, 0.5, True), Adam])
def test_device_arrays_stay_there(make):
    x, ours = device.Array([3.0, -1.0]), np.array([3.0, -1.0])
    there, here = make(), make()
    for _ in range(5):
        there.apply_gradients([(x * 2.0, x)])
        here.apply_gradients([(ours * 2.0, ours)])
    assert bits(x.get()) == bits(ours)


# ----------------------------------------------------------------------------------------------
# L-BFGS


class Split:
    """A problem of n coordinates, as a loss of two variables: a matrix as far as it goes, and the rest."""

    def __init__(self, problem, dtype=np.float64):
        self.problem, self.start = problem, problem.x0.astype(dtype)
        half = problem.n // 2
        self.a, self.b = np.empty((half, 1), dtype), np.empty(problem.n - half, dtype)
        self.put(self.start)

    @property
    def variables(self):
        return {"a": self.a, "b": self.b}

    def put(self, x):
        """Move the variables to x (n,)."""
        self.a[...], self.b[...] = x[: self.a.size, None], x[self.a.size :]

    def point(self):
        """Return a copy of the variables, side by side."""
        return np.concatenate([self.a.ravel(), self.b])

    def loss(self):
        """Return loss and gradients."""
        f, g = self.problem.fun(self.point()[None])
        return f[0], {"b": g[0, self.a.size :], "a": g[0, : self.a.size, None]}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_lbfgs_asks_for_the_points_of_the_solver(name, dtype):
    problem = by_name(name)
    split = Split(problem, dtype)
    solver = Solver(split.start, gtol=0.0, ftol=0.0)
    losses, points = [], []
    while solver.running and len(losses) < 60:
        x = solver.ask().copy()
        f, g = problem.fun(x[None])
        points.append(x)
        losses.append(f[0])
        solver.tell(f[0], g[0])
    optimizer = LBFGS()
    count = len(losses)
    trace = trace_minimize(
        split.loss, count, optimizer, trainable_variables=split.variables,
        trace_fn=lambda loss, gradients, variables: (loss, split.point()),
    )  # fmt: skip
    assert bits(trace[0]) == bits(np.array(losses, trace[0].dtype))
    # Parameters traced at t are those of the loss at t + 1; the last ones are the best.
    assert bits(trace[1]) == bits(np.array([*points[1:], solver.result().x]))
    ours, expected = optimizer.result(), solver.result()
    assert bits(ours.x, ours.g, split.point()) == bits(expected.x, expected.g, expected.x)
    assert (ours.f, ours.nit, ours.nfev, ours.status) == (expected.f, expected.nit, expected.nfev, expected.status)
    assert optimizer.state == (expected.nit, expected.nfev, solver.running)


@pytest.mark.parametrize("gtol", [1e-5, 0.0])
def test_lbfgs_rests_at_the_solution(gtol):
    split = Split(by_name("rosenbrock"))
    optimizer = LBFGS(gtol=gtol, history=5)
    trace = trace_minimize(
        split.loss, 100, optimizer, trainable_variables=split.variables,
        trace_fn=lambda record: {"loss": record.loss, "x": split.point(), **record.optimizer_state._asdict()},
    )  # fmt: skip
    last = int(np.flatnonzero(trace["running"])[-1]) + 1
    assert last < 80
    assert (np.diff(trace["x"][last:], axis=0) == 0).all()
    assert (trace["nfev"][last:] == last + 1).all()
    assert (np.diff(trace["nit"]) >= 0).all()
    assert optimizer.converged == (optimizer.result().status == Status.CONVERGED_GRADIENT)
    assert optimizer.converged or gtol == 0.0
    np.testing.assert_allclose(split.point(), 1.0, atol=1e-5)


def test_lbfgs_leaves_the_accepted_point():
    # Of the first losses of Rosenbrock's function some belong to trial points that are not accepted.
    best, raised = np.inf, 0
    for steps in range(1, 26):
        split, optimizer = Split(by_name("rosenbrock")), LBFGS()
        losses = trace_minimize(split.loss, steps, optimizer, trainable_variables=split.variables)
        left = split.loss()[0]
        assert left in losses and left == optimizer.result().f <= best
        best, raised = left, raised + (losses[-1] > left)
    assert raised


@pytest.mark.parametrize("pause", [1, 2, 5, 8, 20])
def test_lbfgs_goes_on(pause):
    whole, parts = Split(by_name("wood")), Split(by_name("wood"))
    expected = trace_minimize(whole.loss, 30, LBFGS(), trainable_variables=whole.variables)
    optimizer = LBFGS()
    first = trace_minimize(parts.loss, pause, optimizer, trainable_variables=parts.variables)
    best = parts.loss()[0]
    second = trace_minimize(parts.loss, 30 - pause + 1, optimizer, trainable_variables=parts.variables)
    # The first step of the second run only goes back to the point of the search.
    assert second[0] == best
    assert bits(np.concatenate([first, second[1:]])) == bits(expected)
    assert bits(parts.point()) == bits(whole.point())


def test_lbfgs_starts_where_the_loss_is_not_finite():
    x = np.array([-1.0])
    optimizer = LBFGS()
    losses = trace_minimize(lambda: (np.nan, x * np.nan), 3, optimizer, trainable_variables=x)
    assert np.isnan(losses).all() and x == [-1.0]
    assert optimizer.result().status == Status.NONFINITE_START and not optimizer.converged


def test_lbfgs_before_the_first_step():
    optimizer = LBFGS()
    optimizer.finish()
    assert not optimizer.converged and optimizer.state == (0, 0, True)
    with pytest.raises(RuntimeError, match=r"no step yet.*after apply_gradients"):
        optimizer.result()


@pytest.mark.parametrize("value", [np.nextafter(0.0, 1.0), -0.0, 1.0, np.nan])
def test_lbfgs_notices_who_moves_the_variables(value):
    x = np.array([1.0, 0.0])
    optimizer = LBFGS()
    optimizer.apply_gradients([(np.array([2.0, 0.0]), x)], loss=1.0)
    assert x.tolist() == [0.0, 0.0]
    before = x.copy()
    x[0] = value
    with pytest.raises(RuntimeError, match=r"not where this LBFGS left them.*finish\(\).*new one"):
        optimizer.apply_gradients([(x.copy(), x)], loss=0.0)
    optimizer.finish()
    assert x.tolist() == [1.0, 0.0]
    optimizer.apply_gradients([(np.array([2.0, 0.0]), x)], loss=1.0)
    assert bits(x) == bits(before)


# ----------------------------------------------------------------------------------------------
# Bad input


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Adam(0.0), ValueError, r"learning_rate must be a number above 0; got 0.0"),
        (lambda: Adam(np.inf), ValueError, r"learning_rate must be .*; got inf"),
        (lambda: Adam(np.nan), ValueError, r"learning_rate must be .*; got nan"),
        (lambda: Adam("0.1"), TypeError, r"learning_rate must be .*; got '0.1' of type str"),
        (lambda: Adam(True), TypeError, r"learning_rate must be .*; got True of type bool"),
        (lambda: Adam(beta_1=1.0), ValueError, r"beta_1 must be a number at least 0 and below 1; got 1.0"),
        (lambda: Adam(beta_2=-0.1), ValueError, r"beta_2 must be a number at least 0 and below 1; got -0.1"),
        (lambda: Adam(epsilon=0.0), ValueError, r"epsilon must be a number above 0; got 0.0"),
        (lambda: GradientDescent(-1.0), ValueError, r"learning_rate must be a number above 0; got -1.0"),
        (lambda: GradientDescent(momentum=1.0), ValueError, r"momentum must be a number at least 0 and below 1"),
        (lambda: LBFGS(gtol=-1.0), ValueError, r"gtol must be a number that is not negative; got -1.0"),
        (lambda: LBFGS(memory=5), TypeError, r"memory"),
    ],
)
def test_bad_numbers(make, error, message):
    with pytest.raises(error, match=message):
        make()


def read_only():
    """Return an array that cannot be written."""
    x = np.ones(2)
    x.flags.writeable = False
    return x


ONE = np.ones(2)
PAIRS = [
    ("none", lambda: [], ValueError, r"at least one pair"),
    ("integers", lambda: [(ONE, np.ones(2, int))], TypeError, r"variable 0 must be .*floating.*; got dtype int64"),
    ("complex", lambda: [(ONE, np.ones(2, complex))], TypeError, r"variable 0 must be .*; got dtype complex128"),
    ("a list", lambda: [(ONE, ONE.copy()), (ONE, [1.0])], TypeError, r"variable 1 must be .*; got \[1.0\] of"),
    ("a number", lambda: [(1.0, 1.0)], TypeError, r"variable 0 must be .*; got 1.0 of type float"),
    ("a scalar", lambda: [(1.0, np.float64(1))], ValueError, r"variable 0 must be .*float64 that cannot be written"),
    ("read-only", lambda: [(ONE, read_only())], ValueError, r"variable 0 must be .*cannot be written came.*read-only"),
    ("shape", lambda: [(np.ones(3), ONE.copy())], ValueError, r"gradient 0 must have the shape .*\(2,\); got \(3,\)"),
    ("no gradient", lambda: [(None, ONE.copy())], TypeError, r"gradient 0 must be an array of shape \(2,\); got None"),
    ("broadcast", lambda: [(1.0, ONE.copy())], ValueError, r"gradient 0 must have the shape .*\(2,\); got \(\)"),
]


@pytest.mark.parametrize("make", [GradientDescent, Adam, LBFGS])
@pytest.mark.parametrize(("pairs", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in PAIRS])
def test_bad_pairs(make, pairs, error, message):
    optimizer = make()
    extra = {"loss": 1.0} if optimizer.needs_loss else {}
    with pytest.raises(error, match=message):
        optimizer.apply_gradients(pairs(), **extra)


@pytest.mark.parametrize("make", [GradientDescent, Adam, LBFGS])
def test_another_set_of_variables(make):
    optimizer, a, b = make(), np.ones(2), np.ones(2)
    extra = {"loss": 1.0} if optimizer.needs_loss else {}
    optimizer.apply_gradients([(ONE, a), (ONE, b)], **extra)
    for others in ([a], [b, a], [a, b.copy()], [a, b, np.ones(2)]):
        with pytest.raises(ValueError, match=rf"this {make.__name__} remembers the 2 variables.*make a new one"):
            optimizer.apply_gradients([(ONE, each) for each in others], **extra)


@pytest.mark.parametrize(
    ("variables", "got"),
    [
        ([np.ones(2, np.float32), np.ones(2)], "float32, float64"),
        ([np.ones(2, np.float16)], "float16"),
        ([device.Array([1.0, 1.0])], "tests.Array"),
    ],
)
def test_lbfgs_needs_numpy_arrays_of_one_dtype(variables, got):
    pairs = [(variable * 2, variable) for variable in variables]
    with pytest.raises(TypeError, match=f"LBFGS needs NumPy arrays, or CuPy arrays, all .* float64; got {got}. Adam"):
        LBFGS().apply_gradients(pairs, loss=1.0)
    Adam().apply_gradients(pairs)


def test_lbfgs_needs_one_loss():
    with pytest.raises(ValueError, match=re.escape("must be one number; got shape (3,). For a batch")):
        LBFGS().apply_gradients([(ONE, ONE.copy())], loss=np.ones(3))
    with pytest.raises(TypeError, match="loss"):
        LBFGS().apply_gradients([(ONE, ONE.copy())])
    x = ONE.copy()
    LBFGS().apply_gradients([(2 * x, x)], loss=np.full((1, 1), 2.0))
    assert (x != ONE).all()


def test_lbfgs_refuses_complex_gradients():
    x, optimizer = ONE.copy(), LBFGS()
    with pytest.raises(TypeError, match="complex128"):
        optimizer.apply_gradients([(x * 1j, x)], loss=1.0)
    assert (x == ONE).all()
    optimizer.finish()  # of nothing: the next step is the first
    optimizer.apply_gradients([(2 * x, x)], loss=1.0)
    assert optimizer.state.nfev == 1


# ----------------------------------------------------------------------------------------------
# Somebody else's


@pytest.fixture
def keras(monkeypatch):
    """Return Keras, on NumPy unless it is there already with another backend."""
    monkeypatch.setenv("KERAS_BACKEND", "numpy")
    return pytest.importorskip("keras")


@pytest.mark.parametrize("name", ["Adam", "SGD"])
def test_an_optimizer_of_keras(keras, name):
    """It has its own variables, which it alone writes; its Adam and SGD take the steps of ours."""
    theirs = {"Adam": keras.optimizers.Adam(0.1), "SGD": keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)}[name]
    ours = {"Adam": Adam(0.1), "SGD": GradientDescent(0.1, momentum=0.9, nesterov=True)}[name]
    x = keras.Variable(np.zeros(3), dtype="float64", name="x")
    y = np.zeros(3)

    def loss(at):
        return lambda: (((np.asarray(at) - 5) ** 2).sum(), 2 * (np.asarray(at) - 5))

    def traced(loss, gradients, variables):
        return {"loss": loss, "x": np.asarray(variables).copy()}

    trace = trace_minimize(loss(x), 100, theirs, trainable_variables=x, trace_fn=traced)
    expected = trace_minimize(loss(y), 100, ours, trainable_variables=y, trace_fn=traced)
    assert trace["loss"].shape == (100,) and trace["x"].shape == (100, 3)
    np.testing.assert_allclose(trace["x"], expected["x"], rtol=1e-5)  # Keras keeps rates in float32
    assert trace["loss"][-1] < 1.0


def test_an_exception_puts_keras_variables_back(keras):
    x = keras.Variable(np.ones(3), dtype="float64")
    calls = 0

    def loss():
        nonlocal calls
        calls += 1
        return (np.asarray(x) ** 2).sum(), 2 * np.asarray(x)

    def fails(loss, gradients, variables):
        if calls == 3:
            raise KeyboardInterrupt
        return np.asarray(variables).copy()

    with pytest.raises(KeyboardInterrupt) as caught:
        trace_minimize(loss, 9, keras.optimizers.SGD(0.25), trainable_variables=x, trace_fn=fails)
    np.testing.assert_array_equal(np.asarray(x), 0.25)
    np.testing.assert_array_equal(caught.value.partial_trace[:, 0], [0.5, 0.25])
