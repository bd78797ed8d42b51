"""Draws curves as SVG: lines over steps, baselines, and where attempts went on.

Nothing but numbers that were checked comes in, and names that Mimir gives. Colours are classes that
the page's style sheet sets, so that one drawing serves light, dark and paper.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

WIDTH, HEIGHT = 560, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 12, 12, 34
_RIGHT_OF_ENDS = 34
_END_WIDTH, _END_HEIGHT = 20, 17
"""Of what stands at a line's end, the number of a run, in the font of a phone."""
MOST_POINTS = 300
"""Of a line: more than a screen shows."""
WARM_UP = 0.1
"""Share of the steps that the scale of a curve leaves out: the first losses are far above it."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """name: in the legend, "" for a line that has no place there. look: its class in the style
    sheet. dots: each point is marked. end: stands at the line's end and in the legend, so that
    neither colour nor dashes are needed to tell lines apart."""

    name: str
    points: Points
    look: str
    dots: bool = False
    end: str = ""


@dataclass(frozen=True)
class Mark:
    """A horizontal line: a baseline."""

    name: str
    value: float
    look: str


@dataclass(frozen=True)
class Tick:
    """at: its place in the drawing."""

    at: float
    text: str


@dataclass(frozen=True)
class End:
    """What stands at the end of a line."""

    x: float
    y: float
    text: str
    look: str


@dataclass(frozen=True)
class Drawn:
    """A line as a path, with its marked points."""

    name: str
    look: str
    path: str
    dots: tuple[tuple[float, float], ...]
    end: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing for the template. told: what it shows, in words, for who cannot see it."""

    title: str
    told: str
    lines: tuple[Drawn, ...]
    marks: tuple[tuple[Mark, float], ...]
    restarts: tuple[float, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    ends: tuple[End, ...] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    floor: int = HEIGHT - _BOTTOM


def chart(
    title: str, lines: Sequence[Line], marks: Sequence[Mark] = (), restarts: Sequence[int] = (),
    last: int = 0,
) -> Chart | None:  # fmt: skip
    """The chart of these lines; None if none has a point.

    Args:
        restarts: steps. last: the step that the drawing reaches at least, so that several agree.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return None
    last = max([last, 1, *(math.ceil(step) for line in lines for step, _ in line.points)])
    low, high = _range(lines, marks, last)
    right = WIDTH - (_RIGHT_OF_ENDS if any(line.end for line in lines) else _RIGHT)

    def x(step: float) -> float:
        return round(_LEFT + (right - _LEFT) * min(1.0, step / last), 1)

    def y(value: float) -> float:
        share = (value - low) / (high - low)
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share, 1)

    drawn, ends = [], []
    for line in lines:
        places = [(x(step), y(value)) for step, value in thinned(line.points)]
        path = "M" + "L".join(f"{a},{b}" for a, b in places)
        dots = tuple(places) if line.dots or len(places) == 1 else ()  # one point makes no line
        drawn.append(Drawn(line.name, line.look, path, dots, line.end))
        if line.end:
            ends.append(End(places[-1][0] + 6, places[-1][1] + 4, line.end, line.look))
    return Chart(
        title, _told(lines, marks, restarts), tuple(drawn),
        tuple((mark, y(mark.value)) for mark in marks),
        tuple(x(step) for step in restarts if step <= last),
        tuple(Tick(x(at), f"{at:,.0f}") for at in _ticks(0.0, last, 5)),
        tuple(Tick(y(at), _number(at, high - low)) for at in _ticks(low, high, 5)),
        _apart(ends), right=right,
    )  # fmt: skip


def _apart(ends: Sequence[End]) -> tuple[End, ...]:
    """The ends, moved down or up where two would cover each other."""
    placed: list[End] = []
    lowest = HEIGHT - _BOTTOM + 4
    for end in sorted(ends, key=lambda end: end.y):
        above = [each.y for each in placed if abs(each.x - end.x) < _END_WIDTH]
        y = max([end.y, _TOP, *(other + _END_HEIGHT for other in above)])
        placed.append(replace(end, y=y))
    for at in reversed(range(len(placed))):
        end = placed[at]
        below = [each.y for each in placed[at + 1 :] if abs(each.x - end.x) < _END_WIDTH]
        placed[at] = replace(
            end, y=round(min([end.y, lowest, *(other - _END_HEIGHT for other in below)]), 1)
        )
    return tuple(placed)


def thinned(points: Points) -> list[tuple[float, float]]:
    """At most MOST_POINTS points: means of neighbours, but the last as it is."""
    size = math.ceil(len(points) / MOST_POINTS)
    if size <= 1:
        return list(points)
    found = [
        (part[-1][0], sum(value for _, value in part) / len(part))
        for at in range(0, len(points), size)
        for part in (points[at : at + size],)
    ]
    return [*found[:-1], points[-1]]


def _range(lines: Sequence[Line], marks: Sequence[Mark], last: int) -> tuple[float, float]:
    """The values that are shown: those after the warm-up, so that it does not flatten the rest."""
    values = [
        value for line in lines for step, value in thinned(line.points) if step >= WARM_UP * last
    ]
    values = values or [value for line in lines for _, value in line.points]
    values += [mark.value for mark in marks]
    # Whole numbers may be larger than a float holds exactly: their difference would be lost below.
    low, high = float(min(values)), float(max(values))
    # Never so little that it vanishes beside the values, or that a tick's unit would be zero.
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    room = max(room, 1e-6 * max(abs(low), abs(high)), 1e-9)
    return low - room, high + room


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high."""
    raw = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(raw))
    # By rounding even the last may be below.
    step = next((unit * n for n in (1, 2, 5) if unit * n >= raw), 10 * unit)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step) + 1)]


def _number(value: float, span: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(span)))
    return f"{value:.{min(6, digits)}f}" if abs(value) < 1e6 else f"{value:.2g}"


def _told(lines: Sequence[Line], marks: Sequence[Mark], restarts: Sequence[int]) -> str:
    parts = [
        f"{line.name}: from {line.points[0][1]:.4f} at step {line.points[0][0]:,.0f} to "
        f"{line.points[-1][1]:.4f} at step {line.points[-1][0]:,.0f}"
        for line in lines
        if line.name
    ]
    parts += [f"{mark.name}: {mark.value:.4f}" for mark in marks]
    if restarts:
        parts.append(f"restarts at step {', '.join(f'{step:,}' for step in restarts)}")
    return "; ".join(parts)
