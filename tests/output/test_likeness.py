import math
from typing import Any

import numpy as np
import pytest

from mimir.data.alphabet import N_LETTERS, STANDARD
from mimir.output import likeness
from mimir.output.likeness import Likeness, Neighbours


def slow_identity(one: str, other: str) -> float:
    best = 0
    for shift in range(-20, 21):
        best = max(best, sum(a == b for a, b in zip(
            one[max(0, shift):], other[max(0, -shift):], strict=False)))  # fmt: skip
    return best / max(len(one), len(other))


def peptides(count: int, seed: int, letters: str = STANDARD) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list(letters), random.integers(4, 21))) for _ in range(count)]


def test_identity_is_that_of_the_best_shift() -> None:
    real, some = peptides(40, 1, "ACDE"), peptides(20, 2, "ACDEW")
    among = Neighbours(real)
    for each in some:
        assert among.identities(each).tolist() == [slow_identity(each, other) for other in real]
    assert among.nearest(real[7]) == (real[7], 1.0)
    assert Neighbours(["ACDEFG", "WWWW"]).nearest("XACDEF") == ("ACDEFG", 5 / 6)
    assert Neighbours([]).nearest("ACDE") == ("", 0.0)


def test_divergence_and_words_by_hand() -> None:
    assert likeness.divergence(["ACDE", "FGHI"], ["FGHI", "ACDE"]) == 0
    one = np.full(N_LETTERS, 1.0) + 4 * np.eye(N_LETTERS)[0]
    other = np.full(N_LETTERS, 1.0) + 4 * np.eye(N_LETTERS)[1]
    share = one / one.sum()
    wanted = float((share * np.log(one / other)).sum())
    assert math.isclose(likeness.divergence(["AAAA"], ["CCCC"]), wanted)
    assert likeness.shared_words(["ACDE"], ["ACDF"]) == 1 / 3
    assert likeness.diversity(["ACDE", "ACDE"]) == 0
    assert likeness.diversity(["AAAA", "CCCC", "AACC"]) == pytest.approx(1 - (0 + 2 * 0.5) / 3)
    assert likeness.diversity(["AAAA"]) == 0


def test_copies_are_told_from_real_and_from_random() -> None:
    """What each figure is for: it is worst for what it is to find."""
    real = peptides(300, 3, "AACDEEEKLLL")
    fresh, random = peptides(100, 4, "AACDEEEKLLL"), peptides(100, 5)
    among = Neighbours(real)
    floor, copied = Likeness.of(fresh, among), Likeness.of(real[:100], among)
    chance, one = Likeness.of(random, among), Likeness.of([fresh[0]] * 100, among)
    assert copied.copies == copied.equal == 1 > floor.copies
    assert floor.equal < 0.05
    assert chance.kl > 10 * floor.kl
    assert chance.jaccard < floor.jaccard / 2
    assert one.unique == 0.01
    assert one.diversity == 0 < 0.5 < floor.diversity


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [([1, 2, 3], [1, 2, 3], 0), ([1, 2], [3, 4], 1), ([1, 3], [2, 4], 0.5), ([1, 1], [1], 0)],
)
def test_distance_of_distributions(one: list[Any], other: list[Any], wanted: float) -> None:
    assert likeness.distance(one, other) == wanted
