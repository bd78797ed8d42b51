"""Provider docker with a real engine: submitted, abandoned, found again, stopped, gone on with."""

import json
import os
import signal
from pathlib import Path

from mimir.runs.parts import read_parts
from mimir.runs.status import read_head
from mimir.runs.store import Store, open_store
from tests.e2e.jobs import model_sha256
from tests.gates import Gate
from tests.image.conftest import (
    S3,
    SECRET,
    SETTINGS,
    STEPS,
    STOCK,
    Laptop,
    Place,
    docker,
    gated,
)
from tests.waiting import LIMIT, wait_for

CLAIMED = "run run, attempt 1: claimed"


def submission(run: str, rows: Path) -> tuple[str, ...]:
    return (
        "submit", "--provider", "docker", "--preset", "smoke", "--name", run, "--data", str(rows),
        *SETTINGS,
    )  # fmt: skip


def test_the_launcher_dies_and_the_run_is_found_again(
    laptop: Laptop, rows: Path, undisturbed: tuple[Place, str], tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "runs" / "run" / "gate" / "gate")  # a container sees its run's folder
    gate.open(300)
    image = gated(gate)
    launcher = laptop.spawn(*submission("run", rows), "--image", image, "--watch")
    store = open_store(laptop.env["MIMIR_STORE"])
    wait_for(lambda: store.read("run/launcher/a0001/machine.json") is not None)
    os.kill(launcher.pid, signal.SIGKILL)
    launcher.wait()

    wait_for(lambda: read_head(store, "run").step >= 50 and _claimed(store))
    status = laptop.status("run")
    assert status["state"] == "running"
    machine = status["attempts"][0]["machine"]
    assert (machine["provider"], machine["name"]) == ("docker", "mimir-run-a0001")
    assert CLAIMED in laptop.launch("logs", "run")
    stop = laptop.spawn("stop", "run")
    assert stop.wait(timeout=LIMIT) == 0
    assert docker("wait", "mimir-run-a0001").strip() == "75"
    assert laptop.status("run")["state"] == "stopped"

    gate.open()
    # resume knows provider and image from the attempt before.
    assert "run run is done" in laptop.launch("resume", "run", "--watch")
    assert model_sha256(store, "run") == undisturbed[1]
    assert laptop.status("run")["attempts"][1]["machine"]["image"] == image
    listed = docker("ps", "--all", "--format", "{{.Names}}", "--filter", "label=mimir.run=run")
    assert listed.split() == ["mimir-run-a0002"], "the older attempt's container is gone"


def _claimed(store: Store) -> bool:
    return any(CLAIMED in text for _, text in read_parts(store, "run", 1, "log"))


def test_an_image_of_somebody_elses(
    laptop: Laptop, rows: Path, undisturbed: tuple[Place, str]
) -> None:
    told = laptop.launch(*submission("theirs", rows), "--image", STOCK, "--watch")
    assert f"finished at step {STEPS}" in told
    assert model_sha256(open_store(laptop.env["MIMIR_STORE"]), "theirs") == undisturbed[1]


def test_s3_with_keys_that_nothing_shows(
    laptop: Laptop, rows: Path, s3: S3, undisturbed: tuple[Place, str], tmp_path: Path
) -> None:
    laptop.env.update(
        MIMIR_STORE=s3.url(), AWS_ACCESS_KEY_ID="AKIAPLANTED", AWS_SECRET_ACCESS_KEY=SECRET
    )
    told = laptop.launch(*submission("far", rows), "--image", STOCK, "--watch")
    assert "run far is done" in told
    assert model_sha256(open_store(s3.url()), "far") == undisturbed[1]
    shown = docker("inspect", "mimir-far-a0001") + docker("logs", "mimir-far-a0001") + told
    assert SECRET not in shown
    store = open_store(s3.url())
    for key in store.list("far/"):
        assert SECRET.encode() not in store.get(key, limit=1 << 24), key
    assert json.loads(docker("inspect", "mimir-far-a0001"))[0]["HostConfig"]["ReadonlyRootfs"]


def test_refusals(laptop: Laptop, rows: Path) -> None:
    words = submission("run", rows)
    rest = ("--preset", "smoke", "--data", str(rows), *SETTINGS)
    told = laptop.launch(*words, "--image", "nowhere.invalid/none:1", code=78)
    assert "there is no image nowhere.invalid/none:1 here and it cannot be pulled" in told
    laptop.env["DOCKER_HOST"] = "unix:///nowhere.sock"
    told = laptop.launch("submit", "--provider", "docker", "--name", "two", *rest, code=78)
    assert "the container engine does not run" in told
    told = laptop.launch("submit", "--name", "three", "--image", "x", *rest, code=78)
    assert "provider local starts no container" in told
