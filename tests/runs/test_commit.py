"""Attempts, commits, retention and what happens to a checkpoint that went bad."""

import random

import pytest

from mimir.errors import BadInput, Corrupt, Fenced, StoreError
from mimir.runs import layout, notes
from mimir.runs.commit import Attempt, end_attempt, raise_attempt, retain
from mimir.runs.head import Head, Kept
from mimir.runs.store import Store
from mimir.runs.sweep import sweep
from tests.runs.memory import MemoryStore

CONTENT = bytes(range(256)) * 4


def _begin(store: Store) -> Store:
    store.create("r/HEAD", Head(run="r", nonce="created").to_bytes())
    return store


@pytest.fixture
def run(memory: MemoryStore) -> MemoryStore:
    return _begin(memory)


def _attempt(store: Store, said: list[str] | None = None) -> Attempt:
    say = said.append if said is not None else lambda text: None
    return Attempt.claim(store, "r", raise_attempt(store, "r"), say=say, sleep=lambda s: None)


def _head(store: Store) -> Head:
    found = store.read("r/HEAD")
    assert found is not None
    return Head.from_bytes(found.data)


def test_a_run_from_start_to_end(store: Store) -> None:
    first = _attempt(_begin(store))
    assert (first.head.attempt, first.head.state, first.ended) == (1, "running", "")
    assert first.load_newest(bytes) is None
    kept = first.commit(10, CONTENT, 0.5)
    assert kept.key.startswith("r/a0001/s00000010-")
    assert _head(store) == first.head
    second = _attempt(store)
    assert second.head.lineage == ((1, 0), (2, 10))
    assert second.load_newest(bytes) == (kept, CONTENT)
    second.commit(20, memoryview(CONTENT), None)
    model = second.put_model("model.safetensors", b"weights")
    assert second.finish("done", model=model).state == "done"
    assert _head(store).model == model
    assert store.get(model.key, size=model.size, sha256=model.sha256) == b"weights"


def test_an_older_attempt_is_fenced(run: MemoryStore) -> None:
    old = _attempt(run)
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
    head = _head(run)
    assert (head.attempt, head.state, head.step) == (2, "queued", 10)


def test_a_restarted_process_fences_its_predecessor(run: MemoryStore) -> None:
    first = _attempt(run)
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
    with pytest.raises(Fenced, match="never was"):
        Attempt.claim(run, "r", 3)
    with pytest.raises(BadInput, match="there is no x/HEAD"):
        Attempt.claim(run, "x", 1)
    with pytest.raises(BadInput, match="there is no x/HEAD"):
        raise_attempt(run, "x")


def test_a_last_commit_of_the_old_attempt_does_not_stop_a_claim(run, monkeypatch) -> None:
    old = _attempt(run)
    swap, raced = run.swap, []

    def racing(key: str, data: bytes, version: str) -> str:
        if not raced:
            raced.append(True)
            old.commit(10, CONTENT, None)
        return swap(key, data, version)

    monkeypatch.setattr(run, "swap", racing)
    assert raise_attempt(run, "r", sleep=lambda s: None) == 2
    assert _head(run).step == 10


@pytest.mark.parametrize("state", ["done", "failed", "stopped"])
def test_what_has_ended_is_not_claimed_again(run: MemoryStore, state: str) -> None:
    attempt = _attempt(run)
    attempt.commit(10, CONTENT, None)
    attempt.finish(state, "because")
    with pytest.raises(Fenced):
        attempt.commit(20, CONTENT, None)
    before = _head(run)
    again = Attempt.claim(run, "r", 1)
    assert again.ended == f"attempt 1 of r is {state} (because)"
    assert _head(run) == before
    with pytest.raises(Fenced):
        again.commit(20, CONTENT, None)


def test_an_attempt_with_an_outcome_is_over(run: MemoryStore) -> None:
    _attempt(run)
    notes.record_outcome(run, "r", 1, notes.Outcome(75, "preempted", 1.0, 0))
    again = Attempt.claim(run, "r", 1)
    assert "outcome is written" in again.ended
    assert _attempt(run).ended == ""


