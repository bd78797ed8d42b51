"""Computes each of the held-out figures that `mimir.runs.figures` lists.

Background and pairs are measured apart, and of the pairs those of unseen targets, to which a model
is told no target, and those of known targets. These are also measured with shuffled targets and
with none: what lies between matched and untold is what the target is worth.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from mimir.config import Objective
from mimir.data.pack import KNOWN, VALIDATION, Peptides
from mimir.model.batch import DeviceData
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate


@dataclass(frozen=True)
class HeldOut:
    """The held-out peptides on a device."""

    background: DeviceData
    pairs: DeviceData
    """Of targets that are not trained: none is told."""
    known: DeviceData
    shuffled: DeviceData
    """The known ones, each with the target of another of them."""
    untold: DeviceData
    """The known ones without a target."""

    @property
    def passes(self) -> int:
        """Peptides that one pass over everything measures."""
        return sum(len(getattr(self, field.name)) for field in fields(self))

    @staticmethod
    def of(peptides: Peptides, device: torch.device, rows: int, objective: Objective) -> "HeldOut":
        """At most `rows` of each kind, spread over the data's order."""

        def chosen(part: int, label: int) -> DeviceData:
            spread = peptides.spread(part, label, rows)
            return DeviceData.of(peptides, spread, device, objective)

        known = chosen(KNOWN, 1)
        # A rotation by half: another target, unless one target has more than half of the pairs.
        order = torch.argsort(known.targets, stable=True)
        turned = known.targets.clone()
        turned[order] = known.targets[order].roll(max(1, len(order) // 2))
        none = torch.full_like(known.targets, len(peptides.vocabulary))
        return HeldOut(
            chosen(VALIDATION, 0), chosen(VALIDATION, 1), known,
            shuffled=replace(known, targets=turned), untold=replace(known, targets=none),
        )  # fmt: skip


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
    "val_known": _nelbo("known"),
    "val_known_shuffled": _nelbo("shuffled"),
    "val_known_untold": _nelbo("untold"),
}
"""By the figure's key."""


def per_residue(nats: Tensor, data: DeviceData) -> float:
    """Total nats over total residues."""
    return float(nats.sum() / data.lengths.sum().cpu())
