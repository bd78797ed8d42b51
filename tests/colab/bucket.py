"""An S3 server with an STS on loopback (moto), which a test can interrupt at a single request.

A machine that dies "some time after a checkpoint" dies at another moment on each computer; one
that dies as a certain request arrives, or before its answer leaves, dies at the same everywhere.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from tests.servers.moto_server import make_atomic

Request = Callable[[str, str], None]
"""Told of a request: its method and path. It may take as long as it wants."""
_SECRETS = re.compile(rb"<(?:SecretAccessKey|SessionToken)>([^<]+)<")


class Bucket:
    """before, after: told of each request, before it is carried out and before it is answered.

    secrets: those of the keys that the STS has given.
    """

    def __init__(self, name: str) -> None:
        make_atomic()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
        self.before: Request = _nothing
        self.after: Request = _nothing
        self.secrets: set[str] = set()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=MotoRequestHandler
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        client = boto3.client(
            "s3", endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id="testing", aws_secret_access_key="testing",
        )  # fmt: skip
        client.create_bucket(Bucket=name)
        client.close()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        method, path = str(environ["REQUEST_METHOD"]), str(environ["PATH_INFO"])
        self.before(method, path)
        body = b"".join(self._moto(environ, start))
        self.secrets.update(found.decode() for found in _SECRETS.findall(body))
        self.after(method, path)
        return [body]


def _nothing(method: str, path: str) -> None:
    pass
