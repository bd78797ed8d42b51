"""Measures what its target is worth to a model, with intervals, for `python -m mimir evaluate`.

All figures are differences of NELBOs on the same masks. Their intervals are bootstraps (Efron &
Tibshirani 1993, percentile intervals) over whole targets, for pairs of one target are no
independent evidence, and beside them over clusters of similar peptides. Those over targets are two
to four times as wide.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mimir.data import similar
from mimir.data.alphabet import MAX_LENGTH
from mimir.data.draw import BOOTSTRAP, OTHER_TARGETS, Draws
from mimir.data.similar import Peptide
from mimir.model.batch import DeviceData
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate

DRAWS = 2000
OTHERS = 4
"""Other targets of the same set that each pair's own is compared with."""
WAYS = 3 + OTHERS
"""Times that `measure` takes each pair through the model, for each of its repeats."""

Array = NDArray[np.float64]
Groups = NDArray[np.integer]


@dataclass(frozen=True)
class Interval:
    """The 2.5th and the 97.5th percentile of a bootstrap."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A figure with its intervals over targets and over clusters of similar peptides."""

    value: float
    targets: Interval
    clusters: Interval


@dataclass(frozen=True)
class TargetGain:
    """gain: untold minus own, and shuffled: shuffled minus own target, in nats per residue.

    choices: share of the choices between the own and another target in which the own gives the
    lower NELBO; 0.5 is chance. Its value depends on the number of mask repeats: few add noise,
    which draws it towards chance.
    """

    pairs: int
    targets: int
    clusters: int
    repeats: int
    gain: Estimate
    shuffled: Estimate
    choices: Estimate


def measure(
    own: DeviceData, shuffled: DeviceData, untold: DeviceData, model: Denoiser, timesteps: int,
    repeats: int, progress: Callable[[int], None] = lambda done: None,
) -> TargetGain | None:  # fmt: skip
    """Over held-out pairs, told in three ways; None without two targets at least.

    Args:
        timesteps: T.
        repeats: passes with other masks.
        progress: told how many pairs went through the model, of WAYS * repeats * pairs.
    """
    targets = own.targets.cpu().numpy()
    distinct = np.unique(targets)
    if len(distinct) < 2:
        return None

    def nats(data: DeviceData) -> Array:
        found = evaluate(model, data, timesteps, repeats=repeats).numpy()
        progress(len(data) * repeats)
        return found

    told = nats(own)
    wins = np.zeros(len(told))
    place = np.searchsorted(distinct, targets)
    draws = Draws(0, OTHER_TARGETS)
    for _ in range(OTHERS):
        # Any of the other targets, each as likely: their places counted on from the own.
        other = distinct[(place + 1 + draws.below(len(distinct) - 1, len(told))) % len(distinct)]
        index = torch.tensor(other, dtype=torch.int64, device=own.targets.device)
        theirs = nats(replace(own, targets=index))
        wins += (told < theirs) + 0.5 * (told == theirs)
    residues = own.lengths.cpu().numpy().astype(np.float64)
    cluster = _clusters(own)

    def estimate(above: Array, below: Array) -> Estimate:
        return Estimate(
            float(above.sum() / below.sum()), interval(above, below, place),
            interval(above, below, cluster),
        )  # fmt: skip

    return TargetGain(
        len(told), len(distinct), len(np.unique(cluster)), repeats,
        gain=estimate(nats(untold) - told, residues),
        shuffled=estimate(nats(shuffled) - told, residues),
        choices=estimate(wins, np.full(len(told), float(OTHERS))),
    )  # fmt: skip


def _clusters(data: DeviceData) -> NDArray[np.int64]:
    """Cluster of each peptide, 0, 1, …: int64 [R]. Equal peptides are in one."""
    place = data.starts[:, None] + torch.arange(MAX_LENGTH, device=data.starts.device)
    letters = data.tokens[place].cpu().numpy()
    lengths = data.lengths.cpu().numpy()
    letters[np.arange(MAX_LENGTH) >= lengths[:, None]] = similar.END
    found = similar.clusters(Peptide(letters, lengths))
    return np.unique(found, return_inverse=True)[1].reshape(-1)


def interval(above: Array, below: Array, group: Groups) -> Interval:
    """Of sum(above) / sum(below), float64 [N] each, over groups 0, 1, … of rows."""
    over = np.bincount(group, weights=above)
    under = np.bincount(group, weights=below)
    chosen = Draws(0, BOOTSTRAP).below(len(over), DRAWS * len(over)).reshape(DRAWS, -1)
    found = over[chosen].sum(axis=1) / under[chosen].sum(axis=1)
    low, high = np.percentile(found, [2.5, 97.5])
    return Interval(float(low), float(high))
