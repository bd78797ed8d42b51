"""The container engine of this computer: the image, with the contract of a rented machine.

A container has a name made of run and attempt and labels that say whose it is, so that it is
found again after its launcher has died. What it may reach is what it needs: of a file store the
folder of its run is bound, what it only reads there read-only, and then there is no network. Keys
lie in a file that only their owner reads, neither in arguments nor in what the engine shows.
"""

import ipaddress
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from launch.contract import deadlines, state
from launch.contract.cloud import machine_name
from launch.contract.errors import NoCapacity, NotGone, ProviderError, UnknownOutcome
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec, Caps, Check, Machine
from launch.contract.redaction import Secrets
from launch.payload import bootstrap, code_in_store, credentials
from launch.providers.docker import mounts
from launch.providers.docker.cli import PULL, Engine, Refused
from mimir.errors import BadInput
from mimir.runs import cards
from mimir.runs.s3_url import parse_url
from mimir.runs.store import open_store

OWN_IMAGE = "mimir:latest"
"""What `make image` makes. $MIMIR_IMAGE or --image names another."""
COMPILED = "/var/cache/mimir"
"""Where a container finds what earlier ones have compiled on this computer's GPU."""
KEYS = "/run/mimir"
"""Where the folder with the keys is in the container. The folder, for the file is replaced."""
_KEYS = credentials.VARIABLES
_TITLE = "org.opencontainers.image.title"
_OVER = ("created", "configured", "initialized", "exited", "stopped", "removing", "dead")
"""States, by Docker's and Podman's names, in which nothing runs in a container."""
_CONFINED = (
    "--read-only", "--tmpfs", "/tmp:rw,exec,mode=1777", "--cap-drop", "ALL",
    "--security-opt", "no-new-privileges", "--pids-limit", "1024",
    "--log-opt", "max-size=10m", "--log-opt", "max-file=2",
)  # fmt: skip


