"""What a target is worth: by hand on few pairs, and of models that know nothing or one motif."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimir.config import Objective
from mimir.data.pack import VALIDATION, Peptides
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate
from mimir.output import target_gain
from mimir.training.engine import Engine
from mimir.training.figures import HeldOut
from tests import toys

CPU = torch.device("cpu")


def gain_of(
    data: Peptides, model: Denoiser, composition: str = "on", kind: str = "known"
) -> target_gain.TargetGain | None:
    held = HeldOut.of(data, CPU, len(data), Objective(composition=composition))
    ways = {
        "known": (held.known, held.shuffled, held.untold),
        "unseen": (held.pairs, held.pairs_shuffled, held.pairs_untold),
    }
    return target_gain.measure(*ways[kind], model, 20, 2)


def test_a_ratio_of_sums_with_its_interval_over_groups() -> None:
    found = target_gain.interval(
        np.array([1.0, 3, 0, 2]), np.array([2.0, 2, 4, 2]), np.array([0, 0, 1, 1])
    )
    # Of two groups: 4 / 4 and 2 / 6; drawn twice the one, both, or twice the other.
    assert found == target_gain.Interval(pytest.approx(1 / 3), pytest.approx(1.0))


def test_a_model_that_was_not_trained_gains_nothing() -> None:
    data = toys.peptides(600)
    engine = toys.engine(data=data)
    with torch.no_grad():
        engine.model.target.zero_()
    found = gain_of(data, engine.model, "off")
    assert found is not None
    assert (found.pairs, found.targets, found.repeats) == (20, 3, 2)
    for estimate, chance in ((found.gain, 0.0), (found.shuffled, 0.0), (found.choices, 0.5)):
        alone = target_gain.Interval(chance, chance)
        assert estimate == target_gain.Estimate(chance, alone, alone)


def test_a_model_that_knows_its_targets_gains() -> None:
    """Each target's peptides are of one letter of its own."""
    data = toys.peptides(600)
    lengths = np.diff(data.offsets)
    letter = np.repeat(np.where(data.targets >= 0, data.targets, 7), lengths)
    data = replace(data, tokens=letter.astype(np.uint8))
    engine: Engine = toys.engine(data=data, epochs=20, target_dropout=0.3, lr=1e-2)
    engine.advance(engine.total)
    found = gain_of(data, engine.model)
    assert found is not None
    assert found.clusters == 3, "equal and contained peptides are one cluster"
    # Three targets make a wide interval, yet each of them gains.
    assert found.gain.value > 0.05
    for over in (found.gain.targets, found.gain.clusters):
        assert 0 < over.low < found.gain.value < over.high
    assert found.shuffled.value > found.gain.value
    assert found.choices.targets.low > 0.95


def test_an_unseen_target_gains_by_what_it_resembles() -> None:
    """Targets 0 and 1 are alike, and so are their peptides; 2 is like neither, and held out too."""
    data = toys.peptides(900)
    lengths = np.diff(data.offsets)
    kind = np.where(data.targets >= 0, data.targets // 2, 7)
    tokens = np.where(np.arange(len(data.tokens)) % 2, np.repeat(kind, lengths), data.tokens)
    unseen = np.isin(data.targets, (0, 2))
    split = np.where(unseen, VALIDATION, data.split)
    data = replace(data, tokens=tokens.astype(np.uint8), split=split)
    engine: Engine = toys.engine(data=data, epochs=3, target_dropout=0.3)
    engine.advance(60)
    found = gain_of(data, engine.model, kind="unseen")
    assert found is not None
    assert found.targets == 2
    held = HeldOut.of(data, CPU, len(data), Objective())
    told, untold = (
        evaluate(engine.model, each, 20, repeats=2) for each in (held.pairs, held.pairs_untold)
    )
    like = held.pairs.targets == 0
    assert float((untold - told)[like].mean()) > 0.1
    assert torch.equal(untold[~like], told[~like]), "none, bit for bit"
    assert found.gain.value > 0


def test_one_target_alone_tells_nothing() -> None:
    data = toys.peptides(100)
    one = replace(data, targets=np.where(data.targets >= 0, 0, -1).astype(np.int16))
    assert gain_of(one, toys.engine(data=one).model) is None
