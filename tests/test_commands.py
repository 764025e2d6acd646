"""The two commands, as a user starts them: what they print must be true, and their exit status with it."""

from __future__ import annotations

import importlib.util
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy

import fastbfgs

HOME = Path(fastbfgs.__file__).parents[1]
HERE = Path(__file__).resolve().parents[1]

NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def command(*args: str, folder: Path, block: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess:
    """Run ``python -m fastbfgs`` in `folder`, as if the packages `block` were not installed."""
    for name in block:
        stub = folder / "blocked" / f"{name}.py"
        stub.parent.mkdir(exist_ok=True)
        stub.write_text(f"raise ModuleNotFoundError('blocked', name={name!r})\n")
    inherited = {k: v for k, v in os.environ.items() if k not in ("FASTBFGS_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    paths = [str(folder / "blocked"), str(HOME), os.environ.get("PYTHONPATH", "")]
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "fastbfgs", *args],
        cwd=folder,
        env={**inherited, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONIOENCODING": "utf-8"}
        | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


def numbers(text: str, label: str) -> list[float]:
    """Return the numbers behind `label` in the line that starts with it."""
    (line,) = (line for line in text.splitlines() if line.strip().startswith(label))
    return [float(number.replace(",", "")) for number in NUMBER.findall(line.strip().removeprefix(label))]


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG, from its header."""
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
    return struct.unpack(">II", data[16:24])


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    done = command("demo", "--sample", "33", folder=tmp_path, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout

    # Four strengths of a hundred, the least and the greatest among them.
    members = 40
    assert numbers(text, "Job        logistic regression,") == [10, 4, 1e-5, 10, members, 31]
    for label in ("least mean validation loss", "largest within 1 standard error"):
        strength, loss, error, accuracy = numbers(text, label)
        assert strength in (1e-5, 0.001, 0.1, 10)
        assert 0.0 < error < loss < 0.2
        assert 95.0 < accuracy < 100.0

    wall, inside, solver = (
        numbers(text, label) for label in ("wall time, s", "in the objective, s", "in the solver, s")
    )
    for way in (0, 1):
        assert inside[way] + solver[way] == pytest.approx(wall[way], abs=2e-3)
    calls, spent = numbers(text, "calls of the objective"), numbers(text, "evaluations, all fits together")
    assert calls[0] < spent[0] / 3, "one call serves many members"
    assert calls[1] == spent[1]
    assert wall[2] == pytest.approx(wall[1] / wall[0], rel=0.05)

    for label in ("parameters", "validation loss of a fit"):
        difference, allowed, largest = numbers(text, label)
        assert 0.0 < difference <= allowed < largest
    assert numbers(text, "gradient within gtol") == [members, members]
    assert max(numbers(text, "largest |gradient| left")) <= 1.0001e-7

    assert min(png_size(tmp_path / "demo.png")) >= 400
    assert fastbfgs.__version__ in text and np.__version__ in text and scipy.__version__ in text
    # Progress, of both ways, goes to standard error.
    assert done.stderr.count("100%") == 2 and "100%" not in text


def test_demo_measures_the_users_threads_too(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = command("demo", "--sample", "99", "--no-plot", folder=tmp_path, OPENBLAS_NUM_THREADS="2")
    assert done.returncode == 0, done.stdout + done.stderr
    if "2 before" in done.stdout:  # another BLAS may not listen to that variable
        batch, loop, fits, ratio = numbers(done.stdout, "With BLAS threads as set before:")
        assert 1 <= fits <= 20 and ratio == pytest.approx(loop / batch, rel=0.1)
    assert not list(tmp_path.glob("*.png"))


def test_demo_without_scikit_learn(tmp_path: Path) -> None:
    done = command("demo", folder=tmp_path, block=("sklearn",))
    assert done.returncode == 2
    assert done.stdout == ""
    assert 'pip install "fastbfgs[demo]"' in done.stderr and len(done.stderr.splitlines()) == 1


def test_demo_without_matplotlib_and_tqdm(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = command("demo", "--sample", "99", folder=tmp_path, block=("matplotlib", "tqdm"), OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "matplotlib is not installed" in done.stdout
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("name", "rule"), [("nowhere/path.png", "a folder that"), ("folder.png", "into a file"), ("picture.xyz", "pdf, ")]
)
def test_demo_says_at_once_when_the_picture_cannot_be_written(name: str, rule: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "folder.png").mkdir()
    path = str(tmp_path / name)
    done = command("demo", "--plot", path, folder=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert "argument --plot: the picture must" in done.stderr and rule in done.stderr and path in done.stderr


def test_demo_of_one_strength_in_ascii_as_pdf(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    args = ("demo", "--sample", "100", "--plot", "one.pdf")
    done = command(*args, folder=tmp_path, OPENBLAS_NUM_THREADS="1", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.skipif(os.name == "nt", reason="pipes end otherwise there")
def test_a_reader_who_has_had_enough(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "fastbfgs", "doctor", "--seconds", "0.1"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(HOME)},
            stdout=pipe,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=60,
        )
    assert done.stderr == "" and done.returncode == 141


@pytest.mark.parametrize(
    "change",
    [("LOSS_BOUND", 0.0), ("OPTIONS", {"gtol": 1e-7, "ftol": 0.0, "maxiter": 3})],
    ids=["disagreement", "no convergence"],
)
def test_demo_fails_if_an_answer_does(
    change: tuple[str, object], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    from fastbfgs import demo

    monkeypatch.setattr(demo, *change)
    # As if BLAS had one thread anyway: what it does with more is another test.
    monkeypatch.setattr(demo, "_with_threads", lambda *args: "")
    assert demo.run(every=99, plot=None) == 1
    assert "FAILED" in capsys.readouterr().out


def test_demo_objectives_are_the_same_function() -> None:
    pytest.importorskip("sklearn")
    from fastbfgs import demo

    folds = demo.load()
    # Every row is held out once, and each fold is standardised by its own training rows alone.
    assert sum(part.held_out.shape[1] for part in folds) == 569
    for part in folds:
        signs = part.columns[-1]
        assert np.allclose(part.columns[:-1] @ signs, 0.0, atol=1e-9)
        assert np.allclose((part.columns[:-1] ** 2).mean(axis=1), 1.0)

    rng = np.random.default_rng(1)
    fold = np.array([0, 0, 3, 9, 9])  # some folds have finished
    strength = rng.uniform(0.0, 1.0, len(fold))
    w = rng.normal(size=(len(fold), 31))
    f, g = demo.batch_objective(folds, most=2)(w.copy(), fold, strength)
    for i in range(len(fold)):
        f_one, g_one = demo.single_objective(w[i].copy(), folds[fold[i]], strength[i])
        assert f[i] == pytest.approx(f_one, rel=1e-13)
        assert np.allclose(g[i], g_one, rtol=1e-12, atol=1e-14)

        def value(x: np.ndarray, i: int = i) -> float:
            """Return the documented formula, by other means."""
            loss = np.logaddexp(0.0, x @ folds[fold[i]].columns).mean()
            return loss + strength[i] / 2 * (x[:-1] @ x[:-1])

        assert f_one == pytest.approx(value(w[i]), rel=1e-13)
        error = scipy.optimize.check_grad(
            value, lambda x, i=i: demo.single_objective(x, folds[fold[i]], strength[i])[1], w[i]
        )
        assert error < 1e-5


def test_compare(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    compare = ["-m", "benchmarks.compare", "--quick", "--rounds", "1", "--members", "20", "--out", str(tmp_path)]
    compare += ["--only", "fastbfgs, 1", "SciPy L", "PyLBFGS loop", "--tasks", "20 problems, mixed"]
    done = subprocess.run(
        [sys.executable, *compare],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(HOME), os.environ.get("PYTHONPATH", "")]))},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "compare.md").read_text(encoding="utf-8") == done.stdout
    assert min(png_size(tmp_path / "compare.png")) >= 400
    short = next(line for line in done.stdout.splitlines() if line.startswith("| 20 problems"))
    gain = float(short.split("|")[6])
    assert gain > 2, "a batch that is hardly faster than the loop is not worth a package"
    for name in ("fastbfgs, 1 thread", "SciPy L-BFGS-B loop"):
        (row,) = (line for line in done.stdout.splitlines() if line.startswith(f"| {name}"))
        assert "| 100 % |" in row
    if importlib.util.find_spec("lbfgs") is None:
        assert "not here: PyLBFGS loop (lbfgs is not installed)" in done.stdout


def test_doctor(tmp_path: Path) -> None:
    done = command("doctor", "--seconds", "0.6", folder=tmp_path, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout
    for version in (fastbfgs.__version__, np.__version__, scipy.__version__):
        assert version in text
    assert numbers(text, "Cores")[0] >= 1
    fits, seconds, rate, evaluations, converged = numbers(text, "one batch")
    _, _, loop_rate, loop_evaluations, loop_converged, ratio = numbers(text, "SciPy loop")
    assert rate == pytest.approx(fits / seconds, rel=0.1)
    assert ratio == pytest.approx(rate / loop_rate, rel=0.02)
    assert ratio > 2, "a batch that is hardly faster than the loop is not worth a package"
    assert converged >= 99 and loop_converged >= 95
    assert evaluations == pytest.approx(loop_evaluations, rel=0.3)
    assert done.stderr == ""


def test_doctor_warns(tmp_path: Path) -> None:
    for setting in ("9999", "many"):
        done = command("doctor", "--seconds", "0.1", folder=tmp_path, FASTBFGS_NUM_THREADS=setting)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"^WARNING .*FASTBFGS_NUM_THREADS.*{setting}", done.stdout, re.MULTILINE)


def test_doctor_without_optional_packages(tmp_path: Path) -> None:
    names = ("threadpoolctl", "tqdm", "matplotlib", "sklearn", "cupy", "torch", "jax", "numba")
    done = command("doctor", "--seconds", "0.1", folder=tmp_path, block=names, OPENBLAS_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "OPENBLAS_NUM_THREADS=1" in done.stdout


@pytest.mark.parametrize("args", [(), ("cure",), ("demo", "--sample", "0"), ("doctor", "--seconds", "nan")])
def test_wrong_arguments(args: tuple[str, ...], tmp_path: Path) -> None:
    done = command(*args, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: python -m fastbfgs") and "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [("--help",), ("demo", "--help"), ("doctor", "--help"), ("--version",)])
def test_help(args: tuple[str, ...], tmp_path: Path) -> None:
    done = command(*args, folder=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert "fastbfgs" in done.stdout
