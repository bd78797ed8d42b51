"""Buffers of the training pass that is written out in `explicit`: weights, activations, sums.

Sizes as in `denoiser`; F is the width of the feed-forward layers, L the number of layers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mimir.model.batch import Batch

LINE = 32
"""Columns of the head's logits and of its gradient: the letters and zeros behind them."""


@dataclass(frozen=True)
class Starts:
    """Where weights lie in the flat vectors. A norm's bias follows its weight."""

    letter: int
    position: int
    label: int
    target: int
    norm1: int
    """Of the first block; those of the next are `stride` further."""
    norm2: int
    stride: int
    norm: int
    head: int
    head_bias: int


@dataclass(frozen=True)
class Flat:
    """A model's weights and their gradient, each one vector; the parameters are views."""

    weights: Tensor
    gradient: Tensor
    start: Mapping[str, int]
    """Of each parameter."""
    shape: Mapping[str, torch.Size]

    def weight(self, name: str) -> Tensor:
        return self._view(self.weights, name)

    def grad(self, name: str) -> Tensor:
        return self._view(self.gradient, name)

    def stride(self, name: str) -> int:
        """From a parameter of the first block to that of the second; 0 if there is none."""
        first, second = (f"blocks.{i}.{name}" for i in range(2))
        return self.start[second] - self.start[first] if second in self.start else 0

    def pair(self, name: str) -> tuple[Tensor, Tensor]:
        """A layer's weight and bias."""
        return self.weight(name + ".weight"), self.weight(name + ".bias")

    def linear(self, x: Tensor, name: str, out: Tensor | None = None) -> Tensor:
        """x weight^T + bias of a layer, into `out` if given."""
        weight, bias = self.pair(name)
        out = x.new_empty(len(x), len(weight)) if out is None else out
        return torch.addmm(bias, x, weight.t(), out=out)

    def _view(self, vector: Tensor, name: str) -> Tensor:
        start, shape = self.start[name], self.shape[name]
        return vector[start : start + shape.numel()].view(shape)


@dataclass(frozen=True)
class Kept:
    """What the pass keeps for the weights' gradients: [L, N, width] each, views of one buffer."""

    buffer: Tensor
    start: dict[str, int]
    views: dict[str, Tensor]

    @staticmethod
    def of(like: Tensor, layers: int, rows: int, dim: int, wide: int) -> "Kept":
        widths = {
            "qkv.x": dim, "out.x": dim, "up.x": dim, "down.x": wide,
            "qkv.y": 3 * dim, "out.y": dim, "up.y": wide, "down.y": dim,
        }  # fmt: skip
        start, size = {}, 0
        for name, width in widths.items():
            start[name] = size
            size += layers * rows * width
        for name, width in (("head.x", dim), ("head.y", LINE)):
            start[name] = size
            size += rows * width
        buffer = like.new_empty(size)
        views = {
            name: buffer[start[name] : start[name] + layers * rows * width].view(layers, rows, -1)
            for name, width in widths.items()
        }
        for name, width in (("head.x", dim), ("head.y", LINE)):
            views[name] = buffer[start[name] : start[name] + rows * width].view(rows, width)
        return Kept(buffer, start, views)


class State:
    """What one pass hands from step to step."""

    x: Tensor
    """float32 [2 L, N, D]: the input of each block's two norms."""
    qkv: Tensor
    pre: Tensor
    """[L, N, F], before GELU."""
    grad: Tensor
    """float32 [N, D]: the residual stream's gradient."""
    norms: Tensor
    """float32 [L, 2, 2, P, D]: partial sums for each norm's weight and bias."""
    head: Tensor
    losses: Tensor
    loss: Tensor
    embedded: Tensor
    time_pre: Tensor
    time_hidden: Tensor

    def __init__(self, kept: Kept, batch: Batch, residues: Tensor, scale: Tensor) -> None:
        self.kept, self.batch, self.residues, self.scale = kept, batch, residues, scale
        self.attended: dict[int, tuple[Any, Any]] = {}
