"""Measures all held-out figures of a model, for `python -m mimir evaluate`."""

from dataclasses import asdict
from typing import Any

import torch

from mimir.data.pack import Peptides
from mimir.output import target_gain
from mimir.output.model_file import Opened
from mimir.output.quality import Quality, known_in
from mimir.output.sampling import Draw, sample
from mimir.runs import figures
from mimir.training.figures import MEASURES, HeldOut

LEAST_REPEATS = 12
"""Passes with other masks below which no interval is given: the masks' own noise is not in it."""


def measure(opened: Opened, peptides: Peptides, repeats: int, samples: int) -> dict[str, Any]:
    """NELBO of every held-out peptide of the reported half, in nats per residue, what a target is
    worth (from LEAST_REPEATS on), and the quality of samples."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = opened.model.to(device)
    held = HeldOut.of(peptides, device, len(peptides), opened.config.objective)
    timesteps = opened.config.objective.timesteps
    rows = {}
    for figure in figures.FIGURES:
        found = MEASURES[figure.key](held, model, timesteps, repeats)
        mark = peptides.baselines.of(figure)
        rows[figure.name] = {
            "model": found.value,
            "composition": mark.unigram if mark else None,
            "markov2": mark.markov2 if mark else None,
            "peptides": found.peptides,
        }
    result: dict[str, Any] = {
        "model": opened.source, "half": "reported", "repeats": repeats, "nelbo": rows,
    }  # fmt: skip
    enough = repeats >= LEAST_REPEATS
    gain = target_gain.measure(held, model, timesteps, repeats) if enough else None
    result["target"] = None if gain is None else asdict(gain)
    if samples:
        lengths = opened.vocabulary.lengths
        label = 1 if any(lengths.interacting) else 0
        histogram = lengths.interacting if label else lengths.background
        drawn = sample(model, samples, Draw(label=label), histogram)
        quality = Quality.of(drawn, known_in(peptides))
        result["samples"] = {"drawn": len(drawn), **asdict(quality)}
    return result


def table(figures: dict[str, Any]) -> str:
    """What `measure` found, for people."""
    lines = [
        figures["model"],
        "of what is held out, the half that is reported; the other half selects the best weights",
    ]
    lines.append(
        f"{'nats per residue':<34}{'model':>9}{'composition':>13}{'order-2':>9}{'peptides':>10}"
    )
    for name, row in figures["nelbo"].items():
        marks = [row[key] for key in ("model", "composition", "markov2")]
        shown = [f"{mark:.4f}" if mark is not None else "–" for mark in marks]
        lines.append(f"{name:<34}{shown[0]:>9}{shown[1]:>13}{shown[2]:>9}{row['peptides']:>10,}")
    lines += _target_lines(figures["target"], figures["repeats"])
    if found := figures.get("samples"):
        lines.append(
            f"{found['drawn']} samples: {found['valid']:.1%} valid, {found['unique']:.1%} unique, "
            f"{found['novel']:.1%} not in the training data"
        )
    return "\n".join(lines)


def _target_lines(found: dict[str, Any] | None, repeats: int) -> list[str]:
    if repeats < LEAST_REPEATS:
        return [
            f"what a target is worth: not measured, its intervals need {LEAST_REPEATS} passes "
            f"with other masks at least (--repeats is {repeats})"
        ]
    if found is None:
        return ["what a target is worth: not measured, no pairs of two known targets are held out"]

    def interval(key: str, form: str) -> str:
        value, low, high = (found[key][name] for name in ("value", "low", "high"))
        return f"{value:{form}} ({low:{form}} to {high:{form}})"

    return [
        f"what a target is worth, over {found['pairs']:,} pairs of {found['targets']:,} known "
        "targets (in brackets: 95 % interval over targets)",
        f"  with none instead of its own       {interval('gain', '+.4f')} nats per residue",
        f"  with another's instead of its own  {interval('shuffled', '+.4f')} nats per residue",
        f"  own preferred to another's         {interval('choices', '.1%')}; by chance 50 %",
    ]
