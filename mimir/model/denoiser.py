"""The denoiser: a pre-norm transformer over the residues of a batch, packed end to end.

Peptides have 4 to 20 residues, 10.6 on average; padding every one to 20 would nearly
double the work. So all layers but attention run on the N residues of a batch as one
[N, dim] matrix, and only attention, whose cost is a hundredth here, sees a padded view.
`Layout` says where each residue sits in both. Names of sizes in shape comments:

    B peptides   P = 20 slots of a peptide   N packed residues   M residues to predict
    D = dim      H heads                     V = 25 letters

The gradients of embeddings are one-hot products and residues are moved by index in both
directions, so that no gradient needs atomic additions: they are deterministic everywhere.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mimir.config import Model
from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH
from mimir.model import philox
from mimir.model.attention import HeadIndex, Layout, attention

INPUTS = MASK + 1
"""Rows of the residue embedding: the letters and the mask."""
NO_LABEL = 2
"""Label row of the unconditional model."""

Attend = Callable[[Tensor], Tensor]
Kernel = Callable[[Tensor, Tensor, Tensor, int], Tensor]


class _Pack(torch.autograd.Function):
    """[B * P, D] slots to [N, D] residues: a gather in both directions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.slot_of)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grad = grads[0].index_select(0, ctx.layout.row_of)
        return grad * ctx.layout.valid.view(-1, 1), None


class _Select(torch.autograd.Function):
    """Distinct rows of a matrix; the other rows get no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = x.shape[0]
        return x.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        full = grads[0].new_zeros(ctx.rows, grads[0].shape[1])
        return full.index_copy_(0, index, grads[0]), None


class _LookUp(torch.autograd.Function):
    """Rows of a table, with repetitions."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.rows = table.shape[0]
        return table.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        # Compared by hand: F.one_hot makes int64 rows and asks a CPU for the largest index.
        rows = torch.arange(ctx.rows, device=index.device)
        return (rows[:, None] == index).to(grads[0].dtype) @ grads[0], None


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, size: Model) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.dim)
        self.qkv = nn.Linear(size.dim, 3 * size.dim)
        self.out = nn.Linear(size.dim, size.dim)
        self.norm2 = nn.LayerNorm(size.dim)
        self.up = nn.Linear(size.dim, size.ffn * size.dim)
        self.down = nn.Linear(size.ffn * size.dim, size.dim)

    def forward(self, x: Tensor, attend: Attend, predict: Tensor | None) -> Tensor:
        """[N, D] to [N, D], or to [M, D] when only the rows in `predict` matter later."""
        dtype = self.qkv.weight.dtype
        mixed = attend(self.qkv(_norm(self.norm1, x, dtype)))
        if predict is not None:
            mixed, x = _Select.apply(mixed, predict), _Select.apply(x, predict)
        x = x + self.out(mixed)
        added: Tensor = self.down(F.gelu(self.up(_norm(self.norm2, x, dtype))))
        return x + added


def _norm(norm: nn.LayerNorm, x: Tensor, dtype: torch.dtype) -> Tensor:
    """The residual stream and its norms stay in float32; matrix products take `dtype`."""
    weight, bias = norm.weight.float(), norm.bias.float()
    return F.layer_norm(x, norm.normalized_shape, weight, bias, norm.eps).to(dtype)


