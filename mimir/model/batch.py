"""Plans batches as arithmetic: which peptides, masks and conditions any step uses.

Everything follows from (seed, step) by Philox, in integers, on the device where the data
lies. Many steps are planned at once: on a CPU that spreads the cost of small operations,
on a GPU it becomes part of the captured graph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimir.config import Objective
from mimir.data.alphabet import MASK, MAX_LENGTH
from mimir.data.pack import Peptides
from mimir.model import philox
from mimir.model.attention import Layout
from mimir.model.composition import Tables, letters_in
from mimir.model.denoiser import NO_LABEL


@dataclass(frozen=True)
class DeviceData:
    """A data set of peptides that is resident on a device."""

    tokens: Tensor
    """uint8 [residues + 20]; the tail lets the last peptide be read 20 wide."""
    starts: Tensor
    """int64 [R]: first residue of each peptide."""
    lengths: Tensor
    """int64 [R], 4 … 20."""
    labels: Tensor
    """int64 [R], 0 or 1."""
    targets: Tensor
    """int64 [R]; the number of targets stands for none."""
    composition: Tables | None = None
    """What the targets' pairs are made of; None: targets are told by their embedding alone."""

    @staticmethod
    def of(
        peptides: Peptides, rows: NDArray[np.int64], device: torch.device, objective: Objective
    ) -> "DeviceData":
        """The peptides in `rows` (int64 [R]) of a packed data set, as `objective` tells targets.

        Without a composition a target without training pairs becomes none here.
        """
        tables = None
        if objective.composition == "on" and peptides.trained_targets.any():
            tables = Tables.of(peptides, device)
        # The arrays are read-only, which tensors cannot be: each is copied once.
        offsets = torch.tensor(peptides.offsets, dtype=torch.int64)
        chosen = torch.tensor(rows, dtype=torch.int64)
        none = len(peptides.vocabulary)
        # The last entry stands for background, whose target is -1.
        told = np.full(none, tables is not None) | peptides.trained_targets
        targets = np.append(np.where(told, np.arange(none), none), none)[peptides.targets[rows]]
        return DeviceData(
            torch.cat(
                [torch.tensor(peptides.tokens), torch.zeros(MAX_LENGTH, dtype=torch.uint8)]
            ).to(device),
            offsets[chosen].to(device),
            (offsets[1:] - offsets[:-1])[chosen].to(device),
            torch.tensor(peptides.labels, dtype=torch.int64)[chosen].to(device),
            torch.tensor(targets, dtype=torch.int64).to(device),
            tables,
        )

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Plan:
    """What happens to some peptides, of any leading shape S (steps, batch)."""

    tokens: Tensor
    """int64 [*S, P]: the true token ids; leftovers beyond the length."""
    valid: Tensor
    """bool [*S, P], the valid mask: slots below the length."""
    masked: Tensor
    """bool [*S, P]: residues under the mask."""
    count: Tensor
    """int64 [*S]: how many are masked, 1 … length."""
    length: Tensor
    """int64 [*S]."""
    timestep: Tensor
    """int64 [*S], 1 … T."""
    label: Tensor
    """int64 [*S]; NO_LABEL where dropped."""
    target: Tensor
    """int64 [*S]; the number of targets where there is none or it is dropped."""
    bias: Tensor | None = None
    """float32 [*S, V]: added to the logits, 0 where no target is told; None: nothing is added."""

    def at(self, index: int | slice) -> "Plan":
        return Plan(**_each(vars(self), lambda part: part[index]))

    def sliced(self, width: int) -> "Plan":
        """Plans [K, B] as [K * B / width, width]: views."""

        def rows(value: Tensor) -> Tensor:
            return value.reshape(-1, width, *value.shape[2:])

        # Field by field: torch.compile of 2.11 cannot go through a dataclass.
        return Plan(
            rows(self.tokens), rows(self.valid), rows(self.masked), rows(self.count),
            rows(self.length), rows(self.timestep), rows(self.label), rows(self.target),
            None if self.bias is None else rows(self.bias),
        )  # fmt: skip


def joined(plans: Sequence[Plan]) -> Plan:
    """Plans of peptides, one after the other."""
    first = plans[0]
    fields: dict[str, Any] = {
        name: None if value is None else torch.cat([vars(plan)[name] for plan in plans])
        for name, value in vars(first).items()
    }
    return first if len(plans) == 1 else Plan(**fields)


