"""Measures what its target is worth to a model, with intervals, for `python -m mimir evaluate`.

All figures are differences of NELBOs on the same masks. Their intervals are bootstraps over whole
targets (Efron & Tibshirani 1993, percentile intervals): pairs of one target are no independent
evidence, and over pairs alone the intervals come out two to four times too narrow.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from mimir.data.draw import BOOTSTRAP, OTHER_TARGETS, Draws
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate
from mimir.training.figures import HeldOut

DRAWS = 2000
OTHERS = 4
"""Other trained targets that each pair's own is compared with."""


@dataclass(frozen=True)
class Estimate:
    """A figure with the 2.5th and the 97.5th percentile of its bootstrap over targets."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class TargetGain:
    """gain: untold minus own, and shuffled: shuffled minus own target, in nats per residue.

    choices: share of the choices between the own and another trained target in which the own
    gives the lower NELBO; 0.5 is chance. Its value depends on the number of mask repeats: few add
    noise, which draws it towards chance.
    """

    pairs: int
    targets: int
    repeats: int
    gain: Estimate
    shuffled: Estimate
    choices: Estimate


def measure(held: HeldOut, model: Denoiser, timesteps: int, repeats: int) -> TargetGain | None:
    """Over the held-out pairs of known targets; None without two targets at least.

    Args:
        timesteps: T.
        repeats: passes with other masks.
    """
    targets = held.known.targets.cpu().numpy()
    distinct = np.unique(targets)
    if len(distinct) < 2:
        return None

    def nats(told: NDArray[np.integer] | None = None) -> NDArray[np.float64]:
        data = held.known
        if told is not None:
            index = torch.tensor(told, dtype=torch.int64, device=data.targets.device)
            data = replace(data, targets=index)
        return evaluate(model, data, timesteps, repeats=repeats).numpy()

    own = nats()
    untold = evaluate(model, held.untold, timesteps, repeats=repeats).numpy()
    shuffled = evaluate(model, held.shuffled, timesteps, repeats=repeats).numpy()
    wins = np.zeros(len(own))
    place = np.searchsorted(distinct, targets)
    draws = Draws(0, OTHER_TARGETS)
    for _ in range(OTHERS):
        # Any of the other targets, each as likely: their places counted on from the own.
        other = distinct[(place + 1 + draws.below(len(distinct) - 1, len(own))) % len(distinct)]
        theirs = nats(other)
        wins += (own < theirs) + 0.5 * (own == theirs)
    residues = held.known.lengths.cpu().numpy().astype(np.float64)
    choices = np.full(len(own), float(OTHERS))
    return TargetGain(
        len(own), len(distinct), repeats,
        gain=ratio(untold - own, residues, place), shuffled=ratio(shuffled - own, residues, place),
        choices=ratio(wins, choices, place),
    )  # fmt: skip


def ratio(
    above: NDArray[np.float64], below: NDArray[np.float64], group: NDArray[np.integer]
) -> Estimate:
    """sum(above) / sum(below), float64 [N] each, with its interval over groups 0, 1, … of rows."""
    over = np.bincount(group, weights=above)
    under = np.bincount(group, weights=below)
    chosen = Draws(0, BOOTSTRAP).below(len(over), DRAWS * len(over)).reshape(DRAWS, -1)
    found = over[chosen].sum(axis=1) / under[chosen].sum(axis=1)
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(float(over.sum() / under.sum()), float(low), float(high))
