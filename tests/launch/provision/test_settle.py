"""Machines that ended while nobody watched: until when they count, and what is written down."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from launch.contract import deadlines
from launch.contract.cloud import Instance, State
from launch.contract.errors import AuthFailed, ProviderError
from launch.pricing import evictions
from launch.pricing.budget import HOUR
from launch.providers import registry
from launch.provision import ledger, settle
from mimir.runs import layout, notes
from mimir.runs.attempts import AttemptStatus
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Unended
from mimir.runs.order import Limits
from mimir.runs.status import derive
from tests.launch.paper import START, Desk, named, offer

DAYS = 25 * 24 * HOUR
LAST = deadlines.SELF_TERMINATE_WITHIN


@pytest.fixture(autouse=True)
def _paper(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "get", {"runpod": desk.provider}.__getitem__)


def begun(desk: Desk, *, ends_itself: bool = True) -> None:
    """Attempt 1 is ordered at $0.50/h for at most 20 h, and works for half an hour."""
    desk.begin(deadline=START + 20 * HOUR)
    desk.cloud.make(offer(), named("run", 1))
    made = Machine(
        "runpod", START, "i1", price=0.5, deadline=START + 20 * HOUR, ends_itself=ends_itself
    )
    notes.record_machine(desk.store, "run", 1, made)
    desk.clock.now += HOUR / 2
    desk.work(1)


def ended(desk: Desk, code: int = 0, cause: str = "") -> None:
    """Its worker ended after an hour."""
    begun(desk)
    desk.clock.now = START + HOUR
    desk.end(1, code, cause, "so it was")


def shut_down(desk: Desk) -> None:
    """Its service says since when it was off: an hour and a half after its order."""
    begun(desk, ends_itself=False)
    desk.end(1, 0, "", "so it was")
    off = Instance("i1", "", State.GONE, "deleted", taken=False, stopped=START + 1.5 * HOUR)
    desk.cloud.get = lambda id: off  # type: ignore[method-assign]


def off(desk: Desk) -> None:
    """Its disk is still there, which is deleted: until then it would count as if it worked."""
    shut_down(desk)
    there = [Instance("i1", named("run", 1), State.BROKEN, "off",
                      stopped=START + 1.5 * HOUR)]  # fmt: skip
    desk.cloud.get = lambda id: there[0] if there else None  # type: ignore[method-assign]
    desk.cloud.terminate = lambda id: there.clear()  # type: ignore[method-assign]


def stopped(desk: Desk) -> None:
    ended(desk, 75, "stop")


def crashed(desk: Desk) -> None:
    ended(desk, 1)


def evicted(desk: Desk) -> None:
    ended(desk, 75, "signal")


def lies(desk: Desk) -> None:
    """Its clock, and so its outcome, says that it ended before it was ordered."""
    begun(desk)
    desk.clock.now = START + HOUR
    said = notes.Outcome(0, "so it was", 1.0, 0)
    assert notes.record_outcome(desk.store, "run", 1, said)


def billed(desk: Desk) -> None:
    """It called itself done after an hour, and was there for five."""
    ended(desk)
    desk.cloud.bill = {"i1": 2.5}


def billed_less(desk: Desk) -> None:
    ended(desk)
    desk.cloud.bill = {"i1": 0.1}


def without_right(desk: Desk) -> None:
    ended(desk)
    desk.cloud.bill = AuthFailed("this key reads no bills")


def goes_on_giving_signs(desk: Desk) -> None:
    ended(desk)
    desk.clock.now = START + 3 * HOUR
    desk.beat(1)


def cannot_end_itself(desk: Desk) -> None:
    begun(desk, ends_itself=False)
    desk.end(1, 0, "", "so it was")


def could_not_end_itself(desk: Desk) -> None:
    ended(desk)
    notes.record_unended(desk.store, "run", 1, Unended(START + HOUR, "no key"))


def silent(desk: Desk) -> None:
    """It was taken away after half an hour, and could not say so."""
    begun(desk)


def never_began(desk: Desk) -> None:
    begun(desk)
    desk.store.delete(layout.heartbeat_key("run", 1))


def replaced(desk: Desk) -> None:
    begun(desk)
    raise_attempt(desk.store, "run")


def damaged(desk: Desk) -> None:
    begun(desk)
    desk.store.put(layout.outcome_key("run", 1), b"{")


def attempt(desk: Desk, number: int = 1) -> AttemptStatus:
    return derive(desk.store, "run", desk.clock()).attempts[number - 1]


def settled(desk: Desk) -> tuple[Gone | None, str]:
    newest = derive(desk.store, "run", desk.clock()).attempt
    return settle.settle(desk.store, "run", attempt(desk), newest, desk.clock())


REPLACED = "a later attempt replaced it"


@pytest.mark.parametrize(
    ("make", "hours", "kind", "why"),
    [
        (ended, 1 + LAST / HOUR, "over", "so it was"),
        (stopped, 1 + LAST / HOUR, "over", "so it was"),
        (crashed, 1 + LAST / HOUR, "failure", "so it was"),
        (evicted, 1 + LAST / HOUR, "eviction", "so it was"),
        (lies, 1 + LAST / HOUR, "over", "so it was"),
        (billed, 5.0, "over", "so it was"),
        (billed_less, 1 + LAST / HOUR, "over", "so it was"),
        (without_right, 1 + LAST / HOUR, "over", "so it was"),
        (goes_on_giving_signs, 3 + LAST / HOUR, "over", "so it was"),
        (cannot_end_itself, DAYS / HOUR, "over", "so it was"),
        (shut_down, 1.5, "over", "so it was"),
        (off, 1.5, "over", "so it was"),
        (could_not_end_itself, DAYS / HOUR, "over", "so it was"),
        (silent, 0.5 + LAST / HOUR, "eviction", "its machine is gone"),
        (never_began, 20.5, "failure", "its machine is gone, and it had not begun"),
        (replaced, 0.5 + LAST / HOUR, "over", REPLACED),
        (damaged, 0.5 + LAST / HOUR, "eviction", "its machine is gone"),
    ],
)
def test_until_when_it_counts(
    desk: Desk, make: Callable[[Desk], None], hours: float, kind: str, why: str
) -> None:
    make(desk)
    desk.left = ["run 1"]
    desk.clock.now = START + DAYS
    desk.cloud.machines.clear()
    gone, doubt = settled(desk)
    assert gone == desk.gone(1)
    assert (gone.kind, gone.why, doubt, desk.left) == (kind, why, "", [])
    assert (gone.time - START) / HOUR == pytest.approx(hours)


@pytest.mark.parametrize("make", [shut_down, off, silent])
def test_its_service_is_asked_once(
    desk: Desk, make: Callable[[Desk], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question is a request or two; how a machine is ended is the provider's."""
    make(desk)
    if make is silent:
        desk.cloud.machines.clear()
    desk.clock.now = START + DAYS
    asked, inspect = [], desk.provider.inspect

    def once(machine: Machine) -> Instance | None:
        asked.append(machine.id)
        return inspect(machine)

    monkeypatch.setattr(desk.provider, "inspect", once)
    gone, _ = settled(desk)
    assert gone is not None
    assert asked == ["i1"]


