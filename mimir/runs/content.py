"""Content of any size that is to be stored, in memory or in a file, block by block."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mimir.errors import BadInput

BLOCK = 8 << 20
"""Bytes that are in memory at a time."""


def opened(path: Path) -> BinaryIO:
    """The file. BadInput if it cannot be read."""
    try:
        return path.open("rb")
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error


def blocks(content: bytes | memoryview | Path, size: int = BLOCK) -> Iterator[memoryview]:
    """All of it in order, `size` bytes at a time; of memory these are views, not copies.

    BadInput if the file cannot be read.
    """
    if isinstance(content, Path):
        with opened(content) as file:
            while block := file.read(size):
                yield memoryview(block)
        return
    view = memoryview(content).cast("B")
    for start in range(0, len(view), size):
        yield view[start : start + size]


def sha256(content: bytes | memoryview | Path) -> tuple[str, int]:
    """(SHA-256 in hex, size). BadInput as `blocks`."""
    size, digest = 0, hashlib.sha256()
    for block in blocks(content):
        size += len(block)
        digest.update(block)
    return digest.hexdigest(), size
