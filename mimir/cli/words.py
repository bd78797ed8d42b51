"""Makes a function's arguments of the words of a command line, and refuses what is none."""

import importlib
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from mimir.cli.tree import Command, Unit
from mimir.errors import BadInput
from mimir.text import clipped, meant, nearest, seconds_in

SHORT = {"-v": "--verbose", "-y": "--yes", "-f": "--follow", "-h": "--help", "-n": "--n"}
ONE_NAME = frozenset(("name", "run", "run_name"))
"""Options that name a run. A command has one of them and takes the others for it."""
NAMES = "names"
"""A parameter for the names of runs: what names one run adds to them."""
OTHERS = "others"
"""A parameter for names of runs beside the first: what names one run again adds to them."""
INSTEAD = {("label", each): "`KEY=` takes a label away" for each in ("unset", "remove", "delete")}
"""What to write for an option that other tools have, by command and option."""
MOST_THEIRS = 3
"""Commands that are named for an option of theirs."""
Others = Callable[[], Mapping[str, list[str]]]
"""Gets the options of other commands: the names of those that have it, by option."""
OPTIONS_OF_OTHERS = frozenset(("slurm",))
"""Options whose value is made of another program's options."""
CONFIG = "mimir.config"
"""Imported for a command that takes settings: `SETTINGS` names them."""
_KINDS = {int: "a whole number", float: "a number"}
_LIMIT = {int: 2**63, float: math.inf}
_HELD = {int: "less than 2^63", float: "a finite number"}
_DIGITS = 400
"""Of a number: the largest of a double has 309."""
_MANY = re.compile(rf"[-+]?[0-9]{{{_DIGITS},}}")
_ENDLESS = re.compile(r"[-+]?(nan|inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,399})")
_DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


