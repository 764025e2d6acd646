"""What is recorded of a run is what the solver saw, bit for bit, and the run is the same without it."""

from __future__ import annotations

import copy
import pickle
import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import Bounds

import fastbfgs
from fastbfgs import Accepted, Options, Paths, Recorder, Solver, Status, minimize, threads
from tests import oracle
from tests.problems import by_name, starts

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
ROSENBROCK = by_name("chained_rosenbrock_5")
ARRAYS = ("x", "f", "g", "alpha", "s", "y")
NAMES = ("rows", "nit", *ARRAYS)
BOX = Bounds(np.array([-0.5, -np.inf, 0.2, -1.0, -np.inf]), np.array([0.8, 0.7, np.inf, 2.0, np.inf]))

RUNS = {
    "L-BFGS": {"method": "L-BFGS"},
    "L-BFGS-B": {"method": "L-BFGS-B", "bounds": BOX},
    "BFGS": {"method": "BFGS"},
}
each_run = pytest.mark.parametrize("given", RUNS.values(), ids=RUNS)


def some_starts(count=7, problem=ROSENBROCK, dtype=float):
    """Return starts (count, n) of which some are far and some at the solution, so that members end apart."""
    x0 = starts(problem, count, 1.0, np.random.default_rng(3))
    x0[::4] = 1.0 + 1e-9 * x0[::4]
    return x0.astype(dtype)


def one(fun):
    """Return the batched `fun` for one point."""

    def single(x):
        f, g = fun(x[None])
        return f[0], g[0]

    return single


def recorded(fun, x0, **given) -> tuple[object, list[Accepted]]:
    """Return the result, and all that was recorded."""
    records: list[Accepted] = []
    result = minimize(fun, x0, jac=True, record=records.append, **given)
    return result, records


def kept(fun, x0, steps=500, **given) -> tuple[object, Paths]:
    """Return the result, and the paths."""
    paths = Paths(steps)
    return minimize(fun, x0, jac=True, record=paths, **given), paths


def path_of(records: list[Accepted], b: int) -> dict[str, np.ndarray]:
    """Return what was recorded of member b, its iterates in order."""
    where = [(record, k) for record in records for k in np.flatnonzero(record.rows == b)]
    return {name: np.array([getattr(record, name)[k] for record, k in where]) for name in ("nit", *ARRAYS)}


def assert_same_bits(a, b) -> None:
    a, b = np.asarray(a), np.asarray(b)
    assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def assert_same_record(a: Accepted, b: Accepted) -> None:
    assert a.shape == b.shape
    for name in NAMES:
        assert_same_bits(getattr(a, name), getattr(b, name))


def assert_same_path(a: dict, b: dict) -> None:
    for name in a:
        assert_same_bits(a[name], b[name])


# ----------------------------------------------------------------------------------------------
# What the solver saw


@DTYPES
@pytest.mark.parametrize("name", ["rosenbrock", "beale", "wood", "log_domain_5", "hartmann_6", "meyer", "box_3d"])
def test_is_the_oracle(name, dtype):
    problem = by_name(name)
    fun, options = one(problem.fun), Options(maxfun=80, ftol=0.0)
    x0 = problem.x0.astype(dtype)
    slow, points = oracle.lbfgs(x0, x0.dtype, options), {}
    point = next(slow)
    try:
        while True:
            f, g = fun(np.array(point, dtype))
            points[tuple(point)] = float(f), g.tolist()
            point = slow.send((float(f), g))
    except StopIteration as end:
        outcome = end.value

    solver, records = Solver(x0, options), []
    recorder = Recorder(solver, records.append)
    while solver.running:
        solver.tell(*fun(solver.ask()))
        recorder.take()
    path = path_of(records, 0)
    assert path["nit"].tolist() == list(range(outcome.nit + 1))
    assert path["alpha"][1:].tolist() == [step.alpha for step in outcome.steps if step.verdict != "GIVE_UP"]
    assert path["x"][-1].tolist() == outcome.x
    for x, f, g in zip(path["x"], path["f"], path["g"], strict=True):
        assert points[tuple(x.tolist())] == (f, g.tolist())


