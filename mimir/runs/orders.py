"""What a run's orders say of its HEAD: whether it may be believed, and what it named before.

HEAD is the one object that both the launcher and a machine write. A machine of a stranger may
write anything into it; the orders it cannot write. So HEAD at attempt N is believed only if
attempt N was ordered and N+1 was not, or is being ordered just now. And each order remembers
which checkpoints HEAD named when it was written: they are not collected before something newer
was loaded by another attempt, and a worker tries them first if it finds HEAD below their step. A
request to stop goes to the attempt that was ordered, whatever HEAD says.
"""

import os
import platform
from dataclasses import replace

from mimir.errors import BadInput, Corrupt, StoreError
from mimir.runs import layout, notes
from mimir.runs.head import ENDED, Head, find_head
from mimir.runs.order import Order, Plan
from mimir.runs.retention import best_of
from mimir.runs.store import Store
from mimir.runs.tombstone import Tombstone

RESERVED = 120.0
"""Seconds for which an order that another launcher has begun is left to it."""
TERMINAL = "terminal"
BY_HAND = (TERMINAL, "notebook")
"""Where a person begins an attempt, as an order's provider."""


def by_hand(provider: str, now: float) -> Order:
    """The order of an attempt that a person begins where they are: no watcher replaces it.

    provider: one of BY_HAND. now: unix s by the store's clock.
    """
    return Order(provider, Plan(()), now, by=f"{platform.node()}:{os.getpid()}")


def before_first(store: Store, run: str, removed: Tombstone | None) -> int:
    """The number after which the run's own attempts count; 0 for a name that no run had before.

    removed: what stays of the run that had it. Who resumed that one while it was removed may have
    left an order, whose number is passed over: it remembers checkpoints that are no more.
    """
    if removed is None:
        return 0
    number = newest_order(store, run)
    order = notes.read_order(store, run, number) if number > removed.attempt else None
    return number if order is not None and order.earlier < removed.attempt else removed.attempt


def is_fresh(order: Order, now: float) -> bool:
    """Whether its launcher may be about to raise HEAD."""
    return now - order.time < RESERVED


def following(store: Store, head: Head) -> tuple[int, Order | None]:
    """The attempt after HEAD's and its order. Of a run without attempts it is the newest order:
    the first attempt has a number after those of removed runs of this name."""
    number = head.attempt + 1 if head.attempt else newest_order(store, head.run)
    return number, notes.read_order(store, head.run, number) if number else None


def doubt(
    store: Store, head: Head, order: Order | None, after: tuple[int, Order | None], now: float
) -> str:
    """Why HEAD is not to be believed, in one sentence; "" if it is.

    Args:
        order: of HEAD's attempt.
        after: as `following`.
        now: unix s by the store's clock.
    """
    next_number, following = after
    number = head.attempt
    if number and order is None:
        return (
            f"HEAD of run {head.run} names attempt {number}, which was never ordered: a machine "
            "of the run wrote that"
        )
    if following is None or is_fresh(following, now):
        return ""
    if head.state in ENDED and notes.read_machine(store, head.run, next_number) is None:
        return ""  # it came to its end before it could be replaced
    if not number and notes.read_machine(store, head.run, next_number) is None:
        return ""  # the launcher ended before it raised the first attempt
    return (
        f"HEAD of run {head.run} is at attempt {number} although attempt {next_number} was ordered:"
        " "
        "its launcher ended before it was begun, or a machine has put HEAD back"
    )


def remembering(intent: Order, head: Head, before: Order | None) -> Order:
    """The intent for the attempt after HEAD's, with what it is to remember.

    before: the order of HEAD's attempt. If HEAD is below its step, the newer one remembers what
    the older one did, and not what HEAD says now.
    """
    if before is not None:
        intent = replace(intent, earlier=before.earlier)
    if before is not None and head.step < before.step:
        return replace(intent, step=before.step, kept=before.kept, lineage=before.lineage)
    return replace(intent, step=head.step, kept=head.kept, lineage=head.lineage)


