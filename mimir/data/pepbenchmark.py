"""Reads the peptide-protein interaction task of PepBenchmark from the files that a person has.

PepBenchmark (ICLR 2026, arXiv 2604.10531; data set jiahuizhang/PepBenchData, folder PpI) keeps each
property of its rows in a CSV with the column `feature`, and each split in a JSON file:

    pep_fasta.csv, prot_fasta.csv, label.csv   peptide, protein and 0 or 1 of each row
    *_split.json                               {"seed_0": {"train": […], "valid": […], "test": […]}}

This is as its own loader reads them (PepBenchmark's `dataset_manager`, revision 0818bccc); the real
files were not seen. `prot_accession.csv`, of the same form, is an addition that names the proteins.
"""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimir.data import files
from mimir.data.columns import names_of, sound_rows
from mimir.data.pairs import PEPTIDE
from mimir.errors import BadInput

COLUMN = "feature"
_SPLITS = "_split.json"


@dataclass(frozen=True)
class Fold:
    """A test set: `rows` int64 [n] of a split by its name and seed."""

    split: str
    seed: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """N rows: peptides, proteins as sequences and as accessions ("" where none is named), labels
    bool [N]; and the official test sets."""

    peptides: tuple[str, ...]
    proteins: tuple[str, ...]
    accessions: tuple[str, ...]
    labels: NDArray[np.bool_]
    folds: tuple[Fold, ...]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Peptides of 4 to 20 letters, which alone can be scored: bool [N]."""
        return np.array([bool(PEPTIDE.fullmatch(each)) for each in self.peptides], dtype=bool)


def read(folder: Path) -> Task:
    """The task in a folder.

    Raises BadInput if a file is missing or is not of this form.
    """
    if not folder.is_dir():
        raise BadInput(f"there is no folder {folder}; give PepBenchData's folder PpI")
    peptides = _features(folder / "pep_fasta.csv")
    rows = len(peptides)
    proteins = _features(folder / "prot_fasta.csv", rows)
    labels = _features(folder / "label.csv", rows)
    for line, label in labels:
        if label not in ("0", "1", "0.0", "1.0"):
            where = f"{folder / 'label.csv'}, line {line}"
            raise BadInput(f"{where}: {label[:40]!r} is neither 0 nor 1")
    named = folder / "prot_accession.csv"
    accessions = _features(named, rows) if named.exists() else [(0, "")] * rows
    folds = [fold for path in sorted(folder.glob(f"*{_SPLITS}")) for fold in _folds(path, rows)]
    if not folds:
        raise BadInput(f"{folder} holds no official split, a file whose name ends in {_SPLITS}")
    return Task(
        tuple(peptide.strip().upper() for _, peptide in peptides),
        tuple(protein for _, protein in proteins), tuple(name for _, name in accessions),
        np.array([label[0] == "1" for _, label in labels], dtype=bool),
        tuple(folds),
    )  # fmt: skip


def _features(path: Path, rows: int | None = None) -> list[tuple[int, str]]:
    """The column `feature`, each value with its line, and of how many rows it must be."""
    lines = sound_rows(path, io.StringIO(files.text(path, "file of PepBenchmark"), newline=""))
    names = names_of(path, lines, (COLUMN,))
    at = names.index(COLUMN)
    found = []
    for line, fields in lines:
        if len(fields) != len(names):
            raise BadInput(f"{path}, line {line}: {len(fields)} fields instead of {len(names)}")
        found.append((line, fields[at]))
    if rows is not None and len(found) != rows:
        raise BadInput(f"{path} has {len(found):,} rows, but pep_fasta.csv has {rows:,}")
    return found


def _folds(path: Path, rows: int) -> list[Fold]:
    try:
        body = json.loads(files.read(path, "split of PepBenchmark"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON ({error}); is it PepBenchmark's?") from None
    if not isinstance(body, dict) or not body:
        raise BadInput(f'{path} holds no splits by seed, such as "seed_0"; is it PepBenchmark\'s?')
    name = path.name.removesuffix(_SPLITS)
    return [Fold(name, seed, _rows(parts, rows, f"{path}, {seed}")) for seed, parts in body.items()]


def _rows(parts: Any, rows: int, where: str) -> NDArray[np.int64]:
    test = parts.get("test") if isinstance(parts, dict) else None
    fits = isinstance(test, list) and all(type(row) is int and 0 <= row < rows for row in test)
    if not fits or not test or len(set(test)) < len(test):
        raise BadInput(f'{where}: "test" is not a list of different rows from 0 to {rows - 1:,}')
    return np.array(test, dtype=np.int64)
