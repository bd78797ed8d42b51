"""Stays with a Colab session from this computer, as a process of its own, until it is over.

    python -m launch.providers.colab.watch FOLDER

It holds the connection that runs the cell, as an open notebook does; that connection does not
notice that its machine has died, so the account's list is looked at beside it. A session whose
worker has ended is ended at once, and so is one whose cell could not be begun. Nothing of a run
depends on this process: if it dies, the cell goes on and gives the machine back by itself.

    FOLDER/session.json   {"session", "endpoint", "every"}, written when the session was made
    FOLDER/home           the CLI's home for the cell
    FOLDER/cell.py        what the cell runs
    FOLDER/output.log     what it printed
    FOLDER/pids.json      this process and the connection, each with its start time
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from launch.contract.errors import NotGone
from launch.providers.colab import errors
from launch.providers.colab.cell import BEGUN, ENDED
from launch.providers.colab.cli import Cli
from launch.providers.colab.session import Session
from mimir import atomic_file

LIST_EVERY = 60.0
"""Seconds between looks at the account's list."""
NEVER = "864000"
"""Seconds for --timeout of `exec`, ten days: after it the CLI does not end, but spins."""
LEAVE = 20.0
"""Seconds that the watch has to go, once it is told to."""
TRIES, BETWEEN = 12, 300.0
"""How often a session that cannot be ended is tried to be ended again, and the seconds between."""


class Watch:
    """One session and the connection to its cell."""

    def __init__(self, folder: Path, machine: Session, every: float) -> None:
        self.folder, self.machine, self.every = folder, machine, every
        self._cell: subprocess.Popen[bytes] | None = None
        self._told = False

    def run(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Stay until the worker has ended or the session is gone, and leave nothing behind."""
        signal.signal(signal.SIGTERM, self._told_to_go)
        cell = self._cell = self.machine.cli.begin(
            self.folder / "home", "exec", "--session", self.machine.name,
            "--file", str(self.folder / "cell.py"), "--timeout", NEVER,
            output=self.folder / "output.log",
        )  # fmt: skip
        if self._told:
            self._leave()
        private(self.folder / "pids.json", [stamp(os.getpid()), stamp(cell.pid)])
        looked = time.monotonic()
        while not self._over():
            sleep(1.0)
            if cell.poll() is not None and BEGUN not in printed(self.folder):
                break  # the machine runs nothing and still costs
            if time.monotonic() - looked < self.every:
                continue
            looked = time.monotonic()
            if self.machine.there() is False:
                self._hang_up()
                clear(self.folder)
                return
            if cell.poll() is not None and self.machine.download(f"{self.machine.name}.exit"):
                break
        self._end(sleep)

    def _over(self) -> bool:
        return exit_code(printed(self.folder)) is not None

    def _end(self, sleep: Callable[[float], None]) -> None:
        self._hang_up()
        for _ in range(TRIES):
            try:
                self.machine.end()
            except NotGone as error:
                print(error, flush=True)
                sleep(BETWEEN)
            else:
                clear(self.folder)
                return

    def _hang_up(self) -> None:
        if self._cell is not None:
            self._cell.kill()
            self._cell.wait()

    def _told_to_go(self, number: int, frame: FrameType | None) -> None:
        self._told = True
        if self._cell is not None:  # else it is just being begun, and ended as soon as it is
            self._leave()

    def _leave(self) -> None:
        if self._cell is not None:
            self._cell.kill()  # and not awaited: a signal may have come while it was waited for
        sys.exit(0)


def printed(folder: Path) -> str:
    """What the cell printed so far."""
    try:
        return (folder / "output.log").read_text(errors="replace")
    except OSError:
        return ""


def exit_code(text: str) -> int | None:
    """The worker's, None if the cell has not said it."""
    found = re.search(re.escape(ENDED) + r"(-?\d+)::", text)
    return int(found[1]) if found else None


def kept(folder: Path) -> Path:
    """Where the last words of an attempt are, once its folder is gone."""
    return folder.with_name(f"{folder.name}.log")


def last_words(folder: Path) -> str:
    """What the cell printed, or the end of it once the folder is gone; "" if that is nothing."""
    try:
        return printed(folder) or kept(folder).read_text(errors="replace")
    except OSError:
        return ""


def clear(folder: Path) -> None:
    """End what this computer runs for a session that is over, and delete its folder.

    Its folder holds tokens; what the cell printed stays, without them. The watch is let end what
    it has begun: a command whose home is gone would make itself another one, without settings.
    """
    _signal(folder, signal.SIGTERM)
    until = time.monotonic() + LEAVE
    while _running(folder) and time.monotonic() < until:
        time.sleep(0.05)
    _signal(folder, signal.SIGKILL)
    marks = (BEGUN, ENDED)
    lines = [line for line in printed(folder).splitlines() if not line.startswith(marks)]
    if any(lines):
        private(kept(folder), errors.printed("\n".join(lines[-200:])) + "\n")
    shutil.rmtree(folder, ignore_errors=True)


def private(path: Path, content: object) -> None:
    """Write text, or JSON of anything else, into a file that only its owner reads."""
    text = content if isinstance(content, str) else json.dumps(content)
    atomic_file.write(path, text.encode(), 0o600)


def stamp(number: int) -> list[int]:
    """A process: its id, and when it began, which tells it from a later one; 0 if it has ended,
    or where there is no /proc."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [number, 0]
    return [number, 0 if fields[0] in "ZX" else int(fields[19])]


def _signal(folder: Path, number: signal.Signals) -> None:
    for process in _running(folder):
        with contextlib.suppress(OSError):
            os.kill(process, number)


def _running(folder: Path) -> list[int]:
    """Processes of this session on this computer, but not the calling one."""
    try:
        stamps = json.loads((folder / "pids.json").read_text())
    except (OSError, ValueError):
        return []
    return [n for n, born in stamps if n != os.getpid() and born and stamp(n) == [n, born]]


def main(folder: Path) -> None:
    """Stay with the session of this folder."""
    told = json.loads((folder / "session.json").read_text())
    machine = Session(Cli(), told["session"], told["endpoint"], folder)
    Watch(folder, machine, float(told["every"])).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
