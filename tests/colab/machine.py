"""A fake Colab machine: a real Jupyter server on loopback, with a folder for its disk.

What Colab has as /content is the folder `content` of that disk. All its processes bear its
endpoint in their environment, by which they are found and killed together when it dies.
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

INSIDE = Path(__file__).parent / "inside"
_STARTUP = """
import os
_chdir, _makedirs = os.chdir, os.makedirs
_there = lambda path: os.environ["FAKE_CONTENT"] if path == "/content" else path
os.chdir = lambda path: _chdir(_there(path))
os.makedirs = lambda path, *words, **more: _makedirs(_there(path), *words, **more)
"""


class Machine:
    """One machine. python: has jupyter_server, ipykernel and what a worker needs."""

    def __init__(self, endpoint: str, python: Path, disk: Path, unassign_at: str) -> None:
        self.endpoint, self.disk = endpoint, disk
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()
        for name in ("content", "tmp", "home", "ipython/profile_default/startup"):
            (disk / name).mkdir(parents=True)
        (disk / "ipython/profile_default/startup/00.py").write_text(_STARTUP)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.token(0.0)
        with open(disk.with_suffix(".log"), "wb") as log:
            self._server = subprocess.Popen(
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
                    "FAKE_VM": endpoint, "FAKE_CONTENT": str(disk / "content"),
                    "FAKE_TOKENS": str(self._list), "TBE_RUNTIME_ADDR": unassign_at,
                    "OMP_NUM_THREADS": "1", "AWS_EC2_METADATA_DISABLED": "true",
                },
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait(port)

    @property
    def _list(self) -> Path:
        return self.disk.with_suffix(".tokens")

    def token(self, seconds: float) -> str:
        """A new token for this machine."""
        with self._lock:
            token = f"rpt-{secrets.token_hex(12)}"
            self._tokens[token] = time.time() + seconds
            beside = self._list.with_suffix(".new")
            beside.write_text(json.dumps(self._tokens))
            beside.replace(self._list)
            return token

    def tokens(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._tokens)

    def kill(self) -> None:
        """As Colab ends a machine: every process at once, and its disk with it."""
        quiet = 0
        while quiet < 3:
            found = [n for n in _processes(f"FAKE_VM={self.endpoint}") if n != os.getpid()]
            quiet = 0 if found else quiet + 1
            for number in found:
                try:
                    os.kill(number, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            time.sleep(0.05)
        self._server.wait()
        shutil.rmtree(self.disk, ignore_errors=True)
        self._list.unlink(missing_ok=True)

    def _wait(self, port: int) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            assert self._server.poll() is None, self.disk.with_suffix(".log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the Jupyter server did not come up")


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
