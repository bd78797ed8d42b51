"""A login node: a real sshd on loopback, whose commands run in a home of its own."""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from launch.providers import ssh
from tests.clouds.vm_programs import SSHD, program
from tests.waiting import LIMIT, wait_for

NO_SSHD = "there is no sshd here: tests/servers/sshd.sh gets one"
_SFTP = next(
    (
        path
        for path in (
            "/usr/lib/openssh/sftp-server",
            "/usr/libexec/sftp-server",
            "/usr/libexec/openssh/sftp-server",
        )
        if Path(path).exists()
    ),
    "",
)
_CONFIG = """\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized_keys
AuthenticationMethods publickey
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
Subsystem sftp {sftp}
ForceCommand {folder}/shell
"""
SCRIPT = "from launch.__main__ import mimir; mimir()"
"""As the console script `mimir` does."""


class LoginNode:
    """Up when made. home: of its one user, who may also be the laptop's.

    Args:
        folder: its own.
        laptop: the home of the one who connects; its ~/.ssh is written.
        environ: more variables of its commands.
        before: words that go before each command there, such as `unshare --mount`.
    """

    def __init__(
        self, folder: Path, laptop: Path, environ: Mapping[str, str] | None = None, before: str = ""
    ) -> None:
        assert SSHD is not None, NO_SSHD
        self.folder, self.laptop, self.home = folder, laptop, folder / "home"
        self.home.mkdir(parents=True)
        host, mine = ssh.new_pair("host"), laptop / ".ssh" / "id_ed25519"
        self.host_key = host.public
        private = folder / "host"
        private.write_text(host.private)
        private.chmod(0o600)
        (folder / "authorized_keys").write_text(ssh.own(mine, "me") + "\n")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = int(taken.getsockname()[1])
        (folder / "sshd_config").write_text(
            _CONFIG.format(port=self.port, folder=folder, sftp=_SFTP)
        )
        given = {"PATH": os.environ["PATH"], "HOME": str(self.home), **(environ or {})}
        exported = "".join(f"export {name}={shlex.quote(text)}\n" for name, text in given.items())
        program(
            folder / "shell",
            f'#!/bin/sh\n{exported}cd "$HOME"\n'
            f'exec {before} sh -c "${{SSH_ORIGINAL_COMMAND:-exit}}"\n',
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with (folder / "sshd.log").open("ab") as log:
            self._sshd = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(self._answers, "sshd")
        self.know()

    @property
    def login(self) -> str:
        return f"127.0.0.1:{self.port}"

    def know(self, key: str = "") -> None:
        """Let the laptop hold this key for the node's own (default: what it is)."""
        kind, text = (key or self.host_key).split()[:2]
        with (self.laptop / ".ssh" / "known_hosts").open("a") as known:
            known.write(f"[127.0.0.1]:{self.port} {kind} {text}\n")

    def forget(self) -> None:
        (self.laptop / ".ssh" / "known_hosts").unlink()

    def install(self, script: str = SCRIPT) -> None:
        """This checkout as the Mimir of the node, or another program in its place."""
        place = self.home / ".config" / "mimir" / "installed" / "bin"
        place.mkdir(parents=True)
        program(place / "mimir", f"#!/bin/sh\nexec {sys.executable} -c {shlex.quote(script)} $@\n")

    def start(self, *words: str, **streams: object) -> "subprocess.Popen[bytes]":
        """`mimir WORDS` on the laptop."""
        piped = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [sys.executable, "-c", SCRIPT, *words],
            env={**os.environ, "HOME": str(self.laptop)}, **{**piped, **streams},
        )  # fmt: skip

    def run(self, *words: str) -> tuple[int, str, str]:
        """(exit code, output, errors) of `mimir WORDS` on the laptop."""
        process = self.start(*words)
        out, err = process.communicate(timeout=LIMIT)
        return process.returncode, out.decode(), err.decode()

    def on(self, *words: str) -> tuple[int, str, str]:
        return self.run("--on", self.login, *words)

    def down(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._sshd.pid, signal.SIGKILL)
        self._sshd.wait()

    def _answers(self) -> bool:
        where = ("127.0.0.1", self.port)
        with contextlib.suppress(OSError), socket.create_connection(where) as line:
            return line.recv(4) == b"SSH-"
        return False
