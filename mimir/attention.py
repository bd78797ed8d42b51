"""Attention among the residues of each peptide, from packed residues to packed residues.

Sizes: B peptides of P = 20 slots, H heads of width d, N packed residues. The rows are
moved between the packed and the padded, head-major order by one gather each way, forward
and backward, so that the matrix products see contiguous blocks and nothing is added
atomically. Written out by hand, for at P = 20 the library's kernel and the bookkeeping of
automatic differentiation cost several times the arithmetic (docs/lab.md has the figures).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where the residues of a batch sit. Residue j of peptide b is slot b * P + j."""

    slot_of: Tensor
    """int64 [N]: slot of each packed residue."""
    place_of: Tensor
    """int64 [B * P]: packed place of each slot; anything in range for an empty slot."""
    filled: Tensor
    """bool [B, P]: slots that hold a residue."""
    predict: Tensor | None = None
    """int64 [M], ascending: packed places whose letters are asked for; None: all N."""
    real: Tensor | None = None
    """bool [N]: places that stand for a residue; None: all do."""


@dataclass(frozen=True)
class HeadIndex:
    """A layout's moves for H heads; rows are of width d."""

    spread: Tensor
    """int64 [3 * B * H * P] into rows [N * 3 * H]."""
    unspread: Tensor
    """int64 [N * 3 * H] into rows [3 * B * H * P]."""
    open: Tensor
    """int64 [B * H * P] into rows [N * H]."""
    close: Tensor
    """int64 [N * H] into rows [B * H * P]."""
    bias: Tensor
    """float32 [B, 1, 1, P]: 0 for a residue, -inf for an empty slot, as a key."""
    asked: Tensor
    """float32 [B, 1, P, 1]: 1 for a residue, 0 for an empty slot, as a query."""
    real: Tensor | None
    """bool [N, 1, 1] or None."""

    @staticmethod
    def of(layout: Layout, heads: int) -> "HeadIndex":
        batch, slots = layout.filled.shape
        device = layout.filled.device
        head = torch.arange(heads, device=device)
        part = torch.arange(3, device=device)
        place = layout.place_of.view(batch, 1, slots)
        peptide, slot = layout.slot_of // slots, layout.slot_of % slots
        rows = (peptide[:, None] * heads + head) * slots + slot[:, None]  # [N, H]
        spread = place * (3 * heads) + part.view(3, 1, 1, 1) * heads + head.view(heads, 1)
        unspread = part.view(3, 1) * (batch * heads * slots) + rows[:, None, :]
        blank = torch.zeros((), device=device)
        bias = torch.where(layout.filled, blank, -math.inf)[:, None, None, :]
        asked = layout.filled.to(torch.float32)[:, None, :, None]
        return HeadIndex(
            spread.reshape(-1), unspread.reshape(-1),
            (place * heads + head.view(heads, 1)).reshape(-1), rows.reshape(-1), bias, asked,
            None if layout.real is None else layout.real[:, None, None],
        )  # fmt: skip


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, index: HeadIndex, heads: int) -> Tensor:
        batch, _, _, slots = index.bias.shape
        width = qkv.shape[1] // (3 * heads)
        q, k, v = (
            qkv.reshape(-1, width)
            .index_select(0, index.spread)
            .view(3, batch * heads, slots, width)
            .unbind(0)
        )
        scores = torch.bmm(q, k.transpose(1, 2)).float().view(batch, heads, slots, slots)
        # Rows of empty slots are zeroed, so that nothing of them reaches a gradient.
        weights = torch.softmax(scores * width**-0.5 + index.bias, -1) * index.asked
        weights = weights.to(qkv.dtype).view(batch * heads, slots, slots)
        mixed = torch.bmm(weights, v).view(-1, width).index_select(0, index.close)
        ctx.save_for_backward(q, k, v, weights)
        ctx.index, ctx.heads = index, heads
        return mixed.view(qkv.shape[0], heads * width)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        q, k, v, weights = ctx.saved_tensors
        index, width = ctx.index, q.shape[-1]
        grad = grads[0].reshape(-1, width).index_select(0, index.open).view(q.shape)
        grad_weights = torch.bmm(grad, v.transpose(1, 2)).float()
        wide = weights.float()
        flow = wide * grad_weights
        slope = ((flow - wide * flow.sum(-1, keepdim=True)) * width**-0.5).to(q.dtype)
        back = torch.stack(
            [
                torch.bmm(slope, k),
                torch.bmm(slope.transpose(1, 2), q),
                torch.bmm(weights.transpose(1, 2), grad),
            ]
        )
        out = back.view(-1, width).index_select(0, index.unspread)
        out = out.view(grads[0].shape[0], 3 * ctx.heads, width)
        if index.real is not None:
            out = torch.where(index.real, out, torch.zeros((), dtype=out.dtype, device=out.device))
        return out.view(grads[0].shape[0], -1), None, None


def attention(qkv: Tensor, index: HeadIndex, heads: int) -> Tensor:
    """Softmax attention within peptides (Vaswani et al. 2017, equation 1).

    Args:
        qkv: [N, 3 * H * d], queries, keys and values one after the other.
        index: of the batch's layout and H heads.

    Returns:
        [N, H * d], in qkv's dtype; the softmax is computed in float32.
    """
    mixed: Tensor = _Attention.apply(qkv, index, heads)
    return mixed
