"""Writes a file whole or not at all, and checks the one that `--out` names.

Every command that writes a file of the user's choice goes through `OutFile`: it is checked before
the work is done. The old file stays until the new one is complete, so a rename puts the new one in
its place. A rename would also replace a device, a FIFO or a link, and an input that has the same
name: these are refused.
"""

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from mimir.console import drawing
from mimir.errors import BadInput

STDOUT = "-"
"""What `--out` calls standard output."""
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
)  # fmt: skip


def write(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Put `data` in place of the file: temporary file, fsync, rename.

    Args:
        path: of the file; its folder must exist.
        mode: permissions of the new file, reduced by the umask; 0o600 for secrets.

    Raises:
        OSError: it cannot be written; the old file is as it was, and nothing is left beside it.
    """
    _write(path, data, mode, None)


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


class OutFile:
    """Where a command writes its result.

    Args:
        named: what the user gave, `-` for standard output; a leading `~` is the home folder.
        inputs: files that the command reads, by the option that names them; of a folder, all
            that lies in it.
        beside: endings of the files that are written beside it.

    Raises:
        BadInput: it is no plain file, or one of the inputs.
    """

    def __init__(
        self, named: str, inputs: Iterable[tuple[str, Path]] = (), beside: Iterable[str] = ()
    ) -> None:
        self.named = named
        self.to_stdout = named == STDOUT
        self.path = path_of(named, "--out")
        if self.to_stdout:
            return
        read = [(option, path) for option, path in inputs if str(path)]
        for path in (self.path, *(beside_of(self.path, end) for end in beside)):
            _check(path)
            for option, other in read:
                if _same(path, other):
                    raise BadInput(
                        f"--out would replace {path}, which is what {option} reads: "
                        "give another --out"
                    )

    def write(self, data: bytes) -> None:
        """Write the file whole or not at all; an old one's permissions stay.

        Raises:
            BadInput: the folder is missing or cannot be written to, or it is no plain file now.
        """
        if self.to_stdout:
            _to_stdout(data)
        else:
            replace(self.path, data)


def replace(path: Path, data: bytes) -> None:
    """As OutFile.write, of a path."""
    before = _check(path)
    # Through a link to a plain file, as every program that opens the file would.
    real = Path(os.path.realpath(path))
    try:
        if before is None:
            write(real, data)
        else:
            _write(real, data, 0o600, before)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error


def path_of(named: str, option: str) -> Path:
    """A path as the user gave it; a leading `~` is the home folder. BadInput if there is none."""
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{option} is {named!r}, but there is no home folder: {error}") from None


def beside_of(path: Path, ending: str) -> Path:
    """The file beside another one whose name is that one's and this ending.

    Also of a path without a name, such as "." or "/", which Path.with_name refuses.
    """
    return path.parent / (path.name + ending)


def _check(path: Path) -> os.stat_result | None:
    """What is there: a plain file or None. BadInput for anything else."""
    try:
        if _names_an_open_file(path):
            raise BadInput(
                f"{path} is an open file's name, which is not replaced: give the name of a file, "
                f"or --out {STDOUT} for standard output"
            )
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            raise BadInput(f"{path} is a link to nothing: give another --out") from None
        if not path.parent.is_dir():
            raise BadInput(f"cannot write {path}: there is no folder {path.parent}") from None
        return None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from error
    if stat.S_ISREG(there.st_mode):
        return there
    what = next((name for test, name in _KINDS if test(there.st_mode)), "no plain file")
    raise BadInput(
        f"{path} is {what}, which is not replaced: give the name of a file, or "
        f"--out {STDOUT} for standard output"
    )


def _names_an_open_file(path: Path) -> bool:
    """Whether it leads through /proc, as /dev/stdout and /dev/fd/3 do on Linux."""
    for _ in range(40):  # as many links as Linux follows
        if os.path.realpath(path.parent).startswith("/proc/"):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / os.readlink(path)
    return False


def below(path: Path, folder: Path) -> bool:
    """Whether a path is a folder or lies in it, links followed."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    return real == root or real.startswith(os.path.join(root, ""))


def _same(out: Path, other: Path) -> bool:
    try:
        return below(out, other) if other.is_dir() else out.samefile(other)
    except OSError:
        # One of them is not there yet, so it can be no other name of the other.
        return os.path.abspath(out) == os.path.abspath(other)


def _to_stdout(data: bytes) -> None:
    sys.stdout.flush()
    below = drawing(sys.stdout)
    if b"\0" in data and below.isatty():
        raise BadInput("the result is no text, and standard output is a terminal: give a file")
    try:
        below.buffer.write(data)
        below.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise BadInput(f"standard output cannot be written: {error.strerror}") from error
