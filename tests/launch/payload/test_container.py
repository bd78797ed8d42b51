"""The command of a rented machine, run by a real shell: worker, time limit, end of the machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from launch.contract import deadlines
from launch.contract.cloud import ContainerSpec
from launch.contract.image import PUBLIC
from launch.contract.provider import AttemptSpec
from launch.payload import container as boot
from launch.payload import shell_end, wheel
from mimir.errors import BadInput
from mimir.runs import notes
from mimir.runs.begin import raise_attempt
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store, open_store
from tests.launch.conftest import ROOT
from tests.waiting import LIMIT, wait_for

STAND_IN = ROOT / "tests" / "launch" / "stand_in.py"
SECRETS = ("planted-secret", "planted-session", "planted-token")


@dataclass
class Service:
    """Ends machines by DELETE, or refuses to. asked: (method, path, token, body)."""

    url: str
    status: int = 200
    asked: list[tuple[str, str, str, Any]] = field(default_factory=list)

    @property
    def ending(self) -> dict[str, Any]:
        return {
            "method": "POST", "url": self.url + "/pods/{POD_ID}/action", "token": "POD_KEY",
            "body": {"action": "terminate", "of": ["{POD_ID}"]},
        }  # fmt: skip


@pytest.fixture
def service() -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = (self.command, self.path, self.headers["Authorization"], body)
            found.asked.append(asked)
            self.send_response(found.status)
            self.send_header("Location", found.url + "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            found.asked.append((self.command, self.path, self.headers["Authorization"], None))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Service(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Mimir's wheel, whose worker is ours and whose training is a stand-in's."""
    folder = tmp_path_factory.mktemp("code")
    whole, path = folder / "whole.whl", folder / wheel.file_name()
    whole.write_bytes(wheel.content())
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            theirs = name == "mimir/worker/attempt.py"
            new.writestr(name, STAND_IN.read_bytes() if theirs else old.read(name))
    return path


@pytest.fixture
def store(tmp_path: Path, code: Path) -> Store:
    """A store with attempt 1 of the run `run`, which has the stand-in's code."""
    store = open_store((tmp_path / "store").as_uri())
    create_run(store, RunRecord("run", "smoke", {}, 0, 1.0), code=code)
    raise_attempt(store, "run")
    return store


@dataclass
class Machine:
    """A container without walls: its disk is a folder, it is started as often as a test wants."""

    store: Store
    service: Service
    folder: Path
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def boot(self, deadline: float = 0.0, **more: Any) -> ContainerSpec:
        secret = {"AWS_SECRET_ACCESS_KEY": SECRETS[0], "AWS_SESSION_TOKEN": SECRETS[1]}
        spec = AttemptSpec(self.store.url, "run", 1, deadline, {"AWS_ACCESS_KEY_ID": "x", **secret})
        return boot.of(self.store, spec, "", self.service.ending, **more)

    def start(
        self, what: ContainerSpec, shell: str = "sh", **env: str
    ) -> "subprocess.Popen[bytes]":
        for name in ("tmp", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        its = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "POD_ID": "p-1",
            "POD_KEY": SECRETS[2], "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "tmp"), "MIMIR_END_PATIENCE": "0.2", "STAND_IN": "work",
        }  # fmt: skip
        env = {"MIMIR_COMPILER": "never", **env}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [shell, *what.command[1:]], env={**its, **what.env, **env}, stdout=log,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                cwd=ROOT,  # where another mimir is, which must not be taken
            )  # fmt: skip
        self.processes.append(process)
        return process

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def until(self, condition: Callable[[], Any]) -> None:
        wait_for(condition, lambda: f"what did not come\n{self.log}")

    def stop(self) -> int:
        self.processes[-1].terminate()
        return self.processes[-1].wait(timeout=LIMIT)


