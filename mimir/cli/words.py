"""Checks the words of a command line against a function's signature, before Fire sees them."""

import inspect
import math
import re
from typing import Any

from mimir.cli.tree import Command, Unit
from mimir.errors import BadInput
from mimir.text import nearest, seconds_in

SHORT = {"-v": "--verbose", "-y": "--yes", "-f": "--follow", "-h": "--help", "-n": "--n"}
ONE_NAME = frozenset(("name", "run", "run_name"))
"""Options that name a run. A command has one of them and takes the others for it."""
_KINDS = {int: "a whole number", float: "a number"}
_LIMIT = {int: 2**63, float: math.inf}
_HELD = {int: "less than 2^63", float: "a finite number"}
_DIGITS = 400
"""Of a number: the largest of a double has 309."""
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,399})")
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


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
    kind, unit = kind_of(parameter)
    if kind is bool:
        if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise BadInput(f"--{shown} is {value!r}, but must be true or false")
        return str(value.lower() in ("true", "1", "yes"))
    if kind in _KINDS:
        try:
            number = kind(value) if len(value) <= _DIGITS else math.inf
        except ValueError:
            if unit is None:
                raise BadInput(f"--{shown} is {value!r}, but must be {_KINDS[kind]}") from None
            return repr(seconds_in(value, f"--{shown}", unit.name) / unit.seconds)
        if not abs(number) < _LIMIT[kind]:
            raise BadInput(f"--{shown} is {value[:40]!r}, but must be {_HELD[kind]}")
        return repr(number)
    return repr(value)


def kind_of(parameter: inspect.Parameter) -> tuple[Any, Unit | None]:
    """The type of an option, and its unit if it is a time."""
    of = parameter.annotation
    units = [each for each in getattr(of, "__metadata__", ()) if isinstance(each, Unit)]
    return (of.__origin__, units[0]) if units else (of, None)


def _setting(value: str) -> str:
    """A setting's value as a literal: a number in decimal digits, True, False, else text."""
    if _WHOLE.fullmatch(value) or value in ("True", "False"):
        return value
    decimal = len(value) <= _DIGITS and _DECIMAL.fullmatch(value)
    return repr(float(value)) if decimal and math.isfinite(float(value)) else repr(value)


def _long(word: str) -> str:
    return SHORT.get(word, word)
