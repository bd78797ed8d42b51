"""What starts the worker in somebody else's image, and the wheel that it fetches."""

import ast
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from launch.payload import bootstrap, wheel
from tests import ROOT


class Became(Exception):
    pass


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A store with the wheel in it, and the variables that name it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    content = wheel.content()
    (tmp_path / "a store" / "code").mkdir(parents=True)
    (tmp_path / "a store" / "code" / "w.whl").write_bytes(content)
    return {
        "MIMIR_STORE": (tmp_path / "a store").as_uri(),
        "MIMIR_CODE": "code/w.whl",
        "MIMIR_CODE_SHA256": hashlib.sha256(content).hexdigest(),
        "MIMIR_NEEDS": json.dumps(wheel.NEEDS),
    }


def became(environ: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    found: list[Any] = []

    def become(program: str, words: list[str], env: dict[str, str]) -> None:
        found.extend((words, env))
        raise Became

    with pytest.raises(Became):
        bootstrap.main(["--run", "x"], environ, become)
    return found[0], found[1]


def test_it_becomes_the_worker_with_our_code_first(place: dict[str, str], tmp_path: Path) -> None:
    words, env = became({**place, "PYTHONPATH": "/theirs"})
    assert words == [sys.executable, "-m", "mimir.worker", "--run", "x"]
    code, _, theirs = env["PYTHONPATH"].split(os.pathsep)
    assert theirs == "/theirs"
    shown = subprocess.run(
        [sys.executable, "-c", "import mimir.config as c, mimir.data as d;"
         "print(c.__file__, c.load_preset('smoke').preset, d.sample_path().is_file())"],
        env={**os.environ, "PYTHONPATH": env["PYTHONPATH"]}, cwd=tmp_path,
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert shown == [f"{code}/mimir/config.py", "smoke", "True"]


def test_started_again_it_needs_no_store(place: dict[str, str], tmp_path: Path) -> None:
    first = became(place)
    (tmp_path / "a store" / "code" / "w.whl").unlink()
    assert became(place) == first


def test_other_code_is_refused(
    place: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a store" / "code" / "w.whl").write_bytes(b"other")
    with pytest.raises(SystemExit) as ended:
        bootstrap.main([], place)
    assert ended.value.code == 75
    assert "is not the code that was submitted" in capsys.readouterr().out


def test_an_image_without_torch_is_refused(
    place: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        bootstrap.main([], place)
    assert ended.value.code == 78
    assert "has no torch" in capsys.readouterr().out


def test_what_is_lacking_is_installed_and_nothing_else(
    place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], **_: Any) -> Any:
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, "")

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fire" else real(name)
    )
    monkeypatch.setattr(subprocess, "run", run)
    _, env = became(place)
    at = asked[0].index("--target")
    assert asked[0][at + 2 :] == [wheel.NEEDS["fire"]]
    assert asked[0][at + 1] in env["PYTHONPATH"].split(os.pathsep)


def test_the_text_imports_nothing_that_an_image_may_lack() -> None:
    tree = ast.parse(Path(bootstrap.__file__).read_text())
    names = {
        name.name.split(".")[0]
        for node in tree.body if isinstance(node, ast.Import) for name in node.names
    } | {
        (node.module or "").split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom)
    }  # fmt: skip
    assert names <= sys.stdlib_module_names


def test_the_wheel_is_the_same_each_time_and_whole(tmp_path: Path) -> None:
    content = wheel.content()
    assert wheel.content() == content
    assert len(content) < 2 << 20
    (tmp_path / wheel.file_name()).write_bytes(content)
    with zipfile.ZipFile(tmp_path / wheel.file_name()) as archive:
        names = set(archive.namelist())
    assert {
        "mimir/worker/supervisor.py",
        "mimir/jobs/smoke.yaml",
        "mimir/data/sample/sample.csv",
    } <= names
    assert not any("__pycache__" in name for name in names)


def test_pip_takes_the_wheel(tmp_path: Path) -> None:
    path = tmp_path / wheel.file_name()
    path.write_bytes(wheel.content())
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", str(tmp_path / "out"), str(path)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert (tmp_path / "out" / "mimir" / "worker" / "supervisor.py").is_file()


def test_the_needs_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    # httpx asks clouds for machines: only the launcher does that.
    wanted = {need for need in declared if not need.startswith(("torch", "httpx"))}
    assert wanted | {"packaging"} == set(wheel.NEEDS.values())


def test_the_needs_are_all_that_the_trainer_imports() -> None:
    imported = {
        name.split(".")[0]
        for path in (ROOT / "mimir").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _named(node)
    }
    beside = imported - set(sys.stdlib_module_names) - {"mimir", "torch"}
    # boto3 brings botocore and urllib3, torch triton; the others are there where a notebook is.
    assert beside - {"botocore", "urllib3", "triton", "IPython", "google"} <= set(wheel.NEEDS)


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
