"""The trace runner: which loss belongs to which variables, what is traced, when it ends, and what goes wrong."""

from __future__ import annotations

import functools
import itertools
import operator
import re
import sys
from collections import namedtuple

import numpy as np
import pytest

from fastbfgs import LBFGS, Adam, ConvergenceCriterion, GradientDescent, LossNotDecreasing, nests, trace_minimize
from fastbfgs.trace import LossNotDecreasingState, MinimizeTraceableQuantities
from tests import device


class Halving:
    """An optimizer that is not ours: x = x - g / 4, which halves x where the loss is x**2."""

    def __init__(self):
        self.calls = 0

    def apply_gradients(self, grads_and_vars):
        self.calls += 1
        for gradient, variable in grads_and_vars:
            variable[...] = variable - gradient / 4


class Square:
    """The loss sum(x**2), which counts how often it was asked."""

    def __init__(self, x):
        self.x = x
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return (self.x**2).sum(), 2 * self.x


class Scripted(ConvergenceCriterion):
    """Says of each step, from 1 on, what the script says; remembers what it was asked."""

    def __init__(self, script, **options):
        super().__init__(**options)
        self.script = script
        self.asked = []

    def _bootstrap(self, loss, grads, parameters):
        self.asked.append((0, loss, grads, np.array(parameters)))
        return 0

    def _one_step(self, step, loss, grads, parameters, auxiliary_state):
        self.asked.append((step, loss, grads, np.array(parameters)))
        return np.array(self.script[step - 1]), auxiliary_state + step


def leaves_of(nest):
    """Return the leaves of a nest."""
    return [leaf for _, leaf in nests.items(nest)]


def everything(record):
    """Trace all of the record that can be."""
    return record._replace(optimizer_state=None)


# ----------------------------------------------------------------------------------------------
# The examples that this was asked for with


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
@pytest.mark.parametrize("make", [lambda: GradientDescent(0.01, 0.5), Adam, LBFGS])
def test_variables_in_the_other_order_of_bytes(make, dtype):
    traces, ends = [], []
    for kind in (dtype, np.dtype(dtype).newbyteorder("=")):
        x = np.array([4.0, -2.0], kind)

        def loss_fn(x=x):
            return ((x - 1) ** 4).sum(), 4 * (x - 1) ** 3

        traces.append(trace_minimize(loss_fn, 9, make(), trainable_variables=x, trace_fn=lambda _, g, x: (g, x)))
        ends.append(x)
    assert ends[0].dtype == traces[0][1].dtype == dtype
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_array_equal(traces[0], traces[1])


def test_adam_finds_five():
    x = np.array(0.0)
    losses = trace_minimize(lambda: ((x - 5) ** 2, 2 * (x - 5)), 100, Adam(0.1), trainable_variables=[x])
    assert losses.shape == (100,) and losses.dtype == np.float64
    assert losses[0] == 25.0
    assert losses[-1] < 0.01 and abs(x - 5) < 0.1


@pytest.mark.parametrize(
    "trace_fn",
    [
        lambda loss, gradients, variables: {"loss": loss, "x": variables[0]},
        lambda record: {"loss": record.loss, "x": record.parameters[0]},
    ],
)
def test_a_dictionary_of_traces(trace_fn):
    x = np.array(0.0)
    trace = trace_minimize(
        lambda: ((x - 5) ** 2, [2 * (x - 5)]), 100, Adam(0.1), trainable_variables=[x], trace_fn=trace_fn
    )
    assert list(trace) == ["loss", "x"]
    assert trace["loss"].shape == trace["x"].shape == (100,)
    np.testing.assert_array_equal(trace["loss"][1:], (trace["x"][:-1] - 5) ** 2)


# ----------------------------------------------------------------------------------------------
# Timing


@pytest.mark.parametrize("num_steps", [0, 1, 2, 7, np.int32(3)])
def test_which_loss_belongs_to_which_variables(num_steps):
    x = np.array([4.0, -8.0])
    start, loss_fn, optimizer = x.copy(), Square(x), Halving()
    trace = trace_minimize(loss_fn, num_steps, optimizer, trainable_variables=x, trace_fn=everything)
    length = max(1, int(num_steps))
    assert type(trace) is MinimizeTraceableQuantities
    assert loss_fn.calls == optimizer.calls == length
    assert trace.step.tolist() == list(range(length))
    after = start / 2.0 ** np.arange(1, length + 1)[:, None]
    before = np.concatenate([start[None], after[:-1]])
    np.testing.assert_array_equal(trace.parameters, after)
    np.testing.assert_array_equal(trace.gradients, 2 * before)
    np.testing.assert_array_equal(trace.loss, (before**2).sum(axis=1))
    np.testing.assert_array_equal(x, trace.parameters[-1])
    assert trace.has_converged is None and trace.convergence_criterion_state == ()


