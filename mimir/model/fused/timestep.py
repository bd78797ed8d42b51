"""Gradients of the timesteps' embedding, a small network over T rows, in one kernel.

T is at most 32 here; its products are a few megaflops, so that launching them one by one took
longer than computing them.
"""

import triton
import triton.language as tl
from torch import Tensor

from mimir.model.fused.products import gelu_slope

ROWS = 32
"""Most timesteps that the kernel takes."""
HIDDEN = 16
"""Hidden columns of a program."""


@triton.jit
def _back(flow, pre, hidden, waves, low, gradient, rows, at_up, at_up_bias, at_down, at_down_bias,
          D: tl.constexpr, F: tl.constexpr, BH: tl.constexpr, COLUMNS: tl.constexpr,
          ROWS: tl.constexpr):  # fmt: skip
    t = tl.arange(0, ROWS)
    h = tl.program_id(0) * BH + tl.arange(0, BH)
    real, inner = t < rows, h < F
    kind = low.dtype.element_ty
    at = t[:, None] * F + h[None, :]
    inside = real[:, None] & inner[None, :]
    value = tl.load(hidden + at, mask=inside, other=0.0)
    back = tl.zeros((ROWS, BH), tl.float32)
    for start in range(0, D, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        wide = column < D
        coming = tl.load(flow + t[:, None] * D + column[None, :],
                         mask=real[:, None] & wide[None, :], other=0.0)  # fmt: skip
        place = at_down + column[:, None] * F + h[None, :]
        mask = wide[:, None] & inner[None, :]
        weight = tl.load(low + place, mask=mask, other=0.0)
        back = tl.dot(coming, weight, back, input_precision="ieee")
        part = tl.dot(tl.trans(coming), value, input_precision="ieee")
        tl.store(gradient + place, part.to(kind), mask=mask)
        side = tl.sum(coming.to(tl.float32), 0)
        end = tl.where(tl.program_id(0) == 0, D, 0)
        tl.store(gradient + at_down_bias + column, side.to(kind), mask=column < end)
    before = tl.load(pre + at, mask=inside, other=0.0).to(tl.float32)
    back = (back * gelu_slope(before)).to(kind)
    tl.store(gradient + at_up_bias + h, tl.sum(back.to(tl.float32), 0).to(kind), mask=inner)
    for start in range(0, D, COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        wide = column < D
        wave = tl.load(waves + t[:, None] * D + column[None, :],
                       mask=real[:, None] & wide[None, :], other=0.0)  # fmt: skip
        part = tl.dot(tl.trans(back), wave, input_precision="ieee")
        mask = inner[:, None] & wide[None, :]
        tl.store(gradient + at_up + h[:, None] * D + column[None, :], part.to(kind), mask=mask)


def back(flow: Tensor, pre: Tensor, hidden: Tensor, waves: Tensor, low: Tensor, gradient: Tensor,
         at_up: int, at_up_bias: int, at_down: int, at_down_bias: int) -> None:  # fmt: skip
    """Write the gradients of both layers' weights and biases into the flat gradient.

    Args:
        flow: [T, D], gradient of the embedding; pre, hidden: [T, 4 D], before and after GELU.
        waves: [T, D], the network's input. All of the flat weights' dtype; T at most ROWS.
        at_up, …: where the two layers' weights and biases lie in the flat vectors.
    """
    rows, dim = flow.shape
    _back[(triton.cdiv(pre.shape[1], HIDDEN),)](
        flow, pre, hidden, waves, low, gradient, rows, at_up, at_up_bias, at_down, at_down_bias,
        D=dim, F=pre.shape[1], BH=HIDDEN, COLUMNS=64, ROWS=ROWS, num_warps=4,
    )  # fmt: skip