@DTYPES
def test_is_what_scipys_words_have(dtype):
    seen = []

    def callback(*, intermediate_result):
        seen.append(intermediate_result)

    options = {"return_all": True}
    x0 = some_starts(dtype=dtype)
    result, paths = kept(ROSENBROCK.fun, x0, method="BFGS", options=options, callback=callback)
    assert_same_bits(paths.nit, result.nit)
    for k, x in enumerate(result.allvecs):
        there = k <= paths.nit
        assert_same_bits(paths.x[k][there], x[there])
        assert np.isnan(paths.x[k][~there]).all()
    for each in seen:
        at = each.nit, np.arange(len(x0))
        assert_same_bits(paths.x[at], each.x)
        assert_same_bits(paths.g[at], each.jac)
        assert_same_bits(paths.f[at].astype(dtype), each.fun)
    assert paths.x.dtype == paths.g.dtype == paths.s.dtype == paths.y.dtype == dtype
    assert paths.f.dtype == paths.alpha.dtype == float


@DTYPES
@each_run
def test_a_step_is_a_difference(given, dtype):
    x0 = some_starts(dtype=dtype)
    result, records = recorded(ROSENBROCK.fun, x0, **given)
    assert result.nit.max() > 10
    for b in range(len(x0)):
        path = path_of(records, b)
        assert path["nit"].tolist() == list(range(result.nit[b] + 1))
        assert_same_bits(path["s"][1:], path["x"][1:] - path["x"][:-1])
        assert_same_bits(path["y"][1:], path["g"][1:] - path["g"][:-1])
        assert np.isnan(path["s"][0]).all() and np.isnan(path["y"][0]).all() and np.isnan(path["alpha"][0])
        assert (path["alpha"][1:] > 0.0).all()
        assert_same_bits(path["x"][-1], result.x[b])
        assert_same_bits(path["g"][-1], result.jac[b])


@DTYPES
@pytest.mark.parametrize("bounds", [None, BOX], ids=["free", "bounds"])
def test_a_step_is_the_newest_pair(bounds, dtype):
    x0 = some_starts(dtype=dtype)
    solver = Solver(x0, method="L-BFGS-B", bounds=bounds, history=3)
    newest: list[list] = [[] for _ in x0]
    steps = learnt = 0

    def receive(accepted):
        nonlocal steps, learnt
        for b, k, s, y in zip(accepted.rows, accepted.nit, accepted.s, accepted.y, strict=True):
            if k == 0:
                continue
            S, Y = solver.pairs(int(b))
            steps += 1
            learnt += len(S) > 0 and S[-1].tobytes() == s.tobytes() and Y[-1].tobytes() == y.tobytes()
            newest[b].append((s, y))
            if len(S) == 3:
                # Where none was passed over, the memory is the last steps.
                last = newest[b][-3:]
                same = all(S[j].tobytes() == last[j][0].tobytes() for j in range(3))
                assert not same or all(Y[j].tobytes() == last[j][1].tobytes() for j in range(3))

    recorder = Recorder(solver, receive)
    while solver.running:
        solver.tell(*ROSENBROCK.fun(solver.ask()))
        recorder.take()
    assert steps > 50 and learnt >= 0.95 * steps


@pytest.mark.parametrize("name", ["rosenbrock", "wood", "chained_rosenbrock_5", "hartmann_6", "trigonometric_10"])
def test_steps_are_wolfe(name):
    """Strong Wolfe, N&W (3.7), along p = s / alpha, from what was recorded alone."""
    problem = by_name(name)
    x0 = starts(problem, 10, 0.5, np.random.default_rng(0))
    _, paths = kept(problem.fun, x0, method="L-BFGS", options={"ftol": 1e-6})
    c1, c2 = Options().c1, Options().c2
    count = 0
    for k in range(1, len(paths.x)):
        for b in np.flatnonzero(paths.nit >= k):
            alpha, p = paths.alpha[k, b], paths.s[k, b] / paths.alpha[k, b]
            phi0, phi = paths.f[k - 1, b], paths.f[k, b]
            dphi0, dphi = p @ paths.g[k - 1, b], p @ paths.g[k, b]
            assert dphi0 < 0.0
            assert phi <= phi0 + c1 * alpha * dphi0 + 1e-14 * abs(phi0)
            assert abs(dphi) <= c2 * abs(dphi0) * (1.0 + 1e-6)
            count += 1
    assert count > 50


