"""Measures baselines: what simple models reach on the validation rows.

Nats per residue, of whole windows: a loss averaged over residues can be compared directly.
Proteins are close to random: on human and viral windows order 2 gains about 0.01 nats over the
composition (2.90). A model far below these figures saw its validation rows in training.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import N_LETTERS, N_STANDARD
from mimir.data.composition import Composition
from mimir.data.keys import gather
from mimir.data.split import KNOWN, TRAIN, VALIDATION
from mimir.errors import BadInput
from mimir.runs.figures import FIGURES, Figure
from mimir.runs.ranges import Measure, Size

# Pseudo-counts: of each letter in the composition, and of the lower order's distribution in each
# context. On a million windows markov2 is 2.8915 at a strength of 50 and 2.8908 at 3000.
ALPHA = 1.0
STRENGTH = 1000.0

_START = N_LETTERS
_CONTEXTS = N_LETTERS + 1
_BLOCK = 1 << 16
"""Peptides whose letters are counted at once."""


@dataclass(frozen=True)
class Baseline:
    """Cross-entropies in nats per residue over `residues` validation residues. closed_form: None
    for background, which has no targets."""

    uniform: Measure
    unigram: Measure
    markov2: Measure
    residues: Size
    closed_form: Measure | None = None


@dataclass(frozen=True)
class Baselines:
    """Of the background, the pairs of unseen and those of known targets; None where train or
    validation has no such rows."""

    background: Baseline | None
    pairs: Baseline | None
    known: Baseline | None

    def __post_init__(self) -> None:
        for each in (self.pairs, self.known):
            if each is not None and each.closed_form is None:
                raise BadInput("the baselines of pairs lack their closed form")

    def closed_form(self, figure: Figure) -> float | None:
        """What a figure of told pairs is to reach; None beside any other."""
        mark = self.of(figure) if figure.told else None
        return mark.closed_form if mark else None

    def unreached(self, values: Mapping[str, float | None]) -> list[str]:
        """A sentence for each figure, by key, that is worse than its closed form."""
        found = []
        for figure in FIGURES:
            value, form = values.get(figure.key), self.closed_form(figure)
            if value is not None and form is not None and value > form:
                found.append(
                    f"{figure.name}: the model ({value:.4f}) does not reach the closed form "
                    f"({form:.4f}), which counts letters and learns nothing"
                )
        return found

    def of(self, figure: Figure) -> Baseline | None:
        """What stands beside a held-out figure; None if nothing does."""
        kinds = {"background": self.background, "pairs": self.pairs, "known": self.known}
        return kinds.get(figure.baseline)

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return asdict(self)


def measure(
    tokens: NDArray[np.uint8],
    offsets: NDArray[np.integer],
    labels: NDArray[np.uint8],
    split: NDArray[np.uint8],
    targets: NDArray[np.integer],
    composition: Composition,
) -> Baselines:
    """Baselines of N peptides.

    Background: fitted on the training background, evaluated on the validation background.
    Pairs: fitted on the training pairs, evaluated on those of either validation set.

    uniform   ln 20
    unigram   the composition, over all 25 letters, with ALPHA added to each count
    markov2   p(x | a, b) of the two letters before; a window's first letters have a start
              symbol before them. Each order is smoothed by the next lower one, p(x | c) =
              (n(c x) + STRENGTH p(x | shorter c)) / (n(c) + STRENGTH), which is the mean of a
              Dirichlet posterior (MacKay & Peto, Natural Language Engineering 1995). Pairs are too
              few for that: theirs is smoothed by the background's markov2, each letter weighed by
              how much more frequent it is in pairs.
    closed_form  of pairs: p(letter | target) of `composition`, with no model at all

    `tokens` uint8 [R], `offsets` [N + 1], `labels` (0: background) and `split` (as `split_rows`)
    uint8 [N], `targets` integer [N], -1 where there is none.
    """
    by_target = composition.bias() + np.log(composition.prior)

    def rows_of(kind: int, part: int) -> NDArray[np.int64]:
        return np.flatnonzero((split == part) & (labels == kind))

    def counts(kind: int) -> NDArray[np.float64] | None:
        rows = rows_of(kind, TRAIN)
        blocks = [rows[begin : begin + _BLOCK] for begin in range(0, len(rows), _BLOCK)]
        found = (_counts(*_in_context(tokens, offsets, block)[:2]) for block in blocks)
        return sum(found, np.zeros(())) if blocks else None

    def judged(kind: int, part: int, model: "_Model | None") -> Baseline | None:
        rows = rows_of(kind, part)
        if not model or not len(rows):
            return None
        letters, context, lengths = _in_context(tokens, offsets, rows)
        found = model.judge(letters, context)
        if kind == 0:
            return found
        nats = -by_target[np.repeat(targets[rows], lengths), letters]
        return replace(found, closed_form=round(float(nats.mean()), 6))

    background, pairs = counts(0), counts(1)
    prior = None if background is None else _Model.of(background)
    told = None if pairs is None else _Model.of(pairs, prior)
    return Baselines(
        background=judged(0, VALIDATION, prior),
        pairs=judged(1, VALIDATION, told),
        known=judged(1, KNOWN, told),
    )


def _in_context(
    tokens: NDArray[np.uint8], offsets: NDArray[np.integer], rows: NDArray[np.int64]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Letters of some rows and the two letters before each, [n]; the lengths of the rows."""
    letters, new = gather(tokens, offsets, rows)
    lengths = np.diff(new)
    position = np.arange(len(letters)) - np.repeat(new[:-1], lengths)
    before = np.where(position >= 1, np.roll(letters, 1), _START)
    before2 = np.where(position >= 2, np.roll(letters, 2), _START)
    return letters, before2.astype(np.int64) * _CONTEXTS + before, lengths


