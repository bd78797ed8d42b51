"""From the last residual addition to the loss and back to that addition's gradient, in one pass."""

import triton
import triton.language as tl
from torch import Tensor

from mimir.data.alphabet import LETTERS, MAX_LENGTH
from mimir.model.buffers import LINE, Starts
from mimir.model.fused.norms import normalised, slope

HEAD_ROWS = 16


@triton.jit
def predicted(value, inside, row, real, answers, weights, residues, scale, low, normed_out,
              logits_out, at_weight, at_bias, at_head, at_letters, eps, D: tl.constexpr,
              WIDE: tl.constexpr, V: tl.constexpr, LINE: tl.constexpr, bias, peptide,
              BIASED: tl.constexpr):  # fmt: skip
    """Final norm, head, loss and back: losses of the rows, gradient of `value`, and for the
    norm's weight and bias the sums over these rows. `peptide`: which one each row is of, whose
    line of `bias` is added to the logits if BIASED."""
    column, letter = tl.arange(0, WIDE), tl.arange(0, LINE)
    wide, known = column < D, letter < V
    kind = low.dtype.element_ty
    w = tl.load(low + at_weight + column, mask=wide, other=0.0).to(tl.float32)[None, :]
    b = tl.load(low + at_bias + column, mask=wide, other=0.0).to(tl.float32)[None, :]
    normed, spread = normalised(value, inside, eps, D)
    hidden = (normed * w + b).to(kind)
    tl.store(normed_out + row[:, None] * D + column[None, :], hidden, mask=inside)
    matrix = tl.load(low + at_head + letter[:, None] * D + column[None, :],
                     mask=known[:, None] & wide[None, :], other=0.0)  # fmt: skip
    logits = tl.dot(hidden, tl.trans(matrix), input_precision="ieee")
    logits += tl.load(low + at_letters + letter, mask=known, other=0.0).to(tl.float32)[None, :]
    logits = tl.where(known[None, :], logits.to(kind).to(tl.float32), float("-inf"))
    if BIASED:
        logits += tl.load(bias + peptide[:, None] * V + letter[None, :],
                          mask=real[:, None] & known[None, :], other=0.0)  # fmt: skip
    most = tl.max(logits, 1)
    power = tl.exp(logits - most[:, None])
    whole = tl.sum(power, 1)
    answer = tl.load(answers + row, mask=real, other=0)
    right = letter[None, :] == answer[:, None]
    share = tl.load(weights + row, mask=real, other=0.0)
    count = tl.load(residues).to(tl.float32)
    told = tl.sum(tl.where(right, logits, 0.0), 1)
    loss = (most + tl.log(whole) - told) * share
    steep = power / whole[:, None] - tl.where(right, 1.0, 0.0)
    steep = (steep * (share / count * scale)[:, None]).to(kind)
    tl.store(logits_out + row[:, None] * LINE + letter[None, :], steep, mask=real[:, None])
    flow = tl.dot(steep, matrix, input_precision="ieee").to(kind).to(tl.float32)
    to_value = slope(flow, w, normed, spread, D)
    return loss / count, to_value, tl.sum(flow * normed, 0), tl.sum(flow, 0)


@triton.jit
def _head(x, added, answers, weights, residues, scale, low, normed, logits, to, to_low, partial,
          losses, rows, eps, at_weight, at_bias, at_head, at_letters, slots, bias,
          D: tl.constexpr, WIDE: tl.constexpr, ROWS: tl.constexpr, V: tl.constexpr,
          LINE: tl.constexpr, P: tl.constexpr, BIASED: tl.constexpr):  # fmt: skip
    program = tl.program_id(0)
    row = program * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDE)
    real, wide = row < rows, column < D
    inside = real[:, None] & wide[None, :]
    at = row[:, None] * D + column[None, :]
    value = tl.load(x + at, mask=inside, other=0.0)
    value += tl.load(added + at, mask=inside, other=0.0).to(tl.float32)
    loss, back, to_weight, to_bias = predicted(
        value, inside, row, real, answers, weights, residues, tl.load(scale), low, normed, logits,
        at_weight, at_bias, at_head, at_letters, eps, D, WIDE, V, LINE, bias,
        tl.load(slots + row, mask=real, other=0) // P, BIASED,
    )  # fmt: skip
    tl.store(to + at, back, mask=inside)
    tl.store(to_low + at, back.to(to_low.dtype.element_ty), mask=inside)
    tl.store(partial + program * D + column, to_weight, mask=wide)
    tl.store(partial + (tl.num_programs(0) + program) * D + column, to_bias, mask=wide)
    tl.store(losses + program, tl.sum(loss, 0))


def head_programs(rows: int) -> int:
    """Programs, and so partial sums, of `head`."""
    return -(-rows // HEAD_ROWS)


def head(x: Tensor, added: Tensor, answers: Tensor, weights: Tensor, residues: Tensor,
         scale: Tensor, low: Tensor, at: Starts, normed: Tensor, logits: Tensor, to: Tensor,
         to_low: Tensor, partial: Tensor, losses: Tensor, eps: float, slots: Tensor,
         bias: Tensor | None) -> None:  # fmt: skip
    """From the last addition to the loss and back.

    Args:
        x: float32 [N, D], and added [N, D] to it; answers: int64 [N]; weights: float32 [N].
        residues: 0-d int64; scale: 0-d float32, the loss scale.
        normed: [N, D], written: the head's input; logits: [N, LINE]: the gradient of its output.
        to: float32 [N, D], written: the gradient of x; to_low: the same in the products' dtype.
        partial: float32 [2, P, D], losses: float32 [P]: partial sums of `head_programs`.
        slots: int64 [N], as `Layout.slot_of`; bias: float32 [B, V] or None, as in `Batch`.
    """
    rows, dim = x.shape
    _head[(head_programs(rows),)](
        x, added, answers, weights, residues, scale, low, normed, logits, to, to_low, partial,
        losses, rows, eps, at.norm, at.norm + dim, at.head, at.head_bias, slots,
        weights if bias is None else bias, D=dim, WIDE=triton.next_power_of_2(dim), ROWS=HEAD_ROWS,
        V=len(LETTERS), LINE=LINE, P=MAX_LENGTH, BIASED=bias is not None, num_warps=8,
    )  # fmt: skip
