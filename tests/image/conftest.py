"""A real engine, an image, and runs small enough to be trained in it several times.

Only `make image-test` sets MIMIR_TEST_IMAGE; without it these tests are skipped.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from mimir.runs.store import Store, open_store
from tests.e2e.jobs import ROOT, copy_data, model_sha256, write_data
from tests.gates import HOOK, Gate
from tests.waiting import LIMIT, wait_for

IMAGE = os.environ.get("MIMIR_TEST_IMAGE", "")
STOCK = os.environ.get("MIMIR_TEST_STOCK", "")
SETTINGS = (
    "--dim=32", "--layers=1", "--heads=2", "--batch=8", "--epochs=24", "--log-every=10",
    "--eval-every=400", "--eval-rows=16", "--warmup-steps=2", "--checkpoint-steps=50",
    "--threads=1",
)  # fmt: skip
STEPS = 24 * 45
CONFINED = (
    "--read-only", "--tmpfs", "/tmp:exec", "--memory", "2g", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--pids-limit", "256",
)  # fmt: skip
OFFLINE = (*CONFINED, "--network", "none")
SECRET = "planted/secret/of/the/test"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not IMAGE:
        reason = "needs a container engine and an image: make image-test"
        for item in items:
            if Path(item.path).parent == Path(__file__).parent:
                item.add_marker(pytest.mark.skip(reason=reason))


def docker(*words: str, code: int | None = 0, text: str = "") -> str:
    """Standard output and error of a docker command that ends with this code (None: any).

    text: its standard input.
    """
    done = subprocess.run(
        ["docker", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        input=text, timeout=LIMIT, check=False,
    )  # fmt: skip
    assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}"
    return done.stdout


@dataclass
class Place:
    """A folder that a container mounts as /data, and the store that it is."""

    folder: Path
    names: list[str] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return open_store(self.folder.as_uri())

    @cached_property
    def gate(self) -> Gate:
        """Holds the training of containers that are started in the background."""
        return Gate(self.folder / "gate")

    @property
    def held(self) -> tuple[str, ...]:
        hook = ("-v", f"{HOOK}:/gate:ro", "-e", "PYTHONPATH=/gate")
        return (*hook, "-e", "MIMIR_TEST_GATE=/data/gate")

    @property
    def mount(self) -> tuple[str, ...]:
        return ("-v", f"{self.folder}:/data")

    def container(self, *words: str, name: str, options: tuple[str, ...] = OFFLINE) -> str:
        """Start a container in the background; its name."""
        self.names.append(name)
        options = (*options, *self.held)
        docker("run", "--detach", "--name", name, *options, *self.mount, IMAGE, *words)
        return name


def gated(gate: Gate) -> str:
    """Make an image whose training is held at this gate, a file that its containers see."""
    name = "mimir-test:gated"
    lines = (f"FROM {IMAGE}", "COPY sitecustomize.py /gate/",
             f"ENV PYTHONPATH=/gate MIMIR_TEST_GATE={gate.path}")  # fmt: skip
    docker("build", "--quiet", "--tag", name, "--file", "-", str(HOOK), text="\n".join(lines))
    return name


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("rows") / "data.csv", 400)


@pytest.fixture
def place(tmp_path: Path, rows: Path) -> Iterator[Place]:
    made = _place(tmp_path / "store", rows)
    yield made
    for name in made.names:
        docker("rm", "--force", "--volumes", name, code=None)


def _place(folder: Path, rows: Path) -> Place:
    folder.mkdir()
    copy_data(rows, folder / "data.csv")
    folder.chmod(0o777)  # the image's user is nobody on this machine
    return Place(folder)


def train(run: str) -> tuple[str, ...]:
    return ("train", "--preset", "smoke", "--run-name", run, "--data", "/data/data.csv", *SETTINGS)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, rows: Path) -> tuple[Place, str]:
    """A run trained to its end in one container, and the digest of its weights."""
    made = _place(tmp_path_factory.mktemp("undisturbed") / "store", rows)
    told = docker("run", "--rm", *OFFLINE, *made.mount, IMAGE, *train("whole"))
    assert "the CPU (no GPU is visible)" in told
    assert f"run whole is done: finished at step {STEPS}" in told
    return made, model_sha256(made.store, "whole")


@dataclass
class S3:
    """moto's server, on all of this machine's addresses."""

    port: int
    log: Path

    def url(self, host: str = "127.0.0.1") -> str:
        return f"s3://bucket/runs?endpoint=http://{host}:{self.port}&region=us-east-1"


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    import socket

    import boto3

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "s3.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.moto_server", "-H", "0.0.0.0", "-p", str(port)],
            cwd=ROOT, stdout=out, stderr=out,
        )  # fmt: skip
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAPLANTED")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    try:
        wait_for(lambda: _answers(port))
        boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1"
        ).create_bucket(Bucket="bucket")
        yield S3(port, log)
    finally:
        server.terminate()
        server.wait(timeout=LIMIT)


def _answers(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=2):
            return True
    except OSError:
        return False


@pytest.fixture
def network() -> Iterator[tuple[str, str]]:
    """A network that leads nowhere but to this machine: (its name, this machine's address)."""
    name = f"mimir-test-{os.getpid()}"
    docker("network", "create", "--internal", name)
    gateway = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"
    yield name, docker("network", "inspect", "--format", gateway, name).strip()
    docker("network", "rm", name)


@dataclass
class Laptop:
    """`python -m launch` on this machine."""

    env: dict[str, str]

    def launch(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "launch", *words], cwd=ROOT, env=self.env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def spawn(self, *words: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "launch", *words], cwd=ROOT, env=self.env,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def status(self, run: str) -> dict[str, Any]:
        text = self.launch("status", run, "--json")
        found: dict[str, Any] = json.loads(text[text.index("{") :])
        return found


@pytest.fixture
def laptop(tmp_path: Path) -> Iterator[Laptop]:
    env = {
        **os.environ,
        "MIMIR_STORE": (tmp_path / "runs").as_uri(),
        "MIMIR_IMAGE": IMAGE,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    yield Laptop(env)
    for number in docker("ps", "--all", "--quiet", "--filter", "label=mimir.run").split():
        docker("rm", "--force", "--volumes", number)
