"""The vendor's own client against the fake: it finds and ends what our adapter ordered.

Its dependencies are pinned, so it has an environment of its own (tests/clouds/client.sh).
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.providers.vastai.adapter import Vast
from tests.clouds.clients import CLIENTS, needs
from tests.clouds.fake_vast import FakeVast
from tests.launch.providers.vastai.case import NAME, SPOT, adapter, up
from tests.waiting import LIMIT

pytestmark = needs("vastai")


@pytest.fixture
def service() -> Iterator[FakeVast]:
    with FakeVast() as made:
        yield made


@pytest.fixture
def cloud(service: FakeVast) -> Vast:
    return adapter(service, VAST_API_KEY=service.token)


def vastai(service: FakeVast, home: Path, *words: str) -> Any:
    # The options first: what follows --args is the container's.
    first = (*words[:2], "--url", service.url, "--api-key", service.token, "--raw")
    done = subprocess.run(
        [CLIENTS["vastai"], *first, *words[2:]], capture_output=True, text=True, timeout=LIMIT,
        env={"HOME": str(home), "PATH": os.defpath, "NO_PROXY": "*"}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    service.clock.advance(10.0)
    return json.loads(done.stdout) if done.stdout.lstrip()[:1] in ("[", "{") else done.stdout


def test_it_lists_and_ends_what_we_ordered(service: FakeVast, cloud: Vast, tmp_path: Path) -> None:
    id = up(service, cloud, SPOT)
    (shown,) = vastai(service, tmp_path, "show", "instances")
    assert (shown["id"], shown["label"], shown["is_bid"]) == (int(id), NAME, True)
    assert vastai(service, tmp_path, "show", "instance", id)["dph_base"] == 0.2
    vastai(service, tmp_path, "destroy", "instance", id, "-y")
    assert service.alive() == []
    assert cloud.get(id) is None


def test_we_find_and_end_what_it_ordered(service: FakeVast, cloud: Vast, tmp_path: Path) -> None:
    offers = vastai(service, tmp_path, "search", "offers", "gpu_name=RTX_4090 num_gpus=1")
    number = str(min(offers, key=lambda each: each["dph_base"])["id"])
    order = ("--image", "org/image", "--label", NAME, "--bid_price", "0.2", "--disk", "20")
    entry = ("--entrypoint", "/bin/sh", "--args", "-c", "echo from the client; exec sleep 60")
    vastai(service, tmp_path, "create", "instance", number, *order, *entry)
    (found,) = cloud.instances()
    assert found.name == NAME
    assert cloud.logs(found.id, 5) == ["from the client"]
    cloud.terminate(found.id)
    assert vastai(service, tmp_path, "show", "instances") == []


def test_it_looks_into_its_account(service: FakeVast, cloud: Vast, tmp_path: Path) -> None:
    """`show user` asks twice in a row."""
    assert vastai(service, tmp_path, "show", "user")["id"] == 31
    service.fault("no_pull")
    id = up(service, cloud)
    service.log_delay = 0.0
    said = vastai(service, tmp_path, "logs", id, "--daemon-logs")
    assert "pull rate limit" in said
