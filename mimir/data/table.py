"""Parses a clean data set CSV into arrays; `verify` explains what is not clean."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import ID_OF_BYTE, MAX_LENGTH, MIN_LENGTH, NO_LETTER
from mimir.data.keys import Keys, window_keys
from mimir.data.pairs import TARGET

HEADER = "sequence,label,target\n"

_LF, _COMMA, _ZERO = 10, 44, 48


@dataclass(frozen=True, eq=False)
class Table:
    """N peptides in file order.

    `tokens` uint8 [R], `offsets` int64 [N + 1], `labels` uint8 [N] (1 = pair), `targets` int32
    [N] (index into `vocabulary`, sorted; -1 = none), `keys` of the peptides.
    """

    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    labels: NDArray[np.uint8]
    targets: NDArray[np.int32]
    vocabulary: tuple[str, ...]
    keys: Keys

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Letters of each peptide, int64 [N]."""
        return np.diff(self.offsets)


def parse(data: bytes) -> Table | None:
    """The table in the bytes of a CSV; None unless every constraint of a data set holds.

    A million rows take about 1.5 s.
    """
    header = HEADER.encode("ascii")
    if not data.startswith(header):
        return None
    body = np.frombuffer(data, dtype=np.uint8)[len(header) :]
    if len(body) and body[-1] != _LF:
        body = np.append(body, np.uint8(_LF))
    ends = np.flatnonzero(body == _LF)
    commas = np.flatnonzero(body == _COMMA)
    rows = len(ends)
    if rows == 0 or len(commas) != 2 * rows:
        return None
    first, second = commas[0::2], commas[1::2]
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = first - starts
    if not (
        (second == first + 2).all()
        and (second < ends).all()
        and (lengths >= MIN_LENGTH).all()
        and (lengths <= MAX_LENGTH).all()
    ):
        return None
    labels = body[first + 1] - np.uint8(_ZERO)
    if (labels > 1).any() or ((ends - second > 1) != (labels == 1)).any():
        return None
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = ID_OF_BYTE[body[np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])]]
    if (tokens == NO_LETTER).any():
        return None
    pairs = np.flatnonzero(labels == 1)
    names = [
        body[begin:end].tobytes().decode("latin-1")
        for begin, end in zip((second[pairs] + 1).tolist(), ends[pairs].tolist(), strict=True)
    ]
    vocabulary = tuple(sorted(set(names)))
    if not all(TARGET.fullmatch(name) for name in vocabulary):
        return None
    index = {name: i for i, name in enumerate(vocabulary)}
    targets = np.full(rows, -1, dtype=np.int32)
    targets[pairs] = [index[name] for name in names]
    keys = window_keys(tokens, offsets[:-1], lengths)
    if _repeats(keys, labels, targets, len(vocabulary)):
        return None
    return Table(tokens, offsets, labels, targets, vocabulary, keys)


def _repeats(
    keys: Keys, labels: NDArray[np.uint8], targets: NDArray[np.int32], vocabulary: int
) -> bool:
    """Whether a pair or a background peptide stands twice, or a background peptide is a pair's."""
    same = keys.groups()
    pairs, background = same[labels == 1], same[labels == 0]
    whole = pairs * (vocabulary + 1) + targets[labels == 1]
    return (
        len(np.unique(whole)) < len(whole)
        or len(np.unique(background)) < len(background)
        or bool(np.isin(background, pairs).any())
    )
