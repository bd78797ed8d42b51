"""Content on its way into a bucket: a file over it, its digests, and the ETag it must get.

An S3 server's ETag is the MD5 of what arrived, or of the MD5s of its parts. So it says, without
a second transfer and on servers that check nothing by themselves, whether the bytes that lie
there are those that were sent. MD5 is enough against accidents; the digest in HEAD is SHA-256.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from boto3.s3.transfer import TransferConfig

from mimir.errors import BadInput

PART = 16 << 20
TRANSFER = TransferConfig(
    multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=8, use_threads=True
)


@dataclass(frozen=True)
class Digests:
    """Of content. etag: what a server gives it that was sent it as TRANSFER says."""

    size: int
    sha256: str
    etag: str


def digests(content: bytes | memoryview | Path) -> Digests:
    """Reads the content once. BadInput if the file cannot be read."""
    size, sha256, parts = 0, hashlib.sha256(), []
    with opened(content) as file:
        for part in _parts(file):
            size += len(part)
            sha256.update(part)
            parts.append(hashlib.md5(part, usedforsecurity=False).digest())
    if size < PART:
        return Digests(size, sha256.hexdigest(), parts[0].hex() if parts else _md5(b""))
    return Digests(size, sha256.hexdigest(), f"{_md5(b''.join(parts))}-{len(parts)}")


def opened(content: bytes | memoryview | Path) -> BinaryIO:
    """The content as a file. BadInput if there is none that can be read."""
    if not isinstance(content, Path):
        return cast(BinaryIO, _View(content))
    try:
        return content.open("rb")
    except OSError as error:
        raise BadInput(f"cannot read {content}: {error.strerror}") from error


class _View(io.RawIOBase):
    """A read-only file over memory, without a second copy of a checkpoint."""

    def __init__(self, content: bytes | memoryview) -> None:
        self._view = memoryview(content).cast("B")
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._view)}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = len(self._view) if size is None or size < 0 else self._at + size
        block = bytes(self._view[self._at : end])
        self._at += len(block)
        return block


def _parts(file: BinaryIO) -> Iterator[bytes]:
    while part := file.read(PART):
        yield part


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
