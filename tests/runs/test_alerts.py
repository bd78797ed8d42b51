"""What happened to a run, from the launcher's notes and from what its machines tell."""

import json
from typing import Any

import pytest

from mimir.errors import Corrupt
from mimir.runs import alerts, layout, notes, orders
from mimir.runs.alerts import Alert, Event
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Heartbeat, Outcome, StopRequest, Unended
from mimir.runs.order import Offer, Order, Plan
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive
from tests.runs.memory import CountingStore

NOW = 10_000.0


@pytest.fixture
def store() -> CountingStore:
    made = CountingStore()
    made.clock = lambda: NOW
    create_run(made, RunRecord("run", "smoke", {}, 0, 1000.0))
    return made


def ordered(store: CountingStore, time: float, **more: Any) -> int:
    offer = Offer("cloud", "1", "RTX 4090", 24.0, 0.5)
    order = Order("cloud", Plan(("cloud",)), time, offer, **more)
    number = raise_attempt(store, "run", order, clock=lambda: time, sleep=lambda s: None)
    notes.record_machine(store, "run", number, Machine("cloud", time, price=0.5))
    return number


def told(store: CountingStore, **wanted: Any) -> list[Alert]:
    return alerts.of_run(store, derive(store, "run", NOW), **wanted)


def brief(found: list[Alert]) -> list[tuple[int, float, str, str]]:
    return [(each.attempt, each.time, each.level, each.kind) for each in found]


def ended(store: CountingStore, attempt: int, time: float, outcome: Outcome) -> None:
    store.clock = lambda: time
    notes.record_outcome(store, "run", attempt, outcome)
    store.clock = lambda: NOW


def test_an_attempt_of_which_nobody_saw_the_end(store: CountingStore) -> None:
    """Its process was killed and the run resumed: that it was lost is told, also afterwards."""
    ordered(store, 2000.0)
    Attempt.claim(store, "run", 1).commit(10, b"x", None)
    store.clock = lambda: 2500.0
    notes.write_heartbeat(store, "run", 1, Heartbeat(2500.0, 10, 20))
    store.clock = lambda: NOW
    ordered(store, 3000.0)
    ordered(store, 4000.0)
    assert brief(told(store))[:4] == [
        (1, 2000.0, "info", "ordered"), (1, 2500.0, "warning", "lost"),
        (2, 3000.0, "info", "ordered"), (2, 3000.0, "warning", "lost"),
    ]  # fmt: skip
    assert [each.text for each in told(store) if each.kind == "lost"] == [
        "lost without a word: this is its last sign", "never began: there is no sign of it",
    ]  # fmt: skip


def test_a_run_with_an_eviction_and_an_end(store: CountingStore) -> None:
    ordered(store, 2000.0)
    Attempt.claim(store, "run", 1).commit(10, b"x", None)
    warned = Event(2500.0, "warning", "gpu-idle", "the GPU is busy for only 10% of the time")
    alerts.write_events(store, "run", 1, (warned,))
    notes.record_gone(store, "run", 1, Gone(3000.0, "eviction", "taken away"))
    ordered(store, 3100.0)
    attempt = Attempt.claim(store, "run", 2)
    attempt.commit(20, b"x", None)
    attempt.finish("done")
    ended(store, 2, 5000.0, Outcome(0, "finished", 5000.0, 20))
    notes.record_gone(store, "run", 2, Gone(5100.0, "over", "it had ended"))
    assert brief(told(store)) == [
        (1, 2000.0, "info", "ordered"), (1, 2500.0, "warning", "gpu-idle"),
        (1, 3000.0, "warning", "gone"), (2, 3100.0, "info", "ordered"),
        (2, 5000.0, "info", "ended"), (0, 5000.0, "info", "done"), (2, 5100.0, "info", "gone"),
    ]  # fmt: skip
    assert {each.kind for each in told(store) if each.by == "machine"} == {"gpu-idle"}
    assert told(store)[0].text == "ordered from cloud: RTX 4090 for $0.50/h"
    assert [each.time for each in told(store, level="warning")] == [2500.0, 3000.0]
    assert told(store, level="error") == []
    assert [each.time for each in told(store, since=5000.0)] == [5000.0, 5000.0, 5100.0]


