"""Packs a verified CSV into the one file that training reads."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mimir.atomic_file import OutFile
from mimir.data import doubts, files, likeness, memory, sidecar, target_sequences
from mimir.data.alphabet import LETTERS
from mimir.data.baselines import Baselines, measure
from mimir.data.composition import Composition, letters_of
from mimir.data.draw import check_seed
from mimir.data.groups import renumbered, window_groups
from mimir.data.likeness import Described
from mimir.data.peptides import FORMAT, Peptides, load
from mimir.data.progress import Progress
from mimir.data.similar import MOST_ALIGNED, Peptide
from mimir.data.split import (
    KNOWN,
    LEFT_OUT,
    SELECTION,
    SELECTION_KNOWN,
    TRAIN,
    VALIDATION,
    Parts,
    split_rows,
)
from mimir.data.table import Table, parse
from mimir.data.thin import ALL_PAIRS, Thinning, thin
from mimir.data.verify import letters_by_label, not_read, verify
from mimir.errors import BadInput

__all__ = ["KNOWN", "TRAIN", "VALIDATION", "PackInfo", "Peptides", "load", "pack"]

_MAX_TARGETS = 1 << 15
HELD_OUT = 2000
"""Rows of background to hold out, where nobody says another part."""


@dataclass(frozen=True)
class PackInfo:
    """What was packed. `grouping` is "sidecar" or "sequence", see `pack`. sequences: targets with a
    sequence; features: numbers that describe each target instead, 0 if none do."""

    path: str
    digest: str
    bytes: int
    counts: dict[str, int]
    grouping: str
    baselines: Baselines
    sequences: int
    features: int
    notes: tuple[str, ...] = ()
    """What of the data is doubtful, was not read, or was done less well than usual."""

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        body = asdict(self)
        body["yardsticks"] = body.pop("baselines")  # as the packed file has it
        return body


def usual_part(csv: Path) -> float:
    """The part of the background to hold out, where nobody says another.

    A hundredth of a small data set would be too few peptides for a steady figure.
    """
    rows = 0
    if csv.is_file():
        with csv.open("rb") as file:
            rows = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b"")) - 1
    return max(0.01, min(0.1, HELD_OUT / max(1, rows)))


def pack(
    csv_path: Path,
    out: Path | str,
    validation: float = 0.01,
    validation_pairs: float = 0.1,
    seed: int = 0,
    thinning: Thinning = ALL_PAIRS,
    targets_fasta: Path | None = None,
    target_features: Path | None = None,
    progress: TextIO | None = None,
) -> PackInfo:
    """Pack a data set CSV into one safetensors file; the same inputs give the same bytes.

    `-` is standard output.

    Whole groups of rows are held out until they make the part `validation` of the background,
    and the part `validation_pairs` of the pairs, as whole targets, and again of the pairs that are
    left, as clusters of similar peptides. Near copies of held-out pairs leave training, and so do
    windows that share 6 letters in a row with one. One half of each held-out set selects, the
    other is reported, again by whole groups: no selection pair resembles a reported one.

    Groups of the background come from the sidecar that a build leaves beside its CSV (clusters of
    whole proteins); without one, windows are grouped by shared 7-mers. A million rows take about
    10 s. `thinning` leaves pairs out before.

    Sequences of the targets come from `targets_fasta`, or from the file that a build leaves beside
    its CSV; targets without one are allowed. `target_features` is a table as
    `likeness.read_features` takes it, which then decides how alike targets are.

    Raises BadInput if the CSV is not clean (the first problem is named), or if the sidecar
    belongs to another CSV.
    """
    for name, part in (("--validation", validation), ("--validation-pairs", validation_pairs)):
        if not 0 <= part < 1:
            raise BadInput(f"{name} is {part}, but must be a part of the rows, from 0 to below 1")
    check_seed(seed)
    beside = target_sequences.path_of(csv_path)
    inputs = [("--path", path) for path in (csv_path, sidecar.path_of(csv_path), beside)]
    inputs += [("--targets-fasta", targets_fasta)] if targets_fasta else []
    inputs += [("--target-features", target_features)] if target_features else []
    target = OutFile(str(out), inputs)
    fasta = targets_fasta or (beside if beside.exists() else None)
    with Progress("pack", 5, progress) as at:
        at.stage("reading the CSV")
        memory.check(csv_path)
        data = files.read(csv_path, "data set CSV")
        table = parse(data)
        if table is None:
            raise BadInput(_unclean(csv_path))
        if len(table.vocabulary) > _MAX_TARGETS:
            raise BadInput(
                f"{csv_path} has {len(table.vocabulary)} targets; at most {_MAX_TARGETS} fit"
            )
        digest = files.sha256(data)
        del data  # what follows takes as much again

        at.stage("grouping rows")
        groups = sidecar.read(csv_path, digest, len(table))
        grouping = "sequence" if groups is None else "sidecar"
        if groups is None:
            groups = groups_of(table)
        thinned = thin(table, thinning, seed)
        if len(thinned.kept) < len(table):
            table, groups = table.take(thinned.kept), groups[thinned.kept]

        at.stage("reading targets")
        described = _described(table.vocabulary, fasta, target_features)

        at.stage("splitting and measuring baselines")
        peptides = Peptide.of(table.tokens, table.offsets)
        parts = Parts(validation, validation_pairs)
        split = split_rows(peptides, table.labels, table.targets, groups, parts, seed)
        trained = np.flatnonzero((split == TRAIN) & (table.labels == 1))
        count = len(table.vocabulary)
        own = letters_of(table.tokens, table.offsets, trained, table.targets, count)
        composition = Composition.of(own, described)
        baselines = measure(
            table.tokens, table.offsets, table.labels, split, table.targets, composition
        )

        at.stage("writing")
        counts = _counts(table, split)
        counts |= {"excluded_pairs": thinned.excluded, "capped_pairs": thinned.capped}
        record = {
            "alphabet": LETTERS,
            "counts": counts,
            "csv_sha256": digest,
            "format": FORMAT,
            "grouping": grouping,
            "seed": seed,
            "targets": list(table.vocabulary),
            "validation": validation,
            "validation_pairs": validation_pairs,
            "yardsticks": baselines.as_json(),
        }
        tensors: dict[str, NDArray[Any]] = {
            "tokens": table.tokens,
            "offsets": table.offsets.astype(np.int32),
            "labels": table.labels,
            "targets": table.targets.astype(np.int16),
            "split": split,
            "target_tokens": described.tokens,
            "target_offsets": described.offsets,
            "target_features": described.features,
        }
        packed = files.to_bytes(tensors, record)
        target.write(packed)
    digest = files.sha256(packed)
    sequences = int((np.diff(described.offsets) > 0).sum())
    return PackInfo(
        str(out), digest, len(packed), counts, grouping, baselines, sequences, described.width,
        _notes(table, split),
    )  # fmt: skip


def _notes(table: Table, split: NDArray[np.uint8]) -> tuple[str, ...]:
    notes = [not_read(table.ignored)] if table.ignored else []
    letters = letters_by_label(table.tokens, table.offsets, table.labels)
    notes += doubts.of_letters("background peptides", letters[0])
    notes += doubts.of_letters("peptides of pairs", letters[1])
    trained = np.bincount(table.targets[(table.labels == 1) & (split == TRAIN)])
    notes += doubts.of_targets(trained[trained > 0], " training")
    pairs = int((table.labels == 1).sum())
    if pairs > MOST_ALIGNED:
        notes.append(
            f"of {pairs:,} pairs near copies are found by 6 letters in a row only: more than "
            f"{MOST_ALIGNED:,} are not compared letter by letter"
        )
    return tuple(notes)


def _described(names: tuple[str, ...], fasta: Path | None, features: Path | None) -> Described:
    found = Described.none(len(names))
    if fasta:
        found = Described.of(names, target_sequences.read(fasta))
    if features and names:
        found = replace(found, features=likeness.read_features(features, names))
    return found


def groups_of(table: Table) -> NDArray[np.int32]:
    """Groups of the background by their letters, int32 [N]; 0 for pairs, which have none."""
    groups = np.zeros(len(table), dtype=np.int32)
    background = np.flatnonzero(table.labels == 0)
    groups[background] = renumbered(window_groups(table.tokens, table.offsets, background))
    return groups


def _counts(table: Table, split: NDArray[np.uint8]) -> dict[str, int]:
    parts = {
        "train": TRAIN, "selection": SELECTION, "validation": VALIDATION, "left_out": LEFT_OUT,
    }  # fmt: skip
    kinds = {
        f"{name}_{kind}": int(((split == value) & (table.labels == label)).sum())
        for name, value in parts.items()
        for label, kind in enumerate(("background", "pairs"))
    }
    return {
        "rows": len(table), "residues": len(table.tokens), "targets": len(table.vocabulary),
        **kinds, "selection_known": int((split == SELECTION_KNOWN).sum()),
        "validation_known": int((split == KNOWN).sum()),
    }  # fmt: skip


def _unclean(csv_path: Path) -> str:
    report = verify(csv_path)
    more = f" (and {report.problem_count - 1} more)" if report.problem_count > 1 else ""
    first = report.problems[0] if report.problems else "it changed while it was read"
    return f"{csv_path}, {first}{more}; to see all: python -m mimir data verify --path {csv_path}"
