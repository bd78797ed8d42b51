"""A GPU that is there and cannot be used is refused; no driver is no error."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mimir.config import load_preset
from mimir.errors import BAD_CONFIG, BadInput
from mimir.training import device as gpu
from mimir.training import driver
from mimir.training.machine import Machine
from tests.gpu import OLD, unavailable
from tests.waiting import LIMIT


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_an_old_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", unavailable(OLD))
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    config = load_preset("smoke").with_settings({"device": device})
    with pytest.raises(BadInput, match=r"too old \(it goes up to CUDA 12\.2\): .* CUDA 13\.0") as e:
        Machine.choose(config)
    assert e.value.exit_code == BAD_CONFIG


def test_an_old_driver_does_not_matter_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", unavailable(OLD))
    machine = Machine.choose(load_preset("smoke").with_settings({"device": "cpu"}))
    assert machine.device.type == "cpu"


def test_no_driver_means_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cuda, "is_available", unavailable("CUDA initialization: Found no NVIDIA driver on …")
    )
    monkeypatch.setattr(driver, "LIBRARY", "libnothing.so.1")
    assert not gpu.usable()
    assert Machine.choose(load_preset("smoke")).device.type == "cpu"


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(driver, "LIBRARY", "libnothing.so.1")
    with pytest.raises(BadInput, match="no GPU is visible here"):
        Machine.choose(load_preset("smoke").with_settings({"device": "cuda"}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "CUDA initialization: Unexpected error from cudaGetDeviceCount(). Did you run some "
            "cuda functions before calling NumCudaDevices() that might have already set an error? "
            "Error 802: system not yet initialized (Triggered internally at /pytorch/c10/cuda.)",
            "Error 802: system not yet initialized; mend",
        ),
        (
            "CUDA initialization: CUDA unknown error - this may be due to an incorrectly set up "
            "environment, e.g. changing env variable CUDA_VISIBLE_DEVICES after program start. "
            "Setting the available devices to be zero. (Triggered internally at x.cpp:119.)",
            "CUDA unknown error - this may be due to an incorrectly set up environment",
        ),
        (
            "CUDA initialization: CUDA driver initialization failed, you might not have a CUDA "
            "gpu. (Triggered internally at x.cpp:119.)",
            "CUDA driver initialization failed, you might not have a CUDA gpu.; mend",
        ),
    ],
)
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_that_torch_says_fails_is_not_replaced_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch, text: str, words: str, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", unavailable(text))
    with pytest.raises(BadInput, match=re.escape(words)) as refused:
        Machine.choose(load_preset("smoke").with_settings({"device": device}))
    assert "Triggered" not in str(refused.value)
    assert Machine.choose(load_preset("smoke").with_settings({"device": "cpu"})).why == ""


STUB = """\
#include <stddef.h>
int cuInit(unsigned int flags) { return CODE; }
#ifdef WORDS
int cuGetErrorString(int code, const char **text) { *text = WORDS; return 0; }
#endif
"""
FAILURES = {
    999: "unknown error",
    802: "system not yet initialized",
    803: "system has unsupported display driver / cuda driver combination",
    214: "uncorrectable ECC error encountered",
}


@pytest.fixture
def stub(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Builds a driver library whose initialisation gives a code; the variables that load it."""

    def build(code: int, words: str = "") -> dict[str, str]:
        folder = tmp_path / str(code)
        folder.mkdir()
        (folder / "stub.c").write_text(STUB)
        said = [f'-DWORDS="{words}"'] if words else []
        subprocess.run(
            ["gcc", "-shared", "-fPIC", f"-DCODE={code}", *said, "stub.c", "-o", "libcuda.so.1"],
            cwd=folder, check=True, timeout=LIMIT,
        )  # fmt: skip
        return {**os.environ, "LD_LIBRARY_PATH": str(folder)}

    return build


@pytest.mark.parametrize(("code", "words"), FAILURES.items())
def test_a_driver_that_fails_is_quoted(
    stub: Callable[..., dict[str, str]], code: int, words: str
) -> None:
    assert _asked(stub(code, words)) == f"CUDA error {code}: {words}"


@pytest.mark.parametrize("code", [0, driver.NO_DEVICE, driver.STUB])
def test_a_driver_without_a_gpu_is_no_failure(
    stub: Callable[..., dict[str, str]], code: int
) -> None:
    assert _asked(stub(code)) == ""


def test_training_beside_a_failing_driver_ends_with_one_sentence(
    stub: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    """Through the real command, with this torch, whatever it was built for."""
    words = ("-m", "mimir", "train", "--preset", "smoke", "--run-name", "x", "--max-steps", "1")
    store = ("--store", (tmp_path / "store").as_uri())
    env = {**stub(802, FAILURES[802]), "MIMIR_TEST_GATE": ""}
    done = subprocess.run(
        [sys.executable, *words, *store], env=env, capture_output=True, text=True, check=False,
        timeout=LIMIT,
    )  # fmt: skip
    assert done.returncode == BAD_CONFIG, done.stdout + done.stderr
    shown = done.stdout + done.stderr
    assert "cannot be used: CUDA error 802: system not yet initialized" in shown
    assert "--device cpu" in shown
    assert "Traceback" not in shown


def _asked(env: dict[str, str]) -> str:
    """A process of its own, for a library is loaded once."""
    code = "from mimir.training import driver; print(driver.failure())"
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True,
        timeout=LIMIT,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A GPU of this capability, for a torch with code for these; `used` is its first use."""

    def present(
        capability: tuple[int, int], codes: list[str], used: Callable[[], None] = lambda: None
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: codes)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
        monkeypatch.setattr(gpu, "first_use", used)

    return present


NEW = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_100", "sm_120", "compute_120"]


@pytest.mark.parametrize(
    ("capability", "fits"),
    [
        ((7, 0), False), ((7, 5), True), ((8, 9), True), ((9, 0), True), ((10, 3), True),
        ((11, 0), False), ((12, 1), True), ((13, 0), True),
    ],
)  # fmt: skip
def test_a_gpu_without_code_in_torch_is_refused(
    card: Callable[..., None], capability: tuple[int, int], fits: bool
) -> None:
    card(capability, NEW)
    if fits:
        assert gpu.usable()
        return
    wanted = rf"capability {capability[0]}\.{capability[1]} \(Some GPU\), only for sm_75"
    with pytest.raises(BadInput, match=wanted):
        gpu.usable()


def test_a_gpu_that_fails_at_its_first_use_is_refused(card: Callable[..., None]) -> None:
    def broken() -> None:
        raise RuntimeError("CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors …")

    card((8, 0), NEW, broken)
    with pytest.raises(BadInput, match="used: CUDA error: uncorrectable ECC error encountered;"):
        gpu.usable()


def test_a_gpu_that_is_full_is_no_broken_one(card: Callable[..., None]) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    card((8, 0), NEW, full)
    with pytest.raises(torch.OutOfMemoryError):
        gpu.usable()
