"""The training objective: a bound on the negative log-likelihood (NELBO), and its evaluation.

With c(t) = ceil(t L / T) residues masked at timestep t, the reverse process reveals them
one by one in random order, and the negative evidence lower bound of a peptide x is

    NELBO(x) = L * E_{c ~ U{1..L}, mask of c} [ 1/c * sum over masked i of -log p(x_i | rest) ]

(Uria, Murray & Larochelle 2014; Hoogeboom et al. 2022, equation 8, order-agnostic
autoregressive diffusion; the same weight as 1/t of continuous masked diffusion, Sahoo et
al. 2024, with whole counts). In nats; divided by L it is comparable between lengths. A
model that knew the true distribution would reach exactly its entropy.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mimir.config import Optimizer
from mimir.model.batch import Batch, DeviceData, exact_batch, plan_evaluation
from mimir.model.denoiser import Denoiser


def bound(model: Denoiser, batch: Batch) -> Tensor:
    """One-sample terms of the NELBO: float32 [M], nats, one for each predicted residue.

    The sum over a peptide's residues is its estimate.
    """
    condition = model.condition(batch.timestep, batch.label, batch.target)
    logits = model(batch.tokens, condition, batch.layout, batch.bias)
    return F.cross_entropy(logits, batch.token_labels, reduction="none") * batch.weight


def mean_bound(model: Denoiser, batch: Batch, residues: Tensor) -> Tensor:
    """What is trained: the NELBO of a batch in nats over `residues`, 0-d float32."""
    return bound(model, batch).sum() / residues


@torch.no_grad()
def evaluate(
    model: Denoiser, data: DeviceData, timesteps: int, *, repeats: int = 1, batch: int = 512
) -> Tensor:
    """Estimated NELBO of every peptide of a data set with fixed noise: float64 [R], nats.

    The noise depends only on the order of the data, so two models, or one model with other
    targets, are compared on the same masks.
    """
    total = torch.zeros(len(data), dtype=torch.float64)
    for repeat in range(repeats):
        for start in range(0, len(data), batch):
            stop = min(start + batch, len(data))
            plan = plan_evaluation(data, start, stop, repeat, repeats, timesteps)
            prepared = exact_batch(plan)
            terms = bound(model, prepared).to(torch.float64).cpu()
            slot_of = prepared.layout.slot_of
            assert prepared.layout.predict is not None
            owner = torch.div(
                slot_of[prepared.layout.predict], plan.tokens.shape[-1], rounding_mode="floor"
            )
            total[start:stop].index_add_(0, owner.cpu(), terms)
    return total / repeats


def learning_rate(step: Tensor, settings: Optimizer, total: int) -> Tensor:
    """Linear warm-up, then a cosine down to `final_lr * lr`: float32, of the step's shape.

    A function of the step alone (int64, the steps taken so far), so there is no schedule to save.
    """
    done = (step + 1).to(torch.float64)
    warm = (done / max(1, settings.warmup_steps)).clamp(max=1.0)
    span = max(1, total - settings.warmup_steps)
    share = ((done - settings.warmup_steps) / span).clamp(0.0, 1.0)
    wave = 0.5 * (1 + torch.cos(math.pi * share))
    return (settings.lr * warm * (settings.final_lr + (1 - settings.final_lr) * wave)).float()
