"""Three runs on rented machines, the laptop's own commands, and what no machine may bring about.

`mid` is the run whose machine is hostile: its second attempt works, the first was evicted. The
neighbours `alpha` and `zulu` stand before and after it in every loop over runs. All machines are
of one paper cloud; time, money and orders are real launcher code.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from launch.commands import SUMMARY, TREE
from launch.contract import deadlines
from launch.contract.cloud import ContainerSpec, parse_name
from launch.contract.provider import AttemptSpec, Caps, Machine
from launch.payload.credentials import Credentials, How, StaticKeys
from launch.providers import registry
from launch.providers.registry import Row
from launch.providers.rented import Rented
from launch.provision import order as ordering
from launch.provision.choice import Choice
from launch.provision.wait import Beginning
from launch.supervise.rounds import rounds
from launch.supervise.watcher import Watcher
from mimir import cli
from mimir.config import load_preset
from mimir.runs import layout, notes, order, orders
from mimir.runs.commit import Attempt
from mimir.runs.notes import Heartbeat, Outcome, Unended
from mimir.runs.order import KeySource, Limits, Plan
from mimir.runs.record import RunRecord, create_run
from mimir.runs.store import Store
from tests.launch.conftest import Clock
from tests.launch.paper import Paper, offer
from tests.runs.memory import MemoryStore
from tests.waiting import unless_it_hangs

VICTIM, NEIGHBOURS = "mid", ("alpha", "zulu")
RUNS = ("alpha", "mid", "zulu")
IMAGE = "example/image:1"
ROLE = "arn:aws:iam:::role/mimir-worker"
PLAN = Plan(
    ("runpod",), Limits(max_price=1.0, max_hours=20.0, max_cost=15.0), ("RTX 4090",), image=IMAGE,
    keys=KeySource(ROLE), steps=100,
)  # fmt: skip
OWN = ("THE-USERS-KEY", "the-users-secret")
"""The user's own keys, which leave this computer on their word only."""
DATA, CODE = (hashlib.sha256(each).hexdigest() for each in (b"peptides", b"code"))
CODES = {0, 75, 76, 77, 78}
CONFIG = load_preset("smoke").with_settings({"batch": 4, "dim": 16, "heads": 2, "layers": 1})
ROWS = {
    "runpod": Row("tests.hostile.ground:_rented"),
    **{name: Row("tests.hostile.ground:_trap") for name in ("local", "docker", "colab")},
    **{name: Row("tests.hostile.ground:_keyless") for name in ("vastai", "lambda")},
}
_HERE: list["Ground"] = []
"""The ground of the test that runs: the registry makes its providers without arguments."""


def _rented() -> Rented:
    return _HERE[-1].provider


def _trap() -> "Trap":
    return Trap(_HERE[-1].wrong)


def _keyless() -> Rented:
    cloud = Paper("vastai")
    cloud.key = False
    return Rented(cloud)


class Trap:
    """This computer's own provider: no machine makes it start or end anything."""

    def __init__(self, wrong: list[str]) -> None:
        self.name, self.caps, self._wrong = "local", Caps(paid=False), wrong

    def choices(self, gpus: tuple[str, ...]) -> tuple[None]:
        return (None,)

    def checks(self) -> list[Any]:
        return []

    def start(self, spec: AttemptSpec) -> Machine:
        self._wrong.append(f"attempt {spec.attempt} of {spec.run} was started on this computer")
        return Machine("local", time.time())

    def alive(self, machine: Machine) -> bool | None:
        return None

    def end(self, machine: Machine) -> None:
        self._wrong.append(f"{machine} of this computer was ended")

    def output(self, machine: Machine, lines: int) -> list[str]:
        return []


