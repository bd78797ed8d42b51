"""A run's bill on the screen: so far, at its end, and as it was estimated."""

import pytest

from launch.pricing import bill as cost
from launch.pricing.bill import bill
from launch.ui.runs import status_text, verdict
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat, Outcome
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import Status, derive
from tests.runs.memory import MemoryStore

T0, HOUR = 1_000_000.0, 3600.0


class Run:
    """A run on rented machines: an hour at $2/h that was taken away, then one at $1/h."""

    def __init__(self, price: float | None = 2.0) -> None:
        self.store = MemoryStore()
        create_run(self.store, RunRecord("run", "large", {}, 0, T0))
        self.begin(T0, price, 4.0)

    def begin(self, at: float, price: float | None, estimate: float | None) -> Attempt:
        number = raise_attempt(self.store, "run", clock=lambda: at)
        machine = Machine("elsewhere", at, "m", price=price, estimate_hours=estimate)
        notes.record_machine(self.store, "run", number, machine)
        self.attempt = Attempt.claim(self.store, "run", number)
        return self.attempt

    def beat(
        self, at: float, step: int, rate: float | None, training_s: float | None = None
    ) -> None:
        beat = Heartbeat(at, step, 10_000, rate=rate, training_s=training_s)
        notes.write_heartbeat(self.store, "run", self.attempt.number, beat)

    def evict(self, at: float) -> None:
        notes.record_gone(self.store, "run", self.attempt.number, Gone(at, "eviction", "outbid"))

    def at(self, now: float) -> Status:
        return derive(self.store, "run", now)


def test_so_far_and_by_the_end() -> None:
    run = Run()
    run.evict(T0 + HOUR)
    run.begin(T0 + 2 * HOUR, 1.0, 3.0)
    now = T0 + 3 * HOUR
    run.beat(now, 2800, 1.0)  # two hours to go
    made = bill(run.at(now), now)
    assert (made.hours, made.dollars) == (pytest.approx(2.0), pytest.approx(3.0))
    assert made.expected_hours == pytest.approx(4.0)
    assert made.expected_dollars == pytest.approx(5.0)
    # of the first order; the second's is only of what was left
    assert (made.estimated_hours, made.estimated_dollars) == (4.0, 8.0)
    text = status_text(run.at(now))
    assert (
        "  cost         $3.00 so far for 2.0 h of machines, about $5.00 and 4.0 h at its end "
        "(estimated at first: 4.0 h, $8.00)" in text
    )


def test_the_end_is_held_against_the_estimate() -> None:
    run = Run()
    run.attempt.finish("done")
    notes.record_outcome(run.store, "run", 1, Outcome(0, "", T0 + 3 * HOUR, 10_000))
    notes.record_gone(run.store, "run", 1, Gone(T0 + 3.5 * HOUR, "over", "it had ended"))
    text = verdict(run.at(T0 + 9 * HOUR))
    wanted = "; it took 3.5 h of machines and $7.00 (estimated at first: 4.0 h, $8.00)"
    assert text.startswith("run run is done")
    assert text.endswith(wanted)


def test_of_a_killed_attempt_no_more_is_known_than_its_last_heartbeat() -> None:
    run = Run(price=None)
    run.store.clock = lambda: T0 + 2 * HOUR
    run.beat(T0, 100, 1.0)
    run.begin(T0 + 50 * HOUR, 1.0, None)
    now = T0 + 51 * HOUR
    made = bill(run.at(now), now)
    assert (made.hours, made.dollars, made.at_least) == (pytest.approx(3.0), 1.0, True)
    assert made.as_json()["at_least"] is True
    assert cost.line(made).startswith("$1.00 so far for at least 3.0 h of machines")
    assert cost.total(made).startswith("it took at least 3.0 h of machines and $1.00")


def test_less_than_an_hour_is_told_in_minutes() -> None:
    made = cost.Bill(0.5, 0.2, 0.99, 0.4, estimated_hours=1.0, estimated_dollars=0.4)
    told = "$0.20 so far for 30 min of machines, about $0.40 and 59 min at its end"
    assert cost.line(made) == f"{told} (estimated at first: 1.0 h, $0.40)"
    assert cost.total(made).startswith("it took 30 min of machines and $0.20")


def test_a_machine_that_costs_nothing_has_no_bill() -> None:
    run = Run(price=None)
    now = T0 + HOUR
    run.beat(now, 100, 1.0)
    made = bill(run.at(now), now)
    assert (made.dollars, made.expected_dollars, made.estimated_dollars) == (None, None, None)
    assert made.estimated_hours == 4.0
    assert cost.line(made) == ""
    assert "cost" not in status_text(run.at(now))
    bare = MemoryStore()
    create_run(bare, RunRecord("run", "large", {}, 0, T0))
    assert cost.total(bill(derive(bare, "run", now), now)) == ""


def test_without_a_rate_nothing_is_foreseen() -> None:
    run = Run()
    now = T0 + HOUR
    run.beat(now, 100, None)
    made = bill(run.at(now), now)
    assert (made.expected_hours, made.expected_dollars) == (None, None)
    assert cost.line(made).startswith("$2.00 so far for 1.0 h of machines (estimated")


def test_what_evictions_have_cost() -> None:
    """Work behind the last commit until the machine is gone, and the start of the next one."""
    run = Run()
    run.attempt.commit(1000, b"x", None)
    run.store.clock = lambda: T0 + HOUR
    run.beat(T0, 1600, 1.0, HOUR / 2)
    run.evict(T0 + HOUR + 300)
    spent = bill(run.at(T0 + 2 * HOUR), T0 + 2 * HOUR)
    assert (spent.evictions, spent.evicted_hours) == (1, pytest.approx(900 / HOUR))
    run.begin(T0 + 2 * HOUR, 1.0, 3.0)
    now = T0 + 3 * HOUR
    made = bill(run.at(now), now)
    assert made.evicted_hours == pytest.approx(900 / HOUR + 1), "it has not begun yet"
    run.store.clock = lambda: now
    run.beat(T0, 1700, 1.0, HOUR - 600)
    made = bill(run.at(now), now)
    assert made.evicted_hours == pytest.approx((900 + 600) / HOUR)
    assert made.evicted_dollars == pytest.approx(2.0 * 900 / HOUR + 1.0 * 600 / HOUR)
    text = status_text(run.at(now))
    assert "  evictions    1 eviction cost 25 min of machines and $0.67 of that: work" in text
    run.beat(T0, 1700, 1.0, 1e9)  # nothing that a machine says costs more than it was paid
    assert bill(run.at(now), now).evicted_hours == pytest.approx(900 / HOUR)
    run.store.clock = lambda: T0 + 10 * HOUR
    run.beat(T0, 10**9, 1e-9, None)
    assert bill(run.at(now), now).evicted_hours == pytest.approx(900 / HOUR + 1)


@pytest.mark.parametrize("kind", ["over", "failure"])
def test_what_is_no_eviction_costs_none(kind: str) -> None:
    run = Run()
    notes.record_gone(run.store, "run", 1, Gone(T0 + HOUR, kind, "why"))
    assert bill(run.at(T0 + HOUR), T0 + HOUR).evictions == 0
    assert "evictions" not in status_text(run.at(T0 + HOUR))
