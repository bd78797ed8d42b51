"""A store in a folder: `file:///path`. Durable against power loss, safe between computers.

A write is a temporary file, flush, fsync, one act that gives it its name, fsync of the folder, so
that a key holds either the old bytes or the new ones. The act is a rename where the last writer
wins, and an exclusive one (`mimir.runs.file_names`) in `put_if_absent` and `compare_and_swap`,
which keeps the versions of what it swaps (`mimir.runs.file_versions`). There is no lock: nobody
waits for a peer that was stopped, and nothing rests on locks that a cluster's file system may
grant to two computers at once.

A version is a number and the body's digest. Before the first swap of an object the number is 1,
whoever wrote it.
"""

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mimir.errors import BadInput, Conflict, NotFound, StoreDenied, StoreError, StoreUnfit
from mimir.runs import file_names
from mimir.runs.file_versions import Versions, versioned_name
from mimir.runs.store import DOCUMENT, Progress, Stored, Versioned, check_key, verify

_CHUNK = 8 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
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
_CANNOT = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}


def open_url(url: str, credentials_file: Path | None = None) -> "FileStore":
    """`file:///absolute/folder`. Credentials are not needed and not looked at."""
    if os.name != "posix":
        raise BadInput(f"{url}: file stores need a POSIX system: use s3:// or WSL here")
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
        self._known: dict[Path, int] = {}
        self._collected: set[Path] = set()

    def __repr__(self) -> str:
        return f"FileStore({self.url!r})"

    def now(self) -> float:
        """The time of a file written just now: where a server keeps the folder, its clock.

        Who may not write here is told this computer's time: they can replace nothing by it.
        """
        if not self.root.is_dir():
            return time.time()  # nothing is there whose age could be asked for
        try:
            with _explained("write", self.root):
                path = file_names.new_temporary(self.root)
                handle = os.open(path, _NEW)
                try:
                    os.utime(handle)
                    return os.fstat(handle).st_mtime
                finally:
                    os.unlink(path)
                    os.close(handle)
        except StoreDenied:
            return time.time()

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        path = self._path(key)
        with _explained("read", path):
            found = self._versions(path).find(limit)
        if found is None:
            return None
        number, data, written = found
        return Versioned(data, _version(number, data), written)

    def put_if_absent(self, key: str, data: bytes) -> str:
        path = self._path(key)
        with _explained("write", path):
            if file_names.exists(path):
                raise Conflict(f"{path} exists already")
            file_names.make_folder(path.parent)
            with self._written(path.parent, [memoryview(data)]) as (temporary, _):
                try:
                    file_names.take(temporary, path)
                except FileExistsError:
                    raise Conflict(f"{path} exists already") from None
                file_names.sync_folder(path.parent)
        return _version(1, data)

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        path = self._path(key)
        versions = self._versions(path)
        number = _number(version)
        with _explained("write", path):
            try:
                if number == 1 and not versions.any():
                    self._begin(versions)
                if file_names.exists(versions.name(number + 1)):
                    raise FileExistsError  # before the bytes are written in vain
                with self._written(versions.folder, [memoryview(data)]) as (temporary, _):
                    # Not before: `Versions` says what becomes of an object deleted meanwhile.
                    if not _holds(versions, number, version):
                        raise Conflict(f"{path} was changed by another writer")
                    versions.take(number + 1, temporary)
            except FileExistsError:
                raise Conflict(f"{path} was changed by another writer") from None
            except FileNotFoundError:
                if versions.any():
                    raise
                raise Conflict(f"{path} does not exist") from None
        return _version(number + 1, data)

    def put_content(
        self, key: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        path = self._path(key)
        size, sha256 = self._overwrite(path, _chunks(content), progress)
        # Read once more: network file systems have lost bytes.
        if _digest(path) != sha256:
            self.delete(key)
            raise StoreError(f"{path} holds other bytes than were written: write it again")
        return Stored(key, size, sha256)

    def put(self, key: str, data: bytes) -> None:
        self._overwrite(self._path(key), [memoryview(data)])

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
            found = self._versions(path).find(limit if size is None else size)
        if found is None:
            raise NotFound(f"there is no {path}")
        data = found[1]
        if progress:
            progress(len(data))
        return verify(data, key, size, sha256)

    def list(self, prefix: str) -> Iterator[str]:
        folder = self.root / prefix.rpartition("/")[0]
        keys: set[str] = set()
        with _explained("list", folder):
            for at, folders, files in os.walk(folder, onerror=_raise_unless_missing):
                base = Path(at).relative_to(self.root)
                if file_names.BODY in files:  # an object where there are no hard links
                    keys.add(base.as_posix())
                names = [name for name in files if not name.startswith(".")]
                for swapped in filter(None, map(versioned_name, folders)):
                    if self._versions(Path(at, swapped)).any():
                        names.append(swapped)
                keys.update((base / name).as_posix() for name in names)
                folders[:] = [name for name in folders if not name.startswith(".")]
        return iter(sorted(key for key in keys if key.startswith(prefix)))

    def folders(self) -> Iterator[str]:
        with _explained("list", self.root):
            try:
                entries = [e for e in os.scandir(self.root) if e.is_dir() and e.name[0] != "."]
            except FileNotFoundError:
                entries = []
            objects = file_names.BODY
            return iter(
                sorted(e.name for e in entries if not file_names.exists(Path(e.path, objects)))
            )

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _explained("delete", path):
            self._versions(path).remove()

    def _begin(self, versions: Versions) -> None:
        """Make what lies under the object's own name version 1; FileNotFoundError if none does."""
        if not file_names.exists(versions.path):
            raise FileNotFoundError
        file_names.make_folder(versions.folder)
        with (
            contextlib.suppress(FileExistsError),
            self._written(versions.folder, versions.unversioned()) as (temporary, _),
        ):
            versions.take(1, temporary)

    def _overwrite(
        self, path: Path, chunks: Iterable[memoryview], progress: Progress | None = None
    ) -> tuple[int, str]:
        """Write atomically, whatever is there; (size, SHA-256). Nothing is left if it fails."""
        with _explained("write", path):
            versions = self._versions(path)
            swapped = versions.any()
            folder = versions.folder if swapped else path.parent
            file_names.make_folder(folder)
            with self._written(folder, chunks, progress) as (temporary, written):
                if swapped:
                    versions.append(temporary)
                else:
                    file_names.replace(temporary, path)
                    file_names.sync_folder(folder)
        return written

    @contextlib.contextmanager
    def _written(
        self, folder: Path, chunks: Iterable[memoryview], progress: Progress | None = None
    ) -> Iterator[tuple[Path, tuple[int, str]]]:
        """A temporary file with these bytes, synced, for the block; and their (size, SHA-256)."""
        size, sha256 = 0, hashlib.sha256()
        temporary = file_names.new_temporary(folder)
        handle = os.open(temporary, _NEW, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                self._collect(folder, os.fstat(handle).st_mtime)
                for chunk in chunks:
                    file.write(chunk)
                    sha256.update(chunk)
                    size += len(chunk)
                    if progress:
                        progress(len(chunk))
                file.flush()
                os.fsync(handle)
            yield temporary, (size, sha256.hexdigest())
        finally:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def _collect(self, folder: Path, now: float) -> None:
        """Once for each run: remove what writers have left there that were killed."""
        top = self.root.joinpath(*folder.relative_to(self.root).parts[:1])
        if top not in self._collected:
            self._collected.add(top)
            file_names.collect(top, now)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _versions(self, path: Path) -> Versions:
        return Versions(path, self._known)


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
        if error.errno in _CANNOT:
            raise StoreUnfit(
                f"cannot {action} {path}: {why}; this file system lacks what a store needs, "
                "choose another folder"
            ) from error
        raise StoreError(f"cannot {action} {path}: {why}") from error


def _digest(path: Path) -> str:
    with _explained("read", path), file_names.open_body(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _version(number: int, data: bytes) -> str:
    return f"{number}-{hashlib.sha256(data).hexdigest()[:32]}"


def _holds(versions: Versions, number: int, version: str) -> bool:
    try:
        return _version(number, versions.body(number)) == version
    except FileNotFoundError:
        return False


def _number(version: str) -> int:
    """Of a version; 0, which no object has, of what is none of this store's."""
    number = version.partition("-")[0]
    return int(number) if number.isdecimal() else 0


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


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
