import numpy as np
import pytest

from mimir.data.draw import Draws
from mimir.data.split import VALIDATION, split_rows


def _rows() -> tuple[np.ndarray, np.ndarray]:
    background = Draws(1, 1).below(200, 3000)
    pairs = Draws(1, 2).below(30, 300) + 200
    groups = np.concatenate([background, pairs]).astype(np.int32)
    return groups, (groups >= 200).astype(np.uint8)


def test_no_group_is_on_both_sides_and_parts_are_met() -> None:
    groups, labels = _rows()
    split = split_rows(groups, labels, 0.1, 0.2, 0)
    held = set(groups[split == VALIDATION].tolist())
    assert not held & set(groups[split != VALIDATION].tolist())
    assert split[labels == 0].mean() == pytest.approx(0.1, abs=0.004)
    assert split[labels == 1].mean() == pytest.approx(0.2, abs=0.03)
    assert split[labels == 0].sum() <= 300
    assert split[labels == 1].sum() <= 60


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    groups, labels = _rows()
    split = split_rows(groups, labels, 0.1, 0.1, 4)
    order = Draws(3, 3).order(len(groups))
    assert np.array_equal(split_rows(groups[order], labels[order], 0.1, 0.1, 4), split[order])
    assert not np.array_equal(split_rows(groups, labels, 0.1, 0.1, 5), split)


def test_a_group_larger_than_wanted_stays_in_train() -> None:
    groups = np.array([0] * 90 + list(range(1, 11)), dtype=np.int32)
    for seed in range(8):
        split = split_rows(groups, np.zeros(100, dtype=np.uint8), 0.05, 0.1, seed)
        assert split[:90].sum() == 0
        assert split.sum() == 5


def test_nothing_wanted_nothing_held() -> None:
    groups, labels = _rows()
    assert not split_rows(groups, labels, 0.0, 0.0, 0).any()
