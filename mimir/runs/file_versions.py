"""The versions of one object in a folder: a register without locks.

An object that nobody has swapped is just the file under its name, and that is version 1. The first
swap copies it, as `1`, into a hidden folder beside it. From then on this folder says what the
object holds, and version n is what lies there under the name n:

    run/HEAD                    a copy of a recent version, for people
    run/.HEAD.versions/1, 2, 3  the highest number is the object

Whoever swaps version n takes the name n + 1, by an act that only one writer can succeed with
(`file_names.take`). A name that was taken is never free again while the object exists: else a
writer that had slept through many versions could take an old number and be told that it had won.
Nor does it ever hold anything else, so a reader that sees an old state of the folder (NFS remembers
for up to a minute that a name is missing) sees an older version, and never a mixture.

Objects can be deleted, and created anew, while a writer sleeps in the middle of a swap. That does
no harm: its temporary file was made in the folder of versions before the writer looked at anything,
and deletion moves this folder away as a whole. So it finds its temporary file gone.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from mimir.errors import StoreError
from mimir.runs import file_names
from mimir.runs.store import DOCUMENT, too_large

_AFTER = ".versions"
_TRIES = 100


def versioned_name(folder: str) -> str:
    """The object's name whose versions lie in the folder of this name, "" if it is another one."""
    if folder.startswith(".") and folder.endswith(_AFTER):
        return folder[1 : -len(_AFTER)]
    return ""


class Versions:
    """The versions of the object at `path`.

    known: for each path the highest number seen there. Names are never freed, so a search begins
    there; a number that is too low, or of a run that was removed, costs a few steps.
    """

    def __init__(self, path: Path, known: MutableMapping[Path, int]) -> None:
        self.path = path
        self.folder = path.with_name(f".{path.name}{_AFTER}")
        self._known = known

    def name(self, number: int) -> Path:
        """Where version `number` lies, if it was ever made."""
        return self.folder / str(number)

    def any(self) -> bool:
        """Whether the object was ever swapped."""
        return file_names.exists(self.name(1))

    def newest(self) -> int:
        """The highest number, 0 if there is none. Numbers have no gaps, so this looks by doubling
        and halving. It is right for some moment between call and return.
        """
        low = self._known.get(self.path, 0)
        if low and not file_names.exists(self.name(low)):
            low = 0
        step = 1
        while file_names.exists(self.name(low + step)):
            low, step = low + step, 2 * step
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            if file_names.exists(self.name(middle)):
                low = middle
            else:
                high = middle
        if low:
            self._known[self.path] = low
        return low

    def find(self, limit: int) -> tuple[int, bytes, float] | None:
        """(number of the newest version, body, when it was written in unix s); None if there is
        no such object.

        Corrupt if it has more than `limit` bytes.
        """
        for _ in range(_TRIES):
            number = self.newest()
            try:
                return number or 1, *_read(self.name(number) if number else self.path, limit)
            except FileNotFoundError:
                if not number:
                    return None
        raise StoreError(f"{self.path} comes and goes: try again")

    def body(self, number: int) -> bytes:
        """What version `number` holds; FileNotFoundError if there is no such version."""
        return _read(self.name(number))[0]

    def unversioned(self) -> Iterator[memoryview]:
        """What lies under the object's own name, read when asked for; FileNotFoundError."""
        yield memoryview(_read(self.path)[0])

    def take(self, number: int, temporary: Path) -> None:
        """Make the body in `temporary` version `number`; FileExistsError if there is one."""
        file_names.take(temporary, self.name(number))
        file_names.sync_folder(self.folder)
        self._known[self.path] = number
        # The copy may lag behind, or go back when a slow writer makes it: only people read it.
        with contextlib.suppress(OSError):
            try:
                file_names.replace(temporary, self.path)
            except FileNotFoundError:  # it lies in the folder that has taken the name
                shutil.copyfile(self.name(number) / file_names.BODY, temporary)
                file_names.replace(temporary, self.path)

    def append(self, temporary: Path) -> None:
        """Make the body in `temporary` the newest version, whichever there is."""
        while True:
            try:
                return self.take(self.newest() + 1, temporary)
            except FileExistsError:
                continue

    def remove(self) -> None:
        """Delete the object. Not for one that another process creates at the same moment."""
        file_names.discard(self.path)
        if file_names.exists(self.folder):
            file_names.discard_folder(self.folder)
            # A swap that landed between the two may have made the copy again; now none can.
            file_names.discard(self.path)


def _read(path: Path, limit: int = DOCUMENT) -> tuple[bytes, float]:
    """(body, time of its last change)."""
    with file_names.open_body(path) as file:
        found = os.fstat(file.fileno())
        if found.st_size > limit:
            raise too_large(str(path), found.st_size, limit)
        data = file.read(found.st_size + 1)
    if len(data) > limit:  # it has grown
        raise too_large(str(path), None, limit)
    return data, found.st_mtime
