"""This computer: the worker as a process of its own that outlives the launcher and its terminal.

A process id may be given to another process later, so a machine is the process id together
with the process's start time, where the system tells it.
"""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mimir
from launch.contract import state
from launch.contract.errors import NoCapacity, NotGone
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec, Caps, Check, Machine
from launch.contract.redaction import Secrets
from mimir import atomic_file
from mimir.checks import settings_fit
from mimir.checks.child import must_import
from mimir.config import Config
from mimir.errors import BadInput, BrokenPackage
from mimir.runs import cards

COMMAND = (sys.executable, "-m", "mimir.worker")
PROCESS_GRACE = 60.0
"""Seconds that an ended worker has for its last checkpoint."""
_PROC = Path("/proc")


class LocalProvider:
    """Runs attempts as detached processes; a Provider.

    Args:
        command: starts the worker; its options follow.
        grace: seconds between SIGTERM and SIGKILL.
    """

    name = "local"
    caps = Caps(paid=False, runs_installed_code=True, cards=True, hosts={"": "this computer"})

    def __init__(
        self,
        command: tuple[str, ...] | None = None,
        *,
        grace: float = PROCESS_GRACE,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._command = command
        self._grace = grace
        self._clock = clock
        self._sleep = sleep
        self._secrets = Secrets()
        # A child that ended stays as a zombie until its parent asks: ours are asked by poll().
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def choices(self, gpus: tuple[str, ...]) -> Sequence[Offer | None]:
        return (None,)

    def checks(self) -> list[Check]:
        try:
            self.must_work()
        except BrokenPackage as error:
            return [Check("local", "fail", str(error))]
        except BadInput as error:
            return [Check("local", "warn", f"no training on this computer: {error}")]
        return []

    def must_work(self) -> None:
        if "mimir.worker" in (self._command or COMMAND):
            must_import("torch")

    def refusals(self, configs: Sequence[Config], card: int | None) -> list[str]:
        if "mimir.worker" not in (self._command or COMMAND):
            return [""] * len(configs)
        return settings_fit.refusals(configs, cards.only(card, os.environ))

    def start(self, spec: AttemptSpec) -> Machine:
        self._secrets.learn_environment(spec.env)
        command = self._command or COMMAND
        self.must_work()
        log = state.folder() / f"{spec.run}-a{spec.attempt:04d}.log"
        handle = _open_private(log)
        try:
            offset = os.lseek(handle, 0, os.SEEK_END)
            child = subprocess.Popen(
                [*command, *spec.worker_options()],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=handle,
                env=_environment(spec),
                start_new_session=True,
            )
        except OSError as error:
            raise NoCapacity(
                f"this computer could not start the worker: {error.strerror or error}; "
                "free some memory or processes, then resume the run"
            ) from error
        finally:
            os.close(handle)
        self._children[child.pid] = child
        found = _process(child.pid)
        born = found[1] if found else None
        _remember(spec, child.pid, born)
        details = {"born": born, "log": log.name, "log_from": offset}
        return Machine(
            self.name, self._clock(), host=platform.node(), pid=child.pid, details=details
        )

    def alive(self, machine: Machine) -> bool | None:
        pid = machine.pid
        if machine.host != platform.node() or pid is None:
            return None
        child = self._children.get(pid)
        if child is not None:
            return child.poll() is None
        if not (_PROC / "self" / "stat").exists():
            return _signal(pid, 0)
        found = _process(pid)
        return found is not None and found[0] not in "ZX" and found[1] == machine.number("born")

    def end(self, spec: AttemptSpec, machine: Machine) -> None:
        alive, pid = self.alive(machine), machine.pid
        if alive is None or pid is None:
            raise NotGone(
                f"the worker is process {pid} on {machine.host}, which cannot be "
                f"reached from here: end it there (`kill {pid}`)"
            )
        if not alive:
            return
        if _remembered(spec) != [pid, machine.number("born")]:
            raise NotGone(
                f"process {pid} was not started here for attempt {spec.attempt} of run {spec.run}: "
                f"it is not ended; look at it by `ps -f {pid}`, end it by `kill {pid}`"
            )
        _signal(pid, signal.SIGTERM)
        if self._gone_within(machine, self._grace):
            return
        try:
            os.killpg(pid, signal.SIGKILL)
        except OSError as error:
            raise NotGone(f"process {pid} cannot be ended: {error.strerror}") from error
        if not self._gone_within(machine, 10):
            raise NotGone(f"process {pid} is still there after SIGKILL: look at it by `ps`")

    def output(self, machine: Machine, lines: int) -> list[str]:
        try:
            # A name alone: the store must not choose what is read here.
            with open(state.folder() / Path(machine.detail("log")).name, "rb") as file:
                file.seek(machine.number("log_from") or 0)
                text = file.read().decode(errors="replace")
        except (OSError, ValueError):
            return []
        return self._secrets.clean("\n".join(text.splitlines()[-lines:])).splitlines()

    def _gone_within(self, machine: Machine, seconds: float) -> bool:
        until = self._clock() + seconds
        while self.alive(machine):
            if self._clock() >= until:
                return False
            self._sleep(0.1)
        return True


def _record(spec: AttemptSpec) -> Path:
    return state.of_attempt("local", spec.store, spec.run, spec.attempt).with_suffix(".json")


def _remember(spec: AttemptSpec, pid: int, born: int | None) -> None:
    """Write down here which process it is, for `end`."""
    path = _record(spec)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    atomic_file.write(path, json.dumps([pid, born]).encode(), 0o600)


def _remembered(spec: AttemptSpec) -> object:
    try:
        return json.loads(_record(spec).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _open_private(log: Path) -> int:
    """A handle that appends to a file which only its owner reads: it may show settings."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadInput(
            f"cannot write the worker's output to {log}: {error.strerror}; "
            "set XDG_STATE_HOME to a folder that can be written to"
        ) from error


def _environment(spec: AttemptSpec) -> dict[str, str]:
    root = Path(mimir.__file__).resolve().parents[1]
    # A checkout that is not installed is found from any folder. What is installed is found
    # anyway, and site-packages must not come before the standard library.
    own = "" if root.name in ("site-packages", "dist-packages") else str(root)
    path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
    mine = dict(os.environ)
    if "AWS_ACCESS_KEY_ID" in spec.env:
        mine.pop("MIMIR_CREDENTIALS_FILE", None)  # else it would count before the order's keys
    mine |= cards.only(spec.card, os.environ)
    return {**mine, **({"PYTHONPATH": path} if path else {}), **spec.env}


def _process(pid: int) -> tuple[str, int] | None:
    """(state letter, start time in clock ticks since boot); None if there is none, or no /proc."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may hold anything.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def _signal(pid: int, number: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise NotGone(f"process {pid} belongs to another user: end it as that user") from error
    return True