class Denoiser(nn.Module):
    """Logits of the letters under the mask, given the rest, timestep, label and target.

    Args:
        size: width, depth and heads.
        timesteps: T; timesteps are 1 … T.
        targets: number of known target proteins; index `targets` stands for 'none'.
    """

    def __init__(self, size: Model, timesteps: int, targets: int) -> None:
        super().__init__()
        self.size = size
        self.targets = targets
        self.timesteps = timesteps
        self.kernel: Kernel | None = None
        """Attention for layouts that tell where peptides start, such as `kernels.attention`."""
        self.letter = nn.Parameter(torch.empty(INPUTS, size.dim))
        self.position = nn.Parameter(torch.empty(MAX_LENGTH, size.dim))
        self.label = nn.Parameter(torch.empty(NO_LABEL + 1, size.dim))
        self.target = nn.Parameter(torch.empty(targets + 1, size.dim))
        self.time_up = nn.Linear(size.dim, 4 * size.dim)
        self.time_down = nn.Linear(4 * size.dim, size.dim)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.dim)
        self.head = nn.Linear(size.dim, len(LETTERS))
        waves = _waves(timesteps, size.dim, longest=10_000)
        self.register_buffer("time_waves", waves, persistent=False)

    def condition(self, timestep: Tensor, label: Tensor, target: Tensor) -> Tensor:
        """The condition's embedding: float32 [B, D], of int64 [B] timesteps, labels and targets."""
        dtype = self.time_up.weight.dtype
        # T rows are fewer than the peptides of a batch: a table, then a look-up.
        table = self.time_down(F.gelu(self.time_up(self.time_waves.to(dtype))))
        summed: Tensor = (
            _LookUp.apply(table, timestep - 1) + _LookUp.apply(self.label, label)
            + _LookUp.apply(self.target, target)
        )  # fmt: skip
        return summed.float()

    def forward(
        self, tokens: Tensor, condition: Tensor, layout: Layout, bias: Tensor | None = None
    ) -> Tensor:
        """float32 logits [M, V] (or [N, V]).

        Args:
            tokens: int64 [N], ids, MASK where masked.
            condition: float32 [B, D] of `condition`.
            layout: where the residues sit.
            bias: float32 [B, V], added to the logits of each peptide's residues; None: nothing.
        """
        x = self.embed(tokens, condition, layout)
        attend = self.attend(layout)
        for i, block in enumerate(self.blocks):
            last = i == len(self.blocks) - 1
            x = block(x, attend, layout.predict if last else None)
        return self.logits(x, layout, bias)

    def embed(self, tokens: Tensor, condition: Tensor, layout: Layout) -> Tensor:
        """What the first block takes: float32 [N, D]; arguments as for `forward`."""
        slots = condition[:, None, :] + self.position.float()
        packed: Tensor = _Pack.apply(slots.view(-1, self.size.dim), layout)
        letters: Tensor = _LookUp.apply(self.letter, tokens)
        return packed + letters.float()

    def logits(self, x: Tensor, layout: Layout, bias: Tensor | None) -> Tensor:
        """From what the last block returns: float32 [M, V] of [M, D]."""
        logits: Tensor = self.head(_norm(self.norm, x, self.head.weight.dtype))
        if bias is None:
            return logits.float()
        slot = layout.slot_of if layout.predict is None else layout.slot_of[layout.predict]
        owner = torch.div(slot, MAX_LENGTH, rounding_mode="floor")
        return logits.float() + bias.index_select(0, owner)

    def attend(self, layout: Layout) -> Attend:
        """Attention within the peptides of a layout: [N, 3 * H * d] to [N, H * d]."""
        heads, starts, lengths = self.size.heads, layout.starts, layout.lengths
        if self.kernel is not None and starts is not None and lengths is not None:
            kernel = self.kernel
            return lambda qkv: kernel(qkv, starts, lengths, heads)
        index = HeadIndex.of(layout, heads)
        return lambda qkv: attention(qkv, index, heads)


def _waves(count: int, dim: int, longest: float) -> Tensor:
    """Sinusoidal features of 1 … count (Vaswani et al. 2017, section 3.5): float32 [count, D].

    Angular rates fall geometrically from 1 to 1 / longest.
    """
    half = dim // 2
    rates = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(longest) / (half - 1)))
    angles = torch.arange(1, count + 1, dtype=torch.float64)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


@torch.no_grad()
def initialise(model: Denoiser, seed: int) -> None:
    """Weights as a function of the seed and of their names' order, on any device alike.

    Matrices: normal with deviation 1/sqrt(fan-in), the two that write into the residual
    stream scaled down by sqrt(2 * layers) (GPT-2); norms: identity. Letters and positions
    begin at deviation 1, embeddings of the condition at 0.1. The first norm sees their sum, and
    with a larger condition learning takes many times longer.
    """
    residual = 1 / math.sqrt(2 * model.size.layers)
    for number, (name, value) in enumerate(model.named_parameters()):
        if name.endswith("bias"):
            value.zero_()
        elif "norm" in name:
            value.fill_(1.0)
        elif name.endswith("weight"):
            scale = residual if name.endswith(("out.weight", "down.weight")) else 1.0
            value.copy_(_normal(value.shape, seed, number) * (scale / math.sqrt(value.shape[1])))
        else:
            scale = 1.0 if name == "letter" else 0.1
            value.copy_(_normal(value.shape, seed, number) * scale)
    model.position.copy_(_waves(MAX_LENGTH, model.size.dim, longest=2 * MAX_LENGTH))
    model.time_down.weight.mul_(0.1)
    model.head.weight.mul_(0.1)  # begin near the uniform distribution


def _normal(shape: torch.Size, seed: int, number: int) -> Tensor:
    """Standard normal values by Box and Muller, computed in float64 on the CPU."""
    count = shape.numel()
    u = philox.uniform(philox.words(seed, philox.INIT, torch.tensor(number), 2 * count))
    radius = torch.sqrt(-2 * torch.log(u[:count]))
    return (radius * torch.cos(2 * math.pi * u[count:])).float().view(shape)
