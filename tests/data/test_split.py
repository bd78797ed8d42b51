import numpy as np
import pytest

from mimir.data import similar, split
from mimir.data.alphabet import N_STANDARD
from mimir.data.draw import Draws
from mimir.data.similar import Peptide
from mimir.data.split import (
    HELD_OUT,
    KNOWN,
    LEFT_OUT,
    SELECTION,
    SELECTION_KNOWN,
    TRAIN,
    VALIDATION,
    Parts,
    split_rows,
)

BACKGROUND, PAIRS = 1500, 400


class Rows:
    """Random peptides; each fifth pair is a near copy of the one before, of another target."""

    def __init__(self) -> None:
        count = BACKGROUND + PAIRS
        lengths = Draws(1, 3).below(10, count) + 8
        letters = Draws(1, 4).below(N_STANDARD, 20 * count).astype(np.uint8).reshape(count, 20)
        for row in range(BACKGROUND + 5, count, 5):
            letters[row], lengths[row] = letters[row - 1], lengths[row - 1]
            letters[row, 2] = (letters[row, 2] + 1) % N_STANDARD
        for row in range(0, 90, 3):  # windows that overlap a pair
            letters[row, :7] = letters[BACKGROUND + row, :7]
        column = np.arange(20)
        self.peptides = Peptide(
            np.where(column < lengths[:, None], letters, similar.END).astype(np.uint8), lengths
        )
        self.labels = (np.arange(count) >= BACKGROUND).astype(np.uint8)
        self.targets = np.where(self.labels == 1, Draws(1, 2).below(40, count), -1)
        self.groups = Draws(1, 1).below(150, count).astype(np.int32)

    def split(self, background: float, pairs: float, seed: int, order: object = ...) -> np.ndarray:
        return split_rows(
            self.peptides.take(np.arange(len(self.labels))[order]), self.labels[order],  # type: ignore[index]
            self.targets[order], self.groups[order], Parts(background, pairs), seed,  # type: ignore[index]
        )  # fmt: skip


def test_nothing_that_is_trained_resembles_what_is_held_out() -> None:
    rows = Rows()
    for seed in range(4):
        split = rows.split(0.1, 0.1, seed)
        background, pairs = rows.labels == 0, rows.labels == 1
        held = rows.groups[background & np.isin(split, HELD_OUT)]
        assert not set(held) & set(rows.groups[background & (split == TRAIN)])
        assert 0.08 * BACKGROUND < len(held) <= 0.1 * BACKGROUND
        unseen = pairs & np.isin(split, (VALIDATION, SELECTION))
        known = pairs & np.isin(split, (KNOWN, SELECTION_KNOWN))
        trained = set(rows.targets[pairs & (split == TRAIN)])
        assert not trained & set(rows.targets[unseen])
        assert set(rows.targets[known]) <= trained
        assert unseen.sum() > 0.05 * PAIRS
        assert 0.05 * PAIRS < known.sum() <= 0.1 * PAIRS
        judged = rows.peptides.take(unseen | known)
        assert not similar.resembles(rows.peptides.take(pairs & (split == TRAIN)), judged).any()
        assert similar.resembles(rows.peptides.take(pairs & (split == LEFT_OUT)), judged).all()
        assert (pairs & (split == LEFT_OUT)).any()
        windows = rows.peptides.take(background & (split == TRAIN))
        assert not similar.shares_word(windows, judged).any()
        assert (background & (split == LEFT_OUT)).any()


def test_halves_share_no_group_no_target_and_no_similar_peptide() -> None:
    rows = Rows()
    background, pairs = rows.labels == 0, rows.labels == 1
    between_sets = False
    for seed in range(4):
        split = rows.split(0.1, 0.2, seed)
        for of, reported, selecting in (
            (background, VALIDATION, SELECTION),
            (pairs, VALIDATION, SELECTION),
            (pairs, KNOWN, SELECTION_KNOWN),
        ):
            one, other = of & (split == reported), of & (split == selecting)
            assert 0.25 < other.sum() / (one | other).sum() <= 0.5
        one, other = background & (split == VALIDATION), background & (split == SELECTION)
        assert not set(rows.groups[one]) & set(rows.groups[other])
        one = pairs & np.isin(split, (VALIDATION, KNOWN))
        other = pairs & np.isin(split, (SELECTION, SELECTION_KNOWN))
        assert not set(rows.targets[one]) & set(rows.targets[other])
        assert not similar.resembles(rows.peptides.take(one), rows.peptides.take(other)).any()
        unseen = rows.peptides.take(pairs & np.isin(split, (VALIDATION, SELECTION)))
        known = rows.peptides.take(pairs & np.isin(split, (KNOWN, SELECTION_KNOWN)))
        between_sets |= bool(similar.resembles(known, unseen).any())
    assert between_sets, "near copies lie in different sets, which may lie in different halves"


@pytest.mark.parametrize(("sizes", "halves"), [
    # (unseen, known) of each group, and what is chosen of the two sets
    ([(2, 1), (1, 2)], [(1, 2), (2, 1)]),  # neither is at most half of both sets
    ([(3, 3)], [(0, 0)]), ([(3, 0)], [(0, 0)]), ([(9, 9), (1, 1)], [(1, 1)]),
    ([(5, 1), (5, 0)], [(5, 0)]),
])  # fmt: skip
def test_a_giant_group_leaves_both_halves_a_row_where_it_can(
    sizes: list[tuple[int, int]], halves: list[tuple[int, int]]
) -> None:
    groups = np.repeat(np.arange(len(sizes)), [sum(size) for size in sizes])
    known = np.concatenate([np.repeat([False, True], size) for size in sizes])
    for seed in range(4):
        chosen = split._half_of_both(groups, known, Draws(seed, 1))
        assert ((chosen & ~known).sum(), (chosen & known).sum()) in halves


def test_what_is_one_group_is_not_halved() -> None:
    rows = Rows()
    rows.groups[:] = 0
    rows.targets[rows.labels == 1] = np.arange(PAIRS) % 2
    for seed in range(4):
        split = rows.split(0.0, 0.6, seed)
        held = np.isin(split, (VALIDATION, SELECTION))
        assert held.sum() == PAIRS / 2
        assert (split[held] == VALIDATION).all()


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    rows = Rows()
    split = rows.split(0.1, 0.1, 4)
    order = Draws(3, 3).order(len(split))
    assert np.array_equal(rows.split(0.1, 0.1, 4, order), split[order])
    assert not np.array_equal(rows.split(0.1, 0.1, 5), split)


def test_a_group_larger_than_wanted_stays_in_train() -> None:
    rows = Rows()
    rows.groups[:] = np.where(np.arange(len(rows.groups)) < 1400, 0, np.arange(len(rows.groups)))
    for seed in range(8):
        split = rows.split(0.05, 0.0, seed)
        assert split[:1400].sum() == 0
        assert np.isin(split, (VALIDATION, SELECTION)).sum() == 75


def test_all_targets_may_be_held_out() -> None:
    rows = Rows()
    rows.targets[rows.labels == 1] = np.arange(PAIRS)
    split = rows.split(0.1, 0.999, 0)
    assert set(split[rows.labels == 1]) <= {VALIDATION, SELECTION, LEFT_OUT, TRAIN}


@pytest.mark.parametrize("part", [0.0, 0.001])
def test_nothing_wanted_nothing_held(part: float) -> None:
    assert not Rows().split(0.0, part, 0).any()
