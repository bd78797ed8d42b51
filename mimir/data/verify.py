"""Verifies a data set CSV and says what is wrong, in which row, line and column."""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import LETTERS, MAX_LENGTH, MIN_LENGTH
from mimir.data.pairs import TARGET
from mimir.data.table import HEADER, Table, parse

PROBLEMS_SHOWN = 20
# Above this total variation distance a model can tell the classes apart by length alone.
FAR = 0.1

_COLUMNS = HEADER.strip().split(",")
_NOT_A_LETTER = re.compile(f"[^{LETTERS}]")


@dataclass(frozen=True)
class Problem:
    """One thing wrong. `row` counts data rows from 1 (0: the file or its header), `line` lines."""

    row: int
    line: int
    column: str
    message: str

    def __str__(self) -> str:
        where = f"row {self.row} (line {self.line})" if self.row else f"line {self.line}"
        return f"{where}{', column ' + self.column if self.column else ''}: {self.message}"


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

    The constraints: header `sequence,label,target`; UTF-8, lines ending in LF, no quotes;
    sequences of 4 to 20 letters; label 0 or 1; a target exactly where the label is 1;
    background peptides distinct and none a peptide of a pair; pairs distinct.
    Raises BadInput only if the file cannot be read.
    """
    data = files.read(path, "data set CSV")
    table = parse(data)
    if table is None:
        scan = _Scan(data)
        counts, found, problems = scan.counts(), scan.found, tuple(scan.problems)
    else:
        counts, found, problems = _count(table), 0, ()
    lengths = counts.lengths
    distance = None
    if lengths[0].sum() and lengths[1].sum():
        parts = lengths / lengths.sum(axis=1, keepdims=True)
        distance = round(float(np.abs(parts[0] - parts[1]).sum()) / 2, 4)
    notes = []
    for label, text in ((0, "no background rows"), (1, "no pairs: nothing to condition on")):
        if not lengths[label].sum():
            notes.append(f"there are {text}")
    if distance is not None and distance > FAR:
        notes.append(
            f"background and pairs differ in length (distance {distance}): "
            "a model may learn length instead of binding"
        )
    return Report(
        path=str(path),
        sha256=files.sha256(data),
        rows=counts.rows,
        background=int(lengths[0].sum()),
        pairs=int(lengths[1].sum()),
        peptides=counts.peptides,
        targets=counts.targets,
        residues=int((lengths.sum(axis=0) * np.arange(MAX_LENGTH + 1)).sum()),
        length_distance=distance,
        problem_count=found,
        problems=problems,
        notes=tuple(notes),
    )


@dataclass(frozen=True, eq=False)
class _Counts:
    """`lengths` int64 [2, 21]: sound rows by label and length."""

    rows: int
    peptides: int
    targets: int
    lengths: NDArray[np.int64]


def _count(table: Table) -> _Counts:
    size = MAX_LENGTH + 1
    cell = table.labels.astype(np.int64) * size + table.lengths
    return _Counts(
        rows=len(table),
        peptides=int(table.keys.take(table.labels == 1).is_first().sum()),
        targets=len(table.vocabulary),
        lengths=np.bincount(cell, minlength=2 * size).reshape(2, size).astype(np.int64),
    )


class _Scan:
    """Line by line through a file that is not clean: the slow half, which can explain.

    Every check of `table.parse` has its sentence here.
    """

    def __init__(self, data: bytes) -> None:
        self.problems: list[Problem] = []
        self.found = 0
        self._rows = 0
        self._lengths = np.zeros((2, MAX_LENGTH + 1), dtype=np.int64)
        self._targets: set[str] = set()
        self._background: dict[str, int] = {}
        self._pairs: dict[tuple[str, str], int] = {}
        if not data.strip():
            self._problem(0, "", f"the file is empty; it should begin with {HEADER.strip()!r}")
            self._positive: dict[str, int] = {}
            return
        data = self._line_ends(data)
        lines = data.split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        self._positive = _peptides_of_pairs(lines)
        if not self._header(lines[0]):
            return
        self._rows = len(lines) - 1
        if not self._rows:
            self._problem(0, "", "there is a header but no rows")
        for row, line in enumerate(lines[1:], start=1):
            self._row(row, line)

    def counts(self) -> _Counts:
        """Counts of the sound rows."""
        peptides = len({sequence for sequence, _ in self._pairs})
        return _Counts(self._rows, peptides, len(self._targets), self._lengths)

    def _problem(self, row: int, column: str, message: str) -> None:
        self.found += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(Problem(row, row + 1, column, message))

    def _line_ends(self, data: bytes) -> bytes:
        """The data without CR, after one problem for all of them (else there is one per row)."""
        at = data.find(b"\r")
        if at < 0:
            return data
        row = data.count(b"\n", 0, at)
        kind = "CR LF" if data[at + 1 : at + 2] == b"\n" else "a lone CR"
        self._problem(
            row, "", f"{kind} where lines should end in LF alone; convert with: tr -d '\\r'"
        )
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _header(self, line: bytes) -> bool:
        text = line.decode("utf-8", "replace")
        if text.startswith("\ufeff"):
            self._problem(0, "", "a byte order mark; save the file as plain UTF-8")
            text = text[1:]
        if text == HEADER.strip():
            return True
        have = [name.strip().strip('"') for name in text.split(",")]
        missing = [name for name in _COLUMNS if name not in have]
        if missing:
            message = f"the header lacks {' and '.join(missing)}: it is {text[:80]!r}"
        else:
            message = f"the header is {text[:80]!r}"
        self._problem(0, ",".join(missing), f"{message}, but should be {HEADER.strip()!r}")
        return False

    def _row(self, row: int, line: bytes) -> None:
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            column = _COLUMNS[min(line.count(b",", 0, error.start), 2)]
            self._problem(row, column, f"byte {line[error.start]:#04x} is not UTF-8")
            return
        if not text:
            self._problem(row, "", "the line is empty")
            return
        fields = text.split(",")
        if '"' in text:
            at = next(i for i, field in enumerate(fields) if '"' in field)
            self._problem(row, _COLUMNS[min(at, 2)], "quoted fields are not read; leave quotes out")
            return
        if len(fields) != len(_COLUMNS):
            self._problem(row, "", f"{len(fields)} fields instead of {len(_COLUMNS)}")
            return
        sequence, label, target = fields
        wrong = [
            (column, message)
            for column, message in (
                ("sequence", _wrong_sequence(sequence)),
                ("label", "" if label in ("0", "1") else f"{label!r} is neither 0 nor 1"),
                ("target", _wrong_target(label, target)),
            )
            if message
        ]
        if not wrong:
            wrong = [("sequence", message) for message in self._repeat(row, sequence, target)]
        for column, message in wrong:
            self._problem(row, column, message)
        if not wrong:
            self._lengths[int(label), len(sequence)] += 1

    def _repeat(self, row: int, sequence: str, target: str) -> list[str]:
        if target:
            self._targets.add(target)
            first = self._pairs.setdefault((sequence, target), row)
            if first != row:
                return [f"the pair {sequence} and {target} stands in row {first} already"]
            return []
        first = self._background.setdefault(sequence, row)
        if first != row:
            return [f"background peptide {sequence} stands in row {first} already"]
        if sequence in self._positive:
            return [
                f"background peptide {sequence} is the peptide of a pair, "
                f"in row {self._positive[sequence]}"
            ]
        return []


def _peptides_of_pairs(lines: list[bytes]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row, line in enumerate(lines):
        fields = line.split(b",")
        if row and len(fields) == len(_COLUMNS) and fields[1] == b"1":
            found.setdefault(fields[0].decode("utf-8", "replace"), row)
    return found


def _wrong_sequence(sequence: str) -> str:
    wrong = _NOT_A_LETTER.search(sequence)
    if wrong:
        hint = "; write upper case" if wrong[0].upper() in LETTERS else ""
        return f"{wrong[0]!r} at position {wrong.start() + 1} is not one of {LETTERS}{hint}"
    if not MIN_LENGTH <= len(sequence) <= MAX_LENGTH:
        return f"{len(sequence)} letters; there must be {MIN_LENGTH} to {MAX_LENGTH}"
    return ""


def _wrong_target(label: str, target: str) -> str:
    if label == "1" and not target:
        return "label 1 needs a target"
    if label == "0" and target:
        return f"label 0 must have no target, but has {target[:40]!r}"
    if target and not TARGET.fullmatch(target):
        return f"{target[:80]!r} is not 1 to 64 letters, digits or any of '_.:-'"
    return ""
