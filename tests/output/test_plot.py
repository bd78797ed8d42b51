"""The picture of the curves: what is drawn, how, and on which scale."""

from typing import Any

import pytest

from mimir.data.baselines import Baseline, Baselines
from mimir.output import palette, plot
from mimir.runs import figures


def baseline(unigram: float, markov2: float, form: float | None = None) -> Baseline:
    return Baseline(2.996, unigram, markov2, 100, form)


BASELINES = Baselines(baseline(2.9, 2.7), baseline(2.8, 2.6, 2.5), None)
ROWS = [
    {"step": 0, "loss": 900.0},
    {"step": 100, "loss": 3.0, "val": 2.95, "val_pairs": 2.9, "val_pairs_shuffled": 2.92},
    {"step": 200, "loss": 2.8, "val": 2.85, "val_pairs": None},
]


def axes_of(**more: Any) -> dict[str, Any]:
    figure = plot.drawn(more.pop("rows", ROWS), more.pop("baselines", BASELINES), **more)
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def test_each_kind_of_figure_has_its_own_drawing() -> None:
    drawn = axes_of()
    assert list(drawn) == [
        "Training loss (noisy masks)", "Held-out background", "Held-out pairs of unseen targets",
    ]  # fmt: skip
    shown = [line.get_label() for line in drawn["Held-out pairs of unseen targets"].lines]
    assert shown == [
        "held-out pairs of unseen targets", "held-out unseen, shuffled targets",
        "composition entropy", "order-2 Markov", "closed form of the targets",
    ]  # fmt: skip


def test_colours_and_lines_are_the_reports() -> None:
    lines = axes_of()["Held-out pairs of unseen targets"].lines
    looks = [palette.LOOKS[name][0] for name in "bcmno"]
    assert [line.get_color() for line in lines] == [palette.LIGHT[name] for name in looks]
    assert not lines[0].is_dashed()
    assert all(line.is_dashed() for line in lines[1:])


def test_the_scale_leaves_out_the_warm_up() -> None:
    low, high = axes_of()["Training loss (noisy masks)"].get_ylim()
    assert 2.7 < low < 2.8 < 3.0 < high < 3.1


def test_restarts_are_marked() -> None:
    plain, marked = axes_of(), axes_of(restarts=[100, 900])
    for title, axes in marked.items():
        assert len(axes.lines) == len(plain[title].lines) + 1
        assert list(axes.lines[0].get_xdata()) == [100, 100]


@pytest.mark.parametrize("rows", [[], [{"step": 5}], [{"step": 0, "loss": 2.0}], ROWS])
def test_a_picture_comes_of_whatever_is_there(rows: list[dict[str, Any]]) -> None:
    assert plot.loss_curve(rows, None).startswith(b"\x89PNG")


def test_there_is_a_look_for_each_figure() -> None:
    for kind, _ in figures.GROUPS:
        shown = [each for each in figures.FIGURES if each.baseline == kind]
        assert 0 < len(shown) <= len(palette.HELD_OUT)
    assert {each.baseline for each in figures.FIGURES} == {kind for kind, _ in figures.GROUPS}
