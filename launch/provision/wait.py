"""See that an attempt begins once it is ordered, and that the one before it has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from launch.contract import deadlines
from launch.contract.cloud import State
from launch.contract.errors import NotGone, ProviderError, UnknownOutcome
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
from mimir.runs.attempts import AttemptStatus
from mimir.runs.begin import end_attempt
from mimir.runs.head import ENDED
from mimir.runs.notes import Gone, Outcome
from mimir.runs.parts import read_parts
from mimir.runs.status import Status, head_or_remembered
from mimir.runs.store import Store

LOCAL_BEGINS = 120.0
"""Seconds to wait for an attempt to begin on this computer. One on somebody else's machine has
deadlines.BEGIN_WITHIN, after which the machine is ended."""
ASK_SERVICE = 5.0
"""Seconds between looks at a machine of somebody else's: services limit their callers."""
READ_STORE, READ_LOCAL = 1.0, 0.2
"""Seconds between looks at the store, for a machine of somebody else's and for this computer's."""
FIRST_HEARTBEAT = 20.0
"""Seconds for the first heartbeat of an attempt that has begun: what is wrong with its
configuration or its device shows before it."""
SETTLES = 10.0
"""Seconds that a job may take to begin where there is room, before it counts as queued."""
LAST_LINES = 15


@dataclass(frozen=True)
class Beginning:
    """What was seen of an attempt after its order.

    kind: running, ended, short (ended, because its machine is less than what was ordered), replaced
    (by a newer attempt), vanished (its machine is gone without a word), lost (on somebody else's
    machine that broke, was taken away, or gave no sign in time; the machine is there), queued (a
    job that waits for its turn) or waiting (nothing yet, on this computer). code: the exit code
    for it. lines: the last ones of the log, where something went wrong.
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
    if provider.caps.paid or provider.caps.queues:
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
    """Wait until the attempt trains, has ended or is lost; `tick` is told what is waited for.

    A machine of somebody else's has BEGIN_WITHIN from its order, by the store's clock as for
    `watch`, or by one's own if that stands still.

    Raises:
        StoreError: the store does not answer, and the time is over.
    """
    remote, queues = ordered.provider.caps.remote, ordered.provider.caps.queues
    began, claimed, asked = clock(), 0.0, float("-inf")
    there = liveness.Asked(None)
    while True:
        # In this order: a process that was gone before HEAD and outcome were read wrote no more.
        if not (remote or queues) or clock() - asked >= ASK_SERVICE:
            asked = clock()
            there = liveness.asked(ordered.machine)
        state, said = there.state, there.said
        now = clock()
        waited = now - began
        try:
            seen = _seen(store, ordered, gone=state is State.GONE)
            if remote:
                waited = max(waited, store.now() - ordered.machine.started)
        except StoreDenied:
            raise
        except StoreError as error:
            if remote and waited > deadlines.BEGIN_WITHIN:
                raise  # whether it works is not known, so it is not ended
            tick(f"the store does not answer ({error})")
            sleep(READ_STORE)
            continue
        if seen.kind not in ("waiting", "claimed"):
            return seen
        if seen.kind == "claimed":
            claimed = claimed or now
            tick(f"attempt {ordered.attempt} has begun")
            if now - claimed > FIRST_HEARTBEAT:
                return Beginning("running", 0, f"attempt {ordered.attempt} has begun")
        elif queues and state is State.PENDING:
            if stuck := liveness.stuck(ordered.machine):
                why = f"attempt {ordered.attempt} will not begin by itself: {said}"
                return Beginning("queued", BAD_CONFIG, why if stuck in said else f"{why}: {stuck}")
            if waited > SETTLES:
                return Beginning("queued", DONE, f"attempt {ordered.attempt} is queued: {said}")
            tick(f"attempt {ordered.attempt} is queued: {said}")
        elif remote:
            if state in (State.BROKEN, State.SUSPENDED):
                taken = state is State.SUSPENDED if there.taken is None else there.taken
                what = "was taken away" if taken else "is broken"
                return _lost(ordered, f"its machine {what}", said)
            if waited > deadlines.BEGIN_WITHIN:
                return _lost(ordered, f"it gave no sign within {waited / 60:.0f} min", said)
            tick(_progress(ordered, state, said))
        else:
            tick(f"waiting for attempt {ordered.attempt} to begin")
            within = deadlines.BEGIN_WITHIN if queues else LOCAL_BEGINS
            if waited > within:
                why = f"attempt {ordered.attempt} has given no sign within {within:.0f} s"
                alone = f"{why}; its machine is there: see its log"
                return Beginning("waiting", INTERRUPTED, alone)
        sleep(READ_STORE if remote or queues else READ_LOCAL)


def end_machine(store: Store, ordered: Ordered, kind: str, why: str) -> None:
    """End an attempt's machine, see that it is gone, and write that down.

    kind and why: as mimir.runs.notes.Gone. A watcher goes on with the run.

    Raises:
        ProviderError: it may still run, and cost.
        StoreError: it is gone, and that could not be written.
    """
    attempt = AttemptStatus(ordered.attempt, None, "", machine=ordered.machine)
    if not close(store, ordered.run, attempt, Gone(store.now(), kind, why), registry.get):
        raise NotGone(
            f"{ordered.machine.provider} does not say from here whether the machine of attempt "
            f"{ordered.attempt} is there: look at its console"
        )


def _progress(ordered: Ordered, state: State | None, said: str) -> str:
    text = f"waiting for attempt {ordered.attempt} to begin"
    word = said or (str(state) if state else "not known just now")
    paid = ", paid" if ordered.provider.caps.paid else ""
    most = f"{deadlines.BEGIN_WITHIN / 60:.0f} min"
    return f"{text}: its machine is {word}{paid}; without a sign it is ended {most} after its order"


def _lost(ordered: Ordered, why: str, said: str) -> Beginning:
    shown = f" (its service says {said})" if said else ""
    sentence = f"attempt {ordered.attempt} has not begun: {why}{shown}"
    printed = ordered.provider.output(ordered.machine, LAST_LINES)
    return Beginning("lost", INTERRUPTED, sentence, tuple(printed))


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
    if head.state == "queued" and ordered.provider.caps.remote:
        # It may have been taken away: the run is not over, and a watcher orders another machine.
        sentence = f"attempt {attempt} has not begun: its machine is gone"
    elif head.state == "queued":
        sentence = f"the worker of attempt {attempt} ended before it began"
        if ordered.provider.caps.queues and lines:  # of a node that may not reach the store
            sentence = f"the job of attempt {attempt} ended before it began: {lines[-1]}"
        end_attempt(store, run, attempt, "failed", sentence)
    return Beginning("vanished", INTERRUPTED, sentence, lines)


def _ended(store: Store, ordered: Ordered, outcome: Outcome) -> Beginning:
    sentence = f"attempt {ordered.attempt} has ended: {outcome.reason}"
    lines = () if outcome.exit_code == DONE else tail(store, ordered)
    kind = "short" if outcome.cause == "host" else "ended"
    return Beginning(kind, worker_code(outcome.exit_code), sentence, lines)
