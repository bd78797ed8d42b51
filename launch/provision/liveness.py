"""Whether an attempt's machine is there and works, from its provider and from its heartbeat.

Only a courtesy: it keeps a user from replacing an attempt that does well. Safety rests on
the attempt's number in HEAD, whatever is said here.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from launch.contract import deadlines
from launch.contract.cloud import Inspects, State
from launch.contract.errors import AuthFailed, Misconfigured, ProviderError
from launch.contract.provider import Machine, Provider
from launch.providers import registry
from launch.providers.rented import Rented
from mimir.errors import BadInput
from mimir.runs import notes
from mimir.runs.order import Order
from mimir.runs.status import Status
from mimir.runs.store import Store

LOOK_EVERY = 2.0
"""Seconds between looks at a heartbeat that is watched."""


class Watched:
    """Heartbeats as one has seen them change oneself, for who looks again and again.

    clock: seconds that go on whatever the time is set to.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, str, float]] = {}

    def unchanged(self, run: str, attempt: int, beat: str) -> float:
        """Seconds for which this has been seen to be the run's newest attempt and its heartbeat.

        beat: as Sign.beat and Status.beat.
        """
        *seen, since = self._seen.get(run, (0, "", 0.0))
        if seen != [attempt, beat]:
            since = self._clock()
            self._seen[run] = (attempt, beat, since)
        return self._clock() - since


def stirs(
    store: Store,
    status: Status,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Look at the heartbeat for BEATS_WITHIN; whether it has changed.

    For who looks once, before an attempt is taken for dead by the age of its heartbeat alone: a
    store of several servers, or a folder whose computers date files themselves, has no one clock.
    """
    began = clock()
    while clock() - began < deadlines.BEATS_WITHIN:
        sleep(LOOK_EVERY)
        sign = notes.unless_damaged(notes.read_sign, store, status.run, status.attempt)
        if sign is not None and sign.beat != status.beat:
            return True
    return False


def provider_of(machine: Machine | None) -> Provider | None:
    """Who can be asked about it. None e.g. for a terminal, or for a newer Mimir's provider."""
    return named(machine.provider) if machine else None


def named(provider: str) -> Provider | None:
    """The provider of this name; None for a name that is no provider of this Mimir's."""
    return registry.get(provider) if provider in registry.names() else None


def alive(machine: Machine | None) -> bool | None:
    """What its provider says of it; None if nobody can tell now."""
    provider = provider_of(machine)
    if machine is None or provider is None:
        return None
    try:
        return provider.alive(machine)
    except ProviderError:
        return None


def state_of(
    machine: Machine, provider: Callable[[str], Provider] | None = None
) -> tuple[State | None, str]:
    """Its state by its provider, and the service's own word for it; None if nobody can tell now."""
    answer = asked(machine, provider)
    return answer.state, answer.said


class Asked(NamedTuple):
    """state, said: as state_of. problem: what a person must mend before its service answers from
    here, or "". taken, stopped: as of Instance."""

    state: State | None
    said: str = ""
    problem: str = ""
    taken: bool | None = None
    stopped: float | None = None


def asked(machine: Machine, provider: Callable[[str], Provider] | None = None) -> Asked:
    """What a machine's service says of it now."""
    try:
        place = (provider or registry.get)(machine.provider)
        if isinstance(place, Inspects):
            found = place.inspect(machine)
            if found is None:
                return Asked(State.GONE)
            return Asked(found.state, found.said, taken=found.taken, stopped=found.stopped)
        there = place.alive(machine)
    except (AuthFailed, Misconfigured) as error:
        why = f"its machine can neither be seen nor ended from here: {error}"
        return Asked(None, problem=why)
    except (ProviderError, BadInput):
        return Asked(None)
    return Asked(None if there is None else State.RUNNING if there else State.GONE)


def stuck(machine: Machine) -> str:
    """Why a machine that waits for its turn will not begin by itself; "" if it may."""
    place = provider_of(machine)
    try:
        found = place.inspect(machine) if isinstance(place, Inspects) else None
    except (ProviderError, BadInput):
        return ""
    return found.stuck if found else ""


def current(status: Status) -> Machine | None:
    """The machine of the newest attempt, if it was written down."""
    return status.attempts[-1].machine if status.attempts else None


def without_key(status: Status, provider: Callable[[str], Provider]) -> str:
    """A sentence if a machine works that this computer could neither ask after nor end."""
    machine = current(status)
    if machine is None or status.attempts[-1].gone or machine.provider not in registry.names():
        return ""
    place = provider(machine.provider)
    if not isinstance(place, Rented) or place.cloud.configured():
        return ""
    return (
        f"its machine is at {place.cloud.title}, and there is no key for it here: set "
        f"${place.cloud.key_variable}, or this computer cannot end it"
    )


def overdue_from(machine: Machine | None, order: Order | None) -> float:
    """When an attempt's machine is ended whatever it does, in unix s; 0 for no deadline.

    The earlier of its deadlines counts: its keys may have shortened what the order said.
    """
    said = (machine.deadline if machine else 0.0, order.deadline if order else 0.0)
    deadline = min((each for each in said if each), default=0.0)
    return deadline + deadlines.WATCH_OVERTIME if deadline else 0.0


def overdue(machine: Machine | None, order: Order | None, now: float) -> bool:
    """Whether an attempt's machine has gone on for too long after its deadline. now: unix s."""
    end = overdue_from(machine, order)
    return bool(end) and now > end


def presumed(status: Status, ordered: float, now: float, unchanged: float | None = None) -> str:
    """What the times alone say of the newest attempt, for all who must agree about it.

    ordered: its order, and now: in unix s by the store's clock. unchanged: Watched.unchanged, None
    for who looks once. Returns "starting", "never began" (too long without a first sign),
    "working" or "silent" (it gives none any more).
    """
    if status.silent_s is None:
        return "starting" if now - ordered <= deadlines.BEGIN_WITHIN else "never began"
    silent = status.silent_s > deadlines.SILENT_FOR
    if unchanged is not None:
        silent &= unchanged >= deadlines.BEATS_WITHIN
        silent |= unchanged > deadlines.SILENT_FOR
    return "silent" if silent else "working"
