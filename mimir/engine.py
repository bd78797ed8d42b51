"""The training step, and two ways to run many of it.

A step reads its number from a device tensor, plans its batch, computes loss and gradient,
clips, updates and averages, and writes its loss into a window: it never asks the device for
a value. On a CPU the shapes follow the data; on a GPU they are fixed, and `graph_steps`
whole steps are captured in one CUDA graph.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mimir import gpu, philox
from mimir.batch import (
    Batch,
    Plan,
    Shelf,
    capacity_for,
    exact_batch,
    fixed_batch,
    plan_training,
)
from mimir.config import Config
from mimir.data.alphabet import MAX_LENGTH
from mimir.errors import BadInput
from mimir.model import Denoiser, initialise
from mimir.objective import bound, learning_rate
from mimir.state import TrainingState

PLANNED = 64
"""Steps planned at once on a CPU: small operations then cost a few microseconds a step."""
GROWTH_INTERVAL = 2000
"""Steps without overflow after which the fp16 loss scale doubles (torch's default)."""


@dataclass(frozen=True)
class Machine:
    """The device and what it is good at."""

    device: torch.device
    dtype: torch.dtype
    compiled: bool
    fixed: bool
    """Shapes do not depend on the data, which graphs need and a GPU fills at no cost."""

    @staticmethod
    def choose(config: Config) -> "Machine":
        """Resolve the `auto` settings of a configuration here."""
        wish = config.runtime
        cuda = wish.device != "cpu" and gpu.usable()
        if wish.device == "cuda" and not cuda:
            raise BadInput("device is 'cuda', but no GPU is visible here; use --device cpu or auto")
        if wish.precision != "auto":
            name = wish.precision
        elif cuda:
            name = "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
        else:
            name = "fp32"
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[name]
        compiled = wish.compile == "on" or (wish.compile == "auto" and cuda)
        if compiled and not gpu.compiler("cuda" if cuda else "cpu"):
            if wish.compile == "on":
                raise BadInput(
                    f"compile is 'on', but there is no {'C' if cuda else 'C++'} compiler here; "
                    "install gcc and g++, or use --compile auto"
                )
            compiled = False
        return Machine(torch.device("cuda" if cuda else "cpu"), dtype, compiled, fixed=cuda)


class Engine:
    """A model in training: `advance` it, read its losses, copy its state.

    Args:
        config: the run's settings.
        shelf: the training peptides, on the machine's device.
        targets: number of target proteins in the data's vocabulary.
        machine: where to compute.
    """

    def __init__(self, config: Config, shelf: Shelf, targets: int, machine: Machine) -> None:
        self.config, self.shelf, self.targets, self.machine = config, shelf, targets, machine
        training = config.training
        if training.batch > len(shelf):
            raise BadInput(
                f"batch is {training.batch}, but there are only {len(shelf)} training peptides; "
                "use a smaller --batch or more data"
            )
        self.steps_per_epoch = len(shelf) // training.batch
        self.total = self.steps_per_epoch * training.epochs
        if training.max_steps:
            self.total = min(self.total, training.max_steps)
        device = machine.device
        self.model = Denoiser(config.model, config.objective.timesteps, targets)
        initialise(self.model, training.seed)
        self.model.to(device)
        self.state = TrainingState(
            self.model, config.optimizer, training.log_every, device, machine.dtype
        )
        self.step = 0
        """The host's copy of the number of steps taken."""
        self.order = torch.zeros(len(shelf), dtype=torch.int64, device=device)
        self._epoch = -1
        self._capacity = self._widest() if machine.fixed else 0
        self._plans: tuple[int, Plan] | None = None
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._bound: Callable[[Denoiser, Batch], Tensor] = bound
        if machine.compiled:
            self._bound = torch.compile(bound, fullgraph=True, dynamic=not machine.fixed)

    def resume(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a checkpoint's tensors."""
        self.state.load(tensors)
        self.step = int(self.state.step)
        self._epoch, self._plans = -1, None

    def advance(self, steps: int) -> None:
        """Take up to the end of the epoch, `steps` steps (host and device counters agree after)."""
        epoch, place = divmod(self.step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        steps = min(steps, self.steps_per_epoch - place)
        if self.machine.device.type == "cuda" and self.config.runtime.graph_steps:
            self._replay(steps)
        else:
            for _ in range(steps):
                self._one(self._planned(place), self.state.step)
                self.state.step += 1
                place += 1
        self.step += steps

    def _begin_epoch(self, epoch: int) -> None:
        self.order.copy_(self._order_of(epoch))
        self._epoch, self._plans = epoch, None

    def _order_of(self, epoch: int) -> Tensor:
        number = torch.tensor(epoch, device=self.machine.device)
        return philox.permutation(self.config.training.seed, number, len(self.shelf))

    def _widest(self) -> int:
        """Residues that hold any batch (or slice of one) of the whole run.

        Found beforehand (a sort for each epoch), for the shapes of matrix products, and with
        them their rounding, must not hang on the epoch that an attempt happened to begin with.
        """
        training = self.config.training
        width, used = training.batch // training.accumulate, self.steps_per_epoch * training.batch
        return max(
            capacity_for(self.shelf.lengths, self._order_of(epoch)[:used], width)
            for epoch in range((self.total - 1) // self.steps_per_epoch + 1)
        )

    def _plan(self, steps: Tensor) -> Plan:
        training = self.config.training
        return plan_training(
            self.shelf, self.order, steps, training.batch, self.config.objective,
            training.seed, self.targets,
        )  # fmt: skip

    def _planned(self, place: int) -> Plan:
        """The plan of the step at this place of the epoch, from a block planned at once."""
        first = place - place % PLANNED
        if self._plans is None or self._plans[0] != first:
            count = min(PLANNED, self.steps_per_epoch - first)
            begin = self._epoch * self.steps_per_epoch + first
            device = self.machine.device
            self._plans = (first, self._plan(torch.arange(begin, begin + count, device=device)))
        return self._plans[1].at(place - first)

    def _one(self, plan: Plan, step: Tensor) -> None:
        """One step on one batch; `step` is the device's counter before it."""
        state, settings = self.state, self.config.optimizer
        half = self.machine.dtype == torch.float16
        state.low_grad.zero_()
        loss = torch.zeros((), dtype=torch.float32, device=self.machine.device)
        residues = plan.length.sum()
        slices = self.config.training.accumulate
        width = self.config.training.batch // slices
        for i in range(slices):
            part = plan if slices == 1 else plan.at(slice(i * width, (i + 1) * width))
            terms = self._bound(self.model, self._batch(part, width)).sum() / residues
            (terms * state.scale if half else terms).backward()
            loss += terms.detach()
        if state.low_grad is not state.grad:
            state.grad.copy_(state.low_grad)
        if half:
            state.grad.mul_(state.scale.reciprocal())
        norm = torch.linalg.vector_norm(state.grad)
        state.grad.mul_((settings.clip / (norm + 1e-6)).clamp(max=1.0))
        state.rate.copy_(learning_rate(step, settings, self.total))
        if half:
            self._scaled_update(norm)
        else:
            state.adamw.step()
            state.nonfinite += (~torch.isfinite(norm + loss)).to(torch.int64)
        state.refresh()
        # A young average would remember the initial weights for too long.
        decay = torch.clamp((1 + state.updates) / (10 + state.updates), max=settings.ema)
        state.average.lerp_(state.master, 1 - decay)
        window = len(state.losses)
        state.losses.index_copy_(0, (step % window).view(1), loss.view(1))
        state.norms.index_copy_(0, (step % window).view(1), norm.view(1))

    def _batch(self, plan: Plan, width: int) -> Batch:
        if self.machine.fixed:
            return fixed_batch(plan, min(self._capacity, width * MAX_LENGTH))
        return exact_batch(plan)

    def _scaled_update(self, norm: Tensor) -> None:
        """An fp16 update: skipped, with the scale halved, when the gradient overflowed."""
        state = self.state
        overflow = (~torch.isfinite(norm)).to(torch.float32)
        state.adamw.found_inf = overflow  # type: ignore[attr-defined]
        state.adamw.grad_scale = None  # type: ignore[attr-defined]
        state.grad.nan_to_num_(0.0, 0.0, 0.0)
        state.adamw.step()
        calm = (state.growth + 1) * (1 - overflow.to(torch.int32))
        grown = calm >= GROWTH_INTERVAL
        state.scale.copy_(
            torch.where(
                overflow > 0, state.scale * 0.5, torch.where(grown, state.scale * 2, state.scale)
            )
        )
        state.growth.copy_(torch.where(grown, 0, calm).to(torch.int32))
        # A scale that has fallen this low means that the weights themselves are broken.
        state.nonfinite += (state.scale < 2.0**-10).to(torch.int64)

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
        plan = self._plan(self.state.step + offsets)
        for i in range(count):
            self._one(plan.at(i), self.state.step)
            self.state.step += 1

    def _capture(self, count: int) -> torch.cuda.CUDAGraph:
        """Capture `count` steps. Warming up trains, so the state is put back afterwards."""
        before = {name: value.clone() for name, value in self.state.tensors().items()}
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._several(1)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._several(count)
        self.state.load(before)
        return graph
