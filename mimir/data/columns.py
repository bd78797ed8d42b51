"""Reads rows of CSV; finds the columns of a data set by their names, and takes quotes away."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir.errors import BadInput
from mimir.text import clipped, visible

COLUMNS = ("sequence", "label", "target")
"""In any order, among others."""
HEADER = ",".join(COLUMNS) + "\n"
"""As a build writes it."""
_UNCLOSED = "; is a quote in it not closed?"
"""After what the CSV library says of a row: that a field is too long, or that the data end."""
_BOM = b"\xef\xbb\xbf"
_ERRORS = "surrogateescape"
"""Makes a byte that is no UTF-8 a lone surrogate, which stands in no name, and a byte again."""


@dataclass(frozen=True)
class Columns:
    """places: of `COLUMNS` among the `count` columns. rows_at: first byte below the header.

    ignored: names of the others.
    """

    places: tuple[int, int, int]
    count: int
    rows_at: int
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoColumns:
    """Why a header cannot be used, and which columns it lacks."""

    message: str
    missing: tuple[str, ...] = ()


def find(data: bytes) -> Columns | NoColumns:
    """Where the columns stand, by the first line of a CSV; a byte order mark is passed over."""
    start = len(_BOM) if data.startswith(_BOM) else 0
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    line = data[start:end].removesuffix(b"\r").decode("utf-8", _ERRORS)
    wanted = f"it must name {', '.join(COLUMNS)}, in any order"
    shown = repr(visible(line[:80]))
    try:
        rows = list(csv.reader([line], strict=True))
    except csv.Error as error:
        return NoColumns(f"the header {shown} cannot be read ({error}); {wanted}")
    names = [name.strip() for name in rows[0]] if rows else []
    missing = tuple(name for name in COLUMNS if name not in names)
    if missing:
        split = next((f"; it is split at {each!r}, and must be at commas" for each in ";\t|"
                      if len(names) == 1 and each in line), "")  # fmt: skip
        return NoColumns(
            f"the header lacks {' and '.join(missing)}: it is {shown}{split}; {wanted}", missing
        )
    if twice := repeated(names, COLUMNS):
        return NoColumns(f"the header names {twice} twice: it is {shown}; {wanted}")
    sequence, label, target = (names.index(name) for name in COLUMNS)
    ignored = tuple(name for name in names if name not in COLUMNS)
    return Columns((sequence, label, target), len(names), min(end + 1, len(data)), ignored)


def repeated(names: Iterable[str], wanted: Iterable[str]) -> str:
    """The first of the wanted names that a header has twice: which of the two is meant?"""
    count = Counter(names)
    return next((name for name in wanted if count[name] > 1), "")


def rows(data: bytes, columns: Columns) -> Iterator[tuple[int, list[str] | str]]:
    """Each row: the line on which it begins, and its fields, or why it cannot be read.

    By the rules of CSV, slowly. A byte that is no UTF-8 is a lone surrogate in its field.
    """
    text = data[columns.rows_at :].decode("utf-8", _ERRORS)
    return _rows(io.StringIO(text, newline=""), 2)


def sound_rows(path: Path, lines: Iterable[str], first: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Each row that has fields, and the line on which it begins; BadInput for one that cannot be
    read.

    Args:
        path: of the file, for messages.
        lines: of it, with their ends.
        first: number of the first of them, from 1.
    """
    for line, fields in _rows(lines, first):
        if isinstance(fields, str):
            raise BadInput(f"{path}, line {line}: this is no row of a CSV: {fields}")
        if fields:
            yield line, fields


def names_of(path: Path, rows: Iterator[tuple[int, list[str]]], needed: Sequence[str]) -> list[str]:
    """The names of the columns, from the first row; BadInput if a needed one is missing, or there
    twice.

    Args:
        path: of the file, for messages.
        rows: of `sound_rows`, from the first one; the first one is taken.
    """
    _, header = next(rows, (1, []))
    names = [name.strip() for name in header]
    missing = [name for name in needed if name not in names]
    if missing:
        have = ", ".join(names) if names else "nothing"
        raise BadInput(
            f"{path} has no column {' or '.join(missing)}; its first line has {clipped(have, 200)}"
        )
    if twice := repeated(names, needed):
        raise BadInput(f"{path}: the first line names {twice} twice; take one of the columns out")
    return names


def _rows(lines: Iterable[str], first: int) -> Iterator[tuple[int, list[str] | str]]:
    reader = csv.reader(lines, strict=True)
    while True:
        line = first + reader.line_num
        try:
            yield line, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"{error}{_UNCLOSED}"


def unquoted(data: bytes, columns: Columns) -> bytes | None:
    """The three columns of a CSV that has quotes, as a CSV without; None if a row does not allow
    it, and is wrong anyway."""
    lines = [HEADER]
    for _, row in rows(data, columns):
        if isinstance(row, str) or len(row) != columns.count:
            return None
        fields = [row[place] for place in columns.places]
        if any(mark in field for field in fields for mark in ',"\r\n'):
            return None
        lines.append(",".join(fields) + "\n")
    return "".join(lines).encode("utf-8", _ERRORS)


def lone_cr(data: bytes) -> int:
    """Where a CR stands that ends no line; -1 if none does."""
    if data.count(b"\r") == data.count(b"\r\n"):
        return -1
    at = data.find(b"\r")
    while data[at + 1 : at + 2] == b"\n":
        at = data.find(b"\r", at + 1)
    return at
