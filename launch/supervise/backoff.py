"""How long a watcher that stays waits before it asks again for what it may not have."""

from dataclasses import dataclass


@dataclass(frozen=True)
class _Refused:
    times: int
    until: float
    why: str


class Backoff:
    """Remembers, by run, that offers were refused to this watcher, and when to ask again.

    Each question takes requests of the store and of services, and a key that is missing here does
    not come by itself. Only orders wait: no machine is there of a run for which one is wanted.

    Args:
        first, longest: seconds after one refusal, and at most; each doubles the time.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._first, self._longest = first, longest
        self._refused: dict[str, _Refused] = {}

    def refused(self, run: str, why: str, now: float) -> None:
        """now: s of a clock that goes on whatever the time is set to."""
        before = self._refused.get(run)
        times = before.times + 1 if before else 1
        wait = min(self._longest, self._first * 2 ** min(times - 1, 30))
        self._refused[run] = _Refused(times, now + wait, why)

    def waits(self, run: str, now: float) -> tuple[float, str]:
        """Seconds until it may be asked again, and why it was refused; 0 and "" for at once."""
        known = self._refused.get(run)
        if known is None or known.until <= now:
            return 0.0, ""
        return known.until - now, known.why

    def forget(self, run: str) -> None:
        """It was not refused."""
        self._refused.pop(run, None)
