"""What the supervisor and its training process tell each other while it trains.

Two small files in a folder of the supervisor's, each with one writer:

    training.json      the training process: how far it is, on which GPU, how it executes steps
    telemetry.json     the supervisor: figures of the machine since they were taken last

The training process takes the figures away when it reads them, by which the supervisor knows that
the next ones begin anew. Nothing rests on them: who cannot write or read goes on without.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from mimir.runs import codec
from mimir.runs.execution import Execution
from mimir.runs.ranges import Characters, Rate, Step
from mimir.runs.telemetry import Telemetry

VARIABLE = "MIMIR_EXCHANGE"
FORMAT = 1
T = TypeVar("T")


@dataclass(frozen=True)
class Card:
    """A GPU as CUDA tells it. uuid: without "GPU-"; pci: its bus id; both "" for none."""

    uuid: Annotated[str, Characters(64)] = ""
    pci: Annotated[str, Characters(32)] = ""


@dataclass(frozen=True)
class Training:
    """How far training is, as Heartbeat has it, and on which GPU."""

    step: Step
    rate: Rate | None = None
    execution: Execution | None = None
    card: Card | None = None


class Exchange:
    """The folder, from either side. All may raise OSError, and Corrupt for what is no such file."""

    def __init__(self, folder: Path) -> None:
        self._training, self._telemetry = folder / "training.json", folder / "telemetry.json"

    def tell(self, training: Training) -> None:
        _put(self._training, asdict(training))

    def told(self) -> Training | None:
        """The last that the training process told, None before."""
        return _read(self._training, Training)

    def offer(self, telemetry: Telemetry) -> None:
        """Replace the figures that are to be taken."""
        _put(self._telemetry, asdict(telemetry))

    @property
    def taken(self) -> bool:
        """Whether nothing is left to be taken."""
        return not self._telemetry.exists()

    def take(self) -> Telemetry | None:
        """The figures since they were taken last, None if there are no new ones."""
        mine = self._telemetry.with_suffix(".taken")
        try:
            os.replace(self._telemetry, mine)
        except FileNotFoundError:
            return None
        return _read(mine, Telemetry)


def of_this_process(environ: Mapping[str, str] = os.environ) -> Exchange | None:
    """The training process's side; None where no supervisor has opened one."""
    folder = environ.get(VARIABLE)
    return Exchange(Path(folder)) if folder else None


def _put(path: Path, body: dict[str, Any]) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(codec.sealed(body, FORMAT))
    os.replace(new, path)  # not kept through a power cut: neither is the process


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    return codec.typed(kind, codec.unsealed(data, FORMAT, path.name), path.name)
