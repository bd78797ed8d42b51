"""final.json: what a run left, as the launcher first saw it done.

The machine's keys may live on for hours, and HEAD is theirs to write. So whoever first sees the
run done writes down what HEAD named, with its digests, where no machine can write; from then on
the run is what that says.
"""

import contextlib
from dataclasses import asdict

from mimir.errors import StoreError
from mimir.runs import codec, layout, notes, orders
from mimir.runs.head import Head
from mimir.runs.store import Store, create_once

FORMAT = 1


def read(store: Store, run: str) -> Head | None:
    """HEAD as it was sealed; None if the run was not seen done yet."""
    key = layout.final_key(run)
    found = store.read(key)
    if found is None:
        return None
    value = codec.decode(found.data, key)
    codec.check_format(value, FORMAT, key)
    return Head.from_bytes(codec.encode(codec.child(value, "head", key)), key)


def sealed_at(store: Store, run: str) -> float | None:
    """When the run was sealed, unix s by the store's clock; None if it was not."""
    key = layout.final_key(run)
    found = store.read(key)
    return (
        None if found is None else codec.one(float, codec.decode(found.data, key).get("time"), key)
    )


def seal(store: Store, head: Head, now: float) -> Head:
    """What a run left that is done, sealed now if it was not yet; any other HEAD as it is.

    A HEAD that is not to be believed is not sealed, and a store that takes no seal now is left for
    the next time. now: unix s by the store's clock.
    """
    run = head.run
    if head.state != "done":
        return head
    order, following = (notes.read_order(store, run, head.attempt + n) for n in (0, 1))
    if orders.doubt(store, head, order, following, now):
        return head
    body = {"format": FORMAT, "time": now, "head": asdict(head)}
    with contextlib.suppress(StoreError):  # e.g. keys that only read
        create_once(store, layout.final_key(run), codec.encode(body))
    return read(store, run) or head
