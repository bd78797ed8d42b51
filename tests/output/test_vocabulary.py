import json
from typing import Any

import pytest

from mimir.data.alphabet import LETTERS
from mimir.data.pack import TRAIN
from mimir.errors import BadInput, Corrupt, OtherFormat
from mimir.output import vocabulary
from tests import toys

COUNTS: dict[str, Any] = {
    "background": [1] * 21, "interacting": [1] * 21, "targets": [{}] * 3,
}  # fmt: skip


def _bytes(words: dict[str, Any]) -> bytes:
    return json.dumps(words).encode()


def test_the_vocabulary_counts_training_lengths() -> None:
    data = toys.peptides(200)
    words = vocabulary.of(data)
    assert words.letters == LETTERS
    assert words.mask == 25
    assert words.no_target == 3
    for counts, label in ((words.lengths.background, 0), (words.lengths.interacting, 1)):
        sizes = [int(data.lengths[row]) for row in data.subset(TRAIN, label)]
        assert list(counts) == [sizes.count(size) for size in range(21)]
    for target in range(3):
        rows = [row for row in data.subset(TRAIN, 1) if data.targets[row] == target]
        sizes = [int(data.lengths[row]) for row in rows]
        assert words.lengths.targets[target] == {str(n): sizes.count(n) for n in sorted(set(sizes))}
        assert words.pairs[target] == len(rows)
    assert vocabulary.decode(_bytes(words.as_json()), "it") == words


def test_lengths_of_a_target_are_smoothed_by_five_pairs() -> None:
    lengths = vocabulary.Lengths((0, 0, 9), (0, 6, 2), ({"1": 3}, {}, {"2": 10**9}))
    assert lengths.weights(0, None) == [0, 0, 9]
    assert lengths.weights(1, None) == [0, 6, 2]
    parts = [x / 64 for x in lengths.weights(1, 0)]
    assert parts == pytest.approx([0, (3 + 5 * 6 / 8) / 8, 5 * 2 / 8 / 8])
    one, two = lengths.weights(1, 1)[1:]
    assert one == 3 * two  # no pairs of its own: those of all
    large = lengths.weights(1, 2)
    assert sum(large) < 2**31
    assert large[1] > 0
    assert vocabulary.Lengths((1, 2), (0, 0), ()).weights(1, None) == [1, 2]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": 3}, OtherFormat), ({"format": 1}, OtherFormat), ({"format": None}, Corrupt),
        ({"letters": "ABC"}, BadInput),
        ({"targets": 3}, Corrupt), ({"targets": [1, 2, 3]}, Corrupt), ({"no_target": 4}, Corrupt),
        ({"pairs": [1, 2]}, Corrupt), ({"pairs": [1, 2, -1]}, Corrupt),
        ({"pairs": [1, 2, 1.5]}, Corrupt), ({"pairs": [1, 2, True]}, Corrupt),
        ({"lengths": None}, Corrupt), ({"lengths": {"background": [1] * 21}}, Corrupt),
        *(
            ({"lengths": {**COUNTS, **one}}, Corrupt)
            for one in ({"interacting": [1] * 20}, {"interacting": [10**19] * 21}, {},
                        {"targets": [{}] * 2}, {"targets": [{"21": 1}] * 3})
        ),
    ],
)  # fmt: skip
def test_what_is_no_vocabulary(change: dict[str, Any], error: type[Exception]) -> None:
    words = {**vocabulary.of(toys.peptides()).as_json(), **change}
    with pytest.raises(error, match=r"^it"):
        vocabulary.decode(_bytes(words), "it")