def shortfall(head: Head, order: Order | None) -> str:
    """A sentence if HEAD is below the step from which its attempt was ordered, else ""."""
    if order is None or head.step >= order.step:
        return ""
    return (
        f"HEAD of run {head.run} is at step {head.step}, but was at step {order.step} when attempt "
        f"{head.attempt} was ordered: checkpoints are damaged, or a machine has put HEAD back; "
        "those that it named then are kept, and the next attempt tries them first"
    )


def newest_order(store: Store, run: str) -> int:
    """The newest attempt that was ordered, 0 if there is none."""
    keys = store.list(f"{layout.launcher_folder(run)}/a")
    return max((n for key in keys if (n := layout.parse_order(run, key))), default=0)


def remembered(store: Store, run: str) -> Head | None:
    """HEAD as the newest order remembers it, at its attempt; None if there is no order.

    Its seq is the order's time: more than any number of changes.
    """
    number = newest_order(store, run)
    order = notes.read_order(store, run, number) if number else None
    if order is None:
        return None
    return Head(
        run, number, seq=int(order.time), step=order.step, kept=order.kept,
        best=best_of(order.kept), lineage=order.lineage,
    )  # fmt: skip


def head_or_remembered(store: Store, run: str) -> tuple[Head, str] | None:
    """HEAD as far as it is one: (HEAD, ""), or what is remembered of it and why it is none.

    A machine may write anything into HEAD, or delete it; what was ordered is ended anyway.

    Returns:
        None if there is no HEAD, and no order either.

    Raises:
        OtherFormat: HEAD is another Mimir's.
        Corrupt: HEAD is none, and no attempt was ordered.
    """
    key = layout.head_key(run)
    try:
        found = find_head(store, run)
    except Corrupt as error:
        head, wrong = remembered(store, run), str(error)
        if head is None:
            raise
        wrong = wrong if key in wrong else f"{key}: {wrong}"
    else:
        if found is not None:
            return found, ""
        head, wrong = remembered(store, run), f"{key} is missing"
        if head is None:
            return None
    return head, f"{wrong}; what counts is what the order of attempt {head.attempt} remembers"


def refused_before(store: Store, run: str, attempt: int) -> frozenset[int]:
    """Older attempts of which the attempt's order says that this run has no machine of them.

    Orders carry their numbers on, so that nobody has to read each of hundreds of refusals.
    """
    try:
        return refused_in(notes.read_order(store, run, attempt), attempt)
    except Corrupt:
        return frozenset()  # then they are read one by one


def refused_in(order: Order | None, attempt: int) -> frozenset[int]:
    """As `refused_before`, of an order that was read. attempt: that it is of."""
    ranges = order.refused if order else ()
    known = [n for first, last in ranges for n in range(max(1, first), min(last, attempt) + 1)]
    earlier = range(1, min(order.earlier if order else 0, attempt) + 1)
    return frozenset((*known, *earlier)) - {attempt}


def request_stop(store: Store, run: str, request: notes.StopRequest) -> int:
    """Ask the run's attempt to stop; the attempt asked. BadInput if there is nothing to stop."""
    for _ in range(8):
        before = _head(store, run)
        if before.attempt == 0:
            raise BadInput(f"run {run} has no attempt yet: there is nothing to stop")
        if before.state in ENDED:
            raise BadInput(f"run {run} is {before.state}: there is nothing to stop")
        # A machine may write any number into HEAD; what is at work is what was ordered.
        known = store.read(layout.order_key(run, before.attempt)) is not None
        attempt = before.attempt if known else newest_order(store, run)
        if attempt == 0:
            raise BadInput(f"no attempt of run {run} was ordered: there is nothing to stop")
        notes.record_stop(store, run, attempt, request)
        if _head(store, run).attempt == before.attempt:
            return attempt
    raise StoreError(f"run {run} changes attempts faster than it can be asked to stop; try again")


def _head(store: Store, run: str) -> Head:
    found = head_or_remembered(store, run)
    if found is None:
        raise BadInput(f"there is no run {run} in {store.url}: check the name and the store")
    return found[0]
