"""What has become of a run's newest attempt: the store's word first, then the service's.

Pure: facts in, a finding out. What is done about it is launch/supervise/watcher.py's.
"""

from dataclasses import dataclass

from launch.contract.cloud import State
from launch.provision.plan import Order
from launch.provision.terminate import SETTLE
from mimir.runs.head import ENDED
from mimir.runs.status import Status

BEGIN_WITHIN = 1500.0
"""Seconds from the order to the first heartbeat: a 6 GB image takes some hosts 20 minutes."""
SILENT_FOR = 600.0
"""Seconds without a heartbeat after which an attempt on a living machine is given up."""
OVERTIME = 1800.0
"""Seconds after its deadline at which an attempt is ended from here."""


@dataclass(frozen=True)
class Facts:
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
class Finding:
    """kind: idle (nothing to keep), fine, unanswered (an order without a machine on record),
    over (the run has ended) or lost (the attempt has ended, the run has not).

    loss: for lost, the kind of mimir.runs.notes.Gone: over (planned), eviction, failure, refused.
    """

    kind: str
    why: str
    loss: str = ""


def diagnose(facts: Facts) -> Finding:
    """The first rule that applies, in this order."""
    status, now = facts.status, facts.now
    if status.attempt == 0 and facts.order is None:
        return Finding("idle", f"run {status.run} has not begun")
    if status.state in ENDED:
        why = f": {status.reason}" if status.reason else ""
        return Finding("over", f"run {status.run} is {status.state}{why}")
    if facts.order is None:
        return Finding("idle", f"attempt {status.attempt} was not begun by `launch`")
    if status.attempt == 0:
        return _since("the launcher ended before attempt 1", facts)
    current = status.attempts[-1]
    if current.exit_code is not None:
        loss = {"deadline": "over", "signal": "eviction"}.get(current.cause, "failure")
        return Finding("lost", current.end, loss)
    if current.gone is not None:
        return Finding("lost", current.gone.why, current.gone.kind)
    if current.machine is None:
        return _since("its order was never answered", facts)
    said = f" ({facts.said})" if facts.said else ""
    if facts.state is State.GONE and current.from_step is None:
        # No eviction: a worker that cannot begin ends its machine, and so would the next ones.
        return Finding("lost", f"its machine is gone, and it had not begun{said}", "failure")
    if facts.state is State.GONE:
        return Finding("lost", f"its machine is gone{said}", "eviction")
    if facts.state is State.SUSPENDED:
        return Finding("lost", f"its machine was taken away{said}", "eviction")
    if facts.state is State.BROKEN:
        return Finding("lost", f"its machine is broken{said}", "failure")
    # Its keys may have shortened what the order said.
    deadline = float(current.machine.get("deadline") or facts.order.deadline)
    if deadline and now > deadline + OVERTIME:
        return Finding("lost", "it went on for half an hour after its deadline", "failure")
    silent, waited = status.silent_s, now - facts.order.time
    if silent is None and waited > BEGIN_WITHIN:
        return Finding("lost", f"it gave no sign within {waited / 60:.0f} min{said}", "failure")
    if silent is not None and silent > SILENT_FOR:
        return Finding("lost", f"it has given no sign for {silent / 60:.0f} min{said}", "failure")
    return Finding("fine", "starting" if silent is None else "working")


def _since(why: str, facts: Facts) -> Finding:
    assert facts.order is not None
    kind = "unanswered" if facts.now - facts.order.time < SETTLE else "lost"
    return Finding(kind, why, "refused")


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
