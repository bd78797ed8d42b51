"""Writes a file whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path


def write(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Put `data` in place of the file: temporary file, fsync, rename.

    Args:
        path: of the file; its folder must exist.
        mode: permissions of the new file, reduced by the umask; 0o600 for secrets.

    Raises:
        OSError: it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    # In the same folder, so that the rename does not cross file systems.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
