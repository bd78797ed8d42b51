"""An SSH connection to a cluster's login node, as the user's own `ssh` would make it.

Whom to trust and how to get there is what ~/.ssh says: known_hosts has the host keys, and config
names, users, keys and jump hosts (as paramiko's SSHConfig reads it: no Include, no Match exec). A
host key that is not known is refused and shown, never learned.
"""

import contextlib
import getpass
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.cluster import known_hosts
from launch.cluster.known_hosts import Known
from launch.providers import ssh
from mimir.errors import BadInput, ServiceError

ANSWERS_WITHIN = 30.0
"""Seconds for each step of a connection; asking for a password is none of them."""
TYPES_WITHIN = 600.0
"""Seconds for a person to type a password or a one-time code."""
ALIVE_EVERY = 30
"""Seconds between signs of life, which keep firewalls from forgetting a quiet connection."""
_FORM = re.compile(
    r"(?:([^@:/\s]+)@)?(\[[0-9A-Fa-f:.]+\]|[^@:\s/\[\]-][^@:\s/\[\]]*)(?::(\d{1,5}))?"
)


@dataclass(frozen=True)
class Login:
    """user "" and port 0: what ~/.ssh/config says, else the user here and 22."""

    host: str
    user: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str, option: str = "--on") -> "Login":
        """Of `[user@]host[:port]`, an IPv6 address in brackets; BadInput for anything else.

        `ssh://` may stand before it, as in ssh_config(5).
        """
        match = _FORM.fullmatch(text.removeprefix("ssh://"))
        if not match or int(match[3] or 0) > 65535:
            raise BadInput(f"{option} is {text!r}, but must be a login node: [USER@]HOST[:PORT]")
        return cls(match[2].strip("[]"), match[1] or "", int(match[3] or 0))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        return f"{user}{host}" + (f":{self.port}" if self.port else "")


class Connection:
    """client: paramiko's. login: as the user named it."""

    def __init__(self, login: Login, client: Any, held: contextlib.ExitStack) -> None:
        self.login, self.client, self._held = login, client, held

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def is_alive(self) -> bool:
        transport = self.client.get_transport()
        return transport is not None and bool(transport.is_active())


def connect(login: Login, via: str = "") -> Connection:
    """A connection, through the jump hosts `via` (HOST[,HOST …]) or those that ~/.ssh/config says.

    Raises:
        BadInput: paramiko is missing, a host key is not the known one, or nobody is let in.
        ServiceError: a host cannot be reached.
    """
    with contextlib.ExitStack() as held:
        client = _open(held, login, via, _config(), (login,))
        return Connection(login, client, held.pop_all())