def test_the_criterion_sees_what_the_trace_sees():
    x = np.array([4.0, -8.0])
    criterion = Scripted([False, False, False])
    trace = trace_minimize(Square(x), 4, Halving(), criterion, trainable_variables=x, trace_fn=everything)
    assert [asked[0] for asked in criterion.asked] == trace.step.tolist() == [0, 1, 2, 3]
    for _, (step, loss, gradients, parameters) in zip(range(4), criterion.asked, strict=True):
        assert loss == trace.loss[step]
        np.testing.assert_array_equal(gradients, trace.gradients[step])
        np.testing.assert_array_equal(parameters, trace.parameters[step])
    assert trace.has_converged.tolist() == [False] * 4 and trace.has_converged.dtype == bool
    assert trace.convergence_criterion_state.tolist() == [0, 1, 3, 6]


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("last", [1, 3, 8, 9])
def test_the_end_comes_with_convergence(last, full):
    x = np.array([4.0, -8.0])
    loss_fn, optimizer, traced = Square(x), Halving(), []
    script = [step == last for step in range(1, 10)]
    trace = trace_minimize(
        loss_fn, 10, optimizer, Scripted(script), trainable_variables=x, return_full_length_trace=full,
        trace_fn=lambda record: traced.append(record.step) or everything(record),
    )  # fmt: skip
    assert loss_fn.calls == optimizer.calls == last + 1
    assert traced == list(range(last + 1))
    steps = [*range(last + 1), *[last] * (10 - last - 1)] if full else list(range(last + 1))
    assert trace.step.tolist() == steps
    assert trace.has_converged.tolist() == [step == last for step in steps]
    np.testing.assert_array_equal(trace.loss, 80.0 / 4.0 ** np.array(steps))
    np.testing.assert_array_equal(trace.parameters[-1], x)
    assert full or trace.loss.base is None  # what was not needed is let go


@pytest.mark.parametrize("full", [True, False])
def test_without_convergence_all_steps_are_taken(full):
    x = np.array([4.0])
    losses = trace_minimize(
        Square(x), 6, Halving(), Scripted([False] * 5), trainable_variables=x, return_full_length_trace=full
    )
    np.testing.assert_array_equal(losses, 16.0 / 4.0 ** np.arange(6))


# Member by member, steps 1 to 4: the second has converged at step 2, and no longer at step 3.
SCRIPT = [[False, False], [False, True], [True, False], [True, True], [False, False]]


@pytest.mark.parametrize(
    ("reduce", "last"),
    [(np.all, 4), (np.any, 2), (lambda each: each.mean() > 0.9, 4), (lambda each: each[0], 3), (lambda each: True, 0)],
)
def test_batches(reduce, last):
    x = np.array([[4.0], [-8.0]])
    trace = trace_minimize(
        lambda: ((x**2).sum(axis=1), 2 * x), 6, Halving(), Scripted(SCRIPT), reduce, x, trace_fn=everything,
        return_full_length_trace=False,
    )  # fmt: skip
    assert trace.loss.shape == trace.has_converged.shape == (last + 1, 2)
    assert trace.has_converged.tolist() == [[False, False], *SCRIPT[:last]]
    # All members are updated to the end, whatever was said of them.
    np.testing.assert_array_equal(x, np.array([[4.0], [-8.0]]) / 2.0 ** (last + 1))


# ----------------------------------------------------------------------------------------------
# Criteria


def not_decreasing(losses, atol, rtol, window_size, min_num_steps):
    """Return the states and verdicts on one sequence of losses, by the formulas of TFP."""
    decay = 1 - 1 / window_size
    average = initial = 0.0
    states, verdicts = [(losses[0], 0.0, 0.0)], [False]
    for step in range(1, len(losses)):
        decrease = losses[step - 1] - losses[step]
        average = decrease + decay * (average - decrease)
        verdicts.append(average < max(atol or 0.0, (rtol or 0.0) * initial) and step >= (min_num_steps or 0))
        initial = average if step <= window_size else initial
        states.append((losses[step], average, initial))
    return states, verdicts


RULES = [
    {"atol": 0.01},
    {"rtol": 0.1},
    {"atol": 0.3, "rtol": 0.2, "window_size": 3, "min_num_steps": 5},
    {"atol": -1.0},
    {"atol": 0.05, "window_size": 1, "min_num_steps": 0},
    {"rtol": 0.5, "window_size": 30, "min_num_steps": None},
]


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_loss_not_decreasing(rules):
    rng = np.random.default_rng(3)
    own = {"atol": None, "rtol": None, "window_size": 10, "min_num_steps": 20} | rules
    for losses in (
        (100 * 0.8 ** np.arange(60) + 0.01 * rng.standard_normal(60)).tolist(),
        (rng.standard_normal(60).cumsum()).tolist(),
        np.arange(60.0).tolist(),
        [5.0] * 60,
    ):
        states, verdicts = not_decreasing(losses, **own)
        criterion = LossNotDecreasing(**rules)
        state, found = criterion.bootstrap(np.float64(losses[0]), None, None), [False]
        assert type(state) is LossNotDecreasingState and state == states[0]
        for step in range(1, 60):
            converged, state = criterion.one_step(step, np.float64(losses[step]), None, None, state)
            found.append(converged)
            assert state == states[step]
        assert found == verdicts


