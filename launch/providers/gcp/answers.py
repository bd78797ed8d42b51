"""Reads Google's answers field by field: each has its type, or one sentence says that it has not.

A field that Google leaves out is empty, as its JSON has it; null is taken for the same. What is
there with another type is never read as something else.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from launch.contract.errors import ProviderError

Row = Mapping[str, Any]


def odd(what: str) -> ProviderError:
    """That something in an answer cannot be read. what: names it."""
    return ProviderError(
        f"Google's answer cannot be read ({what}): try again later, or look for a newer Mimir"
    )


def table(value: Any, what: str) -> Row:
    """It, if it is an object; ProviderError for anything else. what: names it in the error."""
    if not isinstance(value, dict):
        raise odd(what)
    return value


def inner(row: Row, key: str, what: str) -> Row:
    """The object in this field, {} for none."""
    value = row.get(key)
    return {} if value is None else table(value, f"{key} of {what}")


def rows(row: Row, key: str, what: str) -> list[Row]:
    """The objects in this field, [] for none."""
    return [table(each, f"{key} of {what}") for each in _list(row, key, what)]


def words(row: Row, key: str, what: str) -> list[str]:
    """The texts in this field, [] for none."""
    found = _list(row, key, what)
    if not all(isinstance(each, str) for each in found):
        raise odd(f"{key} of {what}")
    return found


def text(row: Row, key: str, what: str) -> str:
    """The text in this field, "" for none."""
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise odd(f"{key} of {what}")
    return value


def needed(row: Row, key: str, what: str) -> str:
    """The text in this field; ProviderError where there is none."""
    found = text(row, key, what)
    if not found:
        raise odd(f"{what} without {key}")
    return found


def number(row: Row, key: str, what: str) -> float:
    """The number in this field, 0 for none. Google writes 64-bit integers as texts."""
    value = row.get(key)
    if value is None:
        return 0.0
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,18}", value):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise odd(f"{key} of {what}")
    return float(value)


def above_zero(row: Row, key: str, what: str) -> float:
    """As `number`; ProviderError for 0 and less, too."""
    found = number(row, key, what)
    if found <= 0:
        raise odd(f"{key} of {what}")
    return found


def time(row: Row, key: str, what: str) -> float:
    """The time in this field (RFC 3339), in unix s. Without a zone it would be this computer's."""
    try:
        found = datetime.fromisoformat(needed(row, key, what))
        if found.tzinfo is None:
            raise odd(f"{key} of {what}, without a zone")
        return found.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise odd(f"{key} of {what}") from error


def last(link: str) -> str:
    """The last part of a resource's address."""
    return link.rpartition("/")[2]


def _list(row: Row, key: str, what: str) -> list[Any]:
    value = row.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise odd(f"{key} of {what}")
    return value
