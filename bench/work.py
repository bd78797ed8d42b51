"""The cost of a training step in FLOPs, and the peak rate of matrix products on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mimir.config import Config
from mimir.data.alphabet import LETTERS
from mimir.model.batch import DeviceData
from mimir.training.device import synchronize

TRIES = 8
"""Timings of the matrix product, of which the best counts: the peak is what is possible."""
TRY_SECONDS = 0.1


@dataclass(frozen=True)
class StepCost:
    """Floating-point operations of one step, by formula: the mean over an epoch."""

    residues: float
    """Real residues in a batch: mean length times batch."""
    flop: float
    """6 x matrix parameters of the layers and the head x residues, plus 6 x parameters of
    the timestep's network x peptides: a multiplication and an addition for each, forward
    once and backward twice. Attention's own products, norms and tables are not counted."""
    spared: float
    """The part of `flop` that ours does not do: the last layer past its attention, and the
    head, run only on masked residues; the timestep's network runs once for each of T
    timesteps, not for each peptide (negative where T is the larger number)."""

    @staticmethod
    def of(config: Config, data: DeviceData) -> "StepCost":
        """Of a configuration on a data set. A peptide of length L masks (L + 1) / 2 on average."""
        size, batch = config.model, config.training.batch
        length = float(data.lengths.to(torch.float64).mean())
        square = size.dim * size.dim
        tail = square + 2 * size.ffn * square
        head = size.dim * len(LETTERS)
        layers = size.layers * (3 * square + tail) + head
        clock = 8 * square
        flop = 6 * batch * (layers * length + clock)
        shown = (length - 1) / 2
        spared = 6 * batch * shown * (tail + head)
        spared += 6 * clock * (batch - config.objective.timesteps)
        return StepCost(batch * length, flop, spared)


def matrix_peak(config: Config, residues: float, device: torch.device, dtype: torch.dtype) -> float:
    """Best measured rate of [residues, dim] x [dim, 4 dim], in FLOP/s."""
    rows, dim = max(1, round(residues)), config.model.dim
    generator = torch.Generator(device).manual_seed(0)
    a = torch.randn(rows, dim, generator=generator, device=device).to(dtype)
    b = torch.randn(dim, 4 * dim, generator=generator, device=device).to(dtype)
    out = torch.empty(rows, 4 * dim, device=device, dtype=dtype)
    repeats = _repeats(lambda: torch.mm(a, b, out=out), device)
    best = min(_timed(lambda: torch.mm(a, b, out=out), repeats, device) for _ in range(TRIES))
    return 2 * rows * dim * 4 * dim * repeats / best


def _repeats(product: Callable[[], Tensor], device: torch.device) -> int:
    _timed(product, 3, device)
    return max(1, round(10 * TRY_SECONDS / _timed(product, 10, device)))


def _timed(product: Callable[[], Tensor], repeats: int, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        product()
    synchronize(device)
    return time.perf_counter() - start
