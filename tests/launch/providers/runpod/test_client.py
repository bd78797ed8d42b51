"""RunPod's own client of REST v2 (its MCP server) against the fake: each of its calls is taken."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.contract.cloud import State
from launch.providers.runpod.adapter import RunPod
from tests.clouds.clients import CLIENTS, needs
from tests.clouds.fake_runpod import FakeRunPod
from tests.clouds.runpod_words import PULLING
from tests.launch.providers.runpod.case import KEY, NAME, PRINTS, rent
from tests.waiting import LIMIT, unless_it_hangs, wait_for

pytestmark = needs("runpod")
ORDER = {
    "name": NAME, "image": "private/image", "cloud": "SECURE", "disk": 20, "env": {"A": "b"},
    "gpu": {"id": "NVIDIA L4", "count": 1, "minRamPerGpu": 16},
    "entrypoint": ["sh"], "cmd": ["-c", "echo $A; sleep 60"],
}  # fmt: skip


class Client:
    """The server as a program that asks it over stdio: JSON-RPC, a message a line (MCP)."""

    def __init__(self, fake: FakeRunPod, home: Path) -> None:
        path = os.environ.get("PATH", os.defpath)
        self._program = subprocess.Popen(
            ["node", CLIENTS["runpod"]], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, cwd=home,
            env={"PATH": path, "HOME": str(home), "NO_PROXY": "*", "RUNPOD_API_KEY": KEY,
                 "RUNPOD_API_BASE_URL": fake.url},
        )  # fmt: skip
        self._number = 0
        who = {"name": "tests", "version": "1"}
        self._ask("initialize", protocolVersion="2024-11-05", capabilities={}, clientInfo=who)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __call__(self, tool: str, **arguments: Any) -> Any:
        """What a tool answers; an error of the service fails the test."""
        told = self._ask("tools/call", name=tool, arguments=arguments)["result"]
        text = told["content"][0]["text"]
        assert not told.get("isError"), f"{tool}: {text}"
        return json.loads(text)

    def close(self) -> None:
        self._program.kill()
        self._program.communicate(timeout=LIMIT)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(message) + "\n")
        self._program.stdin.flush()

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._send({"jsonrpc": "2.0", "id": self._number, "method": method, "params": params})
        stdout = self._program.stdout
        assert stdout is not None
        while line := unless_it_hangs(stdout.readline):
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") == self._number:
                return answer
        raise AssertionError(f"the client ended at {method}")


@pytest.fixture
def ask(fake: FakeRunPod, tmp_path: Path) -> Iterator[Client]:
    client = Client(fake, tmp_path)
    yield client
    client.close()


def test_it_sees_and_ends_what_we_ordered(fake: FakeRunPod, cloud: RunPod, ask: Client) -> None:
    id = rent(cloud, *PRINTS)
    assert [(each["id"], each["name"]) for each in ask("list-pods")["pods"]] == [(id, NAME)]
    assert ask("get-pod", id=id)["status"] == "RUNNING"
    wait_for(lambda: len(fake.machines[id].output()) == 2)
    lines = [(each["source"], each["line"]) for each in ask("stream-pod-logs", podId=id)["items"]]
    assert lines == [("system", f"{PULLING} image:tag"), ("container", "one"), ("container", "two")]
    assert ask("pod-action", id=id, body={"action": "stop"})["status"] == "EXITED"
    found = cloud.get(id)
    assert found is not None
    assert found.state is State.SUSPENDED
    assert ask("pod-action", id=id, body={"action": "start"})["status"] == "RUNNING"
    ask("update-pod", id=id, body={"name": "mimir-run-a0002"})
    assert [each.name for each in cloud.instances()] == ["mimir-run-a0002"]
    ask("delete-pod", id=id)
    assert cloud.get(id) is None


def test_we_find_and_end_what_it_ordered(fake: FakeRunPod, cloud: RunPod, ask: Client) -> None:
    """An order by the newest document: arrays for the command, memory per GPU, a login."""
    gpus = ask("list-gpu-types", include=["AVAILABILITY"], product="POD")["gpus"]
    assert {each["id"] for each in gpus} == {each["id"] for each in fake.stock}
    assert ask("get-gpu-type", id="NVIDIA L4")["memory"] == 24
    assert ask("list-data-centers")["dataCenters"][0]["id"] == "US-TX-3"
    assert ask("get-ssh-keys") == {"keys": []}
    assert ask("list-network-volumes") == {"networkVolumes": []}
    login = ask("create-registry", body={"name": "mine", "username": "u", "password": "pass"})["id"]
    assert ask("list-registries")["registries"] == [{"id": login, "name": "mine"}]
    assert ask("get-registry", id=login)["name"] == "mine"
    id = ask("create-pod", body={**ORDER, "registry": login})["id"]
    (found,) = cloud.instances()
    assert (found.id, found.name) == (id, NAME)
    wait_for(lambda: cloud.logs(id, 9)[-1:] == ["b"])
    cloud.terminate(id)
    ask("delete-registry", id=login)
    assert [each["podId"] for each in ask("list-pod-billing")["records"]] == [id]
    assert ask("list-pods")["pods"] == []
    assert fake.logins == {}
