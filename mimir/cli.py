"""Parses command lines, checks them against the signature, and runs the command by Fire.

Fire turns a function's parameters into options and calls it. Before that, this module
checks the words against the signature, so that a wrong one gets one sentence with the
nearest right one, and prints help from the docstring. A command is a function whose
docstring has a summary line, `Args:` with a line for each parameter, and `Example:` lines.
A `**settings` parameter takes any further option.
"""

import importlib
import inspect
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from mimir import __version__, console
from mimir.errors import BAD_CONFIG, OPTIONAL, BadInput, MimirError, MissingPackage
from mimir.text import nearest, one_line

Command = Callable[..., Any]
Tree = Mapping[str, "Command | str | Tree"]
"""Commands by name. A text is "module:function", which is imported when it is needed."""

SETTINGS = "mimir.submission"
"""Imported for the help of a command that takes settings: `meanings` says what they mean."""
SHORT = {"-v": "--verbose", "-y": "--yes", "-f": "--follow", "-h": "--help", "-n": "--n"}
SYNONYMS = {
    "ls": "runs", "list": "runs", "ps": "runs", "show": "status", "cost": "status",
    "run": "submit", "cancel": "stop", "kill": "stop", "down": "stop",
    "download": "pull", "fetch": "pull", "continue": "resume", "generate": "sample",
    "log": "logs", "tail": "logs", "prices": "offers", "eval": "evaluate",
    "events": "alerts", "warnings": "alerts",
}  # fmt: skip
"""What other tools call a command: whoever writes it is told the name that it has here."""
ONE_NAME = frozenset(("name", "run", "run_name"))
"""Options that name a run. A command has one of them and takes the others for it."""
_KINDS = {int: "a whole number", float: "a number"}
_LIMIT = {int: 2**63, float: math.inf}
_HELD = {int: "less than 2^63", float: "a finite number"}
_DIGITS = 400
"""Of a number: the largest of a double has 309."""
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,399})")
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


def main(
    prog: str,
    summary: str,
    tree: Tree,
    argv: Sequence[str] | Callable[[], Sequence[str]] | None = None,
) -> NoReturn:
    """Run the command that the words name, and exit.

    argv: the words, or what gets them, whose errors are shown as a command's (None: sys.argv).

    The exit code is what the command returns (None: 0), the `exit_code` of a MimirError,
    130 after Ctrl-C, or 1 with a traceback for a fault of Mimir's own. Errors are one line on
    stderr that begins with `prog`.
    """
    words = sys.argv[1:] if argv is None else argv
    end_with(prog, lambda: _run(prog, summary, tree, [*(words() if callable(words) else words)]))


def run(prog: str, command: Command, argv: Sequence[str] | None = None) -> NoReturn:
    """As `main`, for a program that is one command."""
    words = list(sys.argv[1:] if argv is None else argv)
    end_with(prog, lambda: _call(prog, command, words))


def check_count(name: str, value: int, least: int, most: int) -> None:
    """BadInput unless an option's number lies between these two."""
    if not least <= value <= most:
        raise BadInput(f"{name} is {value}, but must be from {least} to {most:,}")


def end_with(prog: str, body: Callable[[], int]) -> NoReturn:
    """Exit with what the body returns; its errors and its output are shown as `main` shows them."""
    with console.safe_output():
        code = _code(prog, body)
    sys.exit(code)


def _code(prog: str, body: Callable[[], int]) -> int:
    try:
        code = body()
        sys.stdout.flush()
    except MimirError as error:
        print(f"{prog}: {one_line(error)}", file=sys.stderr)
        code = error.exit_code
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in OPTIONAL:
            raise
        print(f"{prog}: {MissingPackage(missing)}", file=sys.stderr)
        code = BAD_CONFIG
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        code = 130
    except MemoryError as error:
        print(f"{prog}: out of memory: ask for less at once ({one_line(error)})", file=sys.stderr)
        code = BAD_CONFIG
    except BrokenPipeError:
        # The reader (head, less) went away: not an error, and no flush at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    return code


def _run(prog: str, summary: str, tree: Tree, words: list[str]) -> int:
    node: Command | Tree = tree
    path = [prog]
    if words[:1] == ["--version"]:
        print(f"mimir {__version__}")
        return 0
    while isinstance(node, Mapping):
        if not words or words[0] in ("--help", "-h", "help"):
            print(_group_help(" ".join(path), summary, node))
            return 0 if words else BAD_CONFIG
        word = words.pop(0)
        if word not in node:
            where = " ".join(path)
            if (same := SYNONYMS.get(word)) in node:
                raise BadInput(f"{word} is called {same} here: `{where} {same}`")
            raise BadInput(
                f"there is no command {word!r}{nearest(word, node)} (see `{where} --help`)"
            )
        path.append(word)
        node = loaded(node[word])
        summary = _summary(node)
    return _call(" ".join(path), node, words)


def loaded(node: "Command | str | Tree") -> "Command | Tree":
    """The command or group itself; one that is named by a text is imported."""
    if not isinstance(node, str):
        return node
    module, _, name = node.partition(":")
    found: Command = getattr(importlib.import_module(module), name)
    return found


