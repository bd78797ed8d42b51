"""order.json: the intent to order a machine, written before any request is sent.

It holds all that a watcher on another computer needs to go on with the run: where to look,
what it may cost, which image, whose keys. Nothing in it is secret.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from launch.contract.offer import Offer
from launch.payload.credentials import Wish
from launch.pricing.budget import Limits
from mimir.errors import Corrupt
from mimir.runs import notes
from mimir.runs.notes import StopRequest
from mimir.runs.store import Store


@dataclass(frozen=True)
class Plan:
    """How a run gets its machines, until somebody says otherwise.

    providers: where, in no order for those that rent (the cheapest offer counts). gpus: names,
    () for any. spot: machines that may be taken away, too. steps: of
    the whole run, 0 if that is not known.
    """

    providers: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)
    gpus: tuple[str, ...] = ()
    spot: bool = False
    image: str = ""
    wish: Wish = field(default_factory=Wish)
    steps: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "providers": list(self.providers), "limits": self.limits.as_json(),
            "gpus": list(self.gpus), "spot": self.spot, "image": self.image,
            "role": self.wish.role, "static_keys": self.wish.static,
            "steps": self.steps,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Plan":
        return cls(
            providers=tuple(value["providers"]),
            limits=Limits.from_json(value.get("limits")),
            gpus=tuple(value.get("gpus") or ()),
            spot=bool(value.get("spot")),
            image=str(value.get("image") or ""),
            wish=Wish(str(value.get("role") or ""), bool(value.get("static_keys"))),
            steps=int(value.get("steps") or 0),
        )


@dataclass(frozen=True)
class Order:
    """One machine for one attempt. time and deadline in unix s; estimate in hours of work.

    since: the attempt that a person ordered, of which this one is a replacement; 0 for itself.
    What was asked and what broke since then counts for this attempt too. looked: up to this
    attempt there was no request to stop when HEAD had gone past it, so that none can be there.
    refused: (first, last) of older attempts that never had a machine.
    """

    provider: str
    plan: Plan
    time: float
    offer: Offer | None = None
    deadline: float = 0.0
    estimate_hours: float | None = None
    since: int = 0
    looked: int = 0
    refused: tuple[tuple[int, int], ...] = ()

    @property
    def asked_from(self) -> int:
        """The oldest attempt to which a request to stop may have been written."""
        return max(self.since, self.looked + 1)

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider, "plan": self.plan.as_json(), "time": self.time,
            "offer": self.offer.as_json() if self.offer else None, "deadline": self.deadline,
            "estimate_hours": self.estimate_hours, "since": self.since,
            "looked": self.looked, "refused": [list(each) for each in self.refused],
            "by": f"{os.uname().nodename}:{os.getpid()}",
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Order":
        """Corrupt if it is no order."""
        with _readable("an order"):
            return cls(
                provider=str(value["provider"]),
                plan=Plan.from_json(value["plan"]),
                time=float(value["time"]),
                offer=Offer.from_json(value["offer"]) if value.get("offer") else None,
                deadline=float(value.get("deadline") or 0.0),
                estimate_hours=value.get("estimate_hours"),
                since=int(value.get("since") or 0),
                looked=int(value.get("looked") or 0),
                refused=tuple((int(a), int(b)) for a, b in value.get("refused") or ()),
            )


def newest_plan(store: Store, run: str, attempt: int) -> Plan | None:
    """The plan of the newest order at or before this attempt; None if there never was one."""
    for number in range(attempt, 0, -1):
        value = notes.read_order(store, run, number)
        if value is not None:
            with _readable(f"the order of attempt {number} of run {run}"):
                return Plan.from_json(value["plan"])
    return None


def stop_asked(store: Store, run: str, since: int, attempt: int) -> StopRequest | None:
    """The request to stop that holds for an attempt: to it, or to one that it stands in for.

    since: as Order.asked_from. A request is written to the attempt at HEAD, and a launcher may have
    gone on to the next one in the same moment.
    """
    for number in range(attempt, max(1, since or attempt) - 1, -1):
        request = notes.stop_requested(store, run, number)
        if request is not None:
            return request
    return None


@contextlib.contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"{what} cannot be read ({type(error).__name__}: {error})") from error