def test_loss_not_decreasing_of_a_batch_is_that_of_each():
    rng = np.random.default_rng(5)
    losses = (np.array([10.0, 100.0, 1.0]) * 0.9 ** np.arange(50)[:, None] + 0.1 * rng.random((50, 3))).tolist()
    rules = {"atol": [0.3, 0.1, 0.01], "rtol": [0.0, 0.3, 0.1], "window_size": [3, 10, 20], "min_num_steps": [0, 9, 20]}
    criterion = LossNotDecreasing(**rules)
    state, found = criterion.bootstrap(np.array(losses[0]), None, None), [[False] * 3]
    for step in range(1, 50):
        converged, state = criterion.one_step(step, np.array(losses[step]), None, None, state)
        found.append(converged.tolist())
    for b in range(3):
        own = {name: values[b] for name, values in rules.items()}
        _, verdicts = not_decreasing([row[b] for row in losses], **own)
        assert [row[b] for row in found] == verdicts
        assert True in verdicts


@pytest.mark.parametrize(
    "rules",
    [
        {"atol": 0.1},
        {"rtol": np.float64(0.1), "window_size": np.float64(3)},
        {"atol": [0.1, 0.2], "window_size": [3, 4]},
    ],
)
def test_loss_not_decreasing_keeps_float32(rules):
    criterion = LossNotDecreasing(**rules)
    loss = np.array([4.0, 2.0], np.float32)
    state = criterion.bootstrap(loss, None, None)
    _, after = criterion.one_step(1, loss / 2, None, None, state)
    assert {part.dtype for part in (*state, *after)} == {np.dtype(np.float32)}


def test_loss_not_decreasing_of_a_loss_in_one_array():
    # A loss_fn may write into the same array every time.
    x, loss = np.array([4.0, -8.0]), np.empty(2)
    losses = trace_minimize(
        lambda: (np.square(x, out=loss), 2 * x), 100, Halving(), LossNotDecreasing(atol=1e-3, min_num_steps=None),
        trainable_variables=x, return_full_length_trace=False,
    )  # fmt: skip
    _, verdicts = not_decreasing(losses[:, 1].tolist(), 1e-3, None, 10, None)
    assert verdicts == [False] * (len(losses) - 1) + [True] and 20 < len(losses) < 100


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("batch", [True, False])
def test_a_loss_that_is_not_finite_never_converges(bad, batch):
    x = np.array([1.0])
    calls = itertools.count()

    def loss_fn():
        loss = bad if next(calls) >= 3 else 1.0
        return (np.array([loss]) if batch else np.float64(loss)), 0 * x

    trace = trace_minimize(
        loss_fn, 40, Halving(), LossNotDecreasing(atol=0.1, rtol=0.5), trainable_variables=x, trace_fn=everything
    )
    assert trace.step[-1] == 39 and not trace.has_converged.any()


def test_a_rising_loss_has_converged():
    rising = iter(range(100))
    x = np.array([0.0])
    losses = trace_minimize(
        lambda: (float(next(rising)), x), 50, Halving(), LossNotDecreasing(rtol=0.1), trainable_variables=x,
        return_full_length_trace=False,
    )  # fmt: skip
    assert losses.tolist() == list(range(21))


def test_criteria_of_ones_own():
    with pytest.raises(NotImplementedError, match=r"ConvergenceCriterion must have a method _bootstrap\("):
        ConvergenceCriterion().bootstrap(0.0, 0.0, 0.0)
    with pytest.raises(NotImplementedError, match=r"ConvergenceCriterion must have a method _one_step\("):
        ConvergenceCriterion().one_step(1, 0.0, 0.0, 0.0, ())
    for least, expected in [(None, [True] * 4), (3, [False, False, True, True]), ([1, 3], None)]:
        criterion = Scripted([True] * 4, min_num_steps=least)
        criterion.bootstrap(0.0, 0.0, 0.0)
        found = [criterion.one_step(step, 0.0, 0.0, 0.0, 0)[0].tolist() for step in range(1, 5)]
        assert found == (expected or [[True, False], [True, False], [True, True], [True, True]])


def test_criteria_say_what_is_wrong():
    with pytest.raises(ValueError, match="needs atol or rtol, or both; got neither"):
        LossNotDecreasing()
    for window in (0, [10, 0]):
        with pytest.raises(ValueError, match="window_size must be at least 1"):
            LossNotDecreasing(atol=0.1, window_size=window)
    for name in ("atol", "rtol", "window_size", "min_num_steps"):
        for given in ("a", ["a"], 1j, object()):
            with pytest.raises(TypeError, match=rf"{name} must be a number, or an array of numbers; got .* of type"):
                LossNotDecreasing(**({"atol": 0.1} | {name: given}))
        for given in (np.nan, [1.0, np.nan], np.array([np.nan])):
            with pytest.raises(ValueError, match=rf"{name} must be .*, and not NaN; got"):
                LossNotDecreasing(**({"atol": 0.1} | {name: given}))


# ----------------------------------------------------------------------------------------------
# Nests

Point = namedtuple("Point", ["u", "v"])


