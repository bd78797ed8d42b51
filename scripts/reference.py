"""Writes docs/reference/commands.md, settings.md and api.md from the code, so that none goes stale.

    python scripts/reference.py

tests/test_reference.py fails where what is committed is not what this writes.
"""

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from launch import api as launch_api
from launch import commands as launch_commands
from mimir import api as mimir_api
from mimir import cli, config, settings_input
from mimir import commands as mimir_commands

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
PROGRAMS = {
    "launch": (launch_commands.SUMMARY, launch_commands.TREE),
    "mimir": (mimir_commands.SUMMARY, mimir_commands.TREE),
}
MADE = "<!-- Made by scripts/reference.py: change the code, and run it again. -->\n\n"
SECTIONS = {
    "model": "Decides the weights: part of the hash by which a run is known.",
    "objective": "Decides the weights.",
    "optimizer": "Decides the weights.",
    "training": "Decides the weights.",
    "runtime": "May differ between attempts of one run: decides how fast and how safe, not what.",
}
"""What a section's settings have in common, by its name."""


def write() -> None:
    """Write every page.

    Example:
        python scripts/reference.py
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
        print(f"written: docs/reference/{name}")


def pages() -> dict[str, str]:
    """The text of each page, by its file's name."""
    return {"commands.md": _commands(), "settings.md": _settings(), "api.md": _api()}


def _commands() -> str:
    os.environ["COLUMNS"] = "98"
    parts = [
        MADE + "# Commands\n",
        "What `--help` prints. A setting of a preset is an option of every command that takes one:"
        " [settings](settings.md). Exit codes: [exit codes](exit-codes.md).\n",
    ]
    for program, (summary, tree) in PROGRAMS.items():
        parts.append(f"## python -m {program}\n\n{summary}\n")
        for path, command in _leaves(tree):
            name = f"python -m {program} {path}"
            text = cli.command_help(name, command).partition("\nSettings (")[0]
            parts.append(f"### {program} {path}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(parts)


def _leaves(tree: cli.Tree, before: str = "") -> Iterator[tuple[str, cli.Command]]:
    for name, node in tree.items():
        found = cli.loaded(node)
        if isinstance(found, Mapping):
            yield from _leaves(found, f"{before}{name} ")
        else:
            yield before + name, found


def _api() -> str:
    parts = [MADE + "# Python API\n"]
    for module in (launch_api, mimir_api):
        doc = inspect.getdoc(module) or ""
        parts.append(f"## {module.__name__}\n\n{doc}\n")
        for name in module.__all__:
            function = getattr(module, name)
            told = inspect.getdoc(function) or ""
            parts.append(f"### {module.__name__}.{name}\n")
            parts.append(f"```text\n{name}{_signature(function)}\n\n{told}\n```\n")
    return "\n".join(parts)


def _signature(function: cli.Command) -> str:
    found = inspect.signature(function)
    lines, named = [], False
    for each in found.parameters.values():
        if each.kind is each.KEYWORD_ONLY and not named:
            lines.append("*")
            named = True
        stars = "**" if each.kind is each.VAR_KEYWORD else ""
        value = "" if each.default is each.empty else f" = {each.default!r}"
        lines.append(f"{stars}{each.name}: {_type(each.annotation)}{value}")
    return f"({', '.join(lines)}) -> {_type(found.return_annotation)}"


def _type(annotation: object) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__
    return str(annotation).replace("typing.", "").replace("collections.abc.", "")


def _settings() -> str:
    presets = {name: config.load_preset(name) for name in config.preset_names()}
    parts = [
        MADE + "# Settings\n",
        "A preset is a YAML file of these sections (`jobs/`, or one of your own), and each setting"
        " by itself is an option: `--lr 3e-4`. A wrong name or value is refused with one"
        " sentence.\n",
    ]
    for section, kind in config.SECTIONS.items():
        head = " | ".join(["setting", "meaning", *presets])
        parts.append(f"## {section}\n\n{SECTIONS[section]}\n\n| {head} |")
        parts[-1] += "\n|" + "---|" * (2 + len(presets))
        for name, meaning in settings_input.explained(kind).items():
            values = [getattr(getattr(of, section), name) for of in presets.values()]
            shown = [str(value).replace("|", "\\|") or "none" for value in values]
            parts[-1] += f"\n| `{name}` | {' | '.join([meaning.replace('|', '/'), *shown])} |"
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    cli.run("python scripts/reference.py", write)
