"""Which attempt a start of a job runs, and whether the run goes on: on a store alone."""

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from launch.cluster import next_attempt
from launch.cluster.next_attempt import goes_on, take
from launch.contract.errors import ProviderError
from launch.providers.slurm.commands import Commands
from launch.providers.slurm.own_job import Fate, OwnJob, machine
from mimir.errors import Fenced, StoreError
from mimir.runs import notes, owner, started
from mimir.runs.begin import change, raise_attempt
from mimir.runs.head import Kept, Register
from mimir.runs.layout import checkpoint_key, head_key
from mimir.runs.machine import Machine
from mimir.runs.notes import Outcome, StopRequest
from mimir.runs.order import Limits, Order, Plan
from mimir.runs.orders import request_stop
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import derive, read_head
from tests.launch.providers.slurm.paper import Paper
from tests.runs.memory import MemoryStore

RUN = "run"
HOUR = 3600.0


class Site:
    """A store with a run that was ordered on a cluster on paper, and that cluster."""

    def __init__(self, **limits: float) -> None:
        self.store, self.now = MemoryStore(), 1.8e9
        self.store.clock = lambda: self.now
        create_run(self.store, RunRecord(RUN, "smoke", {}, 7, self.store.now()))
        self.paper = Paper()
        self.name = f"mimir-{RUN}-a0001-o{owner.identify(self.store)}"
        self.id = self.paper.add(self.name)
        plan = Plan(("slurm",), Limits(**limits))  # type: ignore[arg-type]
        raise_attempt(self.store, RUN, Order("slurm", plan, self.store.now(), since=1))
        self.said: list[str] = []

    def own(self, restarts: int = 0, id: str = "", name: str = "") -> OwnJob:
        commands = Commands({}, self.paper.run)
        return OwnJob(id or self.id, name or self.name, restarts, "gpu1", commands)

    def launched(self) -> "Site":
        """As its launcher writes down."""
        made = machine(self.own().commands, self.id, self.name, self.store.now())
        notes.record_machine(self.store, RUN, 1, made)
        return self

    def take(self, restarts: int = 0, **how: str) -> next_attempt.Turn:
        own = self.own(restarts, **how)
        return take(self.store, RUN, 1, own, self.said.append, sleep=lambda _: None)

    def ended(
        self, attempt: int, code: int = 75, cause: str = "signal", step: int = 0, run: str = RUN,
        state: str = "running",
    ) -> None:  # fmt: skip
        """Its worker ends; `step` is committed by then."""

        def moved(head):  # type: ignore[no-untyped-def]
            lineage = (*head.lineage, (attempt, head.step))
            kept = head.kept
            if step > head.step:
                key = checkpoint_key(run, attempt, step, "0" * 12)
                kept = (*kept, Kept(key, step, attempt, 1, "0" * 64))
            return replace(head, state=state, step=step, kept=kept, lineage=lineage)

        change(Register(self.store, head_key(run)), moved)
        outcome = Outcome(code, f"it ended with {code}", self.store.now(), step, cause)
        notes.record_outcome(self.store, run, attempt, outcome)


def test_the_first_start_runs_what_was_ordered() -> None:
    site = Site().launched()
    assert site.take().attempt == 1
    assert read_head(site.store, RUN).attempt == 1
    assert started.read(site.store, RUN, 1) is not None


def test_a_lost_answer_is_written_down_by_the_job_itself() -> None:
    site = Site()
    assert site.take().attempt == 1
    written = notes.read_machine(site.store, RUN, 1)
    assert written is not None
    assert (written.id, written.name, written.queues) == (site.id, site.name, True)


def test_each_later_start_is_an_attempt_of_its_own() -> None:
    site = Site().launched()
    site.take()
    for number in (2, 3):  # no outcome: its node was lost, and its process may live on
        site.ended(number - 1, step=number) if number == 3 else None
        turn = site.take(restarts=number - 1)
        assert turn.attempt == number
        assert derive(site.store, RUN, site.store.now()).attempts[-2].gone is not None
        there = notes.read_machine(site.store, RUN, number)
        assert there is not None
        assert (there.id, there.name) == (site.id, site.name)