@DTYPES
@each_run
def test_alpha_is_the_length(given, dtype):
    """The first trial of a search is x + p: a step is alpha of that, and alpha is 1 where that trial was taken."""
    bounds, eps = given.get("bounds"), float(np.finfo(dtype).eps)
    asked, taken, lengths = [], [], set()

    def fun(x):
        asked.append(x.copy())
        return one(ROSENBROCK.fun)(x)

    def receive(accepted):
        taken.append((len(asked), accepted))

    for x0 in some_starts(40, dtype=dtype):  # to where f can still show what the model promises: no search is repeated
        minimize(fun, x0, jac=True, record=receive, options={"gtol": 1e-2}, **given)
    for (first, before), (last, after) in pairwise(taken):
        if after.nit[0] == 0:
            continue
        if last == first + 1:
            assert after.alpha[0] == 1.0
            assert_same_bits(after.x[0], asked[first])
            continue
        p = asked[first].astype(float) - before.x[0]
        free = np.abs(p) > 1e-3 * np.abs(p).max()
        if bounds is not None:
            for x in (asked[first], after.x[0]):
                free &= (x != bounds.lb.astype(dtype)) & (x != bounds.ub.astype(dtype))
        alpha = after.alpha[0]
        error = 8.0 * eps * (1.0 + alpha) * np.abs(np.array([asked[first], before.x[0], after.x[0]])).max()
        assert (np.abs(after.s[0].astype(float) - alpha * p)[free] <= error).all()
        lengths.add(alpha)
    assert len(lengths) > 10


def test_the_first_direction_is_at_most_1_long():
    _, far = kept(one(ROSENBROCK.fun), np.full(5, 3.0), method="L-BFGS")
    assert np.linalg.norm(far.g[0]) > 1.0
    assert np.linalg.norm(far.s[1]) == pytest.approx(far.alpha[1], rel=1e-14)
    _, near = kept(lambda x: (0.05 * x @ x, 0.1 * x), np.ones(3), method="L-BFGS")
    np.testing.assert_allclose(near.s[1], -near.alpha[1] * near.g[0], rtol=1e-14)


# ----------------------------------------------------------------------------------------------
# The run is the same without it


@each_run
def test_nothing_is_evaluated_for_it(given):
    def watched(fun, calls):
        def wrapper(x):
            calls.append(x.copy())
            return fun(x)

        return wrapper

    x0, without, streamed, filled = some_starts(), [], [], []
    plain = minimize(watched(ROSENBROCK.fun, without), x0, jac=True, **given)
    for calls, record in ((streamed, lambda accepted: None), (filled, Paths(500))):
        result = minimize(watched(ROSENBROCK.fun, calls), x0, jac=True, record=record, **given)
        assert len(calls) == len(without) == result.calls
        for a, b in zip(calls, without, strict=True):
            assert_same_bits(a, b)
        for name in ("x", "fun", "jac", "nit", "nfev", "status"):
            assert_same_bits(getattr(result, name), getattr(plain, name))


def test_what_is_handed_over_is_the_receivers():
    """It may be kept, and written into."""
    kept_as_it_came: list[Accepted] = []

    def receive(accepted):
        kept_as_it_came.append(accepted._replace(**{name: getattr(accepted, name).copy() for name in NAMES}))
        for name in NAMES:
            array = getattr(accepted, name)
            assert array.flags.owndata and array.flags.c_contiguous
            array[...] = 7

    plain, records = recorded(ROSENBROCK.fun, some_starts())
    result = minimize(ROSENBROCK.fun, some_starts(), jac=True, record=receive)
    assert_same_bits(result.x, plain.x)
    for a, b in zip(records, kept_as_it_came, strict=True):
        assert_same_record(a, b)


# ----------------------------------------------------------------------------------------------
# The same in company


