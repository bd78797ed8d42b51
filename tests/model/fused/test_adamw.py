"""The update in two kernels is the fused update, scalars, counters and windows included.

That one's formulas are in float32; three steps on more than one tile are compared with float64.
"""

import math
import subprocess
import sys

import pytest
import torch

from mimir.config import Optimizer
from tests.waiting import LIMIT

PROGRAM = """
import torch

from mimir.model.fused import adamw
from mimir.training import own_kernels
from tests.training.test_update import fused, trained

adamw.SUMS, adamw.PROGRAMS = 2, 2  # the interpreter takes milliseconds for each program
for clip, dtype, bad, cooldown in (
    (0.05, torch.float32, set(), 3), (1.0, torch.bfloat16, set(), -1),
    (1.0, torch.float32, {8}, -1),
):
    one = trained(dtype, fused, bad, cooldown, clip=clip).state
    other = trained(dtype, own_kernels.update, bad, cooldown, clip=clip).state
    assert torch.allclose(other.rate, one.rate, rtol=1e-6, atol=0)
    assert int(other.nonfinite) == int(one.nonfinite) == len(bad)
    if bad:
        continue
    # The interpreter cuts numbers off where it should round them to bfloat16.
    near = 1e-6 if dtype == torch.float32 else 2e-2
    wanted = one.tensors()
    for name, value in other.tensors().items():
        assert torch.allclose(value, wanted[name], atol=near, rtol=1e-4), (dtype, name)
    assert torch.allclose(other.low.float(), other.master, rtol=1e-2)
    assert int(other._updates_too) == int(other.updates) == 9

from tests.model.fused.test_adamw import check_in_float64

for clip in (1.0, 1e4):
    check_in_float64(clip, cooldown=-1)
check_in_float64(1.0, cooldown=1)
"""

SIZE, BORDER, TOTAL = 1000, 700, 10
"""Weights, of which so many decay, and steps of the run."""
CHANGE, VALUE = 2e-5, 1e-6
"""Relative distance from float64: of what was added to the weights, and of all else."""


def check_in_float64(clip: float, cooldown: int) -> None:
    """Three steps, of several tiles in each program, the last one not full."""
    from mimir.model.fused import adamw

    adamw.SUMS, adamw.SUMMED, adamw.PROGRAMS, adamw.BLOCK = 2, 128, 2, 128
    settings = Optimizer(
        lr=1e-2, warmup_steps=2, clip=clip, weight_decay=0.3, eps=1e-4, ema=0.9, cooldown_steps=4
    )
    rng = torch.Generator().manual_seed(0)
    weights, average, slope = (torch.randn(SIZE, generator=rng) for _ in range(3))
    master, ema, gradient = weights.clone(), average.clone(), slope.clone()
    first, second, updates = torch.zeros(SIZE), torch.zeros(SIZE), torch.zeros(2)
    step, rate, nonfinite = torch.tensor(0), torch.zeros(()), torch.tensor(0)
    losses, norms = torch.zeros(2), torch.zeros(2)
    state = adamw.State(
        gradient, master, master, ema, first, second, step, (updates[0], updates[1]), rate,
        nonfinite, losses, norms, torch.tensor(cooldown), BORDER,
    )  # fmt: skip
    value, mean, one, two = weights.double(), average.double(), 0.0, 0.0
    decays = settings.weight_decay * (torch.arange(SIZE) < BORDER).double()
    for count in (1, 2, 3):
        gradient.copy_((count - 1.5) * slope)
        adamw.update(state, torch.tensor(float(count)), settings, TOTAL)
        grad = gradient.double()
        norm = float(grad.norm())
        grad = grad * min(clip / (norm + 1e-6), 1.0)
        now = rate_of(settings, count, cooldown)
        one = settings.beta1 * one + (1 - settings.beta1) * grad
        two = settings.beta2 * two + (1 - settings.beta2) * grad**2
        value = value * (1 - now * decays)
        bend = (two / (1 - settings.beta2**count)).sqrt() + settings.eps
        value = value - now * one / (1 - settings.beta1**count) / bend
        keep = min((1 + count) / (10 + count), settings.ema)
        mean = keep * mean + (1 - keep) * value
        numbers = ((rate, now), (norms[(count - 1) % 2], norm), (losses[(count - 1) % 2], count))
        for found, wanted in numbers:
            assert abs(float(found) - wanted) < VALUE * wanted, (clip, cooldown, count, wanted)
    start, old = weights.double(), average.double()
    for name, found, wanted, near in (
        ("first", first.double(), one, VALUE), ("second", second.double(), two, VALUE),
        ("weights", master.double() - start, value - start, CHANGE),
        ("average", ema.double() - old, mean - old, VALUE),
    ):  # fmt: skip
        apart = float((found - wanted).norm() / wanted.norm())
        assert apart < near, (clip, cooldown, name, apart)
    assert (int(step), updates.tolist(), int(nonfinite)) == (3, [3, 3], 0)


def rate_of(settings: Optimizer, count: int, cooldown: int) -> float:
    """The learning rate of step `count` (the first is 1), as the docs have it."""
    lr, warm, end = settings.lr, settings.warmup_steps, settings.final_lr
    done = min(count, cooldown + 1) if cooldown >= 0 else count
    share = min(max((done - warm) / (TOTAL - warm), 0.0), 1.0)
    rate = lr * min(done / warm, 1.0) * (end + (1 - end) * (1 + math.cos(math.pi * share)) / 2)
    cooled = min(max((count - cooldown) / settings.cooldown_steps, 0.0), 1.0)
    return rate + (lr * end - rate) * (cooled if cooldown >= 0 else 0.0)


def test_it_is_the_fused_update(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr
