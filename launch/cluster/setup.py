"""Installs Mimir on a cluster from the laptop: copies its own code there, and runs install.py."""

import hashlib
import io
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.cluster import remote, shell
from launch.cluster.login import Connection
from launch.payload import wheel
from launch.pricing import measured
from launch.providers import ssh
from mimir import console
from mimir.errors import BadInput, ServiceError
from mimir.text import first_line, size

PATH = "~/mimir"
PYTHONS = ("python3.13", "python3.12", "python3.11", "python3")
_PATH = re.compile(r"(~/|/)[A-Za-z0-9._+@=,~/-]+")
_PYTHON = re.compile(r"(~/)?[A-Za-z0-9._+@=,/-]+")
_LOOK = """\
for each in {names}; do
  command -v "$each" >/dev/null 2>&1 || continue
  if "$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
  then
    echo "python $(command -v "$each")"
    break
  fi
done
echo "home $HOME"
mkdir -p {folder} && echo "made"
"""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """How to install. path: a folder that login node and compute nodes share.

    python: there, "" for the newest that fits. site_packages: take the packages that it has, and
    install only those that are missing. wheelhouse: a folder of wheels on this computer.
    """

    path: str = PATH
    python: str = ""
    site_packages: bool = False
    wheelhouse: Path | None = None

    def __post_init__(self) -> None:
        if not _PATH.fullmatch(self.path):
            raise BadInput(
                f"--path is {self.path!r}, but must be a folder there, such as ~/mimir or "
                "/shared/me/mimir, of letters, digits and ._+@=,-"
            )
        if self.python and not _PYTHON.fullmatch(self.python):
            raise BadInput(f"--python is {self.python!r}, but must be a program there")
        if self.wheelhouse is not None and not self.wheels:
            raise BadInput(
                f"--wheelhouse {self.wheelhouse} has no wheels (*.whl) on this computer: fill it "
                "by `pip download` (docs/guides/cluster.md)"
            )

    @property
    def wheels(self) -> list[Path]:
        found = self.wheelhouse.glob("*.whl") if self.wheelhouse else ()
        return sorted(found)


def install(connection: Connection, wanted: Wanted, say: Say) -> str:
    """Install this launcher's Mimir there, unless it is; the path of its environment.

    Raises:
        BadInput: there is no fitting Python, or it cannot be installed as wanted.
        ServiceError: the connection is lost; the same call goes on.
    """
    python, folder = _look(connection, wanted)
    code = _code()
    digest = hashlib.sha256(code).hexdigest()
    say(f"1/4 copies Mimir ({digest[:12]}) to {folder} of {connection.login}, for {python}")
    own, program = f"{folder}/wheels/{digest[:12]}/{wheel.file_name()}", f"{folder}/install.py"
    files = {own: code, program: Path(__file__).with_name("install.py").read_bytes()}
    _copy(connection, folder, files, wanted, say)
    told = {
        "folder": folder, "wheel": own, "sha256": digest, "site_packages": wanted.site_packages,
        "needs": [*wheel.NEEDS.values(), *wheel.BESIDE],
        "imports": ["torch", *wheel.NEEDS],
        "pins": [f"{name}=={version}" for name, version in wheel.pins().items()],
        "wheelhouse": f"{folder}/wheelhouse" if wanted.wheelhouse else "",
        "files": [each.name for each in wanted.wheels],
    }  # fmt: skip
    script = f"exec {shlex.join([python, program])}"
    code_there, lines = shell.ask(connection, script, json.dumps(told).encode(), say)
    last = lines[-1] if lines else ""
    if code_there != 0 or not last.startswith("installed "):
        raise BadInput(f"Mimir was not installed at {connection.login}: {last or 'no word'}")
    return last.removeprefix("installed ")


def keep_store(connection: Connection, url: str) -> None:
    """Let commands from elsewhere use this store, unless they are told another."""
    place = f'"$HOME"/{remote.STORE}'
    script = f"umask 077; cat > {place}.new && mv {place}.new {place}"
    code, lines = shell.ask(connection, script, f"{url}\n".encode())
    if code != 0:
        raise ServiceError(f"the store's URL cannot be kept at {connection.login}: {lines[-1:]}")


def _look(connection: Connection, wanted: Wanted) -> tuple[str, str]:
    """(Python, folder) there, and the folder is made."""
    names = " ".join(_of_shell(each) for each in ([wanted.python] if wanted.python else PYTHONS))
    folder = _of_shell(wanted.path)
    lines = shell.ask(connection, _LOOK.format(names=names, folder=folder))[1]
    said = {key: value for key, _, value in (line.partition(" ") for line in lines)}
    if "home" not in said:
        raise ServiceError(f"{connection.login} runs no scripts: {' '.join(lines[-1:])}")
    if "python" not in said:
        which = f"{wanted.python} there is not one" if wanted.python else "there is none"
        raise BadInput(
            f"Mimir needs Python 3.11 to 3.13 at {connection.login}, and {which}: load a module "
            "that has it in your profile there, or name one by --python PATH"
        )
    if "made" not in said:
        raise BadInput(f"{wanted.path} cannot be made at {connection.login}: {lines[-1]}")
    home = wanted.path.startswith("~/")
    return said["python"], f"{said['home']}/{wanted.path[2:]}" if home else wanted.path


def _of_shell(path: str) -> str:
    """The path as a word of sh, with the home there for a leading ~."""
    return f'"$HOME"/{shlex.quote(path[2:])}' if path.startswith("~/") else shlex.quote(path)


def _code() -> bytes:
    """This launcher's own code as a wheel, with the step times that estimates go by."""
    times = {f"launch/measurements/{path.name}": path.read_bytes()
             for path in sorted(measured.BENCH.glob(measured.FILES))}  # fmt: skip
    return wheel.content(times)


def _copy(
    connection: Connection, folder: str, files: dict[str, bytes], wanted: Wanted, say: Say
) -> None:
    """Copy these files and the wheels by SFTP, each whole or not at all; what is there stays."""
    paramiko = ssh.library()
    folders = {f"{folder}/wheelhouse", *(name.rpartition("/")[0] for name in files)}
    shell.ask(connection, f"mkdir -p {shlex.join(sorted(folders))}")
    try:
        with connection.client.open_sftp() as sftp:
            for name, content in files.items():
                sftp.putfo(io.BytesIO(content), f"{name}.new")
                sftp.posix_rename(f"{name}.new", name)
            for path in wanted.wheels:
                there = f"{folder}/wheelhouse/{path.name}"
                if _size(sftp, there) == path.stat().st_size:
                    continue
                say(f"    copies {path.name} ({size(path.stat().st_size)})")
                with console.bar(path.name, path.stat().st_size, "B") as advance:
                    _put(sftp, path, f"{there}.new", advance)
                sftp.posix_rename(f"{there}.new", there)
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise ServiceError(
            f"Mimir cannot be copied to {folder} of {connection.login} ({first_line(error)}): is "
            "its disk full, or SFTP off there? The same command goes on"
        ) from None


def _put(sftp: Any, path: Path, to: str, advance: Callable[[int], None]) -> None:
    sent = 0

    def told(done: int, _: int) -> None:
        nonlocal sent
        advance(done - sent)
        sent = done

    sftp.put(str(path), to, callback=told)


def _size(sftp: Any, path: str) -> int:
    try:
        return int(sftp.stat(path).st_size)
    except FileNotFoundError:
        return -1
