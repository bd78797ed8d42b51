"""What starts the worker in somebody else's image, and the wheel that it fetches."""

import ast
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from launch.payload import bootstrap, wheel
from tests import ROOT
from tests.waiting import LIMIT


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
        capture_output=True, text=True, check=True, timeout=LIMIT,
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

    real, version = importlib.util.find_spec, bootstrap._version
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fire" else real(name)
    )
    lacking = ("fire", "termcolor")
    monkeypatch.setattr(bootstrap, "_version", lambda n: "" if n in lacking else version(n))
    monkeypatch.setattr(subprocess, "run", run)
    _, env = became(place)
    at = asked[0].index("--target")
    assert asked[0][at + 2 :] == [f"{name}=={wheel.pins()[name]}" for name in lacking]
    assert "--no-deps" in asked[0]
    assert asked[0][at + 1] not in env["PYTHONPATH"].split(os.pathsep)


def test_what_is_installed_lies_behind_the_images_own(
    place: dict[str, str], tmp_path: Path
) -> None:
    """And the image's customization of Python still runs."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "sitecustomize.py").write_text("print('theirs runs')")
    _, env = became({**place, "PYTHONPATH": str(theirs)})
    packages = next((tmp_path / "tmp").glob("mimir-*")) / "packages"
    for name in ("numpy", "only_ours"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").write_text("print('ours')")
    code = "import numpy, only_ours; print(numpy.ones(1).sum())"
    shown = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": env["PYTHONPATH"]},
        capture_output=True, text=True, check=True, timeout=LIMIT,
    ).stdout.split("\n")  # fmt: skip
    assert shown[:3] == ["theirs runs", "ours", "1.0"]


@pytest.mark.parametrize(
    ("found", "refused"), [("1.25.2", True), ("0.9", True), ("1.26", False), ("2.4.6", False)]
)
def test_an_images_package_that_is_too_old_is_refused(
    found: str, refused: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "_version", lambda name: found)
    if not refused:
        bootstrap._refuse_old(["numpy>=1.26", "packaging"])
        return
    with pytest.raises(SystemExit) as ended:
        bootstrap._refuse_old(["packaging", "numpy>=1.26"])
    assert ended.value.code == 78
    assert f"the image has numpy {found}: Mimir needs numpy>=1.26" in capsys.readouterr().out


def test_the_versions_are_those_that_are_tested_together() -> None:
    """All that the needs need, and nothing else; in the versions of constraints.txt."""
    tested = {}
    for name in ("docker/requirements.lock", "constraints.txt"):
        text = (ROOT / name).read_text().lower().replace("_", "-")
        tested |= dict(re.findall(r"(?m)^([a-z][\w.-]*)==([\w.]+)", text))
    pins = wheel.pins()
    assert {name: tested[name] for name in pins} == pins
    wanted, known = [Requirement(need).name for need in wheel.NEEDS.values()], set()
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in known:
            continue
        known.add(name)
        for each in map(Requirement, importlib.metadata.requires(name) or ()):
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                wanted.append(each.name)
    assert set(pins) == known


class Apt:
    """A machine whose packages are a list. after: what it takes until a compiler works."""

    def __init__(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, after: tuple[str, ...]
    ) -> None:
        self.log, self.after = tmp_path / "apt", after
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "apt-get").write_text(f"#!/bin/sh\necho $@ >> {self.log}\n{script}\n")
        (tmp_path / "bin" / "apt-get").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin:/usr/bin")
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(bootstrap, "_lack", self.lack)

    @property
    def asked(self) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [re.sub(r"^-q( -o[A-Z]\w+(::\w+)+=\d+){3} ", "", line) for line in lines]

    def lack(self, environ: dict[str, str]) -> str:
        there = " ".join(self.asked)
        lacking = [name for name in self.after if name not in there.split()]
        return f"{lacking[0]} lacks" if lacking else ""


PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}-dev"
GCC = "install --yes --no-install-recommends gcc libc6-dev"
HEADERS = f"install --yes --no-install-recommends {PYTHON}"


@pytest.mark.parametrize(
    ("after", "script", "asked", "said"),
    [
        ((), "exit 1", [], ""),
        (("gcc",), "", ["update", GCC], "a C compiler was missing and is installed"),
        (("gcc", PYTHON), "", ["update", GCC, HEADERS], "and is installed"),
        (
            ("gcc",), "echo 'E: no network'; exit 100", ["update"],
            "gcc lacks, and it could not be installed (E: no network): slower training",
        ),
        (
            ("other",), "", ["update", GCC, HEADERS],
            "other lacks, and it could not be installed (apt-get did not help): slower training",
        ),
        (
            ("gcc",), "exec sleep 100", ["update"],
            "could not be installed (apt-get update took more than 0 s): slower training",
        ),
    ],
)  # fmt: skip
def test_a_compiler_is_installed_where_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    after: tuple[str, ...], script: str, asked: list[str], said: str,
) -> None:  # fmt: skip
    apt = Apt(tmp_path, monkeypatch, script, after)
    if "sleep" in script:
        monkeypatch.setattr(bootstrap, "APT_WITHIN", 0.0)
    bootstrap._provide_compiler({})
    assert apt.asked == asked
    out = capsys.readouterr().out
    assert said in out
    assert len(out.splitlines()) == bool(said)


def test_without_root_or_apt_the_lack_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apt = Apt(tmp_path, monkeypatch, "", ("gcc",))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    bootstrap._provide_compiler({})
    assert "gcc lacks, and it cannot be installed (this is not root)" in capsys.readouterr().out
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    bootstrap._provide_compiler({})
    assert "(there is no apt-get): slower training" in capsys.readouterr().out
    assert apt.asked == []


def test_the_lack_is_what_the_wheels_own_code_finds(
    place: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, env = became(place)
    there = {"PYTHONPATH": env["PYTHONPATH"], "PATH": str(tmp_path)}
    assert bootstrap._lack(there) == "there is no C compiler"
    assert bootstrap._lack({**there, "PATH": "/usr/bin:/bin"}) == ""


def test_code_comes_by_its_link(place: dict[str, str], tmp_path: Path) -> None:
    lies = (tmp_path / "a store" / "code" / "w.whl").rename(tmp_path / "elsewhere")
    words, _ = became({**place, "MIMIR_CODE_URL": lies.as_uri(), "MIMIR_STORE": "s3://b/p"})
    assert words[:3] == [sys.executable, "-m", "mimir.worker"]


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
        check=True, capture_output=True, timeout=LIMIT,
    )  # fmt: skip
    assert (tmp_path / "out" / "mimir" / "worker" / "supervisor.py").is_file()


def test_the_needs_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    wanted = {need for need in declared if not need.startswith("gpuhunt")}
    assert wanted | {"packaging"} == {*wheel.NEEDS.values(), *wheel.BESIDE}
    module, _, name = wheel.SCRIPT.partition("mimir = ")[2].strip().partition(":")
    assert project["scripts"] == {"mimir": f"{module}:{name}"}


def test_the_needs_are_all_that_the_trainer_imports() -> None:
    imported = {
        name.split(".")[0]
        for path in (ROOT / "mimir").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _named(node)
    }
    beside = imported - set(sys.stdlib_module_names) - {"mimir", "torch"}
    assert "Bio" in beside  # of samples and reports: tests/output/test_properties.py
    # boto3 brings botocore and urllib3, torch triton; IPython and google are where a notebook is;
    # httpx fetches data, Bio describes peptides: neither on a machine that trains.
    beside -= {"botocore", "urllib3", "triton", "IPython", "google", "httpx", "Bio"}
    assert beside <= set(wheel.NEEDS)


def _named(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [name.name for name in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
