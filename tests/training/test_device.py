"""A driver that is too old is refused; no driver is no error."""

import warnings
from collections.abc import Callable

import pytest
import torch

from mimir.config import load_preset
from mimir.errors import BAD_CONFIG, BadInput
from mimir.training import device as gpu
from mimir.training.engine import Machine

# As c10/cuda/CUDAFunctions.cpp words it.
OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 12020). "
    "Please update your GPU driver by downloading and installing a new version from the URL: …"
)


def _warning(text: str) -> Callable[[], bool]:
    def unavailable() -> bool:
        warnings.warn(text, UserWarning, stacklevel=2)
        return False

    return unavailable


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_an_old_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", _warning(OLD))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    config = load_preset("smoke").with_settings({"device": device})
    with pytest.raises(BadInput, match=r"too old \(it goes up to CUDA 12\.2\): .* CUDA 13\.0") as e:
        Machine.choose(config)
    assert e.value.exit_code == BAD_CONFIG


def test_an_old_driver_does_not_matter_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", _warning(OLD))
    machine = Machine.choose(load_preset("smoke").with_settings({"device": "cpu"}))
    assert machine.device.type == "cpu"


def test_no_driver_means_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_available", _warning("CUDA initialization: Found no NVIDIA driver on …")
    )
    assert not gpu.usable()
    assert Machine.choose(load_preset("smoke")).device.type == "cpu"


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="no GPU is visible here"):
        Machine.choose(load_preset("smoke").with_settings({"device": "cuda"}))


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(BadInput, match=r"no C\+\+ compiler here; install gcc and g\+\+"):
        Machine.choose(load_preset("smoke").with_settings({"compile": "on", "device": "cpu"}))


def test_without_a_compiler_a_gpu_trains_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr("shutil.which", lambda name: "/bin/gcc" if name == "gcc" else None)
    assert Machine.choose(load_preset("smoke")).compiled
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not Machine.choose(load_preset("smoke")).compiled
