"""The device that a training computes on, and what it is good at."""

from dataclasses import dataclass, field

import torch

from mimir.config import WIDEST_HEAD, Config
from mimir.errors import BadInput, GpuUnusable
from mimir.model import kernel_limits
from mimir.runs.execution import Execution, shortened
from mimir.training import compiler, own_kernels
from mimir.training import device as gpu

PRECISIONS = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}


@dataclass(frozen=True)
class Machine:
    """The device and what it is good at."""

    device: torch.device
    dtype: torch.dtype
    compiled: bool
    fixed: bool
    """Shapes do not depend on the data, which graphs need and a GPU fills at no cost."""
    fused: bool = False
    """Attention as one kernel each way: that of `own_kernels.attention`."""
    kernels: frozenset[str] = frozenset()
    """Names in `config.KERNELS`; any but `update` and `attention` make the pass that of
    `mimir.model.explicit`."""
    why: str = field(default="", compare=False)
    """Why no faster way is taken, "" if there is none."""

    @staticmethod
    def choose(config: Config) -> "Machine":
        """Resolve the `auto` settings of a configuration here.

        Raises:
            BadInput: a setting asks for what this machine has not, or its GPU fails.
        """
        wish = config.runtime
        cuda = wish.device != "cpu" and gpu.usable()
        if wish.device == "cuda" and not cuda:
            what, remedy = (
                "device is 'cuda', but no GPU is visible here",
                "use --device cpu or auto",
            )
            raise GpuUnusable(what, remedy) if torch.version.cuda else BadInput(f"{what}; {remedy}")
        if wish.precision != "auto":
            name = wish.precision
        elif cuda:
            name = "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
        else:
            name = "fp32"
        dtype = next(each for each, called in PRECISIONS.items() if called == name)
        compiled = wish.compile == "on" or (wish.compile == "auto" and cuda)
        why = "" if cuda or wish.device == "cpu" else gpu.why_cpu()
        if compiled and (lack := compiler.lack("cuda" if cuda else "cpu")):
            if wish.compile == "on":
                raise BadInput(
                    f"compile is 'on', but {lack}; install gcc, g++, the C library's headers and "
                    "Python's (build-essential and python3-dev), or use --compile auto"
                )
            compiled, why = False, lack
        capability = torch.cuda.get_device_capability() if cuda else (0, 0)
        fused = compiled and cuda and gpu.triton() and kernel_limits.fuses(config, capability)
        if compiled and cuda and not fused:
            why = _unfused(config)
        device = torch.device("cuda" if cuda else "cpu")
        kernels = own_kernels.chosen(config, dtype, fused, capability)
        return Machine(device, dtype, compiled, fixed=cuda, fused=fused, kernels=kernels, why=why)

    def execution(self, graph_steps: int) -> Execution:
        """How steps are executed, for people and for the store. graph_steps: as configured."""
        cuda = self.device.type == "cuda"
        return Execution(
            self.device.type, PRECISIONS[self.dtype], self.compiled, self.fused,
            graph_steps if cuda else 0, tuple(sorted(self.kernels)), shortened(self.why),
        )  # fmt: skip


def _unfused(config: Config) -> str:
    """Why attention is not one kernel where torch compiles for a GPU."""
    if not kernel_limits.narrow(config):
        return f"fused attention takes heads of {WIDEST_HEAD} numbers at most"
    if not gpu.triton():
        return "fused attention needs Triton, which is not installed"
    return (
        "fused attention needs a GPU of compute capability 8.0 or later; --kernels attention is "
        "for older ones, and has not been measured"
    )
