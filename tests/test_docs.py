"""Each command line in README and docs is one that the commands take."""

import inspect
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from launch import commands as launch_commands
from mimir import cli, config
from mimir import commands as mimir_commands
from mimir.errors import BadInput
from tests import ROOT

TEXTS = [
    path
    for path in [*ROOT.glob("*.md"), ROOT / "llms.txt", *sorted(ROOT.glob("docs/**/*.md"))]
    if path.name
    not in ("lab.md", "commands.md", "api.md")  # what was run once, and what is generated
]
TREES = {"launch": launch_commands.TREE, "mimir": mimir_commands.TREE}
LINE = re.compile(r"(?:python -m (launch|mimir)|(?<![\w/.-])(mimir)) ((?:[a-z]|--on )[^`\n]*)")


def commands_of(path: Path) -> Iterator[str]:
    """In blocks of code (indented or fenced), and between backticks of a sentence."""
    text, block = path.read_text().replace("\\\n", " "), False
    for line in text.splitlines():
        if line.startswith("```"):
            block = not block
        if block or line.startswith("    "):
            yield from (found[0] for found in LINE.finditer(line))
        else:
            for quoted in re.findall(r"`([^`]+)`", line):
                yield from (found[0] for found in LINE.finditer(quoted))


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
    short = "…" in words or not words
    given = [word for word in words if word != "…"]
    try:
        cli.check_words(line, command, given)
    except BadInput as error:
        if not (short and " needs " in str(error)):
            raise
    settings = "settings" in inspect.signature(command).parameters
    known = {*inspect.signature(command).parameters, *(config.SETTINGS if settings else ())}
    for name in re.findall(r"(?:^|\s)--([a-z-]+)", " ".join(given)):
        plain = name.replace("-", "_").removeprefix("no_")
        if plain not in known and f"--{name}" not in ("--help", "--version"):
            raise BadInput(f"{line}: no option --{name}")


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
    for line in ("python -m launch submti x", "python -m launch submit --presett small",
                 "python -m launch status first second third --jsn"):  # fmt: skip
        with pytest.raises(BadInput):
            check(line)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(path: Path) -> None:
    named = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)\s]*)?\)", path.read_text())
    assert not [name for name in named if not (path.parent / name).exists()]
