"""A job that several runs share: on a store alone, with Slurm's word on paper."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from launch.cluster import job as jobs
from launch.cluster import next_attempt
from launch.cluster import part as parts
from launch.cluster.job import Job
from launch.cluster.next_attempt import MOST_IDLE, leave, take
from launch.cluster.part import Ordered, Part
from launch.contract.cloud import shared_name
from launch.providers.slurm.own_job import Fate, OwnJob, machine
from mimir.errors import Fenced, StoreDenied, StoreError
from mimir.runs import layout, notes, owner
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.notes import StopRequest
from mimir.runs.order import Limits, Order, Plan, Shared
from mimir.runs.orders import request_stop
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import Status, derive, read_head
from tests.launch.cluster.test_job import Slurm
from tests.launch.cluster.test_next_attempt import Site
from tests.runs.memory import MemoryStore

RUNS = ("lr-000", "lr-001", "lr-002")
Train = Callable[[Part, str, int], int]


class Bench(Site):
    """A store with runs that share a job on paper. train: what a worker does; says its exit code.

    again: the next start of the job.
    """

    def __init__(self, patch: pytest.MonkeyPatch, train: Train) -> None:
        super().__init__()
        self.slurm, self.restarts = Slurm(patch), 0
        self.paper.jobs.clear()
        shared = Shared("lr-j12345678", RUNS)
        self.name = shared_name(shared.job, owner.identify(self.store))
        self.id = self.paper.add(self.name)
        made = machine(self.own().commands, self.id, self.name, self.store.now())
        for run in RUNS:
            create_run(self.store, RunRecord(run, "smoke", {}, 7, self.store.now()))
            plan = Plan(("slurm",), Limits(max_failures=2))
            order = Order("slurm", plan, self.store.now(), since=1, shared=shared)
            raise_attempt(self.store, run, order)
            notes.record_machine(self.store, run, 1, made.shared_by(run))
        self.began: list[tuple[str, int]] = []
        patch.setattr(jobs, "open_store", lambda url: self.store)

        def worker(part: Part, store: object, turn: object) -> int:
            run, number = part._ordered.run, turn.attempt  # type: ignore[attr-defined]
            self.began.append((run, number))
            return train(part, run, number)

        patch.setattr(Part, "_train", worker)

    def start(self) -> int:
        """A start of the job, to its end."""
        made = Job(
            self.own(self.restarts), "memory://", [Ordered(run, 1) for run in RUNS],
            out=self.slurm.said.append, sleep=lambda _: None,
        )  # fmt: skip
        self.restarts += 1
        return made.work()

    def end(self, run: str, code: int = 75, cause: str = "signal", state: str = "running") -> int:
        """The run's worker ends, with a step more than before."""
        number, step = self.status(run).attempt, read_head(self.store, run).step
        self.ended(number, code, cause, step + 1, run, state)
        return code

    def at_leave(self, patch: pytest.MonkeyPatch, run: str, then: Callable[[], None]) -> None:
        """Call `then` once the note of this run's end is written."""

        def left(store: MemoryStore, name: str, ran: list[int] | None, own: OwnJob) -> None:
            leave(store, name, ran, own)
            if name == run:
                then()

        patch.setattr(next_attempt, "leave", left)

    def status(self, run: str) -> Status:
        return derive(self.store, run, self.store.now())

    def states(self) -> list[str]:
        return [self.status(run).state for run in RUNS]


