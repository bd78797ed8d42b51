"""Reads and writes small documents beside HEAD: order, machine, heartbeat, outcome and others.

No commit rests on them. Whoever creates order.json of an attempt, and nobody else, may send
one request for a machine; everybody else looks for that machine or begins the next attempt.

A stop request belongs to an attempt (`a0001/stop.json`): `resume` raises the attempt, and the
old request is nobody's. Whoever replaces an attempt on its own account, as a launcher's
failover does, must look for a request to the old attempt AFTER raising and before ordering a
machine; `request_stop` in turn looks at HEAD again after writing. One of the two always sees
the other, so a stop is never lost between two attempts.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, TypeVar

from mimir.errors import BadInput, Corrupt, StoreError
from mimir.runs import codec, layout
from mimir.runs.execution import Execution
from mimir.runs.head import ENDED, Head, find_head
from mimir.runs.machine import Machine
from mimir.runs.order import Order
from mimir.runs.ranges import (
    AnyTime,
    Between,
    ExitCode,
    Measure,
    OneOf,
    Process,
    Rate,
    Seconds,
    Step,
    Time,
)
from mimir.runs.retention import best_of
from mimir.runs.store import Store, Versioned, create_once

T = TypeVar("T")

FORMAT = 2
"""Of each document that is written here."""


@dataclass(frozen=True)
class Heartbeat:
    """What a worker writes every `interval_s`. time: unix s by the clock of its machine, which
    is compared with no other; rate: optimizer steps/s.

    device: the GPU's or the processor's name. val: the figure that comes first. Stored if there are
    any: figures, the others that `status` shows; execution, how steps are executed; expected_end,
    the step at which patience ends the run if no later validation is better.
    """

    time: AnyTime
    step: Step
    total_steps: Step
    epoch: Annotated[float, Between(0, 1e9)] = 0.0
    rate: Rate | None = None
    loss: Measure | None = None
    val: Measure | None = None
    pid: Process | None = None
    host: str = ""
    interval_s: Seconds = 15.0
    device: str = ""
    figures: dict[str, Measure] = field(default_factory=dict)
    execution: Execution | None = None
    expected_end: Step | None = None


@dataclass(frozen=True)
class Sign:
    """A heartbeat as it lies in the store. written: unix s by the store's clock.

    beat: another one for each that was written; that it changes is what shows life.
    """

    heartbeat: Heartbeat
    written: float
    beat: str


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended: the worker's exit code, one sentence, unix s, last committed step.

    cause: who ended it: "deadline", "stop" (a request), "signal" (from outside), "host" (the
    machine is less than what was ordered), or "" for itself.
    """

    exit_code: ExitCode
    reason: str
    time: Time
    step: Step
    cause: Annotated[str, OneOf(("", "deadline", "stop", "signal", "host"))] = ""

    @property
    def words(self) -> str:
        """The reason, or the exit code where none was given."""
        return self.reason or f"exit code {self.exit_code}"


@dataclass(frozen=True)
class Gone:
    """That an attempt's machine is no more, and why. time: unix s, 0 if it was not read.

    kind: "over" (the attempt had ended), "eviction" (taken away), "failure" (it, or what ran
    on it, broke), "placement" (it was less than what was ordered) or "refused" (there never was
    one).
    """

    time: Time
    kind: Annotated[str, OneOf(("over", "eviction", "failure", "placement", "refused"))]
    why: str


@dataclass(frozen=True)
class Unended:
    """That an attempt's machine is done and could not end itself, so that it still costs money.

    time: unix s.
    """

    time: Time
    reason: str


@dataclass(frozen=True)
class StopRequest:
    """A request to stop one attempt. time: unix s."""

    time: Time
    reason: str = ""


def write_heartbeat(store: Store, run: str, attempt: int, heartbeat: Heartbeat) -> None:
    """Overwrite the attempt's heartbeat."""
    scarce = ("figures", "execution", "expected_end")
    body = {name: value for name, value in asdict(heartbeat).items() if value or name not in scarce}
    store.put(layout.heartbeat_key(run, attempt), _encoded(body))


