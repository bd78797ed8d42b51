"""Clouds, runs and time on paper: nothing runs, and nobody waits."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from launch.contract.cloud import ContainerSpec, Instance, State, machine_name
from launch.contract.offer import Need, Offer
from launch.contract.provider import AttemptSpec, Caps, Check
from launch.contract.redaction import Secrets
from launch.payload import credentials
from launch.providers.rented import Rented
from mimir.config import Config, load_preset
from mimir.runs import codec, layout, notes, owner
from mimir.runs.attempts import AttemptStatus
from mimir.runs.begin import raise_attempt
from mimir.runs.commit import Attempt
from mimir.runs.notes import Gone, Heartbeat, Outcome
from mimir.runs.order import Order, Plan
from mimir.runs.record import RunRecord, create_run
from mimir.runs.status import Status
from mimir.runs.store import Store
from tests.launch.conftest import Clock
from tests.runs.memory import MemoryStore

START = 1_800_000_000.0
URL = "s3://bucket/runs"
OWNER = "0c0ffee0"
"""The id of the store on a desk."""
CREDENTIALS = credentials.Credentials("an id", "a secret", "a token", None)
CONFIG: Config = load_preset("smoke")
Fault = Exception | Callable[[Offer, str], str]


def offer(price: float = 0.5, place: str = "here", provider: str = "runpod", **more: Any) -> Offer:
    given = {"gpu": "RTX 4090", "memory_gb": 24.0, "id": f"{provider}-{place}-{price}", **more}
    return Offer(provider=provider, price=price, place=place, **given)


def named(run: str, attempt: int) -> str:
    """The name of a machine that the desk's store orders."""
    return machine_name(run, attempt, OWNER)


class Paper:
    """A Cloud whose machines exist on paper. faults: what the next creates do instead."""

    def __init__(self, name: str = "runpod") -> None:
        self.name = self.title = name
        self.key_variable = f"{name.upper()}_API_KEY"
        self.catalogue_name = ""
        self.caps = Caps(paid=True, spot=True, ends_itself=True)
        self.secrets = Secrets()
        self.machines: dict[str, Instance] = {}
        self.market: list[Offer] = [offer(provider=name)]
        self.faults: list[Fault] = []
        self.created: list[str] = []
        self.terminated: list[str] = []
        self.list_fails: list[Exception] = []
        self.get_fails: list[Exception] = []
        self.terminate_fails: list[Exception] = []
        self.forgotten: list[str] = []
        self.immortal = False
        self.key = True
        self.needs: list[Need] = []
        self.bill: Mapping[str, float] | Exception | None = None
        self._ids = itertools.count(1)

    def make(self, offer: Offer, name: str, price: float | None = None) -> str:
        id = f"i{next(self._ids)}"
        shown = offer.price if price is None else price
        self.machines[id] = Instance(id, name, State.RUNNING, "RUNNING", shown, place=offer.place)
        return id

    def becomes(self, id: str, state: State) -> None:
        self.machines[id] = replace(self.machines[id], state=state, said=state.upper())

    def alive(self) -> list[str]:
        return sorted(one.name for one in self.machines.values() if one.state is not State.GONE)

    def configured(self) -> bool:
        return self.key

    def offers(self, need: Need) -> list[Offer]:
        self.needs.append(need)
        return list(self.market)

    def regions(self) -> list[str]:
        return sorted({each.region for each in self.market})

    def create(self, offer: Offer, boot: ContainerSpec, name: str) -> str:
        self.created.append(name)
        fault = self.faults.pop(0) if self.faults else self.make
        if isinstance(fault, Exception):
            raise fault
        return fault(offer, name)

    def get(self, id: str) -> Instance | None:
        if self.get_fails:
            raise self.get_fails.pop(0)
        return self.machines.get(id)

    def instances(self) -> list[Instance]:
        if self.list_fails:
            raise self.list_fails.pop(0)
        return list(self.machines.values())

    def terminate(self, id: str) -> None:
        self.terminated.append(id)
        if not self.immortal:
            self.machines.pop(id, None)
        if self.terminate_fails:
            raise self.terminate_fails.pop(0)

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def logs(self, id: str, lines: int) -> list[str]:
        return [f"{id} said something"]

    def ending(self) -> Mapping[str, Any] | None:
        return None

    def billed(self, ids: Sequence[str], since: float, until: float) -> Mapping[str, float] | None:
        if isinstance(self.bill, Exception):
            raise self.bill
        return self.bill

    def checks(self) -> list[Check]:
        return [Check(f"{self.name} key", "ok")]


