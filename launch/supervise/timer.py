"""A timer of this computer's own that runs `watch --once` for a store every few minutes.

    Linux with systemd    a user unit and its timer       systemd.timer(5)
    macOS                 a launch agent                  launchd.plist(5)
    otherwise             a line of the user's crontab    crontab(5)

The right to order a machine is one object in the store, so that rounds may overlap, and any number
of computers may have a timer. Installing writes all or nothing.
"""

import hashlib
import json
import os
import plistlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import mimir
from launch.contract import state
from launch.contract.cloud import Fleeting
from launch.contract.provider import Check
from launch.providers import registry
from launch.supervise import timed
from mimir import atomic_file
from mimir.connections import CA_FILES, PROXIES
from mimir.errors import BadInput
from mimir.runs.store import VARIABLES
from mimir.text import duration, first_line, one_line

EVERY = 300
"""Seconds between rounds."""
LATE = 3 * EVERY + 600
"""Seconds after which a round that did not come is missed: one may end machines for minutes."""
PREFIXES = (*VARIABLES, "MIMIR_")
NAMES = (
    *CA_FILES, *PROXIES, "PATH", "PYTHONPATH", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
)  # fmt: skip
"""Variables that the rounds get as they are now, beside those of the prefixes and what providers
read."""
PATIENCE = 30.0
"""Seconds for a command of the system's own."""


class Scheduler(Protocol):
    """What starts a command every few minutes. name: of the timer, mimir-watch-<store>."""

    title: str
    advice: str

    def usable(self) -> bool:
        """Whether it is there for this user."""

    def files(self, name: str, argv: Sequence[str]) -> Mapping[Path, bytes]:
        """The files that it reads."""

    def begin(self, name: str, argv: Sequence[str]) -> None:
        """Have it start the command from now on, in place of an earlier one of this name."""

    def end(self, name: str) -> None:
        """Have it start that no more; no error if it did not."""

    def has(self, name: str) -> bool:
        """Whether it starts that now."""


class Systemd:
    """The user's own systemd."""

    title = "a systemd user timer"
    advice = "it runs while you are logged in; `loginctl enable-linger` lets it run always"

    def usable(self) -> bool:
        return sys.platform == "linux" and _works("systemctl", "--user", "show-environment")

    def files(self, name: str, argv: Sequence[str]) -> Mapping[Path, bytes]:
        service = (
            "[Unit]\nDescription=Mimir: one round of `watch --once`\n\n"
            f"[Service]\nType=oneshot\nExecStart={' '.join(map(_systemd_word, argv))}\n"
        )
        timer = (
            "[Unit]\nDescription=Mimir: looks after runs on rented machines\n\n"
            f"[Timer]\nOnActiveSec=1\nOnUnitActiveSec={EVERY}\n\n"
            "[Install]\nWantedBy=timers.target\n"
        )
        folder = _config() / "systemd" / "user"
        return {
            folder / f"{name}.service": service.encode(), folder / f"{name}.timer": timer.encode()
        }  # fmt: skip

    def begin(self, name: str, argv: Sequence[str]) -> None:
        _run("systemctl", "--user", "daemon-reload")
        _run("systemctl", "--user", "enable", f"{name}.timer")
        _run("systemctl", "--user", "restart", f"{name}.timer")

    def end(self, name: str) -> None:
        _works("systemctl", "--user", "disable", "--now", f"{name}.timer")

    def has(self, name: str) -> bool:
        return _works("systemctl", "--user", "is-active", f"{name}.timer")