def test_two_starts_never_run_the_same_attempt() -> None:
    """The second finds started.json, also where its count of restarts is the same."""
    site = Site().launched()
    assert site.take().attempt == 1
    assert site.take(restarts=1).attempt == 2


def test_a_start_that_is_lost_between_its_acts_leaves_its_attempt_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its node is lost when HEAD is raised and the machine is not written down yet."""
    site = Site().launched()
    site.take()
    with monkeypatch.context() as patch:
        patch.setattr(next_attempt.notes, "record_machine", mock.Mock(side_effect=StoreError("x")))
        with pytest.raises(StoreError):
            site.take(restarts=1)
    assert read_head(site.store, RUN).attempt == 2
    assert notes.read_machine(site.store, RUN, 2) is None
    with pytest.raises(Fenced, match="went on without job"):
        site.take(restarts=2, name="mimir-run-a0002-o00000000")
    assert site.take(restarts=2).attempt == 2
    written = notes.read_machine(site.store, RUN, 2)
    assert written is not None
    assert written.name == site.name
    assert site.take(restarts=3).attempt == 3


def test_a_job_that_another_order_has_replaced_does_nothing() -> None:
    site = Site().launched()
    site.take()
    raise_attempt(site.store, RUN)
    other = Machine("slurm", site.store.now(), id="9", name="mimir-run-a0002-o00000000")
    notes.record_machine(site.store, RUN, 2, other)
    with pytest.raises(Fenced, match="went on without job"):
        site.take(restarts=1)
    assert read_head(site.store, RUN).attempt == 2


def test_restarts_without_progress_end_after_three() -> None:
    site = Site().launched()
    assert [site.take(restarts=n).attempt for n in range(3)] == [1, 2, 3]
    turn = site.take(restarts=3)
    assert turn.attempt == 0
    assert "3 machines have left no new step" in turn.why
    assert read_head(site.store, RUN).state == "failed"
    assert site.take(restarts=4).attempt == 0, "and it stays so"


def test_progress_is_what_lets_it_go_on() -> None:
    site = Site().launched()
    for number in range(1, 8):
        assert site.take(restarts=number - 1).attempt == number
        site.ended(number, step=10 * number)
        assert goes_on(site.store, RUN, number) == (True, "")


def test_failures_count_and_evictions_do_not() -> None:
    site = Site(max_failures=2).launched()
    for number, cause in ((1, "signal"), (2, ""), (3, "signal")):
        assert site.take(restarts=number - 1).attempt == number
        site.ended(number, cause=cause, step=number)
        assert goes_on(site.store, RUN, number)[0]
    site.take(restarts=3)
    site.ended(4, cause="", step=4)
    more, why = goes_on(site.store, RUN, 4)
    assert not more
    assert "2 of its machines or workers broke" in why
    assert read_head(site.store, RUN).state == "failed"


@pytest.mark.parametrize("code", [76, 77, 78])
def test_what_needs_a_person_does_not_go_on(code: int) -> None:
    site = Site().launched()
    site.take()
    site.ended(1, code, cause="", step=3)
    more, _ = goes_on(site.store, RUN, 1)
    assert more == (code == 76), "of 76 the job itself knows that it was replaced"


def test_a_request_to_stop_holds_for_what_waits() -> None:
    site = Site().launched()
    request_stop(site.store, RUN, StopRequest(site.store.now()))
    turn = site.take()
    assert turn.attempt == 0
    assert read_head(site.store, RUN).state == "stopped"


def test_a_request_to_stop_is_not_lost_between_two_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written to the old attempt just before the next one is raised."""
    site = Site().launched()
    site.take()
    site.ended(1, step=3)

    def late(*args: Any, **how: Any) -> int:
        notes.record_stop(site.store, RUN, 1, StopRequest(site.store.now()))
        return raise_attempt(*args, **how)

    monkeypatch.setattr(next_attempt, "raise_attempt", late)
    turn = site.take(restarts=1)
    assert (turn.attempt, "asked to stop" in turn.why) == (0, True)
    assert derive(site.store, RUN, site.now).state == "stopped"


