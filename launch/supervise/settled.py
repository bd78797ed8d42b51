"""Leaves out of a watcher's rounds the runs for which nothing is left to do.

A store keeps the runs of months, and a round of a watcher looks at one run after another. A run
that has ended, and all of whose machines were seen to be gone, is told from three requests, many
runs at once, and while its HEAD does not change from one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from launch.supervise.watcher import Seen
from mimir.runs import layout
from mimir.runs.listing import ended_for_good
from mimir.runs.status import Status, derive
from mimir.runs.store import Store

AT_ONCE = 32
"""Runs that are looked at at once."""


class Settled:
    """Remembers from round to round what has ended for good.

    Args:
        concerned: whether a watcher looks after the run, as Watcher.concerned.
        whole: whether all attempts of such a run are read, for who tells how it ended.

    over: the runs that had ended for good when `others` was called.
    """

    def __init__(
        self, store: Store, concerned: Callable[[str], bool], *, whole: bool = False
    ) -> None:
        self._store, self._concerned, self._whole = store, concerned, whole
        self._ended: dict[str, tuple[str, Status]] = {}
        self.over: list[Seen] = []

    def others(self) -> list[str]:
        """The names of the store's runs that a watcher is to look at."""
        names = [name for name in self._store.folders() if layout.is_run(name)]
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            found = dict(zip(names, pool.map(self._look, names), strict=True))
        self.over = [each for each in found.values() if isinstance(each, Seen)]
        return [name for name, each in found.items() if each is True]

    def _look(self, run: str) -> Seen | bool:
        """What is seen of a run that ended for good, else whether it is to be looked at."""
        try:
            status = self._remembered(run)
            if status is None:
                if not self._concerned(run):
                    return False
                status = self._ended_now(run)
        except Exception:  # noqa: BLE001 - its round says what is wrong with it
            return True
        if status is None:
            return True
        why = f": {status.reason}" if status.reason else ""
        return Seen(run, status, True, False, f"run {run} is {status.state}{why}")

    def _remembered(self, run: str) -> Status | None:
        if run not in self._ended:
            return None
        version, status = self._ended[run]
        return status if self._version(run) == version else None

    def _ended_now(self, run: str) -> Status | None:
        # Before the rest is read: if HEAD changes meanwhile, the next round looks again.
        version = self._version(run)
        now = self._store.now()
        status = ended_for_good(self._store, run, now)
        if status is not None:
            status = derive(self._store, run, now) if self._whole else status
            self._ended[run] = (version, status)
        return status

    def _version(self, run: str) -> str:
        found = self._store.read(layout.head_key(run))
        return found.version if found else ""
