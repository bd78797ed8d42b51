"""A laptop, a bucket and a service that rents machines: all of it on 127.0.0.1.

The launcher's commands run in processes of their own, which can be killed; machines run what
was ordered. What a test must find at its end is in `World.settled`.
"""

import base64
import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3

from launch.contract import deadlines
from launch.contract.cloud import parse_name
from mimir.errors import BadInput
from mimir.runs import layout, notes, orders
from mimir.runs.parts import read_metrics
from mimir.runs.status import Status, derive, read_head
from mimir.runs.store import Store, open_store
from tests import ROOT
from tests.clouds import documents
from tests.clouds.e2e import stand_in
from tests.clouds.fake_aws import FakeAws
from tests.clouds.fake_gcp import FakeGcp
from tests.clouds.fake_lambda import FakeLambda
from tests.clouds.fake_runpod import FakeRunPod
from tests.clouds.fake_vast import FakeVast
from tests.clouds.service import Rental, Service
from tests.gates import Gate
from tests.waiting import LIMIT, wait_for

KEYS = {"aws_access_key_id": "AKIATESTTESTTEST", "aws_secret_access_key": "secretsecret"}
KEY = "account-key"
STEPS = 12
"""Of a stand-in's run."""
STAND_IN = base64.b64encode(
    zlib.compress(
        b"import os, time\nright = time.time\n"
        b"time.time = lambda: right() + float(os.environ['SKEW'])\n"
        b"from tests.clouds.e2e.stand_in import main\nmain()\n",
        9,
    )
).decode()
UNHURRIED = json.dumps(
    {"mimir.runs.orders:RESERVED": orders.RESERVED}
    | {f"launch.contract.deadlines:{name}": getattr(deadlines, name)
       for name in ("LISTED_WITHIN", "BEGIN_WITHIN", "SILENT_FOR")}
)  # fmt: skip
"""The limits as they are, for who counts attempts: on a slow machine, a launcher in a hurry gives
up orders and attempts that do well."""
CREATE: Mapping[str, dict[str, str]] = {
    "runpod": {"method": "POST", "path": "^/v2/pods$"},
    "vastai": {"path": r"/asks/\d+"},
    "lambda": {"path": "/launch$"},
    "aws": {"path": "/RunInstances$"},
    "gcp": {"method": "POST", "path": "/instances$"},
}
"""The request that makes a machine, for Service.fault."""
SETTINGS = ("--batch", "4", "--dim", "16", "--heads", "2", "--layers", "1", "--device", "cpu")


def service(provider: str) -> Service:
    """A fake that takes requests as fast as they come: spacing has tests of its own."""
    if provider == "runpod":
        return FakeRunPod(KEY)
    if provider == "vastai":
        vast = FakeVast(KEY)
        vast.spacing = {}
        return vast
    if provider == "aws":
        return FakeAws(KEY)
    if provider == "gcp":
        return FakeGcp(KEY)
    fake = FakeLambda(KEY)
    fake.spacing = 0.0
    return fake


def environment(provider: str, fake: Service) -> dict[str, str]:
    """What makes the launcher talk to the fake."""
    if isinstance(fake, FakeAws):
        return {**fake.environ(), "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"]}
    if isinstance(fake, FakeLambda | FakeGcp):
        return fake.environ()
    word = {"runpod": "RUNPOD", "vastai": "VAST"}[provider]
    return {f"{word}_API_KEY": KEY, f"MIMIR_{word}_URL": fake.url}


