"""Other tiles of our own kernels, for `bench.kernels`: the pinned ones should be the best."""

import time
from collections.abc import Callable, Iterator
from typing import Any

SIZES = {"large": (512, 6, 1664, 1360), "medium": (256, 4, 896, 680)}
"""Width, layers, rows and the rows that are real."""
GELU = [(128, 128, 8, 3), (128, 128, 8, 4), (128, 256, 8, 3), (128, 128, 4, 3), (64, 128, 4, 4),
        (64, 256, 8, 3)]  # fmt: skip
WEIGHTS = [(128, 128, 4, 3), (128, 128, 8, 3), (128, 128, 8, 4), (128, 256, 8, 3), (64, 128, 4, 4),
           (64, 64, 4, 4)]  # fmt: skip
"""Height, width, warps and stages."""
PEPTIDE = [(8, 64), (4, 64), (8, 128), (8, 32), (4, 32)]
"""Warps, and hidden columns at once."""


def compared(end: float, figures: dict[str, Any]) -> Iterator[str]:
    """Lines of µs for each tile, until `end`."""
    parts = [("small", "whole pass", _peptide())]
    for name in SIZES:
        parts += [(name, "gelu", _gelu(name)), (name, "wgrad", _weights(name))]
    for name, what, tried in parts:
        for label, call in tried:
            if time.perf_counter() > end:
                yield "tiles: the time is over"
                return
            try:
                value = round(_microseconds(call), 2)
            except Exception as error:  # noqa: BLE001
                yield f"tiles: {name} {what} {label}: FAILS ({type(error).__name__})"
                continue
            figures[f"{name} {what} {label}"] = value
            yield f"tiles: {name} {what} {label}: {value} us"


def _microseconds(call: Callable[[], object]) -> float:
    import torch

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(20):
            call()
    graph.replay()
    begin, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(5):
        graph.replay()
    stop.record()
    torch.cuda.synchronize()
    return float(begin.elapsed_time(stop)) * 1e3 / 100


def _random(*shape: int) -> Any:
    import torch

    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def _gelu(name: str) -> Iterator[tuple[str, Callable[[], object]]]:
    import torch
    from torch.nn import functional as F

    from mimir.model.fused import products

    dim, _, rows, _ = SIZES[name]
    x, weight, bias = _random(rows, dim), _random(4 * dim, dim), _random(4 * dim)
    down, pre, out = _random(dim, 4 * dim), _random(rows, 4 * dim), _random(rows, 4 * dim)
    yield "library's product up", lambda: torch.addmm(bias, x, weight.t(), out=pre)
    yield "library's product back", lambda: torch.mm(x, down, out=out)
    yield "GELU alone", lambda: F.gelu(pre)
    pinned, stages = products.tile, products.STAGES
    for height, width, warps, ahead in GELU:
        products.tile = lambda *_, own=(height, width, warps): own
        products.STAGES = ahead
        label = f"{height} x {width}, {warps} warps, {ahead} stages"
        yield f"up {label}", lambda: products.up(x, weight, bias, pre, out)
        yield f"back {label}", lambda: products.down_back(x, down, pre, out)
    products.tile, products.STAGES = pinned, stages


def _weights(name: str) -> Iterator[tuple[str, Callable[[], object]]]:
    import torch

    from mimir.model.buffers import LINE, Kept
    from mimir.model.explicit import LINEARS
    from mimir.model.fused import products

    dim, layers, rows, real = SIZES[name]
    wide, letters = 4 * dim, 25
    kept = Kept.of(_random(1), layers, rows, dim, wide)
    kept.buffer.normal_()
    size = 12 * dim * dim
    gradient = _random(layers * (size + 9 * dim) + LINE * dim + LINE)
    keys = (*LINEARS, "head")
    weights = (0, 3 * dim * dim, 4 * dim * dim, 8 * dim * dim, layers * size)
    side = layers * size + LINE * dim
    biases = (side, side + 3 * dim, side + 4 * dim, side + 8 * dim, side + layers * 9 * dim)
    places = products.Places(
        tuple(kept.start[key + ".y"] for key in keys),
        tuple(kept.start[key + ".x"] for key in keys), weights, biases, size, 9 * dim,
    )  # fmt: skip
    starts = torch.tensor([0, real - 10], device="cuda")
    lengths = torch.tensor([real - 10, 10], device="cuda")

    def all_of_them() -> None:
        products.weight_gradients(
            kept.buffer, gradient, places, starts, lengths, rows, layers, dim, wide, letters, LINE
        )

    pinned, stages = products.gradient_tile, products.STAGES
    for height, width, warps, ahead in WEIGHTS:
        products.gradient_tile = lambda *_, own=(height, width, warps): own
        products.STAGES = ahead
        yield f"{height} x {width}, {warps} warps, {ahead} stages", all_of_them
    products.gradient_tile, products.STAGES = pinned, stages


def _peptide() -> Iterator[tuple[str, Callable[[], object]]]:
    import torch

    from bench import engines
    from mimir.model.fused import peptide

    data = engines.random_data(torch.device("cuda"))
    used = frozenset({"ends", "wgrad", "peptide"})
    engine = engines.engine_of("small", used, data, compiled=False)
    engine._begin_epoch(0)
    work = next(iter(engine._prepared(torch.zeros(1, dtype=torch.int64, device="cuda"))))
    pinned = peptide.WARPS, peptide.HIDDEN
    for warps, hidden in PEPTIDE:
        peptide.WARPS, peptide.HIDDEN = warps, hidden
        yield f"{warps} warps, {hidden} hidden columns", lambda: engine._gradient(work)
    peptide.WARPS, peptide.HIDDEN = pinned
