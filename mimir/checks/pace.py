"""Compares an attempt's steps with what was forecast for its machine, before hours are spent.

A forecast by the roofline may be off by a factor of two, and no other machine of the kind would do
better, so a machine is refused only by what was measured on such a card: if it is much slower, or
if the run no longer fits the time that its limits leave, which it did by the forecast. That is this
host's fault, and not the run's. All else that is slower is told.
"""

import time
from collections.abc import Callable

from mimir.checks import dry_run
from mimir.errors import MachineUnfit
from mimir.runs.order import Expected, Order
from mimir.text import duration
from mimir.training import checkpoint
from mimir.training import device as gpu
from mimir.training.checkpoint import Record
from mimir.training.engine import Engine

TOLD, REFUSED = 1.25, 1.5
"""Times the forecast step from which a slower one is told, and from which a host is refused whose
card was measured: clocks, power limits and drivers of sound hosts differ by less."""
SECONDS = 1.0
"""For how long steps are timed."""
MOST_BLOCKS = 100


def compared(
    engine: Engine, record: Record, order: Order, now: float,
    clock: Callable[[], float] = time.monotonic,
) -> str:  # fmt: skip
    """A line for the log, "" if the order expects nothing of this machine or it has no GPU.

    now: unix s by the store's clock, by which the order is dated.

    Raises:
        MachineUnfit: as the module says.
    """
    if order.expected is None or engine.machine.device.type != "cuda":
        return ""
    step_s = timed(engine, record, clock)
    left = order.deadline - now if order.deadline else float("inf")
    return verdict(step_s, order.expected, engine.total - engine.step, left)


def timed(engine: Engine, record: Record, clock: Callable[[], float] = time.monotonic) -> float:
    """Seconds of a step here; the steps that it takes are undone."""
    before = checkpoint.take(engine.state, record)
    if before.ready is not None:
        before.ready.synchronize()
    block, device = dry_run.block(engine), engine.machine.device

    def advance(blocks: int) -> float:
        first, began = engine.step, clock()
        for _ in range(blocks):
            engine.advance(block)
        gpu.synchronize(device)
        return max(1e-9, clock() - began) / (engine.step - first)

    try:
        advance(1)  # compiles and captures
        one = advance(1) * block
        return advance(max(1, min(MOST_BLOCKS, int(SECONDS / one))))
    finally:
        engine.resume(before.tensors)


def verdict(step_s: float, expected: Expected, steps: int, left: float) -> str:
    """What to tell of a step's time. steps: still to be taken. left: seconds for them.

    Raises:
        MachineUnfit: it is too slow.
    """
    factor = step_s / expected.step_s
    seen = (
        f"a step takes {1e3 * step_s:.3g} ms here, and {1e3 * expected.step_s:.3g} ms were "
        f"{'measured on such a card' if expected.measured else 'forecast'}"
    )
    if expected.measured and factor > REFUSED:
        raise MachineUnfit(f"this machine is too slow: {seen}; the run goes on elsewhere")
    if steps * step_s > left >= steps * expected.step_s:
        seen += (
            f", so that {steps:,} steps take {duration(steps * step_s)} of "
            f"{duration(max(0.0, left))}"
        )
        if expected.measured:
            raise MachineUnfit(
                f"this machine is too slow for the run's limits: {seen}; the run goes on elsewhere"
            )
        return f"slower than forecast: {seen}, which the run's limits leave"
    return f"slower than forecast: {seen}" if factor > TOLD else seen
