"""What an attempt's start took, part by part: on a rented machine it is paid for like training."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from mimir.text import duration

TOLD_FROM = 0.05
"""Seconds: shorter parts are not told."""


def process_age(stat: Path = Path("/proc/self/stat")) -> float:
    """Seconds since this process began; 0 where the system does not say.

    proc(5): the 22nd field is the start after the system's boot, in clock ticks.
    """
    try:
        ticks = int(stat.read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
    return max(0.0, age)


class StartTimes:
    """Takes the time of each part as it ends.

    Args:
        before: seconds of the first part, which has ended already: Python, and what it imports.
        clock: seconds.
    """

    def __init__(self, before: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._last = clock, clock()
        self._parts = [("Python and torch", before)]

    def ended(self, part: str) -> None:
        """The part that began when the one before ended is over."""
        now = self._clock()
        self._parts.append((part, now - self._last))
        self._last = now

    @property
    def words(self) -> str:
        """One line: the sum, and the parts in their order."""
        told = [f"{duration(s)} {part}" for part, s in self._parts if s >= TOLD_FROM]
        total = duration(sum(seconds for _, seconds in self._parts))
        return f"ready to train after {total}" + (f": {', '.join(told)}" if told else "")
