"""Numerical parity check of the fast mode, before each attempt's first step.

Compiled steps, kernels of our own and captured graphs depend on the GPU, its driver and torch's
compiler, and nobody has tried all combinations. As a safeguard, each GPU attempt first runs a few
steps in fast and in eager mode, from the same state, and undoes them. If they differ by more than
rounding, or the fast mode fails, it logs why and trains in the next slower mode, with the same
mathematics: without kernels of our own, without compilation, then without graphs. The check runs
at step 0, so all attempts on such a machine get the same result. A fault that breaks CUDA for the
whole process (an illegal address) ends the attempt nevertheless; `--compile off` avoids what is
compiled.
"""

import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from mimir.checks import dry_run
from mimir.errors import MimirError
from mimir.text import first_line
from mimir.training.engine import Engine

Tensors = dict[str, Tensor]

LOSS = 0.01
"""Largest relative difference of a step's loss; bf16 rounds each number by up to 0.004."""
GRADIENT = 0.1
"""Largest relative distance of AdamW's first moments, all weights together."""
LENGTH, ANGLE = 0.25, 0.5
"""Of the way that weights and EMA moved: largest relative difference in length, and smallest
cosine. AdamW's division makes noise of gradients near zero as loud as the rest."""
COUNTERS = ("loop.step", "adamw.step", "loop.nonfinite")


def parity_checked(engine: Engine, say: Callable[[str], None]) -> Engine:
    """As `compared`; on a CPU, which has no fast mode, the engine itself without a question."""
    return compared(engine, say) if engine.machine.device.type == "cuda" else engine


def compared(fast: Engine, say: Callable[[str], None]) -> Engine:
    """The engine itself, unchanged, if it computes what an eager one does; else a slower one.

    Args:
        fast: at step 0.
        say: told in one line why the fast mode is not used, or could not be compared.

    Raises:
        torch.OutOfMemoryError: the batch does not fit.
    """
    try:
        return _settled(fast, say)
    finally:
        # What the comparison took is no part of what training takes. Engines are cycles.
        gc.collect()
        if fast.machine.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _settled(fast: Engine, say: Callable[[str], None]) -> Engine:
    before, steps = _on_host(fast), dry_run.block(fast)
    found, failure = _tried(fast, before, steps)
    try:
        eager = _plain(fast, graphs=False)
        wanted = _taken(eager, before, steps)
    except torch.OutOfMemoryError:
        if failure:
            raise
        say("the fast way of training is not compared with the plain one: no memory for both")
        return fast
    reason = failure or _difference(before, found, wanted)
    if not reason:
        return fast
    for what, slower in _slower(fast):
        say(f"{what} {reason} on this machine; going on without it")
        fast = _because(slower(), f"{what} {reason}")
        found, failure = _tried(fast, before, steps)
        reason = failure or _difference(before, found, wanted)
        if not reason:
            return fast
    say(f"a captured graph {reason} on this machine; going on step by step, which is slow")
    return _because(eager, f"a captured graph {reason}")


def _because(slower: Engine, why: str) -> Engine:
    """The engine, which tells from now on why it is not a faster one."""
    slower.machine = replace(slower.machine, why=why)
    return slower


def _slower(fast: Engine) -> Iterator[tuple[str, Callable[[], Engine]]]:
    """What to leave out next, and the engine without it."""
    machine = fast.machine
    if machine.kernels:
        without = replace(machine, kernels=frozenset())
        yield (
            f"training with our kernels {', '.join(sorted(machine.kernels))}",
            lambda: Engine(fast.config, fast.data, fast.targets, without),
        )
    if machine.compiled:
        yield "compiled training", lambda: _plain(fast, graphs=True)


def _plain(fast: Engine, *, graphs: bool) -> Engine:
    machine = replace(fast.machine, compiled=False, fused=False, kernels=frozenset())
    config = fast.config
    if not graphs:
        config = replace(config, runtime=replace(config.runtime, graph_steps=0))
    return Engine(config, fast.data, fast.targets, machine)


def _tried(engine: Engine, before: Tensors, steps: int) -> tuple[Tensors, str]:
    """As `_taken`, and in words how it failed, if it did."""
    try:
        return _taken(engine, before, steps), ""
    except (MimirError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a compiler or driver comes up with
        return {}, f"fails ({type(error).__name__}: {first_line(error)})"


def _taken(engine: Engine, before: Tensors, steps: int) -> Tensors:
    """The state after the first steps from that of before, which are undone."""
    engine.resume(before)
    engine.advance(steps)
    engine.advance(1)  # single steps are compiled and captured by themselves
    found = _on_host(engine)
    engine.resume(before)
    return found


def _on_host(engine: Engine) -> Tensors:
    return {name: value.cpu().clone() for name, value in engine.state.tensors().items()}


def _difference(before: Tensors, found: Tensors, wanted: Tensors) -> str:
    """What differs by more than rounding, in words; "" if nothing does."""
    mine, other = _losses(found), _losses(wanted)
    moments = _joined(wanted, "adamw.exp_avg.")
    if not all(map(math.isfinite, other)) or not bool(torch.isfinite(moments).all()):
        return ""  # there is nothing to compare with, and the loop says what is wrong
    if not all(abs(a - b) <= LOSS * abs(b) for a, b in zip(mine, other, strict=True)):
        return f"is wrong (the losses are {mine} instead of {other})"
    if not torch.equal(found["scaler.scale"], wanted["scaler.scale"]):
        return ""  # fp16 at its border: one way skipped a step, and moved less for that
    wrong = [name for name in COUNTERS if not torch.equal(found[name], wanted[name])]
    if wrong:
        return f"is wrong ({wrong[0]} is {found[wrong[0]]} instead of {wanted[wrong[0]]})"
    apart = float((_joined(found, "adamw.exp_avg.") - moments).norm())
    if not apart <= GRADIENT * float(moments.norm()):
        return f"is wrong (the gradients are {apart / float(moments.norm()):.0%} apart)"
    for prefix, what in (("model.", "weights"), ("ema.", "averaged weights")):
        start = _joined(before, prefix)
        moved, should = _joined(found, prefix) - start, _joined(wanted, prefix) - start
        length, wish = float(moved.norm()), float(should.norm())
        if not abs(length - wish) <= LENGTH * wish:
            return f"is wrong (the {what} moved by {length:.3g} instead of {wish:.3g})"
        if not float(moved @ should) >= ANGLE * length * wish:
            return f"is wrong (the {what} moved elsewhere)"
    return ""


def _losses(tensors: Tensors) -> list[float]:
    """Of the first two steps that the window still holds: what rounds otherwise drifts apart."""
    window, steps = len(tensors["loop.losses"]), int(tensors["loop.step"])
    first = max(0, steps - window)
    return [float(tensors["loop.losses"][i % window]) for i in range(first, min(first + 2, steps))]


def _joined(tensors: Tensors, prefix: str) -> Tensor:
    parts = [value.reshape(-1) for name, value in tensors.items() if name.startswith(prefix)]
    return torch.cat(parts).double()
