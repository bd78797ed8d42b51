"""Matrix products that the library has not: with GELU inside, and all weight gradients at once.

`up` and `down_back` apply GELU and its derivative to the tile that they have just computed,
instead of reading it again. `weight_gradients` computes the gradients of all linear layers of
all blocks in one kernel, with the biases' as a by-product, straight into the flat gradient: one
grid that fills the GPU, where single products leave most of it waiting.
"""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

STAGES = 3
"""Tiles that are loaded ahead."""
REGISTERS = 128
"""Of a thread: with one more, half as many programs would find room on a multiprocessor."""


@triton.jit
def gelu(x):
    """x * Phi(x), exact (Hendrycks & Gimpel 2016), float32."""
    return 0.5 * x * (1 + tl.erf(x * 0.7071067811865476))


@triton.jit
def gelu_slope(x):
    """Its derivative, Phi(x) + x * phi(x)."""
    density = 0.3989422804014327 * tl.exp(-0.5 * x * x)
    return 0.5 * (1 + tl.erf(x * 0.7071067811865476)) + x * density


@triton.jit
def _bend(total, bias, pre, out, m, n, rows, N: tl.constexpr, BACK: tl.constexpr):
    """Write a part of a tile, through GELU or its derivative."""
    inside = (m < rows)[:, None] & (n < N)[None, :]
    at = m[:, None] * N + n[None, :]
    if BACK:
        before = tl.load(pre + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(out + at, (total * gelu_slope(before)).to(out.dtype.element_ty), mask=inside)
    else:
        total += tl.load(bias + n, mask=n < N, other=0.0).to(tl.float32)[None, :]
        before = total.to(pre.dtype.element_ty)
        tl.store(pre + at, before, mask=inside)
        tl.store(out + at, gelu(before.to(tl.float32)).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gelu_product(a, b, bias, pre, out, rows, K: tl.constexpr, N: tl.constexpr, BM: tl.constexpr,
                  BN: tl.constexpr, BK: tl.constexpr, BACK: tl.constexpr):  # fmt: skip
    across = tl.cdiv(N, BN)
    m = (tl.program_id(0) // across) * BM + tl.arange(0, BM)
    n = (tl.program_id(0) % across) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    # Rows behind the last are those of the start again: nothing to mask, and nobody reads them.
    from_a = a + (m % rows)[:, None] * K + k[None, :]
    if BACK:
        from_b = b + k[:, None] * N + (n % N)[None, :]
    else:
        from_b = b + k[:, None] + (n % N)[None, :] * K
    total = tl.zeros((BM, BN), tl.float32)
    for start in range(0, K, BK):
        if K % BK == 0:
            one, two = tl.load(from_a), tl.load(from_b)
        else:
            one = tl.load(from_a, mask=(start + k < K)[None, :], other=0.0)
            two = tl.load(from_b, mask=(start + k < K)[:, None], other=0.0)
        total = tl.dot(one, two, total, input_precision="ieee")
        from_a += BK
        from_b += BK * (N if BACK else 1)
    # Half a tile at a time: all of it would need more registers than the product itself.
    halves = tl.permute(tl.reshape(total, (BM, 2, BN // 2)), (0, 2, 1))
    left, right = tl.split(halves)
    n = (tl.program_id(0) % across) * BN + tl.arange(0, BN // 2)
    _bend(left, bias, pre, out, m, n, rows, N, BACK)
    _bend(right, bias, pre, out, m, n + BN // 2, rows, N, BACK)


def tile(rows: int, columns: int) -> tuple[int, int, int]:
    """Height, width and warps of a product's tile: the largest that still gives about 96 tiles."""
    for height, width, warps in ((128, 128, 8), (64, 128, 4), (64, 64, 4)):
        if triton.cdiv(rows, height) * triton.cdiv(columns, width) >= 96:
            return height, width, warps
    return (32, 64, 4) if rows <= 32 else (64, 64, 4)


def _launch(a: Tensor, b: Tensor, bias: Tensor, pre: Tensor, out: Tensor, back: bool) -> None:
    (rows, inner), columns = a.shape, out.shape[1]
    height, width, warps = tile(rows, columns)
    _gelu_product[(triton.cdiv(rows, height) * triton.cdiv(columns, width),)](
        a, b, bias, pre, out, rows, K=inner, N=columns, BM=height, BN=width,
        BK=64 if inner % 64 == 0 else 32, BACK=back, num_warps=warps, num_stages=STAGES,
        maxnreg=REGISTERS if height * width <= 64 * 32 * warps else None,
    )  # fmt: skip


def up(x: Tensor, weight: Tensor, bias: Tensor, pre: Tensor, out: Tensor) -> None:
    """pre = x weight^T + bias; out = gelu(pre): x [N, D], weight [F, D], pre and out [N, F]."""
    _launch(x, weight, bias, pre, out, back=False)


def down_back(flow: Tensor, weight: Tensor, pre: Tensor, out: Tensor) -> None:
    """out = (flow weight) * gelu'(pre): flow [N, D], weight [D, F], pre and out [N, F]."""
    _launch(flow, weight, pre, pre, out, back=True)


@dataclass(frozen=True)
class Places:
    """Where the operands and results of the weight gradients lie, in elements.

    Lists have an entry for each of qkv, out, up, down and head. `y` and `x` count from the
    buffer of activations: gradient [L, N, height] of the output and input [L, N, width] of that
    linear layer. `weight` and `bias` count from the flat gradient: of the first block; those of
    the next one lie `weight_stride` and `bias_stride` further.
    """

    y: tuple[int, ...]
    x: tuple[int, ...]
    weight: tuple[int, ...]
    bias: tuple[int, ...]
    weight_stride: int
    bias_stride: int


@triton.jit
def _pick(which, a, b, c, d, e):
    first = tl.where(which == 0, a, tl.where(which == 1, b, tl.where(which == 2, c, d)))
    return tl.where(which == 4, e, first)


@triton.jit
def _rows_product(y, x, rows, m, n, line, width, BM: tl.constexpr, BN: tl.constexpr,
                  BK: tl.constexpr, BIAS: tl.constexpr):  # fmt: skip
    """y^T x of a tile, and the sums of y's columns if BIAS."""
    k = tl.arange(0, BK)
    # Compared with multiples of 16, so that eight numbers are loaded at once.
    high, wide = m < line, n < width
    from_y = y + m[:, None] + k[None, :] * line
    from_x = x + n[None, :] + k[:, None] * width
    total = tl.zeros((BM, BN), tl.float32)
    sums = tl.zeros((BM,), tl.float32)
    for start in range(0, rows, BK):
        real = start + k < rows
        one = tl.load(from_y, mask=high[:, None] & real[None, :], other=0.0)
        two = tl.load(from_x, mask=wide[None, :] & real[:, None], other=0.0)
        total = tl.dot(one, two, total, input_precision="ieee")
        if BIAS:
            sums += tl.sum(one.to(tl.float32), 1)
        from_y += BK * line
        from_x += BK * width
    return total, sums


@triton.jit
def _weight_gradients(
    kept, gradient, starts, lengths, batch, rows, layers, y0, y1, y2, y3, y4, x0, x1, x2, x3, x4,
    w0, w1, w2, w3, w4, b0, b1, b2, b3, b4, weight_stride, bias_stride, D: tl.constexpr,
    F: tl.constexpr,
    V: tl.constexpr, LINE: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    # Tiles of one layer's products, one after the other; the head's come behind all layers.
    dim: tl.constexpr = (D + BN - 1) // BN
    q: tl.constexpr = ((3 * D + BM - 1) // BM) * dim
    o: tl.constexpr = ((D + BM - 1) // BM) * dim
    u: tl.constexpr = ((F + BM - 1) // BM) * dim
    d: tl.constexpr = ((D + BM - 1) // BM) * ((F + BN - 1) // BN)
    each: tl.constexpr = q + o + u + d
    real = tl.load(starts + batch - 1) + tl.load(lengths + batch - 1)
    layer = tl.program_id(0) // each
    index = tl.program_id(0) % each
    which = (index >= q).to(tl.int32) + (index >= q + o).to(tl.int32)
    which += (index >= q + o + u).to(tl.int32)
    which = tl.where(layer < layers, which, 4)
    index -= _pick(which, 0, q, q + o, q + o + u, 0)
    layer = tl.where(layer < layers, layer, 0)
    height = _pick(which, 3 * D, D, F, D, V)
    line = _pick(which, 3 * D, D, F, D, LINE)
    width = _pick(which, D, D, D, F, D)
    line = tl.multiple_of(line, 16)
    width = tl.multiple_of(width, 16)
    far = layer.to(tl.int64) * rows
    y = tl.multiple_of(_pick(which, y0, y1, y2, y3, y4) + far * line, 16)
    x = tl.multiple_of(_pick(which, x0, x1, x2, x3, x4) + far * width, 16)
    across = tl.cdiv(width, BN)
    down, right = index // across, index % across
    m, n = down * BM + tl.arange(0, BM), right * BN + tl.arange(0, BN)
    to = _pick(which, w0, w1, w2, w3, w4) + layer * weight_stride
    if right == 0:
        total, sums = _rows_product(kept + y, kept + x, real, m, n, line, width, BM, BN, BK,
                                    True)  # fmt: skip
        side = _pick(which, b0, b1, b2, b3, b4) + layer * bias_stride
        tl.store(gradient + side + m, sums.to(gradient.dtype.element_ty), mask=m < height)
    else:
        total, _ = _rows_product(kept + y, kept + x, real, m, n, line, width, BM, BN, BK,
                                 False)  # fmt: skip
    at = to + m[:, None] * width + n[None, :]
    inside = (m < height)[:, None] & (n < width)[None, :]
    tl.store(gradient + at, total.to(gradient.dtype.element_ty), mask=inside)


def gradient_tile(layers: int, dim: int) -> tuple[int, int, int]:
    """Height, width and warps: the larger tile where enough of them are left."""
    return (128, 128, 4) if layers * 12 * dim * dim >= 264 * 128 * 128 else (64, 64, 4)


def weight_gradients(
    kept: Tensor, gradient: Tensor, places: Places, starts: Tensor, lengths: Tensor, rows: int,
    layers: int, dim: int, wide: int, letters: int, line: int,
) -> None:  # fmt: skip
    """Gradients of all linear layers' weights and biases, written into the flat gradient.

    Args:
        kept: the activations, of the products' dtype.
        gradient: the flat gradient, of the same dtype.
        starts, lengths: int64 [B]: rows behind the last peptide are left out, whatever they hold.
        rows: N; dim: D; wide: F, width of the feed-forward layers; letters: outputs of the head;
            line: columns of the head's gradient in `kept`, a multiple of 16, 0 behind the letters.
    """
    height, width, warps = gradient_tile(layers, dim)
    each = sum(
        triton.cdiv(m, height) * triton.cdiv(n, width)
        for m, n in ((3 * dim, dim), (dim, dim), (wide, dim), (dim, wide))
    )
    last = triton.cdiv(letters, height) * triton.cdiv(dim, width)
    assert last <= each, "the head's tiles must fit behind the layers'"
    step = 64 if torch.finfo(kept.dtype).bits == 16 else 32
    _weight_gradients[(layers * each + last,)](
        kept, gradient, starts, lengths, len(starts), rows, layers, *places.y, *places.x,
        *places.weight, *places.bias, places.weight_stride, places.bias_stride, D=dim, F=wide,
        V=letters, LINE=line, BM=height, BN=width, BK=step, num_warps=warps, num_stages=STAGES,
    )  # fmt: skip
