"""What a fake service rents out: processes of this machine, with a disk and an end."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import ROOT

MARK = "FAKE_MACHINE"
"""A variable that all processes of a machine carry, by which they are found and killed."""


class Machine:
    """A container: argv with env and nothing of the caller's own, in a disk of its own.

    Args:
        folder: what it may use: its disk is `folder/disk`, its output `folder/output`.
        restarts: whether it is started again whenever its process exits.
    """

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], folder: Path, *, restarts: bool
    ) -> None:
        self.argv = list(argv)
        self.disk = folder / "disk"
        self.exits: list[int] = []
        self._folder = folder
        self._output = folder / "output"
        self._restarts = restarts
        self._mark = uuid.uuid4().hex
        # Nothing is installed on the computer that runs the tests.
        self._env = {**_minimum(self.disk), **env, MARK: self._mark, "MIMIR_COMPILER": "never"}
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._make_disk()

    @property
    def working(self) -> bool:
        """Whether its process is there just now."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start its process, again if it was stopped."""
        self.stop()
        self._halt.clear()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def crash(self) -> None:
        """SIGKILL to all of its processes; it is started again if it restarts."""
        self._slay(signal.SIGKILL)

    def stop(self, grace: float = 0.0) -> None:
        """End all of its processes: SIGTERM, `grace` seconds, SIGKILL. The disk stays."""
        with self._lock:
            self._halt.set()
        if grace and self.working:
            self._slay(signal.SIGTERM)
            until = time.monotonic() + grace
            while self._slay(0) and time.monotonic() < until:
                time.sleep(0.02)
        # A process that is just becoming another one has no environment by which it could be found:
        # it is looked for until nobody waits for one any more, and then once again.
        thread = self._thread
        while self._slay(signal.SIGKILL) or (thread is not None and thread.is_alive()):
            time.sleep(0.01)
        while self._slay(signal.SIGKILL):
            time.sleep(0.01)

    def wipe(self) -> None:
        """Empty the disk of a stopped machine."""
        shutil.rmtree(self.disk, ignore_errors=True)
        self._make_disk()

    def destroy(self) -> None:
        """Stop it and delete its disk; what it printed stays readable."""
        self.stop()
        shutil.rmtree(self.disk, ignore_errors=True)

    def output(self) -> list[str]:
        """The lines that it printed, over all of its starts."""
        try:
            return self._output.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def _make_disk(self) -> None:
        (self.disk / "tmp").mkdir(parents=True, exist_ok=True)

    def _keep(self) -> None:
        pause = 0.1
        while True:
            with self._lock, self._output.open("ab") as output:
                if self._halt.is_set():
                    return
                try:
                    self._process = subprocess.Popen(
                        self.argv, env=self._env, cwd=self.disk, stdin=subprocess.DEVNULL,
                        stdout=output, stderr=output, start_new_session=True,
                    )  # fmt: skip
                except OSError as error:
                    output.write(f"cannot be started: {error}\n".encode())
                    self._process = None
            self.exits.append(127 if self._process is None else self._process.wait())
            if not self._restarts or self._halt.wait(pause):
                return
            pause = min(2 * pause, 2.0)

    def _slay(self, number: int) -> int:
        """Send a signal (0: none) to all processes of it; how many there were."""
        found = 0
        mark = f"{MARK}={self._mark}".encode()
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (path / "environ").read_bytes().split(b"\0"):
                    found += 1
                    os.kill(int(path.name), number)
        return found


def _minimum(disk: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LANG", "OMP_NUM_THREADS") if name in os.environ}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
        "PYTHONPATH": str(ROOT),
        "HOME": str(disk),
        "TMPDIR": str(disk / "tmp"),
    }
