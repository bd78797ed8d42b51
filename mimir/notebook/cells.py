"""The functions that the cells of notebooks/train_colab.ipynb call.

A notebook is one more machine: it raises an attempt of the run and works on it by the same
worker as any other, and whoever takes the run over fences it off. Its kernel imports no torch,
so that all of the GPU is the training process's.
"""

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mimir import settings_input, text
from mimir.config import Config, load_preset
from mimir.errors import BAD_CONFIG, DONE, BadInput, Interrupted
from mimir.notebook import shown
from mimir.notebook.copier import Copier
from mimir.notebook.drive import Folder
from mimir.notebook.live import Board, CellScreen, Screen
from mimir.runs import layout, machine, notes, orders
from mimir.runs.begin import raise_attempt
from mimir.runs.collect import try_collect
from mimir.runs.content import sha256
from mimir.runs.machine import Machine
from mimir.runs.record import RunRecord, read_run
from mimir.runs.status import Status, derive, read_head, seal_if_done
from mimir.runs.store import Store, open_store
from mimir.submission import enter, prepare

PROVIDER = "notebook"
"""In machine.json. No provider of the launcher's, which could not end or ask a notebook."""
CELL_POLL = 0.5
TAKE_OVER_TIMEOUT = 60.0
"""Seconds to wait until the earlier attempt is seen to be gone; a killed kernel's commits first."""
LOOK_FOR = 20.0
"""Seconds for which a heartbeat is watched, however old it is, before its attempt is replaced."""
BEGIN_HERE = 120.0
"""Seconds that an attempt in a notebook may take to give its first sign."""
SESSION_ONLY = ("forecast",)
"""What a run that is resumed can do without: a session that is long enough for all of it."""


@dataclass(frozen=True)
class Session:
    """A run and the place that this notebook works on it from.

    options: further settings as on the command line, such as "--epochs 2 --lr 3e-4". folder:
    for files of this session. keep: a folder on Drive, to which each commit is copied; None: none.
    Raises BadInput for what is wrong in the form.
    """

    store: str
    run: str
    preset: str
    options: str = ""
    folder: Path = Path("mimir-session")
    keep: Path | None = None

    def __post_init__(self) -> None:
        layout.check_run(self.run)
        self.config()
        self.folder.mkdir(parents=True, exist_ok=True)

    def opened(self) -> Store:
        """The store."""
        return open_store(self.store)

    def config(self) -> Config:
        """What the form asks for."""
        return load_preset(self.preset).with_settings(self.settings())

    def settings(self) -> dict[str, Any]:
        """The options by name."""
        try:
            parts = shlex.split(self.options)
        except ValueError as error:
            raise BadInput(f"options are {self.options!r}, which cannot be read: {error}") from None
        words = [word for part in parts for word in part.split("=", 1)]
        names = words[::2]
        if len(set(names)) < len(names):
            raise BadInput(f"options are {self.options!r}, where one is given twice")
        if len(words) % 2 or any(not name.startswith("--") for name in words[::2]):
            raise BadInput(
                f"options are {self.options!r}, but must be pairs such as --epochs 2 --lr 3e-4"
            )
        return {
            name.removeprefix("--"): settings_input.read(value, name)
            for name, value in zip(words[::2], words[1::2], strict=True)
        }

    def status(self) -> Status | None:
        """What has become of the run; None if it is not in the store yet.

        Raises:
            BadInput: the run is there with other settings than the form's.
        """
        store = self.opened()
        if store.read(layout.record_key(self.run)) is None:
            return None
        known = Config.from_dict(read_run(store, self.run).config)
        if known.sha256() != self.config().sha256():
            raise BadInput(
                f"run {self.run} is in {store.url} with other settings (preset {known.preset}): "
                "choose another run_name, or the settings that it has"
            )
        return derive(store, self.run, store.now())

    def fetch(self, key: str) -> Path:
        """An object of the store as a file: what a person has named, however large."""
        path = self.folder / Path(key).name
        name = key if len(key) <= 60 else f"…{key[-40:]}"  # those of data bear a digest
        with shown.counting(f"Fetching {name}") as more:
            content = self.opened().get(key, limit=sys.maxsize, progress=more)
        path.write_bytes(content)
        return path

    def on_drive(self) -> Folder | None:
        """Where the run's commits are copied to; None if they are not."""
        return Folder(self.keep / self.run, self.run, self.folder) if self.keep else None


