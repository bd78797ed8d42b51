"""Random schedules of what a cluster does to six runs at once, with nobody watching."""

import random

import pytest

from tests.slurm.cluster import NODES
from tests.slurm.conftest import Ground
from tests.waiting import wait_for

RUNS, EVENTS, STEPS = 6, 10, 24
WHERE = "--partition=gpu,cpu"


class Schedule:
    """What happens, drawn by a seed."""

    def __init__(self, seed: int, ground: Ground) -> None:
        self.random = random.Random(seed)
        self.cluster = ground.cluster
        self.runs = [ground.beside(f"r{number}") for number in range(RUNS)]
        self.opened = dict.fromkeys((run.run for run in self.runs), 0)
        self.cancelled: set[str] = set()
        self.said: list[str] = []

    def begin(self, patch: pytest.MonkeyPatch) -> None:
        for run in self.runs:
            run.create()
            patch.setenv("MIMIR_TEST_GATE", str(run.gate.path))
            assert run.order(WHERE) == 0

    def advance(self, run: Ground) -> None:
        """Let the run train some steps more, if it is at work, and wait until it has."""
        self.opened[run.run] += self.random.randint(1, 6)
        run.gate.open(self.opened[run.run])
        step = min(self.opened[run.run], STEPS)
        wait_for(lambda: self.is_over(run) or run.status().committed_step >= step, run.told)

    def is_over(self, run: Ground) -> bool:
        return run.status().state in ("done", "failed", "stopped") or not run.alive()

    def event(self) -> None:
        run = self.random.choice([run for run in self.runs if run.run not in self.cancelled])
        if self.random.random() < 0.8:  # else it loses its turn before it has made progress
            self.advance(run)
        if self.is_over(run):
            return
        what = self.random.choice(("preempt", "preempt", "requeue", "requeue", "node", "cancel"))
        self.said.append(f"{what} {run.run}")
        if what == "preempt":
            self.cluster.run("scancel", "--batch", "--signal=TERM", run.job())
        elif what == "requeue":
            self.cluster.run("scontrol", "requeue", run.job())
        elif what == "cancel":
            if len(self.cancelled) < 2:
                self.cancelled.add(run.run)
                self.cluster.run("scancel", run.job())
        elif node := run.node():
            self.lose(node)

    def lose(self, node: str) -> None:
        """The node's slurmd dies, the cluster notices, and it comes back."""
        self.cluster.kill_node(node)
        wait_for(lambda: node in self.cluster.lost(), lambda: self.cluster.said("sinfo"))
        self.cluster.begin_node(node)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_a_random_schedule(seed: int, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule(seed, ground)
    schedule.begin(monkeypatch)
    for _ in range(EVENTS):
        schedule.event()
    for run in schedule.runs:
        run.gate.open()
    for run in schedule.runs:
        wait_for(lambda run=run: not run.alive(), run.told)  # type: ignore[misc]
        status, story = run.status(), f"{schedule.said}\n{run.told()}"
        if run.run in schedule.cancelled:
            assert status.state != "done", story
            last = run.cluster.states(run.name())[-1:]  # none: Slurm has forgotten it by now
            assert set(last) <= {"CANCELLED", "COMPLETED"}, story
        elif status.state == "failed":
            assert "left no new step" in status.reason, story
        else:
            assert status.state == "done", story
            run.assert_undisturbed()
        began = [a.started.by for a in status.attempts if a.started]
        assert len(began) == len(set(began)), "each start of a job runs one attempt"
    assert not ground.cluster.processes("mimir.worker"), "nothing is left"
    assert set(NODES) == ground.cluster.idle()