class Forks:
    """Starts tests/clouds/e2e/door.py once, and commands from it."""

    def __init__(self) -> None:
        self._door = subprocess.Popen(
            [sys.executable, "-m", "tests.clouds.e2e.door"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, **order: Any) -> int | None:
        assert self._door.stdin is not None
        assert self._door.stdout is not None
        self._door.stdin.write(json.dumps(order) + "\n")
        self._door.stdin.flush()
        found: int | None = json.loads(self._door.stdout.readline())
        return found

    def close(self) -> None:
        self._door.communicate(timeout=LIMIT)


@dataclass
class Command:
    """A launcher command that runs. code: its exit status, negative for a signal."""

    forks: Forks
    pid: int
    out: Path
    code: int | None = None

    def ended(self) -> bool:
        if self.code is None:
            self.code = self.forks.ask(wait=self.pid)
        return self.code is not None

    def wait(self) -> int:
        wait_for(self.ended, lambda: f"the end of\n{self.said}", every=0.02)
        assert self.code is not None
        return self.code

    def kill(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    @property
    def said(self) -> str:
        return "".join(
            Path(f"{self.out}{kind}").read_text(errors="replace")
            for kind in (".out", ".err")
            if Path(f"{self.out}{kind}").exists()
        )


@dataclass
class World:
    """store: the bucket as the laptop sees it. acts: attempt -> what its stand-in does. skew: s by
    which the machines' clocks are ahead."""

    forks: Forks
    provider: str
    fake: Service
    store: Store
    folder: Path
    data: Path
    env: dict[str, str]
    acts: dict[int, str] = field(default_factory=dict)
    pace: float = 0.03
    skew: float = 0.0
    steps: int = STEPS
    commands: list[Command] = field(default_factory=list)

    @cached_property
    def gate(self) -> Gate:
        """Holds the training of real workers, where a test starts them."""
        return Gate(self.folder / "gate")

    def spawn(self, *words: str, patches: str = "", **env: str) -> Command:
        out = self.folder / f"command{len(self.commands)}"
        given = {**self.env, **env, **({"PATCHES": patches} if patches else {})}
        pid = self.forks.ask(words=words, env=given, folder=str(self.folder), out=str(out))
        assert pid
        command = Command(self.forks, pid, out)
        self.commands.append(command)
        return command

    def launch(self, *words: str, code: int = 0, **env: str) -> str:
        """What a command says that ends with this exit status."""
        command = self.spawn(*words, **env)
        found = command.wait()
        assert found == code, f"{words}: {found}, not {code}\n{command.said}\n{self.story()}"
        return command.said

    def submission(self, run: str, *words: str) -> tuple[str, ...]:
        base = ("submit", "--preset", "smoke", "--name", run, "--provider", self.provider, "--yes")
        return (*base, "--data", str(self.data), *SETTINGS, *words)

    def stand_ins(self) -> None:
        """From now on machines run the stand-in instead of the worker; all else is as ordered."""
        self.fake.runs = self._stand_in

    def _stand_in(self, argv: Sequence[str], env: Mapping[str, str]) -> list[str]:
        told = {
            "MIMIR_BOOT": STAND_IN, "ACT": self.acts.get(int(env["MIMIR_ATTEMPT"]), ""),
            "STEPS": str(self.steps), "PACE": str(self.pace), "MIMIR_END_PATIENCE": "1",
            "SKEW": str(self.skew),
        }  # fmt: skip
        return ["/usr/bin/env", *(f"{name}={value}" for name, value in told.items()), *argv]

    def status(self, run: str) -> Status:
        return derive(self.store, run, self.store.now())

    def step(self, run: str) -> int:
        """The committed step, -1 for a run that is not there yet."""
        try:
            return read_head(self.store, run).step
        except BadInput:
            return -1

    def begun(self, run: str, attempt: int) -> bool:
        return notes.read_heartbeat(self.store, run, attempt) is not None

    def until(self, there: Callable[[], Any]) -> Any:
        return wait_for(there, lambda: f"what did not come\n{self.story()}", every=0.03)

    def machine(self, run: str) -> Rental | None:
        """The newest machine of the run that exists and runs."""
        for rental in reversed(self.fake.alive()):
            place = parse_name(rental.name)
            machine = self.fake.machines.get(rental.id)
            if place and place[0] == run and machine is not None and machine.working:
                return rental
        return None

    def lose(self, rental: Rental) -> None:
        """The host dies, and its service sees that."""
        if isinstance(self.fake, FakeVast):
            self.fake.offline(rental.id)
            return
        self.fake.kill(rental.id)
        if isinstance(self.fake, FakeLambda):
            self.fake.say(rental.id, "unhealthy")

    def finish(self, run: str) -> None:
        """`watch --once` as a cron job calls it, until the run has ended; then `reap`."""

        def over() -> bool:
            if self.status(run).state in ("done", "failed", "stopped"):
                return True
            self.launch("watch", run, "--once")
            return False

        wait_for(over, lambda: f"the end of\n{self.story()}", every=0.3)
        self.launch("watch", run, "--once")
        self.launch("reap", "--yes")

    def settled(self, most: float) -> None:
        """No machine is left, each was on record before it was made, and none was made twice."""
        self.until(lambda: not self.fake.alive())
        names = collections.Counter(rental.name for rental in self.fake.ledger)
        assert [name for name, count in names.items() if count > 1] == []
        for rental in self.fake.ledger:
            place = parse_name(rental.name)
            assert place is not None
            order = notes.read_order(self.store, *place)
            assert order is not None, f"{rental.name} lived without a record"
            assert order.time <= rental.born
        assert self.fake.spent() <= most
        assert list(self.store.list(f"{layout.HANDOVER}/")) == [], (
            "keys are left lying in the store"
        )

    def whole(self, run: str) -> None:
        """The run is done, and a pulled model is that of a stand-in that nobody disturbed."""
        assert self.status(run).state == "done", self.story()
        out = self.folder / f"pulled-{run}"
        self.launch("pull", run, "--out", str(out))
        assert (out / "model.safetensors").read_bytes() == stand_in.weights(self.steps)
        rows = read_metrics(self.store, run, read_head(self.store, run))
        assert [row["step"] for row in rows] == list(range(1, self.steps + 1))

    def story(self) -> str:
        """What was said and done, for a test that failed."""
        parts = [f"$ {c.out.name}\n{c.said}" for c in self.commands[-8:]]
        parts += [f"{r.name} {r.id} ended={r.ended}" for r in self.fake.ledger]
        for id, machine in self.fake.machines.items():
            parts.append(f"machine {id}:\n" + "\n".join(machine.output()[-12:]))
        parts += [f"{e.method} {e.path} {e.status} {e.fault}" for e in self.fake.requests[-40:]]
        return "\n".join(parts)

    def close(self) -> None:
        for command in self.commands:
            command.kill()
        self.fake.close()


@contextlib.contextmanager
def made(forks: Forks, provider: str, endpoint: str, data: Path) -> Iterator[World]:
    """A world with a bucket of its own.

    At its end all that was asked and answered is checked against the service's document.
    """
    with tempfile.TemporaryDirectory(prefix="world-") as name:
        folder = Path(name)
        bucket = f"b-{os.getpid()}-{time.monotonic_ns()}"
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **KEYS)
        client.create_bucket(Bucket=bucket)
        client.close()
        url = f"s3://{bucket}/runs?endpoint={quote(endpoint, safe=':/')}&region=us-east-1"
        fake = service(provider)
        env = {
            "PATH": os.environ["PATH"], "HOME": name, "OMP_NUM_THREADS": "1",
            "MIMIR_STORE": url, "AWS_ACCESS_KEY_ID": KEYS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": KEYS["aws_secret_access_key"],
            "AWS_ENDPOINT_URL_STS": endpoint, "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"), **environment(provider, fake),
        }  # fmt: skip
        world = World(forks, provider, fake, open_store(url), folder, data, env)
        try:
            yield world
        finally:
            world.close()
        assert documents.violations(provider, fake.requests) == []
        assert not isinstance(fake, FakeAws | FakeGcp) or fake.complaints() == []
