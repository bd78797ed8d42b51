"""The fused update equals the unfused one."""

from typing import Any

import pytest
import torch

from mimir.training import update
from mimir.training.engine import Engine, Update
from mimir.training.machine import Machine
from mimir.training.state import TrainingState
from tests import toys


def fused(state: TrainingState, loss: torch.Tensor, settings: Any, total: int) -> None:
    update.apply(state, update.measure(state, settings, total), loss, settings)


def trained(
    dtype: torch.dtype, how: Update, bad: set[int], cooldown: int = -1, **settings: Any
) -> Engine:
    """Nine steps; the gradients of the steps in `bad` are not finite, a cooldown may begin."""
    machine = Machine(torch.device("cpu"), dtype, compiled=False, fixed=True)
    settings = {"log_every": 9, "eps": 1e-4, "weight_decay": 0.3, "cooldown_steps": 4, **settings}
    engine = toys.engine(machine, **settings)
    engine.state.cooldown.fill_(cooldown)

    def spoilt(state: TrainingState, loss: torch.Tensor, *rest: Any) -> None:
        if int(state.step) in bad:
            state.low_grad[3] = float("inf")
        how(state, loss, *rest)

    engine._update = spoilt
    engine.advance(9)
    return engine


@pytest.mark.parametrize(("clip", "cooldown"), [(1.0, -1), (0.05, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_both_ways_are_one_update(dtype: torch.dtype, clip: float, cooldown: int) -> None:
    # Without bad steps of fp16 the scale would never be seen to matter.
    bad = {2, 5} if dtype == torch.float16 else set()
    unfused = trained(dtype, update.unfused, bad, cooldown, clip=clip).state
    one, other = unfused.tensors(), trained(dtype, fused, bad, cooldown, clip=clip).state.tensors()
    assert (float(unfused.rate) < 0.03 * toys.TINY["lr"]) == (cooldown >= 0)
    near = 1e-5 if dtype == torch.float32 else 2e-3
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=near, rtol=1e-3), name
    assert int(one["loop.step"]) == int(other["loop.step"]) == 9
    assert int(other["adamw.step"]) == 9 - len(bad)


def test_what_is_not_finite_is_counted() -> None:
    states = [trained(torch.float32, how, {8}).state for how in (update.unfused, fused)]
    assert [int(state.nonfinite) for state in states] == [1, 1]


def test_a_skipped_step_changes_no_weight() -> None:
    engine = trained(torch.float16, fused, {7, 8})
    state = toys.tensors(engine)
    before = trained(torch.float16, fused, set())
    assert float(state["scaler.scale"]) == 65536.0 / 4
    assert int(state["scaler.growth_tracker"]) == 0
    assert float(state["adamw.step"]) == 7
    assert float(before.state.updates) == 9
