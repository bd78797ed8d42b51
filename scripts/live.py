"""A first run on the real service, for a person with an account: `make live PROVIDER=runpod`.

Runs preset smoke for at most half a dollar through the launcher's own commands, ends its machine
whatever happens, sees in the service's list that none is left, and writes what was said, without
secrets, into build/live/PROVIDER-DATE.txt, which can be sent to those who maintain Mimir.
docs/guides/first-real-run.md says what one should see.

    make live PROVIDER=vastai OPTIONS='--gpu "RTX 4090"'     more options of `submit`

Exit codes: those of `submit`; 78 if something is missing here, and nothing was ordered; 75 if a
machine may be left; 130 after Ctrl-C.
"""

import contextlib
import functools
import os
import platform
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import mimir
from launch import doctor
from launch.contract import deadlines
from launch.contract.redaction import Secrets
from launch.providers import registry
from launch.providers.rented import Rented
from launch.supervise import reaper
from mimir import cli
from mimir.errors import INTERRUPTED, BadInput, MimirError, sentence
from mimir.runs import layout, notes, orders
from mimir.runs.store import Store, open_store
from mimir.submission import default_store, fresh_name
from mimir.text import alternatives, nearest
from scripts.transcript import Transcript, secrets_here

ROOT = Path(__file__).resolve().parent.parent
CONSOLES = {
    "runpod": "https://console.runpod.io/pods",
    "vastai": "https://cloud.vast.ai/instances/",
    "lambda": "https://cloud.lambda.ai/instances",
    "aws": "https://console.aws.amazon.com/ec2/home#Instances: (a list for each region)",
    "gcp": "https://console.cloud.google.com/compute/instances",
    "colab": "https://colab.research.google.com, Runtime, Manage sessions",
}
"""Where a person sees the account's machines."""
LAUNCH = (sys.executable, "-m", "launch")
MAX_COST, MAX_HOURS = "0.5", "2"
"""Of the run. The hours end one on a machine so cheap that half a dollar lasts a day."""
OURS = (
    "preset", "name", "provider", "yes", "watch", "max-cost", "max-hours", "store", "dry-run",
    "json",
)  # fmt: skip
"""Options of `submit` that belong to this script, or would hide from it what was ordered."""
YIELDS = 90.0
"""Seconds for a command that was interrupted to end by itself."""
ENDS_WITHIN = 900.0
"""Seconds for a command that ends a machine, or looks."""
PAUSE = 5.0
"""Seconds between looks whether a machine is left."""
ROUNDS = 4
"""Times that the end of a machine is asked for."""


Found = TypeVar("Found")


