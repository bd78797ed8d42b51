"""What has become of an attempt: each rule once, and which of two goes first."""

from dataclasses import replace
from typing import Any

import pytest

from launch.contract.cloud import State
from launch.supervise.diagnosis import (
    Diagnosis,
    Observation,
    diagnose,
    failures,
    idle,
    without_progress,
)
from mimir.runs.attempts import AttemptStatus
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Order, Plan
from mimir.runs.status import Status

NOW = 100_000.0
REFUSED = Gone(NOW, "refused", "sold out")
GONE = Gone(NOW, "eviction", "outbid")
ORDER = Order("fake", Plan(("fake",)), NOW - 300.0)
MACHINE = Machine("fake", NOW - 300.0, "m1")
WORKING = AttemptStatus(1, 0, "", machine=MACHINE)
STATUS = Status(
    run="run", preset="smoke", state="running", reason="", step=7, committed_step=5,
    total_steps=10, epoch=None, rate=None, eta_s=None, loss=None, val=None, silent=False,
    silent_s=10.0, stop_requested=False, attempt=1, attempts=(WORKING,), kept=(), best=None,
    created=1.0,
)  # fmt: skip
UNBORN = replace(STATUS, state="queued", silent_s=None, attempts=(replace(WORKING, machine=None),))
FINE = Observation(STATUS, ORDER, State.RUNNING, "", NOW)
NEW = Observation(replace(STATUS, attempt=0, attempts=(), silent_s=None), None, None, "", NOW)


def at(state: str = "running", silent_s: float | None = 10.0, **attempt: Any) -> Observation:
    """FINE, with another state of the run or another attempt."""
    its = replace(WORKING, **attempt, end="how it ended" if "exit_code" in attempt else "")
    status = replace(STATUS, state=state, silent_s=silent_s, attempts=(its,))
    return replace(FINE, status=status)


def ago(seconds: float, deadline: float = 0.0) -> Order:
    return replace(ORDER, time=NOW - seconds, deadline=deadline)


def seen(observed: Observation) -> tuple[str, str]:
    found = diagnose(observed)
    assert found.why
    return found.kind, found.loss if found.kind == "lost" else ""


RULES: dict[str, tuple[Observation, str, str]] = {
    "never begun": (NEW, "idle", ""),
    "ended before attempt 1, just now": (replace(NEW, order=ago(119)), "unanswered", ""),
    "ended before attempt 1": (replace(NEW, order=ago(120)), "lost", "refused"),
    "done": (at("done", exit_code=0), "over", ""),
    "done, and its machine has shut itself down": (
        replace(at("done", exit_code=0), state=State.BROKEN, taken=False), "over", "",
    ),
    "at its deadline, and its machine has shut itself down": (
        replace(at(exit_code=75, cause="deadline"), state=State.BROKEN, taken=False), "lost",
        "over",
    ),
    "failed": (at("failed", exit_code=78), "over", ""),
    "stopped": (at("stopped", gone=GONE), "over", ""),
    "not by launch": (replace(FINE, order=None), "idle", ""),
    "ended at its deadline": (at(exit_code=75, cause="deadline"), "lost", "over"),
    "ended by a signal": (at(exit_code=75, cause="signal"), "lost", "eviction"),
    "crashed": (at(exit_code=1), "lost", "failure"),
    "not what was ordered": (at(exit_code=75, cause="host", from_step=None), "lost", "placement"),
    "found after it began": (at(exit_code=75, cause="host", from_step=5), "lost", "placement"),
    "says so after new steps": (at(exit_code=75, cause="host"), "lost", "failure"),
    "an outcome goes before a record of its end": (at(exit_code=1, gone=GONE), "lost", "failure"),
    "recorded as gone": (at(gone=GONE), "lost", "eviction"),
    "recorded as refused": (at(machine=None, gone=REFUSED), "lost", "refused"),
    "unanswered": (replace(FINE, status=UNBORN, order=ago(119)), "unanswered", ""),
    "never answered": (replace(FINE, status=UNBORN, order=ago(120)), "lost", "refused"),
    "gone": (replace(FINE, state=State.GONE), "lost", "eviction"),
    "gone, as its service took it": (
        replace(at("queued", None, from_step=None), state=State.GONE, taken=True), "lost",
        "eviction",
    ),
    "gone, and its service says that it ended": (
        replace(FINE, state=State.GONE, taken=False), "lost", "failure"
    ),
    "gone before it began": (
        replace(at("queued", None, from_step=None), state=State.GONE), "lost", "failure"
    ),
    "taken away before it began": (
        replace(at("queued", None, from_step=None), state=State.SUSPENDED), "lost", "eviction"
    ),
    "taken away": (replace(FINE, state=State.SUSPENDED), "lost", "eviction"),
    "being taken away": (replace(FINE, state=State.BROKEN, taken=True), "lost", "eviction"),
    "stopped by itself": (replace(FINE, state=State.SUSPENDED, taken=False), "lost", "failure"),
    "broken": (replace(FINE, state=State.BROKEN), "lost", "failure"),
    "in overtime": (replace(FINE, order=ago(9000, NOW - 1799)), "fine", ""),
    "past its overtime": (replace(FINE, order=ago(9000, NOW - 1801)), "lost", "failure"),
    "starting": (replace(at("queued", None), order=ago(1499)), "fine", ""),
    "never began": (replace(at("queued", None), order=ago(1501)), "lost", "failure"),
    "quiet": (at(silent_s=599.0), "fine", ""),
    "silent": (at(silent_s=601.0), "lost", "failure"),
    "working": (replace(FINE, order=ago(90_000)), "fine", ""),
    "old, and just looked at": (replace(at(silent_s=9e4), unchanged=0.0), "fine", ""),
    "old, and seen to change": (replace(at(silent_s=9e4), unchanged=19.0), "fine", ""),
    "old, and seen not to change": (replace(at(silent_s=601.0), unchanged=20.0), "lost", "failure"),
    "young, though it does not change": (replace(FINE, unchanged=600.0), "fine", ""),
    "dated young, but never changes": (replace(FINE, unchanged=601.0), "lost", "failure"),
    "nobody can be asked": (replace(FINE, state=None), "fine", ""),
    "pending, but working": (replace(FINE, state=State.PENDING), "fine", ""),
}  # fmt: skip


