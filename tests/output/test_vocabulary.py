import json
from typing import Any

import pytest

from mimir.data.alphabet import LETTERS
from mimir.data.pack import TRAIN
from mimir.errors import MimirError
from mimir.output import vocabulary
from tests import toys


def test_the_vocabulary_counts_training_lengths() -> None:
    data = toys.peptides(200)
    words = vocabulary.of(data)
    assert words["letters"] == LETTERS
    assert words["mask"] == 25
    assert words["no_target"] == 3
    for name, label in (("background", 0), ("interacting", 1)):
        sizes = [int(data.lengths[row]) for row in data.subset(TRAIN, label)]
        assert words["lengths"][name] == [sizes.count(size) for size in range(21)]
    assert vocabulary.checked(json.loads(json.dumps(words)), "it") == words


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2}, {"letters": "ABC"}, {"targets": 3}, {"targets": [1, 2, 3]}, {"no_target": 4},
        {"pairs": [1, 2]}, {"pairs": [1, 2, -1]}, {"pairs": [1, 2, 1.5]}, {"pairs": [1, 2, True]},
        {"lengths": None}, {"lengths": {"background": [1] * 21}},
        {"lengths": {"background": [1] * 21, "interacting": [10**30] * 21}},
    ],
)  # fmt: skip
def test_what_is_no_vocabulary(change: dict[str, Any]) -> None:
    words = {**vocabulary.of(toys.peptides()), **change}
    with pytest.raises(MimirError, match=r"^it is (damaged|of another)"):
        vocabulary.checked(words, "it")