class Live:
    """One run on one service. interrupted: somebody wants it to end."""

    def __init__(
        self, provider: str, store: Store, words: Sequence[str], out: Transcript, secrets: Secrets
    ) -> None:
        self.provider, self.store, self.words, self.out = provider, store, words, out
        self.name = fresh_name("live")
        self.interrupted = False
        self._secrets = secrets
        self._heard: subprocess.Popen[str] | None = None

    def interrupt(self, *_: object) -> None:
        """What SIGINT, SIGTERM and SIGHUP do, instead of ending this process: the command that runs
        is asked to end, once, and then the machine is ended."""
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted: wait, its machine is being ended\n")
        first, self.interrupted = not self.interrupted, True
        if first and self._heard:
            self._ask(self._heard)

    def whole(self) -> int:
        """Check, submit, follow; end its machine; status and pull. The exit code."""
        if code := self._launch("doctor", heard=True):
            self.out.say("nothing was ordered: mend what doctor calls `fail`, and begin again")
            return 130 if self.interrupted else code
        code, left = 1, True
        try:
            if not self.interrupted:
                code = self._launch(
                    "submit", *self.words, "--preset", "smoke", "--name", self.name, "--provider",
                    self.provider, "--max-cost", MAX_COST, "--max-hours", MAX_HOURS, "--yes",
                    "--watch", heard=True,
                )  # fmt: skip
        finally:
            left = self._end(done=code == 0)
        if self._known():
            self._launch("status", self.name)
        if code == 0:
            self._launch("pull", self.name, "--out", str(self.out.path.with_suffix("")))
        return INTERRUPTED if left else 130 if self.interrupted else code

    def _launch(self, *words: str, heard: bool = False) -> int:
        """A command of the launcher; what it says goes into the transcript. Its exit code.

        It has no terminal: it asks nothing, and Ctrl-C reaches it from here only. heard: it may be
        interrupted.
        """
        self.out.say("", f"$ python -m launch {shlex.join(words)}")
        process = subprocess.Popen(
            [*LAUNCH, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True, text=True, errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        late = threading.Timer(ENDS_WITHIN, process.kill)
        if heard:
            self._heard = process
            if self.interrupted:
                self._ask(process)
        else:
            late.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                self.out.say(line)
            code = process.wait()
        finally:
            late.cancel()
            process.kill()
            self._heard = None
        self.out.say(f"(exit code {code})")
        return code

    @staticmethod
    def _ask(process: "subprocess.Popen[str]") -> None:
        """Ask a command to end, and end it if it does not."""
        process.send_signal(signal.SIGINT)
        late = threading.Timer(YIELDS, process.kill)
        late.daemon = True
        late.start()

    def _known(self) -> bool:
        return self.store.read(layout.record_key(self.name)) is not None

    def _end(self, *, done: bool) -> bool:
        """End the run's machine, and look whether any is left; whether one may be."""
        self.out.say("", f"# no machine of run {self.name} may be left")
        stopped, until = done, 0.0
        left: list[str] | None = None
        for number in range(ROUNDS):
            if number:
                time.sleep(PAUSE)
            if not stopped and self._try(self._known):
                stopped = self._try(lambda: self._launch("stop", self.name)) in (0, INTERRUPTED)
            # Once a stop is on record, a watcher ends machines and orders none.
            if stopped and (number or not done):
                self._try(lambda: self._launch("watch", self.name, "--once"))
            left = self._try(self._left)
            # The service may show the machine of a lost answer late.
            until = until or time.monotonic() + deadlines.LISTED_WITHIN
            while left == [] and self._try(self._unanswered) and time.monotonic() < until:
                time.sleep(PAUSE)
                left = self._try(self._left)
            if left == []:
                shown = CONSOLES[self.provider]
                self.out.say(f"no machine of run {self.name} is left; see for yourself: {shown}")
                return False
            if self.provider != "colab":
                for id in left or ():
                    words = ("reap", "--provider", self.provider, "--machine", id, "--yes")
                    self._try(functools.partial(self._launch, *words))
        which = f"MACHINE {', '.join(left)} IS" if left else "A MACHINE MAY BE"
        self.out.say(
            f"{which} LEFT, AND PAID: end it now at {CONSOLES[self.provider]}; its name begins "
            f"with mimir-{self.name}"
        )
        return True

    def _try(self, look: Callable[[], Found]) -> Found | None:
        """What a look finds, None if it fails: that says nothing of what is there."""
        try:
            return look()
        except Exception as error:  # noqa: BLE001 - told; a machine may be there, and is looked for
            self._secrets.scrub(error)
            self.out.say(f"this failed, and is tried again: {sentence(error)}")
            return None

    def _left(self) -> list[str]:
        """Ids of the run's machines, by the service's own list."""
        provider = registry.get(self.provider)
        if not isinstance(provider, Rented):
            machines = [notes.read_machine(self.store, self.name, n) for n in self._attempts()]
            return [each.id for each in machines if each and provider.alive(each) is not False]
        found, problems = reaper.find(self.store, [provider], self.store.now())
        mine = [each for each in found if each.run == self.name]
        for problem in problems:
            self.out.say(problem)
        for each in mine:
            self.out.say(f"the list shows {each.instance.name} {each.instance.id}")
        if problems and not mine:
            raise MimirError("the service's list could not be read")
        return [each.instance.id for each in mine]

    def _unanswered(self) -> bool:
        """Whether an order has neither a machine nor an end on record."""
        return any(
            notes.read_machine(self.store, self.name, number) is None
            and notes.read_gone(self.store, self.name, number) is None
            and notes.read_outcome(self.store, self.name, number) is None
            for number in self._attempts()
        )

    def _attempts(self) -> range:
        newest = orders.newest_order(self.store, self.name) if self._known() else 0
        return range(1, newest + 1)


def live(*, provider: str = "", options: str = "") -> int:
    """Run preset smoke on a real service for at most $0.50, and end its machine in any case.

    Args:
        provider: runpod, vastai, lambda, aws, gcp or colab.
        options: more options of `submit`, in one text, such as '--gpu "RTX 4090"'.

    Example:
        python -m scripts.live --provider runpod
    """
    if provider not in CONSOLES:
        near = nearest(provider, CONSOLES) if provider else ""
        raise BadInput(f"PROVIDER is {provider!r}, but must be {alternatives(CONSOLES)}{near}")
    try:
        words = shlex.split(options)
    except ValueError as error:
        raise BadInput(f"OPTIONS is {options!r}, which cannot be read ({error})") from error
    for word in words:
        name = word.partition("=")[0].replace("_", "-").removeprefix("--").removeprefix("no-")
        if word.startswith("--") and name in OURS:
            raise BadInput(f"OPTIONS has {word}, which `make live` decides itself: leave it out")
    url = default_store()
    if not url.startswith("s3://"):
        raise BadInput(
            "a rented machine reaches a bucket only: export "
            "MIMIR_STORE='s3://BUCKET/PREFIX?region=…' (docs/guides/first-real-run.md)"
        )
    found = registry.get(provider)
    if isinstance(found, Rented) and not found.cloud.configured():
        variable = found.cloud.key_variable
        raise BadInput(f"there is no key here: export {variable}=… (docs/guides/first-real-run.md)")
    secrets = secrets_here(found)
    with secrets.guard():
        for check in doctor.services([provider]):
            if check.status == "fail" or (check.status == "warn" and check.name == "colab"):
                raise BadInput(f"{check.name}: {secrets.clean(check.details)}")
        store = open_store(url)
    stamp = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    out = Transcript(ROOT / "build" / "live" / f"{provider}-{stamp}.txt", secrets)
    return _told(Live(provider, store, words, out, secrets), out, secrets)


def _told(run: Live, out: Transcript, secrets: Secrets) -> int:
    """The whole run, with its beginning and its end; the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, run.interrupt)
    code = INTERRUPTED
    try:
        out.say(
            f"Mimir {mimir.__version__}, Python {platform.python_version()} on {sys.platform}, "
            f"{time.strftime('%Y-%m-%d %H:%M:%S UTC', time.gmtime())}: run {run.name} on "
            f"{run.provider}, for at most ${MAX_COST} and {MAX_HOURS} h",
            f"should this be killed, see {CONSOLES[run.provider]}; `python -m launch stop "
            f"{run.name}` and `python -m launch watch {run.name} --once` end its machine",
        )
        code = run.whole()
    except Exception as error:  # noqa: BLE001 - it belongs into the transcript
        secrets.scrub(error)
        out.say(sentence(error))
        code = error.exit_code if isinstance(error, MimirError) else 1
    finally:
        out.say("", f"it ends with exit code {code}")
        out.close()
    print(
        f"What was said lies in {out.path}. Keys are removed from it; names of bucket and role, "
        "the account's balance and the machines' ids are not: read it before you send it."
    )
    return code


if __name__ == "__main__":
    cli.run("make live", live)
