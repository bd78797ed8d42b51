"""Finds out whether a GPU can be used here, and if not, why.

torch answers `is_available() == False` both where there is no GPU and where one is there and
fails; only a warning, or the driver itself, tells the two apart. The first is a reason to train
on the CPU, the second is one to mend: nobody rents a GPU for its CPU.
"""

import importlib.util
import platform
import re
import warnings
from pathlib import Path

import torch

from mimir.errors import BadInput, GpuUnusable
from mimir.text import first_line
from mimir.training import driver

NO_DRIVER = re.compile(r"Found no NVIDIA driver|CUDA driver is a stub library")
"""torch's warnings that mean that there is no GPU (c10/cuda/CUDAFunctions.cpp)."""
INITIALISATION = re.compile(r"CUDA initialization: (.*?)(?: \(Triggered internally.*)?$", re.DOTALL)
OTHERWISE = "mend the driver or take another machine, or train on the CPU by --device cpu"


def usable() -> bool:
    """Whether training can use a GPU; False if there is none.

    Raises:
        GpuUnusable: there is one, and it fails, or its driver is too old.
        BadInput: this torch has no code for it, which is the image's fault and no machine's.
        torch.OutOfMemoryError: it is full.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if found:
        _refuse_unknown_capability()
        _refuse_failing()
        return True
    for warning in caught:
        _refuse_old_driver(str(warning.message))
        _refuse_warned(str(warning.message))
    why = driver.failure()
    if why:
        raise _unusable(why)
    return False


def why_cpu() -> str:
    """Why there is no GPU for training where `usable` says that there is none; "" if unknown."""
    built = torch.version.cuda is not None
    return "" if built or not Path("/dev/nvidia0").exists() else "this torch has no code for GPUs"


def first_use() -> None:
    """Initialise CUDA, and compute one number on the GPU: what is broken may show only then."""
    torch.cuda.init()
    torch.ones(1, device="cuda").add_(1).cpu()


def triton() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def name(device: torch.device) -> str:
    """The GPU's name as torch tells it, or the processor's with the threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor()} ({threads} thread{'s' if threads > 1 else ''})"


def identity(device: torch.device) -> tuple[str, str]:
    """(UUID, PCI bus id) of a GPU, by which NVIDIA's management library finds it; "" for one that
    this torch does not tell."""
    told = torch.cuda.get_device_properties(device)
    numbers = [getattr(told, f"pci_{part}_id", None) for part in ("domain", "bus", "device")]
    known = [each for each in numbers if each is not None]
    pci = "{:08x}:{:02x}:{:02x}.0".format(*known) if len(known) == 3 else ""
    return str(getattr(told, "uuid", "")), pci


def synchronize(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def processor() -> str:
    """The processor's name, as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _refuse_unknown_capability() -> None:
    """Refuse a GPU that none of torch's code runs on.

    Code for 8.6 runs on 8.6 to 8.9; PTX, which the driver compiles, on its capability and later.
    """
    try:
        major, minor = torch.cuda.get_device_capability()
        known = torch.cuda.get_arch_list()
    except RuntimeError as error:
        raise _unusable(first_line(error)) from None
    codes = [re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", each) for each in known]
    fits = [
        (int(code[2]), int(code[3])) <= (major, minor)
        and (code[1] == "compute" or int(code[2]) == major)
        for code in codes
        if code
    ]
    if fits and not any(fits):
        raise BadInput(
            f"this PyTorch has no code for a GPU of compute capability {major}.{minor} "
            f"({torch.cuda.get_device_name()}), only for {', '.join(known)}; use an image with "
            "another PyTorch or another GPU, or train on the CPU by --device cpu"
        )


def _refuse_failing() -> None:
    try:
        first_use()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise _unusable(first_line(error)) from None


def _refuse_warned(text: str) -> None:
    """Refuse what torch warns of, unless it says that there is no driver."""
    match = INITIALISATION.search(text)
    if match is not None and not NO_DRIVER.search(text):
        raise _unusable(" ".join(match[1].split()))


def _unusable(why: str) -> GpuUnusable:
    return GpuUnusable(f"the GPU of this machine cannot be used: {why}", OTHERWISE)


def _refuse_old_driver(text: str) -> None:
    """torch's sentence: "The NVIDIA driver on your system is too old (found version 12020)."."""
    match = re.search(r"driver on your system is too old(?: \(found version (\d+)\))?", text)
    if match is None:
        return
    number = int(match[1] or 0)
    known = f" (it goes up to CUDA {number // 1000}.{number % 1000 // 10})" if number else ""
    raise GpuUnusable(
        f"the NVIDIA driver of this machine is too old{known}: this PyTorch needs CUDA "
        f"{torch.version.cuda}",
        "update the driver, use an image with an older CUDA, or train on the CPU by --device cpu",
    )
