"""One JSON encoding for all that the contract writes, so that equal contents are equal bytes."""

import hashlib
import json
from typing import Any

from mimir.errors import BadInput, Corrupt


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
