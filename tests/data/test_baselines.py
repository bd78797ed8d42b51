import math

import numpy as np
import pytest

from mimir.data.alphabet import N_LETTERS, encode
from mimir.data.baselines import STRENGTH, Baselines, measure
from mimir.data.composition import Composition
from mimir.data.likeness import Described
from mimir.runs import codec


def _measure(*rows: tuple[str, int, int]) -> Baselines:
    offsets = np.concatenate([[0], np.cumsum([len(row[0]) for row in rows])])
    trained = encode("".join(text for text, label, split in rows if (label, split) == (1, 0)))
    own = np.bincount(trained, minlength=N_LETTERS)[None]
    return measure(
        encode("".join(row[0] for row in rows)),
        offsets,
        np.array([row[1] for row in rows], dtype=np.uint8),
        np.array([row[2] for row in rows], dtype=np.uint8),
        np.array([row[1] - 1 for row in rows], dtype=np.int16),
        Composition.of(own, Described.none(1)),
    )


def test_a_tiny_example_by_hand() -> None:
    # Train AACA, judge AACD: contexts of the validation letters are (start start) -> A,
    # (start A) -> A, (A A) -> C, (A C) -> D.
    found = _measure(("AACA", 0, 0), ("AACD", 0, 1)).background
    a, c, d = (3 + 1) / 29, (1 + 1) / 29, (0 + 1) / 29
    s = STRENGTH
    assert found is not None
    assert found.unigram == pytest.approx(-math.log(a * a * c * d) / 4, abs=1e-6)
    # Order 1: start -> A once; A -> A once, A -> C once; C -> A once.
    start_a, a_a, a_c, c_d = (
        (1 + s * a) / (1 + s),
        (1 + s * a) / (2 + s),
        (1 + s * c) / (2 + s),
        (0 + s * d) / (1 + s),
    )
    # Order 2: each of the contexts was seen once, with A, A, C and A.
    third = [
        (1 + s * start_a) / (1 + s),
        (1 + s * a_a) / (1 + s),
        (1 + s * a_c) / (1 + s),
        (0 + s * c_d) / (1 + s),
    ]
    assert found.markov2 == pytest.approx(-math.log(math.prod(third)) / 4, abs=1e-6)
    assert found.uniform == pytest.approx(math.log(20), abs=1e-6)
    assert found.residues == 4


def test_each_label_is_fitted_on_its_own_training_rows() -> None:
    rows = [("AAAA", 0, 0), ("CCCC", 1, 0), ("CCCC", 1, 1), ("DDDD", 0, 1)]
    found = _measure(*rows)
    assert found.pairs is not None
    assert found.background is not None
    assert found.pairs.unigram == pytest.approx(-math.log((4 + 1) / (4 + 25)), abs=1e-6)
    assert found.background.unigram == pytest.approx(-math.log((0 + 1) / (4 + 25)), abs=1e-6)


def test_order_2_of_pairs_starts_from_the_backgrounds() -> None:
    # In the background A and C take turns; pairs have as many A as C, and say little of order.
    turns = [("ACACACACACACACACACAC", 0, 0)] * 2000
    pairs = [("ACACAAACCC", 1, 0), ("ACACACACAC", 1, 1)]
    found, alone = _measure(*turns, *pairs).pairs, _measure(*pairs).pairs
    assert found is not None
    assert alone is not None
    assert found.unigram == alone.unigram
    assert found.markov2 < 0.6 * alone.markov2
    # What pairs have more often than the background is likelier in each context, seen or not.
    rich = [("AAAA", 0, 0), ("WWWWWWWWWWWWWWWWWWWW", 1, 0), ("YWYWYWYW", 1, 1)]
    weighed = _measure(*rich).pairs
    assert weighed is not None
    assert weighed.markov2 == pytest.approx(weighed.unigram, abs=0.05)


def test_none_without_validation_rows_and_back_from_json() -> None:
    found = _measure(("AAAA", 0, 0), ("CCCC", 0, 1), ("DDDD", 1, 0))
    assert found.pairs is None
    assert found.background is not None
    assert codec.typed(Baselines, found.as_json(), "it") == found


def test_a_window_does_not_see_the_one_before() -> None:
    one = _measure(("ACAC", 0, 0), ("WYWY", 0, 0), ("ACAC", 0, 1)).background
    two = _measure(("WYWY", 0, 0), ("ACAC", 0, 0), ("ACAC", 0, 1)).background
    assert one == two
