"""A virtual machine at a fake Lambda or AWS: processes of this computer, in a folder for a root.

cloud-init is imitated as far as our user data uses it: files are written, runcmd is run, the
host key goes to a real sshd if this computer has one. `docker` there talks to an engine (here)
over a socket, as the real one does, and its containers are Machines: real processes with an
environment, a disk and an output of their own.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socketserver
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from tests.clouds import vm_programs
from tests.clouds.machines import Machine

KNOWN = {
    "ssh_deletekeys", "ssh_keys", "ssh_authorized_keys", "bootcmd", "write_files", "runcmd"
}  # fmt: skip
_ABSOLUTE = re.compile(
    r"(?<![\w/.])/(var/lib/mimir|etc/systemd/system|var/log|dev/console|proc/uptime"
    r"|proc/sys/kernel/random/boot_id|run/mimir-began)\b"
)


class VirtualMachine:
    """What one order of a virtual machine starts.

    Args:
        runs: makes the argv that a container really starts of the one that was ordered.
        keys: public keys of the account that may log in.
        settings: variables that each container has without any order: where its service is.
        address: the loopback address of its sshd.
    """

    def __init__(
        self,
        user_data: str,
        folder: Path,
        runs: Callable[[Sequence[str], Mapping[str, str]], Sequence[str]],
        keys: Sequence[str],
        address: str,
        port: int,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.complaints: list[str] = []
        self.containers: dict[str, Machine] = {}
        self.calls: list[list[str]] = []
        """What `docker` was asked there."""
        self.has_gpu = True
        self.uptime = 20.0
        self.folder = folder
        self.root = folder / "root"
        self._runs, self._settings = runs, settings
        self._where = (address, port)
        self._sshd: subprocess.Popen[bytes] | None = None
        self._engine: _Engine | None = None
        value = self._checked(user_data)
        self.root.mkdir(parents=True)
        vm_programs.install(folder, self.root)
        self._write(value)
        self._init(value.get("bootcmd", []), value.get("runcmd", []))
        self._ssh(value, [*keys, *value.get("ssh_authorized_keys", [])])
        self._vm = Machine(
            ["sh", str(folder / "init")],
            {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(self.root)},
            folder / "vm",
            restarts=False,
        )

    @property
    def working(self) -> bool:
        """Whether the container's process is there."""
        return any(each.working for each in self.containers.values())

    def start(self) -> None:
        """ContainerSpec, for the first time or again."""
        (self.folder / "gpu").write_text("1" if self.has_gpu else "")
        self._boot()
        self._engine = _Engine(self)
        self._vm.start()
        if (self.folder / "host").exists() and vm_programs.SSHD:
            if os.getuid() == 0:
                Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd of root wants it
            with (self.folder / "sshd.log").open("ab") as log:
                self._sshd = subprocess.Popen(
                    [vm_programs.SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip

    def _boot(self) -> None:
        """Begin a new boot. Its uptime stands still where it is: as `uptime` says, in seconds."""
        (self.root / "run").mkdir(exist_ok=True)
        (self.root / "run/mimir-began").unlink(missing_ok=True)
        random = self.root / "proc/sys/kernel/random"
        random.mkdir(parents=True, exist_ok=True)
        (random / "boot_id").write_text(f"{uuid.uuid4()}\n")
        (self.root / "proc/uptime").write_text(f"{self.uptime:.2f} 0.00\n")

    def crash(self) -> None:
        """Kill the containers' processes; the machine itself stays."""
        for container in self.containers.values():
            container.crash()

    def stop(self, grace: float = 0.0) -> None:
        """The machine goes off, at once unless there is a grace for its containers."""
        if self._sshd is not None:
            # Its name overwrites its environment, so it is not found by a mark as others are.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._sshd.pid, signal.SIGKILL)
            self._sshd.wait()
            self._sshd = None
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._vm.stop()
        for container in self.containers.values():
            container.stop(grace)

    @property
    def turned_off(self) -> bool:
        """Whether something in it has asked for its end."""
        return (self.folder / "off").exists()

    def reboot(self) -> None:
        self.stop(grace=5.0)
        self.start()

    def destroy(self) -> None:
        """Off, and its disks with it; what its containers printed stays readable."""
        self.stop()
        self._vm.destroy()
        for container in self.containers.values():
            container.destroy()
        shutil.rmtree(self.root, ignore_errors=True)

    def output(self) -> list[str]:
        """The lines that its containers printed."""
        return [line for each in self.containers.values() for line in each.output()]

    def said(self) -> list[str]:
        """The lines that its own script and cloud-init printed."""
        logs = (self.root / "var/log/cloud-init-output.log", self.root / "var/lib/mimir/log")
        return [
            line for log in logs if log.exists() for line in log.read_text().splitlines()
        ] + self._vm.output()

    def console(self) -> list[str]:
        """What its console shows, and what its containers printed."""
        path = self.root / "dev/console"
        shown = path.read_text(errors="replace").splitlines() if path.exists() else []
        return shown or self.output()

    def create(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        """Make a container; its output goes to a file of its own."""
        self.containers[name] = Machine(
            self._runs(argv, env), {**env, **self._settings}, self.folder / f"container-{name}",
            restarts=False,
        )  # fmt: skip

    def _checked(self, user_data: str) -> dict[str, Any]:
        if not user_data.startswith("#cloud-config\n"):
            self.complaints.append("user data is not cloud-config: nothing is run")
            return {}
        try:
            value = yaml.safe_load(user_data)
        except yaml.YAMLError as error:
            self.complaints.append(f"user data cannot be read: {error}")
            return {}
        if not isinstance(value, dict) or set(value) - KNOWN:
            self.complaints.append("user data asks for what is not imitated")
            return {}
        return value

    def _inside(self, text: str) -> str:
        """With absolute paths of the machine as they are here."""
        return _ABSOLUTE.sub(lambda found: f"{self.root}/{found[1]}", text)

    def _write(self, value: Mapping[str, Any]) -> None:
        for each in value.get("write_files", []):
            path = Path(self._inside(each["path"]))
            if not path.is_relative_to(self.root):
                self.complaints.append(f"a file outside of what is imitated: {path}")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = each["path"].endswith("/env")
            path.write_text(each["content"] if whole else self._inside(each["content"]))
            path.chmod(int(each.get("permissions", "0644"), 8))

    def _init(self, bootcmd: Sequence[Any], runcmd: Sequence[Any]) -> None:
        first, lines = (
            [each if isinstance(each, str) else shlex.join(each) for each in commands]
            for commands in (bootcmd, runcmd)
        )
        for folder in ("var/log", "dev"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        log = self.root / "var/log/cloud-init-output.log"
        vm_programs.program(
            self.folder / "init",
            "#!/bin/sh\n"
            + self._inside("\n".join(first))
            + f"\nif [ -e {self.root}/booted ]; then systemctl boot; else\n"
            + f"touch {self.root}/booted\n{{\necho Cloud-init runs\n"
            + self._inside("\n".join(lines))
            + f"\n}} >{log} 2>&1\nfi\nexec sleep 1000000\n",
        )

    def _ssh(self, value: Mapping[str, Any], keys: Sequence[str]) -> None:
        (self.folder / "authorized_keys").write_text("".join(f"{key}\n" for key in keys))
        private = value.get("ssh_keys", {}).get("ed25519_private")
        if private:
            (self.folder / "host").write_text(private)
            (self.folder / "host").chmod(stat.S_IRUSR | stat.S_IWUSR)
        vm_programs.prepare_sshd(self.folder, self.root, *self._where)


class _Engine(socketserver.ThreadingUnixStreamServer):
    """Answers what `docker` asks. Only what our script and our looks use is known."""

    daemon_threads = True

    def __init__(self, vm: VirtualMachine) -> None:
        self.vm = vm
        self._halt = threading.Event()
        self._gate = threading.Lock()
        path = vm.folder / "engine"
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        with self._gate:  # what is asked for from now on is not started
            self._halt.set()
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def ask(self, words: list[str], env: str) -> tuple[int, str, str]:
        """(exit status, stdout, stderr)."""
        vm = self.vm
        vm.calls.append(words)
        verb, name = words[0], words[-1]
        if verb == "info":
            return 0, " Runtimes: io.containerd.runc.v2 nvidia runc\n", ""
        if verb == "pull":
            return 0, f"{name}\n", ""
        if verb == "create":
            return self._create(words, env)
        container = vm.containers.get(name)
        if container is None:
            return 1, "", f"Error: No such container: {name}\n"
        if verb == "start":
            with self._gate:
                if self._halt.is_set():
                    return 1, "", "the daemon goes away\n"
                if not container.working:
                    before = len(container.exits)
                    container.start()
                    while not container.working and len(container.exits) == before:
                        time.sleep(0.005)
        elif verb == "wait":
            while container.working or not container.exits:
                if self._halt.wait(0.02):
                    return 1, "", "the daemon went away\n"
            code = container.exits[-1]
            return 0, f"{code if code >= 0 else 128 - code}\n", ""
        elif verb == "stop":
            container.stop(float(words[words.index("--time") + 1]))
        elif verb == "kill":
            container.stop()
        elif verb == "logs":
            lines = container.output()[-int(words[words.index("--tail") + 1]) :]
            return 0, "".join(f"{line}\n" for line in lines), ""
        elif verb != "inspect":
            return 1, "", f"docker {verb} is not imitated\n"
        return 0, f"{name}\n", ""

    def _create(self, words: list[str], env: str) -> tuple[int, str, str]:
        taken: dict[str, str] = {}
        rest = words[1:]
        while rest and rest[0].startswith("--"):
            option, _, value = rest.pop(0).partition("=")
            taken[option] = value or rest.pop(0)
        name = taken.get("--name", "")
        if taken.get("--gpus") != "all" or not name or name in self.vm.containers:
            return 125, "", f"docker create refuses {words}\n"
        variables = dict(line.split("=", 1) for line in env.splitlines())
        self.vm.create(name, [taken["--entrypoint"], *rest[1:]], variables)
        return 0, f"{name}\n", ""


class _Handler(socketserver.StreamRequestHandler):
    server: _Engine

    def handle(self) -> None:
        told = json.loads(self.rfile.readline())
        code, out, err = self.server.ask(told["words"], told["env"])
        self.wfile.write(json.dumps({"code": code, "out": out, "err": err}).encode())
