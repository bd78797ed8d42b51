"""The smallest Triton kernel, in a module of its own: Triton reads a kernel's source from it."""

import torch
import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _count(out, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    at = tl.arange(0, SIZE)
    tl.store(out + at, at)


def run() -> None:
    """Compile, load and run it on the current GPU; ValueError if the numbers are wrong."""
    out = torch.zeros(16, dtype=torch.int32, device="cuda")
    _count[(1,)](out, SIZE=16)
    if out.tolist() != list(range(16)):
        raise ValueError("a kernel that counts gives other numbers")
