"""The cost of a training step in FLOPs, and the peak rate of matrix products on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from mimir.config import Config
from mimir.data.alphabet import LETTERS
from mimir.model.batch import DeviceData
from mimir.training.device import synchronize

TRIES = 8
"""Timings of the matrix product, of which the best counts: the peak is what is possible."""
TRY_SECONDS = 0.1
SQUARE = 8192
"""Rows and columns of the product that fills any GPU."""
CAPTURED = 20
"""Products in one CUDA graph."""


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


@dataclass(frozen=True)
class MatrixRates:
    """Best measured rates of matrix products on a device, FLOP/s."""

    peak: float
    """What a share of the peak is a share of. On a GPU that of a SQUARE x SQUARE product; on a CPU,
    where any product of a step is long enough, `own`."""
    own: float
    """Of [residues, dim] x [dim, 4 dim]: what a product of this step's size can reach. On a GPU the
    products are launched by a CUDA graph, as those of a step are: launched one by one they would
    measure how fast Python is."""

    @staticmethod
    def of(
        config: Config, residues: float, device: torch.device, dtype: torch.dtype
    ) -> "MatrixRates":
        """Of the products of a configuration, in this precision."""
        rows, dim = max(1, round(residues)), config.model.dim
        own = _rate(rows, dim, 4 * dim, device, dtype)
        cpu = device.type == "cpu"
        return MatrixRates(own if cpu else _rate(SQUARE, SQUARE, SQUARE, device, dtype), own)

    def better(self, other: "MatrixRates") -> "MatrixRates":
        """The better of two measurements: others may use the machine too."""
        return MatrixRates(max(self.peak, other.peak), max(self.own, other.own))


def _rate(rows: int, inner: int, columns: int, device: torch.device, dtype: torch.dtype) -> float:
    generator = torch.Generator(device).manual_seed(0)
    a = torch.randn(rows, inner, generator=generator, device=device).to(dtype)
    b = torch.randn(inner, columns, generator=generator, device=device).to(dtype)
    out = torch.empty(rows, columns, device=device, dtype=dtype)

    def product() -> None:
        torch.mm(a, b, out=out)

    run, times = (product, 1) if device.type == "cpu" else (_captured(product), CAPTURED)
    _timed(run, 3, device)
    repeats = max(1, round(10 * TRY_SECONDS / _timed(run, 10, device)))
    best = min(_timed(run, repeats, device) for _ in range(TRIES))
    return 2 * rows * inner * columns * repeats * times / best


def _captured(product: Callable[[], None]) -> Callable[[], None]:
    """Replays a graph of CAPTURED products."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        product()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(CAPTURED):
            product()
    return graph.replay


def _timed(run: Callable[[], None], repeats: int, device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize(device)
    return time.perf_counter() - start
