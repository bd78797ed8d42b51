"""Which peptides a step takes: each as often as any other, whatever ends where."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from mimir.config import Training
from mimir.model.batch import plan_training
from mimir.training.order import Order
from tests import toys


def labels(background: int, pairs: int) -> torch.Tensor:
    return torch.tensor([0, 0, 0, 1] * pairs + [0] * (background - 3 * pairs))


@pytest.mark.parametrize(("background", "pairs", "batch", "share", "in_batch"), [
    (50, 7, 8, 0.33, 3), (50, 7, 8, 0.01, 1), (50, 16, 8, 0.99, 7), (300, 2, 32, 0.5, 16),
])  # fmt: skip
def test_both_streams_go_through_all_before_one_comes_again(
    background: int, pairs: int, batch: int, share: float, in_batch: int
) -> None:
    order = Order(labels(background, pairs), Training(batch=batch, pair_share=share, seed=5))
    assert order.pairs == in_batch
    epochs = [order.of(epoch).view(order.steps, batch) for epoch in range(9)]
    whole = torch.cat(epochs)
    assert order.steps == (background + pairs) // batch
    for rows, size, kind in (
        (whole[:, :in_batch], pairs, 1), (whole[:, in_batch:], background, 0)
    ):  # fmt: skip
        stream = rows.reshape(-1)
        assert set(order.labels[stream].tolist()) == {kind}
        rounds = [tuple(part.tolist()) for part in stream.split(size)]
        assert all(len(set(part)) == len(part) for part in rounds)
        whole_rounds = [part for part in rounds if len(part) == size]
        assert len(set(whole_rounds)) > 1 or len(whole_rounds) < 2 or size < 3
        seen = Counter(stream.tolist())
        assert max(seen.values()) - min(seen.values()) <= 1


def test_an_epoch_alone_is_as_in_sequence_and_the_seed_decides() -> None:
    training = Training(batch=8, pair_share=0.33, seed=5)
    one, other = (Order(labels(50, 7), training) for _ in range(2))
    assert torch.equal(one.of(6), other.of(6))
    assert not torch.equal(one.of(6), one.of(7))
    assert not torch.equal(one.of(6), Order(labels(50, 7), replace(training, seed=6)).of(6))


@pytest.mark.parametrize(("kinds", "share"), [((50, 0), 0.33), ((50, 7), 0.0), ((0, 50), 0.33)])
def test_plain_where_nothing_is_to_be_mixed(kinds: tuple[int, int], share: float) -> None:
    given = torch.tensor([0] * kinds[0] + [1] * kinds[1])
    order = Order(given, Training(batch=8, pair_share=share))
    assert order.pairs == 0
    rows = order.of(0)
    assert len(set(rows.tolist())) == len(rows) == order.steps * 8


def test_masked_counts_of_each_stream_are_spread_by_themselves() -> None:
    """Levels are even over the slots of a stream: of one length each count is as frequent."""
    data = toys.device_data(toys.peptides(lengths=[8] * 300))
    pairs, batch = 8, 24
    rows = Order(data.labels, Training(batch=batch, pair_share=pairs / batch))
    assert rows.pairs == pairs
    plan = plan_training(
        data, rows.of(0), torch.arange(rows.steps), batch, toys.config().objective, 3,
        toys.TARGETS, pairs,
    )  # fmt: skip
    for counts in (plan.count[:, :pairs], plan.count[:, pairs:]):
        for row in counts:
            assert row.bincount(minlength=9)[1:].tolist() == [counts.shape[1] // 8] * 8
    assert bool((plan.label[:, pairs:] != 1).all())
