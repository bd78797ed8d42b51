"""What is learnt, measured against a truth that is known."""

import dataclasses
import math

import pytest
import torch

from mimir.config import load_preset
from mimir.model.batch import DeviceData
from mimir.model.objective import evaluate
from mimir.training.engine import Engine
from mimir.training.figures import per_residue
from mimir.training.machine import Machine
from mimir.training.validation import ema_weights
from tests.learning.chain import Chain, Peptide

TARGETS = 6
SHARPNESS = 1.0
BRIEF, FULL = (2000, 1.12), (10_000, 1.025)
"""Steps, and how far above the best possible the loss may be. 10,000 steps take six minutes on
two cores, so that they are not in every run of the tests: `make test-long`."""


def device_data(peptides: list[Peptide]) -> DeviceData:
    lengths = torch.tensor([len(p.tokens) for p in peptides])
    tokens = [x for p in peptides for x in p.tokens] + [0] * 20
    return DeviceData(
        torch.tensor(tokens, dtype=torch.uint8),
        lengths.cumsum(0) - lengths,
        lengths,
        torch.tensor([int(p.target is not None) for p in peptides]),
        torch.tensor([TARGETS if p.target is None else p.target for p in peptides]),
    )


def draw(chain: Chain, count: int) -> list[Peptide]:
    """Half background, half pairs, the targets in turn."""
    return [chain.draw(None if i % 2 else i // 2 % TARGETS) for i in range(count)]


def test_the_known_likelihood_is_one() -> None:
    """The baseline itself: mean of p over what is drawn equals the sum of p squared, by counts."""
    chain = Chain(2, seed=3, sharpness=0.5)
    # All peptides of length MOTIF around a motif: one place, so p is the motif's alone.
    only = Peptide(chain.motifs[0], 0)
    assert chain.nats(only) == pytest.approx(0.0, abs=1e-12)
    # Length 4: the motif sits at place 0 or 1, and the free letter follows the chain.
    total = 0.0
    found = set()
    for letter in range(20):
        for tokens in ((*chain.motifs[0], letter), (letter, *chain.motifs[0])):
            if tokens not in found:
                found.add(tokens)
                total += math.exp(-chain.nats(Peptide(tokens, 0)))
    assert total == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize(("steps", "limit"), [BRIEF, pytest.param(*FULL, marks=pytest.mark.long)])
def test_small_comes_close_to_the_best_possible(steps: int, limit: float) -> None:
    chain = Chain(TARGETS, seed=1, sharpness=SHARPNESS)
    known, held = draw(chain, 40_000), draw(chain, 1000)
    best = sum(chain.nats(p) for p in held) / sum(len(p.tokens) for p in held)
    settings = {
        "max_steps": steps, "epochs": 1000, "lr": 1.2e-3, "warmup_steps": 200, "ema": 0.99,
        "pair_share": 0.0,  # what is measured is half pairs, as the data is
    }  # fmt: skip
    config = load_preset("small").with_settings(settings)
    engine = Engine(config, device_data(known), TARGETS, Machine.choose(config))
    while engine.step < engine.total:
        engine.advance(engine.total - engine.step)

    test = device_data(held)
    wrong = torch.where(test.labels == 1, (test.targets + 1) % TARGETS, test.targets)
    with ema_weights(engine):
        right = evaluate(engine.model, test, 20, repeats=8)
        shuffled = evaluate(engine.model, dataclasses.replace(test, targets=wrong), 20, repeats=8)
    reached = per_residue(right, test)
    print(
        f"reached {reached:.4f}, best {best:.4f} nats per residue: {reached / best - 1:.2%} above"
    )
    assert reached <= best * limit
    # A figure below the entropy would mean that the bound is not one (or a leak).
    assert reached >= best * 0.99
    pairs = test.labels == 1
    matched = float(right[pairs].sum() / test.lengths[pairs].sum())
    mismatched = float(shuffled[pairs].sum() / test.lengths[pairs].sum())
    print(f"pairs: {matched:.4f} with their targets, {mismatched:.4f} with others'")
    assert matched < mismatched - 0.2
