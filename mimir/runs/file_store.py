"""A store in a folder: `file:///path`. Durable against power loss, safe between processes.

A write is a temporary file, flush, fsync, rename, fsync of the folder, so that a key holds
either the old bytes or the new ones. `put_if_absent` and `compare_and_swap` hold a lock file of
their key. The lock file also counts the writes of that key; a version is that count and the
body's digest, so a body that comes back still has another version.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mimir.errors import BadInput, Conflict, Corrupt, NotFound, StoreDenied, StoreError, StoreUnfit
from mimir.runs.store import (
    DOCUMENT,
    Progress,
    Stored,
    Versioned,
    check_key,
    too_large,
    verify,
)

_OWN = ".mimir"
_CHUNK = 8 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,  # a file where a folder should be
    errno.ENAMETOOLONG,
}
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


def open_url(url: str, credentials_file: Path | None = None) -> "FileStore":
    """`file:///absolute/folder`. Credentials are not needed and not looked at."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise BadInput(
            f"{url} names the host {parts.netloc!r}: a file store is local, "
            "write three slashes, file:///folder"
        )
    if parts.query or parts.fragment:
        raise BadInput(f"{url}: a file store takes no options after '?' or '#'")
    if not parts.path.startswith("/"):
        raise BadInput(f"{url} names no folder: write file:///folder")
    return FileStore(Path(unquote(parts.path)))


class FileStore:
    """Objects as plain files below `root`, which is made when first written to."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.url = self.root.as_uri()
        self._cleaned = False

    def __repr__(self) -> str:
        return f"FileStore({self.url!r})"

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        path = self._path(key)
        with _explained("read", path), contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(_flocked(self._lock(key), os.O_RDONLY, fcntl.LOCK_SH))
                count = _count(lock)
            except FileNotFoundError:
                # Never created conditionally. If that changes just now, the version below
                # is merely out of date.
                count = 0
            try:
                data = _bytes(path, key, limit)
            except FileNotFoundError:
                return None
        return Versioned(data, _version(count, data))

    def put_if_absent(self, key: str, data: bytes) -> str:
        return self._conditional(key, data, None)

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        return self._conditional(key, data, version)

    def put_content(
        self, key: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        path = self._path(key)
        size, sha256 = self._replace(path, _chunks(content), progress)
        # Read once more: network file systems have lost bytes.
        if _digest(path) != sha256:
            self.delete(key)
            raise StoreError(f"{path} holds other bytes than were written: write it again")
        return Stored(key, size, sha256)

    def put(self, key: str, data: bytes) -> None:
        self._replace(self._path(key), [memoryview(data)], None)

    def get(
        self,
        key: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
        limit: int = DOCUMENT,
        progress: Progress | None = None,
    ) -> bytes:
        path = self._path(key)
        with _explained("read", path):
            try:
                data = _bytes(path, key, limit if size is None else size)
            except FileNotFoundError:
                raise NotFound(f"there is no {path}") from None
        if progress:
            progress(len(data))
        return verify(data, key, size, sha256)

    def list(self, prefix: str) -> Iterator[str]:
        folder = self.root / prefix.rpartition("/")[0]
        keys = []
        with _explained("list", folder):
            for at, folders, files in os.walk(folder, onerror=_raise_unless_missing):
                folders[:] = [name for name in folders if not name.startswith(".")]
                base = Path(at).relative_to(self.root)
                keys += [(base / name).as_posix() for name in files if not name.startswith(".")]
        return iter(sorted(key for key in keys if key.startswith(prefix)))

    def folders(self) -> Iterator[str]:
        with _explained("list", self.root):
            try:
                entries = list(os.scandir(self.root))
            except FileNotFoundError:
                entries = []
            return iter(sorted(e.name for e in entries if e.is_dir() and e.name[0] != "."))

    def delete(self, key: str) -> None:
        # The lock file stays: its count keeps an old version from ever being right again.
        path = self._path(key)
        with _explained("delete", path), contextlib.suppress(FileNotFoundError):
            path.unlink()

    def _conditional(self, key: str, data: bytes, expected: str | None) -> str:
        path, lock_path = self._path(key), self._lock(key)
        with _explained("write", path):
            _make_folder(lock_path.parent)
            with _flocked(lock_path, os.O_RDWR | os.O_CREAT, fcntl.LOCK_EX) as lock:
                count = _count(lock)
                try:
                    found = _version(count, path.read_bytes())
                except FileNotFoundError:
                    found = None
                if found != expected:
                    raise Conflict(f"{path} {_difference(found, expected)}")
                # Counted before the write: a crash in between makes versions that were read
                # before useless, which costs a reader one more read and never an update.
                os.pwrite(lock, str(count + 1).encode(), 0)
                os.fsync(lock)
                self._replace(path, [memoryview(data)], None)
                return _version(count + 1, data)

    def _replace(
        self, path: Path, chunks: Iterable[memoryview], progress: Progress | None
    ) -> tuple[int, str]:
        """Write atomically; (size, SHA-256). Nothing is left behind if it fails."""
        size, sha256 = 0, hashlib.sha256()
        with _explained("write", path):
            _make_folder(path.parent)
            temporary, handle = self._temporary()
            try:
                with os.fdopen(handle, "wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
                        sha256.update(chunk)
                        size += len(chunk)
                        if progress:
                            progress(len(chunk))
                    file.flush()
                    os.fsync(file.fileno())
                    os.rename(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)
        return size, sha256.hexdigest()

    def _temporary(self) -> tuple[Path, int]:
        """A new temporary file, locked for as long as its writer lives."""
        folder = self.root / _OWN / "tmp"
        _make_folder(folder)
        if not self._cleaned:
            self._cleaned = True
            _remove_abandoned(folder)
        while True:
            path = folder / uuid.uuid4().hex
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if path.exists():
                return path, handle
            os.close(handle)  # a cleaner came between open and lock

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _lock(self, key: str) -> Path:
        return self.root / _OWN / "locks" / hashlib.sha256(key.encode()).hexdigest()[:32]


@contextlib.contextmanager
def _explained(action: str, path: Path) -> Iterator[None]:
    """Turn what the operating system says into one sentence of our error tree."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in _FULL:
            raise StoreError(
                f"cannot {action} {path}: {why}; free some space, nothing that was there is lost"
            ) from error
        if error.errno in _DENIED:
            raise StoreDenied(
                f"cannot {action} {path}: {why}; choose another folder or correct its permissions"
            ) from error
        if error.errno in _NO_LOCKS:
            raise StoreUnfit(
                f"cannot lock {path}: {why}; this file system has no locks, choose another folder"
            ) from error
        raise StoreError(f"cannot {action} {path}: {why}") from error


