"""What a target is worth: by hand on few pairs, and of models that know nothing or one motif."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimir.config import Objective
from mimir.data.pack import Peptides
from mimir.output import target_gain
from mimir.training.engine import Engine
from mimir.training.figures import HeldOut
from tests import toys

CPU = torch.device("cpu")


def held(data: Peptides, composition: str = "on") -> HeldOut:
    return HeldOut.of(data, CPU, len(data), Objective(composition=composition))


def test_a_ratio_of_sums_with_its_interval_over_groups() -> None:
    found = target_gain.ratio(
        np.array([1.0, 3, 0, 2]), np.array([2.0, 2, 4, 2]), np.array([0, 0, 1, 1])
    )
    # Of two groups: 4 / 4 and 2 / 6; drawn twice the one, both, or twice the other.
    assert found == target_gain.Estimate(
        pytest.approx(0.6), pytest.approx(1 / 3), pytest.approx(1.0)
    )


def test_a_model_that_was_not_trained_gains_nothing() -> None:
    data = toys.peptides(600)
    engine = toys.engine(data=data)
    with torch.no_grad():
        engine.model.target.zero_()
    found = target_gain.measure(held(data, "off"), engine.model, 20, 2)
    assert found is not None
    assert (found.pairs, found.targets, found.repeats) == (20, 3, 2)
    for estimate, chance in ((found.gain, 0.0), (found.shuffled, 0.0), (found.choices, 0.5)):
        assert estimate == target_gain.Estimate(chance, chance, chance)


def test_a_model_that_knows_its_targets_gains() -> None:
    """Each target's peptides are of one letter of its own."""
    data = toys.peptides(600)
    lengths = np.diff(data.offsets)
    letter = np.repeat(np.where(data.targets >= 0, data.targets, 7), lengths)
    data = replace(data, tokens=letter.astype(np.uint8))
    engine: Engine = toys.engine(data=data, epochs=20, target_dropout=0.3, lr=1e-2)
    engine.advance(engine.total)
    found = target_gain.measure(held(data), engine.model, 20, 2)
    assert found is not None
    # Three targets make a wide interval, yet each of them gains.
    assert found.gain.value > 0.05
    assert 0 < found.gain.low < found.gain.value < found.gain.high
    assert found.shuffled.value > found.gain.value
    assert found.choices.low > 0.95


def test_one_target_alone_tells_nothing() -> None:
    data = toys.peptides(100)
    one = replace(data, targets=np.where(data.targets >= 0, 0, -1).astype(np.int16))
    assert target_gain.measure(held(one), toys.engine(data=one).model, 20, 1) is None