class Launchd:
    """The user's launchd."""

    title = "a launchd agent"
    advice = "it runs while you are logged in"

    def usable(self) -> bool:
        return sys.platform == "darwin" and shutil.which("launchctl") is not None

    def files(self, name: str, argv: Sequence[str]) -> Mapping[Path, bytes]:
        agent = {"Label": _label(name), "ProgramArguments": list(argv), "StartInterval": EVERY,
                 "RunAtLoad": True, "ProcessType": "Background"}  # fmt: skip
        return {_agent(name): plistlib.dumps(agent)}

    def begin(self, name: str, argv: Sequence[str]) -> None:
        self.end(name)
        _run("launchctl", "bootstrap", f"gui/{os.getuid()}", str(_agent(name)))

    def end(self, name: str) -> None:
        _works("launchctl", "bootout", f"gui/{os.getuid()}/{_label(name)}")

    def has(self, name: str) -> bool:
        return _works("launchctl", "print", f"gui/{os.getuid()}/{_label(name)}")


class Cron:
    """The user's crontab; the line ends with the timer's name as a comment."""

    title = "a line in your crontab"
    advice = "it runs while this computer is on"

    def usable(self) -> bool:
        return shutil.which("crontab") is not None

    def files(self, name: str, argv: Sequence[str]) -> Mapping[Path, bytes]:
        return {}

    def begin(self, name: str, argv: Sequence[str]) -> None:
        command = shlex.join(argv).replace("%", r"\%")  # which is a line's end there
        line = f"*/{EVERY // 60} * * * * {command} >/dev/null 2>&1 # {name}"
        self._write([*self._others(name), line])

    def end(self, name: str) -> None:
        if self.has(name):
            self._write(self._others(name))

    def has(self, name: str) -> bool:
        return len(self._others(name)) < len(self._lines())

    def _others(self, name: str) -> list[str]:
        return [line for line in self._lines() if not line.endswith(f"# {name}")]

    def _lines(self) -> list[str]:
        done = _command("crontab", "-l")
        if done.returncode and "no crontab" not in done.stderr:
            # What cannot be read must not be replaced.
            raise BadInput(f"your crontab cannot be read: {one_line(done.stderr.strip())}")
        return done.stdout.splitlines() if done.returncode == 0 else []

    def _write(self, lines: Sequence[str]) -> None:
        _run("crontab", "-", text="".join(f"{line}\n" for line in lines))


SCHEDULERS: tuple[Callable[[], Scheduler], ...] = (Systemd, Launchd, Cron)
"""The first that is usable is taken."""


@dataclass(frozen=True)
class Installed:
    """A timer that was installed. variables: the names of those that its rounds get."""

    scheduler: Scheduler
    file: Path
    variables: tuple[str, ...]


def install(store: str, environ: Mapping[str, str]) -> Installed:
    """Install the store's timer in place of an earlier one.

    environ: where the rounds' variables are taken from.

    Raises:
        BadInput: there is no scheduler, or it refused; then all is as it was.
    """
    usable = [each for make in SCHEDULERS if (each := make()).usable()]
    if not usable:
        raise BadInput(
            "this computer has no systemd for users, launchd or crontab to run `watch --once`: "
            "keep `python -m launch watch` running instead"
        )
    scheduler, *others = usable
    name, file = name_of(store), file_of(store)
    kept = {**variables(environ), "MIMIR_STORE": store}
    argv = command(file)
    body = json.dumps({"environ": kept}, indent=2).encode()
    written = {file: body, **scheduler.files(name, argv)}
    before = {path: _bytes(path) for path in written}
    try:
        for path, data in written.items():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            atomic_file.write(path, data, 0o600)
        scheduler.begin(name, argv)
    except (BadInput, OSError, KeyboardInterrupt) as error:
        for path, old in before.items():
            with suppress(OSError):
                path.unlink() if old is None else atomic_file.write(path, old, 0o600)
        with suppress(BadInput):
            scheduler.end(name) if before[file] is None else scheduler.begin(name, argv)
        if isinstance(error, OSError):
            raise BadInput(f"cannot write the timer: {error}; nothing was installed") from error
        raise
    for other in others:  # of an earlier day, when this one was not there
        other.end(name)
    return Installed(scheduler, file, tuple(sorted(kept)))


