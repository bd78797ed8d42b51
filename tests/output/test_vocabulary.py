import json
from typing import Any

import pytest

from mimir.data.alphabet import LETTERS
from mimir.data.pack import TRAIN
from mimir.errors import BadInput, Corrupt, OtherFormat
from mimir.output import vocabulary
from tests import toys


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
    assert vocabulary.decode(_bytes(words.as_json()), "it") == words


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": 2}, OtherFormat), ({"format": None}, Corrupt), ({"letters": "ABC"}, BadInput),
        ({"targets": 3}, Corrupt), ({"targets": [1, 2, 3]}, Corrupt), ({"no_target": 4}, Corrupt),
        ({"pairs": [1, 2]}, Corrupt), ({"pairs": [1, 2, -1]}, Corrupt),
        ({"pairs": [1, 2, 1.5]}, Corrupt), ({"pairs": [1, 2, True]}, Corrupt),
        ({"lengths": None}, Corrupt), ({"lengths": {"background": [1] * 21}}, Corrupt),
        ({"lengths": {"background": [1] * 21, "interacting": [1] * 20}}, Corrupt),
        ({"lengths": {"background": [1] * 21, "interacting": [10**19] * 21}}, Corrupt),
    ],
)  # fmt: skip
def test_what_is_no_vocabulary(change: dict[str, Any], error: type[Exception]) -> None:
    words = {**vocabulary.of(toys.peptides()).as_json(), **change}
    with pytest.raises(error, match=r"^it"):
        vocabulary.decode(_bytes(words), "it")