@pytest.fixture
def machine(store: Store, service: Service, tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(store, service, tmp_path / "disk")
    yield machine
    for process in machine.processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def outcome(store: Store) -> notes.Outcome | None:
    return notes.read_outcome(store, "run", 1)


def test_a_machine_ends_itself_when_its_run_is_done(machine: Machine, store: Store) -> None:
    what = machine.boot()
    machine.start(what)
    machine.until(lambda: machine.service.asked)
    found = outcome(store)
    assert found is not None
    assert found.exit_code == 0
    body = {"action": "terminate", "of": ["p-1"]}
    assert machine.service.asked == [
        ("POST", "/pods/p-1/action", f"Bearer {SECRETS[2]}", body)
    ]  # fmt: skip
    machine.until(lambda: "has asked to be ended" in machine.log)
    assert machine.stop() == 0
    assert notes.read_unended(store, "run", 1) is None
    shown = machine.log + repr(what)
    shown += "".join(p.read_text(errors="replace") for p in machine.folder.rglob("*.json"))
    shown += "".join(
        store.get(k, limit=1 << 30).decode(errors="replace") for k in store.list("run/")
    )
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_sigterm_gives_the_last_checkpoint_and_then_the_end(
    machine: Machine, store: Store, shell: str
) -> None:
    deadline = time.time() + 3600 if shell == "bash" else 0.0  # with `timeout` between, and not
    process = machine.start(machine.boot(deadline), shell, STEPS="100000")
    machine.until(lambda: notes.read_heartbeat(store, "run", 1))
    process.terminate()
    machine.until(lambda: machine.service.asked)
    found = outcome(store)
    assert found is not None
    assert (found.exit_code, found.step > 0) == (75, True), found
    machine.until(lambda: "has asked to be ended" in machine.log)
    assert machine.stop() == 75


def test_a_machine_that_may_not_end_itself_says_so_and_does_not_work_again(
    machine: Machine, store: Store
) -> None:
    machine.service.status, before = 403, time.time()
    machine.start(machine.boot(), STEPS="2")
    machine.until(lambda: notes.read_unended(store, "run", 1))
    unended = notes.read_unended(store, "run", 1)
    assert unended is not None
    assert "403" in unended.reason
    assert before <= unended.time <= time.time()
    assert "may still cost money" in machine.log
    assert len(machine.service.asked) == 8
    before = {key: store.get(key, limit=1 << 30) for key in store.list("run/")}
    assert machine.stop() == 0

    for path in (machine.folder / "tmp").glob("mimir-*/*.whl"):
        path.unlink()  # what is unpacked is not fetched again
    machine.service.status = 410
    machine.start(machine.boot(), STEPS="2")
    machine.until(lambda: "has asked to be ended" in machine.log)
    assert "attempt 1 of run has ended already: finished" in machine.log
    assert {key: store.get(key, limit=1 << 30) for key in store.list("run/")} == before
    assert machine.stop() == 0


def test_the_time_limit_ends_a_deaf_worker_and_what_it_leaves(
    machine: Machine, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "KILL_AFTER", 1)
    shutil.copytree(tmp_path / "store", tmp_path / "fresh")
    # On a slow computer the worker ends before it is deaf: then a longer limit is tried.
    for seconds in (1.0, 10.0, 100.0):
        monkeypatch.setattr(deadlines, "SHELL_OVERTIME", 5 * seconds)
        machine.service.asked.clear()
        machine.folder /= "again"
        what = machine.boot(time.time() + seconds)
        machine.start(what, STAND_IN="deaf", STEPS="100000")
        machine.until(lambda: machine.service.asked)
        if outcome(store) is None and notes.read_heartbeat(store, "run", 1) is not None:
            break
        machine.stop()
        shutil.rmtree(tmp_path / "store")
        shutil.copytree(tmp_path / "fresh", tmp_path / "store")
    assert outcome(store) is None
    assert notes.read_heartbeat(store, "run", 1) is not None
    size = len(list(store.list("run/")))
    time.sleep(0.5)
    assert len(list(store.list("run/"))) == size, "its training goes on"
    machine.until(lambda: "has asked to be ended" in machine.log)
    assert machine.stop() == 128 + 9
    # Started again, its time is over: it does not get as much once more.
    machine.start(what, STAND_IN="deaf", STEPS="100000")
    machine.until(lambda: len(machine.service.asked) > 1)


def test_a_machines_clock_shortens_no_limit_and_a_restart_gives_no_more(tmp_path: Path) -> None:
    """Whatever time it is there: only what has passed since the first start counts."""
    for name, text in (("date", "echo $NOW"), ("timeout", "echo $4")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def left(now: float, attempt: int, folder: Path = tmp_path) -> int:
        env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(folder), "MIMIR_RUN": "run",
               "MIMIR_ATTEMPT": str(attempt), "NOW": f"{now:.0f}"}  # fmt: skip
        script = boot._LIMIT.format(most=3600, kill=60)
        return int(
            subprocess.run(["sh", "-c", script], env=env, capture_output=True, timeout=LIMIT).stdout
        )

    for attempt, now in enumerate((0.0, time.time() - 86_400, time.time() + 86_400), start=1):
        assert left(now, attempt) == 3600
        assert left(now + 600, attempt) == 3000
        assert left(now + 1e6, attempt) == 1
        assert left(now - 1e6, attempt) == 3600
    assert left(time.time(), 9, tmp_path / "missing") == 3600


def test_what_does_not_begin_ends_its_machine_too(machine: Machine, store: Store) -> None:
    what = machine.boot()
    machine.start(what, MIMIR_CODE_SHA256="0" * 64)
    machine.until(lambda: "has asked to be ended" in machine.log)
    assert "is not the code that was submitted" in machine.log
    assert machine.stop() == 75


def image(folder: Path, *tools: str, python: str = "") -> str:
    """PATH of an image with these tools, and a python3 that is this shell script."""
    folder.mkdir()
    for tool in tools:
        (folder / tool).symlink_to(str(shutil.which(tool)))
    if python:
        (folder / "python3").write_text(f"#!/bin/sh\n{python}\n")
        (folder / "python3").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("tool", ["curl", "wget"])
@pytest.mark.parametrize("python", ["", "exit 1", "echo old >&2; exit 127"])
def test_an_image_that_cannot_run_python_ends_its_machine(
    shell: str, tool: str, python: str, machine: Machine, tmp_path: Path
) -> None:
    path = image(tmp_path / "bin", tool, "sleep", python=python)
    machine.start(machine.boot(), str(shutil.which(shell)), PATH=path)
    machine.until(lambda: "has asked to be ended" in machine.log)
    body = {"action": "terminate", "of": ["p-1"]}
    assert machine.service.asked == [
        ("POST", "/pods/p-1/action", f"Bearer {SECRETS[2]}", body)
    ]  # fmt: skip
    assert "the image has no python3 of 3.9 or newer that runs" in machine.log
    assert SECRETS[2] not in machine.log
    assert machine.stop() == 78


@pytest.mark.parametrize("status", [302, 403])
def test_a_shell_asks_again_where_it_is_refused(
    status: int, machine: Machine, tmp_path: Path
) -> None:
    machine.service.status = status
    path = image(tmp_path / "bin", "curl")
    (tmp_path / "bin" / "sleep").symlink_to("/bin/true")
    machine.start(machine.boot(), "/bin/sh", PATH=path)
    machine.until(lambda: len(machine.service.asked) > 2)
    assert {asked[1] for asked in machine.service.asked} == {"/pods/p-1/action"}


def test_no_python_and_no_tool_no_end(machine: Machine, tmp_path: Path, store: Store) -> None:
    path = image(tmp_path / "bin", "sleep")
    process = machine.start(machine.boot(), "/bin/sh", PATH=path)
    machine.until(lambda: "neither curl nor wget: it cannot end itself" in machine.log)
    assert process.poll() is None, "it is not started again and again"
    assert machine.stop() == 78
    (tmp_path / "bin" / "sleep").unlink()
    (tmp_path / "bin" / "sleep").symlink_to("/bin/true")
    none = boot.of(store, AttemptSpec(store.url, "run", 1), "", None)
    assert machine.start(none, "/bin/sh", PATH=path).wait(timeout=LIMIT) == 78


def test_what_a_service_is_told_is_a_word_of_the_shell(tmp_path: Path) -> None:
    """Whatever stands in the address or the body: nothing of it is a command."""
    evil = "$(touch x)`touch x`\"';\\"
    ending = {"method": "POST", "url": f"http://127.0.0.1/{evil}{{ID}}", "token": "KEY",
              "body": {"a": evil, "of": "{ID}"}}  # fmt: skip
    (tmp_path / "curl").write_text(
        '#!/bin/sh\nfor w in "$@";do printf "%s\\n" "$w";done>>said\nkill $PPID\n'
    )
    (tmp_path / "curl").chmod(0o755)
    script = shell_end.unless_python({"MIMIR_END": json.dumps(ending)})
    env = {"PATH": str(tmp_path), "ID": "i 1", "KEY": "k"}
    subprocess.run(["/bin/sh", "-c", script], env=env, cwd=tmp_path, check=False, timeout=LIMIT)
    said = (tmp_path / "said").read_text().splitlines()
    assert said[-1] == f"http://127.0.0.1/{evil}i 1"
    assert json.loads(said[-2]) == {"a": evil, "of": "i 1"}
    assert not (tmp_path / "x").exists()


def test_without_a_key_of_its_own_it_just_ends(machine: Machine, store: Store) -> None:
    spec = AttemptSpec(store.url, "run", 1)
    process = machine.start(boot.of(store, spec, "", None), STEPS="2")
    assert process.wait(timeout=LIMIT) == 0, machine.log
    assert "ended" not in machine.log.replace("attempt 1 ended", "")


def test_what_a_service_takes(store: Store) -> None:
    spec = AttemptSpec(store.url, "run", 1, store.now() + 3600, {"LANG": "C"})
    ending = {"method": "POST", "url": "u", "token": "T", "body": {}}
    made = boot.of(store, spec, "https://s3/_keys/x?sig=y", ending)
    assert made.image == PUBLIC.name
    assert len(made.command[-1]) < boot.MOST_COMMAND
    assert "\n" not in made.command[-1]
    assert made.env["LANG"] == "C"
    assert made.env["MIMIR_KEYS_URL"] == "https://s3/_keys/x?sig=y"
    assert len(made.env) <= 50
    assert sum(map(len, made.env.values())) < 32_000
    most = 3600 + deadlines.SHELL_OVERTIME + deadlines.KILL_AFTER + deadlines.SELF_TERMINATE_WITHIN
    assert most - LIMIT < made.seconds <= most
    mine = AttemptSpec(store.url, "run", 1, image="mine:1")
    assert boot.of(store, mine, "", None).image == "mine:1"
    assert boot.of(store, mine, "", None).seconds == 0.0
    named = boot.of(store, spec, "", None, environ={"MIMIR_IMAGE": "ours:2"})
    assert named.image == "ours:2"
    long = AttemptSpec(store.url, "run", 1, env={"LONG": "x" * 32_000})
    with pytest.raises(BadInput, match="services take 50 of 32000"):
        boot.of(store, long, "", None)
