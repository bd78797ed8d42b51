"""A job that several runs share: one request for it, and the end of one run's part alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launch.cluster.part import Ordered
from launch.contract.errors import NotGone, UnknownOutcome
from launch.contract.provider import AttemptSpec, Machine
from launch.providers.slurm import script
from launch.providers.slurm.options import gpu_of
from mimir.errors import BadInput
from mimir.runs import notes
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.notes import Gone, StopRequest
from mimir.runs.order import Order, Plan, Shared
from mimir.runs.record import RunRecord, create_run
from tests.launch.providers.slurm.paper import LOST
from tests.launch.providers.slurm.test_provider import Login

RUNS = ("lr-000", "lr-001", "lr-002")
JOB = "lr-j12345678"


class Lab(Login):
    """A login node with a job that three runs share, which trains unless it is said to wait."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for run in RUNS:
            create_run(self.store, RunRecord(run, "smoke", {}, 7, 1.0))
            order = Order("slurm", Plan(("slurm",)), 1.0, since=1, shared=Shared(JOB, RUNS))
            raise_attempt(self.store, run, order)
        beside = tuple((run, 1, "") for run in RUNS[1:])
        self.wanted = AttemptSpec(self.store.url, RUNS[0], 1, job=JOB, beside=beside)
        self.at_sleep: Callable[[], None] = lambda: None

    def start(self, word: str = "RUNNING") -> Machine:
        machine = self.provider.start(self.wanted)
        self.paper.jobs[machine.id]["word"] = word
        for run in RUNS:
            notes.record_machine(self.store, run, 1, machine.shared_by(run))
        return machine

    def end(self, run: str) -> None:
        machine = notes.read_machine(self.store, run, 1)
        assert machine is not None
        self.provider.end(AttemptSpec(self.store.url, run, 1), machine)

    def left(self, run: str) -> None:
        """The job's program has seen the end of the run's worker."""
        notes.record_gone(self.store, run, 1, Gone(self.now, "over", "its worker has ended"))

    def cancels(self) -> int:
        return sum(words[0] == "scancel" for words, _ in self.paper.calls)

    def _sleep(self, seconds: float) -> None:
        super()._sleep(seconds)
        self.at_sleep()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Lab(tmp_path)


def test_one_request_and_one_name_for_all(lab: Lab) -> None:
    machine = lab.start()
    assert lab.paper.orders() == 1
    assert machine.name.startswith(f"mimir-{JOB}-a0001-o")
    assert machine.part_of == RUNS[0]
    batch = lab.paper.jobs[machine.id]["batch"]
    assert "--run lr-000 --attempt 1" in batch
    (beside,) = (line.partition("--beside ")[2].split()[0] for line in batch.splitlines()
                 if "--beside" in line)  # fmt: skip
    assert [Ordered(*each) for each in script.parse(beside)] == [
        Ordered("lr-001", 1), Ordered("lr-002", 1)
    ]  # fmt: skip
    for wrong in ("lr-001", "lr-001:x", "../up:1"):
        with pytest.raises(BadInput):
            script.parse(wrong)


def test_it_is_found_again_from_each_run_after_a_lost_answer(lab: Lab) -> None:
    lab.paper.once["sbatch"] = LOST
    found = lab.start()
    for run in RUNS:
        spec = AttemptSpec(lab.store.url, run, 1, job=JOB)
        adopted = lab.provider.adopt(spec)
        assert adopted is not None
        assert (adopted.id, adopted.part_of) == (found.id, run)
        assert lab.provider.adopt(replace(spec, job="")) is None
    lab.paper.jobs.clear()
    lab.paper.once["sbatch"] = "Unable to contact slurm controller"
    with pytest.raises(UnknownOutcome):
        lab.provider.start(lab.wanted)


@pytest.mark.parametrize("word", ["RUNNING", "PENDING"])
def test_the_end_of_one_leaves_the_job_to_the_others(lab: Lab, word: str) -> None:
    lab.start(word)
    if word == "RUNNING":
        lab.at_sleep = lambda: lab.left("lr-001")
    lab.end("lr-001")
    assert lab.cancels() == 0
    assert notes.stop_requested(lab.store, "lr-001", 1) is not None, "its worker hears it"
    assert [notes.stop_requested(lab.store, run, 1) for run in ("lr-000", "lr-002")] == [None] * 2
    assert not any("Requeue=0" in words for words, _ in lab.paper.calls)


