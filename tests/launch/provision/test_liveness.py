"""When a new attempt would take nothing away."""

import time
from typing import Any

import pytest

from launch.contract import deadlines
from launch.contract.errors import ProviderError
from launch.provision import liveness
from launch.supervise import diagnosis
from mimir.runs import notes
from mimir.runs.commit import Attempt, raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.status import derive
from mimir.runs.store import Store
from tests.launch.conftest import Fake

NOW = 5000.0


def busy(store: Store) -> str:
    status = derive(store, "run", NOW)
    order = status.attempts[-1].order if status.attempts else None
    return diagnosis.busy(diagnosis.observe(status, order, NOW))


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
    (5, True, True), (5, None, True), (-40, None, True), (5, False, False),
    (500, None, False), (500, True, False),
])  # fmt: skip
def test_heartbeat_and_provider(
    store: Store, fake: Fake, age: float, living: bool | None, is_busy: bool
) -> None:
    begin(store, started=NOW - 1000)
    Attempt.claim(store, "run", 1)
    notes.write_heartbeat(store, "run", 1, Heartbeat(NOW - age, 1, 10))
    fake.living = living
    assert bool(busy(store)) == is_busy


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
