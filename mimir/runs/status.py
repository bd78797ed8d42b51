"""Derives the state of a run from its store alone.

No provider is asked: its word tells whether money is spent, not whether a run is safe. The
heartbeat's age makes an attempt "silent", which is for people to see; whether an attempt may
still commit is decided by HEAD and nothing else. Ages are by the store's own clock, and no
computer's time is compared with another's.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from mimir.errors import BAD_CONFIG, NON_FINITE, sentence
from mimir.runs import final, layout, notes, orders
from mimir.runs.execution import Execution
from mimir.runs.figures import RANKING, from_heartbeat
from mimir.runs.head import ENDED, Head, Kept, find_head
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone, Sign
from mimir.runs.order import Order
from mimir.runs.record import check_not_lost, find_run, read_run
from mimir.runs.store import Store

T = TypeVar("T")

DISPUTED = "disputed"
"""State of a run whose HEAD is not to be believed."""
SLOWEST = 1e-6
"""Steps/s: what is slower has no end that could be told."""
SILENT_AFTER = 4.0
"""Heartbeats that may be missed before an attempt is called silent."""


@dataclass(frozen=True)
class AttemptStatus:
    """One attempt. end: "" while it may be working, else one sentence; ended_at: when that was
    written, in unix s by the store's clock.

    cause: who ended it, as Outcome.cause. unended: why its machine could not end itself, "" if
    it did not say so. order and machine: order.json and machine.json. gone: since when its
    machine is no more, and why. damage: what is wrong with what its machine wrote, which then
    counts as not written; "" if nothing is.
    """

    attempt: int
    from_step: int | None
    end: str
    exit_code: int | None = None
    ended_at: float | None = None
    cause: str = ""
    unended: str = ""
    machine: Machine | None = None
    order: Order | None = None
    gone: Gone | None = None
    damage: str = ""


@dataclass(frozen=True)
class Status:
    """state: queued, running, interrupted, done, failed, stopped, or disputed if HEAD is none or
    not to be believed (reason says why); rate in steps/s.

    attempt: HEAD's, but of a disputed run the newest that was ordered. warning: what else is
    wrong with HEAD, in one sentence, or "". sealed: the run is done, and what it left is sealed.
    step: what a running attempt's heartbeat says, else the committed one; committed_step: what
    HEAD says. silent_s: seconds since the last sign of a running attempt, None if it has given
    none; beat: another one for each sign, "" without one. at: when it was asked for, in unix s by
    the store's clock, as created is. val: the held-out figure that comes first; figures: the
    others that a status shows. execution: how the newest attempt that gave a sign executes its
    steps, None if it did not say. damage: what is wrong with what the run's machines wrote, which
    counts as not written then; "" if nothing is.
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
    beat: str = ""
    at: float = 0.0

    def held_out(self) -> dict[str, float]:
        """All known held-out figures by key."""
        return {**({} if self.val is None else {RANKING: self.val}), **self.figures}

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values; without `figures` if there are none."""
        attempts = [
            {
                **asdict(each),
                "machine": each.machine.as_json() if each.machine else None,
                "order": each.order.as_json() if each.order else None,
            }
            for each in self.attempts
        ]
        body = {**asdict(self), "attempts": attempts}
        del body["beat"], body["at"]
        if not self.figures:
            del body["figures"]
        return body


@dataclass(frozen=True)
class Listed:
    """A line of `list`: a run's status, or the sentence that says why it cannot be read."""

    run: str
    status: Status | None
    problem: str = ""


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
    return notes.head_or_remembered(store, run) or (read_head(store, run), "")


def final_head(store: Store, run: str, now: float) -> Head:
    """What the run left if it is done, which is sealed if it was not yet; else HEAD as it stands.

    now: the store's (Store.now). BadInput if there is no such run.
    """
    return final.read(store, run) or final.seal(store, read_head(store, run), now)


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
        following = pool.submit(notes.read_order, store, run, head.attempt + 1)
        order = notes.read_order(store, run, head.attempt) if head.attempt else None
        sealed = sealing.result()
        doubt = broken or orders.doubt(store, head, order, following.result(), now)
    if sealed is not None:
        head, doubt = sealed, ""
        order = notes.read_order(store, run, head.attempt) if written != head else order
    if doubt:
        # Nothing of what it says counts but the checkpoints that it names.
        head = head.queued_at(notes.newest_order(store, run))
        order = notes.read_order(store, run, head.attempt) if head.attempt else None
    attempts = _attempts(store, run, head, order)
    current = attempts[-1] if attempts else None
    over = current is not None and current.exit_code is not None
    if over and not doubt and head.state not in ENDED:
        # A worker that brings its run to an end writes HEAD first: it may just have done so.
        again, broken = head_or_remembered(store, run)
        if broken or again.attempt != head.attempt:
            return derive(store, run, now)
        head = again
    stop = notes.stop_requested(store, run, head.attempt) if head.attempt else None
    whose, sign, unread = _newest_sign(store, run, head)
    latest = sign.heartbeat if sign else None
    heartbeat = latest if whose == head.attempt else None
    state, reason = _state(head, current if over else None, stopping=stop is not None)
    if doubt:
        state, reason = DISPUTED, doubt
    running = state == "running"
    # One from the future is as strange as an old one: a clock was set, or lies.
    age = abs(now - sign.written) if running and heartbeat and sign else None
    step = max(heartbeat.step, head.step) if running and heartbeat else head.step
    total = latest.total_steps if latest else None
    rate = latest.rate if latest and latest.rate and latest.rate > SLOWEST and running else None
    return Status(
        run=run,
        preset=record.preset,
        state=state,
        reason=reason,
        step=step,
        committed_step=head.step,
        total_steps=total,
        epoch=latest.epoch if latest else None,
        rate=rate,
        eta_s=(total - step) / rate if rate and total is not None else None,
        loss=latest.loss if latest else None,
        val=latest.val if latest else None,
        silent=age is not None
        and heartbeat is not None
        and age > SILENT_AFTER * heartbeat.interval_s,
        silent_s=age,
        stop_requested=stop is not None,
        attempt=head.attempt,
        attempts=attempts,
        kept=head.kept,
        best=head.best,
        created=record.created,
        figures=from_heartbeat(latest.figures) if latest else {},
        execution=latest.execution if latest else None,
        damage="; ".join([*unread, *(each.damage for each in attempts if each.damage)]),
        warning=_warning(written, sealed, order),
        sealed=sealed is not None,
        beat=sign.beat if sign and heartbeat else "",
        at=now,
    )


