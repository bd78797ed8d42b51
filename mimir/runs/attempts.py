"""Reads the attempts of a run, those that are over for good only once.

An attempt takes six requests, and a run on spot machines may have hundreds. What the store says
of an attempt whose machine was seen to be gone does not change any more. So whoever writes that it
is gone writes what is known of the attempt into the same object (gone.json), and who reads many of
them writes them down in one (ended.json), both beside the launcher's own notes, where no machine
can write. These are copies: ended.json may be lost, or be overwritten by one that holds fewer
attempts, and is then made again from what it was made of.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

from mimir.errors import Corrupt, OtherFormat, StoreError
from mimir.runs import codec, layout, notes, orders
from mimir.runs import started as starts
from mimir.runs.head import ENDED, Head
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.order import Order
from mimir.runs.ranges import ExitCode, Number, Rate, Seconds, Step, Time
from mimir.runs.started import Started
from mimir.runs.store import DOCUMENT, Store

T = TypeVar("T")

FORMAT = 1
"""Of ended.json."""
AT_ONCE = 32
"""Objects that are read at once: a bucket is far away."""
SETTLED = 600.0
"""Seconds after its machine was seen to be gone from which an attempt's objects are taken to be
all there: a shared folder may hide a new name from another computer for a minute."""
WORTH = 8
"""Attempts that are over and not in ended.json yet, from which on it is written anew."""


@dataclass(frozen=True)
class Worked:
    """How far an attempt had come when it gave its last sign, as its machine says.

    written: unix s by the store's clock. step, rate: as in Heartbeat. training_s: how long it had
    trained by then.
    """

    written: Time
    step: Step
    rate: Rate | None = None
    training_s: Seconds | None = None


@dataclass(frozen=True)
class AttemptStatus:
    """One attempt. end: "" while it may be working, else one sentence; ended_at: when that was
    written, in unix s by the store's clock.

    cause: who ended it, as Outcome.cause. unended: why its machine could not end itself, "" if
    it did not say so. order and machine: order.json and machine.json; of an attempt that is over
    the order may lack what it remembers of HEAD and of refused attempts. gone: since when its
    machine is no more, and why. damage: what is wrong with what its machine wrote, which then
    counts as not written; "" if nothing is. started: since when a job that waited has been at it.
    worked: None if it gave no sign. whole: all of its objects were read, and not only those by
    which its machine is ended or paid.
    """

    attempt: Number
    from_step: int | None
    end: str
    exit_code: ExitCode | None = None
    ended_at: Time | None = None
    cause: str = ""
    unended: str = ""
    machine: Machine | None = None
    order: Order | None = None
    gone: Gone | None = None
    damage: str = ""
    started: Started | None = None
    worked: Worked | None = None
    whole: bool = field(default=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        body = {
            **asdict(self),
            "machine": self.machine.as_json() if self.machine else None,
            "order": self.order.as_json() if self.order else None,
        }
        del body["whole"]
        return body


def read_attempts(
    store: Store, run: str, head: Head, order: Order | None, now: float
) -> tuple[AttemptStatus, ...]:
    """All attempts up to HEAD's; what is over for good is written down to be read once.

    Those that never had a machine are not read, if the newest order knows them: hours without
    capacity leave hundreds.

    Args:
        order: of HEAD's attempt.
        now: unix s by the store's clock.
    """
    refused = orders.refused_in(order, head.attempt) - dict(head.lineage).keys()
    numbers = range((order.earlier if order else 0) + 1, head.attempt + 1)
    kept = _kept(store, run, head) if head.attempt > WORTH else {}
    unread = [number for number in numbers if number not in refused and number not in kept]
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        older = {
            n: pool.submit(notes.read_gone_and_known, store, run, n)
            for n in unread
            if n < head.attempt
        }
        reading = [_newest(pool, store, run, n, order) for n in unread if n == head.attempt]
        reading += [_older(pool, store, run, n, *end.result()) for n, end in older.items()]
        read = {each.number: each.told(head) for each in reading}
    over = [each for n, each in read.items() if n < head.attempt and _is_settled(each, now)]
    if len(over) >= WORTH:
        _keep(store, run, [*kept.values(), *over])
    return tuple(_refused(n) if n in refused else kept.get(n) or read[n] for n in numbers)


def record_gone(store: Store, run: str, attempt: AttemptStatus, gone: Gone) -> bool:
    """As notes.record_gone, with what is known of the attempt, so that it is read in one request.

    What its worker writes from now on is read too, as long as there is no outcome yet. Of an
    attempt that was not wholly read nothing is written that would be taken for all of it.
    """
    known = _to_json(replace(attempt, gone=None)) if attempt.whole else None
    return notes.record_gone(store, run, attempt.attempt, gone, known)


def _refused(number: int) -> AttemptStatus:
    why = "no machine was available"
    return AttemptStatus(number, None, why, gone=Gone(0.0, "refused", why))


def _is_settled(attempt: AttemptStatus, now: float) -> bool:
    """Whether nobody will write of this attempt any more."""
    return attempt.gone is not None and now - attempt.gone.time > SETTLED


def _kept(store: Store, run: str, head: Head) -> dict[int, AttemptStatus]:
    """What ended.json says, by attempt. One that cannot be read is made again: it is a copy."""
    key = layout.ended_key(run)
    try:
        found = store.read(key)
        body = codec.unsealed(found.data, FORMAT, key) if found else {"attempts": ()}
        made = [_from_json(codec.child({"": each}, "", key), key) for each in body["attempts"]]
    except (Corrupt, OtherFormat, KeyError, TypeError):
        return {}
    lineage = dict(head.lineage)
    return {
        each.attempt: replace(each, from_step=lineage.get(each.attempt))
        for each in made
        if each.attempt < head.attempt
    }


def _keep(store: Store, run: str, attempts: Iterable[AttemptStatus]) -> None:
    """Write them down, the oldest ones if not all have room."""
    made: list[dict[str, Any]] = []
    room = DOCUMENT - 1024
    for attempt in sorted(attempts, key=lambda each: each.attempt):
        body = _to_json(attempt)
        room -= len(codec.encode(body))
        if room < 0:
            break
        made.append(body)
    with contextlib.suppress(StoreError):  # e.g. keys that only read; then they are read again
        store.put(layout.ended_key(run), codec.sealed({"attempts": made}, FORMAT))


def _to_json(attempt: AttemptStatus) -> dict[str, Any]:
    # What an order remembers of HEAD grows with the attempts, and only the newest one's counts.
    order = attempt.order and replace(attempt.order, kept=(), lineage=(), refused=())
    return replace(attempt, order=order, from_step=None).as_json()


def _from_json(value: Mapping[str, Any], where: str) -> AttemptStatus:
    machine, order = (codec.child(value, name, where) for name in ("machine", "order"))
    return codec.typed(
        AttemptStatus, value, where, whole=True,
        machine=Machine.from_json(machine, where) if machine else None,
        order=Order.from_json(order, where) if order else None,
    )  # fmt: skip


def _newest(
    pool: ThreadPoolExecutor, store: Store, run: str, number: int, order: Order | None
) -> "_Reading":
    """Of HEAD's attempt, whose order was read."""
    gone = pool.submit(notes.read_gone, store, run, number)
    return _Reading(pool, store, run, number, gone.result, lambda: order)


