"""What an offer promised of its machine, as its worker checks it before any data moves."""

from dataclasses import dataclass
from typing import Annotated

from mimir.runs.ranges import Between

Gigabytes = Annotated[float, Between(0, 1e6)]


@dataclass(frozen=True)
class Promised:
    """Part of order.json. What is 0 or "" was not promised, and is not checked.

    model: the word that names the GPU's model in whatever nvidia-smi calls it, such as "4090" or
    "a100". memory_gb: of the GPU, 1e9 bytes. driver: NVIDIA's version, such as "580.65". disk_gb:
    of the machine's disk. upload_mbit: the least rate to the store, Mbit/s, without which the
    run's checkpoints would not get there in time, and which the host's own figure allows.
    """

    model: str = ""
    memory_gb: Gigabytes = 0.0
    driver: str = ""
    disk_gb: Gigabytes = 0.0
    upload_mbit: Annotated[float, Between(0, 1e6)] = 0.0
