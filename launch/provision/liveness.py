"""Whether an attempt is still being worked on, from its store and from its provider.

Only a courtesy: it keeps a user from replacing an attempt that does well. Safety rests on
the attempt's number in HEAD, whatever is said here.
"""

from launch.contract import deadlines
from launch.contract.errors import ProviderError
from launch.contract.provider import Machine, Provider
from launch.providers import registry
from mimir.runs.status import Status


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


def current(status: Status) -> Machine | None:
    """The machine of the newest attempt, if it was written down."""
    return status.attempts[-1].machine if status.attempts else None


def presumed(status: Status, ordered: float, now: float) -> str:
    """What the times alone say of the newest attempt, for all who must agree about it.

    ordered: unix s of its order. Returns "starting", "working", "overdue" (it has never given a
    sign) or "silent" (it gives none any more).
    """
    if status.silent_s is None:
        return "starting" if now - ordered <= deadlines.BEGIN_WITHIN else "overdue"
    return "working" if status.silent_s <= deadlines.SILENT_FOR else "silent"


def busy(status: Status, now: float) -> str:
    """ "" if a new attempt takes nothing away, else what speaks for the current one's life."""
    if status.state not in ("queued", "running") or status.attempt == 0:
        return ""
    machine, order = current(status), status.attempts[-1].order
    if alive(machine) is False:
        return ""
    if order is None and status.silent:
        return ""  # a terminal's or a notebook's: no watcher looks after it
    if machine is None and order is None:
        return "has no machine on record, but gave no sign of its end" if _claimed(status) else ""
    ordered = order.time if order else machine.started if machine else 0.0
    sign = presumed(status, ordered, now)
    if sign == "working":
        return f"gave a sign {max(0, status.silent_s or 0.0):.0f} s ago"
    return "is starting" if sign == "starting" else ""


def _claimed(status: Status) -> bool:
    return status.state == "running"
