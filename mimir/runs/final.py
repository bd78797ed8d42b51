"""final.json: what a run left, as the launcher first saw it done.

The machine's keys may live on for hours, and HEAD is theirs to write. So whoever first sees the
run done writes down what HEAD named, with its digests, where no machine can write; from then on
the run is what that says.
"""

import contextlib
from dataclasses import asdict, dataclass, replace

from mimir.errors import Corrupt, StoreError
from mimir.runs import codec, layout, notes, orders
from mimir.runs.head import REMOVED, Head
from mimir.runs.ranges import Time
from mimir.runs.store import DOCUMENT, Store, create_once

FORMAT = 1
_LIMIT = 2 * DOCUMENT
"""Bytes that are read: it holds a HEAD, and a little more."""


@dataclass(frozen=True)
class Final:
    """What a run left. time: when it was sealed, unix s."""

    time: Time
    head: Head

    def __post_init__(self) -> None:
        if self.head.state != "done":
            raise Corrupt(f"a run that is {self.head.state} was sealed")


def read(store: Store, run: str) -> Head | None:
    """HEAD as it was sealed; None if the run was not seen done yet."""
    found = _read(store, run)
    return found.head if found else None


def mark_removed(store: Store, run: str, why: str) -> None:
    """Write down that a sealed run is being removed; nothing for one that is not sealed.

    HEAD says it too, but a machine whose keys live on may write HEAD, and no word of a machine
    shall remove what a run left.
    """
    head = read(store, run)
    if head is not None:
        body = codec.sealed({"why": why}, FORMAT)
        create_once(store, layout.removing_key(run, head.attempt), body)


def removed(store: Store, sealed: Head) -> Head | None:
    """HEAD of a sealed run that is being removed; None if it is not."""
    if store.read(layout.removing_key(sealed.run, sealed.attempt)) is None:
        return None
    return replace(sealed, state=REMOVED, reason="somebody removes it")


def sealed_at(store: Store, run: str) -> float | None:
    """When the run was sealed, unix s by the store's clock; None if it was not."""
    found = _read(store, run)
    return found.time if found else None


def seal(store: Store, head: Head, now: float) -> Head:
    """What a run left that is done, sealed now if it was not yet; any other HEAD as it is.

    A HEAD that is not to be believed is not sealed, and a store that takes no seal now is left for
    the next time. now: unix s by the store's clock.
    """
    run = head.run
    if head.state != "done":
        return head
    order = notes.read_order(store, run, head.attempt)
    if orders.doubt(store, head, order, orders.following(store, head), now):
        return head
    body = codec.sealed(asdict(Final(now, head)), FORMAT)
    with contextlib.suppress(StoreError):  # e.g. keys that only read
        if create_once(store, layout.final_key(run), body):
            return head
    return read(store, run) or head


def _read(store: Store, run: str) -> Final | None:
    key = layout.final_key(run)
    found = store.read(key, limit=_LIMIT)
    if found is None:
        return None
    sealed = codec.typed(Final, codec.unsealed(found.data, FORMAT, key), key)
    if sealed.head.run != run:
        raise Corrupt(f"{key} is of another run, {sealed.head.run!r}")
    return sealed
