"""Where the provider keeps on this computer what belongs to a session of Colab.

    <state>/mimir/colab/<store>/<session>/    while it lives: tokens, the cell, what it printed
    <state>/mimir/colab/<store>/<session>.log the end of its output afterwards
    <state>/mimir/colab/…/home-*, got-*       of a command that runs now

All of it can be read by its owner only.
"""

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from launch.contract import state
from launch.contract.cloud import machine_name
from launch.contract.provider import AttemptSpec

FOLDER_STALE = 3600.0
"""Seconds after which no command can still be using its home."""


def root() -> Path:
    return state.folder() / "colab"


def of(spec: AttemptSpec) -> Path:
    place = hashlib.sha256(spec.store.encode()).hexdigest()[:8]
    return root() / place / machine_name(spec.run, spec.attempt)


def of_session(place: str, session: str) -> Path:
    """The folder of a session on record, always below `root`."""
    return root() / Path(place).name / Path(session).name


def others(folder: Path) -> Iterator[Path]:
    """Folders of this and other attempts of the same run: HEAD has fenced those off already."""
    run = folder.name.rpartition("-a")[0]
    for path in sorted(folder.parent.glob(f"{run}-a*")):
        if path.is_dir() and path.name.rpartition("-a")[0] == run:
            yield path


def sweep(*places: Path) -> None:
    """Delete what commands of a launcher that was killed have left: it holds tokens."""
    for place in (root(), *places):
        for path in (*place.glob("home-*"), *place.glob("got-*")):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > FOLDER_STALE:
                    shutil.rmtree(path, ignore_errors=True)


def endpoint(folder: Path) -> str:
    """Of the session that was made from this folder, "" if none was."""
    for path, key in (
        (folder / "session.json", ""),
        (folder / "home" / ".config" / "colab-cli" / "sessions.json", folder.name),
    ):
        try:
            found = json.loads(path.read_text())
            return str((found[key] if key else found)["endpoint"])
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return ""


def runs_nothing(folder: Path) -> bool:
    """Whether the launcher was cut off between its order and the cell."""
    return folder.is_dir() and not (folder / "pids.json").exists()
