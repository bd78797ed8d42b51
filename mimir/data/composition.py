"""Which letters the peptides of a target have: counted, and where little was, borrowed.

A hierarchy of Dirichlet priors (MacKay & Peto, Natural Language Engineering 1995):

    p(letter | target) = (own + OWN q) / (n + OWN)
    q(letter | target) = (sum of w counts + SIMILAR p0) / (sum of w n + SIMILAR)

own, n: letters of the target's training pairs, and how many. counts, n and w: those of the other
targets, and how alike they are (`likeness`). p0: the composition of all training pairs. OWN and
SIMILAR were chosen by looking at held-out pairs of three splits; the figures are flat around them.

What a model is given is log p(letter | target) - log p0(letter), added to its logits. It is
computed from ratios to p0, which are exactly 1 where nothing is known: a target without pairs and
without relatives adds exactly 0. In training a peptide is left out of own, not of counts: see
`mimir.model.composition`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import N_LETTERS
from mimir.data.keys import gather
from mimir.data.likeness import Described, Likeness

OWN = 60.0
"""Letters that what is similar counts as, beside a target's own."""
SIMILAR = 300.0
"""Letters that all pairs count as, beside those of similar targets."""
ALPHA = 1.0
"""Added to each letter's count in the composition of all training pairs."""


@dataclass(frozen=True, eq=False)
class Composition:
    """Of V targets.

    own: int64 [V, 25], letters of each target's training pairs. borrowed: float64 [V, 25],
    q / p0. prior: float64 [25], p0.
    """

    own: NDArray[np.int64]
    borrowed: NDArray[np.float64]
    prior: NDArray[np.float64]
    likeness: Likeness

    @staticmethod
    def of(own: NDArray[np.int64], described: Described) -> "Composition":
        """From counts of the training pairs, int64 [V, 25], and what is known of the targets."""
        total = own.sum(axis=0) + ALPHA
        prior = total / total.sum()
        likeness = Likeness(described, _usable(own, described))
        taken = likeness.borrowed_within(own.astype(np.float64))
        return Composition(own, _smoothed(taken, prior), prior, likeness)

    def bias(self) -> NDArray[np.float64]:
        """log p(letter | target) - log p0 of all V targets with their own counts: [V, 25]."""
        return log_ratio(self.own, self.borrowed, self.prior)

    def of_new(self, described: Described) -> NDArray[np.float64]:
        """The same for T other targets, from what is similar to them: float64 [T, 25]."""
        taken = self.likeness.borrowed(described, self.own.astype(np.float64))
        borrowed = _smoothed(taken, self.prior)
        return log_ratio(np.zeros_like(borrowed), borrowed, self.prior)


def log_ratio(
    own: NDArray[np.generic], borrowed: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """log p(letter | target) - log p0(letter): float64 [..., 25] of `own` and `borrowed`."""
    counts = own.astype(np.float64)
    above = counts / prior + OWN * borrowed
    result: NDArray[np.float64] = np.log(above / (counts.sum(axis=-1, keepdims=True) + OWN))
    return result


def letters_of(
    tokens: NDArray[np.uint8], offsets: NDArray[np.integer], rows: NDArray[np.int64],
    targets: NDArray[np.integer], count: int,
) -> NDArray[np.int64]:  # fmt: skip
    """Letters of the peptides of each target: int64 [count, 25].

    Args:
        tokens: uint8 [R]; peptide i is tokens[offsets[i] : offsets[i + 1]].
        rows: which peptides count, int64 [n].
        targets: of all peptides.
    """
    letters, new = gather(tokens, offsets, rows)
    cells = np.repeat(targets[rows].astype(np.int64), np.diff(new)) * N_LETTERS + letters
    return np.bincount(cells, minlength=count * N_LETTERS).reshape(count, N_LETTERS)


def _usable(own: NDArray[np.int64], described: Described) -> NDArray[np.bool_]:
    """Which targets can be borrowed from."""
    usable: NDArray[np.bool_] = (own.sum(axis=1) > 0) & described.known
    return usable


def _smoothed(taken: NDArray[np.float64], prior: NDArray[np.float64]) -> NDArray[np.float64]:
    """q / p0 of counts that are taken from similar targets, float64 [T, 25] each."""
    ratios: NDArray[np.float64] = (taken / prior + SIMILAR) / (
        taken.sum(axis=1, keepdims=True) + SIMILAR
    )
    return ratios