def test_variables_and_gradients_in_nests():
    a, b, c, d, e = (np.full(shape, 2.0) for shape in [(2,), (), (1, 3), (2, 2), (1,)])
    variables = {"z": [a, (b, c)], "y": Point(d, {"x": e})}
    nested = lambda: {"y": [2 * d, {"x": 2 * e}], "z": ((2 * a), [2 * b, 2 * c])}  # noqa: E731
    flat = lambda: (2 * a, 2 * b, 2 * c, 2 * d, 2 * e)  # noqa: E731
    for step, form in enumerate([nested, flat]):
        trace = trace_minimize(
            lambda form=form: (float((a**2).sum()), form()), 3, Halving(), trainable_variables=variables,
            trace_fn=lambda loss, gradients, variables: variables,
        )  # fmt: skip
        assert list(trace) == ["z", "y"] and type(trace["y"]) is Point and type(trace["z"]) is list
        leaves = [trace["z"][0], *trace["z"][1], trace["y"].u, trace["y"].v["x"]]
        assert type(trace["z"][1]) is tuple
        for leaf, variable in zip(leaves, [a, b, c, d, e], strict=True):
            assert leaf.shape == (3, *variable.shape)
            np.testing.assert_array_equal(leaf[-1], variable)
            assert (variable == 2.0 ** (1 - 3 * (step + 1))).all()


def test_gradients_may_change_their_form():
    a, b = np.array(8.0), np.array(8.0)
    forms = itertools.cycle([lambda: {"b": 2 * b, "a": 2 * a}, lambda: [2 * a, 0.0]])
    trace_minimize(lambda: (a, next(forms)()), 4, Halving(), trainable_variables={"a": a, "b": b})
    assert (a, b) == (0.5, 2.0)


def test_the_gradient_of_one_variable_may_stand_alone():
    for variables in ([np.array([8.0])], {"x": np.array([8.0])}, np.array([8.0])):
        (x,) = leaves_of(variables)
        for form in (lambda x=x: 2 * x, lambda x=x: [2 * x]):
            trace_minimize(lambda form=form: (1.0, form()), 2, Halving(), trainable_variables=variables)
        assert x == 0.5


