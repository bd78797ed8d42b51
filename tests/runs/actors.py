"""Who acts in a simulation: processes of which one runs at a time, and their way to the store."""

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

from mimir.errors import StoreError
from mimir.runs.store import Stored, Versioned
from tests.runs.truth import HEAD, Truth


@dataclass(frozen=True)
class Rates:
    """How often what happens, each as a probability.

    Of a request to the store: lost_request, lost_answer, hidden_retry, late, and stale for a read
    of HEAD that shows an older one. At each point of the schedule: kill, freeze, spoil.
    """

    lost_request: float = 0.08
    lost_answer: float = 0.08
    hidden_retry: float = 0.08
    late: float = 0.04
    kill: float = 0.006
    freeze: float = 0.02
    spoil: float = 0.002
    stale: float = 0.05

    @classmethod
    def drawn(cls, rng: random.Random) -> "Rates":
        """Each from a quarter of its usual value to four times that; now and then none of it."""
        usual = cls()
        return cls(
            **{
                each.name: 0.0
                if rng.random() < 0.1
                else getattr(usual, each.name) * 4 ** rng.uniform(-1, 1)
                for each in fields(cls)
            }
        )


CALM = Rates(**{each.name: 0.0 for each in fields(Rates)})
"""The network is well, and nobody is killed."""


class Stage(Protocol):
    """What actors need of their simulation."""

    rng: random.Random
    rates: Rates
    truth: Truth
    back: threading.Lock
    late: list[tuple["Actor", Callable]]
    failure: BaseException | None

    def chance(self, probability: float) -> bool:
        """True as often as that."""

    def land(self, actor: "Actor", request: Callable) -> Any:
        """The request reaches the store; its answer, or the refusal as a value."""


class Killed(BaseException):
    """SIGKILL: no code of the actor runs after this."""


class Actor:
    """A process: a thread that runs only while it holds the baton."""

    def __init__(self, sim: Stage, name: str, attempt: int, body: Callable) -> None:
        self.name, self.attempt = name, attempt
        self.owner = name
        self.rng = random.Random(sim.rng.getrandbits(64))
        self.go = threading.Lock()
        self.go.acquire()
        self.killed = self.over = False
        self.frozen_until = 0
        self._sim, self._body = sim, body
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def pause(self, _: float = 0) -> None:
        """Hand the baton back; go on when the scheduler says so."""
        if self.killed:
            raise Killed
        self._sim.back.release()
        self.go.acquire()
        if self.killed:
            raise Killed

    def _run(self) -> None:
        self.go.acquire()
        try:
            if not self.killed:
                self._body(self)
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the scheduler, which raises it
            self._sim.failure = self._sim.failure or error
        self.over = True
        self._sim.back.release()


class Wire:
    """The store as one actor reaches it: over a network."""

    url = "memory://"

    def __init__(self, sim: Stage, actor: Actor) -> None:
        self._sim, self._actor, self._truth = sim, actor, sim.truth

    def read(self, key: str, **limit: int) -> Versioned | None:
        if key == HEAD and self._sim.chance(self._sim.rates.stale):
            return self._ask(lambda: self._sim.rng.choice(self._truth.past))
        return self._ask(lambda: self._truth.read(key, **limit))

    def get(self, key: str, **expected) -> bytes:
        return self._ask(lambda: self._truth.get(key, **expected))

    def list(self, prefix: str) -> Iterator[str]:
        return self._ask(lambda: self._truth.list(prefix))

    def put_if_absent(self, key: str, data: bytes) -> str:
        return self._tell(lambda: self._truth.put_if_absent(key, data))

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        return self._tell(lambda: self._truth.compare_and_swap(key, data, version))

    def put_content(self, key: str, content: bytes, progress=None) -> Stored:
        return self._tell(lambda: self._truth.put_content(key, content))

    def delete(self, key: str) -> None:
        self._tell(lambda: self._truth.delete(key))

    def _ask(self, request: Callable):
        self._actor.pause()
        if self._sim.chance(self._sim.rates.lost_answer):
            raise StoreError("timeout")
        return request()

    def _tell(self, request: Callable):
        self._actor.pause()
        sim = self._sim
        if sim.chance(sim.rates.lost_request):
            raise StoreError("timeout")
        if sim.chance(sim.rates.late):
            sim.late.append((self._actor, request))
            raise StoreError("timeout")
        answer = sim.land(self._actor, request)
        if sim.chance(sim.rates.hidden_retry):
            self._actor.pause()
            answer = sim.land(self._actor, request)
        self._actor.pause()
        if sim.chance(sim.rates.lost_answer):
            raise StoreError("timeout")
        if isinstance(answer, Exception):
            raise answer
        return answer
