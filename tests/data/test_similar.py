import numpy as np
import pytest

from mimir.data import similar
from mimir.data.alphabet import STANDARD, encode
from mimir.data.draw import Draws
from mimir.data.similar import Peptide


def of(*words: str) -> Peptide:
    offsets = np.concatenate([[0], np.cumsum([len(word) for word in words])])
    return Peptide.of(encode("".join(words)), offsets)


def alike(one: str, other: str) -> bool:
    """The definition, letter by letter."""
    short, long = sorted((one, other), key=len)
    if len(short) < similar.WORD:
        return short in long
    if any(one[i : i + 6] in other for i in range(len(one) - 5)):
        return True
    for shift in range(-20, 21):
        pairs = [(a, other[i + shift]) for i, a in enumerate(one) if 0 <= i + shift < len(other)]
        equal = sum(a == b for a, b in pairs)
        if equal >= 6 and equal >= 0.6 * len(pairs):
            return True
    return False


@pytest.mark.parametrize(("one", "other", "wanted"), [
    ("ACDEFG", "WWACDEFGWW", True), ("ACDEFW", "ACDEFGHIKL", False), ("ACDE", "WACDEW", True),
    ("ACDE", "ACDWE", False), ("ACDEFGHIKL", "ACDWWGHIWL", True),
    ("WWACDEFGHIKL", "ACDYYGHIYL", True), ("ACDEFGHIKLMNPQ", "ACDEFYYYYYYYYQ", False),
])  # fmt: skip
def test_what_is_similar(one: str, other: str, wanted: bool) -> None:
    assert alike(one, other) == wanted
    for first, second in ((one, other), (other, one)):
        assert similar.resembles(of(first), of(second)).tolist() == [wanted]
        assert similar.clusters(of(first, second)).tolist() == [0, 0 if wanted else 1]


def test_clusters_and_copies_are_those_of_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peptides of four letters, so that many are alike; a few at once."""
    monkeypatch.setattr(similar, "_AT_ONCE", 64)
    sizes = Draws(1, 1).below(17, 70) + 4
    letters = Draws(1, 2).below(4, int(sizes.sum())).tolist()
    words = ["".join(STANDARD[letters.pop()] for _ in range(size)) for size in sizes.tolist()]
    near = [[alike(one, other) for other in words] for one in words]
    cluster = list(range(len(words)))
    for _ in words:
        for i, row in enumerate(near):
            cluster[i] = min(cluster[j] for j, linked in enumerate(row) if linked)
    assert similar.clusters(of(*words)).tolist() == cluster
    assert 3 < len(set(cluster)) < len(words)
    held = of(*words[:9])
    assert similar.resembles(of(*words), held).tolist() == [any(row[:9]) for row in near]


def test_of_very_many_only_words_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "MOST_ALIGNED", 2)
    words = ("ACDEFGHIKL", "ACDWWGHIWL", "WWACDEFGWW")
    assert similar.clusters(of(*words)).tolist() == [0, 1, 0]
    assert similar.resembles(of(*words), of(words[0])).tolist() == [True, False, True]
