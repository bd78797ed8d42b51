"""Figures of samples beside those of real and of random peptides, for `evaluate` and the report."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mimir.data.pack import TRAIN, Peptides
from mimir.output import properties, sheet
from mimir.output.likeness import COPY, Neighbours, distance, divergence, texts
from mimir.output.quality import SAMPLES, Reference, best_covered

PROPERTIES = ("length", "charge", "gravy", "pi", "instability")


@dataclass(frozen=True)
class TargetRow:
    """Of samples that were told one target, beside its training pairs.

    kl: divergence of their composition from the pairs' in nats; kl_untold: that of as many samples
    that were told none. copies: share of near copies of the pairs.
    """

    target: str
    pairs: int
    samples: int
    kl: float
    kl_untold: float
    length: float
    length_of_pairs: float
    copies: float


@dataclass(frozen=True)
class PropertyRow:
    """One property: its mean over samples and over training pairs, and how far the distribution
    of each set is from the pairs' (Kolmogorov-Smirnov, 0 to 1), by name."""

    name: str
    samples: float
    real: float
    distances: dict[str, float]


@dataclass(frozen=True)
class Tables:
    """what: "pairs", or "background" where there are none. values: of each property, of samples
    and of real peptides, for histograms."""

    what: str
    likeness: dict[str, dict[str, float]]
    properties: list[PropertyRow]
    targets: list[TargetRow]
    values: dict[str, tuple[list[float], list[float]]]

    def as_json(self) -> dict[str, Any]:
        """Without the values."""
        body = asdict(self)
        del body["values"]
        return body


def tables(peptides: Peptides, samples: Sequence[str], told: Mapping[str, Sequence[str]]) -> Tables:
    """All figures of samples, which were told no target, and of those told one, by its name."""
    reference = Reference(peptides)
    sets = reference.sets(samples)
    real = reference.real.sequences
    found = {name: _values(some) for name, some in sets.items()}
    of_real, of_samples = _values(real), _values(samples)
    rows = [
        PropertyRow(
            name, float(np.mean(of_samples[name])), float(np.mean(of_real[name])),
            {group: distance(values[name], of_real[name]) for group, values in found.items()},
        )
        for name in PROPERTIES
        if of_real[name] and of_samples[name]
    ]  # fmt: skip
    likeness = {name: asdict(one) for name, one in reference.compared(sets).items()}
    targets = [
        _target_row(peptides, target, told[name], samples)
        for target in best_covered(peptides)
        if told.get(name := peptides.vocabulary[target])
    ]
    values = {row.name: (of_samples[row.name], of_real[row.name]) for row in rows}
    return Tables(reference.what, likeness, rows, targets, values)


def _values(sequences: Sequence[str]) -> dict[str, list[float]]:
    found = properties.of_all(sequences)
    named = {name: [getattr(one, name) for one in found] for name in PROPERTIES[1:]}
    return {"length": [float(len(each)) for each in sequences], **named}


def _target_row(
    peptides: Peptides, target: int, told: Sequence[str], untold: Sequence[str]
) -> TargetRow:
    rows = peptides.subset(TRAIN, 1)
    own = texts(peptides.tokens, peptides.offsets, rows[peptides.targets[rows] == target])
    among = Neighbours(own)
    size = min(len(told), len(untold))
    return TargetRow(
        peptides.vocabulary[target], len(own), len(told), divergence(told[:size], own),
        divergence(untold[:size], own), float(np.mean([len(each) for each in told])),
        float(np.mean([len(each) for each in own])),
        float(np.mean([among.nearest(each)[1] >= COPY for each in told])),
    )  # fmt: skip


def lines(body: Mapping[str, Any]) -> list[str]:
    """The tables for people, of `Tables.as_json`."""
    what, likeness = body["what"], body["likeness"]
    size = int(likeness[SAMPLES]["peptides"])
    found = [f"samples beside other peptides, {size} of each, compared to training {what}"]
    head = ("set", "KL of composition", "3-mer Jaccard", "near copies", "equal", "diversity",
            "unique")  # fmt: skip
    keys = ("kl", "jaccard", "copies", "equal", "diversity", "unique")
    found += _columns(head, [(name, *(row[key] for key in keys)) for name, row in likeness.items()])
    groups = list(likeness)
    found.append(f"properties: means, and distance of each set from training {what} (KS, 0 to 1)")
    found += _columns(
        ("property", "mean", f"of {what}", *groups),
        [(row["name"], row["samples"], row["real"], *(row["distances"][g] for g in groups))
         for row in body["properties"]],
    )  # fmt: skip
    if body["targets"]:
        found.append("samples that are told a target, beside its training pairs")
        found += _columns(
            ("target", "pairs", "KL of composition", "KL if untold", "mean length", "of its pairs",
             "near copies"),
            [(row["target"], row["pairs"], row["kl"], row["kl_untold"], row["length"],
              row["length_of_pairs"], row["copies"]) for row in body["targets"]],
        )  # fmt: skip
    return found


def _columns(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return ["  " + line for line in sheet.as_table(head, rows, 3).splitlines()]