def test_each_run_goes_on_with_an_attempt_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are interrupted, one job is started again, and what is done is not begun again."""

    together = threading.Barrier(len(RUNS))

    def train(part: Part, run: str, number: int) -> int:
        if number == 1:
            together.wait(60)
        if number == 1 and run != "lr-001":
            part._signals.hear()
            return bench.end(run)
        return bench.end(run, 0, "", "done")

    bench = Bench(monkeypatch, train)
    assert bench.start() == 75
    assert bench.slurm.requeued == 1
    assert bench.states() == ["interrupted", "done", "interrupted"]
    gone = [notes.read_gone(bench.store, run, 1) is not None for run in RUNS]
    assert gone == [False, True, False], "what waits is not gone"
    assert bench.start() == 0
    assert bench.states() == ["done"] * 3
    assert [bench.status(run).attempt for run in RUNS] == [2, 1, 2]
    for run in ("lr-000", "lr-002"):
        ended = bench.status(run).attempts
        assert [each.gone.kind for each in ended if each.gone] == ["eviction", "over"]
        assert ended[1].machine == replace(ended[0].machine, started=ended[1].machine.started)  # type: ignore[union-attr, arg-type]


def test_a_worker_that_breaks_begins_again_beside_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Until it has failed too often; the job is not started again for it."""
    failed = threading.Event()

    def train(part: Part, run: str, number: int) -> int:
        if run == "lr-000":
            assert failed.wait(60)
        elif run == "lr-001":
            bench.end(run, 1, "")
            if number == 2:
                failed.set()
            return 1
        return bench.end(run, 0, "", "done")

    bench = Bench(monkeypatch, train)
    assert bench.start() == 1
    assert bench.slurm.requeued == 0
    assert bench.states() == ["done", "failed", "done"]
    assert [each for each in bench.began if each[0] == "lr-001"] == [("lr-001", 1), ("lr-001", 2)]
    assert all(each.gone for each in bench.status("lr-001").attempts)


@pytest.mark.parametrize(
    "fault",
    [OSError(28, "No space left on device"), StoreError("503"), 75, 1, (75, "host"), (75, "")],
    ids=["no start", "no store", "no word", "a broken host", "less than ordered", "out of memory"],
)
def test_what_the_node_or_store_interrupts_waits_for_the_next_start(
    monkeypatch: pytest.MonkeyPatch, fault: OSError | StoreError | int | tuple[int, str]
) -> None:
    """Begun again at once, all runs would fail within seconds for a fault that passes."""
    real = Part._train

    def train(part: Part, run: str, number: int) -> int:
        if isinstance(fault, Exception):
            return real(part, bench.store, next_attempt.Turn(number))
        if isinstance(fault, int):
            return fault
        bench.ended(number, *fault, run=run)
        return fault[0]

    def start(*_: object) -> object:
        assert isinstance(fault, Exception)
        raise fault

    bench = Bench(monkeypatch, train)
    monkeypatch.setattr(Part, "_start", start)
    assert bench.start() == (1 if fault == 1 else 75)
    assert bench.slurm.requeued == 1
    assert [bench.status(run).attempt for run in RUNS] == [1] * 3
    assert "failed" not in bench.states()
    if fault != 75:
        return
    for _ in range(1, MOST_IDLE):
        bench.start()
    assert bench.states() == ["failed"] * 3
    assert all(re.search(r"the last one: \w", bench.status(run).reason) for run in RUNS)


def test_one_that_waits_for_the_next_start_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its neighbours train on, and keep the job; another one waits with it."""
    waits, noted = threading.Event(), threading.Event()

    def train(part: Part, run: str, number: int) -> int:
        if run == "lr-000":
            assert waits.wait(60)
            request_stop(bench.store, "lr-001", StopRequest(bench.store.now()))
            assert noted.wait(60)
            return bench.end(run, 0, "", "done")
        return 75 if number == 1 else bench.end(run, 0, "", "done")

    def said(line: str) -> None:
        if line.startswith("[lr-001]") and "waits for the job's next start" in line:
            waits.set()

    bench = Bench(monkeypatch, train)
    monkeypatch.setattr(bench.slurm, "said", SimpleNamespace(append=said))
    bench.at_leave(monkeypatch, "lr-001", noted.set)
    assert bench.start() == 75
    assert bench.slurm.requeued == 1
    assert bench.states()[:2] == ["done", "stopped"]
    assert bench.start() == 0
    assert bench.states() == ["done", "stopped", "done"]
    assert bench.began.count(("lr-002", 2)) == 1


@pytest.mark.parametrize("when", ["with a signal", "unheard"])
def test_a_cancelled_job_is_final_for_all_that_run_in_it(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """And for none that is over."""
    done, together = threading.Event(), threading.Barrier(len(RUNS))

    def train(part: Part, run: str, number: int) -> int:
        together.wait(60)
        if run == "lr-001":
            bench.end(run, 0, "", "done")
            done.set()
            return 0
        assert done.wait(60)
        bench.slurm.fate = Fate.ENDED
        if when == "with a signal":
            part._signals.hear()
            part._signals.judged()
            assert notes.stop_requested(bench.store, run, 1) is not None, "it has little time"
        return bench.end(run)

    bench = Bench(monkeypatch, train)
    assert bench.start() == 75
    assert bench.slurm.requeued == 0
    assert bench.states() == ["stopped", "done", "stopped"]
    assert not [line for line in bench.slurm.said if "cannot be written" in line]
    bench.slurm.fate = Fate.GOES
    assert bench.start() == 0
    assert len(bench.began) == 3, "nothing comes back to life"


def test_a_cancelled_job_stops_no_run_that_went_on_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its worker here learns that only at its next commit."""

    def train(part: Part, run: str, number: int) -> int:
        if run == "lr-000":
            raise_attempt(bench.store, run)
            bench.slurm.fate = Fate.ENDED
            part._signals.hear()
            part._signals.judged()
        return 76

    bench = Bench(monkeypatch, train)
    bench.start()
    assert bench.status("lr-000").attempt == 2
    assert [notes.stop_requested(bench.store, "lr-000", number) for number in (1, 2)] == [None] * 2


