"""Leaves out of a watcher's rounds the runs for which nothing is left to do.

A store keeps the runs of months, and a round of a watcher looks at one run after another. A run
that has ended, and all of whose machines were seen to be gone, is told from three requests, many
runs at once, and while its HEAD does not change from one. Left out, too, is what was written under
the name of a removed run since then: a command that was under way may leave an order.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from launch.provision.order import Say
from launch.supervise.watcher import Seen
from mimir.runs import layout, tombstone
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
        say: is told once of each removed run under whose name something was written.

    over: the runs that had ended for good when `others` was called.
    """

    def __init__(
        self, store: Store, concerned: Callable[[str], bool], *, whole: bool = False,
        say: Say = lambda _: None,
    ) -> None:  # fmt: skip
        self._store, self._concerned, self._whole, self._say = store, concerned, whole, say
        self._told: set[str] = set()
        self._ended: dict[str, tuple[str, Status]] = {}
        self.over: list[Seen] = []

    def others(self) -> list[str]:
        """The names of the store's runs that a watcher is to look at."""
        names = [name for name in self._store.folders() if layout.is_run(name)]
        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            found = dict(zip(names, pool.map(self._look, names), strict=True))
        self.over = [each for each in found.values() if isinstance(each, Seen)]
        wanted = [name for name, each in found.items() if each is True]
        buried = set(tombstone.names(self._store)) if wanted else set[str]()
        return [name for name in wanted if name not in buried or not self._is_no_run(name)]

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

    def _is_no_run(self, run: str) -> bool:
        """Whether the run of this name was removed, and no machine is on record since then."""
        try:
            if self._store.read(layout.record_key(run)) is not None:
                return False
            removed = tombstone.find(self._store, run)
            there = set(self._store.list(f"{layout.launcher_folder(run)}/"))
        except Exception:  # noqa: BLE001 - its round says what is wrong with it
            return False
        if removed is None or removed.word != tombstone.OVER:
            return False
        for number in filter(None, (layout.parse_attempt(run, key) for key in there)):
            machine, gone = layout.machine_key(run, number), layout.gone_key(run, number)
            if machine in there and gone not in there:
                return False
        if run not in self._told:
            self._told.add(run)
            self._say(f"{removed.sentence}; what was written under its name since is left alone")
        return True

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
