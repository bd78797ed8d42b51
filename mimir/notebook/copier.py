"""Copies the commits of a run to Google Drive while it trains."""

import threading
import time
from collections.abc import Callable

from mimir.errors import MimirError, sentence
from mimir.notebook.archive import Mark
from mimir.notebook.drive import Folder, Say
from mimir.runs.head import ENDED, Head, find_head
from mimir.runs.store import Store
from mimir.text import duration, one_line, size

COPY_POLL = 2.0
"""Seconds between looks for a new commit."""
AGAIN = 60.0
"""Seconds until a copy that failed is tried again; a newer commit is tried at once."""


class Copier:
    """Copies commits to Drive while a run trains, in a thread; closed by its `with`.

    A copy that fails is said and tried again, and training goes on. Commits that come while one is
    copied or on its way to Google wait, and only the newest of them is copied then: a large preset
    commits faster than Drive takes its files, and of files that wait in a queue none would be whole
    before it is old enough to be removed.

    Args:
        folder: where to.
        say: told the state of the copies in one line, each in place of the one before.
        clock: seconds.
    """

    def __init__(
        self, folder: Folder, store: Store, say: Say, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._store, self._say, self._clock = folder, store, say, clock
        self._copied: object = None
        self._failed: tuple[object, float] = (None, 0.0)
        self._newest: tuple[Mark, str] | None = None
        """What this session copied last, and how large it was and what it took."""
        self._before = folder.archives()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="drive", daemon=True)

    def __enter__(self) -> "Copier":
        self._folder.tidy()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        self._ended.set()
        if self._thread.ident is not None:  # of a run that is done nothing is left to follow
            self._thread.join()

    def finish(self) -> str:
        """Copy what is not there yet, once the run rests; a sentence on what Drive has then."""
        self._end()
        self._failed = (None, 0.0)
        self._look(last=True)
        head = self._head()
        if head is None:
            return f"Whether the last commit is on Drive is not known: {self._there()}"
        commit = _commit(head)
        if commit is None:
            return "There is no commit that could be copied to Drive"
        if self._copied == commit:
            return f"On Drive: {self._there()}"
        return (
            f"The last commit is NOT on Drive, only on this machine: {self._there()}. Free some "
            "space and press Run all, before this session ends"
        )

    def _there(self) -> str:
        """What Drive has, as far as this session knows."""
        if self._newest is None:
            if not self._before:
                return "nothing of this run is on Drive yet"
            step = self._before[0].step
            return (
                f"nothing of this session is there yet, the newest file there is of step {step:,}"
            )
        (mark, cost), left = self._newest, self._folder.on_its_way()
        when = f"in about {duration(left)}; keep this session until then" if left else "by now"
        return f"step {mark.step:,} is there ({cost}), and Google should have it {when}"

    def _work(self) -> None:
        while not self._ended.wait(COPY_POLL):
            self._look()

    def _head(self) -> Head | None:
        try:
            return find_head(self._store, self._folder.run)
        except MimirError:
            return None  # said by the worker, which cannot go on without it

    def _look(self, *, last: bool = False) -> None:
        """Copy the newest commit, if it is not there; not while a file is on its way, but for the
        `last` one: the session may end before its turn comes, but not before it is written."""
        head = self._head()
        commit, (failed, at) = _commit(head), self._failed
        waits = failed == commit and self._clock() < at + AGAIN
        if head is None or commit is None or waits:
            return
        if commit == self._copied or (self._folder.on_its_way() and not last):
            self._say(f"Drive: {self._there()}")
            return
        began = self._clock()
        self._say(f"Drive: copying a commit; {self._there()}")
        try:
            mark, count = self._folder.add(self._store)
        except Exception as error:  # noqa: BLE001 - said, and tried again: training goes on
            self._failed = (commit, self._clock())
            self._say(
                f"Drive: NOT copied: {one_line(sentence(error))}. Training goes on, and the copy "
                f"is tried again; {self._there()}"
            )
            return
        # HEAD may be newer by now: then this commit is looked at once more.
        self._copied = commit if mark.change == head.seq else None
        self._newest = mark, f"{size(count)}, written in {duration(self._clock() - began)}"
        self._say(f"Drive: {self._there()}")


def _commit(head: Head | None) -> tuple[object, ...] | None:
    """What of HEAD is worth a copy: another one for each commit, and for the end of the run."""
    kept = head.newest() if head else None
    if head is None or kept is None:
        return None
    return kept.step, kept.key, head.state if head.state in ENDED else "", head.model
