"""The whole network of one peptide in one program, for narrow models.

All of a narrow model's kernels are too short to be worth a launch each. But a peptide's residues
depend on no other peptide's, so that one program can take them through all blocks: residues in
registers, weights from the L2 cache. The forward kernel goes on through the loss to the residual
stream's gradient, the backward one to the embeddings' partial sums. What the weight gradients need
is written to the places that the other kernels use.
"""

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH
from mimir.model.buffers import LINE, Starts
from mimir.model.fused.head import predicted
from mimir.model.fused.norms import normalised, slope
from mimir.model.fused.products import gelu, gelu_slope
from mimir.model.kernels import attention_weights

ROWS = 32
WARPS = 8
HIDDEN = 64
"""Hidden columns of the feed-forward layer that are computed at once."""


@dataclass(frozen=True)
class Blocks:
    """Where the first block's weights lie in the flat vectors, and how far the next are."""

    weights: tuple[int, ...]
    """Of qkv, out, up and down; the biases likewise."""
    stride: int
    """From a block's weights to the next one's; for biases it is that of the norms."""
    biases: tuple[int, ...]


@triton.jit
def _vector(source, index):
    return tl.load(source + index).to(tl.float32)[None, :]


@triton.jit
def _rows(starts, lengths, peptide, D: tl.constexpr, ROWS: tl.constexpr):
    """A peptide's length, lines and columns, rows in the batch, which are real, and elements."""
    first, length = tl.load(starts + peptide), tl.load(lengths + peptide)
    line, column = tl.arange(0, ROWS), tl.arange(0, D)
    row, real = first + line, line < length
    inside = real[:, None] & (column < D)[None, :]
    return length, line, column, row, real, inside, row[:, None] * D + column[None, :]


@triton.jit
def _norm(value, inside, weight, column, eps, D: tl.constexpr):
    """LayerNorm, float32; the bias lies behind the weight."""
    even, _ = normalised(value, inside, eps, D)
    return even * _vector(weight, column) + _vector(weight + D, column)


@triton.jit
def _norm_back(flow, x, inside, mask, weight, column, sums, units, eps, D: tl.constexpr):
    """The gradient of the norm's input `x`; sums for its weight and bias are stored."""
    even, spread = normalised(tl.load(x, mask=mask, other=0.0), inside, eps, D)
    tl.store(sums, tl.sum(flow * even, 0))
    tl.store(sums + units * D, tl.sum(flow, 0))
    return slope(flow, _vector(weight, column), even, spread, D)


