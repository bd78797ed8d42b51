"""Runs training steps: one by one on a CPU, or captured as CUDA graphs on a GPU.

A step reads its number from a device tensor, plans its batch, computes loss and gradient,
clips, updates weights and EMA, and writes its loss into a window. It never asks the device for
a value. On a CPU the shapes follow the data; on a GPU they are fixed, and `graph_steps`
whole steps are captured in one CUDA graph. Compiled, a captured step is few kernels: one plan
serves all steps of the graph, attention is one kernel each way, and the update is fused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mimir.config import Config, Optimizer
from mimir.data.alphabet import MAX_LENGTH
from mimir.data.mix import steps_of
from mimir.errors import BadInput
from mimir.model.batch import (
    Batch,
    DeviceData,
    Plan,
    capacity_for,
    exact_batch,
    fixed_batch,
    plan_training,
)
from mimir.model.denoiser import Denoiser, initialise
from mimir.model.explicit import Explicit
from mimir.model.objective import mean_bound
from mimir.runs.execution import Execution
from mimir.training import own_kernels, update
from mimir.training.machine import Machine
from mimir.training.order import Order
from mimir.training.state import TrainingState

WARM_UP = 3
"""Steps at least before a capture: the libraries make their workspaces in the first ones."""
PLANNED = 64
"""Steps planned at once on a CPU: small operations then cost a few microseconds a step."""

Update = Callable[[TrainingState, Tensor, Optimizer, int], None]


@dataclass(frozen=True)
class Work:
    """What a step computes on."""

    batches: list[Batch]
    """One for each slice."""
    residues: Tensor
    """0-d: the step's."""


