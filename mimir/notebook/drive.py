"""Keeps a run's commits in a folder of Google Drive, for who has no bucket.

The store is a folder of the machine, and is lost with it. Commits are copied to Drive, each as one
file: under a temporary name, then renamed, then read back. Older files are removed only when two
newer ones are whole. A new session takes the newest whole one.

This is weaker than a store. Drive has no conditional write, so two sessions that train one run are
not fenced against each other. And what is written to the mount lies on the machine's disk first and
reaches Google some time later: 3 GB have taken half an hour, a file may be shown with 0 bytes
until then (googlecolab/colabtools#2607), and some have been lost with the session (#287). So a
file counts as one of the two only after the time that it may need for its way, one file after
another.
"""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mimir.errors import Corrupt, StoreError
from mimir.notebook.archive import BIGGEST, Archive, Mark, write
from mimir.runs.content import BLOCK, blocks, sha256
from mimir.runs.file_errors import explained
from mimir.runs.head import Head
from mimir.runs.store import Store
from mimir.text import size

KEPT = 2
"""Whole archives that stay."""
UPLOAD_RATE = 1.5e6
"""Bytes/s at which a file is held to reach Drive: 3.1 GB have taken 24 to 30 minutes (#2607)."""
_PART = re.compile(r"copying\.[0-9a-f]{8}\.part")
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

Say = Callable[[str], None]


