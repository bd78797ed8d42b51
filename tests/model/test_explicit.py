"""The training pass that is written out, with and without kernels of our own, against autograd.

The kernels are run by Triton's interpreter: on a CPU, in a process of its own.
"""

import subprocess
import sys

import pytest
import torch

from mimir.config import KERNELS
from mimir.errors import BadInput
from mimir.training import own_kernels
from tests import toys

PROGRAM = """
from tests.model import test_explicit
for case in test_explicit.CASES:
    test_explicit.check(*case)
"""
CASES = (("norm,wgrad,gelu,ends",), ("wgrad,ends,peptide",), ("norm,ends", "float16", 40))
"""Kernels, dtype and timesteps. In one process: most of its time goes into importing torch."""


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
            from mimir.model import kernels as own

            if chosen:
                engine.model.kernel = own.attention
            engine._explicit = own_kernels.explicit(engine.model, state, chosen)
            state.low_grad.fill_(float("nan"))
        losses.append(float(engine._gradient(engine._planned(0))))
        scale = float(state.scale) if kind == torch.float16 else 1.0
        gradients.append(state.low_grad.double() / scale)
    near = 1e-5 if dtype == "float32" else 2e-2
    assert abs(losses[0] - losses[1]) < near, (kernels, losses)
    wanted, found = gradients
    for span in state.spans:
        own_part = slice(span.start, span.stop)
        apart = float((wanted[own_part] - found[own_part]).norm())
        assert apart < near * float(wanted[own_part].norm()), (kernels, span.name, apart)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_pass_is_that_of_autograd(dtype: str, accumulate: int) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    check("", dtype, accumulate=accumulate)


def test_with_kernels_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("kernels", "rule"), [
    ("norm,warp", "some of norm"), ("peptide,ends", "with ends and wgrad, which peptide needs"),
    ("branch", "with ends, which branch needs"),
])  # fmt: skip
def test_names_that_mean_nothing_are_refused(kernels: str, rule: str) -> None:
    assert toys.config(kernels=",".join(KERNELS)).runtime.kernels
    with pytest.raises(BadInput, match=f"kernels is '{kernels}', but must be {rule}"):
        toys.config(kernels=kernels)