@contextlib.contextmanager
def _flocked(path: Path, flags: int, operation: int) -> Iterator[int]:
    handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, operation)
        yield handle
    finally:
        os.close(handle)


def _count(lock: int) -> int:
    """0 also for what a power cut left of it: that makes versions useless, and none valid again."""
    text = os.pread(lock, 32, 0)
    return int(text) if text.isdigit() else 0


def _bytes(path: Path, key: str, limit: int) -> bytes:
    """A file of at most so many bytes. Nothing else is waited for or read: not a pipe, not a
    device that somebody else has put there."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Corrupt(f"{path} is no plain file; it was not written by Mimir")
        if status.st_size > limit:
            raise too_large(key, status.st_size, limit)
        with os.fdopen(handle, "rb", closefd=False) as file:
            data = file.read(status.st_size + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise too_large(key, None, limit)
    return data


def _digest(path: Path) -> str:
    with _explained("read", path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(count: int, data: bytes) -> str:
    return f"{count}-{hashlib.sha256(data).hexdigest()[:32]}"


def _difference(found: str | None, expected: str | None) -> str:
    if expected is None:
        return "exists already"
    return "does not exist" if found is None else "was changed by another writer"


def _chunks(content: bytes | memoryview | Path) -> Iterator[memoryview]:
    if isinstance(content, Path):
        try:
            file = content.open("rb")
        except OSError as error:
            raise BadInput(f"cannot read {content}: {error.strerror}") from error
        with file:
            while block := file.read(_CHUNK):
                yield memoryview(block)
    else:
        view = memoryview(content).cast("B")
        for at in range(0, len(view), _CHUNK):
            yield view[at : at + _CHUNK]


def _make_folder(folder: Path) -> None:
    """Make it and its parents; a new folder lasts only once its parent is synced too."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files whose writer is dead, that is, whose lock is free."""
    for path in folder.iterdir():
        with (
            contextlib.suppress(FileNotFoundError, BlockingIOError),
            _flocked(path, os.O_RDONLY, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            path.unlink()


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
