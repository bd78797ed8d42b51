"""What Google would rent now: machine types with one GPU, their zones, prices and quotas."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from launch.contract import regions
from launch.contract.offer import Need, Offer
from launch.pricing import gpus
from launch.providers.gcp import egress, prices
from launch.providers.gcp.errors import NAME, QUOTAS
from launch.providers.gcp.stock import Kind, Stock

CARDS = {"nvidia-l4": 24.0, "nvidia-tesla-t4": 16.0, "nvidia-tesla-a100": 40.0,
         "nvidia-rtx-pro-6000": 96.0}  # fmt: skip
"""GPUs by Google's names, and their memory in GB."""
BESIDE = {"N1": "nvidia-tesla-t4"}
"""Families without a GPU of their own, and the one that is ordered with them."""
QUOTA = {"nvidia-l4": "NVIDIA_L4_GPUS", "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
         "nvidia-tesla-a100": "NVIDIA_A100_GPUS"}  # fmt: skip
"""Quotas of a region by GPU; with "PREEMPTIBLE_" before it, of machines that do not stay. A spot
machine may draw on either. So may one on demand with a GPU that Google deletes within 7 days, as
each with a deadline of at most so long is (Google's page "Limit the run time of a VM", read on
2026-11-29). Offers are made before there is a deadline: of a longer one, the order tells."""
CPUS = {"N1": "CPUS", "A2": "A2_CPUS"}
"""Quotas of a region for processors, by families of which they are known; SPOT_CPUS may be drawn on
instead."""
SPOT_CPUS = "PREEMPTIBLE_CPUS"
ADDRESSES = "IN_USE_ADDRESSES"
ALL_REGIONS, ALL_CPUS = "GPUS_ALL_REGIONS", "CPUS_ALL_REGIONS"
"""GPUs of the whole project at once, 0 in a new one, and its processors."""
ADDRESS = 0.005
"""$/h of a public IPv4 address."""
HOURS_A_MONTH = 730.0
USUAL_DISK = 80 * 0.10 / HOURS_A_MONTH
"""$/h of a balanced disk of the image's size and 30 GB: Google's list price of 2026 in the US."""


class Disk(NamedTuple):
    """What a machine boots from. kind: Google's name. part: of the price list. quota: its metric
    in a region, in GB."""

    kind: str
    part: str
    quota: str


BALANCED = Disk("pd-balanced", prices.BALANCED, "SSD_TOTAL_GB")
DISKS = {"G4": Disk("hyperdisk-balanced", prices.HYPERDISK, "HDB_TOTAL_GB")}
"""Families that take no BALANCED disk, and the one that they take."""


class Barred(NamedTuple):
    """A quota that leaves too little. wants: how much one machine takes of it."""

    metric: str
    wants: float


def offers(stock: Stock, need: Need) -> Iterator[Offer]:
    """What there is that meets the need and no quota forbids, at any price."""
    for zone, kinds in stock.kinds.items():
        region = zone.rpartition("-")[0]
        if not regions.within(region, need.hosts.regions):
            continue
        for kind in kinds:
            card, disk = card_of(kind), disk_of(kind)
            gb_month = stock.prices.get((disk.part, region, False))
            if card is None or card not in stock.cards.get(zone, frozenset()) or gb_month is None:
                continue
            memory = CARDS[card]
            gpu = name_of(card)
            if memory < need.memory_gb or (need.gpus and gpu not in need.gpus):
                continue
            size = disk_gb(stock, need)
            uploads = need.upload_gb * egress.upload_price(need.store, region)
            disk_price = size * gb_month / HOURS_A_MONTH
            beside = disk_price + ADDRESS + uploads
            if barred(stock, kind, region, size):
                continue
            for spot in (False, True) if need.spot else (False,):
                price = prices.hourly(
                    stock.prices, kind.family, card, kind.cpus, kind.memory_gib, region, spot
                )
                if price is None:
                    continue
                yield Offer(
                    NAME, f"{kind.name}+{card}@{zone}{'-spot' if spot else ''}", gpu, memory,
                    round(price + beside, 5), region=region, spot=spot, place=zone,
                    kind="datacenter", egress=uploads, size=kind.name, vcpus=kind.cpus,
                    key={"type": kind.name, "zone": zone, "card": card, "image": stock.image.link,
                         "disk": size, "disk_type": disk.kind, "disk_price": round(disk_price, 6),
                         "own": not kind.cards},
                )  # fmt: skip


