"""Reads figures of one GPU from NVIDIA's management library (NVML, by the package nvidia-ml-py).

The GPU is the one that training uses, told by its UUID or its PCI bus id: NVML counts the cards of
a computer otherwise than CUDA does. Tested with a stand-in for the library; not tested on a GPU.
https://docs.nvidia.com/deploy/nvml-api/
"""

import importlib
from collections.abc import Callable
from typing import Any

from mimir.errors import OPTIONAL

HEAT = 0x20 | 0x40
"""Bits of NVML's reasons for lower clocks: software and hardware slowdown by temperature."""
POWER = 0x04
"""By the software's power limit, which sound cards meet under full load too."""
HARDWARE = 0x08 | 0x80
"""By the hardware itself, or by the host's power supply (power brake)."""


class GpuNotTold(Exception):
    """Figures of this GPU cannot be read; the message says why, for people."""


def nvml() -> Any:
    """NVIDIA's library, ready to be asked. GpuNotTold if it is not there or does not work."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        install = f"`python -m pip install '{OPTIONAL['pynvml']}'`"
        raise GpuNotTold(f"a Python package is not installed here: {install}") from None
    try:
        library.nvmlInit()
    except library.NVMLError as error:
        raise GpuNotTold(f"NVIDIA's management library does not answer ({error})") from None
    return library


class Gpu:
    """One GPU. GpuNotTold if NVML does not know it.

    Args:
        uuid: as CUDA tells it, without what stands before ("GPU-"), "" if it is not known.
        pci: bus id, such as "00000000:65:00.0", "" if it is not known.
        library: as `nvml` gives it.
    """

    def __init__(self, uuid: str, pci: str, library: Any) -> None:
        self._nvml = library
        self._handle = self._found(uuid, pci)
        by_slice = bool(self._number(lambda: library.nvmlDeviceIsMigDeviceHandle(self._handle)))
        mode = lambda: library.nvmlDeviceGetMigMode(self._handle)[0]  # noqa: E731
        self.is_slice = by_slice or bool(self._number(mode))
        self._tells_memory = by_slice or not self.is_slice

    def read(self) -> dict[str, float]:
        """Figures now, by the names of mimir.runs.telemetry.Telemetry, and the throttle reasons as
        0 or 1; what this GPU does not tell is left out.

        GpuNotTold if it tells nothing any more: its driver lost it.
        """
        ask, gpu = self._nvml, self._handle
        found: dict[str, float | None] = {}
        if self._tells_memory:
            found["gpu_memory"] = self._number(lambda: ask.nvmlDeviceGetMemoryInfo(gpu).used)
            found["gpu_memory_of"] = self._number(lambda: ask.nvmlDeviceGetMemoryInfo(gpu).total)
        if not self.is_slice:  # else they are of the whole card, and other people's too
            clock = ask.NVML_CLOCK_SM
            found |= {
                "gpu_busy": self._number(
                    lambda: ask.nvmlDeviceGetUtilizationRates(gpu).gpu / 100
                ),
                "gpu_watts": self._number(lambda: ask.nvmlDeviceGetPowerUsage(gpu) / 1000),
                "gpu_watts_of": self._number(
                    lambda: ask.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000
                ),
                "gpu_celsius": self._number(
                    lambda: ask.nvmlDeviceGetTemperature(gpu, ask.NVML_TEMPERATURE_GPU)
                ),
                "gpu_mhz": self._number(lambda: ask.nvmlDeviceGetClockInfo(gpu, clock)),
                "gpu_mhz_of": self._number(lambda: ask.nvmlDeviceGetMaxClockInfo(gpu, clock)),
            }  # fmt: skip
            reasons = self._number(lambda: ask.nvmlDeviceGetCurrentClocksThrottleReasons(gpu))
            if reasons is not None:
                bits = int(reasons)
                found |= {
                    "throttled_heat": float(bool(bits & HEAT)),
                    "throttled_power": float(bool(bits & POWER)),
                    # A hardware slowdown's bit is set beside that of its reason.
                    "throttled_hardware": float(bool(bits & HARDWARE) and not bits & HEAT),
                }
        return {name: float(value) for name, value in found.items() if value is not None}

    def _found(self, uuid: str, pci: str) -> Any:
        ask = self._nvml
        names = [f"{kind}-{uuid.removeprefix(f'{kind}-')}" for kind in ("GPU", "MIG") if uuid]
        ways: list[Callable[[], Any]] = [
            lambda name=name: ask.nvmlDeviceGetHandleByUUID(name)  # type: ignore[misc]
            for name in names
        ]
        ways += [lambda: ask.nvmlDeviceGetHandleByPciBusId(pci)] if pci else []
        why = "CUDA told neither its UUID nor its PCI bus id"
        for way in ways:
            try:
                return way()
            except ask.NVMLError as error:
                why = str(error)
        raise GpuNotTold(f"NVIDIA's management library does not know this GPU ({why})")

    def _number(self, way: Callable[[], float]) -> float | None:
        """What it tells; None for what this GPU, its driver or its library does not have."""
        try:
            return way()
        except AttributeError:
            return None  # a library that is older than the question
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) == self._nvml.NVML_ERROR_GPU_IS_LOST:
                raise GpuNotTold(f"its driver has lost the GPU ({error})") from None
            return None
