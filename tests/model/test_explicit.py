"""The training pass that is written out, with and without kernels of our own, against autograd.

The kernels are run by Triton's interpreter: on a CPU, in a process of its own.
"""

import copy
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from mimir.config import KERNELS
from mimir.errors import BadInput
from mimir.training import own_kernels
from mimir.training.engine import Engine
from tests import toys
from tests.waiting import LIMIT

PROGRAM = """
from tests.model import test_explicit
for case in test_explicit.CASES:
    test_explicit.check(*case)
"""
CASES = (
    ("norm,wgrad,gelu,ends",), ("wgrad,ends,peptide",), ("norm,wgrad,gelu,ends", "float16", 40),
    ("wgrad,ends,peptide", "float16"), ("norm,attention",),
)  # fmt: skip
"""Kernels, dtype and timesteps. In one process: most of its time goes into importing torch. These
are of one small shape; tests/model/fused goes through each kernel's loops."""

EXACT = 5e-6
"""Relative distance of a loss or gradient in float32 from the one in float64."""


def check(kernels: str, dtype: str = "float32", timesteps: int = 20, accumulate: int = 1) -> None:
    """The gradient of one step, of other weights than the initial ones; NaN if not written."""
    chosen = frozenset(filter(None, kernels.split(",")))
    settings = {
        "dim": 32, "heads": 2, "timesteps": timesteps, "accumulate": accumulate, "batch": 4,
    }  # fmt: skip
    gradients, losses = [], []
    for explicit in (False, True):
        kind = getattr(torch, dtype) if explicit else torch.float32
        machine = toys.Machine(torch.device("cpu"), kind, compiled=False, fixed=True)
        engine = toys.engine(machine, **settings)
        engine._begin_epoch(0)
        state = engine.state
        state.master.add_(0.1 * torch.randn(len(state.master), generator=toys.generator()))
        state.master.copy_(state.master.to(getattr(torch, dtype)))
        state.refresh()
        if explicit:
            if chosen:
                engine.model.kernel = own_kernels.attention(chosen).attention
            engine._explicit = own_kernels.explicit(engine.model, state, chosen)
            state.low_grad.fill_(float("nan"))
        elif dtype == "float32":
            exact_loss, exact = in_double(engine)
        losses.append(float(engine._gradient(engine._planned(0)).detach()))
        scale = float(state.scale) if kind == torch.float16 else 1.0
        gradients.append(state.low_grad.double() / scale)
    near = 1e-5 if dtype == "float32" else 2e-2
    assert abs(losses[0] - losses[1]) < near, (kernels, losses)
    wanted, found = gradients
    for span in state.spans:
        own_part = slice(span.start, span.stop)
        apart = float((wanted[own_part] - found[own_part]).norm())
        assert apart < near * float(wanted[own_part].norm()), (kernels, span.name, apart)
    if dtype != "float32":
        return
    assert abs(exact_loss - losses[1]) < EXACT * exact_loss, (kernels, exact_loss, losses)
    for span in state.spans:
        true, own_part = exact[span.name], found[span.start : span.stop]
        apart = float((true - own_part).norm())
        assert apart < EXACT * float(true.norm()), (kernels, span.name, apart, float(true.norm()))


def in_double(engine: Engine) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of this step by automatic differentiation in float64, flat, by name.

    The same code: what it names float32 is float64 meanwhile.
    """
    model, work = copy.deepcopy(engine.model).double(), engine._planned(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        loss = torch.zeros((), dtype=torch.float64)
        for batch in work.batches:
            loss = loss + engine._loss(model, _doubled(batch), work.residues)
        parts = torch.autograd.grad(loss, list(model.parameters()))
    assert {part.dtype for part in (loss, *parts)} == {torch.float64}
    names = [name for name, _ in model.named_parameters()]
    return float(loss.detach()), dict(zip(names, (part.reshape(-1) for part in parts), strict=True))


def _doubled(value: Any) -> Any:
    """A batch with float64 numbers in place of float32 ones."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _doubled(getattr(value, f.name)) for f in fields(value)})
    return value


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_pass_is_that_of_autograd(dtype: str, accumulate: int) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    check("", dtype, accumulate=accumulate)


def test_with_kernels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=LIMIT
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("kernels", "rule"), [
    ("norm,warp", "some of norm"), ("peptide,ends", "with ends and wgrad, which peptide needs"),
    ("branch", "with ends, which branch needs"),
])  # fmt: skip
def test_names_that_mean_nothing_are_refused(kernels: str, rule: str) -> None:
    assert toys.config(kernels=",".join(KERNELS)).runtime.kernels
    with pytest.raises(BadInput, match=f"kernels is '{kernels}', but must be {rule}"):
        toys.config(kernels=kernels)
