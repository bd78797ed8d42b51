"""What Google's price list says: processor, memory, GPU and disk by region, spot and on demand.

The list (cloudbilling.googleapis.com, Compute Engine's SKUs) is made for people: what a price is
for stands in its description. These are read from memory of the public list and were not checked
against the real one; what is not found has no price, and then no offer.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from launch.contract.errors import ProviderError
from launch.providers.gcp import answers
from launch.providers.gcp.answers import Row

SERVICE = "6F81-5844-456A"
"""Compute Engine in Google's price list."""
PART = re.compile(r"(?:Spot Preemptible )?(\w+)(?: Predefined)? Instance (Core|Ram) running in")
CARD = re.compile(
    r"Nvidia (?:Tesla )?(.+?) GPU (?:attached to Spot Preemptible VMs )?running in", re.I
)
BALANCED, HYPERDISK = "disk", "hyperdisk"
DISK = {BALANCED: re.compile(r"Balanced PD Capacity\b"),
        HYPERDISK: re.compile(r"Hyperdisk Balanced Capacity\b")}  # fmt: skip
CARDS = {"L4": "nvidia-l4", "T4": "nvidia-tesla-t4", "A100": "nvidia-tesla-a100",
         "RTX PRO 6000": "nvidia-rtx-pro-6000"}  # fmt: skip
HOUR, GIB_HOUR, GB_MONTH = "h", "GiBy.h", "GiBy.mo"
CURRENCY = "USD"

Prices = Mapping[tuple[str, str, bool], float]
"""(part, region, spot) -> $: "G2 Core" an hour, "G2 Ram" a GiB and hour, "nvidia-l4" an hour,
BALANCED and HYPERDISK a GB and month."""


def parsed(skus: Iterable[Any]) -> Prices:
    """The prices of what we rent; of several for the same, the highest. A row that cannot be read,
    or has another currency or unit, is left out: what it is for has no price by it."""
    found: dict[tuple[str, str, bool], float] = {}
    for sku in skus:
        try:
            for key, price in _read(answers.table(sku, "a price")):
                found[key] = max(price, found.get(key, 0.0))
        except ProviderError:
            continue
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


def _read(sku: Row) -> list[tuple[tuple[str, str, bool], float]]:
    part, unit = _part(answers.text(sku, "description", "a price"))
    usage = answers.text(answers.inner(sku, "category", part), "usageType", part)
    if not part or usage not in ("OnDemand", "Preemptible"):
        return []
    price = _price(sku, part, unit)
    regions = answers.words(sku, "serviceRegions", part)
    return [((part, region, usage == "Preemptible"), price) for region in regions]


def _part(description: str) -> tuple[str, str]:
    """(part, unit of its price) of a description, ("", "") for what we do not rent."""
    part = PART.match(description)
    if part:
        return f"{part[1]} {part[2]}", HOUR if part[2] == "Core" else GIB_HOUR
    card = CARD.match(description)
    if card:
        return CARDS.get(card[1], ""), HOUR
    disks = [part for part, words in DISK.items() if words.match(description)]
    return (disks[0], GB_MONTH) if disks else ("", "")


def _price(sku: Row, part: str, unit: str) -> float:
    """The last tier's, which is what counts beyond a free allowance.

    Raises:
        ProviderError: it is not above 0, in another currency, or for another unit.
    """
    listed = answers.rows(sku, "pricingInfo", part)
    told = answers.inner(listed[-1], "pricingExpression", part) if listed else {}
    rates = answers.rows(told, "tieredRates", part)
    money = answers.inner(rates[-1], "unitPrice", part) if rates else {}
    if (answers.text(money, "currencyCode", part), answers.text(told, "usageUnit", part)) != (
        CURRENCY, unit,
    ):  # fmt: skip
        raise answers.odd(f"the price of {part}")
    price = answers.number(money, "units", part) + answers.number(money, "nanos", part) / 1e9
    if price <= 0:
        raise answers.odd(f"the price of {part}")
    return price
