"""Whole numbers between commas, as the measurements take them on the command line."""

from typing import Any

from mimir.errors import BadInput


def between_commas(name: str, given: Any) -> list[int]:
    """The numbers of an option, which Fire may have made a tuple or a number. Raises BadInput."""
    words = given if isinstance(given, tuple | list) else str(given).split(",")
    try:
        return [int(word) for word in words]
    except ValueError:
        raise BadInput(f"{name} is {given!r}, but must be numbers between commas") from None
