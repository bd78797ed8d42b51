"""Chooses among drawn peptides, and makes their rows: score, length, charge and more of each."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mimir.output import properties, sheet
from mimir.output.condition import Condition
from mimir.output.likeness import Neighbours
from mimir.output.score import Scores, ranks

FORMATS = ("table", "fasta", "csv", "json")
SHOWN = (
    "rank", "sequence", "target", "score", "score_se", "nelbo", "length", "charge", "gravy", "pi",
    "nearest", "identity",
)  # fmt: skip
"""Columns of the table for people: the target's only if there are several."""
_TRIES = 100
"""Peptides that are drawn for each that is wanted, and 1,000 more, before it is given up."""


@dataclass(frozen=True)
class Wanted:
    """Which peptides are kept: different ones, none of `known` (a test), none of `excluded`."""

    unique: bool = False
    known: Callable[[list[str]], list[bool]] | None = None
    excluded: frozenset[str] = frozenset()


def choose(
    chunks: Iterator[list[str]], count: int, wanted: Wanted, progress: Callable[[int], None]
) -> list[tuple[int, str]]:
    """The first `count` that are wanted, each with its number among all drawn, from 1.

    Fewer if they are not among _TRIES times as many.
    """
    found: list[tuple[int, str]] = []
    seen: set[str] = set()
    number = 0
    while len(found) < count and number < _TRIES * count + 1000:
        before = len(found)
        chunk = next(chunks)
        known = wanted.known(chunk) if wanted.known else [False] * len(chunk)
        for sequence, old in zip(chunk, known, strict=True):
            number += 1
            if old or sequence in wanted.excluded or (wanted.unique and sequence in seen):
                continue
            if len(found) < count:
                seen.add(sequence)
                found.append((number, sequence))
        progress(len(found) - before)
    return found


@dataclass(frozen=True)
class Header:
    """What reproduces samples: source and sha256 (hex) of the weights, the target, all options."""

    source: str
    model_sha256: str
    target: str
    options: Mapping[str, object]

    @property
    def settings(self) -> str:
        """The options as they are given to `python -m mimir sample`."""
        return " ".join(
            f"--{name.replace('_', '-')} {value}"
            for name, value in self.options.items()
            if value not in ("", None)
        )

    @property
    def id(self) -> str:
        """8 hex digits of model, target and settings: other ones give other ids."""
        named = f"{self.model_sha256} {self.target} {self.settings}"
        return hashlib.sha256(named.encode()).hexdigest()[:8]


def rows_of(
    chosen: Sequence[tuple[int, str]], name: str, condition: Condition, label: str,
    scores: Scores | None, pairs: Neighbours | None, ranked: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each sample: in the order of drawing, or the best score first.

    Args:
        name: what ids begin with.
        scores: of the samples; None: they have no scores.
        pairs: of training; None: the nearest is not told.
        ranked: sort by score.
    """
    score = scores.key(condition) if scores else None
    rank = ranks(score.value) if score else np.arange(len(chosen)) + 1
    rows = []
    for at in np.argsort(rank).tolist() if ranked else range(len(chosen)):
        number, sequence = chosen[at]
        found = properties.of(sequence)
        assert found is not None  # the sampler draws the 20 letters
        row: dict[str, Any] = {"id": f"{name}_{number}"}
        if ranked:
            row["rank"] = int(rank[at])
        row |= {"sequence": sequence, "target": condition.name or None, "label": label}
        if scores and score:
            row |= {
                "score": round(float(score.value[at]), 4),
                "score_se": round(float(score.error[at]), 4),
                "nelbo": round(float(scores.nelbo.value[at]), 4),
            }
        row |= {"length": len(sequence), "charge": found.charge, "gravy": found.gravy,
                "pi": found.pi}  # fmt: skip
        if pairs:
            nearest, identity = pairs.nearest(sequence)
            row |= {"nearest": nearest, "identity": round(identity, 4)}
        rows.append(row)
    return rows


@dataclass(frozen=True)
class Batch:
    """Samples of one condition, as `rows_of` gives them."""

    header: Header
    rows: list[dict[str, Any]]


def rendered(batches: Sequence[Batch], format: str) -> str:
    """The samples as text.

    table: for people, with model and settings below it. fasta: all but the sequence in the record's
    description. csv: model and settings in two columns of each row, because a CSV has no place for
    a header. json: {headers, peptides}; the header of a peptide is the one of its target.
    """
    if format == "table":
        return _table(batches)
    if format == "json":
        heads = [
            {"model": b.header.source, "model_sha256": b.header.model_sha256,
             "settings": dict(b.header.options)}
            for b in batches
        ]  # fmt: skip
        peptides = [row for batch in batches for row in batch.rows]
        return json.dumps({"headers": heads, "peptides": peptides}, indent=2) + "\n"
    rows = [{**row, **_tail(batch.header)} for batch in batches for row in batch.rows]
    if format == "csv":
        return sheet.as_csv(rows)
    return "".join(
        f">{row['id']} "
        + " ".join(
            f"{key}={json.dumps(value) if key == 'settings' else value}"
            for key, value in row.items()
            if key not in ("id", "sequence") and value not in (None, "")
        )
        + f"\n{row['sequence']}\n"
        for row in rows
    )


def _table(batches: Sequence[Batch]) -> str:
    rows = [row for batch in batches for row in batch.rows]
    columns = [
        name for name in SHOWN
        if any(row.get(name) is not None for row in rows)
        and (name != "target" or len(batches) > 1)
    ]  # fmt: skip
    table = sheet.as_table(columns, [[row.get(name) for name in columns] for row in rows])
    lines = [f"model {_tail(b.header)['model']}, drawn by {b.header.settings}" for b in batches]
    return "\n".join([*([table, ""] if rows else []), *lines]) + "\n"


def _tail(header: Header) -> dict[str, str]:
    return {"model": header.model_sha256[:16], "settings": header.settings}
