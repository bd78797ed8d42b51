import math
from collections import Counter

import numpy as np
import pytest

from mimir.data.alphabet import LETTERS, encode
from mimir.data.composition import Composition, letters_of, log_ratio
from tests.data.conftest import protein
from tests.data.test_likeness import described, slow

PEPTIDES = [["ACDEFGH", "WWWW"], ["WYWYWY"], ["KLMN"], []]
WHOLE = protein(1, 300)
SEQUENCES = [WHOLE, WHOLE[:25] + protein(2, 275), "", WHOLE[100:200]]


def composition() -> Composition:
    """Four targets: two alike, one without a sequence, one without pairs."""
    own = np.array(
        [np.bincount(encode("".join(texts)), minlength=len(LETTERS)) for texts in PEPTIDES]
    )
    return Composition.of(own, described(*SEQUENCES))


def by_hand(letter: str, sequence: str, own: str, others: list[tuple[str, str]]) -> float:
    """p(letter | target) from the formula: of its sequence, its own letters and those of others."""
    everything = "".join("".join(texts) for texts in PEPTIDES)
    p0 = (everything.count(letter) + 1) / (len(everything) + 25)
    above = below = 0.0
    for theirs, letters in others:
        above += slow(sequence, theirs) * Counter(letters)[letter]
        below += slow(sequence, theirs) * len(letters)
    q = (above + 300 * p0) / (below + 300)
    return (own.count(letter) + 60 * q) / (len(own) + 60)


def test_it_is_the_formula() -> None:
    found = composition()
    table = found.bias() + np.log(found.prior)
    letters = ["".join(texts) for texts in PEPTIDES]
    for i, sequence in enumerate(SEQUENCES):
        others = [(s, t) for j, (s, t) in enumerate(zip(SEQUENCES, letters, strict=True)) if j != i]
        for k, letter in enumerate(LETTERS):
            expected = by_hand(letter, sequence, letters[i], others)
            assert math.exp(table[i, k]) == pytest.approx(expected, rel=1e-12)
    assert np.exp(table).sum(axis=1) == pytest.approx(1)


def test_a_new_sequence_borrows_from_all_that_is_similar() -> None:
    found, new = composition(), WHOLE[:140]
    row = found.of_new(described(new))[0] + np.log(found.prior)
    others = [(s, "".join(t)) for s, t in zip(SEQUENCES, PEPTIDES, strict=True)]
    expected = [by_hand(letter, new, "", others) for letter in LETTERS]
    assert np.exp(row) == pytest.approx(expected, rel=1e-12)


def test_nothing_known_is_exactly_nothing() -> None:
    found = composition()
    apart = found.of_new(described("", "YYYYYYYY"))
    assert (apart == 0).all()
    none = log_ratio(np.zeros((1, 25)), np.ones((1, 25)), found.prior)
    assert (none == 0).all()
    alone = Composition.of(np.zeros((2, 25), np.int64), described(WHOLE, WHOLE))
    assert (alone.bias() == 0).all()


def test_letters_are_counted_by_target() -> None:
    tokens, offsets = encode("AAAACCCCAAAA"), np.array([0, 4, 8, 12], dtype=np.int32)
    targets = np.array([1, 1, -1], dtype=np.int16)
    found = letters_of(tokens, offsets, np.array([1]), targets, 2)
    assert found.shape == (2, 25)
    assert found[1, LETTERS.index("C")] == found.sum() == 4
