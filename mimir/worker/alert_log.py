"""Keeps what a worker has to tell as events with levels, and writes them to the store."""

import threading
from collections.abc import Callable

from mimir.errors import StoreError
from mimir.runs import alerts, notes
from mimir.runs.alerts import Event
from mimir.runs.store import Store


class AlertLog:
    """The events of one attempt, which has one worker. Thread-safe.

    Args:
        now: unix s by the store's clock.
    """

    def __init__(self, store: Store, run: str, attempt: int, now: Callable[[], float]) -> None:
        self._store, self._run, self._attempt, self._now = store, run, attempt, now
        self._events: list[Event] = []
        self._adding, self._sending = threading.Lock(), threading.Lock()
        self._unsent, self._read = False, False

    def add(self, level: str, kind: str, text: str) -> None:
        """Take one event; it is written by the next `flush`. kind: one of alerts.WORKERS."""
        event = Event(max(0.0, self._now()), level, kind, alerts.shortened(text))
        with self._adding:
            self._events = [*self._events, event]
            self._unsent = True

    def flush(self) -> bool:
        """Write the events, if there are new ones; False if they must wait for the store."""
        with self._sending:
            with self._adding:
                if not self._unsent:
                    return True
                self._unsent = False
            try:
                if not self._read:  # what a worker that was killed has written of this attempt
                    old = notes.unless_damaged(
                        alerts.read_events, self._store, self._run, self._attempt
                    )
                    with self._adding:
                        self._events = [*(old or ()), *self._events]
                    self._read = True
                with self._adding:
                    self._events = self._events[-alerts.MOST :]
                    events = tuple(self._events)
                alerts.write_events(self._store, self._run, self._attempt, events)
            except StoreError:
                with self._adding:
                    self._unsent = True
                return False
            return True
