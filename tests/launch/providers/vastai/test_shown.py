"""Vast.ai: lists, looks and states, against its fake."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from launch.contract.cloud import State
from launch.contract.errors import ProviderError
from launch.providers.vastai import errors
from launch.providers.vastai.adapter import Vast
from mimir.errors import BadInput
from tests.clouds.fake_vast import FakeVast
from tests.launch.providers.vastai.case import (
    NAME,
    ON_DEMAND,
    SLEEP,
    SPOT,
    up,
)
from tests.waiting import wait_for


@pytest.mark.parametrize(
    "answer",
    [
        [], {}, {"instances": {}}, {"instances": [{"label": "mimir-r-a0001"}]}, {"instances": [7]},
        {"instances": [], "total_instances": 3}, {"instances": [], "success": None},
    ],
)  # fmt: skip
def test_a_list_that_is_none(answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
    cloud = Vast(environ={"VAST_API_KEY": "k"}, transport=transport, sleep=lambda s: None)
    with pytest.raises(ProviderError):
        cloud.instances()


def test_a_list_without_end() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={"success": True, "instances": [], "next_token": "same"})

    transport = httpx.MockTransport(answer)
    cloud = Vast(environ={"VAST_API_KEY": "k"}, transport=transport, sleep=lambda s: None)
    with pytest.raises(ProviderError, match="no end"):
        cloud.instances()
    assert len(asked) == 2


def test_a_machine_from_order_to_end(service: FakeVast, cloud: Vast) -> None:
    service.provisioning = 100.0
    id = cloud.create(ON_DEMAND, SLEEP, NAME)

    def seen() -> tuple[State, str]:
        found = cloud.get(id)
        assert found is not None
        assert (found.id, found.name, found.place, found.address) == (
            id,
            NAME,
            "50101",
            "192.0.2.45",
        )
        return found.state, found.said

    assert seen() == (State.PENDING, "no status")
    service.clock.advance(60)
    assert seen() == (State.PENDING, "loading")
    service.clock.advance(60)
    assert seen() == (State.RUNNING, "running")
    cloud.terminate(id)
    assert cloud.get(id) is None
    assert service.alive() == []


def test_outbid_and_back_again(service: FakeVast, cloud: Vast) -> None:
    script = "echo up >> here; echo begun; exec sleep 60"
    id = up(service, cloud, SPOT, replace(SLEEP, command=("sh", "-c", script)))
    machine = service.machines[id]
    wait_for(lambda: machine.output() == ["begun"])
    service.clock.advance(3600)
    running = service.spent()
    assert running == pytest.approx(0.2 + 30 * 0.15 / 720, rel=0.01)
    service.outbid(id)
    assert not machine.working
    found = cloud.get(id)
    assert found is not None
    assert (found.state, found.said) == (State.SUSPENDED, "stopped (exited)")
    assert found.price == pytest.approx(30 * 0.15 / 720)
    service.clock.advance(3600)
    assert service.spent() - running == pytest.approx(30 * 0.15 / 720, rel=0.05)
    service.resume(id)
    service.clock.advance(1)
    wait_for(lambda: machine.output() == ["begun", "begun"])
    assert (machine.disk / "here").read_text() == "up\nup\n"
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.RUNNING


@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [("stuck", State.PENDING, "loading"), ("oci", State.BROKEN, "OCI runtime create failed"),
     ("odd_status", State.BROKEN, "hibernating")],
)  # fmt: skip
def test_a_machine_that_does_not_come_up(
    service: FakeVast, cloud: Vast, fault: str, state: State, words: str
) -> None:
    service.fault(fault)
    id = up(service, cloud)
    service.clock.advance(1800)
    for found in (cloud.get(id), *cloud.instances()):
        assert found is not None
        assert found.state is state
        assert words in found.said


def test_a_host_that_is_gone(service: FakeVast, cloud: Vast) -> None:
    id = up(service, cloud)
    service.offline(id)
    found = cloud.get(id)
    assert found is not None
    assert (found.state, found.said) == (State.BROKEN, "offline")


def test_a_container_that_exits_is_started_again_or_shown_as_exited(
    service: FakeVast, cloud: Vast
) -> None:
    short = replace(SLEEP, command=("echo", "ran"))
    id = up(service, cloud, boot=short)
    wait_for(lambda: len(service.machines[id].output()) >= 2)
    service.restarts = False
    other = cloud.create(replace(ON_DEMAND, key={"ask": 102}), short, NAME)
    service.clock.advance(1)
    wait_for(lambda: service.machines[other].exits)
    found = cloud.get(other)
    assert found is not None
    assert found.state is State.BROKEN
    assert len(service.alive()) == 2  # its end ends no bill


RUNNING = {"actual_status": "running", "cur_state": "running", "next_state": "running"}


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (RUNNING, State.RUNNING),
        ({"actual_status": None, "cur_state": "unloaded", "next_state": "running"}, State.PENDING),
        ({**RUNNING, "actual_status": "rebooting"}, State.PENDING),
        ({**RUNNING, "actual_status": "loading", "status_msg": "Pull complete"}, State.PENDING),
        ({**RUNNING, "actual_status": "loading", "status_msg": "manifest unknown"}, State.BROKEN),
        ({**RUNNING, "actual_status": "exited"}, State.BROKEN),
        ({**RUNNING, "actual_status": "unknown"}, State.BROKEN),
        ({**RUNNING, "actual_status": "offline"}, State.BROKEN),
        ({**RUNNING, "actual_status": "destroyed"}, State.BROKEN),
        ({**RUNNING, "actual_status": 7}, State.PENDING),
        ({"actual_status": "exited", "cur_state": "stopped", "next_state": "stopped",
          "intended_status": "stopped", "is_bid": True}, State.SUSPENDED),
        ({"actual_status": "running", "cur_state": "stopped", "next_state": "stopped"},
         State.SUSPENDED),
        ({"actual_status": "stopped", "cur_state": "stopped", "next_state": "running"},
         State.PENDING),
        ({"actual_status": "frozen", "intended_status": "frozen"}, State.SUSPENDED),
    ],
)  # fmt: skip
def test_states(row: dict[str, Any], state: State) -> None:
    assert errors.state(row) is state


@pytest.mark.parametrize("answer", [{}, {"instances": []}, {"instances": {"label": "x"}}, []])
def test_gone_is_only_what_is_said_to_be_gone(answer: Any) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
    cloud = Vast(environ={"VAST_API_KEY": "k"}, transport=transport, sleep=lambda s: None)
    with pytest.raises(ProviderError):
        cloud.get("7")


def test_a_404_of_another_kind_is_not_gone(service: FakeVast) -> None:
    for body in ("404: Not Found", '{"error": "no_route"}', ""):
        transport = httpx.MockTransport(lambda request, body=body: httpx.Response(404, text=body))
        cloud = Vast(environ={"VAST_API_KEY": "k"}, transport=transport, sleep=lambda s: None)
        with pytest.raises(ProviderError, match="404"):
            cloud.get("7")
        with pytest.raises(ProviderError, match="404"):
            cloud.terminate("7")


@pytest.mark.parametrize("id", ["", "x", "7/../8", "-1", "0"])
def test_an_id_that_is_none(service: FakeVast, cloud: Vast, id: str) -> None:
    for act in (cloud.get, cloud.terminate, lambda each: cloud.logs(each, 5)):
        with pytest.raises(BadInput):
            act(id)
    assert service.requests == []
