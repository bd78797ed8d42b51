"""Kernels of our own that a run asks for by `runtime.kernels`: whether they run here, and how.

A name that would change nothing here is refused: a run whose record names a kernel uses it.
"""

import torch

from mimir.config import Config, Optimizer
from mimir.errors import BadInput
from mimir.model.buffers import Flat
from mimir.model.denoiser import Denoiser
from mimir.model.explicit import Explicit
from mimir.training.state import TrainingState


def chosen(config: Config, dtype: torch.dtype, fused: bool) -> frozenset[str]:
    """The names in `config.KERNELS` that the run asks for.

    Args:
        fused: whether attention runs as our kernels here, which all others need.

    Raises:
        BadInput: one of them would not be used on this machine or in this model.
    """
    names = frozenset(filter(None, config.runtime.kernels.split(",")))
    size, training = config.model, config.training
    if names and not fused:
        raise _refusal(
            config,
            "kernels need compiled training on a GPU of compute capability 8.0 or later, with "
            "Triton and heads of at most 128 numbers",
        )
    if "update" in names and dtype == torch.float16:
        raise _refusal(config, "update knows no loss scale, which float16 needs")
    if "wgrad" in names and size.dim % 16:
        raise _refusal(config, f"wgrad loads 16 numbers at once, and dim is {size.dim}")
    if "peptide" in names:
        from mimir.model.fused import peptide

        batch = training.batch // training.accumulate
        if not peptide.takes(size.dim, size.heads, size.ffn * size.dim, batch):
            raise _refusal(
                config,
                f"peptide takes models of dim {peptide.WIDEST} at most, dim and dim / heads powers "
                f"of 2, heads of 16 or more, and {peptide.PEPTIDES} peptides at once at most",
            )
    return names


def _refusal(config: Config, reason: str) -> BadInput:
    return BadInput(
        f"kernels is {config.runtime.kernels!r}, but {reason}; leave out what cannot run"
    )


def explicit(model: Denoiser, state: TrainingState, kernels: frozenset[str]) -> Explicit:
    """The training pass that is written out, on the flat vectors of a state."""
    starts = {span.name: span.start for span in state.spans}
    shapes = {span.name: span.shape for span in state.spans}
    return Explicit(model, Flat(state.low, state.low_grad, starts, shapes), kernels)


def update(state: TrainingState, loss: torch.Tensor, settings: Optimizer, total: int) -> None:
    """The update of `training.update` by the kernels of `fused.adamw`; not for float16."""
    from mimir.model.fused import adamw

    own = adamw.State(
        state.low_grad, state.master, state.low, state.ema, state.exp_avg, state.exp_avg_sq,
        state.step, (state.updates, state._updates_too), state.rate, state.nonfinite, state.losses,
        state.norms, state.cooldown, state.border,
    )  # fmt: skip
    adamw.update(own, loss, settings, total)
