"""Which attempt a start of a job runs, and whether the run goes on after one.

A job is started again by its cluster after a preemption, a time limit or the loss of its node, and
each start is an attempt of its own: the old process may live on where its node is only cut off.
Whoever creates started.json of an attempt runs it; everybody else raises the next one by
compare-and-swap of HEAD, which fences all before. No watcher is needed for any of it.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from launch.pricing import budget
from launch.providers.slurm.own_job import OwnJob
from launch.provision.plan import stop_asked
from launch.supervise import limits
from mimir.errors import INTERRUPTED, BadInput, Fenced
from mimir.runs import notes, started
from mimir.runs.attempts import AttemptStatus, record_gone
from mimir.runs.begin import end_attempt, raise_attempt
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.started import Started
from mimir.runs.status import Status, derive
from mimir.runs.store import Store

Say = Callable[[str], None]

MOST_IDLE = 3
"""Starts in a row that may leave no new step: after three the run ends."""
WRITTEN_WITHIN = 30.0
"""Seconds that a job waits for its launcher to write down which job it is."""
PART_ENDED = "its worker has ended, and its job is left to other runs"
FINISHED = ("done", "failed", "stopped", "disputed")
_CANCELLED = "CANCELLED"
_BY_A_JOB = "job "
"""How an order's `by` begins where a start of a job has raised the attempt."""


@dataclass(frozen=True)
class Turn:
    """What a start of a job does. attempt: what it runs, 0 for nothing; why: a sentence then.

    deadline: unix s by the store's clock at which the run's hours are used up, 0 for none.
    """

    attempt: int
    why: str = ""
    deadline: float = 0.0


def take(
    store: Store, run: str, first: int, own: OwnJob, say: Say,
    sleep: Callable[[float], None] = time.sleep, *, after: int = 0,
) -> Turn:  # fmt: skip
    """Take the run's next turn for this start of the job that was ordered for attempt `first`.

    after: the attempt that has just ended in this start, beside others that go on; 0 for none.

    Raises:
        Fenced: another order has replaced the job's.
        BadInput, StoreError: of the store.
    """
    status = derive(store, run, store.now())
    if status.state in FINISHED:
        return Turn(0, f"run {run} is {status.state}: there is nothing to do")
    current = _own(store, status, first, own, sleep)
    by = f"{_BY_A_JOB}{own.id} on {own.node}, start {own.restarts + 1}"
    # Raised here, before the store failed: it is tried again.
    raised = current.attempt > after and current.order is not None and current.order.by == by
    if after and current.attempt != after and not raised:
        raise Fenced(f"run {run} went on as attempt {current.attempt} in another start of the job")
    if notes.stop_requested(store, run, current.attempt) is not None:
        return _end(store, run, current.attempt, "stopped", "asked to stop")
    fresh = current.exit_code is None and current.gone is None and (raised or not after)
    if fresh and started.record(store, run, current.attempt, Started(store.now(), by)):
        return Turn(current.attempt, deadline=_deadline(status, current, store.now()))
    chained = current.machine is not None and not own.restarts and not after
    if chained and (end := _ended_on_purpose(own, current)):
        return _end(store, run, current.attempt, "stopped", end)
    gone = _loss(store, run, current)
    record_gone(store, run, current, gone)
    status = derive(store, run, store.now())
    assert current.order is not None
    if ending := limits.ending(store, status, current.order, MOST_IDLE):
        return _end(store, run, current.attempt, *ending)
    intent = replace(current.order, time=store.now(), by=by)
    number = raise_attempt(store, run, intent, after=current.attempt)
    if stop_asked(store, run, intent.asked_from, number):  # of the old one, in the same moment
        return _end(store, run, number, "stopped", "asked to stop")
    say(f"attempt {number} goes on: {gone.why}")
    assert current.machine is not None
    machine = replace(current.machine, id=own.id, started=intent.time)
    notes.record_machine(store, run, number, machine)
    if not started.record(store, run, number, Started(store.now(), by)):
        raise Fenced(f"attempt {number} of run {run} is run by another start of the job")
    begun = derive(store, run, store.now())
    return Turn(number, deadline=_deadline(begun, begun.attempts[-1], store.now()))


def goes_on(store: Store, run: str, attempt: int) -> tuple[bool, str]:
    """Whether the run shall go on after this attempt, which has just ended, and else why not.

    Where it shall not and nobody has written so, HEAD is told.
    """
    status = derive(store, run, store.now())
    if status.attempt != attempt:
        return False, f"run {run} goes on as attempt {status.attempt} elsewhere"
    if status.state in FINISHED:
        return False, f"run {run} is {status.state}"
    current = status.attempts[-1]
    end = current.end or "it ended without a word"
    as_gone = replace(current, gone=_loss(store, run, current), end=end)
    judged = replace(status, attempts=(*status.attempts[:-1], as_gone))
    assert current.order is not None
    ending = limits.ending(store, judged, current.order, MOST_IDLE)
    if ending is None:
        return True, ""
    turn = _end(store, run, attempt, *ending)
    return False, turn.why


def broke(store: Store, run: str, attempt: int) -> bool:
    """Whether the attempt's worker itself broke, by what it wrote of its end. One that left no
    word, and one that its node, a signal or the store interrupted, did not."""
    outcome = notes.unless_damaged(notes.read_outcome, store, run, attempt)
    return outcome is not None and not outcome.cause and outcome.exit_code != INTERRUPTED


