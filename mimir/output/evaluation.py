"""All held-out figures of a model, for `python -m mimir evaluate`."""

from dataclasses import asdict
from typing import Any

import torch

from mimir.data.pack import Peptides
from mimir.model.objective import evaluate
from mimir.output.export import known_in
from mimir.output.model_file import Opened
from mimir.output.sampling import Draw, Quality, sample
from mimir.training.validation import Validation, per_residue


def measure(opened: Opened, peptides: Peptides, repeats: int, samples: int) -> dict[str, Any]:
    """NELBO of every held-out peptide, in nats per residue, and the quality of samples.

    Pairs are measured with their own targets and with shuffled ones.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = opened.model.to(device)
    held = Validation(peptides, device, len(peptides))
    timesteps = opened.config.objective.timesteps
    rows = {}
    for name, shelf, mark in (
        ("background", held.background, peptides.yardsticks.background),
        ("pairs", held.pairs, peptides.yardsticks.pairs),
        ("pairs, shuffled targets", held.shuffled, peptides.yardsticks.pairs),
    ):
        nats = evaluate(model, shelf, timesteps, repeats=repeats) if len(shelf) else None
        rows[name] = {
            "model": None if nats is None else per_residue(nats, shelf),
            "composition": mark.unigram if mark else None,
            "markov2": mark.markov2 if mark else None,
            "peptides": len(shelf),
        }
    figures: dict[str, Any] = {"model": opened.source, "repeats": repeats, "nelbo": rows}
    if samples:
        lengths = opened.vocabulary["lengths"]
        label = 1 if any(lengths["interacting"]) else 0
        histogram = lengths["interacting" if label else "background"]
        drawn = sample(model, samples, Draw(label=label), histogram)
        found = Quality.of(drawn, known_in(peptides))
        figures["samples"] = {"drawn": len(drawn), **asdict(found)}
    return figures
