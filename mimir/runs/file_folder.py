"""Opens a store's folders one name at a time, so that no link leads out of a run.

A container may write its run's folder, so it can put a link in place of a folder at any moment,
also between a check of the path and its use. A folder that is open stays the same folder, whatever
becomes of its name. So each folder below a run's is opened from its parent without following a
link, and all work in it goes through its descriptor. The store's root and a run's own folder may be
links, because only the store's owner can make those.
"""

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from mimir.errors import Corrupt

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_IS_LINK = {errno.ELOOP, errno.EMLINK, errno.ENOTDIR}
"""What opening a link without following it ends with: Linux, FreeBSD, Linux for a folder."""
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_NO_SYNC_MEANS = "a power cut may take back the last commits"
_told: set[int] = set()
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """An open folder; closed by the end of its `with`. path: how it was found, for messages."""

    fd: int
    path: Path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self.fd)

    def enter(self, name: str) -> "Folder":
        """The folder of this name in it. Raises as open(), Corrupt if it is a link."""
        try:
            return Folder(os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=self.fd), self.path / name)
        except OSError as error:
            raise_if_link(error, Name(self, name))
            raise

    def follow(self, name: str) -> "Folder":
        """As `enter`, for a name that only the store's owner can make: it may be a link."""
        return Folder(os.open(name, _FOLDER, dir_fd=self.fd), self.path / name)


@dataclass(frozen=True)
class Name:
    """A name in an open folder, or below it: what follows the last / is never followed."""

    folder: Folder
    name: str

    @property
    def path(self) -> Path:
        """For messages; opening it would look up all of it anew."""
        return self.folder.path / self.name

    def beside(self, name: str) -> "Name":
        """Another name in the same folder."""
        above = self.name.rpartition("/")[0]
        return Name(self.folder, f"{above}/{name}" if above else name)


def raise_if_link(error: OSError, at: Name) -> None:
    """Corrupt if opening this name failed because it is a link, or was one a moment ago."""
    if error.errno not in _IS_LINK:
        return
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISREG(os.lstat(at.name, dir_fd=at.folder.fd).st_mode):
            return
    raise Corrupt(f"{at.path} is a link, which Mimir never makes: remove it") from error


def open_folder(root: Path, names: Sequence[str]) -> Folder:
    """The folder below a store's root, whose first name is a run's. Raises as Folder.enter."""
    return _descend(root, names, Folder.follow, Folder.enter)


def make_folder(root: Path, names: Sequence[str]) -> Folder:
    """As open_folder, but what is missing is made; a new folder lasts only once its parent is
    synced too."""
    _make(root)
    return _descend(root, names, _making(Folder.follow), _making(Folder.enter))


def new_file(at: Name) -> int:
    """The descriptor of a new file of this name; FileExistsError, also for a link."""
    return os.open(at.name, _NEW, 0o666, dir_fd=at.folder.fd)


def sync_folder(folder: Folder) -> None:
    """Make new names in it last through a power cut, where the file system can do that."""
    try:
        os.fsync(folder.fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        device = os.fstat(folder.fd).st_dev
        if device not in _told:
            _told.add(device)
            _log.warning(
                "the file system of %s cannot sync folders: %s", folder.path, _NO_SYNC_MEANS
            )


Step = Callable[[Folder, str], Folder]


def _descend(root: Path, names: Sequence[str], first: Step, later: Step) -> Folder:
    at = Folder(os.open(root, _FOLDER), root)
    step = first
    for name in names:
        with at:
            at = step(at, name)
        step = later
    return at


def _making(step: Step) -> Step:
    def make(at: Folder, name: str) -> Folder:
        try:
            return step(at, name)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=at.fd)
            sync_folder(at)
            return step(at, name)

    return make


def _make(path: Path) -> None:
    """By its path: it lies where only the store's owner writes."""
    if not path.is_dir():
        _make(path.parent)
        try:
            path.mkdir(exist_ok=True)
        except FileNotFoundError as error:  # /proc says so of what nobody may make there
            raise PermissionError(errno.EACCES, "no folder can be made there") from error
        with Folder(os.open(path.parent, _FOLDER), path.parent) as parent:
            sync_folder(parent)
