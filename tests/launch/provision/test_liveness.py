"""When a new attempt would take nothing away."""

import time
from typing import Any

import pytest

from launch.contract import deadlines
from launch.contract.errors import ProviderError
from launch.provision import liveness
from launch.provision.liveness import Watched
from launch.supervise import diagnosis
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive
from mimir.runs.store import Store
from tests.launch.conftest import Clock, Fake
from tests.runs.memory import MemoryStore

NOW = 5000.0


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    made.clock = lambda: NOW
    create_run(made, RunRecord("run", "smoke", {}, 0, 1.0))
    return made


def busy(store: Store) -> str:
    found = derive(store, "run", store.now())
    order = found.attempts[-1].order if found.attempts else None
    return diagnosis.busy(diagnosis.observe(found, order))


def begin(store: Store, **machine: Any) -> None:
    number = raise_attempt(store, "run")
    if machine:
        notes.record_machine(
            store, "run", number, Machine(**{"provider": "fake", "started": NOW, **machine})
        )


def test_not_begun(store: Store) -> None:
    assert busy(store) == ""
    begin(store)
    assert busy(store) == "", "a launcher that died before its order holds nothing"


def test_starting(store: Store, fake: Fake) -> None:
    begin(store, started=NOW - 30)
    assert "starting" in busy(store)
    fake.living = None
    assert "starting" in busy(store)
    fake.living = False
    assert busy(store) == ""


def test_started_long_ago(store: Store, fake: Fake) -> None:
    begin(store, started=NOW - 2 * deadlines.BEGIN_WITHIN)
    assert busy(store) == ""


def test_claimed_without_a_machine_on_record(store: Store) -> None:
    begin(store)
    Attempt.claim(store, "run", 1)
    assert busy(store)


@pytest.mark.parametrize(("age", "living", "is_busy"), [
    (5, True, True), (5, None, True), (-15, None, True), (5, False, False),
    (500, None, False), (500, True, False),
])  # fmt: skip
def test_heartbeat_and_provider(
    store: MemoryStore, fake: Fake, age: float, living: bool | None, is_busy: bool
) -> None:
    begin(store, started=NOW - 1000)
    Attempt.claim(store, "run", 1)
    store.clock = lambda: NOW - age
    notes.write_heartbeat(store, "run", 1, Heartbeat(9e10, 1, 10))
    store.clock = lambda: NOW
    fake.living = living
    assert bool(busy(store)) == is_busy


@pytest.mark.parametrize("changes", [True, False])
def test_who_looks_once_watches_what_only_its_age_calls_silent(
    store: MemoryStore, fake: Fake, clock: Clock, changes: bool
) -> None:
    """A store of several servers: one dates what another is asked for."""
    begin(store, started=NOW - 1000)
    Attempt.claim(store, "run", 1)
    store.clock = lambda: NOW - 3600

    def beat(step: int) -> None:
        store.clock = lambda: NOW - 3600
        notes.write_heartbeat(store, "run", 1, Heartbeat(0.0, step, 10))
        store.clock = lambda: NOW

    def at_sleep(number: int) -> None:
        if changes and number == 3:
            beat(2)

    beat(1)
    clock.at_sleep = at_sleep
    found = derive(store, "run", store.now())
    assert diagnosis.busy(diagnosis.observe(found, None)) == "", "by its age alone"
    seen = diagnosis.look(store, found, None, sleep=clock.sleep, clock=clock)
    assert bool(diagnosis.busy(seen)) == changes
    assert clock.sleeps == (3 if changes else deadlines.BEATS_WITHIN / liveness.LOOK_EVERY)


def test_who_looks_again_and_again_remembers_each_attempt() -> None:
    clock = Clock()
    watched = Watched(clock)
    for number, beat, wait, unchanged in (
        (1, "a", 30, 0), (1, "a", 30, 30), (1, "a", 5, 60), (1, "b", 30, 0), (1, "b", 1, 30),
        (2, "b", 30, 0), (2, "", 30, 0), (2, "", 1, 30),
    ):  # fmt: skip
        assert watched.unchanged("run", number, beat) == unchanged
        clock.now += wait


def test_over(store: Store, fake: Fake) -> None:
    begin(store, started=NOW)
    Attempt.claim(store, "run", 1)
    notes.record_outcome(store, "run", 1, Outcome(75, "stopped", time.time(), 0))
    assert busy(store) == ""


def test_a_provider_that_does_not_answer_or_is_unknown(fake: Fake) -> None:
    def fails(machine: Any) -> None:
        raise ProviderError("no answer")

    fake.alive = fails  # type: ignore[method-assign]
    assert liveness.alive(Machine("fake", NOW)) is None
    assert liveness.alive(Machine("of a newer Mimir", NOW)) is None
    assert liveness.alive(None) is None
