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
from itertools import pairwise
from typing import Annotated

from mimir.errors import BadInput, Conflict, Corrupt, Fenced, StoreDenied, StoreError, StoreUnfit
from mimir.runs import codec, layout
from mimir.runs.ranges import (
    MOST_ATTEMPTS,
    MOST_KEPT,
    AtMost,
    Measure,
    Number,
    NumberOrNone,
    OneOf,
    Sequence,
    Size,
    Step,
)
from mimir.runs.store import Store, Stored

FORMAT = 1
LIVE = ("queued", "running")
REMOVED = "removed"
"""State of a run that somebody removes: nothing begins it again (mimir.runs.remove)."""
ENDED = ("done", "failed", "stopped", REMOVED)


@dataclass(frozen=True)
class Kept:
    """A committed checkpoint. `loss` is the figure that selects, None if it was not measured."""

    key: str
    step: Step
    attempt: Number
    size: Size
    sha256: str
    loss: Measure | None = None

    def __post_init__(self) -> None:
        Stored(self.key, self.size, self.sha256)
        if self.loss is not None and not math.isfinite(self.loss):
            raise Corrupt(f"{self.key}: the loss {self.loss} is not finite")


Checkpoints = Annotated[tuple[Kept, ...], AtMost(MOST_KEPT)]


@dataclass(frozen=True)
class Head:
    """State of a run. `kept` is in order of steps; keys can be given to the store as they are.

    attempt: the fencing token, 0 before the first; owner: the process that holds it ("" while
    queued). lineage: (attempt, step it went on from) of every attempt that began to train.
    """

    run: str
    attempt: NumberOrNone = 0
    owner: str = ""
    nonce: str = ""
    seq: Sequence = 0
    state: Annotated[str, OneOf(LIVE + ENDED)] = "queued"
    reason: str = ""
    step: Step = 0
    kept: Checkpoints = ()
    best: str | None = None
    lineage: tuple[tuple[Number, Step], ...] = ()
    model: Stored | None = None

    def __post_init__(self) -> None:
        """What HEAD names is deleted, fetched and gone on from: it must be this run's own.

        Whether its attempt is to be believed, the orders say (`mimir.runs.orders`).
        """
        where = f"HEAD of {self.run}"
        if not 0 <= self.attempt <= MOST_ATTEMPTS:
            raise Corrupt(f"{where}: attempt {self.attempt} is not from 0 to {MOST_ATTEMPTS}")
        for kept in self.kept:
            if layout.parse_checkpoint(self.run, kept.key) != (kept.attempt, kept.step):
                raise Corrupt(
                    f"{where}: {kept.key!r} is no checkpoint of attempt {kept.attempt}, step "
                    f"{kept.step}"
                )
        if any(a.step >= b.step for a, b in pairwise(self.kept)):
            raise Corrupt(f"{where}: kept checkpoints are not in order of steps")
        if self.step != (self.kept[-1].step if self.kept else 0):
            newest = f"the newest kept is of {self.kept[-1].step}" if self.kept else "none is kept"
            raise Corrupt(f"{where}: it is at step {self.step}, but of its checkpoints {newest}")
        if self.best is not None and self.best not in {kept.key for kept in self.kept}:
            raise Corrupt(f"{where}: the best checkpoint is not among those kept")
        if any(a >= b for (a, _), (b, _) in pairwise(self.lineage)):
            raise Corrupt(f"{where}: its attempts are not in their order")
        if self.lineage and self.lineage[-1][0] > self.attempt:
            raise Corrupt(f"{where}: it names attempt {self.lineage[-1][0]}, which has not begun")
        if self.model and not layout.is_model(self.run, self.model.key):
            raise Corrupt(f"{where}: {self.model.key!r} is no model of this run")

    def to_bytes(self) -> bytes:
        return codec.sealed({**asdict(self), "reason": codec.shortened(self.reason)}, FORMAT)

    @classmethod
    def from_bytes(cls, data: bytes, key: str = "") -> "Head":
        """OtherFormat for another format, Corrupt for what is no HEAD.

        key: where it lies; HEAD of another run is none there.
        """
        where = key or "HEAD"
        head = codec.typed(cls, codec.unsealed(data, FORMAT, where), where)
        if key and key != f"{head.run}/HEAD":
            raise Corrupt(f"{key} is the HEAD of another run, {head.run!r}")
        return head

    def queued_at(self, attempt: int) -> "Head":
        """The same with an attempt that nobody has begun; where orders were lost, lineage may name
        later ones, which count for nothing any more."""
        lineage = tuple(each for each in self.lineage if each[0] <= attempt)
        return replace(self, attempt=attempt, owner="", state="queued", reason="", lineage=lineage)

    def newest(self) -> Kept | None:
        return self.kept[-1] if self.kept else None


