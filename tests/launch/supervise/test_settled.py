"""Runs that ended for good cost a watcher next to nothing, and nothing else is left out."""

import pytest

from launch.supervise.settled import Settled
from mimir.runs import layout, notes, orders, tombstone
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.record import RunRecord, create_run
from tests.runs.memory import CountingStore

NOW = 10_000.0
MANY = 30


@pytest.fixture
def store() -> CountingStore:
    made = CountingStore()
    made.clock = lambda: NOW
    for number in range(MANY):
        name = f"run{number:02d}"
        create_run(made, RunRecord(name, "smoke", {}, 0, 1000.0))
        raise_attempt(made, name, clock=made.now)
        notes.record_machine(made, name, 1, Machine("runpod", NOW, price=1.0))
        notes.record_gone(made, name, 1, Gone(NOW, "over", "it had ended"))
        end_attempt(made, name, 1, "stopped", "enough")
    return made


def test_a_run_that_ended_is_left_out_until_its_head_changes(store: CountingStore) -> None:
    settled = Settled(store, lambda run: run != "run07")  # which is this computer's own
    others, first = store.count(settled.others)
    assert (others, first) == ([], 1 + 4 * (MANY - 1))
    assert [seen.run for seen in settled.over] == [f"run{n:02d}" for n in range(MANY) if n != 7]
    assert {(seen.over, seen.acted, seen.problem) for seen in settled.over} == {(True, False, "")}
    assert settled.over[0].sentence == "run run00 is stopped: enough"
    assert store.count(settled.others) == ([], 1 + MANY - 1)
    raise_attempt(store, "run03", clock=store.now)
    assert settled.others() == ["run03"]
    assert "run03" not in [seen.run for seen in settled.over]


@pytest.mark.parametrize("oddity", ["a machine may be there", "HEAD is none", "run.json is none"])
def test_what_is_odd_is_looked_at(store: CountingStore, oddity: str) -> None:
    if oddity == "a machine may be there":
        store.delete(layout.gone_key("run05", 1))
    else:
        store.put(f"run05/{oddity.split()[0]}", b"{")
    assert Settled(store, lambda run: True).others() == ["run05"]


def test_who_tells_how_a_run_ended_gets_its_attempts(store: CountingStore) -> None:
    settled = Settled(store, lambda run: True, whole=True)
    settled.others()
    assert [len(seen.status.attempts) for seen in settled.over] == [1] * MANY


@pytest.mark.parametrize("there", ["an order", "a machine", "run.json", "its removal goes on"])
def test_what_was_written_after_a_removal_is_no_run(store: CountingStore, there: str) -> None:
    """A command that was under way leaves an order; it is said once, and no round fails by it."""
    said: list[str] = []
    word = tombstone.DELETING if there == "its removal goes on" else tombstone.OVER
    tombstone.write(store, "gone", word, 1, {}, "")
    notes.record_order(store, "gone", 2, orders.by_hand("runpod", NOW))
    if there == "a machine":
        notes.record_machine(store, "gone", 2, Machine("runpod", NOW, price=1.0))
    elif there == "run.json":
        store.put(layout.record_key("gone"), b"{")
    settled = Settled(store, lambda run: True, say=said.append)
    left_out = there == "an order"
    for _ in range(2):
        assert settled.others() == ([] if left_out else ["gone"])
    assert [line.split(" on ")[0] for line in said] == ["run gone was removed"] * left_out
