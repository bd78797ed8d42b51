"""started.json: that a job which waited in a queue has begun an attempt.

Whoever creates it runs the attempt: a cluster may start a job twice, with its first process alive
on a node that is only cut off. The launcher's, like order.json.
"""

from dataclasses import asdict, dataclass

from mimir.runs import codec, layout, notes
from mimir.runs.ranges import Time
from mimir.runs.store import Store, create_once


@dataclass(frozen=True)
class Started:
    """time: unix s by the store's clock. by: which job, and where, for people."""

    time: Time
    by: str = ""


def record(store: Store, run: str, attempt: int, started: Started) -> bool:
    """Take the right to run the attempt; False if another start of a job has it."""
    body = codec.sealed(asdict(started), notes.FORMAT)
    return create_once(store, layout.started_key(run, attempt), body)


def read(store: Store, run: str, attempt: int) -> Started | None:
    """None if no job has begun it. Corrupt if it is damaged."""
    key = layout.started_key(run, attempt)
    found = store.read(key)
    if found is None:
        return None
    return codec.typed(Started, codec.unsealed(found.data, notes.FORMAT, key), key)
