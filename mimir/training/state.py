"""Holds all that training changes, in flat buffers.

Weights, AdamW's moments, the EMA and the best EMA so far are one float32 vector each:
clipping, the update, the EMA and a snapshot are then one kernel each, and a checkpoint's
tensors are views. Nothing is created lazily: a state at step 0 has every tensor that one at
step 100,000 has.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mimir.config import Optimizer
from mimir.errors import BadInput
from mimir.model.denoiser import Denoiser

MULTIPLE = 1 << 14
"""A GPU's flat vectors are a multiple of this many numbers long.

A kernel loads and stores four 32-bit (eight 16-bit) numbers with one instruction only if its part
of a vector is a multiple of 16 numbers. The models' own lengths are odd, and then the update moved
its 772 MB (large preset) with 80 memory instructions a thread in place of 18. The gradient's norm
is summed in at most a thousand parts of equal length, which must be such multiples too: 2**14
leaves 16 for each. The smallest preset becomes 0.4 % longer.
"""


def padded(size: int, device: torch.device) -> int:
    """The length of a flat vector of `size` weights.

    On a CPU it is `size`: the end of a vector costs nothing there, and the gradient's norm would be
    summed in another order.
    """
    return size if device.type == "cpu" else -(-size // MULTIPLE) * MULTIPLE


@dataclass(frozen=True)
class Span:
    """Where a named weight lies in the flat vectors."""

    name: str
    start: int
    stop: int
    shape: torch.Size


@dataclass(frozen=True)
class Told:
    """What the device says of the last steps: losses and norms that are finite (a skipped fp16
    step has none), the learning rate, and how many steps were not finite."""

    losses: Tensor
    norms: Tensor
    rate: float
    nonfinite: int


class TrainingState:
    """Master weights, moments, EMA, best EMA and counters of one model.

    Args:
        model: its parameters become views of a flat buffer of `dtype`; with float32 that
            buffer is the master copy itself.
        settings: AdamW's; its learning rate is the first one.
        window: steps whose losses are kept until they are logged.
        device, dtype: where, and in what precision matrix products run.
    """

    def __init__(
        self, model: Denoiser, settings: Optimizer, window: int, device: torch.device,
        dtype: torch.dtype,
    ) -> None:  # fmt: skip
        named = list(model.named_parameters())
        # Decayed weights first, so that each of AdamW's two groups is one slice of the vectors.
        named.sort(key=lambda item: not _decayed(item[0], item[1]))
        self.spans: list[Span] = []
        for name, value in named:
            start = self.spans[-1].stop if self.spans else 0
            self.spans.append(Span(name, start, start + value.numel(), value.shape))
        size = self.size = self.spans[-1].stop
        """Weights of the model; the flat vectors may be longer, and are 0 from here on: zero
        gradients leave zero weights as they are."""
        length = padded(size, device)
        border = sum(value.numel() for name, value in named if _decayed(name, value))
        self.border = border
        """Weights below this index of the flat vectors are decayed."""

        def vector(kind: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(length, dtype=kind, device=device)

        self.master, self.ema = vector(), vector()
        self.exp_avg, self.exp_avg_sq = vector(), vector()
        self.grad = vector()
        self.low = self.master if dtype == torch.float32 else vector(dtype)
        self.low_grad = self.grad if dtype == torch.float32 else vector(dtype)
        for span, (_, value) in zip(self.spans, named, strict=True):
            self.master[span.start : span.stop].copy_(value.detach().reshape(-1))
            value.data = self.low[span.start : span.stop].view(span.shape)
            value.grad = self.low_grad[span.start : span.stop].view(span.shape)
        self.ema.copy_(self.master)
        self.best = self.ema.clone()
        self.refresh()

        def scalar(value: float, kind: torch.dtype) -> Tensor:
            return torch.tensor(value, dtype=kind, device=device)

        self.step = scalar(0, torch.int64)
        self.best_step = scalar(-1, torch.int64)
        """Step of the best validation, whose EMA `best` is; -1 before there is one."""
        self.best_figure = scalar(0, torch.float64)
        """What it found, in nats per residue."""
        self.stale = scalar(0, torch.int64)
        """Validations since the best one."""
        self.best_before = scalar(0, torch.float64)
        """`best_figure` when the cooldown began."""
        self.cooldown = scalar(-1, torch.int64)
        """Step at which the cooldown began, -1 before it does."""
        self.nonfinite = scalar(0, torch.int64)
        self.losses = torch.zeros(window, dtype=torch.float32, device=device)
        self.norms = torch.zeros(window, dtype=torch.float32, device=device)
        self.scale = scalar(65536.0, torch.float32)
        self.growth = scalar(0, torch.int32)

        self.rate = scalar(settings.lr, torch.float32)
        self.buffers: list[dict[str, Tensor]] = []
        """Pinned memory of the host that checkpoints were copied to, and may be again. Only a
        GPU's state keeps it: making it anew takes longer than the copy."""
        # AdamW counts its updates once for each of its two groups; the two counts are equal.
        self.updates, self._updates_too = scalar(0, torch.float32), scalar(0, torch.float32)

    def told(self, steps: int) -> Told:
        """What is logged of the last `steps` steps, at most the window: one copy to the host."""
        size = min(steps % len(self.losses) or len(self.losses), steps)
        scalars = torch.stack((self.rate, self.nonfinite.to(torch.float32)))
        row = torch.cat((scalars, self.losses[:size], self.norms[:size])).cpu()
        losses, norms = (part[torch.isfinite(part)] for part in row[2:].split(size))
        return Told(losses, norms, float(row[0]), int(row[1]))

    @property
    def best_or_last(self) -> Tensor:
        """The averaged weights to be used: the best, or the last where nothing selects."""
        return self.best if int(self.best_step) >= 0 else self.ema

    def refresh(self) -> None:
        """Bring the low-precision copy up to the master weights."""
        if self.low is not self.master:
            self.low.copy_(self.master)

    def tensors(self) -> dict[str, Tensor]:
        """Everything by its name in a checkpoint: views of the live tensors."""
        named = dict(self._vectors())
        named["adamw.step"] = self.updates
        named["loop.step"] = self.step
        named["loop.best_step"], named["loop.best_figure"] = self.best_step, self.best_figure
        named["loop.best_before"] = self.best_before
        named["loop.stale"], named["loop.cooldown"] = self.stale, self.cooldown
        named["loop.nonfinite"] = self.nonfinite
        named["loop.losses"], named["loop.norms"] = self.losses, self.norms
        named["scaler.scale"], named["scaler.growth_tracker"] = self.scale, self.growth
        return named

    def _vectors(self) -> Iterator[tuple[str, Tensor]]:
        for prefix, vector in (
            ("model", self.master),
            ("ema", self.ema),
            ("best", self.best),
            ("adamw.exp_avg", self.exp_avg),
            ("adamw.exp_avg_sq", self.exp_avg_sq),
        ):
            for span in self.spans:
                view = vector[span.start : span.stop].view(span.shape)
                yield f"{prefix}.{span.name}", view

    @torch.no_grad()
    def begin_with(self, weights: dict[str, Tensor]) -> None:
        """Take these weights (float32, by name) as the model's, its average's and the best.

        For a state at step 0. Raises BadInput if one is missing, unknown, or of another shape or
        dtype.
        """
        shapes = {span.name: span.shape for span in self.spans}
        for name in sorted(shapes.keys() | weights.keys()):
            have = weights[name].shape if name in weights else None
            if have != shapes.get(name) or weights[name].dtype != torch.float32:
                raise BadInput(f"the weights to begin with are of another model: see its {name}")
        for span in self.spans:
            self.master[span.start : span.stop].copy_(weights[span.name].reshape(-1))
        self.ema.copy_(self.master)
        self.best.copy_(self.ema)
        self.refresh()

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Copy values into the live tensors, whose addresses do not change.

        Raises:
            BadInput: a tensor is missing, unknown, or of another shape or dtype.
        """
        live = self.tensors()
        for name in sorted(live.keys() | tensors.keys()):
            if name not in tensors:
                raise BadInput(f"the checkpoint has no tensor {name}: it is of another model")
            if name not in live:
                raise BadInput(
                    f"the checkpoint has an unknown tensor {name}: it is of another model"
                )
            have, want = tensors[name], live[name]
            if have.shape != want.shape or have.dtype != want.dtype:
                raise BadInput(
                    f"the checkpoint's {name} is {have.dtype} {tuple(have.shape)}, but this run's "
                    f"is {want.dtype} {tuple(want.shape)}: it is of another configuration"
                )
        for name, value in live.items():
            value.copy_(tensors[name])
        self._updates_too.copy_(self.updates)
        self.refresh()


def _decayed(name: str, value: Tensor) -> bool:
    return value.dim() == 2 and name.endswith("weight")
