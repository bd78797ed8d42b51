"""LayerNorm of packed rows, with the residual addition forward and its gradient backward.

The gradients of weight and bias are sums over rows. Each program of a fixed grid sums its own
rows and writes a partial sum; `sums.finish` adds those of all norms of a model in one kernel.
"""

import triton
import triton.language as tl
from torch import Tensor

NUMBERS = 2048
"""Elements of a tile: few enough that the five tiles of the backward pass stay in registers."""
PROGRAMS = 128
"""Of the backward pass at most: about one for each multiprocessor of an H100."""


@triton.jit
def normalised(value, inside, eps, D: tl.constexpr):
    """(value - mean) / deviation of each row, and 1 / deviation; 0 outside."""
    mean = tl.sum(value, 1) / D
    centred = tl.where(inside, value - mean[:, None], 0.0)
    scale = 1 / tl.sqrt(tl.sum(centred * centred, 1) / D + eps)
    return centred * scale[:, None], scale


@triton.jit
def slope(flow, weight, normed, scale, D: tl.constexpr):
    """Gradient of the norm's input (float32) from that of its output."""
    flow = flow * weight
    along = tl.sum(flow * normed, 1) / D
    level = tl.sum(flow, 1) / D
    return (flow - normed * along[:, None] - level[:, None]) * scale[:, None]


@triton.jit
def _forward(x, added, weight, bias, total, out, rows, eps, D: tl.constexpr, WIDE: tl.constexpr,
             ROWS: tl.constexpr):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDE)
    wide = column < D
    inside = (row < rows)[:, None] & wide[None, :]
    at = row[:, None] * D + column[None, :]
    value = tl.load(x + at, mask=inside, other=0.0)
    value += tl.load(added + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(total + at, value, mask=inside)
    normed, _ = normalised(value, inside, eps, D)
    w = tl.load(weight + column, mask=wide, other=0.0).to(tl.float32)
    b = tl.load(bias + column, mask=wide, other=0.0).to(tl.float32)
    result = normed * w[None, :] + b[None, :]
    tl.store(out + at, result.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _backward(flow, grad, x, weight, to, low, partial, rows, eps, D: tl.constexpr,
              WIDE: tl.constexpr, ROWS: tl.constexpr, TILES: tl.constexpr):  # fmt: skip
    program = tl.program_id(0)
    column = tl.arange(0, WIDE)
    wide = column < D
    w = tl.load(weight + column, mask=wide, other=0.0).to(tl.float32)[None, :]
    to_weight = tl.zeros((WIDE,), tl.float32)
    to_bias = tl.zeros((WIDE,), tl.float32)
    for tile in range(TILES):
        row = (program * TILES + tile) * ROWS + tl.arange(0, ROWS)
        inside = (row < rows)[:, None] & wide[None, :]
        at = row[:, None] * D + column[None, :]
        value = tl.load(x + at, mask=inside, other=0.0)
        coming = tl.load(flow + at, mask=inside, other=0.0).to(tl.float32)
        past = tl.load(grad + at, mask=inside, other=0.0)
        normed, scale = normalised(value, inside, eps, D)
        to_weight += tl.sum(coming * normed, 0)
        to_bias += tl.sum(coming, 0)
        result = past + slope(coming, w, normed, scale, D)
        tl.store(to + at, result, mask=inside)
        tl.store(low + at, result.to(low.dtype.element_ty), mask=inside)
    at = partial + program * D + column
    tl.store(at, to_weight, mask=wide)
    tl.store(at + tl.num_programs(0) * D, to_bias, mask=wide)


def tiles(rows: int, dim: int) -> tuple[int, int, int]:
    """Rows of a tile, tiles of a program and programs of the backward pass."""
    height = max(1, int(NUMBERS // triton.next_power_of_2(dim)))
    count = -(-rows // height)
    each = -(-count // PROGRAMS)
    return height, each, -(-count // each)


def forward(x: Tensor, added: Tensor, weight: Tensor, bias: Tensor, total: Tensor, out: Tensor,
            eps: float) -> None:  # fmt: skip
    """total = x + added; out = norm(total) * weight + bias.

    Args:
        x, total: float32 [N, D].
        added, out: [N, D] of the products' dtype; weight and bias [D] likewise.
    """
    rows, dim = x.shape
    height = tiles(rows, dim)[0]
    _forward[(triton.cdiv(rows, height),)](
        x, added, weight, bias, total, out, rows, eps, D=dim, WIDE=triton.next_power_of_2(dim),
        ROWS=height, num_warps=4,
    )  # fmt: skip


def backward(flow: Tensor, grad: Tensor, x: Tensor, weight: Tensor, to: Tensor, low: Tensor,
             partial: Tensor, eps: float) -> None:  # fmt: skip
    """to = grad + the norm's input gradient, also rounded into `low`; partial sums for the rest.

    Args:
        flow: [N, D], gradient of the norm's output, in the products' dtype; low likewise.
        grad: float32 [N, D], gradient that reaches the input past the norm.
        x, to: float32 [N, D], the norm's input and its gradient; `to` may be `grad`.
        partial: float32 [2, P, D], written: sums for weight and bias of the P programs of `tiles`.
    """
    rows, dim = x.shape
    height, each, programs = tiles(rows, dim)
    _backward[(programs,)](
        flow, grad, x, weight, to, low, partial, rows, eps, D=dim,
        WIDE=triton.next_power_of_2(dim), ROWS=height, TILES=each, num_warps=4,
    )  # fmt: skip
