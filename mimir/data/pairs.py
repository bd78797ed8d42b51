"""Reads known pairs of a peptide and the protein that it binds, the input of a build."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimir.data import files
from mimir.data.alphabet import LETTERS, MAX_LENGTH, MIN_LENGTH
from mimir.data.columns import names_of, sound_rows
from mimir.errors import BadInput
from mimir.text import clipped

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
    """Pairs of a CSV with the columns `sequence` and `target`, in UTF-8; others are ignored.

    With `exclude_sources` a column `source` is needed as well, a list separated by ';'. A row is
    left out if each of its sources begins with one of the given prefixes, in any case.

    Raises BadInput that names the line if a column is missing or a value breaks a constraint.
    """
    text = files.text(path, "CSV of pairs")
    lines = sound_rows(path, io.StringIO(text, newline=""))
    needed = ["sequence", "target"] + (["source"] if exclude_sources else [])
    columns = names_of(path, lines, needed)
    prefixes = tuple(prefix.strip().lower() for prefix in exclude_sources if prefix.strip())
    seen: set[tuple[str, str]] = set()
    count = excluded = 0
    for line, fields in lines:
        where = f"{path}, line {line}"
        if len(fields) > len(columns):
            raise BadInput(f"{where}: {len(fields)} fields instead of {len(columns)}")
        row = dict(zip(columns, fields, strict=False))
        sequence, target = row.get("sequence", ""), row.get("target", "")
        if not PEPTIDE.fullmatch(sequence):
            raise BadInput(
                f"{where}: sequence {clipped(sequence, 40)!r} is not {MIN_LENGTH} to {MAX_LENGTH} "
                f"letters of {LETTERS}; correct it or take the row out"
            )
        if not TARGET.fullmatch(target):
            raise BadInput(
                f"{where}: target {clipped(target, 80)!r} is not 1 to 64 letters, digits or any "
                "of '_.:-'"
            )
        if prefixes:
            sources = [part.strip().lower() for part in row.get("source", "").split(";")]
            if all(source.startswith(prefixes) for source in sources):
                excluded += 1
                continue
        count += 1
        seen.add((sequence, target))
    if not seen:
        raise BadInput(f"{path} has no pairs" + (" left after the exclusion" if excluded else ""))
    return Pairs(tuple(sorted(seen)), count - len(seen), excluded)