class DockerProvider:
    """Runs attempts as containers on the local engine; a Provider.

    Args:
        engine: talks to Docker or Podman.
        has_gpu: whether this computer has an NVIDIA GPU that containers shall see.
    """

    name = "docker"
    caps = Caps(paid=False, image=True, cards=True, hosts={"": "this computer"})

    def __init__(
        self,
        engine: Engine | None = None,
        *,
        has_gpu: Callable[[], bool] = lambda: shutil.which("nvidia-smi") is not None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine or Engine()
        self._has_gpu = has_gpu
        self._clock = clock
        self._secrets = Secrets()

    def choices(self, gpus: tuple[str, ...]) -> Sequence[Offer | None]:
        return (None,)

    def checks(self) -> list[Check]:
        found = shutil.which("docker") or shutil.which("podman")
        if found is None:
            missing = "no docker or podman: --provider docker cannot be used"
            return [Check("engine", "warn", missing)]
        try:
            self.must_work()
        except BadInput as error:
            return [Check("engine", "warn", str(error))]
        return [Check("engine", "ok", found)]

    def must_work(self) -> None:
        try:
            self._engine.ask("ps", "--quiet")
        except ProviderError as error:
            raise BadInput(f"the container engine cannot be used: {error}") from error

    def start(self, spec: AttemptSpec) -> Machine:
        self._secrets.learn_environment(spec.env)
        with self._secrets.guard():
            return self._start(spec)

    def _start(self, spec: AttemptSpec) -> Machine:
        image = spec.image or os.environ.get("MIMIR_IMAGE") or OWN_IMAGE
        found = self._find(spec)
        if found is None:
            self._end_older(spec)
            command = self._command_with_folders(spec, image)
            try:
                plain = {name: text for name, text in spec.env.items() if name not in _KEYS}
                self._engine.ask("create", *command, environ=plain)
            except (Refused, NoCapacity):
                self._forget(spec)
                raise
            found = self._find(spec)
            if found is None:
                raise UnknownOutcome(f"container {_name(spec)} was made and cannot be found")
        if found["State"]["Status"] == "created":
            try:
                self._engine.ask("start", found["Id"])
            except (Refused, NoCapacity):
                # Such as a GPU that cannot be given: known only when it starts.
                self._engine.ask("rm", "--force", found["Id"])
                self._forget(spec)
                raise
        return Machine(
            self.name, self._clock(), str(found["Id"]), _name(spec), host=platform.node(),
            image=image, deadline=spec.deadline,
            details={"image_id": str(found["Image"])},
        )  # fmt: skip

    def alive(self, machine: Machine) -> bool | None:
        if machine.host != platform.node():
            return None
        try:
            found = self._engine.inspect("container", machine.id)
        except (BadInput, ProviderError):
            return None
        return found is not None and _lives(found)

    def end(self, spec: AttemptSpec, machine: Machine) -> None:
        name = _name(spec)
        if machine.host != platform.node():
            raise NotGone(
                f"container {name} is on {machine.host}, which cannot be reached from "
                f"here: end it there (`docker stop {name}`)"
            )
        try:
            with self._secrets.guard():
                self._end(spec, machine.id)
        except (BadInput, UnknownOutcome) as error:
            raise NotGone(f"container {name} cannot be ended: {error}") from error
        self._forget(spec)

    def _end(self, spec: AttemptSpec, recorded: str) -> None:
        """Remove the attempt's container; NotGone if another one is on record and is there."""
        found = self._engine.inspect("container", _name(spec))
        if found is not None and _label(found, "mimir.store") == spec.store:
            self._remove(str(found["Id"]))
        other = self._engine.inspect("container", recorded) if recorded else None
        if other is not None:
            its = str(other.get("Name") or recorded).removeprefix("/")
            raise NotGone(
                f"container {recorded[:12]} is {its}, and not {_name(spec)} of store {spec.store}: "
                f"it is not ended; if it is this run's, end it by `docker rm --force {its}`"
            )

    def output(self, machine: Machine, lines: int) -> list[str]:
        try:
            text = self._engine.ask("logs", "--tail", str(lines), machine.id)
        except (BadInput, ProviderError):
            return []
        return self._secrets.clean(text).splitlines()

    def _find(self, spec: AttemptSpec) -> dict[str, Any] | None:
        """The container of this attempt, made by an order that was cut off."""
        found = self._engine.inspect("container", _name(spec))
        if found is None or _label(found, "mimir.store") == spec.store:
            return found
        raise BadInput(
            f"there is a container {_name(spec)} of a run in another store "
            f"({_label(found, 'mimir.store')}): choose another --name, or remove it"
        )

    def _end_older(self, spec: AttemptSpec) -> None:
        """End this run's containers of older attempts: HEAD has fenced them off already."""
        listed = self._engine.ask(
            "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label=mimir.run={spec.run}",
            "--filter", f"label=mimir.store={spec.store}",
        )  # fmt: skip
        for number in listed.split():
            self._remove(number)
        keys = state.of_run("keys", spec.store, spec.run)
        for folder in keys.parent.glob(f"{keys.name}-a*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _remove(self, number: str) -> None:
        try:
            grace = deadlines.CONTAINER_GRACE
            self._engine.ask("stop", "--time", str(grace), number, timeout=grace + 60)
            self._engine.ask("rm", "--force", number)
        except Refused as error:
            if not error.missing:
                raise NotGone(f"container {number[:12]} cannot be ended: {error}") from error
        if self._engine.inspect("container", number) is not None:
            raise NotGone(f"container {number[:12]} is still there: look at it by `docker ps -a`")

    def _command_with_folders(self, spec: AttemptSpec, image: str) -> list[str]:
        """As `_command`; BadInput for a folder or file that cannot be read or made."""
        try:
            return self._command(spec, image)
        except OSError as error:
            self._forget(spec)
            which = f"{error.filename} ({error.strerror})" if error.filename else str(error)
            raise BadInput(
                f"no container can be made for {spec.run}, because a folder that it sees cannot "
                f"be used here: {which}; let this user read and write it, then order again"
            ) from error

    def _command(self, spec: AttemptSpec, image: str) -> list[str]:
        """What follows `docker create`."""
        ours = self._is_ours(image)
        words = [
            "--name", _name(spec), "--label", f"mimir.run={spec.run}",
            "--label", f"mimir.attempt={spec.attempt}", "--label", f"mimir.store={spec.store}",
            "--stop-timeout", str(deadlines.CONTAINER_GRACE), *_CONFINED, *self._user(),
        ]  # fmt: skip
        environ = {"MIMIR_STATE_DIR": "/tmp/mimir", "HOME": "/tmp", "USER": "mimir"}
        if self._has_gpu():
            one = None if spec.card is None else cards.visible(spec.card, os.environ)
            words += ["--gpus", "all" if one is None else f"device={one}"]
            words += mounts.bound(
                mounts.compiled(image, self._engine.inspect("image", image)), COMPILED
            )
            environ["MIMIR_COMPILED"] = COMPILED
        if spec.store.startswith("s3://"):
            self._hand_over_keys(spec)
            words += mounts.bound(_folder(spec), KEYS, "readonly")
            environ["MIMIR_CREDENTIALS_FILE"] = f"{KEYS}/keys.json"
            # A server on this computer's own loopback is not to be seen from a bridge.
            words += ["--network", "host"] if _is_loopback(spec.store) else []
        else:
            words += mounts.of_run(spec)
            words += ["--network", "none"] if ours else []
        if not ours:
            environ |= self._code(spec)
        for name, value in environ.items():
            words += ["--env", f"{name}={value}"]
        for name in spec.env:
            # By name alone: the value is taken from the engine's own environment, not argv.
            words += ["--env", name] if name not in _KEYS else []
        limit = _limit(spec)
        if ours:
            command = [*limit, "mimir-entrypoint", "worker", *spec.worker_options()]
            return [*words, "--entrypoint", "tini", image, "--", *command]
        text = Path(bootstrap.__file__).read_text(encoding="utf-8")
        command = [*limit, "python3", "-c", text, *spec.worker_options()]
        return [*words, "--init", "--entrypoint", command[0], image, *command[1:]]

    def _is_ours(self, image: str) -> bool:
        found = self._engine.inspect("image", image)
        if found is None:
            try:
                self._engine.ask("pull", "--quiet", image, timeout=PULL)
            except Refused as error:
                raise BadInput(
                    f"there is no image {image} here and it cannot be pulled ({error}): make it "
                    "by `make image`, or name one that has Python and torch by --image"
                ) from error
            found = self._engine.inspect("image", image)
        return _label(found or {}, _TITLE) == "mimir"

    def _user(self) -> list[str]:
        """As who submits, so that what a file store gets belongs to them."""
        told = self._engine.ask("info", "--format", "{{json .}}")
        # There, the container's root is who submits, and anyone else is nobody.
        if '"name=rootless"' in told or '"rootless":true' in told:
            return ["--user", "0:0"]
        return ["--user", f"{os.getuid()}:{os.getgid()}"]

    def _hand_over_keys(self, spec: AttemptSpec) -> None:
        folder = _folder(spec)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _credentials(spec).to_file(folder / "keys.json")

    def _code(self, spec: AttemptSpec) -> dict[str, str]:
        """The variables that name the run's code, which lies in what is mounted."""
        store = open_store(spec.store)
        stored = code_in_store.of_run(store, spec.run)
        named = {"MIMIR_STORE": spec.store, "MIMIR_CODE": stored.key}
        if spec.store.startswith("s3://"):
            content = store.get(stored.key, size=stored.size, sha256=stored.sha256)
            (_folder(spec) / "mimir.whl").write_bytes(content)
            named["MIMIR_CODE_URL"] = f"file://{KEYS}/mimir.whl"
        return {**named, "MIMIR_CODE_SHA256": stored.sha256}

    def _forget(self, spec: AttemptSpec) -> None:
        shutil.rmtree(_folder(spec), ignore_errors=True)


def _credentials(spec: AttemptSpec) -> credentials.Credentials:
    """The order's, else a copy of this computer's own, which go no further than to itself."""
    if spec.env.get("AWS_ACCESS_KEY_ID"):
        return credentials.of_environment(spec.env)
    return credentials.mint(spec.store, spec.run, spec.attempt, 0.0, credentials.StaticKeys())


def _limit(spec: AttemptSpec) -> list[str]:
    """A deadline outside of Python.

    --foreground: else `timeout` signals the training process as well as the worker, and a
    second signal would kill it before its last checkpoint.
    """
    if not spec.deadline:
        return []
    left = spec.deadline - open_store(spec.store).now()
    seconds = max(60.0, left + deadlines.SHELL_OVERTIME)
    return ["timeout", "--foreground", f"--kill-after={deadlines.KILL_AFTER}", f"{seconds:.0f}"]


def _name(spec: AttemptSpec) -> str:
    return machine_name(spec.run, spec.attempt)


def _folder(spec: AttemptSpec) -> Path:
    return state.of_attempt("keys", spec.store, spec.run, spec.attempt)


def _label(found: Mapping[str, Any], name: str) -> str:
    return str(((found.get("Config") or {}).get("Labels") or {}).get(name) or "")


def _lives(found: Mapping[str, Any]) -> bool:
    """Also in a state of a name that is not known here: only a known one says that it is over."""
    return found["State"]["Status"] not in _OVER


def _is_loopback(store: str) -> bool:
    host = urlsplit(parse_url(store).endpoint).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
