"""Groups rows that belong together, so a split by group does not leak.

Two groupings of background windows, both connected components: proteins that share a 12-mer, and
for a CSV without a sidecar windows that share a 7-mer. Pairs: see `similar` and `split`.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mimir.data.keys import gather, kmers

# Over 10.5 million residues of human and viral proteins the largest cluster at k = 12 holds
# 14 % of the residues, and 3.2 % (751 proteins, mostly zinc fingers) once k-mers of fewer than
# five different letters (poly-Q and the like) do not count. k = 10 gives 3.7 %; k = 8 falls
# into one giant component (81 %), as chance alone links proteins there.
PROTEIN_K = 12
PROTEIN_DISTINCT = 5

# Of 999,882 windows of those proteins (about one per 10 residues) 9.2 % fall into the largest
# component at k = 7.
WINDOW_K = 7

_OWNER_BITS = np.uint64(29)  # seven letters take 35 bits
_OWNER = np.uint64((1 << 29) - 1)
_LETTER_BITS = np.uint64(5)
_FIRST_LETTERS = np.uint64(29 + 4 * 5)
"""What lies above the last four letters of a 7-mer tells in which part it is sorted."""
_AT_ONCE = 1 << 24
_EDGES = 1 << 22
_ROWS = 1 << 16


def components(
    nodes: int, left: NDArray[np.integer], right: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Smallest node of each node's connected component, int64 [nodes]; edges left[i]-right[i]."""
    label = np.arange(nodes, dtype=np.int64)
    link(label, left, right)
    return label


def link(
    label: NDArray[np.signedinteger], left: NDArray[np.integer], right: NDArray[np.integer]
) -> None:
    """Add edges left[i]-right[i] to components, in place: `label` has the smallest node of each.

    Minimum-label hooking of roots with pointer jumping (Shiloach & Vishkin 1982): a logarithmic
    number of vectorised rounds. The order in which edges come does not matter.
    """
    while True:
        a, b = label[left], label[right]
        apart = a != b
        if not apart.any():
            return
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(label, np.maximum(a, b), np.minimum(a, b))
        while True:
            jumped = label[label]
            if np.array_equal(jumped, label):
                break
            label[:] = jumped


def _linked_by_kmers(
    tokens: NDArray[np.uint8], offsets: NDArray[np.int64], k: int, distinct: int
) -> NDArray[np.int64]:
    found = kmers(tokens, offsets, k)
    enough = found.distinct >= distinct
    key, owner = found.key[enough], found.owner[enough]
    order = np.argsort(key, kind="stable")
    key, owner = key[order], owner[order]
    linked = (key[1:] == key[:-1]) & (owner[1:] != owner[:-1])
    return components(len(offsets) - 1, owner[:-1][linked], owner[1:][linked])


def protein_clusters(tokens: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Cluster of each protein (the index of its first member), int64 [N].

    Proteins are linked by a shared 12-mer of at least five different letters.
    `tokens` uint8 [R], `offsets` int64 [N + 1].
    """
    return _linked_by_kmers(tokens, offsets, PROTEIN_K, PROTEIN_DISTINCT)


def window_groups(
    tokens: NDArray[np.uint8], offsets: NDArray[np.integer], rows: NDArray[np.integer]
) -> NDArray[np.int32]:
    """Group of each of some background windows (the index of its first member), int32 [len(rows)].

    Windows are linked by a shared 7-mer; those shorter than 7 stand alone (background windows
    are distinct). Weaker than clusters of whole proteins: neighbours that overlap by fewer
    than 7 letters, and homologues, may fall on both sides of a split.

    `tokens` uint8 [R]; row i is tokens[offsets[i] : offsets[i + 1]]. A 7-mer and the window that it
    is of are one integer, and those integers are sorted in place, a part at a time: no more than
    `_AT_ONCE` of them are in memory.
    """
    lengths = offsets[rows + 1] - offsets[rows]
    parts = -(-int(np.maximum(lengths - (WINDOW_K - 1), 0).sum()) // _AT_ONCE)
    label = np.arange(len(rows), dtype=np.int32)
    for part in range(parts):
        words = np.concatenate([
            found[(found >> _FIRST_LETTERS) % np.uint64(parts) == part]
            for found in _owned_words(tokens, offsets, rows)
        ])  # fmt: skip
        words.sort()
        for begin in range(0, len(words), _EDGES):
            some = words[begin : begin + _EDGES + 1]
            key, owner = some >> _OWNER_BITS, (some & _OWNER).astype(np.int32)
            linked = (key[1:] == key[:-1]) & (owner[1:] != owner[:-1])
            link(label, owner[:-1][linked], owner[1:][linked])
    return label


def _owned_words(
    tokens: NDArray[np.uint8], offsets: NDArray[np.integer], rows: NDArray[np.integer]
) -> Iterator[NDArray[np.uint64]]:
    """The 7-mers of rows, above the number of the row among them, by blocks of rows."""
    for begin in range(0, len(rows), _ROWS):
        block = rows[begin : begin + _ROWS]
        letters, new = gather(tokens, offsets, block)
        count = max(0, len(letters) - WINDOW_K + 1)
        owner = np.repeat(np.arange(len(block)), np.diff(new))
        inside = owner[:count] == owner[WINDOW_K - 1 :]
        letter = letters.astype(np.uint64) + np.uint64(1)
        key = np.zeros(count, dtype=np.uint64)
        for j in range(WINDOW_K):
            key = (key << _LETTER_BITS) | letter[j : j + count]
        owners = owner[:count][inside].astype(np.uint64) + np.uint64(begin)
        yield (key[inside] << _OWNER_BITS) | owners


def renumbered(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Labels as 0, 1, 2 ... in the order of their value, int32 [N]."""
    _, inverse = np.unique(labels, return_inverse=True)
    numbers: NDArray[np.int32] = inverse.astype(np.int32)
    return numbers
