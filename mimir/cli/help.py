"""What `--help` prints: of a command from its signature and docstring, of a group its commands."""

import importlib
import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence

from mimir.cli.tree import Command, Tree, loaded
from mimir.cli.words import kind_of

SETTINGS = "mimir.submission"
"""Imported for the help of a command that takes settings: `meanings` says what they mean."""


def summary_of(node: "Command | Tree") -> str:
    if isinstance(node, Mapping):
        return "Commands: " + ", ".join(node) + "."
    return (inspect.getdoc(node) or "").partition("\n")[0]


def group_help(path: str, summary: str, tree: Tree) -> str:
    width = max(map(len, tree)) + 2
    lines = [summary, "", f"Usage: {path} COMMAND …", "", "Commands:"]
    lines += [f"  {name:<{width}}{summary_of(loaded(node))}" for name, node in tree.items()]
    return "\n".join([*lines, "", f"`{path} COMMAND --help` tells more, with an example."])


def command_help(path: str, function: Command) -> str:
    """What `--help` prints, as wide as the terminal is. path: the words before the options."""
    text, described, examples = sections(inspect.getdoc(function) or "")
    usage, options = [path], []
    for name, parameter in inspect.signature(function).parameters.items():
        shown = name.replace("_", "-")
        if parameter.kind == parameter.VAR_KEYWORD:
            options.append((f"--{shown.removesuffix('s').upper()} VALUE", described.get(name, "")))
        elif parameter.kind == parameter.VAR_POSITIONAL:
            usage.append(f"[{shown.upper()} …]")
            options.append((shown.upper(), described.get(name, "")))
        elif parameter.default is parameter.empty:
            usage.append(shown.upper())
            options.append((shown.upper(), described.get(name, "")))
        else:
            kind, unit = kind_of(parameter)
            value = "" if kind is bool else f" {shown.upper().replace('-', '_')}"
            default, told = parameter.default, described.get(name, "")
            if unit is not None:
                told = f"{told.removesuffix('.')} (a number of {unit.name}, or as 90m, 1.5h, 2d)"
            # By type: 0 is a default like any other number, and equals False.
            said = default is None or isinstance(default, bool) or default == ""
            said = said or "(default: " in told
            note = "" if said else f" (default: {default})"
            options.append((f"--{shown}{value}", told + note))
    lines = [text, "", "Usage: " + " ".join(usage) + (" [OPTIONS]" if options else "")]
    if options:
        lines += ["", "Options:", *_columns(options)]
    if examples:
        if not path.startswith("python "):  # the console script, which has all commands
            examples = [re.sub(r"\bpython -m (launch|mimir)\b", "mimir", each) for each in examples]
        lines += ["", "Example:", *(f"  {line}" for line in examples)]
    if "settings" in inspect.signature(function).parameters:
        lines += ["", "Settings (those of a preset; each by itself is an option too):"]
        told = importlib.import_module(SETTINGS).meanings()
        lines += _columns([(f"--{name.replace('_', '-')}", meaning) for name, meaning in told])
    return "\n".join(lines)


def _columns(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Names on the left and what they mean on the right, wrapped to the terminal's width."""
    import shutil  # here, because most words need none of it

    lines = []
    most = max(40, min(100, shutil.get_terminal_size((98, 24)).columns)) - 2
    width = min(30, max(len(name) for name, _ in rows) + 2)
    for name, words in rows:
        wrapped = textwrap.wrap(words, max(20, most - width)) or [""]
        head = f"  {name:<{width}}"
        fits = len(name) < width
        lines += [head + wrapped[0]] if fits else [head, " " * (width + 2) + wrapped[0]]
        lines += [" " * (width + 2) + line for line in wrapped[1:]]
    return lines


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
