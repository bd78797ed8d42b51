"""Measures all held-out figures of a model, for `python -m mimir evaluate`."""

from dataclasses import asdict
from typing import Any

import torch

from mimir.data.pack import Peptides
from mimir.output.model_file import Opened
from mimir.output.quality import Quality, known_in
from mimir.output.sampling import Draw, sample
from mimir.runs import figures
from mimir.training.figures import MEASURES, HeldOut


def measure(opened: Opened, peptides: Peptides, repeats: int, samples: int) -> dict[str, Any]:
    """NELBO of every held-out peptide, in nats per residue, and the quality of samples.

    Pairs are measured with their own targets and with shuffled ones.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = opened.model.to(device)
    held = HeldOut.of(peptides, device, len(peptides))
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
    result: dict[str, Any] = {"model": opened.source, "repeats": repeats, "nelbo": rows}
    if samples:
        lengths = opened.vocabulary.lengths
        label = 1 if any(lengths.interacting) else 0
        histogram = lengths.interacting if label else lengths.background
        drawn = sample(model, samples, Draw(label=label), histogram)
        quality = Quality.of(drawn, known_in(peptides))
        result["samples"] = {"drawn": len(drawn), **asdict(quality)}
    return result
