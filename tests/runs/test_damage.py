"""What happens to a checkpoint that went bad: the one before serves, and that is said."""

import random

import pytest

from mimir.errors import Corrupt, Fenced, StoreError
from mimir.runs.collect import collect
from mimir.runs.store import Store
from tests.runs.ledger import CONTENT, begun, claimed, head_of
from tests.runs.memory import MemoryStore


def _spoil(store: Store, key: str, data: bytes) -> None:
    store.put(key, data)


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
    attempt = claimed(run)
    older = attempt.commit(10, CONTENT[::-1], 0.5)
    newest = attempt.commit(20, CONTENT, 0.1)
    _spoil(run, newest.key, damaged)
    after = claimed(run, said)
    assert after.head.lineage[-1] == (2, 20)
    assert after.load_newest(bytes) == (older, CONTENT[::-1])
    head = head_of(run)
    assert (head.step, head.kept, head.best) == (10, (older,), older.key)
    assert head.lineage == ((1, 0), (2, 10))
    assert head.reason.startswith("dropped ")
    assert newest.key in head.reason
    assert "step 20 cannot be used" in said[0]
    assert "step 10" in said[1]
    after.commit(20, CONTENT, None)


def test_a_missing_checkpoint_falls_back_too(store: Store) -> None:
    attempt = claimed(begun(store))
    older = attempt.commit(10, CONTENT, None)
    store.delete(attempt.commit(20, CONTENT, None).key)
    found = attempt.load_newest(bytes)
    assert found is not None
    assert found[0] == older


def test_bytes_that_the_trainer_cannot_use_fall_back(run: MemoryStore) -> None:
    attempt = claimed(run)
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
    attempt = claimed(run)
    attempt.commit(10, CONTENT, None)
    before = head_of(run)

    def check(data: bytes) -> None:
        raise TypeError("bug")

    with pytest.raises(TypeError):
        attempt.load_newest(check)
    assert head_of(run) == before


def test_a_transfer_gone_wrong_once_is_repeated(run, monkeypatch) -> None:
    attempt = claimed(run)
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
    attempt = claimed(run)
    attempt.commit(10, CONTENT, None)
    before = head_of(run)

    def away(key, **expected):
        raise StoreError("503")

    monkeypatch.setattr(run, "get", away)
    with pytest.raises(StoreError):
        attempt.load_newest(bytes)
    assert head_of(run) == before


def test_a_run_never_starts_over_silently(run: MemoryStore) -> None:
    attempt = claimed(run)
    for step in (10, 20):
        _spoil(run, attempt.commit(step, CONTENT, None).key, b"")
    before = head_of(run)
    with pytest.raises(Corrupt, match="none of the 2 checkpoints of run r"):
        _ = attempt.load_newest(bytes)
    assert head_of(run) == before


def test_a_zombie_that_finds_its_checkpoints_retired_is_fenced(run: MemoryStore) -> None:
    old = claimed(run)
    old.commit(10, CONTENT, None)
    new = claimed(run)
    for step in (20, 30, 40):
        new.commit(step, CONTENT, None)
    newest = claimed(run)
    newest.load_newest(bytes)
    newest.inherit()
    assert collect(run, "r")
    with pytest.raises(Fenced):
        old.load_newest(bytes)
