"""Attempts that are over for good are read once, and what was written down is only a copy."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mimir.runs import attempts, layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Outcome
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive
from mimir.runs.store import DOCUMENT
from tests.runs.memory import CountingStore

NOW = 1e6
MANY = 40


@pytest.fixture
def store() -> CountingStore:
    """A run whose machines were taken away, one after another, long ago."""
    made = CountingStore()
    made.clock = lambda: NOW
    create_run(made, RunRecord("demo", "smoke", {}, 0, 1000.0))
    for number in range(1, MANY + 1):
        raise_attempt(made, "demo", clock=made.now)
        machine = Machine("runpod", NOW, f"i{number}", price=1.5, details={"disk": 20})
        notes.record_machine(made, "demo", number, machine)
        if number < MANY:
            notes.record_outcome(made, "demo", number, Outcome(75, "taken away", NOW, number))
            notes.record_gone(made, "demo", number, Gone(NOW, "eviction", "taken away"))
    made.put(layout.outcome_key("demo", 3), b"{")
    return made


def test_they_are_read_once(store: CountingStore) -> None:
    later = NOW + attempts.SETTLED + 1
    first, took = store.count(lambda: derive(store, "demo", later))
    assert took > 5 * MANY
    again, took = store.count(lambda: derive(store, "demo", later))
    assert took < 20, store.requests[-took:]
    assert again.as_json() == first.as_json()
    assert again.attempts[2].damage
    assert again.attempts[0].machine == Machine(
        "runpod", NOW, "i1", price=1.5, details={"disk": 20}
    )


def test_an_end_tells_all_of_its_attempt(store: CountingStore) -> None:
    """As a launcher writes it. What a worker wrote afterwards, and what is spoilt, is read."""
    plain = derive(store, "demo", NOW + 1)
    for each in plain.attempts[:-1]:
        store.delete(layout.gone_key("demo", each.attempt))
        assert each.gone is not None
        if each.attempt == 7:  # it was ended before its worker's last word came
            each = replace(each, exit_code=None, ended_at=None, cause="", end="")
        attempts.record_gone(store, "demo", each, each.gone)
    spoilt = store.objects[layout.gone_key("demo", 9)].data.replace(b'"attempt":9', b'"attempt":-9')
    store.put(layout.gone_key("demo", 9), spoilt)
    store.delete(layout.outcome_key("demo", 5))  # which is in its end
    told, took = store.count(lambda: derive(store, "demo", NOW + 1))
    assert told == plain
    # Each end, the newest attempt and the run, one outcome, all of the damaged and the spoilt one.
    assert took == (MANY - 1) + 13 + 1 + 2 * 5, store.requests[-took:]


def test_what_may_still_change_is_read_again(store: CountingStore) -> None:
    """Just now seen to be gone, or not at all: another computer may write of it yet."""
    derive(store, "demo", NOW + 1)
    assert layout.ended_key("demo") not in store.objects
    store.delete(layout.gone_key("demo", 5))
    later = NOW + attempts.SETTLED + 1
    assert derive(store, "demo", later).attempts[4].gone is None
    notes.record_gone(store, "demo", 5, Gone(NOW + 7, "over", "seen at last"))
    found, took = store.count(lambda: derive(store, "demo", later))
    assert found.attempts[4].gone == Gone(NOW + 7, "over", "seen at last")
    assert took < 25


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"{",
        lambda data: data.replace(b'"format":1', b'"format":9'),
        lambda data: b'{"format":1}',
        lambda data: b'{"attempts":[7],"format":1}',
        lambda data: data.replace(b'"attempt":7', b'"attempt":-7'),
        lambda data: data.replace(b'"provider":"runpod"', b'"provider":5'),
        lambda data: b" " * (DOCUMENT + 1),
    ],
)  # fmt: skip
def test_a_lost_or_spoilt_copy_is_made_again(
    store: CountingStore, spoil: Callable[[bytes], bytes]
) -> None:
    later = NOW + attempts.SETTLED + 1
    whole = derive(store, "demo", later)
    key = layout.ended_key("demo")
    good = store.objects[key].data
    store.put(key, spoil(good))
    assert derive(store, "demo", later) == whole
    assert store.objects[key].data == good


def test_what_has_no_room_is_read_each_time(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = NOW + attempts.SETTLED + 1
    monkeypatch.setattr(attempts, "DOCUMENT", 8_000)
    whole = derive(store, "demo", later)
    assert len(store.objects[layout.ended_key("demo")].data) < 8_000
    assert [each.attempt for each in derive(store, "demo", later).attempts] == [
        each.attempt for each in whole.attempts
    ]