def begin(session: Session, data: str, code: Path | None) -> RunRecord:
    """The run in the store: as it is there, or created with this data and code."""
    store, folder = session.opened(), session.on_drive()
    if session.status() is not None:
        record = read_run(store, session.run)
    else:
        print("Preparing the data, and creating the run in the store", flush=True)
        job = prepare(session.preset, session.settings(), data)
        record = enter(store, session.run, job, code)
    if folder and code and record.code and sha256(code)[0] == record.code.sha256:
        folder.keep_code(code)
    return record


def data_of(session: Session, data: str) -> str:
    """The data of a run that is in the store, as a file; of a new run that which is named."""
    store = session.opened()
    if store.read(layout.record_key(session.run)) is None:
        return data
    stored = read_run(store, session.run).data
    return str(session.fetch(stored.key)) if stored else data


def check(session: Session, data: str, hours: float) -> dict[str, Any] | None:
    """The preflight's report, its table printed; None, saying so, if the run trains already.

    Raises:
        BadInput: the machine does not suit the preset. That a session is too short is only
            said: the run goes on in the next one.
    """
    status = session.status()
    if status is not None and status.kept:
        print(
            f"Run {session.run} has a checkpoint of step {status.committed_step:,}: "
            "what works has been seen"
        )
        return None
    out = session.folder / "preflight.json"
    out.unlink(missing_ok=True)
    words = ["--preset", session.preset, "--limit-hours", str(hours), "--out", str(out)]
    words += ["--data", data] if data else []
    done = shown.command(
        "mimir", "preflight", *words, *shlex.split(session.options), what="The preflight"
    )
    if not out.is_file():
        raise BadInput(f"the preflight could not be made: {done.last}")
    print(done.out)
    report: dict[str, Any] = json.loads(out.read_text())
    failed = [c for c in report["checks"] if c["status"] == "fail"]
    blocking = [c for c in failed if c["name"] not in SESSION_ONLY]
    if blocking:
        raise BadInput(f"this machine fails on {blocking[0]['name']}: {blocking[0]['seen']}")
    if failed:
        print("That is no obstacle: after each session, Run all goes on from the last checkpoint.")
    return report


def train(session: Session, *, take_over: bool = False, screen: Screen | None = None) -> Status:
    """Train until the run is done; at once if it is. Its curve is shown while it trains.

    A keyboard interrupt (the cell's stop button) commits a checkpoint first.

    Args:
        take_over: also if another machine works on it, or if it has failed.

    Raises:
        Interrupted: it is not done, but what is committed is there to go on from.
        BadInput: it cannot be begun; another machine works on it.
    """
    store = session.opened()
    status = derive(store, session.run, store.now())
    if status.state == "done":
        print(f"Run {session.run} is done at step {status.step:,}: nothing is left to train")
        _copy_last(session, store)
        return status
    if status.state == "failed":
        _copy_last(session, store)
    if not take_over:
        _must_be_free(session, store, status)
    attempt = raise_attempt(store, session.run, orders.by_hand(PROVIDER, store.now()))
    if status.committed_step:
        print(f"Going on from step {status.committed_step:,}, as attempt {attempt}")
    board = Board(store, read_run(store, session.run), attempt, screen or CellScreen())
    folder = session.on_drive()
    copier = Copier(folder, store, board.note) if folder else None
    child = _start(session, store, attempt)
    with copier or contextlib.nullcontext():
        reader = threading.Thread(target=_read, args=(child.stdout, board), daemon=True)
        reader.start()
        try:
            _settle(session, store, attempt, child.pid, board)
            _follow(child, board, reader)
            status = derive(store, session.run, store.now())
            seal_if_done(store, status, status.at)
        except BaseException:
            child.terminate()  # a worker that nobody follows would still hold the GPU
            print("Waiting until the worker has committed and ended", flush=True)
            child.wait()
            raise
        finally:
            if copier:
                print("Copying the last commit to Drive", flush=True)
                print(copier.finish())
        board.refresh(now=True)
    if child.returncode == DONE:
        print(f"Run {session.run} is done at step {status.step:,}")
        return status
    last = text.one_line(board.last_line)
    words = f"run {session.run} ended at step {status.committed_step:,}: {last}"
    if child.returncode == BAD_CONFIG or status.state == "failed":
        raise BadInput(words)
    raise Interrupted(f"{words}; Run all goes on from there")


