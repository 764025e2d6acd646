"""PyTorch tensors: graphs, devices, layouts. What all libraries have in common is in `test_foreign.py`."""

from __future__ import annotations

import numpy as np
import pytest

import fastbfgs
from fastbfgs import foreign
from tests.test_foreign import CENTRE, START, here, never

torch = pytest.importorskip("torch")

CENTRES = torch.from_numpy(CENTRE)
RULE = r"must be numbers that NumPy can read, best float32 or float64; got a PyTorch tensor of dtype "


def misfit(x, c):
    """Return f of one point."""
    return ((x - c) ** 2 * (1.0 + 4.0 * (x - c) ** 2)).sum()


def test_func():
    """f and g of one point, written for all by PyTorch."""
    both = torch.func.vmap(torch.func.grad_and_value(misfit))

    def fun(x, c):
        g, f = both(x, c)
        return f, g

    run = fastbfgs.minimize(fun, torch.zeros(4, 2), jac=True, batch_args=(CENTRES,))
    torch.testing.assert_close(run.x, CENTRES, atol=1e-3, rtol=0.0)
    with pytest.raises(ValueError, match=r"The pair is \(f, g\); torch\.func\.grad_and_value"):
        fastbfgs.minimize(both, torch.zeros(4, 2), jac=True, batch_args=(CENTRES,))


@pytest.mark.parametrize("x0", [torch.zeros(2, requires_grad=True), torch.nn.Parameter(torch.zeros(2))])
def test_graphs_end_at_the_border(x0):
    """Points are leaves without a gradient; f and g may have a graph behind them; nothing that comes back has one."""

    def backward(x):
        assert type(x) is torch.Tensor and x.is_leaf and not x.requires_grad and x.grad is None
        x.requires_grad_()
        f = misfit(x, CENTRES[0])
        f.backward()
        return f, x.grad

    def twice(x):
        x.requires_grad_()
        f = misfit(x, CENTRES[0])
        (g,) = torch.autograd.grad(f, x, create_graph=True)
        assert f.requires_grad and g.requires_grad
        return f, g

    for fun in (backward, twice):
        run = fastbfgs.minimize(fun, x0, jac=True)
        assert type(run.x) is torch.Tensor and not run.x.requires_grad
        torch.testing.assert_close(run.x, CENTRES[0], atol=1e-3, rtol=0.0)
    solver = fastbfgs.Solver(x0)
    while solver.running:
        solver.tell(*twice(solver.ask()))
    torch.testing.assert_close(solver.result().x, CENTRES[0], atol=1e-3, rtol=0.0)
    assert x0.grad is None and not x0.any()


def test_numpy_points_may_have_answers_with_a_graph():
    def fun(x):
        x = torch.from_numpy(x).requires_grad_()
        f = misfit(x, CENTRES[0])
        (g,) = torch.autograd.grad(f, x, create_graph=True)
        return f, g

    np.testing.assert_allclose(fastbfgs.minimize(fun, START[0], jac=True).x, CENTRE[0], atol=1e-3)


def test_memory_is_shared():
    array, library = np.zeros(3), foreign.library_of(CENTRES)
    own = library.own(array)
    assert np.shares_memory(library.native(own, "it"), array)
    array.flags.writeable = False
    assert not np.shares_memory(here(library.own(array)), array), "PyTorch knows nothing of such arrays"


def test_layouts():
    seen = []

    def fun(x):
        seen.append(x)
        return (x**2).sum(dim=1), 2.0 * x.T.contiguous().T

    for x0 in (torch.ones(2, 3).T, torch.ones(2).expand(3, 2), torch.ones(6, 4)[::2, ::2]):
        run = fastbfgs.minimize(fun, x0, jac=True)
        assert run.x.shape == (3, 2) and not run.x.any()
    assert all(x.is_contiguous() for x in seen)