def test_what_is_long_over_is_not_read(store: CountingStore) -> None:
    for number in range(1, 6):
        ordered(store, 1000.0 * number)
        Attempt.claim(store, "run", number)
        notes.record_gone(store, "run", number, Gone(1000.0 * number + 500, "failure", "it broke"))
    status = derive(store, "run", NOW)
    store.requests.clear()
    found = alerts.of_run(store, status, since=4200.0)
    assert brief(found) == [(4, 4500.0, "error", "gone"), (5, 5000.0, "info", "ordered"),
                            (5, 5500.0, "error", "gone")]  # fmt: skip
    assert len(store.requests) == 2


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome(0, "finished", 1.0, 5), "info"),
        (Outcome(75, "asked to stop", 1.0, 5, "stop"), "info"),
        (Outcome(75, "the deadline has come", 1.0, 5, "deadline"), "warning"),
        (Outcome(75, "SIGTERM", 1.0, 5, "signal"), "warning"),
        (Outcome(76, "fenced", 1.0, 5), "warning"), (Outcome(77, "NaN", 1.0, 5), "error"),
        (Outcome(78, "no such setting", 1.0, 5), "error"), (Outcome(1, "crashed", 1.0, 5), "error"),
    ],
)  # fmt: skip
def test_how_urgent_an_end_is(store: CountingStore, outcome: Outcome, level: str) -> None:
    ordered(store, 2000.0)
    Attempt.claim(store, "run", 1)
    ended(store, 1, 4000.0, outcome)
    (end,) = [each for each in told(store) if each.kind == "ended"]
    assert (end.level, end.time, end.text) == (level, 4000.0, outcome.reason)


def test_what_is_still_so(store: CountingStore) -> None:
    ordered(store, 2000.0)
    Attempt.claim(store, "run", 1)
    store.clock = lambda: 4000.0
    notes.write_heartbeat(store, "run", 1, Heartbeat(0.0, 1, 10))
    store.clock = lambda: NOW
    assert brief(told(store))[1:] == [(1, 4000.0, "warning", "silent")]
    ended(store, 1, 5000.0, Outcome(75, "the deadline has come", 1.0, 5, "deadline"))
    notes.record_unended(store, "run", 1, Unended(5000.0, "the service refused"))
    (alone,) = told(store, level="error")
    assert (alone.kind, alone.time) == ("unended", 5000.0)
    assert alone.text.endswith("may still be paid: the service refused")


@pytest.mark.parametrize(("asked", "level"), [(True, "info"), (False, "warning")])
def test_a_run_that_was_stopped(store: CountingStore, asked: bool, level: str) -> None:
    ordered(store, 2000.0)
    if asked:
        orders.request_stop(store, "run", StopRequest(3000.0))
    end_attempt(store, "run", 1, "stopped", "its dollars are used up")
    (stopped,) = [each for each in told(store) if each.kind == "stopped"]
    assert (stopped.level, stopped.text) == (
        level, "the run is stopped at step 0: its dollars are used up",
    )  # fmt: skip


def test_hours_without_a_machine_are_one_line(store: CountingStore) -> None:
    for number in range(1, 8):
        raise_attempt(store, "run", Order("cloud", Plan(("cloud",)), 2000.0 + number),
                      clock=store.now, sleep=lambda s: None)  # fmt: skip
        notes.record_gone(store, "run", number, Gone(2000.5 + number, "refused", "no capacity"))
    raise_attempt(
        store, "run", Order("cloud", Plan(("cloud",)), 6000.0, refused=((1, 7),)),
        clock=store.now, sleep=lambda s: None,
    )  # fmt: skip
    found = told(store)
    assert brief(found) == [(7, 6000.0, "warning", "refused"), (8, 6000.0, "info", "ordered")]
    assert found[0].text == "no machine was available (attempts 1 to 7)"


@pytest.mark.parametrize(("claimed", "shown"), [(1.0, 2000.0), (9e9, 9000.0), (3000.0, 3000.0)])
def test_a_machines_times_lie_within_its_attempt(
    store: CountingStore, claimed: float, shown: float
) -> None:
    ordered(store, 2000.0)
    store.clock = lambda: 9000.0
    alerts.write_events(store, "run", 1, (Event(claimed, "error", "disk", "it is full"),))
    store.clock = lambda: NOW
    assert brief(told(store, level="error")) == [(1, shown, "error", "disk")]


@pytest.mark.parametrize(
    "body",
    [
        {"events": [{"time": "x", "level": "info", "kind": "disk", "text": "b"}]},
        {"events": [{"time": 1, "level": "fatal", "kind": "disk", "text": "b"}]},
        {"events": [{"time": 1, "level": "info", "kind": "disk", "text": "b" * 301}]},
        {"events": [{"time": 1, "level": "info", "kind": "disk", "text": "b"}] * 201},
        {"events": [{"time": 1e12, "level": "info", "kind": "disk", "text": "b"}]},
        {"events": [{"time": 1, "level": "info", "kind": "gone", "text": "b"}]},
        {"events": [{"time": 1, "level": "info", "kind": "done", "text": "b"}]},
        {"events": None}, {}, {"format": 2, "events": []},
    ],
)  # fmt: skip
def test_what_is_no_such_document_is_one_warning(
    store: CountingStore, body: dict[str, Any]
) -> None:
    ordered(store, 2000.0)
    store.put(layout.alerts_key("run", 1), json.dumps({"format": 1, **body}).encode())
    with pytest.raises(Corrupt):
        alerts.read_events(store, "run", 1)
    assert brief(told(store))[1:] == [(1, NOW, "warning", "damaged")]


def test_a_sentence_has_room() -> None:
    assert alerts.shortened("one\n two") == "one two"
    assert len(alerts.shortened("x" * 1000)) == 300
