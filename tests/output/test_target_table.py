from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mimir.data import files
from mimir.data.alphabet import N_LETTERS
from mimir.errors import Corrupt, MimirError
from mimir.output import target_table
from tests import toys


def test_what_is_written_is_read_again() -> None:
    data = toys.peptides()
    found = target_table.decode(target_table.encode(data), toys.TARGETS, "t")
    assert np.array_equal(found.own, data.composition.own)
    assert np.array_equal(found.bias(), data.composition.bias())
    wide = replace(data.described, features=np.ones((toys.TARGETS, 2), np.float32))
    content = target_table.encode(replace(data, described=wide))
    assert target_table.decode(content, toys.TARGETS, "t").likeness.width == 2


@pytest.mark.parametrize(
    ("tensor", "value", "said"),
    [
        ("own", np.zeros((2, N_LETTERS), np.int32), "not of 3 targets"),
        ("own", np.full((3, N_LETTERS), -1, np.int32), "not of 3 targets"),
        ("own", np.zeros((3, N_LETTERS), np.int64), "does not hold own"),
        ("tokens", np.full(5, 25, np.uint8), "are none"),
        ("offsets", np.array([0, 9, 3, 70], np.int64), "are none"),
        ("features", np.full((3, 1), np.inf, np.float32), "are none"),
    ],
)
def test_damage_is_seen(tensor: str, value: Any, said: str) -> None:
    content = target_table.encode(toys.peptides())
    tensors, record = files.from_bytes(content, "t")
    with pytest.raises(Corrupt, match=said):
        target_table.decode(files.to_bytes({**tensors, tensor: value}, record), 3, "t")
    with pytest.raises(MimirError):
        target_table.decode(content[:-3], 3, "t")
