import numpy as np
import pytest

from mimir.data import doubts
from mimir.data.alphabet import LETTERS, N_LETTERS, N_STANDARD, STANDARD
from mimir.data.draw import Draws


def counts(**shares: float) -> np.ndarray:
    """Of 100,000 letters with these shares, the rest in the proportions of proteins."""
    found = np.zeros(N_LETTERS)
    found[:N_STANDARD] = doubts.PROTEIN
    found[[LETTERS.index(letter) for letter in shares]] = 0
    found *= (1 - sum(shares.values())) / max(found.sum(), 1e-9)
    for letter, share in shares.items():
        found[LETTERS.index(letter)] = share
    return (100_000 * found).round().astype(np.int64)


@pytest.mark.parametrize(("letters", "says"), [
    (counts(), ""),
    (counts(N=0.144, K=0.117), ""),  # Plasmodium falciparum
    (counts(A=0.13, G=0.09, R=0.08, L=0.1), ""),  # Streptomyces
    (counts(A=0.3, C=0.2, G=0.2, T=0.3), "look like DNA or RNA: 100% of"),
    (counts(A=0.25, C=0.2, G=0.2, U=0.25, N=0.05), "look like DNA or RNA: 95% of"),
    (counts(**dict.fromkeys(STANDARD, 0.05)), "all letters alike often (entropy 2.996"),
    (counts(Q=0.6), "another composition than proteins (relative entropy 1.2"),
    (counts(X=0.6), ""),  # unknown residues are none that tell of a composition
    (counts(A=0.3, C=0.2, G=0.2, T=0.3) // 1000, ""),  # too few letters
])  # fmt: skip
def test_letters(letters: np.ndarray, says: str) -> None:
    found = doubts.of_letters("peptides", letters)
    assert len(found) == bool(says)
    assert says in "".join(found)


def test_random_letters_are_known_from_a_few_thousand() -> None:
    drawn = np.bincount(Draws(1, 1).below(20, doubts.EVEN_LETTERS), minlength=N_LETTERS)
    assert "look like random letters" in doubts.of_letters("peptides", drawn)[0]


def test_targets() -> None:
    assert doubts.of_targets(np.array([5, 9])) == []
    assert doubts.of_targets(np.array([], dtype=np.int64)) == []
    assert doubts.of_targets(np.array([1, 4, 5]), " training")[0].startswith(
        "2 of 3 targets have fewer than 5 training pairs"
    )
