"""Is the fast path right on this machine? Asked before each attempt's first step.

Compiled steps, kernels of our own and captured graphs hang on the GPU, its driver and torch's
compiler: nobody has tried all of them together. So a block of steps is taken the fast way and
the plain way from the same state, and put back. Where they differ by more than rounding, or the
fast way fails, training goes the plain way: slower, by the same mathematics, and said aloud.
The answer follows from the machine and its versions, so a resumed run gets the same one there.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mimir import rehearsal
from mimir.engine import Engine
from mimir.errors import MimirError

Tensors = dict[str, Tensor]

LOSS = 0.01
"""Largest relative difference of a step's loss; bf16 leaves about 0.001."""
GRADIENT = 0.1
"""Largest relative distance of AdamW's first moments, all weights together."""
MOVE = 0.25
"""Largest relative difference between how far the weights, and their average, moved."""


def proven(fast: Engine, say: Callable[[str], None]) -> Engine:
    """The engine itself, unchanged, if it computes what a plain one does; else a plain one.

    Args:
        fast: at step 0, where the answer is the same for all attempts on such a machine.
        say: told in one line why the fast way is not taken.

    Raises:
        torch.OutOfMemoryError: the batch does not fit.
    """
    before = {name: value.clone() for name, value in fast.state.tensors().items()}
    steps = rehearsal.block(fast)
    try:
        fast.advance(steps)
        found = {name: value.clone() for name, value in fast.state.tensors().items()}
        fast.resume(before)
    except (MimirError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a compiler or driver comes up with
        say(f"compiled training fails on this machine ({_first(error)}); going on without it")
        return _plain(fast)
    plain = _plain(fast)
    plain.advance(steps)
    reason = _difference(before, found, plain.state.tensors())
    if reason:
        say(f"compiled training is wrong on this machine ({reason}); going on without it")
        plain.resume(before)
        return plain
    del plain
    if fast.machine.device.type == "cuda":
        # What the comparison took is no part of what training takes.
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return fast


def _plain(fast: Engine) -> Engine:
    machine = replace(fast.machine, compiled=False, fused=False)
    return Engine(fast.config, fast.shelf, fast.targets, machine)


def _difference(before: Tensors, fast: Tensors, plain: Tensors) -> str:
    """What differs by more than rounding, in words; "" if nothing does."""
    # The first two steps: what rounds differently drifts apart.
    window = len(plain["loop.losses"])
    first = min(2, window, int(plain["loop.step"]))
    mine, other = (side["loop.losses"][:first].tolist() for side in (fast, plain))
    if not all(abs(a - b) <= LOSS * abs(b) for a, b in zip(mine, other, strict=True)):
        return f"the losses are {mine} instead of {other}"
    moments, wanted = (_joined(side, "adamw.exp_avg.") for side in (fast, plain))
    apart = float((moments - wanted).norm() / wanted.norm())
    if not apart <= GRADIENT:
        return f"the gradients are {apart:.0%} apart"
    for prefix, what in (("model.", "weights"), ("ema.", "averaged weights")):
        start = _joined(before, prefix)
        moved, should = (float((_joined(side, prefix) - start).norm()) for side in (fast, plain))
        if not abs(moved - should) <= MOVE * should:
            return f"the {what} moved by {moved:.3g} instead of {should:.3g}"
    return ""


def _joined(tensors: Tensors, prefix: str) -> Tensor:
    parts = [value.reshape(-1) for name, value in tensors.items() if name.startswith(prefix)]
    return torch.cat(parts).double()


def _first(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
