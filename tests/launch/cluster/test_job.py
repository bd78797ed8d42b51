"""What a job does when its worker has ended: on a store alone, with Slurm's word on paper."""

import pytest

from launch.cluster import job as jobs
from launch.cluster import part as parts
from launch.cluster import signals
from launch.cluster.job import Job
from launch.cluster.next_attempt import MOST_IDLE
from launch.cluster.part import Ordered, Part
from launch.providers.slurm.own_job import Fate, OwnJob
from mimir.runs import notes, started
from mimir.runs.status import derive
from tests.launch.cluster.test_next_attempt import RUN, Site


class Slurm:
    """Sets what Slurm says; what was asked of it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fate, self.requeued, self.said = Fate.GOES, 0, list[str]()
        patch.setattr(OwnJob, "fate", lambda own: self.fate)
        patch.setattr(OwnJob, "requeue", lambda own: self._requeue())
        patch.setattr(signals.signal, "signal", lambda *_: None)

    def _requeue(self) -> str:
        self.requeued += 1
        return ""


def job_of(site: Site, slurm: Slurm) -> Job:
    return Job(
        site.own(), "memory://", [Ordered(RUN, 1)], out=slurm.said.append, sleep=lambda _: None
    )


@pytest.mark.parametrize(
    ("fate", "requeued", "state"),
    [
        (Fate.GOES, 1, "interrupted"),
        (Fate.RESTARTED, 0, "interrupted"),
        (Fate.ENDED, 0, "stopped"),
        (Fate.UNKNOWN, 0, "interrupted"),
    ],
)
def test_only_a_job_that_goes_on_asks_to_be_started_again(
    monkeypatch: pytest.MonkeyPatch, fate: Fate, requeued: int, state: str
) -> None:
    """Also where the signal has reached the worker first: one that a person has cancelled would
    come back to life."""
    slurm, site = Slurm(monkeypatch), Site().launched()
    slurm.fate = fate
    monkeypatch.setattr(jobs, "open_store", lambda url: site.store)

    def train(part: Part, store: object, turn: object) -> int:
        site.ended(1, step=4)
        return 75

    monkeypatch.setattr(Part, "_train", train)
    made = Job(
        site.own(), "memory://", [Ordered(RUN, 1)], out=slurm.said.append, sleep=lambda _: None
    )
    assert made.work() == 75
    assert slurm.requeued == requeued
    assert derive(site.store, RUN, site.now).state == state


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the job has Slurm show of itself."""
    sentences: list[str] = []
    monkeypatch.setattr(OwnJob, "note", lambda own, sentence: sentences.append(sentence))
    return sentences


def test_a_worker_that_is_cancelled_before_it_takes_its_attempt_leaves_the_run_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slurm, site = Slurm(monkeypatch), Site().launched()
    slurm.fate = Fate.ENDED
    monkeypatch.setattr(jobs, "open_store", lambda url: site.store)
    monkeypatch.setattr(Part, "_train", lambda part, store, turn: 75)
    made = Job(
        site.own(), "memory://", [Ordered(RUN, 1)], out=slurm.said.append, sleep=lambda _: None
    )
    assert made.work() == 75
    status = derive(site.store, RUN, site.now)
    assert (status.state, status.reason) == ("stopped", "its job was cancelled")


def _signal(part: Part) -> None:
    part._signals.hear()
    part._signals.judged()


@pytest.mark.parametrize("again", [False, True], ids=["unheard", "a second signal"])
@pytest.mark.parametrize(
    ("code", "fate", "state"),
    [(75, Fate.ENDED, "stopped"), (1, Fate.ENDED, "stopped"), (75, Fate.UNKNOWN, "interrupted"),
     (75, Fate.RESTARTED, "interrupted")],
)  # fmt: skip
def test_what_becomes_of_a_job_is_asked_again_before_it_is_started_again(
    monkeypatch: pytest.MonkeyPatch, code: int, fate: Fate, state: str, again: bool
) -> None:
    """A person may cancel it after the early signal, while the last checkpoint is written, and a
    worker that breaks had no signal at all."""
    slurm, site = Slurm(monkeypatch), Site().launched()
    monkeypatch.setattr(jobs, "open_store", lambda url: site.store)

    def train(part: Part, store: object, turn: object) -> int:
        if code == 75:
            _signal(part)
        slurm.fate = fate
        if again:
            _signal(part)
            asked = notes.stop_requested(site.store, RUN, 1)
            assert (asked is not None) == (state == "stopped"), "it has little time"
        site.ended(1, code, cause="signal" if code == 75 else "", step=4)
        return code

    monkeypatch.setattr(Part, "_train", train)
    made = Job(
        site.own(), "memory://", [Ordered(RUN, 1)], out=slurm.said.append, sleep=lambda _: None
    )
    assert made.work() == code
    assert slurm.requeued == 0
    assert derive(site.store, RUN, site.now).state == state


def test_a_store_that_the_node_does_not_reach_is_said(
    monkeypatch: pytest.MonkeyPatch, noted: list[str]
) -> None:
    slurm, site = Slurm(monkeypatch), Site()
    url = "file:///nowhere/that/is"
    made = Job(site.own(), url, [Ordered(RUN, 1)], out=slurm.said.append, sleep=lambda _: None)
    assert made.work() == 78
    assert f"node gpu1 does not reach the store {url}" in noted[0]
    assert noted[0] in slurm.said[-1]


def test_a_node_that_cannot_start_the_image_takes_no_attempt(
    monkeypatch: pytest.MonkeyPatch, noted: list[str]
) -> None:
    slurm, site = Slurm(monkeypatch), Site().launched()
    monkeypatch.setattr(jobs, "open_store", lambda url: site.store)
    made = Job(
        site.own(), "memory://", [Ordered(RUN, 1)], image="/nowhere/x.sif", out=slurm.said.append,
        sleep=lambda _: None,
    )  # fmt: skip
    assert made.work() == 78
    assert "node gpu1 does not see the image /nowhere/x.sif" in noted[0]
    assert started.read(site.store, RUN, 1) is None


def test_a_node_that_cannot_start_a_worker_is_noted_and_the_run_goes_on_until_its_limit(
    monkeypatch: pytest.MonkeyPatch, noted: list[str]
) -> None:
    slurm, site = Slurm(monkeypatch), Site().launched()
    monkeypatch.setattr(jobs, "open_store", lambda url: site.store)

    def full(*words: object, **how: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.subprocess, "Popen", full)
    for restarts in range(MOST_IDLE):
        own = site.own(restarts)
        made = Job(own, "memory://", [Ordered(RUN, 1)], out=slurm.said.append, sleep=lambda _: None)
        assert made.work() == 75
    assert noted[0] == "node gpu1 cannot start attempt 1: [Errno 28] No space left on device"
    assert slurm.requeued == MOST_IDLE - 1
    assert derive(site.store, RUN, site.now).state == "failed"
