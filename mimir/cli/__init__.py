"""Parses command lines, checks them against the signature, and runs the command by Fire.

Fire turns a function's parameters into options and calls it. Before that, this module
checks the words against the signature, so that a wrong one gets one sentence with the
nearest right one, and prints help from the docstring. A command is a function whose
docstring has a summary line, `Args:` with a line for each parameter, and `Example:` lines.
A `**settings` parameter takes any further option.

    tree         commands by name, and options that are times
    words        the words of a command line, checked
    help         what `--help` prints
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from mimir import __version__, console
from mimir.cli.help import command_help, group_help, sections, summary_of
from mimir.cli.tree import Command, Hours, Minutes, Tree, loaded
from mimir.cli.words import Others, as_option, check_words
from mimir.errors import BAD_CONFIG, OPTIONAL, BadInput, MimirError, MissingPackage
from mimir.text import nearest, one_line

__all__ = [
    "Command", "Hours", "Minutes", "Tree", "as_option", "check_count", "check_words",
    "command_help", "end_with", "loaded", "main", "run", "sections",
]  # fmt: skip
SCRIPT = "mimir"
"""The script that has the commands of both packages, where it is installed."""
VERSION, HELP = ("--version", "version"), ("--help", "-h", "help")
SYNONYMS = {
    "ls": "runs", "list": "runs", "ps": "runs", "show": "status", "cost": "status",
    "run": "submit", "cancel": "stop", "kill": "stop", "down": "stop",
    "download": "pull", "fetch": "pull", "continue": "resume", "generate": "sample",
    "log": "logs", "tail": "logs", "prices": "offers", "eval": "evaluate",
    "remove": "rm", "delete": "rm", "events": "alerts", "warnings": "alerts",
    "history": "alerts", "terminate": "stop", "abort": "stop", "halt": "stop", "end": "stop",
    "restart": "resume", "resubmit": "resume", "diff": "compare",
}  # fmt: skip
"""What other tools call a command: whoever writes it is told the name that it has here."""


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
        raise BadInput(f"{as_option(name)} is {value}, but must be from {least} to {most:,}")


def end_with(prog: str, body: Callable[[], int]) -> NoReturn:
    """Exit with what the body returns; its errors and its output are shown as `main` shows them."""
    with console.safe_output(as_script=prog == SCRIPT):
        code = _code(prog, body)
    sys.exit(code)


def _code(prog: str, body: Callable[[], int]) -> int:
    try:
        code = body()
        sys.stdout.flush()
    except MimirError as error:
        _refuse(prog, one_line(error))
        code = error.exit_code
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in OPTIONAL:
            raise
        _refuse(prog, str(MissingPackage(missing)))
        code = BAD_CONFIG
    except KeyboardInterrupt:
        _refuse(prog, "interrupted")
        code = 130
    except MemoryError as error:
        _refuse(prog, f"out of memory: ask for less at once ({one_line(error)})")
        code = BAD_CONFIG
    except BrokenPipeError:
        # The reader (head, less) went away: not an error, and no flush at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    return code


def _refuse(prog: str, sentence: str) -> None:
    console.show(
        console.joined([console.styled(f"{prog}:", console.BAD), sentence], " "), sys.stderr
    )


def _run(prog: str, summary: str, tree: Tree, words: list[str]) -> int:
    node: Command | Tree = tree
    path = [prog]
    asks = False
    while isinstance(node, Mapping):
        where = " ".join(path)
        while words and words[0] in HELP and words[0] not in node:
            asks = True
            del words[0]
        if node is tree and words and words[0] in VERSION and words[0] not in tree:
            if words[1:]:
                raise BadInput(f"{words[1]!r} is one word too many for `{prog} {words[0]}`")
            print(f"mimir {__version__}")
            return 0
        if not words:
            print(group_help(where, summary, node))
            return 0 if asks else BAD_CONFIG
        word = words.pop(0)
        if word not in node:
            if (same := SYNONYMS.get(word)) in node:
                raise BadInput(f"there is no command {word!r}: the command is `{where} {same}`")
            raise BadInput(
                f"there is no command {word!r}{nearest(word, node)} (see `{where} --help`)"
            )
        path.append(word)
        node = loaded(node[word])
        summary = summary_of(node)
    where = " ".join(path)
    if asks and words:
        raise BadInput(f"{words[0]!r} is one word too many: `{where} --help` is the help of it")
    if asks:
        words = ["--help"]
    return _call(where, node, words, functools.partial(_options_of_others, tree, node))


def _options_of_others(tree: Tree, own: Command, before: str = "") -> dict[str, list[str]]:
    """The names of the commands that have an option, by option; those of `own` apart."""
    found: dict[str, list[str]] = {}
    for name, node in tree.items():
        other = loaded(node)
        if isinstance(other, Mapping):
            inner = _options_of_others(other, own, f"{before}{name} ")
        else:
            kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
            has = inspect.signature(other).parameters.values() if other is not own else ()
            inner = {each.name: [before + name] for each in has if each.kind not in kinds}
        for option, names in inner.items():
            found.setdefault(option, []).extend(names)
    return found


def _call(path: str, function: Command, words: list[str], others: Others | None = None) -> int:
    if any(word in ("--help", "-h") for word in words):
        print(command_help(path, function))
        return 0
    import fire  # here, because help needs none of it

    bound = check_words(path, function, words, others)

    def call() -> object:
        """The command with its arguments: no word is left that Fire would read otherwise."""
        return function(*bound.args, **bound.kwargs)

    result = fire.Fire(call, command=[], name=path, serialize=lambda _: None)
    return result if isinstance(result, int) else 0
