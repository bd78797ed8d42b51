"""Machines that are paid for and work for nothing: what every command says of them.

By the store alone, so that it is said also where no key is: a machine whose order stands in the
store costs money until somebody has seen that it is gone and written that down (gone.json).
"""

from dataclasses import asdict, dataclass
from typing import Any

from launch.contract.provider import ShutDown
from launch.pricing import budget
from launch.providers import registry
from launch.ui.runs import command, ending_command, machine_text
from mimir.runs.attempts import AttemptStatus
from mimir.runs.head import ENDED
from mimir.runs.machine import Machine
from mimir.runs.status import Status
from mimir.text import moment


@dataclass(frozen=True)
class StillPaid:
    """A paid machine whose attempt is over, and which nobody has seen to be gone.

    price: $/h, of what is left of it where it was to shut itself down. since: its order, unix s by
    the store's clock. dollars: since then.
    ends: the command line that ends it. sentence: all of it for people.
    """

    attempt: int
    provider: str
    id: str
    price: float
    since: float
    dollars: float
    ends: str
    sentence: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def still_paid(status: Status, store: str = "") -> tuple[StillPaid, ...]:
    """The run's machines that are still paid though their work is over, oldest first.

    store: --store as it was given, for the commands.
    """
    found = []
    for attempt in status.attempts:
        machine = attempt.machine
        if machine is None or machine.price is None or attempt.gone is not None:
            continue
        if _is_over(attempt, status):
            found.append(_still_paid(attempt, machine, status, store))
    return tuple(found)


def _is_over(attempt: AttemptStatus, status: Status) -> bool:
    newest = attempt.attempt >= status.attempt
    return status.state in ENDED or not newest or attempt.exit_code is not None


def _still_paid(attempt: AttemptStatus, machine: Machine, status: Status, store: str) -> StillPaid:
    price = machine.price or 0.0
    paid = budget.seconds_of(attempt, status.at)
    off = min(paid, _off_for(attempt, machine, status.at))
    dollars = price * (paid - off) / budget.HOUR
    if status.state in ENDED or not machine.id:
        ends = command("watch", status.run, store, "--once")
    else:  # where `watch` would also order the next machine; what has no id, only it ends
        ends = ending_command(machine.provider, machine.id, store)
    alone = "; it was to end itself" if machine.ends_itself and not attempt.unended else ""
    down = _shut_down(machine)
    if down is not None and off > 0:
        price = down.price
        dollars += price * off / budget.HOUR
        alone = f" if it has shut itself down, as it was to: {down.paid}"
    sentence = (
        f"the machine of attempt {attempt.attempt} of run {status.run} has not been seen to be "
        f"gone, and is paid until then: {machine_text(machine)} since {moment(machine.started)}, "
        f"${dollars:.2f} so far{alone}. This ends it: {ends}"
    )
    return StillPaid(
        attempt.attempt, machine.provider, machine.id, price, machine.started, dollars, ends,
        sentence,
    )  # fmt: skip


def _shut_down(machine: Machine) -> ShutDown | None:
    known = machine.provider in registry.names()
    return registry.get(machine.provider).caps.shuts_down if known else None


def _off_for(attempt: AttemptStatus, machine: Machine, now: float) -> float:
    """Seconds for which the machine has been off if all went well with it: its work has ended, and
    it has no reason any more to stay on."""
    down = _shut_down(machine)
    if down is None or attempt.ended_at is None:
        return 0.0
    return max(0.0, now - attempt.ended_at - down.idle)
