"""A run in a store, without a trainer: for tests of attempts and commits."""

import os

from mimir.runs import layout, notes
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.file_store import FileStore
from mimir.runs.head import Head
from mimir.runs.notes import Heartbeat
from mimir.runs.store import Store

CONTENT = bytes(range(256)) * 4
"""Of a checkpoint."""


def begun(store: Store) -> Store:
    """The store, with the run `r` in it."""
    store.put_if_absent("r/HEAD", Head(run="r", nonce="created").to_bytes())
    return store


def claimed(store: Store, said: list[str] | None = None) -> Attempt:
    """The run's next attempt; what it says goes into `said`."""
    say = said.append if said is not None else lambda text: None
    return Attempt.claim(store, "r", raise_attempt(store, "r"), say=say, sleep=lambda s: None)


def beaten(store: FileStore, run: str, attempt: int, heartbeat: Heartbeat, ago: float) -> None:
    """A heartbeat that was written so many seconds ago by the store's clock."""
    notes.write_heartbeat(store, run, attempt, heartbeat)
    at = store.now() - ago
    os.utime(store.root / layout.heartbeat_key(run, attempt), (at, at))


def head_of(store: Store) -> Head:
    """HEAD as it stands in the store."""
    found = store.read("r/HEAD")
    assert found is not None
    return Head.from_bytes(found.data)
