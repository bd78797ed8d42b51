"""What a training machine's GPU, memory and disk did, and what of it is worth a warning.

The worker writes it into its heartbeat (`Heartbeat.telemetry`) and, as columns, into the metrics. A
machine that nobody trusts wrote it, so every field is typed and bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from mimir.runs.ranges import AnyTime, AtMost, Between, Characters, OneOf, Seconds

Share = Annotated[float, Between(0, 1)]
Watts = Annotated[float, Between(0, 1e5)]
Celsius = Annotated[float, Between(-100, 1e3)]
Megahertz = Annotated[float, Between(0, 1e5)]
Bytes = Annotated[int, Between(0, 1 << 60)]
"""Of memory or disk: machines with more than 1 TiB of memory are rented too."""

KINDS = (
    "gpu-idle", "gpu-hot", "gpu-power", "gpu-slowed", "slow", "gpu-memory", "memory", "disk",
)  # fmt: skip
"""Of warnings; mimir/worker/trouble.py says when each is given."""
SENTENCE = 300
"""Characters of a warning."""


@dataclass(frozen=True)
class Warned:
    """A warning that still holds. since: unix s by the store's clock, as its machine knows it."""

    kind: Annotated[str, OneOf(KINDS)]
    since: AnyTime
    text: Annotated[str, Characters(SENTENCE)]


@dataclass(frozen=True)
class Telemetry:
    """Figures of `seconds` s until the heartbeat: means, and with `_most` the largest sample.

    None: not told by this machine. gpu_busy: share of the time in which a kernel ran. *memory: the
    largest number of bytes in use on the GPU, in the container or machine, and by the training
    process. *_of: what there is at most (memory and disk in bytes, MHz, W). throttled_*: share of
    the samples in which the GPU was slowed down by heat, by its power limit or by its host's power
    supply or another hardware signal. disk_free: the least bytes.
    """

    seconds: Seconds
    gpu_busy: Share | None = None
    gpu_busy_most: Share | None = None
    gpu_memory: Bytes | None = None
    gpu_memory_of: Bytes | None = None
    gpu_watts: Watts | None = None
    gpu_watts_most: Watts | None = None
    gpu_watts_of: Watts | None = None
    gpu_celsius: Celsius | None = None
    gpu_celsius_most: Celsius | None = None
    gpu_mhz: Megahertz | None = None
    gpu_mhz_of: Megahertz | None = None
    throttled_heat: Share | None = None
    throttled_power: Share | None = None
    throttled_hardware: Share | None = None
    memory: Bytes | None = None
    memory_of: Bytes | None = None
    process_memory: Bytes | None = None
    disk_free: Bytes | None = None
    disk_of: Bytes | None = None
    warnings: Annotated[tuple[Warned, ...], AtMost(len(KINDS))] = ()

    def as_row(self) -> dict[str, float]:
        """As columns of metrics (`COLUMNS`), without those that are not told."""
        return {
            column: round(value / (1e9 if column.endswith("_gb") else 1), 4)
            for column, name in _OF_COLUMN.items()
            if (value := getattr(self, name)) is not None
        }

    def words(self) -> Iterator[tuple[str, str]]:
        """("gpu", …) and ("host", …) for people; one of which nothing is told is left out."""
        gpu = _joined(
            _percent("{} busy", self.gpu_busy, self.gpu_busy_most),
            _of("{} of {} GB", self.gpu_memory, self.gpu_memory_of, 1e9),
            _of("{} of {} W", self.gpu_watts, self.gpu_watts_of),
            f"{self.gpu_celsius:.0f} °C" if self.gpu_celsius is not None else "",
            _of("{} of {} MHz", self.gpu_mhz, self.gpu_mhz_of),
            *self._throttled(),
        )
        host = _joined(
            _of("{} of {} GB of memory", self.memory, self.memory_of, 1e9),
            f"training {_plain(self.process_memory / 1e9)} GB" if self.process_memory else "",
            _of("{} of {} GB of disk free", self.disk_free, self.disk_of, 1e9),
        )
        yield from ((what, value) for what, value in (("gpu", gpu), ("host", host)) if value)

    def _throttled(self) -> Iterator[str]:
        for share, why in (
            (self.throttled_heat, "heat"), (self.throttled_power, "its power limit"),
            (self.throttled_hardware, "its host's hardware"),
        ):  # fmt: skip
            if share:
                yield f"slowed down by {why} {share:.0%} of the time"


_OF_COLUMN = {
    "gpu_busy": "gpu_busy", "gpu_memory_gb": "gpu_memory", "gpu_watts": "gpu_watts",
    "gpu_watts_most": "gpu_watts_most", "gpu_celsius": "gpu_celsius",
    "gpu_celsius_most": "gpu_celsius_most", "gpu_mhz": "gpu_mhz",
    "throttled_heat": "throttled_heat", "throttled_power": "throttled_power",
    "throttled_hardware": "throttled_hardware", "memory_gb": "memory",
    "process_memory_gb": "process_memory", "disk_free_gb": "disk_free",
}  # fmt: skip
COLUMNS = frozenset(_OF_COLUMN)
"""Of the metrics: what the clock, the machine and whoever else uses it decide, and no training."""
_RANGES: dict[str, Between] = {
    name: limits
    for name, hint in get_type_hints(Telemetry, include_extras=True).items()
    for kind in get_args(hint)  # of `Share | None`
    for limits in get_args(kind)
    if isinstance(limits, Between)
}
"""Of the figures."""


def in_range(name: str, value: float) -> bool:
    """Whether a machine's figure, by its name in `Telemetry`, may have this value."""
    return not _RANGES[name].wrong(value)


def is_possible(column: str, value: Any) -> bool:
    """Whether a machine may have written this number under the column; any other column's may."""
    if column not in COLUMNS or value is None:
        return True
    return in_range(_OF_COLUMN[column], value * (1e9 if column.endswith("_gb") else 1))


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _plain(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}"


def _percent(words: str, mean: float | None, most: float | None) -> str:
    if mean is None:
        return ""
    beside = f" (at most {most:.0%})" if most is not None and most - mean >= 0.05 else ""
    return words.format(f"{mean:.0%}") + beside


def _of(words: str, value: float | None, total: float | None, unit: float = 0.0) -> str:
    """Words with a value and what it is of, which is left out where it is not told."""
    if value is None:
        return ""
    shown = _plain(value / unit) if unit else f"{value:.0f}"
    if not total:
        return words.replace(" of {}", "", 1).format(shown)
    return words.format(shown, _plain(total / unit) if unit else f"{total:.0f}")
