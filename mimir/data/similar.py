"""Which peptides are near copies of each other, so that a split does not leak through them.

Two are similar if they share 6 letters in a row; if, shifted against each other without gaps, 6
letters or more are equal, and these are 60 % of where they overlap; or if one is shorter than 6 and
lies within the other. Equality alone would leave near copies of held-out pairs in training.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import MAX_LENGTH, MIN_LENGTH, N_LETTERS
from mimir.data.groups import components
from mimir.data.keys import kmers

WORD = 6
"""Letters that are equal at least."""
IDENTITY = 0.6
"""Part of the overlap that is equal at least."""
LAST_SHIFT = MAX_LENGTH - WORD
END = N_LETTERS
"""In `Peptide.letters`, beyond the end."""
MOST_ALIGNED = 20_000
"""Peptides that are compared letter by letter, which takes minutes for so many and grows with the
square; of more, only shared words count."""
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Peptide:
    """N peptides: `letters` uint8 [N, 20], END beyond the end; `lengths` int64 [N]."""

    letters: NDArray[np.uint8]
    lengths: NDArray[np.int64]

    @staticmethod
    def of(tokens: NDArray[np.uint8], offsets: NDArray[np.integer]) -> "Peptide":
        """From tokens[offsets[i] : offsets[i + 1]]: uint8 [R] and integer [N + 1]."""
        lengths = np.diff(offsets).astype(np.int64)
        column = np.arange(MAX_LENGTH)
        place = np.minimum(offsets[:-1, None] + column, max(0, len(tokens) - 1))
        letters = np.where(column < lengths[:, None], tokens[place], END)
        return Peptide(letters.astype(np.uint8), lengths)

    def take(self, rows: NDArray[np.generic]) -> "Peptide":
        """Some of them, by indices or mask."""
        return Peptide(self.letters[rows], self.lengths[rows])

    def __len__(self) -> int:
        return len(self.lengths)


def words(peptides: Peptide, size: int) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """All words of so many letters: keys uint64 [M], and whose they are, int32 [M]."""
    inside = np.arange(MAX_LENGTH) < peptides.lengths[:, None]
    offsets = np.concatenate([[0], np.cumsum(peptides.lengths)]).astype(np.int64)
    found = kmers(peptides.letters[inside], offsets, size)
    return found.key, found.owner


def clusters(peptides: Peptide) -> NDArray[np.int64]:
    """Cluster of each peptide (the index of its first member), int64 [N]: linked by similarity."""
    left, right = [], []
    for size in range(MIN_LENGTH, WORD + 1):
        key, owner = words(peptides, size)
        if size < WORD:  # only what a short peptide has, which is then in the cluster itself
            shared = np.isin(key, key[(peptides.lengths == size)[owner]])
            key, owner = key[shared], owner[shared]
        order = np.argsort(key, kind="stable")
        key, owner = key[order], owner[order]
        same = key[1:] == key[:-1]
        left.append(owner[:-1][same].astype(np.int64))
        right.append(owner[1:][same].astype(np.int64))
    if len(peptides) <= MOST_ALIGNED:
        for one, other in _aligned(peptides, peptides, range(LAST_SHIFT + 1)):
            left.append(one)
            right.append(other)
    return components(len(peptides), np.concatenate(left), np.concatenate(right))


def resembles(peptides: Peptide, held: Peptide) -> NDArray[np.bool_]:
    """Whether each peptide is similar to one of `held` or more, bool [N]."""
    found = shares_word(peptides, held) | _short_within(peptides, held)
    if len(peptides) <= MOST_ALIGNED:
        for one, _ in _aligned(peptides, held, range(-LAST_SHIFT, LAST_SHIFT + 1)):
            found[one] = True
    return found


def shares_word(peptides: Peptide, held: Peptide) -> NDArray[np.bool_]:
    """Whether each has 6 letters in a row in common with one of `held`; bool [N]."""
    (key, owner), (theirs, _) = words(peptides, WORD), words(held, WORD)
    found = np.zeros(len(peptides), dtype=bool)
    found[owner[np.isin(key, theirs)]] = True
    return found


def _short_within(peptides: Peptide, held: Peptide) -> NDArray[np.bool_]:
    """Whether one of the two is shorter than 6 letters and lies within the other; bool [N]."""
    found = np.zeros(len(peptides), dtype=bool)
    for size in range(MIN_LENGTH, WORD):
        (key, owner), (theirs, whose) = words(peptides, size), words(held, size)
        short, their_short = peptides.lengths == size, held.lengths == size
        common = np.isin(key, theirs[their_short[whose]])
        found[owner[common | (short[owner] & np.isin(key, theirs))]] = True
    return found


def _aligned(
    one: Peptide, other: Peptide, shifts: range
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of indices that are similar when `one` is ahead by one of the shifts."""
    theirs = _one_hot(other)
    for start in range(0, len(one), _BLOCK):
        block = one.take(np.arange(start, min(start + _BLOCK, len(one))))
        ours = _one_hot(block)
        for shift in shifts:
            late, early = max(0, shift), max(0, -shift)
            width = MAX_LENGTH - abs(shift)
            a = ours[:, late : late + width].reshape(len(block), -1)
            b = theirs[:, early : early + width].reshape(len(other), -1)
            equal = a @ b.T
            row, column = np.nonzero(equal >= WORD)
            overlap = np.minimum(block.lengths[row] - late, other.lengths[column] - early)
            near = equal[row, column] >= IDENTITY * overlap
            yield row[near] + start, column[near]


def _one_hot(peptides: Peptide) -> NDArray[np.float32]:
    """float32 [N, 20, 25]: zeros beyond the end."""
    hot: NDArray[np.float32] = peptides.letters[:, :, None] == np.arange(N_LETTERS)
    return hot.astype(np.float32)
