import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mimir.config import Optimizer
from mimir.data.alphabet import MASK, MAX_LENGTH, N_LETTERS
from mimir.model import objective
from mimir.model.attention import Layout
from mimir.model.batch import Batch, exact_batch, plan_evaluation
from mimir.model.denoiser import Denoiser, initialise
from mimir.model.objective import bound, evaluate, learning_rate
from tests import toys

Conditional = Callable[[tuple[int, ...]], Tensor]
"""Letters of a peptide, MASK where hidden, to log-probabilities [P', V] of every place."""


class Known(nn.Module):
    """A denoiser whose conditionals are given; takes peptides of one length only."""

    def __init__(self, length: int, conditional: Conditional) -> None:
        super().__init__()
        self.length, self.conditional = length, conditional

    def condition(self, timestep: Tensor, label: Tensor, target: Tensor) -> Tensor:
        return torch.zeros(len(timestep), 1)

    def forward(
        self, tokens: Tensor, condition: Tensor, layout: Layout, bias: Tensor | None
    ) -> Tensor:
        assert bias is None
        rows = tokens.view(-1, self.length)
        logits = torch.cat([self.conditional(tuple(row)) for row in rows.tolist()])
        return logits if layout.predict is None else logits[layout.predict]


def estimates(model: nn.Module, peptide: list[int]) -> dict[tuple[int, ...], float]:
    """The one-sample bound of a peptide for each non-empty set of hidden places."""
    length = len(peptide)
    found = {}
    for size in range(1, length + 1):
        for places in itertools.combinations(range(length), size):
            tokens = torch.tensor(peptide)
            masked = torch.tensor(places)
            token_labels = tokens[masked]
            tokens = tokens.clone()
            tokens[masked] = MASK
            valid = (torch.arange(MAX_LENGTH) < length)[None]
            slot_of = torch.arange(length)
            row_of = torch.arange(MAX_LENGTH).clamp(max=length - 1)
            one = torch.ones(1, dtype=torch.int64)
            batch = Batch(
                tokens, Layout(slot_of, row_of, valid, masked), one, one, one, token_labels,
                torch.full((size,), length / size),
            )  # fmt: skip
            found[places] = float(bound(model, batch).sum().detach())  # type: ignore[arg-type]
    return found


def expected(found: dict[tuple[int, ...], float], length: int) -> float:
    """The mean over a uniform count and a uniform subset of that size."""
    total = 0.0
    for places, value in found.items():
        total += value / (length * math.comb(length, len(places)))
    return total


def test_without_context_the_bound_is_the_likelihood() -> None:
    config = toys.config()
    model = Denoiser(config.model, 20, toys.TARGETS)
    initialise(model, 0)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.linspace(-2, 2, N_LETTERS))
    log_p = torch.log_softmax(model.head.bias.detach(), 0)
    peptide = [3, 17, 3, 0, 24]
    wanted = -float(log_p[peptide].sum())
    assert expected(estimates(model, peptide), 5) == pytest.approx(wanted, rel=1e-5)


def test_the_bound_is_the_mean_over_orders() -> None:
    """For conditionals of no joint distribution at all, which is the general case."""
    length, peptide = 4, [1, 0, 2, 1]
    tables: dict[tuple[int, ...], Tensor] = {}

    def conditional(tokens: tuple[int, ...]) -> Tensor:
        if tokens not in tables:
            rng = torch.Generator().manual_seed(hash(tokens) % 2**31)
            logits = torch.randn(length, N_LETTERS, generator=rng)
            tables[tokens] = torch.log_softmax(logits, -1)
        return tables[tokens]

    def nats(order: tuple[int, ...]) -> float:
        state, total = [MASK] * length, 0.0
        for place in order:
            total -= float(conditional(tuple(state))[place, peptide[place]])
            state[place] = peptide[place]
        return total

    orders = list(itertools.permutations(range(length)))
    wanted = sum(map(nats, orders)) / len(orders)
    found = estimates(Known(length, conditional), peptide)
    assert expected(found, length) == pytest.approx(wanted, rel=1e-5)
    # Each order by itself is another figure, so their mean is no coincidence.
    assert max(map(nats, orders)) - min(map(nats, orders)) > 0.5


def test_true_conditionals_give_the_likelihood_itself() -> None:
    """A joint distribution of four places of two letters, by its exact conditionals."""
    rng = torch.Generator().manual_seed(4)
    joint = torch.softmax(2 * torch.randn(2, 2, 2, 2, generator=rng), 0)
    joint = joint / joint.sum()

    def conditional(tokens: tuple[int, ...]) -> Tensor:
        seen = joint
        for place, letter in enumerate(tokens):
            if letter != MASK:
                keep = torch.zeros(2)
                keep[letter] = 1
                seen = seen * keep.view([2 if i == place else 1 for i in range(4)])
        out = torch.full((4, N_LETTERS), -50.0)
        for place in range(4):
            share = seen.sum([i for i in range(4) if i != place])
            out[place, :2] = (share / share.sum()).log().clamp(min=-50)
        return out

    for peptide in itertools.product((0, 1), repeat=4):
        found = estimates(Known(4, conditional), list(peptide))
        assert expected(found, 4) == pytest.approx(-math.log(float(joint[peptide])), rel=1e-4)


