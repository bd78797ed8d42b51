"""A client that Lambda's users write (`lai`), against the fake: each of its calls is taken."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from launch.contract.cloud import State
from launch.providers.lambda_cloud.adapter import Lambda
from tests.clouds.clients import CLIENTS, needs
from tests.clouds.fake_lambda import FakeLambda
from tests.launch.providers.lambda_cloud.case import NAME, OFFER, SLEEP
from tests.waiting import LIMIT

pytestmark = needs("lambda")


@pytest.fixture
def lai(service: FakeLambda, tmp_path: Path) -> Any:
    def run(*words: str) -> Any:
        done = subprocess.run(
            [CLIENTS["lambda"], *words], capture_output=True, text=True, timeout=LIMIT,
            stdin=subprocess.DEVNULL, cwd=tmp_path,
            env={"HOME": str(tmp_path), "PATH": os.defpath, "NO_PROXY": "*",
                 "LAMBDA_CLOUD_BASE_URL": service.url, "LAMBDA_CLOUD_TOKEN": service.token},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
        return json.loads(done.stdout)

    return run


def test_it_sees_names_and_ends_what_we_ordered(
    service: FakeLambda, cloud: Lambda, lai: Any
) -> None:
    id = cloud.create(OFFER, SLEEP, NAME)
    (shown,) = lai("ls", "--json")
    assert (shown["id"], shown["name"]) == (id, NAME)
    assert lai("get", id)["instance_type"]["name"] == OFFER.key["type"]
    assert lai("rename", id, "mimir-run-a0002")["name"] == "mimir-run-a0002"
    (found,) = cloud.instances()
    assert found.name == "mimir-run-a0002"
    assert [each["id"] for each in lai("restart", id)] == [id]
    assert [each["status"] for each in lai("stop", id)] == ["terminating"]
    assert service.alive() == []


def test_we_find_and_end_what_it_ordered(service: FakeLambda, cloud: Lambda, lai: Any) -> None:
    service.keys["theirs"] = "ssh-ed25519 AAAA theirs"
    assert {each["instance_type"]["name"] for each in lai("types", "--json")} == set(service.types)
    assert len(lai("images", "--json")) == 3
    assert [each["name"] for each in lai("keys", "--json")] == ["theirs"]
    order = ("--instance-type", "gpu_1x_a10", "--region", "us-west-2", "--ssh-key", "theirs")
    lai("start", *order, "--name", NAME, "--json")
    (found,) = cloud.instances()
    assert (found.name, found.state) == (NAME, State.RUNNING)
    cloud.terminate(found.id)
    assert lai("ls", "--json") == []
