"""Which cards run the kernels of our own: attention, and those that `--kernels` names.

The training machine decides in the same way (mimir/training/machine.py, own_kernels.py), but only
after it was paid for.
"""

from launch.pricing.gpus import Gpu
from mimir.config import WIDEST_HEAD, Config
from mimir.model import kernel_limits


def fuses(config: Config, gpu: Gpu) -> bool:
    """Whether attention of this model runs there as one kernel of ours, where torch compiles."""
    return kernel_limits.fuses(config, gpu.capability)


def refusal(config: Config, gpu: Gpu) -> str:
    """Why training would end there at its start because of `--kernels`; "" if it would not."""
    asked = config.runtime.kernels
    if not asked:
        return ""
    if config.runtime.compile == "off":
        return f"--kernels {asked} needs torch's compiler, and --compile is off"
    if not kernel_limits.narrow(config):
        return f"--kernels {asked} takes heads of {WIDEST_HEAD} numbers at most"
    precision = config.runtime.precision
    half = gpu.half if precision == "auto" else precision
    why = kernel_limits.refusal(config, half=half, capability=gpu.capability)
    return f"--kernels {asked} cannot run on {gpu.name}: {why}" if why else ""
