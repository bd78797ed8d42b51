"""Words for people: the nearest known name, a duration, a size."""

import difflib
from collections.abc import Iterable

CUTOFF = 0.5
"""How alike two names must be for one to be offered in place of the other, 0 to 1."""


def near(word: str, known: Iterable[str]) -> list[str]:
    """At most three of the known names that are like the word, the likest first."""
    return difflib.get_close_matches(word, list(known), n=3, cutoff=CUTOFF)


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean 'x'?`, or the list of what is known when nothing is near.

    Args:
        word: what the user wrote.
        known: what could have been meant, in the order in which it is listed.
        prefix: stands before each name, such as "--".
    """
    names = list(known)
    close = near(word, names)
    if close:
        return f"; did you mean {prefix + close[0]!r}?"
    return f"; known are {', '.join(prefix + name for name in names)}" if names else ""


def duration(seconds: float) -> str:
    """A duration in its largest unit with one decimal: "1.5 h", "2.0 min", "0.3 s"."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{max(0.0, seconds):.1f} s"


def countdown(seconds: float) -> str:
    """A remaining time as H:MM:SS; "0:00:00" when it is over."""
    left = max(0, int(seconds))
    return f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"


def first_line(message: object) -> str:
    """The first line of an error or another text; "" if it has none."""
    return (str(message).splitlines() or [""])[0]


def size(count: float) -> str:
    """Bytes as megabytes with one decimal: "2.9 MB" (1 MB is 10**6 bytes)."""
    return f"{count / 1e6:.1f} MB"
