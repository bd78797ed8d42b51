"""Attempts, commits, retention and collection."""

from dataclasses import replace

import pytest

from mimir.errors import BadInput, Corrupt, Fenced, StoreError
from mimir.runs import layout, notes
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.collect import collect
from mimir.runs.commit import Attempt
from mimir.runs.head import Kept
from mimir.runs.retention import retain
from mimir.runs.store import Store
from tests.runs.ledger import CONTENT, begun, claimed, head_of
from tests.runs.memory import MemoryStore


def test_a_run_from_start_to_end(store: Store) -> None:
    first = claimed(begun(store))
    assert (first.head.attempt, first.head.state, first.ended) == (1, "running", "")
    assert first.load_newest(bytes) is None
    kept = first.commit(10, CONTENT, 0.5)
    assert kept.key.startswith("r/a0001/s00000010-")
    assert head_of(store) == first.head
    second = claimed(store)
    assert second.head.lineage == ((1, 0), (2, 10))
    assert second.load_newest(bytes) == (kept, CONTENT)
    second.commit(20, memoryview(CONTENT), None)
    model = second.put_model("model.safetensors", b"weights")
    assert second.finish("done", model=model).state == "done"
    assert head_of(store).model == model
    assert store.get(model.key, size=model.size, sha256=model.sha256) == b"weights"


def test_an_older_attempt_is_fenced(run: MemoryStore) -> None:
    old = claimed(run)
    old.commit(10, CONTENT, None)
    new = raise_attempt(run, "r")
    for act in (
        lambda: old.commit(20, CONTENT, None),
        lambda: old.finish("done"),
        lambda: old.confirm(),
        lambda: Attempt.claim(run, "r", 1),
    ):
        with pytest.raises(Fenced, match=rf"attempt {new}|queued"):
            act()
    head = head_of(run)
    assert (head.attempt, head.state, head.step) == (2, "queued", 10)


def test_a_restarted_process_fences_its_predecessor(run: MemoryStore) -> None:
    first = claimed(run)
    first.commit(10, CONTENT, None)
    again = Attempt.claim(run, "r", 1)
    with pytest.raises(Fenced):
        first.commit(20, CONTENT, None)
    with pytest.raises(Fenced):
        first.confirm()
    again.confirm()
    again.commit(20, CONTENT, None)
    assert again.head.lineage == ((1, 0),)


def test_an_attempt_that_was_never_ordered_is_refused(run: MemoryStore) -> None:
    waited: list[float] = []
    with pytest.raises(StoreError, match=r"shows attempt 0, older than attempt 3.*never begun"):
        Attempt.claim(run, "r", 3, sleep=waited.append)
    assert sum(waited) > 60  # as long as a network file system may show an old state of the folder
    with pytest.raises(BadInput, match="there is no x/HEAD"):
        Attempt.claim(run, "x", 1)
    with pytest.raises(BadInput, match="there is no x/HEAD"):
        raise_attempt(run, "x")


def test_a_last_commit_of_the_old_attempt_does_not_stop_a_claim(run, monkeypatch) -> None:
    old = claimed(run)
    swap, raced = run.compare_and_swap, []

    def racing(key: str, data: bytes, version: str) -> str:
        if not raced:
            raced.append(True)
            old.commit(10, CONTENT, None)
        return swap(key, data, version)

    monkeypatch.setattr(run, "compare_and_swap", racing)
    assert raise_attempt(run, "r", sleep=lambda s: None) == 2
    assert head_of(run).step == 10


@pytest.mark.parametrize("state", ["done", "failed", "stopped"])
def test_what_has_ended_is_not_claimed_again(run: MemoryStore, state: str) -> None:
    attempt = claimed(run)
    attempt.commit(10, CONTENT, None)
    attempt.finish(state, "because")
    with pytest.raises(Fenced):
        attempt.commit(20, CONTENT, None)
    before = head_of(run)
    again = Attempt.claim(run, "r", 1)
    assert again.ended == f"attempt 1 of r is {state} (because)"
    assert head_of(run) == before
    with pytest.raises(Fenced):
        again.commit(20, CONTENT, None)


def test_an_attempt_with_an_outcome_is_over(run: MemoryStore) -> None:
    claimed(run)
    notes.record_outcome(run, "r", 1, notes.Outcome(75, "preempted", 1.0, 0))
    again = Attempt.claim(run, "r", 1)
    assert "outcome is written" in again.ended
    assert claimed(run).ended == ""