def card_of(kind: Kind) -> str | None:
    """The one GPU of a machine of this type by Google's name; None for none or several."""
    if not kind.cards:
        return BESIDE.get(kind.family)
    (card, count), *more = kind.cards
    name = re.sub("-vws$", "", card)
    return name if count == 1 and not more and name in CARDS else None


def disk_of(kind: Kind) -> Disk:
    """What a machine of this type boots from."""
    return DISKS.get(kind.family, BALANCED)


def disk_gb(stock: Stock, need: Need) -> int:
    """GB of its disk: of the image, and what is needed beside it."""
    return max(stock.image.gb, 10) + need.disk_gb


def barred(stock: Stock, kind: Kind, region: str, size: int) -> Barred | None:
    """The quota that leaves no room for one more, None for none. size: of its disk, GB.

    A quota that Google does not list bars nothing: the order tells.
    """
    project = stock.quotas.get("", {})
    for metric, wants in ((ALL_REGIONS, 1), (ALL_CPUS, kind.cpus)):
        if project.get(metric, wants) < wants:
            return Barred(metric, wants)
    left, own = stock.quotas.get(region, {}), QUOTA.get(card_of(kind) or "", "")
    for metric, instead, wants in (
        (own, f"PREEMPTIBLE_{own}", 1), (CPUS.get(kind.family, ""), SPOT_CPUS, kind.cpus),
        (ADDRESSES, ADDRESSES, 1), (disk_of(kind).quota, disk_of(kind).quota, size),
    ):  # fmt: skip
        if left.get(metric, wants) < wants and left.get(instead, 0.0) < wants:
            return Barred(metric, wants)
    return None


def problems(stock: Stock, need: Need) -> list[str]:
    """Why what there is cannot be ordered, each once, with what mends it.

    What bars the larger machines of a kind of GPU alone is none.
    """
    small: dict[str, dict[str, float]] = {}
    for (region, _), each in _best(stock, need).items():
        if each is not None:
            known = small.setdefault(each.metric, {})
            known[region] = min(each.wants, known.get(region, each.wants))
    said = []
    for metric, where in small.items():
        region = f" in {len(where)} regions, such as {min(where)}"
        at = "" if metric in (ALL_REGIONS, ALL_CPUS) else region
        most = max(where.values())
        short = "is used up or 0" if most == 1 else "leaves too little"
        said.append(
            f"the quota {metric} {short}{at}: one machine takes {most:g} of it beside what is in "
            f"use; ask for more at {QUOTAS}"
        )
    return [*said, *_without_disk(stock, need)]


def _best(stock: Stock, need: Need) -> dict[tuple[str, str], Barred | None]:
    """(region, GPU) -> what bars the type of it that wants the least, None for nothing."""
    found: dict[tuple[str, str], Barred | None] = {}
    size = disk_gb(stock, need)
    for zone, kinds in stock.kinds.items():
        region = zone.rpartition("-")[0]
        for kind in kinds:
            card = card_of(kind)
            if card is None:
                continue
            each, key = barred(stock, kind, region, size), (region, card)
            known = found.get(key, each)
            free = each is None or known is None
            found[key] = None if free else min(each, known, key=lambda one: one.wants)
    return found


def _without_disk(stock: Stock, need: Need) -> list[str]:
    """Of GPUs whose machines take a disk that has no price."""
    found: dict[tuple[str, str], set[str]] = {}
    for zone, kinds in stock.kinds.items():
        region = zone.rpartition("-")[0]
        for kind in kinds:
            card, disk = card_of(kind), disk_of(kind)
            if card is None or disk is BALANCED or card not in stock.cards.get(zone, ()):
                continue
            if (disk.part, region, False) not in stock.prices and (
                not need.gpus or name_of(card) in need.gpus
            ):
                found.setdefault((card, disk.kind), set()).add(region)
    return [
        f"machines with one {name_of(card)} take a disk {disk} only, which has no price in "
        f"{len(where)} regions, such as {min(where)}: they are left out there"
        for (card, disk), where in found.items()
    ]


def name_of(card: str) -> str:
    """The GPU's name as all of Mimir writes it."""
    return gpus.canonical(card.replace("-", " ").replace("nvidia ", "", 1), CARDS[card])
