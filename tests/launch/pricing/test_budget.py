"""What a run has cost is never reckoned too low, and its limits hold over all its attempts."""

from dataclasses import replace
from typing import Any

import pytest

from launch.pricing.budget import HOUR, Remaining, Spent, price_of, remaining, seconds_of, spent
from mimir.errors import BadInput
from mimir.runs import codec
from mimir.runs.attempts import AttemptStatus, Worked
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Limits, Offer, Order, Plan
from mimir.runs.status import Status

NOW = 100 * HOUR
STATUS = Status(
    run="run", preset="smoke", state="running", reason="", step=0, committed_step=0,
    total_steps=10, epoch=None, rate=None, eta_s=None, loss=None, val=None, silent=False,
    silent_s=None, stop_requested=False, attempt=1, attempts=(), kept=(), best=None, created=1.0,
)  # fmt: skip


def rented(hours: float, price: float | None = 2.0, **more: Any) -> AttemptStatus:
    """An attempt whose machine was ordered so many hours ago and still is there."""
    machine = Machine("fake", NOW - hours * HOUR, price=price)
    order = ordered(hours)
    return replace(AttemptStatus(1, 0, "", order=order, machine=machine), **more)


def ordered(hours: float, price: float | None = None) -> Order:
    offer = None if price is None else Offer("fake", "1", "L4", 24.0, price)
    return Order("fake", Plan(("fake",)), NOW - hours * HOUR, offer)


def gone(hours_ago: float, kind: str = "over") -> Gone:
    return Gone(NOW - hours_ago * HOUR, kind, "why")


def of(*attempts: AttemptStatus) -> Status:
    return replace(STATUS, attempts=attempts)


@pytest.mark.parametrize(
    ("attempt", "hours"),
    [
        (rented(3), 3),
        (rented(3, gone=gone(1)), 2),
        # Its work has ended, but nobody has seen its machine go.
        (rented(3, end="done", exit_code=0, ended_at=NOW - 2 * HOUR), 3),
        (rented(3, end="lost without a word"), 3),
        (rented(3, gone=gone(1, "refused")), 0),
        (rented(3, None, end="done", exit_code=0, ended_at=NOW - 2 * HOUR), 1),
        # It costs nothing, and nobody saw its end: no more is known than its last heartbeat.
        (rented(3, None, end="lost without a word"), 0),
        (rented(3, None, end="lost without a word", worked=Worked(NOW - HOUR, 10)), 2),
        (rented(3, None, end="lost without a word", worked=Worked(NOW + HOUR, 10)), 3),
        (rented(3, None, gone=gone(1), end="broke", worked=Worked(NOW - 2 * HOUR, 10)), 2),
        (rented(3, 2.0, end="lost without a word", worked=Worked(NOW - HOUR, 10)), 3),
        (rented(3, None), 3),
        (rented(-1), 0),
        (AttemptStatus(1, 0, "", machine=Machine("fake", NOW - 4 * HOUR, price=2.0)), 4),
        (AttemptStatus(1, 0, ""), 0),
        # Ordered, with no answer: there may be a machine.
        (AttemptStatus(1, 0, "", order=ordered(1, 2.0)), 1),
    ],
)
def test_a_machine_is_paid_from_its_order_until_it_is_gone(
    attempt: AttemptStatus, hours: float
) -> None:
    assert seconds_of(attempt, NOW) == pytest.approx(hours * HOUR)


def test_a_price_is_the_machines_else_its_offers() -> None:
    order, bare = ordered(1, 3.0), Machine("fake", NOW)
    machine = replace(bare, price=2.5)
    assert price_of(AttemptStatus(1, 0, "", order=order, machine=machine)) == 2.5
    assert price_of(AttemptStatus(1, 0, "", order=order)) == 3.0
    assert price_of(AttemptStatus(1, 0, "", order=ordered(1), machine=bare)) is None
    assert price_of(AttemptStatus(1, 0, "")) is None


def test_all_attempts_are_paid() -> None:
    assert spent(of(), NOW) == Spent(0.0, None)
    assert spent(of(rented(1, None)), NOW) == Spent(1.0, None)
    known = of(rented(5, 2.0, gone=gone(1)), rented(1, None), rented(2, 0.5))
    assert spent(known, NOW) == Spent(7.0, 9.0)


@pytest.mark.parametrize(
    ("attempt", "at_least"),
    [
        (rented(3, None, end="lost without a word", worked=Worked(NOW - HOUR, 10)), True),
        (rented(3, None, end="lost without a word"), True),
        (rented(3, None, end="no machine", gone=gone(1, "refused")), False),
        (rented(3, None, end="broke", gone=gone(1)), False),
        (rented(3, None, end="done", exit_code=0, ended_at=NOW), False),
        (rented(3, None), False),  # at work
        (rented(3, 2.0, end="lost without a word"), False),  # paid until it is seen to be gone
        (AttemptStatus(1, 0, "never began"), False),
    ],
)
def test_hours_are_a_lower_bound_where_nobody_saw_an_end(
    attempt: AttemptStatus, at_least: bool
) -> None:
    assert spent(of(attempt, rented(1, None)), NOW).at_least == at_least


def test_without_limits_there_is_room_for_ever() -> None:
    left = remaining(Limits(), of(rented(50)), NOW)
    assert left == Remaining(float("inf"), float("inf"))
    assert left.hours_at(2.0) == float("inf")


@pytest.mark.parametrize(
    ("limits", "hours", "dollars", "why"),
    [
        (Limits(max_hours=5), 2, float("inf"), ""),
        (Limits(max_cost=10), float("inf"), 4, ""),
        (Limits(max_hours=3), 0, float("inf"), "3 h of machines"),
        (Limits(max_hours=2), 0, float("inf"), "2 h of machines"),
        (Limits(max_cost=6), float("inf"), 0, "$6.00"),
        (Limits(max_attempts=2), float("inf"), float("inf"), ""),
        (Limits(max_attempts=1), float("inf"), float("inf"), "1 machine"),
    ],
)
def test_what_is_left(limits: Limits, hours: float, dollars: float, why: str) -> None:
    refused = rented(2, gone=gone(1, "refused"))  # is neither a machine nor paid
    left = remaining(limits, of(refused, rented(3)), NOW)
    assert (left.hours, left.dollars) == pytest.approx((hours, dollars))
    assert why in left.why
    assert bool(left.why) == bool(why)


def test_the_nearer_limit_counts() -> None:
    left = Remaining(hours=3, dollars=4)
    assert left.hours_at(1.0) == 3
    assert left.hours_at(2.0) == 2
    assert left.hours_at(0.0) == 3


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), True, "5"])
def test_what_is_no_limit(wrong: Any) -> None:
    with pytest.raises(BadInput, match="max-cost is"):
        Limits(max_cost=wrong)


def test_a_wrong_limit_is_called_as_its_option_is() -> None:
    with pytest.raises(BadInput, match=r"^--max-sessions is -3,"):
        Limits(max_attempts=-3)


def test_limits_survive_the_store() -> None:
    limits = Limits(1.5, 2, 3, 4, 5)
    assert codec.typed(Limits, limits.as_json(), "an order") == limits
    assert codec.typed(Limits, {}, "an order") == Limits()
