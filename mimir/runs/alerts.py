"""What happened to runs and is worth knowing, as events with levels.

A worker writes what it warns of into a0001/alerts.json, which is untrusted like all that a machine
writes. What the launcher does (orders, ends, machines that are gone) stands in its own notes beside
HEAD, from which the other events are derived: there is no second account of them that could differ.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Annotated, Any

from mimir.errors import BAD_CONFIG, DONE, NON_FINITE
from mimir.runs import codec, layout, notes
from mimir.runs.attempts import AttemptStatus
from mimir.runs.ranges import AtMost, Characters, OneOf, Time
from mimir.runs.status import DISPUTED, Status
from mimir.runs.store import Store
from mimir.runs.telemetry import KINDS, SENTENCE
from mimir.text import clipped, duration

FORMAT = 1
LEVELS = ("info", "warning", "error")
"""From the least to the most urgent."""
MOST = 200
"""Events of one attempt's worker: the newest are kept."""
WORKERS = (*KINDS, "gpu", "gpu-lost", "notice")
"""Kinds of the events that a worker tells. None of them is also the launcher's, so that a machine
cannot tell what only the launcher knows, such as that a run is done."""
AT_ONCE = 16
"""Attempts whose events are read at once."""
_GONE = {"over": "info", "eviction": "warning", "placement": "warning", "refused": "warning"}


@dataclass(frozen=True)
class Event:
    """What a worker tells. time: unix s by the store's clock, as its machine knows it."""

    time: Time
    level: Annotated[str, OneOf(LEVELS)]
    kind: Annotated[str, OneOf(WORKERS)]
    text: Annotated[str, Characters(SENTENCE)]


@dataclass(frozen=True)
class Events:
    """alerts.json."""

    events: Annotated[tuple[Event, ...], AtMost(MOST)]


@dataclass(frozen=True)
class Alert:
    """One event of a run. time: unix s by the store's clock; attempt: 0 for the run as a whole.

    kind: what it is about, for programs. by: "machine" for what the attempt's worker told,
    "launcher" for what the launcher's notes and the outcome say. text may come from a machine:
    show it by `mimir.text.one_line`.
    """

    run: str
    attempt: int
    time: float
    level: str
    kind: str
    text: str
    by: str = "launcher"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def shortened(text: str) -> str:
    """A sentence as it may stand in an event."""
    return clipped(" ".join(text.split()), SENTENCE)


def write_events(store: Store, run: str, attempt: int, events: tuple[Event, ...]) -> None:
    """Overwrite what the attempt's worker tells."""
    body = codec.sealed({"events": [asdict(each) for each in events[-MOST:]]}, FORMAT)
    store.put(layout.alerts_key(run, attempt), body)


def read_events(store: Store, run: str, attempt: int) -> tuple[Event, ...]:
    """What the attempt's worker told, the oldest first; Corrupt for what is no such document.

    None is from after it was written, whatever the machine's clock said.
    """
    key = layout.alerts_key(run, attempt)
    found = store.read(key)
    if found is None:
        return ()
    body = codec.unsealed(found.data, FORMAT, key, machines=True)
    events = codec.typed(Events, body, key).events
    return tuple(Event(min(e.time, found.written), e.level, e.kind, e.text) for e in events)


def of_run(store: Store, status: Status, since: float = 0.0, level: str = LEVELS[0]) -> list[Alert]:
    """The run's events since then, of this level or a more urgent one, the oldest first.

    Args:
        status: as `derive` gives it.
        since: unix s by the store's clock.
    """
    # Nobody writes of an attempt after its machine was seen to be gone.
    lately = [
        each
        for each in status.attempts
        if each.gone is None or (each.gone.kind != "refused" and each.gone.time >= since)
    ]
    found = [*_refused(status)]
    for attempt in status.attempts:
        found += _of_attempt(status, attempt)
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for told in pool.map(lambda attempt: _of_worker(store, status, attempt), lately):
            found += told
    found += _of_run(status)
    wanted = LEVELS[LEVELS.index(level) :]
    return ordered(each for each in found if each.time >= since and each.level in wanted)


def ordered(alerts: Iterable[Alert]) -> list[Alert]:
    """The newest last; those of one moment as they came."""
    return sorted(alerts, key=lambda each: each.time)


