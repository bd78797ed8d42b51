"""The update in two kernels is the fused update, scalars, counters and windows included."""

import subprocess
import sys

import pytest

PROGRAM = """
import torch

from mimir.model.fused import adamw
from mimir.training import own_kernels
from tests.training.test_update import fused, trained

adamw.SUMS, adamw.PROGRAMS = 2, 2  # the interpreter takes milliseconds for each program
for clip, dtype, bad, cooldown in (
    (0.05, torch.float32, set(), 3), (1.0, torch.bfloat16, set(), -1),
    (1.0, torch.float32, {8}, -1),
):
    one = trained(dtype, fused, bad, cooldown, clip=clip).state
    other = trained(dtype, own_kernels.update, bad, cooldown, clip=clip).state
    assert torch.allclose(other.rate, one.rate, rtol=1e-6, atol=0)
    assert int(other.nonfinite) == int(one.nonfinite) == len(bad)
    if bad:
        continue
    # The interpreter cuts numbers off where it should round them to bfloat16.
    near = 1e-6 if dtype == torch.float32 else 2e-2
    wanted = one.tensors()
    for name, value in other.tensors().items():
        assert torch.allclose(value, wanted[name], atol=near, rtol=1e-4), (dtype, name)
    assert torch.allclose(other.low.float(), other.master, rtol=1e-2)
    assert int(other._updates_too) == int(other.updates) == 9
"""


def test_it_is_the_fused_update(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