@pytest.mark.parametrize(("observed", "kind", "loss"), RULES.values(), ids=RULES.keys())
def test_each_rule(observed: Observation, kind: str, loss: str) -> None:
    assert seen(observed) == (kind, loss)


def test_the_stores_word_goes_before_the_services() -> None:
    for state in State:
        assert seen(replace(at("done", exit_code=0), state=state)) == ("over", "")
        late = replace(at(exit_code=75, cause="deadline"), state=state)
        assert seen(late) == ("lost", "over")


def test_a_gone_machine_is_an_eviction_though_it_is_silent_too() -> None:
    silent = replace(at(silent_s=9999.0), state=State.GONE, order=ago(90_000, NOW - 9999))
    assert seen(silent) == ("lost", "eviction")
    assert seen(replace(silent, state=State.BROKEN)) == ("lost", "failure")


def test_what_the_service_said_is_told() -> None:
    observed = replace(FINE, state=State.BROKEN, said="OFFLINE")
    assert "OFFLINE" in diagnose(observed).why
    assert "OFFLINE" in diagnose(replace(at(silent_s=9999.0), said="OFFLINE")).why
    assert diagnose(FINE) == Diagnosis("fine", "working")


def test_the_machines_own_deadline_goes_before_its_orders() -> None:
    shortened = at(machine=replace(MACHINE, deadline=NOW - 1801))
    assert seen(replace(shortened, order=ago(9000, NOW + 9000))) == ("lost", "failure")
    assert seen(replace(shortened, order=ago(9000))) == ("lost", "failure")
    unsaid = at(machine=replace(MACHINE, deadline=0.0))
    assert seen(replace(unsaid, order=ago(9000, NOW - 1801))) == ("lost", "failure")
    # A record of the machine lengthens nothing.
    longer = at(machine=replace(MACHINE, deadline=NOW + 9000))
    assert seen(replace(longer, order=ago(9000, NOW - 1801))) == ("lost", "failure")


def test_machines_that_left_no_new_step_are_counted_whatever_ended_them() -> None:
    def run(*attempts: tuple[int, str]) -> Status:
        its = tuple(
            AttemptStatus(
                n + 1, None, "", order=replace(ORDER, step=step), gone=Gone(NOW, kind, "why")
            )
            for n, (step, kind) in enumerate(attempts)
        )
        return replace(STATUS, committed_step=5, attempts=its)

    assert idle(run((0, "failure"), (0, "eviction"))) == 0, "HEAD went on since"
    mixed = ((0, "over"), (5, "placement"), (5, "eviction"), (5, "over"), (5, "failure"))
    assert idle(run(*mixed)) == 4
    assert idle(run(*mixed, (5, "refused"))) == 4, "no machine"
    assert idle(run(*mixed), since=4) == 2
    assert idle(replace(run((5, "over")), attempts=(AttemptStatus(1, None, ""),))) == 0


def test_no_new_step_in_two_attempts() -> None:
    def run(committed: int, *from_steps: int | None) -> Status:
        attempts = tuple(AttemptStatus(n + 1, step, "") for n, step in enumerate(from_steps))
        return replace(STATUS, committed_step=committed, attempts=attempts)

    assert not without_progress(run(0))
    assert not without_progress(run(0, 0))
    assert without_progress(run(0, 0, 0))
    assert not without_progress(run(5, 0, 0))
    assert not without_progress(run(5, 0, 5))
    assert without_progress(run(5, 0, 5, 5))
    # One that never began to train says nothing of the run.
    assert not without_progress(run(5, 0, 5, None))
    assert without_progress(run(5, 0, 5, None, 5))
    # Nor does what a person has seen before they resumed it.
    assert without_progress(run(0, 0, 0, 0), since=2)
    assert not without_progress(run(0, 0, 0, 0), since=3)


def test_hosts_that_were_less_than_ordered_say_nothing_of_progress() -> None:
    def run(*kinds: str) -> Status:
        its = tuple(
            AttemptStatus(n + 1, 5, "", gone=Gone(NOW, kind, "why")) for n, kind in enumerate(kinds)
        )
        return replace(STATUS, committed_step=5, attempts=its)

    assert not without_progress(run("placement", "placement", "placement"))
    assert not without_progress(run("placement", "failure", "placement"))
    assert without_progress(run("failure", "placement", "eviction"))


def test_only_what_broke_is_a_failure() -> None:
    kinds = ("failure", "eviction", "refused", "over", "failure")
    attempts = [AttemptStatus(n + 1, 0, "", gone=Gone(1.0, k, "")) for n, k in enumerate(kinds)]
    attempts.append(AttemptStatus(6, 0, ""))
    status = replace(STATUS, attempts=tuple(attempts))
    assert [failures(status, since) for since in (0, 1, 2, 5, 6)] == [2, 2, 1, 1, 0]
