"""Derives the state of a run from its store alone.

No provider is asked: its word tells whether money is spent, not whether a run is safe. The
heartbeat's age makes an attempt "silent", which is for people to see; whether an attempt may
still commit is decided by HEAD and nothing else. Ages are by the store's own clock, and no
computer's time is compared with another's.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mimir.errors import BAD_CONFIG, NON_FINITE
from mimir.runs import final, notes, orders
from mimir.runs.about import About
from mimir.runs.attempts import AttemptStatus, read_attempts
from mimir.runs.execution import Execution
from mimir.runs.figures import RANKING, from_heartbeat
from mimir.runs.head import ENDED, REMOVED, Head, Kept, find_head
from mimir.runs.notes import Heartbeat, Sign
from mimir.runs.order import Order
from mimir.runs.origin import Origin
from mimir.runs.record import RunRecord, check_not_lost, read_run
from mimir.runs.store import Store
from mimir.runs.telemetry import Telemetry

DISPUTED = "disputed"
"""State of a run whose HEAD is not to be believed."""
SLOWEST = 1e-6
"""Steps/s: what is slower has no end that could be told."""
SILENT_AFTER = 4.0
"""Heartbeats that may be missed before an attempt is called silent."""


@dataclass(frozen=True)
class Status:
    """state: queued, running, interrupted, done, failed, stopped, or disputed if HEAD is none or
    not to be believed (reason says why); rate in steps/s.

    attempt: HEAD's, but of a disputed run the newest that was ordered. warning: what else is
    wrong with HEAD, in one sentence, or "". sealed: the run is done, and what it left is sealed.
    sweep: to which it belongs, "" for none. step: what a running attempt's heartbeat says, else the
    committed one; committed_step: what HEAD says. silent_s: seconds since the last sign of a
    running attempt, None if it has given none; beat: another one for each sign, "" without one. at:
    when it was asked for, in unix s by the store's clock, as created is. val: the held-out figure
    that comes first; figures: the others that a status shows. expected_end: step at which patience
    ends the running attempt's training if no later validation is better, None if it may not.
    execution: how the newest
    attempt that gave a sign executes its steps, None if it did not say. commit_s: what a running
    attempt's commits take; checkpoint_s: the seconds between its checkpoints, where they are fewer
    than the run was given, None else. origin: the run from which it began, None if it began afresh.
    about: its labels and notes, None where they were not asked for, or there are none. damage: what
    is wrong with what the run's machines wrote, which counts as not written then; "" if nothing is.
    telemetry: what a running attempt's machine did until its last sign, None if it did not say.
    """

    run: str
    preset: str
    state: str
    reason: str
    step: int
    committed_step: int
    total_steps: int | None
    epoch: float | None
    rate: float | None
    eta_s: float | None
    loss: float | None
    val: float | None
    silent: bool
    silent_s: float | None
    stop_requested: bool
    attempt: int
    attempts: tuple[AttemptStatus, ...]
    kept: tuple[Kept, ...]
    best: str | None
    created: float
    figures: dict[str, float] = field(default_factory=dict)
    execution: Execution | None = None
    damage: str = ""
    warning: str = ""
    sealed: bool = False
    sweep: str = ""
    beat: str = ""
    at: float = 0.0
    expected_end: int | None = None
    checkpoint_s: float | None = None
    commit_s: float | None = None
    telemetry: Telemetry | None = None
    origin: Origin | None = None
    about: About | None = None

    @property
    def done_steps(self) -> int:
        """Steps that need not be taken again: those committed, or those that it began with."""
        return max(self.committed_step, self.origin.done if self.origin else 0)

    def held_out(self) -> dict[str, float]:
        """All known held-out figures by key."""
        return {**({} if self.val is None else {RANKING: self.val}), **self.figures}

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; without `figures` if there are none."""
        body = {**asdict(self), "attempts": [each.as_json() for each in self.attempts]}
        del body["beat"], body["at"]
        if body["about"] is not None:
            del body["about"]["nonce"]
        if not self.figures:
            del body["figures"]
        return body


