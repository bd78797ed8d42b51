"""Commits checkpoints in a background thread while training goes on.

One thread takes the newest snapshot, encodes it, uploads it and swaps HEAD. A store that
fails is tried again with growing pauses, also one that refuses the keys: fresh ones may be
put in place meanwhile. A newer snapshot replaces one that waits. What ends training (fenced,
non-finite, a store that stays away) is kept until `check` raises it.
"""

import functools
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from mimir.errors import Fenced, MimirError, NonFinite, StoreError
from mimir.runs.commit import Attempt
from mimir.runs.head import Kept
from mimir.text import duration, size
from mimir.training.checkpoint import Snapshot

T = TypeVar("T")

STORE_TIMEOUT = 1800.0
"""Seconds without a successful commit, while one waits, before training gives up."""
LONGEST_PAUSE = 60.0


class Committer:
    """Owns the attempt's commits.

    Args:
        attempt: claimed; only this thread swaps HEAD with it until `close`.
        say: told in one line what was committed and what failed.
        first: run before the first commit, and tried again like it: `attempt.inherit`.
        before: run before each commit, to send what must not be behind it; False: not sent.
        took: told the seconds of each commit, from its encoding to HEAD.
        timeout: seconds of failing before `check` raises.
    """

    def __init__(
        self,
        attempt: Attempt,
        say: Callable[[str], None],
        *,
        first: Callable[[], None] = lambda: None,
        before: Callable[[], bool] = lambda: True,
        took: Callable[[float], None] = lambda seconds: None,
        timeout: float = STORE_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
        pause: float = 1.0,
    ) -> None:
        self._attempt, self._say, self._clock = attempt, say, clock
        self._first, self._before, self._took = first, before, took
        self._timeout, self._pause = timeout, pause
        self._changed = threading.Condition()
        self._waiting: Snapshot | None = None
        self._busy = True  # with `first`
        self._closed = False
        self._fatal: BaseException | None = None
        self._failing: float | None = None  # since when, over replaced snapshots too
        self._thread = threading.Thread(target=self._work, name="committer", daemon=True)
        self._thread.start()

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way."""
        with self._changed:
            return self._waiting is None and not self._busy

    def put(self, snapshot: Snapshot) -> None:
        """Commit this when the thread is free; an older one that still waits is dropped."""
        with self._changed:
            self._waiting = snapshot
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        with self._changed:
            if self._fatal is not None:
                raise self._fatal

    def drain(self, seconds: float) -> bool:
        """Wait until all that was put is committed; False if that takes longer.

        Raises as `check` does.
        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._fatal is not None or (self._waiting is None and not self._busy),
                timeout=seconds,
            )
        self.check()
        return done

    def close(self, seconds: float = 60.0) -> None:
        """End the thread, once what was put is committed or `seconds` are over.

        Never raises: it runs where another error may be on its way already.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._fatal is not None or (self._waiting is None and not self._busy),
                timeout=seconds,
            )
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout=60)

    def _work(self) -> None:
        self._do(self._begin)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None or self._closed)
                if self._closed or self._fatal is not None:
                    return
                snapshot, self._waiting, self._busy = self._waiting, None, True
            assert snapshot is not None
            self._do(functools.partial(self._commit, snapshot))

    def _do(self, act: Callable[[], None]) -> None:
        """Run it; what it raises is for the training thread."""
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - handed to the training thread
            with self._changed:
                self._fatal = error
        with self._changed:
            self._busy = False
            self._changed.notify_all()

    def _begin(self) -> None:
        what = "what this attempt goes on from is not its own yet"
        self._insist(self._first, what, lambda: False)

    def _commit(self, snapshot: Snapshot) -> None:
        began = self._clock()
        content = snapshot.encode()
        snapshot.release()
        step = snapshot.record.step

        def commit() -> Kept:
            if not self._before():
                raise StoreError("the metrics before it could not be written")
            return self._attempt.commit(step, content, snapshot.record.selected)

        what = f"checkpoint of step {step} not committed yet"
        # A newer state makes this one useless.
        kept = self._insist(commit, what, lambda: self._waiting is not None)
        if kept is None:
            return
        seconds = self._clock() - began
        self._say(
            f"checkpoint of step {kept.step} committed: {size(kept.size)}, {duration(seconds)}"
        )
        self._took(seconds)

    def _insist(self, act: Callable[[], T], what: str, useless: Callable[[], bool]) -> T | None:
        """What `act` returns, tried again while the store fails; None once it is useless.

        what: said with each failure. useless: asked after a failure.
        """
        began, pause = self._clock(), self._pause
        while True:
            try:
                done = act()
                break
            except (Fenced, NonFinite):
                raise
            except StoreError as error:
                if self._failing is None:
                    self._failing = began
                if self._clock() - self._failing > self._timeout:
                    # Not as it came: that keys expired is no fault of the run's configuration.
                    raise StoreError(
                        f"no checkpoint could be committed for {self._timeout:.0f} s, the last "
                        f"one stands: {error}"
                    ) from error
                self._say(f"{what}: {error}")
                with self._changed:
                    if self._changed.wait_for(lambda: self._closed, timeout=pause):
                        raise MimirError("closed before the checkpoint was committed") from error
                    if useless():
                        return None
                pause = min(LONGEST_PAUSE, pause * 2)
        self._failing = None
        return done
