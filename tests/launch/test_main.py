"""The console script `mimir`: the commands of both packages under one name."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import mimir
from launch import __main__ as script
from launch.commands import TREE
from mimir import commands
from tests import ROOT
from tests.waiting import LIMIT

HEAVY = {"torch", "numpy", "boto3", "httpx", "paramiko"}
WORDS = (
    ("--help",), ("--version",), *((name, "--help") for name in (*TREE, *commands.TREE)),
    ("data", "pack", "--help"), ("benchmark", "pepbenchmark", "--help"),
)  # fmt: skip


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int | str | None:
    monkeypatch.setattr(sys, "argv", ["mimir", *words])
    with pytest.raises(SystemExit) as caught:
        script.mimir()
    return caught.value.code


def test_it_is_installed() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["mimir"].partition(":")
    assert getattr(import_module(module), name) is script.mimir


def test_it_has_the_commands_of_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set(TREE) & set(commands.TREE) == set(script.BOTH)
    assert run(monkeypatch, "--help") == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:2] == "  "}
    assert {*TREE, *commands.TREE} <= listed
    assert run(monkeypatch, "resume", "--help") == 0
    assert "--take-over" in capsys.readouterr().out, "the launcher's"
    assert run(monkeypatch, "submit", "--help") == 0
    assert "  mimir submit first --preset small" in capsys.readouterr().out
    assert run(monkeypatch, "submitt") == 78
    assert "did you mean 'submit'" in capsys.readouterr().err
    assert run(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"mimir {mimir.__version__}\n"


def test_its_sentences_name_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "runs", "--store", (tmp_path / "store").as_uri()) == 0
    seen = capsys.readouterr()
    assert "begin with `mimir submit`" in seen.out + seen.err
    assert run(monkeypatch, "rm") == 78
    assert "`mimir prune` chooses" in capsys.readouterr().err


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import contextlib, sys; from launch.__main__ import mimir\n"
        f"for words in {WORDS!r}:\n"
        "    sys.argv = ['mimir', *words]\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        mimir()\n"
        f"    heavy = {HEAVY!r} & set(sys.modules)\n"
        "    assert not heavy, (words, heavy)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: mimir") == len(WORDS) - 1
