"""What the numbers in a model's weights mean: letters, labels, targets, lengths."""

from typing import Any

import numpy as np

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH, STANDARD
from mimir.data.pack import TRAIN, Peptides
from mimir.errors import BadInput, Corrupt

FORMAT = 1


def of(peptides: Peptides) -> dict[str, Any]:
    """The vocabulary of a model that was trained on these peptides, as plain JSON."""
    lengths: dict[str, list[int]] = {}
    for name, label in (("background", 0), ("interacting", 1)):
        rows = peptides.subset(TRAIN, label)
        counts = np.bincount(peptides.lengths[rows], minlength=MAX_LENGTH + 1)
        lengths[name] = [int(count) for count in counts]
    trained = peptides.targets[peptides.subset(TRAIN, 1)]
    pairs = np.bincount(trained, minlength=len(peptides.vocabulary))
    return {
        "format": FORMAT,
        "letters": LETTERS,
        "standard": STANDARD,
        "mask": MASK,
        "labels": ["background", "interacting", "not told"],
        "targets": list(peptides.vocabulary),
        "no_target": len(peptides.vocabulary),
        "pairs": pairs.tolist(),
        "lengths": lengths,
    }


def checked(value: Any, where: str) -> dict[str, Any]:
    """The vocabulary itself, if it can be used as one.

    Raises:
        BadInput: it has another format or other letters.
        Corrupt: a part of it is missing or of another kind.
    """
    if not isinstance(value, dict):
        raise Corrupt(f"{where} is damaged: it holds no object")
    if value.get("format", FORMAT) != FORMAT or value.get("letters", LETTERS) != LETTERS:
        raise BadInput(f"{where} is of another format than {FORMAT}, or has other letters")
    targets, pairs = value.get("targets"), value.get("pairs")
    if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets):
        raise Corrupt(f"{where} is damaged: its targets are no list of names")
    if value.get("no_target") != len(targets):
        raise Corrupt(f"{where} is damaged: no_target is not the number of targets")
    if not _counts(pairs, len(targets)):
        raise Corrupt(f"{where} is damaged: it has no count of pairs for each target")
    lengths = value.get("lengths")
    names = ("background", "interacting")
    if not isinstance(lengths, dict) or not all(
        _counts(lengths.get(name), MAX_LENGTH + 1) for name in names
    ):
        raise Corrupt(f"{where} is damaged: it has no counts of peptides by length")
    return value


def _counts(value: Any, number: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == number
        and all(type(one) is int and 0 <= one < 2**53 for one in value)
    )
