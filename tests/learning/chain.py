"""Synthetic peptides whose true distribution is known: a Markov chain with planted motifs.

A background peptide of length L is a path of a stationary first-order chain over the 20
letters. A peptide of target k is such a path in which three residues in a row, at a place
drawn uniformly, are overwritten by the motif of k. Both have a likelihood in closed form,
so the entropy that no model can beat is computed, not guessed.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MOTIF = 3
LETTERS = 20


@dataclass(frozen=True)
class Peptide:
    tokens: tuple[int, ...]
    target: int | None


class Chain:
    """The true distribution, drawn from a seed."""

    def __init__(self, targets: int, seed: int, sharpness: float) -> None:
        self.random = np.random.default_rng(seed)
        self.step: Array = self.random.dirichlet([sharpness] * LETTERS, size=LETTERS)
        # A little of everything keeps the likelihood of every peptide positive.
        self.step = 0.98 * self.step + 0.02 / LETTERS
        self.start: Array = np.linalg.matrix_power(self.step, 200)[0]
        # What follows a letter once MOTIF letters after it are not looked at.
        self.leap: Array = np.linalg.matrix_power(self.step, MOTIF + 1)
        self.motifs = [tuple(self.random.integers(0, LETTERS, MOTIF)) for _ in range(targets)]

    def draw(self, target: int | None) -> Peptide:
        """One peptide of 6 to 16 residues."""
        length = int(self.random.integers(6, 17))
        tokens = [int(self.random.choice(LETTERS, p=self.start))]
        while len(tokens) < length:
            tokens.append(int(self.random.choice(LETTERS, p=self.step[tokens[-1]])))
        if target is not None:
            place = int(self.random.integers(0, length - MOTIF + 1))
            tokens[place : place + MOTIF] = [int(x) for x in self.motifs[target]]
        return Peptide(tuple(tokens), target)

    def nats(self, peptide: Peptide) -> float:
        """-log p(tokens | length, target)."""
        x = peptide.tokens
        if peptide.target is None:
            return -float(np.log(self._path(x)))
        motif, total = self.motifs[peptide.target], 0.0
        places = len(x) - MOTIF + 1
        for place in range(places):
            end = place + MOTIF
            if x[place:end] != motif:
                continue
            chance = self._path(x[:place]) if place else 1.0
            if end < len(x):
                chance *= self.leap[x[place - 1], x[end]] if place else self.start[x[end]]
                chance *= self._path(x[end:]) / self.start[x[end]]
            total += chance / places
        return -float(np.log(total))

    def _path(self, x: tuple[int, ...]) -> float:
        chance = self.start[x[0]]
        for a, b in itertools.pairwise(x):
            chance *= self.step[a, b]
        return float(chance)
