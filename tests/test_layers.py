"""The house's arrows point down only: which file may import which, and what `import fastbfgs` may load."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastbfgs

PACKAGE = Path(__file__).resolve().parents[1] / "fastbfgs"

KERNELS = {
    "kernels.advance",
    "kernels.bfgs",
    "kernels.blocks",
    "kernels.box",
    "kernels.compact",
    "kernels.contracts",
    "kernels.dense",
    "kernels.large",
    "kernels.lbfgs",
    "kernels.state",
    "kernels.tile",
    "kernels.vectors",
    "kernels.wolfe",
    "kernels.work",
}
FACE = {"fastbfgs"}
"""The public face: ``import fastbfgs``, and the names in its __all__."""

MAY_IMPORT: dict[str, set[str]] = {
    "__init__.py": {
        "_version",
        "batch_result",
        "fused",
        "kernels.advance",
        "minimize",
        "native",
        "optimizers",
        "options",
        "recorder",
        "result",
        "solver",
        "tfp",
        "trace",
    },
    "_version.py": set(),
    "__main__.py": FACE | {"demo", "doctor"},
    "demo.py": FACE,
    "doctor.py": FACE | {"kernels"},
    "minimize.py": {
        "batch_result",
        "device",
        "dialects",
        "differences",
        "driver",
        "foreign",
        "fused",
        "interop",
        "inverse",
        "native",
        "objective",
        "observers",
        "options",
        "outcome",
        "pieces",
        "recorder",
        "result",
        "solver",
    },
    "pieces.py": {"batch_result", "dialects", "objective", "result"},
    "batch_result.py": {"device", "dialects", "outcome", "result"},
    "dialects.py": {"options", "result"},
    "tfp.py": {"device", "driver", "foreign", "interop", "native", "objective", "options", "result", "solver"},
    "trace.py": {"nests", "observers", "optimizers", "records"},
    "records.py": {"foreign", "nests", "optimizers"},
    "records.pxd": set(),
    "optimizers.py": {"device", "options", "result", "solver"},
    "nests.py": set(),
    "driver.py": {"objective", "solver"},
    "driver.pxd": {"objective", "solver"},
    "observers.py": {"solver"},
    "recorder.py": {"device", "foreign", "solver"},
    "differences.py": set(),
    "objective.py": {"differences", "interop"},
    "objective.pxd": set(),
    "solver.py": {
        "backend",
        "cpu",
        "cuda",
        "device",
        "foreign",
        "fused",
        "interop",
        "kernels.advance",
        "native",
        "options",
        "result",
        "runs",
        "threads",
    },
    "solver.pxd": {"backend"},
    "interop.py": {"foreign"},
    "foreign.py": set(),
    "native.py": set(),
    "inverse.py": {"device", "outcome", "solver"},
    "options.py": set(),
    "outcome.py": set(),
    "result.py": {"device", "foreign", "kernels.advance"},
    "threads.py": set(),
    "atomics.pxd": set(),
    "backend.pxd": set(),
    "backend.pyx": {"kernels.advance"},
    "crew.pyx": {"atomics", "kernels.state", "threads"},
    "crew.pxd": {"kernels.state"},
    "cuda.py": {"backend", "device", "fused", "kernels.advance"},
    "fused.py": set(),
    "device.py": {"foreign", "interop"},
    "cpu.pyx": {"backend", "crew", "threads"} | KERNELS,
    "cpu.pxd": {"backend"} | KERNELS,
    "runs.pyx": {"atomics", "cpu", "threads"} | KERNELS,
    "kernels/__init__.py": {"kernels.instructions"},
    "kernels/advance.pyx": KERNELS,
    "kernels/advance.pxd": KERNELS,
    "kernels/bfgs.pxd": {"kernels.contracts", "kernels.lbfgs", "kernels.state", "kernels.vectors"},
    "kernels/blocks.pxd": set(),
    "kernels/box.pxd": {
        "kernels.compact",
        "kernels.contracts",
        "kernels.dense",
        "kernels.lbfgs",
        "kernels.state",
        "kernels.vectors",
    },
    "kernels/compact.pxd": {
        "kernels.contracts",
        "kernels.dense",
        "kernels.lbfgs",
        "kernels.state",
        "kernels.vectors",
    },
    "kernels/contracts.pxd": set(),
    "kernels/dense.pxd": set(),
    "kernels/instructions.pyx": set(),
    "kernels/large.pxd": {
        "kernels.blocks",
        "kernels.contracts",
        "kernels.lbfgs",
        "kernels.state",
        "kernels.vectors",
    },
    "kernels/lbfgs.pxd": {"kernels.contracts", "kernels.state", "kernels.vectors"},
    "kernels/probe.pyx": KERNELS,
    "kernels/state.pxd": set(),
    "kernels/tile.pxd": {"kernels.contracts", "kernels.state", "kernels.vectors"},
    "kernels/vectors.pxd": set(),
    "kernels/wolfe.pxd": {"kernels.contracts", "kernels.state"},
    "kernels/work.pxd": {"kernels.box", "kernels.compact", "kernels.large", "kernels.state", "kernels.tile"},
}
"""File of the package: the modules of the package that it may import."""

LATER = {"__main__.py", "demo.py", "doctor.py"}
"""Files that the table has a place for, whether they are there or not."""

STANDARD = set(sys.stdlib_module_names) | {"numpy"}
GUESTS: dict[str, set[str]] = {
    "driver.py": {"collections", "contextlib", "typing", "__future__"},
    "dialects.py": STANDARD | {"scipy"},
    "inverse.py": STANDARD | {"scipy"},
    "native.py": STANDARD | {"scipy"},
    "nests.py": {"collections", "typing", "__future__"},
    "observers.py": STANDARD | {"tqdm"},
    "outcome.py": STANDARD | {"scipy"},
    "__main__.py": STANDARD,
    "demo.py": STANDARD | {"scipy", "sklearn", "matplotlib", "tqdm", "threadpoolctl"},
    "doctor.py": STANDARD | {"scipy", "sklearn", "matplotlib", "tqdm", "threadpoolctl", "cupy", "Cython"},
}
"""File: what it may import from outside, if that is not `STANDARD`. The driver and nests know no arrays."""

COMPILED = {"numpy", "cython", "libc", "cpython", "time"}
"""What Cython files may import from outside."""

HEAVY = ("scipy", "tqdm", "matplotlib", "sklearn", "cupy", "torch", "jax")

CYTHON_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<source>[\w.]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n#]+)"
    r"|c?import[ \t]+(?P<modules>[^\n#]+)"
    r"|include[ \t]+(?P<include>[^\n]+))",
    re.MULTILINE,
)


def files() -> list[str]:
    """Return the sources of the package, as paths below it."""
    found = (path for kind in ("py", "pyx", "pxd") for path in PACKAGE.rglob(f"*.{kind}"))
    return sorted(path.relative_to(PACKAGE).as_posix() for path in found)


def named(source: str, names: list[str]) -> list[str]:
    """Return the modules that ``from source import names`` reads."""
    inside = source.removeprefix("fastbfgs").lstrip(".")
    folder = PACKAGE / inside.replace(".", "/")
    if not (source == "fastbfgs" or source.startswith("fastbfgs.")) or not folder.is_dir():
        return [source]
    modules = []
    for name in names:
        is_module = (folder / name).is_dir() or any(folder.glob(f"{name}.p*"))
        modules.append(f"{source}.{name}" if is_module else source)
    return modules


def imports_of_python(text: str) -> list[tuple[int, str]]:
    """Return line and module of each import of a Python source, wherever in it."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            found += [(node.lineno, module) for module in named(source, [alias.name for alias in node.names])]
    return found


