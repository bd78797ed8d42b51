"""SSH to a machine whose host key is known beforehand, and to no other.

The launcher makes a machine's host key and hands it over in the order, so that the first
connection can be checked like any later one. A key is never accepted because it was shown.
Paramiko does the protocol; it is imported here when it is first needed.
"""

import base64
import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.contract.errors import ProviderError
from launch.payload.cloud_init import Pair
from mimir.errors import OPTIONAL, BadInput

KIND = "ssh-ed25519"
ANSWERS_WITHIN = 20.0
"""Seconds for each step of a connection, and for each part of a command's output."""
INSTALL = f"`python -m pip install '{OPTIONAL['paramiko']}'`"


@dataclass(frozen=True)
class Door:
    """Where and as whom to knock. host_key: the only public key that the machine may show.

    identity: file with the private key that opens it.
    """

    host: str
    user: str
    host_key: str
    identity: Path
    port: int = 22


def new_pair(comment: str) -> Pair:
    """A fresh key pair; BadInput if the package for it is missing."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # comes with paramiko
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            NoEncryption,
            PrivateFormat,
            PublicFormat,
        )
    except ImportError as error:
        raise BadInput(f"SSH keys cannot be made here ({error}): {INSTALL}") from error
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return Pair(private.decode(), f"{public.decode()} {comment}")


def own(path: Path, comment: str) -> str:
    """The public key to the private one in this file; the pair is made if it is not there.

    The private key is readable by its owner only (0600). Two processes that make it at once
    end with the same one.

    Raises:
        BadInput: the folder cannot be written, or the file is not such a key.
    """
    try:
        if not path.exists():
            _create(path, new_pair(comment).private)
        return f"{KIND} {_public(path).get_base64()} {comment}"
    except OSError as error:
        raise BadInput(f"cannot keep an SSH key in {path}: {error.strerror}") from None


def run(door: Door, command: str) -> str:
    """What a shell command prints there (stdout and stderr), whatever its exit status.

    Raises:
        ProviderError: it cannot be reached, shows another host key, or lets nobody in.
        BadInput: paramiko or the private key is missing.
    """
    paramiko = library()
    where = f"{door.host}:{door.port}"
    known = door.host if door.port == 22 else f"[{door.host}]:{door.port}"
    client = paramiko.SSHClient()
    # Its policy for a host that is not in this list is to refuse it: the default.
    client.get_host_keys().add(known, KIND, _parsed(door.host_key))
    try:
        client.connect(
            door.host, door.port, door.user, pkey=_public(door.identity), timeout=ANSWERS_WITHIN,
            banner_timeout=ANSWERS_WITHIN, auth_timeout=ANSWERS_WITHIN, look_for_keys=False,
            allow_agent=False,
        )  # fmt: skip
        _, out, _ = client.exec_command(f"exec 2>&1; {command}", timeout=ANSWERS_WITHIN)
        text: bytes = out.read()
        return text.decode(errors="replace")
    except paramiko.BadHostKeyException:
        raise ProviderError(
            f"{where} shows another host key than the one that the launcher gave its machine, so "
            "it is not that machine, or somebody sits in between: nothing was sent to it; end the "
            "machine if this stays"
        ) from None
    except paramiko.AuthenticationException:
        raise ProviderError(
            f"{where} does not accept the key {door.identity}: the machine may still be coming up"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ProviderError(
            f"{where} cannot be reached by SSH ({why}): the machine may still be coming up, or a "
            "firewall is in between"
        ) from error
    finally:
        client.close()


def _create(path: Path, text: str) -> None:
    """Write a file of mode 0600, unless it is there."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        with contextlib.suppress(FileExistsError):  # somebody was first: theirs is the key
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def _public(path: Path) -> Any:
    paramiko = library()
    try:
        return paramiko.Ed25519Key.from_private_key_file(str(path))
    except (paramiko.SSHException, ValueError) as error:
        raise BadInput(
            f"{path} is no Ed25519 private key without a passphrase ({error}): move it away, and "
            "a new one is made"
        ) from None
    except FileNotFoundError:
        raise BadInput(
            f"there is no SSH key in {path}: only the computer that ordered a machine can look "
            "into it"
        ) from None


def _parsed(public: str) -> Any:
    paramiko = library()
    try:
        kind, text = public.split()[:2]
        if kind != KIND:
            raise ValueError(f"it is of the kind {kind}")
        return paramiko.Ed25519Key(data=base64.b64decode(text, validate=True))
    except (ValueError, paramiko.SSHException) as error:
        raise BadInput(f"the kept host key cannot be read ({error}), so nothing is sent") from None


def library() -> Any:
    """Paramiko; BadInput if it is missing here."""
    try:
        import paramiko
    except ImportError as error:
        raise BadInput(f"SSH needs a package that is missing here: {INSTALL}") from error
    log = logging.getLogger("paramiko")
    if not log.handlers:  # else its tracebacks of what is told in one sentence go to stderr
        log.addHandler(logging.NullHandler())
    return paramiko
