"""Computes each of the held-out figures that `mimir.runs.figures` lists.

Background and pairs are measured apart, and of the pairs those of unseen targets, of which a model
is told what is similar to them, and those of known targets. Both are also measured with shuffled
targets and with none: what lies between matched and untold is what the target is worth. All of
these are of the
half that is reported; the figure that selects the best weights is of the other half.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from mimir.config import Objective
from mimir.data.pack import KNOWN, VALIDATION, Peptides
from mimir.data.split import SELECTION, SELECTION_KNOWN
from mimir.model.batch import DeviceData
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate


@dataclass(frozen=True)
class HeldOut:
    """The held-out peptides of the reported half on a device."""

    background: DeviceData
    pairs: DeviceData
    """Of targets that are not trained: what is told is how similar ones bind, if there are any."""
    pairs_shuffled: DeviceData
    pairs_untold: DeviceData
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

        def shuffled(data: DeviceData) -> DeviceData:
            # A rotation by half: another target, unless one has more than half of the pairs.
            order = torch.argsort(data.targets, stable=True)
            turned = data.targets.clone()
            turned[order] = data.targets[order].roll(max(1, len(order) // 2))
            return replace(data, targets=turned)

        def untold(data: DeviceData) -> DeviceData:
            return replace(data, targets=torch.full_like(data.targets, len(peptides.vocabulary)))

        unseen, known = chosen(VALIDATION, 1), chosen(KNOWN, 1)
        return HeldOut(
            chosen(VALIDATION, 0), unseen, shuffled(unseen), untold(unseen), known,
            shuffled(known), untold(known),
        )  # fmt: skip


SELECTING = (
    (SELECTION_KNOWN, 1, "pairs of known targets", 12),
    (SELECTION, 1, "pairs of unseen targets", 12),
    (SELECTION, 0, "background", 2),
)
"""What selects: part and label, name, and passes with other masks. Pairs are few, so that they need
more passes for a steady figure."""
SELECTING_ROWS = 1024
"""Background peptides that select, at most: their figure is steady, and costs time."""


@dataclass(frozen=True)
class Kind:
    """Held-out peptides of one kind, each with its own target."""

    data: DeviceData
    name: str
    repeats: int


@dataclass(frozen=True)
class Selection:
    """The held-out peptides whose NELBO selects the best weights. They are never reported.

    Known targets are learned first, and what more steps teach of them is mostly noise; unseen
    targets and the background get better for longer. Weights that are chosen by one of the three
    are early or late for the others (docs/lab.md), so each counts a third.
    """

    kinds: tuple[Kind, ...]

    @staticmethod
    def of(
        peptides: Peptides, device: torch.device, rows: int, objective: Objective
    ) -> "Selection | None":
        """At most `rows` of each kind that there is, SELECTING_ROWS of the background."""
        kinds = []
        for part, label, name, repeats in SELECTING:
            chosen = peptides.spread(part, label, rows if label else min(rows, SELECTING_ROWS))
            if len(chosen):
                held = DeviceData.of(peptides, chosen, device, objective)
                kinds.append(Kind(held, name, repeats))
        return Selection(tuple(kinds)) if kinds else None

    @property
    def name(self) -> str:
        """What selects, for people."""
        *others, last = (kind.name for kind in self.kinds)
        return f"{', '.join(others)} and {last}" if others else last

    @property
    def passes(self) -> int:
        """Peptides that `measure` takes through the model."""
        return sum(kind.repeats * len(kind.data) for kind in self.kinds)

    def measure(self, model: Denoiser, timesteps: int) -> float:
        """Mean over the kinds of their NELBO in nats per residue."""
        found = [
            per_residue(evaluate(model, kind.data, timesteps, repeats=kind.repeats), kind.data)
            for kind in self.kinds
        ]
        return sum(found) / len(found)


@dataclass(frozen=True)
class Measured:
    """A figure's value, None if nothing of the kind is held out, of how many peptides, and its
    standard error over them, None where it cannot be told."""

    value: float | None
    peptides: int
    error: float | None = None


Measure = Callable[[HeldOut, Denoiser, int, int], Measured]
"""Takes held-out peptides, a model, T and the number of passes with other masks."""


def _nelbo(name: str) -> Measure:
    """NELBO of one set of `HeldOut`, in nats per residue."""

    def measure(held: HeldOut, model: Denoiser, timesteps: int, repeats: int) -> Measured:
        data: DeviceData = getattr(held, name)
        if not len(data):
            return Measured(None, 0)
        nats = evaluate(model, data, timesteps, repeats=repeats)
        return Measured(per_residue(nats, data), len(data), standard_error(nats, data))

    return measure


MEASURES: dict[str, Measure] = {
    "val": _nelbo("background"),
    "val_pairs": _nelbo("pairs"),
    "val_pairs_shuffled": _nelbo("pairs_shuffled"),
    "val_pairs_untold": _nelbo("pairs_untold"),
    "val_known": _nelbo("known"),
    "val_known_shuffled": _nelbo("shuffled"),
    "val_known_untold": _nelbo("untold"),
}
"""By the figure's key."""


def per_residue(nats: Tensor, data: DeviceData) -> float:
    """Total nats over total residues."""
    return float(nats.sum() / data.lengths.sum().cpu())


def standard_error(nats: Tensor, data: DeviceData) -> float | None:
    """Of `per_residue` over its peptides, taken as independent draws; None for fewer than two.

    A ratio of two sums, by its first-order expansion (Cochran, Sampling Techniques, 1977, 2.11).
    """
    lengths, count = data.lengths.sum().cpu(), len(data)
    if count < 2:
        return None
    off = nats.double() - per_residue(nats, data) * data.lengths.cpu().double()
    return float((off.square().sum() * count / (count - 1)).sqrt() / lengths)
