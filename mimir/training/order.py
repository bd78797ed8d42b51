"""Which peptides each step takes: a function of seed and step, so that nothing of it is saved."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mimir.config import Training
from mimir.data.mix import pairs_in_batch
from mimir.model import philox


@dataclass(frozen=True, eq=False)
class Order:
    """labels: int64 [R], of the training peptides; 1 for pairs.

    Of data that has both, each batch holds a fixed number of pairs, in its first slots: pairs are
    what a model is for, and few. Pairs and background are two streams then, each of which goes
    through all its peptides before one comes again. Their epochs end inside a batch, and inside an
    epoch of the run, which stays what the training guide counts: as many steps as batches fit into
    the data.
    """

    labels: Tensor
    training: Training

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return len(self.labels) // self.training.batch

    @property
    def pairs(self) -> int:
        """Pairs in each batch; 0 where they come as they lie in the data."""
        share, batch = self.training.pair_share, self.training.batch
        return pairs_in_batch(share, batch, len(self.labels), int((self.labels == 1).sum()))

    def of(self, epoch: int) -> Tensor:
        """Rows of the epoch's steps, one batch after the other: int64 [steps * batch]."""
        batch, pairs, seed = self.training.batch, self.pairs, self.training.seed
        device = self.labels.device
        if not pairs:
            number = torch.tensor(epoch, device=device)
            whole = philox.permutation(seed, philox.ORDER, number, len(self.labels))
            return whole[: self.steps * batch]
        chosen = []
        for label, width, stream in ((1, pairs, philox.PAIRS), (0, batch - pairs, philox.ORDER)):
            rows = (self.labels == label).nonzero().view(-1)
            first, last = epoch * self.steps * width, (epoch + 1) * self.steps * width
            begin, end = first // len(rows), -(-last // len(rows))
            rounds = torch.arange(begin, end, device=device)
            taken = rows[philox.permutation(seed, stream, rounds, len(rows))].view(-1)
            skipped = begin * len(rows)
            chosen.append(taken[first - skipped : last - skipped].view(self.steps, width))
        return torch.cat(chosen, dim=1).view(-1)
