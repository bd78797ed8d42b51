"""A run's log as it grows, from one attempt to the next, until the run has ended."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from launch.provision import liveness, starting
from mimir.errors import StoreDenied, StoreError, StoreUnfit
from mimir.runs import notes
from mimir.runs.head import ENDED
from mimir.runs.parts import read_parts
from mimir.runs.status import SILENT_AFTER, Status, derive, head_or_remembered, seal_if_done
from mimir.runs.store import Store

LOG_POLL = 1.0
"""Seconds between looks at the log."""
ASK = 5.0
"""Seconds between looks at heartbeat and machine."""
START_EVERY = 30.0
"""Seconds between looks at what a service says of a machine that has printed nothing yet."""
KEEP = 15.0
"""Seconds between rounds of a watcher."""
LOG_TAIL_WITHIN = 15.0
"""Seconds that the worker of a run which has ended gets for its last lines."""


@dataclass(frozen=True)
class Followed:
    """The run's status at the end. vanished: its machine is gone without a word."""

    status: Status
    vanished: bool


class Follower:
    """Follows a run.

    Args:
        store, run, attempt: where to begin.
        out: takes the log's text.
        say: takes sentences about the following itself.
        keep: keeps the run alive (watcher); whether the run is over. Without it the
            following ends with the attempt.
        after: the part of the log up to which it was printed already.
        clock: seconds that go on whatever the time is set to.
    """

    def __init__(
        self,
        store: Store,
        run: str,
        attempt: int,
        *,
        out: Callable[[str], None],
        say: Callable[[str], None],
        keep: Callable[[], bool] | None = None,
        after: int = 0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._run, self._attempt = store, run, attempt
        self._out, self._say, self._sleep, self._clock = out, say, sleep, clock
        self._keep = keep
        self._kept = float("-inf")
        self._part = after
        self._asked = float("-inf")
        self._ended_at = float("inf")
        self._watched = liveness.Watched(clock)
        self._silent = False
        self._away = False
        self._start_looked = clock()
        self._start_told: set[str] = set()

    def follow(self) -> Followed:
        """Follow until the run has ended, or cannot go on without a new attempt.

        A store that does not answer is asked again until it does.
        """
        while True:
            try:
                end = self._look() if self._keep is None else self._look_and_keep()
                # The next attempt may have been ordered since the round looked at HEAD.
                if end and not self._ordered_since():
                    status = derive(self._store, self._run, self._store.now())
                    seal_if_done(self._store, status, status.at)
                    return Followed(status, vanished=end == "vanished")
                self._away = False
            except (StoreDenied, StoreUnfit):
                raise
            except StoreError as error:
                if not self._away:
                    self._say(f"the store does not answer, trying again: {error}")
                self._away = True
            self._sleep(LOG_POLL)

    def _look_and_keep(self) -> str:
        assert self._keep is not None
        over = False
        if self._clock() - self._kept >= KEEP:
            over = self._keep()
            self._kept = self._clock()
        self._look()  # after the watcher said that it is over: what was written last
        return "ended" if over else ""

    def _look(self) -> str:
        """One round; "" to go on, else "ended" or "vanished"."""
        # What is read first was written last: a machine that is gone wrote its outcome before,
        # and the outcome comes after the last part of the log.
        gone = self._gone()
        outcome = notes.unless_damaged(notes.read_outcome, self._store, self._run, self._attempt)
        head, _ = head_or_remembered(self._store, self._run)  # what is wrong with it, `watch` says
        for number, text in read_parts(self._store, self._run, self._attempt, "log", self._part):
            self._out(text)
            self._part = number
        if self._ordered_since(head.attempt):
            self._attempt, self._part, self._silent = self._attempt + 1, 0, False
            self._say(f"attempt {self._attempt} goes on")
            return ""
        if outcome is not None:
            return "ended"
        if head.state in ENDED:
            self._ended_at = min(self._ended_at, self._clock())
            return "ended" if gone or self._clock() - self._ended_at > LOG_TAIL_WITHIN else ""
        return "vanished" if gone else ""

    def _ordered_since(self, newest: int | None = None) -> bool:
        """Whether there is an attempt after the one that is followed.

        newest: by HEAD (default: as it is now). A machine may write any number there: what
            follows is what was ordered.
        """
        following = self._attempt + 1
        if newest is None:
            newest = head_or_remembered(self._store, self._run)[0].attempt
        if newest < following:
            return False
        return notes.read_order(self._store, self._run, following) is not None

    def _gone(self) -> bool:
        """Whether the machine is known to be gone; every few seconds, else False."""
        if self._clock() - self._asked < ASK:
            return False
        self._asked = self._clock()
        machine = notes.read_machine(self._store, self._run, self._attempt)
        if liveness.alive(machine) is False:
            return True
        self._listen()
        self._tell_start()
        return False

    def _tell_start(self) -> None:
        """What is new in the service's words about a machine that does not come up."""
        if self._part or self._clock() - self._start_looked < START_EVERY:
            return
        self._start_looked = self._clock()
        status = derive(self._store, self._run, self._store.now())
        if status.attempt == self._attempt:
            lines = [each for each in starting.seen(status) if each not in self._start_told]
            self._start_told.update(lines)
            for line in lines:
                self._say(line)

    def _listen(self) -> None:
        """Say it once if the heartbeat does not change any more."""
        sign = notes.unless_damaged(notes.read_sign, self._store, self._run, self._attempt)
        if sign is None:
            return
        age = self._watched.unchanged(self._run, self._attempt, sign.beat)
        silent = age > SILENT_AFTER * sign.heartbeat.interval_s
        if silent and not self._silent:
            self._say(
                f"attempt {self._attempt} has given no sign for {age:.0f} s; "
                "if its machine is gone, resume the run"
            )
        self._silent = silent
