"""What the documentation shows, run: the examples of every docstring, and README's Python blocks in their order."""

import ast
import doctest
import importlib
import inspect
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import fastbfgs
from fastbfgs import solver

MODULES = [
    "differences",
    "driver",
    "foreign",
    "fused",
    "interop",
    "inverse",
    "minimize",
    "native",
    "nests",
    "objective",
    "observers",
    "optimizers",
    "options",
    "outcome",
    "recorder",
    "result",
    "solver",
    "tfp",
    "threads",
    "trace",
]
README = Path(__file__).resolve().parents[1] / "README.md"


def examples() -> list[doctest.DocTest]:
    """Return the docstrings with examples, compiled or not: doctest's own finder passes over Cython's."""
    parser, found = doctest.DocTestParser(), []
    for name in MODULES:
        module = importlib.import_module(f"fastbfgs.{name}")
        for thing in vars(module).values():
            if getattr(thing, "__module__", None) != module.__name__:
                continue
            members = list(vars(thing).values()) if inspect.isclass(thing) else []
            for each in [thing, *members]:
                text = getattr(each, "__doc__", None)
                if isinstance(text, str) and ">>>" in text:
                    title = getattr(each, "__qualname__", name)
                    found.append(parser.get_doctest(text, dict(vars(module)), f"{name}.{title}", None, 0))
    return found


EXAMPLES = examples()


def test_public_names_have_examples():
    # Options, Result and BatchResult are shown where they come from.
    shown = {example.name.rpartition(".")[2] for example in EXAMPLES}
    assert {"minimize", "lbfgs", "lbfgsb", "bfgs", "Solver", "Options", "sentence", "cure", "InverseHessian"} <= shown
    assert {"lbfgs_minimize", "bfgs_minimize", "converged_all", "converged_any"} <= shown
    assert {"trace_minimize", "GradientDescent", "Adam", "LBFGS", "ConvergenceCriterion", "LossNotDecreasing"} <= shown


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_docstring(example):
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(report)


def test_the_solver_shows_the_signature_that_it_has():
    source = Path(solver.__file__).with_name("solver.py").read_text(encoding="utf-8")
    functions = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    written = next(function.args for function in functions if function.name == "__init__")
    for argument in (*written.args, *written.kwonlyargs, written.kwarg):
        argument.annotation = None
    assert str(inspect.signature(fastbfgs.Solver)) == f"({ast.unparse(written)})".replace("self, ", "")


@pytest.mark.parametrize("name", fastbfgs.__all__)
def test_public_names_are_documented(name):
    if not name.startswith("__"):
        assert inspect.getdoc(getattr(fastbfgs, name))


def test_readme(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        if block.startswith("import torch") and find_spec("torch") is None:
            continue
        if "cupy" in block:  # test_device.py
            continue
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "10000 members (10000,), n = 10: 10000 succeeded" in printed
    assert "times the speed of a loop over SciPy" in printed
    assert printed.count("True") == 5, "all converged, with bounds and without, by ask and tell, and in TFP's words"
    fit, bounds = names["fit"], names["bounds"]
    assert ((fit.x >= bounds.lb) & (fit.x <= bounds.ub)).all() and (fit.x == bounds.ub).any()
    free = (fit.x > bounds.lb).all(axis=1) & (fit.x < bounds.ub).all(axis=1)
    np.testing.assert_allclose(fit.x[free], names["true"][free], atol=0.5)
    if "run" in names:
        assert type(names["run"].x).__module__ == "torch" and names["run"].success.all()
    assert names["trace"]["loss"].shape == names["trace"]["x"].shape == (100,)
