"""The mark of tests that need an NVIDIA GPU: skipped elsewhere, and required by `make test-gpu`."""

import os

import pytest
import torch

needs_gpu = pytest.mark.skipif(
    os.environ.get("MIMIR_REQUIRE_GPU") != "1" and not torch.cuda.is_available(),
    reason="no GPU is visible",
)