def _warning(head: Head, sealed: Head | None, order: Order | None) -> str:
    if sealed is None:
        return orders.shortfall(head, order)
    if head.nonce == sealed.nonce:
        return ""
    return (
        f"HEAD of run {head.run} was changed after the run was seen done: what it was then counts, "
        "and what a machine has written since does not"
    )


def list_names(store: Store) -> list[str]:
    """The names of all runs of a store, damaged ones too.

    What else lies there is none: Mimir's own folders, foreign ones, files.
    """
    return [listed.run for listed in _listed(store, lambda run: None)]


def list_runs(store: Store, now: float) -> list[Listed]:
    """All runs of a store by name. One run that cannot be read does not hide the others."""
    return _listed(store, lambda run: derive(store, run, now))


def _listed(store: Store, look_at: Callable[[str], Status | None]) -> list[Listed]:
    runs = []
    for name in store.folders():
        if not layout.is_run(name):
            continue
        try:
            if find_run(store, name) is not None:
                runs.append(Listed(name, look_at(name)))
            elif store.read(layout.head_key(name)) is not None:
                missing = layout.record_key(name)
                runs.append(Listed(name, None, f"{missing} is missing: restore it"))
        except Exception as error:  # noqa: BLE001 - told in the run's place; the others are shown
            runs.append(Listed(name, None, sentence(error)))
    return runs


def _state(head: Head, over: AttemptStatus | None, *, stopping: bool) -> tuple[str, str]:
    """over: the attempt at HEAD, if its worker has written how it ended."""
    if head.state in ENDED or over is None:
        return head.state, head.reason
    if over.exit_code in (NON_FINITE, BAD_CONFIG):
        return "failed", over.end
    return ("stopped" if stopping else "interrupted"), over.end


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


def _attempts(store: Store, run: str, head: Head, order: Order | None) -> tuple[AttemptStatus, ...]:
    """All attempts; read at once, for each takes five requests and a bucket is far away.

    Those that never had a machine are not read, if the newest order knows them: hours without
    capacity leave hundreds.
    """
    if head.attempt < 2:
        return tuple(_attempt(store, run, head, n) for n in range(1, head.attempt + 1))
    refused = notes.refused_in(order, head.attempt) - dict(head.lineage).keys()

    def found(number: int) -> AttemptStatus:
        if number in refused:
            why = "no machine was available"
            return AttemptStatus(number, None, why, gone=Gone(0.0, "refused", why))
        return _attempt(store, run, head, number)

    with ThreadPoolExecutor(max_workers=8) as pool:
        return tuple(pool.map(found, range(1, head.attempt + 1)))


def _attempt(store: Store, run: str, head: Head, number: int) -> AttemptStatus:
    wrong: list[str] = []
    ending = notes.unless_damaged(notes.read_end, store, run, number, wrong)
    outcome, ended_at = ending or (None, None)
    unended = notes.unless_damaged(notes.read_unended, store, run, number, wrong)
    from_step = dict(head.lineage).get(number)
    gone = notes.read_gone(store, run, number)
    if outcome is not None:
        end = outcome.reason or f"exit code {outcome.exit_code}"
    elif gone is not None:
        end = gone.why
    elif number < head.attempt:
        end = "never began" if from_step is None else "lost without a word"
    else:
        end = head.state if head.state in ENDED else ""
    return AttemptStatus(
        attempt=number,
        from_step=from_step,
        end=end,
        exit_code=outcome.exit_code if outcome else None,
        ended_at=ended_at,
        cause=outcome.cause if outcome else "",
        unended=unended.reason if unended else "",
        machine=notes.read_machine(store, run, number),
        order=notes.read_order(store, run, number),
        gone=gone,
        damage="; ".join(wrong),
    )
