"""The contracts on imports in pyproject.toml are broken on purpose, and import-linter says so."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import ROOT
from tests.waiting import LIMIT

PROJECT = ROOT / "pyproject.toml"
CONTRACTS = tomllib.loads(PROJECT.read_text())["tool"]["importlinter"]["contracts"]
NAMES = [contract["name"] for contract in CONTRACTS]
BROKEN_BY = {
    "The rooms of mimir import downward": ("mimir/model/philox.py", "mimir.training.loop"),
    "The trainer never imports the launcher": ("mimir/worker/webhook.py", "launch.contract.errors"),
    "The contract and the data need no torch": ("mimir/data/keys.py", "torch"),
    "The rooms of launch import downward": ("launch/contract/offer.py", "launch.pricing.gpus"),
    "The launcher never imports torch": ("launch/ui/live.py", "mimir.model.philox"),
    "Policy knows no service by name": ("launch/provision/wait.py", "launch.providers.aws.errors"),
    "Nothing imports in a circle": ("mimir/runs/codec.py", "mimir.runs.head"),
}
"""A module of ours, and what it must not import."""
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


class Copy:
    """The packages as import-linter sees them, in a folder where they may be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("mimir", "launch"):
            for path in ROOT.glob(f"{name}/**/*.py"):
                to = folder / path.relative_to(ROOT)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)
        shutil.copyfile(PROJECT, folder / "pyproject.toml")

    def broken(self) -> set[str]:
        """The contracts that are broken; the others are kept."""
        done = subprocess.run(
            [sys.executable, "-c", LINT, "--no-logo", "--no-cache"],
            cwd=self.folder, env={**os.environ, "PYTHONPATH": str(self.folder), "COLUMNS": "200"},
            capture_output=True, text=True, check=False, timeout=LIMIT,
        )  # fmt: skip
        found = dict(
            re.findall(rf"^({'|'.join(map(re.escape, NAMES))}) (KEPT|BROKEN)", done.stdout, re.M)
        )
        assert found.keys() == set(NAMES), done.stdout + done.stderr
        broken = {name for name, state in found.items() if state == "BROKEN"}
        assert (done.returncode != 0) is bool(broken)
        return broken


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("packages"))


def test_as_it_is_none_is_broken(copy: Copy) -> None:
    assert copy.broken() == set()


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_broken(name: str, copy: Copy) -> None:
    """Also by an import within a function, which runs late."""
    assert name in BROKEN_BY, "a new contract needs an import that breaks it"
    where, what = BROKEN_BY[name]
    module = copy.folder / where
    before = module.read_text()
    module.write_text(f"{before}\n\ndef _late() -> None:\n    import {what}\n")
    try:
        assert name in copy.broken()
    finally:
        module.write_text(before)
