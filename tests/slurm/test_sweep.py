"""Sweeps on a real Slurm: all runs are queued at once, and no launcher stays."""

from pathlib import Path
from typing import Any

import pytest

from launch.commands.sweep import sweep
from launch.providers import registry
from mimir.runs.status import derive
from tests.e2e import jobs
from tests.slurm.conftest import GPU, Ground


def submit(ground: Ground, name: str, data: Path, slurm: str) -> list[Ground]:
    """Submit a sweep of three seeds; its runs."""
    registry.get.cache_clear()
    settings: dict[str, Any] = {**jobs.TINY, "preset": "smoke", "data": str(data)}
    code = sweep(name, grid="seed=0..2", provider="slurm", slurm=slurm, store=ground.store.url,
                 **settings)  # fmt: skip
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


def test_a_sweep_that_waits_is_taken_off_the_queue(ground: Ground, data: Path) -> None:
    runs = submit(ground, "waits", data, f"{GPU} --begin=now+2hours")
    assert [each.alive() for each in runs] == [["PENDING"]] * 3
    assert sweep("waits", stop=True, store=ground.store.url) == 0
    for each in runs:
        assert not each.alive()
        assert derive(ground.store, each.run, ground.store.now()).state == "stopped"