def imports_of_cython(text: str) -> list[tuple[int, str]]:
    """Return line and module of each import and cimport of a Cython source."""
    # Docstrings and comments speak of imports; what is left of them are their lines.
    bare = re.sub(r'"""(?s:.*?)"""', lambda string: "\n" * string[0].count("\n"), text)
    found = []
    for match in CYTHON_IMPORT.finditer(bare):
        line = bare[: match.start()].count("\n") + 1
        if match["include"]:
            found.append((line, f"include {match['include']}"))
            continue
        listed = (match["names"] or match["modules"]).strip("() \t")
        names = [name.split()[0] for name in listed.replace("\n", " ").split(",") if name.strip()]
        modules = named(match["source"], names) if match["source"] else names
        found += [(line, module) for module in modules]
    return found


def imports(file: str) -> list[tuple[int, str]]:
    """Return line and module of each import of a file of the package."""
    text = (PACKAGE / file).read_text(encoding="utf-8")
    return imports_of_python(text) if file.endswith(".py") else imports_of_cython(text)


def test_every_file_is_in_the_table():
    assert set(files()) - set(MAY_IMPORT) == set(), "give the new file a place, and an arrow that points down"
    assert set(MAY_IMPORT) - set(files()) <= LATER, "the table names a file that is not there"


