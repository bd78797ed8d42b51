"""Watches runs for a person: looks at each in turn, and never asks the store for much.

Nothing is ended, ordered or written: that is the watcher's.
"""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, cast

from launch.ui.live import LiveScreen, lines_of
from mimir.errors import BadInput, Corrupt, StoreDenied, StoreError, StoreUnfit
from mimir.runs import tombstone
from mimir.runs.figures import RANKING
from mimir.runs.head import ENDED
from mimir.runs.parts import recent_metrics
from mimir.runs.status import Status, derive, read_head
from mimir.runs.store import Store

MOST_REQUESTS = 1.5
"""Requests a second, on average: after each look as long is waited as its requests may take."""
LOOK_EVERY = 2.0
"""Seconds between two looks at least: a heartbeat comes each five."""
SEEN = 200
"""Figures of a run that are remembered."""
PARTS = 12
"""Parts of a run's metrics that are read when it is first seen: a request each."""
_REQUESTS = frozenset(("read", "get", "list", "folders", "put", "put_if_absent",
                       "compare_and_swap", "put_content", "delete", "now"))  # fmt: skip


class Counted:
    """A store that counts what it is asked."""

    def __init__(self, store: Store) -> None:
        self._store, self.requests = store, 0

    def __getattr__(self, name: str) -> Any:
        self.requests += name in _REQUESTS
        return getattr(self._store, name)


class LiveView:
    """Shows runs until all have ended.

    Args:
        names: of the runs.
        clock: seconds that go on whatever the time is set to.
    """

    def __init__(
        self, store: Store, names: Sequence[str], screen: LiveScreen, *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._counted, self._names, self._screen = Counted(store), names, screen
        self._store = cast(Store, self._counted)
        self._sleep, self._clock = sleep, clock
        self._known: dict[str, Status] = {}
        self._losses: dict[str, list[float]] = defaultdict(list)
        self._held_out: dict[str, list[float]] = defaultdict(list)
        self._away = ""

    def watch(self) -> list[Status]:
        """Look until all runs have ended; how they stand then.

        Raises:
            BadInput: there is no such run, or it was removed.
            StoreDenied, StoreUnfit: asking again is useless. Any other failure of the store is
                shown, and the store asked again.
        """
        while True:
            for name in self._names:
                known = self._known.get(name)
                if known is not None and known.state in ENDED:
                    continue
                pause = self._look(name)
                if len(self._known) == len(self._names) and all(
                    status.state in ENDED for status in self._known.values()
                ):
                    return [self._known[name] for name in self._names]
                self._sleep(pause)

    def _look(self, name: str) -> float:
        """Look at one run and show all; the seconds until the next look, by the requests."""
        before = self._counted.requests
        try:
            status = derive(self._store, name, self._store.now())
            self._note(name, status)
            self._away = ""
        except (StoreDenied, StoreUnfit):
            raise
        except StoreError as error:
            self._is_away(f"the store does not answer: {error}")
        except BadInput as error:
            # A folder that is not mounted now looks as if nothing had ever been in it.
            if name not in self._known or tombstone.find(self._store, name) is not None:
                raise
            self._is_away(f"{error}; is its store mounted?")
        self._screen.show(self._lines())
        return max(LOOK_EVERY, (self._counted.requests - before) / MOST_REQUESTS)

    def _is_away(self, why: str) -> None:
        self._away = self._away or f"since {time.strftime('%H:%M:%S')} {why}"

    def _note(self, name: str, status: Status) -> None:
        before = self._known.get(name)
        if before is None:
            with contextlib.suppress(Corrupt):  # which the status tells
                self._begin_with_the_past(name)
        if status.loss is not None and (before is None or status.beat != before.beat):
            self._losses[name] = [*self._losses[name], status.loss][-SEEN:]
        if status.val is not None and (before is None or status.val != before.val):
            self._held_out[name] = [*self._held_out[name], status.val][-SEEN:]
        self._known[name] = status

    def _begin_with_the_past(self, name: str) -> None:
        """Of what the run measured before somebody looked, the last."""
        head = read_head(self._store, name)
        rows = recent_metrics(self._store, name, head, PARTS)
        for column, seen in (("loss", self._losses), (RANKING, self._held_out)):
            seen[name] = [row[column] for row in rows if row.get(column) is not None][-SEEN:]

    def _lines(self) -> list[str]:
        lines = [self._away] if self._away else []
        for name, status in self._known.items():
            lines += lines_of(status, self._losses[name], self._held_out[name])
        return lines
