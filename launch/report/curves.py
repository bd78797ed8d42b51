"""Curves: those of one run beside its baselines, and those of several runs over each other."""

from collections.abc import Sequence

from launch.report.chart import Chart, Line, Mark, chart
from launch.report.facts import Facts
from mimir.data.baselines import Baseline
from mimir.output import palette
from mimir.runs import figures

MOST_DRAWN = 8
"""Runs whose lines can be told apart: the style sheet has so many looks."""


def of_run(facts: Facts) -> list[Chart]:
    """Training loss, and each kind of held-out figures beside its baselines."""
    restarts = facts.restarts
    last = max((row["step"] for row in facts.rows), default=0)
    trained = [Line("training", _points(facts, "loss"), palette.TRAINING)]
    found = [chart(figures.LOSS, trained, (), restarts, last)]
    for kind, title in figures.GROUPS:
        shown = [each for each in figures.FIGURES if each.baseline == kind]
        lines = [
            Line(each.label, _points(facts, each.key), look, dots=True)
            for each, look in zip(shown, palette.HELD_OUT, strict=False)
        ]
        found.append(chart(title, lines, _marks(facts, shown), restarts, last))
    busy = [Line("GPU busy", _points(facts, "gpu_busy"), "a")]
    whole = [Mark("all of the time", 1.0, "m")]
    found.append(chart("GPU busy, share of the time", busy, whole, restarts, last))
    return [each for each in found if each is not None]


def overlaid(runs: Sequence[Facts], others: Sequence[Facts] = ()) -> list[Chart]:
    """Each curve of several runs in one drawing, numbered from 1 in their order.

    Args:
        runs: MOST_DRAWN at most. others: whose lines stand thin behind theirs, without a number.
    """
    last = max((row["step"] for each in (*runs, *others) for row in each.rows), default=0)
    baselines = same_data([*runs, *others])
    found = []
    for key, title, figure in (("loss", figures.LOSS, None), *_own()):
        behind = [line for each in others if (line := _points(each, key))]
        name = f"{len(behind)} other runs" if len(behind) > 1 else "another run"
        lines = [Line("" if at else name, points, "x") for at, points in enumerate(behind)]
        lines += [
            Line(each.record.name, _points(each, key), f"r{n}", figure is not None, str(n))
            for n, each in enumerate(runs, start=1)
        ]
        marks = _marks(runs[0], [figure]) if figure and baselines and runs else []
        found.append(chart(title, lines, marks, (), last))
    return [each for each in found if each is not None]


def same_data(runs: Sequence[Facts]) -> bool:
    """Whether their held-out figures are of the same peptides."""
    return len({each.record.data.sha256 if each.record.data else "" for each in runs}) <= 1


def baseline(facts: Facts, figure: figures.Figure) -> Baseline | None:
    """What stands beside a figure; None without data, or for one that has none."""
    return facts.peptides.baselines.of(figure) if facts.peptides is not None else None


def own_figures() -> list[figures.Figure]:
    """Those of peptides with what is true of them, and no other target or none."""
    return [each for each in figures.FIGURES if each.key == figures.RANKING or each.told]


def _own() -> list[tuple[str, str, figures.Figure]]:
    titles = dict(figures.GROUPS)
    return [(each.key, titles.get(each.baseline, each.label), each) for each in own_figures()]


def _points(facts: Facts, key: str) -> list[tuple[float, float]]:
    return [(row["step"], row[key]) for row in facts.rows if row.get(key) is not None]


def _marks(facts: Facts, shown: Sequence[figures.Figure]) -> list[Mark]:
    mark = baseline(facts, shown[0]) if shown else None
    if mark is None:
        return []
    found = [
        Mark("composition entropy", mark.unigram, "m"), Mark("order-2 Markov", mark.markov2, "n"),
    ]  # fmt: skip
    if mark.closed_form is not None:
        found.append(Mark("closed form of the targets", mark.closed_form, "o"))
    return found
