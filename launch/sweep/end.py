"""Stops a sweep, and removes one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from launch.contract.provider import Provider
from launch.providers import registry
from launch.provision.order import Say
from launch.supervise import removal
from launch.supervise.removal import Leaving
from launch.sweep.keep import AT_ONCE, look
from mimir.errors import BadInput, Corrupt, StoreError
from mimir.runs import layout, sweep_state
from mimir.runs.head import ENDED
from mimir.runs.notes import StopRequest
from mimir.runs.orders import request_stop
from mimir.runs.store import Store
from mimir.runs.sweep import Member, Sweep, find, read

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


def remove(
    store: Store, name: str, say: Say, provider: Callable[[str], Provider] = registry.get
) -> int:
    """Delete a sweep's runs, then its data, code and list; how many objects.

    First the word that nobody begins a run of it any more, then each run as `rm` removes one. It
    may be repeated after a cut: the list is the last but one to go, and this word the last.

    Raises:
        BadInput: a run is at work.
        MimirError: a run could not be removed now, as `launch.supervise.removal.carry_out`.
    """
    state = layout.sweep_state_key(name)
    sweep = find(store, name)
    if sweep is None:
        if sweep_state.read(store, name).word != sweep_state.REMOVED:
            sweep = read(store, name)  # which says what was meant
        store.delete(state)
        return 1
    _must_be_over(store, sweep, provider)
    sweep_state.say(store, name, sweep_state.REMOVED)
    # Again: a launcher may have ordered a machine before it could see that word.
    leaving = _must_be_over(store, sweep, provider)
    deleted = 2
    for each in leaving:
        why = f"launch sweep {name} --remove"
        deleted += removal.carry_out(store, each, why, say, provider)
        say(f"removed {each.run}")
    for key in list(store.list(f"{layout.sweep_folder(name)}/")):
        if key != state:
            store.delete(key)
            deleted += 1
    store.delete(layout.sweep_key(name))
    store.delete(state)
    return deleted


def _must_be_over(store: Store, sweep: Sweep, provider: Callable[[str], Provider]) -> list[Leaving]:
    """The sweep's runs that are there; BadInput if one of them is at work."""

    def one(member: Member) -> Leaving | None:
        try:
            return removal.look(store, member.run, lambda _: None, provider, of_sweep=True)
        except BadInput:
            if store.read(layout.record_key(member.run)) is not None:
                raise
            return None  # it has not begun to be, or is gone already

    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        found = [each for each in pool.map(one, sweep.members) if each]
    living = [each.refused for each in found if each.refused]
    if living:
        more = f"; and {len(living) - SHOWN} more" if len(living) > SHOWN else ""
        raise BadInput(f"sweep {sweep.name} is not removed: {'; '.join(living[:SHOWN])}{more}")
    return found
