"""Steps of a training, and where early stopping is expected to end it."""

from typing import Any

import pytest

from mimir.config import Config
from mimir.data.mix import VISITS, expected_end, pairs_in_batch, steps_of


def config(**settings: Any) -> Config:
    return Config("toy").with_settings({
        "batch": 32, "pair_share": 0.33, "epochs": 20, "eval_every": 1000, "patience": 10,
        "cooldown_steps": 500, **settings,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "more", "steps"), [(100, {}, 60), (31, {}, 0), (100, {"max_steps": 7}, 7)]
)
def test_steps(rows: int, more: dict[str, Any], steps: int) -> None:
    assert steps_of(config(**more).training, rows) == steps


def test_the_expected_end_is_the_best_and_what_patience_and_cooldown_add() -> None:
    job, mixed = config(), pairs_in_batch(0.33, 32, 10**6, 2600)
    assert mixed == 11
    found = expected_end(job, 600_000, 30_000, 2600, mixed)
    best = VISITS * 2600 / 11  # rounded up to a validation
    assert found is not None
    assert best <= found - 10 * 1000 - 500 < best + 1000
    # A validation an epoch, where the setting is 0.
    assert expected_end(config(eval_every=0), 600_000, 30_000, 2600, 11) == 30_000 * 11 + 500


@pytest.mark.parametrize(
    ("settings", "steps", "mixed"),
    [({"patience": 0}, 600_000, 11), ({}, 600_000, 0), ({}, 9000, 11)],
)
def test_nothing_is_expected_without_patience_without_pairs_or_beyond_the_ceiling(
    settings: dict[str, Any], steps: int, mixed: int
) -> None:
    assert expected_end(config(**settings), steps, 30_000, 2600, mixed) is None
