"""Whether an attempt is still being worked on, from its store and from its provider.

Only a courtesy: it keeps a user from replacing an attempt that does well. Safety rests on
the attempt's number in HEAD, whatever is said here.
"""

from launch.contract.errors import ProviderError
from launch.contract.provider import Machine, Provider
from launch.providers import registry
from mimir.runs.status import Status

BEGIN_WITHIN = 900.0
"""Seconds after its order in which a machine that gives no sign is held to be starting."""


def provider_of(machine: Machine | None) -> Provider | None:
    """Who can be asked about it. None e.g. for a terminal, or for a newer Mimir's provider."""
    name = (machine or {}).get("provider")
    return registry.get(name) if name in registry.names() else None


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


def busy(status: Status, now: float) -> str:
    """ "" if a new attempt takes nothing away, else what speaks for the current one's life."""
    if status.state not in ("queued", "running") or status.attempt == 0:
        return ""
    machine = current(status)
    if status.silent or alive(machine) is False:
        return ""
    if status.silent_s is not None:
        return f"gave a sign {max(0, status.silent_s):.0f} s ago"
    if machine is None:
        return "has no machine on record, but gave no sign of its end" if _claimed(status) else ""
    ordered = machine.get("started")
    if isinstance(ordered, (int, float)) and now - ordered > BEGIN_WITHIN:
        return ""
    return "is starting"


def _claimed(status: Status) -> bool:
    return status.state == "running"
