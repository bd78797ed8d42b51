"""Content for a bucket: as a file, with its digests and the ETag that it must get.

An S3 server's ETag is the MD5 of what arrived, or of the MD5s of its parts. So it says, without
a second transfer and on servers that check nothing by themselves, whether the bytes that lie
there are those that were sent. MD5 is enough against accidents; the digest in HEAD is SHA-256.
"""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from boto3.s3.transfer import TransferConfig

from mimir.errors import BadInput
from mimir.runs.store import too_large

PART = 16 << 20
TRANSFER = TransferConfig(
    multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=8, use_threads=True
)


def sha256(content: bytes | memoryview | Path) -> tuple[str, int]:
    """(SHA-256 in hex, size). BadInput if the file cannot be read."""
    size, digest = 0, hashlib.sha256()
    for part in _parts(content):
        size += len(part)
        digest.update(part)
    return digest.hexdigest(), size


def etag(content: bytes | memoryview | Path) -> str:
    """What a server gives it that was sent it as TRANSFER says. BadInput as `sha256`."""
    sizes, parts = [], []
    for part in _parts(content):
        sizes.append(len(part))
        parts.append(_md5(part))
    if sum(sizes) < PART:
        return (parts[0] if parts else _md5(b"")).hex()
    return f"{_md5(b''.join(parts)).hex()}-{len(parts)}"


def opened(content: bytes | memoryview | Path) -> BinaryIO:
    """The content as a file. BadInput if there is none that can be read."""
    if not isinstance(content, Path):
        return cast(BinaryIO, _View(content))
    try:
        return content.open("rb")
    except OSError as error:
        raise BadInput(f"cannot read {content}: {error.strerror}") from error


def bounded(body: Any, limit: int) -> bytes | None:
    """A body of at most so many bytes, None if it has more; raises as botocore's StreamingBody,
    also for one that broke off."""
    data = b""
    while more := body.read(limit + 1 - len(data)):
        data += more
        if len(data) > limit:
            return None
    return data


class Bounded(io.BytesIO):
    """Memory for a download that takes no more than `size` bytes; Corrupt for more."""

    def __init__(self, key: str, size: int) -> None:
        super().__init__()
        self._key, self._size = key, size

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._size:
            raise too_large(self._key, None, self._size)
        return super().write(data)


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


def _parts(content: bytes | memoryview | Path) -> Iterator[bytes | memoryview]:
    """Of memory these are views: copies would cost the upload beside them."""
    if isinstance(content, Path):
        with opened(content) as file:
            while part := file.read(PART):
                yield part
        return
    view = memoryview(content).cast("B")
    for start in range(0, len(view), PART):
        yield view[start : start + PART]


def _md5(data: bytes | memoryview) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()
