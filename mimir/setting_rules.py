"""Rules for the values of settings, and what is said of one that breaks them."""

from mimir.errors import BadInput


def need(holds: bool, name: str, value: object, rule: str) -> None:
    """BadInput if a setting's value does not hold to its rule."""
    if not holds:
        raise BadInput(f"{name} is {short(value)}, but must be {rule}")


def within(settings: object, least: float, most: float, *names: str) -> None:
    """BadInput if one of these settings is not from `least` to `most`."""
    for name in names:
        value = getattr(settings, name)
        need(least <= value <= most, name, value, f"from {least} to {most}")


def short(value: object) -> str:
    """A value as it stands in an error."""
    try:
        shown = repr(value)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return shown if len(shown) <= 60 else shown[:60] + "…"