@pytest.mark.parametrize("make", [Halving, lambda: GradientDescent(0.25), lambda: Adam(0.5), LBFGS])
def test_gradients_that_are_the_variables(make):
    def run(share):
        x, y = np.array([[4.0], [3.0]]), np.array([[-8.0], [2.0]])
        keep = (lambda array: array) if share else np.copy
        return trace_minimize(
            lambda: ((x * y).sum(), [keep(y[:]), keep(x)]), 5, make(), trainable_variables=[x, y],
            trace_fn=lambda *given: given,
        )  # fmt: skip

    for ours, expected in zip(leaves_of(run(True)), leaves_of(run(False)), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_loss_that_is_the_variable():
    for x in (np.array(4.0), np.full((2, 3), 4.0)[0]):
        losses = trace_minimize(lambda x=x: (x, x + 4), 3, Halving(), trainable_variables=x)
        assert np.ravel(losses[:, ...].T)[:3].tolist() == [4.0, 2.0, 0.5]


def test_traces_of_all_kinds():
    x = np.array([4.0, -8.0], np.float32)
    trace = trace_minimize(
        Square(x), 3, Halving(), trainable_variables=x,
        trace_fn=lambda record: {
            "none": None, "empty": (), "int": record.step, "bool": record.step > 1, "float": record.step / 2,
            "complex": record.step * 1j, "scalar": np.float32(record.step), "index": np.intp(record.step),
            "zero": np.array(record.step, np.int8), "matrix": np.full((2, 1), record.step, ">i2"), "live": x,
        },
    )  # fmt: skip
    assert trace["none"] is None and trace["empty"] == ()
    steps = [0, 1, 2]
    for name, dtype in [
        ("int", int), ("float", float), ("complex", complex), ("scalar", np.float32), ("index", np.intp),
        ("zero", np.int8),
    ]:  # fmt: skip
        assert trace[name].dtype == dtype and trace[name].shape == (3,)
    assert trace["int"].tolist() == trace["scalar"].tolist() == trace["zero"].tolist() == steps
    assert trace["bool"].tolist() == [False, False, True]
    assert trace["float"].tolist() == [0.0, 0.5, 1.0] and trace["complex"].tolist() == [0j, 1j, 2j]
    assert trace["matrix"].dtype == ">i2" and trace["matrix"].ravel().tolist() == [0, 0, 1, 1, 2, 2]
    assert trace["live"].tolist() == [[2.0, -4.0], [1.0, -2.0], [0.5, -1.0]] and trace["live"].dtype == np.float32


def test_numbers_may_come_in_several_kinds():
    x = np.array([4.0])
    values = iter([np.float64(0.5), 1, np.array(2.0), True, np.float32(0.25)])
    trace = trace_minimize(Square(x), 5, Halving(), trainable_variables=x, trace_fn=lambda record: next(values))
    assert trace.tolist() == [0.5, 1.0, 2.0, 1.0, 0.25]


def test_nothing_may_be_traced():
    x = np.array([4.0])
    assert trace_minimize(Square(x), 5, Halving(), trainable_variables=x, trace_fn=lambda record: None) is None
    assert trace_minimize(Square(x), 5, Halving(), trainable_variables=x, trace_fn=lambda record: {}) == {}


def three(loss, gradients, variables):
    return loss


def one(record):
    return record.loss


class Traces:
    def method(self, record):
        return record.loss

    def __call__(self, loss, gradients, variables):
        return loss


@pytest.mark.parametrize(
    "trace_fn",
    [
        three,
        one,
        operator.attrgetter("loss"),
        Traces().method,
        Traces(),
        lambda *given: given[0],
        lambda record, /: record.loss,
        lambda record, scale=1.0, shift=0.0: record.loss * scale + shift,
        lambda loss, gradients, variables=None: loss,
        lambda loss=None, gradients=None, variables=None, more=None: loss,
        lambda record, *rest: record.loss,
        functools.partial(lambda scale, record: scale * record.loss, 1.0),
        lambda record, *, scale=1.0: record.loss * scale,
    ],
)
def test_trace_fn_of_one_and_of_three(trace_fn):
    x = np.array([4.0])
    assert trace_minimize(Square(x), 2, Halving(), trainable_variables=x, trace_fn=trace_fn).tolist() == [16.0, 4.0]


def test_the_record_has_the_state_of_the_optimizer():
    x = np.array([4.0, -8.0])
    trace = trace_minimize(
        Square(x), 3, Adam(0.1), trainable_variables=x, trace_fn=operator.attrgetter("optimizer_state")
    )
    assert trace.step.tolist() == [1, 2, 3] and trace.m[0].shape == trace.v[0].shape == (3, 2)
    np.testing.assert_array_equal(trace.m[0][0], (1 - 0.9) * np.array([8.0, -16.0]))
    trace = trace_minimize(
        Square(x), 3, GradientDescent(), trainable_variables=x, trace_fn=operator.attrgetter("optimizer_state")
    )
    assert trace == ()
    trace = trace_minimize(Square(x), 3, Halving(), trainable_variables=x, trace_fn=lambda r: r.optimizer_state)
    assert trace is None


def test_a_loss_for_those_who_need_it():
    class Greedy(Halving):
        needs_loss = True
        losses, finished = [], 0

        def apply_gradients(self, grads_and_vars, *, loss):
            self.losses.append(loss)
            super().apply_gradients(grads_and_vars)

        def finish(self):
            self.finished += 1
            x[...] = 99.0

    x = np.array([4.0])
    greedy = Greedy()
    trace = trace_minimize(Square(x), 3, greedy, trainable_variables=x, trace_fn=lambda r: (r.loss, r.parameters))
    assert greedy.losses == trace[0].tolist() == [16.0, 4.0, 1.0] and greedy.finished == 1
    # The last step is over when its optimizer has finished.
    assert trace[1].ravel().tolist() == [2.0, 1.0, 99.0] and x == 99.0
    x[...] = 4.0
    trace_minimize(Square(x), 9, greedy, Scripted([False, True]), trainable_variables=x)
    assert greedy.finished == 2 and len(greedy.losses) == 6


def test_each_of_the_two_attributes_stands_alone():
    class Averaging(Halving):
        def finish(self):
            x[...] = 99.0

    class Curious(Halving):
        needs_loss = True

        def apply_gradients(self, grads_and_vars, *, loss):
            super().apply_gradients(grads_and_vars)

    x = np.array([4.0])
    trace_minimize(Square(x), 3, Averaging(), trainable_variables=x)
    assert x == 99.0
    x[...] = 4.0
    trace_minimize(Square(x), 3, Curious(), trainable_variables=x)
    assert x == 0.5


# ----------------------------------------------------------------------------------------------
# Devices


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("window", [4, [4, 3]])
def test_device_arrays_stay_there(full, window):
    def run(array, total):
        x, y = array([[4.0, 1.0], [-8.0, 2.0]]), array(3.0)
        trace = trace_minimize(
            lambda: (x[:, 0] * x[:, 0] + y * y, {"y": y * 4.0, "x": x * 2.0}), 40, Adam(1.0),
            LossNotDecreasing(atol=0.05, rtol=[0.1, 0.2], window_size=window, min_num_steps=[3, 4]), np.all,
            {"x": x, "y": y}, lambda record: record, full,
        )  # fmt: skip
        return {**trace._asdict(), "total": total(x)}

    there, here = run(device.Array, device.total), run(np.array, np.sum)
    assert 3 < int(here["step"].max()) < 39 and (len(here["step"]) == 40) == full
    leaves = list(zip(leaves_of(there), leaves_of(here), strict=True))
    on_device = [theirs for theirs, _ in leaves if isinstance(theirs, device.Array)]
    assert len(leaves) - len(on_device) == 2  # the numbers of the steps, ours and Adam's
    for theirs, ours in leaves:
        np.testing.assert_array_equal(theirs.get() if isinstance(theirs, device.Array) else theirs, ours)


def test_arrays_that_cannot_be_written():
    class Frozen(device.Array):
        def __array_namespace__(self):
            return self

        def tile(self, array, repetitions):
            return self

        def __setitem__(self, key, value):
            raise TypeError("Frozen arrays are immutable")

        def __getitem__(self, key):
            return self

    x = np.array([4.0])
    with pytest.raises(TypeError, match=r"written in place; trace\['a'\] is a Frozen: .*immutable.*numpy.asarray"):
        trace_minimize(Square(x), 3, Halving(), trainable_variables=x, trace_fn=lambda r: {"a": Frozen([1.0])})
    with pytest.raises(ValueError, match=r"trainable_variables\[0\] .*a Frozen that cannot be written.*immutable"):
        trace_minimize(Square(x), 3, Halving(), trainable_variables=[Frozen([1.0])])


# ----------------------------------------------------------------------------------------------
# Progress


class Bar:
    """Stands for a tqdm class."""

    def __init__(self, **options):
        self.options, self.n, self.closed = options, 0, False
        Bar.last = self

    def update(self, count=1):
        self.n += count

    def close(self):
        self.closed = True


def test_progress():
    x = np.array([4.0])
    seen = []
    options = {"trainable_variables": x, "progress": lambda *given: seen.append(given)}
    trace_minimize(Square(x), 3, Halving(), **options)
    assert seen == [(1, 3, 16.0), (2, 3, 4.0), (3, 3, 1.0)]
    seen.clear()
    trace_minimize(Square(x), 9, Halving(), Scripted([True]), **options)
    assert [given[:2] for given in seen] == [(1, 9), (2, 9)]


def test_progress_bar():
    x = np.array([4.0])
    trace_minimize(Square(x), 3, Halving(), trainable_variables=x, progress=Bar, name="halving")
    assert Bar.last.options == {"total": 3, "unit": "step", "desc": "halving"}
    assert Bar.last.n == 3 and Bar.last.closed
    with pytest.raises(ZeroDivisionError):
        trace_minimize(lambda: 1 // 0, 3, Halving(), trainable_variables=x, progress=Bar)
    assert Bar.last.n == 0 and Bar.last.closed


def test_progress_true_needs_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    x = np.array([4.0])
    with pytest.raises(ImportError, match=r"install fastbfgs\[progress\], or pass .*\(done, steps, loss\)"):
        trace_minimize(Square(x), 3, Halving(), trainable_variables=x, progress=True)


# ----------------------------------------------------------------------------------------------
# Exceptions half way


class Trouble(Exception):
    """What goes wrong in these tests."""


class Fragile(Halving):
    """Raises in a step after it has changed the first variable."""

    def __init__(self, step, error):
        super().__init__()
        self.step, self.error = step, error

    def apply_gradients(self, grads_and_vars):
        if self.calls == self.step:
            grads_and_vars[0][1][...] = 77.0
            raise self.error
        super().apply_gradients(grads_and_vars)


@pytest.mark.parametrize("error", [Trouble("no"), KeyboardInterrupt()], ids=["error", "Ctrl-C"])
@pytest.mark.parametrize("step", [0, 1, 3])
@pytest.mark.parametrize("place", ["loss", "optimizer", "criterion", "reduce", "trace"])
def test_an_exception_leaves_the_last_complete_step(place, step, error):
    a, b = np.array([4.0, -8.0]), np.array(1.0)
    calls = dict.fromkeys(["loss", "criterion", "reduce", "trace"], -1)

    def fails(where):
        calls[where] += 1
        if place == where and calls[where] == step:
            raise error

    def loss_fn():
        fails("loss")
        return (a**2).sum(), [2 * a, 2 * b]

    class Criterion(ConvergenceCriterion):
        def _bootstrap(self, loss, grads, parameters):
            fails("criterion")

        def _one_step(self, step, loss, grads, parameters, auxiliary_state):
            fails("criterion")
            return np.False_, None

    def reduce(has_converged):
        fails("reduce")
        return has_converged

    def trace_fn(loss, gradients, variables):
        fails("trace")
        return {"loss": loss, "a": a, "nothing": None}

    optimizer = Fragile(step, error) if place == "optimizer" else Halving()
    with pytest.raises(type(error)) as caught:
        trace_minimize(loss_fn, 6, optimizer, Criterion(), reduce, [a, b], trace_fn)
    assert caught.value is error
    np.testing.assert_array_equal(a, np.array([4.0, -8.0]) / 2.0**step)
    assert b == 1.0 / 2.0**step
    if step == 0:
        assert error.partial_trace is None
    else:
        assert error.partial_trace["loss"].tolist() == [80.0 / 4.0**t for t in range(step)]
        np.testing.assert_array_equal(error.partial_trace["a"][-1], a)
        assert error.partial_trace["nothing"] is None
    (note,) = error.__notes__
    assert f"{step} steps are complete" in note and "partial_trace" in note
    del error.__notes__, error.partial_trace


def test_an_exception_in_a_run_within_a_run():
    x, y, error = np.array([4.0]), np.array([2.0]), Trouble()

    def inner():
        if x < 4.0:
            raise error
        return 0.0, 0.0 * y

    def outer():
        trace_minimize(inner, 2, Halving(), trainable_variables=y)
        return Square(x)()

    for _ in range(2):
        x[...] = 4.0
        with pytest.raises(Trouble):
            trace_minimize(outer, 3, Halving(), trainable_variables=x)
        assert error.partial_trace.tolist() == [16.0]
        assert [note[:30] for note in error.__notes__] == ["fastbfgs: 1 steps are complete"]


@pytest.mark.parametrize("make", [lambda: GradientDescent(0.1, 0.9), lambda: Adam(0.1)])
def test_an_exception_puts_the_state_of_the_optimizer_back(make):
    def run(breaks):
        x, optimizer = np.array([4.0, -8.0]), make()
        calls = itertools.count()

        def trace_fn(loss, gradients, variables):
            if next(calls) == breaks:
                raise Trouble
            return variables

        try:
            return trace_minimize(Square(x), 6, optimizer, trainable_variables=x, trace_fn=trace_fn)
        except Trouble as error:
            done = error.partial_trace if breaks else np.empty((0, 2))
        rest = trace_minimize(Square(x), 6 - breaks, optimizer, trainable_variables=x, trace_fn=trace_fn)
        return np.concatenate([done, rest])

    for breaks in (0, 1, 4):
        np.testing.assert_array_equal(run(breaks), run(-1))


def test_an_exception_after_the_step_keeps_it():
    def progress(done, steps, loss):
        if done == 3:
            raise Trouble

    x = np.array([4.0])
    with pytest.raises(Trouble) as caught:
        trace_minimize(Square(x), 6, Halving(), trainable_variables=x, progress=progress)
    assert x == 0.5 and caught.value.partial_trace.tolist() == [16.0, 4.0, 1.0]


def test_an_exception_that_takes_no_attributes():
    class Closed(Exception):
        __slots__ = ()

        def __setattr__(self, name, value):
            raise AttributeError(name)

    def loss_fn():
        raise Closed("as it was")

    with pytest.raises(Closed, match="as it was"):
        trace_minimize(loss_fn, 3, Halving(), trainable_variables=np.array([4.0]))


def test_a_type_error_of_the_loss_is_the_callers():
    calls = []

    def loss_fn():
        calls.append(1)
        return 1.0 + "1", None

    with pytest.raises(TypeError, match="unsupported operand"):
        trace_minimize(loss_fn, 3, Halving(), trainable_variables=np.array([4.0]))
    assert calls == [1]


def test_a_run_goes_on_after_an_exception():
    def run(breaks):
        x = np.array([4.0, -8.0])
        calls = itertools.count()

        def loss_fn():
            if breaks and next(calls) == 4:
                raise Trouble
            return (x**4).sum(), 4 * x**3

        optimizer = LBFGS()
        if not breaks:
            return trace_minimize(loss_fn, 9, optimizer, trainable_variables=x), x
        with pytest.raises(Trouble) as caught:
            trace_minimize(loss_fn, 9, optimizer, trainable_variables=x)
        rest = trace_minimize(loss_fn, 5, optimizer, trainable_variables=x)
        return np.concatenate([caught.value.partial_trace, rest]), x

    for whole, parts in zip(run(False), run(True), strict=True):
        np.testing.assert_array_equal(whole, parts)


# ----------------------------------------------------------------------------------------------
# Bad input


def minimize(loss_fn=None, num_steps=3, optimizer=None, variables=None, **options):
    """Run with what is not given set right."""
    x = np.array([4.0, -8.0])
    return trace_minimize(
        loss_fn or Square(x), num_steps, optimizer or Halving(),
        trainable_variables=x if variables is None else variables, **options,
    )  # fmt: skip


def read_only():
    """Return an array that cannot be written."""
    x = np.ones(2)
    x.flags.writeable = False
    return x


TWO = {"w": np.ones(2), "b": [np.ones(1)]}
TWICE = np.ones(2)
G = np.ones(2)

BAD = [
    ("steps", {"num_steps": -1}, ValueError, r"num_steps must be an integer that is not negative; got -1"),
    ("half a step", {"num_steps": 2.5}, TypeError, r"num_steps must be an integer .*; got 2.5 of type float"),
    ("loss_fn", {"loss_fn": 3.0}, TypeError, r"loss_fn must be callable; got 3.0"),
    ("trace_fn", {"trace_fn": "loss"}, TypeError, r"trace_fn must be callable; got 'loss'"),
    ("trace_fn of two", {"trace_fn": lambda a, b: a}, TypeError, r"one record, or \(loss, grad.*\(a, b\)"),
    ("trace_fn of none", {"trace_fn": lambda: 1}, TypeError, r"trace_fn must take one record, or"),
    ("reduce", {"batch_convergence_reduce_fn": True}, TypeError, r"batch_convergence_reduce_fn must be callable"),
    ("progress", {"progress": "bar"}, TypeError, r"progress must be True, a callable or None; got str"),
    ("optimizer", {"optimizer": object()}, TypeError, r"optimizer must have a method apply_gradients; got <object"),
    ("optimizer's class", {"optimizer": Adam}, TypeError, r"optimizer must be .* not its class.*Make one: Adam\("),
    ("criterion", {"convergence_criterion": 1e-3}, TypeError, r"convergence_criterion must have a method bootstrap"),
    ("criterion's class", {"convergence_criterion": LossNotDecreasing}, TypeError, r"Make one: LossNotDecreasing\("),
    ("no variables", {"variables": []}, ValueError, r"trainable_variables must hold at least one array; got \[\]"),
    ("a number", {"variables": 4.0}, TypeError, r"trainable_variables must be an array of floating .*; got 4.0 of"),
    ("integers", {"variables": {"w": np.ones(2, int)}}, TypeError, r"trainable_variables\['w'\] must be .*dtype int64"),
    ("read-only", {"variables": (G.copy(), read_only())}, ValueError, r"trainable_variables\[1\] must be .*read-only"),
    ("twice", {"variables": (TWICE, [TWICE])}, ValueError, r"each array once; trainable.*\[1\]\[0\] is .*\[0\]"),
    ("loss alone", {"loss_fn": lambda: 1.0}, TypeError, r"pair \(loss, gradients\); at step 0 .* one float.*no tape"),
    ("an array", {"loss_fn": lambda: G}, TypeError, r"pair \(loss, gradients\); at step 0 it returned one ndarray"),
    ("three", {"loss_fn": lambda: (1.0, G, G)}, TypeError, r"at step 0 it returned a tuple of 3"),
    ("no loss", {"loss_fn": lambda: (None, G)}, TypeError, r"a number or an array as loss; got None"),
    ("no gradient", {"loss_fn": lambda: (1.0, None)}, TypeError, r"at step 0 gradients is None. There is no tape"),
    ("shape", {"loss_fn": lambda: (1.0, np.ones(3))}, ValueError, r"gradients must have .*\(2,\); got \(3,\)"),
    ("list", {"loss_fn": lambda: (1.0, [1.0, 2.0])}, TypeError, r"gradients should be one array, and is a list of 2"),
    (
        "a missing leaf",
        {"variables": TWO, "loss_fn": lambda: (1.0, {"w": G})},
        TypeError,
        r"flat list of 2: at step 0 gradients should be a dict of 'w', 'b', and is a dict of 'w'",
    ),
    (
        "another leaf",
        {"variables": TWO, "loss_fn": lambda: (1.0, {"w": G, "b": np.ones(1)})},
        TypeError,
        r"at step 0 gradients\['b'\] should be a list of 1, and is one ndarray",
    ),
    (
        "the shape of a leaf",
        {"variables": TWO, "loss_fn": lambda: (1.0, {"w": G, "b": [G]})},
        ValueError,
        r"gradients\['b'\]\[0\] must have the shape of its variable, \(1,\); got \(2,\)",
    ),
    (
        "a leaf without gradient",
        {"variables": TWO, "loss_fn": lambda: (1.0, [G, None])},
        TypeError,
        r"at step 0 gradients\['b'\]\[0\] is None. There is no tape",
    ),
    ("text", {"trace_fn": lambda r: {"a": "b"}}, TypeError, r"numbers, arrays of numbers or None.*trace\['a'\] is 'b'"),
    ("objects", {"trace_fn": lambda r: np.array([None])}, TypeError, r"numbers, arrays of numbers or None.*trace is"),
    ("a set", {"trace_fn": lambda r: [{1.0}]}, TypeError, r"trace\[0\] is \{1.0\} of type set"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "error", "message"), [pytest.param(*row[1:], id=row[0]) for row in BAD])
def test_bad_input(given, error, message):
    with pytest.raises(error) as caught:
        minimize(**given)
    assert caught.type is error
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_variables_must_be_named():
    with pytest.raises(TypeError, match=r"trainable_variables must be given: there is no tape to find them"):
        trace_minimize(lambda: (1.0, G), 3, Halving())


P = namedtuple("P", ["u", "v"])
CHANGES = [
    ("key", {"loss": 1.0}, {"los": 1.0}, r"structure .*: trace was a dict of 'loss' so far, and is a dict of 'los' at"),
    ("leaf", {"a": 1.0}, {"a": [1.0]}, r"trace\['a'\] was one array so far, and is a list of 1"),
    ("length", {"a": P(1.0, [G, G])}, {"a": P(1.0, [G])}, r"trace\['a'\].v was a list of 2 so far, and is a list of 1"),
    ("only leaf", 1.0, (1.0, 2.0), r"trace was one array so far, and is a tuple of 2"),
    ("none", [1.0], [None], r"trace\[0\] was one float so far, and is None"),
    ("no longer none", [None], [1.0], r"trace\[0\] was None so far, and is one float"),
    ("shape", {"x": G}, {"x": np.ones(3)}, r"same shapes .*: trace\['x'\] was \(2,\) so far, and is \(3,\)"),
    ("broadcast", {"x": G}, {"x": np.ones(1)}, r"trace\['x'\] was \(2,\) so far, and is \(1,\)"),
    ("a number", {"x": G}, {"x": 1.0}, r"trace\['x'\] was \(2,\) so far, and is \(\)"),
    ("dtype", {"n": 1}, {"n": 1.5}, r"same dtypes .*: trace\['n'\] was int64 so far, and is float64"),
    ("precision", G.astype(np.float32), G, r"same dtypes .*: trace was float32 so far, and is float64"),
    ("library", G, device.Array(G), r"same library .*: trace was numpy so far, and is tests.device"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "message"), [pytest.param(*row[1:], id=row[0]) for row in CHANGES])
@pytest.mark.parametrize("step", [1, 2])
def test_traces_must_not_change(before, after, message, step):
    with pytest.raises(ValueError) as caught:
        minimize(trace_fn=lambda record: after if record.step == step else before, num_steps=5)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)
    assert str(caught.value).endswith(f"at step {step}")
    assert all([leaf is None or len(leaf) == step for leaf in leaves_of(caught.value.partial_trace)])


def test_gradients_must_not_change():
    x = np.array([4.0, -8.0])
    shapes = iter([2, 2, 1])
    with pytest.raises(
        ValueError, match=r"gradients must have the shape of its variable, \(2,\); got \(1,\)"
    ) as caught:
        trace_minimize(lambda: (1.0, np.ones(next(shapes))), 5, Halving(), trainable_variables=x)
    assert len(caught.value.partial_trace) == 2 and x.tolist() == [3.5, -8.5]
