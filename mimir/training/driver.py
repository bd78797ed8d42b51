"""Asks NVIDIA's driver itself whether it works, and if not, in its own words.

torch answers "no GPU" also where one is there and fails, and its builds for a CPU do not ask at
all. Interface: CUDA Driver API, "Initialization" and "Error Handling".
"""

import contextlib
import ctypes

LIBRARY = "libcuda.so.1"
NO_DEVICE, STUB = 100, 34
"""CUDA_ERROR_NO_DEVICE: a driver without a GPU, or one whose GPUs are hidden from this process.
CUDA_ERROR_STUB_LIBRARY: what the toolkit has to link with, which is no driver."""


def failure() -> str:
    """Why the driver that is here cannot be used, as "CUDA error 802: system not yet initialized".

    "" if it works, if there is none, or if it knows of no GPU.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
        initialise = library.cuInit
    except (OSError, AttributeError):
        return ""  # no driver, or a library that is none
    code = int(initialise(0))
    if code in (0, NO_DEVICE, STUB):
        return ""
    return f"CUDA error {code}: {_said(library, code)}"


def _said(library: ctypes.CDLL, code: int) -> str:
    """The driver's own words for its error."""
    text = ctypes.c_char_p()
    with contextlib.suppress(AttributeError):
        library.cuGetErrorString(ctypes.c_int(code), ctypes.byref(text))
    return (text.value or b"the driver cannot be initialised").decode(errors="replace")
