"""Doubts about data that breaks no rule: letters that are no protein's, targets with few pairs."""

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import LETTERS, N_STANDARD, STANDARD

FEW_PAIRS = 5
"""A target with fewer pairs is called one with few."""
LEAST_LETTERS = 400
"""Fewer letters than this say too little of what they were drawn from."""
NUCLEOTIDES = "ACGTUN"
"""Bases, and the unknown base. Of a protein's letters they are a quarter."""
MOST_NUCLEOTIDES = 0.9
EVEN = 2.98
"""Nats. Twenty letters at random have ln 20 = 2.996, proteomes 2.85 to 2.92."""
EVEN_LETTERS = 4000
"""So many letters at random have an entropy above 2.990 in 999 of 1,000 draws."""
FAR = 0.35
"""Nats of relative entropy to `PROTEIN`. Letters of which a quarter are N and K, as in Plasmodium,
have 0.12, the sample's pairs 0.03, bases alone 1.7."""
# Percent of each of ACDEFGHIKLMNPQRSTVWY in UniProtKB/Swiss-Prot (its release statistics).
_PERCENT = (8.25, 1.38, 5.46, 6.72, 3.86, 7.07, 2.27, 5.91, 5.80, 9.65, 2.41, 4.06, 4.74, 3.93,
            5.53, 6.65, 5.36, 6.86, 1.10, 2.92)  # fmt: skip
PROTEIN: NDArray[np.float64] = np.array(_PERCENT) / sum(_PERCENT)


def of_nucleotides(what: str, counts: NDArray[np.integer]) -> str:
    """Whether letters, [25] counts of `LETTERS`, are those of DNA or RNA: a sentence, or "".

    what: they are, in the plural; it begins the sentence.
    """
    total = int(counts.sum())
    bases = sum(int(counts[LETTERS.index(letter)]) for letter in NUCLEOTIDES)
    if total < LEAST_LETTERS or bases < MOST_NUCLEOTIDES * total:
        return ""
    return (
        f"{what} look like DNA or RNA: {bases / total:.0%} of their letters are A, C, G, T, U "
        "or N; translate them first"
    )


def of_letters(what: str, counts: NDArray[np.integer]) -> list[str]:
    """Whether letters, [25] counts of `LETTERS`, look like a protein's: at most one sentence.

    what: they are, in the plural; it begins the sentence.
    """
    total = int(counts.sum())
    if total < LEAST_LETTERS:
        return []
    if bases := of_nucleotides(what, counts):
        return [bases]
    standard = counts[:N_STANDARD].astype(np.float64)
    share = standard / max(1.0, standard.sum())
    seen = share > 0
    entropy = -float((share[seen] * np.log(share[seen])).sum())
    if total >= EVEN_LETTERS and entropy > EVEN:
        return [
            f"{what} have all letters alike often (entropy {entropy:.3f} nats, proteins have 2.85 "
            "to 2.92): they look like random letters, of which a model can learn nothing"
        ]
    far = float((share[seen] * np.log(share[seen] / PROTEIN[seen])).sum())
    if far > FAR:
        most = STANDARD[int(np.argmax(share / PROTEIN))]
        return [
            f"{what} have another composition than proteins (relative entropy {far:.2f} nats; "
            f"{share[STANDARD.index(most)]:.0%} of their letters are {most})"
        ]
    return []


def of_targets(pairs: NDArray[np.integer], trained: str = "") -> list[str]:
    """Whether targets have few pairs, by their numbers of pairs [T]: at most one sentence."""
    few = int((pairs < FEW_PAIRS).sum())
    if not few:
        return []
    return [
        f"{few:,} of {len(pairs):,} targets have fewer than {FEW_PAIRS}{trained} pairs: of each of "
        "these a model learns little"
    ]
