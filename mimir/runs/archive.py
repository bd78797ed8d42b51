"""Packs the model's archive, an uncompressed tar, and unpacks one without trusting it.

A store may hold what Mimir did not write.
"""

import io
import tarfile
import time
from pathlib import PurePosixPath

from mimir.errors import Corrupt


def pack(files: dict[str, bytes]) -> bytes:
    """A tar of regular files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o644, int(time.time())
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def unpack(content: bytes, what: str) -> dict[str, bytes]:
    """Files of an uncompressed tar by name, with "/" between folders.

    Corrupt, naming `what`, if it is no tar, or if it holds anything but regular files at
    plain relative names: a link or a name with ".." could write outside of the folder.
    """
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                name = member.name
                # A sparse file of a few bytes may claim any size.
                if not member.isreg() or member.issparse():
                    raise Corrupt(f"{what} holds {name!r}, which is no regular file: not unpacked")
                if not _plain(name) or name in files:
                    raise Corrupt(f"{what} holds the name {name!r}: not unpacked")
                file = tar.extractfile(member)
                data = file.read() if file else b""
                if len(data) != member.size:
                    raise Corrupt(f"{what} is cut off in {name!r}: pull it again")
                files[name] = data
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise Corrupt(f"{what} is no tar archive ({error}): pull it again") from error
    return files


def _plain(name: str) -> bool:
    parts = name.split("/")
    odd = any(part in ("", ".", "..") or part.startswith(".") for part in parts)
    strange = "\\" in name or ":" in name or any(ord(char) < 32 for char in name)
    return not odd and not strange and not PurePosixPath(name).is_absolute()
