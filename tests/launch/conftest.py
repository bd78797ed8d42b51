"""A place of its own for each test: store, state folder, data; its workers end with it."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from launch.contract.errors import NotGone
from launch.contract.provider import AttemptSpec
from launch.providers import registry
from launch.providers.local.provider import LocalProvider
from mimir.runs.machine import Machine
from mimir.runs.store import Store, open_store
from tests import ROOT
from tests.waiting import LIMIT

if TYPE_CHECKING:
    from tests.launch.paper import Desk

ENDLESS = str(10**9)
"""Steps of a stand-in that works until it is stopped or killed."""
SETTINGS = ("--batch", "4", "--dim", "16", "--heads", "2", "--layers", "1")


@dataclass
class World:
    """Where a test lives. `env` is what its commands and workers see."""

    store: Store
    folder: Path
    data: Path
    env: dict[str, str]
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def spawn(self, *words: str, **env: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.launch.door", *words],
            cwd=ROOT,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def launch(self, *words: str, code: int = 0, **env: str) -> tuple[str, str]:
        """(stdout, stderr) of a launch command that ends with this exit code."""
        process = self.spawn(*words, **env)
        out, err = process.communicate(timeout=LIMIT)
        assert process.returncode == code, f"{words}: {process.returncode}\n{out}\n{err}"
        return out, err

    def submit(self, name: str, *words: str, code: int = 0, **env: str) -> tuple[str, str]:
        return self.launch(*self.submission(name), *words, code=code, **env)

    def submission(self, name: str) -> tuple[str, ...]:
        return ("submit", "--preset", "smoke", "--name", name, "--data", str(self.data), *SETTINGS)

    def status(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.launch("status", name, "--json")[0])
        return found


def write_data(path: Path, end: str = "") -> Path:
    """A data set of 16 peptides. end: of each of them, to tell it from another."""
    letters = "ACDEFGHIKLMNPQRSTVWY"
    rows = ["sequence,label,target"]
    rows += [
        f"{letters[i]}{letters[j]}ACDE{letters[-1 - i]}{end},0," for i in range(8) for j in (1, 5)
    ]
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    data = write_data(tmp_path / "data.csv")
    store = open_store((tmp_path / "store").as_uri())
    mine = {
        "MIMIR_STORE": store.url,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        "OMP_NUM_THREADS": "1",
        "STAND_IN": "work",
        "STEPS": "10",
    }
    world = World(store, tmp_path, data, {**os.environ, **mine})
    yield world
    for process in world.started:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT)
    local = LocalProvider(grace=0.5)
    for path in sorted((tmp_path / "store").glob("*/launcher/a*/machine.json")):
        spec = AttemptSpec(store.url, path.parts[-4], int(path.parent.name[1:]))
        there = Machine.from_json(json.loads(path.read_text()), path.name)
        with mock.patch.dict(os.environ, mine), contextlib.suppress(NotGone):
            local.end(spec, there)  # NotGone: a machine that a test only wrote down


class Fake:
    """A provider whose machines exist on paper only; tests set what it answers."""

    def __init__(self, name: str = "fake") -> None:
        from launch.contract.provider import Caps

        self.name = name
        self.caps = Caps(paid=True)
        self.living: bool | None = True
        self.fails: Exception | None = None
        self.orders: list[Any] = []
        self.ended: list[Any] = []
        self.at_start: Callable[[Any], None] = lambda spec: None

    def start(self, spec: Any) -> Machine:
        self.orders.append(spec)
        self.at_start(spec)
        if self.fails:
            raise self.fails
        return Machine(self.name, time.time(), f"m{spec.attempt}")

    def choices(self, gpus: tuple[str, ...]) -> tuple[None]:
        return (None,)

    def checks(self) -> list[Any]:
        return []

    def alive(self, machine: Machine) -> bool | None:
        return self.living

    def end(self, spec: Any, machine: Machine) -> None:
        if self.living is None:
            raise NotGone("it cannot be reached")
        self.ended.append(machine)

    def output(self, machine: Machine, lines: int) -> list[str]:
        return ["what it printed"]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """A fake provider, known to the registry as `fake`."""
    provider = Fake()
    real = registry.get
    monkeypatch.setattr(registry, "names", lambda: ("local", "fake"))
    monkeypatch.setattr(registry, "get", lambda n: provider if n == "fake" else real(n))
    return provider


class Clock:
    """Time that passes only by sleeping; `at_sleep` is called with the number of the sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps = 0
        self.at_sleep: Callable[[int], None] = lambda number: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sleeps += 1
        assert self.sleeps < 3000, "it waits forever"
        self.at_sleep(self.sleeps)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with the run `run`, which has no attempt yet."""
    from mimir.runs.record import RunRecord, create_run

    store = open_store((tmp_path / "store").as_uri())
    create_run(store, RunRecord("run", "smoke", {}, 0, 1.0))
    return store


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> "Desk":
    """A store, a cloud and a clock on paper."""
    from tests.launch.paper import Desk

    return Desk(monkeypatch)