def uninstall(store: str) -> bool:
    """Remove the store's timer, and what its rounds were given; whether there was one."""
    name, file = name_of(store), file_of(store)
    found = file.exists()
    for scheduler in (each for make in SCHEDULERS if (each := make()).usable()):
        found |= scheduler.has(name)
        scheduler.end(name)
        for path in scheduler.files(name, ()):
            path.unlink(missing_ok=True)
    for path in (file, timed.record(file), timed.log(file)):
        path.unlink(missing_ok=True)
    return found


def check(store: str, clock: Callable[[], float] = time.time) -> Check:
    """For `doctor`: whether the store's timer is there, and ran lately."""
    name, file = name_of(store), file_of(store)
    has = next((s for make in SCHEDULERS if (s := make()).usable() and s.has(name)), None)
    if has is None or not file.exists():
        return Check(
            "watch timer", "warn", "no timer of this computer runs `watch --once` for this store: "
            "`python -m launch watch --install` installs one",
        )  # fmt: skip
    seen = timed.last(file)
    if seen is None:
        return Check("watch timer", "warn", f"{has.title} is there, and has not run yet")
    age = clock() - seen.time
    ran = f"{has.title}, which last ran {duration(age)} ago"
    if age > LATE:
        return Check("watch timer", "warn", f"{ran}: {has.advice}")
    if seen.code:
        return Check("watch timer", "fail", f"{ran} and ended with {seen.code}: {seen.said}")
    return Check("watch timer", "ok", ran)


def is_installed(store: str) -> bool:
    """Whether the store's timer was installed here and not removed; `check` looks closer."""
    return file_of(store).exists()


def name_of(store: str) -> str:
    """The name of the store's timer."""
    return f"mimir-watch-{hashlib.sha256(store.encode()).hexdigest()[:8]}"


def file_of(store: str) -> Path:
    """What the rounds of the store's timer are given, readable by its owner alone."""
    return state.folder() / "watch" / f"{name_of(store)}.json"


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that `watch --once` may need, as they are now."""
    read = registry.variables()
    names = {*NAMES, *read}
    prefixes = (*PREFIXES, *(each for each in read if each.endswith("_")))
    return {
        name: value
        for name, value in environ.items()
        if value and (name in names or name.startswith(prefixes))
    }


def fleeting() -> list[str]:
    """A sentence for each service whose credentials here end before the rounds do."""
    clouds = [registry.rented(name).cloud for name in registry.renting()]
    said = [each.fleeting() for each in clouds if isinstance(each, Fleeting) and each.configured()]
    return [each for each in said if each]


def command(file: Path) -> tuple[str, ...]:
    """What the timer starts. Nothing in it is secret."""
    root = Path(mimir.__file__).resolve().parents[1]
    # A checkout that is not installed; what is installed is found anyway.
    own = () if root.name in ("site-packages", "dist-packages") else (f"PYTHONPATH={root}",)
    return ("/usr/bin/env", *own, sys.executable, "-m", "launch.supervise.timed", str(file))


def _config() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")


def _label(name: str) -> str:
    return f"org.mimir.{name}"


def _agent(name: str) -> Path:
    return Path.home() / "Library" / "LaunchAgents" / f"{_label(name)}.plist"


def _systemd_word(word: str) -> str:
    """A word as systemd reads it: systemd.service(5), COMMAND LINES."""
    plain = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{plain}"'


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _command(*argv: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            argv, input=text, capture_output=True, text=True, check=False, timeout=PATIENCE,
            stdin=subprocess.DEVNULL if text is None else None,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))


def _works(*argv: str) -> bool:
    return _command(*argv).returncode == 0


def _run(*argv: str, text: str | None = None) -> None:
    done = _command(*argv, text=text)
    if done.returncode:
        why = one_line(first_line(done.stderr.strip()) or f"exit code {done.returncode}")
        raise BadInput(f"`{shlex.join(argv)}` failed ({why}): no timer was installed")
