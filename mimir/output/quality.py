"""How good a set of samples is, beside real held-out peptides and random ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mimir.data.alphabet import LETTERS, STANDARD
from mimir.data.draw import RANDOM_PEPTIDES, Draws
from mimir.data.keys import window_keys
from mimir.data.pack import KNOWN, TRAIN, VALIDATION, Peptides
from mimir.output.likeness import COPY, Likeness, Neighbours, divergence, texts

MOST_REAL = 5000
"""Training pairs that samples are compared to; of more, as many that are evenly spread."""
BEST = 5
"""Targets that are shown by themselves: those with most training pairs."""
SAMPLES, RANDOM = "samples", "random letters"


@dataclass(frozen=True)
class Quality:
    """Of a few samples, in the metrics.

    unique: share of different ones. novel: share of these that are not in the training data. kl:
    divergence of their composition from the training pairs' in nats. copies: share of near copies
    of training pairs.
    """

    unique: float
    novel: float
    kl: float
    copies: float

    @property
    def sentence(self) -> str:
        """For the log."""
        return (
            f"{self.novel:.0%} not in the training data, {self.unique:.0%} unique, "
            f"{self.copies:.0%} near copies, composition {self.kl:.3f} nats from training's"
        )


class Reference:
    """Real peptides to compare samples with: training pairs, or background if there are none."""

    def __init__(self, peptides: Peptides) -> None:
        self._peptides = peptides
        self.label = int(len(peptides.subset(TRAIN, 1)) > 0)
        self.what = "pairs" if self.label else "background"
        self.real = Neighbours(self._some(TRAIN, self.label, MOST_REAL))
        self.known = known_in(peptides)

    def _some(self, split: int, label: int, most: int) -> list[str]:
        data = self._peptides
        return texts(data.tokens, data.offsets, data.spread(split, label, most))

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Peptides that no training saw, to compare samples with."""
        held = self._some(VALIDATION, self.label, MOST_REAL)
        if self.label:
            held += self._some(KNOWN, 1, MOST_REAL)
        found = {f"held-out {self.what}": held}
        if self.label:
            found["held-out background"] = self._some(VALIDATION, 0, MOST_REAL)
        return {name: some for name, some in found.items() if some}

    def quality(self, samples: Sequence[str]) -> Quality:
        """Of a few samples; there is at least one."""
        distinct = sorted(set(samples))
        near = [self.real.nearest(each)[1] >= COPY for each in samples]
        return Quality(
            len(distinct) / len(samples), 1 - sum(self.known(distinct)) / len(distinct),
            divergence(samples, self.real.sequences), sum(near) / len(samples),
        )  # fmt: skip

    def sets(self, samples: Sequence[str]) -> dict[str, list[str]]:
        """Samples, the groups, and peptides of random letters: sets of one size by name.

        The size is that of the smallest, but at least 50 (or all there are): a group that has fewer
        is not shown. Of larger sets peptides are taken that are evenly spread.
        """
        groups = {SAMPLES: list(samples), **self.groups}
        groups = {name: some for name, some in groups.items() if len(some) >= min(50, len(samples))}
        size = min(map(len, groups.values()))
        even = {
            name: [some[at * len(some) // size] for at in range(size)]
            for name, some in groups.items()
        }
        lengths = [len(each) for each in even.get(f"held-out {self.what}", even[SAMPLES])]
        letters = Draws(0, RANDOM_PEPTIDES).below(len(STANDARD), sum(lengths)).tolist()
        ends = np.cumsum(lengths).tolist()
        even[RANDOM] = [
            "".join(STANDARD[letter] for letter in letters[end - length : end])
            for length, end in zip(lengths, ends, strict=True)
        ]
        return even

    def compared(self, sets: dict[str, list[str]]) -> dict[str, Likeness]:
        """Of each set to the real ones."""
        return {name: Likeness.of(some, self.real) for name, some in sets.items()}


def known_in(peptides: Peptides) -> Callable[[list[str]], list[bool]]:
    """A test for membership in the training peptides."""
    starts = peptides.offsets[:-1].astype(np.int64)
    rows = peptides.subset(TRAIN)
    lengths = peptides.lengths.astype(np.int64)
    have = window_keys(peptides.tokens, starts[rows], lengths[rows])
    order = np.lexsort((have.lo, have.hi))
    high, low = have.hi[order], have.lo[order]

    def known(samples: list[str]) -> list[bool]:
        if not samples or not len(high):
            return [False] * len(samples)
        tokens = np.array([LETTERS.index(c) for s in samples for c in s], dtype=np.uint8)
        sizes = np.array([len(s) for s in samples], dtype=np.int64)
        keys = window_keys(tokens, np.cumsum(sizes) - sizes, sizes)
        begins = np.searchsorted(high, keys.hi, side="left")
        ends = np.searchsorted(high, keys.hi, side="right")
        # Few peptides share even the first twelve letters with a sample.
        return [
            bool((low[begin:end] == key).any())
            for begin, end, key in zip(begins, ends, keys.lo, strict=True)
        ]

    return known


def best_covered(peptides: Peptides) -> list[int]:
    """The targets with most training pairs, at most BEST of them; the first of equal ones first."""
    counts = np.bincount(
        peptides.targets[peptides.subset(TRAIN, 1)], minlength=len(peptides.vocabulary)
    )
    order = np.argsort(-counts, kind="stable")[:BEST]
    return [int(target) for target in order if counts[target]]