def test_one_that_is_stopped_leaves_the_others_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end is noted while they still train, so that nobody ends their job for it."""
    noted = threading.Event()

    def train(part: Part, run: str, number: int) -> int:
        if run == "lr-002":
            request_stop(bench.store, run, StopRequest(bench.store.now()))
            bench.end(run, 75, "stop")
            return 75
        assert noted.wait(60)
        assert notes.stop_requested(bench.store, run, number) is None
        return bench.end(run, 0, "", "done")

    bench = Bench(monkeypatch, train)
    bench.at_leave(monkeypatch, "lr-002", noted.set)
    assert bench.start() == 75
    assert bench.slurm.requeued == 0, "nobody needs the job again"
    assert bench.states() == ["done", "done", "stopped"]


def test_one_that_was_asked_to_stop_while_the_job_waited_is_not_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, lambda part, run, number: bench.end(run, 0, "", "done"))
    request_stop(bench.store, "lr-001", StopRequest(bench.store.now()))
    end_attempt(bench.store, "lr-000", 1, "stopped", "by its launcher")
    assert bench.start() == 0
    assert bench.began == [("lr-002", 1)]
    assert bench.states() == ["stopped", "stopped", "done"]
    assert all(notes.read_gone(bench.store, run, 1) for run in RUNS)


def test_a_start_says_nothing_of_what_another_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The older one's node is cut off and its worker lives; the job has been started elsewhere."""
    bench = Bench(monkeypatch, lambda part, run, number: 0)
    run = RUNS[0]
    for restarts in range(2):
        own = bench.own(restarts)
        assert take(bench.store, run, 1, own, bench.said.append).attempt == restarts + 1
    with pytest.raises(Fenced, match="went on as attempt 2 in another start of the job"):
        take(bench.store, run, 1, bench.own(), bench.said.append, after=1)
    for ran in ([1], []):
        leave(bench.store, run, ran, bench.own())
        assert [each.gone is None for each in bench.status(run).attempts] == [False, True]
    raise_attempt(bench.store, RUNS[1])  # its attempt 1 was never begun, and will not be
    leave(bench.store, RUNS[1], [], bench.own())
    assert notes.read_gone(bench.store, RUNS[1], 1) is not None


