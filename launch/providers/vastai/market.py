"""Vast.ai's market: what to ask for, what an offer costs all in, and what to bid.

Every host sets its own prices, for the GPU by the hour, for the disk by the month and for
traffic by the gigabyte. One search answers for both kinds of rental: an offer for demand
carries the least bid that would take the same machine as an interruptible one.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from launch.contract import regions
from launch.contract.errors import ProviderError
from launch.contract.offer import Need, Offer
from launch.pricing import gpus
from launch.providers.vastai.errors import number, real

IMAGE_GB = 4.0
"""What a machine fetches once: the image and packages, rounded up."""
BID = 1.25
"""A bid, as a multiple of the least one that would do: at the least, the next bidder evicts."""
CENT = 0.001
"""Bids are multiples of it; it is also the least bid that the service takes."""
HOURS_A_MONTH = 720.0
LEAST_DISK_GB = 8
NOMINAL = 0.9
MOST_OFFERS = 1000
"""Offers of one search, cheapest first. Beyond it nothing was ever the best one."""
_FIELDS = {"verified": "verification", "reliability": "reliability2"}
"""Where an offer shows what the search calls otherwise."""
DATACENTER = 1
"""The least hosting_type of a data centre that the service has looked at; private hosts have 0."""


def search(need: Need) -> dict[str, Any]:
    """The body of the search. gpu_ram is in MiB, as nvidia-smi has it; duration in seconds."""
    hosts = need.hosts
    kinds: dict[str, Any] = {} if hosts.kind == "any" else {"verified": {"eq": True}}
    if hosts.kind == "datacenter":
        kinds["datacenter"] = {"eq": True}
    if hosts.upload:
        kinds["inet_up"] = {"gte": hosts.upload}
    return {
        **kinds,
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "num_gpus": {"eq": 1},
        "gpu_arch": {"eq": "nvidia"},
        "cpu_arch": {"eq": "amd64"},
        "reliability": {"gte": hosts.reliability},
        "cuda_max_good": {"gte": need.cuda},
        "inet_down": {"gte": hosts.download},
        "disk_space": {"gte": _disk(need)},
        "duration": {"gte": max(need.hours, 1.0) * 3600.0},
        "gpu_ram": {"gte": _memory(need)},
        # Two, because the service's own document wants exactly two.
        "order": [["dph_total", "asc"], ["id", "asc"]],
        "allocated_storage": _disk(need),
        "type": "ondemand",
        "limit": MOST_OFFERS,
    }


def offers(provider: str, answer: Any, need: Need) -> Iterable[Offer]:
    """The offers of a search that meet the need, each checked again here.

    Raises:
        ProviderError: the answer is not what a search answers.
    """
    rows = answer.get("offers") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        raise ProviderError("Vast.ai answered a search without a list of offers: try again later")
    filters = search(need)
    for row in rows:
        if not (isinstance(row, dict) and _meets(row, filters)):
            continue
        memory = (real(row.get("gpu_ram")) or 0.0) * 2**20 / 1e9
        gpu = gpus.canonical(str(row.get("gpu_name", "")), memory)
        if need.gpus and gpu not in need.gpus:
            continue
        for offer in _priced(provider, row, gpu, memory, need):
            near = regions.within(offer.region, need.hosts.regions)
            if near and offer.price <= need.max_price:
                yield offer


def bid(least: float, on_demand: float) -> float | None:
    """What to bid, $/h: BID times the least bid, rounded up, never above the price on demand.

    None if bidding saves nothing: the same machine would cost as much without being taken away.
    """
    if not 0 < least < on_demand:
        return None
    wanted = math.ceil(round(least * BID / CENT, 6)) * CENT
    return round(min(max(wanted, CENT), on_demand), 6)


def _priced(
    provider: str, row: Mapping[str, Any], gpu: str, memory: float, need: Need
) -> Iterable[Offer]:
    ask, machine = number(row.get("id")), number(row.get("machine_id"))
    base = real(row.get("dph_base"))
    if ask is None or machine is None or base is None or base <= 0:
        return
    egress = need.upload_gb * max(0.0, real(row.get("inet_up_cost")) or 0.0)
    beside = _beside(row, need) + egress
    where = str(row.get("geolocation") or "").strip()

    def offer(id: str, price: float, spot: bool, key: Mapping[str, Any]) -> Offer:
        return Offer(
            provider, id, gpu, round(memory, 1), round(price + beside, 5),
            region=where, spot=spot, place=str(machine), kind=_kind(row), key=key,
            host=str(machine), driver=str(row.get("driver_version") or "")[:32],
            upload=max(0.0, real(row.get("inet_up")) or 0.0), egress=egress,
        )  # fmt: skip

    yield offer(str(ask), base, False, {"ask": ask})
    least = real(row.get("min_bid"))
    price = bid(least, base) if need.spot and least is not None else None
    if price is not None:
        yield offer(f"{ask}-spot", price, True, {"ask": ask, "bid": price})


def _kind(row: Mapping[str, Any]) -> str:
    if _is_datacenter(row):
        return "datacenter"
    return str(row.get("verification") or "")


def _is_datacenter(row: Mapping[str, Any]) -> bool:
    return (real(row.get("hosting_type")) or 0.0) >= DATACENTER


def _beside(row: Mapping[str, Any], need: Need) -> float:
    """$/h for the disk, and for the image, which is spread over the hours that are wanted."""
    disk = _disk(need) * (real(row.get("storage_cost")) or 0.0) / HOURS_A_MONTH
    down = IMAGE_GB * (real(row.get("inet_down_cost")) or 0.0) / max(need.hours, 1.0)
    return disk + down


def _disk(need: Need) -> int:
    return max(need.disk_gb, LEAST_DISK_GB)


def _memory(need: Need) -> int:
    """MiB. The names of GPUs differ between services, so their memory narrows the search; it is
    a little less than the nominal one where a part is kept for error correction."""
    known = [found.memory_gb for found in map(gpus.get, need.gpus) if found is not None]
    least = NOMINAL * min(known) if known and len(known) == len(need.gpus) else 0.0
    return math.ceil(max(need.memory_gb, least) * 1e9 / 2**20)


def _meets(row: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    """Whether an offer is what was asked for. What it does not show, the search has decided."""
    for name, rule in filters.items():
        if not isinstance(rule, dict):
            continue
        shown = row.get(_FIELDS.get(name, name))
        if name == "datacenter":
            shown = _is_datacenter(row)  # not shown is not promised
        if shown is None:
            continue
        if name == "verified":
            shown = shown == "verified"
        if "eq" in rule and shown != rule["eq"]:
            return False
        if "gte" in rule and not (real(shown) or 0.0) >= rule["gte"]:
            return False
    return True
