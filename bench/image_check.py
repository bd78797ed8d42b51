"""Whether an image can compile for GPUs, as far as that shows without one; run in its build.

A module for Python is compiled and loaded, as Triton does for each kernel, and a kernel is compiled
down to machine code for each GPU that this torch is built for.

    python -m bench.image_check
"""

import re

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from mimir import cli
from mimir.errors import BadInput
from mimir.training import compiler
from mimir.training.trial_kernel import _count

WARP = 32
"""Threads of a warp, on every NVIDIA GPU."""


def main() -> None:
    """End with one sentence if training on a GPU could not be compiled here.

    Example:
        python -m bench.image_check
    """
    if why := compiler.module_lack("cuda"):
        raise BadInput(f"this image cannot compile for a GPU: {why}")
    # torch.cuda.get_arch_list() is empty where no GPU is.
    flags = getattr(torch._C, "_cuda_getArchFlags", str)()
    known = [int(name[3:]) for name in str(flags or "").split() if re.fullmatch(r"sm_\d+", name)]
    if not known:
        raise BadInput("this image's torch is built without CUDA: look at docker/torch-cuda.lock")
    source = ASTSource(
        fn=_count, signature={"out": "*i32", "SIZE": "constexpr"}, constexprs={"SIZE": 16}
    )
    for capability in known:
        made = triton.compile(source, target=GPUTarget("cuda", capability, WARP))
        if not made.asm["cubin"]:
            raise BadInput(f"Triton compiles nothing for sm_{capability} in this image")
    print(f"compiles for {', '.join(f'sm_{each}' for each in known)}")


if __name__ == "__main__":
    cli.run("python -m bench.image_check", main)
