import pytest

from mimir import text


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


def test_a_countdown_does_not_go_below_zero() -> None:
    assert text.countdown(3723.9) == "1:02:03"
    assert text.countdown(-5) == "0:00:00"


def test_a_size_is_told_in_megabytes() -> None:
    assert text.size(2_940_000) == "2.9 MB"
