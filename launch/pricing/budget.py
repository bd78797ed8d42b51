"""What a run may cost, and what its machines have cost so far.

A machine is paid from its order until it was seen to be gone: the time before it works and
the time until its end is verified are in the sum, so that it is never less than the bill for
the machine itself.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mimir.errors import BadInput
from mimir.runs.status import AttemptStatus, Status

HOUR = 3600.0


class UsedUp(BadInput):
    """What a run's limits leave is too little for any machine."""


@dataclass(frozen=True)
class Limits:
    """A run's limits over all its attempts; 0 for none.

    max_price: $/h of one machine. max_hours: hours of machines. max_cost: dollars.
    max_failures: attempts that broke, evictions and refusals apart. max_attempts: machines.
    """

    max_price: float = 0.0
    max_hours: float = 0.0
    max_cost: float = 0.0
    max_failures: int = 3
    max_attempts: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not (0 <= value < float("inf"))
            ):
                option = "max-sessions" if name == "max_attempts" else name.replace("_", "-")
                raise BadInput(f"{option} is {value!r}, but must be a number, 0 (no limit) or more")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> "Limits":
        known = {k: v for k, v in (value or {}).items() if k in cls.__dataclass_fields__}
        return cls(**known)


@dataclass(frozen=True)
class Spent:
    """hours: of machines. dollars: None if no machine had a price."""

    hours: float = 0.0
    dollars: float | None = None


@dataclass(frozen=True)
class Room:
    """What is left: hours and dollars, inf for no limit; why: the limit that is used up, or ""."""

    hours: float
    dollars: float
    why: str = ""

    def hours_at(self, price: float) -> float:
        """Hours of a machine at this price ($/h)."""
        return min(self.hours, self.dollars / price if price > 0 else float("inf"))


def price_of(attempt: AttemptStatus) -> float | None:
    """$/h of an attempt's machine as agreed at its order; None if it has no price."""
    for known in (attempt.machine, (attempt.order or {}).get("offer")):
        price = (known or {}).get("price")
        if isinstance(price, int | float):
            return float(price)
    return None


def seconds_of(attempt: AttemptStatus, now: float) -> float:
    """Seconds for which the attempt's machine has been paid, or may have been."""
    if attempt.gone is not None and attempt.gone.kind == "refused":
        return 0.0
    began = (attempt.order or {}).get("time") or (attempt.machine or {}).get("started")
    if not isinstance(began, int | float):
        return 0.0
    if attempt.gone is not None:
        end = attempt.gone.time
    elif price_of(attempt) is None and attempt.ended_at is not None:
        end = attempt.ended_at  # nobody asks after a machine that costs nothing
    elif price_of(attempt) is None and attempt.end:
        end = began
    else:
        end = now
    return max(0.0, end - began)


def spent(status: Status, now: float) -> Spent:
    """What the run's machines have taken until `now` (unix s)."""
    hours, dollars = 0.0, None
    for attempt in status.attempts:
        its = seconds_of(attempt, now) / HOUR
        hours += its
        price = price_of(attempt)
        if price is not None:
            dollars = (dollars or 0.0) + price * its
    return Spent(hours, dollars)


def machines(status: Status) -> int:
    """How many machines the run has had, refused orders apart."""
    return sum(1 for a in status.attempts if not (a.gone and a.gone.kind == "refused"))


def room(limits: Limits, status: Status, now: float) -> Room:
    """What the limits leave for the run's next attempts."""
    used = spent(status, now)
    hours = limits.max_hours - used.hours if limits.max_hours else float("inf")
    dollars = limits.max_cost - (used.dollars or 0.0) if limits.max_cost else float("inf")
    why = ""
    if hours <= 0:
        why = f"its {limits.max_hours:g} h of machines are used up"
    elif dollars <= 0:
        why = f"its ${limits.max_cost:.2f} are used up"
    elif limits.max_attempts and machines(status) >= limits.max_attempts:
        why = f"it has had its {limits.max_attempts} machines"
    return Room(max(0.0, hours), max(0.0, dollars), why)
