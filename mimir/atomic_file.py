"""Writes a file whole or not at all."""

import contextlib
import os
import secrets
import stat
from pathlib import Path


def write(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Put `data` in place of the file: temporary file, fsync, rename.

    Args:
        path: of the file; its folder must exist.
        mode: permissions of the new file, reduced by the umask; 0o600 for secrets.

    Raises:
        OSError: it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    _write(path, data, mode, None)


def write_like(path: Path, data: bytes, before: os.stat_result) -> None:
    """As `write`, with the permissions and, as far as this process may, the owner of `before`."""
    _write(path, data, 0o600, before)


def _write(path: Path, data: bytes, mode: int, like: os.stat_result | None) -> None:
    # In the same folder, so that the rename does not cross file systems.
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            if like is not None:
                with contextlib.suppress(OSError):  # another's file, in a folder that we may write
                    os.fchown(handle, like.st_uid, like.st_gid)
                os.fchmod(handle, stat.S_IMODE(like.st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
