"""A run is removed from each kind of store, and its name is used again."""

import subprocess
import sys
from pathlib import Path

import pytest

from mimir.errors import BadInput, Corrupt, Fenced
from mimir.runs import layout, notes, orders, remove, tombstone
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.head import Head, find_head
from mimir.runs.notes import Gone
from mimir.runs.record import RunRecord, create_run, read_run
from mimir.runs.status import derive
from mimir.runs.store import Store, open_store
from tests.runs.memory import MemoryStore
from tests.waiting import unless_it_hangs, wait_for

RECORD = RunRecord("r", "smoke", {}, 0, 1.0)


def trained(store: Store) -> Attempt:
    """The worker of a run that has committed a step, and whose machine is gone."""
    create_run(store, RECORD)
    number = raise_attempt(store, "r")
    attempt = Attempt.claim(store, "r", number)
    attempt.commit(number, b"state", None)
    store.put(layout.handover_key("r", number, "0" * 32), b"keys")
    notes.record_gone(store, "r", number, Gone(store.now(), "over", "it had ended"))
    return attempt


def take_away(store: Store) -> int:
    target = remove.target(store, "r")
    remove.mark(store, target, "the test says so")
    remove.bury(store, target, {"2026-11": 1.5})
    return remove.clear(store, "r")


def test_in_each_kind_of_store(store: Store) -> None:
    zombie = trained(store)
    assert take_away(store) == 6  # run.json, HEAD, order, gone, checkpoint, keys
    assert list(store.list("r/")) == list(store.list(layout.HANDOVER)) == []
    made = tombstone.find(store, "r")
    assert made is not None
    assert (made.word, made.attempt, made.spent) == (tombstone.OVER, 1, {"2026-11": 1.5})
    with pytest.raises(BadInput, match="was removed"):
        read_run(store, "r")
    with pytest.raises(BadInput, match="was removed"):
        raise_attempt(store, "r", sleep=lambda _: None)
    with pytest.raises(Fenced, match="the run was removed"):
        zombie.commit(2, b"state", None)
    assert remove.collect(store, "r") == 1
    again = trained(store)
    assert again.number == 2
    assert [each.attempt for each in derive(store, "r", store.now()).attempts] == [2]
    with pytest.raises(Fenced):
        zombie.commit(3, b"state", None)
    assert take_away(store) > 5
    made = tombstone.find(store, "r")
    assert made is not None
    assert (made.attempt, made.spent) == (2, {"2026-11": 3.0})


def test_another_run_than_the_one_that_was_looked_at_stays(memory: MemoryStore) -> None:
    trained(memory)
    target = remove.target(memory, "r")
    take_away(memory)
    create_run(memory, RunRecord("r", "smoke", {"other": 1}, 0, 2.0))
    with pytest.raises(Fenced, match="another one by now"):
        remove.mark(memory, target, "rm")
    head = find_head(memory, "r")
    assert head is not None
    assert head.state == "queued"


def test_keys_of_a_new_run_stay(memory: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one finishes the removal and submits the name, just before keys are deleted."""
    trained(memory)
    target = remove.target(memory, "r")
    remove.mark(memory, target, "rm")
    remove.bury(memory, target, {})
    real = layout.handover_folder

    def meanwhile(run: str) -> str:
        monkeypatch.setattr(layout, "handover_folder", real)
        remove.clear(memory, "r")
        assert trained(memory).number == 2
        return real(run)

    monkeypatch.setattr(layout, "handover_folder", meanwhile)
    with pytest.raises(Fenced, match="somebody else has finished the removal"):
        remove.clear(memory, "r")
    assert list(memory.list(layout.HANDOVER)) == [layout.handover_key("r", 2, "0" * 32)]


def test_a_number_that_a_machine_wrote_is_not_the_last(memory: MemoryStore) -> None:
    trained(memory)
    memory.put(layout.head_key("r"), Head("r", 10**6, nonce="forged").to_bytes())
    take_away(memory)
    made = tombstone.find(memory, "r")
    assert made is not None
    assert made.attempt == 1


def test_a_head_of_a_removed_run_is_nobodys(memory: MemoryStore) -> None:
    """A machine whose keys live on may write HEAD again, and what it names is never loaded."""
    attempt = trained(memory)
    forged = attempt.head.to_bytes()
    take_away(memory)
    memory.put(layout.head_key("r"), forged)
    with pytest.raises(BadInput, match=r"a machine of a removed run has written r/HEAD.* rm r"):
        create_run(memory, RECORD)
    take_away(memory)
    assert create_run(memory, RECORD) == RECORD


def test_an_order_that_was_left_is_passed_over(memory: MemoryStore) -> None:
    """Who resumed the run while it was removed wrote it, and it remembers what is no more."""
    attempt = trained(memory)
    stale = orders.remembering(orders.by_hand("terminal", memory.now()), attempt.head, None)
    take_away(memory)
    notes.record_order(memory, "r", 2, stale)
    create_run(memory, RECORD)
    assert raise_attempt(memory, "r") == 3
    fresh = Attempt.claim(memory, "r", 3)
    assert fresh.load_newest(bytes) is None
    order = notes.read_order(memory, "r", 3)
    assert order is not None
    assert (order.earlier, order.kept) == (2, ())


@pytest.mark.parametrize("body", [b"{", b'{"format":1,"run":"other"}'])
def test_a_damaged_tombstone_stops_everything(memory: MemoryStore, body: bytes) -> None:
    memory.put(layout.tombstone_key("r"), body)
    for act in (lambda: create_run(memory, RECORD), lambda: remove.target(memory, "r")):
        with pytest.raises(Corrupt, match="removed/r"):
            act()


REMOVE = """
import sys
from mimir.runs import remove
from mimir.runs.store import open_store
store = open_store(sys.argv[1])
target = remove.target(store, "r")
if not target.deleting:
    remove.mark(store, target, "rm")
    remove.bury(store, target, {})
remove.clear(store, "r")
"""


@pytest.mark.parametrize("left", [350, 20])
def test_processes_are_killed(tmp_path: Path, left: int) -> None:
    """By SIGKILL, once so many objects are left."""
    store = open_store((tmp_path / "store").as_uri())
    trained(store)
    for number in range(400):
        store.put(f"{layout.attempt_prefix('r', 1)}/log/{number:06d}.txt", b"a line")

    def process() -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", REMOVE, store.url])

    first = process()
    wait_for(lambda: len(list(store.list("r/"))) < left or first.poll() is not None)
    first.kill()
    first.wait()
    made = tombstone.find(store, "r")
    assert made is not None
    if made.word == tombstone.DELETING:
        with pytest.raises(BadInput, match="is being removed"):
            create_run(store, RECORD)
        assert unless_it_hangs(process().wait) == 0
    assert list(store.list("r/")) == []
    assert trained(store).number == 2
