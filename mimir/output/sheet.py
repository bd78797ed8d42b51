"""Writes rows of named values as CSV or as a table for a terminal."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def as_csv(rows: Sequence[Row]) -> str:
    """RFC 4180 with line feeds; the columns are those of the first row. None is an empty cell."""
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([shown(value) for value in row.values()] for row in rows)
    return sheet.getvalue()


def shown(value: Any, digits: int = 4) -> str:
    """A value as text: numbers rounded, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{digits}f}"
    return str(value)


def as_table(head: Sequence[str], rows: Sequence[Sequence[Any]], digits: int = 2) -> str:
    """Columns as wide as they need; numbers to the right, text to the left."""
    cells = [[shown(value, digits) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    right = [
        all(value is None or isinstance(value, (int, float)) for value in column)
        for column in zip(*rows, strict=True)
    ] or [False] * len(head)

    def line(values: Sequence[str]) -> str:
        columns = zip(values, widths, right, strict=True)
        return "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in columns).rstrip()

    return "\n".join(line(row) for row in [head, *cells])
