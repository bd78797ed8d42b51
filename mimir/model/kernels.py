"""Attention within packed peptides as one kernel each way, in Triton, for NVIDIA GPUs.

At 4 to 20 residues the library's attention is all overhead: on an H200, gathers, products and
softmax of the large preset took 380 of a step's 2,250 µs, for arithmetic worth a few. Here one
program takes one head of one peptide: its residues lie end to end in `qkv`, fit into one tile
of 32 rows, and the softmax never leaves the registers. The backward pass computes the weights
anew from queries and keys instead of reading them back. Nothing is added atomically: results
are the same bits each time.

Places behind the last peptide (fixed shapes leave some) are written as zeros, forward and
backward, by programs of their own: what is not written could be NaN.
"""

from collections.abc import Callable
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 32
"""Rows of a tile: the power of two that holds 20 residues."""
WARPS = 1
"""1, 2 and 4 made no difference to the large preset's step on an H200 that its clock did not."""


@triton.jit
def _heads(qkv, first, length, head, HEADS: tl.constexpr, WIDTH: tl.constexpr,
           ROWS: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    """Queries, keys, values of one head of one peptide, zeros beyond its ends; offsets, mask."""
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDE)[None, :]
    inside = (row < length) & (column < WIDTH)
    at = (first + row) * (3 * HEADS * WIDTH) + head * WIDTH + column
    q = tl.load(qkv + at, mask=inside, other=0.0)
    k = tl.load(qkv + at + HEADS * WIDTH, mask=inside, other=0.0)
    v = tl.load(qkv + at + 2 * HEADS * WIDTH, mask=inside, other=0.0)
    return q, k, v, at, inside


