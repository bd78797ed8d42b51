"""An HTTP proxy that does to requests what networks and servers do, by a seed.

Each request is served, or meets one fault: an answer that comes late or in drips, a 5xx with
or without the request having landed, a connection that is reset before or after it landed, a
body or headers cut off, a redirect, or a web page of something in between. On top of that
everything can be refused for a while, access keys can expire, every request can meet one answer,
and headers can be forgotten on the way.
"""

import http.client
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = (
    "late", "drips", "503 unserved", "500 served", "reset unserved", "reset served", "cut off",
    "cut in headers", "redirect", "page",
)  # fmt: skip
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in</body></html>\n"
PAGES = (200, 403, 404, 502)
REDIRECTS = (301, 302, 307, 308)
_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>%s</Message></Error>"
_HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive", "date", "server")


class Faults:
    """A proxy on 127.0.0.1 in front of `upstream`; to be closed.

    rate: share of requests that meet a fault. counts: of the faults met, and "served".
    expired: access keys; forgotten: headers in small letters; verdict: (status, S3's code).
    spoils: flips a bit in what is sent. etag: what all answers say instead of theirs, "" for none.
    """

    def __init__(self, upstream: str, seed: int, rate: float) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.rate = rate
        self.counts: Counter[str] = Counter()
        self.away = False
        self.expired: set[str] = set()
        self.forgotten: set[str] = set()
        self.verdict: tuple[int, str] | None = None
        self.spoils = False
        self.etag = ""
        self._draws = random.Random(seed)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"faults": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def share(self) -> float:
        """Share of the requests so far that met a fault."""
        return 1 - self.counts["served"] / max(1, self.counts.total())

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """The store is away: every connection is reset."""
        self.away = True
        try:
            yield
        finally:
            self.away = False

    def draw(self, authorization: str) -> tuple[str, float]:
        """(what becomes of a request, a number from 0 to 1 for its size)."""
        key = authorization.partition("Credential=")[2].partition("/")[0]
        with self._lock:
            hit, which = self._draws.random() < self.rate, self._draws.choice(FAULTS)
            size = self._draws.random()
            what = which if hit else "served"
            if key in self.expired:
                what = "expired"
            if self.away:
                what = "away"
            self.counts[what] += 1
        return what, size


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: Faults

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        what, size = self.faults.draw(self.headers.get("Authorization", ""))
        if what in ("away", "reset unserved"):
            return self._reset()
        if what == "expired":
            return self._answer(400, {}, _ERROR % (b"ExpiredToken", b"The token has expired."))
        if self.faults.verdict is not None:
            status, code = self.faults.verdict
            return self._answer(status, {}, _ERROR % (code.encode(), b"No."))
        if what == "503 unserved":
            return self._answer(503, {}, _ERROR % (b"SlowDown", b"Reduce your request rate."))
        if what == "page":
            status = PAGES[int(len(PAGES) * size)]
            return self._answer(status, {"Content-Type": "text/html; charset=utf-8"}, PAGE)
        if what == "redirect":
            status = REDIRECTS[int(len(REDIRECTS) * size)]
            return self._answer(status, {"Location": "http://127.0.0.1:9/sign-in?a=b"}, b"")
        if what == "late":
            time.sleep(0.3 * size)
        status, headers, content = self._forward(body)
        if what == "500 served":
            return self._answer(500, {}, _ERROR % (b"InternalError", b"Try again."))
        if what == "reset served" or (what == "cut off" and not content):
            return self._reset()
        if what == "cut in headers":
            return self._cut(status, headers, content, size)
        if what == "cut off":
            return self._answer(status, headers, content, whole=int(len(content) * size))
        self._answer(status, headers, content, drips=8 if what == "drips" else 1)
        return None

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(self.faults.upstream, timeout=60)
        if self.faults.spoils and self.command == "PUT" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        try:
            dropped = {"expect", *self.faults.forgotten}
            headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
            upstream.request(self.command, self.path, body or None, headers)
            answer = upstream.getresponse()
            content = answer.read()
            kept = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP}
            if self.faults.etag and "ETag" in kept:
                kept["ETag"] = f'"{self.faults.etag}"'
            if self.command == "HEAD":
                kept["Content-Length"] = answer.headers.get("Content-Length", "0")
            return answer.status, kept, content
        finally:
            upstream.close()

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, *,
        whole: int | None = None, drips: int = 1,
    ) -> None:  # fmt: skip
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if whole is not None and whole < len(content):
            self.wfile.write(content[:whole])
            self.close_connection = True
            return
        step = max(1, -(-len(content) // drips))
        for at in range(0, len(content), step):
            self.wfile.write(content[at : at + step])
            if drips > 1:
                time.sleep(0.02)

    def _cut(self, status: int, headers: dict[str, str], content: bytes, size: float) -> None:
        """The head of an answer up to some byte behind the status, then an orderly end."""
        length = headers.get("Content-Length", str(len(content)))
        lines = [f"{name}: {value}" for name, value in headers.items() if name != "Content-Length"]
        first = f"HTTP/1.1 {status} "
        head = "\r\n".join([f"{first}Any", *lines, f"Content-Length: {length}", "", ""])
        self.wfile.write(head[: len(first) + int((len(head) - len(first) - 1) * size)].encode())
        self.close_connection = True

    def _reset(self) -> None:
        """Close with RST, so that the client sees a reset and no orderly end."""
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True  # the client was killed, or we have reset it

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            return  # as above

    def log_message(self, format: str, *arguments: object) -> None:
        """Silent."""