def leave(store: Store, run: str, ran: Iterable[int] | None, own: OwnJob) -> None:
    """Write that the run's part of the job, which goes on for others, is no more.

    Of an attempt that another start of the job has begun, only that one may say so: it may be at
    work on a node that is cut off. One that nobody has begun will not be.

    Args:
        ran: attempts that this start has run to their ends; None: it found the run to be over.
    """
    status = derive(store, run, store.now())
    ended = {status.attempt} if ran is None else set(ran)
    for each in status.attempts:
        ours = each.machine is not None and each.machine.name == own.name and each.gone is None
        passed = each.attempt < status.attempt and each.started is None
        if ours and not passed and each.started is None and each.attempt not in ended:
            # Taken, so that no other start can be at work on it.
            by = Started(store.now(), f"{_BY_A_JOB}{own.id} on {own.node}")
            passed = started.record(store, run, each.attempt, by)
        if ours and (each.attempt in ended or passed):
            record_gone(store, run, each, Gone(store.now(), "over", PART_ENDED))


def end_stopped(store: Store, run: str, attempt: int) -> None:
    """Tell HEAD that the run, which was asked to stop, has: where its worker has not."""
    status = derive(store, run, store.now())
    if status.attempt == attempt and status.state not in FINISHED:
        _end(store, run, attempt, "stopped", "its job was cancelled")


def _loss(store: Store, run: str, attempt: AttemptStatus) -> Gone:
    """How an attempt of a job that its cluster interrupted, or whose worker broke, is written.

    It took the run's hours until its last sign: then its job may have waited again.
    """
    if attempt.exit_code is None:
        sign = notes.unless_damaged(notes.read_sign, store, run, attempt.attempt)
        last = min(sign.written, store.now()) if sign else store.now()
        return Gone(last, "eviction", "its cluster started the job again")
    kind = {"signal": "eviction", "deadline": "over"}.get(attempt.cause, "failure")
    return Gone(attempt.ended_at or store.now(), kind, attempt.end)


def _own(
    store: Store, status: Status, first: int, own: OwnJob, sleep: Callable[[float], None]
) -> AttemptStatus:
    """The run's newest attempt, if it is this job's; Fenced if not."""
    run = status.run
    fenced = Fenced(f"run {run} went on without job {own.id}, as attempt {status.attempt}")
    if status.attempt < first:
        # Its launcher ended before it raised HEAD, or HEAD is older than the order.
        raise Fenced(f"attempt {first} of run {run} was never begun: job {own.id} does nothing")
    current = status.attempts[-1]
    waited = 0.0
    while current.machine is None and current.attempt == first and waited < WRITTEN_WITHIN:
        sleep(1.0)
        waited += 1.0
        current = replace(current, machine=notes.read_machine(store, run, first))
    if current.gone is not None and current.gone.kind == "refused":
        raise fenced
    if current.machine is None and current.attempt == first:
        # Its answer was lost, and nobody has looked for it since.
        machine = own.machine(current.order.time if current.order else store.now())
        if current.order is not None and current.order.shared is not None:
            machine = machine.shared_by(run)
        notes.record_machine(store, run, first, machine)
        current = replace(current, machine=notes.read_machine(store, run, first))
    elif current.machine is None and (lost := _left_by_a_start(status, own)):
        notes.record_machine(store, run, current.attempt, replace(lost, id=own.id))
        current = replace(current, machine=notes.read_machine(store, run, current.attempt))
    if current.machine is None or current.machine.name != own.name:
        raise fenced
    return current


def _left_by_a_start(status: Status, own: OwnJob) -> Machine | None:
    """The machine of the newest attempt, if an earlier start of this job has raised it and was
    lost before it wrote the machine down: nobody else would go on with the run."""
    order = status.attempts[-1].order
    if order is None or not order.by.startswith(_BY_A_JOB):
        return None
    written = [each.machine for each in status.attempts if each.machine is not None]
    return written[-1] if written and written[-1].name == own.name else None


def _ended_on_purpose(own: OwnJob, last: AttemptStatus) -> str:
    """Of a chain: a sentence if the job before this one was cancelled, or nobody knows its end.

    last: the attempt of that job, to which no request to stop was written. Slurm forgets a job
    minutes after its end (MinJobAge), and the next may wait for longer. The store still tells: an
    attempt that ended by itself has an outcome, and the job of one that was cancelled has asked
    it to stop.
    """
    word = own.last_end()
    if word.startswith(_CANCELLED):
        return "a job of its chain was cancelled, which ends all of them"
    if word or last.exit_code is not None:
        return ""
    return "how the job before this one ended is not known any more"


def _end(store: Store, run: str, attempt: int, state: str, reason: str) -> Turn:
    try:
        end_attempt(store, run, attempt, state, reason)
    except BadInput as error:  # it is done
        return Turn(0, str(error))
    return Turn(0, f"run {run} is {state}: {reason}")


def _deadline(status: Status, current: AttemptStatus, now: float) -> float:
    """When the run's hours are used up, if it trains from now on."""
    if current.order is None or not current.order.plan.limits.max_hours:
        return 0.0
    left = budget.remaining(current.order.plan.limits, status, now).hours
    return now + budget.HOUR * left
