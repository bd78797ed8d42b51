"""The update in two kernels is the fused update, scalars, counters and windows included."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys

import torch

from mimir.model.fused import adamw
from mimir.training import engine
from tests import toys
from tests.training.test_update import fused, trained

adamw.SUMS, adamw.PROGRAMS = 2, 2  # the interpreter takes milliseconds for each program
clip, dtype = float(sys.argv[1]), getattr(torch, sys.argv[2])

def own(state, *rest):
    engine._own_update(state)(state, *rest)

for bad in (set(), {8}):
    one = trained(dtype, fused, bad, clip=clip).state
    other = trained(dtype, own, bad, clip=clip).state
    assert int(other.nonfinite) == int(one.nonfinite) == len(bad)
    if bad:
        continue
    # The interpreter cuts numbers off where it should round them to bfloat16.
    near = 1e-6 if dtype == torch.float32 else 2e-2
    wanted = one.tensors()
    for name, value in other.tensors().items():
        assert torch.allclose(value, wanted[name], atol=near, rtol=1e-4), name
    assert torch.allclose(other.low.float(), other.master, rtol=1e-2)
    assert int(other._updates_too) == int(other.updates) == 9
"""


@pytest.mark.parametrize(("clip", "dtype"), [("0.05", "float32"), ("1.0", "bfloat16")])
def test_it_is_the_fused_update(clip: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, clip, dtype], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