class Folder:
    """The archives of one run. One session at a time: nothing here fences another one.

    Args:
        path: of the folder; made when first written to.
        scratch: a folder of this machine, for a copy of the archive that is read or written.
        say: told in one line what is wrong.
        clock: seconds.
    """

    def __init__(
        self, path: Path, run: str, scratch: Path, say: Say = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.path, self.run = path, run
        self._scratch, self._say, self._clock = scratch / "archive.safetensors", say, clock
        self._known = set(self.archives())
        self._whole: dict[Mark, float] = {}
        """When each that was read whole is held to have reached Drive."""
        self._free = 0.0
        """When all that was written is held to have reached Drive, and the next file can begin."""
        self._told: set[str] = set()

    def archives(self) -> list[Mark]:
        """By their names, the newest first; whether they are whole is not known yet."""
        found: list[Mark] = []
        if not self.path.is_dir():
            return found
        with explained("list", self.path):
            for entry in os.scandir(self.path):
                mark = Mark.parse(entry.name, self.run)
                if mark and entry.is_file(follow_symlinks=False):
                    found.append(mark)
        return sorted(found, reverse=True)

    def foreign(self) -> list[str]:
        """Names of what is none of this run's archives, nor its code, nor left by a copy."""
        if not self.path.is_dir():
            return []
        ours = {mark.name for mark in self.archives()}
        names = [name for name in os.listdir(self.path) if name not in ours]
        return sorted(n for n in names if not n.endswith(".whl") and not _PART.fullmatch(n))

    def newest_whole(
        self, progress: Callable[[int], None] = lambda count: None, change: int = -1
    ) -> Archive | None:
        """The newest archive that is whole; None if there is none at all.

        progress: told the bytes that have come. change: only those after this change of HEAD.

        Raises:
            Corrupt: there are some, and none of them is whole.
            OtherFormat: another Mimir wrote it.
        """
        wrong = []
        for mark in (mark for mark in self.archives() if mark.change > change):
            try:
                self._fetch(mark, progress)
                found = Archive(self._scratch, mark)
            except (Corrupt, StoreError, OSError) as error:
                wrong.append(f"the copy of step {mark.step:,} on Drive cannot be used: {error}")
                self._say(wrong[-1])
                continue
            if wrong:
                self._say(f"going on from the one before it, of step {mark.step:,}")
            self._whole[mark] = 0.0
            return found
        if wrong:
            raise Corrupt(
                f"none of the {len(wrong)} copies in {self.path} can be used: wait until Drive has "
                "them whole and run this cell again, or choose another run_name"
            )
        return None

    def holds(self, head: Head) -> bool:
        """Whether the newest file is of this HEAD's commit; that it is whole is not looked at."""
        found = self.archives()
        return bool(found) and (found[0].attempt, found[0].change) == (head.attempt, head.seq)

    def on_its_way(self) -> float:
        """Seconds until all that was written is held to have reached Drive; 0: it has."""
        return max(0.0, self._free - self._clock())

    def add(self, store: Store) -> tuple[Mark, int]:
        """Copy the run's newest commit; which it is, and its bytes.

        Raises:
            StoreError: it could not be written; what was there is as it was.
            Corrupt: what was read back is something else.
        """
        mark = write(store, self.run, self._scratch)
        if mark in self._whole and (self.path / mark.name).is_file():
            return mark, self._scratch.stat().st_size  # these very bytes are there
        target, count = self.path / mark.name, self._scratch.stat().st_size
        self._warn_of_others()
        with explained("write", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._copy(target)
        try:
            if self._digest(target) != mark.sha256:
                raise Corrupt(f"{target} holds other bytes than were written")
        except (Corrupt, OSError) as error:
            with contextlib.suppress(OSError):
                target.unlink()
            raise StoreError(f"the copy on Drive cannot be read back: {error}") from error
        finally:
            self._scratch.unlink(missing_ok=True)
        self._known.add(mark)
        self._free = max(self._clock(), self._free) + count / UPLOAD_RATE
        self._whole[mark] = self._free
        self._remove_older()
        return mark, count

    def keep_code(self, wheel: Path) -> None:
        """Put the wheel beside the archives, for a session that does not have it."""
        target = self.path / wheel.name
        with explained("write", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            if not target.is_file() or sha256(target) != sha256(wheel):
                self._copy(target, wheel)

    def tidy(self) -> None:
        """Remove what copies left that were killed. Not while another session may be copying."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self.path):
                if _PART.fullmatch(name):
                    self._remove(self.path / name)

    def _fetch(self, mark: Mark, progress: Callable[[int], None]) -> None:
        """Copy an archive to this machine; Corrupt unless it has the digest of its name."""
        path = self.path / mark.name
        with self._scratch.open("wb") as local:

            def take(block: bytes) -> None:
                local.write(block)
                progress(len(block))

            if self._digest(path, take) != mark.sha256:
                raise Corrupt(
                    f"it has {size(path.stat().st_size)} and not the bytes that were written: it "
                    "is damaged, or not all of it has reached Drive"
                )

    def _digest(self, path: Path, take: Callable[[bytes], object] = lambda block: None) -> str:
        """SHA-256 of a plain file, block by block; Corrupt if it is something else."""
        digest = hashlib.sha256()
        for block in _blocks(path, shutil.disk_usage(self._scratch.parent).free):
            digest.update(block)
            take(block)
        return digest.hexdigest()

    def _copy(self, target: Path, source: Path | None = None) -> None:
        """Write under a temporary name, then rename; nothing is left if it fails."""
        temporary = self.path / f"copying.{secrets.token_hex(4)}.part"
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                for block in blocks(source or self._scratch):
                    file.write(block)
                file.flush()
                _sync(handle)
            os.replace(temporary, target)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _remove_older(self) -> None:
        """All but the newest ones that are whole and may be on Drive by now, and what is newer."""
        whole = 0
        for mark in self.archives():
            if mark not in self._known:
                continue
            if whole == KEPT:
                self._remove(self.path / mark.name)
            else:
                whole += self._whole.get(mark, float("inf")) <= self._clock()

    def _remove(self, path: Path) -> None:
        # Emptied first: what is deleted lies in Drive's trash for 30 days and takes room there.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK))
            path.unlink()

    def _warn_of_others(self) -> None:
        for mark in self.archives():
            if mark not in self._known and mark.name not in self._told:
                self._told.add(mark.name)
                self._say(
                    f"ANOTHER SESSION trains run {self.run} too: it has copied step {mark.step:,} "
                    f"to {self.path}. Drive cannot keep two apart: end one of them"
                )


def _blocks(path: Path, most: int) -> Iterator[bytes]:
    """The content of a plain file of at most so many bytes."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Corrupt(f"{path} is no plain file")
        left = min(most, BIGGEST)
        if found.st_size > left:
            raise Corrupt(f"{path} has {size(found.st_size)}, there is room for {size(left)}")
        while block := file.read(BLOCK):
            left -= len(block)
            if left < 0:
                raise Corrupt(f"{path} grows while it is read")
            yield block


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
