"""How much memory packing takes, by the size of the CSV, and whether this machine has it."""

from pathlib import Path

from mimir.errors import BadInput
from mimir.text import size

FIXED = 130_000_000
PER_BYTE = 6
SORTING = 250_000_000
SORTING_PER_BYTE = 8
"""Bytes: of the program; for each byte of a CSV; and for the 7-mers that are sorted at once.
Measured without a sidecar: 0.4 MB took 125 MB, 3.8 MB 135 MB, 38 MB 475 MB, 190 MB 1,323 MB."""
GROUP = Path("/sys/fs/cgroup/memory.max")
MEMINFO = Path("/proc/meminfo")


def needed(csv_bytes: int) -> int:
    """Bytes that packing a CSV of this size takes at most."""
    return FIXED + PER_BYTE * csv_bytes + min(SORTING, SORTING_PER_BYTE * csv_bytes)


def available() -> int | None:
    """Bytes that a process can still take here; None if this system does not tell (macOS)."""
    found = [
        int(line.split()[1]) * 1024
        for line in (_text(MEMINFO) or "").splitlines()
        if line.startswith("MemAvailable:")
    ]
    limit = _text(GROUP).strip()
    return min([*found, int(limit)] if limit.isdecimal() else found, default=None)


def check(csv: Path) -> None:
    """BadInput if packing a CSV takes more memory than is free. It need not exist."""
    try:
        length = csv.stat().st_size
    except OSError:
        return
    need, have = needed(length), available()
    if have is not None and need > have:
        raise BadInput(
            f"packing {csv} ({size(length)}) takes up to {size(need)} of memory, and {size(have)} "
            "are free: close other programs, pack it on a larger machine, or use fewer rows"
        )


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
