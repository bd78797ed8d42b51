"""Values as the pages show them."""

from launch.pricing.bill import machine_time

NONE = "–"


def number(value: float | None) -> str:
    """A figure in nats per residue."""
    return NONE if value is None else f"{value:.4f}"


def share(value: float | None) -> str:
    return NONE if value is None else f"{value:.0%}"


def price(dollars: float | None) -> str:
    return NONE if dollars is None else f"${dollars:.2f}"


def hours(
    count: float | None, dollars: float | None = None, *, at_least: bool = False
) -> str:  # fmt: skip
    """Hours of machines, and what they cost where that is known; "" for none. at_least: they are a
    lower bound."""
    if not count:
        return ""
    money = f", ${dollars:.2f}" if dollars is not None else ""
    return machine_time(count, at_least=at_least) + money
