"""The one object that a finished run leaves in its store: weights, and some samples.

A safetensors file: the best EMA weights in float32 by their parameters' names, the last ones with
`last.` before the name, and in its metadata `format: pt` for other libraries and a record
{format, samples, told, best_step}. The machine that made it may be a stranger's, so it holds
nothing but numbers, peptides and names of targets, which count only where the data has them. All
else that `pull` puts beside it is made on the user's computer.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import MAX_LENGTH, STANDARD
from mimir.errors import Corrupt
from mimir.runs import codec
from mimir.runs.ranges import MOST_STEPS, Between

FILE = "model.safetensors"
FORMAT = 2
LAST = "last."
"""Before the names of the last weights."""
MOST_SAMPLES = 1024
"""Of all kinds together."""


@dataclass(frozen=True)
class Record:
    """What the object says beside its weights: samples, and by target those that were told it.

    best_step: of the best weights; -1 if nothing selected them, so that they are the last.
    """

    samples: tuple[str, ...]
    told: dict[str, tuple[str, ...]] = field(default_factory=dict)
    best_step: Annotated[int, Between(-1, MOST_STEPS)] = -1
    format: int = FORMAT


def encode(
    weights: Mapping[str, NDArray[np.float32]], samples: list[str],
    told: Mapping[str, list[str]] | None = None, best_step: int = -1,
) -> bytes:  # fmt: skip
    """The object's bytes; equal weights and samples give equal bytes."""
    body = {"format": FORMAT, "samples": samples, "told": dict(told or {}), "best_step": best_step}
    return files.for_torch(files.to_bytes(weights, body))


def made_again(content: bytes, record: Record, targets: Container[str], where: str) -> bytes:
    """The object with these weights and this record, and nothing else that its machine wrote.

    Of an object that `encode` made of a run with these targets they are the bytes that it was.
    """
    tensors, _ = files.from_bytes(content, where)
    told = {name: list(some) for name, some in record.told.items() if name in targets}
    return encode(tensors, list(record.samples), told, record.best_step)


def record_in(content: bytes, where: str) -> Record:
    """What it says, if the object is one of ours.

    Raises:
        BadInput: it has another format.
        Corrupt: it is no safetensors file of float32 weights, or its samples are no peptides.
    """
    tensors, record = files.from_bytes(content, where)
    codec.check_format(record, FORMAT, where)
    found = codec.typed(Record, record, f"{where}: its record")
    samples = [*found.samples, *(one for some in found.told.values() for one in some)]
    if not tensors or any(array.dtype != np.float32 for array in tensors.values()):
        raise Corrupt(f"{where} holds something else than weights in float32")
    if len(samples) > MOST_SAMPLES:
        raise Corrupt(f"{where} names more than {MOST_SAMPLES} samples")
    if not all(0 < len(one) <= MAX_LENGTH and set(one) <= set(STANDARD) for one in samples):
        raise Corrupt(f"{where} names samples that are no peptides")
    return found
