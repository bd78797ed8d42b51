"""What became of a run's newest attempt: what its store says first, then what its service says.

`diagnose` is pure: an observation in, a diagnosis out. The watcher acts on it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from launch.contract import deadlines
from launch.contract.cloud import State
from launch.contract.provider import Provider
from launch.provision import liveness
from launch.supervise import overtime
from mimir.runs import final, notes
from mimir.runs.head import ENDED, LIVE
from mimir.runs.order import Order
from mimir.runs.status import DISPUTED, Status, derive
from mimir.runs.store import Store


@dataclass(frozen=True)
class Observation:
    """What was seen at `now`, in unix s by the store's clock, by which orders are dated too.

    state: of the machine, None if its provider could not be asked (or cannot tell). order: of
    the newest attempt, None if it was begun by hand. unchanged: seconds for which one has seen
    the heartbeat stay as it is, None where only its age tells. problem: what a person must mend
    before the machine's provider answers from here, "" for nothing. taken: as Instance.taken.
    queues: the machine is a job that waits for its turn and goes on by itself.
    """

    status: Status
    order: Order | None
    state: State | None
    said: str
    now: float
    unchanged: float | None = None
    problem: str = ""
    taken: bool | None = None
    queues: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """kind: idle (nothing to keep), fine, unanswered (an order without a machine on record),
    over (the run has ended) or lost (the attempt has ended, the run has not).

    loss: for lost, the kind of mimir.runs.notes.Gone: over (planned), eviction, failure,
    placement, refused.
    """

    kind: str
    why: str
    loss: str = ""


def observe(
    status: Status,
    order: Order | None,
    provider: Callable[[str], Provider] | None = None,
    unchanged: float | None = None,
) -> Observation:
    """Ask the provider of the newest attempt's machine, unless it is known to be gone."""
    machine = liveness.current(status)
    there = liveness.Asked(None)
    if machine is not None and not status.attempts[-1].gone:
        there = liveness.asked(machine, provider)
    attended = order if order is not None and order.attended else None
    queues = machine is not None and machine.queues and not status.attempts[-1].gone
    return Observation(
        status, attended, there.state, there.said, status.at, unchanged, there.problem, there.taken,
        queues=queues,
    )  # fmt: skip


