"""Stores that keep their promises only when they are asked one thing at a time fail the race."""

import random
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from mimir.errors import StoreError, StoreUnfit
from mimir.runs import probe, race
from mimir.runs.s3_store import S3Store
from mimir.runs.s3_url import Bucket
from mimir.runs.store import Store, open_store
from tests.runs.memory import MemoryStore


class CreatesByLooking(MemoryStore):
    """Looks, and writes a moment later: alone it is as good as any."""

    def put_if_absent(self, key: str, data: bytes) -> str:
        there = key in self.objects
        time.sleep(0.02)
        return super().put_if_absent(key, data) if there else self._set(key, data)


class SwapsByLooking(MemoryStore):
    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        found = self.read(key)
        time.sleep(0.02)
        if found is None or found.version != version:
            return super().compare_and_swap(key, data, version)
        return self._set(key, data)


class KeepsTheLoser(MemoryStore):
    """Answers as it must, and holds what it refused."""

    def put_if_absent(self, key: str, data: bytes) -> str:
        try:
            return super().put_if_absent(key, data)
        finally:
            if self._many:
                self._set(key, data)

    _many = False


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (CreatesByLooking, "writers that created one key at once it told"),
        (SwapsByLooking, "writers that replaced one version of a key at once it told"),
    ],
)
def test_a_store_that_is_atomic_only_when_alone_is_unfit(
    kind: type[MemoryStore], says: str
) -> None:
    store = kind()
    probe.conditions(store, "demo")  # which sees nothing wrong
    with pytest.raises(StoreUnfit, match=says) as caught:
        probe.probe(store, "demo")
    assert "Ways out: " in str(caught.value)
    assert not store.objects


def test_one_that_holds_what_it_refused_is_unfit() -> None:
    store = KeepsTheLoser()
    probe.conditions(store, "demo")
    store._many = True
    with pytest.raises(StoreUnfit, match="does not hold the winner's"):
        probe.race(store, "demo")


def test_every_backend_passes_in_few_requests(store: Store) -> None:
    said = probe.probe(store, "demo")["race"]
    assert said.startswith(f"one winner each time: {race.ROUNDS} rounds of {race.WRITERS} writers")
    assert list(store.list("")) == []


class Lossy(MemoryStore):
    """Every other answer to a write is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def _lose(self, version: str) -> str:
        self.asked["writes"] += 1
        if self.asked["writes"] % 2:
            raise StoreError("timeout")
        return version

    def read(self, key: str, **limit: int) -> Any:
        self.asked["reads"] += 1
        return super().read(key, **limit)

    def put_if_absent(self, key: str, data: bytes) -> str:
        return self._lose(super().put_if_absent(key, data))

    def compare_and_swap(self, key: str, data: bytes, version: str) -> str:
        return self._lose(super().compare_and_swap(key, data, version))


def test_a_lost_answer_is_no_verdict() -> None:
    store = Lossy()
    race.race(store, "demo", random.Random(0))
    assert store.asked["reads"] == race.WRITERS + 2 * race.ROUNDS


def test_a_store_that_lets_nobody_win_is_not_called_fit() -> None:
    class Busy(MemoryStore):
        def put_if_absent(self, key: str, data: bytes) -> str:
            raise StoreError("busy")

    with pytest.raises(StoreError, match="refused all"):
        probe.race(Busy(), "demo")


class _Server(BaseHTTPRequestHandler):
    """As little of S3 as the race asks for; each server has objects of its own."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    turn: threading.Lock

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with self.turn:
            there = self.objects.get(self.path)
            wanted = self.headers.get("If-Match", "").strip('"')
            absent = self.headers.get("If-None-Match") == "*"
            if (absent and there is not None) or (wanted and _etag(there) != wanted):
                return self._say(412, b"<Error><Code>PreconditionFailed</Code></Error>")
            self.objects[self.path] = data
        return self._say(200, b"", _etag(data))

    def do_GET(self) -> None:
        there = self.objects.get(self.path)
        if there is None:
            return self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        return self._say(200, there, _etag(there))

    def do_DELETE(self) -> None:
        self.objects.pop(self.path, None)
        self._say(204, b"")

    def _say(self, status: int, body: bytes, etag: str = "") -> None:
        self.send_response(status)
        if etag:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Last-Modified", self.date_time_string())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""


def _etag(data: bytes | None) -> str:
    return "" if data is None else f"{hash(data) & (2**64 - 1):x}"


class _Six(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def test_two_servers_behind_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is right by itself, and through the name alone nobody would see the second."""
    turn = threading.Lock()
    one, two = (type("Handler", (_Server,), {"objects": {}, "turn": turn}) for _ in range(2))
    with ThreadingHTTPServer(("127.0.0.1", 0), one) as first:
        port = first.server_address[1]
        with _Six(("::1", port), two) as second:
            for server in (first, second):
                server.daemon_threads, server.block_on_close = True, False
                threading.Thread(target=server.serve_forever, daemon=True).start()
            found = socket.getaddrinfo
            both = [*found("127.0.0.1", port, type=socket.SOCK_STREAM),
                    *found("::1", port, type=socket.SOCK_STREAM)]  # fmt: skip
            monkeypatch.setattr(
                socket, "getaddrinfo",
                lambda host, *a, **k: both if host == "localhost" else found(host, *a, **k),
            )  # fmt: skip
            store = S3Store(Bucket("b", endpoint=f"http://localhost:{port}", region="r"))
            with pytest.raises(StoreUnfit, match="it told 2 that they had won"):
                probe.race(store, "demo")
            second.shutdown()
        # Nobody listens at the second address now, as in a network without IPv6.
        assert "one address" in probe.race(store, "demo")
        first.shutdown()


def test_a_proxy_looks_names_up_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    store = open_store("s3://b?endpoint=http://localhost:9&region=r")
    assert list(store.by_address()) == [store]  # type: ignore[attr-defined]
