"""See that an attempt begins once it is ordered, and that the one before it has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from launch.contract.errors import ProviderError, UnknownOutcome
from launch.contract.provider import AttemptSpec
from launch.providers import registry
from launch.provision import liveness
from launch.provision.order import Ordered, Say
from launch.provision.terminate import close
from mimir.errors import (
    BAD_CONFIG,
    DONE,
    FENCED,
    INTERRUPTED,
    NON_FINITE,
    StoreDenied,
    StoreError,
)
from mimir.runs import notes
from mimir.runs.begin import end_attempt
from mimir.runs.head import ENDED
from mimir.runs.notes import Gone, Outcome
from mimir.runs.parts import read_parts
from mimir.runs.status import Status, head_or_remembered
from mimir.runs.store import Store

SUBMIT_WAITS = 120.0
"""Seconds to wait for an attempt to begin, before leaving it to itself."""
FIRST_HEARTBEAT = 20.0
"""Seconds for the first heartbeat of an attempt that has begun: what is wrong with its
configuration or its device shows before it."""
LAST_LINES = 15


@dataclass(frozen=True)
class Beginning:
    """What was seen of an attempt after its order.

    kind: running, ended, short (ended, because its machine is less than what was ordered),
    replaced (by a newer attempt), vanished (its machine is gone
    without a word) or waiting (nothing yet). code: the exit code for it. lines: the last ones
    of the log, where something went wrong.
    """

    kind: str
    code: int
    sentence: str
    lines: tuple[str, ...] = ()


def retire(store: Store, status: Status, say: Say) -> None:
    """End the machine of the attempt that is about to be replaced, if it can be reached.

    Before the attempt is raised, so that a worker that still works commits what it has. NotGone
    if it costs money and cannot be shown to be gone: two machines are not paid for one run.
    """
    if not status.attempts:
        return
    current = status.attempts[-1]
    ordered = current.machine or current.order
    provider = liveness.named(ordered.provider) if ordered else None
    if provider is None or current.gone is not None:
        return
    if provider.caps.paid:
        gone = Gone(store.now(), "over", "a later attempt replaced it")
        try:
            close(store, status.run, current, gone, registry.get)
        except UnknownOutcome as error:
            say(f"{error}; if it comes up, it is turned away")
        return
    live = status.state in ("queued", "running") and liveness.alive(current.machine) is not False
    if current.machine is None or not live:
        return
    try:
        provider.end(AttemptSpec(store.url, status.run, current.attempt), current.machine)
    except ProviderError as error:
        say(f"attempt {status.attempt} is replaced, but its machine may still run: {error}")


def await_beginning(
    store: Store,
    ordered: Ordered,
    tick: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Beginning:
    """Wait until the attempt trains or has ended; `tick` is told what is waited for."""
    began, claimed = clock(), 0.0
    while True:
        # In this order: a process that was gone before HEAD and outcome were read wrote no more.
        gone = liveness.alive(ordered.machine) is False
        try:
            seen = _seen(store, ordered, gone=gone)
        except StoreDenied:
            raise
        except StoreError as error:
            seen = None
            tick(f"the store does not answer ({error})")
        if seen is not None and seen.kind not in ("waiting", "claimed"):
            return seen
        now = clock()
        if seen is not None and seen.kind == "claimed":
            claimed = claimed or now
            tick(f"attempt {ordered.attempt} has begun")
            if now - claimed > FIRST_HEARTBEAT:
                return Beginning("running", 0, f"attempt {ordered.attempt} has begun")
        elif seen is not None:
            tick(f"waiting for attempt {ordered.attempt} to begin")
        if now - began > SUBMIT_WAITS:
            return _without_a_sign(ordered)
        sleep(0.2)


def worker_code(code: int | None) -> int:
    """The exit code for an outcome's: only those that mean something are passed on."""
    return code if code in (DONE, FENCED, NON_FINITE, BAD_CONFIG) else INTERRUPTED


def tail(store: Store, ordered: Ordered) -> tuple[str, ...]:
    """The last lines of the attempt's log, or else of what its machine printed."""
    parts = read_parts(store, ordered.run, ordered.attempt, "log")
    lines = "".join(text for _, text in parts).splitlines()
    return tuple(lines[-LAST_LINES:] or ordered.provider.output(ordered.machine, LAST_LINES))


def _seen(store: Store, ordered: Ordered, *, gone: bool) -> Beginning:
    run, attempt = ordered.run, ordered.attempt
    head, _ = head_or_remembered(store, run)
    if head.attempt > attempt:
        sentence = f"attempt {attempt} was replaced by attempt {head.attempt}, ordered meanwhile"
        return Beginning("replaced", FENCED, sentence)
    outcome = notes.unless_damaged(notes.read_outcome, store, run, attempt)
    if outcome is not None:
        return _ended(store, ordered, outcome)
    if not gone:
        beat = notes.unless_damaged(notes.read_heartbeat, store, run, attempt)
        if beat is not None and head.state == "running":
            return Beginning("running", 0, f"attempt {attempt} has begun")
        return Beginning("claimed" if head.state != "queued" else "waiting", 0, "")
    lines = tail(store, ordered)
    if head.state in ENDED:
        sentence = f"run {run} is {head.state}" + (f": {head.reason}" if head.reason else "")
        return Beginning("ended", 0 if head.state == "done" else INTERRUPTED, sentence, lines)
    sentence = f"the machine of attempt {attempt} is gone without a word"
    if head.state == "queued":
        sentence = f"the worker of attempt {attempt} ended before it began"
        end_attempt(store, run, attempt, "failed", sentence)
    return Beginning("vanished", INTERRUPTED, sentence, lines)


def _without_a_sign(ordered: Ordered) -> Beginning:
    """As ordered where machines are somebody else's; amiss where they are this computer's."""
    sentence = f"attempt {ordered.attempt} has given no sign within {SUBMIT_WAITS:.0f} s"
    if not ordered.provider.caps.remote:
        return Beginning("waiting", INTERRUPTED, f"{sentence}; its machine is there: see its log")
    paid = ", paid for all the while" if ordered.provider.caps.paid else ""
    return Beginning(
        "waiting", 0,
        f"{sentence}: a machine may take 20 minutes to come up{paid}; keep the run alive by "
        "`watch`, which ends a machine that never begins and orders another",
    )  # fmt: skip


def _ended(store: Store, ordered: Ordered, outcome: Outcome) -> Beginning:
    sentence = f"attempt {ordered.attempt} has ended: {outcome.reason}"
    lines = () if outcome.exit_code == DONE else tail(store, ordered)
    kind = "short" if outcome.cause == "host" else "ended"
    return Beginning(kind, worker_code(outcome.exit_code), sentence, lines)
