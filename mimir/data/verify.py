"""Verifies a data set CSV and says what is wrong, in which row, line and column."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data import doubts, files
from mimir.data.alphabet import MAX_LENGTH, N_LETTERS
from mimir.data.scan import Counts, Problem, Scan
from mimir.data.table import Table, parse

# Above this total variation distance a model can tell the classes apart by length alone.
FAR = 0.1
_BLOCK = 1 << 16
"""Rows whose letters are counted at once."""


@dataclass(frozen=True)
class Report:
    """What a data set holds and what is wrong with it.

    Counts are of sound rows. `length_distance` is the total variation distance (0..1) between
    the length distributions of background and pairs, None if one of them is empty. `problems`
    holds the first 20 of `problem_count`. `notes` are no errors.
    """

    path: str
    sha256: str
    rows: int
    background: int
    pairs: int
    peptides: int
    targets: int
    residues: int
    length_distance: float | None
    problem_count: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the data set can be packed."""
        return self.problem_count == 0

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object, with `ok`."""
        return {"ok": self.ok, **asdict(self)}


def verify(path: Path) -> Report:
    """Check every constraint of a data set CSV; a million rows take 2 s, 10 s if not clean.

    The constraints: columns sequence, label and target, in any order, by the rules of CSV, UTF-8,
    lines that end in LF or CR LF; sequences of 4 to 20 letters; label 0 or 1; a target exactly
    where the label is 1; background peptides distinct and none a peptide of a pair; pairs distinct.
    Raises BadInput only if the file cannot be read.
    """
    data = files.read(path, "data set CSV")
    table = parse(data)
    if table is None:
        scan = Scan(data)
        counts, found, problems = scan.counts(), scan.found, tuple(scan.problems)
        ignored = scan.ignored
    else:
        counts, found, problems = _count(table), 0, ()
        ignored = table.ignored
    lengths = counts.lengths
    distance = None
    if lengths[0].sum() and lengths[1].sum():
        parts = lengths / lengths.sum(axis=1, keepdims=True)
        distance = round(float(np.abs(parts[0] - parts[1]).sum()) / 2, 4)
    notes = [not_read(ignored)] if ignored else []
    for label, text in ((0, "no background rows"), (1, "no pairs: nothing to condition on")):
        if not lengths[label].sum():
            notes.append(f"there are {text}")
    if distance is not None and distance > FAR:
        notes.append(
            f"background and pairs differ in length (distance {distance}): "
            "a model may learn length instead of binding"
        )
    notes += doubts.of_letters("background peptides", counts.letters[0])
    notes += doubts.of_letters("peptides of pairs", counts.letters[1])
    notes += doubts.of_targets(counts.pairs)
    return Report(
        path=str(path),
        sha256=files.sha256(data),
        rows=counts.rows,
        background=int(lengths[0].sum()),
        pairs=int(lengths[1].sum()),
        peptides=counts.peptides,
        targets=len(counts.pairs),
        residues=int((lengths.sum(axis=0) * np.arange(MAX_LENGTH + 1)).sum()),
        length_distance=distance,
        problem_count=found,
        problems=problems,
        notes=tuple(notes),
    )


def not_read(ignored: tuple[str, ...]) -> str:
    """A note on the columns of a CSV that are not read."""
    return f"not read: column{'s' if len(ignored) > 1 else ''} {', '.join(ignored)}"


def _count(table: Table) -> Counts:
    size = MAX_LENGTH + 1
    cell = table.labels.astype(np.int64) * size + table.lengths
    lengths = np.bincount(cell, minlength=2 * size).reshape(2, size).astype(np.int64)
    pairs = table.labels == 1
    return Counts(
        rows=len(table),
        peptides=int(table.keys(np.flatnonzero(pairs)).is_first().sum()),
        pairs=np.bincount(table.targets[pairs], minlength=len(table.vocabulary)).astype(np.int64),
        lengths=lengths,
        letters=letters_by_label(table.tokens, table.offsets, table.labels),
    )


def letters_by_label(
    tokens: NDArray[np.uint8], offsets: NDArray[np.integer], labels: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """How often each letter stands in background and pairs, int64 [2, 25]."""
    counts = np.zeros((2, N_LETTERS), dtype=np.int64)
    for first in range(0, len(labels), _BLOCK):
        last = min(first + _BLOCK, len(labels))
        label = np.repeat(labels[first:last], np.diff(offsets[first : last + 1]))
        letter = tokens[offsets[first] : offsets[last]]
        cell = label.astype(np.int64) * N_LETTERS + letter
        counts += np.bincount(cell, minlength=2 * N_LETTERS).reshape(2, N_LETTERS)
    return counts
