"""stop: ask a run's attempt to end, and see that it does."""

import json as json_text
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mimir.errors import INTERRUPTED

if TYPE_CHECKING:
    from mimir.runs.status import Status
    from mimir.runs.store import Store

STOP_WAITS = 60.0
"""Seconds to wait for the last checkpoint."""


def stop(name: str, *, wait: bool = True, store: str = "", json: bool = False) -> int:
    """Ask a run to commit a checkpoint and stop; `resume` goes on from it.

    Args:
        name: of the run.
        wait: until it has stopped, for up to a minute; --no-wait only asks.
        store: where runs live (default: $MIMIR_STORE or a folder in your data directory).
        json: print the run's status as JSON.

    Example:
        python -m launch stop first
    """
    from launch.ui.runs import command, verdict
    from launch.ui.terminal import Waiting, say
    from mimir.runs.status import derive, head_or_remembered
    from mimir.runs.store import open_store
    from mimir.submission import default_store

    opened = open_store(store or default_store())
    attempt = request(opened, name)
    say(f"asked attempt {attempt} of run {name} to stop")
    if broken := head_or_remembered(opened, name)[1]:
        end = command("watch", name, store, "--once")
        say(f"{broken}; if its machine does not stop, `{end}` ends it")
    again = command("status", name, store)
    if take_off_queue(opened, name):
        found = derive(opened, name, opened.now())
        print(json_text.dumps(found.as_json(), indent=2) if json else verdict(found))
        if not json:
            print(f"it is off the queue; to go on: {command('resume', name, store)}")
        return 0
    if not wait:
        if json:
            print(json_text.dumps(derive(opened, name, opened.now()).as_json(), indent=2))
            return 0
        print(f"it commits a checkpoint and ends; see `{again}`")
        return 0
    try:
        with Waiting() as waiting:
            status = await_end(opened, name, attempt, waiting.tick)
    except KeyboardInterrupt:
        say(f"stopped waiting; the request stands: see `{again}`")
        return 130
    if status is None:
        say(
            f"run {name} has not stopped within {STOP_WAITS:.0f} s; the request stands, and a "
            f"machine that still works obeys it: see `{again}`"
        )
    if json:
        now = status or derive(opened, name, opened.now())
        print(json_text.dumps(now.as_json(), indent=2))
        return INTERRUPTED if status is None else 0
    if status is None:
        return INTERRUPTED
    print(verdict(status))
    if status.state != "done":
        print(f"to go on: {command('resume', name, store)}")
    return 0


def request(store: "Store", name: str) -> int:
    """Ask the run's newest attempt to stop; its number. BadInput if there is no such run."""
    from mimir.runs.notes import StopRequest
    from mimir.runs.orders import request_stop
    from mimir.runs.record import read_run

    read_run(store, name)
    return request_stop(store, name, StopRequest(store.now(), "launch stop"))


def take_off_queue(store: "Store", run: str) -> bool:
    """Whether the run's job waited, so that no worker would obey the request, and is no more on the
    queue for this run; one that other runs share stays there for them.

    ProviderError if it waits and cannot be shown to be gone.
    """
    from launch.contract.cloud import State
    from launch.providers import registry
    from launch.provision import liveness, terminate
    from mimir.runs.begin import end_attempt
    from mimir.runs.head import ENDED
    from mimir.runs.notes import Gone
    from mimir.runs.status import derive

    status = derive(store, run, store.now())
    current = status.attempts[-1] if status.attempts else None
    provider = liveness.named(current.order.provider) if current and current.order else None
    if current is None or provider is None or not provider.caps.queues:
        return False
    if current.machine is not None and liveness.state_of(current.machine)[0] is not State.PENDING:
        return False
    gone = Gone(store.now(), "over", "asked to stop while its job waited in the queue")
    if not terminate.close(store, run, current, gone, registry.get):
        return False
    if status.state not in ENDED:
        end_attempt(store, run, status.attempt, "stopped", "asked to stop")
    return True


def await_end(
    store: "Store",
    run: str,
    attempt: int,
    tick: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> "Status | None":
    """The run's status once the attempt has ended; None if it has not within a minute.

    An attempt whose machine is verified gone gets its outcome from here, for nobody else will
    write it: a worker that still comes up finds it and only ends.
    """
    from launch.provision import liveness
    from mimir.runs import notes
    from mimir.runs.head import ENDED
    from mimir.runs.notes import Outcome
    from mimir.runs.status import derive, head_or_remembered

    began = clock()
    while True:
        gone = liveness.alive(notes.read_machine(store, run, attempt)) is False
        (head, _), wrong = head_or_remembered(store, run), list[str]()
        outcome = notes.unless_damaged(notes.read_outcome, store, run, attempt, wrong)
        over = outcome is not None or head.attempt > attempt or head.state in ENDED
        if not over and gone and not wrong:
            reason = "asked to stop; its machine was gone already"
            notes.record_outcome(
                store, run, attempt, Outcome(INTERRUPTED, reason, store.now(), head.step)
            )
            continue
        if over or (gone and wrong):
            return derive(store, run, store.now())
        if clock() - began > STOP_WAITS:
            return None
        tick(f"waiting for attempt {attempt} to commit a checkpoint and end")
        sleep(0.3)
