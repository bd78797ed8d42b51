"""Words for people: the nearest known name, a duration, a size, and text that is safe to show."""

import difflib
import html
import re
import time
from collections.abc import Iterable

from mimir.errors import BadInput

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed: ESC moves the cursor, CSI too
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f"  # order of writing, line separators
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2060-\u2065\u3164"  # no width
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
    "\ud800-\udfff]"  # halves of a character, which no encoding has
)
"""What changes how other text looks, or cannot be seen itself (Unicode 15: Cc, Zl, Zp, Cs, the
bidirectional controls, Default_Ignorable_Code_Point)."""

CUTOFF = 0.5
"""How alike two names must be for one to be offered in place of the other, 0 to 1."""
NEAR = 0.65
"""The same where all names can be listed instead."""
VERY_NEAR = {"submit": 0.8}
"""The same for names that begin something which costs money."""


def near(word: str, known: Iterable[str], cutoff: float = CUTOFF) -> list[str]:
    """At most three of the known names that are like the word, the likest first."""
    return difflib.get_close_matches(word, list(known), n=3, cutoff=cutoff)


def all_of(known: Iterable[str]) -> str:
    """What is known, as the end of a sentence, where no guess may be made."""
    return f"; known are {', '.join(known)}"


NEVER_MEANT = frozenset(
    ("stop", "resume", "reap", "rm", "prune", "remove", "take-over", "yes", "static-keys")
)
"""Names that end, delete, pay for or hand out something: nobody who wrote another word is told
that one of them was meant."""


def meant(word: str, known: Iterable[str]) -> str:
    """The known name that was meant, if one is near and may be guessed; else ""."""
    close = near(word, known, NEAR)[:1]
    # Where one of those is the nearest, the next one is not what was meant.
    if close and close[0] not in NEVER_MEANT and near(word, close, VERY_NEAR.get(close[0], NEAR)):
        return close[0]
    return ""


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """`; did you mean 'x'?`, or the list of what is known when nothing is near.

    Args:
        word: what the user wrote.
        known: what could have been meant, in the order in which it is listed.
        prefix: stands before each name, such as "--".
    """
    names = list(known)
    if name := meant(word, names):
        return f"; did you mean {prefix + name!r}?"
    return f"; known are {', '.join(prefix + name for name in names)}" if names else ""


def alternatives(words: Iterable[str]) -> str:
    """ "A", "A or B", "A, B or C"."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def duration(seconds: float) -> str:
    """A duration in its largest unit, in two digits or more: "3.2 d", "1.5 h", "45 min", "0.3 s".

    Days from 48 hours on.
    """
    for each, unit, least in ((86400, "d", 2 * 86400), (3600, "h", 3600), (60, "min", 60)):
        if seconds >= least:
            return f"{_two_digits(seconds / each)} {unit}"
    return f"{_two_digits(max(0.0, seconds))} s"


def _two_digits(number: float) -> str:
    return f"{number:.1f}" if number < 9.95 else f"{number:.0f}"


def moment(seconds: float) -> str:
    """A unix time as "2026-11-28 09:05 UTC"; one that no calendar holds as it is."""
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s after 1970"


_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(rf"([0-9]{{1,9}}(?:\.[0-9]{{1,6}})?) ?({'|'.join(_UNITS)})(?![a-z])")
_SPANS = re.compile(rf"(?:{_SPAN.pattern} ?)+")


def seconds_in(words: str, option: str, bare: str = "") -> float:
    """The seconds of a duration such as "90s", "30 min", "1h30m", "2d" or "8w". BadInput, naming
    the option, for anything else.

    bare: the unit that a number alone has there, such as "hours", for the sentence.
    """
    spans = _SPAN.findall(words.strip().lower())
    sizes = [_UNITS[unit] for _, unit in spans]
    whole = _SPANS.fullmatch(words.strip().lower())
    if whole is None or sizes != sorted(set(sizes), reverse=True):
        or_bare = f"a number of {bare}, or " if bare else ""
        raise BadInput(
            f"{option} is {words[:40]!r}, but must be {or_bare}a duration such as 90s, 30m, 1.5h, "
            "1h30m, 30d or 2w"
        )
    return sum(float(number) * size for (number, _), size in zip(spans, sizes, strict=True))


def countdown(seconds: float) -> str:
    """A remaining time as H:MM:SS; "0:00:00" when it is over."""
    left = max(0, int(seconds))
    return f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"


def first_line(message: object) -> str:
    """The first line of an error or another text; "" if it has none."""
    return (str(message).splitlines() or [""])[0]


def visible(text: str) -> str:
    """The text with control, bidirectional and zero-width characters written as \\u001b and such.

    Line feeds and tabs stay. What a terminal would obey, or hide, is seen instead; a JSON string
    stays one of the same meaning.
    """
    return _UNSEEN.sub(_escaped, text)


def one_line(text: object) -> str:
    """As `visible`, with line feeds and tabs written as well: a value that stands in a line."""
    return visible(str(text)).replace("\n", "\\n").replace("\t", "\\t")


def clipped(text: str, most: int) -> str:
    """The text in at most so many characters; the last one says if something is left out."""
    return text if len(text) <= most else text[: most - 1] + "…"


def as_html(text: object) -> str:
    """As `visible`, as the content of an HTML element or of a quoted attribute."""
    return html.escape(visible(str(text)))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def size(count: float) -> str:
    """Bytes as megabytes with one decimal: "2.9 MB" (1 MB is 10**6 bytes)."""
    return f"{count / 1e6:.1f} MB"