def read_head(store: Store, run: str) -> Head:
    """HEAD of an existing run; BadInput if there is no such run, Corrupt if HEAD was lost."""
    head = find_head(store, run)
    if head is None:
        read_run(store, run)
        check_not_lost(store, run)
        return Head(run=run)  # run.json is there, HEAD not yet: a submission was cut off
    return head


def head_or_remembered(store: Store, run: str) -> tuple[Head, str]:
    """As read_head, but where HEAD is lost or none, and an attempt was ordered: what the newest
    order remembers of it, and a sentence that says what is wrong ("" for nothing)."""
    return orders.head_or_remembered(store, run) or (read_head(store, run), "")


def final_head(store: Store, run: str, now: float) -> Head:
    """What the run left if it is done, which is sealed if it was not yet; else HEAD as it stands.

    now: the store's (Store.now). BadInput if there is no such run.
    """
    return final.read(store, run) or final.seal(store, read_head(store, run), now)


def left_head(store: Store, run: str) -> Head:
    """What the run left if it is done and sealed; else HEAD, or what is remembered of it."""
    return final.read(store, run) or head_or_remembered(store, run)[0]


def seal_if_done(store: Store, status: Status, now: float) -> None:
    """Seal what the run left, if it is done and that is not sealed yet. now: as derive's."""
    if status.state == "done" and not status.sealed:
        final_head(store, status.run, now)


def derive(store: Store, run: str, now: float) -> Status:
    """The run's status at `now`, which is the store's (Store.now)."""
    record = read_run(store, run)
    written, broken = head_or_remembered(store, run)
    head = written
    with ThreadPoolExecutor(max_workers=3) as pool:
        sealing = pool.submit(final.read, store, run)
        following = pool.submit(orders.following, store, head)
        order = notes.read_order(store, run, head.attempt) if head.attempt else None
        sealed = sealing.result()
        doubt = broken or orders.doubt(store, head, order, following.result(), now)
    if sealed is not None:
        head, doubt = sealed, ""
        if written.nonce != sealed.nonce:
            head = final.removed(store, sealed) or sealed
        order = notes.read_order(store, run, head.attempt) if written != head else order
    if doubt:
        # Nothing of what it says counts but the checkpoints that it names.
        head = head.queued_at(orders.newest_order(store, run))
        order = notes.read_order(store, run, head.attempt) if head.attempt else None
    with ThreadPoolExecutor(max_workers=2) as pool:
        stopping = pool.submit(notes.stop_requested, store, run, max(1, head.attempt))
        signs = pool.submit(_newest_sign, store, run, head)
        attempts = read_attempts(store, run, head, order, now)
    current = attempts[-1] if attempts else None
    over = (current.exit_code, current.end) if current and current.exit_code is not None else None
    if over and not doubt and head.state not in ENDED:
        # A worker that brings its run to an end writes HEAD first: it may just have done so.
        again, broken = head_or_remembered(store, run)
        if broken or again.attempt != head.attempt:
            return derive(store, run, now)
        head = again
    stop = stopping.result() if head.attempt else None
    whose, sign, unread = signs.result()
    state, reason = state_of(head, over, stopping=stop is not None)
    if doubt:
        state, reason = DISPUTED, doubt
    made = told(record, head, (state, reason), sign, now, its_own=whose == head.attempt)
    # An attempt that began before the run's first commit went on from what the run began with.
    done = record.origin.done if record.origin else 0
    attempts = tuple(
        replace(each, from_step=done) if each.from_step == 0 else each for each in attempts
    )
    return replace(
        made,
        stop_requested=stop is not None,
        attempts=attempts,
        damage="; ".join([*unread, *(each.damage for each in attempts if each.damage)]),
        warning=_warning(written, sealed, order),
        sealed=sealed is not None,
    )


