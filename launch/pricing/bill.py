"""A run's bill: so far, at its end as it looks now, and as it was estimated."""

from dataclasses import asdict, dataclass
from typing import Any

from launch.pricing import budget, evictions
from mimir.runs.attempts import AttemptStatus
from mimir.runs.status import Status
from mimir.text import duration


@dataclass(frozen=True)
class Bill:
    """hours: of machines so far. dollars: None if no machine had a price. at_least: the hours are
    a lower bound, because the end of some machine was not seen (`budget.end_unseen`).

    expected_hours and expected_dollars: at the run's end, by its present rate; None if it does
    not train now. estimated_hours and estimated_dollars: said at its first order; None if
    nothing was. evictions: how many there were; evicted_hours and evicted_dollars: what they have
    cost of hours and dollars.
    """

    hours: float
    dollars: float | None
    expected_hours: float | None = None
    expected_dollars: float | None = None
    estimated_hours: float | None = None
    estimated_dollars: float | None = None
    evictions: int = 0
    evicted_hours: float = 0.0
    evicted_dollars: float | None = None
    at_least: bool = False

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def bill(status: Status, now: float) -> Bill:
    """The run's bill at `now` (unix s)."""
    used = budget.spent(status, now)
    expected_hours, expected_dollars = _expected(status, used)
    estimated_hours, estimated_dollars = _estimated(status.attempts)
    taken = evictions.cost(status, now)
    return Bill(
        used.hours, used.dollars, expected_hours, expected_dollars,
        estimated_hours, estimated_dollars, taken.evictions, taken.hours, taken.dollars,
        used.at_least,
    )  # fmt: skip


def machine_time(hours: float, *, at_least: bool = False) -> str:
    """Hours of machines for people: "1.3 h", or "at least 1.3 h" for a lower bound."""
    return ("at least " if at_least else "") + duration(budget.HOUR * hours)


def line(made: Bill) -> str:
    """What `status` shows of a run that costs money; "" for one that does not."""
    if made.dollars is None:
        return ""
    text = f"${made.dollars:.2f} so far for {_so_far(made)} of machines"
    if made.expected_hours is not None and made.expected_dollars is not None:
        at_its_end = duration(budget.HOUR * made.expected_hours)
        text += f", about ${made.expected_dollars:.2f} and {at_its_end} at its end"
    return text + _beside(made)


def evicted(made: Bill) -> str:
    """What evictions have cost so far; "" if there were none."""
    if not made.evictions:
        return ""
    count = "1 eviction" if made.evictions == 1 else f"{made.evictions} evictions"
    money = f" and ${made.evicted_dollars:.2f}" if made.evicted_dollars is not None else ""
    return (
        f"{count} cost {duration(budget.HOUR * made.evicted_hours)} of machines{money} of that: "
        "work behind the last commit, and the next machine's start"
    )


def total(made: Bill) -> str:
    """What the end of a run prints, estimate against actual; "" if neither is known."""
    if made.dollars is None and made.estimated_hours is None:
        return ""
    money = f" and ${made.dollars:.2f}" if made.dollars is not None else ""
    return f"it took {_so_far(made)} of machines{money}{_beside(made)}"


def _so_far(made: Bill) -> str:
    return machine_time(made.hours, at_least=made.at_least)


def _beside(made: Bill) -> str:
    if made.estimated_hours is None:
        return ""
    dollars = made.estimated_dollars
    money = f", ${dollars:.2f}" if dollars is not None else ""
    return f" (estimated at first: {duration(budget.HOUR * made.estimated_hours)}{money})"


def _expected(status: Status, used: budget.Spent) -> tuple[float | None, float | None]:
    if status.state != "running" or status.eta_s is None or not status.attempts:
        return None, None
    left = max(0.0, status.eta_s) / budget.HOUR
    price = budget.price_of(status.attempts[-1])
    if used.dollars is None or price is None:
        return used.hours + left, None
    return used.hours + left, used.dollars + left * price


def _estimated(attempts: tuple[AttemptStatus, ...]) -> tuple[float | None, float | None]:
    """Of the first attempt that had a machine: later ones were asked for what was left."""
    for attempt in attempts:
        hours = attempt.machine.estimate_hours if attempt.machine else None
        if hours is not None:
            price = budget.price_of(attempt)
            return hours, None if price is None else hours * price
    return None, None
