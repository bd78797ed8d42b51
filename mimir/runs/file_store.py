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
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mimir.errors import BadInput, Conflict, NotFound, StoreDenied, StoreError
from mimir.runs import file_names
from mimir.runs.file_errors import explained
from mimir.runs.file_folder import Folder, Name, make_folder, new_file, open_folder, sync_folder
from mimir.runs.file_versions import Versions, versioned_name
from mimir.runs.store import DOCUMENT, Progress, Stored, Versioned, check_key, verify

_CHUNK = 8 << 20


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
            with explained("write", self.root), open_folder(self.root, ()) as folder:
                at = file_names.new_temporary(folder)
                handle = new_file(at)
                try:
                    os.utime(handle)
                    return os.fstat(handle).st_mtime
                finally:
                    os.unlink(at.name, dir_fd=folder.fd)
                    os.close(handle)
        except StoreDenied:
            return time.time()

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        found = self._find(key, limit)
        if found is None:
            return None
        number, data, written = found
        return Versioned(data, _version(number, data), written)

    def put_if_absent(self, key: str, data: bytes) -> str:
        with self._written_at(key) as name:
            if file_names.exists(name):
                raise Conflict(f"{name.path} exists already")
            with self._written(name.folder, [memoryview(data)]) as (temporary, _):
                try:
                    file_names.take(temporary, name)
                except FileExistsError:
                    raise Conflict(f"{name.path} exists already") from None
                sync_folder(name.folder)
        return _version(1, data)

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        number = _number(version)
        path = self.root / check_key(key)
        try:
            with self._at("write", key) as name, Versions(name, self._known) as versions:
                try:
                    self._swap(name, versions, number, data, version)
                except FileNotFoundError:
                    with Versions(name, self._known) as now:
                        if now.any():
                            raise
                    raise Conflict(f"{path} does not exist") from None
        except _Missing:
            raise Conflict(f"{path} does not exist") from None
        return _version(number + 1, data)

    def _swap(self, name: Name, versions: Versions, number: int, data: bytes, version: str) -> None:
        try:
            if number == 1 and not versions.any():
                self._begin(name, versions)
            if versions.exists(number + 1):
                raise FileExistsError  # before the bytes are written in vain
            with self._written(versions.folder(), [memoryview(data)]) as (temporary, _):
                # Not before: `Versions` says what becomes of an object deleted meanwhile.
                if not _holds(versions, number, version):
                    raise Conflict(f"{name.path} was changed by another writer")
                versions.take(number + 1, temporary)
        except FileExistsError:
            raise Conflict(f"{name.path} was changed by another writer") from None

    def put_content(
        self, key: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        size, sha256 = self._overwrite(key, _chunks(content), progress)
        # Read once more: network file systems have lost bytes.
        if self._digest(key) != sha256:
            self.delete(key)
            raise StoreError(
                f"{self.root / key} holds other bytes than were written: write it again"
            )
        return Stored(key, size, sha256)

    def put(self, key: str, data: bytes) -> None:
        self._overwrite(key, [memoryview(data)])

    def get(
        self,
        key: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
        limit: int = DOCUMENT,
        progress: Progress | None = None,
    ) -> bytes:
        found = self._find(key, limit if size is None else size)
        if found is None:
            raise NotFound(f"there is no {self.root / key}")
        data = found[1]
        if progress:
            progress(len(data))
        return verify(data, key, size, sha256)

    def list(self, prefix: str) -> Iterator[str]:
        above = [name for name in prefix.split("/")[:-1] if name]
        keys: set[str] = set()
        with explained("list", self.root.joinpath(*above)):
            try:
                with open_folder(self.root, above) as top:
                    keys.update(_keys(top, Path(*above)))
            except FileNotFoundError:
                pass
        return iter(sorted(key for key in keys if key.startswith(prefix)))

    def folders(self) -> Iterator[str]:
        with explained("list", self.root):
            try:
                with open_folder(self.root, ()) as top, os.scandir(top.fd) as entries:
                    names = [e.name for e in entries if e.is_dir() and e.name[0] != "."]
                    objects = {
                        n for n in names if file_names.exists(Name(top, f"{n}/{file_names.BODY}"))
                    }
            except FileNotFoundError:
                return iter(())
        return iter(sorted(set(names) - objects))

    def delete(self, key: str) -> None:
        with (
            contextlib.suppress(_Missing),
            self._at("delete", key) as name,
            Versions(name, self._known) as versions,
        ):
            versions.remove()

    def _find(self, key: str, limit: int) -> tuple[int, bytes, float] | None:
        try:
            with self._at("read", key) as name, Versions(name, self._known) as versions:
                return versions.find(limit)
        except _Missing:
            return None

    def _begin(self, name: Name, versions: Versions) -> None:
        """Make what lies under the object's own name version 1; FileNotFoundError if none does."""
        if not file_names.exists(name):
            raise FileNotFoundError
        with (
            contextlib.suppress(FileExistsError),
            self._written(versions.make_folder(), versions.unversioned()) as (temporary, _),
        ):
            versions.take(1, temporary)

    def _overwrite(
        self, key: str, chunks: Iterable[memoryview], progress: Progress | None = None
    ) -> tuple[int, str]:
        """Write atomically, whatever is there; (size, SHA-256). Nothing is left if it fails."""
        with self._written_at(key) as name, Versions(name, self._known) as versions:
            swapped = versions.any()
            folder = versions.folder() if swapped else name.folder
            with self._written(folder, chunks, progress) as (temporary, written):
                if swapped:
                    versions.append(temporary)
                else:
                    file_names.replace(temporary, name)
                    sync_folder(folder)
        return written

    @contextlib.contextmanager
    def _written(
        self, folder: Folder, chunks: Iterable[memoryview], progress: Progress | None = None
    ) -> Iterator[tuple[Name, tuple[int, str]]]:
        """A temporary file with these bytes, synced, for the block; and their (size, SHA-256)."""
        size, sha256 = 0, hashlib.sha256()
        temporary = file_names.new_temporary(folder)
        handle = new_file(temporary)
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
                os.unlink(temporary.name, dir_fd=folder.fd)

    def _collect(self, folder: Folder, now: float) -> None:
        """Once for each run: remove what writers have left there that were killed."""
        run = folder.path.relative_to(self.root).parts[:1]
        top = self.root.joinpath(*run)
        if top not in self._collected:
            self._collected.add(top)
            with open_folder(self.root, run) as opened:
                file_names.collect(opened, now)

    def _digest(self, key: str) -> str:
        with self._at("read", key) as name, file_names.open_body(name) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @contextlib.contextmanager
    def _at(self, action: str, key: str) -> Iterator[Name]:
        """The key's name in its folder, open for the block; _Missing if there is no such folder."""
        path = self.root / check_key(key)
        *above, last = path.relative_to(self.root).parts
        with explained(action, path):
            try:
                folder = open_folder(self.root, above)
            except FileNotFoundError:
                raise _Missing from None
            with folder:
                yield Name(folder, last)

    @contextlib.contextmanager
    def _written_at(self, key: str) -> Iterator[Name]:
        """As `_at`, but the folder is made if it is missing."""
        path = self.root / check_key(key)
        *above, last = path.relative_to(self.root).parts
        with explained("write", path), make_folder(self.root, above) as folder:
            yield Name(folder, last)


class _Missing(Exception):
    """There is no folder in which the object could lie."""


def _keys(top: Folder, base: Path) -> Iterator[str]:
    """Of the objects below a folder; base: its own key."""
    for at, folders, files, fd in os.fwalk(".", dir_fd=top.fd, onerror=_raise_unless_missing):
        here = base / at
        if file_names.BODY in files:  # an object where there are no hard links
            yield here.as_posix()
        yield from ((here / name).as_posix() for name in files if not name.startswith("."))
        for folder in folders:
            swapped = versioned_name(folder)
            if swapped and file_names.exists(Name(Folder(fd, top.path / at), f"{folder}/1")):
                yield (here / swapped).as_posix()
        folders[:] = [name for name in folders if not name.startswith(".")]


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
