"""A store: bytes under keys, with create-if-absent and compare-and-swap.

What two writers could contend for goes through `put_if_absent` and `compare_and_swap`. Everything
else is written once under a fresh key (`put_content`) or is informational (`put`). Backends differ
in nothing that callers can see: tests/runs/test_store.py runs against each of them.

A version names one write of one key. S3 derives it from the body, so bodies that are given to
`compare_and_swap` must never repeat; HEAD bears a nonce for this reason.
"""

import hashlib
import importlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast
from urllib.parse import unquote, urlsplit

from mimir.errors import BadInput, Conflict, Corrupt, StoreDenied, StoreError, StoreUnfit
from mimir.runs.ranges import Size
from mimir.text import near

DOCUMENT = 1 << 20
"""Bytes that a small object has at most: what is larger is refused before it is in memory."""

Progress = Callable[[int], None]
"""Called with bytes done since the last call, from any thread; negative when a part is redone."""


@dataclass(frozen=True)
class Versioned:
    """A small object together with the version to give to `compare_and_swap`.

    written: when it was, in unix s by the store's own clock (Store.now).
    """

    data: bytes
    version: str
    written: float


@dataclass(frozen=True)
class Stored:
    """An object's key, size in bytes and SHA-256 (hex): enough to fetch and to verify it."""

    key: str
    size: Size
    sha256: str

    def __post_init__(self) -> None:
        if self.size < 0 or not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise Corrupt(f"size {self.size} or digest {self.sha256!r} of {self.key} is impossible")


class Store(Protocol):
    """Thread-safe. Keys are '/'-separated names, see `check_key`."""

    url: str
    """Opens this store again on another machine; never holds a secret."""

    def now(self) -> float:
        """The store's own clock in unix s, by which `Versioned.written` is counted.

        Ages and deadlines are told by it, never by a computer's: two computers' clocks differ
        by hours. It is good to a few seconds.
        """

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        """A small object and its version; None if there is none.

        Corrupt if it has more than `limit` bytes, of which no more than these are read.
        """

    def put_if_absent(self, key: str, data: bytes) -> str:
        """Write only if there is no such object; the new version, or Conflict."""

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        """Write only over that version; the new one, or Conflict (also if the key is missing)."""

    def put_content(
        self, key: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        """Content of any size under a fresh key; what arrived is verified after the write."""

    def put(self, key: str, data: bytes) -> None:
        """A small informational object; overwrites, the last writer wins."""

    def get(
        self,
        key: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
        limit: int = DOCUMENT,
        progress: Progress | None = None,
    ) -> bytes:
        """The content. NotFound if missing, Corrupt if size or digest differ from those given.

        No more than `size` bytes are read, or than `limit` where no size is given: Corrupt if
        there are more.
        """

    def list(self, prefix: str) -> Iterator[str]:
        """All keys that begin with `prefix`, sorted."""

    def folders(self) -> Iterator[str]:
        """First parts of all keys that have more than one, sorted: the runs of a store."""

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""


VARIABLES = ("AWS_",)
"""What the names of the environment variables begin with that a store's client reads: boto3's,
beside $MIMIR_CREDENTIALS_FILE."""
# scheme -> (module, what to do when it cannot be imported). Imported when first used, so that
# a file store needs no boto3 and `--help` answers at once.
_SCHEMES = {
    "file": ("mimir.runs.file_store", "reinstall Mimir"),
    "s3": ("mimir.runs.s3_store", "install boto3 (`pip install boto3`)"),
}


def open_store(url: str, *, credentials_file: Path | None = None) -> Store:
    """The store at `file:///folder` or `s3://bucket/prefix?endpoint=...&region=...`.

    credentials_file: JSON as printed by an AWS `credential_process` (AccessKeyId,
    SecretAccessKey, SessionToken), read again whenever it changes; without it the file that
    $MIMIR_CREDENTIALS_FILE names, else what boto3 finds in the environment and the usual AWS
    files. BadInput for a URL that names no store.
    """
    scheme, colon, _ = url.partition("://")
    if not colon:
        path = Path(url).expanduser().absolute()
        raise BadInput(f"store {url!r} has no scheme; for a local folder write {path.as_uri()}")
    if scheme not in _SCHEMES:
        meant = near(scheme, _SCHEMES)
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        hint = f"did you mean {meant[0]}://? Known are" if meant else "known are"
        raise BadInput(f"unknown store scheme {scheme}://: {hint} {known}")
    try:
        parts = urlsplit(url)
        legal = unquote(url).isprintable()
    except ValueError:
        legal = False
    if not legal:
        raise BadInput(
            f"store {url!a} is not a legal URL: write {scheme}://… with names that can be "
            "printed, and brackets only round the numbers of an IPv6 address"
        )
    if parts.username is not None or parts.password is not None:
        raise BadInput(
            f"a {scheme}:// store URL must not hold a user name or secret: "
            "give credentials by environment or credentials file"
        )
    if scheme == "file" and os.open not in os.supports_dir_fd:
        raise BadInput(
            "a folder cannot be a store on this system, which opens no files in folders that are "
            "open: give a bucket by --store s3://… or MIMIR_STORE (docs/guides/laptop.md)"
        )
    module, hint = _SCHEMES[scheme]
    named = os.environ.get("MIMIR_CREDENTIALS_FILE")
    if credentials_file is None and named:
        credentials_file = Path(named).expanduser()
    try:
        opener = importlib.import_module(module).open_url
    except ImportError as error:
        raise BadInput(f"{scheme}:// stores cannot be used here ({error}): {hint}") from error
    return cast(Store, opener(url, credentials_file))


def check_key(key: str) -> str:
    """The key itself, or ValueError: keys stay below the root and name no hidden file."""
    if not key or any(part == "" or part.startswith(".") for part in key.split("/")):
        raise ValueError(f"illegal key {key!r}")
    if "\\" in key or any(ord(char) < 32 for char in key):
        raise ValueError(f"illegal key {key!r}")
    return key


def too_large(key: str, size: int | None, limit: int) -> Corrupt:
    """What is said of an object with more bytes than may be read. size: None if it is not known."""
    has = f"{size} bytes" if size is not None else "more bytes"
    return Corrupt(f"{key} has {has} where at most {limit} are expected; it is not read")


def verify(data: bytes, key: str, size: int | None, sha256: str | None) -> bytes:
    """The data itself, or Corrupt if its size or SHA-256 is not the given one."""
    if size is not None and len(data) != size:
        raise Corrupt(f"{key} has {len(data)} bytes, {size} were committed")
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise Corrupt(f"{key} has another SHA-256 than the committed {sha256[:12]}…")
    return data


def create_once(store: Store, key: str, data: bytes) -> bool:
    """Create a small object whoever asks first; True if it now holds `data`.

    A lost answer is resolved by reading back: equal bytes are as good as ours. False if
    another body was there first. StoreError if the store cannot say.
    """
    try:
        store.put_if_absent(key, data)
        return True
    except (StoreDenied, StoreUnfit):
        raise
    except Conflict:
        found = store.read(key)
    except StoreError:
        found = store.read(key)
        if found is None:
            raise
    return found is not None and found.data == data
