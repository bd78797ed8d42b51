"""RunPod: a pod's life, its states, its key and its log, against the fake."""

import json
import sys

import pytest

from launch.contract.cloud import State
from launch.contract.errors import AuthFailed
from launch.providers.runpod import adapter as runpod
from launch.providers.runpod.adapter import RunPod
from tests.clouds.fake_runpod import FakeRunPod
from tests.clouds.machines import ROOT
from tests.clouds.runpod_words import PULLING
from tests.launch.providers.runpod.case import (
    NAME,
    PRINTS,
    adapter,
    boot,
    offer,
    rent,
    sent,
)
from tests.waiting import unless_it_hangs, wait_for


def test_from_order_to_end(fake: FakeRunPod, cloud: RunPod) -> None:
    id = rent(cloud, *PRINTS, A="1")
    (rental,) = fake.alive()
    assert (rental.id, rental.name) == (id, NAME)
    found = cloud.get(id)
    assert found is not None
    assert (found.name, found.state, found.place) == (NAME, State.RUNNING, "COMMUNITY")
    assert found.price == pytest.approx(rental.price)
    assert cloud.instances() == [found]
    wait_for(lambda: len(cloud.logs(id, 9)) == 3)
    assert cloud.logs(id, 9) == [f"system: {PULLING} image:tag", "one", "two"]
    assert cloud.logs(id, 1) == ["two"]
    assert cloud.logs(id, 0) == []
    cloud.terminate(id)
    assert cloud.get(id) is None
    assert cloud.instances() == []
    assert fake.alive() == []
    assert cloud.logs(id, 9) == []
    cloud.terminate(id)
    assert len(sent(fake, "POST")) == 1


def test_states(fake: FakeRunPod, cloud: RunPod) -> None:
    fake.fault("stuck")
    id = rent(cloud)

    def state() -> State | None:
        found = cloud.get(id)
        return None if found is None else found.state

    fake.clock.advance(24 * 3600)
    assert state() is State.PENDING
    cloud.terminate(id)
    id = rent(cloud)
    assert state() is State.RUNNING
    fake.fault("exited")
    assert state() is State.SUSPENDED
    found = cloud.get(id)
    assert found is not None
    assert found.price == 0
    assert not fake.machines[id].working
    fake.rental(id).shown["status"] = "ERROR"
    assert state() is State.BROKEN


def test_a_pod_that_vanishes_is_gone_and_was_billed_for_nothing(
    fake: FakeRunPod, cloud: RunPod
) -> None:
    fake.fault("vanish")
    id = rent(cloud)
    assert cloud.get(id) is None
    assert cloud.instances() == []
    assert fake.ledger[0].ended is not None


def test_a_container_that_exits_is_started_again_and_costs_on(
    fake: FakeRunPod, cloud: RunPod
) -> None:
    id = rent(cloud, "sh", "-c", "echo again")
    wait_for(lambda: len(fake.machines[id].exits) >= 2)
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.RUNNING
    fake.clock.advance(3600)
    assert fake.spent() == pytest.approx(fake.ledger[0].price, rel=0.01)


def test_a_pod_ends_itself_with_its_own_key(fake: FakeRunPod, cloud: RunPod) -> None:
    script = str(ROOT / "mimir" / "worker" / "self_terminate.py")
    id = rent(cloud, sys.executable, script, "0", MIMIR_END=json.dumps(cloud.ending()))
    wait_for(lambda: fake.alive() == [])
    assert cloud.get(id) is None


def test_a_pods_key_ends_that_pod_and_does_nothing_else(fake: FakeRunPod, cloud: RunPod) -> None:
    id, other = rent(cloud), rent(cloud)
    thief = adapter(fake, RUNPOD_API_KEY=fake.rental(id).shown["key"])
    for forbidden in (
        lambda: thief.get(id),
        lambda: thief.instances(),
        lambda: thief.terminate(other),
        lambda: thief.create(offer(cloud), boot(), NAME),
    ):
        with pytest.raises(AuthFailed, match="403"):
            forbidden()
    fake.fault("scoped_refused")
    with pytest.raises(AuthFailed):
        thief.terminate(id)
    thief.terminate(id)
    assert [each.id for each in fake.alive()] == [other]


def test_a_log_that_stays_open_is_read(
    fake: FakeRunPod, cloud: RunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runpod, "LOG_SILENCE", 0.3)
    id = rent(cloud, *PRINTS)
    wait_for(lambda: len(fake.machines[id].output()) == 2)
    fake.log_held = 20.0
    # On a slow machine the lines themselves may come after the silence.
    wait_for(lambda: unless_it_hangs(lambda: cloud.logs(id, 9))[-2:] == ["one", "two"])
