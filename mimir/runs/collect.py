"""Collects garbage: checkpoints of abandoned attempts that no HEAD names.

An attempt deletes only what its own commits removed. What it uploaded and never committed,
and what it had committed when a later attempt's retention dropped it, stays until here.
Safe without a lock: HEAD's attempt never goes back, and only the attempt at HEAD can add to
`kept`, only keys of its own; so a key of an older attempt that HEAD does not name now is
never named again, but by who tries what an order remembers (`mimir.runs.orders`).

A machine may write any HEAD, also one of step 0 that names nothing. So what an order remembers
stays until HEAD names something newer that another attempt has loaded: the copies with which
that one began.
"""

import logging
from collections.abc import Callable

from mimir.errors import StoreError
from mimir.runs import layout, notes, orders
from mimir.runs.head import Head, find_head
from mimir.runs.store import Store

_log = logging.getLogger(__name__)


def try_collect(store: Store, run: str, say: Callable[[str], None]) -> None:
    """Collect, or say why not: what is left behind costs space and nothing else."""
    try:
        collect(store, run, say)
    except StoreError as error:
        say(f"what older attempts left is not swept away: {error}")


def collect(store: Store, run: str, say: Callable[[str], None] = _log.warning) -> list[str]:
    """Delete those checkpoints; their keys. Failed deletions are said and left for next time."""
    head = find_head(store, run)
    if head is None:
        return []
    if head.attempt and notes.read_order(store, run, head.attempt) is None:
        return []  # a HEAD that is not to be believed
    named = {kept.key for kept in head.kept} | _remembered(store, head)
    deleted = []
    for key in list(store.list(f"{run}/a")):
        parsed = layout.parse_checkpoint(run, key)
        if parsed is None or parsed[0] >= head.attempt or key in named:
            continue
        try:
            store.delete(key)
            deleted.append(key)
        except StoreError as error:
            say(f"could not delete {key}: {error}")
    return deleted


def _remembered(store: Store, head: Head) -> set[str]:
    """What the orders remember and nothing newer stands in for yet."""
    keys: set[str] = set()
    refused: frozenset[int] = frozenset()
    for number in range(head.attempt, 0, -1):
        # Hundreds of orders may have been refused; they remember what the one before them did.
        order = notes.read_order(store, head.run, number) if number not in refused else None
        if order is None:
            continue
        if any(kept.attempt > number and kept.step > order.step for kept in head.kept):
            break
        keys |= {kept.key for kept in order.kept}
        refused |= orders.refused_in(order, number)
    return keys
