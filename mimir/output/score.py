"""Scores peptides: the NELBO under a condition, with its standard error over repeats of the masks.

A score says how likely the model thinks a peptide is. Two conditions are compared on the same
masks, so that most of the noise cancels: what a target is worth is the NELBO untold minus the NELBO
told, in nats, an estimate of log p(peptide | target) - log p(peptide).

The masks of a peptide depend on its letters and the number of repeats alone, so its score does not
depend on what else is scored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimir.data.alphabet import MAX_LENGTH, encode
from mimir.data.keys import window_keys
from mimir.model import philox
from mimir.model.batch import Plan, exact_batch
from mimir.model.denoiser import Denoiser
from mimir.model.objective import bound
from mimir.output.condition import BACKGROUND, LABELS, Condition

REPEATS = 12
_ROWS = 512
"""Masked peptides of one pass."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """An estimate of each peptide and its standard error, in nats; float64 [N] each."""

    value: Array
    error: Array


@dataclass(frozen=True)
class Scores:
    """Of N peptides under one condition.

    nelbo: under it. over_untold: NELBO with the label alone minus that, 0 without a target.
    over_background: NELBO as background minus that.
    """

    nelbo: Figure
    over_untold: Figure
    over_background: Figure

    def key(self, condition: Condition) -> Figure:
        """What peptides are ranked by, the highest first.

        With a target what it is worth, which is 0 if the model knows nothing of it; with a label
        alone what is gained over background, or for background and unlabelled peptides the
        likelihood itself, as the negative NELBO.
        """
        if condition.told or condition.name:
            return self.over_untold
        if condition.label == LABELS["interacting"]:
            return self.over_background
        return Figure(-self.nelbo.value, self.nelbo.error)


class Scorer:
    """Scores some peptides under any number of conditions.

    Args:
        sequences: of 4 to 20 letters each.
        repeats: masks of each peptide and condition, 2 at least.
        progress: told how many (peptide, condition) were scored.
    """

    def __init__(
        self, model: Denoiser, sequences: Sequence[str], repeats: int = REPEATS,
        progress: Callable[[int], None] = lambda done: None,
    ) -> None:  # fmt: skip
        self.sequences = sequences
        self._model, self._progress = model, progress
        self._masks = Masks.of(sequences, repeats)
        self._known: dict[Condition, Array] = {}

    @staticmethod
    def passes(conditions: Sequence[Condition]) -> int:
        """Conditions that have to be scored for these: with those that they are compared to."""
        scored = {one if one.told else one.untold for one in conditions}
        return len({*scored, *(one.untold for one in conditions), BACKGROUND})

    def scores(self, condition: Condition) -> Scores:
        """Under a condition."""
        told = self.nelbos(condition)
        return Scores(
            self._figure(told), self._figure(self._kept(condition.untold) - told),
            self._figure(self._kept(BACKGROUND) - told),
        )  # fmt: skip

    def nelbos(self, condition: Condition) -> Array:
        """One estimate of the NELBO by each mask: float64 [N, repeats], nats."""
        if not condition.told:
            return self._kept(condition.untold)
        return self._measured(condition)

    def _kept(self, condition: Condition) -> Array:
        # Of few conditions, to which all others are compared.
        if condition not in self._known:
            self._known[condition] = self._measured(condition)
        return self._known[condition]

    def _measured(self, condition: Condition) -> Array:
        found = np.empty(self._masks.level.shape)
        peptides = max(1, _ROWS // found.shape[1])
        for start in range(0, len(found), peptides):
            part = slice(start, start + peptides)
            found[part] = self._masks.nelbos(self._model, part, condition)
            self._progress(len(found[part]))
        return found

    def _figure(self, found: Array) -> Figure:
        return Figure(found.mean(1), self._masks.error(found))


@dataclass(frozen=True)
class Masks:
    """Which residues of N peptides are hidden in each of R repeats.

    tokens int64 [N, P], length int64 [N], level int64 [N, R] (words that choose the masked
    counts, spread evenly over the repeats), key int64 [N] (a word for each peptide's letters).
    """

    tokens: Tensor
    length: Tensor
    level: Tensor
    key: Tensor

    @staticmethod
    def of(sequences: Sequence[str], repeats: int) -> "Masks":
        """Of these peptides."""
        letters = encode("".join(sequences))
        lengths = np.array([len(each) for each in sequences], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        keys = window_keys(letters, starts, lengths)
        # Fibonacci hashing (Knuth, The Art of Computer Programming 3, section 6.4).
        mixed = (keys.hi ^ (keys.lo * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(
            0xD6E8FEB86659FD93
        )
        key = torch.tensor((mixed >> np.uint64(32)).astype(np.int64))
        place = starts[:, None] + np.arange(MAX_LENGTH)
        tokens = torch.tensor(letters[np.minimum(place, len(letters) - 1)].astype(np.int64))
        offset = philox.words(0, philox.EVAL_TIME, key, 1)
        level = (offset + (torch.arange(repeats) << 32) // repeats) & 0xFFFFFFFF
        return Masks(tokens, torch.tensor(lengths), level, key)

    def nelbos(self, model: Denoiser, part: slice, condition: Condition) -> Array:
        """Estimates of these peptides under a condition: float64 [n, R]."""
        device, repeats = model.letter.device, self.level.shape[1]
        length = self.length[part].repeat_interleave(repeats)
        count = 1 + ((self.level[part].reshape(-1) * length) >> 32)
        column = torch.arange(MAX_LENGTH)
        valid = column < length[:, None]
        noise = torch.stack(
            [philox.words(r + 1, philox.EVAL_MASK, self.key[part], MAX_LENGTH)
             for r in range(repeats)], dim=1,
        ).view(-1, MAX_LENGTH)  # fmt: skip
        noise = torch.where(valid, (noise << 5) | column, (1 << 37) | column)
        rank = noise.argsort(1).argsort(1)
        label, target = condition.rows(model, len(length))
        batch = exact_batch(Plan(
            self.tokens[part].repeat_interleave(repeats, 0).to(device), valid.to(device),
            (rank < count[:, None]).to(device), count.to(device), length.to(device),
            ((count - 1) * model.timesteps // length + 1).to(device), label, target,
            condition.shift(model, len(length)),
        ))  # fmt: skip
        with torch.no_grad():
            terms = bound(model, batch).to(torch.float64).cpu()
        assert batch.layout.predict is not None
        owner = (batch.layout.slot_of[batch.layout.predict] // MAX_LENGTH).cpu()
        total = torch.zeros(len(length), dtype=torch.float64).index_add_(0, owner, terms)
        return total.view(-1, repeats).numpy()

    def error(self, found: Array) -> Array:
        """Standard error of the mean over the repeats, float64 [N] of [N, R].

        The counts are a systematic sample, whose variance successive differences estimate (Wolter
        2007, Introduction to Variance Estimation, section 8.2): plain variance would count as noise
        that few masked residues are easier than many.
        """
        order = self.level.argsort(1).numpy()
        steps = np.diff(np.take_along_axis(found, order, 1), axis=1)
        repeats = found.shape[1]
        error: Array = np.sqrt((steps**2).sum(1) / (2 * repeats * max(1, repeats - 1)))
        return error


def ranks(key: Array) -> NDArray[np.int64]:
    """1 for the highest of each column, 2 for the next; equal ones in the order in which they come.

    key: float64 [N] or [N, T].
    """
    order = np.argsort(-key, axis=0, kind="stable")
    found: NDArray[np.int64] = np.argsort(order, axis=0, kind="stable") + 1
    return found