@triton.jit
def attention_weights(q, k, length, scale, ROWS: tl.constexpr):
    """Softmax of q k^T * scale over the peptide's keys, float32; zero rows beyond its end."""
    row = tl.arange(0, ROWS)[:, None]
    key = tl.arange(0, ROWS)[None, :]
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    scores = tl.where(key < length, scores, float("-inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    weights = weights / tl.sum(weights, 1)[:, None]
    return tl.where(row < length, weights, 0.0)


@triton.jit
def clear(out, starts, lengths, batch, tile, head, places, PARTS: tl.constexpr,
          HEADS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
          WIDE: tl.constexpr):  # fmt: skip
    """Zeros in one head's columns of a tile of places, as far as they lie behind all peptides.

    PARTS: of HEADS * WIDTH numbers in a row of `out`: 3 in the gradient of `qkv`.
    """
    total = tl.load(starts + batch - 1) + tl.load(lengths + batch - 1)
    place = tile.to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDE)[None, :]
    behind = (place >= total) & (place < places) & (column < WIDTH)
    for part in tl.static_range(PARTS):
        at = out + (place * PARTS + part) * (HEADS * WIDTH) + head * WIDTH + column
        tl.store(at, tl.zeros((ROWS, WIDE), out.dtype.element_ty), mask=behind)


@triton.jit
def _forward(qkv, out, starts, lengths, batch, places, scale, HEADS: tl.constexpr,
             WIDTH: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    unit, head = tl.program_id(0), tl.program_id(1)
    if unit >= batch:
        clear(out, starts, lengths, batch, unit - batch, head, places, 1, HEADS, WIDTH, ROWS, WIDE)
    else:
        first, length = tl.load(starts + unit), tl.load(lengths + unit)
        q, k, v, _, inside = _heads(qkv, first, length, head, HEADS, WIDTH, ROWS, WIDE)
        weights = attention_weights(q, k, length, scale, ROWS).to(v.dtype)
        mixed = tl.dot(weights, v, input_precision="ieee")
        row = first + tl.arange(0, ROWS)[:, None]
        to = row * (HEADS * WIDTH) + head * WIDTH + tl.arange(0, WIDE)[None, :]
        tl.store(out + to, mixed.to(v.dtype), mask=inside)


@triton.jit
def _backward(grad, qkv, out, starts, lengths, batch, places, scale, HEADS: tl.constexpr,
              WIDTH: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    unit, head = tl.program_id(0), tl.program_id(1)
    if unit >= batch:
        clear(out, starts, lengths, batch, unit - batch, head, places, 3, HEADS, WIDTH, ROWS, WIDE)
    else:
        first, length = tl.load(starts + unit), tl.load(lengths + unit)
        q, k, v, at, inside = _heads(qkv, first, length, head, HEADS, WIDTH, ROWS, WIDE)
        row = first + tl.arange(0, ROWS)[:, None]
        where = row * (HEADS * WIDTH) + head * WIDTH + tl.arange(0, WIDE)[None, :]
        flow = tl.load(grad + where, mask=inside, other=0.0)
        weights = attention_weights(q, k, length, scale, ROWS)
        toward = tl.dot(flow, tl.trans(v), input_precision="ieee")
        # d softmax: w * (g - sum(w * g)).
        slope = weights * (toward - tl.sum(weights * toward, 1)[:, None]) * scale
        slope, weights = slope.to(v.dtype), weights.to(v.dtype)
        to_q = tl.dot(slope, k, input_precision="ieee")
        to_k = tl.dot(tl.trans(slope), q, input_precision="ieee")
        to_v = tl.dot(tl.trans(weights), flow, input_precision="ieee")
        tl.store(out + at, to_q.to(v.dtype), mask=inside)
        tl.store(out + at + HEADS * WIDTH, to_k.to(v.dtype), mask=inside)
        tl.store(out + at + 2 * HEADS * WIDTH, to_v.to(v.dtype), mask=inside)


def launch(kernel: Any, tensors: list[Tensor], starts: Tensor, lengths: Tensor, heads: int,
           warps: int) -> None:  # fmt: skip
    """One program for each head of each peptide, and of each tile that may lie behind them.

    tensors: the kernel's; the one before the last is [N, 3 * H * d].
    """
    places, width, batch = tensors[0].shape[0], tensors[-2].shape[1] // (3 * heads), len(starts)
    grid = (batch + triton.cdiv(places, ROWS), heads)
    kernel[grid](
        *tensors, starts, lengths, batch, places, width**-0.5, HEADS=heads, WIDTH=width,
        ROWS=ROWS, WIDE=max(16, triton.next_power_of_2(width)), num_warps=warps,
    )  # fmt: skip


def forward(qkv: Tensor, out: Tensor, starts: Tensor, lengths: Tensor, heads: int) -> None:
    """As `attention`, written into `out` and not recorded for a gradient."""
    launch(_forward, [qkv, out], starts, lengths, heads, WARPS)


def backward(
    grad: Tensor, qkv: Tensor, out: Tensor, starts: Tensor, lengths: Tensor, heads: int
) -> None:
    """Write the gradient of `qkv` into `out`, from `grad`, that of the attention's result."""
    launch(_backward, [grad, qkv, out], starts, lengths, heads, WARPS)


Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def operator(name: str, forward: Any, backward: Any) -> Attention:
    """An attention that torch compiles and differentiates, of kernels that write into `out`.

    name: the operators are `mimir::<name>` and `mimir::<name>_backward`.
    """

    @torch.library.custom_op(f"mimir::{name}", mutates_args=())
    def attend(qkv: Tensor, starts: Tensor, lengths: Tensor, heads: int) -> Tensor:
        qkv, width = qkv.contiguous(), qkv.shape[1] // (3 * heads)
        out = qkv.new_empty(qkv.shape[0], heads * width)
        forward(qkv, out, starts, lengths, heads)
        return out

    @attend.register_fake
    def _(qkv: Tensor, starts: Tensor, lengths: Tensor, heads: int) -> Tensor:
        return qkv.new_empty(qkv.shape[0], qkv.shape[1] // 3)

    @torch.library.custom_op(f"mimir::{name}_backward", mutates_args=())
    def attend_backward(
        grad: Tensor, qkv: Tensor, starts: Tensor, lengths: Tensor, heads: int
    ) -> Tensor:
        grad, qkv = grad.contiguous(), qkv.contiguous()
        out = torch.empty_like(qkv)
        backward(grad, qkv, out, starts, lengths, heads)
        return out

    @attend_backward.register_fake
    def _(grad: Tensor, qkv: Tensor, starts: Tensor, lengths: Tensor, heads: int) -> Tensor:
        return qkv.new_empty(qkv.shape)

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, qkv: Tensor, starts: Tensor, lengths: Tensor, heads: int) -> Tensor:
            ctx.save_for_backward(qkv, starts, lengths)
            ctx.heads = heads
            mixed: Tensor = attend(qkv, starts, lengths, heads)
            return mixed

        @staticmethod
        def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
            qkv, starts, lengths = ctx.saved_tensors
            return attend_backward(grads[0], qkv, starts, lengths, ctx.heads), None, None, None

    def attention(qkv: Tensor, starts: Tensor, lengths: Tensor, heads: int) -> Tensor:
        """Softmax attention within peptides, as `mimir.model.attention.attention` computes it.

        Args:
            qkv: [N, 3 * H * d], queries, keys and values one after the other; d at most 128.
            starts: int64 [B], ascending: row of each peptide's first residue; the peptides lie
                end to end from row 0.
            lengths: int64 [B], 1 … 32 residues.
            heads: H.

        Returns:
            [N, H * d] in qkv's dtype, 0 in the rows behind the last peptide; softmax in float32.
        """
        mixed: Tensor = Function.apply(qkv, starts, lengths, heads)
        return mixed

    return attention


attention = operator("attend", forward, backward)
