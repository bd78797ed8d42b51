"""What a service says of a machine that was ordered and has given no sign yet."""

from launch.contract.cloud import State
from launch.contract.provider import Provider
from launch.contract.pull import advice
from launch.provision import liveness
from mimir.runs.head import ENDED, LIVE
from mimir.runs.status import Status

LINES = 12
"""Of the machine's own output and its service's."""


def seen(status: Status) -> list[str]:
    """The service's word for the newest attempt's machine, and the last lines about its start.

    [] for an attempt that has given a sign or has ended, or whose machine is this computer's. Asks
    the service; what it does not answer is left out. The lines are a stranger's text.
    """
    machine = liveness.current(status)
    provider = liveness.provider_of(machine)
    if machine is not None and machine.queues and provider is not None:
        return _of_job(status, provider)
    if (
        machine is None or provider is None or not provider.caps.remote
        or status.state not in LIVE or status.silent_s is not None
        or status.attempts[-1].exit_code is not None or status.attempts[-1].gone is not None
    ):  # fmt: skip
        return []
    state, said = liveness.state_of(machine)
    told = [f"{machine.provider} says of its machine: {said or state}"] if said or state else []
    lines = provider.output(machine, LINES)
    tip = advice("\n".join((said, *lines)))
    return [*told, *(f"  | {line}" for line in lines), *([tip] if tip else [])]


def _of_job(status: Status, provider: Provider) -> list[str]:
    """Of a job that waits, for the first time or again, or is gone without an end on record."""
    current = status.attempts[-1]
    assert current.machine is not None
    if status.state in ENDED or current.gone is not None:
        return []
    state, said = liveness.state_of(current.machine)
    waits = state is State.PENDING
    again = waits and status.state not in LIVE
    told = [f"{provider.name} says: {said}" + ("; it goes on by itself" if again else "")]
    if waits or (state is State.RUNNING and status.silent_s is not None):
        return told if waits else []
    lines = provider.output(current.machine, LINES) if current.exit_code is None else []
    return [*(told if said else []), *(f"  | {line}" for line in lines)]
