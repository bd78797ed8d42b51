"""Runs the preflight checklist on this machine in under two minutes, and prints it as a table."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch

from mimir.errors import BadInput, MimirError

CHECKS = ("dependencies", "data", "device", "loop", "loss", "checkpoint", "resume", "samples",
          "memory", "forecast")  # fmt: skip
NEEDED = ("data", "device", "loop")
"""Without these nothing that follows can be tried."""


@dataclass(frozen=True)
class Check:
    """One line of the table. status: pass, warn, fail, or skip (not reached)."""

    name: str
    status: str
    seen: str


@dataclass(frozen=True)
class Limits:
    """hours: of a session, 0 for none. steps, seconds: of all checks together."""

    hours: float = 12.0
    steps: int = 300
    seconds: float = 95.0

    def __post_init__(self) -> None:
        if not 0 <= self.hours < math.inf:
            raise BadInput(f"--limit-hours is {self.hours:g}, but must be 0 (no limit) or more")


@dataclass(frozen=True)
class Report:
    """What was found. figures: the numbers behind the sentences."""

    preset: str
    checks: tuple[Check, ...]
    figures: dict[str, Any]

    @property
    def passed(self) -> bool:
        return all(check.status in ("pass", "warn") for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"passed": self.passed, **asdict(self)}

    def table(self) -> str:
        """For people: a line for each check, and the verdict."""
        lines = [f"{c.status.upper():<6}{c.name:<14}{c.seen}" for c in self.checks]
        failed = [check.name for check in self.checks if check.status == "fail"]
        verdict = f"failed: {', '.join(failed)}" if failed else "passed"
        return "\n".join([*lines, f"preflight of preset {self.preset} {verdict}"])


class Unfit(Exception):
    """A check failed; the sentence says what to do."""


class Doubt(Exception):
    """A check passed, but there is something to know."""


class Checklist(Protocol):
    """Has a method for each of CHECKS, which returns what it saw or raises Unfit or Doubt."""

    figures: dict[str, Any]


def examine(
    preset: str, checklist: Checklist, tell: Callable[[str, float], None],
    clock: Callable[[], float] = time.monotonic,
) -> Report:  # fmt: skip
    """Go through the checklist.

    tell: called with the check that is under way and the part of it that is done.

    Raises:
        BadInput: a setting or the data is wrong, which says nothing of the machine.
    """
    began, checks, broken = clock(), list[Check](), False
    for name in CHECKS:
        if broken:
            checks.append(Check(name, "skip", "not reached"))
            continue
        tell(name, 0.0)
        check, broken = _ask(getattr(checklist, name), name)
        checks.append(check)
    checklist.figures["seconds"] = round(clock() - began, 1)
    return Report(preset, tuple(checks), checklist.figures)


def _ask(look: Callable[[], str], name: str) -> tuple[Check, bool]:
    """The check, and whether it leaves nothing to go on with."""
    try:
        return Check(name, "pass", look()), False
    except Doubt as doubt:
        return Check(name, "warn", str(doubt)), False
    except Unfit as unfit:
        return Check(name, "fail", str(unfit)), name in NEEDED
    except (torch.OutOfMemoryError, MemoryError):
        return Check(name, "fail", "out of memory: use --accumulate 2 or a smaller --batch"), True
    except BadInput:
        raise
    except (MimirError, OSError) as error:
        return Check(name, "fail", str(error)), name in NEEDED
