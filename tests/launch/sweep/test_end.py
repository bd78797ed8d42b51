"""Stopping and removing a sweep, on paper."""

from collections.abc import Callable
from typing import Any

import pytest

from launch.contract.errors import NotGone
from launch.sweep import end
from mimir.errors import BadInput, StoreError
from mimir.runs import layout, notes, sweep_state, tombstone
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Versioned
from tests.launch.sweep.conftest import Stage
from tests.runs.actors import Killed
from tests.runs.memory import MemoryStore
from tests.runs.mortal import Mortal

Made = Callable[[], Stage]


def test_a_stop_asks_those_that_have_begun(stage: Made) -> None:
    it = stage()
    it.create()
    keeper = it.start(at_once=2)
    keeper.round()
    it.work("lr-001", "done")
    assert end.stop(it.store, it.sweep, it.said.append) == ([("lr-000", 1)], [])
    assert notes.stop_requested(it.store, "lr-000", 1) is not None
    assert notes.stop_requested(it.store, "lr-001", 1) is None


def test_one_run_that_cannot_be_asked_keeps_no_other(stage: Made) -> None:
    class Away(MemoryStore):
        def put_if_absent(self, key: str, data: bytes) -> str:
            if key == layout.stop_key("lr-000", 1):
                raise StoreError("timeout")
            return super().put_if_absent(key, data)

        def read(self, key: str, *, limit: int = 1 << 20) -> Versioned | None:
            return None if key == layout.stop_key("lr-000", 1) else super().read(key, limit=limit)

    it = stage()
    it.store.__class__ = Away
    it.create()
    it.start(at_once=2).round()
    asked, failed = end.stop(it.store, it.sweep, it.said.append)
    assert (asked, failed) == ([("lr-001", 1)], ["lr-000"])
    assert any("lr-000 could not be asked" in line for line in it.said)


def finished(it: Stage) -> None:
    it.create()
    keeper = it.start(at_once=3)
    keeper.round()
    for member in it.sweep.members[:2]:
        it.work(member.run, "done")
    it.work("lr-002", "failed")
    assert keeper.round().over


def test_a_sweep_goes_with_all_that_is_its_own(stage: Made) -> None:
    it = stage()
    create_run(it.store, RunRecord("lr-0000", "smoke", {}, 0, 1.0))
    before = dict(it.store.objects)
    finished(it)
    end.remove(it.store, "lr", it.said.append, lambda name: it.fake)
    assert it.store.objects.pop(layout.newest_runs_key())
    assert tombstone.names(it.store) == [member.run for member in it.sweep.members]
    assert without_tombstones(it.store) == before
    it.create()  # its name is free
    assert it.status("lr-000").attempt == 0


def without_tombstones(store: MemoryStore) -> dict[str, Versioned]:
    found = store.objects.items()
    return {key: each for key, each in found if layout.parse_tombstone(key) is None}


def test_killed_at_any_moment_of_the_removal(stage: Made) -> None:
    it = stage()
    finished(it)
    del it.store.objects[layout.newest_runs_key()]  # it outlives the sweep
    whole = dict(it.store.objects)

    def remove(store: Any) -> None:
        end.remove(store, "lr", it.said.append, lambda name: it.fake)

    counted = Mortal(it.store)
    remove(counted)
    assert counted.moments > 200
    for moment in range(0, counted.moments, 13):
        it.store.objects = dict(whole)
        with pytest.raises(Killed):
            remove(Mortal(it.store, moment))
        if sweep_state.read(it.store, "lr").word != sweep_state.GO:
            with pytest.raises(BadInput, match="is being removed"):
                it.start()
        if without_tombstones(it.store):
            remove(it.store)
        assert not without_tombstones(it.store), f"moment {moment}"
    with pytest.raises(BadInput, match="there is no sweep lr"):
        remove(it.store)


def test_what_is_alive_is_not_removed(stage: Made) -> None:
    it = stage()
    it.create()
    it.start().round()
    before = dict(it.store.objects)
    with pytest.raises(BadInput, match=r"lr-000 is queued \(attempt 1 is starting\): stop it"):
        end.remove(it.store, "lr", it.said.append, lambda name: it.fake)
    assert it.store.objects == before


def test_a_machine_that_may_be_there_is_ended_first(stage: Made) -> None:
    it = stage()
    it.create()
    it.start().round()
    it.work("lr-000", "done")  # nobody has seen its machine gone
    it.fake.living = None
    with pytest.raises(NotGone):
        end.remove(it.store, "lr", it.said.append, lambda name: it.fake)
    assert layout.machine_key("lr-000", 1) in it.store.objects
    it.fake.living = True
    end.remove(it.store, "lr", it.said.append, lambda name: it.fake)
    assert [each.id for each in it.fake.ended] == ["m1"]
    assert set(without_tombstones(it.store)) == {layout.newest_runs_key()}
