"""What services' newest documents and their clients say, beyond what Mimir itself asks for."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.fake_runpod import FakeRunPod
from tests.clouds.fake_vast import FakeVast
from tests.clouds.server import PLAIN
from tests.clouds.service import Service
from tests.waiting import wait_for

NAME = "mimir-run-a0001"
ON_VAST = {
    "image": "i", "disk": 8, "runtype": "args", "onstart": "/bin/sh", "args": ["-c", "sleep 60"],
}  # fmt: skip
AT_LAMBDA = {
    "region_name": "us-west-2", "instance_type_name": "gpu_1x_a10", "ssh_key_names": ["theirs"],
    "name": NAME,
}  # fmt: skip
AT_RUNPOD = {"name": NAME, "image": "i", "gpu": {"id": "NVIDIA L4", "minRamPerGpu": 16}}


@pytest.fixture
def vast() -> Iterator[FakeVast]:
    with FakeVast() as made:
        yield made


@pytest.fixture
def runpod() -> Iterator[FakeRunPod]:
    with FakeRunPod() as made:
        yield made


def ask(service: Service, method: str, path: str, body: Any = None, key: bool = True) -> Any:
    headers = {"Authorization": f"Bearer {service.token}"} if key else {}
    with httpx.Client(transport=PLAIN, headers=headers) as client:
        return client.request(method, service.url + path, json=body)


def test_vasts_search_is_public(vast: FakeVast) -> None:
    """Its rows are whole; one that lacks a column passes no comparison, and breaks nothing."""
    del vast.asks[0]["compute_cap"]
    query = {"compute_cap": {"gte": 600}, "gpu_name": {"eq": "RTX 4090"}, "limit": 9}
    found = ask(vast, "POST", "/api/v0/bundles/", query, key=False).json()["offers"]
    assert sorted(each["id"] for each in found) == [102, 107, 108]
    assert {"cpu_cores", "cpu_cores_effective", "cpu_ram", "score"} <= set(found[0])
    assert ask(vast, "GET", "/api/v0/users/current/", key=False).status_code == 401


def test_vasts_account_may_be_asked_twice_in_a_row(vast: FakeVast) -> None:
    for _ in range(2):
        assert ask(vast, "GET", "/api/v0/users/current/").status_code == 200


def test_ports_that_an_instance_publishes(vast: FakeVast) -> None:
    order = {**ON_VAST, "env": {"-p 22:22": "1", "-p 8080:80/udp": "1"}}
    id = ask(vast, "PUT", "/api/v0/asks/101/", order).json()["new_contract"]
    vast.clock.advance(9.0)
    shown = ask(vast, "GET", f"/api/v0/instances/{id}/").json()["instances"]
    assert set(shown["ports"]) == {"22/tcp", "80/udp"}


@pytest.mark.parametrize(("quantity", "status"), [(1, 200), (2, 400)])
def test_lambda_takes_a_quantity_of_one(quantity: int, status: int) -> None:
    """dstack and SkyPilot send it; the newest document has it no more."""
    with FakeLambda() as service:
        service.keys["theirs"] = "ssh-ed25519 AAAA theirs"
        order = {**AT_LAMBDA, "quantity": quantity}
        path = "/api/v1/instance-operations/launch"
        assert ask(service, "POST", path, order).status_code == status


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"entrypoint": ["sh"], "cmd": ["-c", "echo here; sleep 60"]}, 201),
        ({"entrypoint": "sh"}, 422), ({"gpu": {"id": "NVIDIA L4", "minDisk": 1}}, 422),
        ({"env": {"A": "x" * 102_400}}, 413), ({"registry": "none"}, 404),
    ],
)  # fmt: skip
def test_orders_that_runpod_takes_and_refuses(
    runpod: FakeRunPod, more: dict[str, Any], status: int
) -> None:
    answer = ask(runpod, "POST", "/v2/pods", {**AT_RUNPOD, **more})
    assert answer.status_code == status, answer.text
    if status == 201:
        wait_for(lambda: runpod.machines[answer.json()["id"]].output() == ["here"])
