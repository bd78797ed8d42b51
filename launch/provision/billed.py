"""What the services themselves bill for a run's machines, beside what we reckon.

For people only: limits and budgets go by orders, for a bill comes hours late. A service whose bill
cannot be read here costs a sentence.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launch.contract.provider import Provider
from launch.providers import registry
from launch.providers.rented import Rented
from mimir.errors import MimirError
from mimir.runs.status import Status


@dataclass(frozen=True)
class Billed:
    """dollars: of `machines` that the services have billed so far, of `paid` that the run had.

    problems: a sentence for each service whose bill cannot be read.
    """

    dollars: float = 0.0
    machines: int = 0
    paid: int = 0
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "dollars": round(self.dollars, 4), "machines": self.machines, "paid": self.paid,
            "problems": list(self.problems),
        }  # fmt: skip

    def text(self) -> str:
        """For people, "" for a run that costs nothing."""
        if not self.paid:
            return ""
        lines = list(self.problems)
        if self.machines or not lines:
            of = f"{self.machines} of its {self.paid} machine{'s' if self.paid > 1 else ''}"
            lines.insert(0, f"${self.dollars:.2f} for {of}, by the services (a bill comes late)")
        return "; ".join(lines)


def of_run(status: Status, provider: Callable[[str], Provider] = registry.get) -> Billed:
    """Ask each service that rented a machine to the run; one or two requests each."""
    since: dict[str, float] = {}
    ids: dict[str, list[str]] = {}
    for attempt in status.attempts:
        machine = attempt.machine
        if machine is not None and machine.id and machine.price:
            ids.setdefault(machine.provider, []).append(machine.id)
            began = attempt.order.time if attempt.order else machine.started
            since[machine.provider] = min(began, since.get(machine.provider, began))
    dollars, billed, problems = 0.0, 0, []
    for name, its in ids.items():
        try:
            place = provider(name)
            found = place.billed(its, since[name], status.at) if isinstance(place, Rented) else None
        except MimirError as error:
            problems.append(f"the bill of {name} cannot be read: {error}")
            continue
        if found is None:
            problems.append(f"{name} tells no bill: see its console")
            continue
        dollars += sum(found.values())
        billed += len(found)
    return Billed(dollars, billed, sum(map(len, ids.values())), tuple(problems))
