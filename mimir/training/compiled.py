"""Removes what torch and Triton compiled and nobody has used for a month.

Each revision, preset and GPU leaves entries of its own in the folder that `compiler.keep` chooses,
and neither torch nor Triton ever removes one.
"""

import itertools
import math
import os
import random
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

UNUSED_S = 30 * 86400.0
"""Seconds without use after which an entry goes. Whoever needs it later compiles it anew."""
EVERY_S = 86400.0
"""Seconds between two looks."""
AT_MOST = 10_000
"""Entries of one look: in a home folder on a server each takes some requests."""
ENTRIES = ("triton/*", "torch/triton/*/*", "torch/fxgraph/*/*", "torch/aotautograd/*", "torch/??/*")
"""Where whole entries lie: folders, and in torch's folders of two letters single files. All else
stays; locks above all, which another attempt may hold."""
_STAMP, _TRASH = "looked-at", "removed-"


def remove_unused(folder: Path) -> int:
    """Remove entries that nobody has used for UNUSED_S; how many. Raises nothing.

    Other attempts may use the folder meanwhile. An entry is renamed as a whole before it is
    removed, so that none of them finds half of it: it compiles anew what it does not find.
    """
    try:
        now, stamp = time.time(), folder / _STAMP
        if stamp.exists() and 0 <= now - stamp.stat().st_mtime < EVERY_S:
            return 0
        stamp.touch(mode=0o600)
        old = [entry for entry in _some(folder) if now - _used(entry) > UNUSED_S]
        if not old:
            return 0
        trash = Path(tempfile.mkdtemp(prefix=_TRASH, dir=folder))
        try:
            return sum(_moved(entry, trash / str(number)) for number, entry in enumerate(old))
        finally:
            shutil.rmtree(trash, ignore_errors=True)
    except OSError:  # a full or shared disk: what is kept may as well stay
        return 0


def _some(folder: Path) -> Iterator[Path]:
    """Up to AT_MOST entries, others each time."""
    found = (
        entry
        for parent, name in _shuffled(_parents(folder))
        for entry in _shuffled(parent.glob(name))
    )
    return itertools.islice(found, AT_MOST)


def _parents(folder: Path) -> Iterator[tuple[Path, str]]:
    """Folders with entries, and the pattern of their names."""
    yield folder, f"{_TRASH}*"  # of a process that was killed
    for pattern in ENTRIES:
        above, _, name = pattern.rpartition("/")
        yield from ((parent, name) for parent in folder.glob(above))


def _shuffled(things: Iterable[T]) -> list[T]:
    found = list(things)
    random.shuffle(found)
    return found


def _used(entry: Path) -> float:
    """When any file of an entry was last read or written, by Unix time. A file system that keeps
    no times of reading has those of writing."""
    try:
        status = entry.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return max(status.st_atime, status.st_mtime)
        with os.scandir(entry) as files:
            times = [file.stat(follow_symlinks=False) for file in files]
    except OSError:  # another attempt removes it
        return math.inf
    return max((max(t.st_atime, t.st_mtime) for t in times), default=status.st_mtime)


def _moved(entry: Path, to: Path) -> bool:
    try:
        entry.rename(to)
    except OSError:  # another attempt was faster
        return False
    return True
