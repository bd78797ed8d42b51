"""The GPU's kernels, run by Triton's interpreter: on a CPU, in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys

import torch

from mimir.model import kernels
from mimir.model.attention import HeadIndex, attention
from tests.model.test_attention import layout_of

heads, width, spare, *lengths = map(int, sys.argv[1:])
rng = torch.Generator().manual_seed(0)
rows = sum(lengths)
qkv = torch.randn(rows + spare, 3 * heads * width, generator=rng).requires_grad_()
flow = torch.randn(rows + spare, heads * width, generator=rng)
flow[rows:] = float("nan")  # what lies behind the peptides must not matter
qkv.data[rows:] = float("nan")
size = torch.tensor(lengths)
mixed = kernels.attention(qkv, size.cumsum(0) - size, size, heads)
(grad,) = torch.autograd.grad(mixed, qkv, flow)

clean = qkv[:rows].detach().requires_grad_()
wanted = attention(clean, HeadIndex.of(layout_of(lengths), heads), heads)
(slope,) = torch.autograd.grad(wanted, clean, flow[:rows])
assert torch.allclose(mixed[:rows], wanted, atol=1e-5), (mixed[:rows] - wanted).abs().max()
assert torch.allclose(grad[:rows], slope, atol=1e-5), (grad[:rows] - slope).abs().max()
assert not mixed[rows:].any() and not grad[rows:].any(), "places behind the peptides are not 0"
"""


@pytest.mark.parametrize("shape", [
    "2 16 0 4 20 7", "4 32 70 20 20 5 4", "1 24 33 13", "8 64 1 20",
])  # fmt: skip
def test_attention_is_that_of_the_plain_code(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *shape.split()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