@triton.jit
def _forward(
    tokens, starts, lengths, timestep, label, target, table, answers, weights, residues, scale,
    low, x, qkv, pre, qkv_x, out_x, up_x, down_x, normed, logits, grad, partial, losses, rows,
    layers, eps, softness, at_letter, at_position, at_label, at_target, at_norm1, at_norm2, stride,
    at_norm, at_head, at_letters, at_qkv, at_out, at_up, at_down, weight_stride, at_qkv_bias,
    at_out_bias, at_up_bias, at_down_bias, shift, D: tl.constexpr, F: tl.constexpr,
    HEADS: tl.constexpr, ROWS: tl.constexpr, BF: tl.constexpr, V: tl.constexpr, LINE: tl.constexpr,
    P: tl.constexpr, BIASED: tl.constexpr,
):  # fmt: skip
    W: tl.constexpr = D // HEADS
    kind = low.dtype.element_ty
    unit = tl.program_id(0)
    length, line, column, row, real, inside, at = _rows(starts, lengths, unit, D, ROWS)
    mask = real[:, None]
    # The embedding, added up in the order of `embedding.embed`.
    one = tl.load(table + (tl.load(timestep + unit) - 1) * D + column).to(tl.float32)
    two = tl.load(low + at_label + tl.load(label + unit) * D + column).to(tl.float32)
    three = tl.load(low + at_target + tl.load(target + unit) * D + column).to(tl.float32)
    condition = ((one + two).to(kind).to(tl.float32) + three).to(kind).to(tl.float32)
    place = low + at_position + line[:, None] * D + column[None, :]
    token = tl.load(tokens + row, mask=real, other=0)
    letter = low + at_letter + token[:, None] * D + column[None, :]
    value = condition[None, :] + tl.load(place, mask=(line < P)[:, None], other=0.0).to(tl.float32)
    value += tl.load(letter, mask=mask, other=0.0).to(tl.float32)
    for layer in range(layers):
        weight, side = low + layer * weight_stride, low + layer * stride
        far = rows.to(tl.int64) * layer
        tl.store(x + 2 * far * D + at, value, mask=mask)
        even = _norm(value, inside, side + at_norm1, column, eps, D).to(kind)
        tl.store(qkv_x + far * D + at, even, mask=mask)
        total = tl.zeros((ROWS, D), tl.float32)
        for head in range(HEADS):
            inner = head * W + tl.arange(0, W)
            source = weight + at_qkv + inner[None, :] * D + column[:, None]
            bias = side + at_qkv_bias
            q = tl.dot(even, tl.load(source), input_precision="ieee")
            k = tl.dot(even, tl.load(source + D * D), input_precision="ieee")
            v = tl.dot(even, tl.load(source + 2 * D * D), input_precision="ieee")
            q = (q + _vector(bias, inner)).to(kind)
            k = (k + _vector(bias + D, inner)).to(kind)
            v = (v + _vector(bias + 2 * D, inner)).to(kind)
            to = qkv + (far + row)[:, None] * (3 * D) + inner[None, :]
            tl.store(to, q, mask=mask)
            tl.store(to + D, k, mask=mask)
            tl.store(to + 2 * D, v, mask=mask)
            shares = attention_weights(q, k, length, softness, ROWS).to(kind)
            mixed = tl.dot(shares, v, input_precision="ieee").to(kind)
            tl.store(out_x + (far + row)[:, None] * D + inner[None, :], mixed, mask=mask)
            source = weight + at_out + column[None, :] * D + inner[:, None]
            total = tl.dot(mixed, tl.load(source), total, input_precision="ieee")
        value += (total + _vector(side + at_out_bias, column)).to(kind).to(tl.float32)
        tl.store(x + (2 * far + rows) * D + at, value, mask=mask)
        even = _norm(value, inside, side + at_norm2, column, eps, D).to(kind)
        tl.store(up_x + far * D + at, even, mask=mask)
        total = tl.zeros((ROWS, D), tl.float32)
        for start in range(0, F, BF):
            f = start + tl.arange(0, BF)
            source = weight + at_up + f[None, :] * D + column[:, None]
            before = tl.dot(even, tl.load(source), input_precision="ieee")
            before = (before + _vector(side + at_up_bias, f)).to(kind)
            to = (far + row)[:, None] * F + f[None, :]
            tl.store(pre + to, before, mask=mask)
            hidden = gelu(before.to(tl.float32)).to(kind)
            tl.store(down_x + to, hidden, mask=mask)
            source = weight + at_down + column[None, :] * F + f[:, None]
            total = tl.dot(hidden, tl.load(source), total, input_precision="ieee")
        value += (total + _vector(side + at_down_bias, column)).to(kind).to(tl.float32)
    loss, back, to_weight, to_bias = predicted(
        value, inside, row, real, answers, weights, residues, tl.load(scale), low, normed, logits,
        at_norm, at_norm + D, at_head, at_letters, eps, D, D, V, LINE, shift, row * 0 + unit,
        BIASED,
    )  # fmt: skip
    tl.store(grad + at, back, mask=mask)
    tl.store(partial + unit * D + column, to_weight)
    tl.store(partial + (tl.num_programs(0) + unit) * D + column, to_bias)
    tl.store(losses + unit, tl.sum(loss, 0))


