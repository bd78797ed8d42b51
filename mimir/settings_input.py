"""Reads the settings that a user wrote: YAML, plain values under names, and checks of each value.

A check's sentence names the setting and the rule.

YAML 1.1 reads `1:30` as 90, `010` as 8 and `1_000` as 1000, keeps the last of two equal keys in
silence, and lets a few lines expand to more than a computer holds. Settings need none of it. What
could be read in another way than it was meant is refused, with its line.
"""

import ast
import contextlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from mimir.errors import BadInput
from mimir.text import one_line, seconds_in

MOST_BYTES = 64 << 10
"""Of a document: a preset has a thousand."""
DEPTH = 8
"""Of lists and mappings in each other: a preset has two."""
_DIGITS = 40
"""Of a number: an integer of 64 bits has 20, and a decimal fraction of a double at most 25."""
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_SECONDS = {"hours": 3600.0, "minutes": 60.0}
"""Of the unit in which a setting is, by the last word of its name."""
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read(data: bytes | str, where: str) -> Any:
    """The value in a document: mappings, lists, text, numbers, true or false, and None.

    Args:
        data: of the document, UTF-8.
        where: names it in errors.

    Raises:
        BadInput: it is no YAML, too large or too deep, or could be read in another way than it
            was meant; with the line.
    """
    if len(data) > MOST_BYTES:
        raise BadInput(f"{where} has more than {MOST_BYTES:,} bytes, which no settings need")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
        _check_size(text, where)
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except UnicodeDecodeError as error:
        raise BadInput(f"{where} is not a YAML file: byte {error.start} is not UTF-8") from None
    except yaml.MarkedYAMLError as error:
        what = one_line(error.problem or error.context or "it cannot be read")
        raise BadInput(f"{where} is not a YAML file: {_line(error.problem_mark)}{what}") from None
    except yaml.YAMLError as error:
        what = one_line(str(error).splitlines()[0])
        raise BadInput(f"{where} is not a YAML file: {what}") from None
    return None if node is None else _value(node, where)


def _check_size(text: str, where: str) -> None:
    """Refuse depth and aliases as the document is read, before anything is made of it."""
    depth = 0
    for event in _events(text):
        at = f"{where}, {_line(event.start_mark)}"
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise BadInput(f"{at}anchors and aliases (& and *) are not read: write the value out")
        if getattr(event, "tag", None):
            raise BadInput(f"{at}tags such as {one_line(event.tag)[:40]} are not read")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH:
            raise BadInput(f"{at}more than {DEPTH} lists and mappings lie in each other")


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=yaml.SafeLoader)


def _value(node: Any, where: str) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(each, where) for each in node.value]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(node, f"{where}, {_line(node.start_mark)}")
    found: dict[Any, Any] = {}
    for name, value in node.value:
        at = f"{where}, {_line(name.start_mark)}"
        if not isinstance(name, yaml.ScalarNode):
            raise BadInput(f"{at}a name is expected before the colon")
        key = _scalar(name, at)
        if key in found:
            raise BadInput(f"{at}{one_line(name.value)} stands there twice: remove one")
        found[key] = _value(value, where)
    return found


def _scalar(node: Any, at: str) -> Any:
    """What YAML takes a scalar for; BadInput where that may not be what was meant."""
    text, kind = node.value, node.tag.removeprefix("tag:yaml.org,2002:")
    shown = one_line(text)[:40]
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return _WORDS[text.lower()]
    if kind in ("int", "float") and len(text) > _DIGITS:
        raise BadInput(f"{at}{shown}… has {len(text)} digits: no setting takes such a number")
    if kind == "int" and _WHOLE.fullmatch(text):
        return int(text)
    if kind == "float" and _DECIMAL.fullmatch(text):
        return float(text)
    means = "neither a plain number nor a word"
    if kind == "int":
        with contextlib.suppress(ValueError):  # 0x_ is a number by its pattern only
            means = str(yaml.constructor.SafeConstructor().construct_yaml_int(node))
    raise BadInput(f"{at}{shown} is {means} to YAML: write what you mean in plain decimal digits")


def _line(mark: Any) -> str:
    return f"line {mark.line + 1}: " if mark is not None else ""


def explained(section: type) -> dict[str, str]:
    """What the text behind each field of a class says, as one line, by the field's name."""
    found: dict[str, str] = {}
    body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, behind in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = behind.value if isinstance(behind, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                found[field.target.id] = " ".join(text.value.split())
    return found


def need(holds: bool, name: str, value: object, rule: str) -> None:
    """Raises BadInput, which states the rule, if it does not hold."""
    if not holds:
        raise BadInput(f"{name} is {short(value)}, but must be {rule}")


def within(settings: object, least: float, most: float, *names: str) -> None:
    """Raises BadInput if one of the named settings is out of range."""
    for name in names:
        value = getattr(settings, name)
        need(least <= value <= most, name, value, f"from {least} to {most}")


def short(value: object) -> str:
    """The value as a sentence shows it: at most 60 characters."""
    try:
        shown = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else shown[:60] + "…"


def typed(name: str, value: Any, kind: type) -> Any:
    """A value from a preset or the command line as the setting's type. Raises BadInput."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise BadInput(f"{name} is {short(value)}, which is too large") from None
    if kind is float and isinstance(value, str):  # YAML reads 1e-3 as text
        if _DECIMAL.fullmatch(value):
            return float(value)
        unit = name.rpartition("_")[2]
        if unit in _SECONDS:
            return seconds_in(value, name, unit) / _SECONDS[unit]
    if kind is str and isinstance(value, bool):  # as YAML reads on and off
        return "on" if value else "off"
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = {int: "a whole number", float: "a number", str: "a word"}[kind]
        raise BadInput(f"{name} is {short(value)}, but must be {wanted}")
    return value
