"""The image under a real engine: confined as on a stranger's machine, stopped, killed, misused."""

import json

import pytest

from mimir.runs.notes import read_outcome
from mimir.runs.status import read_head
from mimir.runs.store import open_store
from tests.e2e.jobs import model_sha256
from tests.image.conftest import (
    CONFINED,
    IMAGE,
    OFFLINE,
    S3,
    SECRET,
    STEPS,
    Place,
    docker,
    train,
)
from tests.waiting import wait_for

GRACE = 300


def test_it_is_built_as_promised() -> None:
    found = json.loads(docker("image", "inspect", IMAGE))[0]["Config"]
    assert found["User"] == "10001:10001"
    assert found["Entrypoint"] == ["tini", "--", "mimir-entrypoint"]
    assert found["StopSignal"] == "SIGTERM"
    assert found["Healthcheck"]["Test"] == ["CMD", "python", "-m", "mimir.worker.health"]
    assert found["Labels"]["org.opencontainers.image.version"] not in ("", "0")
    assert found["Labels"]["org.opencontainers.image.revision"] not in ("", "unknown")
    look = "for tool in gcc cc c++ make; do command -v $tool; done; ls ~root/.cache; id -u"
    told = docker("run", "--rm", "--network", "none", IMAGE, "bash", "-c", look)
    assert "/" not in told.replace("'/root/.cache'", ""), "a compiler is left"
    assert "10001" in told.split()


def test_a_run_samples_and_evaluates(undisturbed: tuple[Place, str]) -> None:
    place, _ = undisturbed
    told = docker(
        "run", "--rm", *OFFLINE, *place.mount, IMAGE,
        "sample", "--run", "whole", "-n", "3", "--format", "csv",
    )  # fmt: skip
    assert told.splitlines()[0].startswith("id,sequence,target,label,score,")
    assert len(told.splitlines()) == 4
    told = docker(
        "run", "--rm", *OFFLINE, *place.mount, IMAGE,
        "evaluate", "--run", "whole", "--repeats", "1", "--samples", "0",
    )  # fmt: skip
    assert "nats per residue" in told


def test_stopped_and_killed_it_ends_with_the_same_weights(
    place: Place, undisturbed: tuple[Place, str]
) -> None:
    place.gate.open(300)
    first = place.container(*train("run"), name="mimir-test-1")
    wait_for(lambda: _step(place) >= 100)
    assert docker("exec", first, "python", "-m", "mimir.worker.health").startswith(
        "the last heartbeat"
    )
    docker("stop", "--time", str(GRACE), first)
    assert docker("wait", first).strip() == "75"
    head = read_head(place.store, "run")
    assert head.kept[-1].step == head.step
    assert 100 <= head.step < STEPS
    outcome = read_outcome(place.store, "run", 1)
    assert outcome is not None
    assert (outcome.exit_code, outcome.step) == (75, head.step)

    place.gate.open(head.step + 300)
    second = place.container("resume", "run", name="mimir-test-2")
    wait_for(lambda: _step(place) >= head.step + 100)
    docker("kill", second)
    assert docker("wait", second).strip() == "137"

    told = docker("run", "--rm", *OFFLINE, *place.mount, IMAGE, "resume", "run")
    assert f"run run is done: finished at step {STEPS}" in told
    assert model_sha256(place.store, "run") == undisturbed[1]


def _step(place: Place) -> int:
    if not (place.folder / "run" / "HEAD").exists():
        return -1
    return read_head(place.store, "run").step


def test_with_s3_and_no_other_network(
    place: Place, s3: S3, network: tuple[str, str], undisturbed: tuple[Place, str]
) -> None:
    name, address = network
    options = (
        *CONFINED, "--network", name, "--env", "AWS_ACCESS_KEY_ID", "--env",
        "AWS_SECRET_ACCESS_KEY", *place.mount,
    )  # fmt: skip
    outside = docker(
        "run", "--rm", *options, IMAGE, "python", "-c",
        "import socket; socket.create_connection(('192.0.2.1', 80), 3)", code=1,
    )  # fmt: skip
    assert "unreachable" in outside or "timed out" in outside
    told = docker("run", "--rm", *options, IMAGE, *train("far"), "--store", s3.url(address))
    assert "run far is done" in told
    assert SECRET not in told
    assert model_sha256(open_store(s3.url()), "far") == undisturbed[1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("trian",), "mimir: there is no command 'trian'; it is one of: train, resume, worker"),
        ((), "docker run [--gpus all] -v"),
        (("train", "--preset", "smok"), "there is no preset 'smok'; did you mean 'smoke'?"),
        (("train", "--preset", "smoke", "--lr", "-1"), "lr is -1"),
        (("worker", "--run", "x", "--attempt", "1"), "--store"),
        (("sample", "--run", "nobody"), "there is no run nobody in file:///data"),
    ],
)
def test_bad_words(place: Place, words: tuple[str, ...], sentence: str) -> None:
    told = docker("run", "--rm", *OFFLINE, *place.mount, IMAGE, *words, code=78 if words else 0)
    assert sentence in told
    assert "Traceback" not in told


def test_a_gpu_that_is_not_there(place: Place) -> None:
    told = docker(
        "run", "--rm", *OFFLINE, *place.mount, IMAGE, *train("gpu"), "--device=cuda", code=78
    )
    assert told.splitlines()[-1] == (
        "python -m mimir: device is 'cuda', but no GPU is visible here; use --device cpu or auto"
    )


def test_a_compiler_that_is_not_there(place: Place) -> None:
    told = docker(
        "run", "--rm", *OFFLINE, *place.mount, IMAGE, *train("fast"), "--compile=on", code=78
    )
    assert told.splitlines()[-1].startswith(
        "python -m mimir: compile is 'on', but there is no C++ compiler; install"
    )


def test_a_store_that_cannot_be_written(place: Place) -> None:
    place.folder.chmod(0o755)
    told = docker("run", "--rm", *OFFLINE, *place.mount, IMAGE, *train("run"), code=78)
    assert told.strip().startswith("mimir: user 10001 cannot write to /data: give --user")
    words = ("train", "--preset", "smoke", "--store", "file:///opt/nowhere")
    told = docker("run", "--rm", *OFFLINE, *place.mount, IMAGE, *words, code=78)
    assert "/opt/nowhere" in told.splitlines()[-1]
    assert "Traceback" not in told
    told = docker("run", "--rm", "--read-only", IMAGE, "worker", code=78)
    assert "mount a writable /tmp" in told


def test_confinement_is_real(place: Place) -> None:
    look = (
        "grep -E '^(CapEff|NoNewPrivs)' /proc/self/status; ls /sys/class/net; touch /opt/x /etc/x"
    )
    told = docker("run", "--rm", *OFFLINE, IMAGE, "bash", "-c", look, code=1)
    assert "CapEff:\t0000000000000000" in told
    assert "NoNewPrivs:\t1" in told
    assert "eth0" not in told
    assert told.count("Read-only file system") == 2
