"""Measures baselines: what simple models reach on the validation rows.

Nats per residue, of whole windows: a loss averaged over residues can be compared directly.
Proteins are close to random: on human and viral windows order 2 gains about 0.01 nats over the
composition (2.90). A model far below these figures saw its validation rows in training.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import N_LETTERS, N_STANDARD
from mimir.runs.figures import Figure
from mimir.runs.ranges import Measure, Size

# Pseudo-counts: of each letter in the composition, and of the lower order's distribution in each
# context. On a million windows markov2 is 2.8915 at a strength of 50 and 2.8908 at 3000.
ALPHA = 1.0
STRENGTH = 1000.0

_START = N_LETTERS
_CONTEXTS = N_LETTERS + 1


@dataclass(frozen=True)
class Baseline:
    """Cross-entropies in nats per residue over `residues` validation residues."""

    uniform: Measure
    unigram: Measure
    markov2: Measure
    residues: Size


@dataclass(frozen=True)
class Baselines:
    """Of the background and of the pairs; None where train or validation has no such rows."""

    background: Baseline | None
    pairs: Baseline | None

    def of(self, figure: Figure) -> Baseline | None:
        """What stands beside a held-out figure; None if nothing does."""
        return {"background": self.background, "pairs": self.pairs}.get(figure.baseline)

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def measure(
    tokens: NDArray[np.uint8],
    offsets: NDArray[np.integer],
    labels: NDArray[np.uint8],
    split: NDArray[np.uint8],
) -> Baselines:
    """Baselines of N peptides.

    Background: fitted on the training background, evaluated on the validation background.
    Pairs: fitted on all training rows, evaluated on the validation pairs.

    uniform   ln 20
    unigram   the composition, over all 25 letters, with ALPHA added to each count
    markov2   p(x | a, b) of the two letters before; a window's first letters have a start
              symbol before them. Each order is smoothed by the next lower one, p(x | c) =
              (n(c x) + STRENGTH p(x | shorter c)) / (n(c) + STRENGTH), which is the mean of a
              Dirichlet posterior (MacKay & Peto, Natural Language Engineering 1995).

    `tokens` uint8 [R], `offsets` [N + 1], `labels` and `split` uint8 [N] (0 = background;
    0 = train, 1 = validation).
    """
    lengths = np.diff(offsets)
    position = np.arange(len(tokens)) - np.repeat(offsets[:-1], lengths)
    before = np.where(position >= 1, np.roll(tokens, 1), _START)
    before2 = np.where(position >= 2, np.roll(tokens, 2), _START)
    context = before2.astype(np.int64) * _CONTEXTS + before
    label, held = np.repeat(labels, lengths), np.repeat(split, lengths)
    return Baselines(
        background=_baseline(
            tokens, context, (held == 0) & (label == 0), (held == 1) & (label == 0)
        ),
        pairs=_baseline(tokens, context, held == 0, (held == 1) & (label == 1)),
    )


def _baseline(
    tokens: NDArray[np.uint8],
    context: NDArray[np.int64],
    fit: NDArray[np.bool_],
    judge: NDArray[np.bool_],
) -> Baseline | None:
    if not fit.any() or not judge.any():
        return None
    cell = context[fit] * N_LETTERS + tokens[fit]
    count3 = np.bincount(cell, minlength=_CONTEXTS * _CONTEXTS * N_LETTERS).astype(np.float64)
    count3 = count3.reshape(_CONTEXTS, _CONTEXTS, N_LETTERS)
    count2 = count3.sum(axis=0)
    count1 = count2.sum(axis=0)
    p1 = (count1 + ALPHA) / (count1.sum() + ALPHA * N_LETTERS)
    p2 = (count2 + STRENGTH * p1) / (count2.sum(axis=1, keepdims=True) + STRENGTH)
    p3 = (count3 + STRENGTH * p2) / (count3.sum(axis=2, keepdims=True) + STRENGTH)
    nats1 = -np.log(p1)[tokens[judge]]
    nats3 = -np.log(p3).reshape(-1, N_LETTERS)[context[judge], tokens[judge]]
    # Rounded, so that the last bits of a platform's log do not change a packed file's digest.
    return Baseline(
        uniform=round(math.log(N_STANDARD), 6),
        unigram=round(float(nats1.mean()), 6),
        markov2=round(float(nats3.mean()), 6),
        residues=int(judge.sum()),
    )
