"""moto's S3 server with conditional writes that are one step, as a store's must be.

moto itself looks and then writes, so that of several writers at once two may win; the probe
found one such race in 900.

    python -m tests.servers.moto_server -H 127.0.0.1 -p 5000
"""

import functools
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from moto.s3.responses import S3Response
from moto.server import ThreadedMotoServer, main

_TURN = threading.Lock()


def make_atomic() -> None:
    """Let all of moto's S3 servers of this process carry out one PutObject at a time."""
    put = S3Response.put_object
    if hasattr(put, "__wrapped__"):
        return

    @functools.wraps(put)
    def put_object(self: S3Response) -> Any:
        with _TURN:
            return put(self)

    S3Response.put_object = put_object


@contextmanager
def serving() -> Iterator[str]:
    """URL of a server on this machine, which ends with the block."""
    make_atomic()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for each request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


if __name__ == "__main__":
    make_atomic()
    main()
