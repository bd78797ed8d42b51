"""Reads known pairs of a peptide and the protein that it binds, the input of a build."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir.data import files
from mimir.data.alphabet import LETTERS, MAX_LENGTH, MIN_LENGTH
from mimir.errors import BadInput

# UniProt accessions, PDB chains, gene names. No comma, quote or blank: the data set is plain CSV.
TARGET = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
PEPTIDE = re.compile(f"[{LETTERS}]{{{MIN_LENGTH},{MAX_LENGTH}}}")


@dataclass(frozen=True)
class Pairs:
    """Distinct (sequence, target) pairs, sorted, and how many rows were left out."""

    rows: tuple[tuple[str, str], ...]
    repeated: int
    excluded: int


def read_pairs(path: Path, exclude_sources: Sequence[str] = ()) -> Pairs:
    """Pairs of a CSV with the columns `sequence` and `target`; others are ignored.

    With `exclude_sources` a column `source` is needed as well, a list separated by ';'. A row is
    left out if each of its sources begins with one of the given prefixes, in any case.

    Raises BadInput that names the line if a column is missing or a value breaks a constraint.
    """
    try:
        text = files.read(path, "CSV of pairs").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from (
            error
        )
    reader = csv.DictReader(io.StringIO(text, newline=""))
    needed = ["sequence", "target"] + (["source"] if exclude_sources else [])
    columns = list(reader.fieldnames or [])
    missing = [name for name in needed if name not in columns]
    if missing:
        have = ", ".join(columns) if columns else "nothing"
        raise BadInput(f"{path} has no column {' or '.join(missing)}; its first line has {have}")
    prefixes = tuple(prefix.strip().lower() for prefix in exclude_sources if prefix.strip())
    seen: set[tuple[str, str]] = set()
    count = excluded = 0
    try:
        for row in reader:
            sequence, target = row["sequence"] or "", row["target"] or ""
            where = f"{path}, line {reader.line_num}"
            if not PEPTIDE.fullmatch(sequence):
                raise BadInput(
                    f"{where}: sequence {sequence!r} is not {MIN_LENGTH} to {MAX_LENGTH} "
                    f"letters of {LETTERS}; correct it or take the row out"
                )
            if not TARGET.fullmatch(target):
                raise BadInput(
                    f"{where}: target {target!r} is not 1 to 64 letters, digits or any of '_.:-'"
                )
            if prefixes:
                sources = [part.strip().lower() for part in (row["source"] or "").split(";")]
                if all(source.startswith(prefixes) for source in sources):
                    excluded += 1
                    continue
            count += 1
            seen.add((sequence, target))
    except csv.Error as error:
        raise BadInput(f"{path}, line {reader.line_num}: {error}") from error
    if not seen:
        raise BadInput(f"{path} has no pairs" + (" left after the exclusion" if excluded else ""))
    return Pairs(tuple(sorted(seen)), count - len(seen), excluded)