def test_done_is_final_and_the_rest_is_not(run: MemoryStore) -> None:
    _attempt(run).finish("stopped")
    _attempt(run).finish("failed")
    _attempt(run).finish("done")
    with pytest.raises(BadInput, match="is done"):
        raise_attempt(run, "r")
    with pytest.raises(BadInput, match="is done"):
        end_attempt(run, "r", 3, "failed", "no")


def test_an_attempt_can_be_ended_from_outside(run: MemoryStore) -> None:
    attempt = _attempt(run)
    assert end_attempt(run, "r", 1, "failed", "no offer").reason == "no offer"
    with pytest.raises(Fenced):
        attempt.commit(10, CONTENT, None)
    with pytest.raises(Fenced):
        end_attempt(run, "r", 2, "failed", "another one")


def test_steps_do_not_go_back(run: MemoryStore) -> None:
    attempt = _attempt(run)
    attempt.commit(10, CONTENT, None)
    with pytest.raises(ValueError, match="older"):
        attempt.commit(9, CONTENT, None)


def test_a_step_committed_twice_is_kept_once(run: MemoryStore) -> None:
    attempt = _attempt(run)
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
    first = _attempt(run)
    for step in range(1, 6):
        first.commit(step, CONTENT, None)
    assert list(run.list("r/a")) == [k.key for k in first.head.kept]
    second = _attempt(run)
    for step in range(6, 10):
        second.commit(step, CONTENT, None)
    left = set(run.list("r/a0001/"))
    assert left == {k.key for k in first.head.kept}
    assert set(sweep(run, "r")) == left
    assert list(run.list("r/a")) == [k.key for k in second.head.kept]


def test_a_failed_delete_is_said_and_nothing_more(run, monkeypatch) -> None:
    said: list[str] = []
    attempt = _attempt(run, said)

    def fail(key: str) -> None:
        raise StoreError("no")

    monkeypatch.setattr(run, "delete", fail)
    for step in range(5):
        attempt.commit(step, CONTENT, None)
    assert len(said) == 2
    assert "could not delete the old checkpoint r/a0001/s00000000" in said[0]
    raise_attempt(run, "r")
    for step in range(5):
        run.write(layout.checkpoint_key("r", 1, 90 + step, "f" * 32), b"never committed")
    said.clear()
    assert sweep(run, "r", said.append) == []
    assert len(said) == 7


def test_a_failed_upload_leaves_head_alone(run, monkeypatch) -> None:
    attempt = _attempt(run)
    attempt.commit(1, CONTENT, None)
    before = _head(run)

    def fail(key, content, progress=None):
        raise StoreError("disk full")

    monkeypatch.setattr(run, "put", fail)
    with pytest.raises(StoreError):
        attempt.commit(2, CONTENT, None)
    assert _head(run) == before
    monkeypatch.undo()
    attempt.commit(3, CONTENT, None)


def _spoil(store: Store, key: str, data: bytes) -> None:
    store.write(key, data)