@DTYPES
@each_run
def test_a_member_alone_in_a_batch_and_in_another_order(given, dtype):
    x0 = some_starts(dtype=dtype)
    _, together = recorded(ROSENBROCK.fun, x0, **given)
    order = np.random.default_rng(1).permutation(len(x0))
    _, permuted = recorded(ROSENBROCK.fun, x0[order], **given)
    for b in range(len(x0)):
        path = path_of(together, b)
        _, alone = recorded(one(ROSENBROCK.fun), x0[b], **given)
        assert_same_path(path, path_of(alone, 0))
        assert_same_path(path, path_of(permuted, int(np.flatnonzero(order == b)[0])))


@each_run
def test_with_finished_members_and_without(given):
    x0 = some_starts()
    _, all_rows = recorded(ROSENBROCK.fun, x0, compact=False, **given)
    _, live_rows = recorded(ROSENBROCK.fun, x0, compact=True, **given)
    for a, b in zip(all_rows, live_rows, strict=True):
        assert_same_record(a, b)


@each_run
def test_with_threads(given, monkeypatch):
    # Members of this size are not worth a thread: hand every part to one.
    monkeypatch.setattr(threads, "run", run := partial(counted, threads.run, calls := []))
    x0 = some_starts(4000)
    _, threaded = kept(ROSENBROCK.fun, x0, steps=30, workers=3, options={"maxiter": 30}, **given)
    assert calls and threads.run is run
    _, plain = kept(ROSENBROCK.fun, x0, steps=30, workers=1, options={"maxiter": 30}, **given)
    for name in ("nit", *ARRAYS):
        assert_same_bits(getattr(threaded, name), getattr(plain, name))


def counted(function, calls, *args):
    calls.append(args)
    return function(*args)


# ----------------------------------------------------------------------------------------------
# Into arrays


@DTYPES
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 1, 3)], ids=str)
def test_paths_are_what_is_handed_over(shape, dtype):
    count = int(np.prod(shape))
    x0 = some_starts(count, dtype=dtype).reshape(*shape, 5)
    fun = ROSENBROCK.fun if shape else one(ROSENBROCK.fun)
    result, paths = kept(fun, x0, method="L-BFGS")
    _, records = recorded(fun, x0, method="L-BFGS")
    top = int(np.max(result.nit))
    assert_same_bits(paths.nit, np.asarray(result.nit))
    assert all(record.shape == shape for record in records)
    for name in ARRAYS:
        array = getattr(paths, name)
        assert array.shape == (top + 1, *shape, *([5] if name in "xgsy" else []))
        flat = array.reshape(top + 1, count, *array.shape[1 + len(shape) :])
        for b in range(count):
            path = path_of(records, b)[name]
            assert_same_bits(flat[: len(path), b], path)
            assert np.isnan(flat[len(path) :, b]).all()


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_more_steps_than_room(steps):
    x0 = some_starts()
    result, whole = kept(ROSENBROCK.fun, x0)
    paths = Paths(steps)
    with pytest.warns(RuntimeWarning, match=f"more than the {steps} steps .* not kept") as caught:
        again = minimize(ROSENBROCK.fun, x0, jac=True, record=paths)
    assert len(caught) == 1
    assert_same_bits(again.x, result.x)
    assert_same_bits(paths.nit, result.nit)
    for name in ARRAYS:
        assert_same_bits(getattr(paths, name), getattr(whole, name)[: steps + 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minimize(ROSENBROCK.fun, x0, jac=True, record=Paths(steps), options={"maxiter": steps})


def test_a_full_room_loses_nothing_to_an_error():
    x0, paths = some_starts(), Paths(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="not kept") as caught:
            minimize(ROSENBROCK.fun, x0, jac=True, record=paths)
    _, whole = kept(ROSENBROCK.fun, x0)
    assert_same_bits(paths.nit, caught.value.partial_result.nit)
    assert_same_bits(paths.x, whole.x[:4])


def test_the_next_run_starts_over():
    paths, first = Paths(500), some_starts()
    minimize(ROSENBROCK.fun, first, jac=True, record=paths)
    mine = paths.x.copy(), paths.x
    for x0 in (first[3:6], first[:, :3], first[0], first.astype(np.float32).reshape(7, 1, 5)):
        fun = ROSENBROCK.fun if x0.ndim > 1 else one(ROSENBROCK.fun)
        _, anew = kept(fun, x0)
        minimize(fun, x0, jac=True, record=paths)
        for name in ("nit", *ARRAYS):
            assert_same_bits(getattr(paths, name), getattr(anew, name))
    assert_same_bits(*mine)


@pytest.mark.parametrize("shape", [(), (3,), (4, 5)], ids=str)
def test_a_run_that_is_come_into_starts_over(shape):
    x0 = np.random.default_rng(3).uniform(-2.0, 2.0, (*shape, 5))
    fun = ROSENBROCK.fun if shape else one(ROSENBROCK.fun)
    paths, anew = Paths(500), Paths(500)
    minimize(ROSENBROCK.fun, np.full((3, 5), 7.0), jac=True, record=paths, options={"maxiter": 3})
    solver = Solver(x0)
    while np.min(solver.result().nit) < 6:
        solver.tell(*fun(solver.ask()))
    records = Recorder(solver, paths), Recorder(solver, anew)
    for _ in range(3):
        for name in ("nit", *ARRAYS):
            assert_same_bits(getattr(paths, name), getattr(anew, name))
        solver.tell(*fun(solver.ask()))
        for record in records:
            record.take()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda paths: pickle.loads(pickle.dumps(paths))])
