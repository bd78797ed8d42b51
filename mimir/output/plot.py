"""Draws the loss curve as a PNG."""

import io
from typing import Any

from mimir.data.baselines import Baseline
from mimir.runs import figures


def loss_curve(rows: list[dict[str, Any]], baseline: Baseline | None) -> bytes:
    """A PNG of training loss and held-out figures over the steps, with the data's baselines.

    Args:
        rows: metrics; those with `loss` are training, those with `val` validation.
        baseline: of the held-out background, if there is any.
    """
    # The object interface: no window system and no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    train = [(row["step"], row["loss"]) for row in rows if row.get("loss") is not None]
    if train:
        axes.plot(*zip(*train, strict=True), lw=0.8, color="#9ab", label="training (noisy masks)")
    for one in figures.FIGURES:
        points = [(row["step"], row[one.key]) for row in rows if row.get(one.key) is not None]
        if points:
            axes.plot(
                *zip(*points, strict=True), "o-", ms=3, lw=1.5, color=one.colour, label=one.label
            )
    if baseline is not None:
        axes.axhline(baseline.unigram, ls="--", lw=1, color="#555", label="composition entropy")
        axes.axhline(baseline.markov2, ls=":", lw=1, color="#555", label="order-2 Markov")
    axes.set_xlabel("step")
    axes.set_ylabel("NELBO, nats per residue")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_png(out)
    return out.getvalue()
