"""`trace_minimize` and its optimizers on CuPy arrays, on the stand-in of `on_host`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastbfgs import LBFGS, Adam, ConvergenceCriterion, GradientDescent, LossNotDecreasing, nests, trace_minimize
from tests import on_host
from tests.test_device import away

pytestmark = on_host.needs_compiler
xp: Any = on_host
"""The array library; gpu.py runs some of these tests with CuPy."""


@pytest.fixture(autouse=True)
def _cupy(monkeypatch):
    on_host.pretend(monkeypatch)


def both(run):
    """Return the leaves of what `run` makes with CuPy and with NumPy, after comparing them."""
    ours, theirs = ([leaf for _, leaf in nests.items(run(make))] for make in (xp.array, np.array))
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        bare = mine.get() if isinstance(mine, xp.ndarray) else mine
        np.testing.assert_array_equal(bare, other)
        assert getattr(bare, "dtype", type(bare)) == getattr(other, "dtype", type(other))
    return ours, theirs


OPTIMIZERS = {
    "plain": lambda: GradientDescent(0.02),
    "momentum": lambda: GradientDescent(0.02, 0.5),
    "nesterov": lambda: GradientDescent(0.02, 0.5, nesterov=True),
    "adam": lambda: Adam(0.1),
    "lbfgs": LBFGS,
    "bfgs": lambda: LBFGS(method="BFGS", gtol=1e-3),
}


def quartic(a, b):
    """Return the loss of two variables, and its gradients."""
    d, e = a - 1.0, b - 2.0
    return (d**4).sum() + (e * e).sum() + (d * d).sum(), {"a": 4.0 * d**3 + 2.0 * d, "b": 2.0 * e}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("late", [0, 3])
def test_all_that_a_record_holds(late, make, dtype, monkeypatch):
    monkeypatch.setattr(on_host, "late", late)

    def run(array):
        a, b = array(np.array([[3.0, -1.0]], dtype)), array(np.array(0.5, dtype))
        optimizer = make()
        records = trace_minimize(
            lambda: quartic(a, b), 25, optimizer, trainable_variables={"a": a, "b": b},
            trace_fn=lambda record: record,
        )  # fmt: skip
        return records, a, b, getattr(optimizer, "converged", None)

    ours, _ = both(run)
    assert sum(isinstance(each, xp.ndarray) for each in ours) >= 7
    assert abs(ours[-3].get() - 1.0).max() < 1.5 and ours[-3].dtype == dtype


@pytest.mark.parametrize("reduce", [np.all, np.any])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("window", [4, [4, 3, 5]])
def test_a_batch_of_losses_and_a_criterion(window, full, reduce):
    """Whose arguments may be on the host, or on the device."""

    def run(array):
        x = array([[4.0, 1.0], [-8.0, 2.0], [0.5, 0.1]])
        trace = trace_minimize(
            lambda: ((x * x).sum(axis=1), 2.0 * x), 60, Adam(1.0),
            LossNotDecreasing(
                atol=0.05, rtol=array([0.1, 0.2, 0.1]), window_size=array(window) if full else window,
                min_num_steps=[3, 4, 3],
            ),
            reduce, x, lambda record: record, full,
        )  # fmt: skip
        return trace, x

    ours, theirs = both(run)
    steps = theirs[0]
    assert 3 <= int(steps.max()) < 59 and (len(steps) == 60) == full
    assert sum(isinstance(each, xp.ndarray) for each in ours) == len(ours) - 2  # but for our steps and Adam's


def test_a_criterion_of_ones_own_and_numbers_in_the_trace():
    class Small(ConvergenceCriterion):
        def _bootstrap(self, loss, grads, parameters):
            return loss * 1

        def _one_step(self, step, loss, grads, parameters, auxiliary_state):
            return abs(grads).max() < 0.1, loss * 1

    def run(array):
        x = array([4.0, -3.0])
        return trace_minimize(
            lambda: ((x * x).sum(), 2.0 * x), 100, GradientDescent(0.1), Small(), trainable_variables=x,
            trace_fn=lambda loss, grads, variables: {"loss": float(loss), "x": variables, "no": None, "g_0": grads[0]},
            return_full_length_trace=False,
        )  # fmt: skip

    ours, _ = both(run)
    assert isinstance(ours[0], np.ndarray) and 5 < len(ours[0]) < 100


def test_a_gradient_that_is_a_variable_and_a_loss_that_is_one():
    def run(array):
        x, y = array(3.0), array(2.0)
        return trace_minimize(
            lambda: (x * y, (y[...], x[...])), 5, GradientDescent(0.1), trainable_variables=(x, y),
            trace_fn=lambda loss, grads, variables: (loss, grads, variables),
        )  # fmt: skip

    both(run)


@pytest.mark.parametrize("make", [LBFGS, lambda: Adam(0.1)])
def test_what_loss_fn_raises_leaves_the_last_complete_step(make):
    def run(array):
        a, b = array([3.0, -1.0]), array([0.5])
        calls = []

        def loss_fn():
            calls.append(1)
            if len(calls) == 6:
                a[...] = 99.0
                raise KeyboardInterrupt
            loss, gradients = quartic(a, b)
            return loss, [gradients["a"], gradients["b"]]

        with pytest.raises(KeyboardInterrupt) as stopped:
            trace_minimize(loss_fn, 9, make(), trainable_variables=[a, b], trace_fn=lambda loss, *_: loss)
        return stopped.value.partial_trace, b

    both(run)


def test_lbfgs_goes_on_from_where_it_was_and_says_when_it_was_moved():
    def run(array):
        x = array([3.0, -1.0, 0.5])
        optimizer = LBFGS(history=2)
        losses = [
            trace_minimize(lambda: (((x - 1.0) ** 4).sum(), 4.0 * (x - 1.0) ** 3), 7, optimizer, trainable_variables=x)
            for _ in range(3)
        ]
        result = optimizer.result()
        assert optimizer.state.nfev == result.calls and type(result.f) is float
        x[...] = 0.0
        with pytest.raises(RuntimeError, match="the variables are not where this LBFGS left them"):
            optimizer.apply_gradients([(x, x)], loss=1.0)
        return losses, result.x, result.g, optimizer.state.nit, optimizer.state.nfev

    both(run)


def test_lbfgs_rests_at_the_solution(monkeypatch):
    """Also before the host would have heard of it."""
    monkeypatch.setattr(on_host, "late", 3)

    def run(array):
        x = array([3.0, -1.0, 0.5])
        optimizer = LBFGS(gtol=1e-6)
        losses = trace_minimize(lambda: ((x * x).sum(), 2.0 * x), 30, optimizer, trainable_variables=x)
        assert optimizer.converged and not optimizer.state.running and optimizer.state.nfev < 20
        return losses, x, optimizer.state.nfev

    both(run)


def test_arrays_of_two_places():
    here, there = np.ones(2), xp.array(np.ones(2))
    for gradient, variable in ((here, there), (away(np.ones(2)), there)):
        with pytest.raises((TypeError, ValueError), match=r"gradient 0 must be .*device 0, as variable 0 is"):
            LBFGS().apply_gradients([(gradient, variable)], loss=1.0)
    for variables, got in (([here, there], "cupy.ndarray, float64"), ([there, here], "float64, numpy.ndarray")):
        with pytest.raises(TypeError, match=f"LBFGS needs NumPy arrays, or CuPy arrays, .*; got {got}"):
            LBFGS().apply_gradients([(each * 2.0, each) for each in variables], loss=1.0)
    with pytest.raises(ValueError, match="variable 1 must be on device 0, as variable 0 is; it is on device 1"):
        LBFGS().apply_gradients([(each * 2.0, each) for each in (there, away(np.ones(2)))], loss=1.0)
    x = xp.array(np.ones(()))
    LBFGS().apply_gradients([(2.0, x)], loss=xp.array(np.ones((1, 1))))
    assert float(x) != 1.0
