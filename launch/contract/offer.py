"""What is wanted of a rented machine, and what a service would rent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mimir.errors import BadInput


@dataclass(frozen=True)
class Need:
    """What a machine must have. Sizes in GB (1e9 bytes), price in $/h of the whole machine.

    gpus: names as launch/pricing/gpus.py writes them, () for any. spot: machines that may be taken
    away are welcome too. hours: how long it is wanted at least, where a service's machines
    have an end.
    """

    memory_gb: float = 0.0
    gpus: tuple[str, ...] = ()
    max_price: float = float("inf")
    spot: bool = False
    disk_gb: int = 30
    hours: float = 0.0

    def __post_init__(self) -> None:
        if not (self.memory_gb >= 0 and self.max_price > 0 and self.hours >= 0):
            raise BadInput("memory and hours must be 0 or more, and the price above 0")


@dataclass(frozen=True)
class Offer:
    """A machine with one GPU that a service would rent now.

    id: what tells it from the service's other offers. gpu: as launch/pricing/gpus.py names it, else
    the service's own name. price: $/h for all of it: GPU, disk, fees. place: what to avoid
    after a failure there (a machine, a data centre, a region). key: what the adapter needs to
    order it, plain JSON without secrets.
    """

    provider: str
    id: str
    gpu: str
    memory_gb: float
    price: float
    region: str = ""
    spot: bool = False
    place: str = ""
    key: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "provider": self.provider, "id": self.id, "gpu": self.gpu,
            "memory_gb": self.memory_gb, "price": self.price, "region": self.region,
            "spot": self.spot, "place": self.place, "key": dict(self.key),
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Offer":
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})
