"""SIGKILL at random moments: process groups die, and the run ends as if none had."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mimir.runs.commit import raise_attempt
from mimir.runs.notes import read_outcome
from mimir.runs.status import derive, read_head
from mimir.runs.store import Store, open_store
from tests.e2e import jobs

KILLS = 30
STEPS = 1500


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


def kill(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_killed_at_30_random_moments(store: Store, tmp_path: Path) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 200)
    settings = {"epochs": 10_000, "max_steps": STEPS, "checkpoint_steps": 5, "eval_every": 100}
    for name in ("calm", "torn"):
        jobs.submit(store, name, data, **settings)
    assert jobs.worker(store, "calm", raise_attempt(store, "calm")).wait() == 0

    seed = random.SystemRandom().randrange(2**32)
    print(f"moments are drawn from seed {seed}")
    moments = random.Random(seed)
    # A third of the kills fall into start-up, the others at a random step of what is left.
    targets = sorted(moments.randrange(STEPS - 100) for _ in range(KILLS))
    for number, target in enumerate(targets):
        process = jobs.worker(store, "torn", raise_attempt(store, "torn"))
        if number % 3 == 0:
            time.sleep(moments.uniform(0, 2.5))
        else:
            deadline = time.monotonic() + 120
            while read_head(store, "torn").step < target:
                assert process.poll() is None, f"ended early by itself (seed {seed})"
                assert time.monotonic() < deadline, f"no progress (seed {seed})"
                time.sleep(0.01)
            time.sleep(moments.uniform(0, 0.05))
        assert process.poll() is None, f"ended before it was killed (seed {seed})"
        kill(process)
    assert jobs.worker(store, "torn", raise_attempt(store, "torn")).wait() == 0
    status = derive(store, "torn", time.time())
    assert status.state == "done"
    assert len(status.attempts) == KILLS + 1
    jobs.assert_same(store, "torn", "calm")


def test_sigterm_commits_and_ends_with_75(store: Store, tmp_path: Path) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 200)
    jobs.submit(store, "run", data, epochs=10_000, checkpoint_steps=0)
    attempt = raise_attempt(store, "run")
    process = jobs.worker(store, "run", attempt)
    wait_for(lambda: bool(read_head(store, "run").kept))
    time.sleep(1)
    process.terminate()
    assert process.wait(timeout=60) == 75
    outcome = read_outcome(store, "run", attempt)
    assert outcome is not None
    assert outcome.exit_code == 75
    assert "committed at step" in outcome.reason
    assert outcome.step == read_head(store, "run").step > 0
    assert derive(store, "run", time.time()).state == "interrupted"
    # Started again for the same attempt, as a restarted container is, it only ends.
    assert jobs.worker(store, "run", attempt).wait(timeout=60) == 75
    assert read_head(store, "run").step == outcome.step


def test_two_workers_of_one_run(store: Store, tmp_path: Path) -> None:
    data = jobs.write_data(tmp_path / "data.csv", 200)
    settings = {"epochs": 10_000, "max_steps": 400, "checkpoint_steps": 5}
    for name in ("calm", "torn"):
        jobs.submit(store, name, data, **settings)
    assert jobs.train(store, "calm")[0]
    first = jobs.worker(store, "torn", raise_attempt(store, "torn"))
    wait_for(lambda: read_head(store, "torn").step > 20)
    second = jobs.worker(store, "torn", raise_attempt(store, "torn"))
    assert first.wait(timeout=120) == 76
    assert second.wait(timeout=120) == 0
    jobs.assert_same(store, "torn", "calm")


def test_a_vanished_worker_takes_its_training_with_it(store: Store, tmp_path: Path) -> None:
    """The child of a killed worker must not train on unseen."""
    data = jobs.write_data(tmp_path / "data.csv", 200)
    jobs.submit(store, "run", data, epochs=100_000, checkpoint_steps=50)
    process = jobs.worker(store, "run", raise_attempt(store, "run"))
    wait_for(lambda: read_head(store, "run").step > 0)
    process.kill()
    process.wait()

    def group_is_gone() -> bool:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    wait_for(group_is_gone)


def test_a_worker_killed_while_its_training_starts_leaves_nobody_behind(
    store: Store, tmp_path: Path
) -> None:
    """Its parent is gone before the child can look: it must not claim what another may hold."""
    data = jobs.write_data(tmp_path / "data.csv", 200)
    jobs.submit(store, "run", data, epochs=100_000)
    process = jobs.worker(store, "run", raise_attempt(store, "run"))
    wait_for(lambda: len(session(process.pid)) > 1)
    process.kill()
    process.wait()
    wait_for(lambda: not session(process.pid))
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


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:

    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
