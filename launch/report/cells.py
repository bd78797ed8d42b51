"""Values as the pages show them."""

from mimir.text import duration

NONE = "–"


def number(value: float | None) -> str:
    """A figure in nats per residue."""
    return NONE if value is None else f"{value:.4f}"


def share(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"


def price(dollars: float | None) -> str:
    return NONE if dollars is None else f"${dollars:.2f}"


def hours(count: float | None, dollars: float | None = None) -> str:
    """Hours of machines, and what they cost where that is known; "" for none."""
    if not count:
        return ""
    return duration(3600 * count) + (f", ${dollars:.2f}" if dollars is not None else "")
