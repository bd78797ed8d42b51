"""The worker in an image, on a node: by Apptainer, or by Charliecloud where there is none.

An image needs Python 3.11 and torch. Mimir itself is the run's code from its store, by its digest
(payload/bootstrap), as in a container of a rented machine. Slurm's commands stay outside.

Neither program makes an image's file system writable, and only Apptainer makes folders in it to
bind others to. So everything is bound below a private folder in /tmp, which both have from the
node. Of the job's environment the image gets what is named here, and nothing else:

- Apptainer by --cleanenv and APPTAINERENV_NAME, which no other user of the node can read;
- ch-run, which would pass on all of its own, by a file that only its user can read.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.contract.provider import AttemptSpec
from launch.payload import bootstrap, code_in_store, run_folders
from launch.providers.slurm import environment
from launch.providers.slurm.commands import user
from mimir.connections import CA_FILES
from mimir.errors import BadInput
from mimir.runs.store import Store

APPTAINER = ("apptainer", "singularity")
"""Its names, the newer first."""
CHARLIECLOUD = "ch-run"
_PATH = ":".join(("/opt/venv/bin", "/opt/conda/bin", "/usr/local/bin", "/usr/bin", "/bin"))
"""Where python3 is looked for by ch-run, in an image that does not say it (ch/environment)."""
_CARDS = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""What Slurm tells of the job's GPUs."""
_KEYS = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "MIMIR_CREDENTIALS_FILE")
_OF_THE_NODE = (
    "PATH", "HOME", "SHELL", "LD_LIBRARY_PATH", "PYTHONPATH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME",
    "XDG_STATE_HOME", "XDG_DATA_HOME", *_KEYS, *CA_FILES,
)  # fmt: skip
"""What means nothing in an image. Files that are named among it are bound, and named anew."""


@dataclass(frozen=True)
class Runtime:
    """What starts an image here. name: as its command is called; program: where it is."""

    name: str
    program: str
    image: Path

    @property
    def is_parent(self) -> bool:
        """Whether the command stays beside the worker: ch-run serves a .sqfs file's content to it,
        and would die of the signal that is meant for the worker."""
        return self.name == CHARLIECLOUD and not self.image.is_dir()


@dataclass(frozen=True)
class Prepared:
    """How a worker is started in an image. environ: of the runtime's command."""

    runtime: Runtime
    words: Sequence[str]
    environ: Mapping[str, str]
    folder: Path

    def start(self, out: int | None = None) -> "subprocess.Popen[bytes]":
        """out: where its output and errors go, as for Popen (default: where this process's do)."""
        return subprocess.Popen(
            self.words, env=dict(self.environ), cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=out, stderr=None if out is None else subprocess.STDOUT,
        )  # fmt: skip


def find(image: str, node: str, which: Callable[[str], str | None] = shutil.which) -> Runtime:
    """What starts this image on this node.

    Raises:
        BadInput: the node does not see the image, or has nothing that starts it.
    """
    path = Path(image)
    if not os.path.exists(path):
        raise BadInput(
            f"node {node} does not see the image {image}: put it into a folder that the nodes share"
        )
    for name in APPTAINER:
        if program := which(name):
            return Runtime(name, program, path)
    program = which(CHARLIECLOUD)
    if program is None:
        raise BadInput(
            f"node {node} has neither Apptainer nor Charliecloud to start the image {image}: load "
            "its module before you submit (a job gets your PATH), or leave --image out"
        )
    if not path.is_dir() and path.suffix != ".sqfs":
        raise BadInput(
            f"node {node} has Charliecloud and no Apptainer, and Charliecloud starts a folder or a "
            f".sqfs file, and not {path.name}: make one of them from the same image (ch-convert)"
        )
    return Runtime(CHARLIECLOUD, program, path)


