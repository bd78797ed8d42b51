"""A fake Colab machine: a real Jupyter server on loopback, with a folder for its disk.

What Colab has as /content is the folder `content` of that disk. All its processes bear a mark of
its own in their environment, by which they are found and killed together when it dies. Endpoints
are no such mark: the first machine has the same one in every test that runs beside this one.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

PATIENCE = 120.0
"""Seconds for a process to come up or to die, on a machine that has other things to do."""
PORTS = 3
"""Ports that are tried."""
INSIDE = Path(__file__).parent / "inside"
_STARTUP = """
import os
_chdir, _makedirs = os.chdir, os.makedirs
_there = lambda path: os.environ["FAKE_CONTENT"] if path == "/content" else path
__import__("time").sleep(float(os.environ["FAKE_BOOT"]))
os.chdir = lambda path: _chdir(_there(path))
os.makedirs = lambda path, *words, **more: _makedirs(_there(path), *words, **more)
"""


class Machine:
    """One machine.

    Args:
        python: has jupyter_server, ipykernel and what a worker needs.
        boot: seconds that its kernel takes to come up, beside what it needs anyway.
    """

    def __init__(
        self, endpoint: str, python: Path, disk: Path, unassign_at: str, boot: float = 0.0
    ) -> None:
        self.endpoint, self.disk = endpoint, disk
        self._boot, self._unassign_at = boot, unassign_at
        self.mark = secrets.token_hex(12)
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()
        for name in ("content", "tmp", "home", "ipython/profile_default/startup"):
            (disk / name).mkdir(parents=True)
        (disk / "ipython/profile_default/startup/00.py").write_text(_STARTUP)
        self.token(0.0)
        # The port may be taken between its choice and the server's start, on a machine where
        # many tests run: then another one is chosen.
        for _ in range(PORTS):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            self._server = self._start(python, port)
            if self._is_up(port):
                return
        raise AssertionError(f"no Jupyter server came up\n{self._log}")

    def _start(self, python: Path, port: int) -> "subprocess.Popen[bytes]":
        disk = self.disk
        with open(disk.with_suffix(".log"), "wb") as log:
            return subprocess.Popen(
                [
                    str(python), "-m", "jupyter_server", "--no-browser", "--allow-root",
                    "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}",
                    "--ServerApp.port_retries=0", f"--ServerApp.root_dir={disk}",
                    "--ServerApp.disable_check_xsrf=True",
                    "--ServerApp.identity_provider_class=colab_identity.ColabIdentity",
                ],
                env={
                    "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
                    "HOME": str(disk / "home"), "TMPDIR": str(disk / "tmp"),
                    "IPYTHONDIR": str(disk / "ipython"), "PYTHONPATH": str(INSIDE),
                    "FAKE_VM": self.mark, "FAKE_CONTENT": str(disk / "content"),
                    "FAKE_TOKENS": str(self._list), "FAKE_BOOT": str(self._boot),
                    "TBE_RUNTIME_ADDR": self._unassign_at,
                    "OMP_NUM_THREADS": "1", "AWS_EC2_METADATA_DISABLED": "true",
                },
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def _list(self) -> Path:
        return self.disk.with_suffix(".tokens")

    def token(self, seconds: float) -> str:
        """A new token for this machine."""
        with self._lock:
            token = f"rpt-{secrets.token_hex(12)}"
            self._tokens[token] = time.time() + seconds
            self._write()
            return token

    def _write(self) -> None:
        beside = self._list.with_suffix(".new")
        beside.write_text(json.dumps(self._tokens))
        beside.replace(self._list)

    def expire(self) -> None:
        """No token that was given so far is good any more."""
        with self._lock:
            self._tokens = dict.fromkeys(self._tokens, 0.0)
            self._write()

    def tokens(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._tokens)

    def up(self) -> bool:
        """Whether its server runs."""
        return self._server.poll() is None

    def kill(self) -> None:
        """As Colab ends a machine: every process at once, and its disk with it."""
        quiet, until = 0, time.monotonic() + PATIENCE
        while quiet < 3:
            found = [n for n in _processes(f"FAKE_VM={self.mark}") if n != os.getpid()]
            assert time.monotonic() < until, f"processes of {self.endpoint} do not die: {found}"
            quiet = 0 if found else quiet + 1
            for number in found:
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)
        self._server.wait(timeout=PATIENCE)
        shutil.rmtree(self.disk, ignore_errors=True)
        self._list.unlink(missing_ok=True)

    def _is_up(self, port: int) -> bool:
        """Wait for the server to listen; False if it ended instead."""
        until = time.monotonic() + PATIENCE
        while self._server.poll() is None:
            assert time.monotonic() < until, f"the Jupyter server does not listen\n{self._log}"
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            except OSError:
                time.sleep(0.1)
        return False

    @property
    def _log(self) -> str:
        return self.disk.with_suffix(".log").read_text(errors="replace")


def _processes(mark: str) -> list[int]:
    """Living ones with this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "environ").read_bytes().split(b"\0")
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if mark.encode() in words and state not in "ZX":
            found.append(int(path.name))
    return found
