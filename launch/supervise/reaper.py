"""Finds machines that bear our name and work for no run of a store, and ends them.

The only place that may end what the store has no record of, and only on a user's word. A service
shows the machines of all stores of an account alike, so a machine's name tells its store, and what
another store has ordered is foreign: whether it works for a run, only that store knows. So is what
tells no store, unless this one has it on record by its id: two stores may have a run of one name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from launch.contract import deadlines
from launch.contract.cloud import Instance, State, owner_of, parse_name
from launch.contract.errors import AuthFailed, Misconfigured
from launch.providers.rented import Rented
from launch.provision import liveness, terminate
from launch.supervise import overtime
from mimir.errors import OtherFormat, sentence
from mimir.runs import layout, notes, owner
from mimir.runs.head import ENDED
from mimir.runs.notes import Gone
from mimir.runs.status import DISPUTED, derive
from mimir.runs.store import Store

FOREIGN = "another store may have ordered it"


@dataclass(frozen=True)
class Stray:
    """A machine of ours. why: it shall be ended; "" if it works for a run of the store.

    foreign: another store may have ordered it, so that nobody knows here what it does.
    """

    provider: Rented
    instance: Instance
    run: str
    attempt: int
    why: str
    foreign: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider.name, "id": self.instance.id, "name": self.instance.name,
            "state": str(self.instance.state), "price": self.instance.price, "why": self.why,
            "foreign": self.foreign,
        }  # fmt: skip


def find(store: Store, providers: Sequence[Rented], now: float) -> tuple[list[Stray], list[str]]:
    """All machines with our name, and a sentence for each provider that could not be asked.

    Raises:
        AuthFailed, Misconfigured: there is one provider, and asking again is useless.
    """
    found, problems = [], []
    own = owner.read(store)
    for provider in providers:
        try:
            listed = provider.instances()
        except Exception as error:  # told; the other providers are asked
            if len(providers) == 1 and isinstance(error, AuthFailed | Misconfigured):
                raise
            problems.append(f"{provider.name} does not list its machines: {sentence(error)}")
            continue
        for instance in listed:
            place = parse_name(instance.name)
            if place is None or instance.state is State.GONE:
                continue
            foreign = False
            try:
                foreign = _is_foreign(store, provider, instance, own)
                why = FOREIGN if foreign else _why(store, provider, instance, now)
            except Exception as error:  # noqa: BLE001 - told; the other machines are looked at
                reason = sentence(error)
                problems.append(f"{instance.name} stays, because its run cannot be read: {reason}")
                why = ""
            found.append(Stray(provider, instance, *place, why, foreign))
    return found, problems


def by_id(provider: Rented, id: str) -> Stray:
    """A machine that a person names by its id, because the service has it under another name."""
    instance = provider.by_id(id)
    run, attempt = parse_name(instance.name) or ("", 0)
    return Stray(provider, instance, run, attempt, "you named it by its id")


def end(
    store: Store, strays: Sequence[Stray], clock: Callable[[], float], say: Callable[[str], None]
) -> tuple[list[str], list[str]]:
    """End them; the ids of those seen to be gone, and a sentence for each that was not."""
    ended, problems = [], []
    for stray in strays:
        try:
            stray.provider.end_instance(stray.instance)
        except Exception as error:  # noqa: BLE001 - told; the others are ended
            problems.append(sentence(error))
            say(sentence(error))
            continue
        ended.append(stray.instance.id)
        try:
            _write_down(store, stray, clock())
        except Exception as error:  # noqa: BLE001 - told; the others are ended
            reason = sentence(error)
            problems.append(f"that {stray.instance.name} is gone could not be written: {reason}")
    return ended, problems


def _is_foreign(store: Store, provider: Rented, instance: Instance, own: str) -> bool:
    """own: the id of the store, "" if it has none."""
    its = owner_of(instance.name)
    if its:
        return its != own
    place = parse_name(instance.name)
    assert place is not None
    machine = notes.read_machine(store, *place)
    return machine is None or (machine.provider, machine.id) != (provider.name, instance.id)


def _write_down(store: Store, stray: Stray, now: float) -> None:
    """That it is gone, where it was the attempt's machine, or its order never learnt that there was
    one. now: unix s."""
    if stray.foreign or not stray.attempt:
        return
    order = notes.read_order(store, stray.run, stray.attempt)
    if order is None or order.provider != stray.provider.name:
        return
    machine = notes.read_machine(store, stray.run, stray.attempt)
    unknown = machine is None and owner_of(stray.instance.name) == owner.read(store) != ""
    if unknown or (machine is not None and machine.id == stray.instance.id):
        terminate.forget_keys(store, stray.run, stray.attempt)
        at = terminate.paid_until(stray.instance.stopped, order.time, now)
        gone = Gone(at, "over", f"ended by reap: {stray.why}")
        notes.record_gone(store, stray.run, stray.attempt, gone)


def _why(store: Store, provider: Rented, instance: Instance, now: float) -> str:
    """Why the machine is of no use to any run of the store; "" if it may be."""
    place = parse_name(instance.name)
    assert place is not None
    run, attempt = place
    if store.read(layout.record_key(run)) is None:
        return f"there is no run {run} in {store.url}"
    try:
        status = derive(store, run, now)
    except OtherFormat:
        order = notes.read_order(store, run, attempt)
        machine = notes.read_machine(store, run, attempt)
        if liveness.overdue(machine, order, now):
            return overtime.WHY
        raise
    if status.state in ENDED:
        return f"run {run} is {status.state}"
    if attempt < status.attempt:
        return f"run {run} is at attempt {status.attempt} by now"
    order = notes.read_order(store, run, attempt)
    if order is None:
        return f"attempt {attempt} of run {run} was not ordered from this store"
    if order.provider != provider.name:
        return f"attempt {attempt} of run {run} was ordered at {order.provider}"
    gone = notes.read_gone(store, run, attempt)
    if gone is not None:
        return f"attempt {attempt} of run {run} was given up: {gone.why}"
    machine = notes.read_machine(store, run, attempt)
    if machine is not None and machine.id != instance.id:
        return f"attempt {attempt} of run {run} has another machine, {machine.id}"
    young = now - order.time < deadlines.UNRECORDED_FOR
    if status.state == DISPUTED and attempt == status.attempt and not young:
        return status.reason
    if attempt > status.attempt and not young:
        return f"attempt {attempt} of run {run} never began"
    return ""
