"""Adds up what the other kernels left as partial sums: gradients of norms and tables, and the loss.

One kernel for all of them; nothing is added atomically.
"""

import triton
import triton.language as tl
from torch import Tensor

from mimir.data.alphabet import MASK, MAX_LENGTH
from mimir.model.buffers import Starts

COLUMNS = 64
"""Columns of a program that sums."""


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
