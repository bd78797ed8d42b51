"""Packs a verified CSV into the one file that training reads."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mimir.atomic_file import OutFile
from mimir.data import files, sidecar
from mimir.data.alphabet import LETTERS
from mimir.data.baselines import Baselines, measure
from mimir.data.groups import pair_groups, renumbered, window_groups
from mimir.data.peptides import FORMAT, Peptides, load
from mimir.data.progress import Progress
from mimir.data.split import TRAIN, VALIDATION, split_rows
from mimir.data.table import Table, parse
from mimir.data.verify import verify
from mimir.errors import BadInput

__all__ = ["TRAIN", "VALIDATION", "PackInfo", "Peptides", "load", "pack"]

_MAX_TARGETS = 1 << 15


@dataclass(frozen=True)
class PackInfo:
    """What was packed. `grouping` is "sidecar" or "sequence", see `pack`."""

    path: str
    digest: str
    bytes: int
    counts: dict[str, int]
    grouping: str
    baselines: Baselines

    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        body = asdict(self)
        body["yardsticks"] = body.pop("baselines")  # as the packed file has it
        return body


def pack(
    csv_path: Path,
    out: Path | str,
    validation: float = 0.01,
    validation_pairs: float = 0.1,
    seed: int = 0,
    progress: TextIO | None = None,
) -> PackInfo:
    """Pack a data set CSV into one safetensors file; the same inputs give the same bytes.

    `-` is standard output.

    Whole groups of rows are held out until they make the part `validation` of the background
    and `validation_pairs` of the pairs. Groups come from the sidecar that a build leaves beside
    its CSV (clusters of whole proteins); without one, windows are grouped by shared 7-mers and
    pairs by shared target or peptide. A million rows take about 3 s, 5 s without a sidecar.

    Raises BadInput if the CSV is not clean (the first problem is named), or if the sidecar
    belongs to another CSV.
    """
    for name, part in (("validation", validation), ("validation_pairs", validation_pairs)):
        if not 0 <= part < 1:
            raise BadInput(f"{name} must be a part of the rows, from 0 to below 1, not {part}")
    target = OutFile(str(out), [("--path", csv_path), ("--path", sidecar.path_of(csv_path))])
    with Progress("pack", 4, progress) as at:
        at.stage("reading the CSV")
        data = files.read(csv_path, "data set CSV")
        table = parse(data)
        if table is None:
            raise BadInput(_unclean(csv_path))
        if len(table.vocabulary) > _MAX_TARGETS:
            raise BadInput(
                f"{csv_path} has {len(table.vocabulary)} targets; at most {_MAX_TARGETS} fit"
            )
        digest = files.sha256(data)

        at.stage("grouping rows")
        groups = sidecar.read(csv_path, digest, len(table))
        grouping = "sequence" if groups is None else "sidecar"
        if groups is None:
            groups = groups_of(table)

        at.stage("splitting and measuring yardsticks")
        split = split_rows(groups, table.labels, validation, validation_pairs, seed)
        baselines = measure(table.tokens, table.offsets, table.labels, split)

        at.stage("writing")
        counts = _counts(table, split)
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
        }
        packed = files.to_bytes(tensors, record)
        target.write(packed)
    return PackInfo(str(out), files.sha256(packed), len(packed), counts, grouping, baselines)


def groups_of(table: Table) -> NDArray[np.int32]:
    """Groups of a table's rows by their sequences, int32 [N]; pairs first in number."""
    groups = np.zeros(len(table), dtype=np.int32)
    pairs, background = np.flatnonzero(table.labels == 1), np.flatnonzero(table.labels == 0)
    used = 0
    if len(pairs):
        groups[pairs] = renumbered(pair_groups(table.keys.take(pairs), table.targets[pairs]))
        used = int(groups[pairs].max()) + 1
    if len(background):
        letters = np.repeat(table.labels == 0, table.lengths)
        offsets = np.concatenate([[0], np.cumsum(table.lengths[background])]).astype(np.int64)
        groups[background] = renumbered(window_groups(table.tokens[letters], offsets)) + used
    return groups


def _counts(table: Table, split: NDArray[np.uint8]) -> dict[str, int]:
    held, pair = split == VALIDATION, table.labels == 1
    return {
        "rows": len(table),
        "residues": len(table.tokens),
        "targets": len(table.vocabulary),
        "train_background": int((~held & ~pair).sum()),
        "train_pairs": int((~held & pair).sum()),
        "validation_background": int((held & ~pair).sum()),
        "validation_pairs": int((held & pair).sum()),
    }


def _unclean(csv_path: Path) -> str:
    report = verify(csv_path)
    more = f" (and {report.problem_count - 1} more)" if report.problem_count > 1 else ""
    first = report.problems[0] if report.problems else "it changed while it was read"
    return f"{csv_path}, {first}{more}; to see all: python -m mimir data verify --path {csv_path}"
