"""The bias of a told target: the formula, what is left out of it, and where it must be nothing."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mimir.config import Objective
from mimir.data.alphabet import MASK, MAX_LENGTH, N_LETTERS
from mimir.data.pack import KNOWN, TRAIN, VALIDATION, Peptides
from mimir.model.attention import Layout
from mimir.model.batch import DeviceData, Plan, plan_evaluation, plan_training
from mimir.model.composition import Tables
from mimir.model.denoiser import Denoiser
from mimir.model.objective import evaluate
from tests import toys

NONE = toys.TARGETS
CPU = torch.device("cpu")
TOLD = Objective(condition_dropout=0.0, target_dropout=0.0, hidden_counts=0.0)


def plan(data: Peptides, objective: Objective, steps: int = 1) -> tuple[DeviceData, Plan]:
    """Of all training peptides in their order, some steps of one batch each."""
    device_data = toys.device_data(data)
    rows, step = torch.arange(len(device_data)), torch.arange(steps)
    batch = len(device_data)
    return device_data, plan_training(device_data, rows, step, batch, objective, 7, NONE)


def unseen(data: Peptides, target: int) -> Peptides:
    """The same, with all pairs of a target held out: it has no training pairs."""
    return replace(data, split=np.where(data.targets == target, VALIDATION, data.split))


def test_a_pair_does_not_see_itself_in_its_targets_letters() -> None:
    data = toys.peptides(90)
    rows = data.subset(TRAIN)
    device_data, found = plan(data, TOLD)
    assert found.bias is not None
    composition = data.composition
    for place, row in enumerate(rows):
        target = data.targets[row]
        wanted = np.zeros(N_LETTERS)
        if target >= 0:
            # The formula once more, in letters: own ones but those of this peptide.
            own = [
                token for other in rows if other != row and data.targets[other] == target
                for token in data.tokens[data.offsets[other] : data.offsets[other + 1]]
            ]  # fmt: skip
            counts = np.bincount(own, minlength=N_LETTERS)
            q = composition.borrowed[target] * composition.prior
            wanted = np.log((counts + 60 * q) / (len(own) + 60) / composition.prior)
        assert found.bias[0, place].numpy() == pytest.approx(wanted, abs=2e-5)
    assert torch.equal(found.target[0], device_data.targets)


def test_evaluation_counts_all_pairs_of_a_target() -> None:
    data = unseen(toys.peptides(400), 0)
    for split, known in ((KNOWN, True), (VALIDATION, False)):
        rows = data.subset(split, 1)
        held = DeviceData.of(data, rows, CPU, Objective())
        found = plan_evaluation(held, 0, len(rows), 0, 1, 20)
        targets = data.targets[rows]
        assert found.bias is not None
        assert found.bias.numpy() == pytest.approx(data.composition.bias()[targets], abs=2e-5)
        assert found.target.tolist() == (targets.tolist() if known else [NONE] * len(rows))
        # Target 0 is like target 1, so that being unseen it is told something.
        assert bool(found.bias.abs().amax(1).gt(0.01).all())


def test_for_a_share_of_the_pairs_the_target_is_as_if_unseen() -> None:
    data = toys.peptides(400)
    objective = replace(TOLD, hidden_counts=0.3, target_dropout=0.2, condition_dropout=0.1)
    device_data, found = plan(data, objective, steps=50)
    assert found.bias is not None
    pair = (device_data.labels == 1).expand_as(found.label)
    own = device_data.targets.expand_as(found.label)
    identified = found.target != NONE
    assert not bool((identified & (found.target != own)).any())
    told = 0.9 * 0.8
    share = float(identified[pair].float().mean())
    assert share == pytest.approx(told * 0.7, abs=0.02)
    # Shown by what is similar alone: the numbers of a target without pairs.
    assert device_data.composition is not None
    similar = torch.log(60 * device_data.composition.borrowed) - np.log(60)
    for target in range(2):
        here = pair & (own == target) & ~identified
        as_unseen = (found.bias[here] - similar[target]).abs().amax(-1) < 1e-6
        nothing = (found.bias[here] == 0).all(-1)
        assert bool((as_unseen | nothing).all())
        wanted = told * 0.3 / (1 - told * 0.7)
        assert float(as_unseen.float().mean()) == pytest.approx(wanted, abs=0.04)
    assert bool((found.bias[~pair] == 0).all())
    # Whether a pair is hidden does not hang on whether its target is dropped.
    other = plan(data, TOLD, steps=50)[1]
    hidden = plan(data, replace(TOLD, hidden_counts=0.3), steps=50)[1].target == NONE
    assert bool((hidden[identified] == False).all())  # noqa: E712
    assert torch.equal(other.masked, found.masked)


def test_an_unseen_target_like_no_other_is_none_bit_for_bit() -> None:
    data = unseen(toys.peptides(400), 2)
    engine = toys.engine(data=data)
    engine.advance(20)
    held = DeviceData.of(data, data.subset(VALIDATION, 1), CPU, Objective())
    assert set(held.targets.tolist()) == {2}
    untold = replace(held, targets=torch.full_like(held.targets, NONE))
    off = DeviceData.of(data, data.subset(VALIDATION, 1), CPU, Objective(composition="off"))
    assert set(off.targets.tolist()) == {NONE}
    told = evaluate(engine.model, held, 20, repeats=2)
    assert torch.equal(told, evaluate(engine.model, untold, 20, repeats=2))
    assert torch.equal(told, evaluate(engine.model, off, 20, repeats=2))


def test_off_is_the_model_without_it() -> None:
    data = toys.device_data(composition="off")
    assert data.composition is None
    assert plan_evaluation(data, 0, 5, 0, 1, 20).bias is None
    alone = toys.peptides()
    alone = replace(alone, labels=0 * alone.labels, targets=np.full_like(alone.targets, -1))
    assert toys.device_data(alone).composition is None, "there are no pairs to count"


@pytest.mark.parametrize("machine", [toys.EXACT, toys.FIXED])
def test_what_is_learned_does_not_hang_on_the_shapes(machine: toys.Machine) -> None:
    """The same bias whether batches are exact or of fixed shape, planned together or apart."""
    together, apart = (toys.engine(machine, hidden_counts=0.5) for _ in range(2))
    together.advance(10)
    for _ in range(10):
        apart._ahead = (0, iter(()))
        apart.advance(1)
    assert torch.equal(together.state.master, apart.state.master)
    sliced = toys.engine(toys.EXACT, hidden_counts=0.5, accumulate=2)
    sliced.advance(10)
    assert torch.allclose(sliced.state.losses, together.state.losses, atol=1e-4)
    without = toys.engine(machine, composition="off")
    without.advance(10)
    assert not torch.allclose(without.state.losses, together.state.losses, atol=1e-2)


def test_the_bound_is_that_of_a_distribution_with_the_bias_on() -> None:
    """Over all 25**3 peptides of three letters exp(-NELBO) sums to at most 1."""
    engine = toys.engine(data=toys.peptides(300))
    engine.advance(30)
    tables, length = engine.data.composition, 3
    assert tables is not None
    letters = torch.arange(N_LETTERS)
    peptides = torch.cartesian_prod(*[letters] * length)
    nats = torch.zeros(len(peptides), dtype=torch.float64)
    for size in range(1, length + 1):
        for hidden in itertools.combinations(range(length), size):
            seen = [place for place in range(length) if place not in hidden]
            # Every way to fill the places that are seen; the others under the mask.
            shown = torch.full((N_LETTERS ** len(seen), length), MASK)
            if seen:
                shown[:, seen] = torch.cartesian_prod(*[letters] * len(seen)).view(-1, len(seen))
            logits = logits_of(engine.model, shown, (size - 1) * 20 // length + 1, tables)
            which = torch.zeros(len(peptides), dtype=torch.int64)
            for place in seen:
                which = which * N_LETTERS + peptides[:, place]
            log_p = torch.log_softmax(logits.double(), -1)[which]
            for place in hidden:
                nats -= log_p[torch.arange(len(peptides)), place, peptides[:, place]] / (
                    size * math.comb(length, size)
                )
    total = float(torch.exp(-nats).sum())
    assert 0.5 < total <= 1 + 1e-9


@torch.no_grad()
def logits_of(model: Denoiser, tokens: torch.Tensor, timestep: int, tables: Tables) -> torch.Tensor:
    """Of peptides of one length, all told target 0: [n, length, V]."""
    count, length = tokens.shape
    valid = (torch.arange(MAX_LENGTH) < length).expand(count, -1)
    flat = valid.reshape(-1)
    layout = Layout(flat.nonzero().view(-1), (flat.cumsum(0) - 1).clamp(min=0), valid)
    told = torch.zeros(count, dtype=torch.int64)
    bias = tables.bias(told, told)
    assert float(bias.abs().max()) > 0.1
    condition = model.condition(torch.full_like(told, timestep), torch.ones_like(told), told)
    return model(tokens.view(-1), condition, layout, bias).view(count, length, -1)
