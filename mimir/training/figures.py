"""Computes each of the held-out figures that `mimir.runs.figures` lists.

Background peptides and pairs are measured apart; pairs also with shuffled targets. Matched
below shuffled shows that the model uses the targets. It can only for targets that are trained
too: where whole targets are held out, as `data pack` does, nothing is there to be shuffled.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mimir.data.pack import VALIDATION, Peptides
from mimir.model.batch import DeviceData
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate


@dataclass(frozen=True)
class HeldOut:
    """The held-out peptides on a device."""

    background: DeviceData
    pairs: DeviceData
    shuffled: DeviceData
    """The pairs of targets that are trained too, each with the target of another of them."""

    @staticmethod
    def of(peptides: Peptides, device: torch.device, rows: int) -> "HeldOut":
        """At most `rows` of each label, spread over the data's order."""
        chosen = [peptides.spread(VALIDATION, label, rows) for label in (0, 1)]
        background, pairs = (DeviceData.of(peptides, each, device) for each in chosen)
        known = chosen[1][peptides.trained_targets[peptides.targets[chosen[1]]]]
        shuffled = DeviceData.of(peptides, known, device)
        # A rotation by half: another target, unless one target has more than half of the pairs.
        order = torch.argsort(shuffled.targets, stable=True)
        turned = shuffled.targets.clone()
        turned[order] = shuffled.targets[order].roll(max(1, len(order) // 2))
        return HeldOut(background, pairs, replace(shuffled, targets=turned))


@dataclass(frozen=True)
class Measured:
    """A figure's value, None if nothing of the kind is held out, and of how many peptides."""

    value: float | None
    peptides: int


Measure = Callable[[HeldOut, Denoiser, int, int], Measured]
"""Takes held-out peptides, a model, T and the number of passes with other masks."""


def _nelbo(name: str) -> Measure:
    """NELBO of one set of `HeldOut`, in nats per residue."""

    def measure(held: HeldOut, model: Denoiser, timesteps: int, repeats: int) -> Measured:
        data: DeviceData = getattr(held, name)
        if not len(data):
            return Measured(None, 0)
        nats = evaluate(model, data, timesteps, repeats=repeats)
        return Measured(per_residue(nats, data), len(data))

    return measure


MEASURES: dict[str, Measure] = {
    "val": _nelbo("background"),
    "val_pairs": _nelbo("pairs"),
    "val_pairs_shuffled": _nelbo("shuffled"),
}
"""By the figure's key."""


def per_residue(nats: Tensor, data: DeviceData) -> float:
    """Total nats over total residues."""
    return float(nats.sum() / data.lengths.sum().cpu())