def _config() -> Any:
    paramiko, path = ssh.library(), Path("~/.ssh/config").expanduser()
    try:
        return paramiko.SSHConfig.from_path(str(path)) if path.is_file() else paramiko.SSHConfig()
    except (paramiko.SSHException, OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from None


def _open(
    held: contextlib.ExitStack, login: Login, via: str, config: Any, path: tuple[Login, ...]
) -> Any:
    paramiko = ssh.library()
    try:
        said = config.lookup(login.host)
    except (paramiko.SSHException, ImportError) as error:
        raise BadInput(f"~/.ssh/config cannot be read for {login.host}: {error}") from None
    host = str(said.get("hostname", login.host)).lower()
    port = login.port or _port(said.get("port", "22"), login.host)
    jumps = via or said.get("proxyjump", "")
    if jumps and jumps.lower() != "none":
        *before, last = [Login.parse(each.strip(), "a jump host") for each in jumps.split(",")]
        if last in path:
            raise BadInput(f"{last} is a jump host to itself: correct --via or ~/.ssh/config")
        jump = _open(held, last, ",".join(map(str, before)), config, (*path, last))
        line = _through(jump, last, host, port)
    elif said.get("proxycommand", "none").lower() != "none":
        line = _by_program(said["proxycommand"], login)
    else:
        line = _line(login, host, port)
    held.callback(line.close)
    client = paramiko.SSHClient()
    held.callback(client.close)
    user = login.user or said.get("user") or getpass.getuser()
    _enter(client, line, login, said, (host, port, user))
    client.get_transport().set_keepalive(ALIVE_EVERY)
    return client


def _port(text: str, host: str) -> int:
    if not (text.isdecimal() and 0 < int(text) < 65536):
        raise BadInput(f"~/.ssh/config: Port of {host} is {text!r}, but must be from 1 to 65535")
    return int(text)


def _by_program(words: str, login: Login) -> Any:
    try:
        return ssh.library().ProxyCommand(words)
    except (ValueError, OSError, IndexError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise BadInput(
            f"~/.ssh/config: ProxyCommand of {login.host} cannot be started ({why}): {words}"
        ) from None


def _line(login: Login, host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=ANSWERS_WITHIN)
    except ValueError as error:  # Python's, of a name that cannot be one
        raise BadInput(f"{host!r} cannot be the name of a host ({error}): correct it") from None
    except socket.gaierror as error:
        raise ServiceError(
            f"there is no host {host} ({error.strerror}): correct {login}, or say how to get there "
            "by --via HOST"
        ) from None
    except OSError as error:
        why = error.strerror or str(error) or type(error).__name__
        raise ServiceError(
            f"{login} cannot be reached by SSH ({why}): is this computer in the right network, or "
            "is a jump host needed (--via HOST)?"
        ) from None


def _through(jump: Any, name: Login, host: str, port: int) -> Any:
    paramiko = ssh.library()
    try:
        return jump.get_transport().open_channel(
            "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=ANSWERS_WITHIN
        )
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise ServiceError(f"jump host {name} does not connect to {host}:{port}: {error}") from None


def _enter(
    client: Any, line: Any, login: Login, said: Mapping[str, Any], where: tuple[str, int, str]
) -> None:
    """Check the host's key, and show who we are."""
    paramiko = ssh.library()
    host, port, user = where
    alias = said.get("hostkeyalias")
    name = alias or (host if port == 22 else f"[{host}]:{port}")
    known = known_hosts.read(name, _files(said))
    shown = _checking(client, paramiko, known, login)
    keys = [str(path) for each in said.get("identityfile", [])
            if (path := Path(each).expanduser()).is_file()]  # fmt: skip
    alone = said.get("identitiesonly", "no").lower() == "yes"
    try:
        client.connect(
            host, port, user, sock=line, key_filename=keys or None, timeout=ANSWERS_WITHIN,
            allow_agent=not alone, look_for_keys=not alone, banner_timeout=ANSWERS_WITHIN,
            auth_timeout=ANSWERS_WITHIN, disabled_algorithms={"keys": known.unwanted},
            transport_factory=_transport(paramiko),
        )  # fmt: skip
    except paramiko.AuthenticationException as error:
        _by_answers(client, login, user, error)
    except (paramiko.SSHException, OSError, EOFError) as error:
        if shown and shown[0] is not None:
            raise shown[0] from None
        if shown and client.get_transport().is_active():  # it had no key that it could show
            return _by_answers(client, login, user, error)
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ServiceError(f"{login} does not answer as an SSH server does: {why}") from None


def _transport(paramiko: Any) -> Any:
    """A transport that leaves a second factor to `_by_answers`.

    Where a key is accepted but is not enough, paramiko's client asks by `auth_interactive_dumb`:
    it shows what is typed, and waits where there is no terminal.
    """

    class Transport(paramiko.Transport):  # type: ignore[misc]  # imported when needed
        left: Sequence[str] = ()

        def auth_publickey(self, *args: Any, **named: Any) -> Sequence[str]:
            self.left = super().auth_publickey(*args, **named)
            return self.left

        def auth_interactive_dumb(self, *_: Any, **named: Any) -> Sequence[str]:
            raise paramiko.BadAuthenticationType("a key is not enough", [*self.left])

    return Transport


def _files(said: Mapping[str, Any]) -> Sequence[str]:
    named = (said.get("userknownhostsfile"), said.get("globalknownhostsfile"))
    return [file for each in named if each for file in each.split()] or known_hosts.FILES


def _checking(client: Any, paramiko: Any, known: Known, login: Login) -> list[BadInput | None]:
    """Let the client refuse each host key but a known one; why it did or None, once it has."""
    shown: list[BadInput | None] = []

    class Check(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # imported when needed
        def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
            try:
                known.check(login, key)
            except BadInput as error:
                shown.append(error)
                raise paramiko.SSHException("refused") from None
            shown.append(None)

    client.set_missing_host_key_policy(Check())
    return shown


def _by_answers(client: Any, login: Login, user: str, error: Exception) -> None:
    """By a password or a one-time code, asked for on the terminal if there is one."""
    paramiko = ssh.library()
    transport = client.get_transport()
    ways: Sequence[str] = getattr(error, "allowed_types", ())
    try:
        if not ways and transport is not None and transport.is_active():
            transport.auth_none(user)
            return  # an account that needs neither a key nor an answer
    except paramiko.BadAuthenticationType as refusal:
        ways = refusal.allowed_types
    except (paramiko.SSHException, OSError, EOFError):
        pass
    asked = sys.stdin.isatty() and transport is not None and transport.is_active()
    failed = False
    if asked:
        transport.auth_timeout = TYPES_WITHIN
    try:
        if asked and "keyboard-interactive" in ways:
            left = transport.auth_interactive(user, _answers)
        elif asked and "password" in ways:
            left = transport.auth_password(
                user, getpass.getpass(f"{user}@{login.host}: password: ")
            )
        else:
            left = ["publickey"]
    except (paramiko.SSHException, OSError, EOFError):
        left, failed = ["answers"], True
    if left:
        if failed:
            why = "a password or one-time code was wrong, or typed too late: try again"
        elif isinstance(error, paramiko.PasswordRequiredException):
            why = "the key's file has a passphrase: `ssh-add` it"
        elif not asked and {"keyboard-interactive", "password"} & {*ways}:
            why = (
                "no key of ~/.ssh or of the SSH agent is enough there, and there is no terminal "
                "to ask for a password or a one-time code on"
            )
        else:
            why = "it is no account there, or no key of ~/.ssh or of the SSH agent is accepted"
        raise BadInput(f"{login} does not let {user} in: {why}") from None


def _answers(title: str, instructions: str, prompts: Sequence[tuple[str, bool]]) -> list[str]:
    """The user's answers to a server's questions, hidden as it says."""
    for line in filter(None, (title, instructions)):
        print(line, file=sys.stderr)
    return [input(text) if echo else getpass.getpass(text) for text, echo in prompts]
