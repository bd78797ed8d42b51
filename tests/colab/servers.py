"""Fakes of the servers that Colab's CLI talks to, on loopback, by the facts of its wire.

    Colab    the control plane over TLS, and a proxy that leads the CLI to it and nowhere else

The CLI itself is not changed: variables lead it here. It trusts this certificate alone, so
that a request that went to the real service could not be made.
What this does not show: the tunnel and TLS in front of a real machine, idle pruning, real
quotas and GPUs, Colab's own older kernel.
"""

import contextlib
import datetime
import itertools
import json
import re
import secrets
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.colab.machine import Machine

HOST = "colab.research.google.com"
BEARER = "ya29.planted-google-token"
VARIANTS = {"DEFAULT": 0, "GPU": 1, "TPU": 2}


class Colab:
    """The service with one account. Knobs may be set at any time.

    ttl: seconds that a machine's token is good. boot: seconds that its kernel takes to come up.
    refusals: (status, body) that the next orders get. denied: where the CLI wanted to go beside
    Colab. most: sessions at once. exits: endpoint -> what its cell wrote of the worker's end, for
    machines that are gone.
    """

    def __init__(self, folder: Path, python: Path) -> None:
        self.folder, self._python = folder, python
        self.ttl, self.most, self.boot = 3600.0, 1, 0.0
        self.refusals: list[tuple[int, str]] = []
        self.denied: list[str] = []
        self.requests: list[str] = []
        self.machines: dict[str, Machine] = {}
        self.hardware: dict[str, str] = {}
        self.made: list[str] = []
        self.exits: dict[str, str] = {}
        self.down = False
        self.tokens: set[str] = set()
        self._pending: dict[str, str] = {}
        self._assigned: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._lock, self._orders = threading.RLock(), threading.Lock()
        folder.mkdir(parents=True)
        context = _certificates(folder)
        self.ca = folder / "ca.pem"
        self._servers: list[Any] = []
        tls = self._serve(_Control)
        tls.socket = context.wrap_socket(tls.socket, server_side=True)
        self._inside = self._serve(_Inside).server_address[1]
        proxy = _Proxy(("127.0.0.1", 0), _Connect)
        proxy.colab, proxy.to = self, tls.server_address[1]
        self._servers.append(proxy)
        self.proxy = f"http://127.0.0.1:{proxy.server_address[1]}"
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    def environment(self) -> dict[str, str]:
        """Variables that lead an unchanged CLI here."""
        return {
            "HTTPS_PROXY": self.proxy, "NO_PROXY": "127.0.0.1",
            "REQUESTS_CA_BUNDLE": str(self.ca), "COLAB_CLI_RETRY_BACKOFF": "0.1",
        }  # fmt: skip

    def close(self) -> None:
        for endpoint in tuple(self.machines):
            self.kill(endpoint)
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def kill(self, endpoint: str) -> None:
        """End a session as Colab does at its limit: without a word."""
        with self._lock:
            machine = self.machines.get(endpoint)
            if machine is None:
                return
            self.tokens.update(machine.tokens())
            for path in (machine.disk / "content").glob("*.exit"):
                self.exits[endpoint] = path.read_text()
            # Last: who sees that the machine is gone finds what it left.
            del self.machines[endpoint]
        machine.kill()

    def assign(self, method: str, query: dict[str, list[str]], token: str) -> tuple[int, str]:
        notebook = query["nbh"][0]
        variant = query.get("variant", ["DEFAULT"])[0]
        gpu = query.get("accelerator", ["NONE"])[0]
        # One order at a time, but lists are answered while a machine comes up.
        with self._orders:
            machine = self.machines.get(self._assigned.get(notebook, ""))
            if machine is not None:  # the answer to an order was lost, and is asked for again
                return 200, json.dumps(self._shown(machine))
            if method == "GET":
                self._pending[notebook] = secrets.token_hex(8)
                told = {
                    "acc": gpu, "nbh": notebook, "p": False, "token": self._pending[notebook],
                    "variant": variant,
                }  # fmt: skip
                return 200, json.dumps(told)
            if token != self._pending.get(notebook):
                return 403, ""
            if self.refusals:
                return self.refusals.pop(0)
            if len(self.machines) >= self.most:
                return 412, ""
            endpoint = f"{variant.lower()}-{gpu.lower()}-s-{next(self._numbers)}"
            at = f"127.0.0.1:{self._inside}/{endpoint}"
            machine = Machine(endpoint, self._python, self.folder / endpoint, at, self.boot)
            with self._lock:
                self.machines[endpoint], self.hardware[endpoint] = machine, gpu
                self.made.append(endpoint)
                self._assigned[notebook] = endpoint
        told = {**self._shown(machine), "outcome": 4, "fit": 1800, "sub": 1, "subTier": 0}
        return 200, json.dumps(told)

    def listed(self) -> tuple[int, str]:
        with self._lock:
            return 200, json.dumps(
                {"assignments": [self._shown(machine) for machine in self.machines.values()]}
            )

    def unassign(self, method: str, endpoint: str) -> tuple[int, str]:
        if endpoint not in self.machines:
            return 404, ""
        if method == "GET":
            return 200, json.dumps({"token": "xsrf"})
        self.kill(endpoint)
        return 204, ""

    def _shown(self, machine: Machine) -> dict[str, Any]:
        gpu = self.hardware[machine.endpoint]
        return {
            "accelerator": gpu, "endpoint": machine.endpoint, "machineShape": 0,
            "variant": VARIANTS["DEFAULT" if gpu == "NONE" else "GPU"],
            "runtimeProxyInfo": {
                "token": machine.token(self.ttl), "tokenExpiresInSeconds": int(self.ttl),
                "url": machine.url,
            },
        }  # fmt: skip

    def _serve(self, handler: type[BaseHTTPRequestHandler]) -> Any:
        server = _Server(("127.0.0.1", 0), handler)
        server.colab = self
        self._servers.append(server)
        return server


