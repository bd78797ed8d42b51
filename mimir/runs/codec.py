"""One JSON encoding for all that the contract writes, and one decoder for all that is read back.

Equal contents are equal bytes. What is read is untrusted: its size and depth are bounded before
it is parsed, its numbers while it is, and `typed` then checks each field of each document.
"""

import hashlib
import json
import math
import re
import types
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from mimir.errors import Corrupt, MimirError, OtherFormat
from mimir.runs.ranges import TEXT
from mimir.text import clipped

T = TypeVar("T")

DEEPEST = 32
"""Objects and lists within each other; ours have six."""
DIGITS = 20
"""Of a whole number. Python takes minutes for a million of them."""
_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]', re.DOTALL)


def encode(value: dict[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN (ValueError), one trailing newline."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    # A lone surrogate, as in a file's name that is not UTF-8, has no encoding.
    return (text + "\n").encode(errors="replace")


def sealed(body: Mapping[str, Any], format: int) -> bytes:
    """A document's bytes: canonical JSON that bears its format."""
    return encode({**body, "format": format})


def unsealed(data: bytes, format: int, what: str, *, machines: bool = False) -> dict[str, Any]:
    """The body of a document of this format.

    Raises:
        OtherFormat: it is of another format: only the Mimir that knows it may serve the run.
        Corrupt: it is no document, or it is a machine's and of another format.
    """
    body = decode(data, what)
    check_format(body, format, what, machines=machines)
    del body["format"]
    return body


def digest(value: dict[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON."""
    return hashlib.sha256(encode(value)).hexdigest()


def shortened(text: str) -> str:
    """The text, cut to what a reader takes."""
    return clipped(text, TEXT)


def decode(data: bytes | str, what: str) -> dict[str, Any]:
    """The JSON object in `data`; Corrupt, naming `what`, if there is none.

    Refused are also NaN and infinity, whole numbers of more than 20 digits, a name that stands
    twice in an object, half a surrogate pair, and what is nested more than 32 deep.
    """
    raw = data.encode(errors="surrogatepass") if isinstance(data, str) else data
    if _too_deep(raw):
        raise Corrupt(f"{what} is nested more than {DEEPEST} deep; it was not written by Mimir")
    try:
        value = json.loads(
            raw, parse_int=_whole, parse_float=_finite, parse_constant=_no_number,
            object_pairs_hook=_object,
        )  # fmt: skip
        if rb"\u" in raw:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        why = "half a surrogate pair" if isinstance(error, UnicodeEncodeError) else error
        raise Corrupt(f"{what} is not JSON ({why}); it was not written by Mimir") from None
    if not isinstance(value, dict):
        raise Corrupt(f"{what} holds a JSON {type(value).__name__} where an object was expected")
    return value


def _too_deep(data: bytes) -> bool:
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for found in _BRACKETS.finditer(data):
        first = data[found.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is infinite")
    return number


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counted = Counter(name for name, _ in pairs)
        twice = counted.most_common(1)[0][0]
        raise ValueError(f"the name {shown(twice)} stands twice in it")
    return made


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def typed(kind: type[T], value: Mapping[str, Any], where: str, **made: Any) -> T:
    """A frozen dataclass from a JSON object, each field checked against its annotation.

    A field may be left out if it has a default; one that the dataclass does not have is refused:
    the format's number says which fields there are.

    Args:
        kind: a dataclass whose fields are str, bool, int, float, dataclasses, tuples of these or
            mappings, one of them with a range (mimir.runs.ranges), or one of them or None.
        made: fields that are made already.

    Raises:
        Corrupt: naming `where`: a field is missing, unknown, of another type, out of its range,
            or not possible beside the others.
    """
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    known = [each.name for each in fields(kind)]  # type: ignore[arg-type]  # T is a dataclass
    strange = [name for name in value if name not in known]
    if strange:
        raise Corrupt(f"{where} has a field that is not known: {shown(strange[0])}")
    found: dict[str, Any] = dict(made)
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name in made:
            continue
        if each.name in value:
            found[each.name] = one(hints[each.name], value[each.name], f"{where}: {each.name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise Corrupt(f"{where} lacks a field: {each.name}")
    try:
        return kind(**found)
    except MimirError as error:
        raise Corrupt(f"{where}: {error}") from error


def one(kind: Any, value: Any, where: str) -> Any:
    """A JSON value as `kind`; Corrupt, naming `where`, if it is something else."""
    if get_origin(kind) in (types.UnionType, Union):
        if value is None:
            return None
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    ranges: Iterable[Any] = ()
    if get_origin(kind) is Annotated:
        kind, *ranges = get_args(kind)
    origin = get_origin(kind) or kind
    if is_dataclass(kind) and isinstance(value, dict):
        return typed(kind, value, where)  # type: ignore[arg-type]  # a class
    if origin is tuple and isinstance(value, list):
        _in_range(ranges, value, where)
        return _several(get_args(kind), value, where)
    if origin in (dict, Mapping) and isinstance(value, dict):
        inner = (*get_args(kind), Any)[1]
        plain = inner in (Any, object)
        return (
            value if plain else {n: one(inner, v, f"{where}: {shown(n)}") for n, v in value.items()}
        )
    if kind is float and type(value) in (int, float):
        value = float(value)
    elif kind not in (str, bool, int) or type(value) is not kind:
        wanted = getattr(origin, "__name__", str(kind))
        raise Corrupt(f"{where} is {shown(value)}, but must be of type {wanted}")
    if kind is str and len(value) > TEXT:
        raise Corrupt(f"{where} has {len(value)} characters, {TEXT} are allowed")
    _in_range(ranges, value, where)
    return value


def _in_range(ranges: Iterable[Any], value: Any, where: str) -> None:
    for each in ranges:
        if wrong := each.wrong(value):
            raise Corrupt(f"{where} is {shown(value)}, but must be {wrong}")


def _several(kinds: tuple[Any, ...], value: list[Any], where: str) -> tuple[Any, ...]:
    """A tuple: of any length where `kinds` ends in an ellipsis."""
    if kinds[-1] is ...:
        return tuple(one(kinds[0], each, where) for each in value)
    if len(kinds) != len(value):
        raise Corrupt(f"{where} has {len(value)} values where {len(kinds)} were expected")
    return tuple(one(kind, each, where) for kind, each in zip(kinds, value, strict=True))


def shown(value: Any) -> str:
    """A value in an error: short, and with what a terminal would obey made visible."""
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def child(value: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """The JSON object under this name, {} if there is none; Corrupt if it is no object."""
    found = value.get(name)
    if found is not None and not isinstance(found, dict):
        raise Corrupt(f"{where}: {name} is {type(found).__name__}, but must be an object")
    return found or {}


def check_format(
    value: Mapping[str, Any], known: int, what: str, *, machines: bool = False
) -> None:
    """Refuse a document of another format (OtherFormat) or without a format number (Corrupt).

    machines: a machine writes such documents. Which Mimir may serve a run is not its to say, so
    that one of another format is damaged like any other (Corrupt).
    """
    refused = Corrupt if machines else OtherFormat
    found = value.get("format")
    if type(found) is not int or found < 1:
        raise Corrupt(f"{what} has no format number; it was not written by Mimir")
    if found > known:
        raise refused(
            f"{what} has format {found}, this Mimir knows up to {known}: "
            "it was written by a newer Mimir, update this one"
        )
    if found < known:
        raise refused(
            f"{what} has format {found}, this Mimir reads {known}: it was written by an older "
            "Mimir, use that one for this run"
        )