def test_a_copy_goes_on_by_itself(copied):
    solver, paths = Solver(some_starts()), Paths(10**7)
    handed: list[Accepted] = []
    recorder = Recorder(solver, handed.append)
    while solver.running:
        solver.tell(*ROSENBROCK.fun(solver.ask()))
        recorder.take()
    for accepted in handed[:9]:
        paths(accepted)
    again, there = copied(paths), paths.x.copy()
    for accepted in handed[9:]:
        again(accepted)
    assert_same_bits(paths.x, there)
    for accepted in handed[9:]:
        paths(accepted)
    for name in ("nit", *ARRAYS):
        assert_same_bits(getattr(again, name), getattr(paths, name))


def test_arrays_go_on_as_the_run_does():
    solver, paths = Solver(some_starts()), Paths(500)
    recorder = Recorder(solver, paths)
    with pytest.raises(RuntimeError, match="no iterate yet"):
        _ = paths.x
    while solver.running:
        solver.tell(*ROSENBROCK.fun(solver.ask()))
        recorder.take()
        result = solver.result()
        assert_same_bits(paths.nit, result.nit)
        assert_same_bits(paths.x[result.nit, np.arange(7)], result.x)
        assert len(paths.x) == len(paths.y) == len(paths.f) == result.nit.max() + 1


def test_no_members():
    paths = Paths(3)
    minimize(ROSENBROCK.fun, np.zeros((0, 5)), jac=True, record=paths)
    with pytest.raises(RuntimeError, match="no iterate yet"):
        _ = paths.nit


# ----------------------------------------------------------------------------------------------
# How members end


def test_starts_that_are_the_end():
    def fun(x):
        with np.errstate(all="ignore"):
            return (x - np.log(x)).sum(axis=1), 1.0 - 1.0 / x

    x0 = np.array([[-1.0, 2.0], [1.0, 1.0], [0.0, 1.0], [3.0, 0.5]])
    result, paths = kept(fun, x0)
    ends = [Status.NONFINITE_START, Status.CONVERGED_GRADIENT, Status.NONFINITE_START]
    assert list(result.reason[:3]) == ends and result.success[3]
    assert paths.nit.tolist() == [0, 0, 0, result.nit[3]]
    assert_same_bits(paths.x[0], x0)
    f, g = fun(x0)
    assert_same_bits(paths.f[0], f)
    assert_same_bits(paths.g[0], g)
    assert np.isnan(paths.x[1:, :3]).all()


