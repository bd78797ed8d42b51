"""The training pass that is written out, with and without kernels of our own, against autograd.

The kernels are run by Triton's interpreter: on a CPU, in a process of its own.
"""

import subprocess
import sys

import pytest
import torch

from mimir.config import KERNELS
from mimir.model.explicit import Explicit
from tests import toys

PROGRAM = """
import sys
from tests.model.test_explicit import check
check(*sys.argv[1:])
"""


def check(
    kernels: str, dtype: str = "float32", timesteps: str = "20", accumulate: str = "1"
) -> None:
    """The gradient of one step, of other weights than the initial ones; NaN if not written."""
    chosen = frozenset(filter(None, kernels.split(",")))
    settings = {
        "dim": 32, "heads": 2, "timesteps": int(timesteps), "accumulate": int(accumulate),
        "batch": 4,
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
            engine._explicit = Explicit(engine.model, engine._flat(), chosen)
            state.low_grad.fill_(float("nan"))
        losses.append(float(engine._gradient(engine._planned(0))))
        scale = float(state.scale) if kind == torch.float16 else 1.0
        gradients.append(state.low_grad.double() / scale)
    near = 1e-5 if dtype == "float32" else 2e-2
    assert abs(losses[0] - losses[1]) < near, losses
    wanted, found = gradients
    for span in state.spans:
        own_part = slice(span.start, span.stop)
        apart = float((wanted[own_part] - found[own_part]).norm())
        assert apart < near * float(wanted[own_part].norm()), (span.name, apart)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("accumulate", ["1", "2"])
def test_the_pass_is_that_of_autograd(dtype: str, accumulate: str) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    check("", dtype, accumulate=accumulate)


@pytest.mark.parametrize("case", [
    ["norm,wgrad,gelu,ends"], ["wgrad,ends,peptide"], ["norm,ends", "float16", "40"],
])  # fmt: skip
def test_with_kernels_too(case: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run([sys.executable, "-c", PROGRAM, *case], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_kernels_are_refused() -> None:
    from mimir.errors import BadInput

    assert toys.config(kernels=",".join(KERNELS)).runtime.kernels
    with pytest.raises(BadInput, match="kernels is 'norm,warp', but must be some of norm"):
        toys.config(kernels="norm,warp")
