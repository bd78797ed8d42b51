"""What a pulled model knows of targets beside its weights: `targets.safetensors`.

own                 int32 [V, 25]: letters of the training pairs of each target, in the order of
                    vocabulary.json
tokens, offsets     sequences: target i has tokens[offsets[i] : offsets[i + 1]], uint8 and int64
features            float32 [V, F]: what decides instead of sequences; F is 0 without

It takes 0.1 kB a target and a byte a letter of its sequence: half a megabyte for 750 targets. With
features 4 F bytes a target more.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import N_LETTERS
from mimir.data.composition import Composition
from mimir.data.likeness import Described
from mimir.data.peptides import Peptides
from mimir.errors import Corrupt
from mimir.runs import codec

FILE = "targets.safetensors"
FORMAT = 1

_KINDS = {"own": ("int32", 2), "tokens": ("uint8", 1), "offsets": ("int64", 1),
          "features": ("float32", 2)}  # fmt: skip


def encode(peptides: Peptides) -> bytes:
    """The file's bytes, of what a model was trained on."""
    described = peptides.described
    tensors: dict[str, NDArray[Any]] = {
        "own": peptides.composition.own.astype(np.int32), "tokens": described.tokens,
        "offsets": described.offsets, "features": described.features,
    }  # fmt: skip
    return files.for_torch(files.to_bytes(tensors, {"format": FORMAT}))


def decode(data: bytes, targets: int, where: str) -> Composition:
    """The composition of so many targets from the file's bytes.

    Raises:
        OtherFormat: it has another format.
        Corrupt: it is damaged, or of other targets.
    """
    tensors, record = files.from_bytes(data, where)
    codec.check_format(record, FORMAT, where)
    if tensors.keys() != _KINDS.keys() or any(
        (tensors[name].dtype.name, tensors[name].ndim) != kind for name, kind in _KINDS.items()
    ):
        raise Corrupt(f"{where} is damaged: it does not hold {', '.join(_KINDS)}")
    own, tokens, offsets, features = (tensors[name] for name in _KINDS)
    if own.shape != (targets, N_LETTERS) or (own < 0).any() or len(features) != targets:
        raise Corrupt(f"{where} is damaged: it is not of {targets} targets")
    if (
        len(offsets) != targets + 1 or offsets[0] != 0 or offsets[-1] != len(tokens)
        or (np.diff(offsets) < 0).any() or (tokens >= N_LETTERS).any()
        or not np.isfinite(features).all()
    ):  # fmt: skip
        raise Corrupt(f"{where} is damaged: its sequences or features are none")
    return Composition.of(own.astype(np.int64), Described(tokens, offsets, features))