def test_one_that_cannot_be_read_leaves_the_others_at_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, lambda part, run, number: bench.end(run, 0, "", "done"))
    real = parts.next_attempt.take

    def taken(store: object, run: str, *rest: object, **more: object) -> object:
        if run == "lr-000":
            raise ValueError("what nobody has thought of")
        if run == "lr-001":
            raise StoreDenied("it does not answer")
        return real(store, run, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(parts.next_attempt, "take", taken)
    monkeypatch.setattr(parts.OwnJob, "note", lambda own, text: bench.slurm.said.append(text))
    assert bench.start() == 75
    assert bench.states() == ["queued", "queued", "done"]
    assert all(notes.read_gone(bench.store, run, 1) for run in RUNS), "nobody waits for their end"
    assert any("[lr-000] " in line and "nobody has thought" in line for line in bench.slurm.said)
    assert "lr-001: it does not answer" in bench.slurm.said


@pytest.mark.parametrize(
    ("where", "call"),
    [(next_attempt, "take"), (notes, "record_machine"), (next_attempt, "goes_on"),
     (next_attempt, "broke"), (next_attempt, "leave")],
)  # fmt: skip
def test_a_store_that_fails_for_a_moment_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, where: object, call: str
) -> None:
    """A neighbour trains until the run's end is noted, which it would not be."""
    noted, failed = threading.Event(), list[str]()

    def train(part: Part, run: str, number: int) -> int:
        if run == "lr-001":
            assert noted.wait(60)
        if run == "lr-000" and number == 1:
            return bench.end(run, 1, "")
        return bench.end(run, 0, "", "done")

    bench = Bench(monkeypatch, train)
    bench.at_leave(monkeypatch, "lr-000", noted.set)
    real = getattr(where, call)

    def fails_once(store: object, run: str, *rest: object, **more: object) -> object:
        if run == "lr-000" and not failed:
            failed.append(call)
            raise StoreError("503")
        return real(store, run, *rest, **more)

    monkeypatch.setattr(where, call, fails_once)
    assert bench.start() == 0
    assert failed
    assert bench.states() == ["done"] * 3
    assert [each for each in bench.began if each[0] == "lr-000"] == [("lr-000", 1), ("lr-000", 2)]


@pytest.mark.parametrize("broken", RUNS[:2])
def test_a_damaged_head_is_its_own_runs_alone(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    bench = Bench(monkeypatch, lambda part, run, number: bench.end(run, 0, "", "done"))
    bench.store.put(layout.head_key(broken), b"garbage")
    bench.start()
    others = [run for run in RUNS if run != broken]
    assert [bench.status(run).state for run in others] == ["done"] * 2


@pytest.mark.parametrize("when", ["an error", "a signal"])
def test_a_note_is_written_whatever_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Also where its first try fails when there is no time for a second one."""
    failed: list[str] = []

    def train(part: Part, run: str, number: int) -> int:
        if run != "lr-000":
            return bench.end(run, 0, "", "done")
        if when == "an error":
            raise OSError(28, "No space left on device")
        part._signals.hear()
        return bench.end(run, 0, "", "done")

    def left(store: MemoryStore, run: str, *rest: Any) -> None:
        if run == "lr-000" and when == "a signal" and not failed:
            failed.append(run)
            raise StoreError("503")
        leave(store, run, *rest)

    bench = Bench(monkeypatch, train)
    monkeypatch.setattr(next_attempt, "leave", left)
    bench.start()
    assert notes.read_gone(bench.store, "lr-000", 1) is not None
    assert bool(failed) == (when == "a signal")


def test_each_line_of_the_log_names_its_run_and_a_deaf_worker_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With processes that print, and one that hears no request to stop."""
    train = Part._train
    bench = Bench(monkeypatch, lambda part, run, number: 0)
    monkeypatch.setattr(Part, "_train", train)
    monkeypatch.setattr(parts, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(parts, "KILLED_AFTER", 0.1)
    deaf = "print('hello', flush=True); import time; time.sleep(600)"

    def start(
        part: Part, store: object, spec: object, stack: object
    ) -> "subprocess.Popen[bytes]":  # fmt: skip
        run = part._ordered.run
        if run == "lr-001":
            request_stop(bench.store, run, StopRequest(bench.store.now()))
        else:
            bench.end(run, 0, "", "done")
        text = deaf if run == "lr-001" else "print('hello')"
        return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)

    monkeypatch.setattr(Part, "_start", start)
    assert bench.start() == 75
    for run in ("lr-000", "lr-002"):
        assert f"[{run}] hello" in bench.slurm.said
    assert bench.states() == ["done", "stopped", "done"]
    assert notes.read_gone(bench.store, "lr-001", 1) is not None
