"""What an offer promised of its machine, as its worker checks it before any data moves."""

import re
from dataclasses import dataclass
from typing import Annotated

from mimir.runs.ranges import Between

Gigabytes = Annotated[float, Between(0, 1e6)]


def words(name: str) -> list[str]:
    """A GPU's name by its words in lower case, without the vendor's and the brands' alone."""
    found = re.findall(r"[a-z0-9]+", name.lower())
    return [word for word in found if word not in ("nvidia", "geforce", "tesla")]


def key(name: str) -> str:
    """What tells a GPU's name from others, whatever case, brand and punctuation it has."""
    return "".join(words(name))


@dataclass(frozen=True)
class GpuNames:
    """What a kind of GPU is called.

    names: all that are known, the common one first. model: the word that marks it in names that
    nobody knows yet, such as "4090" or "a100". others: names of other kinds with that word in them.
    """

    names: tuple[str, ...]
    model: str
    others: tuple[str, ...] = ()

    def fit(self, shown: str) -> bool:
        """Whether what nvidia-smi shows may be a GPU of this kind."""
        if key(shown) in map(key, self.names):
            return True
        return self.model in words(shown) and key(shown) not in map(key, self.others)


@dataclass(frozen=True)
class Promised:
    """Part of order.json. What is None, 0 or "" was not promised, and is not checked.

    gpu: what it may be called. memory_gb: of the GPU, 1e9 bytes. driver: NVIDIA's version, such
    as "580.65". disk_gb: of the machine's disk. upload_mbit: the least rate to the store, Mbit/s,
    without which the run's checkpoints would not get there in time, and which the host's own
    figure allows.
    """

    gpu: GpuNames | None = None
    memory_gb: Gigabytes = 0.0
    driver: str = ""
    disk_gb: Gigabytes = 0.0
    upload_mbit: Annotated[float, Between(0, 1e6)] = 0.0
