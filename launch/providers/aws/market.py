"""What a region of AWS would rent now: machines with one GPU, where they are, and their prices.

EC2 answers five questions apart (types, where they stand, spot prices, networks, the image), and
prices on demand are another service's, so a region takes eight or nine reads; regions are asked
at the same time. What cannot be ordered is said with the command that mends it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from launch.contract import regions
from launch.contract.errors import ProviderError
from launch.contract.offer import Need, Offer
from launch.pricing import gpus
from launch.providers.aws import egress, errors, prices, quotas
from launch.providers.aws.account import Account, held, named
from launch.providers.aws.bands import Bands
from launch.providers.aws.errors import NAME
from launch.providers.aws.quotas import Quota

FAMILIES = ("g*", "p*")
"""Where EC2 has NVIDIA's GPUs; the service has no filter for a GPU."""
NAMED = "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04)*"
"""What such images are called, where the parameter below is not there."""
OLDEST = (7, 5)
"""Compute capability of the oldest GPU that the image's driver, of open kernel modules, runs."""
IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
"""The public parameter that names the newest Deep Learning Base image: driver, Docker, NVIDIA's
part of it. From AWS's documentation; not tried on the real service."""
HEADROOM = 1.1
"""The most that is paid for a spot machine, as a multiple of its price now. AWS takes the machine
away where its price rises above, so a run's limit of cost holds."""
ADDRESS = 0.005
"""$/h of a public IPv4 address, which a machine needs to reach its store."""
HOURS_A_MONTH = 730.0
PAST = 72.0
"""Hours of spot prices that are read, to see how often they rose above what an order allows."""


@dataclass(frozen=True)
class Kind:
    """A machine type with one GPU. memory_gb: the GPU's, of 1e9 bytes."""

    name: str
    gpu: str
    memory_gb: float
    vcpus: int
    spot: bool


@dataclass(frozen=True)
class Image:
    """The image that machines of a region boot. gb: the least size of its disk, in GiB."""

    id: str
    root: str
    gb: int


@dataclass(frozen=True)
class Region:
    """What one region answered. zones: type -> zones that have it. spot: (type, zone) -> $/h.
    outbid: the same -> how often in an hour of the last days its price would have taken a machine
    away. on_demand: type -> $/h. subnets: zone -> (network, subnet) of the
    default network. disk: $ a GB and month."""

    name: str
    kinds: Sequence[Kind] = ()
    zones: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subnets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    spot: Mapping[tuple[str, str], float] = field(default_factory=dict)
    outbid: Mapping[tuple[str, str], float] = field(default_factory=dict)
    on_demand: Mapping[str, float] = field(default_factory=dict)
    disk: float = 0.0
    image: Image | None = None
    quotas: Sequence[Quota] = ()

    def barred(self, kind: Kind, spot: bool) -> Quota | None:
        """The quota that is too small for even one such machine."""
        found = quotas.of(self.quotas, kind.name, spot)
        return found if found is not None and found.vcpus < kind.vcpus else None


def limited(asked: Iterable[Region], spot: bool) -> bool:
    """Whether a quota forbids something that the regions have."""
    return next(_barred(asked, spot), None) is not None


def _barred(asked: Iterable[Region], spot: bool) -> Iterator[tuple[Region, Kind, Quota]]:
    for region in asked:
        for kind in region.kinds:
            for way in (False, True) if spot else (False,):
                quota = region.barred(kind, way)
                if quota is not None:
                    yield region, kind, quota


def problems(asked: Sequence[Region], spot: bool) -> list[str]:
    """Why what regions have cannot be ordered, each once with the command that mends it."""
    without = [region.name for region in asked if region.kinds and not region.subnets]
    small: dict[str, tuple[Quota, int, list[str]]] = {}
    for region, kind, quota in _barred(asked, spot):
        first, least, where = small.get(quota.code, (quota, kind.vcpus, []))
        if region.name not in where:
            where.append(region.name)
        small[quota.code] = first, min(least, kind.vcpus), where
    said = [
        f"{_shown(without)} has no default network: aws ec2 create-default-vpc --region "
        f"{without[0]}"
    ] if without else []  # fmt: skip
    for quota, least, where in small.values():
        said.append(
            f"the quota {quota.name!r} in {_shown(where)} is {quota.vcpus:g} vCPUs, and the "
            f"smallest machine that it keeps out has {least}: {quota.ask_for(where[0], least)}"
        )
    return said