def test_f_without_a_minimum():
    """The point where f is -inf is accepted; its gradient is kept as it was told."""

    def fun(x):
        gone = x[:, 0] > 50.0
        g = np.where(gone[:, None], np.nan, -np.ones_like(x))
        return np.where(gone, -np.inf, -x.sum(axis=1)), g

    result, records = recorded(fun, np.zeros((2, 2)), method="L-BFGS")
    path = path_of(records, 1)
    assert result.reason[1] == Status.UNBOUNDED
    assert path["nit"][-1] == result.nit[1] and path["f"][-1] == -np.inf
    assert_same_bits(path["x"][-1], result.x[1])
    assert np.isnan(path["g"][-1]).all() and np.isnan(path["y"][-1]).all()
    np.testing.assert_array_equal(path["s"][-1], path["x"][-1] - path["x"][-2])


def test_overflow_is_no_warning():
    """Float32: g goes from one end of the range to the other."""
    solver, records = Solver(np.ones(1, np.float32)), []
    recorder = Recorder(solver, records.append)
    for f, g in ((0.0, 3e38), (-1e38, -2.5e38)):
        solver.tell(f, np.full(1, g, np.float32))
        recorder.take()
    assert [record.nit.tolist() for record in records] == [[0], [1]]
    assert records[1].y.tolist() == [[-np.inf]]


def test_stopping_loses_nothing():
    """The recorder looks before the callback may stop the run."""
    seen = []

    def callback(*, intermediate_result):
        seen.append(intermediate_result)
        if len(seen) == 5:
            raise StopIteration

    result, paths = kept(ROSENBROCK.fun, some_starts(), callback=callback)
    assert (result.reason == Status.STOPPED).any()
    assert_same_bits(paths.nit, result.nit)
    assert_same_bits(paths.x[result.nit, np.arange(7)], result.x)


def test_differences():
    """What is recorded is what the solver works with: a coordinate that bounds fix has no difference, and 0."""
    bounds = Bounds([0.5, -2.0, -2.0, -2.0, -2.0], [0.5, 2.0, 2.0, 2.0, 2.0])
    paths = Paths(500)
    result = minimize(lambda x: ROSENBROCK.fun(x)[0], some_starts(), bounds=bounds, record=paths)
    assert (paths.x[:, :, 0][~np.isnan(paths.x[:, :, 0])] == 0.5).all()
    last = paths.g[result.nit, np.arange(7)]
    assert (last[:, 0] == 0.0).all() and np.isnan(result.jac[:, 0]).all()
    assert_same_bits(last[:, 1:], result.jac[:, 1:])


# ----------------------------------------------------------------------------------------------
# By hand


@each_run
@pytest.mark.parametrize("compact", [True, False])
def test_by_hand_is_minimize(given, compact):
    bounds = given.get("bounds")
    x0 = some_starts()
    given = {"method": given["method"], "gtol": 1e-5, "ftol": 0.0}
    solver, records = Solver(x0, bounds=bounds, compact=compact, **given), []
    recorder = Recorder(solver, records.append)
    while solver.running:
        f, g = ROSENBROCK.fun(solver.ask())
        solver.tell(f, g)
        assert recorder.take() is None
        count = len(records)
        recorder.take()  # nothing is handed over twice
        assert len(records) == count
    options = {"gtol": 1e-5} | ({} if given["method"] == "BFGS" else {"ftol": 0.0})
    if given["method"] == "BFGS":
        options |= {"c1": Options().c1, "c2": Options().c2}
    _, expected = recorded(ROSENBROCK.fun, x0, method=given["method"], bounds=bounds, options=options)
    for a, b in zip(records, expected, strict=True):
        assert_same_record(a, b)