def test_single_precision_f_of_double_x():
    """The step of differences suits the coarser of them, as with NumPy."""

    def fun(x):
        return ((x.float() - 1.0) ** 2).sum()

    run = fastbfgs.minimize(fun, torch.zeros(3, dtype=torch.float64), jac="2-point")
    torch.testing.assert_close(run.x, torch.ones(3, dtype=torch.float64), atol=1e-2, rtol=0.0)


def test_complex_steps():
    run = fastbfgs.minimize(lambda x: ((x - 1.0) ** 2).sum(), torch.zeros(3, dtype=torch.float64), jac="cs")
    torch.testing.assert_close(run.x, torch.ones(3, dtype=torch.float64))


def test_without_gradients_and_in_inference():
    for mode in (torch.no_grad(), torch.inference_mode()):
        with mode:
            run = fastbfgs.minimize(lambda x: ((x**2).sum(), 2.0 * x), torch.ones(3), jac=True)
        assert not run.x.any()


def test_another_device():
    for run in (lambda x: fastbfgs.minimize(never, x, jac=True), fastbfgs.Solver):
        with pytest.raises(
            TypeError, match=r"^x0 must be in the CPU's memory.*; got a PyTorch tensor on meta\. Copy it"
        ):
            run(torch.zeros(2, device="meta"))
    with pytest.raises(
        TypeError, match=r"^batch_args\[0\] must be in the CPU's memory.*; got a PyTorch tensor on meta"
    ):
        fastbfgs.minimize(never, torch.zeros(2, 2), jac=True, batch_args=(torch.zeros(2, device="meta"),))
    with pytest.raises(
        TypeError, match=r"^what the function returns must be in the CPU's memory.*; got a PyTorch tensor on meta"
    ):
        fastbfgs.minimize(lambda x: (x.sum(), x.to("meta")), torch.zeros(2), jac=True)