@pytest.mark.parametrize("file", files())
def test_arrows_point_down(file):
    wrong = []
    for line, module in imports(file):
        top, _, inside = module.partition(".")
        if top == "fastbfgs":
            allowed = (inside or "fastbfgs") in MAY_IMPORT[file]
        elif file.endswith(".py"):
            allowed = top in GUESTS.get(file, STANDARD)
        else:
            allowed = top in COMPILED
        if not allowed:
            wrong.append(f"fastbfgs/{file}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_no_arrow_closes_a_ring():
    below = {}
    for file, modules in MAY_IMPORT.items():
        name = file.rpartition(".")[0].replace("/", ".")
        below.setdefault(name, set()).update(modules - FACE - {name})

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"{' -> '.join(above)} -> {name}"
        for module in below.get(name, ()):
            if not name.startswith("kernels."):  # these are tied together as one: advance is made of the others
                walk(module, (*above, name))

    for name in below:
        walk(name, ())


def test_the_driver_is_short():
    assert len((PACKAGE / "driver.py").read_text(encoding="utf-8").splitlines()) < 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import numpy as np\n", [(1, "numpy")]),
        ("cimport numpy as cnp, cython\n", [(1, "numpy"), (1, "cython")]),
        ("from fastbfgs import threads\n", [(1, "fastbfgs.threads")]),
        ("from fastbfgs cimport kernels\n", [(1, "fastbfgs.kernels")]),
        ("\nfrom fastbfgs.kernels.wolfe cimport (\n    A, B,\n    C,\n)\n", [(2, "fastbfgs.kernels.wolfe")]),
        ("from fastbfgs.kernels cimport state\n", [(1, "fastbfgs.kernels.state")]),
        ("from fastbfgs cimport cpu, solver\n", [(1, "fastbfgs.cpu"), (1, "fastbfgs.solver")]),
        ('"""from here\nimport this"""\n# import that\nfrom libc.math cimport fabs  # of import\n', [(4, "libc.math")]),
        ("cdef f():\n    from scipy import optimize\n", [(2, "scipy")]),
        ('include "other.pxi"\n', [(1, 'include "other.pxi"')]),
    ],
)
def test_cython_imports_are_seen(text, expected):
    # One source is named once for each of its names.
    assert list(dict.fromkeys(imports_of_cython(text))) == expected


def test_python_imports_are_seen():
    text = "from fastbfgs import driver, Options\ndef f():\n    import scipy.optimize\nfrom .result import Status\n"
    assert sorted(imports_of_python(text)) == [
        (1, "fastbfgs"),
        (1, "fastbfgs.driver"),
        (3, "scipy.optimize"),
        (4, ".result"),
    ]


def test_a_checkout_that_is_not_built_says_so(tmp_path):
    for path in PACKAGE.rglob("*.py"):
        copy = tmp_path / "fastbfgs" / path.relative_to(PACKAGE)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    process = subprocess.run([sys.executable, "-c", "import fastbfgs"], cwd=tmp_path, capture_output=True, text=True)
    assert "ImportError: the compiled part of fastbfgs is not there" in process.stderr


def test_import_is_light():
    script = "import fastbfgs, sys; print(*sorted(sys.modules))"
    environment = {**os.environ, "PYTHONPATH": str(Path(fastbfgs.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    loaded = done.stdout.split()
    assert "fastbfgs.minimize" in loaded
    assert [name for name in loaded if name in HEAVY or name.startswith(tuple(f"{heavy}." for heavy in HEAVY))] == []