def _copy_last(session: Session, store: Store) -> None:
    """Copy a run's last commit to Drive, if it could not be when the run ended."""
    folder = session.on_drive()
    if folder is not None and not folder.holds(read_head(store, session.run)):
        print(Copier(folder, store, print).finish())


def _start(session: Session, store: Store, attempt: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            sys.executable, "-m", "mimir.worker.tethered", "--store", store.url,
            "--run", session.run, "--attempt", str(attempt), "--parent", str(os.getpid()),
        ],
        # Apart from the kernel's group, to which the stop button sends its signal.
        start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _settle(session: Session, store: Store, attempt: int, pid: int, board: Board) -> None:
    """Record this machine, and delete the checkpoints that older attempts abandoned."""
    this = Machine(
        PROVIDER, store.now(), host=platform.node(), pid=pid, gpu=os.environ.get("MIMIR_GPU", "")
    )
    notes.record_machine(store, session.run, attempt, this)
    try_collect(store, session.run, board.line)


def _follow(child: "subprocess.Popen[bytes]", board: Board, reader: threading.Thread) -> None:
    """Until the worker has ended; an interrupt is passed on to it once."""
    asked = False
    while child.poll() is None:
        try:
            board.refresh()
            time.sleep(CELL_POLL)
        except KeyboardInterrupt:
            print("Stopping: the last checkpoint is on its way")
            if not asked:
                asked = True
                child.terminate()
    reader.join(timeout=10)
    board.refresh(now=True)


def _read(pipe: IO[bytes], board: Board) -> None:
    with pipe:
        for line in pipe:
            board.line(line.decode(errors="replace").rstrip())


def _must_be_free(session: Session, store: Store, status: Status) -> None:
    """BadInput if somebody else works on the run, or it has failed."""
    wish = "tick take_over in the form to go on here anyway"
    if status.state == "failed":
        raise BadInput(
            f"run {session.run} has failed ({text.one_line(status.reason)}): choose another "
            f"run_name, or {wish}"
        )
    if status.state not in ("queued", "running") or not status.attempt:
        return
    number, began = status.attempt, time.monotonic()
    its = status.attempts[-1].machine
    here = its is not None and (its.provider, its.host) == (PROVIDER, platform.node())
    beats = set[str]()
    while status.attempt == number and status.state in ("queued", "running"):
        if here and not _works(its.pid if its else None, session.run):
            return
        beats |= {status.beat} if status.beat else set()
        waited = time.monotonic() - began
        still = status.silent and len(beats) == 1 and waited >= LOOK_FOR
        if not here and (still or _never_began(status, its)):
            return
        if (len(beats) > 1 and not here) or waited > TAKE_OVER_TIMEOUT:
            other = text.one_line(its.provider) if its else ""
            where = "another notebook of this machine" if here else other
            raise BadInput(
                f"run {session.run} is being trained by {where or 'another machine'} (attempt "
                f"{number}): let it, stop it by `python -m launch stop {session.run}`, or {wish}"
            )
        print(f"Waiting until attempt {number} is seen to be gone", end="\r")
        time.sleep(CELL_POLL)
        status = derive(store, session.run, store.now())


def _never_began(status: Status, its: Machine | None) -> bool:
    """Without a sign for longer than a machine takes to start."""
    limit = BEGIN_HERE if its is not None and its.provider == PROVIDER else machine.BEGIN_WITHIN
    return status.silent_s is None and status.at - (its.started if its else 0.0) > limit


def _works(pid: int | None, run: str) -> bool:
    """Whether that process of this machine is a worker of the run."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"mimir.worker.tethered" in words and run.encode() in words