def check_words(
    path: str, function: Command, words: list[str], others: Others | None = None
) -> inspect.BoundArguments:
    """The words as the function's arguments, each of its parameter's kind.

    others: options of the commands beside this one, for a word that is one of theirs.

    Raises:
        BadInput: an option that the command does not have, a word too many or too few, a value
            of another kind.
    """
    signature = inspect.signature(function)
    parameters = signature.parameters
    named = {n: p for n, p in parameters.items() if p.kind != p.VAR_KEYWORD}
    free = [n for n, p in parameters.items() if p.kind == p.VAR_KEYWORD]
    unknown = _Unknown(path, named, bool(free), others or dict)
    positional = [p for p in named.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    variadic = [n for n, p in named.items() if p.kind == p.VAR_POSITIONAL]
    given: dict[str, str] = {}
    many: list[str] = []
    queue = list(words)
    while queue:
        word = _long(queue.pop(0))
        if not word.startswith("--"):
            if word.startswith("-") and word[1:2].isalpha():
                raise BadInput(f"`{path}` has no option {word} (see `{path} --help`)")
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
        written = name
        if name in ONE_NAME and name not in named:
            name = next((own for own in named if own in (*ONE_NAME, NAMES)), name)
        parameter = named.get(name)
        if parameter is None and name.startswith("no_"):
            unknown.refuse_no(name.removeprefix("no_"))
            if name.removeprefix("no_") in named:
                name, parameter, joined, value = name[3:], named[name[3:]], "=", "False"
        if parameter is None:
            unknown.refuse(name)
        if not joined:
            if parameter is not None and parameter.annotation is bool:
                value = "True"
            elif queue and (
                not _long(queue[0]).startswith("--") or _is_value(name, queue[0], named, bool(free))
            ):
                value = queue.pop(0)
            else:
                raise BadInput(_without_value(name, written, unknown, queue[:1]))
        if name == NAMES and name in variadic:
            many.append(value)
            continue
        if name in given and written in ONE_NAME and OTHERS in variadic:
            many.append(value)
            continue
        if name in given:
            raise BadInput(f"{as_option(name)} is given twice")
        given[name] = value
    for name, value in given.items():
        _check_not_empty(named.get(name), value)
    for parameter in named.values():
        required = (
            parameter.default is parameter.empty and parameter.kind != parameter.VAR_POSITIONAL
        )
        if required and parameter.name not in given:
            is_positional = parameter.kind == parameter.POSITIONAL_OR_KEYWORD
            wanted = parameter.name.upper() if is_positional else as_option(parameter.name)
            raise BadInput(f"`{path}` needs {wanted} (see `{path} --help`)")
    bound = signature.bind_partial()
    for name, value in given.items():
        if name in named:
            bound.arguments[name] = _value(name, value, named[name])
    bound.arguments |= {name: tuple(many) for name in variadic}
    settings = {name: _setting(value) for name, value in given.items() if name not in named}
    bound.arguments |= dict.fromkeys(free, settings)
    bound.apply_defaults()
    return bound


@dataclass(frozen=True)
class _Unknown:
    """What to say of an option that a command does not have."""

    path: str
    named: Mapping[str, inspect.Parameter]
    free: bool
    others: Others

    @property
    def known(self) -> list[str]:
        variadic = inspect.Parameter.VAR_POSITIONAL
        return [_shown(n) for n, p in self.named.items() if p.kind != variadic]

    def refuse_no(self, name: str) -> None:
        """BadInput for `--no-NAME` where NAME is an option or a setting that takes a value: only of
        a flag there is the opposite."""
        parameter = self.named.get(name)
        takes = parameter.annotation is not bool if parameter else self.is_setting(name)
        if takes:
            raise BadInput(
                f"`{self.path}` has no option {as_option(f'no_{name}')}: {as_option(name)} takes a "
                f"value (see `{self.path} --help`)"
            )

    def is_setting(self, name: str) -> bool:
        return self.free and name in importlib.import_module(CONFIG).SETTINGS

    def refuse(self, name: str) -> None:
        """BadInput unless it is a setting, or may be one: whoever takes settings names the nearest
        of them."""
        if self.is_setting(name):
            return
        advice = INSTEAD.get((self.path.rpartition(" ")[2], name))
        theirs = [] if advice else self.others().get(name, [])
        if theirs:
            more = ", …" if len(theirs) > MOST_THEIRS else ""
            advice = f"it is an option of {', '.join(theirs[:MOST_THEIRS])}{more}"
        if advice:
            raise BadInput(f"`{self.path}` has no option {as_option(name)}: {advice}")
        if not self.free:
            hint = nearest(_shown(name), self.known, "--")
            raise BadInput(f"`{self.path}` has no option {as_option(name)}{hint}")


def _shown(name: str) -> str:
    return name.replace("_", "-")


def as_option(name: str) -> str:
    """A parameter as it is written: --max-cost of max_cost."""
    return f"--{_shown(name)}"


def _check_not_empty(parameter: inspect.Parameter | None, value: str) -> None:
    """BadInput for an empty text where that is what an option is that was not given: it is a
    variable of a script that is not set, and nothing would be as it was asked for."""
    if parameter is None or kind_of(parameter)[0] is not str:
        return
    needed = parameter.default is parameter.empty
    if not needed and parameter.default != "":
        return
    is_word = parameter.kind == parameter.POSITIONAL_OR_KEYWORD
    if value == "" or (not is_word and not value.strip(" ,")):
        shown = parameter.name.replace("_", "-")
        raise BadInput(
            f"{shown.upper() if is_word else f'--{shown}'} is {value!r}, which says nothing: "
            f"{'' if needed else 'leave it out, or '}set the variable that it was made from"
        )


def _is_value(name: str, word: str, named: Mapping[str, inspect.Parameter], free: bool) -> bool:
    """Whether a word with dashes is the value of an option that takes another program's options,
    and none of ours: it has a blank or "=" in it, and does not name one."""
    begin = re.match(r"--([^\s=]+)[\s=]", word)
    if name not in OPTIONS_OF_OTHERS or begin is None:
        return False
    other = begin[1].replace("-", "_")
    ours = {*named, *(ONE_NAME if ONE_NAME & {*named} else ())}
    if free:
        ours |= {*importlib.import_module(CONFIG).SETTINGS}
    return other not in ours and other.removeprefix("no_") not in ours


def _without_value(name: str, written: str, unknown: _Unknown, after: list[str]) -> str:
    """What is wrong with an option at whose end no value stands: it may be meant for a flag."""
    option, path, named = as_option(written), unknown.path, unknown.named
    if name not in named and not unknown.is_setting(name):
        settings = importlib.import_module(CONFIG).SETTINGS
        near = meant(_shown(name), [*unknown.known, *(_shown(each) for each in settings)])
        hint = f"; did you mean '--{near}'?" if near else f" (see `{path} --help`)"
        return f"there is no option or setting {option}{hint}"
    how = ""
    if after and (name not in named or kind_of(named[name])[0] is str):
        how = f"; one that begins with dashes is written as {option}='{clipped(after[0], 30)}'"
    return f"{option} needs a value{how} (see `{path} --help`)"


def _value(name: str, value: str, parameter: inspect.Parameter) -> object:
    option = as_option(name)
    kind, unit = kind_of(parameter)
    if kind is bool:
        if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise BadInput(f"{option} is {value!r}, but must be true or false")
        return value.lower() in ("true", "1", "yes")
    if kind in _KINDS:
        # What Python reads besides (1_0, digits of other scripts) no preset and no grid takes.
        plain = (_WHOLE if kind is int else _DECIMAL).fullmatch(value)
        if not plain and not _ENDLESS.fullmatch(value) and not _MANY.fullmatch(value):
            if unit is None:
                raise BadInput(f"{option} is {clipped(value, 40)!r}, but must be {_KINDS[kind]}")
            return seconds_in(value, option, unit.name) / unit.seconds
        number = kind(value) if plain and len(value) <= _DIGITS else math.inf
        if not abs(number) < _LIMIT[kind]:
            raise BadInput(f"{option} is {value[:40]!r}, but must be {_HELD[kind]}")
        return number
    return value


def kind_of(parameter: inspect.Parameter) -> tuple[Any, Unit | None]:
    """The type of an option, and its unit if it is a time; of one that may be None the other."""
    of = parameter.annotation
    if get_origin(of) in (Union, UnionType):
        (of,) = (each for each in get_args(of) if each is not type(None))
    units = [each for each in getattr(of, "__metadata__", ()) if isinstance(each, Unit)]
    return (of.__origin__, units[0]) if units else (of, None)


def _setting(value: str) -> object:
    """A setting's value: a number in decimal digits, True, False, else text."""
    if value in ("True", "False"):
        return value == "True"
    if _WHOLE.fullmatch(value):
        return int(value)
    decimal = len(value) <= _DIGITS and _DECIMAL.fullmatch(value)
    return float(value) if decimal and math.isfinite(float(value)) else value


def _long(word: str) -> str:
    return SHORT.get(word, word)
