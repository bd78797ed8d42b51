"""newest_runs.json: which runs of a store were created last, for who looks at those only.

An estimate goes by what past runs of a preset measured. Without this object it would have to read
run.json of each run, of months, to find the newest. Whoever creates a run adds it, by
compare-and-swap, where no machine can write. It is a copy: where it is missing or none, the
records are read again.
"""

import contextlib
import logging
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Annotated

from mimir.errors import Conflict, Corrupt, MimirError, OtherFormat
from mimir.runs import codec, layout
from mimir.runs.ranges import AtMost, Time
from mimir.runs.record import find_run
from mimir.runs.store import Store

FORMAT = 1
MOST = 400
"""Runs that are remembered: of several presets."""
MOST_AT_ONCE = 100
"""Of those that are created together, so that one sweep does not push out all other runs."""
TRIES = 5
AT_ONCE = 32
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewRun:
    """A run. created: unix s."""

    name: str
    preset: str
    created: Time


@dataclass(frozen=True)
class _Listed:
    nonce: str
    runs: Annotated[tuple[NewRun, ...], AtMost(MOST)] = ()


def newest(store: Store) -> tuple[NewRun, ...]:
    """The runs that were created last, newest first; some may have been removed since.

    Raises:
        StoreError: the store does not answer.
    """
    found, version = _read(store)
    if found is not None:
        return found
    made = _records(store)
    with contextlib.suppress(MimirError):  # e.g. keys that only read; then they are read again
        _write(store, made, version)
    return made


def add(store: Store, *runs: NewRun) -> None:
    """Remember runs that were created just now, those that begin first in front; again, nothing.

    Of many only the first MOST_AT_ONCE are. What goes wrong is logged: nothing rests on it.
    """
    runs = runs[:MOST_AT_ONCE]
    if not runs:
        return
    names = {run.name for run in runs}
    shown = f"run {runs[0].name}" + (f" and {len(runs) - 1} more" if runs[1:] else "")
    try:
        for _ in range(TRIES):
            found, version = _read(store)
            known = _records(store) if found is None else found
            others = (each for each in known if each.name not in names)
            made = sorted([*runs, *others], key=lambda run: run.created, reverse=True)[:MOST]
            if found is not None and made == list(found):
                return
            with contextlib.suppress(Conflict):
                _write(store, made, version)
                return
        _log.warning("%s: not in the list of newest runs, as many write it at once", shown)
    except MimirError as error:
        _log.warning("%s: not in the list of newest runs: %s", shown, error)


def _read(store: Store) -> tuple[tuple[NewRun, ...] | None, str]:
    """The runs, None if they are not written down, and the version that was read."""
    key = layout.newest_runs_key()
    try:
        found = store.read(key)
    except Corrupt:  # too large: it cannot be swapped either
        return None, ""
    if found is None:
        return None, ""
    try:
        listed = codec.typed(_Listed, codec.unsealed(found.data, FORMAT, key), key)
    except (Corrupt, OtherFormat):
        return None, found.version
    return listed.runs, found.version


def _write(store: Store, runs: Iterable[NewRun], version: str) -> None:
    """Conflict if somebody else was first."""
    key, made = layout.newest_runs_key(), [asdict(run) for run in runs]
    # No body of a swap may repeat, and one that says the same might.
    body = codec.sealed({"runs": made[:MOST], "nonce": secrets.token_hex(8)}, FORMAT)
    if version:
        store.compare_and_swap(key, body, version)
    else:
        store.put_if_absent(key, body)


def _records(store: Store) -> tuple[NewRun, ...]:
    """From the record of each run."""

    def look(name: str) -> NewRun | None:
        try:
            record = find_run(store, name)
        except MimirError:  # one that cannot be read hides no other
            return None
        return NewRun(name, record.preset, record.created) if record else None

    names = [name for name in store.folders() if layout.is_run(name)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = [run for run in pool.map(look, names) if run]
    return tuple(sorted(found, key=lambda run: run.created, reverse=True)[:MOST])
