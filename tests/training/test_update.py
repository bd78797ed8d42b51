"""The fused update equals the unfused one."""

import subprocess
import sys
from typing import Any

import pytest
import torch

from mimir.config import Optimizer
from mimir.training import update
from mimir.training.engine import Engine, Update
from mimir.training.machine import Machine
from mimir.training.state import TrainingState
from tests import toys
from tests.waiting import LIMIT


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_the_unfused_update_is_torchs_optimizer_bit_by_bit(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The optimizer's function is called, because making the optimizer takes 1.4 s."""
    bad = {2, 5} if dtype == torch.float16 else set()
    one = trained(dtype, update.unfused, bad).state.tensors()
    monkeypatch.setattr(update, "_adamw", by_the_optimizer)
    other = trained(dtype, update.unfused, bad).state.tensors()
    assert int(one["adamw.step"]) == 9 - len(bad)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def by_the_optimizer(
    state: TrainingState, settings: Optimizer, skipped: torch.Tensor | None
) -> None:
    parts = (slice(0, state.border), slice(state.border, None))
    halves = [torch.nn.Parameter(state.master[part]) for part in parts]
    decays = (settings.weight_decay, 0.0)
    made = torch.optim.AdamW(
        [{"params": [half], "weight_decay": d} for half, d in zip(halves, decays, strict=True)],
        lr=state.rate, betas=(settings.beta1, settings.beta2), eps=settings.eps, fused=True,
    )  # fmt: skip
    counts = (state.updates, state._updates_too)
    for half, part, count in zip(halves, parts, counts, strict=True):
        half.grad = state.grad[part]
        moments = {"exp_avg": state.exp_avg[part], "exp_avg_sq": state.exp_avg_sq[part]}
        made.state[half] = {"step": count, **moments}
    if skipped is not None:
        made.found_inf, made.grad_scale = skipped, None  # type: ignore[attr-defined]
    made.step()


WITHOUT_THE_COMPILER = """
import sys
from tests import toys
from mimir.training.validation import Validation
engine = toys.engine()
engine.advance(2)
data = toys.peptides()
Validation(data, engine.machine.device, 10, engine.config.objective).measure(engine, lambda: None)
print(sorted(sys.modules.keys() & {"torch._dynamo", "torch._inductor", "sympy", "matplotlib"}))
"""


def test_eager_steps_do_not_load_the_compiler() -> None:
    """torch imports it where an optimizer is made, with some 900 modules."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_THE_COMPILER], capture_output=True, text=True, timeout=LIMIT
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


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
