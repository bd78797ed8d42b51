"""The one object that a finished run leaves in its store: weights, and some samples.

A safetensors file: the best EMA weights in float32 by their parameters' names, the last ones with
`last.` before the name, and a record {format, samples, best_step} in its metadata. The machine that
made it may be a stranger's, so it holds nothing but numbers and peptides. All else that `pull` puts
beside it is made on the user's computer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import LETTERS, MAX_LENGTH
from mimir.errors import Corrupt
from mimir.runs import codec
from mimir.runs.ranges import MOST_STEPS, Between

FILE = "model.safetensors"
FORMAT = 2
LAST = "last."
"""Before the names of the last weights."""
MOST_SAMPLES = 1024


@dataclass(frozen=True)
class Record:
    """What the object says beside its weights.

    best_step: of the best weights; -1 if nothing selected them, so that they are the last.
    """

    samples: tuple[str, ...]
    best_step: Annotated[int, Between(-1, MOST_STEPS)]
    format: int = FORMAT


def encode(
    weights: Mapping[str, NDArray[np.float32]], samples: list[str], best_step: int = -1
) -> bytes:
    """The object's bytes; equal weights and samples give equal bytes."""
    return files.to_bytes(weights, {"format": FORMAT, "samples": samples, "best_step": best_step})


def read(content: bytes, where: str) -> Record:
    """What it says, if the object is one of ours.

    Raises:
        BadInput: it has another format.
        Corrupt: it is no safetensors file of float32 weights, or its samples are no peptides.
    """
    tensors, record = files.from_bytes(content, where)
    codec.check_format(record, FORMAT, where)
    told = codec.typed(Record, record, f"{where}: its record")
    if not tensors or any(array.dtype != np.float32 for array in tensors.values()):
        raise Corrupt(f"{where} holds something else than weights in float32")
    if len(told.samples) > MOST_SAMPLES:
        raise Corrupt(f"{where} names more than {MOST_SAMPLES} samples")
    if not all(len(one) <= MAX_LENGTH and set(one) <= set(LETTERS) for one in told.samples):
        raise Corrupt(f"{where} names samples that are no peptides")
    return told