def read_sign(store: Store, run: str, attempt: int) -> Sign | None:
    """The attempt's last heartbeat, with what its life is judged by."""
    found = _machines(store, layout.heartbeat_key(run, attempt), Heartbeat)
    if found is None:
        return None
    heartbeat, at = found
    return Sign(heartbeat, at.written, f"{at.written} {at.version}")


def read_heartbeat(store: Store, run: str, attempt: int) -> Heartbeat | None:
    sign = read_sign(store, run, attempt)
    return sign.heartbeat if sign else None


def record_outcome(store: Store, run: str, attempt: int, outcome: Outcome) -> bool:
    """Write how the attempt ended; False if that was written already (the first one stays)."""
    return create_once(store, layout.outcome_key(run, attempt), _encoded(asdict(outcome)))


def read_end(store: Store, run: str, attempt: int) -> tuple[Outcome, float] | None:
    """How the attempt ended, and when that was written: unix s by the store's clock."""
    found = _machines(store, layout.outcome_key(run, attempt), Outcome)
    return (found[0], found[1].written) if found else None


def read_outcome(store: Store, run: str, attempt: int) -> Outcome | None:
    end = read_end(store, run, attempt)
    return end[0] if end else None


def record_machine(store: Store, run: str, attempt: int, machine: Machine) -> bool:
    """Write what the attempt runs on; False if that was written already."""
    return create_once(store, layout.machine_key(run, attempt), _encoded(machine.as_json()))


def read_machine(store: Store, run: str, attempt: int) -> Machine | None:
    key = layout.machine_key(run, attempt)
    value = _value(store, key)
    return None if value is None else Machine.from_json(value, key)


def record_order(store: Store, run: str, attempt: int, order: Order) -> bool:
    """Take the right to order the attempt's machine; False if somebody has it already."""
    return create_once(store, layout.order_key(run, attempt), _encoded(order.as_json()))


def read_order(store: Store, run: str, attempt: int) -> Order | None:
    key = layout.order_key(run, attempt)
    value = _value(store, key)
    return None if value is None else Order.from_json(value, key)


def newest_order(store: Store, run: str) -> int:
    """The newest attempt that was ordered, 0 if there is none."""
    keys = store.list(f"{layout.launcher_folder(run)}/a")
    return max((n for key in keys if (n := layout.parse_order(run, key))), default=0)


def remembered(store: Store, run: str) -> Head | None:
    """HEAD as the newest order remembers it, at its attempt; None if there is no order.

    Its seq is the order's time: more than any number of changes.
    """
    number = newest_order(store, run)
    order = read_order(store, run, number) if number else None
    if order is None:
        return None
    return Head(
        run, number, seq=int(order.time), step=order.step, kept=order.kept,
        best=best_of(order.kept), lineage=order.lineage,
    )  # fmt: skip


def head_or_remembered(store: Store, run: str) -> tuple[Head, str] | None:
    """HEAD as far as it is one: (HEAD, ""), or what is remembered of it and why it is none.

    A machine may write anything into HEAD, or delete it; what was ordered is ended anyway.

    Returns:
        None if there is no HEAD, and no order either.

    Raises:
        OtherFormat: HEAD is another Mimir's.
        Corrupt: HEAD is none, and no attempt was ordered.
    """
    key = layout.head_key(run)
    try:
        found = find_head(store, run)
    except Corrupt as error:
        head, wrong = remembered(store, run), str(error)
        if head is None:
            raise
        wrong = wrong if key in wrong else f"{key}: {wrong}"
    else:
        if found is not None:
            return found, ""
        head, wrong = remembered(store, run), f"{key} is missing"
        if head is None:
            return None
    return head, f"{wrong}; what counts is what the order of attempt {head.attempt} remembers"


def refused_before(store: Store, run: str, attempt: int) -> frozenset[int]:
    """Older attempts of which the attempt's order says that there never was a machine.

    Orders carry their numbers on, so that nobody has to read each of hundreds of refusals.
    """
    try:
        return refused_in(read_order(store, run, attempt), attempt)
    except Corrupt:
        return frozenset()  # then they are read one by one