def plan_training(
    data: DeviceData, order: Tensor, step: Tensor, batch: int, objective: Objective, seed: int,
    none: int, pairs: int = 0,
) -> Plan:  # fmt: skip
    """The plans of some steps of one epoch: leading shape [K, batch].

    With a composition, a pair's own letters are left out of its target's. For a share of the pairs
    the target is shown as one without pairs would be: without its embedding and its own letters,
    by what is similar alone.

    Args:
        order: int64 [R], the epoch's order of the data's rows.
        step: int64 [K], steps of the run that lie in this epoch.
        none: target index that stands for 'no target'.
        pairs: how many of the first slots are a stream of their own, whose masked counts are
            spread by themselves.
    """
    index = step % (len(data) // batch)
    slot = torch.arange(batch, device=step.device)
    rows = order[index[:, None] * batch + slot]
    offset = philox.words(seed, philox.TIME, step, 2)
    noise = philox.words(seed, philox.MASK, step, batch * MAX_LENGTH)
    drop = philox.words(seed, philox.COND, step, 2 * batch).view(-1, batch, 2)
    first = slot < pairs
    spread = torch.where(
        first, (slot << 32) // max(1, pairs), ((slot - pairs) << 32) // (batch - pairs)
    )
    level = (torch.where(first, offset[:, 1:], offset[:, :1]) + spread) & 0xFFFFFFFF
    plan = _plan(data, rows, level, noise.view(-1, batch, MAX_LENGTH), objective.timesteps)
    dropped = drop[..., 0] < int(objective.condition_dropout * 2**32)
    untargeted = dropped | (drop[..., 1] < int(objective.target_dropout * 2**32))
    target, bias = torch.where(untargeted, none, data.targets[rows]), None
    if data.composition is not None:
        word = philox.words(seed, philox.HIDDEN, step, batch)
        counted = torch.where(word < int(objective.hidden_counts * 2**32), none, target)
        letters = letters_in(plan.tokens, plan.valid)
        bias = data.composition.bias(target, counted, letters)
        target = data.composition.identity[counted]
    return Plan(
        plan.tokens, plan.valid, plan.masked, plan.count, plan.length, plan.timestep,
        torch.where(dropped, NO_LABEL, plan.label), target, bias,
    )  # fmt: skip


def plan_evaluation(
    data: DeviceData, start: int, stop: int, repeat: int, repeats: int, timesteps: int
) -> Plan:
    """The plan of rows start … stop, the same at every evaluation of this data: shape [R'].

    The masked counts of the `repeats` passes over the data are spread evenly (a shifted
    systematic sample), so that few passes give a steady figure.
    """
    rows = torch.arange(start, stop, device=data.starts.device)
    offset = philox.words(0, philox.EVAL_TIME, torch.zeros_like(rows[:1]), 1)
    shift = (offset + (repeat << 32) // repeats) & 0xFFFFFFFF
    noise = philox.words(repeat + 1, philox.EVAL_MASK, rows, MAX_LENGTH)
    level = (shift.view(-1) + (rows << 32) // len(data)) & 0xFFFFFFFF
    plan = _plan(data, rows, level, noise, timesteps)
    if data.composition is None:
        return plan
    bias = data.composition.bias(plan.target, plan.target)
    return replace(plan, target=data.composition.identity[plan.target], bias=bias)


def _plan(
    data: DeviceData,
    rows: Tensor,
    level: Tensor,
    noise: Tensor,
    timesteps: int,
) -> Plan:
    """Masks as the linear schedule of whole counts has them, by low-discrepancy sampling.

    The schedule masks c(t) = ceil(t L / T) of L residues at timestep t, so the reverse
    process reveals one residue at each t with c(t) > c(t - 1) and none at the others. The
    masked count is drawn uniformly from 1 … L, and t is the one at which that count's
    residue is revealed; drawing t from 1 … T instead would spend 1 - L / T of the batch on
    timesteps that add nothing to the bound.

    Args:
        rows: int64 [*S, B].
        level: int64 [*S, B], words that choose the masked counts: spread evenly over slots, and
            shifted by a word.
        noise: int64 [*S, B, P], words whose ranks choose the residues to mask.
    """
    column = torch.arange(MAX_LENGTH, device=rows.device)
    length = data.lengths[rows]
    valid = column < length[..., None]
    count = 1 + ((level * length) >> 32)
    # Ranks of distinct keys: the column settles ties, an empty slot comes last.
    key = torch.where(valid, (noise << 5) | column, (1 << 37) | column)
    rank = (key[..., None, :] < key[..., :, None]).sum(-1)
    return Plan(
        tokens=data.tokens[data.starts[rows][..., None] + column].to(torch.int64),
        valid=valid,
        masked=rank < count[..., None],
        count=count,
        length=length,
        timestep=(count - 1) * timesteps // length + 1,
        label=data.labels[rows],
        target=data.targets[rows],
    )


@dataclass(frozen=True)
class Batch:
    """What one forward and backward pass takes."""

    tokens: Tensor
    """int64 [N]: token ids, MASK where masked."""
    layout: Layout
    timestep: Tensor
    label: Tensor
    target: Tensor
    token_labels: Tensor
    """int64 [M]: the true token ids at the predicted rows."""
    weight: Tensor
    """float32 [M]: L / count of the peptide; 0 where there is nothing to predict."""
    bias: Tensor | None = None
    """float32 [B, V], or None, as in `Plan`."""

    def at(self, index: int) -> "Batch":
        """One of several batches of fixed shape: views."""
        own: dict[str, Any] = dict(vars(self))
        layout = own.pop("layout").at(index)
        return Batch(layout=layout, **_each(own, lambda part: part[index]))


def _each(parts: dict[str, Any], change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The parts, each changed but for those that are None."""
    return {name: None if part is None else change(part) for name, part in parts.items()}


def exact_batch(plan: Plan) -> Batch:
    """N residues and M masked ones, exactly. Shapes depend on the data: for the CPU."""
    valid = plan.valid.view(-1)
    slot_of = valid.nonzero().view(-1)
    masked = plan.masked.view(-1)[slot_of]
    predict = masked.nonzero().view(-1)
    row_of = (valid.cumsum(0) - 1).clamp(min=0)
    tokens = plan.tokens.view(-1)[slot_of]
    weight = (plan.length.to(torch.float32) / plan.count)[slot_of[predict] // MAX_LENGTH]
    return Batch(
        torch.where(masked, MASK, tokens),
        Layout(slot_of, row_of, plan.valid, predict),
        plan.timestep, plan.label, plan.target, tokens[predict], weight, plan.bias,
    )  # fmt: skip


def fixed_batch(plan: Plan, capacity: int) -> Batch:
    """The same in fixed shapes, without asking the device anything: for captured graphs.

    Plans of leading shape [*S, B] give batches of leading shape S, to be taken by `Batch.at`.

    Args:
        capacity: N; at least the residues of any batch. Places beyond the batch's own
            residues compute leftovers of weight 0.
    """
    ends = plan.length.cumsum(-1)
    starts = ends - plan.length
    index = torch.arange(capacity, device=ends.device).expand(*ends.shape[:-1], capacity)
    last = ends.shape[-1] - 1
    peptide = torch.searchsorted(ends, index.contiguous(), right=True).clamp(max=last)
    real = index < ends[..., -1:]
    slot_of = peptide * MAX_LENGTH + torch.where(real, index - starts.gather(-1, peptide), 0)
    column = torch.arange(MAX_LENGTH, device=ends.device)
    row_of = (starts[..., None] + column).clamp(max=capacity - 1).flatten(-2)
    masked = plan.masked.flatten(-2).gather(-1, slot_of) & real
    tokens = plan.tokens.flatten(-2).gather(-1, slot_of)
    weight = (plan.length.to(torch.float32) / plan.count).gather(-1, peptide)
    return Batch(
        torch.where(masked, MASK, tokens),
        Layout(slot_of, row_of, plan.valid, None, real, starts, plan.length),
        plan.timestep, plan.label, plan.target, tokens, torch.where(masked, weight, 0.0),
        plan.bias,
    )  # fmt: skip


def capacity_for(lengths: Tensor, order: Tensor, batch: int) -> int:
    """Residues that hold any batch of an epoch, rounded up to a multiple of 64."""
    steps = len(order) // batch
    sums = lengths[order[: steps * batch]].view(steps, batch).sum(1)
    return (int(sums.max()) + 63) // 64 * 64
