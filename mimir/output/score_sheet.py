"""Rows of the table that `python -m mimir score` prints or writes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mimir.output.condition import Condition
from mimir.output.peptide_file import Entry
from mimir.output.score import Scores, ranks

SHOWN = (
    "rank", "target_rank", "target", "sequence", "nelbo", "nelbo_se", "over_untold",
    "over_untold_se", "over_background", "over_background_se",
)  # fmt: skip
"""Columns of the table on a terminal."""


def rows_of(
    entries: Sequence[Entry], targets: Sequence[str], conditions: Sequence[Condition],
    found: Sequence[Scores],
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each target and peptide, the best peptide of each target first.

    Args:
        targets: as the user named them, "" for none.
        conditions, found: of each of them.
    """
    pairs = zip(found, conditions, strict=True)
    keys = np.stack([scores.key(told).value for scores, told in pairs], axis=1)
    of_peptide, of_target = ranks(keys), ranks(keys.T).T
    rows = []
    for column, (scores, name) in enumerate(zip(found, targets, strict=True)):
        for row in np.argsort(of_peptide[:, column]).tolist():
            entry = entries[row]
            rows.append({
                "rank": int(of_peptide[row, column]), "target": name or None, "name": entry.name,
                "sequence": entry.value, **values(scores, row),
                "nelbo_per_residue": float(scores.nelbo.value[row]) / len(entry.value),
                "target_rank": int(of_target[row, column]) if len(targets) > 1 else None,
            })  # fmt: skip
    return rows


def values(scores: Scores, row: int) -> dict[str, float]:
    """The figures of one peptide by column."""
    return {
        name + ending: float(part[row])
        for name in ("nelbo", "over_untold", "over_background")
        for figure in (getattr(scores, name),)
        for ending, part in (("", figure.value), ("_se", figure.error))
    }