@dataclass
class Ground:
    """The runs, the cloud, and what was seen of them.

    wrong: each promise that was broken. keys: those of the victim's attempts, where they are real.
    """

    store: Store
    folder: Path
    read: Callable[[], str]
    cloud: Paper = field(default_factory=Paper)
    wrong: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    minted: list[tuple[str, int]] = field(default_factory=list)
    kept: dict[str, bytes] = field(default_factory=dict)
    keys: dict[int, Credentials] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock()
        self.clock.now = time.time()
        self.provider = Rented(
            self.cloud, opener=lambda url: self.store, clock=time.time, sleep=self.clock.sleep
        )
        create = self.cloud.create
        self.cloud.create = lambda *given: self._watched(create, *given)  # type: ignore[method-assign]

    # ---- the laptop

    def launch(self, *words: str) -> tuple[int, str]:
        """(exit code, all that was printed) of a launch command, with the promises of any."""

        def command() -> int:
            try:
                cli.main("python -m launch", SUMMARY, TREE, words)
            except SystemExit as ended:
                return int(ended.code or 0)
            raise AssertionError("it did not exit")

        line = " ".join(words)
        self.read()
        try:
            code = unless_it_hangs(command)
        except Exception as error:  # noqa: BLE001 - no command may let one through
            self.wrong.append(f"{line}: {type(error).__name__}: {str(error)[:300]}")
            return 1, self.read()
        text = self.read()
        self.told.append(text)
        if code not in CODES or "Traceback" in text:
            self.wrong.append(f"{line}: ended with {code}: {text[-500:]}")
        if bad := sorted({char for char in text if not (char.isprintable() or char in "\n\t")}):
            self.wrong.append(f"{line}: it prints {bad!a}")
        if OWN[1] in text:
            self.wrong.append(f"{line}: it shows the user's secret")
        return code, text

    def look(self) -> None:
        """All commands that read, and one round of the watcher, over all runs."""
        _, listed = self.launch("runs", "--json")
        with contextlib.suppress(ValueError):
            rows = {row["run"]: row for row in json.loads(listed)}
            for name in NEIGHBOURS:
                if name not in rows or rows[name]["problem"]:
                    self.wrong.append(f"runs does not show {name}: {rows.get(name)}")
            if VICTIM not in rows:
                self.wrong.append(f"runs does not show {VICTIM}")
        self.launch("runs")
        self.launch("status", VICTIM)
        self.launch("status", VICTIM, "--json")
        self.launch("logs", VICTIM)
        self.launch("alerts")
        self.launch("alerts", VICTIM, "--json")
        self.launch("pull", VICTIM, "--out", str(self.folder / "pulled"))
        self.round()
        self.launch("reap", "--provider", "runpod", "--yes")

    def round(self) -> None:
        """`watch --once`, which must look after the neighbours whatever it finds between them."""
        before = {name: self.newest(name) for name in NEIGHBOURS}
        lost = {name for name in NEIGHBOURS if not self.alive(name)}
        self.launch("watch", "--once")
        for name in NEIGHBOURS:
            if self.newest(name) != before[name] + (name in lost) or not self.alive(name):
                self.wrong.append(f"watch did not look after {name}")

    def days_later(self, meanwhile: Callable[[float], None]) -> None:
        """Rounds of the watcher when all hours of all runs are used up."""
        late = time.time() + 3 * 24 * 3600
        self.store.clock = lambda: late  # type: ignore[attr-defined]
        watcher = Watcher(self.store, self.told.append, sleep=self.clock.sleep, clock=self.clock)
        for _ in range(3):
            late += deadlines.FINAL_LOG_WITHIN
            meanwhile(late)
            rounds(watcher, lambda: RUNS, self.told.append)

    # ---- the machines

    def evict(self) -> None:
        """All machines are gone without a word."""
        self.cloud.machines.clear()

    def alive(self, run: str) -> list[str]:
        places = {name: parse_name(name) for name in self.cloud.alive()}
        return [name for name, place in places.items() if place and place[0] == run]

    def newest(self, run: str) -> int:
        return orders.newest_order(self.store, run)

    def beat(self, run: str, attempt: int, step: int = 15) -> None:
        pulse = Heartbeat(time.time(), step, 100, rate=20.0, loss=3.0, device="RTX 4090")
        notes.write_heartbeat(self.store, run, attempt, pulse)

    # ---- what must hold

    def remember(self) -> None:
        """From now on these objects may not change, but by the keys of their own attempt."""
        self.kept = {key: self.store.get(key) for key in self.store.list("") if self._safe(key)}
        self.files = self._files()

    def forget(self, prefix: str) -> None:
        """Objects that a machine may change, for they are its own and HEAD names them no more."""
        self.kept = {key: data for key, data in self.kept.items() if not key.startswith(prefix)}

    def check(self) -> None:
        """Raise AssertionError with all promises that were broken so far."""
        for key, data in self.kept.items():
            found = self.store.read(key)
            if found is None or found.data != data:
                self.wrong.append(f"{key} was {'changed' if found else 'deleted'}")
        for number in range(1, self.newest(VICTIM) + 1):
            placed = notes.read_order(self.store, VICTIM, number)
            if placed is None or placed.plan != PLAN or placed.provider != "runpod":
                self.wrong.append(f"attempt {number} was ordered by another plan: {placed}")
        if self._files() != self.files:
            self.wrong.append(f"files were made: {self._files() - self.files}")
        assert not self.wrong, "\n".join(dict.fromkeys(self.wrong))

    def _safe(self, key: str) -> bool:
        """Whether nothing that is done here may change it: not HEAD, nor what attempt 2 has."""
        run, _, rest = key.partition("/")
        if rest == "HEAD":
            return False
        checkpoint = layout.parse_checkpoint(run, key)
        if run == VICTIM and checkpoint is not None:
            # What HEAD named when attempt 2 was ordered is kept until something newer is verified.
            placed = notes.read_order(self.store, run, 2)
            return placed is not None and key in {each.key for each in placed.kept}
        return run != VICTIM or rest.startswith(("launcher/", "run.json", "code/", "data/"))

    def _files(self) -> set[str]:
        """Files of this computer outside of the folders that commands were given."""
        return {
            str(path)
            for root in (Path.home(), Path.cwd(), self.folder)
            for path in root.rglob("*")
            if "pulled" not in path.parts and path.is_file() and ".cache" not in path.parts
        }

    def _watched(
        self, create: Callable[..., str], offer: order.Offer, boot: ContainerSpec, name: str
    ) -> str:
        run, number = parse_name(name) or ("", 0)
        paid = [each for each in self.alive(run) if each != name]
        if paid:
            self.wrong.append(f"{name} was ordered while {paid} is paid")
        if boot.image != IMAGE or offer.price > PLAN.limits.max_price:
            self.wrong.append(f"{name} was ordered with {boot.image} at {offer.price}")
        if any(secret in str(boot) for secret in OWN):
            self.wrong.append(f"the user's own keys went to {name}")
        if (run, number) not in self.minted:
            self.wrong.append(f"{name} has keys of another attempt: {self.minted}")
        return create(offer, boot, name)

    def mint(
        self,
        url: str,
        run: str,
        attempt: int,
        life: float,
        how: How,
        clock: Any = time.time,
        sweep: str = "",
    ) -> Credentials:
        """As launch.payload.credentials.mint."""
        self.minted.append((run, attempt))
        if isinstance(how, StaticKeys) or how.arn != ROLE:  # type: ignore[union-attr]
            self.wrong.append(f"attempt {attempt} of {run} got keys of {how}")
            return Credentials(*OWN, "", None)
        return Credentials("an id", "a secret", "a token", time.time() + 12 * 3600)


