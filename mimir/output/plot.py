"""Draws a run's curves as a PNG, in the colours and lines of the report."""

import io
import math
from collections.abc import Sequence
from typing import Any

from mimir.data.baselines import Baselines
from mimir.output import palette
from mimir.runs import figures

WARM_UP = 0.1
"""Share of the steps that the scale leaves out: the first losses are far above the others."""
INK = palette.LIGHT

Points = list[tuple[int, float]]


def loss_curve(
    rows: Sequence[dict[str, Any]], baselines: Baselines | None, restarts: Sequence[int] = ()
) -> bytes:
    """A PNG of training loss and held-out figures over the steps, with the data's baselines.

    Args:
        rows: metrics; those with `loss` are training, those with `val` validation.
        baselines: of the data, if they are known.
        restarts: steps from which later attempts went on.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    out = io.BytesIO()
    FigureCanvasAgg(drawn(rows, baselines, restarts)).print_png(out)
    return out.getvalue()


def drawn(
    rows: Sequence[dict[str, Any]], baselines: Baselines | None, restarts: Sequence[int] = ()
) -> Any:
    """As `loss_curve`, as matplotlib's Figure: one drawing for the loss and each kind of figure."""
    # The object interface: no window system and no global state.
    from matplotlib.figure import Figure

    trained = [("training", _points(rows, "loss"), palette.TRAINING)]
    panels: list[tuple[str, list[tuple[str, Points, str]], list[tuple[str, float]]]]
    panels = [(figures.LOSS, trained, [])]
    for kind, title in figures.GROUPS:
        shown = [each for each in figures.FIGURES if each.baseline == kind]
        lines = [
            (each.label, _points(rows, each.key), look)
            for each, look in zip(shown, palette.HELD_OUT, strict=False)
        ]
        panels.append((title, lines, _marks(baselines, shown[0])))
    panels = [panel for panel in panels if any(points for _, points, _ in panel[1])] or panels[:1]
    wide = min(2, len(panels))
    high = math.ceil(len(panels) / wide)
    size = (4.6 * wide + (wide == 1) * 3, 3.1 * high)
    figure = Figure(figsize=size, dpi=110, layout="constrained", facecolor=INK["page"])
    last = max([1, *(row["step"] for row in rows)])
    for number, (title, lines, marks) in enumerate(panels, start=1):
        axes = figure.add_subplot(high, wide, number)
        _draw(axes, [line for line in lines if line[1]], marks, [s for s in restarts if s <= last])
        axes.set_title(title, fontsize=9, loc="left", color=INK["text"])
        axes.set_xlim(0, last)
    return figure


def _draw(
    axes: Any, lines: list[tuple[str, Points, str]], marks: list[tuple[str, float]],
    restarts: Sequence[int],
) -> None:  # fmt: skip
    for step in restarts:
        axes.axvline(step, color=INK["again"], lw=1, ls=(0, (2, 4)))
    for label, points, look in lines:
        marker = "" if look == palette.TRAINING else "o"
        axes.plot(
            *zip(*points, strict=True), marker=marker, ms=3, lw=1.5, label=label, **_line(look)
        )
    for (label, value), look in zip(marks, palette.BASELINES, strict=False):
        axes.axhline(value, lw=1, label=label, **_line(look))
    if lines:
        axes.set_ylim(*_range([points for _, points, _ in lines], [value for _, value in marks]))
        axes.legend(fontsize=7, frameon=False, labelcolor=INK["soft"])
    axes.set_xlabel("step", fontsize=8, color=INK["soft"])
    axes.set_ylabel("nats per residue", fontsize=8, color=INK["soft"])
    axes.tick_params(labelsize=8, colors=INK["soft"])
    axes.grid(color=INK["line"], lw=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK["line"])


def _line(look: str) -> dict[str, Any]:
    colour, dashes = palette.LOOKS[look]
    return {"color": INK[colour], "ls": (0, dashes) if dashes else "-"}


def _points(rows: Sequence[dict[str, Any]], key: str) -> Points:
    return [(row["step"], row[key]) for row in rows if row.get(key) is not None]


def _marks(baselines: Baselines | None, figure: figures.Figure) -> list[tuple[str, float]]:
    mark = baselines.of(figure) if baselines else None
    if mark is None:
        return []
    found = [("composition entropy", mark.unigram), ("order-2 Markov", mark.markov2)]
    if mark.closed_form is not None:
        found.append(("closed form of the targets", mark.closed_form))
    return found


def _range(lines: list[Points], marks: list[float]) -> tuple[float, float]:
    """The values after the warm-up, and the baselines."""
    last = max(step for points in lines for step, _ in points)
    found = [value for points in lines for step, value in points if step >= WARM_UP * last]
    low, high = min([*found, *marks]), max([*found, *marks])
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room
