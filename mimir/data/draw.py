"""Draws random numbers that are the same in every version of numpy.

numpy promises stable bits for a bit generator's raw stream, not for the methods of `Generator`
(NEP 19). So only raw 64-bit words of Philox4x64-10 (Salmon et al., SC 2011) and integer
arithmetic are used, with the key (seed, purpose).
"""

import numpy as np
from numpy.typing import NDArray

from mimir.errors import BadInput

# Second word of the key. Purposes of one seed never share a stream; drawing windows adds the
# window's length to its purpose.
HUMAN = 1 << 8
VIRAL = 2 << 8
ROW_ORDER = 3 << 8
SPLIT_BACKGROUND = 4 << 8
SPLIT_PAIRS = 5 << 8
SPLIT_PEPTIDES = 6 << 8
BOOTSTRAP = 7 << 8
OTHER_TARGETS = 8 << 8
SPLIT_HALVES = 9 << 8  # of the background; adds 1 for pairs
MOST_PAIRS = 16 << 8
RANDOM_PEPTIDES = 17 << 8
AT_RANDOM = 18 << 8


def check_seed(seed: int) -> None:
    """BadInput unless it fits into a word of the key."""
    if not 0 <= seed < 1 << 63:
        raise BadInput(f"--seed is {seed}, but must be from 0 to 2^63 - 1")


class Draws:
    """The stream of 64-bit words of one (seed, purpose)."""

    def __init__(self, seed: int, purpose: int) -> None:
        check_seed(seed)
        self._bits = np.random.Philox(key=np.array([seed, purpose], dtype=np.uint64))

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words, uint64 [count]."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def below(self, limit: int, count: int) -> NDArray[np.int64]:
        """The next `count` integers in 0..limit-1, int64 [count].

        Taken modulo `limit`; for the at most 10**8 residues of a proteome the bias is
        under limit / 2**64 < 1e-11.
        """
        return (self.words(count) % np.uint64(limit)).astype(np.int64)

    def order(self, count: int) -> NDArray[np.int64]:
        """A random permutation of 0..count-1, int64 [count]."""
        return np.argsort(self.words(count), kind="stable").astype(np.int64)