def _of_worker(store: Store, status: Status, attempt: AttemptStatus) -> list[Alert]:
    run, number = status.run, attempt.attempt
    wrong: list[str] = []
    told = notes.unless_damaged(read_events, store, run, number, wrong)
    found = [Alert(run, number, status.at, "warning", "damaged", shortened(why)) for why in wrong]
    earliest = attempt.order.time if attempt.order else status.created
    return found + [
        Alert(run, number, max(each.time, earliest), each.level, each.kind, each.text, "machine")
        for each in told or ()
    ]


def _of_attempt(status: Status, attempt: AttemptStatus) -> Iterator[Alert]:
    """What the launcher's notes and the outcome say of it."""
    number, order, gone = attempt.attempt, attempt.order, attempt.gone

    def told(time: float, level: str, kind: str, text: str) -> Alert:
        return Alert(status.run, number, time, level, kind, text)

    if gone is not None and gone.kind == "refused" and gone.time == 0.0:
        return
    if order is not None:
        offer = order.offer
        text = f"begun on {order.provider}"
        if offer is not None:
            text = f"ordered from {order.provider}: {offer.gpu} for ${offer.price:.2f}/h"
        yield told(order.time, "info", "ordered", text)
    if attempt.started is not None:
        yield told(attempt.started.time, "info", "started", "its job has begun")
    if attempt.exit_code is not None and attempt.ended_at is not None:
        yield told(attempt.ended_at, _level(attempt), "ended", attempt.end)
    elif gone is None and number < status.attempt:  # a later one replaced it
        sign = attempt.worked.written if attempt.worked else order.time if order else status.created
        last = "this is its last sign" if attempt.worked else "there is no sign of it"
        yield told(min(sign, status.at), "warning", "lost", f"{attempt.end}: {last}")
    if gone is not None:
        level = _GONE.get(gone.kind, "error")
        kind = "refused" if gone.kind == "refused" else "gone"
        what = "no machine: " if kind == "refused" else "its machine is gone: "
        yield told(gone.time, level, kind, what + gone.why)
    elif attempt.unended:
        why = f"its machine could not end itself and may still be paid: {attempt.unended}"
        yield told(attempt.ended_at or status.at, "error", "unended", why)
    if attempt.damage:
        yield told(status.at, "warning", "damaged", attempt.damage)


def _level(attempt: AttemptStatus) -> str:
    """Of the end of an attempt."""
    if attempt.exit_code == DONE or attempt.cause == "stop":
        return "info"
    failed = attempt.exit_code in (NON_FINITE, BAD_CONFIG) or attempt.exit_code == 1
    return "error" if failed else "warning"


def _refused(status: Status) -> Iterator[Alert]:
    """Orders in a row for which no machine was available, of which no more was read than that."""
    later = {each.attempt: each.order.time for each in status.attempts if each.order is not None}
    for unread, several in groupby(status.attempts, key=_is_unread):
        if not unread:
            continue
        numbers = [each.attempt for each in several]
        first, last = numbers[0], numbers[-1]
        when = later.get(last + 1, status.at)
        which = f"attempt {first}" if first == last else f"attempts {first} to {last}"
        text = f"no machine was available ({which})"
        yield Alert(status.run, last, when, "warning", "refused", text)


def _is_unread(attempt: AttemptStatus) -> bool:
    gone = attempt.gone
    return gone is not None and gone.kind == "refused" and gone.time == 0.0


def _of_run(status: Status) -> Iterator[Alert]:
    """How it stands as a whole."""
    run, at = status.run, status.at
    if status.state == DISPUTED:
        yield Alert(run, 0, at, "error", "disputed", status.reason)
    if status.warning:
        yield Alert(run, 0, at, "warning", "head", status.warning)
    if status.silent and status.silent_s is not None:
        silent = f"no sign of it since then, for {duration(status.silent_s)}"
        yield Alert(run, status.attempt, at - status.silent_s, "warning", "silent", silent)
    if status.state in ("done", "failed", "stopped"):
        last = status.attempts[-1] if status.attempts else None
        times = (last.ended_at, last.gone.time if last.gone else None) if last else ()
        when = next((each for each in times if each), status.created)
        # Only a limit that a watcher has met stops a run without a request.
        asked = status.stop_requested or (last is not None and last.cause == "stop")
        level = {"done": "info", "failed": "error"}.get(
            status.state, "info" if asked else "warning"
        )
        why = f": {status.reason}" if status.reason else ""
        text = f"the run is {status.state} at step {status.step:,}{why}"
        yield Alert(run, 0, when, level, status.state, text)
