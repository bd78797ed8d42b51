"""Groups rows that belong together, so a split by group does not leak.

Two groupings of background windows, both connected components: proteins that share a 12-mer, and
for a CSV without a sidecar windows that share a 7-mer. Pairs: see `similar` and `split`.
"""

import numpy as np
from numpy.typing import NDArray

from mimir.data.keys import kmers

# Over 10.5 million residues of human and viral proteins the largest cluster at k = 12 holds
# 14 % of the residues, and 3.2 % (751 proteins, mostly zinc fingers) once k-mers of fewer than
# five different letters (poly-Q and the like) do not count. k = 10 gives 3.7 %; k = 8 falls
# into one giant component (81 %), as chance alone links proteins there.
PROTEIN_K = 12
PROTEIN_DISTINCT = 5

# Of 999,882 windows of those proteins (about one per 10 residues) 9.2 % fall into the largest
# component at k = 7.
WINDOW_K = 7


def components(
    nodes: int, left: NDArray[np.integer], right: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Smallest node of each node's connected component, int64 [nodes]; edges left[i]-right[i].

    Minimum-label hooking of roots with pointer jumping (Shiloach & Vishkin 1982): a logarithmic
    number of vectorised rounds.
    """
    label = np.arange(nodes, dtype=np.int64)
    while True:
        a, b = label[left], label[right]
        apart = a != b
        if not apart.any():
            return label
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(label, np.maximum(a, b), np.minimum(a, b))
        while True:
            jumped = label[label]
            if np.array_equal(jumped, label):
                break
            label = jumped


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


def window_groups(tokens: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Group of each background window (the index of its first member), int64 [N].

    Windows are linked by a shared 7-mer; those shorter than 7 stand alone (background windows
    are distinct). Weaker than clusters of whole proteins: neighbours that overlap by fewer
    than 7 letters, and homologues, may fall on both sides of a split.
    """
    return _linked_by_kmers(tokens, offsets, WINDOW_K, 1)


def renumbered(labels: NDArray[np.integer]) -> NDArray[np.int32]:
    """Labels as 0, 1, 2 ... in the order of their value, int32 [N]."""
    _, inverse = np.unique(labels, return_inverse=True)
    numbers: NDArray[np.int32] = inverse.astype(np.int32)
    return numbers
