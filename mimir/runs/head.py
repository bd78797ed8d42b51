"""HEAD, the one mutable object of a run, and the register through which it changes.

HEAD is changed by compare-and-swap only. An answer may be lost, or come from a retry of a
request that had already landed; therefore every body bears a fresh nonce, and after any
doubtful answer `Register` reads HEAD and lets the nonce found there decide:

    the nonce just written      the write landed
    the nonce it was based on   the write did not land: try again
    an older nonce of ours      a write given up earlier landed late: build on it, try again
    any other nonce             another writer owns HEAD: Fenced

Without this, 32 % of all fencings in a simulation were a writer that fenced itself.

A shared folder may show an older HEAD for a while: a network file system remembers for up to a
minute that a name is missing. HEAD's seq only grows, so what is older than the HEAD that this
process knows is no answer: it is asked for again, and fences nobody.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from mimir.errors import Conflict, Corrupt, Fenced, StoreDenied, StoreError, StoreUnfit
from mimir.runs import codec
from mimir.runs.store import Store, Stored

FORMAT = 1
LIVE = ("queued", "running")
ENDED = ("done", "failed", "stopped")


@dataclass(frozen=True)
class Kept:
    """A committed checkpoint. `loss` is the held-out loss that ranks it, None if not measured."""

    key: str
    step: int
    attempt: int
    size: int
    sha256: str
    loss: float | None = None

    def __post_init__(self) -> None:
        Stored(self.key, self.size, self.sha256)
        if self.step < 0 or self.attempt < 1:
            raise Corrupt(f"{self.key}: step {self.step} of attempt {self.attempt} is impossible")
        if self.loss is not None and not math.isfinite(self.loss):
            raise Corrupt(f"{self.key}: the loss {self.loss} is not finite")


@dataclass(frozen=True)
class Head:
    """State of a run. `kept` is in order of steps; keys can be given to the store as they are.

    attempt: the fencing token, 0 before the first; owner: the process that holds it ("" while
    queued). lineage: (attempt, step it went on from) of every attempt that began to train.
    """

    run: str
    attempt: int = 0
    owner: str = ""
    nonce: str = ""
    seq: int = 0
    state: str = "queued"
    reason: str = ""
    step: int = 0
    kept: tuple[Kept, ...] = ()
    best: str | None = None
    lineage: tuple[tuple[int, int], ...] = ()
    model: Stored | None = None
    format: int = FORMAT

    def __post_init__(self) -> None:
        where = f"HEAD of {self.run}"
        if self.state not in LIVE + ENDED:
            raise Corrupt(f"{where}: state {self.state!r} is unknown")
        if min(self.attempt, self.seq, self.step) < 0:
            raise Corrupt(f"{where}: a negative attempt, seq or step")
        if any(a.step >= b.step for a, b in zip(self.kept, self.kept[1:], strict=False)):
            raise Corrupt(f"{where}: kept checkpoints are not in order of steps")
        if self.best is not None and self.best not in {kept.key for kept in self.kept}:
            raise Corrupt(f"{where}: the best checkpoint is not among those kept")

    def to_bytes(self) -> bytes:
        return codec.encode(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes, where: str = "HEAD") -> "Head":
        """BadInput for a newer format, Corrupt for what is no HEAD."""
        value = codec.decode(data, where)
        codec.check_format(value, FORMAT, where)
        try:
            return cls(**_typed(value))
        except (TypeError, KeyError, ValueError) as error:
            raise Corrupt(f"{where} is not a HEAD of format {FORMAT}: {error}") from error

    def newest(self) -> Kept | None:
        return self.kept[-1] if self.kept else None


def _typed(value: dict[str, Any]) -> dict[str, Any]:
    typed = dict(value)
    typed["kept"] = tuple(Kept(**kept) for kept in value["kept"])
    typed["lineage"] = tuple((int(attempt), int(step)) for attempt, step in value["lineage"])
    typed["model"] = Stored(**value["model"]) if value["model"] else None
    return typed


def fresh(rng: random.Random) -> str:
    """32 hex digits that nobody else draws: `rng` must be a SystemRandom outside of tests."""
    return f"{rng.getrandbits(128):032x}"


def pauses(rng: random.Random, tries: int) -> Iterator[float]:
    """Seconds to wait after each of `tries` tries: doubling from 0.2 to 5, jittered by half."""
    for n in range(tries):
        yield min(5.0, 0.2 * 2**n) * rng.uniform(0.5, 1.5)


class Register:
    """HEAD as one writer sees it. Thread-safe: swaps of one writer go one after another."""

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        tries: int = 8,
    ) -> None:
        self.store = store
        self.key = key
        self.sleep = sleep
        self.rng = rng or random.SystemRandom()
        self.tries = tries
        self._seen: tuple[Head, str] | None = None
        self._issued: set[str] = set()
        self._lock = threading.RLock()

    @property
    def head(self) -> Head:
        """HEAD as last read or written by this register, without asking the store."""
        if self._seen is None:
            raise RuntimeError("HEAD was not read yet")
        return self._seen[0]

    def read(self) -> Head | None:
        """HEAD as it stands in the store, None if there is none. Retries transient errors."""
        with self._lock:
            self._seen = self._look_until_answered()
            return self._seen[0] if self._seen else None

    def peek(self) -> Head | None:
        """As `read`, but what this register goes on from stays as it is."""
        with self._lock:
            found = self._look_until_answered()
            return found[0] if found else None

    def _look_until_answered(self) -> tuple[Head, str] | None:
        for pause in pauses(self.rng, self.tries):
            try:
                return self._look()
            except (StoreDenied, StoreUnfit):
                raise
            except StoreError as error:
                last = error
                self.sleep(pause)
        raise StoreError(f"{self.key} could not be read in {self.tries} tries: {last}")

    def swap(self, make: Callable[[Head], Head]) -> Head:
        """Replace HEAD by `make` of it; the HEAD that was written.

        `make` may be called again, with a newer HEAD of our own writing; nonce and seq are set
        here. Fenced if another writer changed HEAD since it was read. StoreError if the tries
        are used up; the write may then still land, and the next swap finds it.
        """
        with self._lock:
            return self._swap(make)

    def _swap(self, make: Callable[[Head], Head]) -> Head:
        if self._seen is None:
            raise RuntimeError("HEAD was not read yet")
        base, version = self._seen
        wanted = self._draft(make, base)
        last: StoreError | None = None
        for pause in pauses(self.rng, self.tries):
            try:
                version = self.store.compare_and_swap(self.key, wanted.to_bytes(), version)
                self._seen = wanted, version
                return wanted
            except (StoreDenied, StoreUnfit):
                raise
            except StoreError as error:
                last = error
            try:
                found = self._look()
            except (StoreDenied, StoreUnfit):
                raise
            except StoreError as error:
                last = error
                self.sleep(pause)
                continue
            if found is None:
                raise Fenced(f"{self.key} is gone: the run was removed, this process stops")
            current, version = found
            self._judge(current, base, wanted, last)
            if current.nonce == wanted.nonce:
                self._seen = found
                return wanted
            if current.nonce != base.nonce:
                base, self._seen = current, found
                wanted = self._draft(make, base)
            self.sleep(pause)
        raise StoreError(f"{self.key} could not be written in {self.tries} tries: {last}")

    def _draft(self, make: Callable[[Head], Head], base: Head) -> Head:
        wanted = replace(make(base), nonce=fresh(self.rng), seq=base.seq + 1)
        self._issued.add(wanted.nonce)
        return wanted

    def _judge(self, current: Head, base: Head, wanted: Head, error: StoreError) -> None:
        """Raise Fenced if the HEAD found after a doubtful answer is another writer's."""
        if current.nonce == base.nonce or current.nonce in self._issued:
            return
        raise Fenced(
            f"{self.key} is now attempt {current.attempt} of owner {current.owner or 'nobody'}, "
            f"this process held attempt {base.attempt}: it stops and leaves the run alone"
        ) from (error if isinstance(error, Conflict) else None)

    def _look(self) -> tuple[Head, str] | None:
        found = self.store.read(self.key)
        if found is None:
            return None
        head = Head.from_bytes(found.data, self.key)
        if self._seen is not None and head.seq < self._seen[0].seq:
            raise StoreError(
                f"{self.key} is shown as it was at change {head.seq}, this process knows change "
                f"{self._seen[0].seq}: the store answers from memory"
            )
        return head, found.version
