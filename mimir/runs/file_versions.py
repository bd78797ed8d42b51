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
and deletion moves this folder away as a whole. So it finds its temporary file gone: a version is
taken in the folder that was opened, but from the name that the temporary file has from outside.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import Self

from mimir.errors import Corrupt, StoreError
from mimir.runs import file_names
from mimir.runs.file_folder import Folder, Name, new_file, sync_folder
from mimir.runs.store import DOCUMENT, too_large

_TRIES = 100


def versioned_name(folder: str) -> str:
    """The object's name whose versions lie in the folder of this name, "" if it is another one."""
    if folder.startswith(".") and folder.endswith(file_names.VERSIONS):
        return folder[1 : -len(file_names.VERSIONS)]
    return ""


class Versions:
    """The versions of the object of this name; closed by the end of its `with`.

    known: for each path the highest number seen there. Names are never freed, so a search begins
    there; a number that is too low, or of a run that was removed, costs a few steps.
    """

    def __init__(self, name: Name, known: MutableMapping[Path, int]) -> None:
        self._copy, self._known = name, known
        self._outside = name.beside(f".{name.name}{file_names.VERSIONS}")
        self._folder: Folder | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def folder(self) -> Folder:
        """Of the versions, open; FileNotFoundError if there is none."""
        if self._folder is None:
            self._folder = self._outside.folder.enter(self._outside.name)
        return self._folder

    def make_folder(self) -> Folder:
        """As `folder`, but made if it is missing."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._outside.name, dir_fd=self._outside.folder.fd)
            sync_folder(self._outside.folder)
        return self.folder()

    def name(self, number: int) -> Name:
        """Where version `number` lies, if it was ever made; FileNotFoundError if none was."""
        return Name(self.folder(), str(number))

    def exists(self, number: int) -> bool:
        """Whether version `number` was ever made."""
        try:
            return file_names.exists(self.name(number))
        except FileNotFoundError:
            return False

    def any(self) -> bool:
        """Whether the object was ever swapped."""
        return self.exists(1)

    def newest(self) -> int:
        """The highest number, 0 if there is none. Numbers have no gaps, so this looks by doubling
        and halving. It is right for some moment between call and return.
        """
        path = self._copy.path
        low = self._known.get(path, 0)
        if low and not self.exists(low):
            low = 0
        step = 1
        while self.exists(low + step):
            low, step = low + step, 2 * step
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            if self.exists(middle):
                low = middle
            else:
                high = middle
        if low:
            self._known[path] = low
        return low

    def find(self, limit: int) -> tuple[int, bytes, float] | None:
        """(number of the newest version, body, when it was written in unix s); None if there is
        no such object.

        Corrupt if it has more than `limit` bytes.
        """
        for _ in range(_TRIES):
            number = self.newest()
            with contextlib.suppress(FileNotFoundError):
                found = _read(self.name(number) if number else self._copy, limit)
                if not number or self._is_there():
                    return number or 1, *found
                number = 1  # the object was deleted while it was read
            self._close()
            if not number:
                return None
        raise StoreError(f"{self._copy.path} comes and goes: try again")

    def body(self, number: int) -> bytes:
        """What version `number` holds; FileNotFoundError if there is no such version."""
        return _read(self.name(number))[0]

    def unversioned(self) -> Iterator[memoryview]:
        """What lies under the object's own name, read when asked for; FileNotFoundError."""
        yield memoryview(_read(self._copy)[0])

    def take(self, number: int, temporary: Name) -> None:
        """Make the body in `temporary`, a file in `folder`, version `number`; FileExistsError if
        there is one, FileNotFoundError if the object was deleted."""
        outside = Name(self._outside.folder, f"{self._outside.name}/{temporary.name}")
        file_names.take(outside, self.name(number))
        sync_folder(self.folder())
        self._known[self._copy.path] = number
        # The copy may lag behind, or go back when a slow writer makes it: only people read it.
        with contextlib.suppress(OSError, Corrupt):
            try:
                file_names.replace(outside, self._copy)
            except FileNotFoundError:  # it lies in the folder that has taken the name
                with (
                    file_names.open_body(self.name(number)) as body,
                    os.fdopen(new_file(temporary), "wb") as file,
                ):
                    shutil.copyfileobj(body, file)
                file_names.replace(outside, self._copy)

    def append(self, temporary: Name) -> None:
        """Make the body in `temporary` the newest version, whichever there is."""
        while True:
            try:
                return self.take(self.newest() + 1, temporary)
            except FileExistsError:
                continue

    def remove(self) -> None:
        """Delete the object. Not for one that another process creates at the same moment."""
        file_names.discard(self._copy)
        if file_names.exists(self._outside):
            file_names.discard_folder(self._outside)
            # A swap that landed between the two may have made the copy again; now none can.
            file_names.discard(self._copy)

    def _is_there(self) -> bool:
        """Whether the open folder is still the one of its name."""
        found = os.fstat(self.folder().fd)
        try:
            at = self._outside
            return os.path.samestat(found, os.lstat(at.name, dir_fd=at.folder.fd))
        except FileNotFoundError:
            return False

    def _close(self) -> None:
        if self._folder is not None:
            os.close(self._folder.fd)
            self._folder = None


def _read(at: Name, limit: int = DOCUMENT) -> tuple[bytes, float]:
    """(body, time of its last change)."""
    with file_names.open_body(at) as file:
        found = os.fstat(file.fileno())
        if found.st_size > limit:
            raise too_large(str(at.path), found.st_size, limit)
        data = file.read(found.st_size + 1)
    if len(data) > limit:  # it has grown
        raise too_large(str(at.path), None, limit)
    return data, found.st_mtime
