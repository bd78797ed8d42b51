"""Ends a machine after its deadline where nothing but the launcher's own objects can be read.

HEAD is a machine's to write too. One that is damaged, or of a newer format, keeps a watcher from
judging the run, but must not let its machine go on, and cost, for ever: order, machine and gone
lie where no machine can write, and the deadline stands in them.
"""

from collections.abc import Callable

from launch.contract import deadlines
from launch.contract.provider import Provider
from launch.provision import terminate
from mimir.runs import notes
from mimir.runs.notes import Gone
from mimir.runs.status import AttemptStatus
from mimir.runs.store import Store


def end(store: Store, run: str, provider: Callable[[str], Provider]) -> str:
    """End the machine of the run's newest order if its deadline is long past.

    What was ended, in one sentence; "" if nothing was. Raises as `terminate.close`, and what the
    launcher's objects raise that cannot be read.
    """
    number = notes.newest_order(store, run)
    order = notes.read_order(store, run, number) if number else None
    machine = notes.read_machine(store, run, number) if number else None
    if order is None:
        return ""
    now = store.now()
    deadline = (machine.deadline if machine else 0.0) or order.deadline
    if not deadline or now <= deadline + deadlines.WATCH_OVERTIME:
        return ""
    gone = notes.read_gone(store, run, number)
    attempt = AttemptStatus(number, None, "", machine=machine, order=order, gone=gone)
    why = "it went on for half an hour after its deadline, and HEAD cannot be read"
    if not terminate.close(store, run, attempt, Gone(now, "failure", why), provider):
        return ""
    return f"the machine of attempt {number} of run {run} is ended: {why}"
