"""What a run's orders say of its HEAD: whether it may be believed, and what it named before.

HEAD is the one object that both the launcher and a machine write. A machine of a stranger may
write anything into it; the orders it cannot write. So HEAD at attempt N is believed only if
attempt N was ordered and N+1 was not, or is being ordered just now. And each order remembers
which checkpoints HEAD named when it was written: they are not collected before something newer
was loaded by another attempt, and a worker tries them first if it finds HEAD below their step.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import replace

from mimir.errors import Corrupt
from mimir.runs import notes
from mimir.runs.head import ENDED, Head
from mimir.runs.order import Order, Plan
from mimir.runs.store import Store

RESERVED = 120.0
"""Seconds for which an order that another launcher has begun is left to it."""


def by_hand(provider: str, now: float) -> Order:
    """The order of an attempt that a person begins where they are: no watcher replaces it.

    provider: "terminal" or "notebook". now: unix s by the store's clock.
    """
    return Order(provider, Plan(()), now, by=f"{platform.node()}:{os.getpid()}")


def is_fresh(order: Order, now: float) -> bool:
    """Whether its launcher may be about to raise HEAD."""
    return now - order.time < RESERVED


def doubt(
    store: Store, head: Head, order: Order | None, following: Order | None, now: float
) -> str:
    """Why HEAD is not to be believed, in one sentence; "" if it is.

    Args:
        order: of HEAD's attempt.
        following: of the attempt after it.
        now: unix s by the store's clock.
    """
    number = head.attempt
    if number and order is None:
        return (
            f"HEAD of run {head.run} names attempt {number}, which was never ordered: a machine "
            "of the run wrote that"
        )
    if following is None or is_fresh(following, now):
        return ""
    if head.state in ENDED and notes.read_machine(store, head.run, number + 1) is None:
        return ""  # it came to its end before it could be replaced
    if not number and notes.read_machine(store, head.run, 1) is None:
        return ""  # the launcher ended before it raised the first attempt
    return (
        f"HEAD of run {head.run} is at attempt {number} although attempt {number + 1} was ordered: "
        "its launcher ended before it was begun, or a machine has put HEAD back"
    )


def head_or_why(store: Store, run: str, read: Callable[[Store, str], Head]) -> tuple[Head, str]:
    """HEAD and "", or what the newest order remembers of it and why HEAD cannot be read.

    A machine that writes nonsense over HEAD must not keep anybody from ending it. Raises as `read`
    where nothing was ordered.
    """
    try:
        return read(store, run), ""
    except Corrupt as error:
        number = notes.newest_order(store, run)
        order = notes.read_order(store, run, number) if number else None
        if order is None:
            raise
        return Head(run, attempt=number, step=order.step, kept=order.kept), str(error)


def remembering(intent: Order, head: Head, before: Order | None) -> Order:
    """The intent for the attempt after HEAD's, with what it is to remember.

    before: the order of HEAD's attempt. If HEAD is below its step, the newer one remembers what
    the older one did, and not what HEAD says now.
    """
    if before is not None and head.step < before.step:
        return replace(intent, step=before.step, kept=before.kept)
    return replace(intent, step=head.step, kept=head.kept)


def shortfall(head: Head, order: Order | None) -> str:
    """A sentence if HEAD is below the step from which its attempt was ordered, else ""."""
    if order is None or head.step >= order.step:
        return ""
    return (
        f"HEAD of run {head.run} is at step {head.step}, but was at step {order.step} when attempt "
        f"{head.attempt} was ordered: checkpoints are damaged, or a machine has put HEAD back; "
        "those that it named then are kept, and the next attempt tries them first"
    )