def _damages() -> list[bytes]:
    cut = [CONTENT[: len(CONTENT) * tenth // 10] for tenth in range(10)]
    rng = random.Random(1)
    flipped = []
    for tenth in range(10):
        at = len(CONTENT) * tenth // 10 + rng.randrange(50)
        flipped.append(CONTENT[:at] + bytes([CONTENT[at] ^ 1]) + CONTENT[at + 1 :])
    return [*cut, *flipped, CONTENT + b"x"]


@pytest.mark.parametrize("damaged", _damages(), ids=range(21))
def test_damage_falls_back_to_the_checkpoint_before(run: MemoryStore, damaged: bytes) -> None:
    said: list[str] = []
    attempt = _attempt(run)
    older = attempt.commit(10, CONTENT[::-1], 0.5)
    newest = attempt.commit(20, CONTENT, 0.1)
    _spoil(run, newest.key, damaged)
    after = _attempt(run, said)
    assert after.head.lineage[-1] == (2, 20)
    assert after.load_newest(bytes) == (older, CONTENT[::-1])
    head = _head(run)
    assert (head.step, head.kept, head.best) == (10, (older,), older.key)
    assert head.lineage == ((1, 0), (2, 10))
    assert head.reason.startswith("dropped ")
    assert newest.key in head.reason
    assert "step 20 cannot be used" in said[0]
    assert "step 10" in said[1]
    after.commit(20, CONTENT, None)


def test_a_missing_checkpoint_falls_back_too(store: Store) -> None:
    attempt = _attempt(_begin(store))
    older = attempt.commit(10, CONTENT, None)
    store.delete(attempt.commit(20, CONTENT, None).key)
    found = attempt.load_newest(bytes)
    assert found is not None
    assert found[0] == older


def test_bytes_that_the_trainer_cannot_use_fall_back(run: MemoryStore) -> None:
    attempt = _attempt(run)
    attempt.commit(10, b"good", None)
    attempt.commit(20, b"bad", None)

    def check(data: bytes) -> str:
        if data == b"bad":
            raise Corrupt("no tensors in it")
        return data.decode()

    found = attempt.load_newest(check)
    assert found is not None
    assert found[1] == "good"
    assert "no tensors" in attempt.head.reason


def test_a_bug_in_check_drops_nothing(run: MemoryStore) -> None:
    attempt = _attempt(run)
    attempt.commit(10, CONTENT, None)
    before = _head(run)

    def check(data: bytes) -> None:
        raise TypeError("bug")

    with pytest.raises(TypeError):
        attempt.load_newest(check)
    assert _head(run) == before


def test_a_transfer_gone_wrong_once_is_repeated(run, monkeypatch) -> None:
    attempt = _attempt(run)
    kept = attempt.commit(10, CONTENT, None)
    get, failed = run.get, []

    def once(key, **expected):
        if not failed:
            failed.append(key)
            raise Corrupt("flipped on the way")
        return get(key, **expected)

    monkeypatch.setattr(run, "get", once)
    assert attempt.load_newest(bytes) == (kept, CONTENT)
    assert attempt.head.kept == (kept,)


def test_an_outage_is_not_corruption(run, monkeypatch) -> None:
    attempt = _attempt(run)
    attempt.commit(10, CONTENT, None)
    before = _head(run)

    def away(key, **expected):
        raise StoreError("503")

    monkeypatch.setattr(run, "get", away)
    with pytest.raises(StoreError):
        attempt.load_newest(bytes)
    assert _head(run) == before


def test_a_run_never_starts_over_silently(run: MemoryStore) -> None:
    attempt = _attempt(run)
    for step in (10, 20):
        _spoil(run, attempt.commit(step, CONTENT, None).key, b"")
    before = _head(run)
    with pytest.raises(Corrupt, match="none of the 2 checkpoints of run r"):
        _ = attempt.load_newest(bytes)
    assert _head(run) == before


def test_a_zombie_that_finds_its_checkpoints_retired_is_fenced(run: MemoryStore) -> None:
    old = _attempt(run)
    old.commit(10, CONTENT, None)
    new = _attempt(run)
    for step in (20, 30, 40):
        new.commit(step, CONTENT, None)
    sweep(run, "r")
    with pytest.raises(Fenced):
        old.load_newest(bytes)


def test_the_sweep_leaves_the_living_alone(run: MemoryStore) -> None:
    first = _attempt(run)
    kept = first.commit(10, CONTENT, None)
    garbage = layout.checkpoint_key("r", 1, 11, "a" * 32)
    own = layout.checkpoint_key("r", 2, 12, "b" * 32)
    future = layout.checkpoint_key("r", 3, 13, "c" * 32)
    log = "r/a0001/log/000001.txt"
    for key in (garbage, own, future, log):
        run.write(key, b"x")
    assert sweep(run, "r") == []
    raise_attempt(run, "r")
    assert sweep(run, "r") == [garbage]
    assert set(run.list("r/a")) == {kept.key, own, future, log}
    assert sweep(run, "missing") == []
