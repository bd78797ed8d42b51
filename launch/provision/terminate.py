"""The end of an attempt's machine: ended, seen to be gone, and written down, in this order."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from launch.contract import deadlines
from launch.contract.cloud import machine_name
from launch.contract.errors import UnknownOutcome
from launch.contract.provider import Adopts, AttemptSpec, Machine, Provider
from launch.payload import key_link
from launch.providers import registry
from launch.providers.rented import Rented
from launch.provision import liveness
from mimir.errors import StoreError
from mimir.runs import notes, owner
from mimir.runs.attempts import AttemptStatus, record_gone
from mimir.runs.notes import Gone
from mimir.runs.store import Store


def close(
    store: Store,
    run: str,
    attempt: AttemptStatus,
    gone: Gone,
    provider: Callable[[str], Provider],
) -> bool:
    """End the attempt's machine and write `gone`; False if there is nothing of it to end.

    A machine whose order was never answered is looked for by its name.

    Raises:
        NotGone: it may still run.
        UnknownOutcome: its order is too young for the service's list to tell.
        ProviderError: the service does not say whether there is one.
    """
    if attempt.gone is not None:
        return False
    machine = attempt.machine or adopt(store, run, attempt, provider)
    if machine is None:
        return _never_came(store, run, attempt, gone, provider)
    if machine.provider not in registry.names():
        return False  # a terminal's, or a newer Mimir's
    place = provider(machine.provider)
    spec = AttemptSpec(store.url, run, attempt.attempt)
    if place.caps.queues:
        place.end(spec, machine)  # one that waits is taken off the queue
    elif place.caps.paid:
        if place.caps.shuts_down is not None:
            stopped = liveness.asked(machine, provider).stopped
            gone = replace(gone, time=paid_until(stopped, machine.started, gone.time))
        # Even if it seems to be gone: a list may be wrong, and ending it costs nothing.
        place.end(spec, machine)
        forget_keys(store, run, attempt.attempt)
    else:
        alive = place.alive(machine)
        if alive is None:
            return False  # on another computer, and costs nothing
        if alive:
            place.end(spec, machine)
    record_gone(store, run, attempt, gone)
    return True


def paid_until(stopped: float | None, began: float, now: float) -> float:
    """Until when a machine's price was paid, unix s: `now`, unless its service says that it has
    been off or gone since earlier.

    stopped: as Instance.stopped. began: when it was ordered; a service's clock may say anything.
    """
    return now if stopped is None else max(began, min(stopped, now))


def ordered_after(store: Store, run: str, attempt: int) -> Iterator[AttemptStatus]:
    """The attempts that were ordered after this one. HEAD does not name them: their launcher died
    before it raised HEAD, or a machine of an older attempt has put HEAD back."""
    while (order := notes.read_order(store, run, attempt := attempt + 1)) is not None:
        yield AttemptStatus(
            attempt, None, "never began", machine=notes.read_machine(store, run, attempt),
            order=order, gone=notes.read_gone(store, run, attempt),
        )  # fmt: skip


def adopt(
    store: Store,
    run: str,
    attempt: AttemptStatus,
    provider: Callable[[str], Provider],
) -> Machine | None:
    """The machine of an order whose answer was lost, now on record; None if there is none."""
    order = attempt.order
    if order is None or order.provider not in registry.names():
        return None
    place = provider(order.provider)
    if not isinstance(place, Adopts):
        return None
    spec = AttemptSpec(
        store.url, run, attempt.attempt, deadline=order.deadline, offer=order.offer,
        job=order.shared.job if order.shared else "",
    )  # fmt: skip
    machine = place.adopt(spec)
    if machine is None:
        return None
    machine = replace(machine, started=order.time, estimate_hours=order.estimate_hours)
    notes.record_machine(store, run, attempt.attempt, machine)
    return machine


def _never_came(
    store: Store,
    run: str,
    attempt: AttemptStatus,
    gone: Gone,
    provider: Callable[[str], Provider],
) -> bool:
    if attempt.order is None:
        return False
    if gone.time - attempt.order.time < deadlines.LISTED_WITHIN:
        raise UnknownOutcome(
            f"attempt {attempt.attempt} of run {run} was ordered just now and is not listed yet: "
            "its machine is looked for again in two minutes"
        )
    forget_keys(store, run, attempt.attempt)
    place = provider(attempt.order.provider) if attempt.order.provider in registry.names() else None
    if isinstance(place, Rented):
        place.forget(machine_name(run, attempt.attempt, owner.read(store)))
    why = "its order was never answered"
    notes.record_gone(store, run, attempt.attempt, Gone(gone.time, "refused", why))
    return True


def forget_keys(store: Store, run: str, attempt: int) -> None:
    """Take back the keys of a machine that is no more, which may not have fetched them."""
    with contextlib.suppress(StoreError):  # they and their link end by themselves, later
        key_link.revoke(store, run, attempt)