@triton.jit
def _backward(
    tokens, starts, lengths, low, x, qkv, pre, grad, qkv_y, out_y, up_y, down_y, norms, condition,
    embedding, rows, layers, eps, softness, at_norm1, at_norm2, stride, at_qkv, at_out, at_up,
    at_down, weight_stride, D: tl.constexpr, F: tl.constexpr, HEADS: tl.constexpr,
    ROWS: tl.constexpr, BF: tl.constexpr,
):  # fmt: skip
    W: tl.constexpr = D // HEADS
    kind = low.dtype.element_ty
    unit, units = tl.program_id(0), tl.num_programs(0)
    length, line, column, row, real, inside, at = _rows(starts, lengths, unit, D, ROWS)
    mask = real[:, None]
    value = tl.load(grad + at, mask=mask, other=0.0)
    for turn in range(layers):
        layer = layers - 1 - turn
        weight, side = low + layer * weight_stride, low + layer * stride
        far = rows.to(tl.int64) * layer
        coming = value.to(kind)
        tl.store(down_y + far * D + at, coming, mask=mask)
        flow = tl.zeros((ROWS, D), tl.float32)
        for start in range(0, F, BF):
            f = start + tl.arange(0, BF)
            source = weight + at_down + column[:, None] * F + f[None, :]
            back = tl.dot(coming, tl.load(source), input_precision="ieee")
            spot = (far + row)[:, None] * F + f[None, :]
            bent = gelu_slope(tl.load(pre + spot, mask=mask, other=0.0).to(tl.float32))
            back = (back * bent).to(kind)
            tl.store(up_y + spot, back, mask=mask)
            source = weight + at_up + f[:, None] * D + column[None, :]
            flow = tl.dot(back, tl.load(source), flow, input_precision="ieee")
        flow = flow.to(kind).to(tl.float32)
        source = x + (2 * far + rows) * D + at
        sums = norms + ((layer * 4 + 2) * units + unit) * D + column
        value += _norm_back(
            flow, source, inside, mask, side + at_norm2, column, sums, units, eps, D
        )
        coming = value.to(kind)
        tl.store(out_y + far * D + at, coming, mask=mask)
        flow = tl.zeros((ROWS, D), tl.float32)
        for head in range(HEADS):
            inner = head * W + tl.arange(0, W)
            entry = weight + at_out + column[:, None] * D + inner[None, :]
            mixed = tl.dot(coming, tl.load(entry), input_precision="ieee").to(kind)
            to = (far + row)[:, None] * (3 * D) + inner[None, :]
            q = tl.load(qkv + to, mask=mask, other=0.0)
            k = tl.load(qkv + to + D, mask=mask, other=0.0)
            v = tl.load(qkv + to + 2 * D, mask=mask, other=0.0)
            shares = attention_weights(q, k, length, softness, ROWS)
            toward = tl.dot(mixed, tl.trans(v), input_precision="ieee")
            steep = shares * (toward - tl.sum(shares * toward, 1)[:, None]) * softness
            steep, shares = steep.to(kind), shares.to(kind)
            to_q = tl.dot(steep, k, input_precision="ieee").to(kind)
            to_k = tl.dot(tl.trans(steep), q, input_precision="ieee").to(kind)
            to_v = tl.dot(tl.trans(shares), mixed, input_precision="ieee").to(kind)
            tl.store(qkv_y + to, to_q, mask=mask)
            tl.store(qkv_y + to + D, to_k, mask=mask)
            tl.store(qkv_y + to + 2 * D, to_v, mask=mask)
            origin = weight + at_qkv + inner[:, None] * D + column[None, :]
            flow = tl.dot(to_q, tl.load(origin), flow, input_precision="ieee")
            flow = tl.dot(to_k, tl.load(origin + D * D), flow, input_precision="ieee")
            flow = tl.dot(to_v, tl.load(origin + 2 * D * D), flow, input_precision="ieee")
        flow = flow.to(kind).to(tl.float32)
        source = x + 2 * far * D + at
        sums = norms + (layer * 4 * units + unit) * D + column
        value += _norm_back(
            flow, source, inside, mask, side + at_norm1, column, sums, units, eps, D
        )
    tl.store(condition + unit * D + column, tl.sum(value, 0).to(kind))
    token = tl.load(tokens + row, mask=real, other=-1)
    same = (line[:, None] == token[None, :]).to(kind)
    letters = tl.dot(same, value.to(kind), input_precision="ieee")
    last = embedding + (unit * 2 * ROWS + line)[:, None] * D + column[None, :]
    tl.store(last, letters)
    tl.store(last + ROWS * D, value)


