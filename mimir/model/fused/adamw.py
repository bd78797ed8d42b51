"""The whole update in two kernels: clipping, AdamW, EMA, counters and windows.

The first sums the squares of the gradient and computes what depends on the step alone; the second
passes once over all weights. The formulas, and their order, are those of `training.update`; what
differs is that the scalars take no kernels of their own. Without a loss scale: not for float16.
"""

import math
from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from mimir.config import Optimizer

SUMS, SUMMED = 512, 4096
"""Programs, and so partial sums, of the first kernel, and what each loads at once."""
PROGRAMS = 1056
"""Of the second kernel at most: eight for each multiprocessor of an H100."""
BLOCK = 1024


@triton.jit
def _sine(x):
    """Taylor's series, for |x| <= pi / 2 in float64: to 1e-13. The library's would need a stack."""
    y, total = x * x, x * 0.0 + 1.0
    for k in tl.static_range(9, 0, -1):
        total = 1.0 - y * total / (2 * k * (2 * k + 1))
    return x * total


@triton.jit
def _measure(gradient, sums, scalars, step, cooldown, updates, size, tiles, LR: tl.constexpr,
             WARM: tl.constexpr, SPAN: tl.constexpr, FINAL: tl.constexpr, COOL: tl.constexpr,
             EMA: tl.constexpr, LOG1: tl.constexpr, LOG2: tl.constexpr,
             BLOCK: tl.constexpr):  # fmt: skip
    program = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float32)
    for tile in range(tiles):
        at = (program * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(gradient + at, mask=at < size, other=0.0).to(tl.float32)
        total += value * value
    tl.store(sums + program, tl.sum(total, 0))
    if program == 0:
        # As `objective.learning_rate`, in float64.
        one = tl.full((), 1.0, tl.float64)
        now, began = tl.load(step), tl.load(cooldown)
        done = (tl.where(began >= 0, tl.minimum(now, began), now) + 1).to(tl.float64)
        start = tl.full((), WARM, tl.float64)
        warm = tl.minimum(done / tl.maximum(start, one), one)
        share = (done - start) / tl.full((), SPAN, tl.float64)
        share = tl.minimum(tl.maximum(share, one - one), one)
        wave = 0.5 * (1 - _sine(tl.full((), 3.141592653589793, tl.float64) * (share - 0.5)))
        final = tl.full((), FINAL, tl.float64)
        rate = tl.full((), LR, tl.float64) * warm * (final + (1 - final) * wave)
        cooled = (now + 1 - began).to(tl.float64) / tl.full((), COOL, tl.float64)
        cooled = tl.where(began >= 0, tl.minimum(tl.maximum(cooled, one - one), one), one - one)
        rate = rate + (tl.full((), LR, tl.float64) * final - rate) * cooled
        count = tl.load(updates) + 1
        own = count.to(tl.float64)
        first = one - tl.exp2(tl.full((), LOG1, tl.float64) * own)
        second = one - tl.exp2(tl.full((), LOG2, tl.float64) * own)
        tl.store(scalars, rate.to(tl.float32))
        tl.store(scalars + 1, (rate / first).to(tl.float32))
        tl.store(scalars + 2, tl.sqrt(second).to(tl.float32))
        tl.store(scalars + 3, tl.minimum((1 + count) / (10 + count), EMA))
        tl.store(scalars + 4, count)


@triton.jit
def _apply(gradient, master, low, ema, first, second, sums, scalars, loss, step, updates,
           updates_too, rates, nonfinite, losses, norms, size, border, window, tiles,
           CLIP: tl.constexpr, DECAY: tl.constexpr, BETA1: tl.constexpr, BETA2: tl.constexpr,
           EPS: tl.constexpr, COPY: tl.constexpr, SUMS: tl.constexpr,
           BLOCK: tl.constexpr):  # fmt: skip
    norm = tl.sqrt_rn(tl.sum(tl.load(sums + tl.arange(0, SUMS)), 0))
    factor = tl.minimum(CLIP / (norm + 1e-6), 1.0)
    # A norm that is no number must spoil the weights as it does in `training.update`.
    factor = tl.where(norm == norm, factor, norm)
    rate, size_of_step = tl.load(scalars), tl.load(scalars + 1)
    correction, keep = tl.load(scalars + 2), tl.load(scalars + 3)
    for tile in range(tiles):
        at = (tl.program_id(0) * tiles + tile) * BLOCK + tl.arange(0, BLOCK)
        mask = at < size
        grad = tl.load(gradient + at, mask=mask).to(tl.float32) * factor
        one, two = tl.load(first + at, mask=mask), tl.load(second + at, mask=mask)
        value, mean = tl.load(master + at, mask=mask), tl.load(ema + at, mask=mask)
        one = one + (1 - BETA1) * (grad - one)
        two = BETA2 * two + (1 - BETA2) * grad * grad
        value = value * (1 - rate * tl.where(at < border, DECAY, 0.0))
        value = value - size_of_step * one / (tl.sqrt_rn(two) / correction + EPS)
        mean = mean + (1 - keep) * (value - mean)
        tl.store(first + at, one, mask=mask)
        tl.store(second + at, two, mask=mask)
        tl.store(master + at, value, mask=mask)
        tl.store(ema + at, mean, mask=mask)
        if COPY:
            tl.store(low + at, value.to(low.dtype.element_ty), mask=mask)
    if tl.program_id(0) == 0:
        now, worth = tl.load(step), tl.load(loss)
        whole = norm + worth
        broken = (whole != whole) | (tl.abs(whole) == float("inf"))
        tl.store(nonfinite, tl.load(nonfinite) + tl.where(broken, 1, 0))
        tl.store(updates, tl.load(scalars + 4))
        tl.store(updates_too, tl.load(scalars + 4))
        tl.store(rates, rate)
        tl.store(losses + now % window, worth)
        tl.store(norms + now % window, norm)
        tl.store(step, now + 1)


@dataclass(frozen=True)
class State:
    """What an update reads and writes, as `training.state` holds it."""

    gradient: Tensor
    master: Tensor
    low: Tensor
    """May be `master` itself."""
    ema: Tensor
    first: Tensor
    second: Tensor
    step: Tensor
    updates: tuple[Tensor, Tensor]
    rate: Tensor
    nonfinite: Tensor
    losses: Tensor
    norms: Tensor
    cooldown: Tensor
    border: int


def _log2(beta: float) -> float:
    return math.log2(beta) if beta else -1e9


def update(state: State, loss: Tensor, settings: Optimizer, total: int) -> None:
    """Update a state in place by its gradient.

    Args:
        loss: 0-d float32, of the step.
        total: steps of the run without a cooldown, for the learning rate.
    """
    size = len(state.gradient)
    sums = state.master.new_empty(SUMS)
    scalars = state.master.new_empty(8)
    warm = settings.warmup_steps
    _measure[(SUMS,)](
        state.gradient, sums, scalars, state.step, state.cooldown, state.updates[0], size,
        -(-size // (SUMS * SUMMED)), LR=settings.lr, WARM=float(warm),
        SPAN=float(max(1, total - warm)), FINAL=settings.final_lr,
        COOL=float(settings.cooldown_steps), EMA=settings.ema, LOG1=_log2(settings.beta1),
        LOG2=_log2(settings.beta2), BLOCK=SUMMED, num_warps=4,
    )  # fmt: skip
    tiles = -(-size // (PROGRAMS * BLOCK))
    _apply[(-(-size // (tiles * BLOCK)),)](
        state.gradient, state.master, state.low, state.ema, state.first, state.second, sums,
        scalars, loss, state.step, *state.updates, state.rate, state.nonfinite, state.losses,
        state.norms, size, state.border, len(state.losses), tiles, CLIP=settings.clip,
        DECAY=settings.weight_decay, BETA1=settings.beta1, BETA2=settings.beta2,
        EPS=settings.eps, COPY=state.low is not state.master, SUMS=SUMS, BLOCK=BLOCK, num_warps=4,
    )  # fmt: skip
