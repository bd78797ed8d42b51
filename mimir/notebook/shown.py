"""Shows in a cell what a step does while it takes its time: none is silent for long."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from mimir.text import duration, one_line, size, visible

SILENT = 5.0
"""Seconds after which a step that says nothing is said to go on."""


@dataclass(frozen=True)
class Done:
    """How a command ended. out: its standard output, last: its last line of complaint, both safe
    to show."""

    code: int
    out: str
    last: str


def command(module: str, *words: str, what: str) -> Done:
    """Run `python -m module …` and show what it says on standard error, as it says it.

    what: the step, for people.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", module, *words], text=True, errors="replace",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None
    said: list[str] = []
    out: list[str] = []
    readers = [
        threading.Thread(target=_each, args=(child.stderr, said.append), daemon=True),
        threading.Thread(target=_each, args=(child.stdout, out.append), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        told, spoke, began = 0, time.monotonic(), time.monotonic()
        while any(reader.is_alive() for reader in readers):
            readers[0].join(0.2) if readers[0].is_alive() else readers[1].join(0.2)
            now = time.monotonic()
            for line in said[told:]:
                print(visible(line), flush=True)
                told, spoke = told + 1, now
            if now - spoke >= SILENT:
                print(f"{what}: {duration(now - began)}", end="\r", flush=True)
                spoke = now
        code = child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise
    for line in said[told:]:
        print(visible(line), flush=True)
    last = (*filter(str.strip, said),)[-1:] or (f"exit code {code}",)
    return Done(code, visible("\n".join(out)), one_line(last[0]))


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int], None]]:
    """Show how many bytes have come; yields what to call with how many more there are."""
    total, shown = 0, time.monotonic()
    print(f"{what} …", flush=True)

    def more(count: int) -> None:
        nonlocal total, shown
        total += count
        if time.monotonic() - shown >= 1.0:
            shown = time.monotonic()
            print(f"{what}: {size(total)}", end="\r", flush=True)

    yield more
    if total:
        print(f"{what}: {size(total)}", flush=True)


def _each(pipe: IO[str], take: Callable[[str], None]) -> None:
    with pipe:
        for line in pipe:
            take(line.rstrip("\n"))
