"""Whether a checkpoint fits into a cloud's notice, and how often one is taken where it does not."""

import pytest

from mimir.runs import notice


@pytest.mark.parametrize(
    ("chosen", "told", "commit", "expected"),
    [
        (120.0, 0.0, 500.0, 120.0),  # nobody tells before
        (120.0, 120.0, 110.0, 120.0), (120.0, 30.0, 20.0, 120.0),
        (600.0, 120.0, 111.0, 222.0), (120.0, 30.0, 28.0, 60.0),
        (600.0, 30.0, 200.0, 400.0),
        (30.0, 30.0, 28.0, 30.0),  # never longer than the user said
        (1800.0, 30.0, None, 60.0),  # nothing measured yet
    ],
)  # fmt: skip
def test_the_interval_is_shortened_where_the_notice_is_too_short(
    chosen: float, told: float, commit: float | None, expected: float
) -> None:
    assert notice.interval(chosen, told, commit) == expected
