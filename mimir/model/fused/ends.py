"""The two ends of the network: embedding and head, and the gradients of their small tables.

Forward, `embed` looks up letters, places and conditions and takes the first norm; `head` goes from
the last residual addition to the loss and back to the residual stream's gradient in one pass.
Backward, `condition_back` and `finish` sum what many rows have in common: without atomic
additions, by a fixed grid of partial sums.
"""

from dataclasses import dataclass

import triton
import triton.language as tl
from torch import Tensor

from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH
from mimir.model.fused.norms import normalised, slope

LINE = 32
"""Columns of the head's logits and of its gradient: the letters and zeros behind them."""
HEAD_ROWS = 16
GROUPS = 16
"""Partial sums of the embedding's gradients, each of some peptides."""
COLUMNS = 64
"""Columns of a program that sums."""


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
def predicted(value, inside, row, real, answers, weights, residues, scale, low, normed_out,
              logits_out, at_weight, at_bias, at_head, at_letters, eps, D: tl.constexpr,
              WIDE: tl.constexpr, V: tl.constexpr, LINE: tl.constexpr):  # fmt: skip
    """Final norm, head, loss and back: losses of the rows, gradient of `value`, and for the
    norm's weight and bias the sums over these rows."""
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
          losses, rows, eps, at_weight, at_bias, at_head, at_letters, D: tl.constexpr,
          WIDE: tl.constexpr, ROWS: tl.constexpr, V: tl.constexpr, LINE: tl.constexpr):  # fmt: skip
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
        at_weight, at_bias, at_head, at_letters, eps, D, WIDE, V, LINE,
    )  # fmt: skip
    tl.store(to + at, back, mask=inside)
    tl.store(to_low + at, back.to(to_low.dtype.element_ty), mask=inside)
    tl.store(partial + program * D + column, to_weight, mask=wide)
    tl.store(partial + (tl.num_programs(0) + program) * D + column, to_bias, mask=wide)
    tl.store(losses + program, tl.sum(loss, 0))


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


@triton.jit
def _rows_of(flow, index, to, first, rows, batch, column, wide, base, D: tl.constexpr,
             ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    """Sums of the peptides' gradients for the rows of a table that they looked up."""
    row, line = first + tl.arange(0, ROWS), tl.arange(0, ROWS)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, batch, ROWS):
        there = start + line < batch
        which = tl.load(index + start + line, mask=there, other=-1) - base
        which = tl.where(there, which, -1)
        part = tl.load(flow + (start + line)[:, None] * D + column[None, :],
                       mask=there[:, None] & wide[None, :], other=0.0)  # fmt: skip
        same = (row[:, None] == which[None, :]).to(part.dtype)
        total = tl.dot(same, part, total, input_precision="ieee")
    at = to + row[:, None] * D + column[None, :]
    tl.store(at, total.to(to.dtype.element_ty), mask=(row < rows)[:, None] & wide[None, :])


