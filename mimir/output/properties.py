"""Physical and chemical properties of peptides, by Biopython's ProtParam.

Not for training: a machine that only trains does not have Biopython.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mimir.data.alphabet import STANDARD

PH = 7.4


@dataclass(frozen=True)
class Properties:
    """charge: at pH 7.4, ends included. gravy: mean hydropathy (Kyte & Doolittle 1982). pi:
    isoelectric point. instability: index of Guruprasad et al. 1990, above 40 for unstable proteins;
    made for proteins, so on peptides it compares only."""

    charge: float
    gravy: float
    pi: float
    instability: float


def of(sequence: str) -> Properties | None:
    """Of one peptide; None if it has another letter than the 20."""
    if not set(sequence) <= set(STANDARD):
        return None
    from Bio.SeqUtils.ProtParam import ProteinAnalysis  # here, because a worker lacks it

    found = ProteinAnalysis(sequence)
    return Properties(
        round(float(found.charge_at_pH(PH)), 4), round(float(found.gravy()), 4),
        round(float(found.isoelectric_point()), 4), round(float(found.instability_index()), 4),
    )  # fmt: skip


def of_all(sequences: Sequence[str]) -> list[Properties]:
    """Of those that have no other letter than the 20."""
    return [found for each in sequences if (found := of(each)) is not None]