def _call(path: str, function: Command, words: list[str]) -> int:
    if any(word in ("--help", "-h") for word in words):
        print(command_help(path, function))
        return 0
    import fire  # here, because help needs none of it

    command = check_words(path, function, words)
    result = fire.Fire(function, command=command, name=path, serialize=lambda _: None)
    return result if isinstance(result, int) else 0


def check_words(path: str, function: Command, words: list[str]) -> list[str]:
    """The words in a form that Fire cannot misread.

    Raises:
        BadInput: an option that the command does not have, a word too many or too few, a value
            of another kind.
    """
    parameters = inspect.signature(function).parameters
    named = {n: p for n, p in parameters.items() if p.kind != p.VAR_KEYWORD}
    free = len(named) < len(parameters)
    positional = [p for p in named.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    given: dict[str, str] = {}
    many: list[str] = []
    queue = [_long(word) for word in words]
    while queue:
        word = queue.pop(0)
        if not word.startswith("--"):
            if word.startswith("-") and word[1:2].isalpha():
                raise BadInput(f"`{path}` has no option {word} (see `{path} --help`)")
            variadic = [p for p in named.values() if p.kind == p.VAR_POSITIONAL]
            unfilled = [p for p in positional if p.name not in given]
            if unfilled:
                given[unfilled[0].name] = word
            elif variadic:
                many.append(word)
            else:
                raise BadInput(f"{word!r} is one word too many for `{path}` (see `{path} --help`)")
            continue
        name, joined, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if name in ONE_NAME and name not in named:
            name = next((own for own in named if own in ONE_NAME), name)
        parameter = named.get(name)
        if parameter is None and name.removeprefix("no_") in named:
            name, parameter, joined, value = name[3:], named[name[3:]], "=", "False"
        if parameter is None and not free:
            known = [n for n, p in named.items() if p.kind != p.VAR_POSITIONAL]
            hint = nearest(name.replace("_", "-"), [n.replace("_", "-") for n in known], "--")
            raise BadInput(f"`{path}` has no option --{name.replace('_', '-')}{hint}")
        if not joined:
            if parameter is not None and parameter.annotation is bool:
                value = "True"
            elif queue and not queue[0].startswith("--"):
                value = queue.pop(0)
            else:
                raise BadInput(f"--{name.replace('_', '-')} needs a value (see `{path} --help`)")
        if name in given:
            raise BadInput(f"--{name.replace('_', '-')} is given twice")
        given[name] = value
    for parameter in named.values():
        required = (
            parameter.default is parameter.empty and parameter.kind != parameter.VAR_POSITIONAL
        )
        if required and parameter.name not in given:
            is_positional = parameter.kind == parameter.POSITIONAL_OR_KEYWORD
            wanted = (
                parameter.name.upper() if is_positional else f"--{parameter.name.replace('_', '-')}"
            )
            raise BadInput(f"`{path}` needs {wanted} (see `{path} --help`)")
    return [repr(w) for w in many] + [
        f"--{name}={_literal(name, value, named.get(name))}" for name, value in given.items()
    ]


def _literal(name: str, value: str, parameter: inspect.Parameter | None) -> str:
    shown = name.replace("_", "-")
    if parameter is None:
        return _setting(value)
    kind = parameter.annotation
    if kind is bool:
        if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise BadInput(f"--{shown} is {value!r}, but must be true or false")
        return str(value.lower() in ("true", "1", "yes"))
    if kind in _KINDS:
        try:
            number = kind(value) if len(value) <= _DIGITS else math.inf
        except ValueError:
            raise BadInput(f"--{shown} is {value!r}, but must be {_KINDS[kind]}") from None
        if not abs(number) < _LIMIT[kind]:
            raise BadInput(f"--{shown} is {value[:40]!r}, but must be {_HELD[kind]}")
        return repr(number)
    return repr(value)


def _setting(value: str) -> str:
    """A setting's value as a literal: a number in decimal digits, True, False, else text."""
    if _WHOLE.fullmatch(value) or value in ("True", "False"):
        return value
    decimal = len(value) <= _DIGITS and _DECIMAL.fullmatch(value)
    return repr(float(value)) if decimal and math.isfinite(float(value)) else repr(value)


def _long(word: str) -> str:
    return SHORT.get(word, word)


def _summary(node: "Command | Tree") -> str:
    if isinstance(node, Mapping):
        return "Commands: " + ", ".join(node) + "."
    return (inspect.getdoc(node) or "").partition("\n")[0]


def _group_help(path: str, summary: str, tree: Tree) -> str:
    width = max(map(len, tree)) + 2
    lines = [summary, "", f"Usage: {path} COMMAND …", "", "Commands:"]
    lines += [f"  {name:<{width}}{_summary(loaded(node))}" for name, node in tree.items()]
    return "\n".join([*lines, "", f"`{path} COMMAND --help` tells more, with an example."])


def command_help(path: str, function: Command) -> str:
    """What `--help` prints, as wide as the terminal is. path: the words before the options."""
    text, described, examples = _sections(inspect.getdoc(function) or "")
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
            value = "" if parameter.annotation is bool else f" {shown.upper().replace('-', '_')}"
            default, told = parameter.default, described.get(name, "")
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


def _sections(doc: str) -> tuple[str, dict[str, str], list[str]]:
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
