"""Embedding with the first norm, and the gradients that a peptide's residues have in common.

`embed` looks up letters, places and conditions and takes the first norm. Backward,
`condition_back` sums over each peptide, and over groups of peptides for the tables of letters and
places: without atomic additions, by a fixed grid of partial sums. `sums.finish` adds those.
"""

import triton
import triton.language as tl
from torch import Tensor

from mimir.data.alphabet import MAX_LENGTH
from mimir.model.buffers import Starts
from mimir.model.fused.norms import normalised
from mimir.model.fused.sums import COLUMNS

GROUPS = 16
"""Partial sums of the embedding's gradients, each of some peptides."""


@triton.jit
def _condition(table, low, peptide, timestep, label, target, column, inside, at_label, at_target,
               D: tl.constexpr):  # fmt: skip
    """The embedding of a peptide's condition, added up in the weights' own precision."""
    t, kind = tl.load(timestep + peptide) - 1, tl.load(label + peptide)
    k = tl.load(target + peptide)
    one = tl.load(table + t[:, None] * D + column[None, :], mask=inside, other=0.0)
    two = tl.load(low + at_label + kind[:, None] * D + column[None, :], mask=inside, other=0.0)
    three = tl.load(low + at_target + k[:, None] * D + column[None, :], mask=inside, other=0.0)
    both = (one.to(tl.float32) + two.to(tl.float32)).to(table.dtype.element_ty)
    return (both.to(tl.float32) + three.to(tl.float32)).to(table.dtype.element_ty)


@triton.jit
def _embed(tokens, slots, timestep, label, target, table, low, x, out, rows, eps, at_letter,
           at_position, at_label, at_target, at_weight, at_bias, D: tl.constexpr,
           WIDE: tl.constexpr, ROWS: tl.constexpr, P: tl.constexpr):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDE)
    real, wide = row < rows, column < D
    inside = real[:, None] & wide[None, :]
    slot = tl.load(slots + row, mask=real, other=0)
    token = tl.load(tokens + row, mask=real, other=0)
    condition = _condition(table, low, slot // P, timestep, label, target, column, inside,
                           at_label, at_target, D)  # fmt: skip
    place = low + at_position + (slot % P)[:, None] * D + column[None, :]
    letter = low + at_letter + token[:, None] * D + column[None, :]
    value = condition.to(tl.float32) + tl.load(place, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(letter, mask=inside, other=0.0).to(tl.float32)
    at = row[:, None] * D + column[None, :]
    tl.store(x + at, value, mask=inside)
    normed, _ = normalised(value, inside, eps, D)
    w = tl.load(low + at_weight + column, mask=wide, other=0.0).to(tl.float32)
    b = tl.load(low + at_bias + column, mask=wide, other=0.0).to(tl.float32)
    tl.store(out + at, (normed * w[None, :] + b[None, :]).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _condition_back(grad, tokens, starts, lengths, condition, partial, peptides, EACH: tl.constexpr,
                    D: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr):  # fmt: skip
    group = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    line = tl.arange(0, ROWS)
    wide = column < D
    kind = condition.dtype.element_ty
    letters = tl.zeros((ROWS, COLUMNS), tl.float32)
    places = tl.zeros((ROWS, COLUMNS), tl.float32)
    for i in range(EACH):
        peptide = group * EACH + i
        known = tl.minimum(peptide, peptides - 1)
        first = tl.load(starts + known)
        length = tl.where(peptide < peptides, tl.load(lengths + known), 0)
        inside = (line < length)[:, None] & wide[None, :]
        flow = tl.load(grad + (first + line)[:, None] * D + column[None, :], mask=inside, other=0.0)
        token = tl.load(tokens + first + line, mask=line < length, other=-1)
        same = (line[:, None] == token[None, :]).to(kind)
        letters = tl.dot(same, flow.to(kind), letters, input_precision="ieee")
        places += flow
        end = tl.where(peptide < peptides, D, 0)
        tl.store(condition + peptide * D + column, tl.sum(flow, 0).to(kind), mask=column < end)
    at = partial + (group * 2 * ROWS + line)[:, None] * D + column[None, :]
    tl.store(at, letters, mask=wide[None, :])
    tl.store(at + ROWS * D, places, mask=wide[None, :])


def height(dim: int) -> int:
    """Rows of a tile of `embed`."""
    return max(1, int(2048 // triton.next_power_of_2(dim)))


def embed(
    tokens: Tensor, slot_of: Tensor, timestep: Tensor, label: Tensor, target: Tensor,
    table: Tensor, low: Tensor, at: Starts, x: Tensor, out: Tensor, eps: float,
) -> None:  # fmt: skip
    """x = the embedding of all rows, float32 [N, D]; out = the first block's norm of it.

    Args:
        tokens, slot_of: int64 [N]; timestep, label, target: int64 [B].
        table: [T, D], the timesteps' embedding; low: the flat weights, of the same dtype.
    """
    rows, dim = x.shape
    tall = height(dim)
    _embed[(triton.cdiv(rows, tall),)](
        tokens, slot_of, timestep, label, target, table, low, x, out, rows, eps, at.letter,
        at.position, at.label, at.target, at.norm1, at.norm1 + dim, D=dim,
        WIDE=triton.next_power_of_2(dim), ROWS=tall, P=MAX_LENGTH, num_warps=4,
    )  # fmt: skip


def condition_back(grad: Tensor, tokens: Tensor, starts: Tensor, lengths: Tensor,
                   condition: Tensor, partial: Tensor) -> None:  # fmt: skip
    """Sums of the embedding's gradient: over each peptide, and partial ones for letters, places.

    Args:
        grad: float32 [N, D]; tokens: int64 [N]; starts, lengths: int64 [B].
        condition: [B, D], written, in the weights' dtype.
        partial: float32 [GROUPS, 2, 32, D], written.
    """
    batch, dim = condition.shape
    _condition_back[(GROUPS, triton.cdiv(dim, COLUMNS))](
        grad, tokens, starts, lengths, condition, partial, batch,
        EACH=triton.cdiv(batch, GROUPS), D=dim, COLUMNS=COLUMNS, ROWS=32, num_warps=4,
    )  # fmt: skip
