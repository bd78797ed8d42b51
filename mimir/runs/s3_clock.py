"""An S3 server's clock, by the Date of its answers (RFC 9110, 6.6.1).

Each answer bears one, a refusal too, so that mostly nobody has to ask for it.
"""

import contextlib
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

TOLD_FOR = 60.0
"""Seconds for which a Date is counted on from. By both clocks of this computer: one stands still
while it sleeps, the other may leap."""


class ServerClock:
    """Hears the answers of a server. Thread-safe."""

    def __init__(self) -> None:
        self._last: tuple[float, float, float] | None = None

    def now(self) -> float | None:
        """Unix s by the server's clock, to a second or so; None if no answer is young enough."""
        if self._last is None:
            return None
        date, heard, at = self._last
        passed = time.monotonic() - heard
        if passed >= TOLD_FOR or abs(time.time() - at) >= TOLD_FOR:
            return None
        return date + passed

    def hear(self, parsed: Mapping[str, Any], **_: Any) -> None:
        """Take an answer as botocore has parsed it; registered for its event after-call."""
        date = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        if not date.endswith(" GMT"):  # where an answer was cut off, 2026 may read 20
            return
        with contextlib.suppress(ValueError):
            self._last = (parsedate_to_datetime(date).timestamp(), time.monotonic(), time.time())