class Desk:
    """A store with the run `run`, a cloud, and time that passes by sleeping only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = _bucket()
        self.store.put(layout.OWNER, codec.sealed({"id": OWNER}, owner.FORMAT))
        self.clock = Clock()
        self.clock.now = START
        self.store.clock = self.clock
        self.cloud = Paper()
        self.provider = self.rented(self.cloud)
        self.said: list[str] = []
        self.left: list[str] = []
        self.credentials = CREDENTIALS
        create_run(
            self.store, RunRecord("run", "smoke", CONFIG.as_dict(), 0, START, probe={"fit": True})
        )
        monkeypatch.setattr(
            "launch.provision.order.credentials.for_machine", lambda *a, **k: self.credentials
        )
        monkeypatch.setattr("launch.payload.key_link.hand_over", self._leave)
        monkeypatch.setattr("launch.payload.key_link.revoke", self._take_back)
        monkeypatch.setattr("launch.payload.by_link.of", lambda store, run, attempt, what: what)
        monkeypatch.setattr(
            "launch.payload.container.of", lambda *a, **k: ContainerSpec("an image", ("sh",), {})
        )

    def rented(self, cloud: Paper) -> Rented:
        return Rented(
            cloud, opener=lambda url: self.store, clock=self.clock, sleep=self.clock.sleep
        )

    def say(self, line: str) -> None:
        self.said.append(line)

    def spec(self, attempt: int = 1, **more: Any) -> AttemptSpec:
        env = CREDENTIALS.environment()
        return AttemptSpec(URL, "run", attempt, **{"env": env, "offer": offer(), **more})

    def order(self, attempt: int = 1, **more: Any) -> Order:
        """order.json of an attempt, as somebody else wrote it just now."""
        made = self._intent(more)
        assert notes.record_order(self.store, "run", attempt, made)
        return made

    def begin(self, **more: Any) -> int:
        """Somebody else begins the next attempt just now, and has not ordered its machine yet."""
        return raise_attempt(self.store, "run", self._intent(more))

    def _intent(self, more: dict[str, Any]) -> Order:
        plan = more.pop("plan", Plan(("runpod",)))
        return Order("runpod", plan, self.clock(), offer(), **more)

    def beat(self, attempt: int, step: int = 0, dated: float = 0.0) -> None:
        """A heartbeat of a machine whose clock stands still. dated: s by which the store's part
        that writes it down is ahead of the one that is asked for the time."""
        self.store.clock = lambda: self.clock() + dated
        notes.write_heartbeat(self.store, "run", attempt, Heartbeat(5.0, step, 100, device="GPU"))
        self.store.clock = self.clock

    def end(self, attempt: int, code: int = 1, cause: str = "", reason: str = "crashed") -> None:
        outcome = Outcome(code, reason, self.clock(), 0, cause)
        assert notes.record_outcome(self.store, "run", attempt, outcome)

    def work(self, attempt: int, step: int = 0) -> Attempt:
        """The attempt's worker claims it, commits a step (unless 0), and gives a sign."""
        claimed = Attempt.claim(self.store, "run", attempt, sleep=self.clock.sleep)
        if step:
            claimed.commit(step, f"state of step {step}".encode(), None)
        self.beat(attempt, step)
        return claimed

    def gone(self, attempt: int) -> Gone:
        found = notes.read_gone(self.store, "run", attempt)
        assert found is not None
        return found

    def _leave(self, store: Store, run: str, attempt: int, *rest: object) -> str:
        self.left.append(f"{run} {attempt}")
        return "https://link"

    def _take_back(self, store: Store, run: str, attempt: int) -> None:
        self.left = [each for each in self.left if each != f"{run} {attempt}"]


def _bucket() -> MemoryStore:
    store = MemoryStore()
    store.url = URL
    return store


def status(*attempts: AttemptStatus, **more: Any) -> Status:
    """A run that is at the last of these attempts."""
    given: dict[str, Any] = {
        "run": "run", "preset": "smoke", "state": "running", "reason": "", "step": 0,
        "committed_step": 0, "total_steps": 100, "epoch": None, "rate": None, "eta_s": None,
        "loss": None, "val": None, "silent": False, "silent_s": None, "stop_requested": False,
        "attempt": len(attempts), "attempts": attempts, "kept": (), "best": None, "created": START,
        "at": START,
    }  # fmt: skip
    return Status(**{**given, **more})


def attempt(number: int = 1, **more: Any) -> AttemptStatus:
    return AttemptStatus(number, **{"from_step": None, "end": "", **more})
