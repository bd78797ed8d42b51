"""How often a spot machine is taken away, what that adds to a run's hours, and what it has cost.

For how often, three things count: what the service publishes of such machines, or else a cautious
guess of one eviction in GUESS hours, because most services publish nothing; the evictions that this
run has had at the same place; and, where the service tells its past prices, how often they rose
above what an order would allow.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launch.contract.offer import Offer
from launch.pricing import budget
from launch.pricing.budget import HOUR
from mimir.runs.attempts import AttemptStatus
from mimir.runs.status import Status

GUESS = 6.0
"""Hours after which a spot machine is taken away where nothing is known: a cautious guess, for
what services publish goes from a few per cent a day to several an hour. What is published counts
as if it had been seen for so many hours, too: what the run sees itself soon weighs more."""
MOST = 60.0
"""Evictions an hour that are counted on at most: on such a machine nothing gets done anyway."""
STEEPEST = 10.0
"""Largest exponent of the formula, so that hours stay numbers; it means the same: never."""


@dataclass(frozen=True)
class Seen:
    """evictions: that a run has had at a place. hours: of its spot machines there."""

    evictions: int = 0
    hours: float = 0.0


Places = Mapping[tuple[str, str], Seen]
"""By (provider, place)."""


@dataclass(frozen=True)
class Evictions:
    """What evictions are expected to do to a run. an_hour: how many. source: how that is known.

    expected: how many until the run's end. lost_h: hours of machines that they cost: each the next
    machine's start and half of the time between two checkpoints.
    """

    an_hour: float
    source: str
    expected: float
    lost_h: float

    def words(self, price: float) -> str:
        """For people; price: $/h of the machine."""
        every = f"one every {1 / self.an_hour:.1f} h: {self.source}"
        return (
            f"about {self.expected:.1f} evictions, which cost {self.lost_h:.1f} h and "
            f"${self.lost_h * price:.2f} of that ({every})"
        )

    def as_json(self, price: float) -> dict[str, Any]:
        return {
            "an_hour": round(self.an_hour, 4), "source": self.source,
            "expected": round(self.expected, 3), "hours": round(self.lost_h, 4),
            "cost": round(self.lost_h * price, 4),
        }  # fmt: skip


def seen(status: Status | None, now: float) -> Places:
    """The evictions of a run's spot machines so far, and how long these were paid."""
    found: dict[tuple[str, str], Seen] = {}
    for attempt in status.attempts if status else ():
        machine, offer = attempt.machine, attempt.order.offer if attempt.order else None
        if machine is None or offer is None or not offer.spot:
            continue
        key = machine.provider, machine.place
        before = found.get(key, Seen())
        evicted = attempt.gone is not None and attempt.gone.kind == "eviction"
        hours = before.hours + budget.seconds_of(attempt, now) / HOUR
        found[key] = Seen(before.evictions + evicted, hours)
    return found


def of(offer: Offer, work_h: float, start_h: float, interval_h: float, had: Places) -> Evictions:
    """What evictions add to so many hours of training on a spot machine.

    Args:
        work_h: of training, without any start. start_h: from an order to the first step.
        interval_h: between two checkpoints.
        had: what the run has seen of each place.
    """
    here = had.get((offer.provider, offer.place), Seen())
    known = 1 / GUESS if offer.evicted is None else offer.evicted
    # The mean of a gamma distribution: what is known counts as GUESS hours that were seen.
    rate = (known * GUESS + here.evictions) / (GUESS + here.hours)
    source = offer.evicted_by
    if offer.evicted is None:
        source = f"a guess, as {source or f'{offer.provider} publishes none'}"
    if offer.outbid is not None:
        rate += offer.outbid
        source += (
            f", and by the prices of the last days {24 * offer.outbid:.1f} a day for a price "
            "above the most that is paid"
        )
    if here.hours:
        source += f"; this run has had {here.evictions} there in {here.hours:.1f} h"
    rate = min(MOST, rate)
    hours = _hours(rate, work_h, start_h, interval_h)
    return Evictions(rate, source, rate * hours, hours - start_h - work_h)


@dataclass(frozen=True)
class Cost:
    """What evictions have cost so far: how many, hours of machines, dollars (None: no prices).

    Of each: the time of the machine behind its last commit, and the start of the next one.
    """

    evictions: int = 0
    hours: float = 0.0
    dollars: float | None = None

    def __add__(self, other: "Cost") -> "Cost":
        priced = [each for each in (self.dollars, other.dollars) if each is not None]
        return Cost(
            self.evictions + other.evictions, self.hours + other.hours,
            sum(priced) if priced else None,
        )  # fmt: skip


def cost(status: Status, now: float) -> Cost:
    """What evictions have cost the run until `now` (unix s).

    By what machines said of their steps, within what they were paid for.
    """
    total = Cost()
    had = [each for each in status.attempts if budget.paid_from(each) is not None]
    for attempt, after in itertools.zip_longest(had, had[1:]):
        if attempt.gone is None or attempt.gone.kind != "eviction":
            continue
        committed = after.from_step if after else None
        committed = status.committed_step if committed is None else committed
        total += _part(attempt, _behind(attempt, attempt.gone.time, committed), now, evictions=1)
        if after is not None:
            total += _part(after, _starting(after), now)
    return total


def _part(attempt: AttemptStatus, seconds: float, now: float, *, evictions: int = 0) -> Cost:
    hours = min(max(0.0, seconds), budget.seconds_of(attempt, now)) / HOUR
    price = budget.price_of(attempt)
    return Cost(evictions, hours, None if price is None else price * hours)


def _behind(attempt: AttemptStatus, gone: float, committed: int) -> float:
    """Seconds of the machine behind its last commit, inf if it gave no sign."""
    last = attempt.worked
    if last is None:
        return math.inf
    again = max(0, last.step - committed)
    return max(0.0, gone - last.written) + (again / last.rate if last.rate else 0.0)


def _starting(attempt: AttemptStatus) -> float:
    """Seconds from the order to the first step, inf if none is known to be done."""
    began, last = budget.paid_from(attempt), attempt.worked
    if began is None or last is None or last.training_s is None:
        return math.inf
    return last.written - last.training_s - began


def _hours(rate: float, work: float, start: float, interval: float) -> float:
    """Hours of machines for so many hours of work under evictions that come at random.

    exp(r s) (exp(r t) - 1) / (r t) for each hour of work, with r evictions an hour, a start of s
    and t between checkpoints (Daly 2006, "A higher order estimate of the optimum checkpoint
    interval for restart dumps", equation 13, with checkpoints that cost training nothing).
    """
    at = min(STEEPEST, rate * interval)
    again = math.exp(min(STEEPEST, rate * start)) * (math.expm1(at) / at if at > 0 else 1.0)
    return start + work * again
