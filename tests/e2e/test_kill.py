"""SIGKILL at random moments: process groups die, and the run ends as if none had."""

import os
import random
import time
from pathlib import Path

import pytest

from mimir.runs.begin import raise_attempt
from mimir.runs.notes import read_outcome
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, open_store
from tests.e2e import jobs
from tests.gates import Gate
from tests.waiting import LIMIT, wait_for

AWAY = 60
"""Steps that an attempt may take before it is killed."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10, pytest.param(30, marks=pytest.mark.long)])
def test_killed_at_random_moments(store: Store, tmp_path: Path, gate: Gate, kills: int) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 200)
    settings = {**jobs.ENDLESS, "max_steps": (kills + 1) * AWAY, "eval_every": 100}
    for name in ("calm", "torn"):
        jobs.submit(store, name, data, **settings)
    assert jobs.worker(store, "calm", raise_attempt(store, "calm")).wait(timeout=LIMIT) == 0

    seed = random.SystemRandom().randrange(2**32)
    print(f"moments are drawn from seed {seed}")
    moments = random.Random(seed)
    # A third of the kills fall into start-up, the others at a random step of the next ones.
    for number in range(kills):
        before = read_head(store, "torn").step
        gate.open(before + AWAY)
        process = jobs.worker(store, "torn", raise_attempt(store, "torn"), gate=gate)
        if number % 3 == 0:
            time.sleep(moments.uniform(0, 2.5))
        else:
            target = before + moments.randrange(AWAY)
            wait_for(
                lambda: read_head(store, "torn").step >= target or process.poll() is not None,  # noqa: B023
                f"step {target} (seed {seed})", every=0.01,
            )  # fmt: skip
            time.sleep(moments.uniform(0, 0.05))
        assert process.poll() is None, f"ended before it was killed (seed {seed})"
        jobs.kill(process)
    gate.open()
    last = jobs.worker(store, "torn", raise_attempt(store, "torn"), gate=gate)
    assert last.wait(timeout=LIMIT) == 0
    status = derive(store, "torn", time.time())
    assert status.state == "done"
    assert len(status.attempts) == kills + 1
    jobs.assert_same(store, "torn", "calm")


def test_sigterm_commits_and_ends_with_75(store: Store, tmp_path: Path, gate: Gate) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 200)
    jobs.submit(store, "run", data, **{**jobs.ENDLESS, "checkpoint_steps": 0})
    attempt = raise_attempt(store, "run")
    gate.open(30)
    process = jobs.worker(store, "run", attempt, gate=gate)
    wait_for(lambda: gate.reached() == 30, "step 30")
    assert read_head(store, "run").step == 0
    wait_for(
        lambda: derive(store, "run", time.time()).telemetry is not None, "its machine's figures"
    )
    process.terminate()
    assert process.wait(timeout=LIMIT) == 75
    outcome = read_outcome(store, "run", attempt)
    assert outcome is not None
    assert outcome.exit_code == 75
    assert "committed at step" in outcome.reason
    assert outcome.step == read_head(store, "run").step == 30
    assert derive(store, "run", time.time()).state == "interrupted"
    # Started again for the same attempt, as a restarted container is, it only ends.
    assert jobs.worker(store, "run", attempt).wait(timeout=LIMIT) == 75
    assert read_head(store, "run").step == outcome.step


def test_two_workers_of_one_run(store: Store, tmp_path: Path, gate: Gate) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 200)
    settings = {**jobs.ENDLESS, "max_steps": 400}
    for name in ("calm", "torn"):
        jobs.submit(store, name, data, **settings)
    assert jobs.train(store, "calm")[0]
    gate.open(100)
    first = jobs.worker(store, "torn", raise_attempt(store, "torn"), gate=gate)
    wait_for(lambda: read_head(store, "torn").step > 20, "step 20")
    second = jobs.worker(store, "torn", raise_attempt(store, "torn"), gate=gate)
    gate.open()
    assert first.wait(timeout=LIMIT) == 76
    assert second.wait(timeout=LIMIT) == 0
    jobs.assert_same(store, "torn", "calm")


def test_a_vanished_worker_takes_its_training_with_it(store: Store, tmp_path: Path) -> None:
    """The child of a killed worker must not train on unseen."""
    data = jobs.write_data(tmp_path / "data.csv", 200)
    jobs.submit(store, "run", data, **jobs.ENDLESS)
    process = jobs.worker(store, "run", raise_attempt(store, "run"))
    wait_for(lambda: read_head(store, "run").step > 0, "the first commit")
    process.kill()
    process.wait()

    def group_is_gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(group_is_gone, "the end of its group")


def test_a_worker_killed_while_its_training_starts_leaves_nobody_behind(
    store: Store, tmp_path: Path, gate: Gate
) -> None:
    """Its parent is gone before the child can look: it must not claim what another may hold."""
    data = jobs.write_data(tmp_path / "data.csv", 200)
    jobs.submit(store, "run", data, **jobs.ENDLESS)
    gate.open(-1)
    process = jobs.worker(store, "run", raise_attempt(store, "run"), gate=gate)
    wait_for(lambda: len(session(process.pid)) > 1, "its child")
    process.kill()
    process.wait()
    gate.open()
    wait_for(lambda: not session(process.pid), "the end of its child")
    assert read_head(store, "run").state == "queued"


def session(leader: int) -> list[int]:
    """Ids of the processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == leader:
                found.append(int(folder.name))
        except OSError:
            continue
    return found
