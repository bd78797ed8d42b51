"""A machine that may be ordered for the next attempt of a run, and the document of its order."""

import os
import platform
from dataclasses import dataclass

from launch.contract.offer import Offer
from launch.contract.provider import Provider
from mimir.errors import Corrupt
from mimir.runs import notes
from mimir.runs.order import Expected, Order, Plan, Shared
from mimir.runs.promised import Promised
from mimir.runs.store import Store


@dataclass(frozen=True)
class Choice:
    """A machine that may be ordered. deadline in unix s, 0 for none; estimate in hours.

    promised: what its worker checks, None for nothing. expected: what it compares its steps with.
    """

    provider: Provider
    offer: Offer | None = None
    deadline: float = 0.0
    estimate_hours: float | None = None
    promised: Promised | None = None
    expected: Expected | None = None


def intended(
    store: Store, run: str, choice: Choice, plan: Plan, known: int, since: int, looked: int = 0,
    shared: Shared | None = None,
) -> Order:  # fmt: skip
    """The order of the attempt after `known`. since, looked, shared: as Order has them."""
    before, refused = _before(store, run, known)
    return Order(
        choice.provider.name, plan, store.now(), choice.offer, choice.deadline,
        choice.estimate_hours, since, max(looked, before), refused,
        f"{platform.node()}:{os.getpid()}", promised=choice.promised, expected=choice.expected,
        shared=shared,
    )  # fmt: skip


def _before(store: Store, run: str, known: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Order.looked and Order.refused for the attempt after the known one."""
    try:
        last = notes.read_order(store, run, known) if known else None
    except Corrupt:  # a newer Mimir's: what it knew is looked up again
        last = None
    if last is None:
        return 0, ()
    gone = notes.read_gone(store, run, known)
    if gone is None or gone.kind != "refused":
        return last.looked, last.refused
    ranges = list(last.refused)
    if ranges and ranges[-1][1] == known - 1:
        return last.looked, (*ranges[:-1], (ranges[-1][0], known))
    return last.looked, (*ranges, (known, known))
