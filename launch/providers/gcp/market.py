"""What Google would rent now: machine types with one GPU, their zones, prices and quotas."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launch.contract import regions
from launch.contract.errors import ProviderError
from launch.contract.offer import Need, Offer
from launch.pricing import gpus
from launch.providers.gcp import prices
from launch.providers.gcp.errors import NAME, QUOTAS

TYPES = r"(g2-standard-[0-9]+|a2-highgpu-1g|g4-standard-48|n1-standard-[48])"
"""Types that are rented, in Google's list by this expression (RE2). Those of A2 Ultra and A3 come
with local disks of their own price, which Mimir does not reckon, so they are left out."""
CARDS = {"nvidia-l4": 24.0, "nvidia-tesla-t4": 16.0, "nvidia-tesla-a100": 40.0,
         "nvidia-rtx-pro-6000": 96.0}  # fmt: skip
"""GPUs by Google's names, and their memory in GB."""
BESIDE = {"n1": "nvidia-tesla-t4"}
"""Families without a GPU of their own, and the one that is ordered with them."""
QUOTA = {"nvidia-l4": "NVIDIA_L4_GPUS", "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
         "nvidia-tesla-a100": "NVIDIA_A100_GPUS"}  # fmt: skip
"""Quotas of a region by GPU; "PREEMPTIBLE_" before it for spot machines."""
ALL_REGIONS = "GPUS_ALL_REGIONS"
"""GPUs of the whole project at once: 0 in a new one."""
ADDRESS = 0.005
"""$/h of a public IPv4 address."""
TO_INTERNET = 0.12
"""$ a GB that leaves for the internet, which every S3 bucket is: Google's list price of 2026 in
its premium network, for most places."""
HOURS_A_MONTH = 730.0


@dataclass(frozen=True)
class Image:
    """The image that machines boot. gb: the least size of its disk."""

    link: str
    gb: int


@dataclass(frozen=True)
class Stock:
    """All that the offers are made of. types: rows of the list, by zone. cards: zone -> GPUs that
    it has. quotas: region ("" for the project) -> metric -> how many are left."""

    types: Mapping[str, Sequence[Mapping[str, Any]]]
    cards: Mapping[str, frozenset[str]]
    quotas: Mapping[str, Mapping[str, float]]
    prices: prices.Prices
    image: Image


def left(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """metric -> how many more may be had."""
    return {
        str(row.get("metric")): float(row.get("limit") or 0.0) - float(row.get("usage") or 0.0)
        for row in rows
    }


def offers(stock: Stock, need: Need) -> Iterator[Offer]:
    """What there is that meets the need and no quota forbids, at any price."""
    for zone, rows in stock.types.items():
        region = zone.rpartition("-")[0]
        if not regions.within(region, need.hosts.regions):
            continue
        disk = stock.prices.get(("disk", region, False))
        for row in rows:
            card = card_of(row)
            if card is None or card not in stock.cards.get(zone, frozenset()) or disk is None:
                continue
            memory = CARDS[card]
            gpu = gpus.canonical(card.replace("-", " ").replace("nvidia ", "", 1), memory)
            if memory < need.memory_gb or (need.gpus and gpu not in need.gpus):
                continue
            size = max(stock.image.gb, 10) + need.disk_gb
            egress = need.upload_gb * TO_INTERNET
            beside = size * disk / HOURS_A_MONTH + ADDRESS + egress
            for spot in (False, True) if need.spot else (False,):
                price = _price(stock.prices, row, card, region, spot)
                if price is None or barred(stock.quotas, card, region, spot):
                    continue
                name = str(row["name"])
                yield Offer(
                    NAME, f"{name}+{card}@{zone}{'-spot' if spot else ''}", gpu, memory,
                    round(price + beside, 5), region=region, spot=spot, place=zone,
                    kind="datacenter", egress=egress,
                    key={"type": name, "zone": zone, "card": card, "image": stock.image.link,
                         "disk": size, "own": not row.get("accelerators")},
                )  # fmt: skip


def card_of(row: Mapping[str, Any]) -> str | None:
    """The one GPU of a machine of this type by Google's name; None for none or several."""
    cards = row.get("accelerators") or []
    if not cards:
        return BESIDE.get(str(row.get("name", "")).partition("-")[0])
    if len(cards) != 1 or cards[0].get("guestAcceleratorCount") != 1:
        return None
    name = re.sub("-vws$", "", str(cards[0].get("guestAcceleratorType") or ""))
    return name if name in CARDS else None


def barred(quotas: Mapping[str, Mapping[str, float]], card: str, region: str, spot: bool) -> str:
    """The quota that leaves no room for one more, "" for none."""
    if quotas.get("", {}).get(ALL_REGIONS, 1.0) < 1:
        return ALL_REGIONS
    metric = QUOTA.get(card)
    its = quotas.get(region, {})
    if metric is None or its.get(metric, 1.0) >= 1:
        return ""
    # A spot machine may draw on either.
    return "" if spot and its.get(f"PREEMPTIBLE_{metric}", 1.0) >= 1 else metric


def problems(stock: Stock, spot: bool) -> list[str]:
    """Why what there is cannot be ordered, each once, with what mends it."""
    small: dict[str, set[str]] = {}
    for zone, rows in stock.types.items():
        region = zone.rpartition("-")[0]
        for card in {card_of(row) for row in rows} - {None}:
            assert card is not None
            for each in (False, True) if spot else (False,):
                metric = barred(stock.quotas, card, region, each)
                if metric:
                    small.setdefault(metric, set()).add(region)
    return [
        f"the quota {metric} is used up or 0"
        + ("" if metric == ALL_REGIONS else f" in {len(where)} regions, such as {min(where)}")
        + f": ask for 1 or more at {QUOTAS}"
        for metric, where in small.items()
    ]


def _price(
    listed: prices.Prices, row: Mapping[str, Any], card: str, region: str, spot: bool
) -> float | None:
    try:
        cpus, memory = int(row["guestCpus"]), float(row["memoryMb"]) / 1024
    except (KeyError, TypeError, ValueError) as error:
        raise ProviderError("Google's list of machine types cannot be read: try again") from error
    family = str(row["name"]).partition("-")[0].upper()
    return prices.hourly(listed, family, card, cpus, memory, region, spot)
