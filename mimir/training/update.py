"""Updates the weights: clipping, AdamW and EMA, unfused for eager mode or fused when compiled.

`unfused` consists of torch's own operations, which pass over all weights several times. The fused
update is `measure`, one pass over the gradient, then `apply`, one pass that reads and writes
gradient, weights, moments and EMA once. Unfused, these took 520 of the 2,250 µs of a step of the
large preset on an H200. `measure` and `apply` are two functions because in a single one the
compiler could compute the few scalars again for each weight.

AdamW follows Loshchilov & Hutter 2019 (algorithm 2), in the order of torch's own operations; a
test compares the two.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from mimir.config import Optimizer
from mimir.model.objective import learning_rate
from mimir.training.state import TrainingState

GROWTH_INTERVAL = 2000
"""Steps without overflow after which the fp16 loss scale doubles (torch's default)."""
SMALLEST_SCALE = 2.0**-10
"""A scale that has fallen this low means that the weights themselves are broken."""


@dataclass(frozen=True)
class Measures:
    """The scalars that one update needs: 0-d tensors, float32 if not said otherwise."""

    norm: Tensor
    """Of the unclipped gradient."""
    overflow: Tensor
    """bool: the norm is not finite; with fp16 the step is skipped."""
    factor: Tensor
    """The gradient's: loss scale and clipping."""
    updates: Tensor
    """AdamW's count after this step."""
    rate: Tensor
    step_size: Tensor
    correction: Tensor
    decay: Tensor
    """Of the EMA."""


def ema_decay(updates: Tensor, ema: float) -> Tensor:
    """Decay of the EMA, 0-d float32; lower in the first updates, to forget the initial weights."""
    return torch.clamp((1 + updates) / (10 + updates), max=ema)


def next_scale(scale: Tensor, growth: Tensor, overflow: Tensor) -> tuple[Tensor, Tensor]:
    """The fp16 loss scale (float32) and its count of calm steps (int32) after one step.

    Halved by an overflow (0-d bool), doubled after GROWTH_INTERVAL steps without one.
    """
    calm = torch.where(overflow, 0, growth + 1)
    grown = calm >= GROWTH_INTERVAL
    scale = torch.where(overflow, scale * 0.5, torch.where(grown, scale * 2, scale))
    return scale, torch.where(grown, 0, calm).to(torch.int32)


def measure(state: TrainingState, settings: Optimizer, total: int) -> Measures:
    """The numbers of a step's update, from the gradient in `low_grad`; changes nothing.

    Args:
        total: steps of the run without a cooldown, for the learning rate.
    """
    half = state.low.dtype == torch.float16
    norm = torch.linalg.vector_norm(state.low_grad.float())
    scale = state.scale.reciprocal() if half else torch.ones_like(norm)
    norm = norm * scale
    overflow = ~torch.isfinite(norm)
    updates = state.updates + 1
    if half:
        updates = torch.where(overflow, state.updates, updates)
    rate = learning_rate(state.step, settings, total, state.cooldown)
    return Measures(
        norm=norm,
        overflow=overflow,
        factor=scale * (settings.clip / (norm + 1e-6)).clamp(max=1.0),
        updates=updates,
        rate=rate,
        step_size=rate / (1 - settings.beta1**updates),
        correction=torch.sqrt(1 - settings.beta2**updates),
        decay=ema_decay(updates, settings.ema),
    )


def apply(state: TrainingState, seen: Measures, loss: Tensor, settings: Optimizer) -> None:
    """Update a state in place, its counters and windows too.

    Args:
        loss: 0-d float32, of the step.
    """
    half = state.low.dtype == torch.float16
    grad = state.low_grad.float() * seen.factor
    decayed = torch.arange(len(grad), device=grad.device) < state.border
    first = torch.lerp(state.exp_avg, grad, 1 - settings.beta1)
    second = settings.beta2 * state.exp_avg_sq + (1 - settings.beta2) * grad * grad
    master = state.master * (1 - seen.rate * torch.where(decayed, settings.weight_decay, 0.0))
    bend = torch.sqrt(second) / seen.correction + settings.eps
    master = master - seen.step_size * first / bend
    if half:
        first = torch.where(seen.overflow, state.exp_avg, first)
        second = torch.where(seen.overflow, state.exp_avg_sq, second)
        master = torch.where(seen.overflow, state.master, master)
    ema = torch.lerp(state.ema, master, 1 - seen.decay)
    state.exp_avg.copy_(first)
    state.exp_avg_sq.copy_(second)
    state.ema.copy_(ema)
    state.master.copy_(master)
    if state.low is not state.master:
        state.low.copy_(master)
    if half:
        scale, growth = next_scale(state.scale, state.growth, seen.overflow)
        state.scale.copy_(scale)
        state.growth.copy_(growth)
        broken = scale < SMALLEST_SCALE
    else:
        broken = ~torch.isfinite(seen.norm + loss)
    state.nonfinite.add_(broken.to(torch.int64))
    state.updates.copy_(seen.updates)
    state.rate.copy_(seen.rate)
    window = len(state.losses)
    slot = torch.arange(window, device=grad.device) == state.step % window
    state.losses.copy_(torch.where(slot, loss, state.losses))
    state.norms.copy_(torch.where(slot, seen.norm, state.norms))
    state.step.add_(1)


def unfused(state: TrainingState, loss: Tensor, settings: Optimizer, total: int) -> None:
    """Update a state in place by the gradient in `low_grad`, its counters and windows too.

    Args:
        loss: 0-d float32, of the step.
        total: steps of the run without a cooldown, for the learning rate.
    """
    half = state.low.dtype == torch.float16
    if state.low_grad is not state.grad:
        state.grad.copy_(state.low_grad)
    if half:
        state.grad.mul_(state.scale.reciprocal())
    norm = torch.linalg.vector_norm(state.grad)
    state.grad.mul_((settings.clip / (norm + 1e-6)).clamp(max=1.0))
    state.rate.copy_(learning_rate(state.step, settings, total, state.cooldown))
    skipped = None
    if half:
        overflow = ~torch.isfinite(norm)
        skipped = overflow.to(torch.float32)
        state.grad.nan_to_num_(0.0, 0.0, 0.0)
        scale, growth = next_scale(state.scale, state.growth, overflow)
        broken = scale < SMALLEST_SCALE
        state.scale.copy_(scale)
        state.growth.copy_(growth)
    else:
        broken = ~torch.isfinite(norm + loss)
    _adamw(state, settings, skipped)
    state.nonfinite += broken.to(torch.int64)
    state.refresh()
    state.ema.lerp_(state.master, 1 - ema_decay(state.updates, settings.ema))
    slot = (state.step % len(state.losses)).view(1)
    state.losses.index_copy_(0, slot, loss.view(1))
    state.norms.index_copy_(0, slot, norm.view(1))
    state.step += 1


def _adamw(state: TrainingState, settings: Optimizer, skipped: Tensor | None) -> None:
    """torch's own fused AdamW on the flat vectors: first what decays, then what does not.

    By its function, because the optimizer of that name imports torch's compiler when it is made:
    1.4 s of the processor, which is a third of an attempt's start on a CPU.

    Args:
        skipped: 0-d float32, 1 where this step is not to be taken.
    """
    for part, decay, count in (
        (slice(0, state.border), settings.weight_decay, state.updates),
        (slice(state.border, None), 0.0, state._updates_too),
    ):
        adamw(
            [state.master[part]], [state.grad[part]], [state.exp_avg[part]],
            [state.exp_avg_sq[part]], [], [count],
            fused=True, capturable=state.master.is_cuda, found_inf=skipped, amsgrad=False,
            beta1=settings.beta1, beta2=settings.beta2, lr=state.rate, weight_decay=decay,
            eps=settings.eps, maximize=False,
        )  # fmt: skip
