"""The composition of a told target as a bias of the logits (`mimir.data.composition`), on a device.

Nothing of it is learned: it is a function of the data, and in training of (seed, step) too.

A limit: in training a peptide's own letters are left out of its target's counts, and not of those
of similar targets. If these have the same peptide, it comes back through `borrowed`: in the sample
for 127 of 2,106 training pairs, at most 7 % of what is borrowed. Held-out pairs count nowhere.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mimir.data.alphabet import N_LETTERS
from mimir.data.composition import OWN
from mimir.data.peptides import Peptides


@dataclass(frozen=True)
class Tables:
    """Of V targets, and behind them a row for none."""

    identity: Tensor
    """int64 [V + 1]: a target's row in the model's embeddings. That of none where there are no
    training pairs: its embedding is still what chance made it."""
    own: Tensor
    """float32 [V + 1, 25]: letters of its training pairs."""
    borrowed: Tensor
    """float32 [V + 1, 25]: what similar targets and all pairs have, as a ratio to `prior`."""
    prior: Tensor
    """float32 [25]: the composition of all training pairs."""

    @staticmethod
    def of(peptides: Peptides, device: torch.device) -> "Tables":
        """Those of a data set."""
        found, none = peptides.composition, len(peptides.vocabulary)
        identity = np.append(np.where(peptides.trained_targets, np.arange(none), none), none)
        own = np.concatenate([found.own, np.zeros((1, N_LETTERS))])
        borrowed = np.concatenate([found.borrowed, np.ones((1, N_LETTERS))])
        return Tables(
            torch.tensor(identity, dtype=torch.int64).to(device),
            torch.tensor(own, dtype=torch.float32).to(device),
            torch.tensor(borrowed, dtype=torch.float32).to(device),
            torch.tensor(found.prior, dtype=torch.float32).to(device),
        )

    def bias(self, target: Tensor, counted: Tensor, letters: Tensor | None = None) -> Tensor:
        """log p(letter | target) - log p0(letter): float32 [*S, 25]; exactly 0 for none.

        Args:
            target: int64 [*S], who tells what is similar.
            counted: int64 [*S], whose own letters count: the same or none.
            letters: int64 [*S, 25], a peptide's own, which are left out of those that count.
        """
        own = self.own[counted]
        if letters is not None:
            own = own - torch.where((counted == len(self.own) - 1)[..., None], 0, letters)
        above = own / self.prior + OWN * self.borrowed[target]
        # A difference of logarithms: of equal numbers it is 0 however a device divides.
        return torch.log(above) - torch.log(own.sum(-1, keepdim=True) + OWN)


def letters_in(tokens: Tensor, valid: Tensor) -> Tensor:
    """How often each letter stands in peptides: int64 [*S, 25] of [*S, P] tokens and slots."""
    letter = torch.arange(N_LETTERS, device=tokens.device)
    return ((tokens[..., None] == letter) & valid[..., None]).sum(-2)
