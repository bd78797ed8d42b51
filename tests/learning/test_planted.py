"""A motif that is planted in each target's peptides is found again by scores and in samples."""

import math

import numpy as np
import pytest

from mimir.data.alphabet import STANDARD
from mimir.model.denoiser import Denoiser
from mimir.output.condition import Condition
from mimir.output.sampling import Draw, sample
from mimir.output.score import Scorer
from mimir.training.engine import Engine
from mimir.training.validation import ema_weights
from tests import toys
from tests.learning.chain import Peptide
from tests.learning.test_learning import TARGETS, device_data

MOTIFS = ("WCH", "MMK", "YPW", "DFD")
SHARE = 0.6
"""Of a target's peptides that hold its motif; the others are like background."""
SIZE = 6
RANDOM = np.random.default_rng(11)


def draw(target: int | None, motif: bool) -> str:
    letters = list("".join(RANDOM.choice(list("AEGLSTVR"), SIZE)))
    if motif and target is not None:
        place = int(RANDOM.integers(0, SIZE - 2))
        letters[place : place + 3] = MOTIFS[target]
    return "".join(letters)


def peptide(sequence: str, target: int | None) -> Peptide:
    return Peptide(tuple(STANDARD.index(letter) for letter in sequence), target)


@pytest.fixture(scope="module")
def trained() -> tuple[Denoiser, list[list[str]]]:
    """A model, and each target's training peptides."""
    own = [[draw(k, RANDOM.random() < SHARE) for _ in range(800)] for k in range(len(MOTIFS))]
    rows = [peptide(each, k) for k, some in enumerate(own) for each in some]
    rows += [peptide(draw(None, False), None) for _ in range(800)]
    settings = {"dim": 48, "layers": 2, "heads": 2, "batch": 64, "epochs": 100, "max_steps": 1200,
                "lr": 4e-3, "warmup_steps": 50, "ema": 0.99, "composition": "off"}  # fmt: skip
    engine = Engine(toys.config(**settings), device_data(rows), TARGETS, toys.EXACT)
    while engine.step < engine.total:
        engine.advance(engine.total - engine.step)
    with ema_weights(engine):
        model = Denoiser(engine.config.model, engine.config.objective.timesteps, TARGETS)
        model.load_state_dict(engine.model.state_dict())
    return model, own


def test_the_true_target_is_ranked_first(trained: tuple[Denoiser, list[list[str]]]) -> None:
    model, _ = trained
    scores, truth = [], []
    for target in range(len(MOTIFS)):
        some = [draw(target, True) for _ in range(40)]
        scorer = Scorer(model, some)
        conditions = [Condition(1, k, MOTIFS[k]) for k in range(len(MOTIFS))]
        scores.append(np.stack([scorer.scores(one).over_untold.value for one in conditions], 1))
        truth += [target] * len(some)
    found = np.concatenate(scores)
    own = found[np.arange(len(found)), truth]
    wins = (own[:, None] > found).sum() / (len(found) * (len(MOTIFS) - 1))
    first = (found.argmax(1) == truth).mean()
    print(f"own target preferred in {wins:.1%} of choices, first of {len(MOTIFS)} in {first:.1%}")
    assert wins >= 0.95
    assert first >= 0.95


def test_samples_hold_the_motif_as_often_as_training(
    trained: tuple[Denoiser, list[list[str]]],
) -> None:
    model, own = trained
    lengths = [0] * SIZE + [1] + [0] * (20 - SIZE)
    count, shares, wanted = 320, [], []
    for target, motif in enumerate(MOTIFS):
        condition = Condition(1, target, motif)
        drawn = sample(model, count, Draw(condition, seed=target), lengths)
        shares.append(sum(motif in each for each in drawn) / count)
        wanted.append(sum(motif in each for each in own[target]) / len(own[target]))
        other = MOTIFS[target - 1]
        assert sum(other in each for each in drawn) / count < 0.05
    print([f"{a:.2f} of {b:.2f}" for a, b in zip(shares, wanted, strict=True)])
    # Of all targets together, and of each with room for four looks.
    share, true = np.mean(shares), np.mean(wanted)
    error = math.sqrt(true * (1 - true) / len(MOTIFS) * (1 / count + 1 / len(own[0])))
    assert abs(share - true) < 3.3 * error
    for one, of_training in zip(shares, wanted, strict=True):
        assert abs(one - of_training) < 0.13
    untold = sample(model, count, Draw(Condition(), seed=9), lengths)
    with_any = [sum(motif in each for each in untold) / count for motif in MOTIFS]
    assert max(with_any) < SHARE / 2  # a fourth of the pairs are each target's