def test_done_is_final_and_the_rest_is_not(run: MemoryStore) -> None:
    claimed(run).finish("stopped")
    claimed(run).finish("failed")
    claimed(run).finish("done")
    with pytest.raises(BadInput, match="is done"):
        raise_attempt(run, "r")
    with pytest.raises(BadInput, match="is done"):
        end_attempt(run, "r", 3, "failed", "no")


def test_an_attempt_can_be_ended_from_outside(run: MemoryStore) -> None:
    attempt = claimed(run)
    assert end_attempt(run, "r", 1, "failed", "no offer").reason == "no offer"
    with pytest.raises(Fenced):
        attempt.commit(10, CONTENT, None)
    with pytest.raises(Fenced):
        end_attempt(run, "r", 0, "failed", "an older one")


def test_steps_do_not_go_back(run: MemoryStore) -> None:
    attempt = claimed(run)
    attempt.commit(10, CONTENT, None)
    with pytest.raises(ValueError, match="older"):
        attempt.commit(9, CONTENT, None)


def test_a_step_committed_twice_is_kept_once(run: MemoryStore) -> None:
    attempt = claimed(run)
    old = attempt.commit(10, CONTENT, 0.1)
    new = attempt.commit(10, CONTENT, None)
    assert attempt.head.kept == (new,)
    assert attempt.head.best is None
    assert old.key not in run.objects


def _kept(step: int, loss: float | None = None) -> Kept:
    return Kept(f"k{step}", step, 1, 1, "0" * 64, loss)


@pytest.mark.parametrize(
    ("losses", "steps", "best"),
    [
        ([None], [0], None),
        ([None] * 5, [2, 3, 4], None),
        ([3.0, 2.0, 1.0, 0.5, 0.1], [2, 3, 4], "k4"),
        ([0.1, 2.0, 3.0, 4.0, 5.0], [0, 2, 3, 4], "k0"),
        ([0.5, 0.1, None, None, None], [1, 2, 3, 4], "k1"),
        ([0.5, 0.5, 0.5, 0.5, 0.5], [0, 2, 3, 4], "k0"),
        ([0.1, 0.5, 0.6, 0.7, 0.05, 1.0, 1.0, 1.0], [4, 5, 6, 7], "k4"),
    ],
)
def test_retention(losses: list[float | None], steps: list[int], best: str | None) -> None:
    kept: tuple[Kept, ...] = ()
    found = None
    for step, loss in enumerate(losses):
        kept, found = retain(kept, _kept(step, loss))
    assert [k.step for k in kept] == steps
    assert found == best


def test_retention_deletes_what_its_swap_removed_and_only_its_own(run: MemoryStore) -> None:
    first = claimed(run)
    for step in range(1, 6):
        first.commit(step, CONTENT, None)
    assert list(run.list("r/a")) == [k.key for k in first.head.kept]
    second = claimed(run)
    for step in range(6, 10):
        second.commit(step, CONTENT, None)
    left = set(run.list("r/a0001/"))
    assert left == {k.key for k in first.head.kept}
    assert collect(run, "r") == []
    third = claimed(run)
    assert collect(run, "r") == []  # nobody else has loaded yet what the second one left
    third.load_newest(bytes)
    third.inherit()
    assert set(collect(run, "r")) == left
    assert list(run.list("r/a")) == [k.key for k in (*second.head.kept, *third.head.kept)]


def test_what_a_successor_needs_is_its_own(run: MemoryStore) -> None:
    """Its first commit is what it loaded, and the best: the older keys reach neither then."""
    first = claimed(run)
    for step, loss in ((1, 0.1), (2, 0.5), (3, 0.6), (4, None)):
        first.commit(step, b"state %d" % step, loss)
    second = claimed(run)
    assert second.load_newest(bytes) == (first.head.kept[-1], b"state 4")
    second.inherit()
    head = head_of(run)
    assert [(k.attempt, k.step, k.loss) for k in head.kept] == [(2, 1, 0.1), (2, 4, None)]
    assert (head.step, head.best, head.lineage[-1]) == (4, head.kept[0].key, (2, 4))
    for key in list(run.list("r/a0001/")):
        run.put(key, b"garbage")
    again = Attempt.claim(run, "r", 2)
    assert again.load_newest(bytes) == (head.kept[1], b"state 4")
    again.inherit()
    assert head_of(run).kept == head.kept
    again.commit(5, b"state 5", None)
    assert [k.step for k in head_of(run).kept] == [1, 4, 5]


