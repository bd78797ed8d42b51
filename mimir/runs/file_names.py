"""How a file store takes, moves and removes names, so that computers that share a folder agree.

Nothing here locks. A name is taken by one act that the file system itself makes exclusive, for
all computers that share it: link(), which fails where the name exists, or, where there are no hard
links, the renaming of a folder that holds the body, which fails where the name is a file or a
folder that is not empty. So whoever looks under a name finds the body in a file, or in a folder
as the file `BODY`; and the two ways exclude each other.

Temporary files lie in the folder of their target: bind mounts of one file system cannot link
between each other, and some cluster file systems link within one folder only. Their names tell
who writes them. Whoever comes later removes what was abandoned, by writer and age.
"""

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import socket
import stat
import uuid
from collections.abc import Iterator
from functools import cache
from io import BufferedReader
from pathlib import Path

from mimir.errors import Corrupt

BODY = ".body"
TEMPORARY = ".tmp-"

DEAD_FOR = 60.0
"""Seconds after which a temporary file goes whose writer was of this computer and is dead."""
SILENT_FOR = 86_400.0
"""Seconds after which any temporary file goes. Its writer may have been stopped for so long: it
then finds its file gone, and writes again."""

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_SYNC_MEANS = "a power cut may take back the last commits"
_told: set[int] = set()
_log = logging.getLogger(__name__)


def exists(path: Path) -> bool:
    """Whether there is such a name. OSError where that cannot be told: it is no answer."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def open_body(path: Path) -> BufferedReader:
    """The bytes under a name; FileNotFoundError if it names no object.

    Corrupt if it is no plain file: a pipe or a device that somebody else has put there would be
    waited for.
    """
    try:
        return _open_plain(path)
    except IsADirectoryError:
        return _open_plain(path / BODY)


def _open_plain(path: Path) -> BufferedReader:
    def opener(name: str, flags: int) -> int:
        handle = os.open(name, flags | os.O_NONBLOCK)
        kind = os.fstat(handle).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            os.close(handle)
            raise Corrupt(f"{path} is no plain file; it was not written by Mimir")
        return handle

    return open(path, "rb", opener=opener)


def take(temporary: Path, name: Path) -> None:
    """Give the body in `temporary` the name `name`; FileExistsError if the name is taken.

    Then `temporary` is as it was. After success it may be gone, or be a second link.
    """
    mine = os.stat(temporary)
    try:
        os.link(temporary, name)
    except OSError as error:
        # A network file system repeats a request whose answer it lost, and then finds its own link.
        if _same(name, mine) and os.stat(temporary).st_nlink == 2:
            return
        if error.errno not in NO_LINKS:
            raise
        _take_by_folder(temporary, name, mine)


def _take_by_folder(temporary: Path, name: Path, mine: os.stat_result) -> None:
    folder = new_temporary(temporary.parent)
    os.mkdir(folder)
    try:
        os.rename(temporary, folder / BODY)
        sync_folder(folder)
        try:
            os.rename(folder, name)
        except OSError as error:
            if not exists(folder) and _same(name / BODY, mine):
                return
            os.rename(folder / BODY, temporary)
            if exists(name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name) from error
            raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _same(path: Path, mine: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(path), mine)
    except OSError:
        return False


def replace(temporary: Path, name: Path) -> None:
    """Put the body in `temporary` in place of what is under `name`, at once."""
    try:
        os.rename(temporary, name)
    except IsADirectoryError:
        if not exists(name / BODY):
            raise
        os.rename(temporary, name / BODY)


def discard(name: Path) -> None:
    """Free a name; no error if there is none."""
    try:
        os.unlink(name)
    except FileNotFoundError:
        return
    except OSError:
        if not exists(name / BODY):
            raise
        discard_folder(name)


def discard_folder(folder: Path) -> None:
    """Remove a folder and what is in it: at once for others, however long it takes."""
    doomed = new_temporary(folder.parent)
    with contextlib.suppress(FileNotFoundError):
        os.rename(folder, doomed)
    shutil.rmtree(doomed, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make it and its parents; a new folder lasts only once its parent is synced too."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make new names in it last through a power cut, where the file system can do that."""
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        device = os.fstat(handle).st_dev
        if device not in _told:
            _told.add(device)
            _log.warning("the file system of %s cannot sync folders: %s", folder, _NO_SYNC_MEANS)
    finally:
        os.close(handle)


def new_temporary(folder: Path) -> Path:
    """A name in `folder` that nobody else draws. It tells who writes: place and process."""
    return folder / f"{TEMPORARY}{_place()}-{os.getpid()}-{uuid.uuid4().hex}"


@cache
def _place() -> str:
    """Where process numbers mean the same process: this computer, since it started, this container.

    Linux tells both. Elsewhere the host's name must do, as it has no containers of its own.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def collect(top: Path, now: float) -> None:
    """Remove abandoned temporary files and folders below `top`.

    now: the time of a file that was written there just now. Computers that share a folder may
    differ in their clocks, but the times of its files are of one clock: of the folder's server.
    """
    for path in _temporaries(top):
        with contextlib.suppress(OSError):
            if _abandoned(path.name, now - path.lstat().st_mtime):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()


def _temporaries(top: Path) -> Iterator[Path]:
    for at, folders, files in os.walk(top):
        for name in (*files, *folders):
            if name.startswith(TEMPORARY):
                yield Path(at, name)
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]


def _abandoned(name: str, age: float) -> bool:
    place, _, rest = name.removeprefix(TEMPORARY).partition("-")
    process = rest.partition("-")[0]
    here = place == _place() and process.isdecimal()
    if here and int(process) == os.getpid():
        return False
    if age > SILENT_FOR:
        return True
    return here and age > DEAD_FOR and not _alive(int(process))


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