def _shown(names: Sequence[str]) -> str:
    more = f" (and {len(names) - 1} more regions)" if len(names) > 1 else ""
    return f"{names[0]}{more}"


def look(account: Account, region: str, need: Need) -> Region:
    """Ask one region for all that its offers are made of."""
    kinds = [k for k in _kinds(account, region) if not need.gpus or k.gpu in need.gpus]
    kinds = [kind for kind in kinds if kind.memory_gb >= need.memory_gb]
    if not kinds:
        return Region(region)
    names = [kind.name for kind in kinds]
    listed = prices.read(account, region)
    past = _past(account, region, [k.name for k in kinds if k.spot]) if need.spot else {}
    return Region(
        region, kinds, _zones(account, region, names), subnets(account, region),
        {each: rows[-1] for each, rows in past.items()},
        {each: outbid(rows) / PAST for each, rows in past.items()},
        prices.hourly(listed), prices.disk(listed), image(account, region), limits(account, region),
    )  # fmt: skip


def offers(region: Region, need: Need, bands: Bands) -> Iterator[Offer]:
    """What the region would rent, at any price, that no quota forbids."""
    if region.image is None or not regions.within(region.name, need.hosts.regions):
        return
    disk = region.image.gb + need.disk_gb
    uploads = need.upload_gb * egress.upload_price(need.store, region.name)
    beside = disk * region.disk / HOURS_A_MONTH + ADDRESS + uploads
    for kind in region.kinds:
        for zone in region.zones.get(kind.name, ()):
            subnet = region.subnets.get(zone)
            if subnet is None:
                continue
            for spot, price in _ways(region, kind, zone):
                total = round(price + beside, 5)
                if region.barred(kind, spot):
                    continue
                key = {
                    "type": kind.name, "region": region.name, "zone": zone, "network": subnet[0],
                    "subnet": subnet[1], "image": region.image.id, "root": region.image.root,
                    "disk": disk,
                    **({"most": f"{price:.4f}"} if spot else {}),
                }  # fmt: skip
                offer = Offer(
                    NAME, f"{kind.name}@{zone}{'-spot' if spot else ''}", kind.gpu, kind.memory_gb,
                    total, region=region.name, spot=spot, place=zone, kind="datacenter", key=key,
                    egress=uploads, size=kind.name, vcpus=kind.vcpus,
                )  # fmt: skip
                yield offer if not spot else replace(
                    offer, outbid=region.outbid.get((kind.name, zone)),
                    evicted=bands.an_hour(region.name, kind.name),
                    evicted_by=bands.words(region.name, kind.name),
                )  # fmt: skip


def subnets(account: Account, region: str) -> dict[str, tuple[str, str]]:
    """Zone -> (network, subnet) of the region's default network; {} if it has none."""
    rows = account.pages(
        "ec2", region, "describe_subnets", "Subnets", Filters=[named(["true"], "default-for-az")]
    )
    return {str(row["AvailabilityZone"]): (str(row["VpcId"]), str(row["SubnetId"])) for row in rows}


def image(account: Account, region: str) -> Image:
    """The newest Deep Learning Base image there, by its public parameter, else by its name."""
    try:
        told = account.read("ssm", region, "get_parameter", Name=IMAGE)
        ids: dict[str, Any] = {"ImageIds": [str(told.get("Parameter", {}).get("Value") or "")]}
    except errors.NoParameter:
        ids = {"Owners": ["amazon"], "Filters": [named([NAMED], "name"),
                                                 named(["available"], "state")]}  # fmt: skip
    rows = held(account.read("ec2", region, "describe_images", **ids), "Images")
    if not rows:
        raise ProviderError(f"AWS shows no Deep Learning Base image in {region}: ask again")
    row = max(rows, key=lambda each: str(each.get("CreationDate") or ""))
    root = str(row["RootDeviceName"])
    sizes = [
        int(each["Ebs"].get("VolumeSize") or 0)
        for each in row.get("BlockDeviceMappings") or ()
        if each.get("DeviceName") == root and "Ebs" in each
    ]
    return Image(str(row["ImageId"]), root, max(sizes, default=0))


