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
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from mimir.config import Optimizer
from mimir.model.batch import Batch, DeviceData, exact_batch, joined, plan_evaluation
from mimir.model.denoiser import Denoiser

TOGETHER = 4096
"""Peptides of one forward pass of an evaluation on a GPU."""


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
    model: Denoiser, data: DeviceData, timesteps: int, *, repeats: int = 1, batch: int = 512,
    at_once: int | None = None,
) -> Tensor:  # fmt: skip
    """Estimated NELBO of every peptide of a data set with fixed noise: float64 [R], nats.

    The noise depends only on the order of the data, so two models, or one model with other
    targets, are compared on the same masks.

    Args:
        batch: peptides whose masks are drawn together.
        at_once: peptides of a forward pass, of several draws (default: one draw's on a CPU;
            TOGETHER on a GPU, where a pass costs what the host takes to start its kernels).
    """
    device = data.starts.device
    most = at_once or (TOGETHER if device.type == "cuda" else 1)
    total = torch.zeros(len(data), dtype=torch.float64)
    terms, rows = [], []
    draws = [
        (repeat, start, min(start + batch, len(data)))
        for repeat in range(repeats)
        for start in range(0, len(data), batch)
    ]
    for together in _together(draws, most):
        plan = joined([
            plan_evaluation(data, start, stop, repeat, repeats, timesteps)
            for repeat, start, stop in together
        ])  # fmt: skip
        row = torch.cat([torch.arange(start, stop, device=device) for _, start, stop in together])
        prepared = exact_batch(plan)
        assert prepared.layout.predict is not None
        slots = prepared.layout.slot_of[prepared.layout.predict]
        terms.append(bound(model, prepared).to(torch.float64))
        rows.append(row[torch.div(slots, plan.tokens.shape[-1], rounding_mode="floor")])
    if terms:  # the sum on the host: on a GPU its order would differ from one time to the next
        total.index_add_(0, torch.cat(rows).cpu(), torch.cat(terms).cpu())
    return total / repeats


def _together(draws: list[tuple[int, int, int]], most: int) -> Iterator[list[tuple[int, int, int]]]:
    """Draws (repeat, start, stop) in groups of `most` peptides, and of one draw at least."""
    group: list[tuple[int, int, int]] = []
    for draw in draws:
        size = sum(stop - start for _, start, stop in (*group, draw))
        if group and size > most:
            yield group
            group = []
        group.append(draw)
    if group:
        yield group


def learning_rate(step: Tensor, settings: Optimizer, total: int, cooldown: Tensor) -> Tensor:
    """Linear warm-up, then a cosine down to `final_lr * lr`: float32, of the step's shape.

    A cooldown leaves the cosine where it is, and goes down to the same end in a straight line of
    `cooldown_steps` (Hägele et al. 2024, arXiv:2405.18392). A function of two numbers of steps
    (int64), those taken so far and at which the cooldown began (0-d; -1: it has not), so there is
    no schedule to save.
    """
    cooling = cooldown >= 0
    done = (torch.where(cooling, torch.minimum(step, cooldown), step) + 1).to(torch.float64)
    warm = (done / max(1, settings.warmup_steps)).clamp(max=1.0)
    span = max(1, total - settings.warmup_steps)
    share = ((done - settings.warmup_steps) / span).clamp(0.0, 1.0)
    wave = 0.5 * (1 + torch.cos(math.pi * share))
    rate = settings.lr * warm * (settings.final_lr + (1 - settings.final_lr) * wave)
    cooled = ((step + 1 - cooldown).to(torch.float64) / settings.cooldown_steps).clamp(0.0, 1.0)
    cooled = torch.where(cooling, cooled, torch.zeros_like(cooled))
    return (rate + (settings.lr * settings.final_lr - rate) * cooled).float()
