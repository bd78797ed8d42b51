"""One JSON encoding for all that the contract writes, so that equal contents are equal bytes."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from mimir.errors import BadInput, Corrupt, MimirError

T = TypeVar("T")


def encode(value: dict[str, Any]) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN (ValueError), one trailing newline."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return (text + "\n").encode()


def digest(value: dict[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON."""
    return hashlib.sha256(encode(value)).hexdigest()


def decode(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`; Corrupt, naming `what`, if there is none."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise Corrupt(f"{what} is not JSON ({error}); it was not written by Mimir") from error
    if not isinstance(value, dict):
        raise Corrupt(f"{what} holds a JSON {type(value).__name__} where an object was expected")
    return value


def typed(kind: type[T], value: Mapping[str, Any], where: str, **made: Any) -> T:
    """A frozen dataclass from a JSON object, each field checked against its annotation.

    Unknown fields are left out, for an older laptop may read a newer machine's document. null
    stands for a field's default.

    Args:
        kind: a dataclass whose fields are str, bool, int, float, tuples of these, plain mappings,
            or one of them or None.
        made: fields that are made already.

    Raises:
        Corrupt: naming `where`: a field is missing, of another type, or not possible.
    """
    hints = get_type_hints(kind)
    found: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]  # T is a dataclass
        if each.name in made:
            found[each.name] = made[each.name]
            continue
        given = value.get(each.name)
        if given is not None:
            found[each.name] = one(hints[each.name], given, f"{where}: {each.name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise Corrupt(f"{where} lacks a field: {each.name}")
    try:
        return kind(**found)
    except MimirError as error:
        raise Corrupt(f"{where}: {error}") from error


def one(kind: Any, value: Any, where: str) -> Any:
    """A JSON value as `kind`; Corrupt, naming `where`, if it is something else."""
    if isinstance(kind, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    origin = get_origin(kind) or kind
    if origin is tuple and isinstance(value, list):
        inner = get_args(kind)[0]
        return tuple(one(inner, each, where) for each in value)
    if origin in (dict, Mapping) and isinstance(value, dict):
        return value
    if kind is float and type(value) in (int, float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    elif kind in (str, bool, int) and type(value) is kind:
        return value
    wanted = getattr(origin, "__name__", str(kind))
    shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:40] + "…"
    raise Corrupt(f"{where} is {shown}, but must be of type {wanted}")


def child(value: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """The JSON object under this name, {} if there is none; Corrupt if it is no object."""
    found = value.get(name)
    if found is not None and not isinstance(found, dict):
        raise Corrupt(f"{where}: {name} is {type(found).__name__}, but must be an object")
    return found or {}


def check_format(value: dict[str, Any], known: int, what: str) -> None:
    """Refuse a document of a newer format (BadInput) or without a format number (Corrupt)."""
    found = value.get("format")
    if not isinstance(found, int):
        raise Corrupt(f"{what} has no format number; it was not written by Mimir")
    if found > known:
        raise BadInput(
            f"{what} has format {found}, this Mimir knows up to {known}: "
            "it was written by a newer Mimir, upgrade this one"
        )
