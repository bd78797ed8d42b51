"""The dry-run step: takes a run's first step, saves, loads and undoes it.

What cannot work on a machine shows in seconds instead of at the first checkpoint: a batch that
does not fit, a checkpoint whose bytes do not come back. Everything that training changes lies in
the state's tensors, so putting them back undoes all of it. A test shows that a run with a dry-run
step ends with the same weights as one without.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mimir.errors import Corrupt, NonFinite
from mimir.text import duration, size
from mimir.training import checkpoint
from mimir.training.checkpoint import Record
from mimir.training.engine import Engine

GB = 1e9


@dataclass(frozen=True)
class Memory:
    """Bytes: the most that was used, and what there is."""

    peak: int
    total: int

    def __str__(self) -> str:
        return f"{self.peak / GB:.1f} of {self.total / GB:.1f} GB"


def memory(device: torch.device) -> Memory:
    """Of the GPU what torch reserved at most, what graphs use included; without one the
    process's largest resident set."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return Memory(torch.cuda.max_memory_reserved(device), total)
    peak = _status("/proc/self/status", "VmHWM:")
    total = _status("/proc/meminfo", "MemTotal:")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdecimal():
        total = min(total or int(text), int(text))
    return Memory(peak, total)


def _status(path: str, name: str) -> int:
    """Bytes of a line of /proc; 0 where there is none."""
    if not Path(path).is_file():
        return 0
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of tensors that are missing on a side or are not the same bits."""
    return [
        name
        for name in sorted(one.keys() | other.keys())
        if name not in one or name not in other or not _same(one[name], other[name])
    ]


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    # As bytes: two NaNs are equal then, and the two zeros are not.
    bits = [value.detach().cpu().reshape(-1).view(torch.uint8) for value in (one, other)]
    return torch.equal(*bits)


def block(engine: Engine) -> int:
    """Steps that show all that a step needs: a GPU's graph as a whole, elsewhere a single one."""
    graph = engine.config.runtime.graph_steps
    return max(1, graph) if engine.machine.device.type == "cuda" else 1


def dry_run_step(engine: Engine, record: Record) -> str:
    """Take the next steps, save, load, compare, and put the engine back. A line for the log.

    Raises:
        Corrupt: what was loaded is not what was saved, or what was put back not what was there.
        torch.OutOfMemoryError: the batch does not fit.
    """
    began = time.monotonic()
    before = checkpoint.take(engine.state, record)
    if before.ready is not None:
        before.ready.synchronize()
    steps = block(engine)
    engine.advance(steps)
    snapshot = checkpoint.take(engine.state, record)
    try:
        content = snapshot.encode()
    except NonFinite:
        content = b""  # the loop meets it again, and tells it in the store
    finally:
        engine.resume(before.tensors)
    if content:
        config = engine.config.sha256()
        loaded = checkpoint.decode(content, config, record.data_sha256)[1]
        _refuse(differing(snapshot.tensors, loaded), "after it was saved and loaded")
    _refuse(differing(before.tensors, engine.state.tensors()), "after it was put back")
    return (
        f"rehearsed {steps} step{'s' if steps > 1 else ''} and a checkpoint of "
        f"{size(len(content))} in {duration(time.monotonic() - began)}; "
        f"peak memory {memory(engine.machine.device)}"
    )


def _refuse(names: list[str], when: str) -> None:
    if names:
        raise Corrupt(
            f"the training state is not the same {when}: {len(names)} tensors differ, such as "
            f"{names[0]}; nothing was trained, for this machine could not resume it"
        )
