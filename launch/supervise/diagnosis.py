"""What became of a run's newest attempt: what its store says first, then what its service says.

Pure: an observation in, a diagnosis out. The watcher acts on it.
"""

from dataclasses import dataclass

from launch.contract import deadlines
from launch.contract.cloud import State
from launch.provision import liveness
from mimir.runs.head import ENDED
from mimir.runs.order import Order
from mimir.runs.status import Status


@dataclass(frozen=True)
class Observation:
    """What was seen at `now` (unix s).

    state: of the machine, None if its provider could not be asked (or cannot tell). order: of
    the newest attempt.
    """

    status: Status
    order: Order | None
    state: State | None
    said: str
    now: float


@dataclass(frozen=True)
class Diagnosis:
    """kind: idle (nothing to keep), fine, unanswered (an order without a machine on record),
    over (the run has ended) or lost (the attempt has ended, the run has not).

    loss: for lost, the kind of mimir.runs.notes.Gone: over (planned), eviction, failure, refused.
    """

    kind: str
    why: str
    loss: str = ""


def diagnose(observed: Observation) -> Diagnosis:
    """The first rule that applies, in this order."""
    status, now = observed.status, observed.now
    if status.attempt == 0 and observed.order is None:
        return Diagnosis("idle", f"run {status.run} has not begun")
    if status.state in ENDED:
        why = f": {status.reason}" if status.reason else ""
        return Diagnosis("over", f"run {status.run} is {status.state}{why}")
    if observed.order is None:
        return Diagnosis("idle", f"attempt {status.attempt} was not begun by `launch`")
    if status.attempt == 0:
        return _since("the launcher ended before attempt 1", observed)
    current = status.attempts[-1]
    if current.exit_code is not None:
        loss = {"deadline": "over", "signal": "eviction"}.get(current.cause, "failure")
        return Diagnosis("lost", current.end, loss)
    if current.gone is not None:
        return Diagnosis("lost", current.gone.why, current.gone.kind)
    if current.machine is None:
        return _since("its order was never answered", observed)
    said = f" ({observed.said})" if observed.said else ""
    if observed.state is State.GONE and current.from_step is None:
        # No eviction: a worker that cannot begin ends its machine, and so would the next ones.
        return Diagnosis("lost", f"its machine is gone, and it had not begun{said}", "failure")
    if observed.state is State.GONE:
        return Diagnosis("lost", f"its machine is gone{said}", "eviction")
    if observed.state is State.SUSPENDED:
        return Diagnosis("lost", f"its machine was taken away{said}", "eviction")
    if observed.state is State.BROKEN:
        return Diagnosis("lost", f"its machine is broken{said}", "failure")
    # Its keys may have shortened what the order said.
    deadline = current.machine.deadline or observed.order.deadline
    if deadline and now > deadline + deadlines.WATCH_OVERTIME:
        return Diagnosis("lost", "it went on for half an hour after its deadline", "failure")
    sign = liveness.presumed(status, observed.order.time, now)
    if sign == "overdue":
        waited = (now - observed.order.time) / 60
        return Diagnosis("lost", f"it gave no sign within {waited:.0f} min{said}", "failure")
    if sign == "silent":
        silent = (status.silent_s or 0.0) / 60
        return Diagnosis("lost", f"it has given no sign for {silent:.0f} min{said}", "failure")
    return Diagnosis("fine", sign)


def _since(why: str, observed: Observation) -> Diagnosis:
    assert observed.order is not None
    kind = "unanswered" if observed.now - observed.order.time < deadlines.LISTED_WITHIN else "lost"
    return Diagnosis(kind, why, "refused")


def without_progress(status: Status, since: int = 0) -> bool:
    """Whether the last two attempts that began to train have left no new step.

    since: the attempt that a person ordered; what was before it, they have seen.
    """
    begun = [a for a in status.attempts if a.from_step is not None and a.attempt >= since]
    return len(begun) >= 2 and begun[-2].from_step == status.committed_step


def failures(status: Status, since: int = 0) -> int:
    """Attempts since then whose machine or worker broke."""
    its = [a for a in status.attempts if a.attempt >= since and a.gone is not None]
    return sum(1 for a in its if a.gone is not None and a.gone.kind == "failure")
