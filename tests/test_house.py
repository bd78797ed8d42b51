"""The structure that README and docstrings promise: sizes, places, and what a new thing costs."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from mimir import config
from tests import ROOT

NOT_CODE = {"tests", "build", "demo"}
"""The tests, and what `make` leaves beside the code."""
CODE = [
    path
    for top in ROOT.iterdir()
    if top.name not in NOT_CODE and not top.name.startswith(".")
    for path in ([top] if top.suffix == ".py" else top.glob("**/*.py"))
]
DOCUMENT = ROOT / "notebooks" / "train_colab.py"
"""The notebook's source: the text and the cells that a user reads from top to bottom, in one file
because the notebook is one. No cell can import another, and each is judged as a module."""
PACKAGES = [path for name in ("mimir", "launch") for path in ROOT.glob(f"{name}/**/__init__.py")]
TEXTS = [ROOT / "README.md", ROOT / "docker" / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]

RUNS = re.compile(
    r"(pickle|cPickle|marshal|shelve|dill|joblib|tarfile|zipfile)(\..*)?"
    r"|torch\.(load|save|package.*)|(np|numpy)\.load|eval|exec|yaml\.(unsafe_|full_)?load"
)
"""What loads code, or unpacks under the names that it finds."""
ENDS_LATE = r"subprocess\.(run|call|check_call|check_output)|.*\.communicate"
"""Calls that wait for a process, for ever without a `timeout`."""


def test_no_module_is_long() -> None:
    assert DOCUMENT in CODE
    parts = {path: path.read_text() for path in CODE if path != DOCUMENT}
    for cell in re.split(r"^# %% ", DOCUMENT.read_text(), flags=re.M):
        parts[DOCUMENT / cell.partition("\n")[0]] = cell
    long = {where: n for where, text in parts.items() if (n := len(text.splitlines())) > 350}
    assert not long


def test_few_modules_lie_loose() -> None:
    """Two of them are the API, which programs import by a short name."""
    assert len([*ROOT.glob("mimir/*.py"), *ROOT.glob("launch/*.py")]) <= 16


@pytest.mark.parametrize("path", PACKAGES, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_a_packages_docstring_lists_its_modules(path: Path) -> None:
    """And no other: a newcomer reads it instead of the folder. A provider's folder lists none."""
    doc = ast.get_docstring(ast.parse(path.read_text()), clean=False) or ""
    if path.parent.parent.name == "providers" or path.parent.name == "commands":
        assert doc
        return
    within = {each.stem for each in path.parent.glob("*.py")}
    if path.parent.name != "providers":  # where the registry lists the folders
        within |= {each.parent.name for each in path.parent.glob("*/__init__.py")}
    listed = {
        name.strip()
        for line in re.findall(r"^ *([a-z0-9_, ]+?) {2,}", doc, re.M)
        for name in re.split(r"[, ]+", line)
    }
    listed |= set(re.findall(r" {3,}([a-z0-9_]+) {3,}", doc))
    assert within - {"__init__", "__main__"} <= listed, "not listed"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_files_that_exist(path: Path) -> None:
    folders = "mimir|launch|tests|bench|docker|docs|scripts|jobs"
    named = re.findall(rf"(?<![\w/.-])((?:{folders})/[\w/]+\.\w+)", path.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_no_sentence_names_a_program_that_nobody_has() -> None:
    """`python -m launch X` is one, and whoever called `mimir` reads it as that."""
    from launch.commands import TREE

    wrong = re.compile(rf"(?<!-m )\blaunch ({'|'.join(TREE)})\b(?=[^`]*`)")
    found = [f"{path.name}: {line}" for path in TEXTS for line in _lines(path.read_text())]
    for path in CODE:
        tree = ast.parse(path.read_text())
        first = tree.body[0].value if tree.body and isinstance(tree.body[0], ast.Expr) else None
        found += [
            f"{path.name}: {line}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node is not first
            for line in _lines(node.value)
        ]
    assert [line for line in found if wrong.search(line)] == []


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]


def test_a_preset_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "PRESETS", tmp_path)
    (tmp_path / "mine.yaml").write_text("model: {dim: 64, layers: 1}\ntraining: {epochs: 3}\n")
    assert config.preset_names() == ["mine"]
    made = config.load_preset("mine")
    assert (made.preset, made.model.dim, made.training.epochs) == ("mine", 64, 3)


def test_what_the_tests_set_is_there() -> None:
    """A constant module:NAME, which the tests' launcher has with another value, was not moved."""
    form = re.compile(r"""["']((?:launch|mimir)\.[\w.]+):([A-Z_]+)\b""")
    named = {name for path in ROOT.glob("tests/**/*.py") for name in form.findall(path.read_text())}
    assert ("launch.contract.deadlines", "BEGIN_WITHIN") in named
    gone = [
        f"{module}:{name}"
        for module, name in sorted(named)
        if not hasattr(importlib.import_module(module), name)
    ]
    assert not gone


def test_programs_that_tests_start_have_a_limit() -> None:
    """One that hangs fails its test, and not the whole suite."""
    endless = []
    for path in sorted(ROOT.glob("tests/**/*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            runs = re.fullmatch(ENDS_LATE, ast.unparse(call.func))
            if runs and not {"timeout", None} & {word.arg for word in call.keywords}:
                endless.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert not endless


def test_nothing_that_is_read_can_run() -> None:
    """No pickle and no archive: what lies in a store is data, whoever wrote it."""
    found = set()
    for path in [*ROOT.glob("mimir/**/*.py"), *ROOT.glob("launch/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [name.name for name in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call):
                names = [ast.unparse(node.func)]
            else:
                continue
            found |= {(path.name, name.split(".")[0]) for name in names if RUNS.fullmatch(name)}
    # The wheel, by the digest in run.json, which the user's own computer wrote; the bundle is
    # written, and never read.
    assert found == {(f"{name}.py", "zipfile") for name in ("bootstrap", "wheel", "bundle")}
