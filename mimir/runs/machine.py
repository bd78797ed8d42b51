"""machine.json: what an attempt runs on, as the launcher wrote it down.

Plain facts without secrets, enough to find the machine again. What only one provider knows of
its machines (a session, a container, a log file) is in `details`, flat in the JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from mimir.errors import Corrupt
from mimir.runs import codec
from mimir.runs.ranges import Hours, Price, Process, Time

MOST_DETAILS, LONGEST_NAME = 32, 64
"""Facts that only its provider knows of a machine, and characters of a name of one."""

BEGIN_WITHIN = 1500.0
"""Seconds from the order of a rented machine to its first heartbeat: a 6 GB image takes some hosts
20 minutes."""

Detail = str | int | float | bool | None


@dataclass(frozen=True)
class Machine:
    """A machine that was ordered or taken for an attempt.

    provider: its name; "notebook" or "terminal" for a machine that was not ordered. started:
    unix s of the order. id and name: as its service has them. host and pid: the computer that
    can reach it, for machines that only one computer can; the worker's process there. gpu: as
    launch/pricing/gpus.py names it. price: $/h, None if it costs nothing. place: the failure
    domain, to be avoided after a failure there. deadline: unix s, 0 for none. ends_itself:
    whether it holds a key with which it can end itself. estimate_hours: of the rest of the run
    there, None if nothing was estimated. details: the provider's own facts.
    """

    provider: str
    started: Time
    id: str = ""
    name: str = ""
    host: str = ""
    pid: Process | None = None
    gpu: str = ""
    price: Price | None = None
    region: str = ""
    spot: bool = False
    place: str = ""
    image: str = ""
    deadline: Time = 0.0
    ends_itself: bool = False
    estimate_hours: Hours | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)

    def detail(self, name: str) -> str:
        """A provider's own fact as text, "" if there is none."""
        value = self.details.get(name)
        return "" if value is None else str(value)

    def number(self, name: str) -> int | None:
        """A provider's own fact as a whole number, None if it is not one."""
        value = self.details.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def queues(self) -> bool:
        """Whether it is a job that may wait in a queue, which takes none of a run's hours."""
        return self.details.get("queues") is True

    @property
    def part_of(self) -> str:
        """The run whose part of a shared machine this is, "" where one run has it alone."""
        return self.detail("part_of")

    def shared_by(self, run: str) -> "Machine":
        """The machine as one of the runs that share it has it on record."""
        return replace(self, details={**self.details, "part_of": run})

    def as_json(self) -> dict[str, Any]:
        """Plain JSON: all fields, with the details beside them."""
        known = {n: getattr(self, n) for n in (each.name for each in fields(self))}
        del known["details"]
        return {**known, **self.details}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> "Machine":
        """Corrupt, naming `where`, if it is no machine."""
        known = {each.name for each in fields(cls)} - {"details"}
        rest = {name: what for name, what in value.items() if name not in known}
        for name, what in rest.items():
            if len(name) > LONGEST_NAME or len(rest) > MOST_DETAILS:
                raise Corrupt(f"{where} has a field that is not known: {codec.shown(name)}")
            if isinstance(what, str):
                codec.one(str, what, f"{where}: {name!r}")
            elif not isinstance(what, int | float | bool | None):
                raise Corrupt(f"{where}: {name!r} is {type(what).__name__}, but must be plain")
        made = codec.typed(cls, {n: v for n, v in value.items() if n in known}, where)
        return replace(made, details=rest)
