"""What the operating system says of a store's folder, as one sentence of our error tree."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from mimir.errors import StoreDenied, StoreError, StoreUnfit

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


@contextlib.contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Raise what the block raises as OSError as the StoreError that it means."""
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