def test_kinds_that_numpy_has_not():
    with pytest.raises(TypeError, match=r"^x0 must be float32 or float64; got torch\.bfloat16"):
        fastbfgs.minimize(never, torch.zeros(2, dtype=torch.bfloat16), jac=True)
    with pytest.raises(TypeError, match=rf"^what the function returns {RULE}torch\.bfloat16"):
        fastbfgs.minimize(lambda x: (x.sum().bfloat16(), x), torch.zeros(2), jac=True)
    with pytest.raises(TypeError, match=rf"^g of the function {RULE}torch\.bfloat16"):
        fastbfgs.Solver(torch.zeros(2)).tell(0.0, torch.zeros(2, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match=rf"^x0 {RULE}torch\.float32.*to_dense"):
        fastbfgs.minimize(never, torch.zeros(2).to_sparse(), jac=True)
    with pytest.raises(TypeError, match=rf"^x0 {RULE}None"):
        fastbfgs.minimize(never, torch.nn.Linear(2, 2), jac=True)
    with pytest.raises(TypeError, match=rf"^x0 {RULE}torch\.float32"):
        torch.func.vmap(lambda x: fastbfgs.minimize(never, x, jac=True))(torch.zeros(2, 2))


# ----------------------------------------------------------------------------------------------
# trace_minimize


def test_trace():
    """A parameter is updated through its detach(); the losses keep no graph."""
    x = torch.zeros(2, requires_grad=True)

    def loss_fn():
        x.grad = None
        loss = ((x - 5.0) ** 2).sum()
        loss.backward()
        return loss, x.grad

    losses = fastbfgs.trace_minimize(
        loss_fn, 200, fastbfgs.Adam(0.2), fastbfgs.LossNotDecreasing(atol=1e-5), torch.all,
        trainable_variables=x.detach(),
    )  # fmt: skip
    assert type(losses) is torch.Tensor and losses.shape == (200,) and not losses.requires_grad
    torch.testing.assert_close(x.detach(), torch.full((2,), 5.0), atol=0.05, rtol=0.0)
    with pytest.raises(ValueError, match=r"requires grad its detach\(\), of the same memory"):
        fastbfgs.trace_minimize(loss_fn, 2, fastbfgs.Adam(0.2), trainable_variables=x)


def test_trace_by_lbfgs():
    """Which moves NumPy arrays: those of the tensor's memory."""
    x = torch.zeros(2)
    losses = fastbfgs.trace_minimize(
        lambda: (((x - 5.0) ** 4).sum(), (4.0 * (x - 5.0) ** 3).numpy()), 60, fastbfgs.LBFGS(),
        trainable_variables=x.numpy(),
    )  # fmt: skip
    assert losses[-1] < 1e-4
    torch.testing.assert_close(x, torch.full((2,), 5.0), atol=0.1, rtol=0.0)


@pytest.mark.parametrize(
    "view",
    [lambda x: x, torch.detach, lambda x: x.view(-1), lambda x: x[:], lambda x: x.detach().requires_grad_() * 1],
    ids=["itself", "detach", "view", "slice", "fresh"],
)
def test_a_trace_of_what_is_the_variable(view):
    """Is of the values before the update."""
    x = torch.ones(3)
    loss, g = fastbfgs.trace_minimize(
        lambda: (view(x)[0], view(x)), 3, fastbfgs.GradientDescent(0.5), trainable_variables=x,
        trace_fn=lambda loss, g, variables: (loss, g),
    )  # fmt: skip
    assert loss.tolist() == g[:, 0].tolist() == [1.0, 0.5, 0.25]


def test_a_trace_of_the_memory_of_numpys_variables():
    x = torch.ones(3)
    y = x.numpy()
    z = np.ones(4)[1:]
    losses = fastbfgs.trace_minimize(
        lambda: (x[0], {"y": x.numpy(), "z": torch.from_numpy(z)}), 3, fastbfgs.GradientDescent(0.5),
        trainable_variables={"y": y, "z": z}, trace_fn=lambda loss, g, variables: {"loss": loss, **g},
    )  # fmt: skip
    for each in losses.values():
        assert each.reshape(3, -1)[:, -1].tolist() == [1.0, 0.5, 0.25]


def test_a_trace_of_gradients_with_a_graph():
    """Neither the variables nor the traces keep it."""
    x = torch.zeros(2)

    def loss_fn():
        y = x.clone().requires_grad_()
        loss = misfit(y, CENTRES[0])
        (g,) = torch.autograd.grad(loss, y, create_graph=True)
        assert loss.requires_grad and g.requires_grad
        return loss, g

    trace = fastbfgs.trace_minimize(
        loss_fn, 3, fastbfgs.GradientDescent(0.01, 0.5), trainable_variables=x,
        trace_fn=lambda loss, g, variables: (loss, g, loss_fn()[0]),
    )  # fmt: skip
    assert x.is_leaf and not x.requires_grad and x.any()
    assert [each.requires_grad for each in trace] == [False] * 3


@pytest.mark.parametrize("reduce", [np.all, np.any, torch.all])
@pytest.mark.parametrize("make", [lambda: fastbfgs.Adam(0.2), lambda: fastbfgs.GradientDescent(0.2, 0.2)])
def test_tensors_for_a_numpy_variable(make, reduce):
    x = np.zeros(2)

    def loss_fn():
        y = torch.tensor(x, requires_grad=True)
        loss = ((y - 5.0) ** 2).sum()
        loss.backward()
        return loss, y.grad

    losses = fastbfgs.trace_minimize(
        loss_fn, 200, make(), fastbfgs.LossNotDecreasing(atol=1e-5), reduce, x, return_full_length_trace=False
    )
    assert type(losses) is torch.Tensor and len(losses) < 200 and losses[-1] < 1e-2


def test_a_sparse_gradient():
    x = torch.ones(3)
    g = torch.tensor([0.0, 1.0, 0.0]).to_sparse()
    fastbfgs.trace_minimize(lambda: (0.0, g), 2, fastbfgs.GradientDescent(0.25), trainable_variables=x)
    assert x.tolist() == [1.0, 0.5, 1.0]
