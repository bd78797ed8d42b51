"""Attention within packed peptides by sums, for GPUs whose Triton code cannot use tensor cores.

`mimir.model.kernels` multiplies tiles of 32 residues by `tl.dot`, which Triton turns into single
multiplications before compute capability 8.0, in more registers than a thread has (T4, V100;
docs/lab.md). Here one program takes one head of one peptide as well, and goes over its keys one
by one, as many as the peptide has. The softmax is kept up while it goes (Milakov and Gimelshein
2018, "Online normalizer calculation for softmax"). Sums are of float32 and nothing is added
atomically: the same inputs give the same bits on one kind of GPU.

Places behind the last peptide are written as zeros, as there.
"""

import triton
import triton.language as tl
from torch import Tensor

from mimir.model.kernels import clear, launch, operator

NARROW = 64
"""Width of a head up to which two warps hold the tiles of the backward pass in registers (168 of
255 for a thread); wider ones need four."""


@triton.jit
def _rows(source, first, length, STRIDE: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
          WIDE: tl.constexpr):  # fmt: skip
    """One head's part of a peptide's rows, float32, zeros beyond its ends."""
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDE)[None, :]
    at = (first + row) * STRIDE + column
    inside = (row < length) & (column < WIDTH)
    return tl.load(source + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _row(source, place, STRIDE: tl.constexpr, WIDTH: tl.constexpr, WIDE: tl.constexpr):
    """One head's part of one row, float32."""
    column = tl.arange(0, WIDE)
    at = place * STRIDE + column
    return tl.load(source + at, mask=column < WIDTH, other=0.0).to(tl.float32)


@triton.jit
def _store_rows(out, value, first, length, STRIDE: tl.constexpr, WIDTH: tl.constexpr,
                ROWS: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    row = tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, WIDE)[None, :]
    inside = (row < length) & (column < WIDTH)
    at = (first + row) * STRIDE + column
    tl.store(out + at, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _store_row(out, value, place, STRIDE: tl.constexpr, WIDTH: tl.constexpr, WIDE: tl.constexpr):
    column = tl.arange(0, WIDE)
    at = place * STRIDE + column
    tl.store(out + at, value.to(out.dtype.element_ty), mask=column < WIDTH)


@triton.jit
def _key(q, queries, place, scale, HEADS: tl.constexpr, WIDTH: tl.constexpr,
         WIDE: tl.constexpr):  # fmt: skip
    """Key and value of one residue, and the scores of all queries with that key."""
    D: tl.constexpr = HEADS * WIDTH
    k = _row(queries + D, place, 3 * D, WIDTH, WIDE)
    v = _row(queries + 2 * D, place, 3 * D, WIDTH, WIDE)
    return k, v, tl.sum(q * k[None, :], 1) * scale


@triton.jit
def _more(top, total, score):
    """The softmax with one more score: highest score and sum, by how much what was added up before
    shrinks, and the new score's share."""
    higher = tl.maximum(top, score)
    shrink, share = tl.exp(top - higher), tl.exp(score - higher)
    return higher, total * shrink + share, shrink, share


@triton.jit
def _forward(qkv, out, starts, lengths, batch, places, scale, HEADS: tl.constexpr,
             WIDTH: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    unit, head = tl.program_id(0), tl.program_id(1)
    if unit >= batch:
        clear(out, starts, lengths, batch, unit - batch, head, places, 1, HEADS, WIDTH, ROWS, WIDE)
    else:
        first, length = tl.load(starts + unit), tl.load(lengths + unit)
        D: tl.constexpr = HEADS * WIDTH
        queries = qkv + head * WIDTH
        q = _rows(queries, first, length, 3 * D, WIDTH, ROWS, WIDE)
        top = tl.full((ROWS,), float("-inf"), tl.float32)
        total = tl.zeros((ROWS,), tl.float32)
        mixed = tl.zeros((ROWS, WIDE), tl.float32)
        for key in range(0, length):
            _, v, score = _key(q, queries, first + key, scale, HEADS, WIDTH, WIDE)
            top, total, shrink, share = _more(top, total, score)
            mixed = mixed * shrink[:, None] + share[:, None] * v[None, :]
        mixed = mixed / total[:, None]
        _store_rows(out + head * WIDTH, mixed, first, length, D, WIDTH, ROWS, WIDE)


@triton.jit
def _backward(grad, qkv, out, starts, lengths, batch, places, scale, HEADS: tl.constexpr,
              WIDTH: tl.constexpr, ROWS: tl.constexpr, WIDE: tl.constexpr):  # fmt: skip
    unit, head = tl.program_id(0), tl.program_id(1)
    if unit >= batch:
        clear(out, starts, lengths, batch, unit - batch, head, places, 3, HEADS, WIDTH, ROWS, WIDE)
    else:
        first, length = tl.load(starts + unit), tl.load(lengths + unit)
        D: tl.constexpr = HEADS * WIDTH
        queries = qkv + head * WIDTH
        to = out + head * WIDTH
        q = _rows(queries, first, length, 3 * D, WIDTH, ROWS, WIDE)
        flow = _rows(grad + head * WIDTH, first, length, D, WIDTH, ROWS, WIDE)
        # First the softmax, and the sum of weight times slope that its gradient needs.
        top = tl.full((ROWS,), float("-inf"), tl.float32)
        total = tl.zeros((ROWS,), tl.float32)
        along = tl.zeros((ROWS,), tl.float32)
        for key in range(0, length):
            _, v, score = _key(q, queries, first + key, scale, HEADS, WIDTH, WIDE)
            top, total, shrink, share = _more(top, total, score)
            along = along * shrink + share * tl.sum(flow * v[None, :], 1)
        along = along / total
        to_q = tl.zeros((ROWS, WIDE), tl.float32)
        for key in range(0, length):
            k, v, score = _key(q, queries, first + key, scale, HEADS, WIDTH, WIDE)
            weight = tl.exp(score - top) / total
            # d softmax: w * (g - sum(w * g)); 0 in rows beyond the end, whose q and flow are 0.
            slope = weight * (tl.sum(flow * v[None, :], 1) - along) * scale
            to_q += slope[:, None] * k[None, :]
            to_k = tl.sum(slope[:, None] * q, 0)
            to_v = tl.sum(weight[:, None] * flow, 0)
            _store_row(to + D, to_k, first + key, 3 * D, WIDTH, WIDE)
            _store_row(to + 2 * D, to_v, first + key, 3 * D, WIDTH, WIDE)
        _store_rows(to, to_q, first, length, 3 * D, WIDTH, ROWS, WIDE)


def warps(width: int) -> int:
    """Of a program for heads of this width."""
    return 2 if width <= NARROW else 4


def forward(qkv: Tensor, out: Tensor, starts: Tensor, lengths: Tensor, heads: int) -> None:
    """As `attention`, written into `out` and not recorded for a gradient."""
    launch(_forward, [qkv, out], starts, lengths, heads, warps(qkv.shape[1] // (3 * heads)))


def backward(
    grad: Tensor, qkv: Tensor, out: Tensor, starts: Tensor, lengths: Tensor, heads: int
) -> None:
    """Write the gradient of `qkv` into `out`, from `grad`, that of the attention's result."""
    launch(_backward, [grad, qkv, out], starts, lengths, heads, warps(qkv.shape[1] // (3 * heads)))


attention = operator("attend_by_sums", forward, backward)
"""Softmax attention within peptides: arguments and result of `mimir.model.kernels.attention`."""