def find_head(store: Store, run: str) -> Head | None:
    """HEAD of a run, None if there is none; raises as `Head.from_bytes`."""
    key = layout.head_key(run)
    found = store.read(key)
    return Head.from_bytes(found.data, key) if found else None


def fresh(rng: random.Random) -> str:
    """32 hex digits that nobody else draws: `rng` must be a SystemRandom outside of tests."""
    return f"{rng.getrandbits(128):032x}"


def pauses(rng: random.Random, tries: int) -> Iterator[float]:
    """Seconds to wait after each of `tries` tries: doubling from 0.2 to 5, jittered by half."""
    for n in range(tries):
        yield min(5.0, 0.2 * 2**n) * rng.uniform(0.5, 1.5)


MISSING, UNREAD = "missing", "unread"
"""In place of the version of a HEAD that is not there, and of one that is too large to be read."""


class Register:
    """HEAD as one writer sees it. Thread-safe: swaps of one writer go one after another.

    stand_in: what counts where HEAD is missing or is none, for the launcher, which may replace
    such a HEAD; None for nothing, as for a worker, to which it is Corrupt.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        tries: int = 8,
        stand_in: Callable[[], Head | None] = lambda: None,
    ) -> None:
        self.store = store
        self.key = key
        self.sleep = sleep
        self.rng = rng or random.SystemRandom()
        self.tries = tries
        self.broken = False
        """Whether HEAD as last looked at was none, and `stand_in` stands for it."""
        self._stand_in = stand_in
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
                version = self._write(wanted.to_bytes(), version)
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
            except BadInput as other:
                # Of another format, so not of our writing.
                raise Fenced(
                    f"another Mimir has the run now, this process stops: {other}"
                ) from other
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

    def _write(self, data: bytes, version: str) -> str:
        if version == MISSING:
            return self.store.put_if_absent(self.key, data)
        if version == UNREAD:
            # Its version is not known. Should this meet another one's repair, that is repeated.
            self.store.put(self.key, b"{}")
            raise Conflict(f"{self.key} was too large to be read")
        return self.store.compare_and_swap(self.key, data, version)

    def _draft(self, make: Callable[[Head], Head], base: Head) -> Head:
        wanted = replace(make(base), nonce=fresh(self.rng), seq=base.seq + 1)
        self._issued.add(wanted.nonce)
        return wanted

    def _judge(self, current: Head, base: Head, wanted: Head, error: StoreError) -> None:
        """Raise Fenced if the HEAD found after a doubtful answer is another writer's."""
        if current.nonce == base.nonce or current.nonce in self._issued:
            return
        if current.state == REMOVED:
            raise Fenced(f"run {current.run} was removed: this process stops and leaves it alone")
        raise Fenced(
            f"{self.key} is now attempt {current.attempt} of owner {current.owner or 'nobody'}, "
            f"this process held attempt {base.attempt}: it stops and leaves the run alone"
        ) from (error if isinstance(error, Conflict) else None)

    def _look(self) -> tuple[Head, str] | None:
        version = UNREAD
        try:
            found = self.store.read(self.key)
            version = found.version if found else MISSING
            head = Head.from_bytes(found.data, self.key) if found else None
        except Corrupt:
            head = self._stand_in()
            if head is None:
                raise
            self.broken = True
            return head, version
        self.broken = head is None
        if head is None:
            head = self._stand_in()
            return (head, version) if head else None
        if self._seen is not None and head.seq < self._seen[0].seq:
            raise StoreError(
                f"{self.key} is shown as it was at change {head.seq}, this process knows "
                f"change {self._seen[0].seq}: the store answers from memory"
            )
        return head, version
