"""Makes a client talk to one address of its server's name.

A name may stand for several servers, each of which is consistent by itself only. urllib3 takes
whichever address comes first, so a test through the name would never see the others.
"""

import socket
from typing import Any
from urllib.parse import urlsplit

from botocore.utils import get_environ_proxies

MOST = 8
"""Addresses that are told apart; AWS gives that many for each of its names."""


def addresses(url: str) -> list[str]:
    """The IP addresses of a URL's host, in the order in which they are tried; at most MOST.

    [] where they do not tell servers apart: unknown here, or a proxy looks the name up.
    """
    if get_environ_proxies(url):
        return []
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MOST]


def pin(client: Any, address: str) -> None:
    """Let a boto3 client connect to this address; the name stays in headers, TLS and signature.

    botocore has no setting for it; these are the classes from which it makes its connections.
    """
    manager = client._endpoint.http_session._manager
    manager.pool_classes_by_scheme = {
        scheme: _pinned(pool, address) for scheme, pool in manager.pool_classes_by_scheme.items()
    }


def _pinned(pool: Any, address: str) -> Any:
    base = pool.ConnectionCls

    def _new_conn(self: Any) -> Any:
        # Certificates are checked against `host`, which is this very attribute later on.
        name, self._dns_host = self._dns_host, address
        try:
            return base._new_conn(self)
        finally:
            self._dns_host = name

    connection = type(f"Pinned{base.__name__}", (base,), {"_new_conn": _new_conn})
    return type(f"Pinned{pool.__name__}", (pool,), {"ConnectionCls": connection})
