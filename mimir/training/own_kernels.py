"""Kernels of our own that a run asks for by `runtime.kernels`: whether they run here, and how.

A name that would change nothing here is refused: a run whose record names a kernel uses it.
"""

from typing import Any

import torch

from mimir.config import Config, Optimizer
from mimir.errors import BadInput
from mimir.model import kernel_limits
from mimir.model.buffers import Flat
from mimir.model.denoiser import Denoiser
from mimir.model.explicit import Explicit
from mimir.training.state import TrainingState

PASS_AS_BEFORE = frozenset({"update", "attention"})
"""Names that leave the training pass to torch's compiler."""


def chosen(
    config: Config, dtype: torch.dtype, fused: bool, capability: tuple[int, int]
) -> frozenset[str]:
    """The names in `config.KERNELS` that the run asks for.

    Args:
        fused: whether attention runs as one kernel each way here, which all others need.
        capability: of the GPU; (0, 0) without one.

    Raises:
        BadInput: one of them would not be used on this machine or in this model.
    """
    names = kernel_limits.names(config)
    if names and not fused:
        raise _refusal(
            config,
            "kernels need compiled training on a GPU with Triton, heads of at most 128 numbers "
            "and, for all but attention, compute capability 8.0 or later",
        )
    half = "fp16" if dtype == torch.float16 else "bf16"
    why = kernel_limits.refusal(config, half=half, capability=capability)
    if why:
        raise _refusal(config, why)
    return names


def _refusal(config: Config, reason: str) -> BadInput:
    return BadInput(
        f"kernels is {config.runtime.kernels!r}, but {reason}; leave out what cannot run"
    )


def attention(kernels: frozenset[str]) -> Any:
    """The module whose kernels compute attention: by tensor cores, or by sums."""
    if "attention" in kernels:
        from mimir.model.fused import attention as by_sums

        return by_sums
    from mimir.model import kernels as by_tensor_cores

    return by_tensor_cores


def explicit(model: Denoiser, state: TrainingState, kernels: frozenset[str]) -> Explicit:
    """The training pass that is written out, on the flat vectors of a state."""
    starts = {span.name: span.start for span in state.spans}
    shapes = {span.name: span.shape for span in state.spans}
    flat = Flat(state.low, state.low_grad, starts, shapes)
    return Explicit(model, flat, kernels, attention(kernels) if kernels else None)


def update(state: TrainingState, loss: torch.Tensor, settings: Optimizer, total: int) -> None:
    """The update of `training.update` by the kernels of `fused.adamw`; not for float16."""
    from mimir.model.fused import adamw

    own = adamw.State(
        state.low_grad, state.master, state.low, state.ema, state.exp_avg, state.exp_avg_sq,
        state.step, (state.updates, state._updates_too), state.rate, state.nonfinite, state.losses,
        state.norms, state.cooldown, state.border,
    )  # fmt: skip
    adamw.update(own, loss, settings, total)
