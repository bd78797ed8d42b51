"""How many vCPUs of a family an account may have at once: 0 for GPUs, where it is new.

Quotas are told apart by their names, as Service Quotas lists them for EC2 ("All G and VT Spot
Instance Requests", "Running On-Demand P instances"), because a new family gets a new code.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_SPOT = re.compile(r"All (.+) Spot Instance Requests")
_ON_DEMAND = re.compile(r"Running On-Demand (.+) instances")
_WORD = re.compile(r"\b[A-Z]{1,3}\d?\b")


@dataclass(frozen=True)
class Quota:
    """vcpus: of all running machines of these families together. families: "G", "VT", "P5"."""

    code: str
    name: str
    vcpus: float
    families: tuple[str, ...]
    spot: bool

    def covers(self, kind: str) -> bool:
        """Whether machines of this type count for it: g5.xlarge for G, p5.4xlarge for P5 or P."""
        letters = re.match(r"[a-z]+", kind)
        generation = re.match(r"[a-z]+\d", kind)
        if letters is None or generation is None:
            return False
        # Gr6, a G6 with more memory, counts as a G.
        own = {letters[0].upper(), generation[0].upper(), letters[0][0].upper()}
        return bool(own & set(self.families))

    def ask_for(self, region: str, vcpus: int) -> str:
        """The command that asks AWS for as much."""
        return (
            "aws service-quotas request-service-quota-increase --service-code ec2 --quota-code "
            f"{self.code} --desired-value {vcpus} --region {region}"
        )


def parsed(rows: Iterable[Mapping[str, Any]]) -> list[Quota]:
    """Those of them that limit the vCPUs of GPU machines."""
    found = []
    for row in rows:
        name = str(row.get("QuotaName") or "")
        for pattern, spot in ((_SPOT, True), (_ON_DEMAND, False)):
            match = pattern.fullmatch(name)
            value = row.get("Value")
            if match and isinstance(value, int | float):
                families = tuple(_WORD.findall(match[1]))
                found.append(Quota(str(row["QuotaCode"]), name, float(value), families, spot))
    return [each for each in found if any(word[0] in "GP" for word in each.families)]


def of(quotas: Iterable[Quota], kind: str, spot: bool) -> Quota | None:
    """The quota that a machine of this type counts for, None if none is known."""
    return next((each for each in quotas if each.spot is spot and each.covers(kind)), None)
