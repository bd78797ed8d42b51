"""Google Colab, by Google's own CLI (google-colab-cli). Not tested on the real service.

An attempt is a cell that runs on a session of its own. The keys to the store go there in a
file, which the cell deletes before it does anything else. A session that Colab ends is an
attempt that ended; whether another follows is the launcher's to say, and on a free account it
does not follow by itself.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import mimir
from launch.contract.cloud import machine_name
from launch.contract.errors import NotGone, ProviderError, UnknownOutcome
from launch.contract.offer import Offer
from launch.contract.provider import AttemptSpec, Caps, Check, Machine
from launch.contract.redaction import Secrets
from launch.payload import container, credentials
from launch.providers.colab import cell, errors, offers
from launch.providers.colab import folder as colab_folder
from launch.providers.colab.account import Account
from launch.providers.colab.cli import ASSIGN, Cli
from launch.providers.colab.offers import CPU, DEFAULT, accelerator
from launch.providers.colab.session import Session
from launch.providers.colab.watch import (
    LEAVE,
    LIST_EVERY,
    clear,
    exit_code,
    last_words,
    printed,
    private,
)
from mimir.errors import BadInput, MimirError
from mimir.runs.store import Store, open_store

BEGIN = 240.0
"""Seconds for the first line of the cell."""
COLAB_GRACE = 120.0
"""Seconds for the last checkpoint, once the worker is asked to end."""
FRESH = 10.0
"""Seconds for which a session that a look found is taken to be there: each look is a process of a
second or more, and a request to Colab, and whoever waits for a run asks in every round."""
LOOK = 5.0
"""Seconds between looks whether a worker that was asked to end has."""


class ColabProvider:
    """Runs attempts on Colab; a Provider.

    Args:
        cli: Google's CLI.
        every: seconds between the watch's looks at the account's list.
        grace: seconds for the last checkpoint.
        opener: opens the store of a spec, for the run's code.
    """

    name = "colab"
    caps = Caps(
        paid=False, ends_itself=True, foreign=True, max_sessions=1,
        service_ends="the session's own limit (hours, idling, units that are used up)",
        hosts={"": "Google's data centres"},
    )  # fmt: skip

    def __init__(
        self,
        cli: Cli | None = None,
        *,
        every: float = LIST_EVERY,
        grace: float = COLAB_GRACE,
        opener: Callable[[str], Store] = open_store,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cli = cli or Cli(environ)
        self._every, self._grace = every, grace
        self._opener, self._environ = opener, environ
        self._clock, self._sleep = clock, sleep
        self._secrets = Secrets()
        self._account = Account(self._cli, self._secrets)
        self._seen: dict[str, float] = {}  # endpoint -> unix s of the last look that found it

    def choices(self, gpus: tuple[str, ...]) -> Sequence[Offer | None]:
        """The wanted GPUs in Colab's own order; with a price where the account has units."""
        found = offers.offers(gpus) if gpus else [offers.offer(self._default())]
        if not found:
            known = ", ".join((*offers.ACCELERATORS, CPU))
            raise BadInput(f"Colab has no {' or '.join(gpus)}: name one of {known} by --gpu")
        return [self._account.priced(each, accelerator(each.gpu)) for each in found]

    def priced(self, gpus: tuple[str, ...]) -> tuple[list[Offer], str]:
        """As `Metered`: what sessions cost an account that has compute units."""
        found = [each for each in self.choices(gpus) if each is not None and each.price]
        return found, self._account.sentence() if found else ""

    def _default(self) -> str:
        return self._environ.get("MIMIR_COLAB_GPU", DEFAULT)

    def start(self, spec: AttemptSpec) -> Machine:
        """Make a session and begin the attempt there; returns when the cell runs.

        The GPU is the offer's, else $MIMIR_COLAB_GPU's, else a T4.

        Raises:
            BadInput: no such GPU, no CLI, a store that Colab cannot reach, no keys in the order.
            NoCapacity, BalanceEmpty, AuthFailed, RateLimited: Colab's refusals.
            UnknownOutcome: there may be a session that nobody knows the name of.
            ProviderError: the session could not be set up; it is ended.
        """
        gpu = accelerator(spec.offer.gpu if spec.offer else self._default())
        if not spec.store.startswith("s3://"):
            raise BadInput(
                f"a machine of Colab cannot reach the store {spec.store}: use an S3 bucket, "
                "--store 's3://BUCKET/PREFIX?endpoint=…' (docs/store.md)"
            )
        secret = credentials.of_environment(spec.env).environment()
        self._secrets.learn_environment(spec.env)
        what = container.of(self._opener(spec.store), spec, "", None)
        job = {"command": list(what.command), "env": {**what.env, **secret}}
        name = machine_name(spec.run, spec.attempt)
        with self._secrets.guard():
            made = self.begin(colab_folder.of(spec), name, gpu, job)
        return replace(made, deadline=spec.deadline, price=_price(spec))

    def begin(self, folder: Path, name: str, gpu: str, job: Mapping[str, object]) -> Machine:
        """A session of this name that runs a job ({"command", "env"}); raises as `start`."""
        colab_folder.sweep(folder.parent)
        for other in colab_folder.others(folder):
            self._drop(other)
        folder.mkdir(parents=True, mode=0o700)
        try:
            endpoint = self._new(folder / "home", name, gpu)
        except BaseException:
            # After a Ctrl-C the session may be there.
            if not colab_folder.endpoint(folder):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                self._drop(folder)
            raise
        private(
            folder / "session.json",
            {"session": name, "endpoint": endpoint, "every": self._every},
        )
        try:
            self._run(folder, self._machine(name, endpoint, folder.parent), job)
        except BaseException:
            self._drop(folder)
            raise
        return replace(self._made(name, endpoint, folder), gpu=gpu or CPU)

    def adopt(self, spec: AttemptSpec) -> Machine | None:
        """The attempt's session, if this computer made one and was cut off before it told."""
        folder = colab_folder.of(spec)
        endpoint = colab_folder.endpoint(folder)
        name = machine_name(spec.run, spec.attempt)
        if not endpoint or self._machine(name, endpoint, folder.parent).there() is False:
            return None
        made = self._made(name, endpoint, folder)
        return replace(made, deadline=spec.deadline, price=_price(spec))

    def _made(self, session: str, endpoint: str, folder: Path) -> Machine:
        details = {"endpoint": endpoint, "folder": folder.parent.name}
        return Machine(
            self.name, self._clock(), name=session, host=platform.node(), details=details
        )

    def alive(self, machine: Machine) -> bool | None:
        found = self._of(machine)
        if 0 <= self._clock() - self._seen.get(found.endpoint, float("-inf")) < FRESH:
            return True
        there = found.there()
        if there:
            self._seen[found.endpoint] = self._clock()
        # Another computer may be signed in to another account, whose list says nothing of it.
        return None if there is False and not _is_here(machine) else there

    def end(self, spec: AttemptSpec, machine: Machine) -> None:
        folder = colab_folder.of(spec)
        mine = colab_folder.endpoint(folder)
        if mine and mine != machine.detail("endpoint"):
            raise NotGone(
                f"session {machine.detail('endpoint')} on Colab is not the one that was made here "
                f"for attempt {spec.attempt} of run {spec.run} ({mine}): neither is ended; look at "
                "`colab sessions`, and end one by `colab stop`"
            )
        found = self._machine(
            machine_name(spec.run, spec.attempt), machine.detail("endpoint"), colab_folder.root()
        )
        self._seen.pop(found.endpoint, None)
        there = found.there()
        if there is False and not _is_here(machine):
            raise NotGone(
                f"the account that is signed in here has no session {found.endpoint}: look at it "
                f"from {machine.host}, or at https://colab.research.google.com"
            )
        if there is not False:
            if not (_is_here(machine) and colab_folder.runs_nothing(folder)):
                self._let_end(folder, found)
            with self._secrets.guard():
                found.end()
        if _is_here(machine):
            clear(folder)

    def output(self, machine: Machine, lines: int) -> list[str]:
        found = self._of(machine)
        text = found.download(f"{found.name}.log") or ""
        if not text and _is_here(machine):
            text = last_words(colab_folder.of_session(machine.detail("folder"), found.name))
        return self._secrets.clean(errors.printed(text)).splitlines()[-lines:]

    def checks(self) -> list[Check]:
        """For `doctor`: the CLI, the login, the balance. No session is made."""
        if not self._environ.get("COLAB_CLI_PATH") and shutil.which("colab") is None:
            return [Check("colab", "warn", "Google's CLI is not here: docs/colab.md says how")]
        return [self._account.check()]

    def _new(self, home: Path, name: str, gpu: str) -> str:
        """Make a session; its endpoint."""
        self._cli.furnish(home, name)
        self._cli.check(home)
        try:
            words = ("--gpu", gpu) if gpu else ()
            said = self._cli.ask(home, "new", "--session", name, *words, timeout=ASSIGN)
            why: MimirError = errors.refusal(said.text, gpu)
        except UnknownOutcome as late:
            why = late
        endpoint = colab_folder.endpoint(home.parent)
        if endpoint:
            return endpoint
        raise self._lost(home, why) if isinstance(why, UnknownOutcome) else why

    def _lost(self, home: Path, error: UnknownOutcome) -> ProviderError:
        """What to say of an order without an answer: a session bears no name on the server."""
        found = "which cannot be listed now"
        home = home.with_name("list")
        try:
            # One that is not there: that it is struck off shows that there was a list.
            self._cli.furnish(home, "none", "none")
            said = self._cli.ask(home, "sessions")
            strange = [each.endpoint for each in errors.sessions(said.text)]
            if errors.STRUCK in said.text and not strange:
                return ProviderError(f"{error}; the account has no session from it: try again")
            found = ", ".join(strange) or found
        except MimirError:
            pass
        return UnknownOutcome(
            f"{error}; the account has sessions ({found}) of which one may be from this order: "
            "end it at https://colab.research.google.com under Runtime, Manage sessions"
        )

    def _run(self, folder: Path, machine: Session, job: Mapping[str, object]) -> None:
        path = folder / "job.json"
        try:
            private(path, job)
            machine.upload(path, f"{machine.name}.json")
        finally:
            path.unlink(missing_ok=True)
        text = Path(cell.__file__).read_text(encoding="utf-8")
        private(folder / "cell.py", f"{text}\n\nwork({machine.name!r})\n")
        watch = subprocess.Popen(
            [sys.executable, "-m", "launch.providers.colab.watch", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=_without_keys(self._environ),
            start_new_session=True,
        )
        # It outlives us; if not, it must not stay as a zombie until we ask for it.
        threading.Thread(target=watch.wait, daemon=True).start()
        until = self._clock() + BEGIN
        try:
            while cell.BEGUN not in printed(folder):
                if watch.poll() is not None or self._clock() > until:
                    why = errors.last_line(last_words(folder))
                    raise ProviderError(f"the session on Colab ran nothing ({why}); it is ended")
                self._sleep(0.5)
        except BaseException:
            # It may not have come to write down yet what it has begun.
            watch.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                watch.wait(timeout=LEAVE)
            raise

    def _let_end(self, folder: Path, machine: Session) -> None:
        """Ask the worker for its last checkpoint, and wait for it."""
        try:
            with tempfile.NamedTemporaryFile() as empty:
                machine.upload(Path(empty.name), f"{machine.name}.stop")
        except ProviderError:
            return  # it does not answer: there is nothing to wait for
        until = self._clock() + self._grace
        while self._clock() < until:
            if exit_code(printed(folder)) is not None:
                return
            if machine.download(f"{machine.name}.exit") is not None:
                return
            if machine.there() is False:
                return
            self._sleep(LOOK)

    def _drop(self, folder: Path) -> None:
        """End the session of a folder without asking its worker: nobody needs it."""
        endpoint = colab_folder.endpoint(folder)
        if endpoint:
            self._machine(folder.name, endpoint, folder.parent).end()
        clear(folder)

    def _of(self, record: Machine) -> Session:
        return self._machine(record.name, record.detail("endpoint"), colab_folder.root())

    def _machine(self, name: str, endpoint: str, homes: Path) -> Session:
        """homes: not the session's folder, which its watch may delete meanwhile."""
        return Session(self._cli, name, endpoint, homes, self._sleep, self._clock)


def _price(spec: AttemptSpec) -> float | None:
    return (spec.offer.price if spec.offer else 0.0) or None


def _is_here(machine: Machine) -> bool:
    return machine.host == platform.node()


def _without_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """For the watch, which needs no key to a store."""
    root = Path(mimir.__file__).resolve().parents[1]
    own = "" if root.name in ("site-packages", "dist-packages") else str(root)
    path = os.pathsep.join(filter(None, (own, environ.get("PYTHONPATH"))))
    mine = {name: text for name, text in environ.items() if not name.startswith("AWS_")}
    return {**mine, **({"PYTHONPATH": path} if path else {})}
