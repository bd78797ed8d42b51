"""The store as it really is in a simulation; it looks at every change for a broken promise."""

import contextlib
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Protocol

from mimir.errors import Conflict, Corrupt, NotFound
from mimir.runs import layout
from mimir.runs.head import Head
from mimir.runs.store import Progress, Store, Stored, Versioned
from tests.runs.memory import MemoryStore

RUN = "sim"
HEAD = layout.head_key(RUN)


class Violation(AssertionError):
    """A promise was broken."""


class Writer(Protocol):
    """Who sent the request that is landing. attempt: 0 for a launcher."""

    name: str
    attempt: int
    owner: str

    def pause(self) -> None:
        """Let the others go on first."""


class Truth(MemoryStore):
    """The store itself; looks at every change for a broken promise."""

    def __init__(self) -> None:
        super().__init__()
        self.actor: Writer | None = None
        self.uploaded: dict[str, int] = {}
        self.named: set[str] = set()
        self.spoiled: set[str] = set()
        self.count: Counter[str] = Counter()
        self.past: list[Versioned] = []
        self._head: Head | None = None

    @property
    def head(self) -> Head:
        return self._head or Head.from_bytes(self.objects[HEAD].data)

    def _set(self, key: str, data: bytes) -> str:
        if key == HEAD:
            before, after = self._head, Head.from_bytes(data)
            if before is not None:
                self._transition(before, after)
            self._head = after
            self.named |= {kept.key for kept in after.kept}
        else:
            for kept in self.head.kept if self._head else ():
                if kept.key == key and hashlib.sha256(data).hexdigest() != kept.sha256:
                    raise Violation(f"{key} was overwritten after it was committed")
            if self.actor:
                self.uploaded[key] = self.actor.attempt
        version = super()._set(key, data)
        if key == HEAD:
            self.past.append(self.objects[key])
        return version

    def delete(self, key: str) -> None:
        if any(kept.key == key for kept in self.head.kept):
            raise Violation(f"{key} was deleted while HEAD names it")
        super().delete(key)

    def spoil(self, rng: random.Random) -> None:
        """A disk goes bad under one of the kept checkpoints."""
        if self.head.kept:
            key = rng.choice(self.head.kept).key
            found = self.objects[key]
            self._replace(key, replace(found, data=found.data[:-1]))
            self.spoiled.add(key)

    def _replace(self, key: str, found: Versioned) -> None:
        self.objects[key] = found

    def _transition(self, before: Head, after: Head) -> None:
        self.count["transitions"] += 1
        self.count["takeovers"] += after.attempt > before.attempt
        if after.attempt < before.attempt:
            raise Violation(f"attempt went back from {before.attempt} to {after.attempt}")
        if after.seq != before.seq + 1:
            raise Violation(f"seq went from {before.seq} to {after.seq}")
        if before.state == "done":
            raise Violation("a finished run was changed")
        old = {kept.key for kept in before.kept}
        if after.step < before.step:
            dropped = after.reason.startswith("dropped ")
            if not dropped or not {kept.key for kept in after.kept} <= old:
                raise Violation(f"step went back from {before.step} to {after.step}")
            if not old - {kept.key for kept in after.kept} <= self.spoiled:
                raise Violation("a checkpoint was dropped that was not corrupt")
            self.count["fallbacks"] += 1
        for kept in after.kept:
            found = self.objects.get(kept.key)
            if found is None:
                raise Violation(f"HEAD names {kept.key}, which is missing")
            intact = hashlib.sha256(found.data).hexdigest() == kept.sha256
            if not intact and kept.key not in self.spoiled:
                raise Violation(f"HEAD names {kept.key}, which holds other bytes")
            if kept.key not in old and not kept.attempt == after.attempt == before.attempt:
                raise Violation(f"{kept.key} of attempt {kept.attempt} came into HEAD later")
            if self.uploaded.get(kept.key) != kept.attempt:
                raise Violation(f"{kept.key} was not written by attempt {kept.attempt}")
        actor = self.actor
        if actor and actor.attempt:
            inherited = {kept.attempt for kept in after.kept} - {after.attempt}
            if inherited and not {kept.key for kept in after.kept} <= old:
                raise Violation(f"{actor.name} committed, and HEAD names attempts {inherited}")
            claims = after.owner == actor.owner and after.kept == before.kept
            if actor.attempt != before.attempt or not (before.owner == actor.owner or claims):
                raise Violation(f"{actor.name} changed HEAD of attempt {before.attempt}")


class Mirrored(Truth):
    """The same promises, of a real store: it must answer each request as the one in memory does."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._real: dict[str, str] = {}  # version here -> version there

    def read(self, key: str, **limit: int) -> Versioned | None:
        found, wanted = self._store.read(key, **limit), super().read(key, **limit)
        if (found and found.data) != (wanted and wanted.data):
            raise Violation(f"{key} reads as {found}, not as {wanted}")
        if wanted is not None and found is not None and wanted.version in self._real:
            self._same(key, found.version, self._real[wanted.version])
        return wanted

    def put_if_absent(self, key: str, data: bytes) -> str:
        return self._tried(
            key in self.objects, key, data, lambda: self._store.put_if_absent(key, data)
        )

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        fits = key in self.objects and self.objects[key].version == version
        return self._tried(
            not fits, key, data,
            lambda: self._store.compare_and_swap(key, data, self._real[version]),
        )  # fmt: skip

    def put_content(self, key: str, content: bytes, progress: Progress | None = None) -> Stored:
        wanted = super().put_content(key, content)
        self._same(key, self._store.put_content(key, content), wanted)
        return wanted

    def get(self, key: str, **expected) -> bytes:
        try:
            wanted = super().get(key, **expected)
        except (Corrupt, NotFound) as error:
            with contextlib.suppress(type(error)):
                self._store.get(key, **expected)
                raise Violation(f"{key} was given, although: {error}") from error
            raise
        self._same(key, self._store.get(key, **expected), wanted)
        return wanted

    def list(self, prefix: str) -> Iterator[str]:
        wanted = [*super().list(prefix)]
        self._same(prefix, [*self._store.list(prefix)], wanted)
        return iter(wanted)

    def delete(self, key: str) -> None:
        super().delete(key)
        self._store.delete(key)

    def _replace(self, key: str, found: Versioned) -> None:
        super()._replace(key, found)
        self._store.put(key, found.data)

    def _tried(self, refuse: bool, key: str, data: bytes, write: Callable[[], str]) -> str:
        try:
            real = write()
        except Conflict as error:
            if not refuse:
                raise Violation(f"{key} was refused, which fits: {error}") from error
            raise
        if refuse:
            raise Violation(f"{key} was accepted, which does not fit")
        version = self._set(key, data)
        self._real[version] = real
        return version

    def _same(self, key: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise Violation(f"{key} gave {found}, not {wanted}")