def _counts(tokens: NDArray[np.uint8], context: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each letter follows each context, [context before the last, last, letter]."""
    cell = context * N_LETTERS + tokens
    counts = np.bincount(cell, minlength=_CONTEXTS * _CONTEXTS * N_LETTERS).astype(np.float64)
    return counts.reshape(_CONTEXTS, _CONTEXTS, N_LETTERS)


@dataclass(frozen=True)
class _Model:
    """unigram [letter] and markov2 [context before the last, last, letter]: probabilities."""

    unigram: NDArray[np.float64]
    markov2: NDArray[np.float64]

    @staticmethod
    def of(count3: NDArray[np.float64], prior: "_Model | None" = None) -> "_Model":
        """Fitted to counts; order 2 is smoothed by the prior's, of order 1 and 0 without one."""
        count2 = count3.sum(axis=0)
        count1 = count2.sum(axis=0)
        p1 = (count1 + ALPHA) / (count1.sum() + ALPHA * N_LETTERS)
        if prior is None:
            below = (count2 + STRENGTH * p1) / (count2.sum(axis=1, keepdims=True) + STRENGTH)
        else:
            below = prior.markov2 * (p1 / prior.unigram)
            below /= below.sum(axis=2, keepdims=True)
        p3 = (count3 + STRENGTH * below) / (count3.sum(axis=2, keepdims=True) + STRENGTH)
        return _Model(p1, p3)

    def judge(self, tokens: NDArray[np.uint8], context: NDArray[np.int64]) -> Baseline:
        """Cross-entropies of these letters in their contexts."""
        nats1 = -np.log(self.unigram)[tokens]
        nats3 = -np.log(self.markov2).reshape(-1, N_LETTERS)[context, tokens]
        # Rounded, so that the last bits of a platform's log do not change a packed file's digest.
        return Baseline(
            uniform=round(math.log(N_STANDARD), 6),
            unigram=round(float(nats1.mean()), 6),
            markov2=round(float(nats3.mean()), 6),
            residues=len(tokens),
        )