def starting(desk: Desk) -> None:
    begun(desk)
    desk.store.delete(layout.heartbeat_key("run", 1))
    desk.clock.now = START + deadlines.BEGIN_WITHIN


def just_ordered(desk: Desk) -> None:
    ended(desk)
    desk.clock.now = START + deadlines.LISTED_WITHIN - 1


def unanswered(desk: Desk) -> None:
    desk.begin()
    desk.clock.now += HOUR


def there(desk: Desk) -> None:
    ended(desk)
    desk.cloud.becomes("i1", State.BROKEN)  # it ended, and what is left of it may cost


def declared_over(desk: Desk) -> None:
    """HEAD says so, and its worker still gives signs."""
    begun(desk)
    end_attempt(desk.store, "run", 1, "stopped", "asked to stop")


def keyless(desk: Desk) -> None:
    ended(desk)
    desk.cloud.get_fails = [AuthFailed("no key of runpod")]


def away(desk: Desk) -> None:
    ended(desk)
    desk.cloud.get_fails = [ProviderError("502")]


def bill_away(desk: Desk) -> None:
    ended(desk)
    desk.cloud.machines.clear()
    desk.cloud.bill = ProviderError("502")


@pytest.mark.parametrize(
    ("make", "doubt"),
    [
        (begun, ""),  # it works, whatever the service says now
        (starting, ""),
        (just_ordered, ""),
        (unanswered, settle.NEVER_ANSWERED),
        (there, settle.STILL_THERE),
        (declared_over, settle.STILL_THERE),
        (keyless, "its machine can neither be seen nor ended from here: no key of runpod"),
        (away, settle.NO_ANSWER),
        (bill_away, "its machine is gone, and its bill cannot be read: 502"),
    ],
)
def test_what_is_not_seen_to_be_gone_counts_on(
    desk: Desk, make: Callable[[Desk], None], doubt: str
) -> None:
    make(desk)
    if not doubt:
        desk.cloud.machines.clear()
    assert settled(desk) == (None, doubt)
    assert notes.read_gone(desk.store, "run", 1) is None
    told = ledger.read(desk.store, desk.clock()).unsettled
    assert [run for run, _ in told] == (["run"] if doubt else [])


