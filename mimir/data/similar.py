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
END = N_LETTERS
"""In `Peptide.letters`, beyond the end."""
MOST_ALIGNED = 50_000
"""Peptides that are compared letter by letter, which takes a minute for so many and grows with the
square; of more, only shared words count."""
_BLOCK = 1 << 16
"""Peptides that are read at once."""
_AT_ONCE = 1 << 19
"""Shifts of two peptides that are compared at once."""


@dataclass(frozen=True, eq=False)
class Peptide:
    """N peptides: `letters` uint8 [N, 20], END beyond the end; `lengths` int64 [N]."""

    letters: NDArray[np.uint8]
    lengths: NDArray[np.int64]

    @staticmethod
    def of(tokens: NDArray[np.uint8], offsets: NDArray[np.integer]) -> "Peptide":
        """From tokens[offsets[i] : offsets[i + 1]]: uint8 [R] and integer [N + 1]."""
        lengths = np.diff(offsets).astype(np.int64)
        letters = np.full((len(lengths), MAX_LENGTH), END, dtype=np.uint8)
        for first in range(0, len(lengths), _BLOCK):
            block = slice(first, first + _BLOCK)
            own = tokens[offsets[first] : offsets[min(first + _BLOCK, len(lengths))]]
            letters[block][np.arange(MAX_LENGTH) < lengths[block, None]] = own
        return Peptide(letters, lengths)

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
        for one, other in _aligned(peptides, peptides):
            left.append(one)
            right.append(other)
    return components(len(peptides), np.concatenate(left), np.concatenate(right))


def resembles(peptides: Peptide, held: Peptide) -> NDArray[np.bool_]:
    """Whether each peptide is similar to one of `held` or more, bool [N]."""
    found = shares_word(peptides, held) | _short_within(peptides, held)
    if len(peptides) <= MOST_ALIGNED:
        for one, _ in _aligned(peptides, held):
            found[one] = True
    return found


def shares_word(
    peptides: Peptide, held: Peptide, rows: NDArray[np.integer] | None = None
) -> NDArray[np.bool_]:
    """Whether each, or each of some rows, has 6 letters in a row in common with one of `held`;
    bool [N] or [len(rows)]."""
    rows = np.arange(len(peptides)) if rows is None else rows
    theirs = words(held, WORD)[0]
    found = np.zeros(len(rows), dtype=bool)
    for first in range(0, len(rows), _BLOCK):
        key, owner = words(peptides.take(rows[first : first + _BLOCK]), WORD)
        found[first + owner[np.isin(key, theirs)]] = True
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


def _aligned(one: Peptide, other: Peptide) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Indices of those that are similar when shifted against each other; some come repeatedly.

    Two letters in a row are then equal somewhere: if no two of m equal letters were neighbours, the
    overlap would have 2 m - 1 letters at least, and m could be 60 % of it only up to m = 3. So only
    shifts that put two such letters on each other are looked at.
    """
    seeds, theirs = _Seeds.of(one), _Seeds.of(other).by_key()
    first = np.searchsorted(theirs.key, np.arange(N_LETTERS**2 + 1))
    count = np.diff(first)[seeds.key]
    last = np.cumsum(count)
    width = 3 * MAX_LENGTH
    room = np.full((len(other), width), END + 1, dtype=np.uint8)  # which equals no letter of `one`
    inside = room[:, MAX_LENGTH : 2 * MAX_LENGTH]
    inside[:] = np.where(other.letters == END, END + 1, other.letters)
    shifted = np.lib.stride_tricks.sliding_window_view(room, MAX_LENGTH, axis=1)
    begin = 0
    while begin < len(seeds.key):
        before = int(last[begin] - count[begin])
        end = max(begin + 1, int(np.searchsorted(last, before + _AT_ONCE, side="right")))
        ours = np.repeat(np.arange(begin, end), count[begin:end])
        within = np.arange(len(ours)) - np.repeat(
            last[begin:end] - count[begin:end] - before, count[begin:end]
        )
        its = first[seeds.key[ours]] + within
        row, column = seeds.owner[ours], theirs.owner[its]
        shift = seeds.place[ours] - theirs.place[its]
        overlap = np.minimum(
            one.lengths[row] - np.maximum(shift, 0), other.lengths[column] + np.minimum(shift, 0)
        )
        enough = overlap >= WORD
        if one is other:  # each two of them once
            enough &= row < column
        row, column, shift, overlap = row[enough], column[enough], shift[enough], overlap[enough]
        equal = (one.letters[row] == shifted[column, MAX_LENGTH - shift]).sum(axis=1)
        near = (equal >= WORD) & (equal >= IDENTITY * overlap)
        yield row[near], column[near]
        begin = end


@dataclass(frozen=True, eq=False)
class _Seeds:
    """Each two letters in a row of some peptides: int64 [M] each."""

    key: NDArray[np.int64]
    owner: NDArray[np.int64]
    place: NDArray[np.int64]

    @staticmethod
    def of(peptides: Peptide) -> "_Seeds":
        owner, place = np.nonzero(np.arange(1, MAX_LENGTH) < peptides.lengths[:, None])
        letters = peptides.letters.astype(np.int64)
        return _Seeds(letters[owner, place] * N_LETTERS + letters[owner, place + 1], owner, place)

    def by_key(self) -> "_Seeds":
        """The same in the order of their keys."""
        order = np.argsort(self.key, kind="stable")
        return _Seeds(self.key[order], self.owner[order], self.place[order])
