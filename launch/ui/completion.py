"""What a shell may complete: commands, their options, and the values that are known beforehand."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from launch.providers import registry
from launch.ui.run_list import GROUPS, SORTS, STATES
from mimir import cli, config
from mimir.runs import hosts

RUN, FILE, PRESET = "run", "file", "preset"
"""Kinds of values that the shell finds itself: runs of the store, files, presets and files."""
CONDITION = "condition"
"""Kind of what a model is told of the peptides that it draws or scores."""
SEVERAL = ("provider", "state")
"""Kinds of which several may be given as A,B."""
RUNS = ("name", "names", "others", "run")
FILES = (
    "data", "out", "file", "model", "peptides", "targets", "targets_fasta", "target_features",
    "exclude", "exclude_sources", "exclude_targets", "human", "viral", "pairs", "folder", "csv",
    "path", "wheelhouse", "tensorboard",
)  # fmt: skip
"""Parameters whose value is a file or folder of this computer."""
SHELLS = ("bash", "zsh", "fish")
LONGEST = 60
"""Characters of a meaning that are shown beside an option."""


@dataclass(frozen=True)
class Option:
    """An option. kind: of its value, "" if nothing is known of it, None for a flag."""

    name: str
    kind: str | None
    meaning: str


@dataclass(frozen=True)
class Line:
    """A command. words: those that name it. kinds: of the words that it takes besides options.

    within: of a group, the commands in it; a group has no options.
    """

    words: tuple[str, ...]
    summary: str
    options: tuple[Option, ...] = ()
    kinds: tuple[str, ...] = ()
    within: tuple[str, ...] = ()


def values() -> dict[str, tuple[str, ...]]:
    """The words of each kind that has a few of them."""
    return {
        PRESET: tuple(config.preset_names()),
        "provider": (*registry.names(), "any"),
        "state": (*GROUPS, *STATES),
        "sort": tuple(SORTS),
        "hosts": hosts.KINDS,
        "format": ("table", "fasta", "csv", "json"),
        "order": ("random", "confidence"),
        CONDITION: ("interacting", "background", "any"),
        "shell": SHELLS,
    }


def lines(tree: cli.Tree, before: tuple[str, ...] = ()) -> Iterator[Line]:
    """Each command and group of a tree, groups before what is in them."""
    for name, node in tree.items():
        found, words = cli.loaded(node), (*before, name)
        if isinstance(found, Mapping):
            yield Line(words, f"{', '.join(found)}", within=tuple(found))
            yield from lines(found, words)
        else:
            yield _line(words, found)


def _line(words: tuple[str, ...], command: cli.Command) -> Line:
    text, told, _ = cli.sections(inspect.getdoc(command) or "")
    kinds, options = [], []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            options += _settings()
        elif parameter.kind is parameter.VAR_POSITIONAL:
            kinds.append(_kind(words, parameter.name))
        else:
            options.append(_option(words, parameter, told.get(parameter.name, "")))
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
                kinds.append(_kind(words, parameter.name))
    options.append(Option("help", None, "what it does, with an example"))
    return Line(words, text.partition("\n")[0], tuple(options), tuple(dict.fromkeys(kinds)))


def _option(words: tuple[str, ...], parameter: inspect.Parameter, told: str) -> Option:
    name = parameter.name.replace("_", "-")
    if parameter.annotation is not bool:
        return Option(name, _kind(words, parameter.name), _short(told))
    return Option(f"no-{name}" if parameter.default is True else name, None, _short(told))


def _kind(words: tuple[str, ...], name: str) -> str:
    if (words[0], name) in (("sweep", "name"), ("cluster", "path")):
        return ""  # a sweep is no run, and the cluster's folders are not here
    if name in RUNS:
        return RUN
    if words[0] == "label" and name == "pairs":
        return ""  # labels, which people make up
    if name == "label":  # of peptides; launch's are labels of runs, which people make up
        return CONDITION if words[0] in ("sample", "score") else ""
    return FILE if name in FILES else name if name in values() else ""


def _settings() -> list[Option]:
    from mimir.submission import meanings

    return [Option(name.replace("_", "-"), "", _short(told)) for name, told in meanings()]


def _short(told: str) -> str:
    """The beginning of a meaning, in letters that need no quoting in any shell."""
    plain = "".join(char for char in told if char.isalnum() or char in " ,.()/$%+-_")
    if len(plain) <= LONGEST:
        return plain.strip(" ,.")
    return plain[:LONGEST].rpartition(" ")[0].rstrip(" ,.(") + " ..."