@pytest.mark.parametrize("tells", [0, 1, 9])
def test_coming_in_later(tells, tmp_path):
    """A recorder of a resumed run hands over where members stand, and goes on from there."""
    whole, x0 = [], some_starts()
    solver = Solver(x0)
    recorder = Recorder(solver, whole.append)
    for _ in range(tells):
        solver.tell(*ROSENBROCK.fun(solver.ask()))
        recorder.take()
    solver.save(tmp_path / "state.npz")
    there = solver.result()
    rest: list[Accepted] = []
    resumed = Solver.load(tmp_path / "state.npz")
    later = Recorder(resumed, rest.append)
    if tells == 0:
        assert rest == []
    else:
        first = rest[0]
        assert_same_bits(first.rows, np.arange(7))
        assert_same_bits(first.nit, there.nit)
        assert_same_bits(first.x, there.x)
        assert_same_bits(first.g, there.g)
        assert np.isnan(first.s).all() and np.isnan(first.y).all()
    for each, record in ((solver, recorder), (resumed, later)):
        while each.running:
            each.tell(*ROSENBROCK.fun(each.ask()))
            record.take()
    paths = Paths(500)
    for accepted in rest:
        paths(accepted)
    for b in range(7):
        path, tail = path_of(whole, b), path_of(rest, b)
        start = int(there.nit[b]) if tells else 0
        for name in ("nit", "x", "f", "g", "alpha"):
            assert_same_bits(tail[name], path[name][start:])
        assert_same_bits(tail["s"][1:], path["s"][start + 1 :])
        assert_same_bits(tail["y"][1:], path["y"][start + 1 :])
        assert_same_bits(paths.s[start + 1 : len(path["s"]), b], path["s"][start + 1 :])
        assert np.isnan(paths.x[:start, b]).all()


def test_a_tell_that_was_not_taken():
    solver, records = Solver(some_starts()), []
    recorder = Recorder(solver, records.append)
    for _ in range(3):
        solver.tell(*ROSENBROCK.fun(solver.ask()))
    with pytest.raises(RuntimeError, match=r"after every tell\(\); there were 3"):
        recorder.take()
    assert records == []


# ----------------------------------------------------------------------------------------------
# Trouble


class Mishap(Exception):
    """What the receiver raises."""


@pytest.mark.parametrize("error", [Mishap, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize("single", [False, True], ids=["batch", "single"])
def test_what_it_raises_passes_through(error, single):
    records = []

    def receive(accepted):
        records.append(accepted)
        if len(records) == 3:
            raise error("enough")

    x0 = some_starts()[1] if single else some_starts()
    fun = one(ROSENBROCK.fun) if single else ROSENBROCK.fun
    with pytest.raises(error, match="enough") as caught:
        minimize(fun, x0, jac=True, record=receive)
    partial_result = caught.value.partial_result
    assert np.max(partial_result.nit) == 2
    assert_same_bits(np.atleast_2d(partial_result.x)[records[-1].rows], records[-1].x)


def test_fun_that_raises_at_the_start_records_nothing():
    records = []

    def fun(x):
        raise Mishap

    with pytest.raises(Mishap):
        minimize(fun, some_starts(), jac=True, record=records.append)
    assert records == []


def never(x):
    raise AssertionError("called, in spite of bad arguments")


@pytest.mark.parametrize("record", [3, "x", [], Accepted, Recorder], ids=repr)
def test_bad_record(record):
    given = record if not isinstance(record, type) else Recorder(Solver(np.zeros(2)), print)
    with pytest.raises(TypeError, match=r"record must be callable, and take a fastbfgs\.Accepted, or None; got"):
        minimize(never, np.zeros(2), jac=True, record=given)


def test_bad_recorder():
    with pytest.raises(TypeError, match=r"solver must be a fastbfgs\.Solver; got int"):
        Recorder(3, print)
    with pytest.raises(TypeError, match=r"receive must be callable, and take a fastbfgs\.Accepted; got NoneType"):
        Recorder(Solver(np.zeros(2)), None)


@pytest.mark.parametrize("steps", ["3", 2.5, None, np.zeros(2)], ids=repr)
def test_bad_steps(steps):
    with pytest.raises(TypeError, match="steps must be a whole number; got"):
        Paths(steps)


def test_negative_steps():
    with pytest.raises(ValueError, match="steps must not be negative; got -1"):
        Paths(-1)


def test_scipys_methods_do_not_know_it():
    """It is no option of SciPy's, which would pass it on as one."""
    with pytest.warns(match="Unknown solver options: record"):
        fastbfgs.lbfgs(one(ROSENBROCK.fun), np.zeros(5), jac=True, record=print)
