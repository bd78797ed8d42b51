"""What Google has, read from its lists: machine types, GPUs, quotas, prices, the image.

A row that cannot be read makes the whole unreadable, except where it only adds: a price that cannot
be read is none, and a quota that cannot be read bars nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from launch.contract.errors import ProviderError
from launch.providers.gcp import answers, prices
from launch.providers.gcp.answers import Row
from launch.providers.gcp.project import Project

TYPES = r"(g2-standard-[0-9]+|a2-highgpu-1g|g4-standard-48|n1-standard-[48])"
"""Types that are rented, in Google's list by this expression (RE2). Those of A2 Ultra and A3 come
with local disks of their own price, which Mimir does not reckon, so they are left out."""
FAMILY = (
    "projects/deeplearning-platform-release/global/images/family/"
    "common-cu128-ubuntu-2204-nvidia-570"
)
"""Google's Deep Learning VM: driver, Docker, NVIDIA's part of it. From Google's documents; not
tried on the real service."""


@dataclass(frozen=True)
class Kind:
    """A machine type. memory_gib: of its main memory. cards: (GPU by Google's name, how many)."""

    name: str
    cpus: int
    memory_gib: float
    cards: tuple[tuple[str, int], ...] = ()

    @property
    def family(self) -> str:
        """As Google's price list and quotas write it: "G2"."""
        return self.name.partition("-")[0].upper()


@dataclass(frozen=True)
class Image:
    """The image that machines boot. gb: the least size of its disk."""

    link: str
    gb: int


@dataclass(frozen=True)
class Stock:
    """All that the offers are made of. kinds: by zone. cards: zone -> GPUs that it has. quotas:
    region ("" for the project) -> metric -> how many are left."""

    kinds: Mapping[str, Sequence[Kind]]
    cards: Mapping[str, frozenset[str]]
    quotas: Mapping[str, Mapping[str, float]]
    prices: prices.Prices
    image: Image


def read(project: Project) -> Stock:
    """All of it; ProviderError where a list is not whole or cannot be read."""
    kinds: dict[str, list[Kind]] = {}
    for zone, row in project.scoped("machineTypes", {"filter": f'name eq "{TYPES}"'}):
        kinds.setdefault(zone, []).append(_kind(row))
    cards: dict[str, set[str]] = {}
    for zone, row in project.scoped("acceleratorTypes"):
        cards.setdefault(zone, set()).add(answers.needed(row, "name", "a GPU's type"))
    quotas = {"": left(project.one(project.path("")), "the project")}
    for row in project.rows("regions"):
        name = answers.needed(row, "name", "a region")
        quotas[name] = left(row, name)
    listed = prices.parsed(project.skus())
    return Stock(kinds, {zone: frozenset(names) for zone, names in cards.items()}, quotas, listed,
                 _image(project.one(f"/compute/v1/{FAMILY}")))  # fmt: skip


def left(row: Row, what: str) -> dict[str, float]:
    """metric -> how many more are allowed, of the project's or a region's row."""
    found = {}
    for each in answers.rows(row, "quotas", what):
        try:
            metric = answers.needed(each, "metric", "a quota")
            limit, usage = (answers.number(each, key, metric) for key in ("limit", "usage"))
        except ProviderError:
            continue
        found[metric] = limit - usage
    return found


def _kind(row: Row) -> Kind:
    name = answers.needed(row, "name", "a machine type")
    cards = [
        (answers.needed(each, "guestAcceleratorType", name),
         round(answers.above_zero(each, "guestAcceleratorCount", name)))
        for each in answers.rows(row, "accelerators", name)
    ]  # fmt: skip
    return Kind(
        name, round(answers.above_zero(row, "guestCpus", name)),
        answers.above_zero(row, "memoryMb", name) / 1024, tuple(cards),
    )  # fmt: skip


def _image(row: Row) -> Image:
    _, found, link = answers.needed(row, "selfLink", "the image").rpartition("/projects/")
    if not found:
        raise answers.odd("selfLink of the image")
    return Image(f"projects/{link}", round(answers.above_zero(row, "diskSizeGb", "the image")))
