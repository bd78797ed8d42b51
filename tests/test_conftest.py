import os
import socket
from pathlib import Path

import pytest


def test_no_socket_leaves_this_machine() -> None:
    with socket.socket() as end, pytest.raises(AssertionError, match="wants to connect"):
        end.connect(("192.0.2.1", 80))
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_nothing_of_the_caller_is_seen() -> None:
    assert Path.home().name.startswith("home")
    assert not [n for n in os.environ if n.startswith(("XDG_", "MIMIR_")) and "TEST_S3" not in n]