def _older(
    pool: ThreadPoolExecutor, store: Store, run: str, number: int,
    gone: Gone | None, told: dict[str, Any],
) -> "_Reading":  # fmt: skip
    """Of one before it: what its end (read_gone_and_known) does not tell is asked for."""
    known = None
    if gone is not None and told:
        with contextlib.suppress(Corrupt):  # it is a copy
            known = _from_json(told, layout.gone_key(run, number))
    if known is None or known.attempt != number or known.damage or known.machine is None:
        order = pool.submit(notes.read_order, store, run, number)
        return _Reading(pool, store, run, number, lambda: gone, order.result)
    return _Reading(pool, store, run, number, lambda: gone, lambda: known.order, known)


class _Reading:
    """The objects of an attempt that were not read yet, asked for at once.

    known: what was written of it when its machine was gone, all but an outcome that came later.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, store: Store, run: str, number: int,
        gone: Callable[[], Gone | None], order: Callable[[], Order | None],
        known: AttemptStatus | None = None,
    ) -> None:  # fmt: skip
        self._store, self._run, self.number = store, run, number
        self._gone, self._order, self._known = gone, order, known
        self._wrong: list[str] = []

        def machines(read: Callable[[Store, str, int], T | None]) -> Future[T | None]:
            return pool.submit(notes.unless_damaged, read, store, run, number, self._wrong)

        if known is None:
            self._unended = machines(notes.read_unended)
            self._machine = pool.submit(notes.read_machine, store, run, number)
            # What is wrong with a heartbeat, the run's status says; here it gives a cost only.
            self._sign = pool.submit(notes.unless_damaged, notes.read_sign, store, run, number)
        if known is None or known.exit_code is None:
            self._ending = machines(notes.read_end)

    def told(self, head: Head) -> AttemptStatus:
        """Raises what reading one of the launcher's notes raised."""
        base = self._known or self._read()
        from_step, gone = dict(head.lineage).get(self.number), self._gone()
        made = replace(base, from_step=from_step, gone=gone)
        if base.exit_code is not None:
            return made
        outcome, ended_at = self._ending.result() or (None, None)
        if outcome is not None:
            end = outcome.words
        elif gone is not None:
            end = gone.why
        elif self.number < head.attempt:
            end = "never began" if from_step is None else "lost without a word"
        else:
            end = head.state if head.state in ENDED else ""
        return replace(
            made,
            end=end,
            exit_code=outcome.exit_code if outcome else None,
            ended_at=ended_at,
            cause=outcome.cause if outcome else "",
            damage=codec.shortened("; ".join(sorted(self._wrong))),
        )

    def _read(self) -> AttemptStatus:
        """What does not depend on how it ended."""
        machine, unended = self._machine.result(), self._unended.result()
        sign = self._sign.result()
        beat = sign.heartbeat if sign else None
        queues = machine is not None and machine.queues
        return AttemptStatus(
            self.number, None, "", unended=unended.reason if unended else "", machine=machine,
            order=self._order(),
            started=starts.read(self._store, self._run, self.number) if queues else None,
            worked=Worked(sign.written, beat.step, beat.rate, beat.training_s)
            if sign and beat else None,
            whole=True,
        )  # fmt: skip
