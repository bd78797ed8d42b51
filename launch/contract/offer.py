"""What is wanted of a rented machine, and what a service would rent."""

from dataclasses import dataclass, field

from launch.contract.image import PUBLIC
from mimir.errors import BadInput
from mimir.runs.hosts import Hosts
from mimir.runs.order import Offer

__all__ = ["Hosts", "Need", "Offer"]


@dataclass(frozen=True)
class Need:
    """What a machine must have. Sizes in GB (1e9 bytes), price in $/h of the whole machine.

    gpus: names as launch/pricing/gpus.py writes them, () for any. spot: machines that may be taken
    away are welcome too. hours: how long it is wanted at least, where a service's machines
    have an end. hosts: whose machines. upload_gb: what it sends in an hour, where that costs.
    cuda: least CUDA that a host's driver must know, as the image asks. store: URL of the run's
    store, where that tells what uploads cost; "" if it is not known.
    """

    memory_gb: float = 0.0
    gpus: tuple[str, ...] = ()
    max_price: float = float("inf")
    spot: bool = False
    disk_gb: int = 30
    hours: float = 0.0
    hosts: Hosts = field(default_factory=Hosts)
    upload_gb: float = 0.0
    cuda: float = PUBLIC.cuda
    store: str = ""

    def __post_init__(self) -> None:
        if not (self.memory_gb >= 0 and self.max_price > 0 and self.hours >= 0):
            raise BadInput("memory and hours must be 0 or more, and the price above 0")
