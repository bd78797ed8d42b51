"""What is wanted of a rented machine, and what a service would rent."""

from dataclasses import dataclass

from launch.contract.image import PUBLIC
from mimir.errors import BadInput
from mimir.runs.order import Offer

__all__ = ["Need", "Offer"]


@dataclass(frozen=True)
class Need:
    """What a machine must have. Sizes in GB (1e9 bytes), price in $/h of the whole machine.

    gpus: names as launch/pricing/gpus.py writes them, () for any. spot: machines that may be taken
    away are welcome too. hours: how long it is wanted at least, where a service's machines
    have an end. cuda: least CUDA that a host's driver must know, as the image asks.
    """

    memory_gb: float = 0.0
    gpus: tuple[str, ...] = ()
    max_price: float = float("inf")
    spot: bool = False
    disk_gb: int = 30
    hours: float = 0.0
    cuda: float = PUBLIC.cuda

    def __post_init__(self) -> None:
        if not (self.memory_gb >= 0 and self.max_price > 0 and self.hours >= 0):
            raise BadInput("memory and hours must be 0 or more, and the price above 0")
