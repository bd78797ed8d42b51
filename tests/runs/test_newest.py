"""The newest runs are known without reading every run, whatever becomes of the list."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from mimir.errors import StoreError
from mimir.runs import layout, newest
from mimir.runs.newest import NewRun
from mimir.runs.record import RunRecord, create_run
from tests.runs.memory import CountingStore

KEY = layout.newest_runs_key()


def _create(store: CountingStore, number: int, *, add: bool = True) -> NewRun:
    name = f"run{number}"
    create_run(store, RunRecord(name, "smoke", {}, 0, 1000.0 + number))
    made = NewRun(name, "smoke", 1000.0 + number)
    if add:
        newest.add(store, made)
    return made


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


def test_runs_come_newest_first(store: CountingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "MOST", 30)
    made = [_create(store, number) for number in range(40)]
    found, took = store.count(lambda: newest.newest(store))
    assert found == tuple(made[:9:-1])
    assert took == 1
    anew = replace(made[20], created=2000.0)  # removed, and created again
    newest.add(store, anew)
    assert newest.newest(store)[:2] == (anew, made[39])


def test_a_sweep_is_added_at_once_and_hides_no_other(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(newest, "MOST_AT_ONCE", 3)
    older = _create(store, 1)
    several = [NewRun(f"lr-{number:03d}", "smoke", 2000.0) for number in range(5)]
    assert store.count(lambda: newest.add(store, *several))[1] == 2, "one read, one swap"
    assert newest.newest(store) == (*several[:3], older)
    later = _create(store, 2000)
    before = store.read(KEY)
    newest.add(store, *several)  # its sweep goes on
    assert store.read(KEY) == before
    assert newest.newest(store)[0] == later


@pytest.mark.parametrize("bodies", [None, b"{", b'{"format":2,"runs":[],"nonce":""}'])
@pytest.mark.parametrize("adds", [False, True])
def test_a_list_that_is_none_is_made_again(
    store: CountingStore, bodies: bytes | None, adds: bool
) -> None:
    made = [_create(store, number, add=False) for number in range(5)]
    store.put("run1/run.json", b"{")
    if bodies is not None:
        store.put(KEY, bodies)
    if adds:
        made.append(_create(store, 5))
    del made[1]
    assert newest.newest(store) == tuple(made[::-1])
    assert store.count(lambda: newest.newest(store)) == (tuple(made[::-1]), 1)


def test_who_comes_second_adds_to_the_first(store: CountingStore) -> None:
    first, second = _create(store, 1), NewRun("run2", "smoke", 1002.0)
    swap = store.compare_and_swap

    def late(key: str, data: bytes, version: str) -> str:
        store.compare_and_swap = swap  # type: ignore[method-assign]
        newest.add(store, second)
        return swap(key, data, version)

    store.compare_and_swap = late  # type: ignore[method-assign]
    third = NewRun("run3", "smoke", 1003.0)
    newest.add(store, third)
    assert newest.newest(store) == (third, second, first)


@pytest.mark.parametrize("spoil", ["swap", "read"])
def test_nothing_rests_on_it(
    store: CountingStore, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    _create(store, 1)

    def fails(*args: object, **how: object) -> None:
        raise StoreError("it is away")

    broken: Callable[..., None] = fails
    setattr(store, {"swap": "compare_and_swap", "read": "read"}[spoil], broken)
    newest.add(store, NewRun("run2", "smoke", 1002.0))
    assert "run2: not in the list of newest runs: it is away" in caplog.text
