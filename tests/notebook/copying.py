"""Copies a run to a folder and is killed on the way: `python -m tests.notebook.copying …`.

Words: store, run, folder, scratch, and the moment at which it kills itself; -1: never, and it
prints how many moments there are. A moment is before each block that is written, and before each
call of the system that opens, renames, empties, deletes or lists something of the folder.
"""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mimir.notebook import drive
from mimir.runs import content
from mimir.runs.store import open_store

EVENTS = ("open", "os.rename", "os.remove", "os.scandir", "os.listdir")


def main(url: str, run: str, path: str, scratch: str, moment: int) -> None:
    count = 0

    def reached() -> None:
        nonlocal count
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    def hook(event: str, words: tuple[Any, ...]) -> None:
        if event in EVENTS and any(str(word).startswith(path) for word in words):
            reached()

    def blocks(source: Path) -> Iterator[memoryview]:
        for block in content.blocks(source, 1 << 15):
            reached()
            yield block

    drive.blocks = blocks  # type: ignore[assignment]
    sys.addaudithook(hook)
    folder = drive.Folder(Path(path), run, Path(scratch), clock=lambda: 1e9)
    folder.tidy()
    folder.add(open_store(url))
    print(count)


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]))
