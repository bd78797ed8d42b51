"""The protocol with one safeguard taken out each: what the simulation must see."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

from mimir.errors import Conflict, Fenced, StoreError
from mimir.runs import collect, commit, layout
from mimir.runs.head import Head, Register
from tests.runs.truth import HEAD, Truth


class BlindTruth(Truth):
    """Weakened: HEAD is overwritten without a condition."""

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        return self._set(key, data)


class LooksThenWrites(Truth):
    """A store that is atomic only when it is asked one thing at a time.

    Between its look and its write whoever is scheduled acts, as on a server behind a network.
    """

    def put_if_absent(self, key: str, data: bytes) -> str:
        there = key in self.objects
        self._elsewhere()
        return super().put_if_absent(key, data) if there else self._set(key, data)

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        found = self.read(key)
        self._elsewhere()
        if found is None or found.version != version:
            return super().compare_and_swap(key, data, version)
        return self._set(key, data)

    def _elsewhere(self) -> None:
        actor, self.actor = self.actor, None
        # A request that lands late has nobody waiting for it.
        if actor is not None and threading.current_thread().name == actor.name:
            actor.pause()
        self.actor = actor


def deaf(self: Register, make: Callable[[Head], Head]) -> Head:
    """Weakened `Register._swap`: asks again for ever with the version that was refused."""
    assert self._seen is not None
    base, version = self._seen
    wanted = replace(make(base), nonce=f"{self.rng.getrandbits(128):032x}", seq=base.seq + 1)
    while True:
        try:
            version = self.store.compare_and_swap(self.key, wanted.to_bytes(), version)
            self._seen = wanted, version
            return wanted
        except StoreError:
            self.sleep(0)


def face_value(self: Register, make: Callable[[Head], Head]) -> Head:
    """Weakened `Register._swap`: a refusal is believed without reading HEAD."""
    assert self._seen is not None
    base, version = self._seen
    wanted = replace(make(base), nonce=f"{self.rng.getrandbits(128):032x}", seq=base.seq + 1)
    for _ in range(self.tries):
        try:
            version = self.store.compare_and_swap(self.key, wanted.to_bytes(), version)
            self._seen = wanted, version
            return wanted
        except Conflict as conflict:
            raise Fenced("another version is there") from conflict
        except StoreError:
            self.sleep(0)
    raise StoreError("HEAD could not be written")


def anonymous_key(run: str, attempt: int, step: int, nonce: str) -> str:
    """Weakened `layout.checkpoint_key`: every attempt writes the same keys."""
    return f"{run}/s{step:08d}.safetensors"


@contextlib.contextmanager
def _anonymous() -> Iterator[None]:
    with (
        mock.patch.object(layout, "checkpoint_key", anonymous_key),
        mock.patch.object(layout, "parse_checkpoint", _believe),
    ):
        yield


def _believe(run: str, key: str) -> Any:
    return mock.ANY


def delete_unknown(store, run: str, say=None) -> list[str]:
    """Weakened `collect`: deletes what HEAD does not name, whoever wrote it."""
    head = Head.from_bytes(store.read(HEAD).data)
    named = {kept.key for kept in head.kept}
    doomed = [key for key in store.list(f"{run}/a") if key not in named]
    for key in doomed:
        store.delete(key)
    return doomed


def believing(self: Register) -> tuple[Head, str] | None:
    """Weakened `Register._look`: an older HEAD than the one it knows is believed."""
    found = self.store.read(self.key)
    return found and (Head.from_bytes(found.data), found.version)


def _no_change() -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


VARIANTS: dict[str, tuple[type[Truth], Callable[[], contextlib.AbstractContextManager]]] = {
    "protocol": (Truth, _no_change),
    "unconditional": (BlindTruth, _no_change),
    "looks-then-writes": (LooksThenWrites, _no_change),
    "deaf": (Truth, lambda: mock.patch.object(Register, "_swap", deaf)),
    "anonymous-keys": (Truth, _anonymous),
    "face-value": (Truth, lambda: mock.patch.object(Register, "_swap", face_value)),
    "believes-stale": (Truth, lambda: mock.patch.object(Register, "_look", believing)),
    "older-fences": (
        Truth,
        lambda: mock.patch.object(commit, "must_have_reached"),
    ),
    "delete-unknown": (
        Truth,
        lambda: mock.patch.object(collect, "collect", delete_unknown),
    ),
}
