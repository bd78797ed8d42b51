"""Checks of a setting's value, each with a sentence that names the setting and the rule."""

from typing import Any

from mimir.errors import BadInput


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
        try:
            return float(value)
        except ValueError:
            pass
    if kind is str and isinstance(value, bool):  # as YAML reads on and off
        return "on" if value else "off"
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = {int: "a whole number", float: "a number", str: "a word"}[kind]
        raise BadInput(f"{name} is {short(value)}, but must be {wanted}")
    return value
