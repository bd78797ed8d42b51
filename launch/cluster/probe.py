"""Asks a compute node, by a tiny job, whether it sees the installation, the logs and the store.

Two computers and one store: the login node leaves an object there, which the node must find and
replace by compare-and-swap; then a swap from here over the old version must be refused. What the
node found stands in the job's comment, because it may see no folder of ours.
"""

import contextlib
import os
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from launch.contract import state
from launch.contract.cloud import State
from launch.contract.errors import ProviderError
from launch.providers.slurm import environment, options
from launch.providers.slurm.commands import Commands
from launch.providers.slurm.provider import SlurmProvider
from launch.providers.slurm.states import Job
from mimir import cli
from mimir.errors import BadInput, Conflict, MimirError, StoreError, StoreUnfit
from mimir.runs import layout, probe
from mimir.runs.store import Store, open_store
from mimir.text import duration

RUN = "cluster-probe"
"""What is tried in the store is tried for a run of this name, under keys that no run has."""
SEEN_WITHIN = 30.0
"""Seconds until a node sees a file that was just made: file systems keep what they listed."""
WORKS_WITHIN = 300.0
"""Seconds that the job may take once it runs."""
SHORT = 300.0
"""Seconds of time limit that are enough, for who asks for more."""
PROGRAM = "launch.cluster.probe"
_SCRIPT = """\
#!/bin/sh
# Mimir: does this node see what its jobs need?
unset SLURM_EXPORT_ENV
tell() {{ scontrol update "JobId=$SLURM_JOB_ID" "Comment=$1" >/dev/null 2>&1; }}
if [ ! -x {python} ]; then
  tell {blind}
  exit 78
fi
said=$({command} 2>&1)
code=$?
tell "$(printf '%s\\n' "$said" | tail -n 1 | tr '|' ' ' | cut -c 1-700)"
exit $code
"""
_BLIND = (
    "the node does not see {python}: install where login node and nodes look into the same folder, "
    "by `mimir cluster setup LOGIN --path FOLDER`"
)
Say = Callable[[str], None]


