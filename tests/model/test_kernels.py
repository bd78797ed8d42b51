"""The GPU's kernels, run by Triton's interpreter: on a CPU, in a process of its own."""

import subprocess
import sys

import pytest

from tests.waiting import LIMIT

PROGRAM = """
import sys
from importlib import import_module

import torch

from mimir.model.attention import HeadIndex, attention
from tests.model.test_attention import layout_of

kernels = import_module(sys.argv[1])
heads, width, spare, *lengths = map(int, sys.argv[2:])
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
@pytest.mark.parametrize("module", ["mimir.model.kernels", "mimir.model.fused.attention"])
def test_attention_is_that_of_the_plain_code(
    module: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, module, *shape.split()], capture_output=True, text=True,
        timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bench.gpu_on_paper import code_of
from mimir.model.fused import attention

for capability, width, heads in ((70, 64, 8), (75, 32, 4), (75, 64, 8), (75, 128, 4)):
    sizes = {"HEADS": heads, "WIDTH": width, "ROWS": 32, "WIDE": width}
    for kernel in (attention._forward, attention._backward):
        types = {"starts": "*i64", "lengths": "*i64", "scale": "fp32"}
        types |= dict.fromkeys(("batch", "places"), "i32")
        types |= dict.fromkeys(("grad", "qkv", "out"), "*fp16")
        types |= dict.fromkeys(sizes, "constexpr")
        signature = {name: types[name] for name in kernel.arg_names}
        # Tensors of torch lie at multiples of 16 bytes, and so Triton compiles for them.
        aligned = {
            (i,): [["tt.divisibility", 16]]
            for i, name in enumerate(kernel.arg_names) if types[name].startswith("*")
        }
        binary = triton.compile(
            ASTSource(kernel, signature, sizes, aligned), target=GPUTarget("cuda", capability, 32),
            options={"num_warps": attention.warps(width)},
        )
        spilled = code_of(binary, capability).spilled
        assert not spilled, (capability, width, kernel.fn.__name__, spilled)
"""


def test_attention_by_sums_compiles_for_older_cards_without_spills() -> None:
    """The interpreter also runs what Triton does not compile."""
    pytest.importorskip("triton", reason="Triton is made for Linux on x86-64 only")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILED], capture_output=True, text=True,
        timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
