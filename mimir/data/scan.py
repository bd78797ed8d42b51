"""Explains what is wrong with a data set CSV, in which row, line and column."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.alphabet import LETTERS, MAX_LENGTH, MIN_LENGTH, N_LETTERS, encode
from mimir.data.columns import COLUMNS, NoColumns, find, lone_cr, rows
from mimir.data.pairs import TARGET

PROBLEMS_SHOWN = 20

_NOT_A_LETTER = re.compile(f"[^{LETTERS}]")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")


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


@dataclass(frozen=True, eq=False)
class Counts:
    """Of sound rows, by label: `lengths` int64 [2, 21] and `letters` int64 [2, 25].

    pairs: of each target, int64 [T]. peptides: distinct ones of pairs.
    """

    rows: int
    peptides: int
    pairs: NDArray[np.int64]
    lengths: NDArray[np.int64]
    letters: NDArray[np.int64]


class Scan:
    """Line by line through a file that is not clean: slow, but it can explain.

    Every check of `table.parse` has its sentence here. problems: the first 20 of `found`.
    """

    def __init__(self, data: bytes) -> None:
        self.problems: list[Problem] = []
        self.found = 0
        self.ignored: tuple[str, ...] = ()
        self._rows = 0
        self._lengths = np.zeros((2, MAX_LENGTH + 1), dtype=np.int64)
        self._letters = np.zeros((2, N_LETTERS), dtype=np.int64)
        self._targets: Counter[str] = Counter()
        self._background: dict[str, int] = {}
        self._pairs: dict[tuple[str, str], int] = {}
        self._positive: dict[str, int] = {}
        if not data.strip():
            names = ",".join(COLUMNS)
            self._problem(0, 1, "", f"the file is empty; it should begin with {names!r}")
            return
        if form := files.other_form(data):
            self._problem(0, 1, "", f"the file is {form}")
            return
        data = self._line_ends(data)
        columns = find(data)
        if isinstance(columns, NoColumns):
            self._problem(0, 1, ",".join(columns.missing), columns.message)
            return
        self.ignored = columns.ignored
        for row, (_, fields) in enumerate(rows(data, columns), start=1):
            if len(fields) == columns.count and fields[columns.places[1]] == "1":
                self._positive.setdefault(fields[columns.places[0]], row)
        for row, (line, fields) in enumerate(rows(data, columns), start=1):
            self._rows = row
            if isinstance(fields, str):
                self._problem(row, line, "", f"the line cannot be read: {fields}")
            elif not fields:
                self._problem(row, line, "", "the line is empty")
            elif len(fields) != columns.count:
                self._problem(row, line, "", f"{len(fields)} fields instead of {columns.count}")
            else:
                self._row(row, line, *(fields[place] for place in columns.places))
        if not self._rows:
            self._problem(0, 1, "", "there is a header but no rows")

    def counts(self) -> Counts:
        """Counts of the sound rows."""
        peptides = len({sequence for sequence, _ in self._pairs})
        pairs = np.array(list(self._targets.values()), dtype=np.int64)
        return Counts(self._rows, peptides, pairs, self._lengths, self._letters)

    def _problem(self, row: int, line: int, column: str, message: str) -> None:
        self.found += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(Problem(row, line, column, message))

    def _line_ends(self, data: bytes) -> bytes:
        """The data without a CR inside a line, after one problem for all of them."""
        at = lone_cr(data)
        if at < 0:
            return data
        row = data.count(b"\n", 0, at)
        message = "a CR that ends no line; write lines that end in LF or CR LF"
        self._problem(row, row + 1, "", message)
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _row(self, row: int, line: int, sequence: str, label: str, target: str) -> None:
        wrong = [
            (column, message)
            for column, message in (
                ("sequence", _not_utf8(sequence) or _wrong_sequence(sequence)),
                ("label", "" if label in ("0", "1") else f"{label[:40]!r} is neither 0 nor 1"),
                ("target", _not_utf8(target) or _wrong_target(label, target)),
            )
            if message
        ]
        if not wrong:
            wrong = [("sequence", message) for message in self._repeat(row, sequence, target)]
        for column, message in wrong:
            self._problem(row, line, column, message)
        if not wrong:
            self._lengths[int(label), len(sequence)] += 1
            self._letters[int(label)] += np.bincount(encode(sequence), minlength=N_LETTERS)

    def _repeat(self, row: int, sequence: str, target: str) -> list[str]:
        if target:
            first = self._pairs.setdefault((sequence, target), row)
            if first != row:
                return [f"the pair {sequence} and {target} stands in row {first} already"]
            self._targets[target] += 1
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


def _not_utf8(field: str) -> str:
    found = _NOT_UTF8.search(field)
    return f"byte {ord(found[0]) - 0xDC00:#04x} is not UTF-8" if found else ""


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