def test_a_best_that_is_lost_does_not_stop_a_successor(run: MemoryStore) -> None:
    said: list[str] = []
    first = claimed(run)
    best = first.commit(1, CONTENT, 0.1)
    first.commit(2, CONTENT, 0.5)
    run.delete(best.key)
    second = claimed(run, said)
    second.load_newest(bytes)
    second.inherit()
    assert [(k.attempt, k.step) for k in head_of(run).kept] == [(2, 2)]
    assert "the best checkpoint, of step 1, is lost" in said[0]


@pytest.mark.parametrize("left", [(), (3,)])
def test_a_head_that_was_put_back_is_not_begun_afresh(
    run: MemoryStore, left: tuple[int, ...]
) -> None:
    """By an older attempt's keys, between the order and the claim; nothing of it is collected."""
    said: list[str] = []
    first = claimed(run)
    for step in (3, 7, 9):
        first.commit(step, b"state %d" % step, None)
    raise_attempt(run, "r")
    kept = tuple(k for k in first.head.kept if k.step in left)
    forged = replace(head_of(run), kept=kept, step=max(left, default=0), nonce="forged")
    run.put("r/HEAD", forged.to_bytes())
    assert collect(run, "r") == []
    second = Attempt.claim(run, "r", 2, say=said.append)
    assert second.load_newest(bytes) == (first.head.kept[-1], b"state 9")
    second.inherit()
    head = head_of(run)
    assert [(k.attempt, k.step) for k in head.kept] == [(2, 9)]
    assert (head.step, head.lineage) == (9, ((1, 0), (2, 9)))
    assert "was at step 9 when attempt 2 was ordered" in said[0]


def test_what_an_order_remembers_may_be_gone(run: MemoryStore) -> None:
    claimed(run).commit(9, CONTENT, None)
    raise_attempt(run, "r")
    run.put("r/HEAD", replace(head_of(run), kept=(), step=0, nonce="forged").to_bytes())
    for key in list(run.list("r/a")):
        run.delete(key)
    with pytest.raises(Corrupt, match="none of the 1 checkpoints"):
        Attempt.claim(run, "r", 2, say=lambda text: None).load_newest(bytes)


def test_a_failed_delete_is_said_and_nothing_more(run, monkeypatch) -> None:
    said: list[str] = []
    attempt = claimed(run, said)

    def fail(key: str) -> None:
        raise StoreError("no")

    monkeypatch.setattr(run, "delete", fail)
    for step in range(5):
        attempt.commit(step, CONTENT, None)
    assert len(said) == 2
    assert "could not delete the old checkpoint r/a0001/s00000000" in said[0]
    raise_attempt(run, "r")
    for step in range(5):
        run.put(layout.checkpoint_key("r", 1, 90 + step, "f" * 32), b"never committed")
    said.clear()
    assert collect(run, "r", said.append) == []
    assert len(said) == 7


def test_a_failed_upload_leaves_head_alone(run, monkeypatch) -> None:
    attempt = claimed(run)
    attempt.commit(1, CONTENT, None)
    before = head_of(run)

    def fail(key, content, progress=None):
        raise StoreError("disk full")

    monkeypatch.setattr(run, "put_content", fail)
    with pytest.raises(StoreError):
        attempt.commit(2, CONTENT, None)
    assert head_of(run) == before
    monkeypatch.undo()
    attempt.commit(3, CONTENT, None)


def test_collection_leaves_the_living_alone(run: MemoryStore) -> None:
    first = claimed(run)
    kept = first.commit(10, CONTENT, None)
    garbage = layout.checkpoint_key("r", 1, 11, "a" * 32)
    own = layout.checkpoint_key("r", 2, 12, "b" * 32)
    future = layout.checkpoint_key("r", 3, 13, "c" * 32)
    log = "r/a0001/log/000001.txt"
    for key in (garbage, own, future, log):
        run.put(key, b"x")
    assert collect(run, "r") == []
    raise_attempt(run, "r")
    assert collect(run, "r") == [garbage]
    assert set(run.list("r/a")) == {kept.key, own, future, log}
    assert collect(run, "missing") == []
