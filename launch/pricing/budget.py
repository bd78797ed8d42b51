"""What a run may cost, and what its machines have cost so far.

A machine is paid from its order until it was seen to be gone: the time before it works and
the time until its end is verified are in the sum, so that it is never less than the bill for
the machine itself.

Of a machine that costs nothing nobody may have seen the end, as its process was killed or its
computer went away. Then its last heartbeat gives a lower bound.
"""

from dataclasses import dataclass

from mimir.errors import BadInput
from mimir.runs.attempts import AttemptStatus
from mimir.runs.order import Limits
from mimir.runs.status import Status

HOUR = 3600.0


class UsedUp(BadInput):
    """What a run's limits leave is too little for any machine."""


@dataclass(frozen=True)
class Spent:
    """hours: of machines. dollars: None if no machine had a price. at_least: the hours are a lower
    bound, because the end of some machine was not seen."""

    hours: float = 0.0
    dollars: float | None = None
    at_least: bool = False


@dataclass(frozen=True)
class Remaining:
    """What is left: hours and dollars, inf for no limit; why: the limit that is used up, or ""."""

    hours: float
    dollars: float
    why: str = ""

    def hours_at(self, price: float) -> float:
        """Hours of a machine at this price ($/h)."""
        return min(self.hours, self.dollars / price if price > 0 else float("inf"))


def price_of(attempt: AttemptStatus) -> float | None:
    """$/h of an attempt's machine as agreed at its order; None if it has no price."""
    if attempt.machine is not None and attempt.machine.price is not None:
        return attempt.machine.price
    offer = attempt.order.offer if attempt.order else None
    return offer.price if offer else None


def paid_from(attempt: AttemptStatus) -> float | None:
    """Since when the attempt's machine has been paid, or may have been (unix s); None for none."""
    if attempt.gone is not None and attempt.gone.kind == "refused":
        return None
    if attempt.machine is not None and attempt.machine.queues:
        # One that waits takes nothing.
        return attempt.started.time if attempt.started is not None else None
    if attempt.order is not None:
        return attempt.order.time
    return attempt.machine.started if attempt.machine is not None else None


def seconds_of(attempt: AttemptStatus, now: float) -> float:
    """Seconds for which the attempt's machine has been paid, or may have been; a lower bound if
    `end_unseen`."""
    began = paid_from(attempt)
    if began is None:
        return 0.0
    if attempt.gone is not None:
        end = attempt.gone.time
    elif price_of(attempt) is None and attempt.ended_at is not None:
        end = attempt.ended_at  # nobody asks after a machine that costs nothing
    elif end_unseen(attempt):
        end = min(now, attempt.worked.written) if attempt.worked is not None else began
    else:
        end = now
    return max(0.0, end - began)


def end_unseen(attempt: AttemptStatus) -> bool:
    """Whether it is not known when the attempt's machine went, which costs nothing: the attempt is
    over, and neither its worker nor the launcher wrote when."""
    unseen = attempt.gone is None and attempt.ended_at is None and bool(attempt.end)
    return unseen and price_of(attempt) is None and paid_from(attempt) is not None


def spent(status: Status, now: float) -> Spent:
    """What the run's machines have taken until `now` (unix s)."""
    hours, dollars = 0.0, None
    for attempt in status.attempts:
        its = seconds_of(attempt, now) / HOUR
        hours += its
        price = price_of(attempt)
        if price is not None:
            dollars = (dollars or 0.0) + price * its
    return Spent(hours, dollars, any(map(end_unseen, status.attempts)))


def machines(status: Status) -> int:
    """How many machines the run has had, refused orders apart."""
    return sum(1 for a in status.attempts if not (a.gone and a.gone.kind == "refused"))


def remaining(limits: Limits, status: Status, now: float) -> Remaining:
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
        why = f"it has had its {limits.max_attempts} machines (--max-sessions)"
    return Remaining(max(0.0, hours), max(0.0, dollars), why)
