"""What a login node asks for besides a key, or in its place: a real protocol, a server here."""

import io
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launch.cluster import login
from launch.cluster.login import Login
from launch.providers import ssh
from mimir.errors import BadInput
from tests.waiting import LIMIT, unless_it_hangs

paramiko = pytest.importorskip("paramiko", reason="pip install paramiko")
CODE = "271828"


class Rules(paramiko.ServerInterface):  # type: ignore[misc]
    """ways: what it lets in by. second: what it asks for behind a key, if anything."""

    def __init__(self, ways: str, second: str) -> None:
        self.ways, self.second = ways, second

    def get_allowed_auths(self, username: str) -> str:
        return self.ways

    def check_auth_none(self, username: str) -> int:
        return self._verdict(self.ways == "none")

    def check_auth_publickey(self, username: str, key: object) -> int:
        if self.second:
            self.ways = self.second
            return int(paramiko.AUTH_PARTIALLY_SUCCESSFUL)
        return int(paramiko.AUTH_FAILED)

    def check_auth_password(self, username: str, password: str) -> int:
        return self._verdict(password == CODE)

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        return paramiko.InteractiveQuery("", "", ("One-time code: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return self._verdict(responses == [CODE])

    def _verdict(self, right: bool) -> int:
        return int(paramiko.AUTH_SUCCESSFUL if right else paramiko.AUTH_FAILED)


class Node:
    """Lets in as the rules say; which the test may set before it connects."""

    def __init__(self, home: Path) -> None:
        self.rules, self.keys = Rules("publickey", ""), home / ".ssh"
        self._line = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._line.getsockname()[1])
        self._opened: list[Any] = []
        host = ssh.new_pair("host")
        self._key = paramiko.Ed25519Key.from_private_key(io.StringIO(host.private))
        self.keys.mkdir(parents=True)
        (self.keys / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {host.public}\n")
        threading.Thread(target=self._serve, daemon=True).start()

    def connect(self) -> float:
        """How many seconds the last way in might take."""
        with login.connect(Login("127.0.0.1", "me", self.port)) as connection:
            return float(connection.client.get_transport().auth_timeout)

    def close(self) -> None:
        self._line.close()
        for each in self._opened:
            each.close()

    def _serve(self) -> None:
        line, _ = self._line.accept()
        transport = paramiko.Transport(line)
        self._opened.append(transport)
        transport.add_server_key(self._key)
        transport.start_server(event=threading.Event(), server=self.rules)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """Of a user who sits at a terminal and types the code where it is not shown."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: CODE)

    def shown(prompt: object = "") -> str:
        raise AssertionError("what is typed would be seen")

    monkeypatch.setattr("builtins.input", shown)
    made = Node(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("second", ["keyboard-interactive", "password"])
def test_a_second_factor_is_typed_hidden(node: Node, second: str) -> None:
    ssh.own(node.keys / "id_ed25519", "me")
    node.rules.second = second
    assert node.connect() == login.TYPES_WITHIN, "a code takes longer than a connection's steps"


def test_without_a_terminal_nothing_is_asked(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    ssh.own(node.keys / "id_ed25519", "me")
    node.rules.second = "keyboard-interactive"
    with pytest.raises(BadInput, match=r"me in: no key .+ there is no terminal to ask"):
        node.connect()


@pytest.mark.parametrize("way", ["keyboard-interactive", "password", "none"])
def test_who_has_no_key_is_asked(node: Node, way: str) -> None:
    node.rules.ways = way
    node.connect()


def test_a_file_that_holds_no_key_is_in_nobodys_way(node: Node) -> None:
    node.rules.ways = "publickey,password"
    (node.keys / "id_ed25519").write_text("rubbish")
    node.connect()


@pytest.mark.parametrize("way", ["keyboard-interactive", "password"])
def test_a_wrong_answer(node: Node, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "wrong")
    node.rules.ways = way
    with pytest.raises(BadInput, match="me in: a password or one-time code was wrong, or typed"):
        node.connect()


def test_a_person_has_time_to_type_but_not_for_ever(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = threading.Event()
    monkeypatch.setattr(login, "TYPES_WITHIN", 0.2)
    monkeypatch.setattr("getpass.getpass", lambda prompt: gone.wait(LIMIT) and CODE)
    node.rules.ways = "keyboard-interactive"
    with pytest.raises(BadInput, match="typed too late"):
        unless_it_hangs(node.connect)
    gone.set()
