"""SSH: keys that are kept well, and a host key that is not the given one."""

import io
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.contract.errors import ProviderError
from launch.providers import ssh
from mimir.errors import BadInput
from tests.waiting import LIMIT

paramiko = pytest.importorskip("paramiko", reason="pip install paramiko")


class Machine:
    """An SSH server of paramiko's own on loopback, that lets one key in and repeats commands."""

    def __init__(self, host: paramiko.PKey, visitor: str) -> None:
        self.asked: list[str] = []
        self._host = host
        self._visitor = visitor.split()[1]
        self._transports: list[object] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()
        for each in self._transports:
            each.close()  # type: ignore[attr-defined]

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._socket.accept()
            except OSError:
                return
            transport = paramiko.Transport(line)
            transport.add_server_key(self._host)
            self._transports.append(transport)
            transport.start_server(event=threading.Event(), server=_Rules(self, self._visitor))


class _Rules(paramiko.ServerInterface):
    def __init__(self, machine: Machine, visitor: str) -> None:
        self._machine = machine
        self._visitor = visitor

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: object) -> int:
        allowed = key.get_base64() == self._visitor  # type: ignore[attr-defined]
        return paramiko.AUTH_SUCCESSFUL if allowed else paramiko.AUTH_FAILED  # type: ignore[no-any-return]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED  # type: ignore[no-any-return]

    def check_channel_exec_request(self, channel: object, command: bytes) -> bool:
        self._machine.asked.append(command.decode())

        def answer() -> None:
            channel.sendall(b"caf\xc3\xa9 \xff\n")  # type: ignore[attr-defined]
            channel.send_exit_status(3)  # type: ignore[attr-defined]
            channel.close()  # type: ignore[attr-defined]

        threading.Timer(0.05, answer).start()
        return True


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "ANSWERS_WITHIN", LIMIT)


@pytest.fixture
def host() -> ssh.Pair:
    return ssh.new_pair("host")


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "id"
    ssh.own(path, "me")
    return path


@pytest.fixture
def machine(host: ssh.Pair, identity: Path) -> Iterator[Machine]:
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(host.private))
    made = Machine(key, ssh.own(identity, "me"))
    yield made
    made.close()


def test_what_a_command_prints(machine: Machine, host: ssh.Pair, identity: Path) -> None:
    door = ssh.Door("127.0.0.1", "ubuntu", host.public, identity, machine.port)
    assert ssh.run(door, "hostname") == "café �\n"
    assert machine.asked == ["exec 2>&1; hostname"]


def test_another_host_key_is_refused(machine: Machine, identity: Path) -> None:
    door = ssh.Door("127.0.0.1", "ubuntu", ssh.new_pair("x").public, identity, machine.port)
    with pytest.raises(ProviderError, match="another host key"):
        ssh.run(door, "hostname")
    assert machine.asked == []


def test_a_host_key_of_another_kind_is_refused(host: ssh.Pair, identity: Path) -> None:
    machine = Machine(paramiko.ECDSAKey.generate(), ssh.own(identity, "me"))
    try:
        door = ssh.Door("127.0.0.1", "ubuntu", host.public, identity, machine.port)
        with pytest.raises(ProviderError, match="another host key"):
            ssh.run(door, "hostname")
        assert machine.asked == []
    finally:
        machine.close()


def test_a_stranger_is_not_let_in(machine: Machine, host: ssh.Pair, tmp_path: Path) -> None:
    ssh.own(tmp_path / "stranger", "x")
    door = ssh.Door("127.0.0.1", "ubuntu", host.public, tmp_path / "stranger", machine.port)
    with pytest.raises(ProviderError, match="does not accept the key"):
        ssh.run(door, "hostname")


def test_nobody_there(host: ssh.Pair, identity: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    door = ssh.Door("127.0.0.1", "ubuntu", host.public, identity, port)
    with pytest.raises(ProviderError, match=r"by SSH \(Unable to connect"):
        ssh.run(door, "hostname")


def test_not_ssh(host: ssh.Pair, identity: Path) -> None:
    """In a process of its own: there, paramiko's tracebacks would go to stderr."""

    def answer() -> None:
        line, _ = server.accept()
        with line:
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        code = (
            "from pathlib import Path; from launch.contract.errors import ProviderError\n"
            "from launch.providers import ssh\n"
            f"door = ssh.Door('127.0.0.1', 'u', {host.public!r}, Path({str(identity)!r}), "
            f"{server.getsockname()[1]})\n"
            "try: ssh.run(door, 'hostname')\n"
            "except ProviderError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT
        )
        thread.join()
    assert "cannot be reached by SSH" in done.stdout
    assert done.stderr == ""


def test_the_own_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "id_ed25519"
    before = os.umask(0)
    try:
        made: list[str] = []
        several = [
            threading.Thread(target=lambda: made.append(ssh.own(path, "me"))) for _ in range(8)
        ]
        for each in several:
            each.start()
        for each in several:
            each.join()
    finally:
        os.umask(before)
    assert len(made) == 8
    assert len(set(made)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["id_ed25519"]
    if shutil.which("ssh-keygen"):
        told = subprocess.run(
            ["ssh-keygen", "-y", "-f", str(path)], capture_output=True, text=True, check=True,
            timeout=LIMIT,
        )  # fmt: skip
        assert told.stdout.split()[:2] == made[0].split()[:2]


def test_a_file_that_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("hello")
    with pytest.raises(BadInput, match="move it away"):
        ssh.own(tmp_path / "id", "me")
    with pytest.raises(BadInput, match="no SSH key in"):
        ssh.run(ssh.Door("127.0.0.1", "u", ssh.new_pair("x").public, tmp_path / "none"), "x")
    with pytest.raises(BadInput, match="host key cannot be read"):
        ssh.run(ssh.Door("127.0.0.1", "u", "ssh-rsa AAAA", tmp_path / "id"), "x")


def test_a_pair_shows_no_secret() -> None:
    pair = ssh.new_pair("comment")
    assert "PRIVATE" not in repr(pair)
    assert pair.public.startswith("ssh-ed25519 ")
    assert pair.public.endswith(" comment")


def test_paramiko_is_asked_for_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(BadInput, match="pip install"):
        ssh.run(ssh.Door("127.0.0.1", "u", "ssh-ed25519 AAAA", Path("x")), "x")


def test_paramiko_is_not_imported_before(tmp_path: Path) -> None:
    code = "import sys, launch.providers.lambda_cloud.adapter; sys.exit('paramiko' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=LIMIT).returncode == 0
