"""Finds out whether a GPU and torch's compiler can be used here, and if not, why.

torch answers `is_available() == False` both where there is no GPU and where the driver is
older than the CUDA that torch was built with; only a warning tells the two apart. The first
is a reason to train on the CPU, the second is one to mend: nobody rents a GPU for its CPU.
"""

import importlib.util
import os
import platform
import re
import shutil
import warnings
from pathlib import Path

import torch

from mimir.errors import BadInput


def usable() -> bool:
    """Whether training can use a GPU.

    Raises:
        BadInput: a driver is there that is too old for this torch.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = torch.cuda.is_available()
    if found:
        return True
    for warning in caught:
        _refuse_old_driver(str(warning.message))
    return False


def compiler(device: str) -> str:
    """What torch.compile would build its code with on "cuda" or "cpu"; "" if it is not here.

    Triton compiles a launcher in C for each kernel, and the CPU's kernels are C++.
    """
    variable, programs = ("CC", ("gcc", "clang")) if device == "cuda" else ("CXX", ("g++",))
    given = os.environ.get(variable)
    found = (shutil.which(name) for name in ((given,) if given else programs))
    return next(filter(None, found), "")


def triton() -> bool:
    """Whether kernels written in Triton run on the GPU at hand: from Ampere on."""
    found = importlib.util.find_spec("triton") is not None
    return found and torch.cuda.get_device_capability() >= (8, 0)


def name(device: torch.device) -> str:
    """The GPU's name as torch tells it, or the processor's with the threads that torch uses."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{processor()} ({threads} thread{'s' if threads > 1 else ''})"


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


def _refuse_old_driver(text: str) -> None:
    """torch's sentence: "The NVIDIA driver on your system is too old (found version 12020)."."""
    match = re.search(r"driver on your system is too old(?: \(found version (\d+)\))?", text)
    if match is None:
        return
    number = int(match[1] or 0)
    known = f" (it goes up to CUDA {number // 1000}.{number % 1000 // 10})" if number else ""
    raise BadInput(
        f"the NVIDIA driver of this machine is too old{known}: this PyTorch needs CUDA "
        f"{torch.version.cuda}; update the driver, use an image with an older CUDA, or train on "
        "the CPU by --device cpu"
    )
