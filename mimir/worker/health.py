"""The local heartbeat of a container, and the health check that reads it.

The store's heartbeat is for people far away; a container's health check must work without
network and without keys, so the attempt also touches a file: $MIMIR_STATE_DIR/heartbeat.
`python -m mimir.worker.health` imports neither torch nor a store.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

STALE = 180.0
"""Seconds. A heartbeat comes every five, but the first only when data and checkpoint are here."""


def touch_heartbeat(environ: Mapping[str, str] = os.environ) -> None:
    """Touch the heartbeat file, where a folder for it is named. Never raises OSError.

    A full or vanished folder must not end training; the check then finds the file stale.
    """
    path = _path(environ)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        return


def check(environ: Mapping[str, str], clock: Callable[[], float] = time.time) -> tuple[bool, str]:
    """(healthy, one sentence). Without a file nothing trains here, which is healthy."""
    path = _path(environ)
    if path is None:
        return True, "MIMIR_STATE_DIR is not set: there is no heartbeat to look at"
    try:
        age = clock() - path.stat().st_mtime
    except FileNotFoundError:
        return True, f"nothing trains here (no {path})"
    except OSError as error:
        return False, f"cannot look at {path}: {error.strerror}"
    return age <= STALE, f"the last heartbeat was {age:.0f} s ago"


def _path(environ: Mapping[str, str]) -> Path | None:
    folder = environ.get("MIMIR_STATE_DIR")
    return Path(folder) / "heartbeat" if folder else None


if __name__ == "__main__":
    healthy, sentence = check(os.environ)
    print(sentence)
    sys.exit(0 if healthy else 1)
