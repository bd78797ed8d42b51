"""The mark of tests that need an NVIDIA GPU: skipped elsewhere, and required by `make test-gpu`."""

import os
import warnings
from collections.abc import Callable

import pytest
import torch

needs_gpu = pytest.mark.skipif(
    os.environ.get("MIMIR_REQUIRE_GPU") != "1" and not torch.cuda.is_available(),
    reason="no GPU is visible",
)

# As c10/cuda/CUDAFunctions.cpp words it.
OLD = (
    "CUDA initialization: The NVIDIA driver on your system is too old (found version 12020). "
    "Please update your GPU driver by downloading and installing a new version from the URL: …"
)


def unavailable(text: str) -> Callable[[], bool]:
    """torch.cuda.is_available where there is no GPU for torch, which warns of this."""

    def asked() -> bool:
        warnings.warn(text, UserWarning, stacklevel=2)
        return False

    return asked
