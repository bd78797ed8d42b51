"""A stand-in for NVIDIA's management library, as the module pynvml gives it."""

from types import SimpleNamespace
from typing import Any


class FakeNvml:
    """One GPU. card: its UUID or PCI bus id. What is None, it does not tell."""

    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0
    NVML_ERROR_GPU_IS_LOST = 15

    class NVMLError(Exception):
        def __init__(self, text: str, value: int = 3) -> None:
            super().__init__(text)
            self.value = value

    def __init__(self, card: str = "GPU-1", *, mig: str = "") -> None:
        self.card, self.mig, self.lost = card, mig, False
        self.busy: float | None = 97
        self.watts, self.celsius, self.mhz, self.reasons = 350_000, 64, 1_800, 0
        self.used, self.total = 41 * 10**9, 80 * 10**9

    def _told(self, value: Any) -> Any:
        if self.lost:
            raise self.NVMLError("GPU is lost", self.NVML_ERROR_GPU_IS_LOST)
        if value is None:
            raise self.NVMLError("Not Supported")
        return value

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return str(self._told(uuid if uuid == self.card else None))

    def nvmlDeviceGetHandleByPciBusId(self, pci: str) -> str:
        return str(self._told(pci if pci == self.card else None))

    def nvmlDeviceIsMigDeviceHandle(self, gpu: str) -> int:
        return int(self.mig == "slice")

    def nvmlDeviceGetMigMode(self, gpu: str) -> list[int]:
        return list(self._told([1, 1] if self.mig == "card" else None))

    def nvmlDeviceGetMemoryInfo(self, gpu: str) -> Any:
        return self._told(SimpleNamespace(used=self.used, total=self.total))

    def nvmlDeviceGetUtilizationRates(self, gpu: str) -> Any:
        return SimpleNamespace(gpu=self._told(self.busy))

    def nvmlDeviceGetPowerUsage(self, gpu: str) -> int:
        return int(self._told(self.watts))

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: str) -> int:
        return int(self._told(700_000))

    def nvmlDeviceGetTemperature(self, gpu: str, sensor: int) -> int:
        return int(self._told(self.celsius))

    def nvmlDeviceGetClockInfo(self, gpu: str, kind: int) -> int:
        return int(self._told(self.mhz))

    def nvmlDeviceGetMaxClockInfo(self, gpu: str, kind: int) -> int:
        return int(self._told(1_980))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: str) -> int:
        return int(self._told(self.reasons))
