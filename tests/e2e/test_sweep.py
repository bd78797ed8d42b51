"""A sweep on this computer with the real engine: all is killed, and it ends as if nothing was."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mimir.runs import notes
from mimir.runs.listing import list_names
from mimir.runs.status import derive, read_head
from mimir.runs.store import open_store
from tests.e2e import jobs
from tests.gates import Gate
from tests.launch.conftest import World, world  # noqa: F401 - a fixture
from tests.waiting import LIMIT, wait_for

SMOKE: dict[str, Any] = {"threads": 1, "checkpoint_steps": 50}
"""The preset itself, on one thread each."""


@pytest.mark.parametrize(
    ("runs", "settings", "rows", "gates"),
    [
        pytest.param(3, jobs.TINY, 200, (40,), id="3"),
        # Held twice in the middle of the first runs, then killed at whatever moment it is.
        pytest.param(12, SMOKE, 0, (400, 800, None), id="12", marks=pytest.mark.long),
    ],
)
@pytest.mark.slow
def test_everything_is_killed(
    world: World,  # noqa: F811
    tmp_path: Path,
    runs: int,
    settings: dict[str, Any],
    rows: int,
    gates: tuple[int | None, ...],
) -> None:
    gate = Gate(tmp_path / "gate")
    del world.env["STAND_IN"]
    world.env |= gate.environment
    data = str(jobs.write_data(tmp_path / "rows.csv", rows)) if rows else ""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    words = ["sweep", "torn", "--preset", "smoke", "--grid", f"seed=0..{runs - 1}", "--at-once=2"]
    first = [*words, *options, *(["--data", data] if data else [])]
    for kill, step in enumerate(gates):
        gate.open(step if step is not None else float("inf"))
        resumed = ["sweep", "torn", "--resume", "--at-once=2"]
        process = world.spawn(*(resumed if kill else first))
        if step is None:
            wait_done(world, runs // 2)
        else:
            wait_for(lambda: held_at(world, step), f"step {step}", every=0.2)  # noqa: B023
        kill_all(world, process)
    gate.open()
    process = world.spawn("sweep", "torn", "--resume", "--at-once=2")
    wait_done(world, runs)
    out, _ = process.communicate(timeout=LIMIT)
    assert f"{runs} done" in out

    calm = open_store((tmp_path / "calm").as_uri())
    for seed in range(runs):
        name = f"torn-{seed:03d}"
        jobs.submit_as(calm, name, data, {**settings, "seed": seed})
        assert jobs.train(calm, name)[0]
        jobs.assert_same(world.store, name, name, calm)
    attempts = [derive(world.store, name, world.store.now()).attempt for name in
                list_names(world.store)]  # fmt: skip
    assert sum(attempts) >= runs + 2 * len([step for step in gates if step is not None])


def held_at(world: World, step: int) -> bool:  # noqa: F811
    """Whether two runs have committed this step, at which they are held."""
    return sum(read_head(world.store, each).step >= step for each in list_names(world.store)) >= 2


def wait_done(world: World, runs: int) -> None:  # noqa: F811
    """Wait for so many runs to be done, for each of them as long as for anything."""

    def done() -> int:
        return sum(read_head(world.store, n).state == "done" for n in list_names(world.store))

    for count in range(1, runs + 1):
        wait_for(lambda: done() >= count, f"{count} finished runs", every=0.5)  # noqa: B023


def kill_all(world: World, launcher: "subprocess.Popen[str]") -> None:  # noqa: F811
    launcher.kill()
    launcher.communicate(timeout=LIMIT)
    for name in list_names(world.store):
        attempt = read_head(world.store, name).attempt
        machine = notes.read_machine(world.store, name, attempt) if attempt else None
        if machine is not None and machine.pid:
            try:
                os.killpg(machine.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
