"""Whether the image of a machine that does not come up can be pulled, by its service's own log.

A service may say for ever that such a machine is being made.
"""

from collections.abc import Callable

from launch.contract import pull
from launch.contract.provider import Machine

PULLED_WITHIN = 120.0
"""Seconds from an order before its machine's log is read."""
PULL_LINES, PULL_EVERY = 20, 60.0
"""Lines of it, and seconds from one look to the next: a look may take half a minute."""


class Pulls:
    """What logs said last.

    Args:
        read: the last lines about a machine.
        clock: unix s, as Machine.started.
    """

    def __init__(
        self, read: Callable[[Machine, int], list[str]], clock: Callable[[], float]
    ) -> None:
        self._read, self._clock = read, clock
        self._seen: dict[str, tuple[float, str]] = {}

    def failure(self, machine: Machine) -> str:
        """Why the image cannot be pulled, in the service's words; "" for nothing known."""
        now = self._clock()
        if now - machine.started <= PULLED_WITHIN:
            return ""
        last, why = self._seen.get(machine.id, (float("-inf"), ""))
        if now - last >= PULL_EVERY:
            why = pull.failure(self._read(machine, PULL_LINES))
            self._seen[machine.id] = now, why
        return why