def boot(store: Store, spec: AttemptSpec, link: str, *rest: Any, **more: Any) -> ContainerSpec:
    """As launch.payload.container.of: what counts here are the image and the variables."""
    return ContainerSpec(spec.image or "the public image", ("sh",), {**spec.env, "LINK": link})


def populate(ground: Ground, as_machine: Callable[[int], Store]) -> None:
    """The three runs: attempt 1 everywhere, of `mid` evicted and replaced by attempt 2.

    as_machine: the store as an attempt of `mid` sees it.
    """
    store = ground.store
    for key in ("_keys/mid/a0009-f00.json", "lost+found/x", "Photos/y.jpg"):
        store.put(key, b"no run's")
    for run in RUNS:
        data = store.put_content(layout.data_key(run, DATA, "data.safetensors"), b"peptides")
        code = store.put_content(layout.code_key(run, CODE, "mimir.whl"), b"code")
        record = RunRecord(
            run, "smoke", CONFIG.as_dict(), 0, time.time() - 3600, data, code, {"fit": True}
        )
        create_run(store, record)
        begin(ground, run, store if run != VICTIM else as_machine(1), (5, 10))
    ground.cloud.machines = {
        id: one for id, one in ground.cloud.machines.items() if not one.name.startswith("mimir-mid")
    }
    notes.record_outcome(
        as_machine(1), VICTIM, 1, notes.Outcome(75, "SIGTERM", time.time() - 900, 10, "signal")
    )
    notes.record_gone(
        store, VICTIM, 1, notes.Gone(time.time() - 900, "eviction", "its machine is gone")
    )
    begin(ground, VICTIM, as_machine(2), (12, 15))


