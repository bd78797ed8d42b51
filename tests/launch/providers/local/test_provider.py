"""Processes of this computer as machines."""

import importlib.util
import platform
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launch.contract.errors import NoCapacity, NotGone
from launch.contract.provider import AttemptSpec
from launch.providers.local.provider import LocalProvider
from mimir.errors import BadInput, MissingPackage
from mimir.runs.machine import Machine
from tests.waiting import LIMIT, wait_for

SPEC = AttemptSpec("file:///store", "run", 3, env={"EXTRA": "yes"})
PRINT = "import os, sys; print(sys.argv[1:], os.environ['EXTRA'], os.getsid(0) == os.getpid())"
SLEEP = "import time; print('up', flush=True); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEP


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "mimir"


def provider(program: str, grace: float = 5.0) -> LocalProvider:
    return LocalProvider((sys.executable, "-c", program), grace=grace)


def stranger(machine: Machine) -> LocalProvider:
    """A provider of another launcher process: the machine is not its child."""
    return LocalProvider()


def test_starts_the_worker_detached_with_its_options_and_a_private_log(state: Path) -> None:
    local, before = provider(PRINT), time.time()
    machine = local.start(SPEC)
    assert before <= machine.started <= time.time()
    wait_for(lambda: local.alive(machine) is False)
    options = ["--store", "file:///store", "--run", "run", "--attempt", "3"]
    assert local.output(machine, 5) == [f"{options} yes True"]
    log = state / "run-a0003.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert machine.provider == "local"
    assert machine.host == platform.node()
    again = local.start(SPEC)
    wait_for(lambda: local.alive(again) is False)
    assert len(log.read_text().splitlines()) == 2
    assert len(local.output(again, 5)) == 1, "an older attempt's output is not this one's"


@pytest.mark.parametrize(
    ("card", "visible", "given"),
    [
        (None, "", "None"),
        (None, "2,3", "2,3"),
        (1, "", "1"),
        (1, "2,3", "3"),
        (0, "GPU-ab", "GPU-ab"),
    ],
)
def test_the_worker_sees_the_one_card_that_was_named(
    card: int | None, visible: str, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    local = provider("import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'))")
    machine = local.start(replace(SPEC, card=card))
    wait_for(lambda: local.alive(machine) is False)
    assert local.output(machine, 5) == [given]


def test_a_card_that_is_hidden_here_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with pytest.raises(BadInput, match="cuda:2 is not there: CUDA_VISIBLE_DEVICES is '2,3' here"):
        provider(PRINT).start(replace(SPEC, card=2))


def test_the_deadline_is_an_option() -> None:
    spec = AttemptSpec("file:///s", "run", 1, deadline=12.5)
    assert spec.worker_options()[-2:] == ("--deadline", "12.5")


def test_the_worker_is_this_mimir_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    local = provider("import mimir; print('found')")
    machine = local.start(SPEC)
    wait_for(lambda: local.alive(machine) is False)
    assert local.output(machine, 1) == ["found"]


def test_the_orders_keys_count_before_a_file_of_ones_own(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIMIR_CREDENTIALS_FILE", "/my/own")
    code = "import os; print(os.environ.get('MIMIR_CREDENTIALS_FILE', 'none'), flush=True)"
    local = provider(code)
    for env, seen in (({"AWS_ACCESS_KEY_ID": "k"}, "none"), ({}, "/my/own")):
        spec = AttemptSpec("file:///s", seen.strip("/").replace("/", "-"), 1, env=env)
        machine = local.start(spec)
        wait_for(lambda machine=machine: local.output(machine, 5))
        assert local.output(machine, 5) == [seen]
        local.end(spec, machine)


def test_alive_and_ended() -> None:
    local = provider(SLEEP)
    machine = local.start(SPEC)
    assert local.alive(machine)
    assert stranger(machine).alive(machine)
    local.end(SPEC, machine)
    assert local.alive(machine) is False
    local.end(SPEC, machine)


def test_another_process_under_the_same_id_is_left_alone() -> None:
    other = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE)
    try:
        machine = Machine("local", 0.0, host=platform.node(), pid=other.pid, details={"born": 1})
        local = LocalProvider()
        assert local.alive(machine) is False
        local.end(SPEC, machine)
        assert other.poll() is None
    finally:
        other.kill()
        other.communicate(timeout=LIMIT)


def test_a_process_that_was_not_started_for_the_attempt_is_left_alone(tmp_path: Path) -> None:
    """The record in the store names another worker of this computer, and a file of it."""
    local = provider(SLEEP)
    other = local.start(AttemptSpec("file:///store", "other", 1, env={"EXTRA": "yes"}))
    (tmp_path / "secret").write_text("mine")
    forged = replace(other, details={**other.details, "log": str(tmp_path / "secret")})
    with pytest.raises(NotGone, match=f"process {other.pid} was not started here for attempt 3"):
        local.end(SPEC, forged)
    assert local.alive(other)
    assert local.output(forged, 5) == []
    local.end(AttemptSpec("file:///store", "other", 1), other)


def test_a_zombie_is_gone() -> None:
    local = provider("pass")
    machine = local.start(SPEC)
    wait_for(lambda: stranger(machine).alive(machine) is False)
    assert local.alive(machine) is False


def test_sigkill_for_what_ignores_sigterm() -> None:
    local = provider(DEAF, grace=0.3)
    machine = local.start(SPEC)
    wait_for(lambda: local.output(machine, 1) == ["up"])
    began = time.monotonic()
    local.end(SPEC, machine)
    assert local.alive(machine) is False
    assert time.monotonic() - began >= 0.3


def test_another_host() -> None:
    local = LocalProvider()
    machine = Machine("local", 0.0, host="elsewhere", pid=1, details={"born": 1})
    assert local.alive(machine) is None
    with pytest.raises(NotGone, match="elsewhere"):
        local.end(SPEC, machine)
    assert local.output(machine, 3) == []


def test_no_such_program() -> None:
    with pytest.raises(NoCapacity, match="could not start"):
        LocalProvider(("/no/such/program",)).start(SPEC)


def test_a_laptop_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="pip install 'torch"):
        LocalProvider().start(SPEC)
    (told,) = LocalProvider().checks()
    assert (told.name, told.status) == ("local", "warn")
    assert LocalProvider(("another", "program")).checks() == []


def test_state_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(BadInput, match="XDG_STATE_HOME"):
        provider("pass").start(SPEC)


@pytest.mark.parametrize("bad", [{"run": "No"}, {"deadline": -1.0}, {"deadline": float("nan")}])
def test_a_spec_is_checked(bad: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        AttemptSpec(**{"store": "file:///s", "run": "run", "attempt": 1, **bad})
