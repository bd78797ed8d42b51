"""Machines that work on after their deadline, for a run that cannot be read here.

A run whose HEAD is of another format is left to the Mimir that knows it. But a machine may write
any format into HEAD, and a deadline stands in the launcher's own order: past it, and past all that
a machine may need after it, nothing that HEAD says keeps a machine.
"""

from collections.abc import Callable, Iterator

from launch.contract.provider import Provider
from launch.provision import liveness, terminate
from launch.ui import runs
from mimir.errors import MimirError
from mimir.runs import notes, orders
from mimir.runs.attempts import AttemptStatus
from mimir.runs.machine import Machine
from mimir.runs.notes import Gone
from mimir.runs.store import Store
from mimir.text import duration

WHY = "it went on for half an hour after its deadline"


def end_overdue(
    store: Store, run: str, provider: Callable[[str], Provider], now: float
) -> list[str]:
    """End the run's machines whose deadline is long past; a sentence for each that was at work.

    now: the store's, unix s. Raises as `mimir.runs.notes.read_order`, if orders cannot be read.
    """
    told = []
    for attempt in _at_work(store, run):
        what = f"attempt {attempt.attempt} has a machine ({runs.machine_text(attempt.machine)})"
        if not liveness.overdue(attempt.machine, attempt.order, now):
            told.append(f"{what}, which `watch` ends {_when(attempt, now)}{_by_hand(attempt)}")
            continue
        try:
            terminate.close(store, run, attempt, Gone(now, "failure", WHY), provider)
            told.append(f"{what}; {WHY}, and is ended")
        except MimirError as error:
            told.append(f"{what}; {WHY}: {error}")
    return told


def _at_work(store: Store, run: str) -> Iterator[AttemptStatus]:
    newest = orders.newest_order(store, run)
    refused = orders.refused_before(store, run, newest) if newest else frozenset()
    for number in (n for n in range(1, newest + 1) if n not in refused):
        gone = notes.read_gone(store, run, number)
        order = notes.read_order(store, run, number)
        if gone is None and order is not None and order.attended:
            machine = notes.read_machine(store, run, number)
            yield AttemptStatus(number, None, "", machine=machine, order=order)


def _when(attempt: AttemptStatus, now: float) -> str:
    end = liveness.overdue_from(attempt.machine, attempt.order)
    return f"in {duration(end - now)}" if end else "never, for it has no deadline"


def _by_hand(attempt: AttemptStatus) -> str:
    machine: Machine | None = attempt.machine
    if machine is None or not machine.id:
        return ""
    return f"; end it now by `{runs.ending_command(machine.provider, machine.id)}`"