def test_one_that_does_not_end_is_not_gone_and_its_job_stays(lab: Lab) -> None:
    machine = lab.start()
    with pytest.raises(NotGone, match=rf"run lr-001 .* job {machine.id}, which lr-000 shares"):
        lab.end("lr-001")
    assert lab.cancels() == 0


@pytest.mark.parametrize("word", ["RUNNING", "PENDING"])
def test_the_last_one_that_needs_the_job_ends_it(lab: Lab, word: str) -> None:
    """The others are over, or, where it waits, asked to stop."""
    lab.start(word)
    end_attempt(lab.store, "lr-000", 1, "failed", "it broke")
    if word == "RUNNING":
        lab.left("lr-002")
    else:
        notes.record_stop(lab.store, "lr-002", 1, StopRequest(lab.now))
    lab.end("lr-001")
    assert not lab.paper.jobs


def test_one_that_was_asked_to_stop_may_still_write_its_last_checkpoint(lab: Lab) -> None:
    lab.start()
    notes.record_stop(lab.store, "lr-000", 1, StopRequest(lab.now))
    lab.left("lr-002")
    lab.at_sleep = lambda: lab.left("lr-001")
    lab.end("lr-001")
    assert lab.cancels() == 0


def test_a_run_that_went_on_in_another_job_needs_this_one_no_more(lab: Lab) -> None:
    machine = lab.start()
    for run in ("lr-000", "lr-002"):
        raise_attempt(lab.store, run)
    lab.end("lr-001")
    assert machine.id not in lab.paper.jobs


@pytest.mark.parametrize("kind", ["failure", "eviction"])
def test_a_run_between_two_attempts_needs_the_job(lab: Lab, kind: str) -> None:
    """Its program has written how the one ended, and raises the next in a moment."""
    lab.start()
    lab.left("lr-002")
    notes.record_gone(lab.store, "lr-001", 1, Gone(lab.now, kind, "exit code 1"))
    lab.at_sleep = lambda: lab.left("lr-000")
    lab.end("lr-000")
    assert lab.cancels() == 0


def test_no_other_job_is_ended(lab: Lab) -> None:
    """Whatever a run's machine.json says: its order names the job."""
    machine = lab.start()
    other = lab.paper.add(machine.name.replace(JOB, "lr-j00000000"))
    theirs = replace(machine, id=other, name=lab.paper.jobs[other]["name"])
    alone = AttemptSpec(lab.store.url, "run", 1)
    for spec, wrong in ((AttemptSpec(lab.store.url, "lr-001", 1), theirs), (alone, machine)):
        with pytest.raises(NotGone, match="it is not ended"):
            lab.provider.end(spec, wrong)
    assert lab.cancels() == 0


def test_of_its_log_a_run_is_told_its_own_lines(lab: Lab, tmp_path: Path) -> None:
    machine = lab.start()
    log = tmp_path / "state" / "mimir" / "slurm" / f"{machine.name}.{machine.id}.out"
    log.write_text("the job\n[lr-000] one\n[lr-001] [lr-000] two\nslurmstepd: it ends\n")
    assert lab.provider.output(machine, 9) == ["the job", "one", "slurmstepd: it ends"]
    second = machine.shared_by("lr-001")
    assert lab.provider.output(second, 2) == ["[lr-000] two", "slurmstepd: it ends"]


@pytest.mark.parametrize(
    ("words", "gpu"),
    [
        (["--gres=gpu:h100:1"], "h100"), (["--gres", "lustre:1,gpu:a100:1"], "a100"),
        (["--gres=gpu:1"], ""), (["-G", "l4:1"], "l4"), (["--gpus=1"], ""), ([], ""),
        (["--gpus-per-node=a40:1", "--time=60"], "a40"),
    ],
)  # fmt: skip
def test_which_gpu_is_asked_for(words: list[str], gpu: str) -> None:
    assert gpu_of(words) == gpu
