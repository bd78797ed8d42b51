"""What Google's price list says: processor, memory, GPU and disk by region, spot and on demand.

The list (cloudbilling.googleapis.com, Compute Engine's SKUs) is made for people: what a price is
for stands in its description. These are read from memory of the public list and were not checked
against the real one; what is not found has no price, and then no offer.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

SERVICE = "6F81-5844-456A"
"""Compute Engine in Google's price list."""
PART = re.compile(r"(?:Spot Preemptible )?(\w+)(?: Predefined)? Instance (Core|Ram) running in")
CARD = re.compile(
    r"Nvidia (?:Tesla )?(.+?) GPU (?:attached to Spot Preemptible VMs )?running in", re.I
)
DISK = re.compile(r"Balanced PD Capacity\b")
CARDS = {"L4": "nvidia-l4", "T4": "nvidia-tesla-t4", "A100": "nvidia-tesla-a100",
         "RTX PRO 6000": "nvidia-rtx-pro-6000"}  # fmt: skip

Prices = dict[tuple[str, str, bool], float]
"""(part, region, spot) -> $: "G2 Core" an hour, "G2 Ram" a GiB and hour, "nvidia-l4" an hour,
"disk" a GB and month."""


def parsed(skus: Iterable[Mapping[str, Any]]) -> Prices:
    """The prices of what we rent."""
    found: Prices = {}
    for sku in skus:
        kind, price = sku.get("category") or {}, _price(sku)
        part = _part(str(sku.get("description") or ""))
        usage = kind.get("usageType")
        if not part or price is None or usage not in ("OnDemand", "Preemptible"):
            continue
        for region in sku.get("serviceRegions") or ():
            found[part, str(region), usage == "Preemptible"] = price
    return found


def hourly(
    prices: Prices, family: str, card: str, cpus: int, memory_gib: float, region: str, spot: bool
) -> float | None:
    """$/h of a machine with one such GPU, None where a part of it has no price."""
    parts = ((f"{family} Core", cpus), (f"{family} Ram", memory_gib), (card, 1))
    total = 0.0
    for part, count in parts:
        price = prices.get((part, region, spot))
        if price is None:
            return None
        total += price * count
    return total


def _part(description: str) -> str:
    part = PART.match(description)
    if part:
        return f"{part[1]} {part[2]}"
    card = CARD.match(description)
    if card:
        return CARDS.get(card[1], "")
    return "disk" if DISK.match(description) else ""


def _price(sku: Mapping[str, Any]) -> float | None:
    """The last tier's, which is what counts beyond a free allowance."""
    try:
        rates = sku["pricingInfo"][-1]["pricingExpression"]["tieredRates"]
        unit = rates[-1]["unitPrice"]
        return int(unit.get("units") or 0) + int(unit.get("nanos") or 0) / 1e9
    except (KeyError, IndexError, TypeError, ValueError):
        return None