def test_hours_are_counted_from_the_start_of_the_job() -> None:
    """And not from its order: a job may wait for days."""
    site = Site(max_hours=2.0).launched()
    site.now += 50 * HOUR
    turn = site.take()
    assert turn.attempt == 1
    assert turn.deadline == pytest.approx(site.store.now() + 2 * HOUR, abs=60)
    site.now += 1.5 * HOUR
    site.ended(1, step=5)
    site.now += 9 * HOUR  # it waits again
    turn = site.take(restarts=1)
    assert turn.deadline == pytest.approx(site.store.now() + 0.5 * HOUR, abs=60)
    site.now += 0.6 * HOUR
    site.ended(2, cause="deadline", step=9)
    more, why = goes_on(site.store, RUN, 2)
    assert not more
    assert "2 h of machines are used up" in why
    assert read_head(site.store, RUN).state == "stopped"


@pytest.mark.parametrize(
    ("word", "code", "cause", "state"),
    [
        ("CANCELLED", 75, "signal", "stopped"), ("TIMEOUT", None, "", ""),
        ("NODE_FAIL", None, "", ""), ("", None, "", "stopped"), ("", 75, "signal", ""),
        ("", 75, "deadline", ""), ("", 1, "", ""),
    ],
)  # fmt: skip
def test_a_cancelled_job_ends_its_chain(
    word: str, code: int | None, cause: str, state: str
) -> None:
    """Where Slurm has forgotten the job, as it does within minutes, the store tells."""
    site = Site().launched()
    site.take()
    if code is not None:
        site.ended(1, code, cause, step=3)
    if word:
        site.paper.jobs[site.id]["word"] = word
    else:
        del site.paper.jobs[site.id]
    following = site.paper.add(site.name) if word else "77"
    turn = site.take(id=following)
    assert turn.attempt == (0 if state else 2)
    assert derive(site.store, RUN, site.now).state == (state or "queued")


def test_a_job_that_was_asked_to_stop_ends_its_chain_also_when_it_is_forgotten() -> None:
    site = Site().launched()
    site.take()
    request_stop(site.store, RUN, StopRequest(site.store.now(), "its job was cancelled"))
    site.ended(1, step=3)
    del site.paper.jobs[site.id]
    assert site.take(id="77").attempt == 0
    assert derive(site.store, RUN, site.now).state == "stopped"


@pytest.mark.parametrize(
    ("said", "fate"),
    [
        ("JobState=RUNNING Requeue=1 Restarts=1", Fate.GOES),
        ("JobState=SIGNALING Requeue=1 Restarts=1", Fate.GOES),
        ("JobState=PENDING Requeue=1 Restarts=2", Fate.RESTARTED),
        ("JobState=CANCELLED Requeue=1 Restarts=1", Fate.ENDED),
        ("JobState=FROZEN Requeue=1 Restarts=1", Fate.UNKNOWN),
        ("JobState=COMPLETING Requeue=1 Restarts=2", Fate.RESTARTED),
        ("JobState=COMPLETING Requeue=1 Restarts=1", Fate.ENDED),
        ("nothing that is known", Fate.UNKNOWN),
        (None, Fate.UNKNOWN),
    ],
)
def test_what_becomes_of_a_job(
    said: str | None, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Site().own(restarts=1)

    def answer(*words: str) -> tuple[int, str, str]:
        if said is None:
            raise ProviderError("scontrol did not answer")
        return 0, f"JobId=1 {said} ExitCode=0:0", ""

    monkeypatch.setattr(own.commands, "ask", answer)
    assert own.fate() is fate
