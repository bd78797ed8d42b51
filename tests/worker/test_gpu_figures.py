import sys
from types import SimpleNamespace

import pytest

from mimir.worker import gpu_figures
from mimir.worker.gpu_figures import Gpu, GpuNotTold
from tests.worker.fake_nvml import FakeNvml


@pytest.mark.parametrize(
    ("card", "uuid", "pci"),
    [
        ("GPU-1", "1", ""),
        ("GPU-1", "GPU-1", ""),
        ("GPU-1", "1", "0:2:0.0"),
        ("0:1:0.0", "unknown", "0:1:0.0"),
    ],
)
def test_the_gpu_is_found_by_what_cuda_calls_it(card: str, uuid: str, pci: str) -> None:
    assert Gpu(uuid, pci, FakeNvml(card)).read() == {
        "gpu_busy": 0.97, "gpu_memory": 41e9, "gpu_memory_of": 80e9, "gpu_watts": 350.0,
        "gpu_watts_of": 700.0, "gpu_celsius": 64.0, "gpu_mhz": 1800.0, "gpu_mhz_of": 1980.0,
        "throttled_heat": 0.0, "throttled_power": 0.0, "throttled_hardware": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(("uuid", "pci"), [("2", ""), ("", "0:2:0.0"), ("", "")])
def test_no_other_gpu_is_taken_for_it(uuid: str, pci: str) -> None:
    with pytest.raises(GpuNotTold):
        Gpu(uuid, pci, FakeNvml())


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        (0x01, ()), (0x02, ()), (0x04, ("power",)), (0x20, ("heat",)), (0x48, ("heat",)),
        (0x08, ("hardware",)), (0x88, ("hardware",)), (0x24, ("heat", "power")),
    ],
)  # fmt: skip
def test_why_the_clock_is_low(bits: int, reasons: tuple[str, ...]) -> None:
    library = FakeNvml()
    library.reasons = bits
    found = Gpu("1", "", library).read()
    told = {name.removeprefix("throttled_") for name, value in found.items() if value == 1.0}
    assert told == set(reasons)


def test_what_a_gpu_does_not_tell_is_left_out() -> None:
    library = FakeNvml()
    library.busy = None
    found = Gpu("1", "", library).read()
    assert "gpu_busy" not in found
    assert found["gpu_celsius"] == 64


@pytest.mark.parametrize(
    ("card", "mig", "told"),
    [("MIG-1", "slice", {"gpu_memory", "gpu_memory_of"}), ("GPU-1", "card", set())],
)
def test_of_a_slice_nothing_is_told_that_others_share(card: str, mig: str, told: set[str]) -> None:
    found = Gpu("1", "", FakeNvml(card, mig=mig))
    assert found.is_slice
    assert set(found.read()) == told


def test_a_lost_gpu_is_told() -> None:
    library = FakeNvml()
    gpu = Gpu("1", "", library)
    library.lost = True
    with pytest.raises(GpuNotTold, match="lost the GPU"):
        gpu.read()


class Broken(FakeNvml):
    def nvmlInit(self) -> None:
        raise self.NVMLError("NVML Shared Library Not Found")


@pytest.mark.parametrize(
    ("module", "why"), [(None, "pip install 'nvidia-ml-py>"), (Broken(), "Library Not Found")]
)
def test_a_missing_library_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, module: SimpleNamespace | None, why: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", module)
    with pytest.raises(GpuNotTold, match=why):
        gpu_figures.nvml()


def test_the_stand_in_has_what_the_library_has() -> None:
    import pynvml

    named = [name for name in vars(FakeNvml) if name.startswith(("nvml", "NVML"))]
    assert len(named) > 10
    assert [name for name in named if not hasattr(pynvml, name)] == []
    for name in ("NVML_CLOCK_SM", "NVML_TEMPERATURE_GPU", "NVML_ERROR_GPU_IS_LOST"):
        assert getattr(pynvml, name) == getattr(FakeNvml, name)
    bits = [getattr(pynvml, f"nvmlClocksThrottleReason{name}") for name in (
        "SwThermalSlowdown", "HwThermalSlowdown", "SwPowerCap", "HwSlowdown",
        "HwPowerBrakeSlowdown",
    )]  # fmt: skip
    assert bits[0] | bits[1] == gpu_figures.HEAT
    assert bits[2] == gpu_figures.POWER
    assert bits[3] | bits[4] == gpu_figures.HARDWARE
