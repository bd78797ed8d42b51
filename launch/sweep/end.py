"""Stops a sweep, and removes one."""

from collections.abc import Callable, Iterator, Sequence

from launch.contract.provider import Provider
from launch.providers import registry
from launch.provision.order import Say
from launch.sweep.keep import look
from mimir.errors import BadInput, Corrupt, StoreError
from mimir.runs import layout, sweep_state
from mimir.runs.head import ENDED
from mimir.runs.notes import StopRequest
from mimir.runs.orders import newest_order, request_stop
from mimir.runs.status import Status
from mimir.runs.store import Store
from mimir.runs.sweep import Sweep, find, read

SHOWN = 3
"""Runs that are named."""


def stop(store: Store, sweep: Sweep, say: Say) -> tuple[list[tuple[str, int]], list[str]]:
    """Let no more runs be begun, and ask those that have begun to stop.

    In this order: a launcher that orders just now finds the word afterwards, and stops its run.

    Returns:
        (run, attempt) of those that were asked, and the runs that could not be.
    """
    sweep_state.say(store, sweep.name, sweep_state.STOP)
    asked, failed = [], []
    for listed in look(store, sweep):
        if listed.status is not None and listed.status.state in ENDED:
            continue
        request = StopRequest(store.now(), f"launch sweep {sweep.name} --stop")
        try:
            asked.append((listed.run, request_stop(store, listed.run, request)))
        except BadInput:
            continue  # it has not begun, or has just ended
        except (StoreError, Corrupt) as error:
            say(f"run {listed.run} could not be asked to stop: {error}")
            failed.append(listed.run)
    return asked, failed


def _has_begun(store: Store, status: Status) -> bool:
    return bool(status.attempt or newest_order(store, status.run))


def remove(
    store: Store, name: str, say: Say, provider: Callable[[str], Provider] = registry.get
) -> int:
    """Delete a sweep's runs, then its data, code and list; how many objects.

    First the word that nobody begins a run of it any more, then a look at all of its machines, then
    the word that all are gone, after which nothing is asked any more. It may be repeated after a
    cut: the list is the last but one to go, and these words the last.

    Raises:
        BadInput: a run has not ended, or a machine of it may be there.
    """
    state = layout.sweep_state_key(name)
    word = sweep_state.read(store, name).word
    sweep = find(store, name)
    if sweep is None:
        if word != sweep_state.DELETED:
            sweep = read(store, name)  # which says what was meant
        store.delete(state)
        return 1
    if word != sweep_state.DELETED:
        _must_be_over(store, sweep, provider)
        sweep_state.say(store, name, sweep_state.REMOVED)
        # Again: a launcher may have ordered a machine before it could see that word.
        _must_be_over(store, sweep, provider)
        sweep_state.say(store, name, sweep_state.DELETED)
    deleted = 2
    for folder in (*(each.run for each in sweep.members), layout.sweep_folder(name)):
        for key in list(store.list(f"{folder}/")):
            if key != state:
                store.delete(key)
                deleted += 1
        say(f"removed {folder}")
    store.delete(layout.sweep_key(name))
    store.delete(state)
    return deleted


def _must_be_over(store: Store, sweep: Sweep, provider: Callable[[str], Provider]) -> None:
    if living := list(_living(store, sweep, provider)):
        more = f"; and {len(living) - SHOWN} more" if len(living) > SHOWN else ""
        raise BadInput(f"sweep {sweep.name} is not removed: {'; '.join(living[:SHOWN])}{more}")


def _living(store: Store, sweep: Sweep, provider: Callable[[str], Provider]) -> Iterator[str]:
    """What keeps the sweep from being removed, a sentence for each run."""
    for listed in look(store, sweep):
        status = listed.status
        if status is None:
            if store.read(layout.record_key(listed.run)) is not None:
                yield f"run {listed.run} cannot be read ({listed.problem})"
        elif status.state not in ENDED and _has_begun(store, status):
            yield (
                f"run {listed.run} is {status.state}: stop it by `python -m launch sweep "
                f"{sweep.name} --stop`"
            )
        elif there := _there(status, provider):
            yield (
                f"the machine of attempt {there[0]} of run {listed.run} may be there: "
                f"`python -m launch watch {listed.run} --once` ends it"
            )


def _there(status: Status, provider: Callable[[str], Provider]) -> Sequence[int]:
    """Attempts whose machine nobody has seen to be gone."""
    found = []
    for attempt in status.attempts:
        machine = attempt.machine
        if attempt.gone is not None or (machine is None and attempt.order is None):
            continue
        if machine is None or machine.provider not in registry.names():
            if attempt.exit_code is None:
                found.append(attempt.attempt)
        elif provider(machine.provider).caps.paid or provider(machine.provider).alive(machine):
            found.append(attempt.attempt)
    return found
