"""HTTP on loopback for the fakes: requests parsed, answers sent whole, held open, or not at all."""

import contextlib
import json
import select
import socketserver
import sys
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

import httpx

PLAIN = httpx.HTTPTransport(verify=False)
"""For adapters: loopback needs no certificates, and to load them takes ten times as long as a
request."""


class Exchange(NamedTuple):
    """A request and its answer. status is None if none was given; fault: what was armed for it."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    status: int | None
    answer: Any
    content_type: str
    fault: str


@dataclass(frozen=True)
class Request:
    """token: the bearer token, "" if there is none. body: parsed JSON, or the text."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    token: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """body: JSON, or text as it is (a str), or None for no content.

    held: seconds for which the answer stays open behind the body, as an event stream's does.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    held: float = 0.0


class Hangup(Exception):
    """Raise it to close the connection without an answer."""


HTML_403 = Answer(
    403,
    "<!DOCTYPE html><html><title>Access denied</title><body>error code: 1010</body></html>",
    content_type="text/html; charset=UTF-8",
)


class Server(socketserver.ThreadingTCPServer):
    """Answers each request on a thread of its own; a Hangup closes the connection."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet
    timeout = 60
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        body: Any = None
        if text:
            body = text.decode(errors="replace")
            with contextlib.suppress(ValueError):
                body = json.loads(text)
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        request = Request(
            self.command,
            urllib.parse.unquote(url.path),
            dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True)),
            body,
            token.strip() if scheme.lower() == "bearer" else "",
            {name.lower(): value for name, value in self.headers.items()},
        )
        try:
            answer = self.server.answer(request)
        except Hangup:
            self.close_connection = True
            return
        content = b""
        if answer.body is not None:
            text_form = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
            content = text_form.encode()
        self.send_response(answer.status)
        if content:
            self.send_header("Content-Type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.held:
            self.send_header("Connection", "close")
        elif answer.status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        if answer.held:
            self.wfile.flush()
            select.select([self.connection], [], [], answer.held)  # readable when the other leaves

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve
