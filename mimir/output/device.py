"""The device on which a trained model is used: the one that is asked for, else one that works.

A visible GPU need not be one that torch can compute on: its driver may fail, this torch may have no
code for it, or it may be full. Training says so and ends, because nobody rents a GPU for its CPU;
who draws peptides on a computer of their own is better off with the CPU and a sentence.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mimir.errors import BadInput, GpuUnusable
from mimir.text import alternatives, first_line
from mimir.training import device as gpu

WORDS = ("auto", "cpu", "cuda")


def chosen(asked: str) -> torch.device:
    """The device for one of WORDS. auto: the GPU, or with a note on stderr the CPU where there is
    one that cannot be used.

    Raises:
        BadInput: it is none of these words, or is cuda and there is no GPU that can be used.
    """
    if asked not in WORDS:
        raise BadInput(f"--device is {asked!r}, but must be {alternatives(WORDS)}")
    if asked == "cpu":
        return torch.device("cpu")
    try:
        with memory():
            found = gpu.usable()
    except BadInput as error:
        if asked == "cuda":
            raise
        what = str(error).partition("; ")[0]
        print(f"note: {what}; taken is the CPU", file=sys.stderr)
        return torch.device("cpu")
    if asked == "cuda" and not found:
        raise BadInput("device is 'cuda', but no GPU is visible here; use --device cpu or auto")
    return torch.device("cuda" if found else "cpu")


@contextmanager
def memory() -> Iterator[None]:
    """GpuUnusable, which is one sentence, where the GPU's memory does not suffice inside."""
    try:
        yield
    except RuntimeError as error:
        told = first_line(error)
        full = isinstance(error, torch.OutOfMemoryError) or "CUDA error: out of memory" in told
        if not full:
            raise
        raise GpuUnusable(
            f"the memory of the GPU does not suffice ({told})",
            "end what else runs on it, or use the CPU by --device cpu",
        ) from None
