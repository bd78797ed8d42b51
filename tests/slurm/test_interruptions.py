"""Runs on a real Slurm that lose their node, their time or their turn, with nobody watching."""

import os
import signal
from pathlib import Path

import pytest

from launch.commands.status import status as show
from launch.commands.stop import stop
from launch.supervise import diagnosis
from tests.slurm.conftest import FREE, GPU, SECRETS, Ground
from tests.waiting import wait_for

IDLE = "#!/bin/sh\nsleep 600\n"


def urgent(ground: Ground) -> str:
    """A job that takes both nodes from whoever may be preempted; its number."""
    return ground.cluster.run(
        "sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--exclusive",
        "--output=/dev/null", text=IDLE,
    ).stdout.strip()  # fmt: skip


def test_preempted_then_its_node_is_lost(
    ground: Ground, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a process of the lost node that lives on: it is fenced, and nothing runs twice."""
    ground.gate.open(5)
    assert ground.order(FREE) == 0
    ground.held_at(5, attempt=1)
    assert_no_secret(ground)
    other = urgent(ground)
    wait_for(lambda: ground.status().state == "interrupted", ground.told)
    assert ground.status().attempts[0].cause == "signal"
    wait_for(lambda: ground.cluster.states(ground.name()) == ["PENDING"], ground.told)
    order = ground.status().attempts[-1].order
    assert "has a job" in diagnosis.busy(diagnosis.observe(ground.status(), order))
    capsys.readouterr()
    show(ground.run, store=ground.store.url)
    told = capsys.readouterr().out
    assert "it goes on by itself" in told
    assert "To go on from step" not in told
    ground.gate.open(9)
    ground.cluster.run("scancel", other)
    ground.held_at(9, attempt=2)
    zombies = ground.cluster.processes("mimir.worker.attempt")
    assert len(zombies) == 1
    node = ground.node()
    for pid in zombies:  # so that it is still at it when the next attempt begins
        os.kill(pid, signal.SIGSTOP)
    ground.cluster.kill_node(node)
    wait_for(lambda: ground.status().attempt == 3, ground.told)
    ground.held_at(9, attempt=3)
    for pid in zombies:
        os.kill(pid, signal.SIGCONT)
    ground.gate.open()
    status = ground.over()
    assert [a.gone.kind for a in status.attempts[:2] if a.gone] == ["eviction", "eviction"]
    ground.assert_undisturbed()
    wait_for(lambda: not ground.cluster.processes("mimir.worker"), "the zombie's end")
    assert status.attempts[2].machine is not None


def test_time_limit(ground: Ground) -> None:
    """Which is moved near once the run is held, so that no start is too slow for it."""
    ground.gate.open(5)
    assert ground.order(f"{GPU} --time=60 --signal=USR1@60") == 0
    ground.held_at(5, attempt=1)
    ground.limit_soon()
    wait_for(lambda: ground.status().state == "interrupted", ground.told)
    ground.cluster.run("scontrol", "update", f"JobId={ground.job()}", "TimeLimit=60")
    ground.gate.open()
    status = ground.over()
    assert status.attempt == 2
    assert status.attempts[0].cause == "signal"
    assert status.attempts[0].machine.id == status.attempts[1].machine.id  # type: ignore[union-attr]
    ground.assert_undisturbed()


def test_cancelled_by_its_user(ground: Ground) -> None:
    ground.gate.open(5)
    assert ground.order(GPU) == 0
    ground.held_at(5, attempt=1)
    ground.cluster.run("scancel", ground.job())
    status = ground.over("stopped")
    assert status.attempt == 1
    assert status.committed_step == 5
    assert ground.cluster.states(ground.name()) == ["CANCELLED"]


def test_asked_to_stop_while_it_trains_and_while_it_waits(ground: Ground) -> None:
    ground.gate.open(5)
    assert ground.order(GPU) == 0
    ground.held_at(5, attempt=1)
    assert stop(ground.run, store=ground.store.url) == 0
    assert ground.over("stopped").committed_step == 5
    assert ground.order(f"{GPU} --hold") == 78
    assert ground.alive() == ["PENDING"]
    assert stop(ground.run, store=ground.store.url) == 0
    assert ground.over("stopped").attempt == 2


def test_a_chain_where_no_job_is_started_again(ground: Ground) -> None:
    ground.gate.open(5)
    assert ground.order(f"{GPU} --no-requeue --chain=3") == 0
    ground.held_at(5, attempt=1)
    ground.gate.open(8)
    ground.cluster.run("scancel", "--batch", "--signal=TERM", ground.job())
    ground.held_at(8, attempt=2)
    first, second = (a.machine for a in ground.status().attempts)
    assert first is not None
    assert second is not None
    assert first.id != second.id
    ground.gate.open()
    ground.over()
    ground.assert_undisturbed()
    assert ground.cluster.states(ground.name())[-1] == "CANCELLED", "the third has nothing to do"


def assert_no_secret(ground: Ground) -> None:
    """In the job's processes, its script and environment, its log, or what Slurm shows."""
    shown = {"scontrol": ground.cluster.said("scontrol", "show", "job", "-dd", ground.job()),
             "log": "\n".join(ground.log())}  # fmt: skip
    for path in (ground.cluster.folder / "state").rglob("job.*/*"):
        shown[str(path)] = path.read_bytes().decode(errors="replace")
    pids = ground.cluster.processes("mimir")
    assert len(pids) >= 3, "the job's program, its worker, and the training"
    for pid in pids:
        shown[f"process {pid}"] = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    assert any(path.endswith("environment") for path in shown)
    for where, text in shown.items():
        found = [name for name, value in SECRETS.items() if len(value) > 8 and value in text]
        assert not found, f"{where} shows {found}"
        assert "SLURM_NTASKS=7" not in text, where
