"""Which host keys are known, by known_hosts as sshd(8) describes its lines.

Read here, because paramiko reads neither patterns nor markers, and of several keys of a name, which
login nodes behind one name have, it takes the first. Certificates (@cert-authority) are no keys.
"""

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.providers import ssh
from mimir.errors import BadInput

FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")
KINDS = {
    "ssh-ed25519": "ssh-ed25519", "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384": "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521": "ecdsa-sha2-nistp521",
    "rsa-sha2-512": "ssh-rsa", "rsa-sha2-256": "ssh-rsa", "ssh-rsa": "ssh-rsa",
}  # fmt: skip
"""How a host may sign -> the kind of its key."""


@dataclass(frozen=True)
class Known:
    """(kind, base64) of the keys that a host may show, and of those that none may."""

    keys: frozenset[tuple[str, str]]
    revoked: frozenset[tuple[str, str]]

    @property
    def unwanted(self) -> list[str]:
        """Ways to sign by keys of other kinds, so that a host shows one that can be checked."""
        kinds = {kind for kind, _ in self.keys}
        return [way for way, kind in KINDS.items() if kinds and kind not in kinds]

    def check(self, login: object, key: Any) -> None:
        """BadInput unless this key, paramiko's, is one that the host may show."""
        shown = (key.get_name(), key.get_base64())
        seen = f"{key.get_name()} {key.fingerprint}"
        if shown in self.revoked:
            raise BadInput(f"the host key of {login} is revoked here ({seen}): nothing was sent")
        if shown in self.keys:
            return
        if self.keys:
            raise BadInput(
                f"{login} shows another host key ({seen}) than is known of it, so somebody may sit "
                "in between: nothing was sent to it; ask its administrators, and correct "
                "~/.ssh/known_hosts if they say so"
            )
        raise BadInput(
            f"the host key of {login} is not known here, so nothing was sent to it: it shows {seen}"
            "; compare that with what its administrators publish, and connect once by `ssh`, which "
            "keeps it in ~/.ssh/known_hosts"
        )


def read(name: str, files: Iterable[str]) -> Known:
    """What these files say of a host by its name there: `host`, or `[host]:port` if it is not 22.

    A line that cannot be read is none, as for ssh. BadInput for a file that cannot be read.
    """
    keys, revoked = set[tuple[str, str]](), set[tuple[str, str]]()
    for path in (Path(each).expanduser() for each in files):
        try:
            lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
        except OSError as error:
            raise BadInput(f"{path} cannot be read: {error.strerror}") from None
        for line in lines:
            fields = line.split()
            marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
            if len(fields) < 3 or fields[0].startswith("#") or not _names(fields[0], name):
                continue
            if marker in ("", "@revoked"):
                (revoked if marker else keys).add((fields[1], fields[2]))
    return Known(frozenset(keys), frozenset(revoked))


def _names(patterns: str, name: str) -> bool:
    """Whether a line's first field means this host: patterns, "!" before what it does not mean."""
    each: Sequence[str] = patterns.lower().split(",") if "|" not in patterns else [patterns]
    found = False
    for pattern in each:
        if pattern.startswith("|1|"):
            found = found or _is_hash_of(name, pattern)
        elif pattern.startswith("!"):
            if _is_like(name, pattern[1:]):
                return False
        else:
            found = found or _is_like(name, pattern)
    return found


def _is_hash_of(name: str, pattern: str) -> bool:
    """Whether `|1|salt|hash` is of this name; False for what is no such text."""
    try:
        return bool(ssh.library().HostKeys.hash_host(name, pattern) == pattern)
    except (ValueError, AssertionError):  # what paramiko raises for a bad salt
        return False


def _is_like(name: str, pattern: str) -> bool:
    """By * and ? alone: brackets are a port's."""
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))
