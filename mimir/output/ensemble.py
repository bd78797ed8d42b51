"""Several models as one: the mean of their probabilities at each place.

The mean of denoisers' distributions is a denoiser too, so its NELBO is a bound like that of one
model, and by Jensen's inequality at most the mean of theirs. The mean of their NELBOs, which is
what a run of this kind reaches on average, stands beside it.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimir.console import bar
from mimir.data.pack import Peptides
from mimir.errors import BadInput
from mimir.model.attention import Layout
from mimir.model.denoiser import Denoiser
from mimir.output.model_file import Opened
from mimir.runs import figures
from mimir.runs.record import read_run
from mimir.runs.store import Store
from mimir.training.figures import MEASURES, HeldOut


class Ensemble(nn.Module):
    """As a Denoiser for who measures or samples; its widths and depths may differ.

    Args:
        models: with the same timesteps and targets.
    """

    def __init__(self, models: Sequence[Denoiser]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.timesteps, self.targets = models[0].timesteps, models[0].targets
        self._widths = [model.size.dim for model in models]

    @property
    def letter(self) -> Tensor:
        """By which callers know the device."""
        return cast(Denoiser, self.models[0]).letter

    def condition(self, timestep: Tensor, label: Tensor, target: Tensor) -> Tensor:
        """The conditions of all models side by side: float32 [B, sum of D]."""
        each = [cast(Denoiser, one).condition(timestep, label, target) for one in self.models]
        return torch.cat(each, -1)

    def forward(
        self, tokens: Tensor, condition: Tensor, layout: Layout, bias: Tensor | None = None
    ) -> Tensor:
        """Logarithm of the mean probability, float32 [M, V]; arguments as Denoiser's."""
        parts = condition.split(self._widths, -1)
        found = [
            F.log_softmax(model(tokens, part, layout, bias), -1)
            for model, part in zip(self.models, parts, strict=True)
        ]
        return torch.logsumexp(torch.stack(found), 0) - math.log(len(found))


def of(several: Sequence[Opened]) -> Opened:
    """These models as one.

    Raises:
        BadInput: their objectives or their targets differ.
    """
    first = several[0]
    for other in several[1:]:
        if other.config.objective != first.config.objective:
            raise BadInput(f"{other.source} has another objective than {first.source}: models "
                           "that are put together must be asked the same")  # fmt: skip
        if other.vocabulary.targets != first.vocabulary.targets:
            raise BadInput(f"{other.source} knows other targets than {first.source}")
    model = Ensemble([each.model for each in several])
    source = f"mean of {len(several)} models: {'; '.join(each.source for each in several)}"
    joined, digest = cast(Denoiser, model), first.data_sha256
    return Opened(joined, first.config, first.vocabulary, first.composition, digest, source)


def must_share_data(store: Store, runs: Sequence[str]) -> None:
    """BadInput unless all runs have the same data: one's training peptides are no test of another
    that holds them out."""
    digests = {run: data.sha256 if (data := read_run(store, run).data) else "" for run in runs}
    first = runs[0]
    for run, digest in digests.items():
        if digest != digests[first]:
            raise BadInput(f"run {run} was trained on other data than run {first}: what one holds "
                           "out the other may have seen")  # fmt: skip


def alone(several: Sequence[Opened], peptides: Peptides, repeats: int) -> dict[str, Any]:
    """What each of them reaches by itself, by the figure's name: mean and standard deviation (of
    the sample, None of one) in nats per residue; None where nothing of the kind is held out."""
    values: dict[str, list[float]] = {figure.key: [] for figure in figures.FIGURES}
    with bar("evaluate each alone", len(several) * len(values), "figure") as advance:
        for opened in several:
            objective, device = opened.config.objective, opened.model.letter.device
            held = HeldOut.of(peptides, device, len(peptides), objective)
            for key, found in values.items():
                value = MEASURES[key](held, opened.model, objective.timesteps, repeats).value
                advance(1)
                if value is not None:
                    found.append(value)
    return {
        figure.name: {
            "mean": fmean(found), "spread": stdev(found) if len(found) > 1 else None,
        } if (found := values[figure.key]) else None
        for figure in figures.FIGURES
    }  # fmt: skip


def lines(found: dict[str, Any], count: int) -> list[str]:
    """What `alone` found, for people."""
    shown = [f"each of the {count} alone, mean and standard deviation in nats per residue"]
    for name, row in found.items():
        if row is not None:
            spread = f" ± {row['spread']:.4f}" if row["spread"] is not None else ""
            shown.append(f"{name:<34}{row['mean']:>9.4f}{spread}")
    return shown