class _Server(ThreadingHTTPServer):
    colab: Colab
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a CLI that was killed hangs up in the middle."""


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def answer(self, status: int, body: str) -> None:
        content = b"" if status == 204 or not body else (")]}'\n" + body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Control(_Answers):
    def do_GET(self) -> None:
        self._answered("GET")

    def do_POST(self) -> None:
        self._answered("POST")

    def _answered(self, method: str) -> None:
        server = self.server
        assert isinstance(server, _Server)
        url, colab = urlsplit(self.path), server.colab
        query = parse_qs(url.query)
        colab.requests.append(f"{method} {url.path}")
        if colab.down:
            self.answer(503, "")
        elif self.headers.get("Authorization") != f"Bearer {BEARER}":
            self.answer(401, "")
        elif query.get("authuser") != ["0"] or self.headers.get("X-Colab-Client-Agent") is None:
            self.answer(400, "")
        elif url.path == "/tun/m/assign":
            token = self.headers.get("X-Goog-Colab-Token", "")
            self.answer(*colab.assign(method, query, token))
        elif url.path == "/tun/m/assignments":
            self.answer(*colab.listed())
        elif url.path == "/tun/m/ccu-info":
            told = {"currentBalance": 0.0, "consumptionRateHourly": 0.0, "assignmentsCount": 0}
            self.answer(200, json.dumps(told))
        elif match := re.fullmatch(r"/tun/m/unassign/([\w-]+)", url.path):
            self.answer(*colab.unassign(method, match[1]))
        else:
            self.answer(404, "")


class _Inside(_Answers):
    """What a machine itself asks: to be given back."""

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        self.answer(200, "")
        self.wfile.flush()
        endpoint = self.path.strip("/").partition("/")[0]
        threading.Thread(target=server.colab.kill, args=(endpoint,), daemon=True).start()


class _Proxy(ThreadingTCPServer):
    colab: Colab
    to: int
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing, as above."""


class _Connect(StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Proxy)
        words = self.rfile.readline().decode("latin-1").split()
        while self.rfile.readline() not in (b"\r\n", b"\n", b""):
            pass
        if words[:2] != ["CONNECT", f"{HOST}:443"]:
            server.colab.denied.append(" ".join(words[:2]))
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", server.to)) as there:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_carry, args=(there, self.connection), daemon=True)
            back.start()
            _carry(self.connection, there)
            back.join(timeout=5)


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _certificates(folder: Path) -> ssl.SSLContext:
    """A CA of ours in ca.pem, and a server's context with its certificate for HOST."""
    now = datetime.datetime.now(datetime.UTC)
    span = (now - datetime.timedelta(hours=1), now + datetime.timedelta(days=2))
    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a CA of the tests")])
    usage = {
        "digital_signature": True, "content_commitment": False, "key_encipherment": False,
        "data_encipherment": False, "key_agreement": False, "encipher_only": False,
        "decipher_only": False,
    }  # fmt: skip
    signer = x509.SubjectKeyIdentifier.from_public_key(root.public_key())

    def made(subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(span[0])
            .not_valid_after(span[1])
        )

    ca = (
        made(name, root)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(signer, critical=False)
        .sign(root, hashes.SHA256())
    )
    own = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    known = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer)
    server = (
        made(own, leaf)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .add_extension(known, critical=False)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    both = folder / "server.pem"
    both.write_bytes(leaf.private_bytes(pem, *plain) + server.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context