def forward(
    tokens: Tensor, starts: Tensor, lengths: Tensor, timestep: Tensor, label: Tensor,
    target: Tensor, table: Tensor, answers: Tensor, weights: Tensor, residues: Tensor,
    scale: Tensor, low: Tensor, at: Starts, blocks: Blocks, x: Tensor, qkv: Tensor, pre: Tensor,
    inputs: tuple[Tensor, ...], normed: Tensor, logits: Tensor, grad: Tensor,
    partial: Tensor, losses: Tensor, heads: int, eps: float, bias: Tensor | None,
) -> None:  # fmt: skip
    """All of `embedding.embed`, the blocks and `head.head`.

    Args: as theirs, but rows behind the last peptide stay unwritten; besides
        inputs: [L, N, ·], written: what qkv, out, up and down take.
        partial: float32 [2, B, D] and losses: float32 [B], written, one for each peptide.
    """
    layers, rows, dim = x.shape[0] // 2, x.shape[1], x.shape[2]
    _forward[(len(starts),)](
        tokens, starts, lengths, timestep, label, target, table, answers, weights, residues, scale,
        low, x, qkv, pre, *inputs, normed, logits, grad, partial, losses, rows, layers, eps,
        (dim // heads) ** -0.5, at.letter, at.position, at.label, at.target, at.norm1, at.norm2,
        at.stride, at.norm, at.head, at.head_bias, *blocks.weights, blocks.stride, *blocks.biases,
        weights if bias is None else bias, D=dim, F=pre.shape[2], HEADS=heads, ROWS=ROWS,
        BF=min(HIDDEN, dim), V=len(LETTERS), LINE=LINE, P=MAX_LENGTH, BIASED=bias is not None,
        num_warps=WARPS, num_stages=2,
    )  # fmt: skip


def backward(
    tokens: Tensor, starts: Tensor, lengths: Tensor, low: Tensor, at: Starts, blocks: Blocks,
    x: Tensor, qkv: Tensor, pre: Tensor, grad: Tensor,
    outputs: tuple[Tensor, ...], norms: Tensor, condition: Tensor,
    embedding: Tensor, heads: int, eps: float,
) -> None:  # fmt: skip
    """The blocks backward and `embedding.condition_back`.

    Args: as theirs; besides
        outputs: [L, N, ·], written: gradients of what qkv, out, up and down return.
        norms: float32 [L, 2, 2, B, D] and embedding: float32 [B, 2, 32, D], written.
    """
    assert MASK < ROWS
    layers, rows, dim = x.shape[0] // 2, x.shape[1], x.shape[2]
    _backward[(len(starts),)](
        tokens, starts, lengths, low, x, qkv, pre, grad, *outputs, norms, condition, embedding,
        rows, layers, eps, (dim // heads) ** -0.5, at.norm1, at.norm2, at.stride,
        *blocks.weights, blocks.stride, D=dim, F=pre.shape[2], HEADS=heads, ROWS=ROWS,
        BF=min(HIDDEN, dim), num_warps=WARPS, num_stages=2,
    )  # fmt: skip
