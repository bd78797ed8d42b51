"""A sweep of three runs on paper, with a provider whose machines exist there only."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.provision.liveness import Watched
from launch.supervise.watcher import Watcher
from launch.sweep.keep import Keeper
from mimir.config import load_preset
from mimir.runs import notes, sweep_state
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat, Outcome
from mimir.runs.order import Plan
from mimir.runs.status import Status, derive
from mimir.runs.sweep import Member, Sweep, create
from tests.launch.conftest import Clock, Fake
from tests.runs.memory import MemoryStore

STEPS = 100


class Stage:
    """A sweep and those that keep it. said: to people."""

    def __init__(
        self, store: MemoryStore, fake: Fake, clock: Clock, data: Path, runs: int = 3
    ) -> None:
        self.store, self.fake, self.clock = store, fake, clock
        self.data = data
        self.said: list[str] = []
        self.plan = Plan(("fake",))
        self.runs = runs
        self.sweep = self.listed()

    def listed(self) -> Sweep:
        members = tuple(
            Member(f"lr-{n:03d}", "smoke", {"seed": n}, STEPS) for n in range(self.runs)
        )
        base = load_preset("smoke").as_dict()
        return Sweep("lr", self.clock(), {"smoke": base}, members, self.plan, probe={"fit": True})

    def create(self, store: Any = None) -> None:
        self.sweep = create(store or self.store, self.listed(), self.data)

    def start(self, at_once: int = 1, *, store: Any = None, **more: Any) -> Keeper:
        """A launcher that begins to keep the sweep."""
        store = store or self.store
        terms = sweep_state.Terms(self.plan, at_once, more.get("max_cost", 0.0))
        number = sweep_state.say(store, "lr", sweep_state.GO, terms=terms).number
        given = {"max_cost": 0.0, "again": False, **more}
        return Keeper(
            store, self.sweep, self.plan, at_once=at_once, number=number, say=self.said.append,
            supervisor=self.watcher(store), clock=self.clock, **given,
        )  # fmt: skip

    def watcher(self, store: Any) -> Watcher:
        return Watcher(
            store, self.said.append, watched=Watched(self.clock), provider=lambda name: self.fake,
            sleep=self.clock.sleep, clock=self.clock,
        )  # fmt: skip

    def status(self, run: str) -> Status:
        return derive(self.store, run, self.store.now())

    def work(self, run: str, end: str = "") -> Attempt:
        """The run's worker begins, and ends it if told how."""
        number = self.status(run).attempt
        attempt = Attempt.claim(self.store, run, number, sleep=self.clock.sleep)
        beat = Heartbeat(self.clock(), 0, STEPS, val=3.0 - number / 10, device="cpu")
        notes.write_heartbeat(self.store, run, number, beat)
        if end:
            attempt.finish(end, "the test says so")
            code = 0 if end == "done" else 1
            notes.record_outcome(self.store, run, number, Outcome(code, end, self.clock(), 0))
        return attempt

    def ordered(self) -> list[str]:
        return [spec.run for spec in self.fake.orders]


@pytest.fixture
def stage(
    fake: Fake, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Stage]:
    """Makes such a stage with a store of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    data = tmp_path / "data.safetensors"
    data.write_bytes(b"peptides")

    def made(runs: int = 3) -> Stage:
        store = MemoryStore()
        store.clock = clock
        fake.orders.clear()
        fake.ended.clear()
        return Stage(store, fake, clock, data, runs)

    return made