def test_a_machine_that_ended_itself_does_not_use_up_the_month(desk: Desk) -> None:
    ended(desk)
    end_attempt(desk.store, "run", 1, "stopped", "")
    desk.clock.now = START + DAYS
    limits = Limits(max_cost_store=100.0)
    desk.cloud.get_fails = [AuthFailed("no key of runpod")]
    left, why = ledger.read(desk.store, desk.clock()).left(limits)
    assert left == 0.0
    assert "the $100.00 for the store are used up or promised ($300.00), with machines that" in why
    assert "attempt 1 of run run: its machine can neither be seen" in why
    assert "`python -m launch watch run --once`" in why
    desk.cloud.machines.clear()
    left, why = ledger.read(desk.store, desk.clock()).left(limits)
    assert (left, why) == (pytest.approx(100 - 0.5 * (1 + LAST / HOUR)), "")


def test_the_machine_that_is_replaced_counts_until_now(desk: Desk) -> None:
    crashed(desk)
    found = ledger.read(desk.store, desk.clock())
    assert found.total == pytest.approx(0.5 * 20)  # it is there, and may be until its deadline
    assert ledger.read(desk.store, desk.clock(), "run").total == pytest.approx(0.5)
    assert ledger.read(desk.store, desk.clock(), "other").total == pytest.approx(0.5 * 20)


def test_a_run_is_settled_once(desk: Desk) -> None:
    crashed(desk)
    desk.clock.now = START + DAYS
    desk.cloud.machines.clear()
    assert settle.run(desk.store, derive(desk.store, "run", desk.clock()))
    status = derive(desk.store, "run", desk.clock())
    assert not settle.run(desk.store, replace(status, at=desk.clock()))


@pytest.mark.parametrize("by", ["the ledger", "a run's settling"])
def test_what_an_eviction_cost_does_not_depend_on_who_wrote_it_down(desk: Desk, by: str) -> None:
    """The ledger reads of an attempt what money is counted by, and not how far it had come."""
    silent(desk)
    desk.cloud.machines.clear()
    desk.clock.now = START + DAYS
    before = attempt(desk)
    if by == "the ledger":
        ledger.read(desk.store, desk.clock())
    else:
        assert settle.run(desk.store, derive(desk.store, "run", desk.clock()))
    raise_attempt(desk.store, "run")
    status = derive(desk.store, "run", desk.clock())
    after = status.attempts[0]
    assert after.gone is not None
    assert (after.gone.kind, after.worked) == ("eviction", before.worked)
    known = replace(status, attempts=(replace(before, gone=after.gone), *status.attempts[1:]))
    cost = evictions.cost(status, desk.clock())
    assert cost == evictions.cost(known, desk.clock())
    assert cost.hours < LAST / HOUR + 0.01, "what it had done before counts for nothing"
