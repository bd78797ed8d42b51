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

from mimir.errors import Corrupt
from mimir.runs import codec, layout
from mimir.runs.execution import Execution
from mimir.runs.machine import Machine
from mimir.runs.order import Order
from mimir.runs.ranges import (
    AnyTime,
    Between,
    Characters,
    ExitCode,
    Measure,
    OneOf,
    Process,
    Rate,
    Seconds,
    Step,
    Time,
)
from mimir.runs.store import Store, Versioned, create_once
from mimir.runs.telemetry import Telemetry

T = TypeVar("T")

FORMAT = 2
"""Of each document that is written here."""


@dataclass(frozen=True)
class Heartbeat:
    """What a worker writes every `interval_s`. time: unix s by the clock of its machine, which
    is compared with no other; rate: optimizer steps/s.

    device: the GPU's or the processor's name. val: the figure that comes first. Stored if there are
    any: figures, the others that `status` shows; execution, how steps are executed; expected_end,
    the step at which patience ends the run if no later validation is better; commit_s, what the
    slowest of the last commits took; checkpoint_s, the time between checkpoints, where that was
    shortened because the machine's notice does not suffice for one; training_s, for how long the
    attempt has trained; telemetry, what its machine did since the heartbeat before; torch, cuda and
    python, their versions, cuda that of torch's libraries, where it trains on a GPU.
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
    checkpoint_s: Seconds | None = None
    commit_s: Seconds | None = None
    training_s: Seconds | None = None
    telemetry: Telemetry | None = None
    torch: Annotated[str, Characters(64)] = ""
    cuda: Annotated[str, Characters(64)] = ""
    python: Annotated[str, Characters(64)] = ""

    @property
    def versions(self) -> str:
        """For people, such as "torch 2.8.0, CUDA 12.8, Python 3.11.4"; "" if none is told."""
        told = (("torch", self.torch), ("CUDA", self.cuda), ("Python", self.python))
        return ", ".join(f"{name} {version}" for name, version in told if version)


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
    scarce = (
        "figures", "execution", "expected_end", "checkpoint_s", "commit_s", "training_s",
        "telemetry", "torch", "cuda", "python",
    )  # fmt: skip
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


def record_gone(
    store: Store, run: str, attempt: int, gone: Gone, known: dict[str, Any] | None = None
) -> bool:
    """Write that the attempt's machine was verified gone; False if that was written already.

    known: what else is known of the attempt, as mimir.runs.attempts writes it.
    """
    body = {**asdict(gone), **({"attempt": known} if known else {})}
    return create_once(store, layout.gone_key(run, attempt), _encoded(body))


def read_gone(store: Store, run: str, attempt: int) -> Gone | None:
    return read_gone_and_known(store, run, attempt)[0]


def read_gone_and_known(
    store: Store, run: str, attempt: int
) -> tuple[Gone | None, dict[str, Any]]:  # fmt: skip
    """As read_gone, with what was known of the attempt then; {} if that was not written."""
    key = layout.gone_key(run, attempt)
    value = _value(store, key)
    if value is None:
        return None, {}
    known = codec.child(value, "attempt", key)
    value.pop("attempt", None)
    return codec.typed(Gone, value, key), known


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


def record_stop(store: Store, run: str, attempt: int, request: StopRequest) -> bool:
    """Write that the attempt is to stop; False if it was asked before."""
    return create_once(store, layout.stop_key(run, attempt), _encoded(asdict(request)))


def stop_requested(store: Store, run: str, attempt: int) -> StopRequest | None:
    return _read(store, layout.stop_key(run, attempt), StopRequest)


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
