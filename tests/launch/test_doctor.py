"""doctor: each check's good and bad word, and what makes it unhealthy."""

import functools
import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from launch import doctor
from launch.contract.errors import AuthFailed
from launch.contract.provider import AttemptSpec, Check
from launch.payload import credentials
from launch.payload.credentials import Credentials
from launch.providers import registry
from launch.providers.docker.cli import Engine, Refused
from launch.providers.rented import Rented
from mimir.errors import BAD_CONFIG, MimirError, StoreDenied, StoreError
from mimir.runs.store import Store
from tests import ROOT
from tests.launch.paper import START, URL, Paper
from tests.runs.memory import MemoryStore
from tests.waiting import LIMIT


class Bucket(MemoryStore):
    """In place of an S3Store. skew: seconds by which its clock is behind."""

    def __init__(self) -> None:
        super().__init__()
        self.url = URL
        self.skew = 0.0
        self.fails: MimirError | None = None

    def now(self) -> float:
        if self.fails:
            raise self.fails
        return START - self.skew


class Place:
    """A computer with a bucket, keys for it, and a key to RunPod."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bucket = Bucket()
        self.clouds = {name: Paper(name) for name in registry.renting()}
        self.programs: set[str] = set()
        self.engine_says = ""
        self.minted: list[AttemptSpec] = []
        self.denied: MimirError | None = None
        for name, cloud in self.clouds.items():
            cloud.key = name == "runpod"
        made = {name: Rented(cloud) for name, cloud in self.clouds.items()}
        real = registry.get
        monkeypatch.setattr(registry, "get", lambda name: made.get(name) or real(name))
        timed = Check("watch timer", "ok", "it ran")
        monkeypatch.setattr("launch.supervise.timer.check", lambda store: timed)
        monkeypatch.setattr("mimir.runs.s3_store.S3Store", Bucket)
        monkeypatch.setattr(doctor, "open_store", self._open)
        monkeypatch.setattr(credentials, "for_machine", self._mint)
        monkeypatch.setattr(Engine, "ask", self._ask)
        monkeypatch.setattr(
            shutil, "which", lambda name: f"/bin/{name}" if name in self.programs else None
        )

    def _ask(self, *words: str, **how: object) -> str:
        if self.engine_says:
            raise Refused(self.engine_says)
        return ""

    def examine(self) -> list[Check]:
        return doctor.examine(URL, lambda: START)

    def __getitem__(self, name: str) -> Check:
        return next(each for each in self.examine() if each.name == name)

    def word(self, name: str) -> tuple[str, str]:
        found = self[name]
        return found.status, found.details

    def _open(self, url: str) -> Store:
        assert url == URL
        return self.bucket

    def _mint(self, spec: AttemptSpec, *wish: object, foreign: bool, **more: object) -> Credentials:
        self.minted.append(spec)
        assert foreign
        if self.denied:
            raise self.denied
        return Credentials("an id", "a secret", "a token", START + 5400)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(monkeypatch)


def test_all_is_well(place: Place) -> None:
    place.programs = {"docker"}
    checks = place.examine()
    assert [(each.name, each.status) for each in checks] == [
        ("python", "ok"), ("store", "ok"), ("store race", "ok"), ("watch timer", "ok"),
            ("clock", "ok"),
        ("machine keys", "ok"),
        ("engine", "ok"), ("colab", "warn"), ("slurm", "warn"), ("runpod key", "ok"),
        ("vastai", "warn"), ("lambda", "warn"), ("aws", "warn"), ("gcp", "warn"), ("ssh", "ok"),
    ]  # fmt: skip
    assert all(each.details for each in checks if each.name != "runpod key")
    assert doctor.healthy(checks)


def test_nothing_is_rented_and_nothing_stays_in_the_store(place: Place) -> None:
    place.examine()
    assert not place.bucket.objects
    assert not any(cloud.created or cloud.machines for cloud in place.clouds.values())


def test_the_keys_of_a_machine_are_tried(place: Place) -> None:
    assert "for 1.5 h" in place["machine keys"].details
    assert [(spec.store, spec.attempt) for spec in place.minted] == [(URL, 1)]
    place.denied = StoreDenied("your own keys may not do this")
    assert place.word("machine keys") == ("warn", "your own keys may not do this")


@pytest.mark.parametrize(
    ("skew", "status"), [(299, "ok"), (-299, "ok"), (301, "fail"), (-301, "fail")]
)
def test_clocks(place: Place, skew: float, status: str) -> None:
    place.bucket.skew = skew
    found = place["clock"]
    assert found.status == status
    assert f"{skew:+} s off" in found.details


def test_a_clock_that_cannot_be_asked(place: Place) -> None:
    place.bucket.fails = StoreError("no answer")
    assert place.word("clock") == ("warn", "no answer")


def test_a_store_that_does_not_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(url: str) -> Store:
        raise StoreDenied("there is no bucket")

    monkeypatch.setattr(doctor, "open_store", closed)
    checks = place.examine()
    assert Check("store", "fail", "there is no bucket") in checks
    assert not {"clock", "machine keys"} & {each.name for each in checks}
    assert not doctor.healthy(checks)
    assert checks[-1].name == "ssh"  # one failure hides no other check


def test_a_store_that_ignores_conditions(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.bucket, "put_if_absent", place.bucket._set)
    assert place["store"].status == "fail"
    assert "second create" in place["store"].details


def test_a_folder_is_out_of_a_machines_reach(tmp_path: Path) -> None:
    checks = {each.name: each for each in doctor.examine(tmp_path.as_uri())}
    assert checks["store"].status == "ok"
    assert checks["store reach"].status == "warn"
    assert "s3://" in checks["store reach"].details
    assert "clock" not in checks
    doctor.examine(tmp_path.as_uri())
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert left == {"doctor", "doctor/probe"}  # folders, and no more of them


def test_what_a_service_says_of_the_key(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def checks() -> list[Check]:
        return [Check("balance", "fail", "$0.00 left"), Check("runpod key", "ok")]

    monkeypatch.setattr(place.clouds["runpod"], "checks", checks)
    found = place.examine()
    assert Check("runpod balance", "fail", "$0.00 left") in found
    assert Check("runpod key", "ok") in found
    assert not doctor.healthy(found)


def test_a_service_that_does_not_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def checks() -> list[Check]:
        raise AuthFailed("the key is wrong")

    monkeypatch.setattr(place.clouds["runpod"], "checks", checks)
    assert place.word("runpod") == ("fail", "the key is wrong")


def test_engines(place: Place) -> None:
    assert place["engine"].status == "warn"
    place.programs = {"podman"}
    assert place.word("engine") == ("ok", "/bin/podman")
    place.programs = {"podman", "docker"}
    assert place["engine"].details == "/bin/docker"
    place.engine_says = "it is out of disk"
    assert place.word("engine") == (
        "warn", "the container engine cannot be used: it is out of disk",
    )  # fmt: skip


def test_without_paramiko(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    assert place["ssh"].status == "warn"
    assert "pip install" in place["ssh"].details


def test_colabs_cli_is_asked_where_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from launch.providers.colab.account import Account
    from launch.providers.colab.provider import ColabProvider

    said = Check("colab", "ok", "100 units")
    monkeypatch.setattr(Account, "check", lambda self: said)
    assert place["colab"].status == "warn"
    place.programs = {"colab"}
    assert place["colab"] == said
    place.programs = set()
    placed = ColabProvider(environ={"COLAB_CLI_PATH": "/somewhere/colab"})
    assert placed.checks() == [said]


def test_only_a_failure_is_unhealthy() -> None:
    assert doctor.healthy([Check("a", "ok"), Check("b", "warn")])
    assert not doctor.healthy([Check("a", "ok"), Check("b", "fail"), Check("c", "ok")])


def test_the_command(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.bucket.skew = START - time.time()
    command = importlib.import_module("launch.commands.doctor").doctor
    assert command(store=URL) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("ok    store ") for line in lines)
    place.bucket.skew += 1000
    assert command(store=URL, json=True) == BAD_CONFIG
    body = json.loads(capsys.readouterr().out)
    assert body["healthy"] is False
    assert {"name", "status", "details"} == set(body["checks"][0])
    assert [c["status"] for c in body["checks"] if c["name"] == "clock"] == ["fail"]


@pytest.mark.parametrize("broken", ["store", "race", "clock", "machine keys", "runpod", "colab"])
def test_a_check_that_fails_itself_hides_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Of all commands this one must answer, whatever it meets."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("planted-secret")

    target = {
        "store": (place.bucket, "put_if_absent"),
        "race": (doctor.probe, "race"),
        "clock": (place.bucket, "now"),
        "machine keys": (credentials, "for_machine"),
        "runpod": (place.clouds["runpod"], "checks"),
        "colab": (registry.get("colab"), "checks"),
    }[broken]
    monkeypatch.setattr(*target, fails)
    checks = place.examine()
    (found,) = [each for each in checks if "RuntimeError" in each.details]
    assert found.name == {"race": "store race"}.get(broken, broken)
    assert found.status == "fail"
    assert "planted-secret" not in found.details
    assert checks[-1].name == "ssh"


def test_an_endpoint_that_is_no_s3_server(tmp_path: Path) -> None:
    """By the command as a user calls it: one sentence, and no traceback."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s"}
        url = f"s3://b/x?endpoint=http://127.0.0.1:{server.server_address[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "launch", "doctor", "--store", url],
            env={**os.environ, **env}, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT,
            check=False,
        )  # fmt: skip
        server.shutdown()
    assert done.returncode == BAD_CONFIG
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail  store ")]
    assert "does not offer this operation" in line or "no S3 server" in line