def told(
    record: RunRecord, head: Head, state: tuple[str, str], sign: Sign | None, now: float,
    *, its_own: bool = True,
) -> Status:  # fmt: skip
    """What record, HEAD and a heartbeat say of a run; no attempts, no stop, no damage.

    Args:
        state: the run's, and its reason.
        sign: of the newest attempt that gave one; its_own: whether that is HEAD's.
        now: unix s by the store's clock.
    """
    latest = sign.heartbeat if sign else None
    heartbeat = latest if its_own else None
    running = state[0] == "running"
    # One from the future is as strange as an old one: a clock was set, or lies.
    age = abs(now - sign.written) if running and heartbeat and sign else None
    step = max(heartbeat.step, head.step) if running and heartbeat else head.step
    total = latest.total_steps if latest else None
    rate = latest.rate if latest and latest.rate and latest.rate > SLOWEST and running else None
    return Status(
        run=record.name,
        preset=record.preset,
        state=state[0],
        reason=state[1],
        step=step,
        committed_step=head.step,
        total_steps=total,
        epoch=_epoch(latest, step),
        rate=rate,
        eta_s=(total - step) / rate if rate and total is not None else None,
        loss=latest.loss if latest else None,
        val=latest.val if latest else None,
        silent=age is not None
        and heartbeat is not None
        and age > SILENT_AFTER * heartbeat.interval_s,
        silent_s=age,
        stop_requested=False,
        attempt=head.attempt,
        attempts=(),
        kept=head.kept,
        best=head.best,
        created=record.created,
        figures=from_heartbeat(latest.figures) if latest else {},
        execution=latest.execution if latest else None,
        sweep=record.sweep,
        beat=sign.beat if sign and heartbeat else "",
        expected_end=latest.expected_end if latest and running else None,
        checkpoint_s=latest.checkpoint_s if latest and running else None,
        commit_s=latest.commit_s if latest and running else None,
        telemetry=heartbeat.telemetry if heartbeat and running else None,
        at=now,
        origin=record.origin,
    )


def _epoch(beat: Heartbeat | None, step: int) -> float | None:
    """The epoch of a step, by a heartbeat that may tell that of another one."""
    if beat is None or (beat.step == 0 and step > 0):
        return None
    return beat.epoch * step / beat.step if step != beat.step else beat.epoch


def _warning(head: Head, sealed: Head | None, order: Order | None) -> str:
    if sealed is None:
        return orders.shortfall(head, order)
    if head.nonce == sealed.nonce:
        return ""
    if head.state == REMOVED:
        return f"it is being removed: finish that by `python -m launch rm {head.run}`"
    return (
        f"HEAD of run {head.run} was changed after the run was seen done: what it was then counts, "
        "and what a machine has written since does not"
    )


def state_of(head: Head, over: tuple[int, str] | None, *, stopping: bool) -> tuple[str, str]:
    """The run's state and its reason.

    over: exit code and end of the attempt at HEAD, if its worker has written how it ended.
    """
    if head.state in ENDED or over is None:
        return head.state, head.reason
    exit_code, end = over
    if exit_code in (NON_FINITE, BAD_CONFIG):
        return "failed", end
    return ("stopped" if stopping else "interrupted"), end


def _newest_sign(store: Store, run: str, head: Head) -> tuple[int, Sign | None, list[str]]:
    """Of the newest attempt that gave a sign, with its number, and what was wrong with newer ones.

    A queued attempt has none yet.
    """
    begun = [attempt for attempt, _ in reversed(head.lineage) if attempt <= head.attempt]
    wrong: list[str] = []
    for attempt in dict.fromkeys((head.attempt, *begun)) if head.attempt else ():
        latest = notes.unless_damaged(notes.read_sign, store, run, attempt, wrong)
        if latest is not None:
            return attempt, latest, wrong
    return 0, None, wrong
