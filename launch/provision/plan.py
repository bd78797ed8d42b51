"""A run's plan and what was asked of it, as its newest orders tell."""

from mimir.runs import notes, orders
from mimir.runs.notes import StopRequest
from mimir.runs.order import Plan
from mimir.runs.store import Store


def newest_plan(store: Store, run: str, attempt: int) -> Plan | None:
    """The plan of the newest order at or before this attempt; None if there never was one.

    An attempt that was begun by hand, by `mimir train` or in a notebook, has none.
    """
    # From the newest order: a machine may write any number into HEAD.
    for number in range(min(attempt, orders.newest_order(store, run)), 0, -1):
        order = notes.read_order(store, run, number)
        if order is not None and order.attended:
            return order.plan
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
