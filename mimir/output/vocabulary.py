"""What the numbers in a model's weights mean: letters, labels, targets, lengths."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH, STANDARD
from mimir.data.pack import TRAIN, Peptides
from mimir.errors import BadInput, Corrupt
from mimir.runs import codec
from mimir.runs.ranges import Size

FORMAT = 2
SMOOTHING = 5
"""Pairs that a target's histogram of lengths is smoothed by."""
LABELS = ("background", "interacting", "not told")
"""What the model's labels 0, 1 and 2 mean."""


@dataclass(frozen=True)
class Lengths:
    """Training peptides of each length, 0 to MAX_LENGTH; targets: of each, by length in digits."""

    background: tuple[Size, ...]
    interacting: tuple[Size, ...]
    targets: tuple[dict[str, Size], ...]

    def weights(self, label: int, target: int | None) -> list[int]:
        """How likely each length 0 to MAX_LENGTH is to be drawn, in whole parts.

        A target's own pairs, to which SMOOTHING pairs are added that are distributed as all pairs;
        without one all peptides of the label (0: background). Knowing the target is worth 0.29 nats
        on the length of a peptide.
        """
        pooled = self.background if label == 0 or not any(self.interacting) else self.interacting
        if target is None:
            return list(pooled)
        own, total = self.targets[target], sum(pooled)
        mixed = [own.get(str(size), 0) * total + SMOOTHING * n for size, n in enumerate(pooled)]
        scale = max(1, sum(mixed) >> 30)  # the sampler multiplies their sum by 32-bit words
        return [-(-count // scale) for count in mixed]


@dataclass(frozen=True)
class Vocabulary:
    """letters: by token; standard: those that are sampled; mask: the token that hides one.

    targets: names by index; no_target: the index that stands for none of them; pairs: training
    peptides of each.
    """

    targets: tuple[str, ...]
    no_target: Size
    pairs: tuple[Size, ...]
    lengths: Lengths
    letters: str
    standard: str
    mask: Size
    labels: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object that bears its format."""
        return {"format": FORMAT, **asdict(self)}


def of(peptides: Peptides) -> Vocabulary:
    """The vocabulary of a model that was trained on these peptides."""
    counted: list[tuple[int, ...]] = []
    for label in (0, 1):
        rows = peptides.subset(TRAIN, label)
        counts = np.bincount(peptides.lengths[rows], minlength=MAX_LENGTH + 1)
        counted.append(tuple(int(count) for count in counts))
    rows = peptides.subset(TRAIN, 1)
    known, sizes = len(peptides.vocabulary), MAX_LENGTH + 1
    cell = peptides.targets[rows].astype(np.int64) * sizes + peptides.lengths[rows]
    table = np.bincount(cell, minlength=known * sizes).reshape(known, sizes)
    of_target = tuple(
        {str(size): int(row[size]) for size in np.flatnonzero(row).tolist()} for row in table
    )
    lengths = Lengths(counted[0], counted[1], of_target)
    return Vocabulary(
        peptides.vocabulary, known, tuple(table.sum(1).tolist()), lengths,
        LETTERS, STANDARD, MASK, LABELS,
    )  # fmt: skip


def decode(data: bytes, where: str) -> Vocabulary:
    """The vocabulary of a pulled model, from its file.

    Raises:
        OtherFormat: it has another format.
        BadInput: it has other letters.
        Corrupt: a part of it is missing, of another kind, or does not fit the others.
    """
    found = codec.typed(Vocabulary, codec.unsealed(data, FORMAT, where), where)
    if (found.letters, found.standard, found.mask) != (LETTERS, STANDARD, MASK):
        raise BadInput(f"{where} has other letters than this Mimir's")
    if not found.no_target == len(found.targets) == len(found.pairs):
        raise Corrupt(f"{where} is damaged: no_target and pairs do not fit its targets")
    lengths = found.lengths
    if not len(lengths.background) == len(lengths.interacting) == MAX_LENGTH + 1:
        raise Corrupt(f"{where} is damaged: it does not count peptides of 0 to {MAX_LENGTH}")
    known = {str(size) for size in range(MAX_LENGTH + 1)}
    totals = tuple(sum(each.values()) for each in lengths.targets)
    if totals != found.pairs or not all(set(each) <= known for each in lengths.targets):
        raise Corrupt(f"{where} is damaged: its targets' lengths do not fit their pairs")
    return found
