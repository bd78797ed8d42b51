"""The folder that `pull` writes into: a run's own, and nothing else's."""

import os
import shutil
import stat
import tempfile
from pathlib import Path

from launch.report.download import RECORD
from mimir.atomic_file import STDOUT, below, path_of
from mimir.errors import BadInput, Corrupt
from mimir.runs import codec
from mimir.runs.record import RunRecord
from mimir.runs.store import DOCUMENT, Store
from mimir.submission import store_folder
from mimir.text import one_line, size

_STAGING = ".pull-"


class Folder:
    """Where the files of a run go: a new or empty folder, or the one of an earlier pull.

    Args:
        named: what the user gave; a leading `~` is the home folder.
        store: of the run.
        record: of the run.

    Raises:
        BadInput: it is no folder, or holds files that are not this run's, or is part of a store.
    """

    def __init__(self, named: str, store: Store, record: RunRecord) -> None:
        if named == STDOUT:
            raise BadInput(f"pull writes several files: --out is a folder, not {STDOUT}")
        self.path = path_of(named, "--out")
        self._record = record
        root = store_folder(store.url)
        if root is not None and below(self.path, root):
            raise BadInput(
                f"{self.path} is a part of the store itself, whose objects are not replaced: "
                "give another --out"
            )
        self._check()

    def need(self, count: int, what: str) -> None:
        """BadInput if so many bytes do not fit on the disk."""
        there = self.path.absolute()
        while not os.path.exists(there):
            there = there.parent
        free = shutil.disk_usage(there).free
        if count > free:
            raise BadInput(
                f"{what} has {size(count)}, and {size(free)} are free in {there}: free some space, "
                "or choose another --out"
            )

    def write(self, files: dict[str, bytes]) -> None:
        """Write the files: each is there as a whole or not at all.

        All of them are written beside their places first, so that a full disk changes nothing.
        BadInput if the folder cannot be written to, or something else lies in a file's place.
        """
        out = self.path
        self._check()
        for name in files:
            self._check_place(out / name)
        try:
            out.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=out))
        except OSError as error:
            raise BadInput(
                f"cannot write to the folder {out}: {error.strerror}; choose another --out"
            ) from error
        try:
            for name, content in files.items():
                path = staging / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            # The record first: what lies beside it is this run's from now on.
            for name in sorted(files, key=lambda name: name != RECORD):
                (out / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / name, out / name)
        except OSError as error:
            raise BadInput(
                f"cannot write {error.filename or out}: {error.strerror}; choose another --out "
                "or free some space"
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _check(self) -> None:
        try:
            there = sorted(each.name for each in self.path.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise BadInput(
                f"{self.path} cannot be a folder of files: {error.strerror}; choose another --out"
            ) from error
        # Names with a dot in front: what a system or an interrupted pull leaves in any folder.
        others = [one_line(name) for name in there if not name.startswith(".")]
        if others and not self._is_ours():
            more = ", …" if len(others) > 3 else ""
            raise BadInput(
                f"{self.path} holds what is not of run {self._record.name} ({', '.join(others[:3])}"
                f"{more}): give --out a new folder, or that of an earlier pull of this run"
            )

    def _is_ours(self) -> bool:
        path = self.path / RECORD
        try:
            if not stat.S_ISREG(path.lstat().st_mode):
                return False
            with path.open("rb") as file:
                found = codec.decode(file.read(DOCUMENT), RECORD)
        except (OSError, Corrupt):
            return False
        wanted = self._record
        return (found.get("name"), found.get("created"), found.get("config_sha256")) == (
            wanted.name, wanted.created, wanted.config_sha256,
        )  # fmt: skip

    def _check_place(self, path: Path) -> None:
        for each in (path, *path.parents):
            if each == self.path:
                return
            try:
                mode = each.lstat().st_mode
            except FileNotFoundError:
                continue
            except OSError as error:
                raise BadInput(f"{each} cannot be replaced: {error.strerror}") from error
            if not (stat.S_ISREG(mode) if each == path else stat.S_ISDIR(mode)):
                raise BadInput(
                    f"{each} is no plain file or folder of a pull, and is not replaced: "
                    "give --out a new folder"
                )
