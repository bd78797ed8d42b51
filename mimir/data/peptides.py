"""Loads the packed data set into memory."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import LETTERS, MAX_LENGTH, MIN_LENGTH, N_LETTERS
from mimir.data.baselines import Baselines
from mimir.data.composition import Composition, letters_of
from mimir.data.likeness import Described
from mimir.data.split import HELD_OUT, KNOWN, SELECTION_KNOWN, TRAIN
from mimir.errors import BadInput, Corrupt
from mimir.runs import codec
from mimir.runs.ranges import Measure, Size
from mimir.runs.record import RunRecord
from mimir.runs.store import Store

FORMAT = 4

_DTYPES = {
    "tokens": np.uint8,
    "offsets": np.int32,
    "labels": np.uint8,
    "targets": np.int16,
    "split": np.uint8,
    "target_tokens": np.uint8,
    "target_offsets": np.int64,
    "target_features": np.float32,
}


@dataclass(frozen=True)
class Record:
    """What a packed file says of itself, beside its tensors. yardsticks: its baselines.

    targets: names that `target` of the tensors counts through. grouping, seed and validation:
    how it was split.
    """

    alphabet: str
    counts: dict[str, Size]
    csv_sha256: str
    grouping: str
    seed: int
    targets: tuple[str, ...]
    validation: Measure
    validation_pairs: Measure
    yardsticks: Baselines
    format: int = FORMAT


@dataclass(frozen=True, eq=False)
class Peptides:
    """N peptides; peptide i is tokens[offsets[i] : offsets[i + 1]]. The arrays are read-only.

    `tokens` uint8 [R] (letters only, no mask), `offsets` int32 [N + 1], `labels` uint8 [N]
    (0 background, 1 pair), `targets` int16 [N] (index into `vocabulary`, -1 for background),
    `split` uint8 [N] (as `split.split_rows`). `described` is what is known of the targets
    themselves: sequences or features. `digest` is the SHA-256 (hex) of the packed file,
    `source` that of the CSV it was packed from.
    """

    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int32]
    labels: NDArray[np.uint8]
    targets: NDArray[np.int16]
    split: NDArray[np.uint8]
    vocabulary: tuple[str, ...]
    described: Described
    baselines: Baselines
    digest: str
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def lengths(self) -> NDArray[np.int32]:
        """Letters of each peptide, int32 [N]."""
        return np.diff(self.offsets)

    @cached_property
    def trained_targets(self) -> NDArray[np.bool_]:
        """Which names of `vocabulary` have training pairs, bool [V]; a model knows no others."""
        counts = np.bincount(self.targets[self.subset(TRAIN, 1)], minlength=len(self.vocabulary))
        return counts > 0

    @cached_property
    def composition(self) -> Composition:
        """Letters of each target's training pairs, and of those of similar targets."""
        rows = self.subset(TRAIN, 1)
        own = letters_of(self.tokens, self.offsets, rows, self.targets, len(self.vocabulary))
        return Composition.of(own, self.described)

    def spread(self, split: int, label: int, most: int) -> NDArray[np.int64]:
        """At most so many rows of a subset, int64, evenly spread over the order of the file.

        Its first rows would not do: a file may be sorted.
        """
        rows = self.subset(split, label)
        count = min(most, len(rows))
        return rows[np.arange(count) * len(rows) // max(1, count)]

    def subset(self, split: int | tuple[int, ...], label: int | None = None) -> NDArray[np.int64]:
        """Rows of a part or of some (see `split`), of one label if given; ascending, int64 [n]."""
        chosen = np.isin(self.split, split)
        if label is not None:
            chosen &= self.labels == label
        return np.flatnonzero(chosen).astype(np.int64)


def load(path: Path) -> Peptides:
    """Load a packed data set; a million rows take under half a second, digest included.

    Raises BadInput if the file is missing or not of this format, Corrupt if it is damaged.
    """
    return parse(files.read(path, "packed data set"), path)


def of_run(store: Store, record: RunRecord) -> Peptides:
    """The packed data set that a run trains on, from its store.

    Raises BadInput if the record names none, StoreError and Corrupt as `Store.get`.
    """
    if record.data is None:
        raise BadInput(f"run {record.name} names no data; submit it again")
    stored = record.data
    return parse(store.get(stored.key, size=stored.size, sha256=stored.sha256), stored.key)


def parse(data: bytes, where: Path | str) -> Peptides:
    """A packed data set from its bytes; `where` they came from stands in errors.

    Raises as `load`.
    """
    tensors, record = files.from_bytes(data, where)
    codec.check_format(record, FORMAT, str(where))
    if record.get("alphabet") != LETTERS:
        raise BadInput(
            f"{where} is no packed data set with the alphabet {LETTERS}; pack its CSV again"
        )
    try:
        told = codec.typed(Record, record, f"{where}: its record")
    except Corrupt as error:
        raise Corrupt(f"{error}; pack its CSV again") from None
    wrong = _wrong(tensors, len(told.targets))
    if wrong:
        raise Corrupt(f"{where} is damaged: {wrong}; pack its CSV again")
    for array in tensors.values():
        array.flags.writeable = False
    parts = [tensors.pop(f"target_{name}") for name in ("tokens", "offsets", "features")]
    return Peptides(
        **tensors,
        vocabulary=told.targets,
        described=Described(*parts),
        baselines=told.yardsticks,
        digest=files.sha256(data),
        source=told.csv_sha256,
    )


def _wrong(tensors: dict[str, NDArray[Any]], vocabulary: int) -> str:
    """What is wrong with the tensors, in a few words; empty if nothing is."""
    if tensors.keys() != _DTYPES.keys():
        return f"it holds {', '.join(sorted(tensors)) or 'nothing'}, not {', '.join(_DTYPES)}"
    for name, dtype in _DTYPES.items():
        if tensors[name].dtype != dtype or tensors[name].ndim != 1 + (name == "target_features"):
            return f"{name} is {tensors[name].dtype} {tensors[name].shape}"
    tokens, offsets, labels = tensors["tokens"], tensors["offsets"], tensors["labels"]
    rows = len(labels)
    if rows == 0 or len(offsets) != rows + 1:
        return f"{len(offsets)} offsets for {rows} labels"
    if len(tensors["targets"]) != rows or len(tensors["split"]) != rows:
        return "targets, split and labels differ in length"
    lengths = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != len(tokens):
        return f"offsets run from {offsets[0]} to {offsets[-1]} over {len(tokens)} tokens"
    if lengths.min() < MIN_LENGTH or lengths.max() > MAX_LENGTH:
        return f"peptides have {lengths.min()} to {lengths.max()} letters"
    if tokens.max() >= N_LETTERS:
        return f"token {tokens.max()} is no letter"
    split = tensors["split"]
    if labels.max() > 1 or split.max() > max(HELD_OUT):
        return f"labels must be 0 or 1, and split from 0 to {max(HELD_OUT)}"
    if (labels[np.isin(split, (KNOWN, SELECTION_KNOWN))] != 1).any():
        return "background is among the held-out pairs"
    targets = tensors["targets"]
    if targets.min() < -1 or targets.max() >= vocabulary:
        return f"targets run from {targets.min()} to {targets.max()}, names are {vocabulary}"
    if ((targets >= 0) != (labels == 1)).any():
        return "a target without label 1, or the reverse"
    return _wrong_described(tensors, vocabulary)


def _wrong_described(tensors: dict[str, NDArray[Any]], vocabulary: int) -> str:
    tokens, offsets = tensors["target_tokens"], tensors["target_offsets"]
    features = tensors["target_features"]
    if len(offsets) != vocabulary + 1 or len(features) != vocabulary:
        return f"{len(offsets)} offsets and {len(features)} features for {vocabulary} targets"
    if offsets[0] != 0 or offsets[-1] != len(tokens) or (np.diff(offsets) < 0).any():
        return "the sequences of targets do not fit their offsets"
    if len(tokens) and tokens.max() >= N_LETTERS:
        return f"token {tokens.max()} of a target is no letter"
    return "" if np.isfinite(features).all() else "a feature of a target is not a finite number"
