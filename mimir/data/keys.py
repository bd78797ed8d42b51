"""Encodes peptides and k-mers as integers, so equal ones are found by sorting.

A letter takes 5 bits (id + 1; 0 means "no letter"), so a key also tells its length. Twelve
letters fit into one uint64; a peptide of up to 20 takes two, `hi` (letters 1-12) and `lo`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import MAX_LENGTH

_IN_ONE_WORD = 12
_BITS = np.uint64(5)


@dataclass(frozen=True, eq=False)
class Keys:
    """Exact keys of N peptides: `hi` and `lo`, uint64 [N]."""

    hi: NDArray[np.uint64]
    lo: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.hi)

    def take(self, rows: NDArray[np.generic]) -> "Keys":
        """The keys of some rows (indices or mask)."""
        return Keys(self.hi[rows], self.lo[rows])

    def with_more(self, other: "Keys") -> "Keys":
        """These keys followed by the other's."""
        return Keys(np.concatenate([self.hi, other.hi]), np.concatenate([self.lo, other.lo]))

    def groups(self) -> NDArray[np.int64]:
        """For each key the index of the first equal key, int64 [N]."""
        # lexsort is stable, so the first of each run of equal keys is the earliest row.
        order = np.lexsort((self.lo, self.hi))
        hi, lo = self.hi[order], self.lo[order]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1])
        first = np.empty(len(order), dtype=np.int64)
        first[order] = order[new][np.cumsum(new) - 1]
        return first

    def is_first(self) -> NDArray[np.bool_]:
        """True where no earlier key is equal, bool [N]."""
        first: NDArray[np.bool_] = self.groups() == np.arange(len(self))
        return first


def gather(
    tokens: NDArray[np.uint8], offsets: NDArray[np.integer], rows: NDArray[np.integer]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Letters of some rows one after another, uint8 [n], and their offsets, int64 [len(rows) + 1].

    Row i is tokens[offsets[i] : offsets[i + 1]]. Takes eight bytes for each letter on the way.
    """
    starts = offsets[rows].astype(np.int64)
    lengths = offsets[rows + 1] - starts
    new = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return tokens[np.repeat(starts - new[:-1], lengths) + np.arange(new[-1])], new


NO_KEYS = Keys(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64))


def window_keys(
    tokens: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> Keys:
    """Keys of the windows tokens[start : start + length]; lengths up to 20.

    `tokens` uint8 [R]; `starts` and `lengths` int64 [N]; every window lies inside `tokens`.
    """
    words = [np.zeros(len(starts), dtype=np.uint64), np.zeros(len(starts), dtype=np.uint64)]
    last = len(tokens) - 1
    for j in range(MAX_LENGTH):
        letter = tokens[np.minimum(starts + j, last)].astype(np.uint64) + np.uint64(1)
        letter[j >= lengths] = 0
        word = j // _IN_ONE_WORD
        words[word] = (words[word] << _BITS) | letter
    return Keys(words[0], words[1])


@dataclass(frozen=True, eq=False)
class Kmers:
    """All k-mers of N sequences: `key` uint64 [M], `owner` int32 [M], `distinct` uint8 [M].

    `distinct` counts the different letters of a k-mer.
    """

    key: NDArray[np.uint64]
    owner: NDArray[np.int32]
    distinct: NDArray[np.uint8]


# Set bits of a 16-bit number; numpy 1.26 has no bitwise_count.
_ONES = np.unpackbits(np.arange(1 << 16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16)
_POPCOUNT = _ONES.sum(axis=1, dtype=np.uint8)


def kmers(tokens: NDArray[np.uint8], offsets: NDArray[np.int64], k: int) -> Kmers:
    """The k-mers (k <= 12) of the sequences tokens[offsets[i] : offsets[i + 1]].

    `tokens` uint8 [R], `offsets` int64 [N + 1]. Sequences shorter than k have none.
    """
    count = max(0, len(tokens) - k + 1)
    owner = np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))
    inside = owner[:count] == owner[k - 1 : k - 1 + count]
    starts = np.flatnonzero(inside)
    key = np.zeros(len(starts), dtype=np.uint64)
    seen = np.zeros(len(starts), dtype=np.uint32)
    for j in range(k):
        letter = tokens[starts + j]
        key = (key << _BITS) | (letter.astype(np.uint64) + np.uint64(1))
        seen |= np.uint32(1) << letter.astype(np.uint32)
    distinct = _POPCOUNT[seen & np.uint32(0xFFFF)] + _POPCOUNT[seen >> np.uint32(16)]
    return Kmers(key, owner[starts], distinct)
