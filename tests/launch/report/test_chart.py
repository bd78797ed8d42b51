"""Curves: what is drawn, and what is said of it to who cannot see it."""

import itertools
import math

import pytest

from launch.report.chart import MOST_POINTS, Line, Mark, chart, thinned


def test_a_line_is_drawn_within_its_frame_and_told_in_words() -> None:
    points = [(float(step), 9.0 if step < 50 else 3.0 - step / 1000) for step in range(1001)]
    found = chart("loss", [Line("training", points, "a")], [Mark("flat", 2.5, "m")], [500], 2000)
    assert found is not None
    assert found.told == (
        "training: from 9.0000 at step 0 to 2.0000 at step 1,000; flat: 2.5000; restarts at step "
        "500"
    )
    assert found.lines[0].path.count("L") < MOST_POINTS
    ((_, at),) = found.marks
    assert found.top < at < found.floor
    assert found.restarts == (pytest.approx(found.left + (found.right - found.left) / 4, abs=0.1),)
    assert [tick.text for tick in found.across] == ["0", "500", "1,000", "1,500", "2,000"]
    # The first losses, far above the rest, do not set the scale.
    assert all(float(tick.text) < 3.1 for tick in found.up)


@pytest.mark.parametrize("points", [
    [(0.0, 1.0)], [(5.0, 2.0), (10.0, 2.0)], [(1.0, -1e30), (2.0, 1e30)], [(3.0, 1e-30)],
    [(float(2**31), 0.0), (float(2**40), 1.0)], [(1.0, 2**53 + 1), (2.0, 2**53)],
    [(1.0, 5e-323)], [(1.0, 0.0), (2.0, 5e-323)], [(1.0, 3e38), (2.0, -3e38)],
])  # fmt: skip
def test_no_numbers_break_it(points: list[tuple[float, float]]) -> None:
    found = chart("x", [Line("x", points, "a", dots=True)])
    assert found is not None
    drawn = [place for line in found.lines for place in line.dots]
    assert all(math.isfinite(a) and math.isfinite(b) for a, b in drawn)
    assert len(found.up) <= 12


def test_ends_of_lines_do_not_cover_each_other() -> None:
    lines = [
        Line(f"run {n}", [(0.0, 9.0), (100.0, 1 + n / 1000)], f"r{n}", end=f"{n}")
        for n in range(1, 9)
    ]
    found = chart("x", [*lines, Line("short", [(0.0, 9.0), (10.0, 1.0)], "x", end="9")])
    assert found is not None
    *many, short = sorted(found.ends, key=lambda end: -end.x)
    heights = sorted(end.y for end in many)
    assert all(b - a >= 16.9 for a, b in itertools.pairwise(heights))
    assert found.top <= heights[0]
    assert heights[-1] <= found.floor + 5
    assert short.text == "9"
    assert found.right < found.width - 20


def test_nothing_to_draw() -> None:
    assert chart("x", [Line("x", [], "a")], [Mark("m", 1.0, "m")]) is None


def test_thinning_keeps_means_and_the_last_point() -> None:
    many = [(float(n), float(n % 2)) for n in range(10 * MOST_POINTS)]
    few = thinned(many)
    assert len(few) <= MOST_POINTS
    assert few[-1] == many[-1]
    assert {value for _, value in few[:-1]} == {0.5}
    assert thinned(many[:7]) == many[:7]


def test_a_line_of_one_point_is_seen() -> None:
    made = chart("loss", [Line("training", [(5, 2.0)], "a"), Line("", [(1, 1.0), (5, 2.0)], "b")])
    assert made is not None
    assert [len(line.dots) for line in made.lines] == [1, 0]