def begin(ground: Ground, run: str, store: Store, steps: tuple[int, ...]) -> None:
    """The next attempt of a run is ordered, claims it, and commits these steps."""
    choices = [Choice(ground.provider, offer(0.5), time.time() + 10 * 3600, 2.0)]
    placed = ordering.order(ground.store, run, choices, PLAN, ground.told.append)
    held = Attempt.claim(store, run, placed.attempt)
    if placed.attempt > 1:
        held.load_newest(lambda content: content)
        getattr(held, "inherit", lambda: None)()
    for step in steps:
        held.commit(step, f"state of step {step} of {run}".encode(), 4.0 - step / 100)
    ground.beat(run, placed.attempt, steps[-1])
    store.put(f"{run}/a{placed.attempt:04d}/log/000001.txt", b"it trains\n")


@contextlib.contextmanager
def standing(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    """The ground with the launcher set up on it: its store, registry, keys and no waiting."""
    monkeypatch.chdir(ground.folder)
    monkeypatch.setenv("MIMIR_STORE", ground.store.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OWN[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OWN[1])
    monkeypatch.setattr("mimir.runs.store.open_store", lambda url, **_: ground.store)
    monkeypatch.setattr("launch.payload.credentials.mint", ground.mint)
    monkeypatch.setattr("launch.payload.key_link.hand_over", lambda *_: "https://link")
    monkeypatch.setattr("launch.payload.key_link.revoke", lambda *_: None)
    monkeypatch.setattr("launch.payload.container.of", boot)
    monkeypatch.setattr("launch.payload.by_link.of", lambda store, run, attempt, what: what)
    monkeypatch.setattr(
        "launch.provision.wait.await_beginning", lambda *_: Beginning("running", 0, "as if it had")
    )
    for module in ("head", "begin"):  # waiting for what will not change
        monkeypatch.setattr(f"mimir.runs.{module}.pauses", lambda rng, tries: iter([0.0] * tries))
    monkeypatch.setattr(registry, "ROWS", ROWS)
    registry.get.cache_clear()
    _HERE.append(ground)
    try:
        yield ground
    finally:
        _HERE.pop()
        registry.get.cache_clear()


@dataclass(frozen=True)
class Machine2:
    """What a machine can do: the keys of its attempt, and those of the attempt before."""

    store: Store
    old: Store

    def own(self, name: str, body: Any) -> None:
        """Write an object of its own: bytes, text, or what JSON makes of anything else."""
        self.store.put(f"{VICTIM}/a0002/{name}", as_bytes(body))

    def head(self, body: Any = None, *, by: str = "store", **changes: Any) -> None:
        """Swap HEAD for this body, or for what it says with these changes."""
        store: Store = getattr(self, by)
        found = store.read(f"{VICTIM}/HEAD")
        assert found is not None
        if body is None:
            with contextlib.suppress(ValueError):
                body = {**json.loads(found.data), **changes}
        store.compare_and_swap(f"{VICTIM}/HEAD", as_bytes(body), found.version)


def as_bytes(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    text = body if isinstance(body, str) else json.dumps(body)
    return text.encode(errors="surrogatepass")


def heartbeat(**changes: Any) -> dict[str, Any]:
    """A good one, but for these changes."""
    good = Heartbeat(time.time(), 15, 100, 0.1, 20.0, 3.0, device="RTX 4090")
    return {**_written(lambda store: notes.write_heartbeat(store, VICTIM, 2, good)), **changes}


def outcome(**changes: Any) -> dict[str, Any]:
    """A good one, but for these changes."""
    good = Outcome(75, "", time.time(), 15)
    return {**_written(lambda store: notes.record_outcome(store, VICTIM, 2, good)), **changes}


def unended(**changes: Any) -> dict[str, Any]:
    """A good one, but for these changes."""
    good = Unended(time.time(), "")
    return {**_written(lambda store: notes.record_unended(store, VICTIM, 2, good)), **changes}


def _written(write: Callable[[Store], object]) -> dict[str, Any]:
    """The document as Mimir writes it."""
    store = MemoryStore()
    write(store)
    (found,) = store.objects.values()
    return dict(json.loads(found.data))
