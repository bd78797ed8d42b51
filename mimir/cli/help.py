"""What `--help` prints: of a command from its signature and docstring, of a group its commands."""

import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence

from mimir.cli.tree import Command, Tree, loaded
from mimir.cli.words import kind_of
from mimir.console import as_script, columns_here

NARROWEST, USUAL, WIDEST = 40, 98, 120
"""Columns within which help keeps; longer lines are hard to read."""
NOTHING = re.compile(r"\b0: ([^.;()]+)")
"""In a meaning: what 0 stands for."""
SETTINGS = "mimir.submission"
"""Imported for the help of a command that takes settings: `meanings` says what they mean."""


def summary_of(node: "Command | Tree") -> str:
    if isinstance(node, Mapping):
        return "Commands: " + ", ".join(node) + "."
    return (inspect.getdoc(node) or "").partition("\n")[0]


def group_help(path: str, summary: str, tree: Tree) -> str:
    """What `--help` prints of a group, as wide as the terminal is."""
    spelled = _spelling(path)
    rows = [(name, spelled(summary_of(loaded(node)))) for name, node in tree.items()]
    lines = [prose(spelled(summary)), "", f"Usage: {path} COMMAND …", "", "Commands:"]
    more = f"`{path} COMMAND --help` tells more, with an example."
    return "\n".join([*lines, *_columns(rows), "", prose(more)])


def command_help(path: str, function: Command) -> str:
    """What `--help` prints, as wide as the terminal is. path: the words before the options."""
    text, described, examples = sections(_spelling(path)(inspect.getdoc(function) or ""))
    usage, options = [path], []
    for name, parameter in inspect.signature(function).parameters.items():
        shown = name.replace("_", "-")
        if parameter.kind == parameter.VAR_KEYWORD:
            options.append((f"--{shown.removesuffix('s').upper()} VALUE", described.get(name, "")))
        elif parameter.kind == parameter.VAR_POSITIONAL:
            usage.append(f"[{shown.upper()} …]")
            options.append((shown.upper(), described.get(name, "")))
        elif parameter.default is parameter.empty and parameter.kind == parameter.KEYWORD_ONLY:
            word = f"--{shown} {shown.upper().replace('-', '_')}"
            usage.append(word)
            options.append((word, described.get(name, "")))
        elif parameter.default is parameter.empty:
            usage.append(shown.upper())
            options.append((shown.upper(), described.get(name, "")))
        else:
            if parameter.kind == parameter.POSITIONAL_OR_KEYWORD:
                usage.append(f"[{shown.upper()}]")
            kind, unit = kind_of(parameter)
            value = "" if kind is bool else f" {shown.upper().replace('-', '_')}"
            default, told = parameter.default, described.get(name, "")
            if unit is not None:
                meaning, comma, rest = told.removesuffix(".").partition(" (default: ")
                told = f"{meaning} (a number of {unit.name}, or as 90m, 1.5h, 2d){comma}{rest}"
            # By type: 0 is a default like any other number, and equals False.
            said = default is None or isinstance(default, bool) or default == ""
            said = said or "(default" in told
            zero = NOTHING.search(told) if default == 0 else None
            note = "" if said else f" (default: {zero[1] if zero else default})"
            options.append((f"--{shown}{value}", told + note))
    called = "Usage: " + " ".join(usage) + (" [OPTIONS]" if options else "")
    lines = [prose(text), "", called]
    if options:
        lines += ["", "Options:", *_columns(options)]
    if examples:
        lines += ["", "Example:", *(f"  {line}" for line in examples)]
    if any(p.kind == p.VAR_KEYWORD for p in inspect.signature(function).parameters.values()):
        lines += ["", prose("Settings (those of a preset; each by itself is an option too):")]
        told = importlib.import_module(SETTINGS).meanings()
        lines += _columns([(f"--{name.replace('_', '-')}", meaning) for name, meaning in told])
    return "\n".join(lines)


def prose(text: str) -> str:
    """Paragraphs, each wrapped to the terminal's width. One with an indented line stays as it is:
    a table, or words to copy."""
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        each if any(line[:1].isspace() for line in each.splitlines())
        else "\n".join(_wrapped(each, _width()))
        for each in paragraphs
    )  # fmt: skip


def _spelling(path: str) -> Callable[[str], str]:
    """What names commands as they are called here: the console script has all of them."""
    return str if path.startswith("python ") else as_script


def _width() -> int:
    """Columns that help takes: the terminal's, within reason."""
    return max(NARROWEST, min(WIDEST, columns_here(USUAL)))


def _wrapped(text: str, width: int) -> list[str]:
    # An option or a path stays whole, where it can be copied.
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names on the left and what they mean on the right, wrapped to the terminal's width."""
    lines = []
    most = _width() - 2
    width = min(30, most // 3, max(len(name) for name, _ in rows) + 2)
    for name, words in rows:
        wrapped = _wrapped(words, max(20, most - width))
        head = f"  {name:<{width}}"
        fits = len(name) < width
        lines += [head + wrapped[0]] if fits else [head.rstrip(), " " * (width + 2) + wrapped[0]]
        lines += [" " * (width + 2) + line for line in wrapped[1:]]
    return [line.rstrip() for line in lines]


def sections(doc: str) -> tuple[str, dict[str, str], list[str]]:
    """A docstring's text, its `Args:` by name, and its `Example:` lines."""
    text, described, examples = [], {}, []
    section, name = "", ""
    for line in doc.splitlines():
        if line.strip() in ("Args:", "Example:", "Examples:", "Returns:", "Raises:"):
            section = line.strip()
        elif section == "Args:" and line.strip():
            left, colon, right = line.strip().partition(": ")
            if (
                colon
                and left.lstrip("*").isidentifier()
                and line.startswith("    ")
                and line[4] != " "
            ):
                name = left.lstrip("*")
                described[name] = right
            elif name:
                described[name] += " " + line.strip()
        elif section.startswith("Example") and line.strip():
            examples.append(line.strip())
        elif not section:
            text.append(line)
    return "\n".join(text).strip(), described, examples
