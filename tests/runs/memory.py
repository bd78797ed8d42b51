"""A store in memory, strict about every promise, for tests that need speed or a fault."""

import hashlib
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from mimir.errors import Conflict, NotFound
from mimir.runs.store import (
    DOCUMENT,
    Progress,
    Stored,
    Versioned,
    check_key,
    too_large,
    verify,
)

T = TypeVar("T")


class MemoryStore:
    """As a class that overrides `_set` alone wants it: each conditional write is one step.

    clock: its own, in unix s.
    """

    def __init__(self) -> None:
        self.url = "memory://"
        self.objects: dict[str, Versioned] = {}
        self.clock: Callable[[], float] = time.time
        self._versions = itertools.count(1)
        self._turn = threading.RLock()

    def _set(self, key: str, data: bytes) -> str:
        version = str(next(self._versions))
        self.objects[check_key(key)] = Versioned(bytes(data), version, self.clock())
        return version

    def now(self) -> float:
        return self.clock()

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        found = self.objects.get(check_key(key))
        if found is not None and len(found.data) > limit:
            raise too_large(key, len(found.data), limit)
        return found

    def put_if_absent(self, key: str, data: bytes) -> str:
        with self._turn:
            if key in self.objects:
                raise Conflict(f"{key} exists already")
            return self._set(key, data)

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        with self._turn:
            if key not in self.objects or self.objects[key].version != version:
                raise Conflict(f"{key} was changed by another writer")
            return self._set(key, data)

    def put_content(
        self, key: str, content: bytes | memoryview | Path, progress: Progress | None = None
    ) -> Stored:
        data = content.read_bytes() if isinstance(content, Path) else bytes(content)
        self._set(key, data)
        if progress:
            progress(len(data))
        return Stored(key, len(data), hashlib.sha256(data).hexdigest())

    def put(self, key: str, data: bytes) -> None:
        self._set(key, data)

    def get(
        self,
        key: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
        limit: int = DOCUMENT,
        progress: Progress | None = None,
    ) -> bytes:
        if key not in self.objects:
            raise NotFound(f"there is no {key}")
        most, has = limit if size is None else size, len(self.objects[key].data)
        if has > most:
            raise too_large(key, has, most)
        return verify(self.objects[key].data, key, size, sha256)

    def list(self, prefix: str) -> Iterator[str]:
        return iter(sorted(key for key in self.objects if key.startswith(prefix)))

    def folders(self) -> Iterator[str]:
        return iter(sorted({key.partition("/")[0] for key in self.objects if "/" in key}))

    def delete(self, key: str) -> None:
        self.objects.pop(check_key(key), None)


class CountingStore(MemoryStore):
    """Counts requests as a bucket has them: a listing takes one for each thousand names."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []

    def asked(self, what: str) -> None:
        """A request; overridden by who makes each take its time."""
        self.requests.append(what)

    def read(self, key: str, *, limit: int = DOCUMENT) -> Versioned | None:
        self.asked(f"read {key}")
        return super().read(key, limit=limit)

    def get(self, key: str, **how: Any) -> bytes:
        self.asked(f"get {key}")
        return super().get(key, **how)

    def put(self, key: str, data: bytes) -> None:
        self.asked(f"put {key}")
        super().put(key, data)

    def put_if_absent(self, key: str, data: bytes) -> str:
        self.asked(f"put {key}")
        return super().put_if_absent(key, data)

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        self.asked(f"put {key}")
        return super().compare_and_swap(key, data, version)

    def list(self, prefix: str) -> Iterator[str]:
        return self._pages(f"list {prefix}", super().list(prefix))

    def folders(self) -> Iterator[str]:
        return self._pages("folders", super().folders())

    def _pages(self, what: str, names: Iterable[str]) -> Iterator[str]:
        self.asked(what)
        for number, name in enumerate(names):
            if number and number % 1000 == 0:
                self.asked(what)
            yield name

    def count(self, act: Callable[[], T]) -> tuple[T, int]:
        """What `act` gives, and the requests that it took."""
        before = len(self.requests)
        return act(), len(self.requests) - before