@contextlib.contextmanager
def prepared(
    runtime: Runtime, store: Store, spec: AttemptSpec, say: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Prepared]:  # fmt: skip
    """The attempt's worker in this image. The folder that it is given is removed at the end.

    spec: with the store's own URL, and the run's sweep.

    Raises:
        BadInput: a path that cannot be bound.
        StoreError: the code cannot be put into the store.
    """
    folder = Path(tempfile.mkdtemp(prefix="mimir-", dir="/tmp"))
    try:
        binds = _Binds(folder)
        inside = _named(environ) | {"HOME": str(binds.folder("home")),
                                    "TMPDIR": str(binds.folder("tmp"))}  # fmt: skip
        url = spec.store
        if url.startswith("file:"):
            root = binds.folder("store")
            url = root.as_uri()
            parts = run_folders.of_run(spec.store, spec.run, spec.sweep)
            above = parts[0][0].parent
            for path, read_only in parts:
                binds.add(path, root / path.relative_to(above), read_only)
        else:
            binds.add_if_there(Path(environ.get("HOME", "/nonexistent")) / ".aws", "home/.aws")
            for name in _KEYS:
                inside |= binds.of_variable(name, environ)
        for name in CA_FILES:
            inside |= binds.of_variable(name, environ)
        try:
            kept = run_folders.compiled(str(runtime.image))
            inside["MIMIR_COMPILED"] = str(binds.add(kept, folder / "compiled"))
        except OSError as error:
            say(f"what is compiled is not kept for later attempts: {error}")
        stored = code_in_store.of_run(store, spec.run)
        inside |= {"MIMIR_STORE": url, "MIMIR_CODE": stored.key,
                   "MIMIR_CODE_SHA256": stored.sha256}  # fmt: skip
        inside |= code_in_store.link(store, stored)
        options = AttemptSpec(
            url, spec.run, spec.attempt, spec.deadline, record=spec.record
        ).worker_options()
        text = Path(bootstrap.__file__).read_text(encoding="utf-8")
        command = ("python3", "-c", text, *options)
        by = _by_charliecloud if runtime.name == CHARLIECLOUD else _by_apptainer
        words, around = by(runtime, binds, inside, environ)
        yield Prepared(runtime, (*words, *command), around, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def terminate(child: "subprocess.Popen[bytes]", runtime: Runtime | None) -> None:
    """Ask the worker to end. Apptainer passes the signal on."""
    if runtime is not None and runtime.is_parent:
        children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
        with contextlib.suppress(OSError):
            if numbers := children.read_text().split():
                for number in numbers:
                    os.kill(int(number), signal.SIGTERM)
                return
    child.terminate()


class _Binds:
    """Paths of the node, and where in the private folder the image sees them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.list: list[tuple[Path, Path, bool]] = []

    def folder(self, name: str) -> Path:
        """A folder of its own in there."""
        made = self._folder / name
        made.mkdir(parents=True)
        return made

    def add(self, path: Path, to: Path, read_only: bool = False) -> Path:
        """Bind this path; where to. BadInput for one that the command lines would misread."""
        if set(":,") & set(str(path)):
            raise BadInput(
                f"{path} holds a colon or a comma and cannot be bound into an image: move it"
            )
        if not any(to.is_relative_to(other) for _, other, _ in self.list):
            # Else it lies in what is bound before it, where it is already.
            (to if path.is_dir() else to.parent).mkdir(parents=True, exist_ok=True)
            if not path.is_dir():
                to.touch()
        self.list.append((path, to, read_only))
        return to

    def add_if_there(self, path: Path, name: str) -> None:
        if path.is_dir():
            self.add(path, self._folder / name, True)

    def of_variable(self, name: str, environ: Mapping[str, str]) -> dict[str, str]:
        """The variable for inside, if the file or folder that it names is there."""
        path = Path(environ.get(name) or "/nonexistent")
        if not path.exists():
            return {}
        return {name: str(self.add(path, self._folder / "files" / name, True))}


def _named(environ: Mapping[str, str]) -> dict[str, str]:
    of_job = environment.of_job(environ)
    found = {name: value for name, value in of_job.items() if name not in _OF_THE_NODE}
    found |= {name: environ[name] for name in _CARDS if environ.get(name)}
    return {"USER": user(), **found}


def _by_apptainer(
    runtime: Runtime, binds: _Binds, inside: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    prefix = f"{runtime.name.upper()}ENV_"
    # HOME cannot be set by a variable.
    given = {f"{prefix}{name}": value for name, value in inside.items() if name != "HOME"}
    words = [runtime.program, "exec", "--nv", "--cleanenv", "--home", inside["HOME"]]
    words += ["--bind", str(Path(inside["HOME"]).parent)]
    for path, to, read_only in binds.list:
        words += ["--bind", f"{path}:{to}:{'ro' if read_only else 'rw'}"]
    return [*words, str(runtime.image)], {**environ, **given}


def _by_charliecloud(
    runtime: Runtime, binds: _Binds, inside: Mapping[str, str], environ: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    own = Path(inside["HOME"]).parent / "environment"
    own.touch(mode=0o600)
    own.write_text("".join(f"{name}={value}\n" for name, value in inside.items()))
    words = [runtime.program, "--env-no-expand"]
    if (runtime.image / "ch" / "environment").is_file():
        words.append("--set-env")
    words.append(f"--set-env={own}")
    for path, to, read_only in binds.list:
        if not read_only or not _within_bound(binds, to):
            words.append(f"--bind={path}:{to}")
    return [*words, str(runtime.image), "--"], {"PATH": _PATH, "USER": inside["USER"]}


def _within_bound(binds: _Binds, to: Path) -> bool:
    """Whether it lies in another: ch-run cannot bind to be read alone, and it is seen anyway."""
    return any(to != other and to.is_relative_to(other) for _, other, _ in binds.list)
