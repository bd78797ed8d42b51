"""How like real peptides a set of peptides is: composition, words, near copies, diversity.

Every figure here can fail, and says little by itself: it stands beside the same figure of real
held-out peptides and of random ones, in sets of the same size. Sets of another size cannot be
compared, because a larger one holds more words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import LETTERS, MAX_LENGTH, N_LETTERS, encode

COPY = 0.6
"""Identity from which a peptide counts as a near copy of another."""
WORD = 3
ALPHA = 1.0
"""Pseudo-count of each letter in a composition."""
_SHIFTS = 2 * MAX_LENGTH - 1
_MOST_COMPARED = 300
"""Peptides of a set that are compared with each other for its diversity."""

Array = NDArray[np.float64]


class Neighbours:
    """Some peptides, to which others are compared.

    Identity of two peptides: letters that are equal when one lies shifted against the other without
    gaps, at the best shift, over the letters of the longer one. Only equal peptides have 1.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self.sequences = list(sequences)
        sizes = np.array([len(each) for each in self.sequences], dtype=np.int64)
        letters = encode("".join(self.sequences))
        owner = np.repeat(np.arange(len(sizes)), sizes)
        place = np.arange(len(letters)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        cell = owner * _SHIFTS + (MAX_LENGTH - 1) - place
        self._sizes = sizes
        self._cells = [cell[letters == letter] for letter in range(N_LETTERS)]

    def identities(self, sequence: str) -> Array:
        """To each of them, float64 [N], from 0 to 1."""
        found = np.concatenate(
            [self._cells[letter] + at for at, letter in enumerate(encode(sequence))]
        )
        counts = np.bincount(found, minlength=len(self._sizes) * _SHIFTS)
        best = counts.reshape(-1, _SHIFTS).max(1)
        identity: Array = best / np.maximum(self._sizes, len(sequence))
        return identity

    def nearest(self, sequence: str) -> tuple[str, float]:
        """The first of the most alike, and its identity; ("", 0.0) if there are none."""
        if not self.sequences:
            return "", 0.0
        found = self.identities(sequence)
        at = int(found.argmax())
        return self.sequences[at], float(found[at])


def composition(sequences: Sequence[str]) -> Array:
    """Share of each of the 25 letters, float64 [25], with ALPHA added to each count."""
    counts = np.bincount(encode("".join(sequences)), minlength=N_LETTERS) + ALPHA
    share: Array = counts / counts.sum()
    return share


def divergence(sequences: Sequence[str], real: Sequence[str]) -> float:
    """KL divergence of the composition of the first from that of the second, in nats (Kullback
    & Leibler 1951); 0 if alike."""
    one, other = composition(sequences), composition(real)
    return float((one * np.log(one / other)).sum())


def shared_words(sequences: Sequence[str], real: Sequence[str]) -> float:
    """Jaccard index of the sets of 3 letters in a row, from 0 (none shared) to 1 (the same)."""
    one, other = _words(sequences), _words(real)
    return len(one & other) / max(1, len(one | other))


def _words(sequences: Sequence[str]) -> set[str]:
    return {s[at : at + WORD] for s in sequences for at in range(len(s) - WORD + 1)}


def diversity(sequences: Sequence[str]) -> float:
    """1 minus the mean identity of two different ones, over at most 300 that are evenly spread."""
    count = min(len(sequences), _MOST_COMPARED)
    if count < 2:
        return 0.0
    some = [sequences[at * len(sequences) // count] for at in range(count)]
    among = Neighbours(some)
    total = sum(float(among.identities(each).sum()) for each in some) - count
    return 1 - total / (count * (count - 1))


@dataclass(frozen=True)
class Likeness:
    """Of a set of peptides to the real pairs of training.

    kl: of letter composition. jaccard: of words of 3 letters. copies: share that is equal to a
    training pair or a near copy of one (identity of 60 % or more). equal: share that is equal to
    one. diversity: within the set. unique: share of different ones.
    """

    peptides: int
    kl: float
    jaccard: float
    copies: float
    equal: float
    diversity: float
    unique: float

    @staticmethod
    def of(sequences: Sequence[str], pairs: Neighbours) -> "Likeness":
        """Of these peptides to those pairs; there is at least one of each."""
        nearest = np.array([pairs.nearest(each)[1] for each in sequences])
        return Likeness(
            len(sequences), divergence(sequences, pairs.sequences),
            shared_words(sequences, pairs.sequences), float((nearest >= COPY).mean()),
            float((nearest == 1).mean()), diversity(sequences),
            len(set(sequences)) / len(sequences),
        )  # fmt: skip


def texts(tokens: NDArray[np.uint8], offsets: NDArray[np.integer], rows: NDArray[np.int64],
          ) -> list[str]:  # fmt: skip
    """Peptides tokens[offsets[i] : offsets[i + 1]] of these rows as strings."""
    return [
        "".join(LETTERS[letter] for letter in tokens[offsets[row] : offsets[row + 1]])
        for row in rows.tolist()
    ]


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Largest difference of two empirical distributions (Kolmogorov-Smirnov), 0 to 1."""
    if not one or not other:
        return float(bool(one) != bool(other))
    a, b = np.sort(np.array(one)), np.sort(np.array(other))
    at = np.concatenate([a, b])
    below = np.searchsorted(a, at, side="right") / len(a)
    return float(np.abs(below - np.searchsorted(b, at, side="right") / len(b)).max())
