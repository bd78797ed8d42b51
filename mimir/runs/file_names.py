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
from mimir.runs.file_folder import Folder, Name, raise_if_link, sync_folder

BODY = ".body"
TEMPORARY = ".tmp-"
VERSIONS = ".versions"
"""What the name of a folder of versions ends with."""

DEAD_FOR = 60.0
"""Seconds after which a temporary file goes whose writer was of this computer and is dead."""
TEMPORARY_LIVES = 86_400.0
"""Seconds after which any temporary file goes. Its writer may have been stopped for so long: it
then finds its file gone, and writes again."""

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_PLAIN = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def exists(at: Name) -> bool:
    """Whether there is such a name. OSError where that cannot be told: it is no answer."""
    try:
        os.lstat(at.name, dir_fd=at.folder.fd)
    except FileNotFoundError:
        return False
    return True


def open_body(at: Name) -> BufferedReader:
    """The bytes under a name; FileNotFoundError if it names no object.

    Corrupt if it is a link, which could lead anywhere, or no plain file: a pipe or a device that
    somebody else has put there would be waited for.
    """
    try:
        return _open_plain(at)
    except IsADirectoryError:
        with at.folder.enter(at.name) as folder:
            return _open_plain(Name(folder, BODY))


def _open_plain(at: Name) -> BufferedReader:
    def opener(name: str, flags: int) -> int:
        try:
            handle = os.open(name, flags | _PLAIN, dir_fd=at.folder.fd)
        except OSError as error:
            raise_if_link(error, at)
            raise
        kind = os.fstat(handle).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            os.close(handle)
            raise Corrupt(f"{at.path} is no plain file; it was not written by Mimir")
        return handle

    return open(at.name, "rb", opener=opener)


def take(temporary: Name, name: Name) -> None:
    """Give the body in `temporary` the name `name`; FileExistsError if the name is taken.

    Then `temporary` is as it was. After success it may be gone, or be a second link. Both lie in
    the same folder, which may be named in two ways: FileNotFoundError if `temporary` does not lead
    there any more.
    """
    mine = os.lstat(temporary.name, dir_fd=temporary.folder.fd)
    try:
        os.link(
            temporary.name, name.name, src_dir_fd=temporary.folder.fd, dst_dir_fd=name.folder.fd,
            follow_symlinks=False,
        )  # fmt: skip
    except OSError as error:
        # A network file system repeats a request whose answer it lost, and then finds its own link.
        if _same(name, mine) and _links(temporary) == 2:
            return
        if error.errno not in NO_LINKS:
            raise
        _take_by_folder(temporary, name, mine)


def _take_by_folder(temporary: Name, name: Name, mine: os.stat_result) -> None:
    made = new_temporary(name.folder)
    os.mkdir(made.name, dir_fd=made.folder.fd)
    try:
        with made.folder.enter(made.name) as folder:
            body = Name(folder, BODY)
            _rename(temporary, body)
            sync_folder(folder)
            outside = temporary.beside(made.name)
            try:
                _rename(outside, name)
            except OSError as error:
                if not exists(outside) and _same(Name(name.folder, f"{name.name}/{BODY}"), mine):
                    return
                # Not to `temporary`, which may lead elsewhere by now.
                _rename(body, Name(name.folder, temporary.name.rpartition("/")[2]))
                if exists(name):
                    raise FileExistsError(
                        errno.EEXIST, os.strerror(errno.EEXIST), name.path
                    ) from error
                raise
    finally:
        remove_tree(made)


def _rename(source: Name, target: Name) -> None:
    os.rename(source.name, target.name, src_dir_fd=source.folder.fd, dst_dir_fd=target.folder.fd)


def _same(at: Name, mine: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.lstat(at.name, dir_fd=at.folder.fd), mine)
    except OSError:
        return False


def _links(at: Name) -> int:
    return os.lstat(at.name, dir_fd=at.folder.fd).st_nlink


def replace(temporary: Name, name: Name) -> None:
    """Put the body in `temporary` in place of what is under `name`, at once."""
    try:
        _rename(temporary, name)
    except IsADirectoryError:
        with name.folder.enter(name.name) as folder:
            if not exists(Name(folder, BODY)):
                raise
            _rename(temporary, Name(folder, BODY))


def discard(name: Name) -> None:
    """Free a name; no error if there is none."""
    try:
        os.unlink(name.name, dir_fd=name.folder.fd)
    except FileNotFoundError:
        return
    except OSError:
        if not exists(Name(name.folder, f"{name.name}/{BODY}")):
            raise
        discard_folder(name)


def discard_folder(name: Name) -> None:
    """Remove a folder and what is in it: at once for others, however long it takes."""
    doomed = new_temporary(name.folder)
    with contextlib.suppress(FileNotFoundError):
        _rename(name, doomed)
    remove_tree(doomed)


def remove_tree(name: Name) -> None:
    """Remove a folder and what is in it, as far as that can be done. No link is followed."""
    shutil.rmtree(name.name, ignore_errors=True, dir_fd=name.folder.fd)


def new_temporary(folder: Folder) -> Name:
    """A name in `folder` that nobody else draws. It tells who writes: place and process."""
    return Name(folder, f"{TEMPORARY}{_place()}-{os.getpid()}-{uuid.uuid4().hex}")


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


def collect(top: Folder, now: float) -> None:
    """Remove abandoned temporary files and folders below `top`.

    now: the time of a file that was written there just now. Computers that share a folder may
    differ in their clocks, but the times of its files are of one clock: of the folder's server.
    """
    for at in _temporaries(top):
        with contextlib.suppress(OSError):
            found = os.lstat(at.name, dir_fd=at.folder.fd)
            if _abandoned(at.name, now - found.st_mtime):
                if stat.S_ISDIR(found.st_mode):
                    remove_tree(at)
                else:
                    os.unlink(at.name, dir_fd=at.folder.fd)


def _temporaries(top: Folder) -> Iterator[Name]:
    for at, folders, files, fd in os.fwalk(".", dir_fd=top.fd):
        here = Folder(fd, top.path / at)
        for name in (*files, *folders):
            if name.startswith(TEMPORARY):
                yield Name(here, name)
            elif name.endswith(VERSIONS):
                yield from _temporary_versions(here, name)
        folders[:] = [name for name in folders if not name.startswith(TEMPORARY)]
        folders[:] = [name for name in folders if not name.endswith(VERSIONS)]


def _temporary_versions(above: Folder, name: str) -> Iterator[Name]:
    """Those in a folder of versions, of which a run soon has thousands: by their names alone, for
    a network file system may ask its server what each of them is."""
    with contextlib.suppress(OSError, Corrupt), above.enter(name) as folder:
        for each in os.listdir(folder.fd):
            if each.startswith(TEMPORARY):
                yield Name(folder, each)


def _abandoned(name: str, age: float) -> bool:
    place, _, rest = name.removeprefix(TEMPORARY).partition("-")
    process = rest.partition("-")[0]
    here = place == _place() and process.isdecimal()
    if here and int(process) == os.getpid():
        return False
    if age > TEMPORARY_LIVES:
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
