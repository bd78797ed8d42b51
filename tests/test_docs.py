"""Each command line in README, docs and notebook is one that the commands, make and pip take."""

import inspect
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from launch import commands as launch_commands
from launch.providers import registry
from mimir import cli, config
from mimir import commands as mimir_commands
from mimir.errors import BadInput
from tests import ROOT

TEXTS = [
    path
    for path in [*ROOT.glob("*.md"), ROOT / "llms.txt", *sorted(ROOT.glob("docs/**/*.md"))]
    if path.name
    not in ("lab.md", "commands.md", "api.md")  # what was run once, and what is generated
] + [
    ROOT / name
    for name in ("docker/README.md", "mimir/data/sample/README.md", "launch/report/card.md",
                 "notebooks/train_colab.py")
]  # fmt: skip
TREES = {"launch": launch_commands.TREE, "mimir": mimir_commands.TREE}
LINE = re.compile(r"(?:python -m (launch|mimir)|(?<![\w/.-])(mimir)) ((?:[a-z]|--on )[^`\n]*)")


MAKE = re.compile(r"(?:^|[;&] )\s*make ([a-z].*)")
PEPTIDES = re.compile(r"python peptides\.py (.*)")
EXTRAS = re.compile(r"(?:^|[ '\"/])(?:\.|[^ '\"]*(?:\.whl|checkout))\[([\w,]+)\]")
"""Of our own project, as pip is given them: '.[train]', 'dist/….whl[train]'."""


def code_of(path: Path) -> Iterator[str]:
    """Lines of blocks of code (indented or fenced), and what stands between backticks."""
    text, block = path.read_text().replace("\\\n", " "), False
    if path.suffix == ".py":  # a notebook's: its text, and the hints of its form
        shown = re.findall(r"^# (?:@markdown )?(.*)", text, re.MULTILINE)
        text = "\n".join(line for line in shown if not line.startswith("@"))
    for line in re.sub(r"\{\{.*?\}\}", "P1", text).splitlines():
        if line.startswith("```"):
            block = not block
        if block or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands_of(path: Path) -> Iterator[str]:
    for line in code_of(path):
        yield from (found[0] for found in LINE.finditer(line))


def check(line: str) -> None:
    """BadInput unless a command takes these words; `…` stands for further ones."""
    line = re.split(r"   | [>|] | && ", line)[0]
    words = shlex.split(line.replace("…", " … "), comments=True)
    family, words = (words[2], words[3:]) if words[0] == "python" else ("", words[1:])
    if words[:1] == ["--on"]:
        words = words[2:]
    trees = [TREES[family]] if family else [*TREES.values()]
    node = next((tree for tree in trees if words[0] in tree), None)
    if node is None:
        raise BadInput(f"no command {words[0]}")
    command: object = node
    while isinstance(command, Mapping):
        command = cli.loaded(command[words.pop(0)])
    assert callable(command)
    short = "…" in words or "--help" in words or not words
    given = [word for word in words if word not in ("…", "--help")]
    try:
        cli.check_words(line, command, given)
    except BadInput as error:
        if not (short and " needs " in str(error)):
            raise
    check_values(given)
    settings = "settings" in inspect.signature(command).parameters
    known = {*inspect.signature(command).parameters, *(config.SETTINGS if settings else ())}
    for name in re.findall(r"(?:^|\s)--([a-z-]+)", " ".join(given)):
        plain = name.replace("-", "_").removeprefix("no_")
        if plain not in known and name != "version":
            raise BadInput(f"{line}: no option --{name}")


def check_values(words: list[str]) -> None:
    """BadInput unless presets and providers are there; in capitals they stand for any."""
    known = {"--preset": config.preset_names(), "--provider": ["any", *registry.names()]}
    for option, value in re.findall(r"(--preset|--provider)[= ](\S+)", " ".join(words)):
        for one in [] if value.isupper() or value.endswith(".yaml") else value.split(","):
            if one not in known[option]:
                raise BadInput(f"no {option} {one}")