def refused_in(order: Order | None, attempt: int) -> frozenset[int]:
    """As `refused_before`, of an order that was read. attempt: that it is of."""
    ranges = order.refused if order else ()
    known = [n for first, last in ranges for n in range(max(1, first), min(last, attempt) + 1)]
    return frozenset(known) - {attempt}


def record_gone(store: Store, run: str, attempt: int, gone: Gone) -> bool:
    """Write that the attempt's machine was verified gone; False if that was written already."""
    return create_once(store, layout.gone_key(run, attempt), _encoded(asdict(gone)))


def read_gone(store: Store, run: str, attempt: int) -> Gone | None:
    return _read(store, layout.gone_key(run, attempt), Gone)


def record_unended(store: Store, run: str, attempt: int, unended: Unended) -> bool:
    """Write that the machine cannot end itself; False if another reason was written before."""
    return create_once(store, layout.unended_key(run, attempt), _encoded(asdict(unended)))


def read_unended(store: Store, run: str, attempt: int) -> Unended | None:
    found = _machines(store, layout.unended_key(run, attempt), Unended)
    return found[0] if found else None


def unless_damaged(
    read: Callable[[Store, str, int], T | None],
    store: Store, run: str, attempt: int, wrong: list[str] | None = None,
) -> T | None:  # fmt: skip
    """What a machine wrote; None, with a sentence in `wrong`, if it is no such document.

    A machine that writes nonsense must not keep anybody from ending it: it counts as silent.
    """
    try:
        return read(store, run, attempt)
    except Corrupt as error:
        if wrong is not None:
            wrong.append(str(error))
        return None


def request_stop(store: Store, run: str, request: StopRequest) -> int:
    """Ask the run's attempt to stop; the attempt asked. BadInput if there is nothing to stop."""
    for _ in range(8):
        before = _head(store, run)
        if before.attempt == 0:
            raise BadInput(f"run {run} has no attempt yet: there is nothing to stop")
        if before.state in ENDED:
            raise BadInput(f"run {run} is {before.state}: there is nothing to stop")
        # A machine may write any number into HEAD; what is at work is what was ordered.
        known = store.read(layout.order_key(run, before.attempt)) is not None
        attempt = before.attempt if known else newest_order(store, run)
        if attempt == 0:
            raise BadInput(f"no attempt of run {run} was ordered: there is nothing to stop")
        create_once(store, layout.stop_key(run, attempt), _encoded(asdict(request)))
        if _head(store, run).attempt == before.attempt:
            return attempt
    raise StoreError(f"run {run} changes attempts faster than it can be asked to stop; try again")


def stop_requested(store: Store, run: str, attempt: int) -> StopRequest | None:
    return _read(store, layout.stop_key(run, attempt), StopRequest)


def _head(store: Store, run: str) -> Head:
    found = head_or_remembered(store, run)
    if found is None:
        raise BadInput(f"there is no run {run} in {store.url}: check the name and the store")
    return found[0]


def _encoded(body: dict[str, Any]) -> bytes:
    """A document's bytes, with its format; texts as long as they may be read."""
    short = {n: codec.shortened(v) if isinstance(v, str) else v for n, v in body.items()}
    return codec.sealed(short, FORMAT)


def _read(store: Store, key: str, kind: type[T]) -> T | None:
    """The document under the key, None if there is none. OtherFormat for another format, Corrupt
    for what is no such document."""
    value = _value(store, key)
    return None if value is None else codec.typed(kind, value, key)


def _machines(store: Store, key: str, kind: type[T]) -> tuple[T, Versioned] | None:
    """As `_read`, of what a machine writes, with its bytes: of another format it is Corrupt."""
    found = store.read(key)
    if found is None:
        return None
    return codec.typed(kind, codec.unsealed(found.data, FORMAT, key, machines=True), key), found


def _value(store: Store, key: str) -> dict[str, Any] | None:
    found = store.read(key)
    return codec.unsealed(found.data, FORMAT, key) if found else None
