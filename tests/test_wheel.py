"""The wheel that a user makes, installed where no checkout is near."""

import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests import ROOT
from tests.waiting import LIMIT

pytest.importorskip("setuptools", minversion="77", reason="pip install 'setuptools>=77'")

USE = """
from launch.pricing import measured
from mimir.submission import prepare
job = prepare("small", {}, "")
print(job.peptides, bool(measured.find(job.config)))
"""
"""Reads a preset, the sample, and what the bench measured."""


def run(folder: Path, *words: str | Path, **environment: str) -> str:
    """What a command prints, of a process that knows nothing of this checkout."""
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=clean, capture_output=True, text=True,
        check=False, timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As docs/guides/laptop.md says, of a copy: a build leaves files beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    checkout = folder / "checkout"
    for name in ("mimir", "launch", "jobs", "bench/results"):
        without = shutil.ignore_patterns("__pycache__", "build")
        shutil.copytree(ROOT / name, checkout / name, ignore=without)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    # Without isolation the build tool of this environment serves, and no index is asked.
    run(checkout, sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", ".",
        "-w", folder / "dist")  # fmt: skip
    (made,) = (folder / "dist").glob("mimir_peptides-*.whl")
    return made


def test_it_has_the_data_of_its_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "mimir/jobs/small.yaml", "mimir/data/sample/sample.csv", "launch/report/run.html",
        "launch/report/card.md", "launch/payload/worker.txt", "mimir/output/standalone/peptides.py",
    ):  # fmt: skip
        assert wanted in names
    assert any(name.startswith("launch/measurements/gpu-") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "bench/"))]


def test_installed_it_works_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """Into an environment of its own, which sees the packages of this one but not this checkout."""
    home = tmp_path / "env"
    venv.create(home, with_pip=False)
    site = next(home.glob("lib/python*/site-packages"))
    run(tmp_path, sys.executable, "-m", "pip", "--python", home / "bin" / "python", "install",
        "--no-deps", "--no-index", wheel)  # fmt: skip
    # The packages of this environment, without its .pth files: an editable install is one.
    (site / "packages.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")
    mimir, python = home / "bin" / "mimir", home / "bin" / "python"
    where = run(tmp_path, python, "-c", "import mimir, launch; print(mimir, launch)")
    assert where.count(str(home)) == 2
    assert run(tmp_path, mimir, "--version").startswith("mimir ")
    assert "--preset" in run(tmp_path, mimir, "estimate", "--help")
    assert run(tmp_path, python, "-c", USE) == "23039 True\n"
