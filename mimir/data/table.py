"""Parses a clean data set CSV into arrays; `verify` explains what is not clean."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data.alphabet import ID_OF_BYTE, MAX_LENGTH, MIN_LENGTH, NO_LETTER
from mimir.data.columns import Columns, NoColumns, find, lone_cr, unquoted
from mimir.data.keys import Keys, window_keys
from mimir.data.pairs import TARGET

CHUNK = 1 << 22
"""Bytes that are parsed at once: arrays of eight bytes for each of them are made on the way."""

_MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
_LF, _CR, _COMMA, _ZERO = 10, 13, 44, 48


@dataclass(frozen=True, eq=False)
class Table:
    """N peptides in file order.

    `tokens` uint8 [R], `offsets` int64 [N + 1], `labels` uint8 [N] (1 = pair), `targets` int32
    [N] (index into `vocabulary`, sorted; -1 = none). `ignored` names the columns that were not
    read.
    """

    tokens: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    labels: NDArray[np.uint8]
    targets: NDArray[np.int32]
    vocabulary: tuple[str, ...]
    ignored: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Letters of each peptide, int64 [N]."""
        return np.diff(self.offsets)

    def keys(self, rows: NDArray[np.int64]) -> Keys:
        """Keys of some of the peptides."""
        starts = self.offsets[rows]
        return window_keys(self.tokens, starts, self.offsets[rows + 1] - starts)

    def take(self, rows: NDArray[np.int64]) -> "Table":
        """Some of the rows, ascending; the vocabulary keeps the targets that are left."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        stays = np.zeros(len(self), dtype=bool)
        stays[rows] = True
        left, targets = np.unique(self.targets[rows], return_inverse=True)
        none = int((left < 0).sum())
        return Table(
            self.tokens[np.repeat(stays, self.lengths)], offsets, self.labels[rows],
            (targets.reshape(-1) - none).astype(np.int32),
            tuple(self.vocabulary[target] for target in left[none:].tolist()),
            self.ignored,
        )  # fmt: skip


def parse(data: bytes) -> Table | None:
    """The table in the bytes of a CSV; None unless every constraint of a data set holds.

    A million rows take about 1.5 s, three times that with quotes.
    """
    columns = find(data)
    if isinstance(columns, NoColumns) or lone_cr(data) >= 0:
        return None
    ignored = columns.ignored
    if data.find(b'"', columns.rows_at) >= 0:
        plain = unquoted(data, columns)
        columns = find(plain) if plain is not None else columns
        if plain is None or isinstance(columns, NoColumns):
            return None
        data = plain
    names: dict[str, int] = {}
    parts = []
    for chunk in _chunks(data, columns.rows_at):
        part = _parse_rows(chunk, columns, names)
        if part is None:
            return None
        parts.append(part)
    if not parts or not all(TARGET.fullmatch(name) for name in names):
        return None
    tokens, lengths, labels, targets, hashes = (
        np.concatenate(arrays) for arrays in zip(*parts, strict=True)
    )
    parts.clear()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    vocabulary = tuple(sorted(names))
    order = np.array([names[name] for name in vocabulary], dtype=np.int64)
    rank = np.full(len(names) + 1, -1, dtype=np.int32)  # the last one is that of no target
    rank[order] = np.arange(len(names))
    table = Table(tokens, offsets, labels, rank[targets], vocabulary, ignored)
    return None if _repeats(table, hashes) else table


def _chunks(data: bytes, start: int) -> Iterator[NDArray[np.uint8]]:
    """The rows in pieces of whole lines, each of which ends in LF."""
    while start < len(data):
        end = data.rfind(b"\n", start, start + CHUNK) + 1 or data.find(b"\n", start) + 1
        if not end:
            yield np.append(np.frombuffer(data, dtype=np.uint8, offset=start), np.uint8(_LF))
            return
        yield np.frombuffer(data, dtype=np.uint8, count=end - start, offset=start)
        start = end


def _parse_rows(
    body: NDArray[np.uint8], columns: Columns, names: dict[str, int]
) -> tuple[NDArray[Any], ...] | None:
    """Tokens, lengths, labels, targets as `names` counts them (which grows), and hashes of the
    peptides, uint64."""
    ends = np.flatnonzero(body == _LF)
    commas = np.flatnonzero(body == _COMMA)
    rows, between = len(ends), columns.count - 1
    if len(commas) != between * rows:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    ends = ends - (body[ends - 1] == _CR) * (ends > starts)
    edges = np.column_stack([starts - 1, commas.reshape(rows, between), ends])
    if (edges[:, 1] < starts).any() or (edges[:, -2] >= ends).any():
        return None
    begin, label_at, target_at = (edges[:, place] + 1 for place in columns.places)
    end, label_end, target_end = (edges[:, place + 1] for place in columns.places)
    lengths = end - begin
    if not (
        (label_end == label_at + 1).all()
        and (lengths >= MIN_LENGTH).all()
        and (lengths <= MAX_LENGTH).all()
    ):
        return None
    labels = body[label_at] - np.uint8(_ZERO)
    if (labels > 1).any() or ((target_end > target_at) != (labels == 1)).any():
        return None
    firsts = np.cumsum(lengths) - lengths
    tokens = ID_OF_BYTE[body[np.repeat(begin - firsts, lengths) + np.arange(lengths.sum())]]
    if (tokens == NO_LETTER).any():
        return None
    targets = np.full(rows, -1, dtype=np.int32)
    for row in np.flatnonzero(labels == 1).tolist():
        name = body[target_at[row] : target_end[row]].tobytes().decode("latin-1")
        targets[row] = names.setdefault(name, len(names))
    keys = window_keys(tokens, firsts, lengths)
    hashes = (keys.hi ^ (keys.lo * _MIX)) * _MIX
    return tokens, lengths.astype(np.uint8), labels, targets, hashes ^ (hashes >> np.uint64(32))


def _repeats(table: Table, hashes: NDArray[np.uint64]) -> bool:
    """Whether a pair or a background peptide stands twice, or a background peptide is a pair's.

    `hashes` of the peptides: those that no other peptide has are told apart without their letters.
    """
    ordered = np.sort(hashes)
    several = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(several):
        return False
    place = np.searchsorted(several, hashes)
    place[place == len(several)] = 0
    rows = np.flatnonzero(several[place] == hashes)
    labels, same = table.labels[rows], table.keys(rows).groups()
    pairs, background = same[labels == 1], same[labels == 0]
    whole = pairs * (len(table.vocabulary) + 1) + table.targets[rows][labels == 1]
    return (
        len(np.unique(whole)) < len(whole)
        or len(np.unique(background)) < len(background)
        or bool(np.isin(background, pairs).any())
    )