class Engine:
    """A model in training: `advance` it, read its losses, copy its state.

    Args:
        config: the run's settings.
        data: the training peptides, on the machine's device.
        targets: number of target proteins in the data's vocabulary.
        machine: where to compute.
    """

    def __init__(self, config: Config, data: DeviceData, targets: int, machine: Machine) -> None:
        self.config, self.data, self.targets, self.machine = config, data, targets, machine
        training = config.training
        if training.batch > len(data):
            raise BadInput(
                f"batch is {training.batch}, but there are only {len(data)} training peptides; "
                "use a smaller --batch or more data"
            )
        self._rows = Order(data.labels, training)
        self.pairs = self._rows.pairs
        """Pairs in each batch; 0: as they lie in the data."""
        self.steps_per_epoch = self._rows.steps
        self.total = steps_of(training, len(data))
        """Steps, if it does not end early."""
        device = machine.device
        self.model = Denoiser(config.model, config.objective.timesteps, targets)
        initialise(self.model, training.seed)
        self.model.to(device)
        self.state = TrainingState(
            self.model, config.optimizer, training.log_every, device, machine.dtype
        )
        named = dict(self.model.named_parameters())
        self._weights = [named[span.name] for span in self.state.spans]
        self.step = 0
        """The host's copy of the number of steps taken."""
        self.cooldown = -1
        """The host's copy of the step at which the cooldown began."""
        self.best_step, self.stale = -1, 0
        """The host's copies of the step of the best validation, and of how many came since."""
        used = self.steps_per_epoch * training.batch
        self.order = torch.zeros(used, dtype=torch.int64, device=device)
        self._epoch = -1
        self._capacity = self._widest() if machine.fixed else 0
        # The next step of the epoch, and the work of those that follow.
        self._ahead: tuple[int, Iterator[Work]] = (0, iter(()))
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._loss, self._batches = mean_bound, self._fixed_batches
        self._update: Update = update.unfused
        if machine.compiled:
            self._loss = _compiled(mean_bound, machine)
        if machine.compiled and machine.fixed:
            self._batches = _compiled(self._fixed_batches, machine)
            self._update = _fused_update(machine)
        if machine.fused:
            self.model.kernel = own_kernels.attention(machine.kernels).attention
        self._explicit: Explicit | None = None
        if "update" in machine.kernels:
            self._update = own_kernels.update
        if machine.kernels - own_kernels.PASS_AS_BEFORE:
            self._explicit = own_kernels.explicit(self.model, self.state, machine.kernels)
        # The loss scale of the pass that is written out: only float16 needs one.
        half = machine.dtype == torch.float16
        self._scale = self.state.scale if half else torch.ones((), device=device)

    @property
    def execution(self) -> Execution:
        """How its steps are executed."""
        return self.machine.execution(self.config.runtime.graph_steps)

    @property
    def end(self) -> int:
        """The run's last step: that of its epochs, or of the cooldown once that has begun."""
        if self.cooldown < 0:
            return self.total
        return min(self.total, self.cooldown + self.config.optimizer.cooldown_steps)

    def begin_cooldown(self) -> None:
        """From the next step on the learning rate goes down to its end, and the run to its own."""
        self.cooldown = self.step
        self.state.cooldown.fill_(self.step)

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint's tensors."""
        self.state.load(tensors)
        self.step, self.cooldown = int(self.state.step), int(self.state.cooldown)
        self.best_step, self.stale = int(self.state.best_step), int(self.state.stale)
        self._epoch = -1

    def advance(self, steps: int) -> None:
        """Take up to the end of the epoch, `steps` steps (host and device counters agree after)."""
        epoch, index = divmod(self.step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        steps = min(steps, self.steps_per_epoch - index)
        if self.machine.device.type == "cuda" and self.config.runtime.graph_steps:
            self._replay(steps)
        else:
            for i in range(steps):
                self._one(self._planned(index + i))
        self.step += steps

    def _begin_epoch(self, epoch: int) -> None:
        self.order.copy_(self._rows.of(epoch))
        self._epoch, self._ahead = epoch, (0, iter(()))

    def _widest(self) -> int:
        """Residues that hold any batch (or slice of one) of the whole run.

        Found beforehand (a sort for each epoch). The shapes of matrix products decide how they
        round, so they must not depend on the epoch in which an attempt began.
        """
        training = self.config.training
        width = training.batch // training.accumulate
        return max(
            capacity_for(self.data.lengths, self._rows.of(epoch), width)
            for epoch in range((self.total - 1) // self.steps_per_epoch + 1)
        )

    def _plan(self, steps: Tensor) -> Plan:
        training = self.config.training
        return plan_training(
            self.data, self.order, steps, training.batch, self.config.objective,
            training.seed, self.targets, self.pairs,
        )  # fmt: skip

    def _planned(self, index: int) -> Work:
        """The work of this step of the epoch, from a block planned at once."""
        expected, ahead = self._ahead
        work = next(ahead, None) if expected == index else None
        if work is None:
            # Compiled shapes are fixed, also the number of steps.
            block = 1 if self.machine.compiled and self.machine.fixed else PLANNED
            count = min(block, self.steps_per_epoch - index)
            begin = self._epoch * self.steps_per_epoch + index
            device = self.machine.device
            ahead = self._prepared(torch.arange(begin, begin + count, device=device))
            work = next(ahead)
        self._ahead = (index + 1, ahead)
        return work

    def _prepared(self, steps: Tensor) -> Iterator[Work]:
        """The work of some steps of the epoch (int64 [K])."""
        slices = self.config.training.accumulate
        width = self.config.training.batch // slices
        if self.machine.fixed:
            batches, residues = self._batches(steps)
            for i in range(len(steps)):
                own = [batches.at(i * slices + j) for j in range(slices)]
                yield Work(own, residues[i])
            return
        plans = self._plan(steps)
        for i in range(len(steps)):
            plan = plans.at(i)
            parts = (plan.at(slice(j * width, (j + 1) * width)) for j in range(slices))
            yield Work([exact_batch(part) for part in parts], plan.length.sum())

    def _fixed_batches(self, steps: Tensor) -> tuple[Batch, Tensor]:
        """All slices' batches of K steps, one after the other, and the K steps' residues."""
        plan = self._plan(steps)
        width = self.config.training.batch // self.config.training.accumulate
        capacity = min(self._capacity, width * MAX_LENGTH)
        return fixed_batch(plan.sliced(width), capacity), plan.length.sum(1)

    def _one(self, work: Work) -> None:
        """One step."""
        loss = self._gradient(work)
        self._update(self.state, loss, self.config.optimizer, self.total)

    def _gradient(self, work: Work) -> Tensor:
        """Fill `low_grad`; the loss, 0-d float32."""
        if self._explicit is not None:
            return self._written_out(self._explicit, work)
        state = self.state
        if not self.machine.fixed:
            state.low_grad.zero_()
        loss = torch.zeros((), dtype=torch.float32, device=self.machine.device)
        for i, batch in enumerate(work.batches):
            term = self._loss(self.model, batch, work.residues)
            scaled = term * state.scale if self.machine.dtype == torch.float16 else term
            if self.machine.fixed:
                # Gathered by one kernel; adding each to its place takes one for each tensor.
                parts = [part.reshape(-1) for part in torch.autograd.grad(scaled, self._weights)]
                if i == 0:
                    torch.cat(parts, out=state.low_grad[: state.size])
                else:
                    state.low_grad[: state.size] += torch.cat(parts)
            else:
                scaled.backward()
            loss += term.detach()
        return loss

    def _written_out(self, explicit: Explicit, work: Work) -> Tensor:
        gradient = self.state.low_grad
        loss = explicit(work.batches[0], work.residues, self._scale)
        for batch in work.batches[1:]:
            before = gradient.clone()
            loss = loss + explicit(batch, work.residues, self._scale)
            gradient += before
        return loss

    def _replay(self, steps: int) -> None:
        """`steps` steps as captured graphs: as many whole ones as fit, then single steps."""
        size = self.config.runtime.graph_steps
        while steps:
            count = size if steps >= size else 1
            if count not in self._graphs:
                self._graphs[count] = self._capture(count)
            self._graphs[count].replay()
            steps -= count

    def _several(self, count: int) -> None:
        offsets = torch.arange(count, device=self.machine.device)
        for work in self._prepared(self.state.step + offsets):
            self._one(work)

    def _capture(self, count: int) -> torch.cuda.CUDAGraph:
        """Capture `count` steps. Warming up trains, so the state is put back afterwards."""
        before = {name: value.clone() for name, value in self.state.tensors().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            # As many as are captured: compiling for another shape would break the capture off.
            for _ in range(-(-WARM_UP // count)):
                self._several(count)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._several(count)
        self.state.load(before)
        return graph


def _compiled(function: Callable[..., Any], machine: Machine) -> Any:
    """Compiled in one piece; with the same choices each time, where torch can promise that."""
    known = torch._inductor.list_options()
    options: Any = {"deterministic": True} if "deterministic" in known else {}
    return torch.compile(function, fullgraph=True, dynamic=not machine.fixed, options=options)


def _fused_update(machine: Machine) -> Update:
    """The fused update, compiled as two kernels."""
    measure, apply = _compiled(update.measure, machine), _compiled(update.apply, machine)

    def both(state: TrainingState, loss: Tensor, settings: Optimizer, total: int) -> None:
        apply(state, measure(state, settings, total), loss, settings)

    return both
