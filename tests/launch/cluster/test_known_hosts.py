"""Lines of known_hosts, and the keys that they make known."""

from pathlib import Path

import pytest

from launch.cluster import known_hosts

paramiko = pytest.importorskip("paramiko", reason="pip install paramiko")
SALT = "T6/WrWyN4sZsCR/wuQ/3qjcciQY="
ED, RSA = "ssh-ed25519", "ssh-rsa"


def hashed(name: str) -> str:
    return str(paramiko.HostKeys.hash_host(name, SALT))


@pytest.mark.parametrize(
    ("name", "line", "known"),
    [
        ("login.edu", "login.edu ssh-ed25519 AAAA me", True),
        ("login.edu", "a,Login.EDU,b ssh-ed25519 AAAA", True),
        ("login.edu", "other.edu ssh-ed25519 AAAA", False),
        ("login.edu", "*.edu ssh-ed25519 AAAA", True),
        ("login.edu", "*.edu,!login.edu ssh-ed25519 AAAA", False),
        ("login.edu", "login?edu ssh-ed25519 AAAA", True),
        ("[login.edu]:2222", "[login.edu]:2222 ssh-ed25519 AAAA", True),
        ("[login.edu]:2222", "login.edu ssh-ed25519 AAAA", False),
        ("login.edu", f"{hashed('login.edu')} ssh-ed25519 AAAA", True),
        ("login.edu", f"{hashed('other.edu')} ssh-ed25519 AAAA", False),
        ("login.edu", "|1|A|x ssh-ed25519 AAAA", False),
        ("login.edu", "|1|c2hvcnQ=|x ssh-ed25519 AAAA", False),
        ("login.edu", "|1|é|x ssh-ed25519 AAAA", False),
        ("login.edu", "|1| ssh-ed25519 AAAA", False),
        ("login.edu", "# login.edu ssh-ed25519 AAAA", False),
        ("login.edu", "login.edu ssh-ed25519", False),
        ("login.edu", "@cert-authority login.edu ssh-ed25519 AAAA", False),
        ("login.edu", "@revoked login.edu ssh-ed25519 AAAA", False),
    ],
)
def test_lines(tmp_path: Path, name: str, line: str, known: bool) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"\n{line}\nrubbish\n")
    found = known_hosts.read(name, [str(tmp_path / "none"), str(file)])
    assert found.keys == (frozenset({(ED, "AAAA")}) if known else frozenset())
    assert bool(found.revoked) == line.startswith("@revoked")


def test_several_keys_of_one_name(tmp_path: Path) -> None:
    """As login nodes behind one name have them. A host is asked for a kind that can be checked."""
    file = tmp_path / "known_hosts"
    file.write_text(f"login {RSA} AAAA\nlogin {RSA} BBBB\n")
    found = known_hosts.read("login", [str(file)])
    assert found.keys == {(RSA, "AAAA"), (RSA, "BBBB")}
    assert ED in found.unwanted
    assert not {"rsa-sha2-512", "rsa-sha2-256"} & set(found.unwanted)
    assert known_hosts.read("other", [str(file)]).unwanted == []
