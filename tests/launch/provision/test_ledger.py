"""What all runs of a store have cost, by the launcher's objects."""

import calendar

import pytest

from launch.pricing.budget import HOUR
from launch.provision import ledger
from mimir.runs import layout, notes
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Limits, Order, Plan
from tests.launch.paper import offer
from tests.runs.memory import MemoryStore

JUNE = float(calendar.timegm((2027, 6, 1, 0, 0, 0)))
NOW = JUNE + 10 * HOUR


def order(
    store: MemoryStore, run: str, number: int, began: float, price: float | None = 1.0,
    gone: Gone | None = None, deadline: float = 0.0, machine: float | None = None,
) -> None:  # fmt: skip
    """began: hours after NOW. machine: $/h of its record, None for no record."""
    at = NOW + HOUR * began
    offered = None if price is None else offer(price)
    made = Order("runpod", Plan(("runpod",)), at, offered, NOW + HOUR * deadline if deadline else 0)
    notes.record_order(store, run, number, made)
    if machine is not None:
        notes.record_machine(store, run, number, Machine("runpod", at, "i1", price=machine))
    if gone is not None:
        notes.record_gone(store, run, number, gone)


def ended(hours: float, kind: str = "over") -> Gone:
    return Gone(NOW + HOUR * hours, kind, "why")


def test_every_machine_counts_once() -> None:
    store = MemoryStore()
    order(store, "a", 1, -4, gone=ended(-2))  # 2 h, $2
    order(store, "a", 2, -2, gone=ended(-1, "refused"))  # there never was one
    order(store, "a", 3, -2, 1.0, ended(-1, "failure"), machine=1.5)  # its own price
    order(store, "b", 1, -3)  # nobody knows that it is gone, 3 h
    order(store, "b", 2, -1, None)  # costs nothing
    order(store, "c", 1, -1, 2.0, deadline=4)  # 1 h, and allowed 4 more
    order(store, "c", 2, -9, 2.0, deadline=-6)  # long past its deadline, and not seen to be gone
    order(store, "d", 1, -100, gone=ended(-99))  # in May
    order(store, "e", 1, -11, gone=ended(-9))  # half of it in May
    store.put("_keys/x/a0001-0.json", b"{}")
    store.put("lost+found/x", b"x")
    found = ledger.read(store, NOW)
    by_run = {"a": 2 + 1.5, "b": 3, "c": 2 * 5 + 2 * 9, "d": 1, "e": 2}
    assert found.total == pytest.approx(sum(by_run.values()))
    assert found.month == pytest.approx(sum(by_run.values()) - 1 - 1)
    assert found.unread == ()


def test_a_run_that_cannot_be_read_is_named_and_hides_no_other() -> None:
    store = MemoryStore()
    order(store, "a", 1, -2)
    order(store, "b", 1, -2)
    store.put(layout.order_key("b", 1), b"{")
    for name in ("b", "c"):
        store.put(layout.tombstone_key(name), b"{")
    found = ledger.read(store, NOW)
    assert (found.total, found.unread) == (pytest.approx(2.0), ("b", "c"))


@pytest.mark.parametrize("then", [JUNE, JUNE + 1, JUNE + 30 * 24 * HOUR - 1])
def test_a_month_is_the_calendars(then: float) -> None:
    assert ledger.month_began(then) == JUNE


def test_the_tighter_budget_counts() -> None:
    spent = ledger.Ledger(3.0, 8.0)
    assert spent.left(Limits()) == (float("inf"), "")
    assert spent.left(Limits(max_cost_month=5, max_cost_store=9)) == (1.0, "")
    assert spent.left(Limits(max_cost_month=5, max_cost_store=90)) == (2.0, "")
    assert not ledger.needed(Limits(max_cost=5.0))
    assert ledger.needed(Limits(max_cost_store=5.0))
