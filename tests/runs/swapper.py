"""A process that swaps one object again and again: `python -m tests.runs.swapper ROOT NAME SWAPS`.

The object is JSON: how often each process has won, by name. A process that finds its own number
lower than it was has lost a swap.
"""

import errno
import json
import os
import sys
from pathlib import Path

from mimir.errors import Conflict
from mimir.runs.file_store import FileStore

KEY = "run/HEAD"


def tally(store: FileStore) -> dict[str, int]:
    """How often each process has won."""
    return dict(json.loads(store.get(KEY)))


def swap(store: FileStore, name: str) -> int:
    """Add one for this name, as often as it takes; its number then."""
    while True:
        found = store.read(KEY)
        assert found is not None
        wins = json.loads(found.data)
        wins[name] = wins.get(name, 0) + 1
        try:
            store.compare_and_swap(KEY, json.dumps(wins).encode(), found.version)
            return int(wins[name])
        except Conflict:
            continue


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


def main(root: str, name: str, swaps: str, links: str) -> None:
    if links == "folder":
        os.link = _refuse  # type: ignore[assignment]
    store = FileStore(Path(root))
    for wanted in range(1, int(swaps) + 1):
        number = swap(store, name)
        if number != wanted:
            sys.exit(f"{name} has won {wanted} times, the object says {number}")
        if wanted == 1:
            print("swapping", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
