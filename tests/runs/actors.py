"""Who acts in a simulation: processes of which one runs at a time, and their way to the store."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from mimir.errors import StoreError
from mimir.runs.store import Stored, Versioned
from tests.runs.truth import HEAD, Truth

LOST_REQUEST = LOST_ANSWER = HIDDEN_RETRY = 0.08
LATE = 0.04
STALE = 0.05


class Stage(Protocol):
    """What actors need of their simulation."""

    rng: random.Random
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

    def read(self, key: str) -> Versioned | None:
        if key == HEAD and self._sim.chance(STALE):
            return self._ask(lambda: self._sim.rng.choice(self._truth.past))
        return self._ask(lambda: self._truth.read(key))

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
        if self._sim.chance(LOST_ANSWER):
            raise StoreError("timeout")
        return request()

    def _tell(self, request: Callable):
        self._actor.pause()
        sim = self._sim
        if sim.chance(LOST_REQUEST):
            raise StoreError("timeout")
        if sim.chance(LATE):
            sim.late.append((self._actor, request))
            raise StoreError("timeout")
        answer = sim.land(self._actor, request)
        if sim.chance(HIDDEN_RETRY):
            self._actor.pause()
            answer = sim.land(self._actor, request)
        self._actor.pause()
        if sim.chance(LOST_ANSWER):
            raise StoreError("timeout")
        if isinstance(answer, Exception):
            raise answer
        return answer
