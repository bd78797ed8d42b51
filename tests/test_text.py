import json
import sys
import unicodedata

import pytest

from mimir import text
from mimir.errors import BadInput


def test_near_offers_at_most_three_and_nothing_that_is_unlike() -> None:
    assert text.near("epoch", ["lr", "epochs", "batch"]) == ["epochs"]
    assert text.near("a1", ["a2", "a3", "a4", "a5"]) == ["a5", "a4", "a3"]
    assert text.near("zzzz", ["lr", "epochs"]) == []


def test_nearest_offers_one_or_lists_all() -> None:
    assert text.nearest("heet", ["heat", "time"], "--") == "; did you mean '--heat'?"
    assert text.nearest("zzzz", ["heat", "time"], "--") == "; known are --heat, --time"
    assert text.nearest("zzzz", []) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (0.26, "0.3 s"), (60, "1.0 min"), (3599, "60 min"), (5400, "1.5 h")],
)
def test_a_duration_is_told_in_its_largest_unit(seconds: float, words: str) -> None:
    assert text.duration(seconds) == words


@pytest.mark.parametrize(
    ("words", "seconds"),
    [("90s", 90), ("30m", 1800), ("30 min", 1800), ("30min", 1800), ("1.5h", 5400), ("2D", 172800),
     ("8w", 4838400), ("1h30m", 5400), ("1w2d", 777600),
     ("1m 30 s", 90), ("30m1h", None), ("1h30", None), ("1h 1h", None), ("5", None),
     ("-5m", None), ("1e9s", None), ("", None),
     ("9" * 10 + "s", None)],
)  # fmt: skip
def test_a_duration_is_read_with_its_unit(words: str, seconds: float | None) -> None:
    if seconds is not None:
        assert text.seconds_in(words, "--since") == seconds
        return
    with pytest.raises(BadInput, match=r"--since is .* but must be a duration such as 90s"):
        text.seconds_in(words, "--since")


def test_a_moment_is_told_in_utc() -> None:
    assert text.moment(1_800_000_000.0) == "2027-01-15 08:00 UTC"
    assert text.moment(1e300).endswith("s after 1970")


def test_a_countdown_does_not_go_below_zero() -> None:
    assert text.countdown(3723.9) == "1:02:03"
    assert text.countdown(-5) == "0:00:00"


def test_a_size_is_told_in_megabytes() -> None:
    assert text.size(2_940_000) == "2.9 MB"


def test_what_acts_or_hides_is_made_visible() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    bidirectional = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
    for char in every:
        acts = (
            unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs")
            or unicodedata.bidirectional(char) in bidirectional
            or char in "\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad"
        )
        if acts and char not in "\n\t":
            assert text.visible(char).isascii(), f"U+{ord(char):04X}"
        elif unicodedata.category(char)[0] in "LNPS" and not unicodedata.name(char, "").endswith(
            ("FILLER", "CHOSEONG", "JUNGSEONG")
        ):
            assert text.visible(char) == char, f"U+{ord(char):04X}"


def test_escapes_are_read_back_by_json_and_lines_stay_lines() -> None:
    raw = "a\x7fb\x9bc\u202ed é\t✓"
    assert json.loads(f'"{text.one_line(raw)}"') == raw
    assert text.visible("one\ntwo\t3\r\n") == "one\ntwo\t3\\u000d\n"
    assert text.one_line("one\n\x1b[2Jrun x is done") == "one\\n\\u001b[2Jrun x is done"
    assert text.as_html('<b a="\x1b">') == "&lt;b a=&quot;\\u001b&quot;&gt;"