def look(
    store: Store,
    status: Status,
    order: Order | None,
    provider: Callable[[str], Provider] | None = None,
    *,
    say: Callable[[str], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Observation:
    """As observe, for who looks once and acts on it: what only its age calls silent is watched."""
    observed = observe(status, order, provider)
    if not by_silence(observed):
        return observed
    within = f"{deadlines.BEATS_WITHIN:.0f} s"
    say(f"attempt {status.attempt} of run {status.run} seems silent: looking at it for {within}")
    if not liveness.stirs(store, status, sleep=sleep, clock=clock):
        return observed
    fresh = derive(store, status.run, store.now())
    if fresh.attempt != status.attempt:
        order = fresh.attempts[-1].order
    return observe(fresh, order, provider, unchanged=0.0)


def by_silence(observed: Observation) -> bool:
    """Whether nothing but the age of its heartbeat says that the attempt does not live."""
    if observed.status.silent_s is None:
        return False
    young = replace(observed, status=replace(observed.status, silent=False, silent_s=0.0))
    return bool(busy(young)) and not busy(observed)


def busy(observed: Observation) -> str:
    """ "" if a new attempt takes nothing away, else what speaks for the current one's life.

    What `submit` and `resume` go by: an attempt is busy as long as `watch` does not call it lost.
    """
    status = observed.status
    if observed.queues and status.state in (*LIVE, "interrupted") and observed.order is not None:
        found = diagnose(observed)
        return f"has a job: {found.why}" if found.kind == "fine" else ""
    if status.state not in LIVE or status.attempt == 0:
        return ""
    age = status.silent_s or 0.0
    if observed.order is None:  # a terminal's or a notebook's: no watcher looks after it
        seen = observed.unchanged is None or observed.unchanged >= deadlines.BEATS_WITHIN
        if (status.silent and seen) or observed.state is State.GONE:
            return ""
        if status.silent_s is not None:
            return f"gave a sign {age:.0f} s ago"
        machine = liveness.current(status)
        if machine is None:
            claimed = status.state == "running"
            return "has no machine on record, but gave no sign of its end" if claimed else ""
        sign = liveness.presumed(status, machine.started, observed.now)
        return "is starting" if sign == "starting" else ""
    found = diagnose(observed)
    if found.kind == "unanswered":
        return "is being ordered"
    if found.kind != "fine":
        return ""
    return f"gave a sign {age:.0f} s ago" if found.why == "working" else "is starting"


def diagnose(observed: Observation) -> Diagnosis:
    """The first rule that applies, in this order."""
    status, now = observed.status, observed.now
    if status.attempt == 0 and observed.order is None:
        return Diagnosis("idle", f"run {status.run} has not begun")
    if status.state == DISPUTED:
        return Diagnosis("lost", status.reason, "failure")
    if status.state in ENDED:
        why = f": {status.reason}" if status.reason else ""
        return Diagnosis("over", f"run {status.run} is {status.state}{why}")
    if observed.order is None:
        return Diagnosis("idle", f"attempt {status.attempt} was not begun by `launch`")
    if status.attempt == 0:
        return _since("the launcher ended before the first attempt", observed)
    current = status.attempts[-1]
    if observed.queues:
        return _of_job(observed)
    if current.exit_code is not None:
        loss = {"deadline": "over", "signal": "eviction"}.get(current.cause, "failure")
        if current.cause == "host" and current.from_step in (None, status.committed_step):
            loss = "placement"  # the host's fault, and not the run's; `idle` bounds such claims
        return Diagnosis("lost", current.end, loss)
    if current.gone is not None:
        return Diagnosis("lost", current.gone.why, current.gone.kind)
    if current.machine is None:
        return _since("its order was never answered", observed)
    said = f" ({observed.said})" if observed.said else ""
    ended = observed.state in (State.GONE, State.SUSPENDED, State.BROKEN)
    if ended and observed.taken is not None:  # its service says why, also while it is ending
        how = "was taken away" if observed.taken else "has ended"
        loss = "eviction" if observed.taken else "failure"
        return Diagnosis("lost", f"its machine {how}{said}", loss)
    if observed.state is State.GONE and current.from_step is None:
        # No eviction: a worker that cannot begin ends its machine, and so would the next ones.
        return Diagnosis("lost", f"its machine is gone, and it had not begun{said}", "failure")
    if observed.state is State.GONE:
        return Diagnosis("lost", f"its machine is gone{said}", "eviction")
    if observed.state is State.SUSPENDED:
        return Diagnosis("lost", f"its machine was taken away{said}", "eviction")
    if observed.state is State.BROKEN:
        return Diagnosis("lost", f"its machine is broken{said}", "failure")
    if liveness.overdue(current.machine, observed.order, now):
        return Diagnosis("lost", overtime.WHY, "failure")
    sign = liveness.presumed(status, observed.order.time, now, observed.unchanged)
    if sign == "never began":
        waited = (now - observed.order.time) / 60
        return Diagnosis("lost", f"it gave no sign within {waited:.0f} min{said}", "failure")
    if sign == "silent":
        silent = max(status.silent_s or 0.0, observed.unchanged or 0.0) / 60
        return Diagnosis("lost", f"it has given no sign for {silent:.0f} min{said}", "failure")
    coming = sign == "starting" and observed.state is State.PENDING
    return Diagnosis("fine", sign + (said if coming else ""))


def _of_job(observed: Observation) -> Diagnosis:
    """Of a job that goes on by itself: only its cluster's word that it is gone ends it."""
    said = observed.said or "its cluster does not answer"
    if observed.state is State.GONE:
        why = f": {observed.said}" if observed.said else ""
        return Diagnosis("lost", f"its job is not on the cluster any more{why}", "over")
    if observed.state is State.RUNNING and observed.status.state == "running":
        return Diagnosis("fine", "working" if not observed.status.silent else "silent")
    return Diagnosis("fine", said)


def is_finishing(store: Store, observed: Observation, now: float) -> bool:
    """Whether the worker that has just brought the run to its end is still at it.

    It has FINAL_LOG_WITHIN from the seal, which no machine writes: that it goes on giving signs
    keeps nobody from ending it. now: unix s by the store's clock.
    """
    status, within = observed.status, deadlines.FINAL_LOG_WITHIN
    last = status.attempts[-1] if status.attempts else None
    if last is None or status.state != "done" or last.exit_code is not None:
        return False
    if observed.state is not State.RUNNING:
        return False
    if liveness.overdue(liveness.current(status), observed.order, now):
        return False
    sealed = final.sealed_at(store, status.run)
    if sealed is None or not 0 <= now - sealed < within:
        return False
    sign = notes.unless_damaged(notes.read_sign, store, status.run, status.attempt)
    return sign is not None and abs(now - sign.written) < within


def _since(why: str, observed: Observation) -> Diagnosis:
    assert observed.order is not None
    kind = "unanswered" if observed.now - observed.order.time < deadlines.LISTED_WITHIN else "lost"
    return Diagnosis(kind, why, "refused")


def without_progress(status: Status, since: int = 0) -> bool:
    """Whether the last two attempts that began to train have left no new step.

    One whose host was less than what was ordered may have claimed the run before that showed; it
    says nothing of the run. since: the attempt that a person ordered; what was before it, they
    have seen.
    """
    begun = [
        a
        for a in status.attempts
        if a.from_step is not None
        and a.attempt >= since
        and not (a.gone and a.gone.kind == "placement")
    ]
    return len(begun) >= 2 and begun[-2].from_step == status.committed_step


def idle(status: Status, since: int = 0) -> int:
    """Machines in a row, up to the newest, that have left no new step, whatever ended them."""
    its = [
        a
        for a in status.attempts
        if a.attempt >= since and a.order and not (a.gone and a.gone.kind == "refused")
    ]
    return sum(1 for a in its if a.order and a.order.step >= status.committed_step)


def failures(status: Status, since: int = 0) -> int:
    """Attempts since then whose machine or worker broke."""
    its = [a for a in status.attempts if a.attempt >= since and a.gone is not None]
    return sum(1 for a in its if a.gone is not None and a.gone.kind == "failure")
