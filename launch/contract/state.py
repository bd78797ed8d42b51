"""Where this computer keeps what belongs to the attempts that it begins.

A path is made of the store's URL, the run's name and the attempt's number, and never read from a
store: what is deleted or written here must not be another's choice.
"""

import hashlib
import os
from pathlib import Path

from mimir.runs import layout


def folder() -> Path:
    """$XDG_STATE_HOME/mimir or ~/.local/state/mimir."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "mimir"


def of_run(kind: str, store: str, run: str) -> Path:
    """<folder>/<kind>/<run>-<store>: nothing that another run, or that of another store, has."""
    place = hashlib.sha256(store.encode()).hexdigest()[:8]
    return folder() / kind / f"{layout.check_run(run)}-{place}"


def of_attempt(kind: str, store: str, run: str, attempt: int) -> Path:
    """<folder>/<kind>/<run>-<store>-a0001."""
    number = layout.attempt_prefix(run, attempt).rpartition("/")[2]
    path = of_run(kind, store, run)
    return path.with_name(f"{path.name}-{number}")