class Prober:
    """Args:
    commands: Slurm's, of this login node.
    within: seconds that the job may wait in the queue.
    """

    def __init__(
        self, commands: Commands, say: Say, within: float,
        environ: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._commands, self._say, self._within = commands, say, within
        self._environ, self._sleep, self._clock = environ, sleep, clock

    def ask(self, url: str, slurm: str = "") -> str:
        """What a node says that sees all. url: of the store, "" for none. slurm: as for submit.

        Raises:
            BadInput: the options are wrong, the job will not start by itself, or the node does not
                see what it must see.
            ProviderError: Slurm does not answer, or the job has not begun in time.
            StoreError: of the store, as it is seen from here.
        """
        provider = SlurmProvider(self._commands, environ=self._environ)
        asked = options.parse(provider.settle(slurm))
        nonce = secrets.token_hex(6)
        folder = state.folder() / "slurm"
        sign = folder / f"probe-{nonce}"
        with contextlib.ExitStack() as left:
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                sign.write_text(nonce)
            except OSError as error:
                raise BadInput(f"{sign} cannot be written: {error.strerror}") from None
            left.callback(sign.unlink, missing_ok=True)
            store = version = None
            if url:
                store = open_store(url)
                version = store.put_if_absent(_key(nonce), nonce.encode())
                left.callback(_forget, store, nonce)
            short = asked.time is not None and asked.time > SHORT
            argv = [
                "sbatch", "--parsable", f"--job-name={RUN}-{nonce}", "--output=/dev/null",
                *asked.words, "--no-requeue", *(["--time=5"] if short else []),
            ]  # fmt: skip
            job = self._over(self._order(argv, _script(folder, nonce, url)), f"{RUN}-{nonce}")
            said = _said(job)
            if store is not None and version is not None:
                _must_be_one(store, nonce, version, job)
            return said

    def _order(self, argv: list[str], script: str) -> str:
        env = environment.of_job(self._environ)
        code, out, err = self._commands.ask(
            *argv, f"--export={','.join(sorted(env))}", text=script, env=env
        )
        number = out.strip().split(";")[0]
        if code != 0 or not number.isdigit():
            raise BadInput(f"Slurm refuses the job that probes: {self._commands.words(err or out)}")
        self._say(f"job {number} asks a node what it sees")
        return number

    def _over(self, number: str, name: str) -> Job:
        """The job once it has ended; it is cancelled if it does not begin or end in time."""
        began, limit, told = self._clock(), self._within, f"job {number}"
        seen = runs = False
        try:
            while self._clock() - began <= limit:
                try:
                    found = self._commands.jobs(name)
                except ProviderError as error:  # Slurm's silence is not the job's end
                    told = f"job {number}, of which Slurm tells nothing ({error}),"
                    self._sleep(1.0)
                    continue
                if found and found[-1].state is State.GONE:
                    return found[-1]
                if found and found[-1].said != told:
                    told = found[-1].said
                    self._say(told)
                if found and found[-1].stuck:
                    raise BadInput(f"{told}; it is cancelled")
                if not found and seen:
                    raise ProviderError(f"Slurm has forgotten job {number}: what it saw is lost")
                if found and found[-1].state is State.RUNNING and not runs:
                    began, limit, runs = self._clock(), WORKS_WITHIN, True
                seen = bool(found)
                self._sleep(1.0)
            raise ProviderError(
                f"{told} is not over after {duration(limit)}, and is cancelled: what the nodes see "
                "is not known; probe again with a longer --wait-minutes, or in a partition that is "
                "free"
            )
        except BaseException:
            with contextlib.suppress(MimirError):
                self._commands.ask("scancel", number)
            raise


def _script(folder: Path, nonce: str, url: str) -> str:
    words = [sys.executable, "-m", PROGRAM, "--folder", str(folder), "--nonce", nonce]
    python = shlex.quote(sys.executable)
    blind = shlex.quote(_BLIND.format(python=sys.executable))
    more = ["--store", url] if url else []
    return _SCRIPT.format(python=python, blind=blind, command=shlex.join([*words, *more]))


def _said(job: Job) -> str:
    """The node's sentence; BadInput if it is a complaint."""
    said = job.comment.removeprefix(f"python -m {PROGRAM}: ")
    if job.word.startswith("COMPLETED"):
        return said or f"job {job.id} ended well on {job.node}"
    why = said or "and left no word: its log may be nowhere, or the node's Python does not start"
    raise BadInput(f"job {job.id} on {job.node or 'no node'} ended as {job.word.lower()}: {why}")


def _must_be_one(store: Store, nonce: str, old: str, job: Job) -> None:
    """What the node has swapped in must be seen here, and the old version be no more."""
    found = store.read(_key(nonce))
    if found is None or found.data != _answer(nonce):
        raise StoreUnfit(
            f"what node {job.node} wrote into {store.url} is not seen here: it is another folder "
            "there, or its file system shows writes late; choose one that all nodes share"
        )
    try:
        store.compare_and_swap(_key(nonce), b"stale", old)
    except Conflict:
        return
    raise StoreUnfit(
        f"{store.url} took a write over what node {job.node} had written: two machines could both "
        "believe that they own a run; choose another file system, or a bucket"
    )


def _key(nonce: str) -> str:
    return layout.probe_key(RUN, nonce)


def _answer(nonce: str) -> bytes:
    return f"{nonce} seen".encode()


def _forget(store: Store, nonce: str) -> None:
    with contextlib.suppress(StoreError):
        store.delete(_key(nonce))


def see(*, folder: str, nonce: str, store: str = "") -> int:
    """Look from a node, in the job that probes.

    Args:
        folder: where the login node has left a file.
        nonce: in the names of what it left.
        store: in which it left an object; empty: none.

    Example:
        python -m launch.cluster.probe --folder /home/me/.local/state/mimir/slurm --nonce 1f
    """
    node = os.environ.get("SLURMD_NODENAME", "this node")
    if not _until(lambda: (Path(folder) / f"probe-{nonce}").exists()):
        raise BadInput(
            f"node {node} does not see {folder}, where the jobs' logs are: set XDG_STATE_HOME to a "
            "folder that the nodes see too"
        )
    if not store:
        print(f"node {node} sees the installation and the logs; no store was asked for")
        return 0

    def unreached(why: object) -> NoReturn:
        raise BadInput(
            f"node {node} does not reach the store {store} ({why}): choose a folder that the nodes "
            "share, or an s3:// store that they reach"
        )

    try:
        opened = open_store(store)
        if not _until(lambda: opened.read(_key(nonce)) is not None):
            unreached("what the login node wrote is not there")
        probe.conditions(opened, RUN)
        found = opened.read(_key(nonce))
        if found is None or found.data != nonce.encode():
            unreached("another object is there than the login node wrote")
        opened.compare_and_swap(_key(nonce), _answer(nonce), found.version)
    except (StoreError, OSError) as error:
        unreached(error)
    print(f"node {node} sees the installation and the logs, and shares the store {store}")
    return 0


def _until(seen: Callable[[], bool]) -> bool:
    end = time.monotonic() + SEEN_WITHIN
    while not seen():
        if time.monotonic() > end:
            return False
        time.sleep(1.0)
    return True


if __name__ == "__main__":
    cli.run(f"python -m {PROGRAM}", see)
