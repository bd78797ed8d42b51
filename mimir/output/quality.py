"""How good a set of samples is: valid, distinct, and not in the training data."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mimir.data.alphabet import LETTERS, MAX_LENGTH, MIN_LENGTH, STANDARD
from mimir.data.keys import window_keys
from mimir.data.pack import TRAIN, Peptides


@dataclass(frozen=True)
class Quality:
    """Shares of a set of samples: of 4 to 20 standard letters; distinct; not in the data."""

    valid: float
    unique: float
    novel: float

    @staticmethod
    def of(samples: list[str], known: Callable[[list[str]], list[bool]]) -> "Quality":
        """`known` tells which of some peptides are in the training data."""
        total = max(1, len(samples))
        valid = [
            s for s in samples if MIN_LENGTH <= len(s) <= MAX_LENGTH and set(s) <= set(STANDARD)
        ]
        distinct = sorted(set(valid))
        seen = known(distinct)
        return Quality(
            len(valid) / total, len(distinct) / max(1, len(valid)),
            1 - sum(seen) / max(1, len(distinct)),
        )  # fmt: skip


def known_in(peptides: Peptides) -> Callable[[list[str]], list[bool]]:
    """A test for membership in the training peptides."""
    starts = peptides.offsets[:-1].astype(np.int64)
    rows = peptides.subset(TRAIN)
    lengths = peptides.lengths.astype(np.int64)
    have = window_keys(peptides.tokens, starts[rows], lengths[rows])

    def known(samples: list[str]) -> list[bool]:
        if not samples:
            return []
        tokens = np.array([LETTERS.index(c) for s in samples for c in s], dtype=np.uint8)
        sizes = np.array([len(s) for s in samples], dtype=np.int64)
        keys = window_keys(tokens, np.cumsum(sizes) - sizes, sizes)
        # Few of a million rows share even the first twelve letters with a sample.
        near = have.take(np.isin(have.hi, keys.hi))
        table = set(zip(near.hi.tolist(), near.lo.tolist(), strict=True))
        return [pair in table for pair in zip(keys.hi.tolist(), keys.lo.tolist(), strict=True)]

    return known