@triton.jit
def _finish(norms, head, embedding, losses, condition, timestep, label, target, gradient, table,
            loss, vectors, programs, head_programs, batch, timesteps, targets, at_letter,
            at_position, at_label, at_target, at_one, at_two, at_last, stride, groups,
            D: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr, HIGH: tl.constexpr,
            INPUTS: tl.constexpr, P: tl.constexpr, LABELS: tl.constexpr):  # fmt: skip
    across: tl.constexpr = (D + COLUMNS - 1) // COLUMNS
    unit = tl.program_id(0) // across
    column = (tl.program_id(0) % across) * COLUMNS + tl.arange(0, COLUMNS)
    wide = column < D
    line = tl.arange(0, ROWS)
    high = tl.arange(0, HIGH)
    if unit < vectors + 2:
        # Norm i's weight and bias are vectors 2 i and 2 i + 1; the final norm's come last.
        source, count = norms + unit * programs * D, programs
        if unit >= vectors:
            source, count = head + (unit - vectors) * head_programs * D, head_programs
        total = tl.zeros((COLUMNS,), tl.float32)
        for start in range(0, count, HIGH):
            mask = (start + high < count)[:, None] & wide[None, :]
            part = tl.load(source + (start + high)[:, None] * D + column[None, :], mask=mask,
                           other=0.0)  # fmt: skip
            total += tl.sum(part, 0)
        norm = unit // 2
        to = tl.where(norm % 2 == 0, at_one, at_two) + (norm // 2) * stride
        to = tl.where(unit >= vectors, at_last, to) + (unit % 2) * D
        tl.store(gradient + to + column, total.to(gradient.dtype.element_ty), mask=wide)
        if tl.program_id(0) == 0:
            whole = 0.0
            for start in range(0, head_programs, HIGH):
                some = tl.load(losses + start + high, mask=start + high < head_programs, other=0.0)
                whole += tl.sum(some, 0)
            tl.store(loss, whole)
    elif unit < vectors + 4:
        which = unit - vectors - 2
        total = tl.zeros((ROWS, COLUMNS), tl.float32)
        for group in range(groups):
            at = ((group * 2 + which) * ROWS + line)[:, None] * D + column[None, :]
            total += tl.load(embedding + at, mask=wide[None, :], other=0.0)
        rows = tl.where(which == 0, INPUTS, P)
        to = tl.where(which == 0, at_letter, at_position) + line[:, None] * D + column[None, :]
        mask = (line < rows)[:, None] & wide[None, :]
        tl.store(gradient + to, total.to(gradient.dtype.element_ty), mask=mask)
    elif unit == vectors + 4:
        _rows_of(condition, label, gradient + at_label, 0, LABELS, batch, column, wide, 0, D, ROWS,
                 COLUMNS)  # fmt: skip
    elif unit < vectors + 5 + tl.cdiv(timesteps, ROWS):
        first = (unit - vectors - 5) * ROWS
        _rows_of(condition, timestep, table, first, timesteps, batch, column, wide, 1, D, ROWS,
                 COLUMNS)  # fmt: skip
    else:
        first = (unit - vectors - 5 - tl.cdiv(timesteps, ROWS)) * ROWS
        _rows_of(condition, target, gradient + at_target, first, targets, batch, column, wide, 0,
                 D, ROWS, COLUMNS)  # fmt: skip


@dataclass(frozen=True)
class Starts:
    """Where weights lie in the flat vectors. A norm's bias follows its weight."""

    letter: int
    position: int
    label: int
    target: int
    norm1: int
    """Of the first block; those of the next are `stride` further."""
    norm2: int
    stride: int
    norm: int
    head: int
    head_bias: int


def height(dim: int) -> int:
    """Rows of a tile of `embed`."""
    return max(1, int(2048 // triton.next_power_of_2(dim)))


def head_programs(rows: int) -> int:
    """Programs, and so partial sums, of `head`."""
    return -(-rows // HEAD_ROWS)


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


def head(x: Tensor, added: Tensor, answers: Tensor, weights: Tensor, residues: Tensor,
         scale: Tensor, low: Tensor, at: Starts, normed: Tensor, logits: Tensor, to: Tensor,
         to_low: Tensor, partial: Tensor, losses: Tensor, eps: float) -> None:  # fmt: skip
    """From the last addition to the loss and back.

    Args:
        x: float32 [N, D], and added [N, D] to it; answers: int64 [N]; weights: float32 [N].
        residues: 0-d int64; scale: 0-d float32, the loss scale.
        normed: [N, D], written: the head's input; logits: [N, LINE]: the gradient of its output.
        to: float32 [N, D], written: the gradient of x; to_low: the same in the products' dtype.
        partial: float32 [2, P, D], losses: float32 [P]: partial sums of `head_programs`.
    """
    rows, dim = x.shape
    _head[(head_programs(rows),)](
        x, added, answers, weights, residues, scale, low, normed, logits, to, to_low, partial,
        losses, rows, eps, at.norm, at.norm + dim, at.head, at.head_bias, D=dim,
        WIDE=triton.next_power_of_2(dim), ROWS=HEAD_ROWS, V=len(LETTERS), LINE=LINE, num_warps=8,
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


def finish(norms: Tensor, head: Tensor, embedding: Tensor, losses: Tensor, condition: Tensor,
           timestep: Tensor, label: Tensor, target: Tensor, gradient: Tensor, table: Tensor,
           loss: Tensor, at: Starts, targets: int) -> None:  # fmt: skip
    """All partial sums added up, into the flat gradient; the gradients of the condition's tables.

    Args:
        norms: float32 [L, 2, 2, P, D]; head: float32 [2, P', D], losses [P'];
            embedding: [GROUPS, 2, 32, D].
        condition: [B, D]; timestep, label, target: int64 [B].
        table: [T, D], written: the gradient of the timesteps' embedding.
        loss: 0-d float32, written. targets: rows of the targets' table.
    """
    dim, vectors = condition.shape[1], 4 * norms.shape[0]
    timesteps = table.shape[0]
    units = vectors + 5 + triton.cdiv(timesteps, 32) + triton.cdiv(targets, 32)
    _finish[(units * triton.cdiv(dim, COLUMNS),)](
        norms, head, embedding, losses, condition, timestep, label, target, gradient, table, loss,
        vectors, norms.shape[3], head.shape[1], len(condition), timesteps, targets, at.letter,
        at.position, at.label, at.target, at.norm1, at.norm2, at.norm, at.stride,
        embedding.shape[0], D=dim, COLUMNS=COLUMNS, ROWS=32, HIGH=32, INPUTS=MASK + 1,
        P=MAX_LENGTH, LABELS=3, num_warps=4,
    )  # fmt: skip
