"""The file that `--out` names: checked before the work is done, written whole after it.

Every command that writes a file of the user's choice goes through here. The old file stays until
the new one is complete, so a rename puts the new one in its place. A rename would also replace a
device, a FIFO or a link, and an input that has the same name: these are refused.
"""

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path

from mimir import atomic_file
from mimir.console import drawing
from mimir.errors import BadInput

STDOUT = "-"
"""What `--out` calls standard output."""
_KINDS = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"),
)  # fmt: skip


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
        for path in (self.path, *(self.path.with_name(self.path.name + end) for end in beside)):
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
            write(self.path, data)


def write(path: Path, data: bytes) -> None:
    """As OutFile.write, of a path."""
    before = _check(path)
    # Through a link to a plain file, as every program that opens the file would.
    real = Path(os.path.realpath(path))
    try:
        if before is None:
            atomic_file.write(real, data)
        else:
            atomic_file.write_like(real, data, before)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror or error}") from error


def path_of(named: str, option: str) -> Path:
    """A path as the user gave it; a leading `~` is the home folder. BadInput if there is none."""
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{option} is {named!r}, but there is no home folder: {error}") from None


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
