"""Draws two distributions over each other as a small SVG, for the report."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mimir.text import as_html

WIDTH, HEIGHT = 220, 110
_LEFT, _BOTTOM, _TOP = 6, 18, 20
_BINS = 24


def svg(title: str, real: Sequence[float], samples: Sequence[float]) -> str:
    """Shares of each set by bins of equal width: `real` as grey bars, `samples` as a blue outline.

    Whole numbers get a bin each. There is at least one value of each.
    """
    values = np.array([*real, *samples], dtype=np.float64)
    edges = _edges(values)
    shares = [np.histogram(one, edges)[0] / len(one) for one in (real, samples)]
    top = max(float(share.max()) for share in shares) or 1.0
    step = (WIDTH - 2 * _LEFT) / (len(edges) - 1)
    floor = HEIGHT - _BOTTOM

    def height(share: float) -> float:
        return float(share) / top * (floor - _TOP)

    bars = "".join(
        f'<rect x="{_LEFT + at * step:.1f}" y="{floor - height(share):.1f}" width="{step:.1f}" '
        f'height="{height(share):.1f}"/>'
        for at, share in enumerate(shares[0])
        if share
    )
    line = f"M{_LEFT},{floor}" + "".join(
        f"V{floor - height(share):.1f}H{_LEFT + (at + 1) * step:.1f}"
        for at, share in enumerate(shares[1])
    )
    whole = edges[-1] - values.max() == 1  # a bin for each number, named by it
    ends = (f"{edges[0]:g}", f"{edges[-1] - whole:g}")
    return (
        f'<svg role="img" aria-label="{as_html(title)}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><text x="{_LEFT}" y="13">{as_html(title)}</text>'
        f'<g class="real">{bars}</g><path class="drawn" d="{line}V{floor}"/>'
        f'<text x="{_LEFT}" y="{HEIGHT - 4}">{ends[0]}</text>'
        f'<text x="{WIDTH - _LEFT}" y="{HEIGHT - 4}" text-anchor="end">{ends[1]}</text></svg>'
    )


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(values.min()), float(values.max())
    if (values == np.round(values)).all() and high - low < 2 * _BINS:
        return np.arange(low, high + 2, dtype=np.float64)
    width = (high - low) / _BINS or 1.0
    # Round numbers at the ends: of the two digits that tell them apart.
    unit = 10.0 ** math.floor(math.log10(width))
    width = math.ceil(width / unit) * unit
    first = math.floor(low / width)
    return width * np.arange(first, math.floor(high / width) + 2, dtype=np.float64)
