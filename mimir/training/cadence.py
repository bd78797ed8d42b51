"""When the next checkpoint is due: by the clock, or at once where somebody asks for one.

It decides nothing but the moment. What a checkpoint holds is the state after a step, so that a
run ends in the same weights wherever its checkpoints fell.
"""

from collections.abc import Callable

from mimir.runs import notice as notices
from mimir.text import duration

REMEMBERED = 3
"""Commits whose slowest counts: a line that was slow once may be so again at the notice."""


class Cadence:
    """The moments of checkpoints.

    Args:
        chosen: seconds between periodic checkpoints, as the run's configuration has them.
        notice: seconds of notice before this machine is taken away, 0 if it gets none.
        say: told when the interval changes, and why.
    """

    def __init__(
        self, chosen: float, notice: float = 0.0, say: Callable[[str], None] = lambda line: None
    ) -> None:
        self._chosen, self._notice, self._say = chosen, notice, say
        self._commits: tuple[float, ...] = ()  # replaced as a whole: two threads look at it
        self._asked = False
        self._short = False

    @property
    def commit(self) -> float | None:
        """Seconds that the slowest of the last commits took; None before the first."""
        return max(self._commits, default=None)

    @property
    def interval(self) -> float:
        """Seconds between periodic checkpoints now."""
        return notices.interval(self._chosen, self._notice, self.commit)

    def ask(self) -> None:
        """Want a checkpoint at the next boundary. May be called by a signal's handler."""
        self._asked = True

    def due(self, passed: float) -> bool:
        """Whether one is due, so many seconds after the last one was taken."""
        return self._asked or passed >= self.interval

    def taken(self) -> None:
        """One was taken just now."""
        self._asked = False

    def took(self, seconds: float) -> None:
        """A commit took so long, from its encoding to HEAD. Called by the committer's thread."""
        self._commits = (*self._commits, seconds)[-REMEMBERED:]
        slowest = max(self._commits)
        short = self._notice > 0 and not notices.suffices(self._notice, slowest)
        if short != self._short:
            self._short = short
            self._say(self._sentence(slowest))

    def _sentence(self, slowest: float) -> str:
        told = f"the notice of {duration(self._notice)} before this machine is taken away"
        takes = f"a checkpoint takes {duration(slowest)} to the store"
        if not self._short:
            return f"{takes}, for which {told} suffices again: one every {duration(self.interval)}"
        every = f"one every {duration(self.interval)} from now on"
        if self.interval < self._chosen:
            every += f" instead of {duration(self._chosen)}"
        else:
            every = f"one every {duration(self._chosen)}, as before"
        return f"{takes}, for which {told} does not suffice: {every}"
