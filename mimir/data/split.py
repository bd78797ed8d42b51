"""Chooses the rows held out for validation: whole groups, by a hash of seed and group."""

import numpy as np
from numpy.typing import NDArray

from mimir.data.draw import SPLIT_BACKGROUND, SPLIT_PAIRS, Draws

TRAIN = 0
VALIDATION = 1


def split_rows(
    groups: NDArray[np.int32],
    labels: NDArray[np.uint8],
    background: float,
    pairs: float,
    seed: int,
) -> NDArray[np.uint8]:
    """TRAIN or VALIDATION for each row, uint8 [N]; no group is in both.

    `background` and `pairs` are the parts (0..1) of the rows of label 0 and 1 to hold out.
    `groups` int32 [N], `labels` uint8 [N]. A group counts per label; groups of background and
    pairs should have different numbers.
    """
    split = np.full(len(labels), TRAIN, dtype=np.uint8)
    for label, part, purpose in ((0, background, SPLIT_BACKGROUND), (1, pairs, SPLIT_PAIRS)):
        rows = np.flatnonzero(labels == label)
        if len(rows):
            held = _held_out(groups[rows], round(part * len(rows)), Draws(seed, purpose))
            split[rows[held]] = VALIDATION
    return split


def _held_out(groups: NDArray[np.int32], wanted: int, draws: Draws) -> NDArray[np.bool_]:
    """True for the rows of whole groups that together make at most `wanted` rows.

    Groups are taken in the order of their hash; one that no longer fits stays in train.
    """
    numbers, sizes = np.unique(groups, return_counts=True)
    # Word i of the stream belongs to group number i, whatever other groups there are.
    hashes = draws.words(int(numbers[-1]) + 1)[numbers]
    order = np.argsort(hashes, kind="stable")
    chosen = np.zeros(int(numbers[-1]) + 1, dtype=bool)
    left = wanted
    for number, size in zip(numbers[order].tolist(), sizes[order].tolist(), strict=True):
        if left == 0:
            break
        if size <= left:
            chosen[number] = True
            left -= size
    return chosen[groups]