def limits(account: Account, region: str) -> list[Quota]:
    """The quotas of GPU machines in this region."""
    return quotas.parsed(
        account.pages("service-quotas", region, "list_service_quotas", "Quotas", ServiceCode="ec2")
    )


def _kinds(account: Account, region: str) -> list[Kind]:
    rows = account.pages(
        "ec2", region, "describe_instance_types", "InstanceTypes",
        Filters=[named(FAMILIES, "instance-type"),
                 named(["x86_64"], "processor-info.supported-architecture")],
    )  # fmt: skip
    return [kind for row in rows if (kind := _kind(row)) is not None]


def _kind(row: Mapping[str, Any]) -> Kind | None:
    """None for one without exactly one whole NVIDIA GPU that the image's driver runs."""
    cards = row.get("GpuInfo", {}).get("Gpus") or []
    if len(cards) != 1 or cards[0].get("Count") != 1 or cards[0].get("Manufacturer") != "NVIDIA":
        return None
    if cards[0].get("GpuPartitionSize", 1.0) < 1.0 or row.get("BareMetal"):
        return None
    uses = row.get("SupportedUsageClasses") or []
    if "on-demand" not in uses or "x86_64" not in row["ProcessorInfo"]["SupportedArchitectures"]:
        return None
    memory = round(cards[0]["MemoryInfo"]["SizeInMiB"] * 2**20 / 1e9, 1)
    name = gpus.canonical(str(cards[0]["Name"]), memory)
    known = gpus.get(name)
    if known is None or known.capability < OLDEST:
        return None
    return Kind(
        str(row["InstanceType"]), name, memory, int(row["VCpuInfo"]["DefaultVCpus"]), "spot" in uses
    )


def _zones(account: Account, region: str, names: Sequence[str]) -> dict[str, list[str]]:
    rows = account.pages(
        "ec2", region, "describe_instance_type_offerings", "InstanceTypeOfferings",
        LocationType="availability-zone", Filters=[named(names, "instance-type")],
    )  # fmt: skip
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(str(row["InstanceType"]), []).append(str(row["Location"]))
    return {name: sorted(zones) for name, zones in found.items()}


def outbid(prices: Sequence[float]) -> int:
    """How many machines one after the other these prices, oldest first, would have taken away.

    Each is ordered where the price is lowest, and taken where it is above HEADROOM times that.
    """
    times, lowest = 0, float("inf")
    for price in prices:
        if price > HEADROOM * lowest:
            times, lowest = times + 1, price
        lowest = min(lowest, price)
    return times


def _past(
    account: Account, region: str, names: Sequence[str]
) -> dict[tuple[str, str], list[float]]:
    """The prices of each type and zone in the last days, oldest first: EC2 tells the one that held
    at the start, and each change. Without a start, it tells those of 90 days."""
    from datetime import UTC, datetime, timedelta

    if not names:
        return {}
    rows = account.pages(
        "ec2", region, "describe_spot_price_history", "SpotPriceHistory",
        InstanceTypes=names, ProductDescriptions=["Linux/UNIX"],
        StartTime=datetime.now(UTC) - timedelta(hours=PAST),
    )  # fmt: skip
    rows.sort(key=lambda row: row["Timestamp"])
    found: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        key = str(row["InstanceType"]), str(row["AvailabilityZone"])
        found.setdefault(key, []).append(float(row["SpotPrice"]))
    return found


def _ways(region: Region, kind: Kind, zone: str) -> Iterator[tuple[bool, float]]:
    """(spot, $/h of the machine alone) as it may be rented in this zone."""
    on_demand = region.on_demand.get(kind.name, 0.0)
    if on_demand > 0:
        yield False, on_demand
    price = region.spot.get((kind.name, zone), 0.0) * HEADROOM
    if price > 0 and (not on_demand or price < on_demand):
        yield True, round(price, 4)
