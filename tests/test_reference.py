"""docs/reference names every command, option, setting, variable, exit code and column."""

import inspect
import re
from dataclasses import fields

import pytest

from launch import commands as launch_commands
from mimir import cli, config, settings_input
from mimir import commands as mimir_commands
from mimir import errors as errors_module
from mimir.errors import MimirError
from mimir.output.quality import Quality
from mimir.runs import figures
from mimir.runs.execution import Execution
from scripts import reference
from tests import ROOT

FOLDER = ROOT / "docs" / "reference"
CODE = [path for name in ("mimir", "launch") for path in ROOT.glob(f"{name}/**/*.py")]


def test_what_is_committed_is_what_the_code_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")  # the terminal's width is no part of it
    for name, text in reference.pages().items():
        assert (FOLDER / name).read_text() == text, f"run python scripts/reference.py ({name})"


def test_every_setting_says_what_it_means() -> None:
    for section, kind in config.SECTIONS.items():
        assert set(settings_input.explained(kind)) == {each.name for each in fields(kind)}, section


def test_the_list_of_commands_says_whole_sentences() -> None:
    """It shows the first line of what a command says of itself."""
    for tree in (launch_commands.TREE, mimir_commands.TREE):
        for name, each in tree.items():
            if not isinstance(each, dict):
                first = (inspect.getdoc(cli.loaded(each)) or "").splitlines()[0]
                assert first[-1] in ".?", f"{name}: {first}"


def test_every_variable_is_on_the_page() -> None:
    """Of our own, and of services' keys: all that the code reads or sets by name."""
    form = re.compile(r"\b(?:MIMIR|XDG|CLOUDSDK)_[A-Z0-9_]*[A-Z0-9]\b|\b[A-Z_]+_API_KEY\b")
    named = {name for path in CODE for name in form.findall(path.read_text())}
    assert "MIMIR_STORE" in named
    page = (FOLDER / "environment.md").read_text()
    listed = set(re.findall(r"[A-Z][A-Z0-9_]+[A-Z0-9]", page))
    assert not named - listed
    own = {name for name in listed if name.startswith("MIMIR_")}
    assert not own - named - {"MIMIR_LINK"}, "no longer read"


def test_every_exit_code_is_on_the_page() -> None:
    page = (FOLDER / "exit-codes.md").read_text()
    classes = [each for each in vars(errors_module).values() if isinstance(each, type)]
    codes = {each.exit_code for each in classes if issubclass(each, MimirError)}
    for code in {*codes, 0, 130}:
        assert f"| {code} |" in page


def test_every_column_of_metrics_is_on_the_page() -> None:
    page = (FOLDER / "files.md").read_text()
    columns = [figure.key for figure in figures.FIGURES] + [figures.SELECTION]
    columns += Execution("cpu", "fp32").as_row()
    columns += [f"samples_{field.name}" for field in fields(Quality)]
    assert not [name for name in columns if f"`{name}`" not in page]
