"""Sweeps on a real Slurm: all runs are queued at once, and no launcher stays."""

from pathlib import Path
from typing import Any

import pytest

from launch.commands.stop import stop
from launch.commands.sweep import sweep
from launch.contract.provider import AttemptSpec
from launch.providers import registry
from mimir.runs.record import read_run
from mimir.runs.status import derive
from mimir.runs.store import open_store
from tests.e2e import jobs
from tests.slurm.conftest import GPU, Ground
from tests.waiting import wait_for


def submit(
    ground: Ground, name: str, data: Path, slurm: str, at_once: int | None = None,
    per_job: int | None = None,
) -> list[Ground]:  # fmt: skip
    """Submit a sweep of three seeds; its runs."""
    registry.get.cache_clear()
    settings: dict[str, Any] = {**jobs.TINY, "preset": "smoke", "data": str(data)}
    code = sweep(name, grid="seed=0..2", provider="slurm", slurm=slurm, store=ground.store.url,
                 at_once=at_once, per_job=per_job, **settings)  # fmt: skip
    assert code == 0, "nobody needs to stay"
    runs = [ground.beside(f"{name}-{n:03d}") for n in range(3)]
    assert all(each.status().attempt == 1 for each in runs)
    return runs


def test_a_sweep_needs_nobody_once_it_is_queued(
    ground: Ground, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ground.gate.open()
    runs = submit(ground, "lr", data, GPU)
    assert "all: they wait in its queue" in capsys.readouterr().err
    for each in runs:
        assert each.over().attempt == 1
    runs[0].assert_undisturbed()
    sweep("lr", store=ground.store.url)
    assert "sweep lr: 3 done" in capsys.readouterr().out


@pytest.mark.parametrize("per_job", [1, 3])
def test_a_sweep_that_waits_is_taken_off_the_queue(
    ground: Ground, data: Path, per_job: int
) -> None:
    runs = submit(ground, "waits", data, f"{GPU} --begin=now+2hours", per_job=per_job)
    assert len({each.job() for each in runs}) == 3 // per_job
    assert [each.alive() for each in runs] == [["PENDING"]] * 3
    assert sweep("waits", stop=True, store=ground.store.url) == 0
    for each in runs:
        assert not each.alive()
        assert derive(ground.store, each.run, ground.store.now()).state == "stopped"


def test_lanes_keep_to_their_number_with_nobody_there(ground: Ground, data: Path) -> None:
    """Also while a job of a lane is started again, and after one that its user has cancelled."""
    ground.gate.open(5)
    runs = submit(ground, "lanes", data, GPU, at_once=1)
    first, second, third = runs
    first.held_at(5, attempt=1)
    assert [each.alive() for each in runs] == [["RUNNING"], ["PENDING"], ["PENDING"]]
    ground.cluster.run("scancel", "--batch", "--signal=TERM", first.job())
    first.held_at(5, attempt=2)
    assert [each.alive() for each in runs] == [["RUNNING"], ["PENDING"], ["PENDING"]]
    ground.cluster.run("scancel", first.job())
    first.over("stopped")
    second.held_at(5, attempt=1)
    assert third.alive() == ["PENDING"]
    ground.gate.open()
    second.over()
    third.over()


def test_runs_that_share_a_job(ground: Ground, data: Path) -> None:
    """One is stopped and leaves its neighbours at work; the job is preempted, and goes on with
    them; what was stopped goes on by `--resume`."""
    ground.gate.open(5)
    runs = submit(ground, "side", data, GPU, per_job=3)
    for each in runs:
        each.held_at(5, attempt=1)
    first, second, third = runs
    (job,) = {each.job() for each in runs}
    assert len({each.name() for each in runs}) == 1
    assert stop(second.run, store=ground.store.url) == 0
    wait_for(lambda: second.status().attempts[0].gone is not None, second.told)
    second.provider.end(AttemptSpec(ground.store.url, second.run, 1), second.machine())
    assert [each.status().state for each in runs] == ["running", "stopped", "running"]
    assert first.alive() == ["RUNNING"], "nobody has ended its job"
    ground.gate.open(9)
    ground.cluster.run("scancel", "--batch", "--signal=TERM", job)
    for each in (first, third):
        each.held_at(9, attempt=2)
        assert each.job() == job
    assert second.status().attempt == 1
    assert sweep("side", resume=True, store=ground.store.url) == 0
    ground.gate.open()
    for each in runs:
        assert each.over().attempt == 2
        lines = each.provider.output(each.machine(), 1000)
        assert any(f"attempt {2} begins" in line for line in lines)
        assert not any(line.startswith("[") for line in lines)
    assert second.job() != job
    first.assert_undisturbed()
    settings = read_run(ground.store, third.run).config
    alone = open_store((ground.folder / "alone").as_uri())
    jobs.submit(alone, "third", data, seed=settings["training"]["seed"])
    assert jobs.train(alone, "third")[0]
    jobs.assert_same(ground.store, third.run, "third", alone)