def test_evaluation_is_unbiased_over_its_noise() -> None:
    """Many passes over the data approach the exact expectation of each peptide."""
    length = 4
    packed = toys.peptides(lengths=[length] * 4)
    data = toys.device_data(packed, composition="off")

    def conditional(tokens: tuple[int, ...]) -> Tensor:
        known = sum(1 for letter in tokens if letter != MASK)
        sum_of = sum(letter for letter in tokens if letter != MASK)
        logits = torch.cos(torch.arange(length)[:, None] + torch.arange(N_LETTERS) * (1 + sum_of))
        return torch.log_softmax(logits * (1 + known), -1)

    model = Known(length, conditional)
    wanted = [
        expected(estimates(model, data.tokens[start : start + length].long().tolist()), length)
        for start in data.starts.tolist()
    ]
    found = evaluate(model, data, 20, repeats=300)  # type: ignore[arg-type]
    assert found.tolist() == pytest.approx(wanted, rel=0.05)


def model_of(layers: int = 2) -> Denoiser:
    engine = toys.engine(layers=layers)
    engine.advance(30)
    return engine.model


def test_evaluation_repeats_itself_and_ignores_the_batch_size() -> None:
    model, data = model_of(), toys.device_data(toys.peptides(60))
    one = evaluate(model, data, 20, repeats=2)
    torch.manual_seed(5)
    torch.rand(7)
    assert torch.equal(one, evaluate(model, data, 20, repeats=2))
    assert one.shape == (len(data),)
    assert one.dtype == torch.float64
    for batch in (1, 7, len(data)):
        other = evaluate(model, data, 20, repeats=2, batch=batch)
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-5)
    for at_once in (1, 50, len(data), 100):  # as on a GPU: several draws in one pass
        other = evaluate(model, data, 20, repeats=2, batch=17, at_once=at_once)
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-5)
    assert not torch.allclose(one, evaluate(model, data, 20, repeats=3), rtol=1e-3)


def test_draws_are_taken_together_up_to_what_a_pass_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = model_of(), toys.device_data(toys.peptides(60))
    passes: list[int] = []
    inner = objective.exact_batch
    monkeypatch.setattr(
        objective, "exact_batch", lambda plan: (passes.append(len(plan.tokens)), inner(plan))[1]
    )
    for at_once, sizes in ((0, 6 * [len(data)]), (4 * len(data), [4 * len(data), 2 * len(data)])):
        passes.clear()
        evaluate(model, data, 20, repeats=6, at_once=at_once)
        assert passes == sizes


def test_evaluation_sums_the_terms_of_each_peptide() -> None:
    model, data = model_of(), toys.device_data(toys.peptides(20))
    plan = plan_evaluation(data, 0, len(data), 0, 1, 20)
    wanted = []
    for row in range(len(data)):
        wanted.append(bound(model, exact_batch(plan.at(slice(row, row + 1)))).sum().item())
    assert evaluate(model, data, 20).tolist() == pytest.approx(wanted, rel=1e-5)


NEVER = torch.tensor(-1)


@pytest.mark.parametrize("began", [0, 3, 40, 105])
def test_a_cooldown_goes_straight_down_to_the_same_end(began: int) -> None:
    settings = Optimizer(lr=0.01, warmup_steps=10, final_lr=0.1, cooldown_steps=5)
    steps = torch.arange(111)
    plain = learning_rate(steps, settings, 110, NEVER)
    rate = learning_rate(steps, settings, 110, torch.tensor(began))
    assert torch.equal(rate[:began], plain[:began])
    start, end = plain[began].item(), 0.001
    fall = [start + (end - start) * (i + 1) / 5 for i in range(5)]
    assert rate[began : began + 5].tolist() == pytest.approx(fall[: 111 - began], rel=1e-5)
    assert rate[began + 5 :].tolist() == pytest.approx([end] * (106 - began))


def test_learning_rate() -> None:
    settings = Optimizer(lr=0.01, warmup_steps=10, final_lr=0.1)
    rate = learning_rate(torch.arange(111), settings, 110, NEVER)
    assert rate.dtype == torch.float32
    assert rate[0].item() == pytest.approx(0.001)
    assert rate[9].item() == pytest.approx(0.01)
    assert rate.argmax().item() in (9, 10)
    assert rate[59].item() == pytest.approx(0.001 + 0.009 * 0.5, rel=1e-5)
    assert rate[109].item() == pytest.approx(0.001)
    assert rate[110].item() == pytest.approx(0.001)
    assert bool((rate[10:110].diff() < 0).all())


@pytest.mark.parametrize(("warmup", "total"), [(0, 10), (50, 10), (10, 10), (0, 1)])
def test_learning_rate_at_odd_ends(warmup: int, total: int) -> None:
    rate = learning_rate(torch.arange(total), Optimizer(lr=0.01, warmup_steps=warmup), total, NEVER)
    assert bool(torch.isfinite(rate).all())
    assert bool((rate > 0).all())
    assert bool((rate <= 0.0100001).all())
