"""Chooses the rows that are not trained on, by a hash of seed and group.

Of the background whole groups are held out. Of the pairs two sets are: all pairs of some targets,
which a model then does not know; and, among the others, whole clusters of similar peptides, so that
a model knows the target and not the peptide. What is left in training resembles neither.

Each of these three sets is then halved, again by whole groups: one half selects (the best weights,
when to stop), the other is reported. A figure by which something was selected flatters it. Both
sets of pairs are halved together, so that no pair that selects resembles one that is reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data import similar
from mimir.data.draw import (
    SPLIT_BACKGROUND,
    SPLIT_HALVES,
    SPLIT_PAIRS,
    SPLIT_PEPTIDES,
    Draws,
)
from mimir.data.groups import components
from mimir.data.similar import Peptide

TRAIN = 0
VALIDATION = 1
"""Held-out background, and the pairs of targets that are not trained: the half that is reported."""
KNOWN = 2
"""Held-out pairs of targets that are trained: the half that is reported."""
LEFT_OUT = 3
"""Neither trained on nor held out: near copies of held-out pairs, and windows that overlap them."""
SELECTION = 4
"""As VALIDATION: the half that selects, and is never reported."""
SELECTION_KNOWN = 5
"""As KNOWN: the half that selects, and is never reported."""
HELD_OUT = (VALIDATION, KNOWN, SELECTION, SELECTION_KNOWN)
"""All that is kept from training to judge it."""

RULES = 2
"""Which rules split: raise it with each change, so no cache serves a split of older ones."""

_BLOCK = 1 << 16


@dataclass(frozen=True)
class Parts:
    """background: part of the rows (0..1) to hold out. pairs: part of them that is all there is of
    unseen targets, and of the rest those of known ones."""

    background: float
    pairs: float


def split_rows(
    peptides: Peptide,
    labels: NDArray[np.uint8],
    targets: NDArray[np.integer],
    groups: NDArray[np.int32],
    parts: Parts,
    seed: int,
) -> NDArray[np.uint8]:
    """TRAIN, LEFT_OUT, or one of HELD_OUT for each row, uint8 [N].

    Args:
        peptides: the rows, N.
        labels: uint8 [N], 1 for pairs.
        targets: integer [N], of pairs.
        groups: int32 [N], of background rows, from 0: none is both in training and held out,
            and none in both halves of what is held out.
    """
    split = np.full(len(labels), TRAIN, dtype=np.uint8)
    background, pairs = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    if len(background):
        wanted = round(parts.background * len(background))
        held = _held_out(groups[background], wanted, Draws(seed, SPLIT_BACKGROUND))
        split[background[held]] = VALIDATION
    if len(pairs):
        split[pairs] = _split_pairs(peptides.take(pairs), targets[pairs], parts.pairs, seed)
        held_pairs = peptides.take(pairs[np.isin(split[pairs], (VALIDATION, KNOWN))])
        trained = background[split[background] == TRAIN]
        overlaps = similar.shares_word(peptides, held_pairs, trained)
        split[trained[overlaps]] = LEFT_OUT
    _halve(split, peptides, labels, targets, groups, seed)
    return split


def _halve(
    split: NDArray[np.uint8],
    peptides: Peptide,
    labels: NDArray[np.uint8],
    targets: NDArray[np.integer],
    groups: NDArray[np.int32],
    seed: int,
) -> None:
    """Give half of each held-out set to selection, in place; of an odd number the smaller half.

    Groups of the background stay together, and so do pairs of both sets that are linked by a target
    or by a chain of similar peptides: else what selects would hold near copies of what is reported.
    """
    rows = np.flatnonzero((split == VALIDATION) & (labels == 0))
    if len(rows):
        chosen = _held_out(groups[rows], len(rows) // 2, Draws(seed, SPLIT_HALVES))
        split[rows[chosen]] = SELECTION
    rows = np.flatnonzero(np.isin(split, (VALIDATION, KNOWN)) & (labels == 1))
    if len(rows):
        linked = _linked(peptides.take(rows), targets[rows])
        known = split[rows] == KNOWN
        chosen = _half_of_both(linked, known, Draws(seed, SPLIT_HALVES + 1))
        split[rows[chosen]] = np.where(known[chosen], SELECTION_KNOWN, SELECTION)


def _half_of_both(
    groups: NDArray[np.integer], known: NDArray[np.bool_], draws: Draws
) -> NDArray[np.bool_]:
    """True for the rows of whole groups that make at most half of either set, in hash order.

    Where groups are so large that nothing of a set is chosen, the first group is added that has
    rows of it, unless no row of one of the sets would be left.

    Args:
        groups: integer [N], not negative.
        known: bool [N], which of the two sets each row is of.
    """
    numbers, which = np.unique(groups, return_inverse=True)
    which = which.reshape(-1)
    sizes = np.stack([np.bincount(which, ~known), np.bincount(which, known)], axis=1).astype(int)
    # Word i of the stream belongs to group number i, whatever other groups there are.
    hashes = draws.words(int(numbers[-1]) + 1)[numbers]
    # Those with unseen pairs come first: the others are small, and fill up what is left.
    order = np.lexsort((hashes, sizes[:, 0] == 0))
    total, taken = sizes.sum(axis=0), np.zeros(2, dtype=int)
    chosen = np.zeros(len(numbers), dtype=bool)

    def take(group: int, most: NDArray[np.integer]) -> None:
        if (taken + sizes[group] <= most).all():
            chosen[group] = True
            taken[:] += sizes[group]

    for group in order:
        take(group, total // 2)
    for held in (0, 1):
        for group in order[~chosen[order] & (sizes[order, held] > 0)]:
            if not taken[held]:
                take(group, np.maximum(total - 1, 0))
    result: NDArray[np.bool_] = chosen[which]
    return result


def _linked(peptides: Peptide, targets: NDArray[np.integer]) -> NDArray[np.int64]:
    """Smallest target that each pair is linked to, int64 [N], in whatever order pairs come."""
    clusters = np.unique(similar.clusters(peptides), return_inverse=True)[1].reshape(-1)
    count = int(targets.max()) + 1  # the nodes of targets come first, then those of clusters
    nodes = components(count + int(clusters.max()) + 1, targets.astype(np.int64), count + clusters)
    linked: NDArray[np.int64] = nodes[targets]
    return linked


def _split_pairs(
    peptides: Peptide, targets: NDArray[np.integer], part: float, seed: int
) -> NDArray[np.uint8]:
    wanted = round(part * len(targets))
    split = np.full(len(targets), TRAIN, dtype=np.uint8)
    if not wanted:
        return split
    split[_held_out(targets, wanted, Draws(seed, SPLIT_PAIRS))] = VALIDATION
    seen = np.flatnonzero(split == TRAIN)
    if not len(seen):
        return split
    # Peptides in an order of their own, so that it does not matter in which the rows come.
    distinct, which = np.unique(peptides.letters[seen], axis=0, return_inverse=True)
    lengths = (distinct < similar.END).sum(axis=1)
    cluster = similar.clusters(Peptide(distinct, lengths))[which.reshape(-1)]
    wanted = round(part * len(seen))
    split[seen[_held_out(cluster, wanted, Draws(seed, SPLIT_PEPTIDES))]] = KNOWN
    left = np.flatnonzero(split == TRAIN)
    copies = similar.resembles(peptides.take(left), peptides.take(split != TRAIN))
    split[left[copies]] = LEFT_OUT
    # A target of which nothing is left to be trained is unseen after all.
    trained = np.unique(targets[split == TRAIN])
    split[(split == KNOWN) & ~np.isin(targets, trained)] = VALIDATION
    return split


def _held_out(groups: NDArray[np.integer], wanted: int, draws: Draws) -> NDArray[np.bool_]:
    """True for the rows of whole groups that together make at most `wanted` rows.

    Groups are taken in the order of their hash; one that no longer fits is not held out.
    """
    numbers, sizes = np.unique(groups, return_counts=True)
    # Word i of the stream belongs to group number i, whatever other groups there are.
    hashes = draws.words(int(numbers[-1]) + 1)[numbers]
    order = np.argsort(hashes, kind="stable")
    chosen = np.zeros(int(numbers[-1]) + 1, dtype=bool)
    left = wanted
    for number, size in _in_order(numbers, sizes, order):
        if left == 0:
            break
        if size <= left:
            chosen[number] = True
            left -= size
    held: NDArray[np.bool_] = chosen[groups]
    return held


def _in_order(
    numbers: NDArray[np.integer], sizes: NDArray[np.integer], order: NDArray[np.integer]
) -> Iterator[tuple[int, int]]:
    """Numbers and sizes of groups, a block at a time: there may be millions."""
    for begin in range(0, len(order), _BLOCK):
        block = order[begin : begin + _BLOCK]
        yield from zip(numbers[block].tolist(), sizes[block].tolist(), strict=True)