def check_make(words: str) -> None:
    """BadInput unless the Makefile has these targets, and reads these variables."""
    makefile = (ROOT / "Makefile").read_text()
    for word in shlex.split(re.split(r"   | && | # ", words)[0], comments=True):
        name, _, value = word.partition("=")
        read = re.search(rf"\$\$?[({{]?{name}\b", makefile) if value else None
        if not (read or re.search(rf"^{name}:", makefile, re.MULTILINE)):
            raise BadInput(f"make {words}: {word} is nothing that the Makefile knows")


def check_extras(line: str) -> None:
    """BadInput unless the project has the extras that a line of pip names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for found in EXTRAS.finditer(line) if "pip " in line or line.startswith("'") else ():
        for extra in found[1].split(","):
            if extra not in project["optional-dependencies"]:
                raise BadInput(f"{line}: no extra {extra}")


def check_peptides(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """BadInput unless the loader of a pulled folder takes these words."""
    from mimir.output.standalone import peptides  # imports torch

    class Taken(Exception):
        pass

    def load(*_: object) -> None:
        raise Taken

    monkeypatch.setattr(peptides.Model, "load", load)
    try:
        peptides.main(shlex.split(words, comments=True))
    except Taken:
        return
    except SystemExit:
        raise BadInput(f"peptides.py {words}") from None


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_pip_and_the_loader_take_what_documents_say(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = []
    for line in code_of(path):
        try:
            for found in MAKE.finditer(line):
                check_make(found[1])
            check_extras(line)
            for found in PEPTIDES.finditer(line):
                check_peptides(found[1], monkeypatch)
        except BadInput as error:
            wrong.append(str(error))
    assert not wrong


def test_wrong_words_for_make_pip_and_the_loader_would_be_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_make("test T=tests/runs    # a part")
    check_extras("python -m pip install -c constraints.txt '.[train,ssh]'")
    check_extras("pip install 'google-auth[requests]>=2.30'")  # another project's
    check_peptides("--target P1 --score ACDEFGHIK,LMNPQR", monkeypatch)
    for words in ("tset", "test TT=tests/runs"):
        with pytest.raises(BadInput):
            check_make(words)
    for line in ("pip install '.[trian]'", "pip install 'dist/mimir_peptides-….whl[trian]'"):
        with pytest.raises(BadInput):
            check_extras(line)
    with pytest.raises(BadInput):
        check_peptides("--targets P1", monkeypatch)


def test_each_kind_of_line_is_found() -> None:
    """Else a change of how documents are written would leave them unchecked in silence."""
    lines = [line for path in TEXTS for line in code_of(path)]
    assert sum(bool(MAKE.search(line)) for line in lines) > 40
    assert sum(bool(EXTRAS.search(line)) for line in lines) > 5
    assert sum(bool(PEPTIDES.search(line)) for line in lines) == 5
    assert sum(bool(LINE.search(line)) for line in lines) > 150


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_are_taken(path: Path) -> None:
    wrong = []
    for line in commands_of(path):
        try:
            check(line)
        except (BadInput, ValueError) as error:
            wrong.append(f"{line}: {error}")
    assert not wrong


def test_a_wrong_one_would_be_noticed() -> None:
    check("python -m launch submit --preset small --lr 3e-4 --name first")
    for line in ("python -m launch submti x", "mimir submit --preset smal --name x",
                 "mimir submit --preset small --provider runpot",
                 "python -m launch submit --presett small",
                 "python -m launch status first second third --jsn"):  # fmt: skip
        with pytest.raises(BadInput):
            check(line)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    named = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)\s]*)?\)", path.read_text())
    assert not [name for name in named if not (path.parent / name).exists()]


def test_the_tables_of_speed_are_those_of_the_newest_results(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All that `python -m bench.table` prints, with what stands above each table; no others."""
    from bench import table

    table.main()
    printed = tables(capsys.readouterr().out)
    assert len(printed) >= 2
    written = tables((ROOT / "docs" / "speed.md").read_text())
    assert sorted(written) == sorted(printed), "put the output of python -m bench.table there"


def tables(text: str) -> list[str]:
    """The bench's tables in a text, each with the line above it."""
    parts = text.split("\n\n")
    starts = [
        n for n, part in enumerate(parts) if part.startswith("| preset | side | ms per step ")
    ]
    return [parts[n - 1].strip() + "\n" + parts[n].strip() for n in starts]
