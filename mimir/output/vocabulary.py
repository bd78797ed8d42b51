"""What the numbers in a model's weights mean: letters, labels, targets, lengths."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH, STANDARD
from mimir.data.pack import TRAIN, Peptides
from mimir.errors import BadInput, Corrupt
from mimir.runs import codec
from mimir.runs.ranges import Size

FORMAT = 1
LABELS = ("background", "interacting", "not told")
"""What the model's labels 0, 1 and 2 mean."""


@dataclass(frozen=True)
class Lengths:
    """Training peptides of each length, 0 to MAX_LENGTH."""

    background: tuple[Size, ...]
    interacting: tuple[Size, ...]


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
    counted = []
    for label in (0, 1):
        rows = peptides.subset(TRAIN, label)
        counts = np.bincount(peptides.lengths[rows], minlength=MAX_LENGTH + 1)
        counted.append(tuple(int(count) for count in counts))
    trained = peptides.targets[peptides.subset(TRAIN, 1)]
    known = len(peptides.vocabulary)
    pairs = np.bincount(trained, minlength=known).tolist()
    return Vocabulary(
        peptides.vocabulary, known, tuple(pairs), Lengths(*counted), LETTERS, STANDARD, MASK, LABELS
    )


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
    return found
