import hashlib

import numpy as np
import pytest
import torch

from mimir.config import Objective
from mimir.data.alphabet import MASK, MAX_LENGTH
from mimir.model.batch import (
    DeviceData,
    Plan,
    capacity_for,
    exact_batch,
    plan_evaluation,
    plan_training,
)
from mimir.model.denoiser import NO_LABEL
from mimir.training.engine import Work
from tests import toys

FREE = Objective(condition_dropout=0.0, target_dropout=0.0)


def plans(
    data: DeviceData, steps: int, batch: int, objective: Objective = FREE, seed: int = 0
) -> Plan:
    """Plans of the first steps of epoch 0 in the data's own order: [steps, batch]."""
    order = torch.arange(len(data))
    return plan_training(data, order, torch.arange(steps), batch, objective, seed, toys.TARGETS)


def same_length(length: int, rows: int) -> DeviceData:
    packed = toys.peptides(lengths=[length] * (rows * 10 // 9 + 2))
    data = toys.device_data(packed)
    assert len(data) >= rows
    return data


@pytest.mark.parametrize("machine", [toys.EXACT, toys.FIXED])
def test_accumulation_sees_the_same_batches(machine: object) -> None:
    """Letters, masks, timesteps, labels and targets of ten steps, over an epoch's end."""
    digests = set()
    for slices in (1, 2, 4):
        engine = toys.engine(machine, toys.peptides(70), accumulate=slices)  # type: ignore[arg-type]
        seen = hashlib.sha256()
        train = engine._one

        def spy(work: Work, train=train, seen=seen) -> None:  # type: ignore[no-untyped-def]
            for name in ("tokens", "token_labels", "timestep", "label", "target"):
                for batch in work.batches:
                    value, real = getattr(batch, name), batch.layout.real
                    own = value[real] if real is not None and len(value) == len(real) else value
                    seen.update(own.numpy().tobytes())
            train(work)

        engine._one = spy  # type: ignore[method-assign]
        while engine.step < 10:
            engine.advance(4)
        digests.add(seen.hexdigest())
    assert len(digests) == 1


def test_an_epoch_takes_every_row_once_but_its_tail() -> None:
    data = toys.device_data(toys.peptides(100))
    tails = []
    for epoch in range(3):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(epoch))
        steps = len(data) // 8
        first = epoch * steps
        plan = plan_training(
            data, order, torch.arange(first, first + steps), 8, FREE, 0, toys.TARGETS
        )
        # A peptide is told by its letters here: 4 random residues hardly repeat in 90.
        texts = {
            tuple(row[:size])
            for row, size in zip(
                plan.tokens.flatten(0, 1).tolist(), plan.length.flatten().tolist(), strict=True
            )
        }
        wanted = [order[i] for i in range(steps * 8)]
        assert len(texts) == steps * 8
        starts = data.starts[torch.stack(wanted)]
        assert plan.length.flatten().tolist() == data.lengths[torch.stack(wanted)].tolist()
        assert torch.equal(plan.tokens[..., 0].flatten(), data.tokens[starts].long())
        tails.append(set(order[steps * 8 :].tolist()))
    assert len(tails[0]) == len(data) % 8 == 2
    assert tails[0] != tails[1]


def test_the_engine_changes_order_with_the_epoch() -> None:
    engine = toys.engine(data=toys.peptides(70))
    engine.advance(1)
    first = engine.order.clone()
    assert len(first) == len(set(first.tolist())) == engine.steps_per_epoch * 8
    engine.advance(100)
    assert engine.step == engine.steps_per_epoch
    engine.advance(1)
    assert not torch.equal(engine.order, first)


@pytest.mark.parametrize("timesteps", [20, 40])
@pytest.mark.parametrize("length", range(4, 21))
def test_the_timestep_is_the_first_that_hides_the_count(length: int, timesteps: int) -> None:
    data = same_length(length, 200)
    objective = Objective(timesteps=timesteps, condition_dropout=0, target_dropout=0)
    plan = plans(data, 5, 40, objective)
    first = {}
    for t in range(timesteps, 0, -1):
        first[-(-t * length // timesteps)] = t
    assert set(first) >= set(range(1, length + 1))
    for count, t in zip(
        plan.count.flatten().tolist(), plan.timestep.flatten().tolist(), strict=True
    ):
        assert t == first[count]
    assert set(plan.count.flatten().tolist()) == set(range(1, length + 1))


def test_as_many_are_hidden_as_counted_and_only_residues() -> None:
    plan = plans(toys.device_data(toys.peptides(400)), 10, 32)
    assert torch.equal(plan.masked.sum(-1), plan.count)
    assert not bool((plan.masked & ~plan.valid).any())
    assert torch.equal(plan.valid.sum(-1), plan.length)
    assert bool((plan.count >= 1).all())
    assert bool((plan.count <= plan.length).all())


@pytest.mark.parametrize("length", [4, 7, 20])
def test_counts_are_uniform(length: int) -> None:
    data = same_length(length, 64)
    steps = 400
    plan = plans(data, 1, 64)
    plan = plan_training(
        data, torch.arange(len(data)), torch.arange(steps) * (len(data) // 64), 64, FREE, 1,
        toys.TARGETS,
    )  # fmt: skip
    seen = torch.bincount(plan.count.flatten(), minlength=length + 1)[1:].float()
    wanted = steps * 64 / length
    # The even spread makes the counts steadier than independent draws, for which the square
    # is within 2 * length with a chance of more than 99 %.
    assert float(((seen - wanted) ** 2 / wanted).sum()) < 2 * length
    # Within one batch no count may be more than one off its share.
    per_step = torch.nn.functional.one_hot(plan.count - 1, length).sum(1).float()
    assert float((per_step - 64 / length).abs().max()) <= 1
    # A slot is not bound to a count: the first one sees all of them over the steps.
    assert set(plan.count[:, 0].tolist()) == set(range(1, length + 1))


def test_every_subset_of_a_count_is_as_likely() -> None:
    data = same_length(5, 64)
    plan = plan_training(
        data, torch.arange(len(data)), torch.arange(500) * (len(data) // 64), 64, FREE, 2,
        toys.TARGETS,
    )  # fmt: skip
    code = (plan.masked[..., :5] * 2 ** torch.arange(5)).sum(-1)
    pairs = code[plan.count == 2]
    found = torch.bincount(pairs, minlength=32)
    found = found[found > 0].float()
    assert len(found) == 10
    wanted = len(pairs) / 10
    # Chi-square with 9 degrees of freedom: above 27.9 once in a thousand seeds.
    assert float(((found - wanted) ** 2 / wanted).sum()) < 27.9


def test_dropout_shares() -> None:
    data = toys.device_data(toys.peptides(lengths=[6] * 300))
    objective = Objective(condition_dropout=0.2, target_dropout=0.25)
    plan = plan_training(
        data,
        torch.arange(len(data)),
        torch.arange(200),
        200,
        objective,
        3,
        toys.TARGETS,
    )
    bare = plan_training(
        data, torch.arange(len(data)), torch.arange(200), 200, FREE, 3, toys.TARGETS
    )
    blind = plan.label == NO_LABEL
    assert float(blind.float().mean()) == pytest.approx(0.2, abs=0.01)
    assert bool((plan.target[blind] == toys.TARGETS).all())
    paired = (bare.target != toys.TARGETS) & ~blind
    lost = plan.target[paired] == toys.TARGETS
    assert float(lost.float().mean()) == pytest.approx(0.25, abs=0.015)
    assert torch.equal(plan.label[~blind], bare.label[~blind])
    kept = paired & (plan.target != toys.TARGETS)
    assert torch.equal(plan.target[kept], bare.target[kept])
    # What is told must not move what is hidden.
    assert torch.equal(plan.masked, bare.masked)


def test_a_plan_follows_from_seed_and_step_alone() -> None:
    data = toys.device_data()
    order = torch.arange(len(data))
    steps = torch.arange(5)
    many = plan_training(data, order, steps, 8, Objective(), 7, toys.TARGETS)
    torch.manual_seed(99)
    for step in range(5):
        one = plan_training(
            data, order, steps[step : step + 1], 8, Objective(), 7, toys.TARGETS
        ).at(0)
        for name, value in vars(one).items():
            assert torch.equal(value, getattr(many, name)[step]), name
    other = plan_training(data, order, steps, 8, Objective(), 8, toys.TARGETS)
    assert not torch.equal(other.masked, many.masked)


def test_evaluation_plans_do_not_depend_on_where_they_are_cut() -> None:
    data = toys.device_data(toys.peptides(40))
    whole = plan_evaluation(data, 0, len(data), 1, 3, 20)
    for start, stop in [(0, 7), (7, 20), (20, len(data))]:
        part = plan_evaluation(data, start, stop, 1, 3, 20)
        for name, value in vars(part).items():
            assert torch.equal(value, getattr(whole, name)[start:stop]), name


def test_evaluation_counts_are_spread_over_data_and_repeats() -> None:
    data = same_length(8, 64)
    counts = torch.stack([plan_evaluation(data, 0, len(data), r, 4, 20).count for r in range(4)])
    assert torch.bincount(counts.flatten())[1:].float().std() < 3
    # Each peptide is seen at four counts that are two apart, not four times at one.
    assert all(len(set(row.tolist())) == 4 for row in counts.T)


def test_a_batch_holds_exactly_what_is_planned() -> None:
    plan = plans(toys.device_data(), 1, 8).at(0)
    batch = exact_batch(plan)
    assert batch.layout.predict is not None
    assert batch.tokens.shape == (int(plan.length.sum()),)
    assert int((batch.tokens == MASK).sum()) == len(batch.token_labels) == int(plan.count.sum())
    shown = batch.tokens.clone()
    shown[batch.layout.predict] = batch.token_labels
    assert torch.equal(shown, plan.tokens[plan.valid])
    total = torch.zeros(8).index_add_(
        0, batch.layout.slot_of[batch.layout.predict] // MAX_LENGTH, batch.weight
    )
    assert torch.allclose(total, plan.length.float())


def test_capacity_holds_every_batch() -> None:
    data = toys.device_data(toys.peptides(200))
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(data)))
    capacity = capacity_for(data.lengths, order, 16)
    sums = [int(data.lengths[order[i : i + 16]].sum()) for i in range(0, len(order) - 15, 16)]
    assert capacity % 64 == 0
    assert max(sums) <= capacity < max(sums) + 64


def test_a_shelf_reads_the_packed_rows() -> None:
    packed = toys.peptides(30)
    data = toys.device_data(packed)
    rows = packed.subset(0)
    for place, row in enumerate(rows.tolist()):
        start, size = int(data.starts[place]), int(data.lengths[place])
        tokens = packed.tokens[packed.offsets[row] : packed.offsets[row + 1]]
        assert data.tokens[start : start + size].tolist() == tokens.tolist()
        target = int(packed.targets[row])
        assert int(data.targets[place]) == (target if target >= 0 else toys.TARGETS)
