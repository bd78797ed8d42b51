"""Reads memory and disk of the machine, or of the container that it gives to this process.

By the kernel's own files (Linux); what another system does not have is not told.
https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html
"""

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

V2 = ("memory.max", "memory.current", "inactive_file")
V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
"""Limit, use, and what of the use the kernel gives up when memory is needed (in memory.stat)."""


def read(pid: int, folders: Iterable[Path], root: Path = Path("/")) -> dict[str, float]:
    """Figures now, by the names of mimir.runs.telemetry.Telemetry, in bytes.

    Args:
        pid: of the training process.
        folders: those in use; of the disks that they are on the fullest one is told.
        root: where proc/ and sys/ lie.
    """
    found = _memory(root)
    own = _text(root / f"proc/{pid}/statm").split()
    if len(own) > 1 and own[1].isdigit():
        found["process_memory"] = float(int(own[1]) * os.sysconf("SC_PAGE_SIZE"))
    disk = _disk(folders)
    if disk is not None:
        found["disk_free"], found["disk_of"] = disk
    return found


def folders_of(store: str) -> list[Path]:
    """The folders that a worker writes to: for temporary files, and a store that is a folder."""
    url = urlsplit(store)
    own = [Path(unquote(url.path))] if url.scheme == "file" else []
    return [Path(tempfile.gettempdir()), *own]


def processes_waiting() -> float:
    """Processes that want a processor now, for each one that this process may use; 0 where the
    system does not tell."""
    try:
        waiting = os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return waiting / max(1, mine or 1)


def _memory(root: Path) -> dict[str, float]:
    """Of the control group with the least memory left to this process, else of the machine."""
    told = (line.split() for line in _text(root / "proc/meminfo").splitlines())
    info = {
        line[0].rstrip(":"): int(line[1]) * 1024
        for line in told
        if len(line) > 1 and line[1].isdigit()
    }
    total, free = info.get("MemTotal"), info.get("MemAvailable")
    if total is None or free is None:
        return {}
    limited = [each for each in _groups(root) if each[1] <= total]
    used, of = min(limited, key=lambda each: each[1] - each[0], default=(total - free, total))
    return {"memory": float(max(0, used)), "memory_of": float(of)}


def _groups(root: Path) -> Iterable[tuple[int, int]]:
    """(bytes in use, limit) of this process's control groups that have a limit."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        if kinds and "memory" not in kinds.split(","):
            continue
        top, files = root / "sys/fs/cgroup", V2
        if kinds:
            top, files = top / "memory", V1
        folder = top / path.lstrip("/")
        # Within a container the path may be the host's, and its own group lies at the top.
        for each in dict.fromkeys((folder, *folder.parents, top)):
            if each == top or top in each.parents:
                limit, used = (_text(each / name).strip() for name in files[:2])
                if limit.isdigit() and used.isdigit():
                    yield int(used) - _inactive(each, files[2]), int(limit)


def _inactive(group: Path, name: str) -> int:
    for line in _text(group / "memory.stat").splitlines():
        found = line.split()
        if len(found) == 2 and found[0] == name and found[1].isdigit():
            return int(found[1])
    return 0


def _disk(folders: Iterable[Path]) -> tuple[float, float] | None:
    """(free, all) bytes of the disk with the least left."""
    found = []
    for folder in folders:
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue  # gone, or not made yet
        found.append((float(usage.free), float(usage.total)))
    return min(found, default=None)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
