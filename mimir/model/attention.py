"""Attention among the residues of each peptide, from packed residues to packed residues.

Sizes: B peptides of P = 20 slots, H heads of width d, N packed residues. The rows are
moved between the packed and the padded, head-major order by one gather each way, forward
and backward, so that the matrix products see contiguous blocks and nothing is added
atomically. Written out by hand because at P = 20 the library's kernel and the bookkeeping of
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
    row_of: Tensor
    """int64 [B * P]: packed row of each slot; anything in range for an empty slot."""
    valid: Tensor
    """bool [B, P]: slots that hold a residue."""
    predict: Tensor | None = None
    """int64 [M], ascending: packed rows whose tokens are predicted; None: all N."""
    real: Tensor | None = None
    """bool [N]: rows that hold a residue; None: all do."""
    starts: Tensor | None = None
    """int64 [B], ascending: packed row of each peptide's first residue; with `lengths` all
    that the GPU's own kernel needs. None where peptides need not lie end to end."""
    lengths: Tensor | None = None
    """int64 [B], at most P."""

    def at(self, index: int) -> "Layout":
        """One of several layouts of the same shape: views."""
        own: dict[str, Any] = {k: None if v is None else v[index] for k, v in vars(self).items()}
        return Layout(**own)


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
    """float32 [B * H, 1, P]: 0 for a residue, -inf for an empty slot, as a key."""
    query_mask: Tensor
    """float32 [B * H, P, 1]: 1 for a residue, 0 for an empty slot, as a query."""
    real: Tensor | None
    """bool [N, 1, 1] or None."""

    @staticmethod
    def of(layout: Layout, heads: int) -> "HeadIndex":
        batch, slots = layout.valid.shape
        device = layout.valid.device
        head = torch.arange(heads, device=device)
        part = torch.arange(3, device=device)
        place = layout.row_of.view(batch, 1, slots)
        peptide, slot = layout.slot_of // slots, layout.slot_of % slots
        rows = (peptide[:, None] * heads + head) * slots + slot[:, None]  # [N, H]
        spread = place * (3 * heads) + part.view(3, 1, 1, 1) * heads + head.view(heads, 1)
        unspread = part.view(3, 1) * (batch * heads * slots) + rows[:, None, :]
        blank = torch.zeros((), device=device)
        valid = layout.valid.repeat_interleave(heads, 0)
        bias = torch.where(valid, blank, -math.inf)[:, None, :]
        query_mask = valid.to(torch.float32)[:, :, None]
        return HeadIndex(
            spread.reshape(-1), unspread.reshape(-1),
            (place * heads + head.view(heads, 1)).reshape(-1), rows.reshape(-1), bias, query_mask,
            None if layout.real is None else layout.real[:, None, None],
        )  # fmt: skip


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, index: HeadIndex, heads: int) -> Tensor:
        width = qkv.shape[1] // (3 * heads)
        q, k, v = (
            qkv.reshape(-1, width)
            .index_select(0, index.spread)
            .view(3, *index.query_mask.shape[:2], width)
            .unbind(0)
        )
        bias = index.bias.to(q.dtype)
        scores = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=width**-0.5)
        # Rows of empty slots are zeroed, so that nothing of them reaches a gradient.
        weights = torch.softmax(scores, -1, dtype=torch.float32).mul_(index.query_mask).to(q.dtype)
        mixed = torch.bmm(weights, v).view(-1, width).index_select(0, index.close)
        ctx.save_for_backward(q, k, v, weights)
        ctx.index, ctx.heads = index, heads
        return mixed.view(qkv.shape[0], heads * width)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        q, k, v, weights = ctx.saved_tensors
        index, width = ctx.index, q.shape[-1]
        grad = grads[0].reshape(-1, width).index_select(0, index.open).view(q.shape)
        toward = torch.bmm(grad, v.transpose(1, 2)).float()
        # d softmax: w * (g - sum(w * g)), in one kernel.
        slope = torch._softmax_backward_data(toward, weights.float(), -1, torch.float32)
        slope = slope.mul_(width**-0.5).to(q.dtype)
        # Each product is written where the gather below reads it: stacking copies took longer.
        back = q.new_empty(3, *q.shape)
        torch.bmm(slope, k, out=back[0])
        torch.bmm(slope.transpose(1, 2), q, out=back[1])
        torch.bmm(weights.transpose(1, 2), grad, out=back[2])
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
